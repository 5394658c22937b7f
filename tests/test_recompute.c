/*
 * Programs within a limit of memory: what is computed again has the same bits, the arena keeps the limit, the plan is the
 * same each time, and a limit that cannot be kept is refused with what is reachable. On 50 unrolled steps, on the product
 * of a second derivative of a small U with draws, and on a round of the smallest GenSeg.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ht/ht.h>

#include "hyper_fixture.h"
#include "kit.h"
#include "plan/plan.h"
#include "tap.h"

enum { STEPS = 50, ROWS = 24, WIDTH = 12, RUNS = 2 };

static ht_device *device;

/* What a program gave. */
typedef struct outcome {
    int compiled;
    ht_error error;
    ht_program_facts facts;
    uint64_t numbers, dump; /* of all outputs of all runs, and stores; of the text of the program */
} outcome;

/* ---- problems: each makes a program from fresh stores; `done` hashes what it wrote and frees them ---- */

typedef struct problem {
    const char *name;
    ht_program *(*make)(size_t limit, ht_error *error);
    uint64_t (*done)(void);
    void (*set)(ht_program *program);
    int percent[2]; /* of its memory, that can be reached */
} problem;

static ht_store *inner, *outer, *state;
static hyper_problem genseg;

static ht_var random_constant(ht_tape *tape, ht_shape shape, uint64_t stream)
{
    double numbers[ROWS * WIDTH];
    kit_fill(numbers, ht_shape_count(shape), stream, -1, 1);
    return ht_constant(tape, numbers, shape);
}

static ht_var network(nn_scope s, ht_var x)
{
    ht_var first = nn_parameter(s, "first", HT_SHAPE(WIDTH, WIDTH), nn_normal(0.3));
    ht_var last = nn_parameter(s, "last", HT_SHAPE(WIDTH, 1), nn_normal(0.3));
    return ht_matmul(ht_tanh(ht_matmul(x, first)), last);
}

static ht_var penalty(nn_scope s) { return nn_parameter(s, "theta", HT_SCALAR, nn_constant(-3)); }

static ht_var error_of(nn_scope s, ht_tape *tape, uint64_t stream)
{
    ht_var x = random_constant(tape, HT_SHAPE(ROWS, WIDTH), stream), y = random_constant(tape, HT_SHAPE(ROWS, 1), stream + 1);
    return ht_mean(ht_square(ht_sub(network(s, x), y)));
}

static ht_var inner_loss(const mlo_point *at, void *context)
{
    nn_scope s = mlo_at(at, "weights");
    ht_var first = nn_parameter(s, "first", HT_SHAPE(WIDTH, WIDTH), nn_normal(0.3));
    ht_var weight = ht_exp(penalty(mlo_at(at, "penalty")));
    return ht_add(error_of(s, context, 1), ht_mul(weight, ht_sum(ht_square(first))));
}

static ht_var outer_loss(const mlo_point *at, void *context) { return error_of(mlo_at(at, "weights"), context, 7); }

static ht_program *make_unrolled(size_t limit, ht_error *error)
{
    ht_tape *tape = ht_tape_new(HT_F64);
    inner = ht_store_new(device);
    outer = ht_store_new(device);
    nn_scope W = nn_open(tape, inner, .name = "weights", .seed = 2), P = nn_open(tape, outer, .name = "penalty");
    (void)network(W, random_constant(tape, HT_SHAPE(ROWS, WIDTH), 1));
    (void)penalty(P);
    mlo_level levels[] = {{.name = "weights", .scope = W, .loss = inner_loss, .context = tape, .rate = 0.1, .steps = STEPS},
                          {.name = "penalty", .scope = P, .loss = outer_loss, .context = tape}};
    mlo_round round = mlo_record(tape, levels, 2);
    ht_vars outputs = ht_vars_join(round.total, ht_list(round.loss[1]));
    ht_write(inner, round.next[0]);
    ht_program *program = ht_compile(tape, device, outputs, .error = error, .memory_limit = limit);
    ht_tape_free(tape);
    return program;
}

static uint64_t done_unrolled(void)
{
    uint64_t hash = ht_store_hash(inner);
    ht_store_free(inner);
    ht_store_free(outer);
    return hash;
}

static ht_program *make_product(size_t limit, ht_error *error)
{
    ht_tape *tape = ht_tape_new(HT_F32);
    inner = ht_store_new(device);
    state = ht_store_new(device);
    nn_scope s = nn_open(tape, inner, .seed = 3, .step = nn_count(tape, state, "round"));
    ht_var x = ht_input(tape, "x", HT_SHAPE(2, 3, 32, 32)), y = ht_input(tape, "y", HT_SHAPE(2, 1, 32, 32));
    ht_var logits = kit_logits(s, x, (kit_net){.width = 8, .dropout = 0.25});
    ht_vars w = nn_params(s), g = ht_grad(ht_sigmoid_cross_entropy(logits, y), w);
    ht_var along = ht_fill(tape, 0, HT_SCALAR);
    for (int32_t i = 0; i < g.count; i++) along = ht_add(along, ht_sum(ht_mul(g.at[i], ht_stop(w.at[i]))));
    ht_program *program = ht_compile(tape, device, ht_vars_join(g, ht_grad(along, w)), .error = error, .memory_limit = limit);
    ht_tape_free(tape);
    return program;
}

static void set_product(ht_program *program)
{
    float numbers[2 * 3 * 32 * 32];
    for (int64_t i = 0; i < 2 * 3 * 32 * 32; i++) numbers[i] = (float)kit_uniform(5, i);
    ht_set_named(program, "x", numbers, 2 * 3 * 32 * 32);
    for (int64_t i = 0; i < 2 * 32 * 32; i++) numbers[i] = kit_uniform(6, i) > 0;
    ht_set_named(program, "y", numbers, 2 * 32 * 32);
}

