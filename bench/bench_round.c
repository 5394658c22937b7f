/*
 * One round of GenSeg: seconds, bytes, operations and kernels by phase; with --vs-torch beside the same round in PyTorch.
 *     bench_round --size 256 --batch 2 --hypergradient total --search decoder --vs-torch=python3 --json
 * Exit status 1 if there is no answer, or no ratio where one was asked for; 2 for a bad command line.
 */
#include <math.h>

#include "bench.h"

static const char about[] =
    "bench_round [options]: one round of GenSeg, its phases, and how far from the machine's peak.\n"
    "With --vs-torch in turns with the same round in PyTorch, at each of the peer's settings; the fastest counts, and only\n"
    "those whose losses agree to 1e-4 and whose hypergradient agrees to 1e-3. ratio: the peer's seconds over ours.";

static const char without[] = "--model --only --convolution-error";

static void show_phases(const json_t *phases)
{
    const char *name;
    json_t *phase;
    printf("%-22s %10s %10s %12s %8s\n", "phase", "seconds", "GB", "Gflop", "kernels");
    json_object_foreach((json_t *)phases, name, phase)
        printf("%-22s %10.4f %10.3f %12.3f %8d\n", name, bench_number(phase, "seconds"), bench_number(phase, "gigabytes"),
               bench_number(phase, "flop") * 1e-9, (int)bench_number(phase, "kernels"));
}

static void show(const json_t *result)
{
    const json_t *machine = json_object_get(result, "machine"), *settings = json_object_get(result, "peer_settings");
    size_t i;
    json_t *setting;
    printf("%s, %d threads: %.1f GF/s of fused multiply-adds, %.1f GB/s; load before %.2f\n",
           json_string_value(json_object_get(machine, "processor")), (int)bench_number(machine, "threads"),
           bench_number(machine, "fma_flop_per_second") * 1e-9, bench_number(machine, "triad_bytes_per_second") * 1e-9,
           bench_number(machine, "load_before"));
    printf("ours: %.4f s a round, %.1f Gflop, %.1f GF/s, %.0f %% of the peak; %.2f GiB at the peak\n",
           bench_number(result, "ours_seconds"), bench_number(result, "flop") * 1e-9,
           bench_number(result, "flop_per_second") * 1e-9, 100 * bench_number(result, "fraction_of_peak"),
           bench_number(result, "peak_bytes") / 1073741824);
    show_phases(json_object_get(result, "phases"));
    const json_t *alone = json_object_get(result, "alone");
    if (alone)
        printf("convolutions and products: %.4f s within the round, %.4f s alone (%d kinds): %.1f %%\n",
               bench_number(alone, "round_seconds"), bench_number(alone, "alone_seconds"), (int)bench_number(alone, "kinds"),
               100 * bench_number(alone, "fraction"));
    json_array_foreach(settings, i, setting) {
        const char *problem = json_string_value(json_object_get(setting, "problem"));
        printf("peer %-52s %9.4f s  losses apart %.1e, h %.1e  %s\n", json_string_value(json_object_get(setting, "setting")),
               bench_number(setting, "seconds"), bench_number(setting, "losses_apart"),
               bench_number(setting, "hypergradient_apart"),
               problem ? problem : json_is_true(json_object_get(setting, "agrees")) ? "agrees" : "does not agree");
    }
    if (isfinite(bench_number(result, "peer_faster_but_apart_seconds")))
        printf("peer: a setting that does not agree was faster, %.4f s; it does not count\n",
               bench_number(result, "peer_faster_but_apart_seconds"));
    if (isfinite(bench_number(result, "ratio_median")))
        printf("peer: %.4f s, %.2f GiB; ratio %.3f (spread %.3f of it), memory %.3f\n", bench_number(result, "peer_seconds"),
               bench_number(result, "peer_peak_bytes") / 1073741824, bench_number(result, "ratio_median"),
               bench_number(result, "ratio_spread"), bench_number(result, "memory_ratio"));
}

int main(int count, char **words)
{
    bench_options options;
    ht_error error = {0};
    if (bench_options_read(count, words, without, "../shared/peers/torch_genseg.py", &options, &error) != HT_OK) {
        fprintf(stderr, "bench_round: %s\n", error.message);
        return 2;
    }
    if (options.help) {
        bench_options_help(about, without);
        return 0;
    }
    json_t *machine = bench_machine(options.config.threads), *result = bench_compare(&options, machine, &error);
    json_decref(machine);
    if (!result) {
        fprintf(stderr, "bench_round: %s\n", error.message);
        return 1;
    }
    if (options.json) bench_print(result);
    else show(result);
    bool lacks = options.vs_torch && !isfinite(bench_number(result, "ratio_median"));
    if (lacks) fprintf(stderr, "bench_round: no setting of the peer gave the same losses and hypergradient; no ratio\n");
    json_decref(result);
    return lacks || fflush(stdout) != 0;
}
