/*
 * Ours and the peer, beside each other in one invocation: every setting of the peer once, then turns of ours and its
 * fastest. A setting counts only if it computed what ours did; without one there is no ratio.
 */
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"

static const double losses_tolerance = 1e-4, hypergradient_tolerance = 1e-3;

/* ---- agreement ---- */

double bench_losses_apart(const json_t *ours, const json_t *other)
{
    double worst = NAN;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)ours, key, value) {
        double a = json_number_value(value), b = bench_number(other, key);
        if (!json_object_get(other, key)) continue;
        double apart = fabs(a - b) / fmax(fabs(b), 1e-30);
        if (isnan(apart)) return INFINITY; /* a NaN agrees with nothing */
        worst = isnan(worst) ? apart : fmax(worst, apart);
    }
    return worst;
}

/* Appends all numbers of nested lists; -1 if something else stands there or there is no more room. */
static int32_t flatten(const json_t *list, double *numbers, int32_t count, int32_t room)
{
    size_t i;
    json_t *item;
    if (json_is_number(list) && count < room) {
        numbers[count] = json_number_value(list);
        return count + 1;
    }
    if (!json_is_array(list)) return -1;
    json_array_foreach(list, i, item) {
        count = flatten(item, numbers, count, room);
        if (count < 0) return -1;
    }
    return count;
}

double bench_vectors_apart(const json_t *ours, const json_t *other, double *cosine)
{
    enum { ROOM = 4096 };
    double a[ROOM], b[ROOM], gap = 0, aa = 0, bb = 0, ab = 0;
    int32_t count = 0, same = 0;
    const char *key;
    json_t *value;
    if (cosine) *cosine = NAN;
    if (!json_is_object(ours) || json_object_size(ours) != json_object_size(other)) return NAN;
    json_object_foreach((json_t *)ours, key, value) {
        count = flatten(value, a, count, ROOM);
        same = flatten(json_object_get(other, key), b, same, ROOM);
        if (count < 0 || count != same) return NAN;
    }
    for (int32_t i = 0; i < count; i++) {
        gap += (a[i] - b[i]) * (a[i] - b[i]);
        aa += a[i] * a[i];
        bb += b[i] * b[i];
        ab += a[i] * b[i];
    }
    if (cosine) *cosine = ab / sqrt(aa * bb);
    return sqrt(gap / bb);
}

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

typedef struct comparison {
    const bench_options *options;
    json_t *settings;
    const json_t *ours;     /* answer of the first turn */
    int32_t fastest;        /* -1: none agreed          */
    double fastest_seconds, apart_seconds; /* apart: least of those that answered and do not agree */
} comparison;

/* Whether a peer's answer is that of ours; what they differ by is added to the setting. */
static bool agrees(const comparison *c, const json_t *answer, json_t *setting)
{
    const json_t *h = json_object_get(c->ours, "hypergradient");
    double losses = bench_losses_apart(json_object_get(c->ours, "losses"), json_object_get(answer, "losses"));
    double vectors = json_is_object(h) ? bench_vectors_apart(h, json_object_get(answer, "hypergradient"), NULL) : 0;
    bool same = losses <= losses_tolerance && vectors <= hypergradient_tolerance;
    json_object_set_new(setting, "losses_apart", bench_real(losses));
    json_object_set_new(setting, "hypergradient_apart", json_is_object(h) ? bench_real(vectors) : json_null());
    json_object_set_new(setting, "agrees", json_boolean(same));
    return same;
}

static void add_setting(comparison *c, int32_t index, const bench_child *child)
{
    const char *words = bench_peer_setting(index);
    json_t *setting = json_pack("{s:s, s:o, s:o}", "setting", *words ? words : "(its defaults)", "seconds",
                                bench_real(bench_number(child->answer, "seconds")), "peak_bytes",
                                json_integer((json_int_t)child->peak_bytes));
    json_array_append_new(c->settings, setting);
    if (!child->answer) {
        json_object_set_new(setting, "problem", json_string(child->problem));
        json_object_set_new(setting, "agrees", json_false());
        return;
    }
    bool same = agrees(c, child->answer, setting);
    double seconds = bench_number(child->answer, "seconds");
    if (!same) c->apart_seconds = fmin(c->apart_seconds, seconds);
    if (!same || !(seconds > 0) || seconds >= c->fastest_seconds) return;
    c->fastest = index;
    c->fastest_seconds = seconds;
}

