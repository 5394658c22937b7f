/*
 * f32 against f64: the same recording in both types at the same numbers (rounded to f32 before either sees them). Value and
 * first derivatives agree to BOUND of the largest magnitude of the array (of a derivative: and of the value over the
 * spread of the inputs, for saturated slopes such as 1 - tanh^2), or as far as NUDGE in the inputs moves them in f64: no
 * kernel can do better than its inputs. Of operands rounded to bf16 the bound is theirs. A draw at which the two take
 * other branches says nothing and is drawn again.
 */
#include <float.h>
#include <math.h>
#include <stdlib.h>

#include <ht/random.h>

#include "suite.h"

/* About 170 roundings of f32, for sums of a few dozen terms and the quotients of norms. */
#define BOUND 1e-5
/* Of operands with 8 bits: each product is off by 2^-7 of itself at most, and a sum of many by less of its own size. */
#define BOUND_BF16 0x1p-7
#define NUDGE 0x1p-18 /* 64 roundings, of the largest input */
#define REDRAWS 6

/* One type's side: outputs are the value, the gradient in each reached input, the branches. */
typedef struct side {
    gradcheck_record record;
    ht_store *fresh;         /* the store before any run: optimisers move theirs */
    ht_program *program;
    ht_vars outputs;
    int32_t gradients;
    double bound;
    double *numbers, *moved[2]; /* the outputs, and what they are when the inputs are nudged, in two ways */
    int64_t *begin; /* where each output starts in numbers; one more for the end */
} side;

static void close_side(side *s)
{
    ht_program_free(s->program);
    gradcheck_release(&s->record);
    ht_store_free(s->fresh);
    free(s->numbers);
    for (int32_t i = 0; i < 2; i++) free(s->moved[i]);
    free(s->begin);
}

static bool open_side(const gradcheck_options *options, const gradcheck_variant *variant, ht_dtype dtype, side *s,
                      ht_error *error)
{
    gradcheck_options own = *options;
    const bool single = dtype == HT_F32;
    if (!single) own.plant = (gradcheck_plant){0};
    *s = (side){.record = gradcheck_recorded(&own, variant, dtype),
                .bound = options->precision == HT_PRECISION_BF16 ? BOUND_BF16 : BOUND};
    gradcheck_record *r = &s->record;
    if (!r->tape || !ht_ok(r->value)) return r->tape ? *error = *ht_tape_error(r->tape), false : false;
    ht_var reached[GRADCHECK_INPUTS];
    for (int32_t k = 0; k < variant->inputs; k++)
        if (r->reached[k]) reached[s->gradients++] = r->in[k];
    ht_var y = ht_cast(r->y, dtype), one = ht_fill(r->tape, 1, HT_SCALAR);
    s->outputs = ht_list(y);
    if (s->gradients > 0)
        s->outputs = ht_vars_join(s->outputs, ht_vjp(ht_list(r->value), ht_list(one),
                                                     ht_vars_new(r->tape, reached, NULL, s->gradients)));
    s->outputs = ht_vars_join(s->outputs, ht_branches(r->value));
    s->program = ht_compile(r->tape, options->device, s->outputs, .error = error,
                            .precision = single ? options->precision : HT_PRECISION_TYPED);
    s->begin = calloc((size_t)s->outputs.count + 1, sizeof *s->begin);
    for (int32_t i = 0; s->begin && i < s->outputs.count; i++)
        s->begin[i + 1] = s->begin[i] + ht_shape_count(ht_var_shape(s->outputs.at[i]));
    s->numbers = s->begin ? calloc((size_t)s->begin[s->outputs.count] + 1, sizeof *s->numbers) : NULL;
    for (int32_t i = 0; s->begin && i < 2; i++)
        s->moved[i] = calloc((size_t)s->begin[s->outputs.count] + 1, sizeof **s->moved);
    s->fresh = ht_store_copy(r->store, dtype, error);
    return s->program && s->numbers && s->moved[0] && s->moved[1] && s->fresh;
}

/* Reads an array of either type into doubles; `scratch` has room for it in f32. */
static void widen(double *numbers, const float *scratch, int64_t count)
{
    for (int64_t i = 0; i < count; i++) numbers[i] = (double)scratch[i];
}

