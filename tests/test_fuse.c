/*
 * Fused groups against one op at a time (check mode fuses nothing): equal bits. Random graphs of pointwise ops over images
 * in both physical orders, over weights and small vectors, with broadcasts, sums and aliases between; then training
 * steps. Sums within groups are compared like all else.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ht/nn.h>
#include <ht/random.h>

#include "kit.h"
#include "plan/plan.h"
#include "tap.h"

enum { VALUES = 96, OUTPUTS = 6, STEPS = 3 };

static ht_device *devices[3]; /* by number of threads */
static int32_t sums_in_groups, sums_alone; /* of the programs on one thread */
static int32_t parts, framed_parts;         /* that groups read of larger values; and in zeros */
static int32_t joined_parts;                /* of concatenations that groups write into the whole */

/* ---- random graphs ---- */

typedef struct graph {
    ht_tape *tape;
    uint64_t seed, drawn;
    ht_shape shape;
    ht_var value[VALUES];
    int32_t count;
} graph;

static int32_t draw(graph *g, int32_t below) { return (int32_t)(ht_random_word(g->seed, 7, g->drawn++) % (uint64_t)below); }

/* Mostly a late value, so that chains become long. */
static ht_var any(graph *g)
{
    const int32_t recent = g->count < 6 ? g->count : 6;
    return g->value[draw(g, 3) ? g->count - 1 - draw(g, recent) : draw(g, g->count)];
}

/* The sum over some axes as a view of the shape: scalars, channels, rows, batches. */
static ht_var spread(graph *g)
{
    ht_shape part = g->shape;
    const int32_t kept = draw(g, 2) ? 2 : draw(g, 1 << part.rank); /* often but the channels, whose sums join groups */
    for (int32_t k = 0; k < part.rank; k++)
        if (!(kept >> k & 1)) part.dim[k] = 1;
    ht_var small = ht_mean_to(any(g), part);
    if (draw(g, 2)) small = ht_add(ht_tanh(small), ht_scale(small, 0.5));
    return ht_broadcast_to(small, g->shape);
}

static ht_var repeated(graph *g) { return ht_add(spread(g), any(g)); }

/* The same numbers in another shape, so that values share memory; a pointwise op there is over another space. */
static ht_var reshaped(graph *g)
{
    const int64_t count = ht_shape_count(g->shape);
    return ht_reshape(ht_scale(ht_reshape(any(g), HT_SHAPE(count)), 0.75), g->shape);
}

/* A block of a value, which may be a view itself, computed with, and zeros around it. */
static ht_var framed(graph *g)
{
    ht_shape start = g->shape, size = g->shape, behind = g->shape;
    for (int32_t k = 0; k < g->shape.rank; k++) {
        start.dim[k] = draw(g, 2) ? 0 : draw(g, (int32_t)g->shape.dim[k]);
        behind.dim[k] = draw(g, 2) ? 0 : draw(g, (int32_t)(g->shape.dim[k] - start.dim[k]));
        size.dim[k] = g->shape.dim[k] - start.dim[k] - behind.dim[k];
    }
    const ht_var part = ht_slice(draw(g, 3) ? any(g) : spread(g), start, size);
    return ht_add(ht_pad(draw(g, 2) ? ht_scale(part, 0.5) : part, start, behind), ht_scale(any(g), 0.5));
}

/* A part that reaches over the seam of two values. */
static ht_var seam(graph *g)
{
    const int32_t axis = draw(g, g->shape.rank);
    ht_shape start = {.rank = g->shape.rank};
    start.dim[axis] = draw(g, (int32_t)g->shape.dim[axis] + 1);
    return ht_scale(ht_slice(ht_concat(axis, ht_list(any(g), any(g))), start, g->shape), 0.9);
}

