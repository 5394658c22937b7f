/*
 * The methods of mlo against closed forms: the three-level quadratic C3, random quadratic bilevel problems (C4), series of
 * Neumann and of fixed points, truncated unrolling, data by the step, held edges, and derivatives of what solvers give.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "quadratic.h"
#include "tap.h"

#define N QUADRATIC_N

static ht_device *device;

/* ---- C3: G* = P A, S* = Q G*, L = |S* - c|^2 / 2 ---- */

typedef struct c3 {
    double P[N * N], Q[N * N];
    ht_store *A, *G, *S;
} c3;

static ht_var c3_generator(const mlo_point *at, void *context)
{
    const c3 *c = context;
    return quadratic_half_square(ht_sub(quadratic_value(at, "G"), quadratic_times(c->P, quadratic_value(at, "A"))));
}

static ht_var c3_segmenter(const mlo_point *at, void *context)
{
    const c3 *c = context;
    return quadratic_half_square(ht_sub(quadratic_value(at, "S"), quadratic_times(c->Q, quadratic_value(at, "G"))));
}

static ht_var c3_validation(const mlo_point *at, void *context)
{
    static const double target[N] = {1, -1, 0.5, 2};
    (void)context;
    ht_var s = quadratic_value(at, "S");
    return quadratic_half_square(ht_sub(s, ht_constant(s.tape, target, HT_SHAPE(N))));
}

static void test_c3(const char *name, mlo_solver lower, mlo_solver upper, int32_t steps, int32_t solver_steps, double rate)
{
    static const double expected[N] = {1.61685888, 0.90722495, 0.64570809, 0.50546404};
    static const double alpha[N] = {0.3, -0.2, 0.1, 0.4}, zero[N] = {0};
    c3 c = {.A = quadratic_vector(device, alpha), .G = quadratic_vector(device, zero), .S = quadratic_vector(device, zero)};
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
    quadratic_run(device, tape, round.total, h);
    tap_ok(quadratic_distance(h, expected) < 5e-9, "C3 by %s: (%.10g, %.10g, %.10g, %.10g), off by %.1e", name,
           h[0], h[1], h[2], h[3], quadratic_distance(h, expected));
    ht_tape_free(tape);
    ht_store_free(c.A);
    ht_store_free(c.G);
    ht_store_free(c.S);
}

/* ---- C4 and what else is known of quadratic problems (quadratic.h) ---- */

/* x - B u: what a solver that gives u for v hands on. */
static void handed(const quadratic *q, const double *u, double *h)
{
    quadratic_product(q->B, u, h, 0);
    for (int i = 0; i < N; i++) h[i] = q->x[i] - h[i];
}

static int hypergradient(quadratic *q, double *h)
{
    ht_tape *tape = ht_tape_new(HT_F64);
    mlo_args args = quadratic_record(tape, q);
    args.where = HT_HERE;
    mlo_round round = mlo_record_(args);
    int ok = quadratic_run(device, tape, round.total, h);
    ht_tape_free(tape);
    return ok;
}

static void test_c4(void)
{
    double worst = 0, worst_normal = 0, worst_unrolled = 0;
    for (uint64_t seed = 10; seed < 15; seed++)
        for (int indefinite = 0; indefinite < 2; indefinite++) {
            quadratic q = quadratic_make(device, seed * 100, indefinite ? -1 : 1);
            double v[N], u[N], expected[N], h[N] = {0};
            quadratic_converge(&q);
            for (int i = 0; i < N; i++) v[i] = q.w[i] - q.c[i];
            quadratic_solve(q.H, v, u);
            handed(&q, u, expected);
            q.level[0] = (mlo_level){.steps = MLO_NO_STEPS, .solver = MLO_NORMAL_CG, .solver_steps = 3 * N};
            hypergradient(&q, h);
            worst_normal = fmax(worst_normal, quadratic_distance(h, expected));
            if (!indefinite) {
                q.level[0] = (mlo_level){.steps = MLO_NO_STEPS, .solver = MLO_CG, .solver_steps = 3 * N};
                hypergradient(&q, h);
                worst = fmax(worst, quadratic_distance(h, expected));
                q.level[0] = (mlo_level){.steps = 150, .rate = 0.6};
                hypergradient(&q, h);
                worst_unrolled = fmax(worst_unrolled, quadratic_distance(h, expected));
            }
            quadratic_release(&q);
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
        quadratic_product(q->H, u, Hu, 0);
        for (int i = 0; i < N; i++) u[i] = v[i] + u[i] - a * (Hu[i] + q->level[0].damping * u[i]);
    }
    for (int i = 0; i < N; i++) u[i] *= a;
}

