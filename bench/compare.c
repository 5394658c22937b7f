/*
 * Ours and the peer, beside each other in one invocation: every setting of the peer, then turns of ours and its fastest. A
 * setting counts only if it computed what ours did; without one there is no ratio. In 32 bits a rounding may push one ReLU
 * over its kink, and the derivative jumps by more than the tolerance, between two settings of the peer as well: so a
 * setting that does not agree is tried from the next states, made from seeds 0, 1, 2, ....
 */
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"

static const double losses_tolerance = 1e-4, hypergradient_tolerance = 1e-3;

/* ---- the file that both start from ---- */

/* For the signal handler: a gigabyte must not stay behind. */
static char state_file[BENCH_PATH];

static void give_up(int signal_number)
{
    (void)unlink(state_file);
    _exit(128 + signal_number);
}

static ht_status make_state_file(ht_error *error)
{
    const char *folder = getenv("TMPDIR");
    snprintf(state_file, sizeof state_file, "%s/bench-round-XXXXXX", folder && folder[0] ? folder : "/tmp");
    int file = mkstemp(state_file);
    if (file < 0) return ht_fail(error, HT_EIO, "%.300s: no temporary file; set TMPDIR to a folder with room", state_file);
    close(file);
    signal(SIGINT, give_up);
    signal(SIGTERM, give_up);
    return HT_OK;
}

/* ---- settings ---- */

enum { SETTINGS_MOST = 16 };

/* A setting of the peer: its least time, and the first state from which it computed what ours did. */
typedef struct setting {
    json_t *told;           /* NULL: not run yet                                     */
    double seconds;
    bool answers, agrees;
    int32_t seed;
} setting;

typedef struct comparison {
    const bench_options *options;
    setting at[SETTINGS_MOST];
    int32_t count, seed;    /* seed: of the state that the file holds                 */
    char torch[32];
} comparison;

/* Whether the peer's answer is that of ours; what they differ by is added. */
static bool agrees(const json_t *ours, const json_t *answer, json_t *told)
{
    const json_t *h = json_object_get(ours, "hypergradient");
    double losses = bench_losses_apart(json_object_get(ours, "losses"), json_object_get(answer, "losses"));
    double vectors = json_is_object(h) ? bench_vectors_apart(h, json_object_get(answer, "hypergradient"), NULL) : 0;
    bool same = losses <= losses_tolerance && vectors <= hypergradient_tolerance;
    json_object_set_new(told, "losses_apart", bench_real(losses));
    json_object_set_new(told, "hypergradient_apart", json_is_object(h) ? bench_real(vectors) : json_null());
    json_object_set_new(told, "agrees", json_boolean(same));
    return same;
}

static void judge(comparison *c, int32_t index, const json_t *ours, const bench_child *child)
{
    setting *s = &c->at[index];
    const char *words = bench_peer_setting(index), *torch = json_string_value(json_object_get(child->answer, "torch"));
    double seconds = bench_number(child->answer, "seconds");
    if (!s->told) s->seconds = INFINITY;
    if (seconds < s->seconds) s->seconds = seconds;
    if (torch) snprintf(c->torch, sizeof c->torch, "%s", torch);
    json_decref(s->told);
    s->told = json_pack("{s:s, s:o, s:I, s:i}", "setting", *words ? words : "(its defaults)", "seconds",
                        bench_real(s->seconds), "peak_bytes", (json_int_t)child->peak_bytes, "seed", (int)c->seed);
    s->answers = child->answer != NULL;
    s->seed = c->seed;
    s->agrees = s->answers && agrees(ours, child->answer, s->told);
    if (s->answers) return;
    json_object_set_new(s->told, "agrees", json_false());
    json_object_set_new(s->told, "problem", json_string(child->problem));
}

/* Not run yet, or without agreement and faster than all that agree: the only ones that could still count. */
static bool unsettled(const comparison *c, int32_t index)
{
    const setting *s = &c->at[index];
    if (!s->told) return true;
    for (int32_t i = 0; i < c->count; i++)
        if (c->at[i].told && c->at[i].agrees && c->at[i].seconds <= s->seconds) return false;
    return s->answers && !s->agrees;
}

/* From one state, all settings that are not settled. The first of them to answer writes it, then ours starts from it. */
static void try_state(comparison *c, ht_error *error)
{
    json_t *ours = NULL;
    for (int32_t i = 0; i < c->count && error->status == HT_OK; i++) {
        if (!unsettled(c, i)) continue;
        bench_child peer = bench_peer(c->options, i, state_file, ours ? -1 : c->seed);
        if (peer.answer && !ours) {
            bench_child child = bench_round(c->options, state_file, 1);
            ours = child.answer;
            if (!ours) ht_fail(error, HT_EINTERNAL, "%s", child.problem);
        }
        if (error->status == HT_OK) judge(c, i, ours, &peer);
        json_decref(peer.answer);
    }
    json_decref(ours);
}

