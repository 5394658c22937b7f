/*
 * nn/: names and shapes of parameters, initialisation, norms and their running statistics, dropout's streams, rates.
 * Optimisers have a file of their own, test_optim.c.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <ht/nn.h>

#include "tap.h"

static ht_device *device;

/* Whether the tape's error has this status and all of these words. */
static int says(const ht_tape *tape, ht_status status, const char *one, const char *two)
{
    const ht_error *e = ht_tape_error(tape);
    return e->status == status && strstr(e->message, one) && strstr(e->message, two);
}

/* Shape of a tensor in a store as text; "absent" if it is not there. */
static const char *shape_in(const ht_store *store, const char *name, char text[HT_SHAPE_TEXT])
{
    int32_t i = ht_store_find(store, name);
    return i < 0 ? "absent" : ht_shape_text(ht_store_shape(store, i), text);
}

static void test_names(void)
{
    static const struct { const char *name, *shape; } expected[] = {
        {"enc.c.weight", "[6,2,3,3]"}, {"enc.c.bias", "[6]"}, {"enc.n.weight", "[6]"}, {"enc.n.bias", "[6]"},
        {"enc.n.running_mean", "[6]"}, {"enc.n.running_var", "[6]"}, {"up.weight", "[6,4,2,2]"}, {"up.bias", "[4]"},
        {"line.weight", "[5,1,3,1]"}, {"free", "[2,3]"}};
    ht_store *store = ht_store_new(device);
    ht_tape *tape = ht_tape_new(HT_F32);
    nn_scope s = nn_open(tape, store, .name = "M");
    ht_var x = ht_input(tape, "x", HT_SHAPE(2, 4, 8, 8));
    nn_scope e = nn_sub(s, nn_name(s, "%s", "enc"));
    ht_var y = nn_batch_norm(e, "n", nn_conv(e, "c", x, 6, .kernel = 3, .pad = 1, .groups = 2));
    y = nn_conv_transpose(s, "up", y, 4, .kernel = 2, .stride = 2);
    ht_var z = nn_conv(s, "line", ht_slice(y, HT_SHAPE(0, 0, 0, 0), HT_SHAPE(2, 1, 16, 16)), 5, .kernels = ht_each(3, 1, 1),
                       .no_bias = 1);
    nn_parameter(s, "free", HT_SHAPE(2, 3));
    char text[HT_SHAPE_TEXT];
    tap_ok(ht_tape_error(tape)->status == HT_OK, "a small network records%s", ht_tape_error(tape)->message);
    tap_ok(strcmp(ht_shape_text(ht_var_shape(y), text), "[2,4,16,16]") == 0, "transposed convolution doubles: %s", text);
    tap_ok(strcmp(ht_shape_text(ht_var_shape(z), text), "[2,5,14,16]") == 0, "kernel 3 by 1: %s", text);
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++)
        tap_ok(strcmp(shape_in(store, expected[i].name, text), expected[i].shape) == 0, "%s is %s", expected[i].name,
               expected[i].shape);
    ht_vars all = nn_params(s), part = nn_params(e);
    tap_ok(all.count == 8 && strcmp(all.names[0], "enc.c.weight") == 0, "the scope has 8 parameters, in order of addition");
    tap_ok(part.count == 4 && strcmp(part.names[3], "enc.n.bias") == 0, "a part has its own 4");
    int32_t before = ht_store_count(store);
    ht_var again = nn_conv(e, "c", x, 6, .kernel = 3, .pad = 1, .groups = 2);
    tap_ok(ht_ok(again) && ht_store_count(store) == before, "a second recording finds its parameters");
    ht_tape_free(tape);
    ht_store_free(store);
}

