/*
 * Random networks full of kinks (ReLU, leaky ReLU, max pooling, |x|, maxima) whose derivatives are right: the checker must
 * raise no alarm, and must rarely have to refuse. Then the checker as users call it: stores, points given, wrong
 * derivatives, kinks that cannot be avoided, and what it refuses.
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "kit.h"
#include "tap.h"

#define NETWORKS 1000

static ht_device *device;

/* ---- random networks ---- */

typedef struct dice {
    uint64_t key;
    int64_t next;
} dice;

static int32_t roll(dice *d, int32_t sides)
{
    return (int32_t)(ht_random_unit(ht_random_word(d->key, 1, (uint64_t)d->next++)) * sides);
}

static ht_var kinked(dice *d, ht_var x)
{
    switch (roll(d, 4)) {
    case 0: return ht_relu(x);
    case 1: return ht_leaky_relu(x, 0.1);
    case 2: return ht_abs(x);
    default: return ht_maximum(x, ht_offset(ht_scale(x, -0.5), 0.1));
    }
}

static ht_var weight(ht_tape *tape, ht_vars *weights, ht_shape shape)
{
    char name[16];
    snprintf(name, sizeof name, "w%d", (int)weights->count);
    ht_var w = ht_input(tape, name, shape);
    *weights = ht_vars_join(*weights, ht_list(w));
    return w;
}

/* One or two convolutions with kinks and a pooling, then one or two products, then an L1 or squared loss. */
static ht_var network(dice *d, ht_tape *tape, ht_vars *weights)
{
    int64_t channels = 1 + roll(d, 2), classes = 1 + roll(d, 3);
    ht_var x = ht_input(tape, "image", HT_SHAPE(1 + roll(d, 2), 1, 6, 4));
    for (int32_t i = roll(d, 2); i >= 0; i--) {
        ht_shape shape = HT_SHAPE(channels, ht_var_shape(x).dim[1], 3, 3);
        x = kinked(d, ht_conv(x, weight(tape, weights, shape), .pad = ht_all(1)));
    }
    x = roll(d, 2) ? ht_max_pool(x, .kernel = ht_all(2))
                   : ht_max_pool(x, .kernel = ht_all(3), .stride = ht_all(2), .pad = ht_all(1));
    ht_shape s = ht_var_shape(x);
    x = ht_reshape(x, HT_SHAPE(s.dim[0], s.dim[1] * s.dim[2] * s.dim[3]));
    for (int32_t i = roll(d, 2); i >= 0; i--) {
        ht_shape shape = HT_SHAPE(ht_var_shape(x).dim[1], classes);
        x = ht_matmul(kinked(d, x), weight(tape, weights, shape));
    }
    ht_var error = ht_sub(x, ht_input(tape, "target", ht_var_shape(x)));
    return roll(d, 2) ? ht_mean(ht_abs(error)) : ht_mean(ht_square(error));
}

static void random_networks(void)
{
    int64_t checks = 0, failed = 0, skipped = 0;
    char message[HT_MESSAGE_BYTES] = "";
    for (int32_t i = 0; i < NETWORKS; i++) {
        ht_tape *tape = ht_tape_new(HT_F64);
        dice d = {ht_random_key((uint64_t)i, "network"), 0};
        ht_vars weights = {0};
        ht_var loss = network(&d, tape, &weights);
        ht_gradcheck_result r = ht_gradcheck(loss, weights, device, .orders = 2, .seed = (uint64_t)i);
        bool alarm = r.failed > 0 || r.status != HT_OK;
        if (alarm && failed == 0) memcpy(message, r.message, sizeof message);
        checks += r.checks;
        failed += alarm;
        skipped += r.skipped;
        ht_tape_free(tape);
    }
    tap_ok(failed == 0, "%d networks of kinks, %d checks: %d false alarms %s", NETWORKS, (int)checks, (int)failed, message);
    tap_ok(checks > 10 * NETWORKS && 200 * skipped <= checks, "%d of %d checks had to be skipped", (int)skipped, (int)checks);
}

/* ---- as users call it ---- */

static void stores(void)
{
    ht_error error = {0};
    ht_store *store = ht_store_new(device);
    ht_tape *tape = ht_tape_new(HT_F64);
    nn_scope s = nn_open(tape, store, .seed = 2);
    ht_var x = ht_input(tape, "x", HT_SHAPE(4, 3)), y = nn_dense(s, "out", nn_batch_norm(s, "norm", x), 2);
    ht_var loss = ht_mean(ht_square(ht_tanh(y)));
    ht_vars inputs = ht_vars_join(nn_params(s), ht_list(x));
    uint64_t before = ht_store_hash(store);
    ht_gradcheck_result r = ht_gradcheck(loss, inputs, device, .orders = 3, .draws = 2, .seed = 1);
    tap_ok(r.status == HT_OK && r.failed + r.skipped == 0 && r.checks == 2 * 11 * inputs.count,
           "a network with a batch norm on a store: %d checks, worst %.2g %s", (int)r.checks, r.worst, r.message);
    tap_ok(ht_store_hash(store) == before, "weights and running statistics are as before");
    ht_program *program = ht_compile(tape, device, ht_list(loss), .error = &error);
    double numbers[12];
    for (int32_t i = 0; i < 12; i++) numbers[i] = kit_uniform(3, i);
    bool ran = program && ht_set(program, x, numbers, 12) == HT_OK && ht_run(program) == HT_OK;
    tap_ok(ran && ht_store_hash(store) != before, "the tape still writes its statistics when it is run itself");
    ht_program_free(program);
    ht_tape_free(tape);
    ht_store_free(store);
}

