/*
 * Reading images at points (place_take) and its adjoint (place_put) on the CPU. Made for channels last, where a point is
 * a row of channels. Rows and columns of the points are dense, [N, 1, P, Q]; so are the lists of points by pixel, one for
 * each image, in scratch.
 */
#include "kernel/place.h"

#include "backend/cpu/cpu.h"
#include "backend/cpu/loops.h"

typedef struct place_context {
    int64_t image[2], pixels, points, channels;
    const hti_tensor *x, *y;
    const int32_t *row, *column;
    int32_t *first, *list; /* per image: pixels + 1, then points */
} place_context;

#define PLACE_LOOPS(S, T)                                                                        \
    static void take_##S(void *context, int64_t begin, int64_t end)                              \
    {                                                                                            \
        const place_context *c = context;                                                        \
        const int64_t n = c->channels, sx = c->x->stride[1], sy = c->y->stride[1];               \
        for (int64_t at = begin; at < end; at++) {                                               \
            const int64_t image = at / c->points, point = at % c->points;                        \
            T *y = (T *)c->y->data + image * c->y->stride[0] + point * c->y->stride[3];          \
            const T *x = (const T *)c->x->data + image * c->x->stride[0];                        \
            const int32_t row = c->row[at], column = c->column[at];                              \
            if (hti_place_of(c->image, row, column) < 0) {                                       \
                HTI_EACH(y[i * sy] = (T)0);                                                      \
                continue;                                                                        \
            }                                                                                    \
            x += row * c->x->stride[2] + column * c->x->stride[3];                               \
            if (sx == 1 && sy == 1) HTI_EACH(y[i] = x[i]);                                       \
            else HTI_EACH(y[i * sy] = x[i * sx]);                                                \
        }                                                                                        \
    }                                                                                            \
    static void put_##S(void *context, int64_t begin, int64_t end)                               \
    {                                                                                            \
        const place_context *c = context;                                                        \
        const int64_t n = c->channels, sx = c->x->stride[1], sy = c->y->stride[1];               \
        for (int64_t at = begin; at < end; at++) {                                               \
            const int64_t image = at / c->pixels, pixel = at % c->pixels;                        \
            T *y = (T *)c->y->data + image * c->y->stride[0] + pixel * c->y->stride[3];          \
            const T *g = (const T *)c->x->data + image * c->x->stride[0];                        \
            const int32_t *first = c->first + image * (c->pixels + 1) + pixel;                   \
            const int32_t *list = c->list + image * c->points;                                   \
            HTI_EACH(y[i * sy] = (T)0);                                                          \
            for (int32_t k = first[0]; k < first[1]; k++) {                                      \
                const T *from = g + list[k] * c->x->stride[3];                                   \
                if (sx == 1 && sy == 1) HTI_EACH(y[i] += from[i]);                               \
                else HTI_EACH(y[i * sy] += from[i * sx]);                                        \
            }                                                                                    \
        }                                                                                        \
    }
PLACE_LOOPS(f32, float)
PLACE_LOOPS(f64, double)

static void list_images(void *context, int64_t begin, int64_t end)
{
    const place_context *c = context;
    for (int64_t n = begin; n < end; n++)
        hti_place_list(c->image, c->points, c->row + n * c->points, c->column + n * c->points,
                       c->first + n * (c->pixels + 1), c->list + n * c->points);
}

static place_context context_of(const hti_run *run)
{
    const hti_place_attributes *a = run->attributes;
    place_context c = {.image = {a->image[0], a->image[1]}, .x = &run->in[0], .y = run->out};
    c.pixels = a->image[0] * a->image[1];
    c.points = run->in[1].shape.dim[2] * run->in[1].shape.dim[3];
    c.channels = run->out->shape.dim[1];
    c.row = run->in[1].data;
    c.column = run->in[2].data;
    return c;
}

static ht_status run_tasks(const hti_run *run, place_context *c, int64_t tasks, hti_body f32, hti_body f64)
{
    const ht_dtype dtype = run->in[0].dtype;
    if (dtype != run->out->dtype || (dtype != HT_F32 && dtype != HT_F64) || run->in[1].dtype != HT_I32 ||
        run->in[2].dtype != HT_I32)
        return HT_EDTYPE;
    hti_parallel_for(run->threads, tasks, c->channels > 0 && c->channels < HTI_GRAIN ? HTI_GRAIN / c->channels : 1,
                     dtype == HT_F32 ? f32 : f64, c);
    return HT_OK;
}

static ht_status run_place_take(const hti_run *run)
{
    place_context c = context_of(run);
    return run_tasks(run, &c, run->out->shape.dim[0] * c.points, take_f32, take_f64);
}

static ht_status prepare_place_put(const void *attributes, const hti_tensor *in, int32_t inputs, const hti_tensor *out,
                                   int32_t threads, hti_choice *choice, ht_error *error)
{
    (void)inputs, (void)threads;
    const hti_place_attributes *a = attributes;
    const int64_t points = in[1].shape.dim[2] * in[1].shape.dim[3], pixels = a->image[0] * a->image[1];
    int64_t count;
    if (!hti_multiply(out->shape.dim[0], pixels + 1 + points, &count) ||
        !hti_bytes(count, sizeof(int32_t), &choice->scratch_bytes))
        return ht_fail(error, HT_ENOMEM, "place_put: the lists of points do not fit into memory; use smaller arrays");
    return HT_OK;
}

static ht_status run_place_put(const hti_run *run)
{
    place_context c = context_of(run);
    const int64_t images = run->out->shape.dim[0];
    c.first = run->scratch;
    c.list = c.first + images * (c.pixels + 1);
    if (images > 0 && !c.first) return HT_EINTERNAL;
    hti_parallel_for(run->threads, images, 1, list_images, &c);
    return run_tasks(run, &c, images * c.pixels, put_f32, put_f64);
}

const hti_kernel hti_cpu_place_take = {.run = run_place_take, .order = HTI_LAST_ONLY};
const hti_kernel hti_cpu_place_put = {.run = run_place_put, .order = HTI_LAST_ONLY, .prepare = prepare_place_put};