/* Every result stays within a few units of 0, so that check mode finds no infinity. */
static ht_var next(graph *g)
{
    ht_var a = any(g), b = any(g);
    switch (draw(g, 20)) {
    case 0: return ht_scale(ht_add(a, b), 0.5);
    case 1: return ht_scale(ht_sub(a, b), 0.5);
    case 2: return ht_mul(a, ht_tanh(b));
    case 3: return ht_div(a, ht_offset(ht_square(b), 1));
    case 4: return ht_affine(a, -0.9, 0.1);
    case 5: return ht_leaky_relu(a, 0.2);
    case 6: return ht_abs(a);
    case 7: return ht_sigmoid(a);
    case 8: return ht_safe_sqrt(ht_square(a));
    case 9: return ht_where(ht_greater(a, b), a, ht_scale(b, 0.5));
    case 10: return ht_exp(ht_neg(ht_abs(a)));
    case 11: return ht_where(ht_greater(a, ht_mean(b)), ht_mean(a), b);
    case 12: return ht_pow(ht_offset(ht_square(a), 1), draw(g, 2) ? -0.5 : -0.7);
    case 13: return ht_mul(ht_tanh(ht_mean_to(a, HT_SHAPE(1))), b);
    case 14: return reshaped(g);
    case 15: return ht_mul(ht_slice(a, (ht_shape){.rank = g->shape.rank}, g->shape), ht_cos(b));
    case 16: return framed(g);
    case 17: return seam(g);
    default: return ht_scale(repeated(g), 0.5);
    }
}

static ht_program *random_program(ht_dtype dtype, ht_shape shape, uint64_t seed, int32_t threads, int32_t check)
{
    ht_error error = {0};
    graph g = {.tape = ht_tape_new(dtype), .seed = seed, .shape = shape};
    g.value[g.count++] = ht_input(g.tape, "x", shape);
    g.value[g.count++] = ht_input(g.tape, "y", shape);
    if (shape.rank == 4) /* from a pooling images come channels last */
        g.value[g.count++] = ht_avg_pool(g.value[0], .kernel = ht_all(3), .stride = ht_all(1), .pad = ht_all(1));
    while (g.count < VALUES) {
        ht_var value = next(&g);
        g.value[g.count++] = value;
    }
    ht_var outputs[OUTPUTS];
    for (int32_t i = 0; i < OUTPUTS; i++) outputs[i] = g.value[i == 0 ? VALUES - 1 : 3 + draw(&g, VALUES - 4)];
    ht_program *p = ht_compile(g.tape, devices[threads], ht_list_(outputs, OUTPUTS), .error = &error, .check = check);
    if (!p) tap_ok(0, "compiles: %s", error.message);
    for (uint64_t k = 0; p && k < 2; k++) kit_set(p, k ? "y" : "x", dtype, ht_shape_count(shape), seed + k, -2, 2);
    ht_tape_free(g.tape);
    return p;
}

/* Whether all outputs of both have equal bits after each of two runs. */
static int agree(ht_program *a, ht_program *b, int64_t count, ht_dtype dtype)
{
    const size_t bytes = (size_t)count * ht_dtype_bytes(dtype);
    char *x = malloc(bytes), *y = malloc(bytes);
    int equal = 1;
    for (int32_t run = 0; run < 2 && equal; run++) {
        equal = ht_run(a) == HT_OK && ht_run(b) == HT_OK;
        for (int32_t i = 0; i < OUTPUTS && equal; i++)
            equal = ht_get_at(a, i, x, count) == HT_OK && ht_get_at(b, i, y, count) == HT_OK && memcmp(x, y, bytes) == 0;
    }
    free(x);
    free(y);
    return equal;
}

static void count_sums(const ht_program *p)
{
    for (int32_t s = 0; s < p->steps.count; s++) {
        const hti_step *step = &p->steps.at[s];
        for (int32_t k = 0; step->group && k < step->inputs; k++) {
            const hti_value *value = &p->values.at[step->in[k]];
            const bool whole = value->inside && ht_shape_equal(value->inside->size, value->shape);
            parts += whole;
            framed_parts += value->inside && !whole;
        }
        sums_in_groups += step->group ? step->group->sums : 0;
        sums_alone += step->kind == HTI_STEP_OP && step->op->id == HTI_OP_sum_to;
    }
}

