/*
 * What the hypergradient costs: rounds without it, with finite differences, with Eq. (9) and with the total derivative, in
 * turns; seconds, memory, and the ratio to the plain steps. And how far finite differences are from the exact Eq. (9).
 *     bench_hypergradient --preset small --vs-torch=python3 --json
 * With --vs-torch each method is compared with the peer's as bench_round does it.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

static const char about[] =
    "bench_hypergradient [options]: rounds with no hypergradient, with finite differences, Eq. (9) and the total\n"
    "derivative, in turns, and what each costs over the plain steps. With --vs-torch each beside the peer's.\n"
    "With --model unet what they are made of: a training step, a gradient and Hessian-vector products of the U-Net.";

enum { METHODS = GENSEG_H_TOTAL + 1 };
static const char *const names[METHODS] = {"none", "finite-difference", "eq9", "total"};

typedef struct method {
    double *seconds;
    int32_t count;
    size_t peak_bytes;
    json_t *answer;      /* of its last turn */
} method;

static ht_status take_turns(const bench_options *options, method methods[METHODS], ht_error *error)
{
    for (int32_t turn = 0; turn < options->repeat; turn++) {
        for (int32_t k = 0; k < METHODS; k++) {
            bench_options one = *options;
            one.config.hypergradient = (genseg_hypergradient)k;
            bench_child child = bench_round(&one, NULL, 1);
            if (!child.answer) return ht_fail(error, HT_EINTERNAL, "%s: %s", names[k], child.problem);
            json_decref(methods[k].answer);
            methods[k].answer = child.answer;
            methods[k].seconds[methods[k].count++] = bench_number(child.answer, "seconds");
            if (child.peak_bytes > methods[k].peak_bytes) methods[k].peak_bytes = child.peak_bytes;
        }
    }
    return HT_OK;
}

/* One method beside the peer's, without what bench_round says of phases; of a peer that fails its "problem" alone. */
static json_t *beside_peer(const bench_options *options, int32_t k, const json_t *machine)
{
    static const char *const kept[] = {"ours_seconds", "peer_seconds", "ratio_median", "ratio_spread", "memory_ratio",
                                       "peak_bytes", "peer_peak_bytes", "peer_settings", "peer_fastest", "torch", "problem"};
    ht_error error = {0};
    bench_options one = *options;
    one.config.hypergradient = (genseg_hypergradient)k;
    json_t *all = bench_compare(&one, machine, &error), *some = json_object();
    if (!all) json_object_set_new(some, "problem", json_string(error.message));
    for (size_t i = 0; all && i < sizeof kept / sizeof kept[0]; i++)
        if (json_object_get(all, kept[i])) json_object_set(some, kept[i], json_object_get(all, kept[i]));
    json_decref(all);
    return some;
}

static json_t *tell(const bench_options *options, method methods[METHODS], const json_t *machine)
{
    json_t *result = json_object(), *list = json_object();
    double plain = bench_median(methods[0].seconds, methods[0].count), cosine = NAN;
    for (int32_t k = 0; k < METHODS; k++) {
        double seconds = bench_median(methods[k].seconds, methods[k].count);
        json_t *one = json_pack("{s:o, s:o, s:I, s:o, s:O}", "seconds", bench_real(seconds), "ratio_to_none",
                                bench_real(seconds / plain), "peak_bytes", (json_int_t)methods[k].peak_bytes, "flop",
                                bench_real(bench_number(methods[k].answer, "flop")), "kernels",
                                json_object_get(methods[k].answer, "kernels"));
        json_object_set_new(list, names[k], one);
        json_object_set_new(one, "vs_torch", options->vs_torch ? beside_peer(options, k, machine) : json_null());
    }
    double apart = bench_vectors_apart(json_object_get(methods[GENSEG_H_FINITE_DIFFERENCE].answer, "hypergradient"),
                                       json_object_get(methods[GENSEG_H_EQ9].answer, "hypergradient"), &cosine);
    json_object_set_new(result, "methods", list);
    json_object_set_new(result, "difference_to_eq9", json_pack("{s:o, s:o}", "relative", bench_real(apart), "cosine",
                                                               bench_real(cosine)));
    json_object_set_new(result, "options", json_pack("{s:i, s:i, s:i, s:i, s:s}", "size", options->config.size, "batch",
                        options->config.batch, "generator_width", options->config.generator_width, "threads",
                        options->config.threads, "device", options->config.device));
    json_object_set(result, "machine", (json_t *)machine);
    return result;
}

