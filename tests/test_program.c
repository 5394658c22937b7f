/*
 * A program's life as its user sees it: set, run, get, stores that change at the end of a run only, errors that stick,
 * and memory: whatever a run needs was taken by compile. The linker hands our calls of malloc to the functions below;
 * those of other libraries are theirs.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ht/nn.h>
#include <ht/random.h>

#include "kit.h"
#include "plan/plan.h"
#include "tap.h"

static ht_device *device;

/* ---- counted, and on request refused, memory ---- */

static int64_t taken, refused_at = -1; /* refused_at: number of the call that gets NULL, -1 for none */

static int refuse(void) { return taken++ == refused_at; }

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *old, size_t bytes);
void *__real_aligned_alloc(size_t alignment, size_t bytes);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *old, size_t bytes);
void *__wrap_aligned_alloc(size_t alignment, size_t bytes);

void *__wrap_malloc(size_t bytes) { return refuse() ? NULL : __real_malloc(bytes); }
void *__wrap_calloc(size_t count, size_t bytes) { return refuse() ? NULL : __real_calloc(count, bytes); }
void *__wrap_realloc(void *old, size_t bytes) { return refuse() ? NULL : __real_realloc(old, bytes); }
void *__wrap_aligned_alloc(size_t alignment, size_t bytes)
{
    return refuse() ? NULL : __real_aligned_alloc(alignment, bytes);
}

/* ---- a training step ---- */

enum { IMAGE = 2 * 3 * 16 * 16, TARGET = 2 * 16 * 16 };

typedef struct trainer {
    ht_store *store, *state;
    ht_program *program;
} trainer;

static void record_step(trainer *t, ht_dtype dtype, int32_t check, size_t limit, ht_error *error)
{
    ht_tape *tape = ht_tape_new(dtype);
    if (!tape) {
        ht_fail(error, HT_ENOMEM, "no tape");
        return;
    }
    nn_scope s = nn_open(tape, t->store, .seed = 3, .step = nn_count(tape, t->state, "round"));
    ht_var x = ht_input(tape, "x", HT_SHAPE(2, 3, 16, 16)), y = ht_input(tape, "y", HT_SHAPE(2, 1, 16, 16));
    kit_net net = {.width = 4, .peaks = 1, .dropout = 0.25};
    ht_var loss = ht_sigmoid_cross_entropy(kit_logits(s, x, net), y);
    ht_vars w = nn_params(s), g = ht_grad(loss, w);
    ht_write(t->store, nn_adam(.state = t->state, .weights = w, .gradients = g, .rate = 1e-2));
    t->program = ht_compile(tape, device, ht_list(loss), .error = error, .check = check, .memory_limit = limit);
    ht_tape_free(tape);
}

static trainer trainer_new(ht_dtype dtype, int32_t check)
{
    ht_error error = {0};
    trainer t = {.store = ht_store_new(device), .state = ht_store_new(device)};
    record_step(&t, dtype, check, 0, &error);
    if (!t.program) return tap_ok(0, "trainer: %s", error.message), t;
    double numbers[IMAGE];
    float narrow[IMAGE];
    for (int i = 0; i < 2; i++) {
        int64_t count = i == 0 ? IMAGE : TARGET;
        kit_fill(numbers, count, (uint64_t)i, 0, 1);
        for (int64_t k = 0; k < count; k++) narrow[k] = (float)numbers[k];
        ht_set_named(t.program, i == 0 ? "x" : "y", dtype == HT_F64 ? (void *)numbers : (void *)narrow, count);
    }
    return t;
}

static void trainer_free(trainer *t)
{
    ht_program_free(t->program);
    ht_store_free(t->store);
    ht_store_free(t->state);
}

/* ---- stores ---- */