/* Results that steps and groups write and nothing takes. */
static int32_t unread(const ht_program *p)
{
    char *read = calloc(1, (size_t)p->buffers.count + 1);
    int32_t count = 0;
    for (int32_t i = 0; i < p->outputs; i++) read[p->values.at[p->output_values[i]].buffer] = 1;
    for (int32_t s = p->steps.count - 1; s >= 0; s--) { /* what comes next in the same memory was read by then */
        const hti_step *step = &p->steps.at[s];
        const int32_t outputs = step->group ? step->group->outputs : step->out != HTI_NOWHERE;
        for (int32_t k = 0; k < outputs; k++) {
            const hti_value *value = &p->values.at[step->group ? step->group_out[k] : step->out];
            count += !read[value->buffer];
            read[value->buffer] = value->view; /* of a part of a concatenation: others may write there before */
            joined_parts += value->view;
        }
        for (int32_t k = 0; k < step->inputs; k++) read[p->values.at[step->in[k]].buffer] = 1;
    }
    free(read);
    return count;
}

static void test_random(ht_dtype dtype, ht_shape shape, uint64_t seeds)
{
    char text[HT_SHAPE_TEXT];
    int64_t fused = 0, groups = 0, alone = 0, idle = 0;
    uint64_t unequal = 0, threads_differ = 0;
    for (uint64_t seed = 1; seed <= seeds; seed++) {
        ht_program *plain = random_program(dtype, shape, seed, 1, 1), *one = random_program(dtype, shape, seed, 1, 0);
        ht_program *two = random_program(dtype, shape, seed, 2, 0);
        if (plain && one && two) {
            fused += ht_program_describe(one).fused;
            groups += ht_program_describe(one).groups;
            count_sums(one);
            idle += unread(one);
            alone += ht_program_describe(plain).groups;
            unequal += !agree(plain, one, ht_shape_count(shape), dtype);
            threads_differ += !agree(two, one, ht_shape_count(shape), dtype);
            if (ht_program_error(plain)->status != HT_OK) tap_ok(0, "%s", ht_program_error(plain)->message);
        }
        ht_program_free(plain);
        ht_program_free(one);
        ht_program_free(two);
    }
    tap_ok(unequal == 0, "%s %s: %d random graphs have the bits of one op at a time", ht_dtype_name(dtype),
           ht_shape_text(shape, text), (int)seeds);
    tap_ok(threads_differ == 0, "%s %s: and those on two threads", ht_dtype_name(dtype), text);
    tap_ok(idle == 0, "%s %s: %d results are written that nothing reads", ht_dtype_name(dtype), text, (int)idle);
    tap_ok(groups > 0 && fused >= 2 * groups && alone == 0, "%s %s: %d steps in %d groups; none in check mode",
           ht_dtype_name(dtype), text, (int)fused, (int)groups);
}

/* ---- sums within groups ---- */

enum { CHAIN = 10 };

/* A chain of pointwise steps over rows of columns, each result summed over the rows; some are outputs themselves. */
static ht_program *chain_program(ht_dtype dtype, ht_shape shape, uint64_t seed, int32_t threads, int32_t check)
{
    ht_error error = {0};
    graph g = {.tape = ht_tape_new(dtype), .seed = seed, .shape = shape};
    ht_shape columns = shape;
    columns.dim[0] = 1;
    ht_var x = ht_input(g.tape, "x", shape), row = ht_input(g.tape, "y", columns), outputs[CHAIN + 2];
    g.value[g.count++] = x;
    for (int32_t i = 0; i < CHAIN; i++) {
        ht_var a = any(&g), b = draw(&g, 3) ? any(&g) : ht_broadcast_to(row, shape);
        a = draw(&g, 2) ? ht_tanh(ht_add(a, b)) : ht_scale(ht_mul(a, b), 0.7);
        g.value[g.count++] = a;
        outputs[i] = ht_sum_to(a, columns);
    }
    outputs[CHAIN] = ht_sum_to(g.value[draw(&g, g.count)], columns);
    outputs[CHAIN + 1] = ht_mul(outputs[0], outputs[CHAIN - 1]);
    ht_var total = ht_sum(g.value[1 + draw(&g, CHAIN)]); /* what is read by others too is written */
    outputs[CHAIN + 1] = ht_add(outputs[CHAIN + 1], ht_broadcast_to(ht_reshape(total, HT_SHAPE(1, 1)), columns));
    ht_program *p = ht_compile(g.tape, devices[threads], ht_list_(outputs, CHAIN + 2), .error = &error, .check = check);
    if (!p) tap_ok(0, "compiles: %s", error.message);
    ht_tape_free(g.tape);
    return p;
}