static void test_refusals(void)
{
    ht_store *store = ht_store_new(device);
    ht_tape *tape = ht_tape_new(HT_F32);
    nn_scope s = nn_open(tape, store);
    nn_dense(s, "d", ht_input(tape, "x", HT_SHAPE(2, 3)), 4);
    nn_dense(s, "d", ht_input(tape, "y", HT_SHAPE(2, 5)), 4);
    tap_ok(says(tape, HT_ESHAPE, "[4,3]", "[4,5]"), "another shape names both: %s", ht_tape_error(tape)->message);
    tap_ok(strstr(ht_tape_error(tape)->message, "test_nn.c") != NULL, "and the caller's place");
    ht_tape_free(tape);

    tape = ht_tape_new(HT_F64);
    s = nn_open(tape, store);
    nn_dense(s, "d", ht_input(tape, "x", HT_SHAPE(2, 3)), 4);
    tap_ok(says(tape, HT_EDTYPE, "ht_store_copy", "f64"), "another type says what to do: %s", ht_tape_error(tape)->message);
    ht_tape_free(tape);

    tape = ht_tape_new(HT_F32);
    s = nn_open(tape, store);
    nn_batch_norm(s, "n", ht_input(tape, "x", HT_SHAPE(1, 3, 1, 1)));
    tap_ok(says(tape, HT_ESHAPE, "[1,3,1,1]", "one value"), "one value per channel: %s", ht_tape_error(tape)->message);
    ht_tape_free(tape);

    tape = ht_tape_new(HT_F32);
    s = nn_open(tape, store);
    ht_var x = ht_input(tape, "x", HT_SHAPE(2, 3));
    nn_dense(s, "d", x, 4);
    ht_vars w = nn_params(nn_sub(s, "d"));
    nn_dense(nn_at(s, ht_vars_new(tape, w.at, w.names, 1)), "d", x, 4);
    tap_ok(says(tape, HT_EINVALID, "d.bias", "nn_at"), "an unbound name: %s", ht_tape_error(tape)->message);
    ht_tape_free(tape);

    tape = ht_tape_new(HT_F32);
    nn_params(nn_sub(nn_open(tape, store), "nothing"));
    tap_ok(says(tape, HT_EINVALID, "nothing", "record"), "no parameters: %s", ht_tape_error(tape)->message);
    int32_t before = ht_store_count(store);
    nn_parameter(nn_open(tape, store), "late", HT_SHAPE(1));
    tap_ok(ht_store_count(store) == before, "after an error nothing is added to the store");
    ht_tape_free(tape);
    ht_store_free(store);
}

static void test_initialisation(void)
{
    enum { N = 20000 };
    ht_store *first = ht_store_new(device), *second = ht_store_new(device);
    ht_tape *tape = ht_tape_new(HT_F64);
    nn_scope s = nn_open(tape, first, .seed = 7), t = nn_open(tape, second, .seed = 7);
    nn_parameter(s, "a", HT_SHAPE(N), nn_normal_about(1, 0.02));
    nn_parameter(s, "b", HT_SHAPE(N), nn_uniform(0.25));
    nn_parameter(t, "b", HT_SHAPE(N), nn_uniform(0.25));
    nn_parameter(t, "a", HT_SHAPE(N), nn_normal_about(1, 0.02));
    static double a[N], b[N], c[N];
    ht_error error = {HT_OK, ""};
    ht_store_get(first, "a", a, N, &error);
    ht_store_get(first, "b", b, N, &error);
    ht_store_get(second, "a", c, N, &error);
    tap_ok(error.status == HT_OK && memcmp(a, c, sizeof a) == 0, "numbers do not depend on the order of recording");
    double mean = 0, square = 0, low = 1, high = -1;
    for (int i = 0; i < N; i++) {
        mean += a[i] / N;
        square += (a[i] - 1) * (a[i] - 1) / N;
        low = fmin(low, b[i]);
        high = fmax(high, b[i]);
    }
    tap_ok(fabs(mean - 1) < 1e-3 && fabs(sqrt(square) - 0.02) < 1e-3, "normal about 1: mean %.5f deviation %.5f", mean,
           sqrt(square));
    tap_ok(low < -0.249 && high > 0.249 && low >= -0.25 && high <= 0.25, "uniform fills (-0.25, 0.25)");
    nn_dense(s, "d", ht_input(tape, "x", HT_SHAPE(1, 16)), 1000, .no_bias = 1);
    ht_store_get(first, "d.weight", a, 16000, &error);
    high = 0;
    for (int i = 0; i < 16000; i++) high = fmax(high, fabs(a[i]));
    tap_ok(error.status == HT_OK && high <= 0.25 && high > 0.249, "dense: uniform within 1/sqrt(fan in)");
    ht_tape_free(tape);
    ht_store_free(first);
    ht_store_free(second);
}

