/*
 * The methods of mlo against closed forms: the three-level quadratic C3, random quadratic bilevel problems (C4), series of
 * Neumann and of fixed points, truncated unrolling, and derivatives of what the solvers give.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ht/mlo.h>
#include <ht/random.h>

#include "tap.h"

#define N 4 /* unknowns of each level of the quadratic problems */

static ht_device *device;

static double uniform(uint64_t stream, int64_t i)
{
    return 2 * ht_random_unit(ht_random_word(ht_random_key(stream, "mlo methods"), 0, (uint64_t)i)) - 1;
}

static ht_store *vector(const double *values)
{
    ht_store *store = ht_store_new(device);
    ht_store_add(store, "value", HT_F64, HT_SHAPE(N), HT_PARAMETER, NULL);
    ht_store_set(store, "value", values, N, NULL);
    return store;
}

static ht_var value(const mlo_point *at, const char *level)
{
    return nn_parameter(mlo_at(at, level), "value", HT_SHAPE(N), nn_constant(0));
}

/* M x of a constant matrix. */
static ht_var times(const double *matrix, ht_var x)
{
    ht_var m = ht_constant(x.tape, matrix, HT_SHAPE(N, N));
    return ht_reshape(ht_matmul(m, ht_reshape(x, HT_SHAPE(N, 1))), HT_SHAPE(N));
}

static ht_var half_square(ht_var x) { return ht_scale(ht_sum(ht_square(x)), 0.5); }

/* Runs the outputs of a tape once; each is N numbers but the last `scalars`. */
static int run(ht_tape *tape, ht_vars outputs, double *to)
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

static double distance(const double *a, const double *b)
{
    double gap = 0, size = 0;
    for (int i = 0; i < N; i++) {
        gap += (a[i] - b[i]) * (a[i] - b[i]);
        size += b[i] * b[i];
    }
    return sqrt(gap / size);
}

/* ---- C3: G* = P A, S* = Q G*, L = |S* - c|^2 / 2 ---- */

typedef struct c3 {
    double P[N * N], Q[N * N];
    ht_store *A, *G, *S;
} c3;

static ht_var c3_generator(const mlo_point *at, void *context)
{
    const c3 *c = context;
    return half_square(ht_sub(value(at, "G"), times(c->P, value(at, "A"))));
}

static ht_var c3_segmenter(const mlo_point *at, void *context)
{
    const c3 *c = context;
    return half_square(ht_sub(value(at, "S"), times(c->Q, value(at, "G"))));
}

static ht_var c3_validation(const mlo_point *at, void *context)
{
    static const double target[N] = {1, -1, 0.5, 2};
    (void)context;
    ht_var s = value(at, "S");
    return half_square(ht_sub(s, ht_constant(s.tape, target, HT_SHAPE(N))));
}

static void test_c3(const char *name, mlo_solver lower, mlo_solver upper, int32_t steps, int32_t solver_steps, double rate)
{
    static const double expected[N] = {1.61685888, 0.90722495, 0.64570809, 0.50546404};
    static const double alpha[N] = {0.3, -0.2, 0.1, 0.4}, zero[N] = {0};
    c3 c = {.A = vector(alpha), .G = vector(zero), .S = vector(zero)};
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            c.P[i * N + j] = 1.0 / (1 + i + j);
            c.Q[i * N + j] = ((3 * i + 5 * j) % 7 - 3) / 4.0;
        }
    ht_tape *tape = ht_tape_new(HT_F64);
    mlo_level levels[] = {
        {"G", nn_open(tape, c.G), c3_generator, .rate = rate, .context = &c, .steps = steps},
        {"S", nn_open(tape, c.S), c3_segmenter, .rate = rate, .context = &c, .steps = steps},
        {.name = "A", .scope = nn_open(tape, c.A), .loss = c3_validation},
    };
    for (int i = 0; i < 2; i++) {
        levels[i].solver = i ? upper : lower;
        levels[i].solver_steps = solver_steps;
    }
    mlo_round round = mlo_record(tape, levels, 3);
    double h[N] = {0};
    run(tape, round.total, h);
    tap_ok(distance(h, expected) < 5e-9, "C3 by %s: (%.8f, %.8f, %.8f, %.8f), off by %.1e", name, h[0], h[1], h[2], h[3],
           distance(h, expected));
    ht_tape_free(tape);
    ht_store_free(c.A);
    ht_store_free(c.G);
    ht_store_free(c.S);
}

