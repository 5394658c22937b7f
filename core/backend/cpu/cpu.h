/* The CPU's kernels, one const object per op: what cpu.c puts into its table. conv and matmul are in conv.h. */
#ifndef HTI_CPU_H
#define HTI_CPU_H

#include "backend/backend.h"

/* pointwise.c */
extern const hti_kernel hti_cpu_affine, hti_cpu_exp, hti_cpu_expm1, hti_cpu_log, hti_cpu_log1p, hti_cpu_sqrt,
    hti_cpu_safe_sqrt, hti_cpu_rsqrt, hti_cpu_square, hti_cpu_reciprocal, hti_cpu_pow, hti_cpu_sin, hti_cpu_cos,
    hti_cpu_tanh, hti_cpu_sigmoid, hti_cpu_softplus, hti_cpu_leaky_relu, hti_cpu_leaky_gate, hti_cpu_abs,
    hti_cpu_sign, hti_cpu_round, hti_cpu_positive, hti_cpu_add, hti_cpu_sub, hti_cpu_mul, hti_cpu_div,
    hti_cpu_greater, hti_cpu_equal, hti_cpu_shift, hti_cpu_erf, hti_cpu_erfc, hti_cpu_where, hti_cpu_cast;
/*
 * reduce.c: the sum of a dense matrix of `lines` rows over its rows, in parts: each part on its own (add, from zeros, whole
 * eights of lines but for its last), then all of them. Bits are those of sum_to.
 */
typedef struct hti_row_sum {
    int64_t columns, lines, part, parts;
} hti_row_sum;
/*
 * The sum over all numbers, side by side, has 1 column; its lines are pieces of HTI_SUM_PIECE numbers. The sums of the pieces
 * of a part are added up by the same function as the numbers of a piece. A part has at most HTI_SUM_PIECES of them.
 */
#define HTI_SUM_PIECE 4096
#define HTI_SUM_PIECES 8
void hti_piece_sum(ht_dtype dtype, void *to, const void *numbers, int64_t n);
/* False if the sum is of neither form, or too wide. */
bool hti_row_sum_of(const hti_tensor *from, const hti_tensor *to, hti_row_sum *sum);
void hti_row_sum_add(ht_dtype dtype, int64_t columns, void *sums, const void *rows, int64_t lines);
void hti_row_sum_parts(ht_dtype dtype, const hti_row_sum *sum, const void *parts, void *to, int32_t threads);
#define HTI_SUM_COLUMNS 1024
/* fused.c */
int64_t hti_cpu_group_sum(const hti_tensor *from, const hti_tensor *to);
ht_status hti_cpu_group(const hti_group *group, int32_t threads);
/* move.c */
extern const hti_kernel hti_cpu_permute, hti_cpu_slice, hti_cpu_pad, hti_cpu_concat;
/* index.c */
extern const hti_kernel hti_cpu_take, hti_cpu_put;
/* reduce.c */
extern const hti_kernel hti_cpu_sum_to, hti_cpu_argmax, hti_cpu_max_along;
/* window.c */
extern const hti_kernel hti_cpu_pool_argmax, hti_cpu_pool_take, hti_cpu_pool_put, hti_cpu_window_sum,
    hti_cpu_window_spread;
/* resample.c */
extern const hti_kernel hti_cpu_resample, hti_cpu_resample_back;
/* place.c */
extern const hti_kernel hti_cpu_place_take, hti_cpu_place_put;
/* random.c */
extern const hti_kernel hti_cpu_uniform, hti_cpu_normal, hti_cpu_bernoulli;

#endif
