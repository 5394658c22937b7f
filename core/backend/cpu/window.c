/*
 * Pooling of the CPU: places of the largest, taking and putting at places, sums over windows and their adjoint. Made
 * for channels last, where a window's tap is a row of channels; other strides give the same numbers, slower.
 */
#include "backend/cpu/cpu.h"
#include "backend/cpu/loops.h"

/* Channels of one task: their partial results stay in the first cache. */
#define CHANNELS 256

/* A tensor [N, C, three spatial axes]; strides in elements, 0 along axes that are not there. */
typedef struct side {
    void *data;
    int64_t image, channel, spatial[3];
} side;

typedef struct window_context {
    hti_window window;
    side in[2], out;
    int64_t channels, tiles;
    int64_t flat_stride; /* stride of in[0] along its spatial axes counted as one; 0 if they are no such axis */
} window_context;

/* What a task works on: one image, one spatial position of the result, some channels. */
typedef struct task_place {
    int64_t image, p[3], first, channels;
} task_place;

/* Tasks are numbered [image][position][tile of channels]. */
static inline task_place place_of(const window_context *c, int64_t task, const int64_t *size)
{
    task_place at;
    at.first = task % c->tiles * CHANNELS;
    at.channels = c->channels - at.first < CHANNELS ? c->channels - at.first : CHANNELS;
    task /= c->tiles;
    for (int32_t k = 2; k >= 0; k--) {
        at.p[k] = task % size[k];
        task /= size[k];
    }
    at.image = task;
    return at;
}

static inline int64_t row_offset(const side *s, const task_place *at, int64_t a, int64_t b, int64_t c)
{
    return at->image * s->image + at->first * s->channel + a * s->spatial[0] + b * s->spatial[1] + c * s->spatial[2];
}

#define HT_BODY "kernel/reduce.inl"
#include "kernel/reals.h"
#define HT_BODY "kernel/window.inl"
#include "kernel/reals.h"
#define HT_BODY "backend/cpu/window_loops.inl"
#include "kernel/reals.h"

static side side_of(const hti_tensor *tensor)
{
    side s = {.data = tensor->data, .image = tensor->stride[0], .channel = tensor->stride[1]};
    const int32_t axes = tensor->shape.rank - 2;
    for (int32_t k = 0; k < axes; k++) s.spatial[3 - axes + k] = tensor->stride[2 + k];
    return s;
}

/* `windows` has one element per window. */
static hti_window window_of(const hti_pool_attributes *attributes, const hti_tensor *windows)
{
    hti_window w;
    const int32_t axes = (int32_t)attributes->axes;
    for (int32_t k = 0; k < 3; k++) {
        const int32_t from = k - (3 - axes);
        w.image[k] = from < 0 ? 1 : attributes->image[from];
        w.windows[k] = from < 0 ? 1 : windows->shape.dim[2 + from];
        w.kernel[k] = from < 0 ? 1 : attributes->kernel[from];
        w.stride[k] = from < 0 ? 1 : attributes->stride[from];
        w.pad[k] = from < 0 ? 0 : attributes->pad[from];
    }
    return w;
}

/* The stride of the last axis if the spatial axes of s, of the given sizes, can be walked as one; else 0. */
static int64_t flat_stride(const side *s, const int64_t *size)
{
    int64_t flat = 0, count = 1;
    for (int32_t k = 2; k >= 0; k--) {
        if (size[k] == 1) continue;
        if (flat == 0) flat = s->spatial[k];
        if (s->spatial[k] != flat * count) return 0;
        count *= size[k];
    }
    return flat;
}

/* Runs the tasks: one per position of `over` and tile of channels. */
static ht_status run_tasks(const hti_run *run, const hti_tensor *windows, const hti_tensor *over, bool places, hti_body f32,
                           hti_body f64)
{
    const ht_dtype dtype = run->in[0].dtype;
    if ((dtype != HT_F32 && dtype != HT_F64) || (places && run->in[1].dtype != HT_I32)) return HT_EDTYPE;
    window_context c = {.window = window_of(run->attributes, windows), .out = side_of(run->out)};
    for (int32_t k = 0; k < run->inputs && k < 2; k++) c.in[k] = side_of(&run->in[k]);
    c.flat_stride = flat_stride(&c.in[0], c.window.image);
    c.channels = run->out->shape.dim[1];
    c.tiles = (c.channels + CHANNELS - 1) / CHANNELS;
    int64_t positions = over->shape.dim[0] * c.tiles, taps = 1;
    for (int32_t k = 2; k < over->shape.rank; k++) positions *= over->shape.dim[k];
    for (int32_t k = 0; k < 3; k++) taps *= c.window.kernel[k];
    const int64_t work = (c.channels < CHANNELS ? c.channels : CHANNELS) * taps;
    hti_parallel_for(run->threads, positions, work > 0 && work < HTI_GRAIN ? HTI_GRAIN / work : 1,
                     dtype == HT_F32 ? f32 : f64, &c);
    return HT_OK;
}

/* Whether each position of the image is under one window. */
static bool side_by_side(const hti_pool_attributes *attributes, const hti_tensor *windows)
{
    const hti_window w = window_of(attributes, windows);
    bool all = true;
    for (int32_t k = 0; k < 3; k++)
        all = all && w.pad[k] == 0 && w.stride[k] == w.kernel[k] && w.windows[k] * w.kernel[k] == w.image[k];
    return all;
}

static ht_status run_pool_argmax(const hti_run *run)
{
    if (run->out->dtype != HT_I32) return HT_EDTYPE;
    return run_tasks(run, run->out, run->out, false, argmax_tasks_f32, argmax_tasks_f64);
}
static ht_status run_pool_take(const hti_run *run)
{
    return run_tasks(run, run->out, run->out, true, take_tasks_f32, take_tasks_f64);
}
static ht_status run_pool_put(const hti_run *run)
{
    const hti_tensor *windows = &run->in[0];
    return side_by_side(run->attributes, windows)
               ? run_tasks(run, windows, windows, true, put_apart_tasks_f32, put_apart_tasks_f64)
               : run_tasks(run, windows, run->out, true, put_tasks_f32, put_tasks_f64);
}
static ht_status run_window_sum(const hti_run *run)
{
    return run_tasks(run, run->out, run->out, false, sum_tasks_f32, sum_tasks_f64);
}
static ht_status run_window_spread(const hti_run *run)
{
    return run_tasks(run, &run->in[0], run->out, false, spread_tasks_f32, spread_tasks_f64);
}

const hti_kernel hti_cpu_pool_argmax = {.run = run_pool_argmax, .order = HTI_LAST_ONLY, .views = HTI_ANY_VIEW};
const hti_kernel hti_cpu_pool_take = {.run = run_pool_take, .order = HTI_LAST_ONLY, .views = HTI_ANY_VIEW};
const hti_kernel hti_cpu_pool_put = {.run = run_pool_put, .order = HTI_LAST_ONLY, .views = HTI_ANY_VIEW};
const hti_kernel hti_cpu_window_sum = {.run = run_window_sum, .order = HTI_LAST_ONLY, .views = HTI_ANY_VIEW};
const hti_kernel hti_cpu_window_spread = {.run = run_window_spread, .order = HTI_LAST_ONLY, .views = HTI_ANY_VIEW};
