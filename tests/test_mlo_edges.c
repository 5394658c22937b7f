/*
 * A method for each edge. Three levels: p steps towards D x, w minimises w'Hw/2 + (B'x + C'p')'w, x has |w - c|^2/2 + |x|^2/2.
 * So x is a parent of w directly and by p', and what each edge hands on is known in closed form for any pair of methods.
 */
#include <stdio.h>
#include <string.h>

#include "quadratic.h"
#include "tap.h"

#define N QUADRATIC_N

static ht_device *device;

typedef struct family {
    quadratic q;              /* w and x */
    double C[N * N], D[N * N], p[N];
    ht_store *P;
    mlo_level level[3];       /* p, w, x */
} family;

static ht_var loss_p(const mlo_point *at, void *context)
{
    const family *f = context;
    return quadratic_half_square(ht_sub(quadratic_value(at, "p"), quadratic_times(f->D, quadratic_value(at, "x"))));
}

static ht_var loss_w(const mlo_point *at, void *context)
{
    const family *f = context;
    ht_var w = quadratic_value(at, "w"), x = quadratic_value(at, "x"), p = quadratic_value(at, "p");
    ht_var curved = ht_scale(ht_dot(ht_list(w), ht_list(quadratic_times(f->q.H, w))), 0.5);
    ht_var by_x = ht_dot(ht_list(x), ht_list(quadratic_times(f->q.B, w)));
    ht_var by_p = ht_dot(ht_list(p), ht_list(quadratic_times(f->C, w)));
    return ht_add(curved, ht_add(by_x, by_p));
}

static ht_var loss_x(const mlo_point *at, void *context)
{
    const family *f = context;
    ht_var w = quadratic_value(at, "w"), x = quadratic_value(at, "x");
    return ht_add(quadratic_half_square(ht_sub(w, ht_constant(w.tape, f->q.c, HT_SHAPE(N)))), quadratic_half_square(x));
}

static family family_make(void)
{
    family f = {.q = quadratic_make(device, 300, 1)};
    for (int i = 0; i < N * N; i++) {
        f.C[i] = quadratic_uniform(310, i);
        f.D[i] = quadratic_uniform(311, i);
    }
    for (int i = 0; i < N; i++) f.p[i] = quadratic_uniform(312, i);
    f.P = quadratic_vector(device, f.p);
    f.level[0] = (mlo_level){.name = "p", .loss = loss_p, .rate = 0.3};
    f.level[1] = (mlo_level){.name = "w", .loss = loss_w, .rate = 0.2};
    f.level[2] = (mlo_level){.name = "x", .loss = loss_x};
    return f;
}

static void family_release(family *f)
{
    quadratic_release(&f->q);
    ht_store_free(f->P);
}

static mlo_args family_record(ht_tape *tape, void *context)
{
    family *f = context;
    ht_store *const stores[3] = {f->P, f->q.W, f->q.X};
    for (int i = 0; i < 3; i++) {
        f->level[i].scope = nn_open(tape, stores[i]);
        f->level[i].context = f;
    }
    return (mlo_args){.where = HT_HERE, .tape = tape, .levels = f->level, .count = 3};
}

static int hypergradient(family *f, double *h, ht_error *error)
{
    ht_tape *tape = ht_tape_new(HT_F64);
    mlo_round round = mlo_record_(family_record(tape, f));
    int ok = ht_tape_error(tape)->status == HT_OK && quadratic_run(device, tape, round.total, h);
    *error = *ht_tape_error(tape);
    ht_tape_free(tape);
    return ok;
}

/* What w has become after its steps, from the values of p after its one. */
static void stepped(const family *f, int steps, double rate, double w[N])
{
    double target[N], p[N], b[N], c[N];
    quadratic_product(f->D, f->q.x, target, 0);
    for (int i = 0; i < N; i++) p[i] = f->p[i] - 0.3 * (f->p[i] - target[i]);
    quadratic_product(f->q.B, f->q.x, b, 1);
    quadratic_product(f->C, p, c, 1);
    memcpy(w, f->q.w, N * sizeof *w);
    for (int t = 0; t < steps; t++) {
        double Hw[N];
        quadratic_product(f->q.H, w, Hw, 0);
        for (int i = 0; i < N; i++) w[i] -= rate * (Hw[i] + b[i] + c[i]);
    }
}

