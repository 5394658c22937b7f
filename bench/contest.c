/*
 * Ours and the peer, beside each other in one invocation: every setting of the peer, then turns of ours and its fastest. A
 * setting counts only if it computed what ours did; without one there is no ratio. In 32 bits a rounding may push one ReLU
 * over its kink, and the derivative jumps by more than the tolerance, between two settings of the peer as well: so a
 * setting that does not agree is tried from the next states, made from seeds 0, 1, 2, .... What is measured is the
 * caller's: rounds (compare.c), single ops (ops_contest.c), the U-Net (unet.c).
 */
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"

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
    snprintf(state_file, sizeof state_file, "%s/bench-XXXXXX", folder && folder[0] ? folder : "/tmp");
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
    const bench_contest *contest;
    setting at[SETTINGS_MOST];
    int32_t count, seed;    /* seed: of the state that the file holds                 */
    char torch[32];
} comparison;

static void judge(comparison *c, int32_t index, const json_t *ours, const bench_child *child)
{
    setting *s = &c->at[index];
    const char *words = c->contest->settings[index], *torch = json_string_value(json_object_get(child->answer, "torch"));
    double seconds = bench_number(child->answer, "seconds");
    if (!s->told) s->seconds = INFINITY;
    if (seconds < s->seconds) s->seconds = seconds;
    if (torch) snprintf(c->torch, sizeof c->torch, "%s", torch);
    json_decref(s->told);
    s->told = json_pack("{s:s, s:o, s:I, s:i}", "setting", *words ? words : "(its defaults)", "seconds",
                        bench_real(s->seconds), "peak_bytes", (json_int_t)child->peak_bytes, "seed", (int)c->seed);
    s->answers = child->answer != NULL;
    s->seed = c->seed;
    s->agrees = s->answers && c->contest->agrees(ours, child->answer, s->told);
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
        bench_child peer = c->contest->peer(c->contest, i, state_file, ours ? -1 : c->seed);
        if (peer.answer && !ours) {
            bench_child child = c->contest->ours(c->contest, state_file);
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
    for (int32_t seed = 0; seed < c->contest->options->states && open && error->status == HT_OK; seed++) {
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
                json_string_value(json_object_get(c->at[0].told, "problem")), c->contest->program);
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
    bench_child a = c->contest->ours(c->contest, state_file);
    bench_child b = a.answer ? c->contest->peer(c->contest, fastest, state_file, -1) : (bench_child){0};
    json_t *aside = json_object();
    if (!a.answer || !b.answer)
        ht_fail(error, HT_EINTERNAL, "turn %d: %s", (int)t->count + 1, a.answer ? b.problem : a.problem);
    else if (!c->contest->agrees(a.answer, b.answer, aside))
        ht_fail(error, HT_EINTERNAL, "turn %d: what the peer computed is not what ours did", (int)t->count + 1);
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

/* Ours alone, from a state or from numbers of its own. */
static json_t *run_alone(turns *t, const comparison *c, const char *state, ht_error *error)
{
    bench_child child = c->contest->ours(c->contest, state);
    if (!child.answer) ht_fail(error, HT_EINTERNAL, "%s", child.problem);
    t->count = 0;
    t->our_bytes = child.peak_bytes;
    return child.answer;
}

/* Ours alone once if no setting agreed; else the turns, from the state from which the fastest one agreed. */
static json_t *take_turns(turns *t, comparison *c, int32_t fastest, ht_error *error)
{
    json_t *last = NULL;
    if (fastest < 0) return run_alone(t, c, state_file, error);
    if (c->at[fastest].seed != c->seed) {
        bench_child child = c->contest->peer(c->contest, fastest, state_file, c->at[fastest].seed);
        if (!child.answer) ht_fail(error, HT_EINTERNAL, "the peer: %s", child.problem);
        json_decref(child.answer);
    }
    for (int32_t i = 0; i < c->contest->options->repeat && error->status == HT_OK; i++) take_turn(t, c, fastest, &last, error);
    return last;
}

static void tell_turns(turns *t, const char *words, json_t *result)
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
    json_object_set_new(result, "peer_fastest", json_string(*words ? words : "(its defaults)"));
}

/* ---- the whole ---- */

json_t *bench_alone(const bench_child *ours)
{
    return json_pack("{s:o, s:n, s:n, s:n, s:n, s:I, s:[]}", "ours_seconds", bench_real(bench_number(ours->answer, "seconds")),
                     "peer_seconds", "ratio_median", "ratio_spread", "memory_ratio", "peak_bytes",
                     (json_int_t)ours->peak_bytes, "peer_settings");
}

static json_t *tell(const comparison *c, turns *t, int32_t fastest, double apart, const json_t *last)
{
    bench_child ours = {.answer = (json_t *)last, .peak_bytes = t->our_bytes};
    json_t *result = bench_alone(&ours);
    for (int32_t i = 0; i < c->count; i++)
        if (c->at[i].told) json_array_append(json_object_get(result, "peer_settings"), c->at[i].told);
    bool hidden = fastest >= 0 && apart < c->at[fastest].seconds;
    json_object_set_new(result, "torch", json_string(c->torch));
    json_object_set_new(result, "peer_faster_but_apart_seconds", bench_real(hidden ? apart : (double)NAN));
    if (t->count > 0) tell_turns(t, c->contest->settings[fastest], result);
    return result;
}

json_t *bench_contest_hold(const bench_contest *contest, json_t **ours, ht_error *error)
{
    *ours = NULL;
    if (make_state_file(error) != HT_OK) return NULL;
    size_t room = (size_t)contest->options->repeat * sizeof(double);
    comparison c = {.contest = contest, .count = contest->count < SETTINGS_MOST ? contest->count : SETTINGS_MOST};
    turns t = {.ours = malloc(room), .peer = malloc(room), .ratio = malloc(room)};
    json_t *result = NULL;
    double apart = INFINITY;
    int32_t fastest = -1;
    char problem[HT_MESSAGE_BYTES] = "no setting of the peer gave the values that ours has";
    if (t.ours && t.peer && t.ratio) fastest = try_settings(&c, &apart, error);
    else ht_fail(error, HT_ENOMEM, "no memory for the times of %d turns", (int)contest->options->repeat);
    if (error->status == HT_OK) *ours = take_turns(&t, &c, fastest, error);
    if (contest->outlasts && error->status != HT_OK) {
        snprintf(problem, sizeof problem, "%s", error->message);
        json_decref(*ours);
        *error = (ht_error){0};
        *ours = run_alone(&t, &c, NULL, error);
    }
    if (*ours && error->status == HT_OK) result = tell(&c, &t, fastest, apart, *ours);
    if (result && t.count == 0) json_object_set_new(result, "problem", json_string(problem));
    free(t.ours);
    free(t.peer);
    free(t.ratio);
    for (int32_t i = 0; i < c.count; i++) json_decref(c.at[i].told);
    (void)unlink(state_file);
    if (result) return result;
    json_decref(*ours);
    *ours = NULL;
    return NULL;
}
