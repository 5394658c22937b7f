/*
 * Programs from the inside: no two values that live together share memory, images stay channels last, weights are packed
 * once, and the order of the memory is never seen from outside. What a run does to stores is in test_program.c.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ht/nn.h>

#include "kit.h"
#include "plan/plan.h"
#include "tap.h"

static ht_device *device;

/* ---- layout: lifetimes are found anew from what the steps read and write, not taken from the plan ---- */

typedef struct span {
    int32_t first, last;
} span;

static void touch(span *life, int32_t buffer, int32_t step)
{
    if (step < life[buffer].first) life[buffer].first = step;
    if (step > life[buffer].last) life[buffer].last = step;
}

static span *lives_of(const ht_program *p)
{
    span *life = malloc((size_t)(p->buffers.count + 1) * sizeof *life);
    for (int32_t i = 0; i < p->buffers.count; i++) life[i] = (span){INT32_MAX, -1};
    for (int32_t s = 0; s < p->steps.count; s++) {
        const hti_step *step = &p->steps.at[s];
        for (int32_t k = 0; k < step->inputs; k++)
            if (!hti_reads_packed(step, k)) touch(life, p->values.at[step->in[k]].buffer, s);
        if (step->out != HTI_NOWHERE) touch(life, p->values.at[step->out].buffer, s);
        for (int32_t k = 0; step->group && k < step->group->outputs; k++)
            touch(life, p->values.at[step->group_out[k]].buffer, s);
        for (int32_t k = 0; step->group && k < step->group->sums; k++) {
            touch(life, p->values.at[step->sums[k].value].buffer, s);
            if (step->sums[k].scratch != HTI_NOWHERE) touch(life, step->sums[k].scratch, s);
        }
        if (step->scratch != HTI_NOWHERE) touch(life, step->scratch, s);
        if (step->packed != HTI_NOWHERE) touch(life, step->packed, s);
        for (int32_t k = 0; k < HTI_MAX_PACKED; k++)
            if (step->packed_for[k] != HTI_NOWHERE) touch(life, step->packed_for[k], s);
    }
    for (int32_t i = 0; i < p->outputs; i++) touch(life, p->values.at[p->output_values[i]].buffer, p->steps.count);
    for (int32_t i = 0; i < p->commits.count; i++) touch(life, p->values.at[p->commits.at[i].value].buffer, p->steps.count);
    return life;
}

/* Values are written before they are read: the first step that touches a buffer of the arena writes it. */
static int written_first(const ht_program *p, const span *life)
{
    for (int32_t s = 0; s < p->steps.count; s++) {
        const hti_step *step = &p->steps.at[s];
        for (int32_t k = 0; k < step->inputs; k++) {
            int32_t buffer = p->values.at[step->in[k]].buffer;
            if (!hti_reads_packed(step, k) && !p->buffers.at[buffer].fixed && life[buffer].first == s) return 0;
        }
    }
    return 1;
}

static void check_layout(const ht_program *p, const char *name)
{
    span *life = lives_of(p);
    int64_t pairs = 0, overlaps = 0, crooked = 0, outside = 0, reused = 0;
    for (int32_t i = 0; i < p->buffers.count; i++) {
        const hti_buffer *a = &p->buffers.at[i];
        if (a->fixed) {
            crooked += (uintptr_t)a->fixed % 64 != 0;
            continue;
        }
        crooked += a->offset % 64 != 0;
        outside += a->offset + a->bytes > p->arena_bytes;
        for (int32_t k = i + 1; k < p->buffers.count; k++) {
            const hti_buffer *b = &p->buffers.at[k];
            if (b->fixed || a->bytes == 0 || b->bytes == 0 || life[i].last < 0 || life[k].last < 0) continue;
            int apart = a->offset + a->bytes <= b->offset || b->offset + b->bytes <= a->offset;
            if (life[i].last < life[k].first || life[k].last < life[i].first) {
                reused += !apart;
                continue;
            }
            pairs++;
            overlaps += !apart;
        }
    }
    tap_ok(overlaps == 0 && pairs > 0, "%s: %lld pairs of buffers live together, %lld overlap", name, (long long)pairs,
           (long long)overlaps);
    tap_ok(crooked == 0 && (uintptr_t)p->arena % 64 == 0, "%s: everything begins at a multiple of 64 bytes", name);
    tap_ok(outside == 0 && reused > 0 && p->facts.arena_bytes < p->facts.value_bytes,
           "%s: memory is used again: %zu bytes for %zu", name, p->facts.arena_bytes, p->facts.value_bytes);
    tap_ok(written_first(p, life), "%s: nothing is read before it is written", name);
    free(life);
}

