/*
 * Derivatives of whole nets, f64: orders 1, 2 and 3 along random directions in weights and inputs, against
 * Richardson-extrapolated central differences of the order before; forward over reverse against reverse over reverse;
 * symmetry of the Hessian. One net is smooth but for a leaky ReLU, one is piecewise linear with max pooling and ReLU.
 * Differences mean nothing across a kink, so the pattern of choices is an output too, and must not move.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ht/nn.h>

#include "kit.h"
#include "tap.h"
#include "tape/tape_internal.h"

enum { ORDERS = 3, LEAVES = 12, MOST = 2048 };

static ht_device *device;

typedef struct form {
    const char *name;
    kit_net net;
    int64_t batch, channels, edge;
    uint64_t seed;
} form;

/* Everything is set through inputs: weights are values of the same names, so that a direction may move them. */
typedef struct probe {
    const form *form;
    ht_program *program;
    int32_t leaves;
    int64_t count[LEAVES], total; /* numbers of each leaf; all together */
    double *base, *direction[ORDERS];
    double value[ORDERS + 1], pattern;
} probe;

static char *leaf_name(char text[16], int32_t i)
{
    snprintf(text, 16, "leaf%d", (int)i);
    return text;
}

/* Inputs in place of the store's weights and of the image, the last leaf. */
static ht_vars leaves_of(ht_tape *tape, const ht_store *store, const form *f)
{
    ht_var leaf[LEAVES];
    const char *names[LEAVES];
    char text[16];
    int32_t count = 0;
    for (int32_t i = 0; i < ht_store_count(store); i++) {
        if (ht_store_role(store, i) != HT_PARAMETER) continue;
        names[count] = ht_store_name(store, i);
        leaf[count] = ht_input(tape, leaf_name(text, count), ht_store_shape(store, i));
        count++;
    }
    names[count] = "image";
    leaf[count] = ht_input(tape, leaf_name(text, count), HT_SHAPE(f->batch, f->channels, f->edge, f->edge));
    return ht_vars_new(tape, leaf, names, count + 1);
}

static ht_var loss_of(nn_scope s, ht_vars leaves, const form *f)
{
    ht_tape *tape = s.tape;
    double target[MOST];
    int64_t count = f->batch * f->edge * f->edge;
    kit_fill(target, count, 77, 0, 1);
    ht_var logits = kit_logits(nn_at(s, leaves), leaves.at[leaves.count - 1], f->net);
    return ht_sigmoid_cross_entropy(logits, ht_constant(tape, target, HT_SHAPE(f->batch, 1, f->edge, f->edge)));
}

/* One number that changes with any choice: of a sign, or of the largest in a window. */
static ht_var pattern_of(ht_tape *tape)
{
    ht_var sum = ht_fill(tape, 0, HT_SCALAR);
    for (int32_t id = 1, end = tape->count; id < end; id++) {
        ht_var x = {tape, id}, choice;
        if (hti_is(x, HTI_OP_leaky_relu)) choice = ht_sign(hti_node_of(x)->in[0]);
        else if (hti_is(x, HTI_OP_pool_argmax)) choice = ht_cast(x, HT_F64);
        else continue;
        ht_var key = ht_uniform(.tape = tape, .shape = ht_var_shape(choice), .seed = (uint64_t)id, .stream = "pattern");
        sum = ht_add(sum, ht_sum(ht_mul(choice, key)));
    }
    return sum;
}

/* The net's weights as its layers draw them, with norms whose biases are not all 0; then the image. */
static void fill_base(probe *p, const ht_store *store)
{
    int64_t at = 0;
    int32_t leaf = 0;
    for (int32_t i = 0; i < ht_store_count(store); i++) {
        if (ht_store_role(store, i) != HT_PARAMETER) continue;
        memcpy(p->base + at, ht_store_data(store, i), (size_t)p->count[leaf] * sizeof *p->base);
        for (int64_t k = 0; strncmp(ht_store_name(store, i), "norm", 4) == 0 && k < p->count[leaf]; k++)
            p->base[at + k] += 0.5 * kit_uniform(900 + p->form->seed, at + k);
        at += p->count[leaf++];
    }
    kit_fill(p->base + at, p->count[leaf], p->form->seed, -1, 1);
}

