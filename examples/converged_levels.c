/*
 * Three levels that have converged: G* = P A, S* = Q G*, L = |S* - c|^2 / 2, so the derivative is P'Q'(Q P A - c). It is taken
 * by conjugate gradients at the minima, and by unrolling the steps that lead to them. One edge has a method of its own too:
 * the segmenter is solved for the generator's values and unrolled for nothing else, with the same result.
 */
#include <math.h>
#include <stdio.h>

#include <ht/mlo.h>

#include "dump.h"

enum { N = 4, STEPS = 60 };

typedef struct problem {
    double P[N * N], Q[N * N];
} problem;

static ht_var value(nn_scope s) { return nn_parameter(s, "value", HT_SHAPE(N, 1), nn_constant(0)); }

static ht_var half_distance(ht_var x, ht_var y) { return ht_scale(ht_sum(ht_square(ht_sub(x, y))), 0.5); }

static ht_var product(const double *matrix, ht_var x)
{
    return ht_matmul(ht_constant(x.tape, matrix, HT_SHAPE(N, N)), x);
}

static ht_var loss_G(const mlo_point *at, void *context)
{
    const problem *p = context;
    ht_var G = value(mlo_at(at, "G")), A = value(mlo_at(at, "A"));
    return half_distance(G, product(p->P, A));
}

static ht_var loss_S(const mlo_point *at, void *context)
{
    const problem *p = context;
    ht_var S = value(mlo_at(at, "S")), G = value(mlo_at(at, "G"));
    return half_distance(S, product(p->Q, G));
}

static ht_var loss_A(const mlo_point *at, void *context)
{
    static const double c[N] = {1, -1, 0.5, 2};
    (void)context;
    ht_var s = value(mlo_at(at, "S"));
    return half_distance(s, ht_constant(s.tape, c, HT_SHAPE(N, 1)));
}

/* The derivative with both lower levels by one method, edges of S apart; -1 if it only had to be dumped. */
static double off(ht_device *device, const char *name, mlo_solver solver, mlo_edge edge, int argc, char **argv)
{
    static const double alpha[N] = {0.3, -0.2, 0.1, 0.4}, printed[N] = {1.61685888, 0.90722495, 0.64570809, 0.50546404};
    ht_error error = {0};
    problem p;
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            p.P[i * N + j] = 1.0 / (1 + i + j);
            p.Q[i * N + j] = ((3 * i + 5 * j) % 7 - 3) / 4.0;
        }
    ht_store *stores[3];
    nn_scope scopes[3];
    ht_tape *tape = ht_tape_new(HT_F64);
    for (int i = 0; i < 3; i++) {
        stores[i] = ht_store_new(device);
        scopes[i] = nn_open(tape, stores[i]);
        value(scopes[i]);
    }
    ht_store_set(stores[2], "value", alpha, N, &error);
    const mlo_level levels[] = {
        {"G", scopes[0], loss_G, .rate = 0.5, .context = &p, .steps = STEPS, .solver = solver},
        {"S", scopes[1], loss_S, .rate = 0.5, .context = &p, .steps = STEPS, .solver = solver, .edges = {edge}},
        {.name = "A", .scope = scopes[2], .loss = loss_A},
    };
    mlo_round round = mlo_record(tape, levels, 3);
    double h[N] = {0}, worst = 0;
    int only_dump = dumped(argc, argv, tape);
    ht_program *program = only_dump ? NULL : ht_compile(tape, device, round.total, .error = &error);
    if (program && ht_run(program) == HT_OK) ht_get_at(program, 0, h, N);
    for (int i = 0; i < N; i++) worst = fmax(worst, fabs(h[i] - printed[i]));
    if (!only_dump)
        printf("%-38s (%.8f, %.8f, %.8f, %.8f) %s\n", name, h[0], h[1], h[2], h[3], error.message);
    ht_program_free(program);
    ht_tape_free(tape);
    for (int i = 0; i < 3; i++) ht_store_free(stores[i]);
    return only_dump ? -1 : worst;
}

int main(int argc, char **argv)
{
    const mlo_edge none = {0}, solved = {.from = "G", .solver = MLO_CG};
    ht_error error = {0};
    ht_device *device = ht_device_open("cpu", 1, &error);
    if (!device) return fprintf(stderr, "%s\n", error.message), 1;
    double by_edge = off(device, "unrolled, but CG from G to S", MLO_UNROLLED, solved, argc, argv), unrolled = 0, solve = 0;
    if (by_edge >= 0) {
        unrolled = off(device, "60 steps unrolled", MLO_UNROLLED, none, argc, argv);
        solve = off(device, "conjugate gradients", MLO_CG, none, argc, argv);
        printf("off from (1.61685888, 0.90722495, 0.64570809, 0.50546404) by %.1e at most\n",
               fmax(by_edge, fmax(unrolled, solve)));
    }
    ht_device_close(device);
    return by_edge < 6e-9 && unrolled < 6e-9 && solve < 6e-9 ? 0 : 1;
}
