/*
 * Recording: equal calls are one value, the first error stays and says where, stores read what was written before, cuts
 * of a derivative are found and named. Nothing here runs but what reads and writes need.
 */
#include <stdio.h>
#include <string.h>

#include <ht/ht.h>

#include "kit.h"
#include "tap.h"
#include "tape/tape_internal.h"

static ht_device *device;

static int same(ht_var a, ht_var b) { return ht_ok(a) && a.tape == b.tape && a.id == b.id; }

/* The tape's error has the status and every one of the words (ended by NULL). */
static void check_error(const ht_tape *tape, ht_status status, const char *what, const char *const *words)
{
    const ht_error *error = ht_tape_error(tape);
    int found = error->status == status;
    for (; *words; words++) {
        if (strstr(error->message, *words)) continue;
        found = 0;
        printf("# not in the message: %s\n", *words);
    }
    tap_ok(found, "%s: %s: %s", what, ht_status_name(error->status), error->message);
}
#define CHECK_ERROR(tape, status, what, ...) \
    check_error(tape, status, what, (const char *const[]){__VA_ARGS__, NULL})

/* A loss that was never recorded has no tape to mark: that of the inputs is. */
static void test_empty_losses(void)
{
    static const char *const names[] = {"grad", "vjp", "jvp"};
    for (int32_t k = 0; k < 3; k++) {
        ht_tape *tape = ht_tape_new(HT_F64);
        ht_var none = {0}, x = ht_input(tape, "x", HT_SHAPE(2));
        const ht_vars nothing = {.at = &none, .count = 1};
        const ht_vars given = k == 0   ? ht_grad(none, ht_list(x))
                              : k == 1 ? ht_vjp(nothing, nothing, ht_list(x))
                                       : ht_jvp(nothing, ht_list(x), ht_list(x));
        const ht_error *e = ht_tape_error(tape);
        tap_ok(given.count == 1 && !ht_ok(given.at[0]) && e->status != HT_OK && strstr(e->message, names[k]) &&
                   strstr(e->message, "tests/test_tape.c:"), "%s of a value that was never recorded: %s", names[k], e->message);
        ht_tape_free(tape);
    }
}

/* Sums stand as they were written; those of a derivative draw factors out, but for what may cancel. */
static void test_factors(void)
{
    ht_tape *tape = ht_tape_new(HT_F64);
    const ht_shape columns = HT_SHAPE(1, 3), whole = HT_SHAPE(2, 3);
    ht_var x = ht_input(tape, "x", whole), y = ht_input(tape, "y", whole), g = ht_input(tape, "g", columns);
    ht_var shift = ht_input(tape, "shift", columns), all = ht_broadcast_to(g, whole);
    ht_var moved = ht_add(x, ht_broadcast_to(shift, whole));
    tap_ok(hti_is(ht_sum_to(ht_mul(x, all), columns), HTI_OP_sum_to) &&
               hti_is(ht_sum_to(ht_scale(x, 0.5), columns), HTI_OP_sum_to), "sums are recorded as they were written");
    ht_var one = ht_grad(ht_sum(ht_sin(ht_mul(moved, all))), ht_list(shift)).at[0];
    tap_ok(hti_is(one, HTI_OP_mul) && same(hti_node_of(one)->in[1], g),
           "a derivative's draw a factor out that is the same for all");
    ht_var two = ht_grad(ht_sum(ht_mul(ht_sin(ht_add(moved, ht_mul(moved, all))), y)), ht_list(shift)).at[0];
    tap_ok(hti_is(two, HTI_OP_sum_to), "what may cancel stays together");
    ht_tape_free(tape);
}

/* Inputs for a sample, by the names x0, x1, ... */
static void sample_inputs(ht_tape *tape, const hti_sample *sample, ht_var in[4])
{
    char name[16];
    for (int32_t k = 0; k < sample->inputs; k++) {
        snprintf(name, sizeof name, "x%d", (int)k);
        in[k] = ht_input(tape, name, sample->shape[k]);
    }
}

