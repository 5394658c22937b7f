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

static float our_exp(float x) { return math_exp_f32(x); }
static float our_log(float x) { return math_log_f32(x); }
static float our_log1p(float x) { return math_log1p_f32(x); }
static float our_tanh(float x) { return math_tanh_f32(x); }
static float our_sigmoid(float x) { return k_sigmoid_f32(x, 0, 0); }
static float our_softplus(float x) { return k_softplus_f32(x, 0, 0); }
static double exact_sigmoid(double x) { return 1 / (1 + exp(-x)); }
static double exact_softplus(double x) { return (x > 0 ? x : 0) + log1p(exp(-fabs(x))); }

typedef struct math_case {
    const char *name;
    float (*ours)(float);
    double (*exact)(double);
    double bound; /* in ulp */
} math_case;

static const math_case cases[] = {
    {"exp", our_exp, exp, 2},    {"log", our_log, log, 2},
    {"log1p", our_log1p, log1p, 2}, {"tanh", our_tanh, tanh, 2},
    {"sigmoid", our_sigmoid, exact_sigmoid, 2.5}, {"softplus", our_softplus, exact_softplus, 2.5},
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
}

#define LENGTH 67
static void test_places(void)
{
    int unequal = 0;
    for (int32_t first = 0; first < 33; first++)
        for (int32_t kind = 0; kind < 2; kind++) {
            float x[LENGTH], y[LENGTH];
            const int32_t n = LENGTH - first;
            for (int32_t i = 0; i < n; i++) x[i] = (float)(i + first) * 0.37f - 11.0f;
            if (kind == 0)
                for (int32_t i = 0; i < n; i++) y[i] = math_tanh_f32(x[i]);
            else
                for (int32_t i = 0; i < n; i++) y[i] = k_softplus_f32(x[i], 0, 0);
            for (int32_t i = 0; i < n; i++) {
                volatile float alone = x[i];
                const float want = kind == 0 ? our_tanh(alone) : our_softplus(alone);
                unequal += memcmp(&want, &y[i], sizeof want) != 0;
            }
        }
    tap_ok(unequal == 0, "an element has equal bits anywhere in a loop (%d unequal)", unequal);
}

int main(void)
{
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        float where = 0;
        const double worst = worst_error(&cases[i], &where);
        tap_ok(worst <= cases[i].bound, "%s: at most %.2f ulp off, at %.9g", cases[i].name, worst, (double)where);
    }
    test_edges();
    test_places();
    return tap_done();
}