/* The flag of the interrupt is the memory of a value that a step in the middle of the run computes. */
static void test_interrupt(void)
{
    trainer t = trainer_new(HT_F32, 0), twin = trainer_new(HT_F32, 0);
    if (!t.program || !twin.program) return;
    ht_program *p = t.program;
    for (int quarter = 1; quarter < 4; quarter++) {
        int32_t s = p->steps.count * quarter / 4;
        while (p->steps.at[s].kind != HTI_STEP_OP || p->values.at[p->steps.at[s].out].dtype != HT_F32) s++;
        const hti_buffer *buffer = &p->buffers.at[p->values.at[p->steps.at[s].out].buffer];
        volatile int *flag = (volatile int *)(void *)((char *)p->arena + buffer->offset);
        uint64_t before = ht_store_hash(t.store), state = ht_store_hash(t.state);
        *flag = 0;
        p->interrupt = flag;
        ht_status status = ht_run(p);
        tap_ok(status == HT_EINTERRUPTED && strstr(ht_program_error(p)->message, "nothing was changed"),
               "a run is stopped on request: %s", ht_program_error(p)->message);
        tap_ok(before == ht_store_hash(t.store) && state == ht_store_hash(t.state), "and the stores are bitwise as before");
        tap_ok(ht_run(p) == HT_EINTERRUPTED, "it stays stopped");
        p->interrupt = NULL;
        ht_resume(p);
        tap_ok(ht_program_error(p)->status == HT_OK && ht_run(p) == HT_OK && ht_run(twin.program) == HT_OK &&
                   ht_store_hash(t.store) != before && ht_store_hash(t.store) == ht_store_hash(twin.store) &&
                   ht_store_hash(t.state) == ht_store_hash(twin.state),
               "resumed, it does what one that was never stopped does");
    }
    trainer_free(&t);
    trainer_free(&twin);
}

static void test_commit(void)
{
    ht_error error = {0};
    ht_store *a = ht_store_new(device), *b = ht_store_new(device);
    double one[3] = {1, 2, 3}, two[3] = {-4, -5, -6}, got[9];
    ht_store_add(a, "w", HT_F64, HT_SHAPE(3), HT_PARAMETER, &error);
    ht_store_add(b, "w", HT_F64, HT_SHAPE(3), HT_PARAMETER, &error);
    ht_store_add(a, "row", HT_F64, HT_SHAPE(1, 3), HT_BUFFER, &error);
    ht_store_set(a, "w", one, 3, &error);
    ht_store_set(b, "w", two, 3, &error);
    ht_tape *tape = ht_tape_new(HT_F64);
    ht_var va = ht_read_one(tape, a, "w"), vb = ht_read_one(tape, b, "w");
    ht_write_one(a, "w", vb);
    ht_write_one(b, "w", va);
    ht_write_one(a, "row", ht_reshape(va, HT_SHAPE(1, 3)));
    ht_program *p = ht_compile(tape, device, ht_list(va, ht_scale(vb, 2), ht_reshape(va, HT_SHAPE(3, 1))), .error = &error);
    ht_tape_free(tape);
    if (!tap_ok(p != NULL, "a program of reads and writes alone: %s", error.message)) return;
    tap_ok(ht_store_free(a) == HT_EINVALID && ht_store_find(a, "w") == 0, "a store that a program reads is not freed");
    tap_ok(ht_run(p) == HT_OK, "the tape is freed, the program runs");
    for (int32_t i = 0; i < 3; i++) ht_get_at(p, i, got + 3 * i, 3);
    tap_ok(memcmp(got, one, sizeof one) == 0 && memcmp(got + 6, one, sizeof one) == 0 && got[3] == -8,
           "outputs that are reads keep the value from before the commit");
    ht_store_get(a, "w", got, 3, &error);
    ht_store_get(b, "w", got + 3, 3, &error);
    ht_store_get(a, "row", got + 6, 3, &error);
    tap_ok(memcmp(got, two, sizeof two) == 0 && memcmp(got + 3, one, sizeof one) == 0, "two tensors are swapped");
    tap_ok(memcmp(got + 6, one, sizeof one) == 0, "a view of a read is written as it was before the commit");
    ht_run(p);
    ht_get_at(p, 0, got, 3);
    tap_ok(memcmp(got, two, sizeof two) == 0, "the next run reads what the last one wrote");
    ht_program_free(p);
    tap_ok(ht_store_free(a) == HT_OK && ht_store_free(b) == HT_OK, "without a program the stores are freed");
}