/* Normals enough that more than one thread fills them: their moments, their tails, and the same bits from one thread. */
static void test_normals(void)
{
    enum { N = 1100003 };
    ht_error error = {HT_OK, ""};
    ht_device *alone = ht_device_open("cpu", 1, &error), *pair = ht_device_open("cpu", 2, &error);
    ht_store *first = ht_store_new(alone), *second = ht_store_new(pair), *wide = ht_store_new(pair);
    ht_store *all[3] = {first, second, wide};
    ht_tape *tape = ht_tape_new(HT_F32), *real = ht_tape_new(HT_F64);
    for (int32_t i = 0; i < 3; i++) {
        nn_scope s = nn_open(i < 2 ? tape : real, all[i], .seed = 3);
        nn_parameter(s, "w", HT_SHAPE(N), nn_normal(1));
        nn_parameter(s, "v", HT_SHAPE(N), nn_uniform(1));
        nn_parameter(s, "u", HT_SHAPE(5), nn_constant(3));
    }
    tap_ok(ht_tape_error(tape)->status == HT_OK && ht_tape_error(real)->status == HT_OK && ht_store_count(wide) == 3,
           "a million numbers %s", ht_tape_error(tape)->message);
    tap_ok(ht_store_hash(first) == ht_store_hash(second), "two threads give the bits of one");
    tap_ok(ht_store_hash(first) == UINT64_C(0x86644ba8b4eac4ea), "and any machine's: %016llx",
           (unsigned long long)ht_store_hash(first));
    const float *w = ht_store_data(first, 0), *u = ht_store_data(first, 2);
    const double *same = ht_store_data(wide, 0);
    double power[5] = {0}, next = 0;
    int32_t beyond[3] = {0}, other = 0;
    for (int32_t i = 0; i < N; i++) {
        const double x = (double)w[i];
        for (int32_t k = 1; k < 5; k++) power[k] += pow(x, k) / N;
        if (i) next += x * (double)w[i - 1] / N;
        for (int32_t k = 0; k < 3; k++) beyond[k] += fabs(x) > k + 2;
        other += (float)same[i] != w[i];
    }
    tap_ok(other == 0 && u[0] == 3 && u[4] == 3, "f32 is f64 rounded (%d others)", other);
    /* five deviations of what a million normals give */
    tap_ok(fabs(power[1]) < 5e-3 && fabs(power[2] - 1) < 7e-3 && fabs(power[3]) < 2e-2 && fabs(power[4] - 3) < 5e-2 &&
               fabs(next) < 5e-3,
           "moments %.4f %.4f %.4f %.4f, neighbours %.4f", power[1], power[2], power[3], power[4], next);
    tap_ok(abs(beyond[0] - 50050) < 1100 && abs(beyond[1] - 2970) < 273 && abs(beyond[2] - 70) < 42,
           "beyond 2, 3, 4: %d %d %d of %d", beyond[0], beyond[1], beyond[2], N);
    ht_tape_free(tape);
    ht_tape_free(real);
    for (int32_t i = 0; i < 3; i++) ht_store_free(all[i]);
    ht_device_close(alone);
    ht_device_close(pair);
}

enum { CASES = 3, CHANNELS = 2, PLACES = 4, NUMBERS = CASES * CHANNELS * PLACES };