/* The fastest setting that agrees, or -1. apart: the least time of those that do not. */
static int32_t try_settings(comparison *c, double *apart, ht_error *error)
{
    int32_t fastest = -1;
    bool open = true;
    for (int32_t seed = 0; seed < c->options->states && open && error->status == HT_OK; seed++) {
        c->seed = seed;
        try_state(c, error);
        open = false;
        for (int32_t i = 0; i < c->count; i++) open = open || unsettled(c, i);
    }
    *apart = INFINITY;
    bool answered = false;
    for (int32_t i = 0; i < c->count; i++) {
        const setting *s = &c->at[i];
        answered = answered || s->answers;
        if (s->answers && !s->agrees) *apart = fmin(*apart, s->seconds);
        if (s->agrees && (fastest < 0 || s->seconds < c->at[fastest].seconds)) fastest = i;
    }
    if (!answered && c->at[0].told)
        ht_fail(error, HT_EUNSUPPORTED, "the peer: %s; expected an answer of %.200s",
                json_string_value(json_object_get(c->at[0].told, "problem")), c->options->peer);
    return fastest;
}

/* ---- turns ---- */

/* Seconds and bytes of the turns; sorted by nobody but the median. */
typedef struct turns {
    double *ours, *peer, *ratio;
    int32_t count;
    size_t our_bytes, peer_bytes;
} turns;

static void take_turn(turns *t, const comparison *c, int32_t fastest, json_t **last, ht_error *error)
{
    bench_child a = bench_round(c->options, state_file, 1);
    bench_child b = a.answer ? bench_peer(c->options, fastest, state_file, -1) : (bench_child){0};
    json_t *aside = json_object();
    if (!a.answer || !b.answer)
        ht_fail(error, HT_EINTERNAL, "turn %d: %s", (int)t->count + 1, a.answer ? b.problem : a.problem);
    else if (!agrees(a.answer, b.answer, aside))
        ht_fail(error, HT_EINTERNAL, "turn %d: the peer's losses or hypergradient are not those of ours", (int)t->count + 1);
    json_decref(aside);
    if (error->status == HT_OK) {
        t->ours[t->count] = bench_number(a.answer, "seconds");
        t->peer[t->count] = bench_number(b.answer, "seconds");
        t->ratio[t->count] = t->peer[t->count] / t->ours[t->count];
        if (a.peak_bytes > t->our_bytes) t->our_bytes = a.peak_bytes;
        if (b.peak_bytes > t->peer_bytes) t->peer_bytes = b.peak_bytes;
        t->count++;
        json_decref(*last);
        *last = json_incref(a.answer);
    }
    json_decref(a.answer);
    json_decref(b.answer);
}

/* Ours alone once if no setting agreed; else the turns, from the state from which the fastest one agreed. */
static json_t *take_turns(turns *t, comparison *c, int32_t fastest, ht_error *error)
{
    json_t *last = NULL;
    if (fastest < 0) {
        bench_child child = bench_round(c->options, state_file, 1);
        if (!child.answer) ht_fail(error, HT_EINTERNAL, "%s", child.problem);
        t->our_bytes = child.peak_bytes;
        return child.answer;
    }
    if (c->at[fastest].seed != c->seed) {
        bench_child child = bench_peer(c->options, fastest, state_file, c->at[fastest].seed);
        if (!child.answer) ht_fail(error, HT_EINTERNAL, "the peer: %s", child.problem);
        json_decref(child.answer);
    }
    for (int32_t i = 0; i < c->options->repeat && error->status == HT_OK; i++) take_turn(t, c, fastest, &last, error);
    return last;
}

static void tell_turns(turns *t, int32_t fastest, json_t *result)
{
    json_t *list = json_array();
    for (int32_t i = 0; i < t->count; i++) json_array_append_new(list, json_real(t->ratio[i]));
    json_object_set_new(result, "ratios", list);
    double ratio = bench_median(t->ratio, t->count), low = t->ratio[0], high = t->ratio[t->count - 1];
    json_object_set_new(result, "ours_seconds", json_real(bench_median(t->ours, t->count)));
    json_object_set_new(result, "peer_seconds", json_real(bench_median(t->peer, t->count)));
    json_object_set_new(result, "ratio_median", json_real(ratio));
    json_object_set_new(result, "ratio_spread", json_real((high - low) / ratio));
    json_object_set_new(result, "memory_ratio", json_real((double)t->our_bytes / (double)t->peer_bytes));
    json_object_set_new(result, "peak_bytes", json_integer((json_int_t)t->our_bytes));
    json_object_set_new(result, "peer_peak_bytes", json_integer((json_int_t)t->peer_bytes));
    const char *words = bench_peer_setting(fastest);
    json_object_set_new(result, "peer_fastest", json_string(*words ? words : "(its defaults)"));
}