/* A pointwise op of values that all repeat along an axis is computed once for it. */
static void test_repeated(void)
{
    ht_error error = {0};
    ht_tape *tape = ht_tape_new(HT_F64);
    const ht_shape whole = HT_SHAPE(2, 3, 4, 5);
    ht_var a = ht_input(tape, "a", HT_SHAPE(1, 3, 1, 1)), b = ht_input(tape, "b", HT_SHAPE(1, 1, 4, 1));
    ht_var both = ht_tanh(ht_add(ht_broadcast_to(a, whole), ht_broadcast_to(b, whole)));
    ht_vars outputs = ht_list(both, ht_sum_to(both, HT_SHAPE(1, 3, 1, 1)));
    ht_program *p = ht_compile(tape, device, outputs, .error = &error, .check = 1);
    if (!tap_ok(p != NULL, "repeated values compile: %s", error.message)) return;
    double x[3] = {0.1, 0.2, 0.3}, y[4] = {-1, 0, 1, 2}, got[120], sums[3];
    int32_t steps = 0, wrong = 0;
    for (int32_t s = 0; s < p->steps.count; s++)
        if (p->steps.at[s].op->id == HTI_OP_tanh && p->steps.at[s].kind == HTI_STEP_OP)
            steps += ht_shape_count(p->values.at[p->steps.at[s].out].shape) == 12;
    ht_set(p, a, x, 3);
    ht_set(p, b, y, 4);
    tap_ok(ht_run(p) == HT_OK && ht_get_at(p, 0, got, 120) == HT_OK && ht_get_at(p, 1, sums, 3) == HT_OK, "and run");
    for (int32_t i = 0; i < 120; i++) wrong += fabs(got[i] - tanh(x[i / 20 % 3] + y[i / 5 % 4])) > 1e-15;
    double sum = 0;
    for (int32_t i = 0; i < 4; i++) sum += 10 * tanh(x[1] + y[i]);
    tap_ok(steps == 1 && wrong == 0 && fabs(sums[1] - sum) < 1e-13,
           "a pointwise op of values that repeat is computed once (%d off)", (int)wrong);
    ht_program_free(p);
    ht_tape_free(tape);
}

/* ---- updates in place ---- */

enum { TENSORS = 8, IN_PLACE_SEEDS = 60 };

static const ht_shape tensor_shapes[2] = {{2, {4, 5}}, {2, {1, 5}}};

/* Half of the tensors are rows: one that repeats must not be changed under who reads it. */
static ht_store *random_store(uint64_t seed)
{
    ht_error error = {0};
    ht_store *store = ht_store_new(device);
    for (int32_t i = 0; i < TENSORS; i++) {
        double numbers[20];
        char name[8];
        snprintf(name, sizeof name, "t%d", (int)i);
        kit_fill(numbers, 20, seed * TENSORS + (uint64_t)i, -1, 1);
        ht_store_add(store, name, HT_F64, tensor_shapes[i % 2], HT_PARAMETER, &error);
        ht_store_set(store, name, numbers, ht_shape_count(tensor_shapes[i % 2]), &error);
    }
    return store;
}

