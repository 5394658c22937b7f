/*
 * Instances of reference.inl: the mathematical functions of each type, the geometry that all of them share, and the four
 * inclusions. In complex numbers an op branches by the real part, so that an imaginary step rides along on one smooth
 * piece and comes out as the derivative.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <ht/random.h>

#include "reference.h"
#include "tape/attributes.h"
#include "tape/tape_internal.h"

typedef gradcheck_quad quad;

/* ---- mathematical functions ---- */

/* The C library has them for quad; its header hides them from some compilers, so they are declared here. */
#if defined(__SIZEOF_FLOAT128__)
#define QUAD(name) quad name##_quad(quad x) __asm__(#name "f128");
quad pow_quad(quad x, quad p) __asm__("powf128");
#else
#define QUAD(name) \
    static quad name##_quad(quad x) { return name##l(x); }
static quad pow_quad(quad x, quad p) { return powl(x, p); }
#endif
#define F32(name) \
    static float name##_f32(float x) { return name##f(x); }
#define F64(name) \
    static double name##_f64(double x) { return name(x); }
#define REALS(name) QUAD(name) F32(name) F64(name)
REALS(exp)
REALS(expm1)
REALS(log)
REALS(log1p)
REALS(sqrt)
REALS(sin)
REALS(cos)
REALS(tanh)
REALS(erf)
REALS(erfc)
static float pow_f32(float x, float p) { return powf(x, p); }
static double pow_f64(double x, double p) { return pow(x, p); }

#define COMPLEX(name, value) \
    static double complex name##_complex(double complex z) { return value; }
COMPLEX(exp, cexp(z))
COMPLEX(expm1, cexp(z) - 1)
COMPLEX(log, clog(z))
COMPLEX(log1p, clog(1 + z))
COMPLEX(sqrt, csqrt(z))
COMPLEX(sin, csin(z))
COMPLEX(cos, ccos(z))
COMPLEX(tanh, ctanh(z))
static double complex pow_complex(double complex z, double complex p) { return cpow(z, p); }

/* erf by its series without alternating signs, which serves |Re z| < 2; erfc by its continued fraction beyond. */
static double complex erf_near(double complex z)
{
    double complex term = z, sum = z;
    for (int n = 1; n < 80; n++) {
        term *= 2 * z * z / (2 * n + 1);
        sum += term;
    }
    return 1.1283791670955126 * cexp(-z * z) * sum;
}
static double complex erfc_far(double complex z)
{
    double complex rest = z;
    for (int n = 120; n > 0; n--) rest = z + 0.5 * n / rest;
    return 0.5641895835477563 * cexp(-z * z) / rest;
}
static double complex erfc_complex(double complex z)
{
    if (creal(z) >= 2) return erfc_far(z);
    return creal(z) <= -2 ? 2 - erfc_far(-z) : 1 - erf_near(z);
}
static double complex erf_complex(double complex z)
{
    return fabs(creal(z)) < 2 ? erf_near(z) : creal(z) > 0 ? 1 - erfc_far(z) : erfc_far(-z) - 1;
}

static double real_of(double complex z) { return creal(z); }
static double to_single(double x) { return (double)(float)x; }

/* ---- geometry: row-major places ---- */

static void place_of(int64_t index, ht_shape shape, int64_t at[HT_MAX_RANK])
{
    for (int32_t k = shape.rank - 1; k >= 0; k--) {
        at[k] = index % shape.dim[k];
        index /= shape.dim[k];
    }
}

static int64_t index_of(const int64_t *at, ht_shape shape)
{
    int64_t index = 0;
    for (int32_t k = 0; k < shape.rank; k++) index = index * shape.dim[k] + at[k];
    return index;
}

/* The element of `small` that element `index` of `large` belongs to, axes of size 1 stretched. */
static int64_t squeezed(int64_t index, ht_shape large, ht_shape small)
{
    int64_t at[HT_MAX_RANK] = {0};
    place_of(index, large, at);
    for (int32_t k = 0; k < small.rank; k++)
        if (small.dim[k] == 1) at[k] = 0;
    return index_of(at, small);
}

static ht_shape shape_of(ht_var x) { return ht_var_shape(x); }
static int64_t count_of(ht_var x) { return ht_shape_count(ht_var_shape(x)); }

/* Counts through a box of three ranges; false when it is through. */
static bool next_in(int64_t at[3], const int64_t size[3])
{
    for (int32_t k = 2; k >= 0; k--) {
        if (++at[k] < size[k]) return true;
        at[k] = 0;
    }
    return false;
}

/* Three spatial sizes of a shape [N, C, spatial...], those that are not there as 1 in front; spatial strides likewise. */
typedef struct space {
    int64_t size[3], stride[3], pad[3], dilation[3];
} space;

static space space_of(int32_t axes, const int64_t *size, const int64_t *stride, const int64_t *pad, const int64_t *dilation)
{
    space s = {{1, 1, 1}, {1, 1, 1}, {0, 0, 0}, {1, 1, 1}};
    for (int32_t k = 0; k < axes; k++) {
        s.size[3 - axes + k] = size[k];
        s.stride[3 - axes + k] = stride[k];
        s.pad[3 - axes + k] = pad[k];
        if (dilation) s.dilation[3 - axes + k] = dilation[k];
    }
    return s;
}

/* Which place of an image of sizes `image` window p reads at tap r, counted row-major; -1 in the padding. */
static int64_t read_at(const space *s, const int64_t image[3], const int64_t p[3], const int64_t r[3])
{
    int64_t place = 0;
    for (int32_t k = 0; k < 3; k++) {
        int64_t i = p[k] * s->stride[k] - s->pad[k] + r[k] * s->dilation[k];
        if (i < 0 || i >= image[k]) return -1;
        place = place * image[k] + i;
    }
    return place;
}

static void spatial(ht_shape shape, int64_t size[3])
{
    for (int32_t k = 0; k < 3; k++) {
        int32_t axis = shape.rank - 3 + k;
        size[k] = axis >= 2 ? shape.dim[axis] : 1;
    }
}

static uint64_t digest(uint64_t h, double branch)
{
    uint64_t word;
    memcpy(&word, &branch, sizeof word);
    return ht_random_mix(h, word);
}

/* ---- the four instances ---- */

#define T float
#define NAME(name) name##_f32
#define REAL(x) (x)
#define TO_SINGLE(x) (x)
#include "reference.inl"
#undef T
#undef NAME
#undef TO_SINGLE

#define T double
#define NAME(name) name##_f64
#define TO_SINGLE(x) to_single(x)
#include "reference.inl"
#undef T
#undef NAME
#undef TO_SINGLE

#define T quad
#define NAME(name) name##_quad
#define TO_SINGLE(x) (x)
#include "reference.inl"
#undef T
#undef NAME
#undef REAL

#define T double complex
#define NAME(name) name##_complex
#define REAL(x) real_of(x)
#include "reference.inl"
