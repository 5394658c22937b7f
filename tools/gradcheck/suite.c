/* Runs the suite: every subject, every variant, as many draws as its weight asks for. Prints nothing. */
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <ht/random.h>

#include "suite.h"
#include "tape/tape_internal.h"

/* Checks of one input and draw: 3 oracles of order 1, 4 of each higher one. */
#define CHECKS_OF_DRAW 11
#define REDRAWS 3

double gradcheck_unit(uint64_t key, uint64_t stream, int64_t i)
{
    return ht_random_unit(ht_random_word(key, stream, (uint64_t)i));
}

void gradcheck_note(gradcheck_row *row, bool good, const char *format, ...)
{
    row->checks++;
    if (good) return;
    if (row->failed++ > 0) return;
    va_list list;
    va_start(list, format);
    vsnprintf(row->message, sizeof row->message, format, list);
    va_end(list);
}

/* ---- one variant ---- */

gradcheck_record gradcheck_recorded(const gradcheck_options *options, const gradcheck_variant *variant, ht_dtype dtype)
{
    gradcheck_record r = {.tape = ht_tape_new(dtype), .store = ht_store_new(options->device)};
    char name[16];
    if (!r.tape || !r.store) return r;
    if (options->plant.op)
        hti_tape_plant(r.tape, options->plant.op->id, options->plant.input, 1 + options->plant.relative);
    for (int32_t k = 0; k < variant->inputs; k++) {
        snprintf(name, sizeof name, "x%d", (int)k);
        r.in[k] = ht_input(r.tape, name, variant->shape[k]);
    }
    r.y = variant->record(r.tape, r.store, r.in, variant->context);
    if (!ht_ok(r.y)) return r;
    int64_t count = ht_shape_count(ht_var_shape(r.y));
    double *numbers = malloc((size_t)(count + 1) * sizeof *numbers);
    for (int64_t i = 0; numbers && i < count; i++) numbers[i] = 2 * gradcheck_unit(options->seed, 99, i) - 1;
    if (numbers) r.value = ht_sum(ht_mul(ht_cast(r.y, dtype), ht_constant(r.tape, numbers, ht_var_shape(r.y))));
    free(numbers);
    for (int32_t k = 0; k < variant->inputs; k++) r.reached[k] = ht_reaches(r.value, r.in[k], NULL, 0);
    return r;
}

void gradcheck_release(gradcheck_record *record)
{
    ht_tape_free(record->tape);
    ht_store_free(record->store);
}

/* Sets the inputs that are there to random numbers and runs. */
static bool run_at_random(const gradcheck_options *options, const gradcheck_variant *variant, ht_program *program)
{
    char name[16];
    for (int32_t k = 0; k < variant->inputs; k++) {
        int64_t count = ht_shape_count(variant->shape[k]);
        double *numbers = malloc((size_t)(count + 1) * sizeof *numbers);
        if (!numbers) return false;
        for (int64_t i = 0; i < count; i++)
            numbers[i] = variant->low + (variant->high - variant->low) * gradcheck_unit(options->seed, (uint64_t)k, i);
        snprintf(name, sizeof name, "x%d", (int)k);
        ht_set_named(program, name, numbers, count);
        free(numbers);
    }
    return ht_run(program) == HT_OK;
}

/* Largest |a - b| of two outputs of equal count over the largest |b|, or over 1 if b is zero. */
static double apart(ht_program *program, int32_t a, int32_t b, int64_t count)
{
    double *first = malloc((size_t)(count + 1) * sizeof *first), *second = malloc((size_t)(count + 1) * sizeof *second);
    double off = 0, size = 0;
    if (!first || !second || ht_get_at(program, a, first, count) != HT_OK || ht_get_at(program, b, second, count) != HT_OK)
        off = INFINITY;
    for (int64_t i = 0; isfinite(off) && i < count; i++) {
        size = fmax(size, fabs(second[i]));
        if (!(fabs(first[i] - second[i]) <= off)) off = fabs(first[i] - second[i]);
    }
    free(first);
    free(second);
    return off / (size > 0 ? size : 1);
}