static int32_t count_steps(const ht_program *p, hti_step_kind kind)
{
    int32_t count = 0;
    for (int32_t s = 0; s < p->steps.count; s++) count += p->steps.at[s].kind == kind;
    return count;
}

static ht_program *compile(ht_tape *tape, ht_vars outputs)
{
    ht_error error = {0};
    ht_program *program = ht_compile(tape, device, outputs, .error = &error);
    if (!program) tap_ok(0, "compiles: %s", error.message);
    ht_tape_free(tape);
    return program;
}

/* A training step; with `second`, of a loss that holds a gradient's norm. */
static void test_training(ht_dtype dtype, int second)
{
    char name[48];
    snprintf(name, sizeof name, "%s of %s", second ? "second order" : "training step", ht_dtype_name(dtype));
    ht_store *store = ht_store_new(device), *state = ht_store_new(device);
    ht_tape *tape = ht_tape_new(dtype);
    nn_scope s = nn_open(tape, store, .seed = 3, .step = nn_count(tape, state, "round"));
    ht_var x = ht_input(tape, "x", HT_SHAPE(2, 3, 16, 16)), t = ht_input(tape, "t", HT_SHAPE(2, 1, 16, 16));
    kit_net net = {.width = 8, .peaks = 1, .dropout = 0.25};
    ht_var loss = ht_sigmoid_cross_entropy(kit_logits(s, x, net), t);
    ht_vars w = nn_params(s), g = ht_grad(loss, w);
    if (second) g = ht_grad(ht_add(loss, ht_dot(g, g)), w);
    ht_write(store, nn_adam(.state = state, .weights = w, .gradients = g, .rate = 1e-3));
    ht_program *p = compile(tape, ht_list(loss));
    if (p) {
        check_layout(p, name);
        ht_program_facts facts = ht_program_describe(p);
        int32_t counted = count_steps(p, HTI_STEP_PACK) + count_steps(p, HTI_STEP_COPY);
        tap_ok(facts.conversions <= counted && facts.instructions == p->steps.count + p->commits.count && facts.flop > 0,
               "%s: %lld conversions in %lld instructions", name, (long long)facts.conversions, (long long)facts.instructions);
        tap_ok(ht_run(p) == HT_OK, "%s: runs", name);
    }
    ht_program_free(p);
    ht_store_free(store);
    ht_store_free(state);
}

/* ---- every instruction alone gives what it gives within the program ---- */

static size_t bytes_of(ht_var x) { return (size_t)ht_shape_count(ht_var_shape(x)) * ht_dtype_bytes(ht_var_dtype(x)); }

/* Values of all instructions, row-major, by id; NULL if something was refused. Everything is an output: nothing is reused. */
static void **all_values(ht_tape *tape, ht_program *program, int64_t *differing, int *ok)
{
    ht_error error = {0};
    void **values = calloc((size_t)tape->count, sizeof *values);
    ht_var *list = calloc((size_t)tape->count, sizeof *list);
    for (int32_t id = 1; id < tape->count; id++) list[id - 1] = (ht_var){tape, id};
    ht_program *whole = ht_compile(tape, device, ht_vars_new(tape, list, NULL, tape->count - 1), .error = &error);
    *ok = whole && ht_run(whole) == HT_OK && ht_run(program) == HT_OK;
    for (int32_t id = 1; *ok && id < tape->count; id++) {
        size_t bytes = bytes_of(list[id - 1]);
        values[id] = malloc(bytes + 1);
        *ok = ht_get_at(whole, id - 1, values[id], ht_shape_count(ht_var_shape(list[id - 1]))) == HT_OK;
    }
    for (int32_t i = 0; *ok && i < program->outputs; i++) {
        int32_t id = program->output_nodes[i];
        void *got = malloc(bytes_of(list[id - 1]) + 1);
        ht_get_at(program, i, got, ht_shape_count(ht_var_shape(list[id - 1])));
        *differing += memcmp(got, values[id], bytes_of(list[id - 1])) != 0;
        free(got);
    }
    ht_program_free(whole);
    free(list);
    return values;
}