/* A direction of unit length over all leaves, cut into constants with the leaves' shapes. */
static ht_vars direction_of(ht_tape *tape, ht_vars leaves, probe *p, int32_t order)
{
    double *u = p->direction[order], norm = 0;
    ht_var part[LEAVES];
    kit_fill(u, p->total, p->form->seed * 16 + (uint64_t)order + 1, -1, 1);
    for (int64_t i = 0; i < p->total; i++) norm += u[i] * u[i];
    for (int64_t i = 0; i < p->total; i++) u[i] /= sqrt(norm);
    for (int32_t i = 0; i < leaves.count; i++) {
        part[i] = ht_constant(tape, u, ht_var_shape(leaves.at[i]));
        u += p->count[i];
    }
    return ht_vars_new(tape, part, leaves.names, leaves.count);
}

static int run_at(probe *p, int32_t order, double step)
{
    char text[16];
    double *moved = malloc((size_t)p->total * sizeof *moved), *from = moved;
    for (int64_t i = 0; i < p->total; i++) moved[i] = p->base[i] + (order < 0 ? 0 : step * p->direction[order][i]);
    for (int32_t i = 0; i < p->leaves; from += p->count[i++]) ht_set_named(p->program, leaf_name(text, i), from, p->count[i]);
    int ok = ht_run(p->program) == HT_OK;
    for (int32_t i = 0; ok && i <= ORDERS; i++) ok = ht_get_at(p->program, i, &p->value[i], 1) == HT_OK;
    ok = ok && ht_get_at(p->program, ORDERS + 1, &p->pattern, 1) == HT_OK;
    if (!ok) printf("# %s\n", ht_program_error(p->program)->message);
    free(moved);
    return ok;
}

/* Of derivative number `order`, along direction `order`; *still falls to 0 if a choice moved. */
static double difference(probe *p, int32_t order, double h, double pattern, int *still)
{
    double slope[3];
    for (int i = 0; i < 3; i++, h /= 2) {
        double value[2];
        for (int side = 0; side < 2; side++) {
            if (!run_at(p, order, side ? -h : h) || p->pattern != pattern) *still = 0;
            value[side] = p->value[order];
        }
        slope[i] = (value[0] - value[1]) / (2 * h);
    }
    double once = (4 * slope[1] - slope[0]) / 3, again = (4 * slope[2] - slope[1]) / 3;
    return (16 * again - once) / 15;
}

static void check_orders(probe *p)
{
    if (!run_at(p, -1, 0)) return;
    double exact[ORDERS + 1];
    memcpy(exact, p->value, sizeof exact);
    double pattern = p->pattern;
    for (int32_t order = 0; order < ORDERS; order++) {
        int still = 0;
        double numeric = 0, h = 16e-3;
        while (!still && h > 2e-4) { /* as far as the next kink allows */
            still = 1;
            numeric = difference(p, order, h /= 2, pattern, &still);
        }
        tap_ok(still, "%s: no choice moves along direction %d within %g", p->form->name, (int)order + 1, h);
        tap_ok(fabs(exact[order + 1] - numeric) <= 1e-8 * fabs(exact[order + 1]),
               "%s, order %d: %.15g, differences %.15g: relative %.1e", p->form->name, (int)order + 1, exact[order + 1], numeric,
               fabs(exact[order + 1] / numeric - 1));
    }
}

/* ---- two ways to one derivative, and symmetry ---- */

/* Largest difference of two lists of values, relative to the largest of the second. */
static double apart(const double *a, const double *b, int64_t count)
{
    double most = 0, scale = 0;
    for (int64_t i = 0; i < count; i++) {
        most = fmax(most, fabs(a[i] - b[i]));
        scale = fmax(scale, fabs(b[i]));
    }
    return scale > 0 ? most / scale : INFINITY;
}

/* d <list, u> / d leaves, by another reverse pass. */
static ht_vars reverse_along(ht_vars list, ht_vars u, ht_vars leaves) { return ht_grad(ht_dot(list, u), leaves); }

