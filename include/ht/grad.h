/*
 * Derivatives as more tape. A derivative is an ordinary recorded value, so any order is a matter of calling again.
 */
#ifndef HT_GRAD_H
#define HT_GRAD_H

#include <ht/program.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Gradient of a scalar loss with respect to each value of `inputs` (reverse mode). Shapes and names are the inputs'.
 * ESHAPE if loss is no scalar. EINVALID if an input does not reach the loss through edges that carry a derivative:
 * the message names the input and the place of the cut. A silent zero gradient is a wrong gradient.
 */
#define ht_grad(...) ht_grad_(__VA_ARGS__, HT_HERE)
ht_vars ht_grad_(ht_var loss, ht_vars inputs, const char *where);

/**
 * Vector-Jacobian product: sum_i <cotangents_i, d outputs_i / d inputs_k> for each input k. Inputs are the leaves:
 * no derivative passes through them. An input that is not reached gets zeros.
 */
#define ht_vjp(...) ht_vjp_(__VA_ARGS__, HT_HERE)
ht_vars ht_vjp_(ht_vars outputs, ht_vars cotangents, ht_vars inputs, const char *where);

/** Jacobian-vector product: sum_k d outputs_i / d inputs_k . tangents_k for each output i (forward mode). */
#define ht_jvp(...) ht_jvp_(__VA_ARGS__, HT_HERE)
ht_vars ht_jvp_(ht_vars outputs, ht_vars inputs, ht_vars tangents, const char *where);

/** Exact Hessian-vector product of a scalar loss, forward over reverse. */
#define ht_hvp(...) ht_hvp_(__VA_ARGS__, HT_HERE)
ht_vars ht_hvp_(ht_var loss, ht_vars inputs, ht_vars direction, const char *where);

/** The same value at a place of its own, through which no derivative passes. */
#define ht_stop(...) ht_stop_(__VA_ARGS__, HT_HERE)
ht_var ht_stop_(ht_var x, const char *where);
#define ht_stop_all(...) ht_stop_all_(__VA_ARGS__, HT_HERE)
ht_vars ht_stop_all_(ht_vars x, const char *where);

/**
 * Whether `input` reaches `output` through edges that carry a derivative. If not, and cut is not NULL, cut receives
 * one line with the place that cuts the only paths there are, or says that there is no path at all.
 */
int ht_reaches(ht_var output, ht_var input, char *cut, size_t cut_bytes);

/**
 * For every op below y that takes one of several branches (ReLU, |x|, max, argmax, comparisons): which one it took, as
 * recorded numbers of the tape's type. Two runs with equal numbers lie on one smooth piece, so that a difference between
 * them crosses no kink. Count 0 if there is no such op.
 */
#define ht_branches(...) ht_branches_(__VA_ARGS__, HT_HERE)
ht_vars ht_branches_(ht_var y, const char *where);

typedef struct ht_gradcheck_args {
    const char *where;
    ht_var value;
    ht_vars inputs;
    ht_device *device;
    const double *const *at;
    ht_status (*set)(ht_program *program, void *context);
    void *context;
    uint64_t seed;
    int32_t from, orders, draws;
    double low, high, tolerance;
    ht_vars gradient;
} ht_gradcheck_args;

/** What was found. All is well if status is HT_OK and nothing failed and nothing was skipped. */
typedef struct ht_gradcheck_result {
    ht_status status;                /* other than HT_OK: the checks could not be made; message says why    */
    int64_t checks, failed, skipped; /* a check: input x order x oracle x draw                              */
    double worst;                    /* largest error of a check, relative to the sizes that it sums up     */
    char message[HT_MESSAGE_BYTES];  /* the first failure, else the first skip, else ""                     */
} ht_gradcheck_result;

/**
 * Checks the derivatives of a recorded scalar, on an F64 tape, in some of the values that it is computed from.
 *     ht_gradcheck(loss, weights, device, .orders = 3, .seed = 1)
 *
 * value      the scalar            inputs   inputs of the tape or tensors of a store; of each alone are derivatives checked
 * .at        base point of each of the inputs, in order; NULL or a NULL entry: what the store holds, or random numbers
 * .set       sets the tape's other inputs (ht_set_named), once per program and draw  (default: random numbers, integers 0)
 * .low .high range of the random numbers                                                            (default -1 to 1)
 * .from .orders  lowest and highest order                                                           (default 1, 2; at most 3)
 * .draws     how many random points and directions                                                  (default 1)
 * .seed      of all random numbers: equal seeds, equal checks
 * .tolerance of differences                                                                         (default 1e-8)
 * .gradient  a gradient found by the caller, one value for each input: it is what the differences are compared with, at
 *            order 1 alone; cuts (ht_stop) on the way are the caller's business then
 *
 * Order n is the derivative, in one input, of the order before along random directions. Oracles for each input and order:
 *     difference   reverse mode along a direction, against central differences extrapolated twice (Richardson)
 *     coordinate   two entries of the gradient, against differences along these coordinates
 *     duality      forward mode all the way against reverse mode all the way: <u, J v> = <J'u, v>
 *     mixed        forward over reverse against reverse over forward (orders 2 and 3)
 * A difference is believed only if all its points lie on one smooth piece (ht_branches) and if its own doubt is below the
 * tolerance; else its step changes (it shrinks six times at most), and if that does not help the check is skipped by name.
 * What ht_stop cuts is no part of a derivative but moves a difference: such a value disagrees, and rightly so.
 *
 * The tape, its stores and its pending writes are left as they are. status: EINVALID (an input that does not reach the
 * value, named with the place of the cut; not an F64 tape; no scalar), ENOMEM, and what ht_compile and ht_run say.
 */
#define ht_gradcheck(...) ht_gradcheck_((ht_gradcheck_args){.where = HT_HERE, __VA_ARGS__})
ht_gradcheck_result ht_gradcheck_(ht_gradcheck_args args);

#ifdef __cplusplus
}
#endif
#endif