/* What a method puts in the place of H^-1 v: a sum_{k < terms} (1 - a H)^k v, or, for terms 0, the solution itself. */
static void solution(const family *f, int terms, double a, const double *v, double *u)
{
    if (terms == 0) {
        quadratic_solve(f->q.H, v, u);
        return;
    }
    memcpy(u, v, N * sizeof *u);
    for (int k = 1; k < terms; k++) {
        double Hu[N];
        quadratic_product(f->q.H, u, Hu, 0);
        for (int i = 0; i < N; i++) u[i] += v[i] - a * Hu[i];
    }
    for (int i = 0; i < N; i++) u[i] *= a;
}

typedef struct way {
    const char *name;
    mlo_solver solver;
    int32_t solver_steps;
    double solver_rate;
    int terms;     /* of solution(), with `rate` */
    double rate;
} way;

enum { STEPS = 4, WAYS = 5 };
static const way ways[WAYS] = {
    {"unrolled", MLO_UNROLLED, 0, 0, STEPS, 0.2},
    {"difference", MLO_DIFFERENCE, 0, 0, STEPS, 0.2},
    {"CG", MLO_CG, 3 * N, 0, 0, 0},
    {"Neumann", MLO_NEUMANN, 3, 0.25, 3, 0.25},
    {"identity", MLO_IDENTITY, 0, 0.5, 1, 0.5},
};

/* x - B u_x - 0.3 D' C u_p, u_x by the method of the edge from x, u_p by that of the edge from p */
static void expected(const family *f, const way *from_x, const way *from_p, double h[N])
{
    double w[N], v[N], u[N], Bu[N], Cu[N], DCu[N];
    stepped(f, STEPS, 0.2, w);
    for (int i = 0; i < N; i++) v[i] = w[i] - f->q.c[i];
    solution(f, from_x->terms, from_x->rate, v, u);
    quadratic_product(f->q.B, u, Bu, 0);
    solution(f, from_p->terms, from_p->rate, v, u);
    quadratic_product(f->C, u, Cu, 0);
    quadratic_product(f->D, Cu, DCu, 1);
    for (int i = 0; i < N; i++) h[i] = f->q.x[i] - Bu[i] - 0.3 * DCu[i];
}

static void test_pairs(void)
{
    family f = family_make();
    for (int a = 0; a < WAYS; a++)
        for (int b = 0; b < WAYS; b++) {
            double h[N] = {0}, exact[N];
            ht_error error;
            f.level[1] = (mlo_level){.name = "w", .loss = loss_w, .rate = 0.2, .steps = STEPS, .solver = ways[b].solver,
                                     .solver_steps = ways[b].solver_steps, .solver_rate = ways[b].solver_rate,
                                     .edges = {{"x", ways[a].solver, ways[a].solver_steps, ways[a].solver_rate, 0}}};
            hypergradient(&f, h, &error);
            expected(&f, &ways[a], &ways[b], exact);
            tap_ok(error.status == HT_OK && quadratic_distance(h, exact) < 1e-9,
                   "w by %s for x, by %s for p': off by %.1e %s", ways[a].name,
                   ways[b].name, quadratic_distance(h, exact), error.message);
        }
    family_release(&f);
}

/* Both edges named; and none named: the level's method. */
static void test_all_named(void)
{
    family f = family_make();
    double named[N] = {0}, plain[N] = {0};
    ht_error error;
    f.level[1].steps = STEPS;
    f.level[1].solver = MLO_CG;
    f.level[1].solver_steps = 3 * N;
    hypergradient(&f, plain, &error);
    f.level[1].solver = MLO_UNROLLED;
    f.level[1].edges[0] = (mlo_edge){.from = "p", .solver = MLO_CG};
    f.level[1].edges[1] = (mlo_edge){.from = "x", .solver = MLO_CG};
    hypergradient(&f, named, &error);
    tap_ok(memcmp(named, plain, sizeof named) == 0, "CG by the level or by each of its edges: equal bits %s", error.message);
    f.level[0].edges[0] = (mlo_edge){.from = "x", .solver = MLO_IDENTITY, .solver_rate = 0.3};
    hypergradient(&f, named, &error);
    tap_ok(quadratic_distance(named, plain) < 1e-14, "the identity at the step's rate is one unrolled step where H is 1: %.1e",
           quadratic_distance(named, plain));
    family_release(&f);
}

/* A held edge is the edge of the last level, by whatever place its values stand at. */
static void test_held(void)
{
    family f = family_make();
    double parts[2 * N] = {0}, exact[N], sum[N];
    f.level[1] = (mlo_level){.name = "w", .loss = loss_w, .rate = 0.2, .steps = STEPS, .hold = "x",
                             .edges = {{"x", MLO_CG, 3 * N, 0, 0}}};
    ht_tape *tape = ht_tape_new(HT_F64);
    mlo_round round = mlo_record_(family_record(tape, &f));
    quadratic_run(device, tape, ht_vars_join(round.path, round.direct), parts);
    expected(&f, &ways[2], &ways[0], exact);
    for (int i = 0; i < N; i++) sum[i] = parts[i] + parts[N + i];
    tap_ok(quadratic_distance(sum, exact) < 1e-12 && parts[N] != 0, "held: CG on the held edge, unrolled for p': off by %.1e %s",
           quadratic_distance(sum, exact), ht_tape_error(tape)->message);
    ht_tape_free(tape);
    family_release(&f);
}