static void check_ways(const probe *p, ht_vars leaves, ht_vars g, ht_vars u, ht_vars v, ht_var loss)
{
    char text[16];
    ht_vars hu = ht_jvp(g, leaves, u), hv = ht_hvp(loss, leaves, v);
    ht_vars ru = reverse_along(g, u, leaves);
    ht_vars third = ht_jvp(hu, leaves, v), rev = reverse_along(ru, v, leaves), mixed = ht_jvp(ru, leaves, v);
    ht_vars outputs = ht_list(ht_dot(v, hu), ht_dot(u, hv), ht_dot(third, u), ht_dot(ht_jvp(hu, leaves, u), v));
    ht_vars lists[5] = {hu, ru, third, rev, mixed};
    for (int i = 0; i < 5; i++) outputs = ht_vars_join(outputs, lists[i]);
    ht_error error = {0};
    ht_program *program = ht_compile(loss.tape, device, outputs, .error = &error);
    if (!program) {
        tap_ok(0, "%s: compiles: %s", p->form->name, error.message);
        return;
    }
    const double *from = p->base;
    for (int32_t i = 0; i < p->leaves; from += p->count[i++]) ht_set_named(program, leaf_name(text, i), from, p->count[i]);
    double *all = malloc((size_t)(5 * p->total + 4) * sizeof *all), *to = all;
    int ok = ht_run(program) == HT_OK;
    for (int32_t i = 0; ok && i < outputs.count; i++) {
        int64_t count = ht_shape_count(ht_var_shape(outputs.at[i]));
        ok = ht_get_at(program, i, to, count) == HT_OK;
        to += count;
    }
    if (tap_ok(ok, "%s: runs: %s", p->form->name, ht_program_error(program)->message)) {
        const double *list = all + 4;
        int64_t n = p->total;
        double second = apart(list, list + n, n), a = apart(list + 2 * n, list + 3 * n, n);
        double b = apart(list + 4 * n, list + 3 * n, n);
        tap_ok(second <= 1e-13, "%s: order 2, forward over reverse and reverse over reverse: %.1e", p->form->name, second);
        tap_ok(a <= 1e-13 && b <= 1e-13, "%s: order 3, forward, mixed and reverse: %.1e, %.1e", p->form->name, a, b);
        tap_ok(fabs(all[0] - all[1]) <= 1e-12 * fabs(all[1]), "%s: v'Hu = %.16g, u'Hv = %.16g", p->form->name, all[0], all[1]);
        tap_ok(fabs(all[2] - all[3]) <= 1e-12 * fabs(all[3]), "%s: T(u,v,u) = %.16g, T(u,u,v) = %.16g", p->form->name, all[2],
               all[3]);
    }
    free(all);
    ht_program_free(program);
}

static void test_form(const form *f)
{
    ht_error error = {0};
    probe p = {.form = f};
    ht_store *store = ht_store_new(device);
    ht_tape *tape = ht_tape_new(HT_F64);
    nn_scope s = nn_open(tape, store, .seed = f->seed, .freeze_statistics = 1);
    kit_logits(s, ht_input(tape, "draft", HT_SHAPE(f->batch, f->channels, f->edge, f->edge)), f->net); /* creates weights */
    ht_tape_free(tape);
    s.tape = tape = ht_tape_new(HT_F64);
    ht_vars leaves = leaves_of(tape, store, f);
    p.leaves = leaves.count;
    for (int32_t i = 0; i < leaves.count; i++) p.total += p.count[i] = ht_shape_count(ht_var_shape(leaves.at[i]));
    p.base = malloc((size_t)p.total * sizeof *p.base);
    fill_base(&p, store);
    ht_var loss = loss_of(s, leaves, f), pattern = pattern_of(tape), outputs[ORDERS + 2] = {loss};
    ht_vars direction[ORDERS], g = ht_grad(loss, leaves);
    for (int32_t order = 0; order < ORDERS; order++) {
        p.direction[order] = malloc((size_t)p.total * sizeof *p.base);
        direction[order] = direction_of(tape, leaves, &p, order);
        ht_vars pushed = order == 0 ? ht_list(ht_dot(g, direction[0]))
                                    : ht_jvp(ht_list(outputs[order]), leaves, direction[order]);
        if (pushed.count) outputs[order + 1] = pushed.at[0];
    }
    outputs[ORDERS + 1] = pattern;
    p.program = ht_compile(tape, device, ht_vars_new(tape, outputs, NULL, ORDERS + 2), .error = &error);
    if (tap_ok(p.program != NULL, "%s: %lld numbers in %d leaves: %s", f->name, (long long)p.total, (int)p.leaves,
               error.message)) {
        check_orders(&p);
        check_ways(&p, leaves, g, direction[0], direction[1], loss);
    }
    ht_program_free(p.program);
    for (int32_t order = 0; order < ORDERS; order++) free(p.direction[order]);
    free(p.base);
    ht_tape_free(tape);
    ht_store_free(store);
}

int main(void)
{
    static const form forms[] = {
        {"smooth", {.width = 2}, 2, 2, 4, 1},
        {"smooth, dropout", {.width = 2, .dropout = 0.3}, 2, 1, 4, 2},
        {"peaks", {.width = 2, .peaks = 1}, 2, 1, 4, 3},
        {"peaks, larger", {.width = 2, .peaks = 1, .dropout = 0.2}, 2, 2, 6, 4},
    };
    ht_error error = {0};
    device = ht_device_open("cpu", 1, &error);
    if (!tap_ok(device != NULL, "device: %s", error.message)) return tap_done();
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) test_form(&forms[i]);
    ht_device_close(device);
    return tap_done();
}
