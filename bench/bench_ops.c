/*
 * The operations of the round at its shapes, each alone with its derivatives: time, operations and bytes in a second, and
 * the fraction of what the machine can do, measured in the same invocation. For seeing where time goes.
 *     bench_ops --size 256 --preset paper [--json]
 * A row is a kind of step of one case's program: the op, its derivatives, changes of order, packings of weights.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <ht/random.h>

#include "bench.h"

static const char about[] =
    "bench_ops [options]: the operations of the round at its shapes, with their derivatives: best of several runs, and the\n"
    "fraction of the nearer roof (multiply-adds, or bytes of memory; more than 1 of bytes: they stayed in a cache).\n"
    "With --vs-torch each op as a whole beside torch.nn.functional, forward and with its derivatives, in turns from one\n"
    "file of inputs; results must agree to 1e-4. order: share of ours that goes into changes of physical order.";
static const char without[] = "--hypergradient --search --states --load-state --trace --flame --model --memory-limit --alone";

enum { RUNS_MOST = 100 };

typedef struct ops_job {
    const bench_options *options;
    int32_t op;
} ops_job;

/* Steps of one kind, summed; each step's least time over the runs. */
typedef struct kind_row {
    const char *name, *algorithm;
    double seconds, bytes, flop;
    int32_t steps;
} kind_row;

static json_t *rows_of(const ht_program *program, const double *least)
{
    enum { ROWS = 64 };
    kind_row rows[ROWS];
    int32_t count = 0;
    json_t *list = json_array();
    for (int32_t s = 0; s < bench_steps(program); s++) {
        bench_step step = bench_step_at(program, s);
        int32_t i = 0;
        while (i < count && strcmp(rows[i].name, step.name) != 0) i++;
        if (i == ROWS) continue;
        if (i == count) rows[count++] = (kind_row){.name = step.name, .algorithm = step.algorithm};
        rows[i].seconds += least[s];
        rows[i].bytes += step.bytes;
        rows[i].flop += step.flop;
        rows[i].steps++;
    }
    for (int32_t i = 0; i < count; i++) {
        json_t *one = json_pack("{s:s, s:i, s:f, s:f, s:f}", "step", rows[i].name, "steps", (int)rows[i].steps, "seconds",
                                rows[i].seconds, "bytes", rows[i].bytes, "flop", rows[i].flop);
        if (rows[i].algorithm) json_object_set_new(one, "algorithm", json_string(rows[i].algorithm));
        json_array_append_new(list, one);
    }
    return list;
}

static json_t *run(ht_program *program, int32_t repeat, ht_error *error)
{
    int32_t steps = bench_steps(program);
    double *least = malloc(((size_t)steps + 1) * sizeof *least), begin = bench_now();
    for (int32_t s = 0; least && s < steps; s++) least[s] = INFINITY;
    for (int32_t i = 0; least && i < RUNS_MOST && (i <= repeat || bench_now() - begin < 0.2); i++) {
        bench_steps_clear(program);
        if (ht_run(program) != HT_OK) break;
        for (int32_t s = 0; s < steps && i > 0; s++) /* the first run warms */
            least[s] = fmin(least[s], bench_step_at(program, s).seconds);
    }
    const ht_error *finding = ht_program_error(program);
    if (!least) ht_fail(error, HT_ENOMEM, "no memory for the times of %d steps", (int)steps);
    if (finding->status != HT_OK) ht_fail(error, finding->status, "%s", finding->message);
    json_t *rows = error->status == HT_OK ? rows_of(program, least) : NULL;
    free(least);
    return rows;
}

