/*
 * A small convolutional network that reads digits: batch norm, dropout, Adam with a rate that falls, images that are bent anew
 * in every round. Trained on the first 1200 images of a real table, tested on the other 597, which other people wrote. The
 * table is a store like the weights are; a batch is a list of row numbers.
 * usage: digits_convnet [FOLDER OF TABLES [EPOCHS]]
 */
#include <stdio.h>
#include <stdlib.h>

#include <ht/nn.h>

#include "dump.h"

#define TRAINED 1200
#define TESTED 597
#define BATCH 50

typedef struct reader {
    ht_store *tables, *weights, *state;
    uint64_t drawn;
} reader;

static ht_var block(nn_scope s, const char *name, ht_var x, int64_t out)
{
    nn_scope b = nn_sub(s, name);
    return ht_relu(nn_batch_norm(b, "norm", nn_conv(b, "conv", x, out, .kernel = 3, .pad = 1, .no_bias = 1)));
}

/* Scores of the ten digits for each image [N, 1, 8, 8]. */
static ht_var network(nn_scope s, ht_var x)
{
    x = block(s, "one", x, 16);
    x = ht_max_pool(block(s, "two", x, 32), ht_all(2));
    x = ht_max_pool(block(s, "three", x, 64), ht_all(2));
    x = ht_reshape(x, HT_SHAPE(ht_var_shape(x).dim[0], 64 * 2 * 2));
    return nn_dense(s, "out", nn_dropout(s, "drop", x, 0.3), 10);
}

/* Rows of a table of whole numbers, as real ones. */
static ht_var rows_of(ht_tape *tape, const reader *r, const char *table, ht_var rows)
{
    return ht_take(ht_cast(ht_read_one(tape, r->tables, table), HT_F32), rows, 0);
}

static ht_var images(ht_tape *tape, const reader *r, ht_var rows)
{
    return ht_reshape(ht_scale(rows_of(tape, r, "data", rows), 1.0 / 16), HT_SHAPE(ht_var_shape(rows).dim[0], 1, 8, 8));
}

/* Each image a little shifted, turned and stretched, anew in every round: by as much as handwriting differs. */
static ht_var bent(ht_var x, ht_var round)
{
    static const double whole[] = {1, 0, 0, 0, 1, 0};
    ht_var noise = ht_normal(x.tape, HT_SHAPE(BATCH, 2, 3), round, .stream = "bend");
    ht_var bend = ht_scale(noise, 0.1), theta = ht_add(ht_constant(x.tape, whole, HT_SHAPE(1, 2, 3)), bend);
    return ht_grid_sample(x, ht_affine_grid(theta, HT_SHAPE(8, 8)));
}

/* One step of training; its loss. */
static ht_var step(ht_tape *tape, const reader *r)
{
    ht_var rows = ht_input_of(tape, "rows", HT_I32, HT_SHAPE(BATCH)), rate = ht_input(tape, "rate", HT_SCALAR);
    ht_var round = nn_count(tape, r->state, "round");
    nn_scope s = nn_open(tape, r->weights, .seed = 1, .step = round);
    ht_var target = ht_cast(rows_of(tape, r, "target", rows), HT_I32);
    ht_var loss = ht_softmax_cross_entropy(network(s, bent(images(tape, r, rows), round)), target);
    ht_vars gradient = ht_grad(loss, nn_params(s));
    ht_write(r->weights, nn_adam(r->state, nn_params(s), gradient, .rate_from = rate));
    return loss;
}