/* The instruction on inputs of a tape of its own, so that no order or view comes from elsewhere. */
static double alone(const hti_node *node, void *const *values, const void *expected)
{
    ht_error error = {0};
    ht_tape *tape = ht_tape_new(node->spec.dtype == HT_F32 || (node->inputs && hti_node_of(node->in[0])->spec.dtype == HT_F32)
                                    ? HT_F32 : HT_F64);
    ht_var *in = calloc((size_t)node->inputs + 1, sizeof *in);
    char name[16];
    for (int32_t k = 0; k < node->inputs; k++) {
        snprintf(name, sizeof name, "%d", (int)k);
        in[k] = ht_input_of(tape, name, ht_var_dtype(node->in[k]), ht_var_shape(node->in[k]));
    }
    ht_var y = hti_emit(tape, node->op->id, node->attributes, in, node->inputs, node->where);
    ht_program *p = ht_compile(tape, device, ht_list(y), .error = &error);
    int64_t count = ht_shape_count(node->spec.shape);
    void *got = malloc(bytes_of(y) + 1);
    int ok = p != NULL;
    for (int32_t k = 0; ok && k < node->inputs; k++)
        ok = ht_set(p, in[k], values[node->in[k].id], ht_shape_count(ht_var_shape(node->in[k]))) == HT_OK;
    ok = ok && ht_run(p) == HT_OK && ht_get(p, y, got, count) == HT_OK;
    double worst = ok ? 0 : 1e300;
    for (int64_t i = 0; ok && i < count; i++) {
        double a, b;
        if (node->spec.dtype == HT_F64) a = ((double *)got)[i], b = ((const double *)expected)[i];
        else if (node->spec.dtype == HT_F32) a = (double)((float *)got)[i], b = (double)((const float *)expected)[i];
        else a = ((int32_t *)got)[i], b = ((const int32_t *)expected)[i];
        if (!(kit_difference(a, b) <= worst)) worst = kit_difference(a, b);
    }
    free(got);
    free(in);
    ht_program_free(p);
    ht_tape_free(tape);
    return worst;
}

static void test_each(ht_dtype dtype)
{
    ht_error error = {0};
    ht_store *store = ht_store_new(device);
    ht_tape *tape = ht_tape_new(dtype);
    nn_scope s = nn_open(tape, store, .seed = 3, .freeze_statistics = 1);
    ht_var x = ht_uniform(.tape = tape, .shape = HT_SHAPE(2, 3, 8, 8), .stream = "x");
    ht_var t = ht_uniform(.tape = tape, .shape = HT_SHAPE(2, 1, 8, 8), .stream = "t");
    ht_var loss = ht_sigmoid_cross_entropy(kit_logits(s, x, (kit_net){.width = 4, .peaks = 1, .dropout = 0.25}), t);
    ht_vars w = ht_vars_join(nn_params(s), ht_list(x)), g = ht_grad(loss, w), h = ht_hvp(loss, w, g);
    ht_program *program = ht_compile(tape, device, ht_vars_join(g, h), .error = &error);
    if (!tap_ok(program != NULL, "second order compiles: %s", error.message)) return;
    memset(program->arena, 0xFF, program->arena_bytes); /* NaN: memory that is read before it is written would show */
    int64_t differing = 0, tried = 0;
    int ok;
    void **values = all_values(tape, program, &differing, &ok);
    tap_ok(ok && differing == 0, "%s: with and without reuse of memory, which was NaN before: equal bits", ht_dtype_name(dtype));
    double worst = 0;
    for (int32_t id = 1; ok && id < tape->count; id++) {
        const hti_node *node = &tape->nodes[id];
        if (node->op->kind == HTI_LEAF) continue;
        double is = alone(node, values, values[id]);
        if (is > worst) worst = is;
        if (is > 1e-5) printf("# %%%d %s in %s: %g\n", (int)id, node->op->name, node->scope, is);
        tried++;
    }
    tap_ok(ok && tried > 200 && worst <= (dtype == HT_F64 ? 1e-14 : 1e-5), "%s: %lld instructions alone: largest difference %.1e",
           ht_dtype_name(dtype), (long long)tried, worst);
    for (int32_t id = 1; id < tape->count; id++) free(values[id]);
    free(values);
    ht_program_free(program);
    ht_tape_free(tape);
    ht_store_free(store);
}

