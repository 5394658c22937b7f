/*
 * The accuracy of our own f32 functions over a dense sample of all floats, and that one element has equal bits wherever
 * it stands in a vector loop.
 */
#include <float.h>
#include <math.h>
#include <string.h>

#include "kernel/kernel.h"
#include "tap.h"

#define T float
#define HT_NAME(name) name##_f32
#include "kernel/pointwise.inl"

/* Distance of y from the exact value in units of the last place of a float there. */
static double ulps(float y, double exact)
{
    if (isnan(exact)) return isnan(y) ? 0 : 1e9;
    if ((double)y == exact || (float)exact == y) return 0;
    if (isinf(y)) return 1e9;
    int exponent = 0;
    (void)frexp(exact, &exponent);
    if (exponent < -125) exponent = -125;
    return fabs((double)y - exact) / ldexp(1, exponent - 24);
}

/* A function, and a loop over it, which the compiler may turn into vector lanes with a tail. */
#define OURS(name, value)                                                 \
    static float our_##name(float x) { return value; }                    \
    static void loop_##name(const float *x, float *y, int32_t n)          \
    {                                                                     \
        for (int32_t i = 0; i < n; i++) y[i] = our_##name(x[i]);          \
    }
#define MATH(name) OURS(name, math_##name##_f32(x))
MATH(exp) MATH(expm1) MATH(log) MATH(log1p) MATH(tanh) MATH(erf) MATH(erfc) MATH(sin) MATH(cos)
OURS(near_sin, fabsf(x) <= HTI_TURN_MOST ? math_sin_near(x) : x - x)
OURS(near_cos, fabsf(x) <= HTI_TURN_MOST ? math_cos_near(x) : x - x)
OURS(sigmoid, k_sigmoid_f32(x, 0, 0))
OURS(softplus, k_softplus_f32(x, 0, 0))
static double exact_sigmoid(double x) { return 1 / (1 + exp(-x)); }
static double exact_softplus(double x) { return (x > 0 ? x : 0) + log1p(exp(-fabs(x))); }
static double near_sin(double x) { return fabs(x) <= (double)HTI_TURN_MOST ? sin(x) : x - x; }
static double near_cos(double x) { return fabs(x) <= (double)HTI_TURN_MOST ? cos(x) : x - x; }

typedef struct math_case {
    const char *name;
    float (*ours)(float);
    void (*loop)(const float *x, float *y, int32_t n);
    double (*exact)(double);
    double bound; /* in ulp */
} math_case;

#define CASE(name, exact, bound) {#name, our_##name, loop_##name, exact, bound}
static const math_case cases[] = {
    CASE(exp, exp, 2), CASE(expm1, expm1, 2), CASE(log, log, 2), CASE(log1p, log1p, 2), CASE(tanh, tanh, 2),
    CASE(erf, erf, 1.5), CASE(erfc, erfc, 2.1), CASE(sin, sin, 2), CASE(cos, cos, 2), CASE(near_sin, near_sin, 2),
    CASE(near_cos, near_cos, 2), CASE(sigmoid, exact_sigmoid, 2.5), CASE(softplus, exact_softplus, 2.5),
};

/* Every 997th of the 2^32 bit patterns: all exponents, both signs, subnormal numbers, infinities and NaN. */
static double worst_error(const math_case *c, float *where)
{
    double worst = 0;
    for (uint64_t bits = 0; bits < UINT64_C(1) << 32; bits += 997) {
        const float x = math_float((uint32_t)bits);
        const double error = ulps(c->ours(x), c->exact((double)x));
        if (error <= worst) continue;
        worst = error;
        *where = x;
    }
    return worst;
}

static void test_edges(void)
{
    tap_ok(math_exp_f32(0) == 1 && math_exp_f32(-INFINITY) == 0 && isinf(math_exp_f32(INFINITY)), "exp at its bounds");
    tap_ok(math_log_f32(1) == 0 && math_log_f32(0) == -INFINITY && math_log_f32(-0.0f) == -INFINITY &&
               math_log_f32(INFINITY) == INFINITY && isnan(math_log_f32(-1)),
           "log at its bounds");
    tap_ok(math_log1p_f32(0) == 0 && math_log1p_f32(-1) == -INFINITY && math_log1p_f32(INFINITY) == INFINITY &&
               isnan(math_log1p_f32(-2)),
           "log1p at its bounds");
    tap_ok(math_tanh_f32(INFINITY) == 1 && math_tanh_f32(-INFINITY) == -1 && signbit(math_tanh_f32(-0.0f)),
           "tanh at its bounds");
    tap_ok(math_expm1_f32(INFINITY) == INFINITY && math_expm1_f32(-INFINITY) == -1 && signbit(math_expm1_f32(-0.0f)),
           "expm1 at its bounds");
    tap_ok(math_erf_f32(INFINITY) == 1 && math_erf_f32(-INFINITY) == -1 && signbit(math_erf_f32(-0.0f)), "erf at its bounds");
    tap_ok(math_erfc_f32(INFINITY) == 0 && math_erfc_f32(-INFINITY) == 2 && math_erfc_f32(-0.0f) == 1, "erfc at its bounds");
    tap_ok(signbit(math_sin_f32(-0.0f)) && math_cos_f32(-0.0f) == 1 && isnan(math_sin_f32(INFINITY)) &&
               isnan(math_cos_f32(-INFINITY)),
           "sin and cos at their bounds");
}

#define LENGTH 67
/* Tails of every length, and numbers of all sizes, the special ones among them. */
static void test_places(const math_case *c)
{
    int unequal = 0;
    for (int32_t first = 0; first < 33; first++) {
        float x[LENGTH], y[LENGTH];
        const int32_t n = LENGTH - first;
        for (int32_t i = 0; i < n; i++) x[i] = (float)(i + first) * 0.37f - 11.0f;
        x[n / 2] = first % 3 == 0 ? NAN : first % 3 == 1 ? -INFINITY : 1e-41f;
        x[n / 3] = first % 2 == 0 ? -0.0f : 9000.0f;
        c->loop(x, y, n);
        for (int32_t i = 0; i < n; i++) {
            volatile float alone = x[i];
            const float want = c->ours(alone);
            unequal += memcmp(&want, &y[i], sizeof want) != 0 && !(isnan(want) && isnan(y[i]));
        }
    }
    tap_ok(unequal == 0, "%s: an element has equal bits anywhere in a loop (%d unequal)", c->name, unequal);
}

int main(void)
{
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        float where = 0;
        const double worst = worst_error(&cases[i], &where);
        tap_ok(worst <= cases[i].bound, "%s: at most %.2f ulp off, at %.9g", cases[i].name, worst, (double)where);
        test_places(&cases[i]);
    }
    test_edges();
    return tap_done();
}
