/*
 * Graphs of ops: bytes name ops, inputs, hostile shapes and attributes. A call is refused in one line, or recorded; what was
 * recorded is well formed, differentiates twice, compiles, and gives equal bits on one thread and on two.
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <ht/ht.h>

#include "fuzz.h"

enum { VALUES = 40, LARGEST = 4096, OUTPUTS = 3, CALLS = 24 };

const char *const fuzz_name = "graph";
const char *const fuzz_words[] = {NULL};

/* The bytes as decisions; zeros behind the end. */
typedef struct choices {
    const unsigned char *at, *end;
} choices;

typedef struct graph {
    choices from;
    ht_tape *tape;
    ht_var value[VALUES], input[4];
    int32_t values, inputs;
} graph;

static int32_t choose(choices *c, int32_t below)
{
    return c->at < c->end ? *c->at++ % below : 0;
}
/* Mostly small sizes, sometimes an absurd one. */
static int64_t size(choices *c)
{
    static const int64_t odd[] = {0, -1, INT64_C(1) << 31, INT64_MAX, INT64_MIN, INT64_C(1) << 62, 4096, 65537};
    const int32_t which = choose(c, 64);
    return which < 8 ? odd[which] : 1 + which % 7;
}
static int32_t small(choices *c) { return choose(c, 12) == 0 ? -1 : choose(c, 5); }
static ht_shape shape(choices *c)
{
    int64_t dim[HT_MAX_RANK + 1];
    const int32_t rank = choose(c, 16) == 0 ? HT_MAX_RANK + 1 : choose(c, 6);
    for (int32_t k = 0; k < rank && k <= HT_MAX_RANK; k++) dim[k] = size(c);
    return ht_shape_of(dim, rank);
}
static ht_axes axes(choices *c)
{
    return choose(c, 3) == 0 ? ht_all(small(c)) : choose(c, 2) ? ht_each(small(c), small(c), small(c)) : (ht_axes){.given = 0};
}
static double number(choices *c)
{
    static const double odd[] = {0, 1, -1, 0.5, 2, 1e-30, 1e30, -0.0};
    return odd[choose(c, 8)];
}
static ht_var value(graph *g) { return g->values ? g->value[choose(&g->from, g->values)] : (ht_var){.tape = g->tape}; }

/* Shapes that are likely to fit: one that is there, an image, a bank of filters. */
static ht_shape likely_shape(graph *g)
{
    choices *c = &g->from;
    switch (choose(c, 4)) {
    case 0: return ht_var_shape(value(g));
    case 1: return HT_SHAPE(choose(c, 3), 1 + choose(c, 4), 3 + choose(c, 6), 3 + choose(c, 6));
    case 2: return HT_SHAPE(1 + choose(c, 4), 1 + choose(c, 4), 1 + choose(c, 4), 1 + choose(c, 4));
    default: return shape(c);
    }
}

static ht_var add_leaf(graph *g)
{
    static const char *const names[] = {"a", "b", "c", "d"};
    choices *c = &g->from;
    if (g->inputs < 4 && choose(c, 4) > 0) {
        ht_var x = ht_input_of(g->tape, names[g->inputs], choose(c, 6) == 0 ? HT_I32 : ht_tape_dtype(g->tape), likely_shape(g));
        if (ht_ok(x)) g->input[g->inputs++] = x;
        return x;
    }
    return ht_fill(g->tape, number(c), shape(c));
}

static ht_var pointwise(graph *g, ht_var x)
{
    switch (choose(&g->from, 14)) {
    case 0: return ht_tanh(x);
    case 1: return ht_exp(x);
    case 2: return ht_square(x);
    case 3: return ht_abs(x);
    case 4: return ht_relu(x);
    case 5: return ht_gelu(x);
    case 6: return ht_pow(x, number(&g->from));
    case 7: return ht_affine(x, number(&g->from), number(&g->from));
    case 8: return ht_clamp(x, number(&g->from), number(&g->from));
    case 9: return ht_cast(x, (ht_dtype)choose(&g->from, 5));
    case 10: return ht_softplus(x);
    case 11: return ht_where(value(g), x, value(g));
    case 12: return ht_maximum(x, value(g));
    default: return ht_div(x, value(g));
    }
}