static json_t *work(void *context, ht_error *error)
{
    const ops_job *job = context;
    const genseg_config *o = &job->options->config;
    ht_device *device = ht_device_open(o->device, o->threads, error);
    ht_tape *tape = device ? ht_tape_new(HT_F32) : NULL;
    json_t *rows = NULL;
    if (tape) {
        ht_vars inputs = {0}, fixed = {0};
        ht_var y = bench_case_record(tape, o, job->op, &inputs, &fixed);
        ht_var cotangent = ht_input(tape, "cotangent", ht_var_shape(y));
        ht_vars outputs = ht_vars_join(ht_list(y), ht_vjp(ht_list(y), ht_list(cotangent), inputs));
        ht_program *program = ht_compile(tape, device, outputs, .error = error, .profile = 1,
                                         .convolution = (ht_convolution)o->convolution,
                                         .precision = (ht_precision)o->precision);
        for (int32_t i = 0; program && i < inputs.count; i++) bench_fill(program, inputs.at[i], i ? "second" : "first", error);
        if (program) bench_fill(program, cotangent, "cotangent", error);
        if (program && error->status == HT_OK) rows = run(program, job->options->repeat, error);
        ht_program_free(program);
    } else if (device) {
        ht_fail(error, HT_ENOMEM, "no memory for a tape");
    }
    ht_tape_free(tape);
    ht_device_close(device);
    return rows;
}

/* ---- errors of convolutions ---- */

enum { FACES = 3 };
static const char *const faces[FACES] = {"result", "input_gradient", "weight_gradient"};

/* An output in doubles, which the caller frees; NULL after a failure. */
static double *result_of(ht_program *program, int32_t output, int64_t count, ht_dtype dtype)
{
    double *wide = malloc((size_t)count * sizeof *wide);
    float *narrow = dtype == HT_F32 ? malloc((size_t)count * sizeof *narrow) : NULL;
    void *numbers = dtype == HT_F32 ? (void *)narrow : (void *)wide;
    bool good = wide && numbers && ht_get_at(program, output, numbers, count) == HT_OK;
    for (int64_t i = 0; good && narrow && i < count; i++) wide[i] = (double)narrow[i];
    free(narrow);
    if (good) return wide;
    free(wide);
    return NULL;
}

/* Result and derivatives of a case. */
static void results(const ops_job *job, ht_device *device, ht_dtype dtype, ht_convolution convolution, double *value[FACES],
                    int64_t count[FACES], ht_error *error)
{
    ht_tape *tape = ht_tape_new(dtype);
    ht_vars inputs = {0}, fixed = {0};
    if (!tape) {
        ht_fail(error, HT_ENOMEM, "no memory for a tape");
        return;
    }
    ht_var y = bench_case_record(tape, &job->options->config, job->op, &inputs, &fixed);
    ht_var cotangent = ht_input(tape, "cotangent", ht_var_shape(y));
    ht_vars outputs = ht_vars_join(ht_list(y), ht_vjp(ht_list(y), ht_list(cotangent), inputs));
    ht_program *program = ht_compile(tape, device, outputs, .error = error, .convolution = convolution);
    for (int32_t i = 0; program && i < inputs.count; i++) bench_fill(program, inputs.at[i], i ? "second" : "first", error);
    if (program) bench_fill(program, cotangent, "cotangent", error);
    if (program) ht_run(program);
    for (int32_t k = 0; program && k < FACES; k++) {
        count[k] = ht_shape_count(ht_var_shape(outputs.at[k]));
        value[k] = result_of(program, k, count[k], dtype);
        if (!value[k]) ht_fail(error, HT_ENOMEM, "no results: %.200s", ht_program_error(program)->message);
    }
    ht_program_free(program);
    ht_tape_free(tape);
}

/* The largest error of each face divided by the largest value, for both settings of convolution; the ratio of the two,
 * and that of the root mean squares. */
