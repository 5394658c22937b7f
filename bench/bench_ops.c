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
    "fraction of the nearer roof (multiply-adds, or bytes of memory; more than 1 of bytes: they stayed in a cache).";
static const char without[] = "--hypergradient --search --vs-torch --peer --peer-limit --states --load-state "
                              "--memory-limit";

typedef enum case_kind { CONV, CONV_UP, NORM, RELU, TANH, POOL, CONCAT, CROSS_ENTROPY, MATMUL } case_kind;

/* channels and filters in widths of the network, 0 for one channel, -1 for an image's; size as a fraction of the image's. */
typedef struct op_case {
    const char *name;
    case_kind kind;
    int32_t channels, filters, part, kernel, stride, pad;
} op_case;

static const op_case cases[] = {
    {"segmenter, first convolution", CONV, -1, 1, 1, 3, 1, 1},
    {"segmenter, level 0", CONV, 1, 1, 1, 3, 1, 1},
    {"segmenter, level 0 after the skip", CONV, 2, 1, 1, 3, 1, 1},
    {"segmenter, level 1", CONV, 2, 2, 2, 3, 1, 1},
    {"segmenter, level 2", CONV, 4, 4, 4, 3, 1, 1},
    {"segmenter, level 3", CONV, 8, 8, 8, 3, 1, 1},
    {"segmenter, level 4", CONV, 16, 16, 16, 3, 1, 1},
    {"segmenter, head", CONV, 1, 0, 1, 1, 1, 0},
    {"segmenter, up to level 0", CONV_UP, 2, 1, 2, 2, 2, 0},
    {"generator, encoder 0, 8x8", CONV, 0, 1, 1, 8, 2, 3},
    {"generator, encoder 1, 4x4", CONV, 1, 2, 2, 4, 2, 1},
    {"generator, encoder 1, 6x6", CONV, 1, 2, 2, 6, 2, 2},
    {"generator, encoder 1, 8x8", CONV, 1, 2, 2, 8, 2, 3},
    {"generator, encoder 2, 8x8", CONV, 2, 4, 4, 8, 2, 3},
    {"generator, encoder 4, 8x8", CONV, 8, 8, 16, 8, 2, 3},
    {"generator, decoder 2, 8x8", CONV_UP, 8, 2, 8, 8, 2, 3},
    {"generator, decoder 0, 8x8", CONV_UP, 2, -1, 2, 8, 2, 3},
    {"discriminator, last but one", CONV, 4, 8, 8, 4, 1, 1},
    {"batch norm", NORM, 1, 1, 1, 0, 0, 0},
    {"ReLU", RELU, 1, 1, 1, 0, 0, 0},
    {"tanh", TANH, 1, 1, 1, 0, 0, 0},
    {"max pooling", POOL, 1, 1, 1, 2, 2, 0},
    {"concat of a skip", CONCAT, 1, 1, 1, 0, 0, 0},
    {"cross-entropy", CROSS_ENTROPY, 0, 0, 1, 0, 0, 0},
    {"matrix product of 1024", MATMUL, 0, 0, 1, 0, 0, 0},
};
enum { CASES = sizeof cases / sizeof cases[0], RUNS_MOST = 100 };

typedef struct ops_job {
    const bench_options *options;
    const op_case *op;
} ops_job;

/* ---- recording ---- */

static int64_t channels_of(const genseg_config *o, int32_t widths)
{
    return widths > 0 ? (int64_t)widths * o->unet_width : widths < 0 ? BENCH_CHANNELS : 1;
}