/* A table of methods has one method for all edges, unless a variant leaves the levels as they are. */
static void test_compare(void)
{
    static const mlo_variant variants[] = {
        {.name = "unrolled"}, {.name = "as given", .as_given = 1}, {.name = "CG", .solver = MLO_CG}};
    family f = family_make();
    f.level[0].rate = 1; /* one step leads to the minimum */
    f.level[1].steps = 60;
    f.level[1].solver_steps = 3 * N;
    f.level[1].edges[0] = (mlo_edge){.from = "x", .solver = MLO_IDENTITY};
    mlo_problem problem = {family_record, NULL, &f};
    mlo_row rows[3];
    ht_error error = {0};
    int32_t count = mlo_compare(device, problem, rows, 3, variants, 3, .error = &error);
    tap_ok(count == 3 && rows[1].error > 1e-3 && rows[2].error < 1e-4, "as given %.1e, CG for all edges %.1e: %s", rows[1].error,
           rows[2].error, error.message);
    family_release(&f);
}

/* ---- streams ---- */

/* The loss draws a batch: |w - x u|^2/2, u of a stream of this level and step. */
static ht_var drawn(const mlo_point *at, void *context)
{
    (void)context;
    ht_var w = quadratic_value(at, "w"), x = quadratic_value(at, "x");
    ht_var u = ht_uniform(w.tape, HT_SHAPE(N), .stream = mlo_stream(at, "batch"));
    return quadratic_half_square(ht_sub(ht_tanh(w), ht_mul(x, u)));
}

static ht_var drawn_above(const mlo_point *at, void *context)
{
    (void)context;
    ht_var w = quadratic_value(at, "w"), u = ht_uniform(w.tape, HT_SHAPE(N), .stream = mlo_stream(at, "batch"));
    return ht_sum(ht_mul(ht_exp(w), u));
}

/* How many values of the tape are batches: each level and step has its own, and nothing else draws. */
static int batches(mlo_solver solver, const char *draw, double *h)
{
    quadratic q = quadratic_make(device, 400, 1);
    ht_tape *tape = ht_tape_new(HT_F64);
    mlo_args args = quadratic_record(tape, &q);
    q.level[0] = (mlo_level){"w", q.level[0].scope, drawn, .rate = 0.3, .steps = 3, .solver = solver, .solver_steps = 3 * N};
    q.level[1].loss = drawn_above;
    q.level[1].draw = draw;
    args.where = HT_HERE;
    args.radius = 1e-4;
    mlo_round round = mlo_record_(args);
    quadratic_run(device, tape, round.total, h);
    int found = 0;
    char line[400];
    FILE *file = tmpfile();
    if (file) ht_dump(tape, file);
    if (file) rewind(file);
    while (file && fgets(line, sizeof line, file)) found += strstr(line, "= uniform") != NULL;
    if (file) fclose(file);
    ht_tape_free(tape);
    quadratic_release(&q);
    return found;
}

static void test_streams(void)
{
    double exact[N] = {0}, near[N] = {0}, other[N] = {0};
    int found = batches(MLO_UNROLLED, NULL, exact);
    tap_ok(found == 4, "three steps below and one loss above draw %d batches", found);
    found = batches(MLO_UNROLLED, "w", other);
    tap_ok(found == 3 && quadratic_distance(other, exact) > 1e-3, "one name of draws for both levels: %d", found);
    found = batches(MLO_DIFFERENCE, NULL, near);
    tap_ok(found == 4 && quadratic_distance(near, exact) < 1e-7,
           "probes of differences repeat the draws of their step: %d, off by %.1e", found,
           quadratic_distance(near, exact));
    found = batches(MLO_CG, NULL, near);
    tap_ok(found == 4, "solvers repeat those of the last step: %d", found);
}

int main(void)
{
    ht_error error = {0};
    device = ht_device_open("cpu", 1, &error);
    if (!tap_ok(device != NULL, "device: %s", error.message)) return tap_done();
    test_pairs();
    test_all_named();
    test_held();
    test_compare();
    test_streams();
    ht_device_close(device);
    return tap_done();
}