/* ---- C4: L = w'Hw/2 + x'Bw, F = |w - c|^2/2 + x'Ex/2 ---- */

typedef struct quadratic {
    double H[N * N], B[N * N], c[N], x[N], w[N];
    double cubic;   /* cubic sum w^3 / 6 in L: H then depends on w */
    ht_store *X, *W;
    mlo_level level[2];
} quadratic;

static ht_var inner(const mlo_point *at, void *context)
{
    const quadratic *q = context;
    ht_var w = value(at, "w"), x = value(at, "x");
    ht_var loss = ht_add(ht_scale(ht_dot(ht_list(w), ht_list(times(q->H, w))), 0.5),
                         ht_dot(ht_list(x), ht_list(times(q->B, w))));
    if (q->cubic > 0) loss = ht_add(loss, ht_scale(ht_sum(ht_mul(ht_square(w), w)), q->cubic / 6));
    return loss;
}

static ht_var outer(const mlo_point *at, void *context)
{
    const quadratic *q = context;
    ht_var w = value(at, "w"), x = value(at, "x");
    ht_var target = ht_constant(w.tape, q->c, HT_SHAPE(N));
    return ht_add(half_square(ht_sub(w, target)), half_square(x));
}

/* Solves H u = v by Gauss without pivoting: H is diagonally dominant here. */
static void solve(const double *H, const double *v, double *u)
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

static void product(const double *M, const double *v, double *to, int transposed)
{
    for (int i = 0; i < N; i++) {
        to[i] = 0;
        for (int j = 0; j < N; j++) to[i] += (transposed ? M[j * N + i] : M[i * N + j]) * v[j];
    }
}

/* sign -1 gives an indefinite H */
static quadratic make(uint64_t seed, double sign)
{
    quadratic q = {0};
    for (int i = 0; i < N; i++) {
        q.c[i] = uniform(seed + 3, i);
        q.x[i] = uniform(seed + 4, i);
        q.w[i] = uniform(seed + 5, i);
        for (int j = 0; j < N; j++) {
            q.H[i * N + j] = 0.15 * (uniform(seed, i * N + j) + uniform(seed, j * N + i)) + (i == j ? (i == 0 ? sign : 1) : 0);
            q.B[i * N + j] = uniform(seed + 2, i * N + j);
        }
    }
    q.X = vector(q.x);
    q.W = vector(q.w);
    return q;
}

/* Sets w in the store to the minimum for x: H w = -B'x. */
static void converge(quadratic *q)
{
    double b[N];
    product(q->B, q->x, b, 1);
    for (int i = 0; i < N; i++) b[i] = -b[i];
    solve(q->H, b, q->w);
    ht_store_set(q->W, "value", q->w, N, NULL);
}

/* x - B u: what a solver that gives u for v hands on. */
static void handed(const quadratic *q, const double *u, double *h)
{
    product(q->B, u, h, 0);
    for (int i = 0; i < N; i++) h[i] = q->x[i] - h[i];
}

static mlo_args record(ht_tape *tape, void *context)
{
    quadratic *q = context;
    q->level[0].name = "w";
    q->level[0].scope = nn_open(tape, q->W);
    q->level[0].loss = inner;
    q->level[1] = (mlo_level){.name = "x", .scope = nn_open(tape, q->X), .loss = outer, .context = q};
    q->level[0].context = q;
    return (mlo_args){.tape = tape, .levels = q->level, .count = 2};
}