/* Share of the rows from TRAINED on that are read rightly. */
static double accuracy(ht_device *device, const reader *r, ht_error *error)
{
    int32_t rows[TESTED], found[TESTED] = {0}, right = 0;
    const int32_t *target = ht_store_data(r->tables, ht_store_find(r->tables, "target"));
    for (int32_t i = 0; i < TESTED; i++) rows[i] = TRAINED + i;
    ht_tape *tape = ht_tape_new(HT_F32);
    nn_scope s = nn_open(tape, r->weights, .evaluate = 1);
    ht_var read = ht_argmax(network(s, images(tape, r, ht_integers(tape, rows, HT_SHAPE(TESTED)))), 1);
    ht_program *program = ht_compile(tape, device, ht_list(read), .error = error);
    ht_tape_free(tape);
    if (!program) return 0;
    ht_run(program);
    if (ht_get_at(program, 0, found, TESTED) != HT_OK) ht_fail(error, HT_EINTERNAL, "%s", ht_program_error(program)->message);
    ht_program_free(program);
    for (int32_t i = 0; i < TESTED; i++) right += found[i] == target[rows[i]];
    return (double)right / TESTED;
}

/* The rows in another order. */
static void shuffle(reader *r, int32_t rows[TRAINED])
{
    for (int32_t i = TRAINED - 1; i > 0; i--) {
        r->drawn = r->drawn * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        int32_t k = (int32_t)((r->drawn >> 33) % (uint64_t)(i + 1)), kept = rows[i];
        rows[i] = rows[k];
        rows[k] = kept;
    }
}

static ht_status train(ht_device *device, reader *r, int32_t epochs, ht_error *error)
{
    int32_t rows[TRAINED];
    for (int32_t i = 0; i < TRAINED; i++) rows[i] = i;
    ht_tape *tape = ht_tape_new(HT_F32);
    ht_program *program = ht_compile(tape, device, ht_list(step(tape, r)), .error = error);
    ht_tape_free(tape);
    if (!program) return error->status;
    for (int32_t epoch = 0; epoch < epochs; epoch++) {
        float rate = (float)nn_rate_cosine(3e-3, 0, epochs, epoch), loss = 0, one = 0;
        shuffle(r, rows);
        ht_set_named(program, "rate", &rate, 1);
        for (int32_t i = 0; i < TRAINED; i += BATCH) {
            ht_set_named(program, "rows", rows + i, BATCH);
            ht_run(program);
            ht_get_at(program, 0, &one, 1);
            loss += one * BATCH / TRAINED;
        }
        if (epoch % 5 == 4 || epoch == epochs - 1) printf("epoch %d: loss %.4f\n", (int)epoch + 1, (double)loss);
    }
    const ht_error *stopped = ht_program_error(program);
    if (stopped->status != HT_OK) ht_fail(error, stopped->status, "%s", stopped->message);
    ht_program_free(program);
    return error->status;
}

int main(int count, char **argument)
{
    const char *folder = count > 1 ? argument[1] : "examples/data";
    char path[4096];
    ht_error error = {0};
    ht_device *device = ht_device_open("cpu", 1, &error);
    reader r = {ht_store_new(device), ht_store_new(device), ht_store_new(device), 1};
    double share = 0;
    snprintf(path, sizeof path, "%s/digits_data.npy", folder);
    ht_store_load_npy(r.tables, "data", path, &error);
    snprintf(path, sizeof path, "%s/digits_target.npy", folder);
    ht_store_load_npy(r.tables, "target", path, &error);
    ht_tape *tape = ht_tape_new(HT_F32);
    step(tape, &r);
    int shown = dumped(count, argument, tape);
    ht_tape_free(tape);
    if (!shown && error.status == HT_OK && train(device, &r, count > 2 ? atoi(argument[2]) : 20, &error) == HT_OK)
        share = accuracy(device, &r, &error);
    if (error.status != HT_OK) fprintf(stderr, "%s\n", error.message);
    if (!shown) printf("%.2f %% of %d images that it never saw are read rightly\n", 100 * share, TESTED);
    ht_store_free(r.tables);
    ht_store_free(r.weights);
    ht_store_free(r.state);
    ht_device_close(device);
    return error.status == HT_OK && (shown || share > 0.97) ? 0 : 1;
}
