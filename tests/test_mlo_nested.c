/*
 * Levels within levels: w follows x and y, x follows y and has a loss that sees w, y is the last one. Before each step of x
 * w takes its steps anew. Unrolled derivatives are checked against differences of the whole procedure, implicit ones against
 * the closed form: w* = x + M y, x* = (t + (K - M) y)/2 from |w - t|^2/2 + |x - K y|^2/2, and |w* - q|^2/2 above.
 */
#include <math.h>
#include <string.h>

#include "quadratic.h"
#include "tap.h"

#define N QUADRATIC_N

static ht_device *device;

typedef struct nest {
    double M[N * N], K[N * N], t[N], q[N], y[N];
    double bend;             /* 0: quadratic */
    ht_store *store[3];
    mlo_level level[3];      /* w, x, y */
} nest;

static ht_var number(ht_var like, const double *values) { return ht_constant(like.tape, values, HT_SHAPE(N)); }

static ht_var loss_w(const mlo_point *at, void *context)
{
    const nest *n = context;
    ht_var w = quadratic_value(at, "w"), x = quadratic_value(at, "x"), y = quadratic_value(at, "y");
    ht_var loss = quadratic_half_square(ht_sub(w, ht_add(x, quadratic_times(n->M, y))));
    return n->bend > 0 ? ht_add(loss, ht_scale(ht_sum(ht_mul(ht_sin(w), ht_exp(x))), n->bend)) : loss;
}

static ht_var loss_x(const mlo_point *at, void *context)
{
    const nest *n = context;
    ht_var w = quadratic_value(at, "w"), x = quadratic_value(at, "x"), y = quadratic_value(at, "y");
    ht_var off = ht_sub(x, quadratic_times(n->K, y));
    ht_var loss = ht_add(quadratic_half_square(ht_sub(w, number(w, n->t))), quadratic_half_square(off));
    return n->bend > 0 ? ht_add(loss, ht_scale(ht_sum(ht_mul(ht_cos(w), x)), n->bend)) : loss;
}

static ht_var loss_y(const mlo_point *at, void *context)
{
    const nest *n = context;
    ht_var w = quadratic_value(at, "w");
    return quadratic_half_square(ht_sub(w, number(w, n->q)));
}

static nest nest_make(double bend)
{
    nest n = {.bend = bend};
    double start[N];
    for (int i = 0; i < N * N; i++) {
        n.M[i] = quadratic_uniform(500, i);
        n.K[i] = quadratic_uniform(501, i);
    }
    for (int i = 0; i < N; i++) {
        n.t[i] = quadratic_uniform(502, i);
        n.q[i] = quadratic_uniform(503, i);
        n.y[i] = quadratic_uniform(504, i);
    }
    for (int k = 0; k < 3; k++) {
        for (int i = 0; i < N; i++) start[i] = k == 2 ? n.y[i] : quadratic_uniform(505 + (uint64_t)k, i);
        n.store[k] = quadratic_vector(device, start);
    }
    return n;
}

static mlo_args nest_record(ht_tape *tape, nest *n)
{
    static const char *const names[3] = {"w", "x", "y"};
    static ht_var (*const losses[3])(const mlo_point *, void *) = {loss_w, loss_x, loss_y};
    for (int k = 0; k < 3; k++) {
        n->level[k].name = names[k];
        n->level[k].loss = losses[k];
        n->level[k].scope = nn_open(tape, n->store[k]);
        n->level[k].context = n;
    }
    return (mlo_args){.where = HT_HERE, .tape = tape, .levels = n->level, .count = 3};
}

static void nest_release(nest *n)
{
    for (int k = 0; k < 3; k++) ht_store_free(n->store[k]);
}