/* A figure as text, a dash for none. */
static const char *figure(const json_t *object, const char *key, int digits, char text[32])
{
    const double value = bench_number(object, key);
    if (isfinite(value)) snprintf(text, 32, "%.*f", digits, value);
    else snprintf(text, 32, "-");
    return text;
}

static void show(const json_t *result)
{
    const char *name;
    char ratio[32];
    json_t *one;
    printf("%-18s %10s %8s %8s %10s %8s %12s\n", "hypergradient", "seconds", "to none", "GiB", "Gflop", "kernels",
           "peer / ours");
    json_object_foreach(json_object_get(result, "methods"), name, one)
        printf("%-18s %10.4f %8.3f %8.2f %10.1f %8d %12s\n", name, bench_number(one, "seconds"),
               bench_number(one, "ratio_to_none"), bench_number(one, "peak_bytes") / 1073741824,
               bench_number(one, "flop") * 1e-9, (int)bench_number(one, "kernels"),
               figure(json_object_get(one, "vs_torch"), "ratio_median", 3, ratio));
    const json_t *apart = json_object_get(result, "difference_to_eq9");
    printf("finite differences are %.2e from Eq. (9), relative; cosine %.6f\n", bench_number(apart, "relative"),
           bench_number(apart, "cosine"));
}

static void show_unet(const json_t *result)
{
    const char *name;
    char peer[32], ratio[32];
    json_t *one;
    printf("%-26s %10s %10s %8s %8s %10s %12s %12s\n", "U-Net", "seconds", "/ gradient", "GiB", "of peak", "kernels",
           "peer seconds", "peer / ours");
    json_object_foreach(json_object_get(result, "works"), name, one)
        printf("%-26s %10.4f %10.3f %8.2f %8.2f %10d %12s %12s\n", name, bench_number(one, "ours_seconds"),
               bench_number(one, "ours_to_gradient"), bench_number(one, "peak_bytes") / 1073741824,
               bench_number(one, "fraction_of_peak"), (int)bench_number(one, "kernels"), figure(one, "peer_seconds", 4, peer),
               figure(one, "ratio_median", 3, ratio));
}

/* A line for each that has no ratio; 1 if there are any. part: where an object has the comparison, or NULL: in itself. */
static int complain(const json_t *objects, const char *part)
{
    const char *name;
    json_t *one;
    int lacks = 0;
    json_object_foreach((json_t *)objects, name, one) {
        const char *problem = json_string_value(json_object_get(part ? json_object_get(one, part) : one, "problem"));
        if (problem) fprintf(stderr, "bench_hypergradient: %s: no ratio: %s\n", name, problem);
        lacks = lacks || problem;
    }
    return lacks;
}

/* 1 where a ratio was asked for and there is none. */
static int unet(const bench_options *options)
{
    ht_error error = {0};
    json_t *machine = bench_machine(options->config.threads), *result = bench_unet(options, machine, &error);
    int lacks = complain(json_object_get(result, "works"), NULL);
    if (!result) fprintf(stderr, "bench_hypergradient: %s\n", error.message);
    else if (options->json) bench_print(result);
    else show_unet(result);
    lacks = lacks || !result;
    json_decref(machine);
    json_decref(result);
    return lacks || fflush(stdout) != 0;
}

int main(int count, char **words)
{
    static const char without[] = "--hypergradient --load-state --trace --flame --only --convolution-error --alone";
    bench_options options;
    ht_error error = {0};
    method methods[METHODS] = {{0}};
    json_t *result = NULL;
    int bad = bench_options_read(count, words, without, "../shared/peers/torch_genseg.py", &options, &error) != HT_OK ? 2 : 0;
    if (!bad && options.help) {
        bench_options_help(about, without);
        return 0;
    }
    if (!bad && options.unet) return unet(&options);
    for (int32_t k = 0; k < METHODS && !bad; k++) {
        methods[k].seconds = calloc((size_t)options.repeat, sizeof(double));
        if (!methods[k].seconds) ht_fail(&error, HT_ENOMEM, "no memory for the times of %d turns", (int)options.repeat);
    }
    json_t *machine = bad ? NULL : bench_machine(options.config.threads);
    if (error.status == HT_OK && take_turns(&options, methods, &error) == HT_OK)
        result = tell(&options, methods, machine);
    const int lacks = complain(json_object_get(result, "methods"), "vs_torch");
    if (result && options.json) bench_print(result);
    else if (result) show(result);
    else fprintf(stderr, "bench_hypergradient: %s\n", error.message);
    for (int32_t k = 0; k < METHODS; k++) {
        free(methods[k].seconds);
        json_decref(methods[k].answer);
    }
    json_decref(machine);
    json_decref(result);
    return bad ? bad : !result || lacks || fflush(stdout) != 0;
}
