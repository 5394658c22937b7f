/*
 * A random quadratic bilevel problem, as benchmarks of bilevel solvers use it: both losses are means over cases,
 *     lower  z'H_i z / 2 + x'C_i z + a_i'z        upper  z'F_i z / 2 + x'E_i x / 2 + b_i'z
 * so z*(x) = - H^-1 (C'x + a) with the means of the cases, and value and derivative of the upper loss at z* are known:
 *     h(x) = upper(x, z*),     h'(x) = E x - C H^-1 (F z* + b)
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ht/mlo.h>
#include <ht/random.h>

#include "dump.h"

enum { CASES = 8, LOWER = 6, UPPER = 4 };

typedef struct cases {
    double H[CASES][LOWER * LOWER], F[CASES][LOWER * LOWER], E[CASES][UPPER * UPPER], C[CASES][UPPER * LOWER];
    double a[CASES][LOWER], b[CASES][LOWER], x[UPPER];
    ht_store *lower, *upper;
    mlo_level levels[2];
} cases;

static double draw(const char *stream, int64_t i)
{
    return 2 * ht_random_unit(ht_random_word(ht_random_key(7, stream), 0, (uint64_t)i)) - 1;
}

/* M M'/n + 0.5: symmetric, positive */
static void positive(const char *stream, int i, int n, double *to)
{
    for (int r = 0; r < n; r++)
        for (int c = 0; c < n; c++) {
            to[r * n + c] = r == c ? 0.5 : 0;
            for (int k = 0; k < n; k++)
                to[r * n + c] += draw(stream, (i * n + r) * n + k) * draw(stream, (i * n + c) * n + k) / n;
        }
}

static void fill(cases *p)
{
    for (int i = 0; i < CASES; i++) {
        positive("H", i, LOWER, p->H[i]);
        positive("F", i, LOWER, p->F[i]);
        positive("E", i, UPPER, p->E[i]);
        for (int k = 0; k < UPPER * LOWER; k++) p->C[i][k] = draw("C", i * UPPER * LOWER + k);
        for (int k = 0; k < LOWER; k++) p->a[i][k] = draw("a", i * LOWER + k), p->b[i][k] = draw("b", i * LOWER + k);
    }
    for (int k = 0; k < UPPER; k++) p->x[k] = draw("x", k);
}

/* ---- recorded: all cases at once ---- */

static ht_var column(nn_scope s, int64_t rows) { return nn_parameter(s, "value", HT_SHAPE(rows, 1), nn_constant(0)); }

/* sum over the cases of x'M_i y, M [CASES, rows, columns] */
static ht_var form(ht_var x, const double *M, ht_var y, int64_t rows, int64_t columns)
{
    return ht_sum(ht_mul(ht_matmul(ht_constant(x.tape, M, HT_SHAPE(CASES, rows, columns)), y), x));
}

static ht_var linear(const double *a, ht_var z)
{
    return ht_sum(ht_mul(ht_constant(z.tape, a, HT_SHAPE(CASES, LOWER, 1)), z));
}

static ht_var lower(const mlo_point *at, void *context)
{
    const cases *p = context;
    ht_var z = column(mlo_at(at, "lower"), LOWER), x = column(mlo_at(at, "upper"), UPPER);
    ht_var curved = ht_scale(form(z, p->H[0], z, LOWER, LOWER), 0.5), mixed = form(x, p->C[0], z, UPPER, LOWER);
    ht_var tilt = linear(p->a[0], z);
    return ht_scale(ht_add(ht_add(curved, mixed), tilt), 1.0 / CASES);
}

static ht_var upper(const mlo_point *at, void *context)
{
    const cases *p = context;
    ht_var z = column(mlo_at(at, "lower"), LOWER), x = column(mlo_at(at, "upper"), UPPER);
    ht_var own = form(x, p->E[0], x, UPPER, UPPER), curved = ht_add(form(z, p->F[0], z, LOWER, LOWER), own);
    ht_var tilt = linear(p->b[0], z);
    return ht_scale(ht_add(ht_scale(curved, 0.5), tilt), 1.0 / CASES);
}

static mlo_args record(ht_tape *tape, void *context)
{
    cases *p = context;
    nn_scope z = nn_open(tape, p->lower), x = nn_open(tape, p->upper);
    column(z, LOWER);
    column(x, UPPER);
    p->levels[0] = (mlo_level){"lower", z, lower, .rate = 0.9, .context = p, .steps = 120, .solver = MLO_CG};
    p->levels[1] = (mlo_level){.name = "upper", .scope = x, .loss = upper, .context = p};
    return (mlo_args){.tape = tape, .levels = p->levels, .count = 2};
}

/* ---- the same by hand, from the mean matrices ---- */