static int hypergradient(quadratic *q, double *h)
{
    ht_tape *tape = ht_tape_new(HT_F64);
    mlo_args args = record(tape, q);
    args.where = HT_HERE;
    mlo_round round = mlo_record_(args);
    int ok = run(tape, round.total, h);
    ht_tape_free(tape);
    return ok;
}

static void release(quadratic *q)
{
    ht_store_free(q->X);
    ht_store_free(q->W);
}

static void test_c4(void)
{
    double worst = 0, worst_normal = 0, worst_unrolled = 0;
    for (uint64_t seed = 10; seed < 15; seed++)
        for (int indefinite = 0; indefinite < 2; indefinite++) {
            quadratic q = make(seed * 100, indefinite ? -1 : 1);
            double v[N], u[N], expected[N], h[N] = {0};
            converge(&q);
            for (int i = 0; i < N; i++) v[i] = q.w[i] - q.c[i];
            solve(q.H, v, u);
            handed(&q, u, expected);
            q.level[0] = (mlo_level){.steps = MLO_NO_STEPS, .solver = MLO_NORMAL_CG, .solver_steps = 3 * N};
            hypergradient(&q, h);
            worst_normal = fmax(worst_normal, distance(h, expected));
            if (!indefinite) {
                q.level[0] = (mlo_level){.steps = MLO_NO_STEPS, .solver = MLO_CG, .solver_steps = 3 * N};
                hypergradient(&q, h);
                worst = fmax(worst, distance(h, expected));
                q.level[0] = (mlo_level){.steps = 150, .rate = 0.6};
                hypergradient(&q, h);
                worst_unrolled = fmax(worst_unrolled, distance(h, expected));
            }
            release(&q);
        }
    tap_ok(worst < 1e-12, "C4, CG with more steps than unknowns: off by %.1e at most", worst);
    tap_ok(worst_normal < 1e-11, "C4, normal CG, definite or not: off by %.1e at most", worst_normal);
    tap_ok(worst_unrolled < 1e-12, "C4, 150 steps unrolled: off by %.1e at most", worst_unrolled);
}

/* u = a sum_{k < terms} (1 - a (H + damping))^k v */
static void series(const quadratic *q, const double *v, double a, int terms, double *u)
{
    memcpy(u, v, N * sizeof *u);
    for (int k = 1; k < terms; k++) {
        double Hu[N];
        product(q->H, u, Hu, 0);
        for (int i = 0; i < N; i++) u[i] = v[i] + u[i] - a * (Hu[i] + q->level[0].damping * u[i]);
    }
    for (int i = 0; i < N; i++) u[i] *= a;
}

static void test_series(void)
{
    quadratic q = make(7, 1);
    double v[N], u[N], expected[N], h[N] = {0};
    for (int i = 0; i < N; i++) v[i] = q.w[i] - q.c[i];
    for (int terms = 1; terms <= 5; terms += 2) {
        q.level[0] = (mlo_level){.steps = MLO_NO_STEPS, .solver = MLO_NEUMANN, .solver_steps = terms, .solver_rate = 0.3,
                                 .damping = 0.25};
        series(&q, v, 0.3, terms, u);
        handed(&q, u, expected);
        hypergradient(&q, h);
        tap_ok(distance(h, expected) < 1e-14, "Neumann, %d terms, damped: off by %.1e", terms, distance(h, expected));
    }
    q.level[0] = (mlo_level){.steps = MLO_NO_STEPS, .solver = MLO_IDENTITY, .rate = 0.7};
    series(&q, v, 0.7, 1, u);
    handed(&q, u, expected);
    hypergradient(&q, h);
    tap_ok(distance(h, expected) < 1e-14, "identity with the level's rate: off by %.1e", distance(h, expected));

    converge(&q); /* one step leads nowhere else, so w of v is known */
    for (int i = 0; i < N; i++) v[i] = q.w[i] - q.c[i];
    q.level[0] = (mlo_level){.solver = MLO_FIXED_POINT, .solver_steps = 6, .rate = 0.4};
    series(&q, v, 0.4, 6, u);
    handed(&q, u, expected);
    hypergradient(&q, h);
    tap_ok(distance(h, expected) < 1e-12, "fixed point of w - rate g, 6 terms: off by %.1e", distance(h, expected));
    q.level[0] = (mlo_level){.steps = MLO_NO_STEPS, .solver = MLO_CG, .solver_steps = 8, .damping = 0.5};
    for (int i = 0; i < N; i++) q.H[i * N + i] += 0.5;
    solve(q.H, v, u);
    for (int i = 0; i < N; i++) q.H[i * N + i] -= 0.5;
    handed(&q, u, expected);
    hypergradient(&q, h);
    tap_ok(distance(h, expected) < 1e-13, "CG, damped: off by %.1e", distance(h, expected));
    release(&q);
}