/* Writes some tensors by random pointwise steps from others, sums and products that stay out of the commit section. */
static ht_program *random_updates(ht_store *store, uint64_t seed, int32_t check, ht_error *error)
{
    uint64_t drawn = 0;
    ht_tape *tape = ht_tape_new(HT_F64);
    ht_var old[TENSORS], made[2 * TENSORS], keep = {0};
    for (int32_t i = 0; i < TENSORS; i++) old[i] = ht_read_one(tape, store, ht_store_name(store, i));
    for (int32_t i = 0; i < 2 * TENSORS; i++) {
        const uint64_t word = ht_random_word(seed, 1, drawn++);
        ht_var a = old[word % TENSORS], b = old[word >> 8 & (TENSORS - 1)];
        if (i > 0 && (word >> 16 & 3) == 0) b = made[word >> 20 & (uint64_t)(i - 1)];
        if ((word >> 24 & 3) == 0) b = ht_mean(ht_square(b));
        if ((word >> 26 & 7) == 0) a = ht_matmul(ht_matmul(a, a, .transpose_b = 1), a);
        made[i] = ht_tanh(ht_add(ht_scale(a, 0.9), ht_mul(ht_sin(a), b)));
        if (i == 0) keep = ht_mean(made[0]);
    }
    for (int32_t i = 0; i < TENSORS - 1; i++) {
        const uint64_t word = ht_random_word(seed, 2, drawn++);
        ht_var next = made[word % (2 * TENSORS)];
        if ((word >> 8 & 7) == 0) next = old[word >> 12 & (TENSORS - 1)];
        if ((word >> 16 & 7) == 0) continue;
        const bool fits = ht_shape_count(ht_var_shape(next)) == ht_shape_count(tensor_shapes[i % 2]);
        if (fits && ht_random_word(seed, 3, drawn) % 2 == 0) { /* a value that others read too */
            ht_write_one(store, ht_store_name(store, i), next);
            continue;
        }
        next = ht_broadcast_to(ht_mean_to(next, HT_SHAPE(1, 5)), tensor_shapes[i % 2]);
        /* by another's old value, of the same shape or a row that repeats */
        const int32_t other = (int32_t)(word >> 25) & (TENSORS - 1);
        if ((word >> 24 & 1) != 0 && (other % 2 == 1 || i % 2 == 0)) next = ht_mul(old[other], next);
        if ((word >> 28 & 1) != 0) next = ht_add(ht_exp(ht_scale(next, 0.1)), ht_tanh(old[i]));
        if ((word >> 20 & 3) != 0) next = ht_add(ht_scale(old[i], 0.5), ht_mul(next, ht_abs(old[i])));
        ht_write_one(store, ht_store_name(store, i), next);
        if (i == 0 && seed % 2 == 0) keep = ht_mean(ht_square(ht_mean_to(next, HT_SHAPE(1, 5))));
        if (i == 1 && seed % 4 == 0)
            ht_write_one(store, ht_store_name(store, 7), ht_scale(ht_broadcast_to(keep, HT_SHAPE(1, 5)), 2));
    }
    ht_program *p = ht_compile(tape, device, ht_list(keep), .error = error, .check = check);
    ht_tape_free(tape);
    return p;
}

/* Check mode writes stores by copies alone. */
static void test_in_place(void)
{
    int32_t differ = 0, copied = 0, in_place = 0;
    for (uint64_t seed = 0; seed < IN_PLACE_SEEDS; seed++) {
        ht_error error = {0};
        ht_store *one = random_store(seed), *other = random_store(seed);
        ht_program *p = random_updates(one, seed, 0, &error), *plain = random_updates(other, seed, 1, &error);
        for (int32_t run = 0; p && plain && run < 3; run++)
            differ += ht_run(p) != HT_OK || ht_run(plain) != HT_OK || ht_store_hash(one) != ht_store_hash(other);
        for (int32_t i = 0; p && i < p->commits.count; i++) {
            in_place += p->commits.at[i].in_place;
            copied += !p->commits.at[i].in_place;
        }
        if (!p || !plain) tap_ok(0, "updates: %s", error.message);
        ht_program_free(p);
        ht_program_free(plain);
        ht_store_free(one);
        ht_store_free(other);
    }
    tap_ok(differ == 0, "stores that are updated in place have the bits of those written by copies (%d off)", (int)differ);
    tap_ok(in_place > 20 && copied > 20, "of the writes %d are in place, %d copies", (int)in_place, (int)copied);
}