/* ---- physical order ---- */

static void test_chain(ht_dtype dtype)
{
    ht_store *store = ht_store_new(device);
    ht_tape *tape = ht_tape_new(dtype);
    nn_scope s = nn_open(tape, store, .freeze_statistics = 1);
    ht_var x = ht_input(tape, "x", HT_SHAPE(2, 3, 12, 12)), y = x;
    for (int i = 0; i < 3; i++) {
        y = nn_conv(s, nn_name(s, "conv%d", i), y, 8, .kernel = 3, .pad = 1);
        y = ht_relu(nn_batch_norm(s, nn_name(s, "norm%d", i), y));
    }
    y = ht_concat(1, ht_list(y, ht_avg_pool(y, .kernel = ht_all(3), .stride = ht_all(1), .pad = ht_all(1))));
    ht_program *p = compile(tape, ht_list(y));
    if (p) {
        int32_t last = 0, row = 0, copies = count_steps(p, HTI_STEP_COPY), packs = count_steps(p, HTI_STEP_PACK);
        for (int32_t i = 0; i < p->steps.count; i++) {
            const hti_step *step = &p->steps.at[i];
            const int32_t outputs = step->group ? step->group->outputs : step->kind == HTI_STEP_OP;
            for (int32_t k = 0; k < outputs; k++) {
                const hti_value *value = &p->values.at[step->group ? step->group_out[k] : step->out];
                if (value->shape.rank != 4 || hti_orders_agree(value->shape)) continue;
                last += value->order == HTI_LAST;
                row += value->order == HTI_ROW;
            }
        }
        tap_ok(last > 5 && row == 0, "%s: %d images channels last, %d row-major", ht_dtype_name(dtype), (int)last, (int)row);
        tap_ok(copies == 2 && p->facts.conversions == copies + packs,
               "%s: conv, norm, ReLU: the input and the output alone are reordered: %d reorders, %d packings",
               ht_dtype_name(dtype), (int)copies, (int)packs);
        if (copies != 2) ht_program_dump(p, stdout);
    }
    ht_program_free(p);
    ht_store_free(store);
}

static void test_packing(ht_dtype dtype)
{
    ht_store *store = ht_store_new(device);
    kit_tensor(store, "w", dtype, HT_SHAPE(16, 16, 3, 3), -1, 1);
    int32_t packs[2] = {0, 0};
    for (int twice = 0; twice < 2; twice++) {
        ht_tape *tape = ht_tape_new(dtype);
        ht_var w = ht_read_one(tape, store, "w");
        ht_var x = ht_input(tape, "x", HT_SHAPE(1, 16, 12, 12)), z = ht_input(tape, "z", HT_SHAPE(1, 16, 12, 12));
        ht_var y = ht_conv(x, w, .pad = ht_all(1));
        if (twice) y = ht_add(y, ht_conv(z, w, .pad = ht_all(1)));
        ht_program *p = compile(tape, ht_list(y));
        if (p) packs[twice] = count_steps(p, HTI_STEP_PACK);
        ht_program_free(p);
    }
    tap_ok(packs[0] <= 1 && packs[1] == packs[0], "%s: weights used twice are packed as often as those used once: %d, %d",
           ht_dtype_name(dtype), (int)packs[1], (int)packs[0]);
    ht_store_free(store);
}

/* ---- values that are made again where they are read ---- */

/* The program of y, compiled and run once on an image x; frees the tape. NULL, and a "not ok", if it cannot be compiled. */
static ht_program *run_on_image(ht_var y, int32_t check, int64_t numbers, const char *what, double *got)
{
    ht_error error = {0};
    const ht_dtype dtype = ht_var_dtype(y);
    ht_program *p = ht_compile(y.tape, device, ht_list(y), .error = &error, .check = check);
    if (tap_ok(p != NULL, "compiles: %s", error.message)) {
        check_layout(p, what);
        kit_set(p, "x", dtype, numbers, 4, -1, 1);
        ht_run(p);
        tap_ok(ht_get(p, y, got, numbers) == HT_OK, "%s: runs", ht_dtype_name(dtype));
    }
    ht_tape_free(y.tape);
    return p;
}

/*
 * Read before a convolution and behind it: 3 h - 1, its sign and h tanh(h) are made again from h, and from one another, so
 * that h alone lives through it.
 */
