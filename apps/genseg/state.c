/*
 * What a run holds while it trains: made anew, copied, hashed, freed. Not its files: checkpoint.c.
 * The networks are recorded once on a tape that is thrown away, since the first recording of a name makes the tensor.
 * Stores of moments and of the clock stay empty here: the first round's program fills them when it is recorded.
 */
#include "state.h"

#include <math.h>
#include <stdbool.h>

#include <ht/random.h>

/* Creates what the method needs. Whatever goes wrong stays on the tape. */
static void record_networks(ht_tape *tape, const genseg_state *state, const genseg_config *config,
                            const genseg_networks *nets, bool blank)
{
    uint64_t seed = (uint64_t)config->seed;
    int64_t batch = config->batch, size = config->size;
    ht_var image = ht_input(tape, "image", HT_SHAPE(batch, nets->generator.channels, size, size));
    nn_scope S = nn_open(tape, state->store[GENSEG_S], .seed = seed, .name = "segmenter", .uninitialised = blank);
    genseg_segment(S, image, &nets->segmenter);
    if (config->method == GENSEG_PLAIN) return;
    ht_var mask = ht_input(tape, "mask", HT_SHAPE(batch, 1, size, size));
    nn_scope A = nn_open(tape, state->store[GENSEG_A], .seed = seed, .name = "architecture", .uninitialised = blank);
    nn_scope G = nn_open(tape, state->store[GENSEG_G], .seed = seed, .name = "generator", .uninitialised = blank);
    nn_scope H = nn_open(tape, state->store[GENSEG_H], .seed = seed, .name = "discriminator", .uninitialised = blank);
    genseg_generate(G, A, mask, &nets->generator);
    genseg_discriminate(H, mask, image, &nets->discriminator);
}

static ht_status make(genseg_state *state, const genseg_config *config, const genseg_networks *nets, ht_device *device,
                      bool blank, ht_error *error)
{
    bool falls = config->s_plateau_patience > 0;
    *state = (genseg_state){
        .device = device, .best_score = (double)NAN,
        .plateau = {.rate = config->s_rate, .factor = falls ? config->s_plateau_factor : 1,
                    .patience = falls ? config->s_plateau_patience : INT32_MAX}};
    bool whole = true;
    for (int32_t i = 0; i < GENSEG_STORES; i++) whole = (state->store[i] = ht_store_new(device)) && whole;
    ht_tape *tape = whole ? ht_tape_new(HT_F32) : NULL;
    ht_status status = HT_OK;
    if (!tape) {
        status = ht_fail(error, HT_ENOMEM, "networks: no memory to record them; take a smaller model or free some memory");
    } else {
        record_networks(tape, state, config, nets, blank);
        const ht_error *finding = ht_tape_error(tape);
        if (finding->status != HT_OK) status = ht_fail(error, finding->status, "%s", finding->message);
    }
    ht_tape_free(tape);
    if (status != HT_OK) genseg_state_free(state);
    return status;
}

ht_status genseg_state_new(genseg_state *state, const genseg_config *config, const genseg_networks *nets,
                           ht_device *device, ht_error *error)
{
    return make(state, config, nets, device, false, error);
}

ht_status genseg_state_blank(genseg_state *state, const genseg_config *config, const genseg_networks *nets,
                             ht_device *device, ht_error *error)
{
    return make(state, config, nets, device, true, error);
}

void genseg_state_free(genseg_state *state)
{
    for (int32_t i = 0; i < GENSEG_STORES; i++) {
        (void)ht_store_free(state->store[i]); /* one that a program still reads outlives us: safe, if not tidy */
        state->store[i] = NULL;
    }
}

ht_status genseg_state_copy(const genseg_state *from, ht_dtype dtype, genseg_state *to, ht_error *error)
{
    genseg_state copy = *from;
    for (int32_t i = 0; i < GENSEG_STORES; i++) copy.store[i] = NULL;
    for (int32_t i = 0; i < GENSEG_STORES; i++) {
        if (!from->store[i]) continue;
        ht_error finding = {HT_OK, ""};
        copy.store[i] = ht_store_copy(from->store[i], dtype, &finding);
        if (copy.store[i]) continue;
        genseg_state_free(&copy);
        return ht_fail(error, finding.status, "%s", finding.message);
    }
    *to = copy;
    return HT_OK;
}

uint64_t genseg_state_hash(const genseg_state *state)
{
    uint64_t hash = 0;
    for (int32_t i = 0; i < GENSEG_STORES; i++)
        hash = ht_random_mix(hash, state->store[i] ? ht_store_hash(state->store[i]) : 0);
    return hash;
}