/* Outputs and writes that are no results of an instruction, or are asked for twice; arrays without elements. */
static void test_odd(void)
{
    ht_error error = {0};
    ht_store *store = ht_store_new(device);
    ht_store_add(store, "a", HT_F64, HT_SHAPE(2, 3), HT_BUFFER, &error);
    ht_store_add(store, "b", HT_F64, HT_SHAPE(2, 3), HT_BUFFER, &error);
    ht_store_add(store, "c", HT_F64, HT_SHAPE(2, 3), HT_BUFFER, &error);
    ht_store_add(store, "d", HT_F64, HT_SHAPE(2, 3), HT_BUFFER, &error);
    ht_tape *tape = ht_tape_new(HT_F64);
    ht_var x = ht_input(tape, "x", HT_SHAPE(2, 3)), y = ht_exp(x), row = ht_input(tape, "row", HT_SHAPE(1, 3));
    ht_var nothing = ht_input(tape, "nothing", HT_SHAPE(0, 3)), joined = ht_concat(0, ht_list(nothing, y, nothing));
    ht_write_one(store, "a", x);
    ht_write_one(store, "b", y);
    ht_write_one(store, "c", y);
    ht_write_one(store, "d", ht_broadcast_to(row, HT_SHAPE(2, 3)));
    ht_vars outputs = ht_list(x, y, y, joined, ht_exp(nothing), ht_sum(nothing), ht_sum_to(nothing, HT_SHAPE(1, 3)));
    ht_program *p = ht_compile(tape, device, outputs, .error = &error);
    if (tap_ok(p != NULL, "odd outputs compile: %s", error.message)) {
        double numbers[6] = {0, 1, 2, 3, 4, 5}, got[4][6], sums[4] = {9, 9, 9, 9};
        ht_set(p, x, numbers, 6);
        ht_set(p, row, numbers + 3, 3);
        tap_ok(ht_set(p, nothing, NULL, 0) == HT_OK && ht_run(p) == HT_OK, "and run: %s", ht_program_error(p)->message);
        for (int32_t i = 0; i < 4; i++) ht_get_at(p, i, got[i], 6);
        tap_ok(memcmp(got[0], numbers, sizeof numbers) == 0, "an input is an output");
        int same = got[1][5] == exp(5.0) || fabs(got[1][5] / exp(5.0) - 1) < 1e-15;
        tap_ok(same && memcmp(got[1], got[2], sizeof got[1]) == 0, "one value is an output twice");
        tap_ok(memcmp(got[1], got[3], sizeof got[1]) == 0, "parts without elements add nothing");
        tap_ok(ht_get_at(p, 4, got[0], 0) == HT_OK && ht_get_at(p, 5, sums, 1) == HT_OK &&
                   ht_get_at(p, 6, sums + 1, 3) == HT_OK && sums[0] == 0 && sums[1] == 0 && sums[3] == 0,
               "a sum of nothing is 0");
        for (int32_t i = 0; i < 4; i++) memcpy(got[i], ht_store_data(store, i), sizeof got[i]);
        tap_ok(memcmp(got[0], numbers, sizeof numbers) == 0, "an input is written");
        tap_ok(memcmp(got[1], got[2], sizeof got[1]) == 0, "one value is written twice");
        tap_ok(memcmp(got[3], numbers + 3, 3 * sizeof *numbers) == 0 && memcmp(got[3] + 3, numbers + 3, 3 * sizeof *numbers) == 0,
               "a broadcast is written");
    }
    ht_program_free(p);
    ht_tape_free(tape);
    ht_store_free(store);
}

static void print_profile(const ht_program *p, FILE *file)
{
    ht_error error = {0};
    if (ht_profile(p, HT_PROFILE_TABLE, file, &error) != HT_OK) printf("# %s\n", error.message);
}

static int says(void (*print)(const ht_program *, FILE *), const ht_program *p, const char *const *words)
{
    static char text[1 << 18];
    FILE *file = tmpfile();
    if (!file) return 0;
    print(p, file);
    rewind(file);
    text[fread(text, 1, sizeof text - 1, file)] = 0;
    fclose(file);
    int all = 1;
    for (; *words; words++) all = all && strstr(text, *words);
    return all;
}