/* w and x as they begin, 2 N numbers; w, x as they end and the hypergradient, 3 N numbers. */
static ht_error run(nest *n, double *numbers)
{
    ht_tape *tape = ht_tape_new(HT_F64);
    mlo_round round = mlo_record_(nest_record(tape, n));
    ht_error error = *ht_tape_error(tape);
    ht_vars outputs = ht_vars_join(ht_vars_join(round.next[0], round.next[1]), round.total);
    if (error.status == HT_OK) quadratic_run(device, tape, outputs, numbers);
    ht_tape_free(tape);
    return error;
}

static void test_unrolled(int32_t lower, int32_t upper)
{
    nest n = nest_make(0.3);
    n.level[0] = (mlo_level){.rate = 0.3, .steps = lower};
    n.level[1] = (mlo_level){.rate = 0.2, .steps = upper};
    ht_tape *tape = ht_tape_new(HT_F64);
    mlo_args args = nest_record(tape, &n);
    mlo_round round = mlo_record_(args);
    ht_gradcheck_result r = mlo_check(&round, 3, nn_params(n.level[2].scope), device, .draws = 3, .seed = 4);
    tap_ok(r.status == HT_OK && r.checks > 0 && r.failed + r.skipped == 0,
           "%d steps of w within each of %d of x: worst %.1e %s", (int)lower,
           (int)upper, r.worst, r.message);
    ht_tape_free(tape);
    nest_release(&n);
}

/* Steps of x by hand, w at its minimum for each of them: x <- x - a (w - t + x - K y), which is its total derivative. */
static void by_hand(const nest *n, const double *begin, int steps, double a, double *w, double *x)
{
    double My[N], Ky[N];
    quadratic_product(n->M, n->y, My, 0);
    quadratic_product(n->K, n->y, Ky, 0);
    memcpy(x, begin, N * sizeof *x);
    for (int s = 0; s < steps; s++)
        for (int i = 0; i < N; i++) {
            w[i] = x[i] + My[i];
            x[i] -= a * (w[i] - n->t[i] + x[i] - Ky[i]);
        }
}

/* The gradient of x through w by each method, w being solved: steps of x are those by hand. */
static void test_steps(const char *name, mlo_level lower, double within)
{
    nest n = nest_make(0);
    double numbers[3 * N] = {0}, begin[N], w[N], x[N];
    ht_error error = {0};
    ht_store_get(n.store[1], "value", begin, N, &error);
    by_hand(&n, begin, 3, 0.2, w, x);
    n.level[0] = lower;
    n.level[1] = (mlo_level){.rate = 0.2, .steps = 3};
    error = run(&n, numbers);
    tap_ok(error.status == HT_OK && quadratic_distance(numbers, w) < within && quadratic_distance(numbers + N, x) < within,
           "3 steps of x, w solved before each, %s: off by %.1e, %.1e %s", name, quadratic_distance(numbers, w),
           quadratic_distance(numbers + N, x), error.message);
    nest_release(&n);
}

/*
 * Few steps of w, by hand: in each turn w_k = (1 - a)^k w_0 + (1 - (1 - a)^k) (x + M y), w_0 being where the turn before has
 * ended, and the gradient of x is (1 - (1 - a)^k) (w_k - t) + x - K y. What x became from w is no part of w's own gradient.
 */
static void test_turns(mlo_solver solver, double within)
{
    nest n = nest_make(0);
    double numbers[3 * N] = {0}, w[N], x[N], My[N], Ky[N];
    ht_error error = {0};
    ht_store_get(n.store[0], "value", w, N, &error);
    ht_store_get(n.store[1], "value", x, N, &error);
    quadratic_product(n.M, n.y, My, 0);
    quadratic_product(n.K, n.y, Ky, 0);
    for (int turn = 0; turn < 3; turn++)
        for (int i = 0; i < N; i++) {
            double left = 0.7 * 0.7;
            w[i] = left * w[i] + (1 - left) * (x[i] + My[i]);
            x[i] -= 0.2 * ((1 - left) * (w[i] - n.t[i]) + x[i] - Ky[i]);
        }
    n.level[0] = (mlo_level){.rate = 0.3, .steps = 2, .solver = solver};
    n.level[1] = (mlo_level){.rate = 0.2, .steps = 3};
    error = run(&n, numbers);
    tap_ok(error.status == HT_OK && quadratic_distance(numbers, w) < within && quadratic_distance(numbers + N, x) < within,
           "3 turns of 2 steps of w, solver %d: w off by %.1e, x by %.1e %s", (int)solver, quadratic_distance(numbers, w),
           quadratic_distance(numbers + N, x), error.message);
    nest_release(&n);
}