/* ---- the whole ---- */

/* Everything about ours alone; what needs a peer is null until there is one. */
static json_t *describe(const bench_options *options, const json_t *ours, size_t peak, const json_t *machine)
{
    static const char *const names[] = {"none", "finite-difference", "eq9", "total"};
    static const char *const searches[] = {"encoder", "decoder", "both"};
    const genseg_config *o = &options->config;
    double seconds = bench_number(ours, "seconds"), flop = bench_number(ours, "flop");
    double rate = flop / seconds / bench_number(machine, "fma_flop_per_second");
    json_t *result = json_pack("{s:o, s:n, s:n, s:n, s:n, s:I, s:[]}", "ours_seconds", bench_real(seconds), "peer_seconds",
                               "ratio_median", "ratio_spread", "memory_ratio", "peak_bytes", (json_int_t)peak, "peer_settings");
    json_object_set(result, "phases", json_object_get(ours, "phases"));
    json_object_set_new(result, "flop", bench_real(flop));
    json_object_set_new(result, "flop_per_second", bench_real(flop / seconds));
    json_object_set_new(result, "fraction_of_peak", bench_real(rate));
    static const char *const same[] = {"kernels", "arena_bytes", "recomputed", "recomputed_flop", "seconds_all", "losses",
                                       "hypergradient"};
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) json_object_set(result, same[i], json_object_get(ours, same[i]));
    json_object_set_new(result, "options", json_pack("{s:i, s:i, s:i, s:i, s:i, s:i, s:s, s:s, s:s, s:i}", "size", o->size, "batch",
                        o->batch, "generator_width", o->generator_width, "generator_levels", o->generator_levels,
                        "unet_width", o->unet_width, "unet_depth", o->unet_depth, "hypergradient", names[o->hypergradient],
                        "search", searches[o->search], "device", o->device, "threads", o->threads));
    json_object_set(result, "machine", (json_t *)machine);
    return result;
}

static json_t *alone(const bench_options *options, const json_t *machine, ht_error *error)
{
    bench_child ours = bench_round(options, options->state, options->repeat);
    if (!ours.answer) ht_fail(error, HT_EINTERNAL, "%s", ours.problem);
    json_t *result = ours.answer ? describe(options, ours.answer, ours.peak_bytes, machine) : NULL;
    json_decref(ours.answer);
    return result;
}

static json_t *beside(comparison *c, const json_t *machine, turns *t, ht_error *error)
{
    double apart = INFINITY;
    json_t *result = NULL;
    int32_t fastest = try_settings(c, &apart, error);
    json_t *last = error->status == HT_OK ? take_turns(t, c, fastest, error) : NULL;
    if (last && error->status == HT_OK) {
        result = describe(c->options, last, t->our_bytes, machine);
        for (int32_t i = 0; i < c->count; i++)
            if (c->at[i].told) json_array_append(json_object_get(result, "peer_settings"), c->at[i].told);
        bool hidden = fastest >= 0 && apart < c->at[fastest].seconds;
        json_object_set_new(result, "torch", json_string(c->torch));
        json_object_set_new(result, "peer_faster_but_apart_seconds", bench_real(hidden ? apart : (double)NAN));
        if (t->count > 0) tell_turns(t, fastest, result);
        double rate = bench_number(result, "flop") / bench_number(result, "ours_seconds");
        json_object_set_new(result, "flop_per_second", bench_real(rate));
        json_object_set_new(result, "fraction_of_peak", bench_real(rate / bench_number(machine, "fma_flop_per_second")));
    }
    json_decref(last);
    return result;
}

json_t *bench_compare(const bench_options *options, const json_t *machine, ht_error *error)
{
    if (!options->vs_torch) return alone(options, machine, error);
    if (make_state_file(error) != HT_OK) return NULL;
    size_t room = (size_t)options->repeat * sizeof(double);
    comparison c = {.options = options, .count = bench_peer_settings()};
    if (c.count > SETTINGS_MOST) c.count = SETTINGS_MOST;
    turns t = {.ours = malloc(room), .peer = malloc(room), .ratio = malloc(room)};
    json_t *result = NULL;
    if (t.ours && t.peer && t.ratio) result = beside(&c, machine, &t, error);
    else ht_fail(error, HT_ENOMEM, "no memory for the times of %d turns", (int)options->repeat);
    free(t.ours);
    free(t.peer);
    free(t.ratio);
    for (int32_t i = 0; i < c.count; i++) json_decref(c.at[i].told);
    (void)unlink(state_file);
    return result;
}
