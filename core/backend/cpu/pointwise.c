/*
 * Pointwise kernels of the CPU: the bodies of kernel/pointwise.inl, and casts, in vector loops. Each loop exists for
 * operands with stride 1 and for broadcast ones (stride 0); any other stride takes the general form. A result may be
 * written over an input of the same shape and strides.
 */
#include "backend/cpu/cpu.h"
#include "backend/cpu/loops.h"

#define HT_BODY "kernel/pointwise.inl"
#include "kernel/reals.h"
#define HT_BODY "kernel/move.inl"
#include "kernel/reals.h"
#define T int32_t
#define HT_NAME(name) name##_i32
#include "kernel/integer.inl"
#include "kernel/move.inl"
#undef T
#undef HT_NAME

/* From type X to type Y; A is the type of the attributes. */
#define UNARY_LOOP(name, S, Y, X, A)                                                           \
    static void name##_##S(const hti_span *span)                                               \
    {                                                                                          \
        const int64_t n = span->n, sy = span->inner[0], sa = span->inner[1];                   \
        const A p = (A)span->p, q = (A)span->q;                                                \
        for (int64_t r = 0; r < span->rows; r++) {                                             \
            Y *y = (Y *)span->at[0] + r * span->outer[0];                                      \
            const X *a = (const X *)span->at[1] + r * span->outer[1];                          \
            if (sy == 1 && sa == 1) HTI_EACH_AHEAD(y[i] = k_##name##_##S(a[i], p, q));             \
            else HTI_EACH(y[i * sy] = k_##name##_##S(a[i * sa], p, q));                            \
        }                                                                                      \
    }

#define BINARY_LOOP(name, S, T)                                                                \
    static void name##_##S(const hti_span *span)                                               \
    {                                                                                          \
        const int64_t n = span->n, sy = span->inner[0], sa = span->inner[1], sb = span->inner[2]; \
        for (int64_t r = 0; r < span->rows; r++) {                                             \
            T *y = (T *)span->at[0] + r * span->outer[0];                                      \
            const T *a = (const T *)span->at[1] + r * span->outer[1];                          \
            const T *b = (const T *)span->at[2] + r * span->outer[2];                          \
            const T a0 = *a, b0 = *b;                                                          \
            if (sy == 1 && sa == 1 && sb == 1) HTI_EACH_AHEAD(y[i] = k_##name##_##S(a[i], b[i]));  \
            else if (sy == 1 && sa == 1 && sb == 0) HTI_EACH_AHEAD(y[i] = k_##name##_##S(a[i], b0)); \
            else if (sy == 1 && sa == 0 && sb == 1) HTI_EACH_AHEAD(y[i] = k_##name##_##S(a0, b[i])); \
            else HTI_EACH(y[i * sy] = k_##name##_##S(a[i * sa], b[i * sb]));                       \
        }                                                                                      \
    }

#define WHERE_LOOP(S, T)                                                                       \
    static void where_##S(const hti_span *span)                                                \
    {                                                                                          \
        const int64_t n = span->n, sy = span->inner[0], sc = span->inner[1];                   \
        const int64_t sa = span->inner[2], sb = span->inner[3];                                \
        for (int64_t r = 0; r < span->rows; r++) {                                             \
            T *y = (T *)span->at[0] + r * span->outer[0];                                      \
            const T *c = (const T *)span->at[1] + r * span->outer[1];                          \
            const T *a = (const T *)span->at[2] + r * span->outer[2];                          \
            const T *b = (const T *)span->at[3] + r * span->outer[3];                          \
            if (sy == 1 && sc == 1 && sa == 1 && sb == 1) HTI_EACH(y[i] = k_where_##S(c[i], a[i], b[i])); \
            else HTI_EACH(y[i * sy] = k_where_##S(c[i * sc], a[i * sa], b[i * sb]));               \
        }                                                                                      \
    }

#define REAL_UNARY(name) \
    UNARY_LOOP(name, f32, float, float, float) UNARY_LOOP(name, f64, double, double, double)
#define REAL_BINARY(name) BINARY_LOOP(name, f32, float) BINARY_LOOP(name, f64, double)
HTI_UNARY_KERNELS(REAL_UNARY)
HTI_BINARY_KERNELS(REAL_BINARY)
WHERE_LOOP(f32, float)
WHERE_LOOP(f64, double)

/* sin and cos of f32: where every element is small there is a vector loop; else each element asks for itself. */
static bool all_near(const hti_span *span)
{
    const int64_t n = span->n, sa = span->inner[1];
    int32_t far = 0;
    for (int64_t r = 0; r < span->rows; r++) {
        const float *a = (const float *)span->at[1] + r * span->outer[1];
        if (sa == 1)
            for (int64_t i = 0; i < n; i++) far |= !(fabsf(a[i]) <= HTI_TURN_MOST);
        else
            for (int64_t i = 0; i < n; i++) far |= !(fabsf(a[i * sa]) <= HTI_TURN_MOST);
    }
    return !far;
}
#define NEAR_LOOP(name)                                                  \
    static inline float k_##name##_near_f32(float x, float p, float q)   \
    {                                                                    \
        (void)p, (void)q;                                                \
        return math_##name##_near(x);                                    \
    }                                                                    \
    UNARY_LOOP(name##_near, f32, float, float, float)                    \
    static void name##_either(const hti_span *span)                      \
    {                                                                    \
        if (all_near(span)) name##_near_f32(span);                       \
        else name##_f32(span);                                           \
    }
NEAR_LOOP(sin)
NEAR_LOOP(cos)

UNARY_LOOP(affine, i32, int32_t, int32_t, double)
BINARY_LOOP(add, i32, int32_t)
BINARY_LOOP(sub, i32, int32_t)
BINARY_LOOP(mul, i32, int32_t)
BINARY_LOOP(greater, i32, int32_t)
WHERE_LOOP(i32, int32_t)

#define CAST_LOOPS(to, Y)                          \
    UNARY_LOOP(to, f32, Y, float, double)          \
    UNARY_LOOP(to, f64, Y, double, double)         \
    UNARY_LOOP(to, i32, Y, int32_t, double)
CAST_LOOPS(to_f32, float)
CAST_LOOPS(to_f64, double)
CAST_LOOPS(to_i32, int32_t)

/* The same loop for each number type; NULL where the op has none. */
typedef struct loop_set {
    hti_span_function f32, f64, i32;
} loop_set;

static hti_span_function member(loop_set set, ht_dtype dtype)
{
    return dtype == HT_F32 ? set.f32 : dtype == HT_F64 ? set.f64 : dtype == HT_I32 ? set.i32 : NULL;
}

static ht_status run_function(const hti_run *run, hti_span_function function, double p, double q)
{
    const hti_tensor *operand[HTI_OPERANDS] = {run->out};
    if (run->inputs < 1 || run->inputs >= HTI_OPERANDS) return HT_EINTERNAL;
    if (!function) return HT_EDTYPE;
    for (int32_t k = 0; k < run->inputs; k++) operand[k + 1] = &run->in[k];
    const hti_loop loop = hti_loop_make(operand, run->inputs + 1);
    hti_loop_run(&loop, operand, function, p, q, run->threads);
    return HT_OK;
}

typedef hti_span_call (*chooser)(const void *attributes, ht_dtype dtype);

static ht_status run_loop(const hti_run *run, chooser choose)
{
    for (int32_t k = 0; k < run->inputs; k++)
        if (run->in[k].dtype != run->out->dtype) return HT_EDTYPE;
    const hti_span_call call = choose(run->attributes, run->out->dtype);
    return run_function(run, call.function, call.p, call.q);
}

/* Ops have these attributes or none. */
static hti_span_call call_of(loop_set set, ht_dtype dtype, const hti_affine_attributes *numbers)
{
    hti_span_call call = {.function = member(set, dtype)};
    if (numbers) {
        call.p = numbers->factor;
        call.q = numbers->term;
    }
    return call;
}

static hti_span_call choose_pow(const void *attributes, ht_dtype dtype)
{
    const double exponent = ((const hti_affine_attributes *)attributes)->factor;
    loop_set set = {pow_f32, pow_f64, NULL};
    if (exponent == 2) set = (loop_set){square_f32, square_f64, NULL};
    else if (exponent == 1) set = (loop_set){stop_f32, stop_f64, NULL};
    else if (exponent == 0.5) set = (loop_set){sqrt_f32, sqrt_f64, NULL};
    else if (exponent == -1) set = (loop_set){reciprocal_f32, reciprocal_f64, NULL};
    else if (exponent == -0.5) set = (loop_set){rsqrt_f32, rsqrt_f64, NULL};
    return call_of(set, dtype, attributes);
}

static ht_status run_cast(const hti_run *run)
{
    const loop_set f32 = {to_f32_f32, to_f32_f64, to_f32_i32}, f64 = {to_f64_f32, to_f64_f64, to_f64_i32};
    const loop_set i32 = {to_i32_f32, to_i32_f64, to_i32_i32};
    const ht_dtype to = run->out->dtype;
    if (to != HT_F32 && to != HT_F64 && to != HT_I32) return HT_EDTYPE;
    return run_function(run, member(to == HT_F32 ? f32 : to == HT_F64 ? f64 : i32, run->in[0].dtype), 0, 0);
}

#define KERNEL(name)                                                                           \
    static ht_status run_##name(const hti_run *run) { return run_loop(run, choose_##name); }  \
    static const hti_pointwise pointwise_##name = {choose_##name};                            \
    const hti_kernel hti_cpu_##name = {                                                       \
        .run = run_##name, .order = HTI_FOLLOW, .views = HTI_ANY_VIEW, .pointwise = &pointwise_##name};
#define LOOPS_BY(name, f32, integer, numbers)                                                 \
    static hti_span_call choose_##name(const void *attributes, ht_dtype dtype)                \
    {                                                                                         \
        (void)attributes;                                                                     \
        return call_of((loop_set){f32, name##_f64, integer}, dtype, numbers);                 \
    }                                                                                         \
    KERNEL(name)
#define LOOPS(name, integer, numbers) LOOPS_BY(name, name##_f32, integer, numbers)
#define PLAIN(name) LOOPS(name, NULL, NULL)
#define INTEGER_TOO(name) LOOPS(name, name##_i32, NULL)

LOOPS(affine, affine_i32, attributes)
PLAIN(exp)
PLAIN(expm1)
PLAIN(log)
PLAIN(log1p)
PLAIN(sqrt)
PLAIN(safe_sqrt)
PLAIN(rsqrt)
PLAIN(square)
PLAIN(reciprocal)
KERNEL(pow)
LOOPS_BY(sin, sin_either, NULL, NULL)
LOOPS_BY(cos, cos_either, NULL, NULL)
PLAIN(tanh)
PLAIN(sigmoid)
PLAIN(erf)
PLAIN(erfc)
PLAIN(softplus)
LOOPS(leaky_relu, NULL, attributes)
LOOPS(leaky_gate, NULL, attributes)
PLAIN(abs)
PLAIN(sign)
PLAIN(round)
PLAIN(positive)
INTEGER_TOO(add)
INTEGER_TOO(sub)
INTEGER_TOO(mul)
PLAIN(div)
INTEGER_TOO(greater)
PLAIN(equal)
PLAIN(shift)
INTEGER_TOO(where)
const hti_kernel hti_cpu_cast = {.run = run_cast, .order = HTI_FOLLOW, .views = HTI_ANY_VIEW};