/* d|w - q|^2/2 / dy where both are converged: (M + K)'(w* - q) / 2 */
static void test_converged(const char *name, mlo_solver lower, mlo_solver upper, mlo_edge from_x)
{
    nest n = nest_make(0);
    double numbers[3 * N] = {0}, My[N], Ky[N], off[N], a[N], b[N], expected[N];
    n.level[0] = (mlo_level){.rate = 0.9, .steps = 12, .solver = lower, .solver_steps = 3 * N, .edges = {from_x}};
    n.level[1] = (mlo_level){.rate = 0.48, .steps = 9, .solver = upper, .solver_steps = 3 * N};
    ht_error error = run(&n, numbers);
    quadratic_product(n.M, n.y, My, 0);
    quadratic_product(n.K, n.y, Ky, 0);
    for (int i = 0; i < N; i++) off[i] = (n.t[i] + Ky[i] - My[i]) / 2 + My[i] - n.q[i];
    quadratic_product(n.M, off, a, 1);
    quadratic_product(n.K, off, b, 1);
    for (int i = 0; i < N; i++) expected[i] = (a[i] + b[i]) / 2;
    tap_ok(error.status == HT_OK && quadratic_distance(numbers + 2 * N, expected) < 1e-8, "converged, %s: off by %.1e %s", name,
           quadratic_distance(numbers + 2 * N, expected), error.message);
    nest_release(&n);
}

/* w by two methods at once, x unrolled for few steps: what all of it unrolled gives, since w is converged. */
static void test_mixed(void)
{
    nest n = nest_make(0.2);
    double all[3 * N] = {0}, mixed[3 * N] = {0};
    n.level[0] = (mlo_level){.rate = 0.8, .steps = 60};
    n.level[1] = (mlo_level){.rate = 0.2, .steps = 3};
    run(&n, all);
    n.level[0].solver_steps = 3 * N;
    n.level[0].edges[0] = (mlo_edge){.from = "x", .solver = MLO_CG};
    ht_error error = run(&n, mixed);
    tap_ok(error.status == HT_OK && quadratic_distance(mixed + 2 * N, all + 2 * N) < 1e-8,
           "w by CG for x and unrolled for y: off by %.1e %s",
           quadratic_distance(mixed + 2 * N, all + 2 * N), error.message);
    n.level[0].edges[0] = (mlo_edge){.from = "y", .solver = MLO_CG};
    error = run(&n, mixed);
    tap_ok(error.status == HT_OK && quadratic_distance(mixed + 2 * N, all + 2 * N) < 1e-8,
           "w by CG for y and unrolled for x: off by %.1e %s",
           quadratic_distance(mixed + 2 * N, all + 2 * N), error.message);
    nest_release(&n);
}

/* w by differences below an unrolled x: chained from turn to turn, near what is exact. */
static void test_differences_below(void)
{
    nest n = nest_make(0.2);
    double exact[3 * N] = {0}, near[3 * N] = {0};
    n.level[0] = (mlo_level){.rate = 0.3, .steps = 2};
    n.level[1] = (mlo_level){.rate = 0.2, .steps = 3};
    run(&n, exact);
    n.level[0].solver = MLO_DIFFERENCE;
    ht_error error = run(&n, near);
    tap_ok(error.status == HT_OK && quadratic_distance(near + N, exact + N) < 1e-6 &&
               quadratic_distance(near + 2 * N, exact + 2 * N) < 1e-4,
           "differences below: x off by %.1e, hypergradient by %.1e %s",
           quadratic_distance(near + N, exact + N), quadratic_distance(near + 2 * N, exact + 2 * N), error.message);
    nest_release(&n);
}

