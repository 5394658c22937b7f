/*
 * Programs within a limit of memory: what is computed again has the same bits, the arena keeps the limit, the plan is the
 * same each time, and a limit that cannot be kept is refused with what is reachable. On 50 unrolled steps, on the product
 * of a second derivative of small Us in a row with draws, and on a round of the smallest GenSeg; each within the least that
 * a refusal names, where most is computed again from what was itself dropped, and a quarter of the way from there.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ht/ht.h>

#include "hyper_fixture.h"
#include "kit.h"
#include "plan/plan.h"
#include "tap.h"

enum { STEPS = 50, ROWS = 24, WIDTH = 12, RUNS = 2, SIDE = 16, US = 4, PIXELS = 2 * SIDE * SIDE };

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
    ht_var x = ht_input(tape, "x", HT_SHAPE(2, 3, SIDE, SIDE)), y = ht_input(tape, "y", HT_SHAPE(2, 1, SIDE, SIDE));
    ht_var logits = kit_logits(s, x, (kit_net){.width = 8, .dropout = 0.25});
    for (int32_t i = 1; i < US; i++) /* one alone computes all at its own peak, where nothing can be dropped */
        logits = kit_logits(nn_sub(s, nn_name(s, "u%d", (int)i)), ht_concat(1, ht_list(x, logits)),
                            (kit_net){.width = 8, .dropout = 0.25});
    ht_vars w = nn_params(s), g = ht_grad(ht_sigmoid_cross_entropy(logits, y), w);
    ht_var along = ht_fill(tape, 0, HT_SCALAR);
    for (int32_t i = 0; i < g.count; i++) along = ht_add(along, ht_sum(ht_mul(g.at[i], ht_stop(w.at[i]))));
    ht_program *program = ht_compile(tape, device, ht_vars_join(g, ht_grad(along, w)), .error = error, .memory_limit = limit);
    ht_tape_free(tape);
    return program;
}

static void set_product(ht_program *program)
{
    float numbers[3 * PIXELS];
    for (int64_t i = 0; i < 3 * PIXELS; i++) numbers[i] = (float)kit_uniform(5, i);
    ht_set_named(program, "x", numbers, 3 * PIXELS);
    for (int64_t i = 0; i < PIXELS; i++) numbers[i] = kit_uniform(6, i) > 0;
    ht_set_named(program, "y", numbers, PIXELS);
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
    {"50 unrolled steps", make_unrolled, done_unrolled, NULL},
    {"a second derivative of Us", make_product, done_product, set_product},
    {"a round of GenSeg", make_round, done_round, set_round},
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

static outcome test_limit(const problem *of, const outcome *whole, size_t limit)
{
    const outcome within = run(of, limit);
    const ht_program_facts *facts = &within.facts;
    if (!tap_ok(within.compiled && facts->arena_bytes <= limit, "%s in %zu bytes: %zu of %zu%s%s", of->name, limit,
                facts->arena_bytes, whole->facts.arena_bytes, within.compiled ? "" : ": ", within.error.message))
        return within;
    tap_ok(within.numbers == whole->numbers, "%s in %zu bytes: the same bits; %lld steps, %.0f %% of the flop again", of->name,
           limit, (long long)facts->recomputed, 100 * facts->recomputed_flop / facts->flop);
    tap_ok(facts->recomputed > 0 && facts->flop == whole->facts.flop && whole->facts.recomputed == 0,
           "%s in %zu bytes: facts tell what is computed again", of->name, limit);
    return within;
}

/* The least that can be reached, as the refusal of a limit says it; 0: it does not. */
static size_t least_of(const problem *of)
{
    outcome refused = run(of, 2000);
    const char *text = refused.error.message, *needs = strstr(text, "program: needs ");
    size_t bytes = 0;
    char unit[6] = "";
    tap_ok(!refused.compiled && refused.error.status == HT_ENOMEM && needs && strstr(text, "; the limit is 2000 bytes; ") &&
               strstr(text, ".c:") && strstr(text, "the largest there: ") && strstr(text, "raise the limit"),
           "%s: 2000 bytes are refused: %s", of->name, text);
    const bool read = needs && sscanf(needs, "program: needs %zu %5s", &bytes, unit) == 2;
    const bool kilobytes = strcmp(unit, "kB") == 0, named = read && (kilobytes || strcmp(unit, "bytes") == 0);
    tap_ok(named, "%s: what it needs is named", of->name);
    return !named ? 0 : kilobytes ? 1000 * bytes : bytes;
}

static void test_problem(const problem *of)
{
    outcome whole = run(of, 0);
    if (!tap_ok(whole.compiled, "%s: %s", of->name, whole.error.message)) return;
    outcome loose = run(of, whole.facts.arena_bytes);
    tap_ok(loose.dump == whole.dump && loose.facts.recomputed == 0, "%s: a limit that is kept changes nothing", of->name);
    const size_t least = least_of(of);
    if (!tap_ok(least > 0 && least < whole.facts.arena_bytes / 2, "%s: less than half can be reached", of->name)) return;
    const size_t quarter = least + (whole.facts.arena_bytes - least) / 4;
    const outcome some = test_limit(of, &whole, quarter), again = run(of, quarter), most = test_limit(of, &whole, least);
    tap_ok(some.dump == again.dump && some.dump != whole.dump && again.numbers == some.numbers,
           "%s: the same program each time", of->name);
    tap_ok(most.facts.recomputed_flop > most.facts.flop, "%s: most is computed more than once", of->name);
}

int main(void)
{
    ht_error error = {0};
    device = ht_device_open("cpu", 2, &error);
    if (!device) return 1;
    for (size_t i = 0; i < sizeof problems / sizeof *problems; i++) test_problem(&problems[i]);
    ht_device_close(device);
    return tap_done();
}
