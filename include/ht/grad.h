/*
 * Derivatives as more tape. A derivative is an ordinary recorded value, so any order is a matter of calling again.
 */
#ifndef HT_GRAD_H
#define HT_GRAD_H

#include <ht/tape.h>

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

#ifdef __cplusplus
}
#endif
#endif