/* Values of a shape that recording could look through. */
static ht_var made(ht_var x, int way)
{
    const ht_shape shape = ht_var_shape(x);
    ht_shape ones = shape, flat = HT_SHAPE(ht_shape_count(shape)), zeros = shape;
    ht_shape turned = shape, back = shape; /* the first axis last, and to the front again */
    for (int32_t i = 0, n = shape.rank; i < n; i++) {
        ones.dim[i] = 1;
        zeros.dim[i] = 0;
        turned.dim[i] = (i + 1) % n;
        back.dim[i] = (i + n - 1) % n;
    }
    const ht_var g = ht_input(x.tape, "factor", ones), other = ht_input(x.tape, "other", shape);
    switch (way) {
    case 0: return ht_scale(x, 2);
    case 1: return ht_mul(x, ht_broadcast_to(g, shape));
    case 2: return ht_reshape(ht_reshape(x, flat), shape);
    case 3: return ht_add(ht_scale(x, 2), other);
    case 4: return ht_neg(ht_affine(x, 3, 1));
    case 5: return ht_permute(ht_permute(x, turned), back);
    case 6: return ht_sub(other, ht_mul(x, ht_broadcast_to(g, shape)));
    default: return ht_slice(ht_concat(0, ht_list(x, other)), zeros, shape);
    }
}

/* Whether a chain of two gradients depends on x, which is input k of a sample; `way` < 0: as it is. */
static int depends(const hti_sample *sample, int32_t k, int way, int order)
{
    ht_tape *tape = ht_tape_new(HT_F64);
    ht_var in[4];
    sample_inputs(tape, sample, in);
    const ht_var before = ht_input(tape, "before", HT_SCALAR); /* what derivatives may look through ends with them */
    (void)ht_grad(ht_sin(before), ht_list(before));
    if (way >= 0 && sample->shape[k].rank > 0) in[k] = made(in[k], way);
    ht_var y = ht_sum(ht_sin(sample->record(tape, in)));
    for (int i = 0; i < order && ht_ok(y); i++)
        y = ht_sum(ht_sin(ht_vjp(ht_list(y), ht_list(ht_fill(tape, 1, HT_SCALAR)), ht_list(in[k])).at[0]));
    const int found = ht_tape_error(tape)->status != HT_OK ? -1 : ht_reaches(y, in[k], NULL, 0);
    ht_tape_free(tape);
    return found;
}

/* A value that was made from others is as good a leaf as an input: nothing is recorded past it. */
static void test_made_leaves(void)
{
    int64_t tried = 0, bad = 0;
    for (int32_t id = 0; id < HTI_OPS; id++)
        for (int32_t i = 0; i < hti_ops[id]->sample_count; i++) {
            const hti_sample *sample = &hti_ops[id]->samples[i];
            for (int32_t k = 0; k < sample->inputs; k++)
                for (int order = 0; order < 3; order++)
                    for (int way = 0, plain = depends(sample, k, -1, order); way < 8; way++, tried++) {
                        if (depends(sample, k, way, order) == plain) continue;
                        if (bad++ < 5) printf("# %s (%s) in %d, made in way %d, order %d\n", hti_ops[id]->name, sample->name,
                                              (int)k, way, order);
                    }
        }
    tap_ok(tried > 1000 && bad == 0, "%lld leaves that were made from others are found as inputs are", (long long)tried);
}

/* What a derivative reads in place of a stretched value cannot be differentiated in that value, and says so. */
static void test_stretched_leaf(void)
{
    ht_tape *tape = ht_tape_new(HT_F64);
    ht_var x = ht_input(tape, "x", HT_SHAPE(2, 3)), g = ht_input(tape, "g", HT_SHAPE(1, 3));
    ht_var all = ht_broadcast_to(g, HT_SHAPE(2, 3)), shift = ht_input(tape, "shift", HT_SHAPE(1, 3));
    ht_var loss = ht_sum(ht_sin(ht_mul(ht_add(x, ht_broadcast_to(shift, HT_SHAPE(2, 3))), all)));
    ht_vars first = ht_grad(loss, ht_list(all, shift));
    tap_ok(ht_tape_error(tape)->status == HT_OK && first.count == 2, "a stretched value is a leaf");
    ht_var slope = ht_sum(ht_square(first.at[1]));
    tap_ok(ht_grad(slope, ht_list(g)).count == 1 && ht_tape_error(tape)->status == HT_OK, "and what it was made from another");
    (void)ht_grad(slope, ht_list(all));
    CHECK_ERROR(tape, HT_EINVALID, "a derivative past a stretched leaf", "stretched", "tests/test_tape.c:");
    ht_tape_free(tape);
    tape = ht_tape_new(HT_F64);
    x = ht_input(tape, "x", HT_SHAPE(2, 3));
    shift = ht_input(tape, "shift", HT_SHAPE(1, 3));
    all = ht_broadcast_to(ht_input(tape, "g", HT_SHAPE(1, 3)), HT_SHAPE(2, 3));
    loss = ht_sum(ht_sin(ht_mul(ht_add(x, ht_broadcast_to(shift, HT_SHAPE(2, 3))), all)));
    slope = ht_sum(ht_square(ht_grad(loss, ht_list(shift)).at[0]));
    (void)ht_jvp(ht_list(slope), ht_list(all), ht_list(x));
    CHECK_ERROR(tape, HT_EINVALID, "forwards too", "stretched", "tests/test_tape.c:");
    ht_tape_free(tape);
}