/* Batch mean and biased variance of one channel of [CASES, CHANNELS, PLACES]. */
static void statistics(const double *x, int channel, double *mean, double *variance)
{
    *mean = *variance = 0;
    for (int n = 0; n < CASES; n++)
        for (int p = 0; p < PLACES; p++) *mean += x[(n * CHANNELS + channel) * PLACES + p] / (CASES * PLACES);
    for (int n = 0; n < CASES; n++)
        for (int p = 0; p < PLACES; p++) {
            double d = x[(n * CHANNELS + channel) * PLACES + p] - *mean;
            *variance += d * d / (CASES * PLACES);
        }
}

static double worst(const double *a, const double *b, int n)
{
    double w = 0;
    for (int i = 0; i < n; i++) w = fabs(a[i] - b[i]) <= w ? w : fabs(a[i] - b[i]);
    return w;
}

/* A program with two training passes through one norm, one in an nn_at scope and one in evaluation. */
static void test_batch_norm(void)
{
    ht_store *store = ht_store_new(device);
    ht_tape *tape = ht_tape_new(HT_F64);
    ht_error error = {HT_OK, ""};
    nn_scope s = nn_open(tape, store);
    ht_var x = ht_input(tape, "x", HT_SHAPE(CASES, CHANNELS, PLACES)), u = ht_input(tape, "u", HT_SHAPE(CASES, CHANNELS, PLACES));
    ht_var y = nn_batch_norm(s, "n", x);
    nn_batch_norm(s, "n", u, .momentum = 0.5);
    ht_var ahead = nn_batch_norm(nn_at(s, nn_params(s)), "n", u);
    nn_batch_norm(nn_open(tape, store, .freeze_statistics = 1), "n", u);
    ht_var evaluated = nn_batch_norm(nn_open(tape, store, .evaluate = 1), "n", u);
    ht_program *program = ht_compile(tape, device, ht_list(y, ahead, evaluated), .error = &error);
    if (!tap_ok(program != NULL, "norms compile: %s", error.message)) return;
    static const double weight[CHANNELS] = {1.5, -0.5}, bias[CHANNELS] = {0.25, 2};
    ht_store_set(store, "n.weight", weight, CHANNELS, &error);
    ht_store_set(store, "n.bias", bias, CHANNELS, &error);
    double a[NUMBERS], b[NUMBERS], out[3][NUMBERS], expected[3][NUMBERS], running[2][CHANNELS], is[CHANNELS];
    for (int i = 0; i < NUMBERS; i++) {
        a[i] = sin(i * 1.7) + 100;
        b[i] = cos(i * 0.9) * 3;
    }
    ht_set(program, x, a, NUMBERS);
    ht_set(program, u, b, NUMBERS);
    ht_run(program);
    for (int k = 0; k < 3; k++) ht_get_at(program, k, out[k], NUMBERS);
    tap_ok(ht_program_error(program)->status == HT_OK, "and run: %s", ht_program_error(program)->message);
    for (int c = 0; c < CHANNELS; c++) {
        double mean[2], variance[2], share = (double)(CASES * PLACES) / (CASES * PLACES - 1);
        statistics(a, c, &mean[0], &variance[0]);
        statistics(b, c, &mean[1], &variance[1]);
        running[0][c] = 0.5 * (0.1 * mean[0]) + 0.5 * mean[1];
        running[1][c] = 0.5 * (0.9 + 0.1 * variance[0] * share) + 0.5 * variance[1] * share;
        for (int i = 0; i < NUMBERS; i++) {
            if (i / PLACES % CHANNELS != c) continue;
            expected[0][i] = (a[i] - mean[0]) / sqrt(variance[0] + 1e-5) * weight[c] + bias[c];
            expected[1][i] = (b[i] - mean[1]) / sqrt(variance[1] + 1e-5) * weight[c] + bias[c];
            expected[2][i] = (b[i] - running[0][c]) / sqrt(running[1][c] + 1e-5) * weight[c] + bias[c];
        }
    }
    tap_ok(worst(out[0], expected[0], NUMBERS) < 1e-10, "training: batch statistics, in two passes");
    tap_ok(worst(out[1], expected[1], NUMBERS) < 1e-13, "at other values the same");
    tap_ok(worst(out[2], expected[2], NUMBERS) < 1e-12, "evaluation: running statistics as written before on the tape");
    ht_store_get(store, "n.running_mean", is, CHANNELS, &error);
    tap_ok(worst(is, running[0], CHANNELS) < 1e-13, "running mean: two updates compose, nn_at and freeze leave no trace");
    ht_store_get(store, "n.running_var", is, CHANNELS, &error);
    tap_ok(worst(is, running[1], CHANNELS) < 1e-13, "running variance: unbiased, likewise");
    ht_program_free(program);
    ht_tape_free(tape);
    ht_store_free(store);
}