static void test_chains(ht_dtype dtype, ht_shape shape)
{
    const int64_t count = ht_shape_count(shape), columns = shape.dim[1];
    const size_t each = ht_dtype_bytes(dtype), bytes = (size_t)(columns * (CHAIN + 2)) * each;
    double *numbers = malloc((size_t)count * sizeof *numbers);
    char *in = malloc((size_t)count * each), *got[3];
    kit_fill(numbers, count, 1, -2, 2);
    for (int64_t i = 0; i < count; i++) {
        if (dtype == HT_F32) ((float *)(void *)in)[i] = (float)numbers[i];
        else ((double *)(void *)in)[i] = numbers[i];
    }
    int32_t differ = 0, before = sums_in_groups;
    for (uint64_t seed = 1; seed <= 8; seed++) {
        for (int32_t k = 0; k < 3; k++) { /* check mode; fused; fused on two threads */
            ht_program *p = chain_program(dtype, shape, seed, k == 2 ? 2 : 1, k == 0);
            got[k] = calloc(1, bytes);
            if (p) {
                ht_set_named(p, "x", in, count);
                ht_set_named(p, "y", in, columns);
                if (k == 1) count_sums(p);
                differ += ht_run(p) != HT_OK;
                for (int32_t i = 0; i < CHAIN + 2; i++)
                    differ += ht_get_at(p, i, got[k] + (size_t)(i * columns) * each, columns) != HT_OK;
            }
            ht_program_free(p);
        }
        differ += memcmp(got[0], got[1], bytes) != 0 || memcmp(got[0], got[2], bytes) != 0;
        for (int32_t k = 0; k < 3; k++) free(got[k]);
    }
    char text[HT_SHAPE_TEXT];
    tap_ok(differ == 0, "%s %s: sums of chains have the bits of sums alone, %d within groups", ht_dtype_name(dtype),
           ht_shape_text(shape, text), (int)(sums_in_groups - before));
    free(numbers);
    free(in);
}

/* ---- values that are made where they are read ---- */

/*
 * A normalisation and its gradient: what it centres is read in three places, and only sums stand between them. Nothing but
 * the two results is written.
 */
static ht_vars normalised(ht_var x)
{
    const ht_shape shape = ht_var_shape(x), part = HT_SHAPE(1, shape.dim[1]);
    ht_var mean = ht_broadcast_to(ht_mean_to(x, part), shape), centred = ht_sub(x, mean);
    ht_var factor = ht_broadcast_to(ht_rsqrt(ht_offset(ht_mean_to(ht_square(centred), part), 1e-3)), shape);
    ht_var y = ht_leaky_relu(ht_mul(centred, factor), 0.2);
    ht_var back = ht_mul(y, ht_where(ht_greater(centred, ht_fill(x.tape, 0, shape)), centred, y));
    return ht_list(y, ht_sub(back, ht_mul(centred, ht_broadcast_to(ht_mean_to(ht_mul(back, centred), part), shape))));
}

/*
 * A difference of two products, read before another product and behind it. One of the two is read there anyway, so that no
 * more is kept if the difference is made again. A tanh, for the product, and the result are written.
 */
static ht_vars apart(ht_var x)
{
    enum { SIDE = 64 };
    double numbers[SIDE * SIDE];
    kit_fill(numbers, SIDE * SIDE, 5, -0.1, 0.1);
    const ht_var w = ht_constant(x.tape, numbers, HT_SHAPE(SIDE, SIDE)), one = ht_matmul(x, w);
    const ht_var two = ht_matmul(x, w, .transpose_b = 1), between = ht_sub(one, two);
    return ht_list(ht_mul(ht_mul(ht_matmul(ht_tanh(between), w), between), one));
}

