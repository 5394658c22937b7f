/*
 * The hypergradient of the small smooth GenSeg in float64, every coordinate, against differences of the procedure itself,
 * which hyper_fixture.c records by hand: `total` of L_val(S'(G'(A), A)), `eq9` of the same with A frozen in x = G'(M).
 * Through plain steps, and through those of Adam and RMSprop with warm moments, also where half of the gradients are 0.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "hyper_fixture.h"
#include "tap.h"

enum { ALPHAS = 18, LEVELS = 8, SEEDS = 20 };


static ht_device *device;

/* What a round records, one number for each alpha. */
typedef struct answer {
    double path[ALPHAS], direct[ALPHAS], total[ALPHAS], loss;
} answer;

static int derivative(hyper_problem *p, answer *out)
{
    ht_error error = {HT_OK, ""};
    ht_tape *tape = ht_tape_new(HT_F64);
    genseg_recording r = hyper_round(tape, p, MLO_UNROLL, 0);
    ht_vars lists[] = {r.path, r.direct, r.total};
    ht_vars all = ht_vars_join(ht_list(r.loss_val), ht_vars_join(r.path, ht_vars_join(r.direct, r.total)));
    ht_program *program = ht_compile(tape, device, all, .error = &error);
    int good = program ? hyper_run(p, program, &out->loss, 1) : tap_ok(0, "the round: %s", error.message);
    double *to[] = {out->path, out->direct, out->total};
    for (int32_t k = 0, output = 1; good && k < 3; k++)
        for (int32_t i = 0, at = 0; i < lists[k].count; i++) {
            int64_t count = ht_shape_count(ht_var_shape(lists[k].at[i]));
            if (ht_get_at(program, output++, to[k] + at, count) != HT_OK) good = 0;
            at += (int32_t)count;
        }
    ht_program_free(program);
    ht_tape_free(tape);
    return good;
}

/* The procedure at A moved by `by` in one coordinate; everywhere, or everywhere but in x = G'(M). */
static double phi(hyper_problem *p, ht_program *program, int64_t index, double by, int everywhere)
{
    double *one = hyper_alpha(p->state.store[GENSEG_A], index), *other = hyper_alpha(p->synthesis, index), kept = *one;
    double value = NAN;
    *one = kept + by;
    if (everywhere) *other = kept + by;
    hyper_run(p, program, &value, 1);
    *one = *other = kept;
    return value;
}

/*
 * Central differences with the steps h, h/2, h/4, ... and Richardson's extrapolation of them to h = 0, until two neighbours
 * of the tableau agree (Ridders' rule): large steps lose digits to truncation, small ones to rounding.
 */
static double difference(hyper_problem *p, ht_program *program, int64_t index, int everywhere)
{
    double row[LEVELS], best = NAN, gap = INFINITY, h = 0.2;
    for (int k = 0; k < LEVELS && !(gap <= 3e-8 * fabs(best)); k++, h /= 2) {
        double before = row[0];
        row[0] = (phi(p, program, index, h, everywhere) - phi(p, program, index, -h, everywhere)) / (2 * h);
        for (int order = 1; order <= k; order++) {
            double finer = row[order - 1] + (row[order - 1] - before) / (pow(4, order) - 1);
            double off = fmax(fabs(finer - row[order - 1]), fabs(finer - before));
            before = row[order];
            row[order] = finer;
            if (off > gap) continue;
            gap = off;
            best = finer;
        }
    }
    return best;
}

/* Largest gap between a derivative and a difference, relative to the latter or, where it is tiny, to a hundredth of the
 * largest one: below that the difference itself has no seven digits. NaN is as bad as can be. */
static double worst(const double *derivative, const double *difference)
{
    double largest = 0, off = 0;
    for (int i = 0; i < ALPHAS; i++) largest = fmax(largest, fabs(difference[i]));
    for (int i = 0; i < ALPHAS; i++) {
        double gap = fabs(derivative[i] - difference[i]) / fmax(fabs(difference[i]), 1e-2 * largest);
        off = gap <= off ? off : isnan(gap) ? INFINITY : gap;
    }
    return off;
}

/* Every coordinate of `total` and `eq9` against differences, and the sum of the parts. */
static void compare(hyper_problem *p, const char *what)
{
    ht_error error = {HT_OK, ""};
    answer a;
    double whole[ALPHAS], path[ALPHAS], value = NAN, gap = 0;
    if (!derivative(p, &a)) return;
    ht_tape *tape = ht_tape_new(HT_F64);
    ht_program *program = ht_compile(tape, device, ht_list(hyper_procedure(tape, p, NULL)), .error = &error);
    ht_tape_free(tape);
    if (!tap_ok(program && hyper_run(p, program, &value, 1), "%s, seed %d: the procedure by hand runs: %s", what,
                (int)p->config.seed, error.message))
        return;
    tap_ok(fabs(value - a.loss) <= 1e-13 * value, "it ends at the same loss, %.16g", value);
    for (int i = 0; i < ALPHAS; i++) {
        whole[i] = difference(p, program, i, 1);
        path[i] = difference(p, program, i, 0);
        double off = fabs(a.path[i] + a.direct[i] - a.total[i]) / fabs(a.total[i]);
        gap = off <= gap ? gap : isnan(off) ? INFINITY : off;
    }
    double total_off = worst(a.total, whole), path_off = worst(a.path, path);
    tap_ok(total_off <= 1e-7, "total against the whole procedure: %.1e", total_off);
    tap_ok(path_off <= 1e-7, "eq9 against the procedure with A frozen in G'(M): %.1e", path_off);
    tap_ok(gap <= 1e-12, "eq9 + direct - total: %.1e", gap);
    ht_program_free(program);
}