static void test_instance_norm(void)
{
    ht_store *store = ht_store_new(device);
    ht_tape *tape = ht_tape_new(HT_F64);
    ht_error error = {HT_OK, ""};
    ht_var x = ht_input(tape, "x", HT_SHAPE(CASES, CHANNELS, PLACES));
    ht_var y = nn_instance_norm(nn_open(tape, store), "n", x);
    ht_program *program = ht_compile(tape, device, ht_list(y), .error = &error);
    if (!tap_ok(program != NULL, "instance norm compiles: %s", error.message)) return;
    double a[NUMBERS], out[NUMBERS], expected[NUMBERS];
    for (int i = 0; i < NUMBERS; i++) a[i] = sin(i * 1.7) * (i + 1);
    ht_set(program, x, a, NUMBERS);
    ht_run(program);
    ht_get(program, y, out, NUMBERS);
    for (int r = 0; r < CASES * CHANNELS; r++) {
        double mean = 0, variance = 0;
        for (int p = 0; p < PLACES; p++) mean += a[r * PLACES + p] / PLACES;
        for (int p = 0; p < PLACES; p++) variance += (a[r * PLACES + p] - mean) * (a[r * PLACES + p] - mean) / PLACES;
        for (int p = 0; p < PLACES; p++) expected[r * PLACES + p] = (a[r * PLACES + p] - mean) / sqrt(variance + 1e-5);
    }
    tap_ok(worst(out, expected, NUMBERS) < 1e-12 && ht_store_find(store, "n.running_mean") < 0,
           "instance norm: each case alone, no running statistics");
    ht_program_free(program);
    ht_tape_free(tape);
    ht_store_free(store);
}