/* One value that takes derivatives, and what it takes them in. */
static ht_var record(ht_tape *tape, const genseg_config *o, const op_case *c, ht_vars *inputs)
{
    int64_t in = channels_of(o, c->channels), out = channels_of(o, c->filters);
    int64_t size = o->size / c->part > 0 ? o->size / c->part : 1;
    if (c->kind == MATMUL) {
        *inputs = ht_list(ht_input(tape, "a", HT_SHAPE(1024, 1024)), ht_input(tape, "b", HT_SHAPE(1024, 1024)));
        return ht_matmul(inputs->at[0], inputs->at[1]);
    }
    ht_var x = ht_input(tape, "x", HT_SHAPE(o->batch, in, size, size));
    *inputs = ht_list(x);
    ht_axes stride = ht_all(c->stride), pad = ht_all(c->pad);
    switch (c->kind) {
    case CONV:
        *inputs = ht_list(x, ht_input(tape, "w", HT_SHAPE(out, in, c->kernel, c->kernel)));
        return ht_conv(x, inputs->at[1], .stride = stride, .pad = pad);
    case CONV_UP:
        *inputs = ht_list(x, ht_input(tape, "w", HT_SHAPE(in, out, c->kernel, c->kernel)));
        return ht_conv_transpose(x, inputs->at[1], .stride = stride, .pad = pad);
    case NORM:
        *inputs = ht_list(x, ht_input(tape, "gain", HT_SHAPE(in)), ht_input(tape, "bias", HT_SHAPE(in)));
        return ht_batch_norm(x, inputs->at[1], inputs->at[2]);
    case RELU: return ht_relu(x);
    case TANH: return ht_tanh(x);
    case POOL: return ht_max_pool(x, .kernel = ht_all(c->kernel));
    case CONCAT:
        *inputs = ht_list(x, ht_input(tape, "skip", HT_SHAPE(o->batch, in, size, size)));
        return ht_concat(1, *inputs);
    case CROSS_ENTROPY: return ht_sigmoid_cross_entropy(x, ht_input(tape, "mask", HT_SHAPE(o->batch, in, size, size)));
    case MATMUL: break;
    }
    return (ht_var){0};
}

static void fill(ht_program *program, ht_var input, const char *name, ht_error *error)
{
    int64_t count = ht_shape_count(ht_var_shape(input));
    float *numbers = malloc((size_t)count * sizeof *numbers);
    if (!numbers) {
        ht_fail(error, HT_ENOMEM, "no memory for %lld numbers", (long long)count);
        return;
    }
    uint64_t key = ht_random_key(1, name);
    for (int64_t i = 0; i < count; i++) numbers[i] = (float)(ht_random_unit(ht_random_word(key, 0, (uint64_t)i)) - 0.5);
    ht_set(program, input, numbers, count);
    free(numbers);
}

/* ---- running ---- */

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
        ht_vars inputs = {0};
        ht_var y = record(tape, o, job->op, &inputs);
        ht_var cotangent = ht_input(tape, "cotangent", ht_var_shape(y));
        ht_vars outputs = ht_vars_join(ht_list(y), ht_vjp(ht_list(y), ht_list(cotangent), inputs));
        ht_program *program = ht_compile(tape, device, outputs, .error = error, .profile = 1);
        for (int32_t i = 0; program && i < inputs.count; i++) fill(program, inputs.at[i], i ? "second" : "first", error);
        if (program) fill(program, cotangent, "cotangent", error);
        if (program && error->status == HT_OK) rows = run(program, job->options->repeat, error);
        ht_program_free(program);
    } else if (device) {
        ht_fail(error, HT_ENOMEM, "no memory for a tape");
    }
    ht_tape_free(tape);
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
    for (int32_t i = 0; i < CASES; i++) {
        ops_job job = {options, &cases[i]};
        bench_child child = bench_fork(work, &job);
        size_t k;
        json_t *row;
        json_array_foreach(child.answer, k, row) judge(row, machine);
        if (!child.answer) {
            fprintf(stderr, "bench_ops: %s: %s\n", cases[i].name, child.problem);
            bad = 1;
        } else if (!options->json) {
            show(cases[i].name, child.answer);
        }
        json_array_append_new(list, json_pack("{s:s, s:o}", "case", cases[i].name, "rows",
                                              child.answer ? child.answer : json_array()));
    }
    json_t *result = json_pack("{s:o, s:o, s:{s:i, s:i, s:i}}", "machine", machine, "cases", list, "options", "size",
                               (int)options->config.size, "batch", (int)options->config.batch, "width",
                               (int)options->config.unet_width);
    if (options->json) bench_print(result);
    json_decref(result);
    return bad || fflush(stdout) != 0;
}

int main(int count, char **words)
{
    bench_options options;
    ht_error error = {0};
    if (bench_options_read(count, words, without, &options, &error) != HT_OK) {
        fprintf(stderr, "bench_ops: %s\n", error.message);
        return 2;
    }
    if (!options.help) return run_all(&options);
    bench_options_help(about, without);
    return 0;
}