static ht_var move(graph *g, ht_var x)
{
    choices *c = &g->from;
    switch (choose(c, 14)) {
    case 0: return ht_reshape(x, shape(c));
    case 1: return ht_permute(x, shape(c));
    case 2: return ht_slice(x, shape(c), shape(c));
    case 3: return ht_pad(x, shape(c), shape(c));
    case 4: return ht_concat(small(c), ht_list(x, value(g)));
    case 5: return ht_flip(x, shape(c));
    case 6: return ht_roll(x, size(c), small(c));
    case 7: return ht_tile(x, shape(c));
    case 8: return ht_take(x, value(g), small(c));
    case 9: return ht_put(x, value(g), value(g), small(c));
    case 10: return ht_one_hot(x, small(c));
    case 11: return ht_pad_reflect(x, shape(c), shape(c));
    case 12: return ht_slice_by(x, shape(c), shape(c), shape(c));
    default: return ht_broadcast_to(x, shape(c));
    }
}

static ht_var reduce(graph *g, ht_var x)
{
    choices *c = &g->from;
    switch (choose(c, 8)) {
    case 0: return ht_sum(x);
    case 1: return ht_mean(x);
    case 2: return ht_sum_to(x, shape(c));
    case 3: return ht_argmax(x, small(c));
    case 4: return ht_max_along(x, small(c));
    case 5: return ht_logsumexp(x, small(c));
    case 6: return ht_softmax(x, small(c));
    default: return ht_layer_norm(x, .axes = small(c), .eps = number(c));
    }
}

static ht_var spatial(graph *g, ht_var x)
{
    choices *c = &g->from;
    switch (choose(c, 10)) {
    case 0: return ht_conv(x, value(g), .stride = axes(c), .pad = axes(c), .dilation = axes(c), .groups = small(c));
    case 1: return ht_conv_transpose(x, value(g), .stride = axes(c), .pad = axes(c), .output_pad = axes(c), .groups = small(c));
    case 2: return ht_max_pool(x, .kernel = axes(c), .stride = axes(c), .pad = axes(c));
    case 3: return ht_avg_pool(x, .kernel = axes(c), .stride = axes(c), .pad = axes(c), .exclude_pad = small(c));
    case 4: return ht_resize(x, shape(c), .linear = small(c), .align_corners = small(c));
    case 5: return ht_adaptive_avg_pool(x, shape(c));
    case 6: return ht_batch_norm(x);
    case 7: return ht_group_norm(x, .groups = small(c));
    case 8: return ht_grid_sample(x, value(g));
    default: return ht_matmul(x, value(g), .transpose_a = small(c), .transpose_b = small(c));
    }
}

/* One call. An error would stick to the tape, so the last good tape cannot go on: the caller ends there. */
static ht_var call(graph *g)
{
    switch (choose(&g->from, 7)) {
    case 0: return add_leaf(g);
    case 1: return pointwise(g, value(g));
    case 2: return move(g, value(g));
    case 3: return reduce(g, value(g));
    case 4: return spatial(g, value(g));
    case 5: return ht_mul(value(g), value(g));
    default: return ht_add(value(g), value(g));
    }
}

/* Everything from the same bytes once more, so that a refusal's tape is followed by one that stops before it. */
static bool record(graph *g, const unsigned char *bytes, size_t count, ht_dtype dtype, int32_t calls)
{
    *g = (graph){.from = {bytes, bytes + count}, .tape = ht_tape_new(dtype)};
    (void)choose(&g->from, 2); /* the number type */
    for (int32_t i = 0; i < calls && g->values < VALUES && g->from.at < g->from.end; i++) {
        ht_var x = g->values < 2 ? add_leaf(g) : call(g);
        if (!ht_ok(x)) return false;
        g->value[g->values++] = x;
    }
    return true;
}

static bool small_enough(const graph *g)
{
    for (int32_t i = 0; i < g->values; i++)
        if (ht_shape_count(ht_var_shape(g->value[i])) > LARGEST) return false;
    return true;
}

static void set_inputs(ht_program *program, const graph *g)
{
    static const char *const names[] = {"a", "b", "c", "d"};
    static double wide[LARGEST];
    static float narrow[LARGEST];
    static int32_t whole[LARGEST];
    for (int32_t i = 0; i < g->inputs; i++) {
        const int64_t count = ht_shape_count(ht_var_shape(g->input[i]));
        for (int64_t k = 0; k < count; k++) {
            wide[k] = (double)((k * 7 + i) % 11) / 4 - 1;
            narrow[k] = (float)wide[k];
            whole[k] = (int32_t)(k % 2);
        }
        const ht_dtype dtype = ht_var_dtype(g->input[i]);
        if (ht_has_input(program, names[i]))
            ht_set_named(program, names[i],
                         dtype == HT_F64 ? (void *)wide : dtype == HT_F32 ? (void *)narrow : (void *)whole, count);
    }
}