static void test_dropout(void)
{
    enum { N = 4096 };
    ht_store *store = ht_store_new(device);
    ht_tape *tape = ht_tape_new(HT_F32);
    ht_error error = {HT_OK, ""};
    nn_scope s = nn_open(tape, store, .seed = 3, .step = nn_count(tape, store, "round"));
    nn_parameter(s, "w", HT_SHAPE(1));
    ht_vars w = nn_params(s);
    ht_var x = ht_fill(tape, 1, HT_SHAPE(N));
    ht_var plain = nn_dropout(s, "drop", x, 0.25);
    ht_var same = nn_dropout(nn_at(s, w), "drop", x, 0.25);
    ht_var other = nn_dropout(nn_at(s, w, .draw = "synthesis"), "drop", x, 0.25);
    ht_var name = nn_dropout(s, "drop2", x, 0.25);
    ht_var passed = nn_dropout(nn_at(s, w, .evaluate = 1), "drop", x, 0.25);
    ht_program *program = ht_compile(tape, device, ht_list(plain, same, other, name, passed), .error = &error);
    if (!tap_ok(program != NULL, "dropout compiles: %s", error.message)) return;
    static float out[5][N], next[N];
    ht_run(program);
    for (int k = 0; k < 5; k++) ht_get_at(program, k, out[k], N);
    ht_run(program);
    ht_get_at(program, 0, next, N);
    tap_ok(ht_program_error(program)->status == HT_OK, "and runs: %s", ht_program_error(program)->message);
    int kept = 0, odd = 0, ones = 1;
    for (int i = 0; i < N; i++) {
        kept += out[0][i] > 0;
        odd += out[0][i] != 0 && fabsf(out[0][i] - 4.0f / 3) > 1e-6f;
        ones &= out[4][i] == 1;
    }
    tap_ok(odd == 0 && abs(kept - 3 * N / 4) < 150, "numbers are 0 or 4/3, %d of %d kept", kept, N);
    tap_ok(memcmp(out[0], out[1], sizeof out[0]) == 0, "equal evaluation names draw equal numbers");
    tap_ok(memcmp(out[0], out[2], sizeof out[0]) != 0, "another evaluation draws others");
    tap_ok(memcmp(out[0], out[3], sizeof out[0]) != 0, "another layer draws others");
    tap_ok(memcmp(out[0], next, sizeof next) != 0, "the next step draws others");
    tap_ok(ones, "evaluation passes everything");
    int32_t rounds = 0;
    ht_store_get(store, "round", &rounds, 1, &error);
    tap_ok(rounds == 2, "the counter stands at 2 after two runs");
    nn_dropout(s, "bad", x, 1);
    tap_ok(says(tape, HT_EINVALID, "bad", "below 1"), "probability 1 is refused: %s", ht_tape_error(tape)->message);
    ht_program_free(program);
    ht_tape_free(tape);
    ht_store_free(store);
}

static void test_rates(void)
{
    static const struct { double score, rate; } table[] = {
        {0.5, 1}, {0.6, 1}, {0.6, 1}, {0.5, 1}, {0.6, 0.1}, /* three not better, patience 2                 */
        {NAN, 0.1}, {0.7, 0.1}, {NAN, 0.1}, {0.1, 0.1}, {NAN, 0.01}, {-INFINITY, 0.01}, {0.2, 0.01}, {0.3, 0.005},
        {0.8, 0.005}};
    nn_plateau plateau = {.rate = 1, .factor = 0.1, .patience = 2, .minimum = 0.005};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        double rate = nn_plateau_step(&plateau, table[i].score);
        tap_ok(fabs(rate - table[i].rate) < 1e-15, "plateau, score %zu (%g): rate %g", i, table[i].score, rate);
    }
    nn_plateau silent = {.rate = 1, .factor = 0.5, .patience = 0};
    tap_ok(nn_plateau_step(&silent, NAN) == 0.5 && nn_plateau_step(&silent, -3) == 0.5 && nn_plateau_step(&silent, -2) == 0.5,
           "NaN is no improvement, any number is one after it");
    tap_ok(nn_rate_step(1, 0.5, 10, 9) == 1 && nn_rate_step(1, 0.5, 10, 20) == 0.25 && nn_rate_step(1, 0.5, 0, 9) == 1,
           "steps");
    tap_ok(nn_rate_cosine(1, 0.1, 100, 0) == 1 && fabs(nn_rate_cosine(1, 0.1, 100, 50) - 0.55) < 1e-15 &&
               nn_rate_cosine(1, 0.1, 100, 100) == 0.1 && nn_rate_cosine(1, 0.1, 0, 0) == 0.1, "cosine");
    tap_ok(nn_rate_linear(1, 0, 4, 1) == 0.75 && nn_rate_linear(1, 0, 4, 9) == 0 && nn_rate_linear(1, 0, 4, -1) == 1, "line");
}

int main(void)
{
    ht_error error = {HT_OK, ""};
    device = ht_device_open("cpu", 2, &error);
    if (!tap_ok(device != NULL, "a device: %s", error.message)) return tap_done();
    test_names();
    test_refusals();
    test_initialisation();
    test_normals();
    test_batch_norm();
    test_instance_norm();
    test_dropout();
    test_rates();
    ht_device_close(device);
    return tap_done();
}
