/*
 * One operation beside PyTorch's, forward alone or with its derivatives: the peer draws the inputs and writes them with what
 * it computed, ours computes the same from that file and says how far it is from it. Both count the least of many runs;
 * ours includes every change of order between row-major results and what its kernels like.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

static const double tolerance = 1e-4, turn_seconds = 0.2;
enum { RUNS_LEAST = 3, RUNS_MOST = 10000, RESULTS_MOST = 8 };

/* The first two are of values that are no images as well. */
static const char *const settings[] = {"", "--malloc keep", "--layout channels_last", "--malloc keep --layout channels_last"};

typedef struct ops_case {
    const bench_options *options;
    bench_partner *const *partners;
    int32_t index;
    bool derivatives;
    const char *file;
    json_t *question;          /* to the peer, without what changes from one to the next */
} ops_case;

/* ---- ours ---- */

typedef struct recorded {
    ht_var y, cotangent;
    ht_vars inputs, fixed, outputs;
} recorded;

static recorded record(ht_tape *tape, const ops_case *c)
{
    recorded r = {0};
    r.y = bench_case_record(tape, &c->options->config, c->index, &r.inputs, &r.fixed);
    r.outputs = ht_list(r.y);
    if (!c->derivatives) return r;
    r.cotangent = ht_input(tape, "cotangent", ht_var_shape(r.y));
    r.outputs = ht_vars_join(r.outputs, ht_vjp(ht_list(r.y), ht_list(r.cotangent), r.inputs));
    return r;
}

static void set(ht_program *program, const ht_store *file, ht_var input, const char *name, ht_error *error)
{
    int32_t index = ht_store_find(file, name);
    if (index < 0) ht_fail(error, HT_EFORMAT, "the peer's file: no tensor \"%s\"; expected one", name);
    else ht_set(program, input, ht_store_data(file, index), ht_shape_count(ht_store_shape(file, index)));
}

static void set_all(ht_program *program, const ht_store *file, const recorded *r, ht_error *error)
{
    char name[24];
    for (int32_t i = 0; i < r->inputs.count + r->fixed.count; i++) {
        snprintf(name, sizeof name, "in.%d", (int)i);
        set(program, file, i < r->inputs.count ? r->inputs.at[i] : r->fixed.at[i - r->inputs.count], name, error);
    }
    if (ht_ok(r->cotangent)) set(program, file, r->cotangent, "cotangent", error);
}

/* |ours - theirs| / |theirs| of one result; infinity where there is nothing to compare. */
static double apart_from(ht_program *program, const ht_store *file, ht_var y, int32_t output, const char *name)
{
    int64_t count = ht_shape_count(ht_var_shape(y));
    int32_t index = ht_store_find(file, name);
    float *ours = malloc((size_t)count * sizeof *ours);
    double gap = 0, all = 0;
    bool both = index >= 0 && ht_shape_count(ht_store_shape(file, index)) == count && ours;
    if (both && ht_get_at(program, output, ours, count) == HT_OK) {
        const float *theirs = ht_store_data((ht_store *)file, index);
        for (int64_t i = 0; i < count; i++) {
            double a = (double)ours[i], b = (double)theirs[i];
            gap += (a - b) * (a - b);
            all += b * b;
        }
    } else {
        gap = INFINITY;
    }
    free(ours);
    double apart = sqrt(gap) / fmax(sqrt(all), 1e-30);
    return isnan(apart) ? INFINITY : apart; /* a NaN agrees with nothing */
}

static json_t *time_runs(ht_program *program, ht_error *error)
{
    double least = INFINITY, begin = bench_now();
    bench_steps_clear(program);
    for (int32_t i = 0; i < RUNS_LEAST || (i < RUNS_MOST && bench_now() - begin < turn_seconds); i++) {
        double start = bench_now();
        if (ht_run(program) != HT_OK) break;
        least = fmin(least, bench_now() - start);
    }
    const ht_error *finding = ht_program_error(program);
    if (finding->status != HT_OK) {
        ht_fail(error, finding->status, "%s", finding->message);
        return NULL;
    }
    ht_program_facts facts = ht_program_describe(program);
    return json_pack("{s:f, s:f, s:f, s:I}", "seconds", least, "order_share", bench_order_share(program), "flop", facts.flop,
                     "kernels", (json_int_t)facts.instructions);
}

static json_t *measure(ht_program *program, const ht_store *file, const recorded *r, ht_error *error)
{
    set_all(program, file, r, error);
    if (error->status != HT_OK) return NULL;
    (void)ht_run(program);
    double apart = apart_from(program, file, r->y, 0, "out");
    for (int32_t i = 0; i + 1 < r->outputs.count; i++) {
        char name[24];
        snprintf(name, sizeof name, "vjp.%d", (int)i);
        apart = fmax(apart, apart_from(program, file, r->inputs.at[i], i + 1, name));
    }
    json_t *answer = time_runs(program, error);
    if (answer) json_object_set_new(answer, "apart", bench_real(apart));
    return answer;
}

static json_t *work(void *context, ht_error *error)
{
    const ops_case *c = context;
    ht_device *device = ht_device_open(c->options->config.device, c->options->config.threads, error);
    ht_store *file = device ? ht_store_new(device) : NULL;
    ht_tape *tape = device ? ht_tape_new(HT_F32) : NULL;
    json_t *answer = NULL;
    if (device && (!file || !tape)) ht_fail(error, HT_ENOMEM, "no memory for a tape");
    if (error->status == HT_OK && ht_store_load(file, c->file, error) == HT_OK) {
        recorded r = record(tape, c);
        ht_program *program = ht_compile(tape, device, r.outputs, .error = error, .profile = 1,
                                         .convolution = (ht_convolution)c->options->config.convolution);
        if (program) answer = measure(program, file, &r, error);
        ht_program_free(program);
    }
    ht_tape_free(tape);
    (void)ht_store_free(file);
    ht_device_close(device);
    return answer;
}

