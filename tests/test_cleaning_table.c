/*
 * Benchmark problem C9 by the code of the example itself, which is part of this test: the derivative in the sample weights at
 * a reduced size against differences of the whole procedure; the wrong labels, which are the same everywhere; ten steps
 * against numbers that scripts/check_tables.py found without this library; the reader of IDX files.
 */
#include <stdlib.h>

int example_main(int count, char **argument);
#define main example_main
#include "../examples/hyper_cleaning.c"
#undef main

#include "scratch.h"
#include "tap.h"

/* The table with the counts of a recipe, and wrong labels by the rate given. */
static cleaning open_cleaning(ht_device *device, cleaning recipe, uint32_t rate, int32_t *wrong)
{
    cleaning c = recipe;
    ht_error error = {0};
    c.tables = ht_store_new(device);
    c.weights = ht_store_new(device);
    c.trust = ht_store_new(device);
    c.moments = ht_store_new(device);
    load_digits(&c, TESTS_FOLDER "/../examples/data", &error);
    tap_ok(error.status == HT_OK, "the table is read %s", error.message);
    c.truth = calloc((size_t)c.fitted, sizeof *c.truth);
    scratch_need(c.truth && error.status == HT_OK, "have memory, and the table");
    memcpy(c.truth, labels(&c), (size_t)c.fitted * sizeof *c.truth);
    *wrong = corrupt(&c, rate);
    return c;
}

static void close_cleaning(cleaning *c)
{
    ht_store_free(c->tables);
    ht_store_free(c->weights);
    ht_store_free(c->trust);
    ht_store_free(c->moments);
    free(c->truth);
}

static void check_differences(ht_device *device)
{
    static const cleaning small = {.fitted = 40, .judging = 20, .testing = 10, .pixels = 64, .white = 16, .newton_steps = 8,
                                   .solver_steps = 60};
    int32_t wrong = 0;
    cleaning c = open_cleaning(device, small, 50, &wrong);
    ht_tape *tape = ht_tape_new(HT_F64);
    mlo_round round = record(tape, &c);
    ht_gradcheck_result found = mlo_check(&round, 2, nn_params(c.levels[1].scope), device, .seed = 1, .tolerance = 1e-8);
    tap_ok(wrong > 0 && found.status == HT_OK && found.checks > 0 && found.failed + found.skipped == 0,
           "40 sample weights against differences of the procedure: %d checks, worst %.1e %s", (int)found.checks, found.worst,
           found.message);
    ht_tape_free(tape);
    close_cleaning(&c);
}

static void check_wrong_labels(ht_device *device)
{
    static const int32_t rate[] = {50, 70, 90}, count[] = {376, 512, 661};
    int32_t wrong = 0;
    cleaning c = open_cleaning(device, c9, 50, &wrong);
    for (int i = 0; i < 3; i++) {
        wrong = corrupt(&c, (uint32_t)rate[i]);
        tap_ok(wrong == count[i], "at a rate of %d, %d of 800 labels are wrong; expected %d", (int)rate[i], (int)wrong,
               (int)count[i]);
    }
    close_cleaning(&c);
}

/* The loss that one more run of cleaning would print: that of the weights as they are now. */
static double loss_now(ht_device *device, cleaning *c)
{
    double loss = NAN;
    ht_error error = {0};
    ht_tape *tape = ht_tape_new(HT_F64);
    nn_scope W = nn_open(tape, c->weights);
    ht_var value = ht_mean(misfit(weights(W, c), c, c->fitted, c->judging));
    ht_program *program = ht_compile(tape, device, ht_list(value), .error = &error);
    ht_tape_free(tape);
    if (program) ht_run(program);
    if (program) ht_get_at(program, 0, &loss, 1);
    ht_program_free(program);
    return loss;
}

static void check_steps(ht_device *device)
{
    int32_t wrong = 0;
    ht_error error = {0};
    cleaning c = open_cleaning(device, c9, 50, &wrong);
    double *half = calloc((size_t)c.fitted, sizeof *half);
    for (int32_t i = 0; half && i < c.fitted; i++) half[i] = 0.5;
    accuracy(device, &c, half, &error);
    double first = loss_now(device, &c);
    tap_ok(error.status == HT_OK && fabs(first - 1.086654558) < 1e-9, "L_val = %.10g before cleaning %s", first, error.message);
    c.steps = 10;
    clean(device, &c, &error);
    double last = loss_now(device, &c);
    tap_ok(error.status == HT_OK && fabs(last - 0.4067479432) < 1e-9, "L_val = %.10g at step 10 %s", last, error.message);
    free(half);
    close_cleaning(&c);
}

static void write_compressed(const char *name, const char *bytes, unsigned count)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s.gz", scratch_folder, name);
    gzFile file = gzopen(path, "wb");
    scratch_need(file && gzwrite(file, bytes, count) == (int)count && gzclose(file) == Z_OK, "write a compressed file");
}

static void check_idx(void)
{
    static const struct {
        const char *name, *bytes;
        unsigned count;
        int32_t rows, each;
        ht_status status;
    } files[] = {
        {"labels", "\0\0\x08\1\0\0\0\3\7\xFF\1", 11, 3, 1, HT_OK},
        {"images", "\0\0\x08\3\0\0\0\1\0\0\0\2\0\0\0\1\7\xFF", 18, 1, 2, HT_OK},
        {"fewer rows than asked for", "\0\0\x08\1\0\0\0\3\7\xFF\1", 11, 4, 1, HT_EFORMAT},
        {"images of another size", "\0\0\x08\3\0\0\0\1\0\0\0\2\0\0\0\2\7\xFF\1\1", 20, 1, 2, HT_EFORMAT},
        {"a size beyond all bounds", "\0\0\x08\3\0\0\0\1\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\7\xFF", 18, 1, 2, HT_EFORMAT},
        {"numbers of four bytes", "\0\0\x0C\1\0\0\0\3\7\xFF\1", 11, 3, 1, HT_EFORMAT},
        {"a head alone", "\0\0\x08\1", 4, 1, 1, HT_EFORMAT},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        int32_t got[4] = {0};
        ht_error error = {0};
        write_compressed("idx", files[i].bytes, files[i].count);
        ht_status status = read_idx(scratch_folder, "idx", files[i].rows, files[i].each, got, &error);
        tap_ok(status == files[i].status && (status != HT_OK || (got[0] == 7 && got[1] == 255)), "IDX, %s: %s %s", files[i].name,
               ht_status_name(status), error.message);
    }
    ht_error error = {0};
    tap_ok(read_idx(scratch_folder, "absent", 1, 1, NULL, &error) == HT_EIO, "IDX, an absent file: %s", error.message);
}

int main(void)
{
    ht_error error = {0};
    ht_device *device = ht_device_open("cpu", 1, &error);
    if (!tap_ok(device != NULL, "device %s", error.message)) return tap_done();
    scratch_open();
    check_differences(device);
    check_wrong_labels(device);
    check_steps(device);
    check_idx();
    scratch_close();
    ht_device_close(device);
    return tap_done();
}