static void test_texts(void)
{
    trainer t = trainer_new(HT_F32, 0);
    if (!t.program) return;
    ht_error error = {0};
    tap_ok(ht_profile(t.program, HT_PROFILE_TABLE, stdout, &error) == HT_EINVALID && strstr(error.message, ".profile = 1"),
           "nothing was timed, so there is no profile: %s", error.message);
    t.program->profile = 1;
    ht_run(t.program);
    tap_ok(says(ht_program_dump, t.program, (const char *const[]){"conv", "channels-last", "in middle", "kit.c:",
                                                                  "commit \"middle.weight\"", NULL}),
           "the dump names ops, orders, scopes, places and commits");
    tap_ok(says(print_profile, t.program,
                (const char *const[]){"conv_weight", "ms per run", "all", "middle", "kit.c:", NULL}),
           "the profile names ops, scopes and lines");
    for (int form = 0; form < 4; form++) {
        FILE *file = fopen("/dev/full", "w");
        error = (ht_error){0};
        ht_status status = file ? ht_profile(t.program, (ht_profile_form)form, file, &error) : HT_OK;
        tap_ok(status == (form < 3 ? HT_EIO : HT_EINVALID), "a full disk, or a form that is none, is said: %s", error.message);
        if (file) fclose(file);
    }
    FILE *null = fopen("/dev/null", "w");
    int said = 1, calls = 0;
    for (int form = 0; form < 3 && null; form++) {
        for (int after = 0, refused = 1; refused; after++, calls += refused) {
            error = (ht_error){0};
            int64_t at = refused_at = taken + after;
            ht_status status = ht_profile(t.program, (ht_profile_form)form, null, &error);
            refused = taken > at;
            said = said && status == (refused ? HT_ENOMEM : HT_OK);
        }
    }
    refused_at = -1;
    tap_ok(said && calls > 2, "no memory for a profile is said");
    if (null) fclose(null);
    trainer_free(&t);
}

/* ---- inputs that nobody sets: zero, whatever their memory held before ---- */

static void test_unset(void)
{
    ht_error error = {0};
    double numbers[3] = {1, 2, 3}, sum[3] = {0};
    ht_tape *tape = ht_tape_new(HT_F64);
    ht_var x = ht_input(tape, "x", HT_SHAPE(3)), y = ht_input(tape, "y", HT_SHAPE(3)), z = ht_add(x, y);
    ht_program *p = ht_compile(tape, device, ht_list(z), .error = &error);
    for (int32_t i = 0; p && i < p->inputs.count; i++)
        memset(p->buffers.at[p->values.at[p->inputs.at[i].value].buffer].fixed, 0x55, sizeof numbers);
    bool fits = p && ht_set_named(p, "x", numbers, 3) == HT_OK && ht_run(p) == HT_OK && ht_get(p, z, sum, 3) == HT_OK;
    tap_ok(fits && memcmp(sum, numbers, sizeof sum) == 0, "an input that nobody sets is zero");
    ht_program_free(p);
    ht_tape_free(tape);
}

/* ---- errors ---- */

typedef ht_status (*mistake)(ht_program *p, ht_var x, ht_var y);
static double some[8];
static ht_status set_count(ht_program *p, ht_var x, ht_var y) { return (void)y, ht_set(p, x, some, 3); }
static ht_status set_name(ht_program *p, ht_var x, ht_var y) { return (void)x, (void)y, ht_set_named(p, "imaeg", some, 4); }
static ht_status set_value(ht_program *p, ht_var x, ht_var y) { return (void)x, ht_set(p, y, some, 4); }
static ht_status get_count(ht_program *p, ht_var x, ht_var y) { return (void)x, ht_get(p, y, some, 5); }
static ht_status get_input(ht_program *p, ht_var x, ht_var y) { return (void)y, ht_get(p, x, some, 4); }
static ht_status get_after(ht_program *p, ht_var x, ht_var y) { return (void)x, (void)y, ht_get_at(p, 1, some, 4); }
static ht_status get_before(ht_program *p, ht_var x, ht_var y) { return (void)x, (void)y, ht_get_at(p, -1, some, 4); }