static json_t *errors(void *context, ht_error *error)
{
    const ops_job *job = context;
    ht_device *device = ht_device_open(job->options->config.device, job->options->config.threads, error);
    double *value[3][FACES] = {{NULL}};
    int64_t count[FACES] = {0};
    if (device) {
        results(job, device, HT_F64, HT_CONVOLUTION_AUTO, value[0], count, error);
        results(job, device, HT_F32, HT_CONVOLUTION_DIRECT, value[1], count, error);
        results(job, device, HT_F32, HT_CONVOLUTION_AUTO, value[2], count, error);
    }
    json_t *rows = error->status == HT_OK ? json_array() : NULL;
    for (int32_t k = 0; rows && k < FACES; k++) {
        double worst[3] = {0, 0, 0}, squares[3] = {0, 0, 0}; /* of the values, then of the errors */
        for (int64_t i = 0; i < count[k]; i++)
            for (int32_t a = 0; a < 3; a++) {
                double one = fabs(a ? value[a][k][i] - value[0][k][i] : value[0][k][i]);
                worst[a] = fmax(worst[a], one);
                squares[a] += one * one;
            }
        json_array_append_new(rows, json_pack("{s:s, s:f, s:f, s:f, s:f}", "step", faces[k], "direct", worst[1] / worst[0],
                                              "auto", worst[2] / worst[0], "ratio", worst[2] / worst[1], "mean_ratio",
                                              sqrt(squares[2] / squares[1])));
    }
    for (int32_t a = 0; a < 3; a++)
        for (int32_t k = 0; k < FACES; k++) free(value[a][k]);
    ht_device_close(device);
    return rows;
}

/* ---- what is said ---- */

/* Rates, and the roof that is nearer. */
static void judge(json_t *row, const json_t *machine)
{
    double seconds = bench_number(row, "seconds"), flop = bench_number(row, "flop"), bytes = bench_number(row, "bytes");
    double of_flop = flop / seconds / bench_number(machine, "fma_flop_per_second");
    double of_bytes = bytes / seconds / bench_number(machine, "triad_bytes_per_second");
    json_object_set_new(row, "flop_per_second", bench_real(flop / seconds));
    json_object_set_new(row, "bytes_per_second", bench_real(bytes / seconds));
    json_object_set_new(row, "fraction_of_peak", bench_real(fmax(of_flop, of_bytes)));
    json_object_set_new(row, "roof", json_string(of_flop >= of_bytes ? "flop" : "bytes"));
}

static void show_errors(const char *name, const json_t *rows)
{
    size_t i;
    json_t *row;
    printf("%s\n", name);
    json_array_foreach((json_t *)rows, i, row)
        printf("    %-16s direct %8.2e, auto %8.2e, ratio %5.2f, of root mean squares %5.2f\n",
               json_string_value(json_object_get(row, "step")), bench_number(row, "direct"), bench_number(row, "auto"),
               bench_number(row, "ratio"), bench_number(row, "mean_ratio"));
    fflush(stdout);
}

static void show(const char *name, const json_t *rows)
{
    size_t i;
    json_t *row;
    printf("%s\n", name);
    json_array_foreach((json_t *)rows, i, row) {
        const char *algorithm = json_string_value(json_object_get(row, "algorithm"));
        printf("    %-16s %3d %11.1f us %9.1f GF/s %8.1f GB/s %6.2f of %-6s %s\n",
               json_string_value(json_object_get(row, "step")), (int)bench_number(row, "steps"),
               bench_number(row, "seconds") * 1e6, bench_number(row, "flop_per_second") * 1e-9,
               bench_number(row, "bytes_per_second") * 1e-9, bench_number(row, "fraction_of_peak"),
               json_string_value(json_object_get(row, "roof")), algorithm ? algorithm : "");
    }
    fflush(stdout);
}

static int run_all(const bench_options *options)
{
    json_t *machine = bench_machine(options->config.threads), *list = json_array();
    int bad = 0;
    for (int32_t i = 0; i < bench_cases(); i++) {
        bool wrong = options->convolution_error;
        if (options->only && !strstr(bench_case_name(i), options->only)) continue;
        if (wrong && !bench_case_convolves(i)) continue;
        ops_job job = {options, i};
        bench_child child = bench_fork(wrong ? errors : work, &job);
        size_t k;
        json_t *row;
        json_array_foreach(child.answer, k, row) if (!wrong) judge(row, machine);
        if (!child.answer) {
            fprintf(stderr, "bench_ops: %s: %s\n", bench_case_name(i), child.problem);
            bad = 1;
        } else if (!options->json) {
            (wrong ? show_errors : show)(bench_case_name(i), child.answer);
        }
        json_array_append_new(list, json_pack("{s:s, s:o}", "case", bench_case_name(i), "rows",
                                              child.answer ? child.answer : json_array()));
    }
    json_t *result = json_pack("{s:o, s:o, s:{s:i, s:i, s:i}}", "machine", machine, "cases", list, "options", "size",
                               (int)options->config.size, "batch", (int)options->config.batch, "width",
                               (int)options->config.unet_width);
    if (options->json) bench_print(result);
    json_decref(result);
    return bad || fflush(stdout) != 0;
}