/* Two values of one shape that must be equal within `allowed`. */
static void check_equal(const gradcheck_options *options, const gradcheck_variant *variant, gradcheck_row *row, ht_var a,
                        ht_var b, double allowed, const char *what)
{
    ht_error error = {0};
    double off = INFINITY;
    ht_program *program = ht_compile(a.tape, options->device, ht_list(a, b), .error = &error);
    if (program && run_at_random(options, variant, program)) off = apart(program, 0, 1, ht_shape_count(ht_var_shape(a)));
    else if (program) error = *ht_program_error(program);
    gradcheck_note(row, off <= allowed, "\"%s\": %s: apart by %.3g; allowed are %.3g. %s", variant->name, what, off, allowed,
                   error.message);
    ht_program_free(program);
}

/* An input that is not reached has derivative zero, in both modes. */
static void check_zero(const gradcheck_options *options, const gradcheck_variant *variant, gradcheck_row *row,
                       const gradcheck_record *r, int32_t k)
{
    ht_var x = r->in[k], one = ht_fill(r->tape, 1, HT_SCALAR);
    ht_vars pulled = ht_vjp(ht_list(r->value), ht_list(one), ht_list(x));
    ht_vars pushed = ht_jvp(ht_list(r->value), ht_list(x), ht_list(ht_fill(r->tape, 1, ht_var_shape(x))));
    if (pulled.count < 1 || pushed.count < 1) {
        gradcheck_note(row, false, "\"%s\": %s", variant->name, ht_tape_error(r->tape)->message);
        return;
    }
    check_equal(options, variant, row, pulled.at[0], ht_fill(r->tape, 0, ht_var_shape(x)), 0, "a derivative that is zero");
    check_equal(options, variant, row, pushed.at[0], ht_fill(r->tape, 0, HT_SCALAR), 0, "a derivative that is zero");
}

static void check_derivatives(const gradcheck_options *options, const gradcheck_variant *variant, int32_t draws,
                              gradcheck_row *row, const gradcheck_record *r)
{
    ht_var reached[GRADCHECK_INPUTS];
    int32_t count = 0;
    for (int32_t k = 0; k < variant->inputs; k++)
        if (r->reached[k]) reached[count++] = r->in[k];
    if (count == 0) return;
    int32_t from = options->order ? options->order : 1, to = options->order ? options->order : GRADCHECK_ORDERS;
    uint64_t seed = ht_random_key(options->seed, variant->name);
    double usual = variant->generated ? GRADCHECK_ILL * GRADCHECK_TOLERANCE : GRADCHECK_TOLERANCE;
    double tolerance = variant->tolerance > 0 ? variant->tolerance : usual;
    ht_gradcheck_result found = {.skipped = 1};
    /* a draw at which no difference in f64 can be believed, as next to a kink, says nothing: others are drawn */
    for (int32_t i = 0; i <= REDRAWS && found.status == HT_OK && found.failed == 0 && found.skipped > 0; i++, seed++)
        found = ht_gradcheck(r->value, ht_vars_new(r->tape, reached, NULL, count), options->device, .from = from,
                             .orders = to, .draws = draws, .low = variant->low, .high = variant->high,
                             .tolerance = tolerance, .seed = seed);
    if (found.status != HT_OK) gradcheck_note(row, false, "\"%s\": %s", variant->name, found.message);
    bool first = (found.failed > 0 && row->failed == 0) || (found.skipped > 0 && row->failed + row->skipped == 0);
    if (first) snprintf(row->message, sizeof row->message, "\"%s\": %s", variant->name, found.message);
    row->checks += found.checks;
    row->failed += found.failed;
    row->skipped += found.skipped;
    if (!(found.worst <= row->worst)) row->worst = found.worst;
}