static void test_consing(void)
{
    ht_tape *tape = ht_tape_new(HT_F64);
    ht_var x = ht_input(tape, "x", HT_SHAPE(2, 3)), y = ht_input(tape, "y", HT_SHAPE(2, 3));
    tap_ok(same(ht_exp(x), ht_exp(x)), "the same call is the same value");
    tap_ok(!same(ht_exp(x), ht_exp(y)), "another input is another value");
    tap_ok(!same(ht_exp(x), ht_log(x)), "another op is another value");
    tap_ok(same(ht_affine(x, 2, 1), ht_affine(x, 2, 1)), "equal attributes, one value");
    tap_ok(!same(ht_affine(x, 2, 1), ht_affine(x, 2, 1.5)), "other attributes, another value");
    tap_ok(same(ht_permute(x, HT_SHAPE(1, 0)), ht_permute(x, HT_SHAPE(1, 0))), "equal orders, one value");
    tap_ok(!same(ht_slice(x, HT_SHAPE(0, 0), HT_SHAPE(2, 1)), ht_slice(x, HT_SHAPE(0, 1), HT_SHAPE(2, 1))),
           "other blocks, other values");
    tap_ok(same(ht_fill(tape, 3, HT_SHAPE(2)), ht_fill(tape, 3, HT_SHAPE(2))), "equal constants, one value");
    tap_ok(!same(ht_fill(tape, 3, HT_SHAPE(2)), ht_fill(tape, 3, HT_SHAPE(2, 1))), "another shape, another constant");
    tap_ok(!same(ht_fill(tape, 0.0, HT_SHAPE(2)), ht_fill(tape, -0.0, HT_SHAPE(2))), "0 and -0 are two constants");
    tap_ok(same(ht_add(x, ht_fill(tape, 0, HT_SCALAR)), x) && same(ht_mul(x, ht_fill(tape, 1, HT_SCALAR)), x),
           "x + 0 and 1 x are x");
    tap_ok(same(ht_sum(ht_mul(x, y)), ht_sum(ht_mul(x, y))), "whole expressions are shared");
    ht_var draw[3];
    for (int i = 0; i < 3; i++)
        draw[i] = ht_uniform(.tape = tape, .shape = HT_SHAPE(4), .seed = 1, .stream = i < 2 ? "a" : "b");
    tap_ok(same(draw[0], draw[1]) && !same(draw[0], draw[2]), "equal streams draw one value, others another");
    /* Enough to make the table grow several times; then the first ones are still found. */
    ht_var z = x, early = ht_sin(x);
    for (int i = 0; i < 5000; i++) z = ht_tanh(z);
    ht_error error = {0};
    tap_ok(same(ht_sin(x), early) && same(ht_exp(x), ht_exp(x)), "values are found again on a tape of 5000");
    tap_ok(ht_tape_error(tape)->status == HT_OK && ht_verify(tape, &error) == HT_OK, "and it is well formed");
    ht_tape_free(tape);
}

