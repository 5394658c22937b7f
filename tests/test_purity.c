/*
 * Purity of the program that trains: ReLU, max pooling, drawn dropout, f32. With eta_a = 0 the hypergradient, however it
 * is taken, must leave no trace: fifty rounds of each method end in the same bits. And the path from A to L_val cannot be
 * cut unnoticed: the application's own round with a rounded or stopped image is refused when it is recorded.
 */
#include <math.h>
#include <string.h>

#include "hyper_fixture.h"
#include "planted_round.h"
#include "tap.h"

enum { ROUNDS = 50, METHODS = 4 };

static ht_device *device;

static const char *const words[METHODS] = {"none", "finite-difference", "eq9", "total"};
static const char *const store_names[GENSEG_STORES] = {"G", "H", "S with running statistics", "A", "slots of G", "slots of H",
                                                       "slots of S", "slots of A", "random state"};

/* Six levels: the smallest generator that draws dropout. */
static genseg_config training_config(int method)
{
    genseg_config config = hyper_config(7);
    config.size = 64;
    config.generator_levels = 6;
    config.unet_depth = 3;
    config.hypergradient = (genseg_hypergradient)method;
    config.l1 = 100;
    config.eta_g = config.eta_s = 0;
    config.g_rate = config.h_rate = 2e-4;
    config.s_rate = 1e-3;
    config.a_rate = 0;
    return config;
}

/* Trains and hashes every store. norm: the largest hypergradient on the way; NAN without one. */
static int train(const genseg_config *config, int rounds, uint64_t hash[GENSEG_STORES], double *norm)
{
    hyper_problem p;
    ht_error error = {HT_OK, ""};
    int has = config->hypergradient != GENSEG_H_NONE;
    if (!hyper_open(&p, device, config, HT_F32, 0)) return 0;
    ht_tape *tape = ht_tape_new(HT_F32);
    genseg_recording r = hyper_round(tape, &p, genseg_method_of(config), 1);
    ht_program *program = ht_compile(tape, device, has ? ht_list(r.loss_seg, r.norm_used) : ht_list(r.loss_seg),
                                     .error = &error);
    ht_tape_free(tape);
    int good = program || tap_ok(0, "the round: %s", error.message);
    double value[2] = {0, NAN};
    *norm = has ? 0 : NAN;
    for (int i = 0; good && i < rounds; i++, p.step++) {
        good = hyper_run(&p, program, value, has ? 2 : 1);
        if (value[1] > *norm) *norm = value[1];
    }
    for (int i = 0; i < GENSEG_STORES; i++) hash[i] = ht_store_hash(p.state.store[i]);
    ht_program_free(program);
    hyper_close(&p);
    return good;
}

static void test_methods(genseg_unroll unroll, int rounds)
{
    uint64_t plain[GENSEG_STORES], hash[GENSEG_STORES];
    double norm;
    for (int method = 0; method < METHODS; method++) {
        genseg_config config = training_config(method);
        config.unroll = unroll;
        if (!train(&config, rounds, method ? hash : plain, &norm) || !method) continue;
        tap_ok(norm > 0, "%s, %d rounds: the hypergradient is not 0 (%.3g)", words[method], rounds, norm);
        for (int i = 0; i < GENSEG_STORES; i++)
            if (i != GENSEG_A_MOMENTS)
                tap_ok(hash[i] == plain[i], "%s and none leave the same bits in %s", words[method], store_names[i]);
    }
}

/* The comparison can tell: where A moves, the weights are others. */
static void test_it_would_show(void)
{
    uint64_t still[GENSEG_STORES], moved[GENSEG_STORES];
    double norm;
    genseg_config config = training_config(GENSEG_H_EQ9);
    train(&config, 3, still, &norm);
    config.a_rate = 1e-2;
    train(&config, 3, moved, &norm);
    tap_ok(still[GENSEG_A] != moved[GENSEG_A] && still[GENSEG_G] != moved[GENSEG_G] && still[GENSEG_S] != moved[GENSEG_S],
           "with eta_a > 0 A, G and S end elsewhere");
    tap_ok(still[GENSEG_CLOCK] == moved[GENSEG_CLOCK], "and draw as many numbers");
}

/* One kept round on a problem that is open; 0 with a "not ok". */
static int one_round(hyper_problem *p)
{
    ht_error error = {HT_OK, ""};
    double loss;
    ht_tape *tape = ht_tape_new(p->real);
    genseg_recording r = hyper_round(tape, p, genseg_method_of(&p->config), 1);
    ht_program *program = ht_compile(tape, device, ht_list(r.loss_seg), .error = &error);
    int good = tap_ok(program && hyper_run(p, program, &loss, 1), "a round %s", error.message);
    ht_program_free(program);
    ht_tape_free(tape);
    return good;
}