/* `into` receives the outputs; `nudge` is relative to the range of the inputs, its signs are those of a stream. */
static bool run_side(const gradcheck_variant *variant, side *s, uint64_t key, double nudge, uint64_t stream, double *into)
{
    double by = nudge * fmax(fabs(variant->low), fabs(variant->high));
    bool single = ht_tape_dtype(s->record.tape) == HT_F32;
    int64_t most = s->begin[s->outputs.count];
    for (int32_t k = 0; k < variant->inputs; k++) {
        int64_t count = ht_shape_count(variant->shape[k]);
        if (count > most) most = count;
    }
    float *narrow = malloc((size_t)(most + 1) * sizeof *narrow);
    double *wide = malloc((size_t)(most + 1) * sizeof *wide);
    for (int32_t k = 0; narrow && wide && k < variant->inputs; k++) {
        int64_t count = ht_shape_count(variant->shape[k]);
        for (int64_t i = 0; i < count; i++) {
            narrow[i] = (float)(variant->low + (variant->high - variant->low) * gradcheck_unit(key, (uint64_t)k, i));
            wide[i] = (double)narrow[i] + (gradcheck_unit(key, stream + (uint64_t)k, i) < 0.5 ? by : -by);
        }
        ht_set(s->program, s->record.in[k], single ? (const void *)narrow : wide, count);
    }
    bool ran = narrow && wide && ht_store_assign(s->record.store, s->fresh, NULL) == HT_OK && ht_run(s->program) == HT_OK;
    for (int32_t i = 0; ran && i < s->outputs.count; i++) {
        int64_t count = s->begin[i + 1] - s->begin[i];
        ht_get_at(s->program, i, single ? (void *)narrow : into + s->begin[i], count);
        if (single) widen(into + s->begin[i], narrow, count);
    }
    free(narrow);
    free(wide);
    return ran;
}

static bool same_branches(const side *a, const side *b)
{
    int64_t from = a->begin[1 + a->gradients], to = a->begin[a->outputs.count];
    for (int64_t i = from; i < to; i++)
        if (a->numbers[i] != b->numbers[i]) return false;
    return true;
}

static double largest(const side *s, int32_t output)
{
    double most = 0;
    for (int64_t i = s->begin[output]; i < s->begin[output + 1]; i++) most = fmax(most, fabs(s->numbers[i]));
    return most;
}

static void compare(const gradcheck_variant *variant, gradcheck_row *row, const side *single, const side *exact,
                    int32_t output)
{
    double size = largest(exact, output), worst = 0;
    if (output > 0) size += largest(exact, 0) / ((variant->high - variant->low) / 2);
    for (int64_t i = exact->begin[output]; i < exact->begin[output + 1]; i++) {
        double off = fabs(single->numbers[i] - exact->numbers[i]), moved = 0;
        for (int32_t way = 0; way < 2; way++) moved = fmax(moved, fabs(exact->moved[way][i] - exact->numbers[i]));
        double relative = off <= 16 * FLT_MIN ? 0 : off / (size + moved / exact->bound); /* where f32 ends nothing is promised */
        if (!(relative <= worst)) worst = relative;
    }
    if (!(worst <= row->worst)) row->worst = worst;
    double allowed = variant->generated ? GRADCHECK_ILL * exact->bound : exact->bound;
    gradcheck_note(row, worst <= allowed, "\"%s\": order %d in %s against f64 (array %d): apart by %.3g of its size; "
                   "allowed are %.3g", variant->name, output > 0, exact->bound > BOUND ? "bf16" : "f32", (int)output, worst,
                   allowed);
}

void gradcheck_single_run(const gradcheck_options *options, const gradcheck_variant *variant, int32_t draws,
                          gradcheck_row *row)
{
    side single = {0}, exact = {0};
    ht_error error = {0};
    bool both = open_side(options, variant, HT_F32, &single, &error) && open_side(options, variant, HT_F64, &exact, &error);
    bool fits = both && single.outputs.count == exact.outputs.count;
    if (!fits && !(variant->generated && gradcheck_refusal_is_clear(&error)))
        gradcheck_note(row, false, "\"%s\": records in f32 as in f64: %s", variant->name, error.message);
    if (fits && options->precision == HT_PRECISION_BF16) {
        const ht_program_facts facts = ht_program_describe(single.program);
        gradcheck_note(row, facts.products > 0 && facts.bf16 == facts.products, "\"%s\": %d of %d products are on bf16",
                       variant->name, (int)facts.bf16, (int)facts.products);
    }
    for (int32_t d = 0; fits && d < draws; d++) {
        uint64_t key = ht_random_mix(ht_random_key(options->seed, variant->name), (uint64_t)d);
        bool ran = true, same = false;
        for (int32_t i = 0; ran && !same && i <= REDRAWS; i++) {
            ran = run_side(variant, &single, key, 0, 100, single.numbers) &&
                  run_side(variant, &exact, key, NUDGE, 100, exact.moved[0]) &&
                  run_side(variant, &exact, key, NUDGE, 200, exact.moved[1]) &&
                  run_side(variant, &exact, key, 0, 100, exact.numbers);
            same = ran && same_branches(&single, &exact);
            key = ht_random_mix(key, 1);
        }
        if (!ran) gradcheck_note(row, false, "\"%s\": runs in f32 as in f64", variant->name);
        for (int32_t i = 0; same && i <= single.gradients; i++)
            if (i > 0 || options->order == 0) compare(variant, row, &single, &exact, i);
        if (ran && !same) {
            if (row->failed + row->skipped++ == 0)
                snprintf(row->message, sizeof row->message, "\"%s\": skipped: f32 and f64 take other branches at %d draws",
                         variant->name, REDRAWS + 1);
            row->checks++;
        }
    }
    close_side(&single);
    close_side(&exact);
}