static void test_plain_steps(void)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        genseg_config config = hyper_config(seed);
        hyper_problem p;
        if (!hyper_open(&p, device, &config, HT_F64, 1)) return;
        int64_t weights = 0;
        for (int32_t i = GENSEG_G; i <= GENSEG_S; i++) weights += hyper_parameters(p.state.store[i]);
        if (seed == 1)
            tap_ok(weights >= 5000 && hyper_parameters(p.state.store[GENSEG_A]) == ALPHAS, "%lld weights, %d alphas",
                   (long long)weights, ALPHAS);
        compare(&p, "plain steps");
        hyper_close(&p);
    }
}

/* How many numbers the gradients of L_gan in G and of L_seg in S have, and how many of them are 0. */
static int64_t zeros(hyper_problem *p, int64_t *count)
{
    ht_error error = {HT_OK, ""};
    ht_vars gradients = {0};
    int64_t found = 0;
    double loss;
    ht_tape *tape = ht_tape_new(HT_F64);
    ht_var end = hyper_procedure(tape, p, &gradients);
    ht_program *program = ht_compile(tape, device, ht_vars_join(ht_list(end), gradients), .error = &error);
    *count = 0;
    for (int32_t i = 0; program && hyper_run(p, program, &loss, 1) && i < gradients.count; i++) {
        int64_t numbers = ht_shape_count(ht_var_shape(gradients.at[i]));
        double *g = calloc((size_t)numbers, sizeof *g);
        for (int64_t k = 0; g && ht_get_at(program, i + 1, g, numbers) == HT_OK && k < numbers; k++) found += g[k] == 0;
        *count += numbers;
        free(g);
    }
    ht_program_free(program);
    ht_tape_free(tape);
    return found;
}

/* Adam on G, RMSprop on S: moments of twelve rounds, then the same where half of the gradients are exactly 0. */
static void test_optimizers(void)
{
    for (uint64_t seed = 1; seed <= 4; seed++) {
        genseg_config config = hyper_config(seed);
        config.unroll = GENSEG_UNROLL_OPTIMIZER;
        config.eta_g = config.eta_s = 0;
        hyper_problem p;
        int64_t count = 0;
        if (!hyper_open(&p, device, &config, HT_F64, 1) || !hyper_warm(&p, 12)) return;
        if (seed <= 2) {
            compare(&p, "optimisers' steps");
        } else {
            hyper_starve(&p);
            int64_t found = zeros(&p, &count);
            tap_ok(count > 0 && 2 * found >= count, "of %lld gradients %lld are exactly 0", (long long)count, (long long)found);
            compare(&p, "half of the gradients 0");
        }
        hyper_close(&p);
    }
}

/* Largest gap of two lists, relative to the largest number of the first. */
static double apart(const double *a, const double *b)
{
    double largest = 0, gap = 0;
    for (int i = 0; i < ALPHAS; i++) {
        largest = fmax(largest, fabs(a[i]));
        gap = fabs(a[i] - b[i]) <= gap ? gap : isnan(a[i] - b[i]) ? INFINITY : fabs(a[i] - b[i]);
    }
    return gap / largest;
}

/* Cells as one convolution, as three, and in turn: one loss, one hypergradient. (Values, gradients: test_networks.c.) */
static void test_forms(void)
{
    for (uint64_t seed = 1; seed <= 3; seed++) {
        genseg_config config = hyper_config(seed);
        hyper_problem p;
        answer mixed, form;
        if (!hyper_open(&p, device, &config, HT_F64, 1) || !derivative(&p, &mixed)) return;
        for (int f = GENSEG_CELLS_MERGED; f <= GENSEG_CELLS_SEPARATE; f++) {
            for (int i = 0; i < HYPER_CELLS_MAX; i++) p.forms[i] = (genseg_cells)f;
            if (!derivative(&p, &form)) return;
            double off = fmax(apart(mixed.total, form.total), apart(mixed.path, form.path));
            tap_ok(off <= 1e-12 && fabs(form.loss - mixed.loss) <= 1e-12 * mixed.loss,
                   "seed %d: hypergradients of mixed and %s cells agree to %.1e", (int)seed,
                   f == GENSEG_CELLS_MERGED ? "merged" : "separate", off);
        }
        hyper_close(&p);
    }
}

int main(void)
{
    ht_error error = {HT_OK, ""};
    device = ht_device_open("cpu", 1, &error);
    if (!tap_ok(device != NULL, "a device: %s", error.message)) return tap_done();
    test_forms();
    test_optimizers();
    test_plain_steps();
    ht_device_close(device);
    return tap_done();
}