/* k steps w <- w - a (H w + B'x), the last j carrying a derivative: dw_k/dx = -a sum_{m < j} (1 - aH)^m B' */
static void test_truncated(void)
{
    quadratic q = make(21, 1);
    const double a = 0.2;
    for (int j = 1; j <= 5; j += 2) {
        double w[N], b[N], v[N], u[N], expected[N], h[N] = {0};
        memcpy(w, q.w, sizeof w);
        product(q.B, q.x, b, 1);
        for (int k = 0; k < 5; k++) {
            double Hw[N];
            product(q.H, w, Hw, 0);
            for (int i = 0; i < N; i++) w[i] -= a * (Hw[i] + b[i]);
        }
        for (int i = 0; i < N; i++) v[i] = w[i] - q.c[i];
        q.level[0] = (mlo_level){.rate = a, .steps = 5, .truncate = j};
        series(&q, v, a, j, u);
        handed(&q, u, expected);
        hypergradient(&q, h);
        tap_ok(distance(h, expected) < 1e-14, "5 steps, the last %d carry a derivative: off by %.1e", j, distance(h, expected));
        q.level[0].solver = MLO_DIFFERENCE;
        hypergradient(&q, h);
        tap_ok(distance(h, expected) < 1e-10, "the same by differences: off by %.1e", distance(h, expected));
    }
    release(&q);
}

/* The solver's result is a value of the tape: its derivative against differences of it, converged steps masked. */
static void test_derivative_of_solver(mlo_solver solver)
{
    quadratic q = make(33, 1);
    q.cubic = 0.5;
    double d[N], numbers[1 + N] = {0}, at[2] = {0}, slope = 0;
    for (int i = 0; i < N; i++) d[i] = uniform(99, i);
    for (int side = -1; side <= 1; side++) {
        double x[N];
        for (int i = 0; i < N; i++) x[i] = q.x[i] + 1e-5 * side * d[i];
        ht_store_set(q.X, "value", x, N, NULL);
        ht_tape *tape = ht_tape_new(HT_F64);
        q.level[0] = (mlo_level){.rate = 0.3, .steps = 2, .solver = solver, .solver_steps = 3 * N, .solver_rate = 0.3};
        mlo_args args = record(tape, &q);
        args.where = HT_HERE;
        mlo_round round = mlo_record_(args);
        ht_var square = half_square(round.total.count ? round.total.at[0] : (ht_var){0});
        if (side) run(tape, ht_list(square), &at[side > 0]);
        else run(tape, ht_vars_join(ht_list(square), ht_grad(square, nn_params(q.level[1].scope))), numbers);
        ht_tape_free(tape);
    }
    for (int i = 0; i < N; i++) slope += numbers[1 + i] * d[i];
    double difference = (at[1] - at[0]) / 2e-5;
    tap_ok(fabs(slope - difference) < 1e-7 * fabs(difference), "solver %d: the derivative of what it gives is %.9g, difference %.9g",
           (int)solver, slope, difference);
    release(&q);
}