/* Indices that a sample brings along may lie outside of a generated axis: then the first run says so. */
static bool refused_by_run(const gradcheck_options *options, const gradcheck_variant *variant)
{
    gradcheck_record r = gradcheck_recorded(options, variant, HT_F64);
    ht_program *program = r.tape && ht_ok(r.y) ? ht_compile(r.tape, options->device, ht_list(r.y)) : NULL;
    bool refused = program && !run_at_random(options, variant, program) && gradcheck_refusal_is_clear(ht_program_error(program));
    ht_program_free(program);
    gradcheck_release(&r);
    return refused;
}

void gradcheck_variant_run(const gradcheck_options *options, const gradcheck_variant *variant, int32_t draws,
                           gradcheck_row *row)
{
    gradcheck_record r = gradcheck_recorded(options, variant, HT_F64);
    ht_error error = {0};
    const ht_error *recorded = r.tape ? ht_tape_error(r.tape) : NULL;
    if (!r.tape || !ht_ok(r.value) || ht_verify(r.tape, &error) != HT_OK) {
        /* one that has no value at this size, or whose own constants fit one shape only */
        bool clear = variant->generated && recorded && gradcheck_refusal_is_clear(recorded);
        gradcheck_note(row, clear, "\"%s\": %s%s", variant->name, recorded ? recorded->message : "", error.message);
        gradcheck_release(&r);
        return;
    }
    for (int32_t k = 0; k < variant->inputs; k++)
        if (!r.reached[k] && options->order <= 1) check_zero(options, variant, row, &r, k);
    check_derivatives(options, variant, draws, row, &r);
    gradcheck_release(&r);
    gradcheck_oracles_run(options, variant, draws, row);
}

/* ---- all of them ---- */

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int32_t draws_for(const gradcheck_options *options, double weight, const gradcheck_variants *list)
{
    double inputs = 0, effort = options->effort > 0 ? options->effort : 1;
    for (int32_t i = 0; i < list->count; i++) inputs += list->at[i].inputs;
    double draws = ceil(effort * weight / (CHECKS_OF_DRAW * fmax(inputs, 1)));
    return draws < 1 ? 1 : draws > 1000 ? 1000 : (int32_t)draws;
}

/* "layer norm, two axes" is a sample of the subject layer_norm. */
static bool is_of(const hti_sample *sample, const char *name)
{
    const char *c = sample->name;
    for (; *c && *c != ','; c++, name++)
        if (*name != (*c == ' ' ? '_' : *c)) return false;
    return *name == 0;
}

/* Appends the compositions of a name; returns how many checks they ask for. */
static int32_t add_composites(gradcheck_variants *list, const char *name)
{
    int32_t weight = 0;
    for (int32_t i = 0; i < gradcheck_composite_count; i++) {
        const gradcheck_composite *c = &gradcheck_composites[i];
        if (strcmp(c->name, name) != 0) continue;
        gradcheck_variant v = {.inputs = c->inputs, .low = c->low, .high = c->high, .record = c->record};
        weight = (int32_t)c->weight;
        snprintf(v.name, sizeof v.name, "composition %d", (int)list->count + 1);
        if (v.low == 0 && v.high == 0) v.low = -1, v.high = 1;
        for (int32_t k = 0; k < c->inputs; k++) v.shape[k] = c->shape[k];
        gradcheck_add(list, v);
        gradcheck_add_sizes(list, v);
    }
    for (int32_t i = 0; i < gradcheck_compositions.sample_count; i++) {
        if (!is_of(&gradcheck_compositions.samples[i], name)) continue;
        gradcheck_add(list, gradcheck_variant_of(&gradcheck_compositions.samples[i]));
        gradcheck_add_sizes(list, gradcheck_variant_of(&gradcheck_compositions.samples[i]));
        if (weight < GRADCHECK_HEAVY) weight = GRADCHECK_HEAVY;
    }
    return weight;
}

static int32_t weight_of(hti_op_kind kind)
{
    if (kind == HTI_CONSTANT) return 0;
    return kind == HTI_POINTWISE ? GRADCHECK_LIGHT : kind == HTI_MULTILINEAR ? GRADCHECK_HEAVY : GRADCHECK_MIDDLE;
}