static void test_repeated(ht_dtype dtype)
{
    enum { SIDE = 32, CHANNELS = 16, NUMBERS = CHANNELS * SIDE * SIDE };
    double numbers[CHANNELS * CHANNELS];
    size_t bytes = NUMBERS * ht_dtype_bytes(dtype), most[2] = {0, 0};
    double got[2][NUMBERS] = {{0}};
    kit_fill(numbers, CHANNELS * CHANNELS, 3, -1, 1);
    int64_t repeated[2] = {0, 0};
    for (int32_t check = 0; check < 2; check++) { /* check mode repeats nothing, since it fuses nothing */
        ht_tape *tape = ht_tape_new(dtype);
        ht_var x = ht_input(tape, "x", HT_SHAPE(1, CHANNELS, SIDE, SIDE));
        ht_var w = ht_constant(tape, numbers, HT_SHAPE(CHANNELS, CHANNELS, 1, 1));
        ht_var h = ht_conv(x, w), near = ht_affine(h, 3, -1), gate = ht_sign(near), both = ht_mul(h, ht_tanh(h));
        ht_var y = ht_conv(ht_mul(ht_mul(near, gate), both), w);
        y = ht_mul(ht_add(ht_add(y, near), ht_mul(gate, both)), h);
        ht_program *p = run_on_image(y, check, NUMBERS, "values made again", got[check]);
        if (!p) return;
        repeated[check] = ht_program_describe(p).repeated;
        int32_t step;
        (void)hti_plan_peak(p, &step, &most[check], &(ht_error){0});
        ht_program_free(p);
    }
    tap_ok(repeated[0] == 4 && repeated[1] == 0, "%s: %d steps are made again", ht_dtype_name(dtype), (int)repeated[0]);
    tap_ok(most[0] <= most[1] - 3 * bytes, "%s: %zu bytes live at once, %zu without", ht_dtype_name(dtype), most[0], most[1]);
    tap_ok(memcmp(got[0], got[1], bytes) == 0, "%s: with the same bits", ht_dtype_name(dtype));
}

/* Steps of an op; of all their results, how many live at a step. */
static int32_t count_op(const ht_program *p, const char *name, int32_t at, int32_t *live)
{
    int32_t count = 0;
    for (int32_t s = 0; s < p->steps.count; s++) {
        const hti_step *step = &p->steps.at[s];
        if (step->kind != HTI_STEP_OP || strcmp(step->op->name, name) != 0) continue;
        const hti_buffer *buffer = &p->buffers.at[p->values.at[step->out].buffer];
        *live += buffer->first <= at && at <= buffer->last;
        count++;
    }
    return count;
}

/*
 * A concatenation is read before a large picture and behind it, and what it is made from lives anyway: it is made twice, and
 * over the peak it is not there. A convolution that is read at both places is kept.
 */
static void test_spared(ht_dtype dtype)
{
    enum { SIDE = 32, CHANNELS = 16, LARGE = 176, NUMBERS = CHANNELS * SIDE * SIDE };
    double weights[2 * CHANNELS * CHANNELS], large[CHANNELS * CHANNELS * 9], got[2][NUMBERS] = {{0}};
    kit_fill(weights, 2 * CHANNELS * CHANNELS, 3, -1, 1);
    kit_fill(large, CHANNELS * CHANNELS * 9, 5, -1, 1);
    for (int32_t check = 0; check < 2; check++) { /* check mode makes nothing again */
        ht_tape *tape = ht_tape_new(dtype);
        ht_var x = ht_input(tape, "x", HT_SHAPE(1, CHANNELS, SIDE, SIDE));
        ht_var one = ht_constant(tape, weights, HT_SHAPE(CHANNELS, CHANNELS, 1, 1));
        ht_var two = ht_constant(tape, weights, HT_SHAPE(CHANNELS, 2 * CHANNELS, 1, 1));
        ht_var h = ht_conv(x, one), both = ht_concat(1, ht_list(h, x)), early = ht_conv(both, two);
        ht_var wide = ht_pad(early, HT_SHAPE(0, 0, 0, 0), HT_SHAPE(0, 0, LARGE - SIDE, LARGE - SIDE));
        wide = ht_conv(wide, ht_constant(tape, large, HT_SHAPE(CHANNELS, CHANNELS, 3, 3)), .pad = ht_all(1));
        ht_var mean = ht_mean(ht_tanh(wide)), late = ht_conv(ht_mul(both, mean), two);
        ht_var y = ht_mul(ht_add(ht_conv(both, two), late), h);
        ht_program *p = run_on_image(y, check, NUMBERS, "values not kept", got[check]);
        if (!p) return;
        int32_t peak = 0, live = 0;
        size_t bytes;
        (void)hti_plan_peak(p, &peak, &bytes, &(ht_error){0});
        const int32_t made = count_op(p, "concat", peak, &live);
        tap_ok(made == (check ? 1 : 2) && live == check, "%s: a concatenation is made %d times, and %s at the peak",
               ht_dtype_name(dtype), (int)made, live ? "lives" : "is not there");
        ht_program_free(p);
    }
    tap_ok(memcmp(got[0], got[1], NUMBERS * ht_dtype_bytes(dtype)) == 0, "%s: with the same bits", ht_dtype_name(dtype));
}