static ht_var sliced(const mlo_point *at, void *context)
{
    (void)context;
    ht_var w = value(at, "w"), x = value(at, "x");
    return half_square(ht_sub(w, ht_scale(x, mlo_step(at) + 1))); /* step t has its own data: (t + 1) x */
}

/* w <- w - a (w - (t + 1) x): w_3 = (1-a)^3 w + a x ((1-a)^2 + 2 (1-a) + 3) */
static void test_streams(void)
{
    quadratic q = make(41, 1);
    ht_tape *tape = ht_tape_new(HT_F64);
    q.level[0] = (mlo_level){.rate = 0.25, .steps = 3};
    mlo_args args = record(tape, &q);
    q.level[0].loss = sliced;
    args.where = HT_HERE;
    mlo_round round = mlo_record_(args);
    double numbers[2 * N] = {0}, w[N], h[N], slope = 0.25 * (0.5625 + 1.5 + 3);
    run(tape, ht_vars_join(round.next[0], round.total), numbers);
    for (int i = 0; i < N; i++) {
        w[i] = 0.421875 * q.w[i] + slope * q.x[i];
        h[i] = q.x[i] + slope * (w[i] - q.c[i]);
    }
    tap_ok(distance(numbers, w) < 1e-14 && distance(numbers + N, h) < 1e-14, "each step has its slice of the data: %.1e, %.1e",
           distance(numbers, w), distance(numbers + N, h));
    ht_tape_free(tape);
    release(&q);
}

/* ---- mlo_compare, mlo_check ---- */

static void test_compare(void)
{
    quadratic q = make(55, 1);
    converge(&q);
    q.level[0] = (mlo_level){.rate = 0.5, .steps = 60, .solver_steps = 40};
    uint64_t before[2] = {ht_store_hash(q.X), ht_store_hash(q.W)};
    mlo_problem problem = {record, NULL, &q};
    mlo_row rows[MLO_VARIANTS];
    ht_error error = {0};
    int32_t n = mlo_compare(device, problem, rows, MLO_VARIANTS, .error = &error);
    if (!tap_ok(n == MLO_VARIANTS, "mlo_compare gives %d rows: %s", (int)n, error.message)) return;
    static const double most[MLO_VARIANTS] = {0, 10, 1e-8, 10, 1e-5, 1e-5, 1e-9, 1e-9};
    for (int i = 0; i < n; i++)
        tap_ok(rows[i].status == HT_OK && rows[i].error <= most[i] && rows[i].cosine > 0.5 && rows[i].cosine < 1 + 1e-12 &&
                   rows[i].seconds > 0 && rows[i].arena_bytes > 0, "%s: error %.1e, cosine %.6f, residual %.1e%s", rows[i].name,
               rows[i].error, rows[i].cosine, rows[i].residual, rows[i].note);
    tap_ok(rows[1].error > 1e-3 && rows[3].error > 1e-3, "one step and the identity are seen to be approximations");
    tap_ok(before[0] == ht_store_hash(q.X) && before[1] == ht_store_hash(q.W), "comparing changes no store");
    FILE *file = tmpfile();
    if (file) mlo_compare_print(rows, n, file);
    tap_ok(file && ftell(file) > 500, "the table has its rows");
    if (file) fclose(file);
    release(&q);
}