/* ---- four levels: v in w in x, all of them seen from y ---- */

static ht_var loss_v(const mlo_point *at, void *context)
{
    (void)context;
    ht_var v = quadratic_value(at, "v"), w = quadratic_value(at, "w"), y = quadratic_value(at, "y");
    return ht_add(quadratic_half_square(ht_sub(v, ht_sin(w))), ht_sum(ht_mul(ht_tanh(v), ht_scale(y, 0.2))));
}

static ht_var loss_w4(const mlo_point *at, void *context)
{
    (void)context;
    ht_var v = quadratic_value(at, "v"), w = quadratic_value(at, "w"), x = quadratic_value(at, "x");
    return ht_add(quadratic_half_square(ht_sub(w, ht_cos(x))), ht_sum(ht_mul(ht_square(v), ht_sin(w))));
}

static ht_var loss_x4(const mlo_point *at, void *context)
{
    (void)context;
    ht_var v = quadratic_value(at, "v"), w = quadratic_value(at, "w"), x = quadratic_value(at, "x"), y = quadratic_value(at, "y");
    return ht_add(quadratic_half_square(ht_sub(x, y)), ht_sum(ht_mul(ht_exp(ht_scale(v, 0.3)), ht_sin(ht_add(w, x)))));
}

static ht_var loss_y4(const mlo_point *at, void *context)
{
    (void)context;
    ht_var v = quadratic_value(at, "v"), x = quadratic_value(at, "x");
    return ht_sum(ht_mul(ht_exp(ht_scale(v, 0.5)), ht_cos(x)));
}

static void test_four(const int32_t steps[3])
{
    static const char *const names[4] = {"v", "w", "x", "y"};
    static ht_var (*const losses[4])(const mlo_point *, void *) = {loss_v, loss_w4, loss_x4, loss_y4};
    ht_store *stores[4];
    mlo_level levels[4] = {0};
    ht_tape *tape = ht_tape_new(HT_F64);
    for (int k = 0; k < 4; k++) {
        double start[N];
        for (int i = 0; i < N; i++) start[i] = quadratic_uniform(600 + (uint64_t)k, i);
        stores[k] = quadratic_vector(device, start);
        levels[k] = (mlo_level){.name = names[k], .scope = nn_open(tape, stores[k]), .loss = losses[k], .rate = 0.2,
                                .steps = k < 3 ? steps[k] : 0};
    }
    mlo_round round = mlo_record(tape, levels, 4);
    ht_gradcheck_result r = mlo_check(&round, 4, nn_params(levels[3].scope), device, .draws = 2, .seed = 5);
    tap_ok(r.status == HT_OK && r.checks > 0 && r.failed + r.skipped == 0, "%d steps of v in %d of w in %d of x: worst %.1e %s",
           (int)steps[0], (int)steps[1], (int)steps[2], r.worst, r.message);
    double exact[N] = {0}, walked[N] = {0};
    quadratic_run(device, tape, round.total, exact);
    ht_tape_free(tape);
    tape = ht_tape_new(HT_F64); /* an edge by a method that is exact here, so that the walk is taken: one unrolled step */
    for (int k = 0; k < 4; k++) levels[k].scope = nn_open(tape, stores[k]);
    levels[0].edges[0] = (mlo_edge){.from = "y", .solver = MLO_DIFFERENCE};
    round = mlo_record(tape, levels, 4, .radius = 1e-4);
    if (ht_tape_error(tape)->status == HT_OK) quadratic_run(device, tape, round.total, walked);
    tap_ok(quadratic_distance(walked, exact) < 1e-6, "the same by a walk, one edge by differences: off by %.1e %s",
           quadratic_distance(walked, exact), ht_tape_error(tape)->message);
    ht_tape_free(tape);
    for (int k = 0; k < 4; k++) ht_store_free(stores[k]);
}

