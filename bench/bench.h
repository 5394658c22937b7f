/*
 * What the benchmarks share: options, children (each measurement is a process of its own, so that its peak of memory is
 * its own), the machine's peak, the round as the peer runs it, and the peer. Answers of children are JSON objects.
 * A measurement is never a test: nothing here passes or fails by time.
 */
#ifndef BENCH_H
#define BENCH_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include <ht/ht.h>

#include "genseg/config.h"

enum { BENCH_PATH = 4096, BENCH_CHANNELS = 3 };

/* ---- options ---- */

typedef struct bench_options {
    genseg_config config;      /* networks, sizes, search, hypergradient, device, threads          */
    int32_t repeat, states;    /* states: that a setting of the peer is tried from until it agrees  */
    bool json, vs_torch, help;
    bool alone;                /* each convolution and product of the round once more, alone        */
    bool convolution_error;    /* errors of convolutions instead of times                           */
    const char *python;        /* of the peer                                                       */
    char peer[BENCH_PATH];     /* its program                                                       */
    const char *state;         /* a file to start from when there is no peer, or NULL               */
    bool unet;                 /* --model unet: of bench_hypergradient                              */
    const char *only;          /* a part of the names of what is measured, or NULL                  */
    const char *trace, *flame; /* files for the profile of our last round, or NULL                  */
    double peer_limit;         /* seconds that one process of it may take                           */
} bench_options;

/**
 * Reads a command line; unknown words and values that do not fit together are EINVALID. without: options that the program
 * does not have, "--hypergradient --search" or "". peer: its program unless --peer is given, from the root of the sources.
 */
ht_status bench_options_read(int count, char **words, const char *without, const char *peer, bench_options *options,
                             ht_error *error);
/** Prints what the options mean, after `about`. */
void bench_options_help(const char *about, const char *without);
/** Processors that this process may use. */
int32_t bench_processors(void);

/* ---- children ---- */

typedef struct bench_child {
    json_t *answer;            /* what it wrote, or NULL                                            */
    size_t peak_bytes;         /* largest resident set                                              */
    double wall_seconds;
    char problem[512];         /* why there is no answer: its last line on stderr, a signal, a limit */
} bench_child;

/** The last line of a file that says something, at most 400 bytes; text stays as it is if there is none. */
void bench_last_line(FILE *complaints, char *text, size_t bytes);

/** What runs in a fork; its object is the answer. NULL and a filled record: there is none. */
typedef json_t *(*bench_work)(void *context, ht_error *error);
bench_child bench_fork(bench_work work, void *context);
/** Runs a program that prints one JSON object; killed after limit seconds. */
bench_child bench_program(char *const *words, double limit);

/* A program that answers many questions, a JSON object on a line for each, and is silent while it is not asked. */
typedef struct bench_partner bench_partner;
/** NULL if there can be none. The words need only live for the call. */
bench_partner *bench_partner_open(char *const *words);
/** An answer with the member "problem", none in `limit` seconds, or no JSON is a problem. Its peak_bytes is 0. */
bench_child bench_partner_ask(bench_partner *partner, const json_t *question, double limit);
/** Ends it. NULL is allowed. */
void bench_partner_close(bench_partner *partner);

/* ---- figures ---- */

double bench_now(void);
/** Median; NAN of none. Sorts values. */
double bench_median(double *values, int32_t count);
/** Member as a number; NAN if there is none. */
double bench_number(const json_t *object, const char *key);
/** A number, or null for one that is not finite. */
json_t *bench_real(double value);
/** Prints an object on one line. */
void bench_print(const json_t *object);

/** Name of the processor, threads, load, and measured in a child: {"fma_flop_per_second", "triad_bytes_per_second"}. */
json_t *bench_machine(int32_t threads);
/** The loops themselves, by so many threads. */
double bench_fma_rate(int32_t threads);
double bench_triad_rate(int32_t threads);

/* ---- a program's steps: where time, bytes and operations went ---- */

typedef struct bench_step {
    const char *name, *scope, *algorithm; /* algorithm: NULL if there is none to name */
    double seconds, bytes, flop;          /* of all runs since it was cleared; of one run */
} bench_step;
int32_t bench_steps(const ht_program *program);
bench_step bench_step_at(const ht_program *program, int32_t step);
void bench_steps_clear(ht_program *program);

/**
 * Seconds of the program's convolutions and products within it and alone, of one run; fraction = alone / within:
 * {"kinds", "round_seconds", "alone_seconds", "fraction"}.
 */
json_t *bench_steps_alone(const ht_program *program, ht_device *device, const genseg_config *config, ht_error *error);

/** Share of the steps' time that goes into changes of physical order and packings, of the runs since it was cleared. */
double bench_order_share(const ht_program *program);