static void test_check(void)
{
    quadratic q = make(66, 1);
    q.cubic = 0.3;
    q.level[0] = (mlo_level){.rate = 0.3, .steps = 4};
    mlo_problem problem = {record, NULL, &q};
    mlo_check_row rows[4];
    ht_error error = {0};
    uint64_t before[2] = {ht_store_hash(q.X), ht_store_hash(q.W)};
    mlo_check_report report = mlo_check(device, problem, rows, 4, .seed = 3, .error = &error);
    tap_ok(report.ok && report.judged == 4, "mlo_check agrees with the exact derivative: error %.1e %s",
           report.worst >= 0 ? rows[report.worst].error : NAN, error.message);
    tap_ok(before[0] == ht_store_hash(q.X) && before[1] == ht_store_hash(q.W), "checking changes no store");
    q.level[0].truncate = 3;
    report = mlo_check(device, problem, rows, 4, .seed = 3);
    tap_ok(!report.ok && report.judged == 4, "a truncated derivative is found out: error %.1e", rows[0].error);
    q.level[0] = (mlo_level){.rate = 0.3, .steps = 100, .solver = MLO_CG};
    report = mlo_check(device, problem, rows, 4, .seed = 3);
    tap_ok(report.ok && report.residual < 1e-10, "CG where the level is converged: error %.1e, residual %.1e",
           report.worst >= 0 ? rows[report.worst].error : NAN, report.residual);
    q.level[0].steps = 3;
    report = mlo_check(device, problem, rows, 4, .seed = 3);
    tap_ok(!report.ok && report.residual > 1e-3, "CG where it is not: it differs, and the residual, %.1e, says why",
           report.residual);
    release(&q);
}

/* ---- optimisers, kinks, held edges ---- */

typedef struct trained {
    quadratic q;
    ht_store *moments;
    int adam;
} trained;

static ht_vars optimiser(ht_vars w, ht_vars gradient, void *context)
{
    trained *t = context;
    return t->adam ? nn_adam(t->moments, w, gradient, .rate = 0.05) : nn_rmsprop(t->moments, w, gradient, .rate = 0.05, .momentum = 0.5);
}

/* Half of the weights are not seen by this loss' data: their gradients are exactly zero. */
static ht_var half_blind(const mlo_point *at, void *context)
{
    (void)context;
    static const double mask[N] = {1, 0, 1, 0};
    ht_var w = value(at, "w"), x = value(at, "x"), m = ht_constant(w.tape, mask, HT_SHAPE(N));
    ht_var seen = ht_mul(w, m);
    return ht_add(ht_sum(ht_mul(ht_exp(x), ht_square(seen))), ht_sum(ht_sin(ht_mul(seen, x))));
}

static mlo_args record_trained(ht_tape *tape, void *context)
{
    trained *t = context;
    mlo_args args = record(tape, &t->q);
    t->q.level[0] = (mlo_level){"w", t->q.level[0].scope, half_blind, optimiser, .context = t, .steps = 5};
    args.look_ahead = MLO_OPTIMIZER;
    return args;
}

static void test_optimiser(int adam)
{
    trained t = {.q = make(77, 1), .moments = ht_store_new(device), .adam = adam};
    mlo_problem problem = {record_trained, NULL, &t};
    mlo_check_row rows[3];
    ht_error error = {0};
    uint64_t before = ht_store_hash(t.q.W), moments = 0;
    mlo_check_report report = mlo_check(device, problem, rows, 1, .error = &error);
    moments = ht_store_hash(t.moments);
    report = mlo_check(device, problem, rows, 3, .seed = 8, .error = &error);
    tap_ok(report.ok && report.judged == 3, "5 steps of %s, half of the gradients 0: error %.1e %s", adam ? "Adam" : "RMSprop",
           report.worst >= 0 ? rows[report.worst].error : NAN, error.message);
    tap_ok(before == ht_store_hash(t.q.W) && moments == ht_store_hash(t.moments), "weights and moments are as before");
    ht_store_free(t.moments);
    release(&t.q);
}

/* A kink at distance 1e-3 of x[0]; x = 0 in the other places lies on it: no difference there proves anything. */
static ht_var kinked(const mlo_point *at, void *context)
{
    (void)context;
    ht_var w = value(at, "w"), x = value(at, "x");
    return half_square(ht_sub(w, ht_relu(ht_scale(x, 2))));
}

static mlo_args record_kinked(ht_tape *tape, void *context)
{
    quadratic *q = context;
    mlo_args args = record(tape, q);
    q->level[0].loss = kinked;
    return args;
}