/* ---- what is seen from outside is row-major, whatever the order inside ---- */

enum { N = 2, C = 3, H = 4, W = 5, COUNT = N * C * H * W };

static int64_t at(int64_t n, int64_t c, int64_t h, int64_t w) { return ((n * C + c) * H + h) * W + w; }

typedef struct seen {
    ht_program *program;
    ht_dtype dtype;
    const double *x;
    double got[4 * COUNT];
} seen;

/* Output i as numbers; 0 if there are not so many. */
static int look(seen *s, int32_t i, int64_t count)
{
    float narrow[4 * COUNT];
    int ok = ht_get_at(s->program, i, s->dtype == HT_F64 ? (void *)s->got : (void *)narrow, count) == HT_OK;
    for (int64_t k = 0; ok && s->dtype == HT_F32 && k < count; k++) s->got[k] = (double)narrow[k];
    return ok;
}

static void check_movement(seen *s, const char *type)
{
    const double *x = s->x, *got = s->got;
    int ok = look(s, 0, COUNT);
    for (int64_t i = 0; i < COUNT; i++) ok = ok && got[i] == x[i];
    tap_ok(ok, "%s: an image out of a convolution", type);
    ok = look(s, 1, COUNT);
    for (int64_t i = 0; i < COUNT; i++) ok = ok && got[i] == 2 * x[i];
    tap_ok(ok, "%s: reshape of an image that is channels last", type);
    ok = look(s, 2, 3 * COUNT);
    int64_t k = 0;
    for (int64_t n = 0; n < N; n++)
        for (int64_t c = 0; c < 3 * C; c++)
            for (int64_t h = 0; h < H; h++)
                for (int64_t w = 0; w < W; w++, k++)
                    ok = ok && got[k] == (c < C || c >= 2 * C ? 1 : 2) * x[at(n, c % C, h, w)];
    tap_ok(ok, "%s: concat over channels", type);
    ok = look(s, 3, N * 2 * 3 * 2);
    k = 0;
    for (int64_t n = 0; n < N; n++)
        for (int64_t c = 1; c < 3; c++)
            for (int64_t h = 0; h < 3; h++)
                for (int64_t w = 2; w < 4; w++, k++) ok = ok && got[k] == x[at(n, c, h, w)];
    tap_ok(ok, "%s: slice", type);
    ok = look(s, 4, N * (C + 1) * (H + 1) * (W + 3));
    k = 0;
    for (int64_t n = 0; n < N; n++)
        for (int64_t c = -1; c < C; c++)
            for (int64_t h = 0; h < H + 1; h++)
                for (int64_t w = -2; w < W + 1; w++, k++) {
                    int inside = c >= 0 && h < H && w >= 0 && w < W;
                    ok = ok && got[k] == (inside ? x[at(n, c, h, w)] : 0);
                }
    tap_ok(ok, "%s: pad", type);
}