static ht_status set_scale(ht_program *program, void *context) { return ht_set_named(program, "scale", context, 1); }

static void points(void)
{
    ht_tape *tape = ht_tape_new(HT_F64);
    ht_var x = ht_input(tape, "x", HT_SHAPE(3)), scale = ht_input(tape, "scale", HT_SCALAR);
    ht_var y = ht_sum(ht_mul(ht_log(x), scale)), kink = ht_sum(ht_mul(ht_abs(x), scale));
    const double point[3] = {1e-4, 5, 200}, at_kink[3] = {0, 1, -1}, outside[3] = {-1, 1, 1};
    double two = 2;
    const double *at[1] = {point};
    ht_gradcheck_result r = ht_gradcheck(y, ht_list(x), device, .at = at, .set = set_scale, .context = &two);
    tap_ok(r.status == HT_OK && r.checks == 7 && r.failed + r.skipped == 0,
           "logarithms near zero, where the usual step leaves the domain: %.2g %s", r.worst, r.message);
    at[0] = at_kink;
    r = ht_gradcheck(kink, ht_list(x), device, .at = at, .set = set_scale, .context = &two);
    tap_ok(r.failed == 0 && r.skipped > 0 && strstr(r.message, "kink") && strstr(r.message, "\"x\""),
           "at a kink nothing is passed and nothing is blamed: %s", r.message);
    at[0] = outside;
    r = ht_gradcheck(y, ht_list(x), device, .at = at);
    tap_ok(r.failed > 0 && r.skipped == 0, "a value that is not finite does not pass: %s", r.message);
    ht_tape_free(tape);
}

static void refusals(void)
{
    ht_tape *tape = ht_tape_new(HT_F64), *single = ht_tape_new(HT_F32);
    ht_var x = ht_input(tape, "x", HT_SHAPE(2, 2)), other = ht_input(tape, "other", HT_SHAPE(2, 2));
    ht_var y = ht_sum(ht_mul(x, ht_stop(ht_sin(x))));
    ht_gradcheck_result r = ht_gradcheck(y, ht_list(x), device, .seed = 4);
    tap_ok(r.status == HT_OK && r.failed > 0 && strstr(r.message, "difference") && strstr(r.message, "order 1") &&
               strstr(r.message, "seed 4"), "a derivative that is not that of the value is found: %s", r.message);
    y = ht_sum(ht_add(x, ht_stop(other)));
    r = ht_gradcheck(y, ht_list(x, other), device);
    tap_ok(r.status == HT_EINVALID && strstr(r.message, "\"other\"") && strstr(r.message, "cut at"),
           "an input that is cut off: %s", r.message);
    r = ht_gradcheck(ht_square(x), ht_list(x), device);
    tap_ok(r.status == HT_EINVALID && strstr(r.message, "[2,2]"), "a value that is no scalar: %s", r.message);
    ht_var z = ht_exp(x);
    r = ht_gradcheck(ht_sum(ht_square(z)), ht_list(z), device);
    tap_ok(r.status == HT_EINVALID && strstr(r.message, ".at"), "a computed value without a point: %s", r.message);
    const double point[4] = {0.1, 0.7, -0.3, 1};
    const double *at[1] = {point};
    r = ht_gradcheck(ht_sum(ht_square(ht_sin(z))), ht_list(z), device, .at = at, .orders = 3);
    tap_ok(r.status == HT_OK && r.checks == 11 && r.failed == 0, "a computed value with a point: %s", r.message);
    r = ht_gradcheck(y, ht_list(x), device, .orders = 4);
    tap_ok(r.status == HT_EINVALID && strstr(r.message, "orders"), "order 4: %s", r.message);
    ht_var w = ht_input(single, "w", HT_SCALAR);
    r = ht_gradcheck(ht_square(w), ht_list(w), device);
    tap_ok(r.status == HT_EINVALID && strstr(r.message, "f64"), "an f32 tape: %s", r.message);
    ht_tape_free(tape);
    ht_tape_free(single);
}

int main(void)
{
    ht_error error = {0};
    device = ht_device_open("cpu", 1, &error);
    if (!device) return tap_ok(0, "device: %s", error.message), tap_done();
    random_networks();
    stores();
    points();
    refusals();
    ht_device_close(device);
    return tap_done();
}