/* One subject: an op, the compositions of its name, or both. */
static bool run_subject(gradcheck_options options, gradcheck_report *report, const char *name, const hti_op *op)
{
    double begin = now();
    gradcheck_row *row = &report->row[report->count++];
    gradcheck_variants list = {0};
    int32_t weight = op ? weight_of(op->kind) : 0;
    snprintf(row->name, sizeof row->name, "%s", name);
    row->op = op;
    options.seed = ht_random_key(options.seed, name); /* its own: alone it gives the same numbers as with all the others */
    if (op) {
        gradcheck_note(row, op->sample_count > 0, "the op has no sample; expected at least one in its descriptor");
        if (options.dtype == HT_F64) gradcheck_rejects_run(op, row);
        gradcheck_variants_of(op, &list);
    }
    int32_t added = add_composites(&list, name);
    row->pointwise = op ? op->kind == HTI_POINTWISE : added == GRADCHECK_LIGHT;
    int32_t draws = draws_for(&options, added > weight ? added : weight, &list);
    for (int32_t i = 0; i < list.count; i++) {
        if (list.at[i].generated && refused_by_run(&options, &list.at[i])) gradcheck_note(row, true, "clear words");
        else if (options.dtype == HT_F32) gradcheck_single_run(&options, &list.at[i], draws, row);
        else gradcheck_variant_run(&options, &list.at[i], draws, row);
    }
    free(list.at);
    row->seconds = now() - begin;
    return !list.short_of_memory;
}

/* The name of subject i, in order: ops, compositions, samples of compositions; "" for an op without inputs. */
static const char *subject_name(int32_t i, char text[64])
{
    text[0] = 0;
    if (i < HTI_OPS) return hti_ops[i]->kind == HTI_LEAF ? text : hti_ops[i]->name;
    if ((i -= HTI_OPS) < gradcheck_composite_count) return gradcheck_composites[i].name;
    const char *name = gradcheck_compositions.samples[i - gradcheck_composite_count].name;
    int32_t k = 0;
    for (; name[k] && name[k] != ',' && k < 63; k++) text[k] = name[k] == ' ' ? '_' : name[k];
    text[k] = 0;
    return text;
}

static int32_t subjects(void) { return HTI_OPS + gradcheck_composite_count + gradcheck_compositions.sample_count; }

static bool named_before(int32_t i, const char *name)
{
    char text[64];
    for (int32_t k = 0; k < i; k++)
        if (strcmp(subject_name(k, text), name) == 0) return true;
    return false;
}

bool gradcheck_known(const char *name)
{
    return *name && (strcmp(name, gradcheck_compositions.name) == 0 || named_before(subjects(), name));
}

bool gradcheck_run(const gradcheck_options *options, gradcheck_report *report)
{
    double begin = now();
    char text[64];
    bool all = true;
    *report = (gradcheck_report){.row = calloc((size_t)subjects() + 1, sizeof *report->row)};
    if (!report->row) return false;
    for (int32_t i = 0; i < subjects() && all; i++) {
        const char *name = subject_name(i, text);
        if (!*name || named_before(i, name) || (options->only && strcmp(options->only, name) != 0)) continue;
        all = run_subject(*options, report, name, i < HTI_OPS ? hti_ops[i] : NULL);
    }
    if (options->dtype == HT_F64 && (!options->only || strcmp(options->only, gradcheck_compositions.name) == 0)) {
        gradcheck_row *row = &report->row[report->count++];
        *row = (gradcheck_row){.op = &gradcheck_compositions};
        snprintf(row->name, sizeof row->name, "%s", gradcheck_compositions.name);
        gradcheck_rejects_run(&gradcheck_compositions, row);
    }
    for (int32_t i = 0; i < report->count; i++) {
        report->checks += report->row[i].checks;
        report->failed += report->row[i].failed;
        report->skipped += report->row[i].skipped;
    }
    report->seconds = now() - begin;
    return all;
}