/* ---- beside the peer ---- */

static void show_pair(const json_t *row)
{
    printf("%-34s %-17s %11.1f us %11.1f us %8.3f %8.0e %6.0f %%  %s\n", json_string_value(json_object_get(row, "case")),
           json_string_value(json_object_get(row, "pass")), bench_number(row, "ours_seconds") * 1e6,
           bench_number(row, "peer_seconds") * 1e6, bench_number(row, "ratio_median"), bench_number(row, "apart"),
           bench_number(row, "order_share") * 100, json_string_value(json_object_get(row, "peer_fastest")));
    fflush(stdout);
}

/* Every case, forward and with derivatives; the rows, of which `lacks` have no ratio. */
static json_t *compare_all(const bench_options *options, bench_partner *const partners[2], int32_t *lacks)
{
    json_t *rows = json_array();
    for (int32_t i = 0; i < 2 * bench_cases(); i++) {
        const char *name = bench_case_name(i / 2);
        ht_error error = {0};
        if (options->only && !strstr(name, options->only)) continue;
        json_t *row = bench_case_compare(options, partners, i / 2, i % 2, &error);
        if (!row || !isfinite(bench_number(row, "ratio_median"))) {
            fprintf(stderr, "bench_ops: %s: %s\n", name,
                    row ? "no setting of the peer gave the same results; no ratio" : error.message);
            ++*lacks;
        } else if (!options->json) {
            show_pair(row);
        }
        if (row) json_array_append_new(rows, row);
    }
    return rows;
}

static int compare(const bench_options *options)
{
    bench_partner *partners[2] = {NULL, NULL};
    ht_error error = {0};
    int32_t lacks = 0;
    json_t *machine = bench_machine(options->config.threads);
    if (!options->json)
        printf("%-34s %-17s %14s %14s %8s %8s %8s  %s\n", "", "", "ours", "peer", "peer/ours", "apart", "order",
               "fastest setting");
    bool open = bench_case_partners(options, partners, &error) == HT_OK;
    json_t *rows = open ? compare_all(options, partners, &lacks) : json_array();
    if (!open) fprintf(stderr, "bench_ops: %s\n", error.message);
    for (int32_t i = 0; i < 2; i++) bench_partner_close(partners[i]);
    bool none = json_array_size(rows) == 0;
    const char *torch = json_string_value(json_object_get(json_array_get(rows, 0), "torch"));
    json_t *result = json_pack("{s:o, s:s*, s:o, s:{s:i, s:i, s:i, s:i}}", "machine", machine, "torch", torch, "rows", rows,
                               "options", "size", (int)options->config.size, "batch", (int)options->config.batch, "width",
                               (int)options->config.unet_width, "threads", (int)options->config.threads);
    if (options->json && !none) bench_print(result);
    json_decref(result);
    return none || lacks > 0 || fflush(stdout) != 0;
}

int main(int count, char **words)
{
    bench_options options;
    ht_error error = {0};
    if (bench_options_read(count, words, without, "bench/peer_ops.py", &options, &error) != HT_OK) {
        fprintf(stderr, "bench_ops: %s\n", error.message);
        return 2;
    }
    bool any = options.help || !options.only;
    for (int32_t i = 0; !any && i < bench_cases(); i++) any = strstr(bench_case_name(i), options.only) != NULL;
    if (!any) {
        fprintf(stderr, "bench_ops: --only: no case has '%s' in its name; expected part of one; without --only all are named\n",
                options.only);
        return 2;
    }
    if (!options.help) return options.vs_torch ? compare(&options) : run_all(&options);
    bench_options_help(about, without);
    return 0;
}
