/*
 * What every op means, written once more in its slowest form (reference.inl): values of a tape by plain loops over dense
 * row-major arrays, in float, double, quad and complex double. It shares nothing with kernels, plans or derivative rules,
 * so it can judge all three. Tapes of a few hundred numbers are its home.
 */
#ifndef GRADCHECK_REFERENCE_H
#define GRADCHECK_REFERENCE_H

#include <complex.h>
#include <float.h>
#include <stdbool.h>

#include <ht/tape.h>

/* A number of 113 bits: by the compiler's own type, or where long double is one. */
#if defined(__SIZEOF_FLOAT128__)
typedef __float128 gradcheck_quad;
#elif LDBL_MANT_DIG >= 113
typedef long double gradcheck_quad;
#else
#error "ht-gradcheck needs a floating point type of 113 bits: __float128 or long double"
#endif

/*
 * Evaluates `target`. The inputs in[k] of the tape hold numbers[k]; other leaves hold what the tape or the store says.
 * result receives the elements, integers too. branches, if not NULL, receives a digest of every branch that an op took:
 * equal digests lie on one smooth piece. false without memory, or where an input of the tape is not among in[].
 */
#define GRADCHECK_EVALUATE(type, suffix)                                                                              \
    bool gradcheck_evaluate_##suffix(ht_var target, const ht_var *in, const type *const *numbers, int32_t inputs,     \
                                     type *result, uint64_t *branches);
GRADCHECK_EVALUATE(float, f32)
GRADCHECK_EVALUATE(double, f64)
GRADCHECK_EVALUATE(gradcheck_quad, quad)
GRADCHECK_EVALUATE(double complex, complex)
#undef GRADCHECK_EVALUATE

#endif