static void refused(const char *what, mlo_level lower, mlo_level upper, mlo_method method, const char *word)
{
    nest n = nest_make(0);
    n.level[0] = lower;
    n.level[1] = upper;
    ht_tape *tape = ht_tape_new(HT_F64);
    mlo_args args = nest_record(tape, &n);
    args.method = method;
    mlo_round round = mlo_record_(args);
    const ht_error *error = ht_tape_error(tape);
    int named = strstr(error->message, "\"x\"") && strstr(error->message, word);
    tap_ok(error->status == HT_EINVALID && round.total.count == 0 && named, "%s: %s", what, error->message);
    ht_tape_free(tape);
    nest_release(&n);
}

static void test_refusals(void)
{
    mlo_level lower = {.rate = 0.5, .steps = 2}, upper = {.rate = 0.4, .steps = 2}, changed = upper;
    changed.solver = MLO_DIFFERENCE;
    refused("differences of a level that another follows", lower, changed, MLO_UNROLL, "MLO_UNROLLED");
    refused("the same for all levels", lower, upper, MLO_FINITE_DIFFERENCE, "MLO_UNROLLED");
    changed.solver = MLO_FIXED_POINT;
    refused("a fixed point there", lower, changed, MLO_UNROLL, "MLO_CG");
    changed = upper;
    changed.truncate = 1;
    refused("truncated there", lower, changed, MLO_UNROLL, ".truncate");
    changed = upper;
    changed.edges[0] = (mlo_edge){.from = "w", .solver = MLO_CG};
    refused("two methods there", lower, changed, MLO_UNROLL, "one method");
    changed = lower;
    changed.steps = MLO_NO_STEPS;
    changed.solver = MLO_CG;
    refused("a level that cannot follow", changed, upper, MLO_UNROLL, "\"w\"");
}

int main(void)
{
    const mlo_edge none = {0};
    ht_error error = {0};
    device = ht_device_open("cpu", 1, &error);
    if (!tap_ok(device != NULL, "device: %s", error.message)) return tap_done();
    for (int32_t upper = 1; upper <= 3; upper++) test_unrolled(2, upper);
    test_unrolled(1, 2);
    test_steps("unrolled", (mlo_level){.rate = 0.9, .steps = 14}, 1e-12);
    test_steps("by CG", (mlo_level){.rate = 0.9, .steps = 14, .solver = MLO_CG}, 1e-12);
    test_steps("by Neumann", (mlo_level){.rate = 0.9, .steps = 14, .solver = MLO_NEUMANN, .solver_steps = 14}, 1e-12);
    test_steps("by CG for x alone", (mlo_level){.rate = 0.9, .steps = 14, .edges = {{"x", MLO_CG, 0, 0, 0}}}, 1e-12);
    test_turns(MLO_UNROLLED, 1e-14);
    test_turns(MLO_DIFFERENCE, 1e-11);
    test_converged("all unrolled", MLO_UNROLLED, MLO_UNROLLED, none);
    test_converged("CG and CG", MLO_CG, MLO_CG, none);
    test_converged("unrolled below CG", MLO_UNROLLED, MLO_CG, none);
    test_converged("CG below unrolled", MLO_CG, MLO_UNROLLED, none);
    test_converged("CG, normal CG for x, below normal CG", MLO_CG, MLO_NORMAL_CG,
                   (mlo_edge){.from = "x", .solver = MLO_NORMAL_CG});
    test_converged("CG for x, unrolled for y, below CG", MLO_UNROLLED, MLO_CG, (mlo_edge){.from = "x", .solver = MLO_CG});
    test_mixed();
    test_differences_below();
    test_four((const int32_t[3]){1, 1, 1});
    test_four((const int32_t[3]){1, 2, 2});
    test_four((const int32_t[3]){2, 2, 2});
    test_refusals();
    ht_device_close(device);
    return tap_done();
}