/* ---- the contest ---- */

static bench_child run_ours(const bench_contest *contest, const char *state)
{
    ops_case c = *(const ops_case *)contest->context;
    c.file = state;
    return bench_fork(work, &c);
}

static bench_child run_peer(const bench_contest *contest, int32_t setting, const char *state, int32_t seed)
{
    const ops_case *c = contest->context;
    const char *words = contest->settings[setting];
    json_object_set_new(c->question, "layout", json_string(strstr(words, "channels_last") ? "channels_last" : "contiguous"));
    json_object_set_new(c->question, "state", json_string(state));
    json_object_set_new(c->question, "seed", json_integer(seed));
    return bench_partner_ask(c->partners[strstr(words, "--malloc keep") != NULL], c->question, c->options->peer_limit);
}

static bool agrees(const json_t *ours, const json_t *answer, json_t *told)
{
    double apart = bench_number(ours, "apart") + bench_number(answer, "apart"); /* by way of the file */
    json_object_set_new(told, "apart", bench_real(apart));
    json_object_set_new(told, "agrees", json_boolean(apart <= tolerance));
    json_object_del(told, "peak_bytes"); /* one process answers for all cases */
    return apart <= tolerance;
}

/* Appends the inputs of a list to the question; whether one of them is an image. */
static bool ask_for(json_t *inputs, ht_vars list)
{
    bool image = false;
    for (int32_t i = 0; i < list.count; i++) {
        ht_shape shape = ht_var_shape(list.at[i]);
        json_t *sizes = json_array();
        for (int32_t k = 0; k < shape.rank; k++) json_array_append_new(sizes, json_integer(shape.dim[k]));
        json_array_append_new(inputs, json_pack("{s:o, s:b}", "shape", sizes, "integer", ht_var_dtype(list.at[i]) == HT_I32));
        image = image || shape.rank == 4;
    }
    return image;
}

/* The question but for setting and state; shapes are those of a recording. */
static json_t *make_question(const ops_case *c, bool *image, ht_error *error)
{
    ht_tape *tape = ht_tape_new(HT_F32);
    json_t *question = tape ? bench_case_question(&c->options->config, c->index) : NULL, *inputs = json_array();
    if (tape) {
        recorded r = record(tape, c);
        *image = ask_for(inputs, r.inputs);
        (void)ask_for(inputs, r.fixed);
        if (ht_tape_error(tape)->status != HT_OK) ht_fail(error, ht_tape_error(tape)->status, "%s", ht_tape_error(tape)->message);
        json_object_set_new(question, "fixed", json_integer(r.fixed.count));
        json_object_set_new(question, "derivatives", json_boolean(c->derivatives));
        json_object_set_new(question, "seconds", json_real(turn_seconds));
    }
    json_object_set_new(question, "inputs", inputs);
    ht_tape_free(tape);
    if (!question) ht_fail(error, HT_ENOMEM, "no memory for a tape");
    return question;
}

ht_status bench_case_partners(const bench_options *options, bench_partner *partners[2], ht_error *error)
{
    for (int32_t keep = 0; keep < 2; keep++) {
        bench_words words = {0};
        bench_words_lend(&words, options->python);
        bench_words_lend(&words, options->peer);
        bench_words_number(&words, "--threads", options->config.threads);
        bench_words_add(&words, "--malloc", keep ? "keep" : "default");
        partners[keep] = bench_partner_open(words.word);
        if (!partners[keep]) return ht_fail(error, HT_EINTERNAL, "%s: the peer cannot be started", options->python);
    }
    return HT_OK;
}

json_t *bench_case_compare(const bench_options *options, bench_partner *const partners[2], int32_t index, bool derivatives,
                           ht_error *error)
{
    ops_case c = {.options = options, .partners = partners, .index = index, .derivatives = derivatives};
    bool image = false;
    json_t *ours = NULL, *result = NULL;
    c.question = make_question(&c, &image, error);
    bench_contest contest = {.options = options, .settings = settings, .count = image ? 4 : 2, .program = options->peer,
                             .ours = run_ours, .peer = run_peer, .agrees = agrees, .context = &c};
    if (error->status == HT_OK) result = bench_contest_hold(&contest, &ours, error);
    if (result) {
        static const char *const without[] = {"memory_ratio", "peak_bytes", "peer_peak_bytes"};
        for (size_t i = 0; i < sizeof without / sizeof without[0]; i++) json_object_del(result, without[i]);
        double seconds = bench_number(result, "ours_seconds");
        json_object_set_new(result, "case", json_string(bench_case_name(index)));
        json_object_set(result, "op", json_object_get(c.question, "op"));
        json_object_set_new(result, "pass", json_string(derivatives ? "with derivatives" : "forward"));
        json_object_set(result, "inputs", json_object_get(c.question, "inputs"));
        json_object_set(result, "flop", json_object_get(ours, "flop"));
        json_object_set(result, "apart", json_object_get(ours, "apart"));
        json_object_set_new(result, "flop_per_second", bench_real(bench_number(ours, "flop") / seconds));
        json_object_set(result, "order_share", json_object_get(ours, "order_share"));
    }
    json_decref(c.question);
    json_decref(ours);
    return result;
}
