/* The peer: how the same round is asked of it, in each of its settings. What its options mean is in its own help. */
#include <string.h>

#include "bench.h"

/* The levers that its help names, one by one and together. */
const char *const bench_peer_settings[BENCH_PEER_SETTINGS] = {
    "",
    "--malloc keep",
    "--malloc keep --cells auto",
    "--malloc keep --cells separate",
    "--malloc keep --cells auto --layout channels_last",
    "--malloc keep --cells auto --compile inductor",
};

void bench_words_lend(bench_words *w, const char *word)
{
    if (w->count < BENCH_WORDS) w->word[w->count++] = (char *)word; /* execvp takes them so, and does not write */
}

static void keep(bench_words *w, const char *text)
{
    if (w->count >= BENCH_WORDS) return;
    snprintf(w->text[w->count], BENCH_WORD, "%s", text);
    w->word[w->count] = w->text[w->count];
    w->count++;
}

void bench_words_add(bench_words *w, const char *name, const char *value)
{
    bench_words_lend(w, name);
    keep(w, value);
}

void bench_words_number(bench_words *w, const char *name, int32_t value)
{
    char text[16];
    snprintf(text, sizeof text, "%d", (int)value);
    bench_words_add(w, name, text);
}

void bench_words_split(bench_words *w, const char *words)
{
    for (const char *at = words + strspn(words, " "); *at; at += strspn(at, " ")) {
        char word[BENCH_WORD];
        size_t length = strcspn(at, " ");
        snprintf(word, sizeof word, "%.*s", (int)length, at);
        keep(w, word);
        at += length;
    }
}

bench_child bench_peer(const bench_options *options, const char *setting, const char *state, int32_t seed)
{
    static const char *const modes[] = {"none", "fd-lean", "eq9", "total"};
    const genseg_config *o = &options->config;
    bench_words c = {0};
    bench_words_lend(&c, options->python);
    bench_words_lend(&c, options->peer);
    bench_words_add(&c, "time", "--json");
    bench_words_add(&c, "--mode", modes[o->hypergradient]);
    bench_words_add(&c, "--search", o->search == GENSEG_SEARCH_BOTH ? "both" : "decoder");
    bench_words_number(&c, "--size", o->size);
    bench_words_number(&c, "--batch", o->batch);
    bench_words_number(&c, "--channels", BENCH_CHANNELS);
    bench_words_number(&c, "--ngf", o->generator_width);
    bench_words_number(&c, "--downs", o->generator_levels);
    bench_words_number(&c, "--ndf", o->discriminator_width);
    bench_words_number(&c, "--d-layers", o->discriminator_layers);
    bench_words_number(&c, "--unet-base", o->unet_width);
    bench_words_number(&c, "--unet-depth", o->unet_depth);
    bench_words_number(&c, "--threads", o->threads);
    bench_words_add(&c, "--warmup", "1");
    bench_words_add(&c, "--repeat", "1");
    if (seed >= 0) bench_words_number(&c, "--seed", seed);
    bench_words_lend(&c, seed >= 0 ? "--save-state" : "--load-state");
    bench_words_lend(&c, state);
    bench_words_split(&c, setting);
    return bench_program(c.word, options->peer_limit);
}
