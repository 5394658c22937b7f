/* What a run shows of itself while it trains: the architecture's weights over rounds, and strips of pictures. */
#include <stdlib.h>
#include <string.h>

#include "trainer.h"

ht_status genseg_alpha_rows(genseg_trainer *t, ht_error *error)
{
    const ht_store *A = t->state.store[GENSEG_A];
    t->largest = NAN;
    for (int32_t cell = 0; cell < genseg_alpha_cells(A); cell++) {
        double weight[GENSEG_CANDIDATES];
        char name[16], row[160];
        if (genseg_alpha_weights(A, cell, weight, name, error) != HT_OK) return error->status;
        for (int32_t k = 0; k < GENSEG_CANDIDATES; k++)
            if (!(t->largest >= weight[k])) t->largest = weight[k];
        snprintf(row, sizeof row, "%lld,%s,%.9g,%.9g,%.9g", (long long)t->state.round, name, weight[0], weight[1], weight[2]);
        if (genseg_table_append(t->alpha, row, error) != HT_OK) return error->status;
    }
    return HT_OK;
}

/* One tile of a strip: a planar image (channels 1 or 3) into RGB at column `tile` of row `row`. */
static void put_tile(genseg_picture *strip, const float *image, int32_t channels, int32_t size, int32_t row, int32_t tile,
                     int32_t gap)
{
    size_t plane = (size_t)size * (size_t)size;
    for (int32_t y = 0; y < size; y++)
        for (int32_t x = 0; x < size; x++) {
            size_t at = (size_t)(row * (size + gap) + y) * (size_t)strip->width + (size_t)(tile * (size + gap) + x);
            for (int32_t k = 0; k < 3; k++) {
                float v = image[(size_t)(channels == 3 ? k : 0) * plane + (size_t)y * (size_t)size + (size_t)x];
                strip->pixels[at * 3 + (size_t)k] = (uint8_t)(255.0F * (v < 0 ? 0 : v > 1 ? 1 : v) + 0.5F);
            }
        }
}

static ht_status generate(const genseg_trainer *t, const float *masks, float *images, ht_error *error)
{
    ht_tape *tape = ht_tape_new(HT_F32);
    if (!tape) return ht_fail(error, HT_ENOMEM, "pictures: no memory for a tape");
    ht_var generated = genseg_record_picture(tape, &t->state, &t->config, &t->nets, t->sizes);
    ht_program *program = ht_compile(tape, t->state.device, ht_list(generated), .error = error,
                                     .convolution = (ht_convolution)t->config.convolution);
    int64_t pixels = (int64_t)t->sizes.batch * t->sizes.size * t->sizes.size;
    ht_tape_free(tape);
    if (!program) return error->status;
    ht_set_named(program, "mask", masks, pixels);
    ht_run(program);
    if (ht_get_at(program, 0, images, pixels * t->sizes.channels) != HT_OK)
        ht_fail(error, ht_program_error(program)->status, "%s", ht_program_error(program)->message);
    ht_program_free(program);
    return error->status;
}

ht_status genseg_picture_round(const genseg_trainer *t, ht_error *error)
{
    const int32_t gap = 4, size = t->sizes.size, batch = t->sizes.batch, channels = t->sizes.channels;
    size_t pixels = (size_t)batch * (size_t)size * (size_t)size;
    int32_t picked[GENSEG_BATCH_MAX];
    for (int32_t i = 0; i < batch; i++) picked[i] = i % t->data.train.count;
    genseg_picture strip = {.width = 3 * size + 2 * gap, .height = batch * (size + gap) - gap, .channels = 3};
    size_t bytes = (size_t)strip.width * (size_t)strip.height * 3;
    float *masks = malloc(pixels * sizeof *masks), *real = malloc(pixels * (size_t)channels * sizeof *real);
    float *generated = malloc(pixels * (size_t)channels * sizeof *generated);
    strip.pixels = malloc(bytes);
    if (!masks || !real || !generated || !strip.pixels) ht_fail(error, HT_ENOMEM, "pictures: no memory");
    else {
        memset(strip.pixels, 255, bytes);
        genseg_batch_copy(&t->data.train, picked, batch, channels, size, real, masks);
        generate(t, masks, generated, error);
    }
    for (int32_t i = 0; error->status == HT_OK && i < batch; i++) {
        size_t plane = (size_t)size * (size_t)size, at = (size_t)i * plane;
        put_tile(&strip, masks + at, 1, size, i, 0, gap);
        put_tile(&strip, generated + at * (size_t)channels, channels, size, i, 1, gap);
        put_tile(&strip, real + at * (size_t)channels, channels, size, i, 2, gap);
    }
    char path[GENSEG_TEXT];
    int length = snprintf(path, sizeof path, "%s/pictures/round-%05lld.png", t->job->run, (long long)t->state.round);
    if (error->status == HT_OK && (length < 0 || (size_t)length >= sizeof path))
        ht_fail(error, HT_EINVALID, "%.200s: the path is too long; expected at most %d bytes; choose another --out",
                t->job->run, GENSEG_TEXT - 32);
    if (error->status == HT_OK && genseg_picture_write(path, &strip, error) == HT_OK)
        genseg_events_picture(t->events, t->state.round, "mask, generated, real", path, error);
    free(masks);
    free(real);
    free(generated);
    free(strip.pixels);
    return error->status;
}
