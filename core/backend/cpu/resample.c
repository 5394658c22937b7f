/*
 * Resizing along one axis on the CPU, and its adjoint. Both sides are dense in one physical order, so they are
 * [outer][axis][inner]: a row of `inner` numbers is a weighted sum of rows, in the order of kernel/resample.inl.
 */
#include "kernel/resample.h"

#include "backend/cpu/cpu.h"
#include "backend/cpu/loops.h"

typedef struct resample_context {
    const hti_resample_attributes *attributes;
    int64_t inner;
    const void *x;
    void *y;
} resample_context;

/* The range of image position j, from that of an earlier one. */
static hti_range advance(const hti_resample_attributes *a, hti_range r, int64_t j)
{
    while (r.begin < a->to && hti_resample_taps(a, r.begin).end <= j) r.begin++;
    while (r.end < a->to && hti_resample_taps(a, r.end).begin <= j) r.end++;
    return r;
}

/* `first` of a sum begins it: the zero in front makes -0 to 0, as in the bodies. */
#define RESAMPLE_LOOPS(S, T)                                                                     \
    static inline void add_row_##S(T *y, const T *x, int64_t n, T weight, bool first)            \
    {                                                                                            \
        if (first) HTI_EACH(y[i] = (T)0 + weight * x[i]);                                        \
        else HTI_EACH(y[i] += weight * x[i]);                                                    \
    }                                                                                            \
    static void forward_##S(void *context, int64_t begin, int64_t end)                           \
    {                                                                                            \
        const resample_context *c = context;                                                     \
        const hti_resample_attributes *a = c->attributes;                                        \
        for (int64_t row = begin; row < end; row++) {                                            \
            const int64_t i = row % a->to;                                                       \
            const T *x = (const T *)c->x + row / a->to * a->from * c->inner;                     \
            T *y = (T *)c->y + row * c->inner;                                                   \
            const hti_range r = hti_resample_taps(a, i);                                         \
            for (int64_t j = r.begin; j < r.end; j++)                                            \
                add_row_##S(y, x + j * c->inner, c->inner, (T)hti_resample_weight(a, i, j), j == r.begin); \
        }                                                                                        \
    }                                                                                            \
    static void back_##S(void *context, int64_t begin, int64_t end)                              \
    {                                                                                            \
        const resample_context *c = context;                                                     \
        const hti_resample_attributes *a = c->attributes;                                        \
        hti_range r = hti_resample_covers(a, begin % a->from);                                   \
        for (int64_t row = begin; row < end; row++) {                                            \
            const int64_t j = row % a->from;                                                     \
            const T *g = (const T *)c->x + row / a->from * a->to * c->inner;                     \
            T *y = (T *)c->y + row * c->inner;                                                   \
            r = advance(a, j == 0 ? (hti_range){0, 0} : r, j);                                   \
            if (r.begin >= r.end) memset(y, 0, (size_t)c->inner * sizeof *y);                    \
            for (int64_t i = r.begin; i < r.end; i++)                                            \
                add_row_##S(y, g + i * c->inner, c->inner, (T)hti_resample_weight(a, i, j), i == r.begin); \
        }                                                                                        \
    }
RESAMPLE_LOOPS(f32, float)
RESAMPLE_LOOPS(f64, double)

/* `from` and `to` are the sizes of the axis in the input and in the result. */
static ht_status run_rows(const hti_run *run, int64_t from, int64_t to, hti_body f32, hti_body f64)
{
    const hti_resample_attributes *a = run->attributes;
    const hti_tensor *x = &run->in[0], *y = run->out;
    if (x->dtype != y->dtype || (y->dtype != HT_F32 && y->dtype != HT_F64)) return HT_EDTYPE;
    const int64_t count = ht_shape_count(y->shape);
    if (count == 0) return HT_OK;
    if (x->stride[a->axis] != y->stride[a->axis]) return HT_EINTERNAL;
    resample_context c = {a, y->stride[a->axis], x->data, y->data};
    const int64_t work = c.inner * (from / to + 2);
    hti_parallel_for(run->threads, count / c.inner, work < HTI_GRAIN ? HTI_GRAIN / work : 1,
                     y->dtype == HT_F32 ? f32 : f64, &c);
    return HT_OK;
}

static ht_status run_resample(const hti_run *run)
{
    const hti_resample_attributes *a = run->attributes;
    return run_rows(run, a->from, a->to, forward_f32, forward_f64);
}
static ht_status run_resample_back(const hti_run *run)
{
    const hti_resample_attributes *a = run->attributes;
    return run_rows(run, a->to, a->from, back_f32, back_f64);
}

const hti_kernel hti_cpu_resample = {.run = run_resample, .order = HTI_FOLLOW};
const hti_kernel hti_cpu_resample_back = {.run = run_resample_back, .order = HTI_FOLLOW};