static void test_mistakes(void)
{
    static const struct { mistake make; const char *what; ht_status status; } table[] = {
        {set_count, "set: wrong count", HT_ESHAPE}, {set_name, "set: wrong name", HT_EINVALID},
        {set_value, "set: not an input", HT_EINVALID}, {get_count, "get: wrong count", HT_ESHAPE},
        {get_input, "get: not an output", HT_EINVALID}, {get_after, "get: number too high", HT_EINVALID},
        {get_before, "get: number below 0", HT_EINVALID}};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        ht_error error = {0};
        ht_tape *tape = ht_tape_new(HT_F64);
        ht_var x = ht_input(tape, "image", HT_SHAPE(4)), y = ht_exp(x), unused = ht_input(tape, "unused", HT_SHAPE(2));
        ht_program *p = ht_compile(tape, device, ht_list(y), .error = &error);
        tap_ok(ht_set(p, x, some, 4) == HT_OK && ht_set(p, unused, some, 2) == HT_OK &&
                   ht_set_named(p, "unused", some, 2) == HT_OK && ht_run(p) == HT_OK,
               "an input that nothing needs may be set");
        ht_status status = table[i].make(p, x, y);
        char first[HT_MESSAGE_BYTES];
        snprintf(first, sizeof first, "%s", ht_program_error(p)->message);
        tap_ok(status == table[i].status, "%s is refused: %s", table[i].what, first);
        tap_ok(ht_run(p) == status && ht_get(p, y, some, 4) == status && ht_set(p, x, some, 4) == status &&
                   ht_set(p, x, some, 1) == status && strcmp(first, ht_program_error(p)->message) == 0,
               "and sticks");
        ht_resume(p);
        tap_ok(ht_run(p) == status, "resume does not clear it");
        ht_program_free(p);
        ht_tape_free(tape);
    }
    ht_error error = {0};
    ht_tape *tape = ht_tape_new(HT_F64);
    ht_var y = ht_exp(ht_input(tape, "x", HT_SHAPE(4)));
    ht_program *p = ht_compile(tape, device, ht_list(y), .error = &error);
    tap_ok(ht_get(p, y, some, 4) == HT_EINVALID, "there is nothing to get before a run: %s", ht_program_error(p)->message);
    ht_program_free(p);
    tap_ok(!ht_compile(tape, NULL, ht_list(y), .error = &error) && error.status == HT_EINVALID, "no device: %s", error.message);
    ht_tape_free(tape);
}

static void test_check(void)
{
    for (int wide = 0; wide < 2; wide++) {
        ht_error error = {0};
        ht_tape *tape = ht_tape_new(wide ? HT_F64 : HT_F32);
        ht_var x = ht_input(tape, "x", HT_SHAPE(3));
        char here[64];
        ht_scope_push(tape, "S/head");
        snprintf(here, sizeof here, "test_program.c:%d", __LINE__ + 1);
        ht_var bad = ht_log(ht_offset(x, -1));
        ht_scope_pop(tape);
        ht_var y = ht_sum(ht_mul(bad, ht_exp(bad)));
        ht_program *p = ht_compile(tape, device, ht_list(y), .error = &error, .check = 1);
        ht_tape_free(tape);
        double numbers[3] = {2, 3, 4};
        float narrow[3] = {2, 3, 4};
        ht_set_named(p, "x", wide ? (void *)numbers : (void *)narrow, 3);
        tap_ok(ht_run(p) == HT_OK, "finite numbers pass the check");
        numbers[1] = 0.5; /* log(x - 1): NaN */
        narrow[1] = 1;    /* minus infinity */
        ht_set_named(p, "x", wide ? (void *)numbers : (void *)narrow, 3);
        tap_ok(ht_run(p) == HT_EINVALID && strstr(ht_program_error(p)->message, here) &&
                   strstr(ht_program_error(p)->message, "log \"S/head\""),
               "the check names the first %s: %s", wide ? "NaN" : "infinity", ht_program_error(p)->message);
        tap_ok(ht_run(p) == HT_EINVALID, "and the program stays stopped");
        ht_program_free(p);
    }
    trainer t = trainer_new(HT_F32, 1);
    if (!t.program) return;
    tap_ok(ht_run(t.program) == HT_OK, "a training step passes the check");
    *(float *)ht_store_data(t.store, ht_store_find(t.store, "middle.weight")) = NAN;
    uint64_t before = ht_store_hash(t.store);
    tap_ok(ht_run(t.program) == HT_EINVALID && strstr(ht_program_error(t.program)->message, "conv \"middle\""),
           "a weight that is NaN shows at its layer: %s", ht_program_error(t.program)->message);
    tap_ok(ht_store_hash(t.store) == before, "and the store is bitwise as before");
    trainer_free(&t);
}