/* Two values that one group writes side by side, into the whole that a product reads. */
static ht_vars joined(ht_var x)
{
    enum { SIDE = 64 };
    double numbers[2 * SIDE * SIDE];
    kit_fill(numbers, 2 * SIDE * SIDE, 6, -0.1, 0.1);
    const ht_var both = ht_concat(1, ht_list(ht_tanh(x), ht_mul(ht_sin(x), x)));
    return ht_list(ht_matmul(both, ht_constant(x.tape, numbers, HT_SHAPE(2 * SIDE, SIDE))));
}

static ht_program *made(ht_vars (*record)(ht_var x), int32_t threads, int32_t check, const float *in, int64_t count)
{
    ht_error error = {0};
    ht_tape *tape = ht_tape_new(HT_F32);
    ht_vars outputs = record(ht_input(tape, "x", HT_SHAPE(count / 64, 64)));
    ht_program *p = ht_compile(tape, devices[threads], outputs, .error = &error, .check = check);
    ht_tape_free(tape);
    if (!p || ht_set_named(p, "x", in, count) != HT_OK || ht_run(p) != HT_OK) tap_ok(0, "runs: %s", error.message);
    return p;
}

/* Large enough for results that are written past the caches, with a last tile that is not whole. */
static void test_again(const char *name, ht_vars (*record)(ht_var x), int32_t expected)
{
    const int64_t count = 64 * 16411;
    double *numbers = malloc((size_t)count * sizeof *numbers);
    float *in = malloc((size_t)count * sizeof *in);
    float *one = malloc((size_t)count * sizeof *in), *other = malloc((size_t)count * sizeof *in);
    kit_fill(numbers, count, 3, -2, 2);
    for (int64_t i = 0; i < count; i++) in[i] = (float)numbers[i];
    ht_program *plain = made(record, 1, 1, in, count), *fused = made(record, 2, 0, in, count);
    int32_t written = 0, equal = plain && fused;
    for (int32_t k = 0; equal && k < plain->outputs; k++)
        equal = ht_get_at(plain, k, one, count) == HT_OK && ht_get_at(fused, k, other, count) == HT_OK &&
                memcmp(one, other, (size_t)count * sizeof *one) == 0;
    for (int32_t s = 0; fused && s < fused->steps.count; s++)
        for (int32_t k = 0; fused->steps.at[s].group && k < fused->steps.at[s].group->outputs; k++) {
            const hti_value *value = &fused->values.at[fused->steps.at[s].group_out[k]];
            written += ht_shape_count(value->shape) == count;
            joined_parts += value->view;
        }
    tap_ok(equal, "%s, made where it is read: the bits of one op at a time", name);
    tap_ok(written == expected, "%s: groups write %d large values; %d expected", name, (int)written, (int)expected);
    ht_program_free(plain);
    ht_program_free(fused);
    free(numbers);
    free(in);
    free(one);
    free(other);
}

/* ---- training steps ---- */

static ht_var entropy(ht_var logits, ht_var y) { return ht_sigmoid_cross_entropy(logits, y); }

static kit_step step_of(ht_dtype dtype, int32_t threads, int32_t check)
{
    return kit_step_new((kit_step_args){.device = devices[threads], .dtype = dtype, .x = HT_SHAPE(2, 3, 32, 32),
                                        .net = {.width = 12, .peaks = 1, .dropout = 0.3}, .loss = entropy, .steepness = 0.1,
                                        .check = check});
}

static int run_step(const kit_step *step, uint64_t round)
{
    kit_step_set(step, round);
    return ht_run(step->program) == HT_OK;
}

static int stores_agree(const ht_store *a, const ht_store *b, ht_dtype dtype)
{
    int equal = ht_store_count(a) == ht_store_count(b) && ht_store_count(a) > 0;
    for (int32_t i = 0; equal && i < ht_store_count(a); i++)
        equal = memcmp(ht_store_data(a, i), ht_store_data(b, i),
                       (size_t)ht_shape_count(ht_store_shape(a, i)) * ht_dtype_bytes(dtype)) == 0;
    return equal;
}