static void mean(const double *of, int count, double *to)
{
    for (int k = 0; k < count; k++) {
        to[k] = 0;
        for (int i = 0; i < CASES; i++) to[k] += of[i * count + k] / CASES;
    }
}

/* H u = v, by Gauss: H is positive. */
static void solve(const double *H, const double *v, double *u)
{
    double A[LOWER][LOWER + 1];
    for (int i = 0; i < LOWER; i++) {
        memcpy(A[i], H + i * LOWER, LOWER * sizeof *H);
        A[i][LOWER] = v[i];
    }
    for (int i = 0; i < LOWER; i++)
        for (int k = i + 1; k < LOWER; k++)
            for (int j = LOWER; j >= i; j--) A[k][j] -= A[i][j] * A[k][i] / A[i][i];
    for (int i = LOWER - 1; i >= 0; i--) {
        u[i] = A[i][LOWER];
        for (int j = i + 1; j < LOWER; j++) u[i] -= A[i][j] * u[j];
        u[i] /= A[i][i];
    }
}

static double closed_form(const cases *p, double gradient[UPPER])
{
    double H[LOWER * LOWER], F[LOWER * LOWER], E[UPPER * UPPER], C[UPPER * LOWER];
    double a[LOWER], b[LOWER], z[LOWER], u[LOWER], value = 0;
    mean(p->H[0], LOWER * LOWER, H);
    mean(p->F[0], LOWER * LOWER, F);
    mean(p->E[0], UPPER * UPPER, E);
    mean(p->C[0], UPPER * LOWER, C);
    mean(p->a[0], LOWER, a);
    mean(p->b[0], LOWER, b);
    for (int k = 0; k < LOWER; k++)
        for (int m = 0; m < UPPER; m++) a[k] += C[m * LOWER + k] * p->x[m];
    solve(H, a, z);
    for (int k = 0; k < LOWER; k++) z[k] = -z[k], value += b[k] * z[k];
    for (int k = 0; k < LOWER; k++)
        for (int m = 0; m < LOWER; m++) {
            b[k] += F[k * LOWER + m] * z[m];
            value += z[k] * F[k * LOWER + m] * z[m] / 2;
        }
    solve(H, b, u);
    for (int k = 0; k < UPPER; k++) {
        gradient[k] = 0;
        for (int m = 0; m < UPPER; m++) gradient[k] += E[k * UPPER + m] * p->x[m];
        value += p->x[k] * gradient[k] / 2;
        for (int m = 0; m < LOWER; m++) gradient[k] -= C[k * LOWER + m] * u[m];
    }
    return value;
}

int main(int argc, char **argv)
{
    ht_error error = {0};
    ht_device *device = ht_device_open("cpu", 1, &error);
    cases *p = calloc(1, sizeof *p);
    if (!device || !p) return fprintf(stderr, "%s\n", error.message), 1;
    p->lower = ht_store_new(device);
    p->upper = ht_store_new(device);
    fill(p);
    ht_store_add(p->upper, "value", HT_F64, HT_SHAPE(UPPER, 1), HT_PARAMETER, &error);
    ht_store_set(p->upper, "value", p->x, UPPER, &error);

    ht_tape *tape = ht_tape_new(HT_F64);
    mlo_args problem = record(tape, p);
    mlo_round round = mlo_record(tape, problem.levels, problem.count);
    if (dumped(argc, argv, tape)) return 0;
    ht_program *program = ht_compile(tape, device, ht_vars_join(ht_list(round.loss[1]), round.total), .error = &error);
    double value = NAN, h[UPPER] = {0}, expected[UPPER], exact = closed_form(p, expected), off = 0;
    if (program && ht_run(program) == HT_OK) {
        ht_get_at(program, 0, &value, 1);
        ht_get_at(program, 1, h, UPPER);
    }
    for (int k = 0; k < UPPER; k++) {
        printf("dh/dx%d %.12f, closed form %.12f\n", k, h[k], expected[k]);
        off = fmax(off, fabs(h[k] - expected[k]));
    }
    mlo_row rows[MLO_VARIANTS];
    int32_t count = mlo_compare(device, (mlo_problem){record, NULL, p}, rows, MLO_VARIANTS, .error = &error);
    mlo_compare_print(rows, count, stdout);
    printf("h %.12f, closed form %.12f; dh/dx off by %.1e %s\n", value, exact, off, error.message);

    ht_program_free(program);
    ht_tape_free(tape);
    ht_store_free(p->lower);
    ht_store_free(p->upper);
    free(p);
    ht_device_close(device);
    return fabs(value - exact) < 1e-12 && off < 1e-12 && count == MLO_VARIANTS && rows[6].error < 1e-10 ? 0 : 1;
}