static void test_series(void)
{
    quadratic q = quadratic_make(device, 7, 1);
    double v[N], u[N], expected[N], h[N] = {0};
    for (int i = 0; i < N; i++) v[i] = q.w[i] - q.c[i];
    for (int terms = 1; terms <= 5; terms += 2) {
        q.level[0] = (mlo_level){.steps = MLO_NO_STEPS, .solver = MLO_NEUMANN, .solver_steps = terms, .solver_rate = 0.3,
                                 .damping = 0.25};
        series(&q, v, 0.3, terms, u);
        handed(&q, u, expected);
        hypergradient(&q, h);
        tap_ok(quadratic_distance(h, expected) < 1e-14, "Neumann, %d terms, damped: off by %.1e", terms,
               quadratic_distance(h, expected));
    }
    q.level[0] = (mlo_level){.steps = MLO_NO_STEPS, .solver = MLO_IDENTITY, .rate = 0.7};
    series(&q, v, 0.7, 1, u);
    handed(&q, u, expected);
    hypergradient(&q, h);
    tap_ok(quadratic_distance(h, expected) < 1e-14, "identity with the level's rate: off by %.1e",
           quadratic_distance(h, expected));

    quadratic_converge(&q); /* one step leads nowhere else, so w of v is known */
    for (int i = 0; i < N; i++) v[i] = q.w[i] - q.c[i];
    q.level[0] = (mlo_level){.solver = MLO_FIXED_POINT, .solver_steps = 6, .rate = 0.4};
    series(&q, v, 0.4, 6, u);
    handed(&q, u, expected);
    hypergradient(&q, h);
    tap_ok(quadratic_distance(h, expected) < 1e-12, "fixed point of w - rate g, 6 terms: off by %.1e",
           quadratic_distance(h, expected));
    q.level[0] = (mlo_level){.steps = MLO_NO_STEPS, .solver = MLO_CG, .solver_steps = 8, .damping = 0.5};
    for (int i = 0; i < N; i++) q.H[i * N + i] += 0.5;
    quadratic_solve(q.H, v, u);
    for (int i = 0; i < N; i++) q.H[i * N + i] -= 0.5;
    handed(&q, u, expected);
    hypergradient(&q, h);
    tap_ok(quadratic_distance(h, expected) < 1e-13, "CG, damped: off by %.1e", quadratic_distance(h, expected));
    quadratic_release(&q);
}

/* k steps w <- w - a (H w + B'x), the last j carrying a derivative: dw_k/dx = -a sum_{m < j} (1 - aH)^m B' */
static void test_truncated(void)
{
    quadratic q = quadratic_make(device, 21, 1);
    const double a = 0.2;
    for (int j = 1; j <= 5; j += 2) {
        double w[N], b[N], v[N], u[N], expected[N], h[N] = {0};
        memcpy(w, q.w, sizeof w);
        quadratic_product(q.B, q.x, b, 1);
        for (int k = 0; k < 5; k++) {
            double Hw[N];
            quadratic_product(q.H, w, Hw, 0);
            for (int i = 0; i < N; i++) w[i] -= a * (Hw[i] + b[i]);
        }
        for (int i = 0; i < N; i++) v[i] = w[i] - q.c[i];
        q.level[0] = (mlo_level){.rate = a, .steps = 5, .truncate = j};
        series(&q, v, a, j, u);
        handed(&q, u, expected);
        hypergradient(&q, h);
        tap_ok(quadratic_distance(h, expected) < 1e-14, "5 steps, the last %d carry a derivative: off by %.1e", j,
               quadratic_distance(h, expected));
        q.level[0].solver = MLO_DIFFERENCE;
        hypergradient(&q, h);
        tap_ok(quadratic_distance(h, expected) < 1e-10, "the same by differences: off by %.1e", quadratic_distance(h, expected));
    }
    quadratic_release(&q);
}

