/*
 * One text, several instruction sets: every set in the build that this machine runs gives the same bits, for pointwise ops
 * and their derivatives, sums, draws, moves, pooling and sampling, f32 and f64. One exception: the baseline has no FMA, so
 * its functions of f32 (kernel/math.inl) round twice. Convolutions and products are not here: libraries choose their
 * own instructions.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <ht/ht.h>

#include "kit.h"
#include "tap.h"

enum { IMAGES = 3, CHANNELS = 5, EDGE = 18, COUNT = IMAGES * CHANNELS * EDGE * EDGE };

static const char *const names[] = {"cpu:baseline", "cpu:v3", "cpu:v4"};

/* Loops of every kind of ours, at sizes that end within a vector. */
static ht_var everything(ht_var x)
{
    ht_var y = ht_add(ht_tanh(x), ht_exp(ht_scale(ht_square(x), -0.5)));
    y = ht_add(y, ht_mul(ht_sigmoid(x), ht_log(ht_offset(ht_square(x), 1.25))));
    y = ht_add(ht_gelu(y), ht_softplus(ht_sub(ht_sin(y), ht_sqrt(ht_offset(ht_abs(x), 0.5)))));
    y = ht_add(ht_leaky_relu(y, 0.1), ht_pow(ht_offset(ht_square(y), 0.5), 0.3));
    y = ht_batch_norm(ht_layer_norm(y));
    ht_var small = ht_add(ht_max_pool(y, .kernel = ht_all(2)), ht_avg_pool(ht_flip(y, HT_SHAPE(3)), .kernel = ht_all(2)));
    y = ht_add(y, ht_resize(small, HT_SHAPE(EDGE, EDGE), .linear = 1));
    return ht_add(ht_softmax(y, 1), ht_roll(ht_log_softmax(ht_neg(x), 3), 5, 3));
}

/* The value, its gradient, a product with second derivatives, and numbers drawn: in one program. */
static unsigned char *bits_of(const char *name, ht_dtype dtype, size_t *bytes)
{
    ht_error error = {0};
    ht_device *device = ht_device_open(name, 2, &error);
    if (!device) return NULL;
    double numbers[COUNT];
    kit_fill(numbers, COUNT, 1, -3, 3);
    ht_tape *tape = ht_tape_new(dtype);
    ht_var x = ht_constant(tape, numbers, HT_SHAPE(IMAGES, CHANNELS, EDGE, EDGE));
    ht_var y = everything(x), gradient = ht_grad(ht_mean(ht_square(y)), ht_list(x)).at[0];
    ht_var curved = ht_grad(ht_sum(ht_mul(gradient, ht_sin(ht_stop(y)))), ht_list(x)).at[0];
    ht_store *none = ht_store_new(device);
    ht_var drawn = nn_dropout(nn_open(tape, none, .seed = 3), "drop", x, 0.4);
    ht_program *program = ht_compile(tape, device, ht_list(y, gradient, curved, drawn), .error = &error);
    const size_t each = COUNT * ht_dtype_bytes(dtype);
    unsigned char *bits = calloc(4, each);
    ht_status status = program && bits ? ht_run(program) : HT_ENOMEM;
    for (int32_t i = 0; i < 4 && !status; i++) status = ht_get_at(program, i, bits + (size_t)i * each, COUNT);
    if (status) tap_ok(0, "%s: %s %s", name, error.message, program ? ht_program_error(program)->message : "");
    *bytes = 4 * each;
    ht_program_free(program);
    ht_tape_free(tape);
    ht_store_free(none);
    ht_device_close(device);
    return bits;
}

static double distance(const float *a, const float *b, size_t count)
{
    double most = 0, largest = 0;
    for (size_t i = 0; i < count; i++) {
        most = fmax(most, fabs((double)a[i] - (double)b[i]));
        largest = fmax(largest, fabs((double)b[i]));
    }
    return most / largest;
}

static void test_equal_bits(ht_dtype dtype)
{
    size_t bytes = 0;
    unsigned char *want = bits_of("cpu", dtype, &bytes);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        unsigned char *bits = bits_of(names[i], dtype, &bytes);
        if (!bits) tap_skip("%s %s: not in this build, or not on this machine", names[i], ht_dtype_name(dtype));
        else if (i == 0 && dtype == HT_F32)
            tap_ok(want && distance((float *)bits, (float *)want, bytes / sizeof(float)) < 1e-4,
                   "%s f32: close to the best set, relative to the largest number", names[i]);
        else tap_ok(want && memcmp(bits, want, bytes) == 0, "%s %s: the bits of the best set", names[i], ht_dtype_name(dtype));
        free(bits);
    }
    free(want);
}

int main(void)
{
    ht_error error = {0};
    ht_device *device = ht_device_open("cpu", 1, &error);
    tap_ok(device && strncmp(ht_device_name(device), "cpu:", 4) == 0, "what was chosen has a name: %s",
           device ? ht_device_name(device) : error.message);
    ht_device_close(device);
    tap_ok(!ht_device_open("cpu:v9", 1, &error) && error.status == HT_EDEVICE, "an unknown set is refused: %s", error.message);
    test_equal_bits(HT_F32);
    test_equal_bits(HT_F64);
    return tap_done();
}