/* The bits of the outputs on so many threads; their number of bytes, or -1 and `error`. */
static int64_t run(const graph *g, ht_vars outputs, int32_t threads, unsigned char *bits, ht_error *error)
{
    ht_device *device = ht_device_open("cpu", threads, error);
    ht_program *program = device ? ht_compile(g->tape, device, outputs, .error = error) : NULL;
    int64_t bytes = 0;
    if (program) {
        set_inputs(program, g);
        ht_status status = ht_run(program);
        for (int32_t i = 0; i < outputs.count && status == HT_OK; i++) {
            const int64_t count = ht_shape_count(ht_var_shape(outputs.at[i]));
            status = ht_get_at(program, i, bits + bytes, count);
            bytes += count * (int64_t)ht_dtype_bytes(ht_var_dtype(outputs.at[i]));
        }
        if (status != HT_OK) *error = *ht_program_error(program);
    }
    ht_program_free(program);
    ht_device_close(device);
    return error->status == HT_OK ? bytes : -1;
}

/* The last real value, its gradient, and the gradient of that, as far as an input reaches. */
static ht_vars outputs_of(graph *g)
{
    ht_var outputs[OUTPUTS];
    int32_t count = 0;
    ht_var last = {.tape = g->tape};
    for (int32_t i = 0; i < g->values; i++)
        if (ht_var_dtype(g->value[i]) == ht_tape_dtype(g->tape)) last = g->value[i];
    if (!ht_ok(last)) last = g->value[g->values - 1];
    outputs[count++] = last;
    const bool real = ht_var_dtype(last) != HT_I32;
    for (int32_t i = 0; real && i < g->inputs && count < OUTPUTS; i++) {
        if (!ht_reaches(last, g->input[i], NULL, 0)) continue;
        ht_var slope = ht_grad(ht_sum(ht_sin(last)), ht_list(g->input[i])).at[0];
        outputs[count++] = slope;
        if (count < OUTPUTS && ht_reaches(slope, g->input[i], NULL, 0))
            outputs[count++] = ht_grad(ht_sum(ht_square(slope)), ht_list(g->input[i])).at[0];
    }
    return ht_vars_new(g->tape, outputs, NULL, count);
}

static void check_runs(graph *g, fuzz_outcome *outcome)
{
    static unsigned char one[OUTPUTS * LARGEST * 8], two[OUTPUTS * LARGEST * 8];
    ht_error error = {0};
    ht_vars outputs = outputs_of(g);
    if (ht_tape_error(g->tape)->status != HT_OK) {
        fuzz_refused(ht_tape_error(g->tape), outcome);
        fuzz_break(outcome, "what was recorded differentiates");
        return;
    }
    if (ht_verify(g->tape, &error) != HT_OK) fuzz_break(outcome, "a tape is well formed");
    const int64_t bytes = run(g, outputs, 1, one, &error);
    if (bytes < 0) {
        fuzz_refused(&error, outcome);
        return;
    }
    if (run(g, outputs, 2, two, &error) != bytes || memcmp(one, two, (size_t)bytes) != 0)
        fuzz_break(outcome, "one thread and two give equal bits");
}

int32_t fuzz_seed(int32_t seed, unsigned char *bytes)
{
    if (seed > 40) return -1;
    for (int32_t i = 0; i < 60 + 4 * seed; i++) bytes[i] = (unsigned char)(ht_random_word(9, (uint64_t)seed, (uint64_t)i) >> 9);
    return 60 + 4 * seed;
}

void fuzz_one(const unsigned char *bytes, size_t count, fuzz_outcome *outcome)
{
    graph g;
    const ht_dtype dtype = count && bytes[0] % 2 ? HT_F32 : HT_F64;
    if (!record(&g, bytes, count, dtype, CALLS)) {
        const int32_t good = g.values;
        fuzz_refused(ht_tape_error(g.tape), outcome);
        ht_tape_free(g.tape);
        if (!record(&g, bytes, count, dtype, good)) fuzz_break(outcome, "calls that were good are good again");
    }
    for (int32_t i = 0; i < g.values; i++) outcome->kind = fuzz_mix(outcome->kind, (uint64_t)ht_var_shape(g.value[i]).rank);
    if (g.values > 0 && ht_tape_error(g.tape)->status == HT_OK && small_enough(&g)) check_runs(&g, outcome);
    ht_tape_free(g.tape);
}
