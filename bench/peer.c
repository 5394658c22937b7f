/* The peer: how the same round is asked of it, in each of its settings. What its options mean is in its own help. */
#include <string.h>

#include "bench.h"

enum { WORDS = 64, TEXT = 64 };

/* The levers that its help names, one by one and together. */
static const char *const settings[] = {
    "",
    "--malloc keep",
    "--malloc keep --cells auto",
    "--malloc keep --cells separate",
    "--malloc keep --cells auto --layout channels_last",
    "--malloc keep --cells auto --compile inductor",
};

int32_t bench_peer_settings(void) { return (int32_t)(sizeof settings / sizeof settings[0]); }
const char *bench_peer_setting(int32_t setting) { return settings[setting]; }

typedef struct command {
    char *word[WORDS + 1];
    char text[WORDS][TEXT]; /* of the words that were put together here */
    int32_t count;
} command;

static void lend(command *c, const char *word)
{
    if (c->count < WORDS) c->word[c->count++] = (char *)word; /* execvp takes them so, and does not write */
}

static void add(command *c, const char *name, const char *value)
{
    lend(c, name);
    if (c->count >= WORDS) return;
    snprintf(c->text[c->count], TEXT, "%s", value);
    c->word[c->count] = c->text[c->count];
    c->count++;
}

static void add_number(command *c, const char *name, int32_t value)
{
    char text[16];
    snprintf(text, sizeof text, "%d", (int)value);
    add(c, name, text);
}

bench_child bench_peer(const bench_options *options, int32_t setting, const char *state, int32_t seed)
{
    static const char *const modes[] = {"none", "fd-lean", "eq9", "total"};
    const genseg_config *o = &options->config;
    command c = {0};
    char words[128], *rest = NULL;
    lend(&c, options->python);
    lend(&c, options->peer);
    add(&c, "time", "--json");
    add(&c, "--mode", modes[o->hypergradient]);
    add(&c, "--search", o->search == GENSEG_SEARCH_BOTH ? "both" : "decoder");
    add_number(&c, "--size", o->size);
    add_number(&c, "--batch", o->batch);
    add_number(&c, "--channels", BENCH_CHANNELS);
    add_number(&c, "--ngf", o->generator_width);
    add_number(&c, "--downs", o->generator_levels);
    add_number(&c, "--ndf", o->discriminator_width);
    add_number(&c, "--d-layers", o->discriminator_layers);
    add_number(&c, "--unet-base", o->unet_width);
    add_number(&c, "--unet-depth", o->unet_depth);
    add_number(&c, "--threads", o->threads);
    add(&c, "--warmup", "1");
    add(&c, "--repeat", "1");
    if (seed >= 0) add_number(&c, "--seed", seed);
    lend(&c, seed >= 0 ? "--save-state" : "--load-state");
    lend(&c, state);
    snprintf(words, sizeof words, "%s", settings[setting]);
    for (char *word = strtok_r(words, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) lend(&c, word);
    return bench_program(c.word, options->peer_limit);
}