/* ---- memory ---- */

static void test_no_allocation(void)
{
    for (int wide = 0; wide < 2; wide++) {
        trainer t = trainer_new(wide ? HT_F64 : HT_F32, 0);
        if (!t.program) return;
        int64_t before = taken, middle;
        tap_ok(before > 0, "allocations are seen");
        ht_run(t.program);
        middle = taken;
        for (int i = 0; i < 3; i++) ht_run(t.program);
        tap_ok(taken == before, "%s: the first run takes memory %lld times, three more %lld times", wide ? "f64" : "f32",
               (long long)(middle - before), (long long)(taken - middle));
        trainer_free(&t);
    }
}

static size_t arena_of(ht_dtype dtype)
{
    trainer t = trainer_new(dtype, 0);
    size_t bytes = t.program ? ht_program_describe(t.program).arena_bytes : 0;
    trainer_free(&t);
    return bytes;
}

/*
 * Record, compile and run with the n-th allocation refused: ENOMEM or success, and nothing is lost. f64: for every n;
 * f32, and within a limit of memory, where compiling takes longer: for all of the early ones, then for fewer and fewer.
 */
static void test_refusals(ht_dtype dtype, size_t limit)
{
    int64_t n = 0, tried = 0, wrong = 0, succeeded = 0;
    for (int done = 0; !done; tried++, n += (dtype == HT_F32 || limit) && n > 40 ? 1 + n / 40 : 1) {
        ht_error error = {0};
        trainer t = {.store = ht_store_new(device), .state = ht_store_new(device)};
        taken = 0;
        refused_at = n;
        record_step(&t, dtype, 0, limit, &error);
        done = taken <= n;
        refused_at = -1;
        int fine = t.program ? ht_run(t.program) == HT_OK : error.status == HT_ENOMEM;
        if (!fine) printf("# allocation %lld: %s %s\n", (long long)n, ht_status_name(error.status), error.message);
        wrong += !fine;
        succeeded += t.program && !done;
        trainer_free(&t);
    }
    tap_ok(wrong == 0, "%s%s: one of %lld allocations refused, %lld times: ENOMEM, but for %lld that could be done without",
           ht_dtype_name(dtype), limit ? ", computing again" : "", (long long)n, (long long)tried, (long long)succeeded);
}

int main(void)
{
    ht_error error = {0};
    device = ht_device_open("cpu", 2, &error);
    if (!tap_ok(device != NULL, "device: %s", error.message)) return tap_done();
    test_interrupt();
    test_commit();
    test_repeated();
    test_in_place();
    test_odd();
    test_texts();
    test_unset();
    test_mistakes();
    test_check();
    test_no_allocation();
    test_refusals(HT_F64, 0);
    test_refusals(HT_F32, 0);
    test_refusals(HT_F64, arena_of(HT_F64) / 10 * 9);
    ht_device_close(device);
    return tap_done();
}