static void test_training(ht_dtype dtype)
{
    kit_step plain = step_of(dtype, 1, 1), one = step_of(dtype, 1, 0), two = step_of(dtype, 2, 0);
    int ran = plain.program && one.program && two.program;
    for (uint64_t round = 0; ran && round < STEPS; round++)
        ran = run_step(&plain, round) && run_step(&one, round) && run_step(&two, round);
    tap_ok(ran, "%s: %d training steps of second order", ht_dtype_name(dtype), (int)STEPS);
    if (ran) {
        tap_ok(stores_agree(plain.store, one.store, dtype), "%s: weights have the bits of one op at a time",
               ht_dtype_name(dtype));
        tap_ok(stores_agree(two.store, one.store, dtype), "%s: and those on two threads", ht_dtype_name(dtype));
        const ht_program_facts facts = ht_program_describe(one.program), before = ht_program_describe(plain.program);
        tap_ok(facts.instructions == before.instructions + facts.repeated - facts.fused + facts.groups && facts.groups > 0,
               "%s: %d instructions, of %d and %d repeated before %d groups took in %d", ht_dtype_name(dtype),
               (int)facts.instructions, (int)before.instructions, (int)facts.repeated, (int)facts.groups, (int)facts.fused);
        tap_ok(facts.arena_bytes <= before.arena_bytes + before.arena_bytes / 10, "%s: memory stays: %zu bytes, %zu before",
               ht_dtype_name(dtype), facts.arena_bytes, before.arena_bytes);
    }
    kit_step_free(&plain);
    kit_step_free(&one);
    kit_step_free(&two);
}

int main(void)
{
    ht_error error = {0};
    for (int32_t threads = 1; threads <= 2; threads++) devices[threads] = ht_device_open("cpu", threads, &error);
    if (!devices[1] || !devices[2]) return tap_ok(0, "devices: %s", error.message), tap_done();
    for (int32_t k = 0; k < 2; k++) {
        const ht_dtype dtype = k ? HT_F64 : HT_F32;
        test_random(dtype, HT_SHAPE(2, 12, 24, 25), 6);
        test_random(dtype, HT_SHAPE(3, 7, 5, 3), 12);
        test_random(dtype, HT_SHAPE(3, 20, 19, 33), 3);
        test_random(dtype, HT_SHAPE(2, 128, 9, 7), 6);
        test_random(dtype, HT_SHAPE(150, 140), 4);
        test_random(dtype, HT_SHAPE(1333, 60), 3);
        test_random(dtype, HT_SHAPE(2, 3, 4, 5, 6), 8);
        test_random(dtype, HT_SHAPE(1), 4);
        test_chains(dtype, HT_SHAPE(2085, 16));
        test_chains(dtype, HT_SHAPE(900, 64));
        test_chains(dtype, HT_SHAPE(67, 12));
        test_chains(dtype, HT_SHAPE(300, 160));
        test_chains(dtype, HT_SHAPE(90, 520));
        test_training(dtype);
    }
    test_random(HT_F32, HT_SHAPE(2, 16, 48, 48), 4); /* large enough to be made again */
    test_again("what a normalisation centres", normalised, 2);
    test_again("what lies between two products", apart, 2);
    const int32_t before = joined_parts;
    test_again("what is made within a concatenation", joined, 2);
    tap_ok(joined_parts == before + 2, "and that is %d parts of it", (int)(joined_parts - before));
    test_chains(HT_F32, HT_SHAPE(8100, 130)); /* written past the caches, in tiles that are no whole lines of them */
    tap_ok(sums_in_groups > 100 && sums_alone > 100, "%d sums are parts of groups, %d stand alone", (int)sums_in_groups,
           (int)sums_alone);
    tap_ok(parts > 100 && framed_parts > 100, "groups read %d parts of larger values, and %d in zeros", (int)parts,
           (int)framed_parts);
    tap_ok(joined_parts > 20, "groups write %d parts of concatenations into the whole", (int)joined_parts);
    for (int32_t threads = 1; threads <= 2; threads++) ht_device_close(devices[threads]);
    return tap_done();
}