/* ---- single operations ---- */

enum { BENCH_CASE_CLASSES = 21 };
int32_t bench_cases(void);
const char *bench_case_name(int32_t index);
bool bench_case_convolves(int32_t index);
/** Records one on inputs of its own: `inputs` take derivatives, `fixed` do not. */
ht_var bench_case_record(ht_tape *tape, const genseg_config *config, int32_t index, ht_vars *inputs, ht_vars *fixed);
/** Gives an input the same numbers for every program, within +-0.5, exact in f32. */
void bench_fill(ht_program *program, ht_var input, const char *name, ht_error *error);
/** Its name and attributes, for bench/peer_ops.py: {"op", "attributes"}. */
json_t *bench_case_question(const genseg_config *config, int32_t index);
/** One beside the peer's, or, without a peer, NULL; derivatives: the value and its gradient, else the value alone. */
json_t *bench_case_compare(const bench_options *options, bench_partner *const partners[2], int32_t index, bool derivatives,
                           ht_error *error);
/** The two processes of the peer: out of the box, and with freed memory kept. */
ht_status bench_case_partners(const bench_options *options, bench_partner *partners[2], ht_error *error);

/* ---- the round ---- */

/**
 * Rounds in a child: one untimed, then `rounds` timed ones. state: a file of the peer to start from, or NULL for weights
 * and a batch of our own. The answer has seconds, seconds_all, losses, hypergradient, phases, flop, kernels, ....
 */
bench_child bench_round(const bench_options *options, const char *state, int32_t rounds);
/** Settings of the peer, as words of its command line: those that its help calls worth trying, beside its defaults. */
enum { BENCH_PEER_SETTINGS = 6 };
extern const char *const bench_peer_settings[BENCH_PEER_SETTINGS];
/** One untimed and one timed round of the peer. It writes the state that it makes of a seed, or, seed -1, starts from one. */
bench_child bench_peer(const bench_options *options, const char *setting, const char *state, int32_t seed);
/** Rounds of ours and of the peer in turns; the contract's object (docs/performance.md). Without --vs-torch ours alone. */
json_t *bench_compare(const bench_options *options, const json_t *machine, ht_error *error);
/** The plain U-Net: training step, gradient, Hessian-vector products, each as above. */
json_t *bench_unet(const bench_options *options, const json_t *machine, ht_error *error);

/* ---- ours and a peer beside each other, whatever is measured ---- */

typedef struct bench_contest {
    const bench_options *options;    /* repeat, states */
    const char *const *settings;     /* of the peer, as words; */
    int32_t count;                   /* so many                */
    const char *program;             /* of the peer, for messages */
    /* Once from a state, untimed, then timed: "seconds" of the answer. The peer makes the state of a seed, if not -1. */
    bench_child (*ours)(const struct bench_contest *contest, const char *state);
    bench_child (*peer)(const struct bench_contest *contest, int32_t setting, const char *state, int32_t seed);
    /* Whether both computed the same; adds "agrees" and by how much they differ. */
    bool (*agrees)(const json_t *ours, const json_t *answer, json_t *told);
    const void *context;
    bool outlasts;                   /* what the peer fails at leaves ours alone, with "problem", and is no failure */
} bench_contest;
/**
 * Every setting of the peer, then turns of ours and of its fastest that agrees. The answer has ours_seconds, peer_seconds,
 * ratio_median, ..., peer_settings, and without a ratio "problem"; ours: the last answer of ours, the caller's. Both NULL
 * and a filled record: none.
 */
json_t *bench_contest_hold(const bench_contest *contest, json_t **ours, ht_error *error);
/** The same object for ours alone: the members of the peer are null. */
json_t *bench_alone(const bench_child *ours);
/** Path of a script that lies beside the benchmarks' sources. */
const char *bench_script(const char *name, char path[BENCH_PATH]);

/* A command line that is put together; words that are lent must outlive it, the others are kept in it. */
enum { BENCH_WORDS = 64, BENCH_WORD = 64 };
typedef struct bench_words {
    char *word[BENCH_WORDS + 1];
    char text[BENCH_WORDS][BENCH_WORD];
    int32_t count;
} bench_words;
void bench_words_lend(bench_words *words, const char *word);
void bench_words_add(bench_words *words, const char *name, const char *value);
void bench_words_number(bench_words *words, const char *name, int32_t value);
/** Appends the words of a text, which blanks part. */
void bench_words_split(bench_words *words, const char *text);

/** Largest relative difference of losses that both name; NAN if there are none. */
double bench_losses_apart(const json_t *ours, const json_t *other);
/** |h - g| / |g| over all numbers; NAN if they are not of one form. cosine may be NULL. */
double bench_vectors_apart(const json_t *ours, const json_t *other, double *cosine);

#endif