static void test_kinks(void)
{
    quadratic q = make(88, 1);
    static const double near[N] = {1e-3, 0.5, -2e-3, 1}, on[N] = {0};
    mlo_problem problem = {record_kinked, NULL, &q};
    mlo_check_row rows[6];
    q.level[0] = (mlo_level){.rate = 0.3, .steps = 2};
    ht_store_set(q.X, "value", near, N, NULL);
    mlo_check_report report = mlo_check(device, problem, rows, 6, .seed = 4);
    tap_ok(report.ok && report.judged == 6, "kinks nearby are stepped around: %d judged, error %.1e, step %.1e",
           (int)report.judged, report.worst >= 0 ? rows[report.worst].error : NAN, rows[0].step);
    ht_store_set(q.X, "value", on, N, NULL);
    report = mlo_check(device, problem, rows, 6, .seed = 4);
    tap_ok(!report.ok && report.judged == 0 && rows[0].kinks > 0, "on a kink nothing is judged, and nothing is called wrong");
    FILE *file = tmpfile();
    if (file) mlo_check_print(&report, rows, file);
    tap_ok(file && ftell(file) > 300, "the table says so");
    if (file) fclose(file);
    release(&q);
}

/* Held edges: path is what a walk finds without them, direct with them alone; both by every method. */
static void test_held(mlo_solver solver)
{
    quadratic q = make(91, 1);
    double both[2 * N] = {0}, u[N], v[N], direct[N];
    converge(&q);
    ht_tape *tape = ht_tape_new(HT_F64);
    q.level[0] = (mlo_level){.rate = 0.4, .steps = 80, .solver = solver, .solver_steps = 80, .solver_rate = 0.4};
    mlo_args args = record(tape, &q);
    q.level[0].hold = "x";
    args.where = HT_HERE;
    mlo_round round = mlo_record_(args);
    run(tape, ht_vars_join(round.path, round.direct), both);
    for (int i = 0; i < N; i++) v[i] = q.w[i] - q.c[i];
    solve(q.H, v, u);
    product(q.B, u, direct, 0);
    for (int i = 0; i < N; i++) direct[i] = -direct[i];
    tap_ok(distance(both, q.x) < 1e-12 && distance(both + N, direct) < 1e-9, "solver %d, held: path off by %.1e, direct by %.1e",
           (int)solver, distance(both, q.x), distance(both + N, direct));
    ht_tape_free(tape);
    release(&q);
}

int main(void)
{
    ht_error error = {0};
    device = ht_device_open("cpu", 1, &error);
    if (!tap_ok(device != NULL, "device: %s", error.message)) return tap_done();
    test_c3("CG", MLO_CG, MLO_CG, 1, 8, 1);
    test_c3("normal CG", MLO_NORMAL_CG, MLO_NORMAL_CG, 60, 8, 0.5);
    test_c3("unrolling 60 steps", MLO_UNROLLED, MLO_UNROLLED, 60, 0, 0.5);
    test_c3("fixed point", MLO_FIXED_POINT, MLO_FIXED_POINT, 60, 60, 0.5);
    test_c3("CG below unrolled steps", MLO_CG, MLO_UNROLLED, 60, 8, 0.5);
    test_c3("unrolled steps below CG", MLO_UNROLLED, MLO_CG, 60, 8, 0.5);
    test_c3("differences below a fixed point", MLO_DIFFERENCE, MLO_FIXED_POINT, 60, 60, 0.5);
    test_c4();
    test_series();
    test_truncated();
    test_derivative_of_solver(MLO_CG);
    test_derivative_of_solver(MLO_NORMAL_CG);
    test_derivative_of_solver(MLO_NEUMANN);
    test_streams();
    test_compare();
    test_check();
    test_optimiser(1);
    test_optimiser(0);
    test_kinks();
    for (mlo_solver solver = MLO_UNROLLED; solver <= MLO_FIXED_POINT; solver++) test_held(solver);
    ht_device_close(device);
    return tap_done();
}