/* Largest difference of two stores of f64, beside the larger of 1 and the number. */
static double distance(const ht_store *a, const ht_store *b)
{
    double most = 0;
    for (int32_t t = 0; t < ht_store_count(a); t++) {
        if (ht_store_dtype(a, t) != HT_F64) continue;
        const double *x = ht_store_data(a, t), *y = ht_store_data(b, t);
        for (int64_t k = 0; k < ht_shape_count(ht_store_shape(a, t)); k++)
            most = fmax(most, fabs(x[k] - y[k]) / fmax(1, fabs(y[k])));
    }
    return most;
}

/*
 * --lookahead restore: the steps are those that a round without hypergradient takes from the same state at the new A. Three
 * copies of one state: `moved` finds that A, `again` restores, `steps` is given A and only steps. In f64, since on a longer
 * tape gradients may be summed in another order.
 */
static void test_restore(genseg_unroll unroll)
{
    hyper_problem moved, again, steps;
    ht_error error = {HT_OK, ""};
    genseg_config config = training_config(GENSEG_H_TOTAL);
    config.a_rate = 1e-2;
    config.unroll = unroll;
    genseg_config restore = config, none = config;
    restore.lookahead = GENSEG_LOOKAHEAD_RESTORE;
    none.hypergradient = GENSEG_H_NONE;
    if (!hyper_open(&moved, device, &config, HT_F64, 0) || !hyper_open(&again, device, &restore, HT_F64, 0) ||
        !hyper_open(&steps, device, &none, HT_F64, 0) || !one_round(&moved) || !one_round(&again))
        return;
    ht_store_assign(steps.state.store[GENSEG_A], moved.state.store[GENSEG_A], &error);
    if (!one_round(&steps)) return;
    for (int i = 0; i < GENSEG_STORES; i++) {
        const hyper_problem *want = i == GENSEG_A || i == GENSEG_A_MOMENTS ? &moved : &steps;
        double off = distance(again.state.store[i], want->state.store[i]);
        tap_ok(off < 1e-9, "restored, %s: off by %.1e from a step at the new A", store_names[i], off);
    }
    double other = fmin(distance(again.state.store[GENSEG_G], moved.state.store[GENSEG_G]),
                        distance(again.state.store[GENSEG_S], moved.state.store[GENSEG_S]));
    tap_ok(other > 1e-6, "and by %.1e from the steps that the hypergradient looked along", other);
    hyper_close(&moved);
    hyper_close(&again);
    hyper_close(&steps);
}

static void test_refusals(void)
{
    static const char *const ops[] = {"", "round", "stop", "truncate"};
    static const char *const defects[] = {"no defect", "round() on the generated image", "ht_stop on the generated image",
                                          "8-bit integers on the way"};
    for (int method = GENSEG_H_FINITE_DIFFERENCE; method < METHODS; method++)
        for (int defect = PLANTED_NOTHING; defect <= PLANTED_BYTES; defect++) {
            hyper_problem p;
            ht_error error = {HT_OK, ""};
            genseg_config config = training_config(method);
            if (!hyper_open(&p, device, &config, HT_F32, 0)) return;
            uint64_t before = ht_store_hash(p.state.store[GENSEG_G]);
            ht_tape *tape = ht_tape_new(HT_F32);
            planted_choose((planted_defect)defect);
            genseg_recording r = planted_record_round(tape, &p.state, &config, &p.nets, p.sizes, genseg_method_of(&config), 1);
            ht_program *program = ht_compile(tape, device, ht_list(r.loss_val), .error = &error);
            if (defect == PLANTED_NOTHING)
                tap_ok(program != NULL, "%s: %s, it compiles: %s", words[method], defects[defect], error.message);
            else
                tap_ok(!program && error.status == HT_EINVALID && strstr(error.message, "\"alpha.") &&
                           strstr(error.message, "architecture") && strstr(error.message, "tests/planted_round.c:") &&
                           strstr(error.message, ops[defect]) && before == ht_store_hash(p.state.store[GENSEG_G]),
                       "%s: %s: %s", words[method], defects[defect], error.message);
            ht_program_free(program);
            ht_tape_free(tape);
            hyper_close(&p);
        }
}

int main(void)
{
    ht_error error = {HT_OK, ""};
    device = ht_device_open("cpu", 1, &error);
    if (!tap_ok(device != NULL, "a device: %s", error.message)) return tap_done();
    test_refusals();
    test_it_would_show();
    test_methods(GENSEG_UNROLL_SGD, ROUNDS);
    test_methods(GENSEG_UNROLL_OPTIMIZER, 3);
    test_restore(GENSEG_UNROLL_SGD);
    test_restore(GENSEG_UNROLL_OPTIMIZER);
    ht_device_close(device);
    return tap_done();
}
