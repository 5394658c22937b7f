/* A round of ours and of the peer beside each other, and the contract's object that says so (docs/performance.md). */
#include <math.h>

#include "bench.h"

static const double losses_tolerance = 1e-4, hypergradient_tolerance = 1e-3;

static bench_child run_ours(const bench_contest *c, const char *state) { return bench_round(c->options, state, 1); }

static bench_child run_peer(const bench_contest *c, int32_t setting, const char *state, int32_t seed)
{
    return bench_peer(c->options, c->settings[setting], state, seed);
}

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

/* Adds everything about ours alone to what the contest said. */
static void describe(const bench_options *options, const json_t *ours, const json_t *machine, json_t *result)
{
    static const char *const names[] = {"none", "finite-difference", "eq9", "total"};
    static const char *const searches[] = {"encoder", "decoder", "both"};
    static const char *const same[] = {"phases", "kinds", "flop", "kernels", "arena_bytes", "recomputed", "recomputed_flop",
                                       "value_bytes", "record_seconds", "plan_seconds", "primitives_seconds", "first_seconds",
                                       "seconds_all", "losses", "hypergradient", "alone"};
    const genseg_config *o = &options->config;
    double rate = bench_number(ours, "flop") / bench_number(result, "ours_seconds");
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) json_object_set(result, same[i], json_object_get(ours, same[i]));
    json_object_set_new(result, "flop_per_second", bench_real(rate));
    json_object_set_new(result, "fraction_of_peak", bench_real(rate / bench_number(machine, "fma_flop_per_second")));
    json_object_set_new(result, "options",
                        json_pack("{s:i, s:i, s:i, s:i, s:i, s:i, s:s, s:s, s:s, s:s, s:s, s:i}", "size", o->size,
                        "batch", o->batch, "generator_width", o->generator_width, "generator_levels", o->generator_levels,
                        "unet_width", o->unet_width, "unet_depth", o->unet_depth, "hypergradient", names[o->hypergradient],
                        "search", searches[o->search], "convolution",
                        o->convolution == HT_CONVOLUTION_DIRECT ? "direct" : "auto", "precision",
                        o->precision == HT_PRECISION_BF16 ? "bf16" : "f32", "device", o->device, "threads", o->threads));
    json_object_set(result, "machine", (json_t *)machine);
}

json_t *bench_compare(const bench_options *options, const json_t *machine, ht_error *error)
{
    bench_contest contest = {.options = options, .settings = bench_peer_settings, .count = BENCH_PEER_SETTINGS,
                             .program = options->peer, .ours = run_ours, .peer = run_peer, .agrees = agrees};
    json_t *ours = NULL, *result = NULL;
    if (options->vs_torch) {
        result = bench_contest_hold(&contest, &ours, error);
    } else {
        bench_child child = bench_round(options, options->state, options->repeat);
        if (child.answer) result = bench_alone(&child);
        else ht_fail(error, HT_EINTERNAL, "%s", child.problem);
        ours = child.answer;
    }
    if (result) describe(options, ours, machine, result);
    json_decref(ours);
    return result;
}