static void test_sticky(void)
{
    ht_tape *tape = ht_tape_new(HT_F64);
    ht_scope_push(tape, "G");
    ht_scope_push(tape, "enc0");
    tap_ok(strcmp(ht_scope_path(tape), "G/enc0") == 0, "scopes nest: %s", ht_scope_path(tape));
    ht_var x = ht_input(tape, "x", HT_SHAPE(3, 4)), y = ht_input(tape, "y", HT_SHAPE(3, 5));
    char here[64];
    snprintf(here, sizeof here, "test_tape.c:%d", __LINE__ + 1);
    ht_var bad = ht_add(x, y);
    CHECK_ERROR(tape, HT_ESHAPE, "a sum of shapes that do not fit", "add", "[3,4]", "[3,5]", "G/enc0", here);
    char first[HT_MESSAGE_BYTES];
    snprintf(first, sizeof first, "%s", ht_tape_error(tape)->message);
    tap_ok(!ht_ok(bad), "its value is empty");
    ht_var z = ht_exp(bad);
    ht_var w = ht_mul(x, x);
    ht_vars g = ht_grad(w, ht_list(x));
    tap_ok(!ht_ok(z) && !ht_ok(w) && g.count == 1 && !ht_ok(g.at[0]) && !ht_ok(ht_input(tape, "z", HT_SHAPE(1))) &&
               !ht_ok(ht_conv(.x = x, .w = y)) && !ht_ok(ht_matmul(.a = x, .b = y)) && !ht_ok(ht_stop(x)),
           "every later call returns empty");
    ht_tape_fail(tape, "elsewhere", HT_EINVALID, "something else");
    tap_ok(strcmp(first, ht_tape_error(tape)->message) == 0, "the first error stays");
    ht_error error = {0};
    tap_ok(!ht_compile(tape, device, ht_list(x), .error = &error) && error.status == HT_ESHAPE &&
               strcmp(error.message, first) == 0,
           "compile reports it");
    ht_scope_pop(tape);
    ht_scope_pop(tape);
    ht_scope_pop(tape);
    tap_ok(strcmp(ht_scope_path(tape), "") == 0, "a pop too many is harmless");
    ht_tape_free(tape);

    tape = ht_tape_new(HT_F64);
    ht_scope_push(tape, "S");
    x = ht_input(tape, "x", HT_SHAPE(1, 3, 4, 4));
    y = ht_input(tape, "w", HT_SHAPE(2, 5, 3, 3));
    snprintf(here, sizeof here, "test_tape.c:%d", __LINE__ + 1);
    ht_conv(x, y);
    CHECK_ERROR(tape, HT_ESHAPE, "conv of wrong channels", "conv", "\"S\"", "[1,3,4,4]", "[2,5,3,3]", here);
    ht_tape_free(tape);

    tape = ht_tape_new(HT_I32);
    tap_ok(ht_tape_error(tape)->status == HT_EDTYPE, "a tape of integers is refused: %s", ht_tape_error(tape)->message);
    ht_tape_free(tape);
}

