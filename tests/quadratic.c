/* The quadratic problems that the tests of mlo share; see quadratic.h. */
#include "quadratic.h"

#include <math.h>
#include <string.h>

#include <ht/random.h>

#include "tap.h"

#define N QUADRATIC_N

double quadratic_uniform(uint64_t stream, int64_t i)
{
    return 2 * ht_random_unit(ht_random_word(ht_random_key(stream, "mlo methods"), 0, (uint64_t)i)) - 1;
}

ht_store *quadratic_vector(ht_device *device, const double *values)
{
    ht_store *store = ht_store_new(device);
    ht_store_add(store, "value", HT_F64, HT_SHAPE(N), HT_PARAMETER, NULL);
    ht_store_set(store, "value", values, N, NULL);
    return store;
}

ht_var quadratic_value(const mlo_point *at, const char *level)
{
    return nn_parameter(mlo_at(at, level), "value", HT_SHAPE(N), nn_constant(0));
}

/* M x of a constant matrix. */
ht_var quadratic_times(const double *matrix, ht_var x)
{
    ht_var m = ht_constant(x.tape, matrix, HT_SHAPE(N, N));
    return ht_reshape(ht_matmul(m, ht_reshape(x, HT_SHAPE(N, 1))), HT_SHAPE(N));
}

ht_var quadratic_half_square(ht_var x) { return ht_scale(ht_sum(ht_square(x)), 0.5); }

int quadratic_run(ht_device *device, ht_tape *tape, ht_vars outputs, double *to)
{
    ht_error error = {0};
    ht_program *p = ht_compile(tape, device, outputs, .error = &error);
    int ok = p && ht_run(p) == HT_OK;
    for (int32_t i = 0; ok && i < outputs.count; i++) {
        int64_t count = ht_shape_count(ht_var_shape(outputs.at[i]));
        ok = ht_get_at(p, i, to, count) == HT_OK;
        to += count;
    }
    if (!ok) tap_ok(0, "runs: %s", p ? ht_program_error(p)->message : error.message);
    ht_program_free(p);
    return ok;
}

double quadratic_distance(const double *a, const double *b)
{
    double gap = 0, size = 0;
    for (int i = 0; i < N; i++) {
        gap += (a[i] - b[i]) * (a[i] - b[i]);
        size += b[i] * b[i];
    }
    return sqrt(gap / size);
}

static ht_var quadratic_inner(const mlo_point *at, void *context)
{
    const quadratic *q = context;
    ht_var w = quadratic_value(at, "w"), x = quadratic_value(at, "x");
    ht_var loss = ht_add(ht_scale(ht_dot(ht_list(w), ht_list(quadratic_times(q->H, w))), 0.5),
                         ht_dot(ht_list(x), ht_list(quadratic_times(q->B, w))));
    if (q->cubic > 0) loss = ht_add(loss, ht_scale(ht_sum(ht_mul(ht_square(w), w)), q->cubic / 6));
    return loss;
}

static ht_var quadratic_outer(const mlo_point *at, void *context)
{
    const quadratic *q = context;
    ht_var w = quadratic_value(at, "w"), x = quadratic_value(at, "x");
    ht_var target = ht_constant(w.tape, q->c, HT_SHAPE(N));
    return ht_add(quadratic_half_square(ht_sub(w, target)), quadratic_half_square(x));
}

/* Solves H u = v by Gauss without pivoting: H is diagonally dominant here. */
void quadratic_solve(const double *H, const double *v, double *u)
{
    double a[N][N + 1];
    for (int i = 0; i < N; i++) {
        for (int j = 0; j < N; j++) a[i][j] = H[i * N + j];
        a[i][N] = v[i];
    }
    for (int i = 0; i < N; i++)
        for (int k = i + 1; k < N; k++)
            for (int j = N; j >= i; j--) a[k][j] -= a[i][j] * a[k][i] / a[i][i];
    for (int i = N - 1; i >= 0; i--) {
        u[i] = a[i][N];
        for (int j = i + 1; j < N; j++) u[i] -= a[i][j] * u[j];
        u[i] /= a[i][i];
    }
}

void quadratic_product(const double *M, const double *v, double *to, int transposed)
{
    for (int i = 0; i < N; i++) {
        to[i] = 0;
        for (int j = 0; j < N; j++) to[i] += (transposed ? M[j * N + i] : M[i * N + j]) * v[j];
    }
}

/* sign -1 gives an indefinite H */
quadratic quadratic_make(ht_device *device, uint64_t seed, double sign)
{
    quadratic q = {0};
    for (int i = 0; i < N; i++) {
        q.c[i] = quadratic_uniform(seed + 3, i);
        q.x[i] = quadratic_uniform(seed + 4, i);
        q.w[i] = quadratic_uniform(seed + 5, i);
        for (int j = 0; j < N; j++) {
            double diagonal = i != j ? 0 : i == 0 ? sign : 1;
            q.H[i * N + j] = 0.15 * (quadratic_uniform(seed, i * N + j) + quadratic_uniform(seed, j * N + i)) + diagonal;
            q.B[i * N + j] = quadratic_uniform(seed + 2, i * N + j);
        }
    }
    q.X = quadratic_vector(device, q.x);
    q.W = quadratic_vector(device, q.w);
    return q;
}

/* Sets w in the store to the minimum for x: H w = -B'x. */
void quadratic_converge(quadratic *q)
{
    double b[N];
    quadratic_product(q->B, q->x, b, 1);
    for (int i = 0; i < N; i++) b[i] = -b[i];
    quadratic_solve(q->H, b, q->w);
    ht_store_set(q->W, "value", q->w, N, NULL);
}

mlo_args quadratic_record(ht_tape *tape, void *context)
{
    quadratic *q = context;
    q->level[0].name = "w";
    q->level[0].scope = nn_open(tape, q->W);
    q->level[0].loss = quadratic_inner;
    q->level[1] = (mlo_level){.name = "x", .scope = nn_open(tape, q->X), .loss = quadratic_outer, .context = q};
    q->level[0].context = q;
    return (mlo_args){.tape = tape, .levels = q->level, .count = 2};
}

void quadratic_release(quadratic *q)
{
    ht_store_free(q->X);
    ht_store_free(q->W);
}