static void check_axes(seen *s, const char *type)
{
    const double *x = s->x, *got = s->got;
    int ok = look(s, 5, COUNT);
    int64_t k = 0;
    for (int64_t w = 0; w < W; w++)
        for (int64_t n = 0; n < N; n++)
            for (int64_t h = 0; h < H; h++)
                for (int64_t c = 0; c < C; c++, k++) ok = ok && got[k] == x[at(n, c, h, w)];
    tap_ok(ok, "%s: permute", type);
    ok = look(s, 6, C);
    for (int64_t c = 0; c < C; c++) {
        double sum = 0;
        for (int64_t n = 0; n < N; n++)
            for (int64_t i = 0; i < H * W; i++) sum += x[at(n, c, 0, i)];
        ok = ok && kit_difference(got[c], sum) < 1e-5;
    }
    tap_ok(ok, "%s: sums over all but the channels", type);
    double channel[C];
    for (int64_t c = 0; c < C; c++) channel[c] = got[c];
    ok = look(s, 7, COUNT);
    for (int64_t i = 0; i < COUNT; i++) ok = ok && got[i] == channel[i / (H * W) % C];
    tap_ok(ok, "%s: a broadcast that is an output is written out", type);
    ok = look(s, 8, N * H * W);
    for (int64_t i = 0; i < N * H * W; i++) {
        int64_t n = i / (H * W), best = 0;
        for (int64_t c = 1; c < C; c++)
            if (x[at(n, c, 0, i % (H * W))] > x[at(n, best, 0, i % (H * W))]) best = c;
        ok = ok && got[i] == (double)best;
    }
    tap_ok(ok, "%s: argmax over channels", type);
    ok = look(s, 9, 6);
    for (int64_t i = 0; i < 6; i++) ok = ok && got[i] == 2.5;
    tap_ok(ok, "%s: a constant that is an output", type);
    ok = look(s, 10, COUNT);
    for (int64_t i = 0; i < COUNT; i++) ok = ok && got[i] == x[at(i / (C * H * W), 0, i / W % H, i % W)];
    tap_ok(ok, "%s: a broadcast of one channel", type);
}

static void test_seen(ht_dtype dtype)
{
    double x[COUNT], identity[C * C] = {1, 0, 0, 0, 1, 0, 0, 0, 1};
    float narrow[COUNT];
    for (int64_t i = 0; i < COUNT; i++) x[i] = (double)(narrow[i] = (float)kit_uniform(1, i));
    ht_tape *tape = ht_tape_new(dtype);
    ht_var in = ht_input(tape, "x", HT_SHAPE(N, C, H, W));
    ht_var y = ht_conv(in, ht_constant(tape, identity, HT_SHAPE(C, C, 1, 1))), twice = ht_scale(y, 2);
    ht_var sums = ht_sum_to(y, HT_SHAPE(1, C, 1, 1));
    ht_vars outputs = ht_list(
        y, ht_reshape(twice, HT_SHAPE(N * C, H * W)), ht_concat(1, ht_list(y, twice, in)),
        ht_slice(y, HT_SHAPE(0, 1, 0, 2), HT_SHAPE(N, 2, 3, 2)), ht_pad(y, HT_SHAPE(0, 1, 0, 2), HT_SHAPE(0, 0, 1, 1)),
        ht_permute(y, HT_SHAPE(3, 0, 2, 1)), sums, ht_broadcast_to(sums, HT_SHAPE(N, C, H, W)),
        ht_cast(ht_argmax(y, 1), dtype), ht_fill(tape, 2.5, HT_SHAPE(2, 3)),
        ht_broadcast_to(ht_slice(y, HT_SHAPE(0, 0, 0, 0), HT_SHAPE(N, 1, H, W)), HT_SHAPE(N, C, H, W)));
    seen s = {.program = compile(tape, outputs), .dtype = dtype, .x = x};
    if (!s.program) return;
    check_layout(s.program, "movement");
    ht_set_named(s.program, "x", dtype == HT_F64 ? (void *)x : (void *)narrow, COUNT);
    for (int run = 0; run < 2; run++) ht_run(s.program);
    check_movement(&s, ht_dtype_name(dtype));
    check_axes(&s, ht_dtype_name(dtype));
    ht_program_free(s.program);
}

int main(void)
{
    ht_error error = {0};
    device = ht_device_open("cpu", 2, &error);
    if (!tap_ok(device != NULL, "device: %s", error.message)) return tap_done();
    for (int wide = 0; wide < 2; wide++) {
        ht_dtype dtype = wide ? HT_F64 : HT_F32;
        test_training(dtype, 0);
        test_training(dtype, 1);
        test_each(dtype);
        test_chain(dtype);
        test_packing(dtype);
        test_repeated(dtype);
        test_spared(dtype);
        test_seen(dtype);
    }
    ht_device_close(device);
    return tap_done();
}