static uint64_t done_product(void)
{
    uint64_t hash = ht_store_hash(inner) ^ ht_store_hash(state);
    ht_store_free(inner);
    ht_store_free(state);
    return hash;
}

static ht_program *make_round(size_t limit, ht_error *error)
{
    genseg_config config = hyper_config(1);
    if (!hyper_open(&genseg, device, &config, HT_F32, 0)) return NULL;
    ht_tape *tape = ht_tape_new(HT_F32);
    genseg_recording r = hyper_round(tape, &genseg, MLO_UNROLL, 1);
    ht_program *program = ht_compile(tape, device, ht_vars_join(ht_list(r.loss_val), r.total), .error = error,
                                     .memory_limit = limit);
    ht_tape_free(tape);
    return program;
}

static void set_round(ht_program *program) { hyper_feed(&genseg, program); }

static uint64_t done_round(void)
{
    uint64_t hash = 0;
    for (int32_t i = 0; i < GENSEG_STORES; i++) hash = 3 * hash + ht_store_hash(genseg.state.store[i]);
    hyper_close(&genseg);
    return hash;
}

static const problem problems[] = {
    {"50 unrolled steps", make_unrolled, done_unrolled, NULL, {33, 12}},
    {"a second derivative of a U", make_product, done_product, set_product, {98, 95}},
    {"a round of GenSeg", make_round, done_round, set_round, {75, 50}},
};

/* ---- running ---- */

static uint64_t hash_outputs(ht_program *p, uint64_t hash)
{
    for (int32_t i = 0; i < p->outputs; i++) {
        const hti_value *value = &p->values.at[p->output_values[i]];
        int64_t count = ht_shape_count(value->shape);
        size_t bytes = (size_t)count * ht_dtype_bytes(value->dtype);
        void *numbers = calloc(1, bytes + 1);
        if (ht_get_at(p, i, numbers, count) != HT_OK) tap_ok(0, "output %d: %s", (int)i, ht_program_error(p)->message);
        hash = hti_hash(hash, numbers, bytes);
        free(numbers);
    }
    return hash;
}

static uint64_t hash_dump(const ht_program *p)
{
    FILE *file = tmpfile();
    uint64_t hash = HTI_HASH_START;
    if (!file) return 0;
    ht_program_dump(p, file);
    rewind(file);
    for (int c = getc(file); c != EOF; c = getc(file)) hash = hti_hash(hash, &c, sizeof c);
    fclose(file);
    return hash;
}

static outcome run(const problem *of, size_t limit)
{
    outcome out = {.numbers = HTI_HASH_START};
    ht_program *p = of->make(limit, &out.error);
    out.compiled = p != NULL;
    if (p) {
        out.facts = ht_program_describe(p);
        out.dump = hash_dump(p);
        memset(p->arena, 0xFF, p->arena_bytes); /* NaN: memory that is read before it is written would show */
        for (int i = 0; i < RUNS; i++) {
            if (of->set) of->set(p);
            if (ht_run(p) != HT_OK) tap_ok(0, "%s runs: %s", of->name, ht_program_error(p)->message);
            out.numbers = hash_outputs(p, out.numbers);
        }
    }
    ht_program_free(p);
    out.numbers += of->done();
    return out;
}

static void test_fraction(const problem *of, const outcome *whole, int percent)
{
    const size_t limit = whole->facts.arena_bytes / 100 * (size_t)percent;
    outcome within = run(of, limit), again = run(of, limit);
    if (!tap_ok(within.compiled && within.facts.arena_bytes <= limit, "%s at %d %%: %zu bytes of %zu%s%s", of->name, percent,
                within.facts.arena_bytes, whole->facts.arena_bytes, within.compiled ? "" : ": ", within.error.message))
        return;
    tap_ok(within.numbers == whole->numbers, "%s at %d %%: the same bits; %lld steps, %.0f %% of the flop again", of->name,
           percent, (long long)within.facts.recomputed, 100 * within.facts.recomputed_flop / within.facts.flop);
    tap_ok(within.facts.recomputed > 0 && within.facts.flop == whole->facts.flop && whole->facts.recomputed == 0,
           "%s at %d %%: facts tell what is computed again", of->name, percent);
    tap_ok(within.dump == again.dump && within.dump != whole->dump && again.numbers == within.numbers,
           "%s at %d %%: the same program each time", of->name, percent);
}

static void test_problem(const problem *of)
{
    outcome whole = run(of, 0);
    if (!tap_ok(whole.compiled, "%s: %s", of->name, whole.error.message)) return;
    outcome loose = run(of, whole.facts.arena_bytes);
    tap_ok(loose.dump == whole.dump && loose.facts.recomputed == 0, "%s: a limit that is kept changes nothing", of->name);
    for (int i = 0; i < 2; i++) test_fraction(of, &whole, of->percent[i]);
}

static void test_refusal(const problem *of)
{
    outcome refused = run(of, 2000);
    const char *text = refused.error.message, *needs = strstr(text, "program: needs ");
    tap_ok(!refused.compiled && refused.error.status == HT_ENOMEM && needs && strstr(text, "; the limit is 2000 bytes; ") &&
               strstr(text, ".c:") && strstr(text, "the largest there: ") && strstr(text, "raise the limit"),
           "%s: 2000 bytes are refused: %s", of->name, text);
}

int main(void)
{
    ht_error error = {0};
    device = ht_device_open("cpu", 2, &error);
    if (!device) return 1;
    for (size_t i = 0; i < sizeof problems / sizeof *problems; i++) {
        test_problem(&problems[i]);
        test_refusal(&problems[i]);
    }
    ht_device_close(device);
    return tap_done();
}
