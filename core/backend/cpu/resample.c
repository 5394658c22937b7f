/*
 * Resizing along one axis on the CPU, and its adjoint. Both sides are dense in one physical order, so they are
 * [outer][axis][inner]. Where the result reads, and with which weights, is a table in scratch. Rows of `inner` numbers are
 * weighted sums of rows; where inner is 1, lanes go along the axis. Sums are in the order of kernel/resample.inl.
 */
#include "kernel/resample.h"

#include "backend/cpu/cpu.h"
#include "backend/cpu/loops.h"

/* Position i of the result reads count[i] positions from at[i] on; weight [taps][size], of the number type. */
typedef struct resample_context {
    int64_t inner, from, size, taps;
    int32_t *at, *count;
    void *weight;
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

/* Fills at and count, if there, and returns the most taps of a position. */
static int64_t list_taps(const hti_resample_attributes *a, bool back, const resample_context *c)
{
    const int64_t size = back ? a->from : a->to;
    int64_t most = 0;
    hti_range r = {0, 0};
    for (int64_t i = 0; i < size; i++) {
        r = back ? advance(a, r, i) : hti_resample_taps(a, i);
        const int64_t count = r.end > r.begin ? r.end - r.begin : 0;
        if (count > most) most = count;
        if (!c) continue;
        c->at[i] = count > 0 ? (int32_t)r.begin : 0;
        c->count[i] = (int32_t)count;
    }
    return most;
}

/* The first of the taps begins a sum: the zero in front makes -0 to 0, as in the bodies. A tap that is not there adds 0. */
#define TERM(k, T) ((k) < count[i] ? w[(k) * n + i] * x[at[i] + ((k) < count[i] ? (k) : 0)] : (T)0)
#define RESAMPLE_LOOPS(S, T)                                                                     \
    static void weigh_##S(const hti_resample_attributes *a, bool back, const resample_context *c) \
    {                                                                                            \
        T *w = c->weight;                                                                        \
        for (int64_t i = 0; i < c->size; i++)                                                    \
            for (int64_t k = 0; k < c->taps; k++) {                                              \
                const int64_t other = c->at[i] + k, to = back ? other : i, from = back ? i : other; \
                w[k * c->size + i] = k < c->count[i] ? (T)hti_resample_weight(a, to, from) : (T)0; \
            }                                                                                    \
    }                                                                                            \
    static void lines_##S(void *context, int64_t begin, int64_t end)                             \
    {                                                                                            \
        const resample_context *c = context;                                                     \
        const int64_t n = c->size;                                                               \
        const int32_t *at = c->at, *count = c->count;                                            \
        const T *w = c->weight;                                                                  \
        for (int64_t line = begin; line < end; line++) {                                         \
            const T *x = (const T *)c->x + line * c->from;                                       \
            T *y = (T *)c->y + line * n;                                                         \
            if (c->taps < 2) HTI_EACH(y[i] = (T)0 + TERM(0, T));                                 \
            else HTI_EACH(y[i] = (T)0 + TERM(0, T) + TERM(1, T));                                \
            for (int32_t k = 2; k < c->taps; k++) HTI_EACH(y[i] += TERM(k, T));                  \
        }                                                                                        \
    }                                                                                            \
    static void rows_##S(void *context, int64_t begin, int64_t end)                              \
    {                                                                                            \
        const resample_context *c = context;                                                     \
        const int64_t n = c->inner;                                                              \
        for (int64_t row = begin; row < end; row++) {                                            \
            const int64_t at = row % c->size;                                                    \
            const T *x = (const T *)c->x + (row / c->size * c->from + c->at[at]) * n;            \
            const T *w = (const T *)c->weight + at;                                              \
            T *y = (T *)c->y + row * n;                                                          \
            const int32_t count = c->count[at];                                                  \
            if (count == 0) {                                                                    \
                memset(y, 0, (size_t)n * sizeof *y);                                             \
            } else if (count == 1) {                                                             \
                HTI_EACH(y[i] = (T)0 + w[0] * x[i]);                                             \
            } else {                                                                             \
                const T first = w[0], second = w[c->size];                                       \
                HTI_EACH(y[i] = (T)0 + first * x[i] + second * x[n + i]);                        \
            }                                                                                    \
            for (int32_t k = 2; k < count; k++) {                                                \
                const T weight = w[k * c->size];                                                 \
                const T *from = x + k * n;                                                       \
                HTI_EACH(y[i] += weight * from[i]);                                              \
            }                                                                                    \
        }                                                                                        \
    }
RESAMPLE_LOOPS(f32, float)
RESAMPLE_LOOPS(f64, double)

static ht_status prepare(const hti_resample_attributes *a, bool back, hti_choice *choice, ht_error *error)
{
    const int64_t size = back ? a->from : a->to, taps = list_taps(a, back, NULL);
    int64_t count; /* two lists, and weights of the larger type */
    if (!hti_multiply(size, 2 + 2 * taps, &count) || !hti_bytes(count, sizeof(int32_t), &choice->scratch_bytes))
        return ht_fail(error, HT_ENOMEM, "resample: the weights do not fit into memory; use smaller arrays");
    return HT_OK;
}

static ht_status run_table(const hti_run *run, bool back)
{
    const hti_resample_attributes *a = run->attributes;
    const hti_tensor *x = &run->in[0], *y = run->out;
    if (x->dtype != y->dtype || (y->dtype != HT_F32 && y->dtype != HT_F64)) return HT_EDTYPE;
    const int64_t count = ht_shape_count(y->shape);
    if (count == 0) return HT_OK;
    if (x->stride[a->axis] != y->stride[a->axis] || !run->scratch) return HT_EINTERNAL;
    const bool f32 = y->dtype == HT_F32;
    resample_context c = {.inner = y->stride[a->axis], .from = back ? a->to : a->from, .size = back ? a->from : a->to,
                          .x = x->data, .y = y->data};
    c.taps = list_taps(a, back, NULL);
    c.weight = run->scratch;
    c.at = (int32_t *)(void *)((char *)run->scratch + (size_t)(c.taps * c.size) * ht_dtype_bytes(y->dtype));
    c.count = c.at + c.size;
    (void)list_taps(a, back, &c);
    if (f32) weigh_f32(a, back, &c);
    else weigh_f64(a, back, &c);
    if (c.inner == 1) {
        hti_parallel_for(run->threads, count / c.size, HTI_GRAIN / c.size + 1, f32 ? lines_f32 : lines_f64, &c);
        return HT_OK;
    }
    const int64_t work = c.inner * (c.from / c.size + 2);
    hti_parallel_for(run->threads, count / c.inner, work < HTI_GRAIN ? HTI_GRAIN / work : 1, f32 ? rows_f32 : rows_f64, &c);
    return HT_OK;
}

#define KERNEL(name, back)                                                                                             \
    static ht_status prepare_##name(const void *attributes, const hti_tensor *in, int32_t inputs, const hti_tensor *out, \
                                    int32_t threads, hti_choice *choice, ht_error *error)                              \
    {                                                                                                                  \
        (void)in, (void)inputs, (void)out, (void)threads;                                                              \
        return prepare(attributes, back, choice, error);                                                               \
    }                                                                                                                  \
    static ht_status run_##name(const hti_run *run) { return run_table(run, back); }                                   \
    const hti_kernel hti_cpu_##name = {.run = run_##name, .order = HTI_FOLLOW, .prepare = prepare_##name};
KERNEL(resample, false)
KERNEL(resample_back, true)