/* The solver's result is a value of the tape: its derivative against differences of it, converged steps masked. */
static void test_derivative_of_solver(mlo_solver solver)
{
    quadratic q = quadratic_make(device, 33, 1);
    q.cubic = 0.5;
    double d[N], numbers[1 + N] = {0}, at[2] = {0}, slope = 0;
    for (int i = 0; i < N; i++) d[i] = quadratic_uniform(99, i);
    for (int side = -1; side <= 1; side++) {
        double x[N];
        for (int i = 0; i < N; i++) x[i] = q.x[i] + 1e-5 * side * d[i];
        ht_store_set(q.X, "value", x, N, NULL);
        ht_tape *tape = ht_tape_new(HT_F64);
        q.level[0] = (mlo_level){.rate = 0.3, .steps = 2, .solver = solver, .solver_steps = 3 * N, .solver_rate = 0.3};
        mlo_args args = quadratic_record(tape, &q);
        args.where = HT_HERE;
        mlo_round round = mlo_record_(args);
        ht_var square = quadratic_half_square(round.total.count ? round.total.at[0] : (ht_var){0});
        if (side) quadratic_run(device, tape, ht_list(square), &at[side > 0]);
        else quadratic_run(device, tape, ht_vars_join(ht_list(square), ht_grad(square, nn_params(q.level[1].scope))), numbers);
        ht_tape_free(tape);
    }
    for (int i = 0; i < N; i++) slope += numbers[1 + i] * d[i];
    double difference = (at[1] - at[0]) / 2e-5;
    tap_ok(fabs(slope - difference) < 1e-7 * fabs(difference),
           "solver %d: the derivative of what it gives is %.9g, difference %.9g", (int)solver, slope, difference);
    quadratic_release(&q);
}

static ht_var sliced(const mlo_point *at, void *context)
{
    (void)context;
    ht_var w = quadratic_value(at, "w"), x = quadratic_value(at, "x");
    return quadratic_half_square(ht_sub(w, ht_scale(x, mlo_step(at) + 1))); /* step t has its own data: (t + 1) x */
}

/* w <- w - a (w - (t + 1) x): w_3 = (1-a)^3 w + a x ((1-a)^2 + 2 (1-a) + 3) */
static void test_streams(void)
{
    quadratic q = quadratic_make(device, 41, 1);
    ht_tape *tape = ht_tape_new(HT_F64);
    q.level[0] = (mlo_level){.rate = 0.25, .steps = 3};
    mlo_args args = quadratic_record(tape, &q);
    q.level[0].loss = sliced;
    args.where = HT_HERE;
    mlo_round round = mlo_record_(args);
    double numbers[2 * N] = {0}, w[N], h[N], slope = 0.25 * (0.5625 + 1.5 + 3);
    quadratic_run(device, tape, ht_vars_join(round.next[0], round.total), numbers);
    for (int i = 0; i < N; i++) {
        w[i] = 0.421875 * q.w[i] + slope * q.x[i];
        h[i] = q.x[i] + slope * (w[i] - q.c[i]);
    }
    tap_ok(quadratic_distance(numbers, w) < 1e-14 && quadratic_distance(numbers + N, h) < 1e-14,
           "each step has its slice of the data: %.1e, %.1e",
           quadratic_distance(numbers, w), quadratic_distance(numbers + N, h));
    ht_tape_free(tape);
    quadratic_release(&q);
}

/* Held edges: path is what a walk finds without them, direct with them alone; both by every method. */
static void test_held(mlo_solver solver)
{
    quadratic q = quadratic_make(device, 91, 1);
    double both[2 * N] = {0}, u[N], v[N], direct[N];
    quadratic_converge(&q);
    ht_tape *tape = ht_tape_new(HT_F64);
    q.level[0] = (mlo_level){.rate = 0.4, .steps = 80, .solver = solver, .solver_steps = 80, .solver_rate = 0.4};
    mlo_args args = quadratic_record(tape, &q);
    q.level[0].hold = "x";
    args.where = HT_HERE;
    mlo_round round = mlo_record_(args);
    quadratic_run(device, tape, ht_vars_join(round.path, round.direct), both);
    for (int i = 0; i < N; i++) v[i] = q.w[i] - q.c[i];
    quadratic_solve(q.H, v, u);
    quadratic_product(q.B, u, direct, 0);
    for (int i = 0; i < N; i++) direct[i] = -direct[i];
    tap_ok(quadratic_distance(both, q.x) < 1e-12 && quadratic_distance(both + N, direct) < 1e-9,
           "solver %d, held: path off by %.1e, direct by %.1e",
           (int)solver, quadratic_distance(both, q.x), quadratic_distance(both + N, direct));
    ht_tape_free(tape);
    quadratic_release(&q);
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
    for (mlo_solver solver = MLO_UNROLLED; solver <= MLO_FIXED_POINT; solver++) test_held(solver);
    ht_device_close(device);
    return tap_done();
}
