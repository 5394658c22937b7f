/*
 * Quadratic bilevel problems with four unknowns in each level, for the tests of mlo: L = w'Hw/2 + x'Bw (+ cubic terms) below,
 * |w - c|^2/2 + |x|^2/2 above, and what is needed to solve them by hand.
 */
#ifndef TESTS_QUADRATIC_H
#define TESTS_QUADRATIC_H

#include <ht/mlo.h>

#define QUADRATIC_N 4

typedef struct quadratic {
    double H[QUADRATIC_N * QUADRATIC_N], B[QUADRATIC_N * QUADRATIC_N], c[QUADRATIC_N], x[QUADRATIC_N], w[QUADRATIC_N];
    double cubic;   /* cubic sum w^3 / 6 in L: H then depends on w */
    ht_store *X, *W;
    mlo_level level[2];
} quadratic;

/** Number i of a stream, uniform in (-1, 1). */
double quadratic_uniform(uint64_t stream, int64_t i);
/** A problem from a seed, H diagonally dominant; sign -1: H is indefinite. Release it. */
quadratic quadratic_make(ht_device *device, uint64_t seed, double sign);
void quadratic_release(quadratic *q);
/** Sets w in its store to the minimum for x: H w = -B'x. */
void quadratic_converge(quadratic *q);
/** As mlo_problem.record; the context is the problem. What stands in level[0] beside name, scope, loss stays. */
mlo_args quadratic_record(ht_tape *tape, void *context);

/** The unknowns of a level at a point, a store with one such vector, M x, |x|^2 / 2. */
ht_var quadratic_value(const mlo_point *at, const char *level);
ht_store *quadratic_vector(ht_device *device, const double *values);
ht_var quadratic_times(const double *matrix, ht_var x);
ht_var quadratic_half_square(ht_var x);

/** Runs the outputs of a tape once, and copies them one after the other. 0, and a "not ok", if that was refused. */
int quadratic_run(ht_device *device, ht_tape *tape, ht_vars outputs, double *to);

/** |a - b| / |b|; u with H u = v; M v or M'v. */
double quadratic_distance(const double *a, const double *b);
void quadratic_solve(const double *H, const double *v, double *u);
void quadratic_product(const double *M, const double *v, double *to, int transposed);

#endif