/* The peer writes the state at its first setting; ours starts from it; then the peer's other settings. */
static json_t *try_settings(comparison *c, json_t **torch, ht_error *error)
{
    bench_child first = bench_peer(c->options, 0, state_file, true);
    if (!first.answer) {
        ht_fail(error, HT_EUNSUPPORTED, "the peer: %s; expected its answer from %.200s", first.problem, c->options->peer);
        return NULL;
    }
    bench_child ours = bench_round(c->options, state_file, 1);
    if (!ours.answer) {
        ht_fail(error, HT_EINTERNAL, "%s", ours.problem);
        json_decref(first.answer);
        return NULL;
    }
    c->ours = ours.answer;
    *torch = json_incref(json_object_get(first.answer, "torch"));
    add_setting(c, 0, &first);
    json_decref(first.answer);
    for (int32_t i = 1; i < bench_peer_settings(); i++) {
        bench_child child = bench_peer(c->options, i, state_file, false);
        add_setting(c, i, &child);
        json_decref(child.answer);
    }
    return ours.answer;
}

/* ---- turns ---- */

/* Seconds and bytes of the turns; sorted by nobody but the median. */
typedef struct turns {
    double *ours, *peer, *ratio;
    int32_t count;
    size_t our_bytes, peer_bytes;
} turns;

static void take_turn(turns *t, const comparison *c, json_t **last, ht_error *error)
{
    bench_child a = bench_round(c->options, state_file, 1);
    bench_child b = a.answer ? bench_peer(c->options, c->fastest, state_file, false) : (bench_child){0};
    json_t *aside = json_object();
    if (!a.answer || !b.answer)
        ht_fail(error, HT_EINTERNAL, "turn %d: %s", (int)t->count + 1, a.answer ? b.problem : a.problem);
    else if (!agrees(c, b.answer, aside))
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

static void tell_turns(turns *t, const comparison *c, json_t *result)
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
    const char *words = bench_peer_setting(c->fastest);
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
    static const char *const same[] = {"kernels", "arena_bytes", "seconds_all", "losses", "hypergradient"};
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
    bench_child ours = bench_round(options, NULL, options->repeat);
    if (!ours.answer) ht_fail(error, HT_EINTERNAL, "%s", ours.problem);
    json_t *result = ours.answer ? describe(options, ours.answer, ours.peak_bytes, machine) : NULL;
    json_decref(ours.answer);
    return result;
}

static json_t *beside(comparison *c, const json_t *machine, turns *t, ht_error *error)
{
    json_t *torch = NULL, *last = try_settings(c, &torch, error), *ours = last, *result = NULL;
    if (!last) return NULL;
    json_incref(ours);
    for (int32_t i = 0; i < c->options->repeat && c->fastest >= 0 && error->status == HT_OK; i++)
        take_turn(t, c, &last, error);
    if (error->status == HT_OK) {
        result = describe(c->options, last, t->our_bytes, machine);
        json_object_set(result, "peer_settings", c->settings);
        json_object_set(result, "torch", torch);
        bool hidden = c->apart_seconds < c->fastest_seconds;
        json_object_set_new(result, "peer_faster_but_apart_seconds", bench_real(hidden ? c->apart_seconds : (double)NAN));
        if (t->count > 0) tell_turns(t, c, result);
        double rate = bench_number(result, "flop") / bench_number(result, "ours_seconds");
        json_object_set_new(result, "flop_per_second", bench_real(rate));
        json_object_set_new(result, "fraction_of_peak", bench_real(rate / bench_number(machine, "fma_flop_per_second")));
    }
    json_decref(last);
    json_decref(ours);
    json_decref(torch);
    return result;
}

json_t *bench_compare(const bench_options *options, const json_t *machine, ht_error *error)
{
    if (!options->vs_torch) return alone(options, machine, error);
    if (make_state_file(error) != HT_OK) return NULL;
    size_t room = (size_t)options->repeat * sizeof(double);
    comparison c = {.options = options, .settings = json_array(), .fastest = -1, .fastest_seconds = INFINITY,
                    .apart_seconds = INFINITY};
    turns t = {.ours = malloc(room), .peer = malloc(room), .ratio = malloc(room)};
    json_t *result = NULL;
    if (t.ours && t.peer && t.ratio) result = beside(&c, machine, &t, error);
    else ht_fail(error, HT_ENOMEM, "no memory for the times of %d turns", (int)options->repeat);
    free(t.ours);
    free(t.peer);
    free(t.ratio);
    json_decref(c.settings);
    (void)unlink(state_file);
    return result;
}
