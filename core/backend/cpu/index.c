/*
 * take and put of the CPU. A task is one position of the axes outside, and a tile of the axis that varies fastest: it goes
 * along the index in order, so repeated places of put add up in one order for any number of threads, without atomics. A place
 * outside of the axis is never touched; it stops the run with EINVALID.
 */
#include <stdatomic.h>

#include "backend/cpu/cpu.h"
#include "backend/cpu/loops.h"

/* Columns of one task. */
#define TILE 256

/* Strides of the result, of the input and of the index: along the index's axis, along the columns; and over the rest. */
typedef struct place_context {
    hti_walk outside[3];
    int64_t along[3], across[3];
    void *data[3];
    int64_t count, size; /* places in a line; size of the axis that they count */
    int64_t columns, tiles;
    atomic_bool *outside_axis;
} place_context;

#define TAKE(S, T)                                                                                     \
    static bool take_##S(const place_context *c, T *y, const T *x, const int32_t *place, int64_t n)    \
    {                                                                                                  \
        const int64_t sy = c->across[0], sx = c->across[1], sp = c->across[2];                         \
        bool inside = true;                                                                            \
        for (int64_t k = 0; k < c->count; k++, y += c->along[0], place += c->along[2]) {               \
            if (sp == 0) {                                                                             \
                const bool here = *place >= 0 && *place < c->size;                                     \
                const T *from = here ? x + *place * c->along[1] : x;                                   \
                inside = inside && here;                                                               \
                if (here && sy == 1 && sx == 1) HTI_EACH(y[i] = from[i]);                              \
                else if (here) HTI_EACH(y[i * sy] = from[i * sx]);                                     \
                continue;                                                                              \
            }                                                                                          \
            for (int64_t i = 0; i < n; i++) {                                                          \
                const int32_t at = place[i * sp];                                                      \
                if (at < 0 || at >= c->size) inside = false;                                           \
                else y[i * sy] = x[i * sx + at * c->along[1]];                                         \
            }                                                                                          \
        }                                                                                              \
        return inside;                                                                                 \
    }

#define PUT(S, T)                                                                                      \
    static bool put_##S(const place_context *c, T *y, const T *g, const int32_t *place, int64_t n)     \
    {                                                                                                  \
        const int64_t sy = c->across[0], sg = c->across[1], sp = c->across[2];                         \
        bool inside = true;                                                                            \
        for (int64_t j = 0; j < c->size; j++) {                                                        \
            T *row = y + j * c->along[0];                                                              \
            HTI_EACH(row[i * sy] = (T)0);                                                              \
        }                                                                                              \
        for (int64_t k = 0; k < c->count; k++, g += c->along[1], place += c->along[2]) {               \
            if (sp == 0) {                                                                             \
                const bool here = *place >= 0 && *place < c->size;                                     \
                T *to = here ? y + *place * c->along[0] : y;                                           \
                inside = inside && here;                                                               \
                if (here && sy == 1 && sg == 1) HTI_EACH(to[i] += g[i]);                               \
                else if (here) HTI_EACH(to[i * sy] += g[i * sg]);                                      \
                continue;                                                                              \
            }                                                                                          \
            for (int64_t i = 0; i < n; i++) {                                                          \
                const int32_t at = place[i * sp];                                                      \
                if (at < 0 || at >= c->size) inside = false;                                           \
                else y[i * sy + at * c->along[0]] += g[i * sg];                                        \
            }                                                                                          \
        }                                                                                              \
        return inside;                                                                                 \
    }

#define TASKS(name, S, T)                                                                              \
    static void name##_tasks_##S(void *context, int64_t begin, int64_t end)                            \
    {                                                                                                  \
        const place_context *c = context;                                                              \
        for (int64_t task = begin; task < end; task++) {                                               \
            const int64_t first = task % c->tiles * TILE;                                              \
            const int64_t n = c->columns - first < TILE ? c->columns - first : TILE;                   \
            int64_t at[3];                                                                             \
            for (int32_t k = 0; k < 3; k++)                                                            \
                at[k] = first * c->across[k] + hti_offset(task / c->tiles, c->outside[k].rank,         \
                                                          c->outside[k].dim, c->outside[k].stride);    \
            if (!name##_##S(c, (T *)c->data[0] + at[0], (const T *)c->data[1] + at[1],                 \
                            (const int32_t *)c->data[2] + at[2], n))                                   \
                atomic_store_explicit(c->outside_axis, true, memory_order_relaxed);                    \
        }                                                                                              \
    }
TAKE(f32, float)
TAKE(f64, double)
PUT(f32, float)
PUT(f64, double)
TASKS(take, f32, float)
TASKS(take, f64, double)
TASKS(put, f32, float)
TASKS(put, f64, double)

/* The columns: the axis with the result's smallest stride, unless that is the index's own; -1 then. */
static int32_t column_axis(const hti_tensor *y, int64_t axis)
{
    int32_t best = (int32_t)axis;
    for (int32_t k = 0; k < y->shape.rank; k++)
        if (y->shape.dim[k] > 1 && (y->shape.dim[best] == 1 || y->stride[k] < y->stride[best])) best = k;
    return best == axis ? -1 : best;
}

static ht_status run_places(const hti_run *run, hti_body f32, hti_body f64)
{
    const hti_take_attributes *attributes = run->attributes;
    const hti_tensor *tensor[3] = {run->out, &run->in[0], &run->in[1]};
    const ht_dtype dtype = run->out->dtype;
    if ((dtype != HT_F32 && dtype != HT_F64) || run->in[0].dtype != dtype || run->in[1].dtype != HT_I32) return HT_EDTYPE;
    const int64_t axis = attributes->axis;
    const int32_t column = column_axis(run->out, axis);
    atomic_bool outside_axis = false;
    place_context c = {.count = run->in[1].shape.dim[axis], .size = attributes->size, .outside_axis = &outside_axis};
    c.columns = column < 0 ? 1 : run->out->shape.dim[column];
    c.tiles = (c.columns + TILE - 1) / TILE;
    int64_t tasks = c.tiles;
    for (int32_t k = 0; k < run->out->shape.rank; k++) {
        if (k == axis || k == column) continue;
        tasks *= run->out->shape.dim[k];
        for (int32_t i = 0; i < 3; i++) {
            hti_walk *walk = &c.outside[i];
            walk->dim[walk->rank] = run->out->shape.dim[k];
            walk->stride[walk->rank++] = tensor[i]->stride[k];
        }
    }
    for (int32_t i = 0; i < 3; i++) {
        c.data[i] = tensor[i]->data;
        c.along[i] = tensor[i]->stride[axis];
        c.across[i] = column < 0 ? 1 : tensor[i]->stride[column];
    }
    const int64_t work = (c.columns < TILE ? c.columns : TILE) * (c.count + c.size);
    hti_parallel_for(run->threads, tasks, work > 0 && work < HTI_GRAIN ? HTI_GRAIN / work : 1,
                     dtype == HT_F32 ? f32 : f64, &c);
    return outside_axis ? HT_EINVALID : HT_OK;
}

static ht_status run_take(const hti_run *run) { return run_places(run, take_tasks_f32, take_tasks_f64); }
static ht_status run_put(const hti_run *run) { return run_places(run, put_tasks_f32, put_tasks_f64); }

const hti_kernel hti_cpu_take = {.run = run_take, .order = HTI_FOLLOW, .views = HTI_ANY_VIEW};
const hti_kernel hti_cpu_put = {.run = run_put, .order = HTI_FOLLOW, .views = HTI_ANY_VIEW};