static void test_misuse(void)
{
    ht_tape *a = ht_tape_new(HT_F64), *b = ht_tape_new(HT_F64);
    ht_var x = ht_input(a, "x", HT_SHAPE(3)), y = ht_input(b, "y", HT_SHAPE(3)), none = {0};
    for (int i = 0; i < 4000; i++) y = ht_tanh(y); /* ids far beyond those of the first tape */
    ht_add(x, y);
    CHECK_ERROR(a, HT_EINVALID, "a sum over two tapes", "add", "two tapes", "test_tape.c:");
    tap_ok(ht_tape_error(b)->status == HT_OK, "the other tape goes on");
    ht_tape_free(a);

    enum { WAYS = 8 };
    for (int i = 0; i < WAYS; i++) {
        a = ht_tape_new(HT_F64);
        x = ht_input(a, "x", HT_SCALAR);
        ht_var s = ht_sum(y), one = ht_fill(a, 1, HT_SCALAR);
        if (i == 0) ht_mul(x, ht_fill(b, 2, HT_SCALAR));
        if (i == 1) ht_grad(ht_square(x), ht_list(y));
        if (i == 2) ht_vjp(ht_list(x, s), ht_list(one, one), ht_list(x));
        if (i == 3) ht_jvp(ht_list(x), ht_list(y), ht_list(y));
        if (i == 4) ht_jvp(ht_list(x, s), ht_list(x), ht_list(one));
        if (i == 5) ht_concat(0, ht_list(ht_reshape(x, HT_SHAPE(1)), y));
        if (i == 6) ht_add(x, none);
        if (i == 7) ht_grad(ht_square(x), ht_list(x, none));
        tap_ok(ht_tape_error(a)->status != HT_OK && strstr(ht_tape_error(a)->message, "test_tape.c:"),
               "misuse %d is refused: %s", i, ht_tape_error(a)->message);
        ht_tape_free(a);
    }
    tap_ok(ht_tape_error(b)->status == HT_OK, "the other tape is still good");
    ht_error error = {0};
    a = ht_tape_new(HT_F64);
    tap_ok(!ht_compile(a, device, ht_list(y), .error = &error) && error.status == HT_EINVALID,
           "compile refuses an output of another tape: %s", error.message);
    ht_input(a, "x", HT_SHAPE(2));
    ht_input(a, "x", HT_SHAPE(3));
    CHECK_ERROR(a, HT_EINVALID, "one name for two inputs", "\"x\"", "unique", "test_tape.c:");
    ht_tape_free(a);
    a = ht_tape_new(HT_F32);
    ht_add(ht_input(a, "x", HT_SHAPE(2)), ht_input_of(a, "y", HT_F64, HT_SHAPE(2)));
    CHECK_ERROR(a, HT_EDTYPE, "a sum of two types", "add", "f32", "f64", "ht_cast");
    ht_tape_free(a);
    a = ht_tape_new(HT_F32);
    ht_exp(ht_input_of(a, "n", HT_I32, HT_SHAPE(2)));
    CHECK_ERROR(a, HT_EDTYPE, "a real function of integers", "exp", "i32", "ht_cast");
    ht_tape_free(a);
    a = ht_tape_new(HT_F32);
    ht_input(a, "x", HT_SHAPE(INT64_MAX / 2, 4));
    CHECK_ERROR(a, HT_ESHAPE, "a shape beyond 64 bits", "input");
    ht_tape_free(a);
    a = ht_tape_new(HT_F32);
    for (int i = 0; i < 100; i++) ht_scope_push(a, "deep");
    CHECK_ERROR(a, HT_EINVALID, "a hundred scopes", "nested deeper");
    ht_tape_free(a);
    ht_tape_free(b);
    ht_tape_free(NULL);
}

static void test_stores(void)
{
    ht_store *store = ht_store_new(device);
    double one[2] = {3, 4}, got[6];
    ht_store_add(store, "w", HT_F64, HT_SHAPE(2), HT_PARAMETER, NULL);
    ht_store_add(store, "v", HT_F64, HT_SHAPE(2), HT_PARAMETER, NULL);
    ht_store_add(store, "count", HT_I32, HT_SCALAR, HT_BUFFER, NULL);
    ht_store_set(store, "w", one, 2, NULL);
    ht_tape *tape = ht_tape_new(HT_F64);
    ht_var w = ht_read_one(tape, store, "w");
    tap_ok(same(w, ht_read_one(tape, store, "w")), "two reads without a write between them are one value");
    ht_vars all = ht_read(tape, store);
    tap_ok(all.count == 2 && same(all.at[0], w) && strcmp(all.names[1], "v") == 0, "a read of all gives the parameters");
    ht_var doubled = ht_scale(w, 2);
    ht_write_one(store, "w", doubled);
    tap_ok(same(ht_read_one(tape, store, "w"), doubled), "a read after a write is the written value");
    ht_write_one(store, "w", ht_offset(ht_read_one(tape, store, "w"), 1));
    ht_var last = ht_read_one(tape, store, "w");
    if (kit_run(device, ht_list(w, doubled, last), got))
        tap_ok(got[0] == 3 && got[2] == 6 && got[4] == 7 && got[5] == 9, "old, first and last value are told apart");
    ht_store_get(store, "w", got, 2, NULL);
    tap_ok(got[0] == 7 && got[1] == 9, "the store holds the last written value: %g %g", got[0], got[1]);
    ht_tape_free(tape);

    static const char *const what[] = {"another shape", "another type", "no such tensor", "too few values", "no such tensor"};
    static const ht_status status[] = {HT_ESHAPE, HT_EDTYPE, HT_EINVALID, HT_ESHAPE, HT_EINVALID};
    for (int i = 0; i < 5; i++) {
        tape = ht_tape_new(HT_F64);
        ht_var x = ht_fill(tape, 1, HT_SHAPE(3));
        if (i == 0) ht_write_one(store, "w", x);
        if (i == 1) ht_write_one(store, "w", ht_cast(ht_fill(tape, 1, HT_SHAPE(2)), HT_F32));
        if (i == 2) ht_write_one(store, "u", x);
        if (i == 3) ht_write(store, ht_list(x));
        if (i == 4) ht_read_one(tape, store, "u");
        tap_ok(ht_tape_error(tape)->status == status[i] && strstr(ht_tape_error(tape)->message, "test_tape.c:"),
               "%s %s: %s", i < 4 ? "a write of" : "a read of", what[i], ht_tape_error(tape)->message);
        ht_tape_free(tape);
    }
    ht_store_free(store);
}

static void test_lists(void)
{
    ht_tape *tape = ht_tape_new(HT_F64);
    ht_var x = ht_input(tape, "x", HT_SHAPE(2)), y = ht_input(tape, "y", HT_SHAPE(2));
    const char *names[] = {"one", "two"};
    ht_vars named = ht_vars_new(tape, (ht_var[]){x, y}, names, 2), plain = ht_list(y), none = {0};
    names[0] = "changed";
    ht_vars both = ht_vars_join(named, plain);
    tap_ok(both.count == 3 && same(both.at[0], x) && same(both.at[2], y) && strcmp(both.names[0], "one") == 0 &&
               strcmp(both.names[1], "two") == 0 && strcmp(both.names[2], "") == 0,
           "lists are joined with their names, which are copies");
    tap_ok(ht_vars_join(none, named).count == 2 && ht_vars_join(named, none).count == 2, "an empty list adds nothing");
    ht_vars g = ht_grad(ht_sum(ht_mul(x, y)), named);
    tap_ok(g.count == 2 && strcmp(g.names[1], "two") == 0, "a gradient has the names of its inputs");
    ht_vars stopped = ht_stop_all(named);
    tap_ok(stopped.count == 2 && strcmp(stopped.names[0], "one") == 0 && !same(stopped.at[0], x), "stopped values too");
    tap_ok(ht_tape_error(tape)->status == HT_OK, "nothing was refused");
    ht_tape_free(tape);
}

typedef ht_var (*cut_rule)(ht_var x);
static ht_var cut_stop(ht_var x) { return ht_stop(x); }
static ht_var cut_round(ht_var x) { return ht_round(x); }
static ht_var cut_argmax(ht_var x) { return ht_cast(ht_argmax(x, 0), HT_F64); }
static ht_var cut_greater(ht_var x) { return ht_greater(x, ht_fill(x.tape, 0, HT_SCALAR)); }
static ht_var cut_truncate(ht_var x) { return ht_cast(ht_cast(x, HT_I32), HT_F64); }
static ht_var cut_sign(ht_var x) { return ht_sign(x); }
static ht_var cut_condition(ht_var x)
{
    ht_var other = ht_input(x.tape, "other", HT_SHAPE(3));
    return ht_where(x, other, ht_neg(other));
}

static void test_cuts(void)
{
    static const struct { const char *name; cut_rule cut; } table[] = {
        {"stop", cut_stop}, {"round", cut_round}, {"argmax", cut_argmax}, {"greater", cut_greater},
        {"truncate", cut_truncate}, {"sign", cut_sign}, {"where", cut_condition}};
    char cut[200];
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        ht_tape *tape = ht_tape_new(HT_F64);
        ht_var x = ht_input(tape, "x", HT_SHAPE(3)), y = ht_exp(x), direct = ht_sum(y);
        ht_var loss = ht_sum(ht_square(table[i].cut(y)));
        tap_ok(ht_reaches(direct, x, cut, sizeof cut) == 1 && !*cut, "x reaches what depends on it");
        tap_ok(ht_reaches(loss, x, cut, sizeof cut) == 0 && strstr(cut, table[i].name) && strstr(cut, "test_tape.c:"),
               "a path through %s is cut: %s", table[i].name, cut);
        tap_ok(ht_reaches(ht_add(loss, direct), x, NULL, 0) == 1, "one uncut path is enough");
        const char *name = "alpha";
        ht_vars refused = ht_grad(loss, ht_vars_new(tape, &x, &name, 1));
        tap_ok(refused.count == 1 && !ht_ok(refused.at[0]), "grad refuses, and its list may be looked at");
        CHECK_ERROR(tape, HT_EINVALID, "and names input and cut", "\"alpha\"", "test_tape.c:", table[i].name, "zero");
        ht_tape_free(tape);
    }
    ht_tape *tape = ht_tape_new(HT_F64);
    ht_var x = ht_input(tape, "x", HT_SCALAR), y = ht_input(tape, "y", HT_SCALAR);
    tap_ok(ht_reaches(ht_square(x), y, cut, sizeof cut) == 0 && strstr(cut, "no path"), "no path at all: %s", cut);
    ht_vars zeros = ht_vjp(ht_list(ht_square(x)), ht_list(ht_fill(tape, 1, HT_SCALAR)), ht_list(y));
    tap_ok(zeros.count == 1 && ht_ok(zeros.at[0]), "vjp gives zeros where grad would refuse");
    ht_var middle = ht_exp(x);
    ht_grad(ht_square(middle), ht_list(x, middle));
    CHECK_ERROR(tape, HT_EINVALID, "an input that acts only through another", "another of the inputs");
    ht_tape_free(tape);
    tape = ht_tape_new(HT_F64);
    x = ht_input(tape, "x", HT_SHAPE(2));
    ht_grad(ht_exp(x), ht_list(x));
    CHECK_ERROR(tape, HT_ESHAPE, "a gradient of a vector", "[2]", "single number");
    ht_tape_free(tape);
}

/* Every sample of every op, with three derivatives recorded on top, is well formed. */
static void test_verify(void)
{
    int64_t tapes = 0, bad = 0;
    for (int32_t id = 0; id < HTI_OPS; id++)
        for (int32_t i = 0; i < hti_ops[id]->sample_count; i++, tapes++) {
            const hti_sample *sample = &hti_ops[id]->samples[i];
            ht_tape *tape = ht_tape_new(HT_F64);
            ht_var x[4];
            sample_inputs(tape, sample, x);
            ht_vars in = ht_vars_new(tape, x, NULL, sample->inputs);
            ht_var y = ht_sum(ht_sin(sample->record(tape, x)));
            for (int order = 0; order < 3; order++) {
                ht_vars g = ht_vjp(ht_list(y), ht_list(ht_fill(tape, 1, HT_SCALAR)), in);
                y = g.count ? ht_dot(g, in) : y;
            }
            ht_error error = {0};
            if (ht_tape_error(tape)->status == HT_OK && ht_verify(tape, &error) == HT_OK) {
                ht_tape_free(tape);
                continue;
            }
            bad++;
            printf("# %s (%s): %s%s\n", hti_ops[id]->name, sample->name, ht_tape_error(tape)->message, error.message);
            ht_tape_free(tape);
        }
    tap_ok(tapes > 60 && bad == 0, "%lld tapes of three derivatives are well formed", (long long)tapes);
}

/* A tape that was tampered with is found out. */
static void test_forgery(void)
{
    ht_tape *tape = ht_tape_new(HT_F64);
    ht_var x = ht_input(tape, "x", HT_SHAPE(2, 3)), y = ht_sum_to(ht_exp(x), HT_SHAPE(1, 3));
    hti_node *node = &tape->nodes[y.id], kept = *node;
    ht_var self[1] = {y};
    for (int i = 0; i < 5; i++) {
        ht_error error = {0};
        if (i == 0) node->spec.shape.dim[1] = 4;
        if (i == 1) node->spec.dtype = HT_F32;
        if (i == 2) node->in = self;
        if (i == 3) node->inputs = 2;
        if (i == 4) node->op = NULL;
        tap_ok(ht_verify(tape, &error) == HT_EINTERNAL, "verify finds forgery %d: %s", i, error.message);
        *node = kept;
    }
    ht_error error = {0};
    tap_ok(ht_verify(tape, &error) == HT_OK, "and nothing without one");
    ht_tape_free(tape);
}

int main(void)
{
    ht_error error = {0};
    device = ht_device_open("cpu", 1, &error);
    if (!tap_ok(device != NULL, "device: %s", error.message)) return tap_done();
    test_consing();
    test_factors();
    test_made_leaves();
    test_stretched_leaf();
    test_sticky();
    test_misuse();
    test_stores();
    test_lists();
    test_cuts();
    test_verify();
    test_forgery();
    ht_device_close(device);
    test_empty_losses();
    return tap_done();
}
