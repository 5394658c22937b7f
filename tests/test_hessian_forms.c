/*
 * Second derivatives (C5) of what can be built in more than one way, f64, small widths, in all parameters together: each form
 * of a searchable cell, a critic with its gradient penalty, attention. u'Hv = v'Hu, H(a u + b v) = a Hu + b Hv, and reverse
 * over reverse = forward over reverse = reverse over forward, each to 1e-12. The networks of a round: test_hessian.c.
 */
#include <math.h>
#include <stdlib.h>

#include "kit.h"
#include "networks.h"
#include "tap.h"

enum { BATCH = 2, SIZE = 8, CHANNELS = 2, STORES = 2 };
#define ALLOWED 1e-12

static ht_device *device;

typedef struct subject {
    const char *name;
    ht_var (*loss)(const nn_scope *s, const struct subject *subject);
    int32_t smooth;
    genseg_cells cells;
    genseg_search search;
} subject;

/* ---- losses ---- */

static ht_var numbers(ht_tape *tape, uint64_t stream, double low, double high, ht_shape shape)
{
    static double number[BATCH * SIZE * SIZE * CHANNELS];
    kit_fill(number, ht_shape_count(shape), stream, low, high);
    return ht_constant(tape, number, shape);
}
static ht_var mask(ht_tape *tape) { return ht_round(numbers(tape, 1, 0, 1, HT_SHAPE(BATCH, 1, SIZE, SIZE))); }
static ht_var image(ht_tape *tape, uint64_t stream)
{
    return numbers(tape, stream, -1, 1, HT_SHAPE(BATCH, CHANNELS, SIZE, SIZE));
}
/* A smooth number of an array, in which every element counts differently. */
static ht_var weighed(ht_var y)
{
    return ht_sum(ht_mul(ht_tanh(y), numbers(y.tape, 9, -1, 1, ht_var_shape(y))));
}

static ht_var generator(const nn_scope *s, const subject *of)
{
    genseg_cells forms[4] = {of->cells, of->cells, of->cells, of->cells};
    genseg_generator net = {.levels = 2, .width = 2, .channels = CHANNELS, .smooth = of->smooth, .search = of->search,
                            .forms = forms};
    if (of->cells == GENSEG_CELLS_AUTO) forms[0] = forms[2] = GENSEG_CELLS_MERGED, forms[1] = GENSEG_CELLS_SEPARATE;
    return weighed(genseg_generate(s[0], s[1], mask(s[0].tape), &net));
}

static ht_var scores(nn_scope s, ht_var x, int32_t smooth)
{
    ht_var y = genseg_activate(nn_conv(s, "in", x, 3, .kernel = 4, .stride = 2, .pad = 1), 0.2, smooth);
    y = genseg_activate(nn_instance_norm(s, "norm", nn_conv(s, "middle", y, 4, .kernel = 4, .stride = 2, .pad = 1)), 0.2, smooth);
    return nn_conv(s, "out", y, 1, .kernel = 2);
}

static ht_var critic(const nn_scope *s, const subject *of)
{
    ht_var real = image(s[0].tape, 2), fake = image(s[0].tape, 3), between = nn_between(s[0], "mix", real, fake);
    ht_var loss = nn_critic_loss(scores(s[0], real, of->smooth), scores(s[0], fake, of->smooth));
    ht_var penalty = nn_gradient_penalty(scores(s[0], between, of->smooth), between, 1);
    return ht_add(ht_add(loss, ht_scale(penalty, 10)), weighed(scores(s[0], real, of->smooth)));
}

static ht_var attention(const nn_scope *s, const subject *of)
{
    ht_var x = ht_reshape(image(s[0].tape, 2), HT_SHAPE(BATCH, 16, 8)), in[3];
    static const char *const names[] = {"q", "k", "v"};
    for (int i = 0; i < 3; i++)
        in[i] = ht_reshape(nn_dense(s[0], names[i], ht_reshape(x, HT_SHAPE(BATCH * 16, 8)), 4), HT_SHAPE(BATCH, 16, 4));
    ht_var y = genseg_activate(ht_attention(in[0], in[1], in[2]), 0.1, of->smooth);
    return weighed(nn_dense(s[0], "out", ht_reshape(y, HT_SHAPE(BATCH, 64)), 3));
}

/* ---- the identities ---- */

static ht_vars direction(ht_vars leaves, uint64_t stream)
{
    ht_tape *tape = leaves.at[0].tape;
    ht_vars all = {0};
    for (int32_t i = 0; i < leaves.count; i++) {
        int64_t count = ht_shape_count(ht_var_shape(leaves.at[i]));
        double *u = malloc((size_t)(count + 1) * sizeof *u);
        for (int64_t k = 0; k < count; k++) u[k] = kit_uniform(stream + (uint64_t)i, k);
        all = ht_vars_join(all, ht_list(ht_constant(tape, u, ht_var_shape(leaves.at[i]))));
        free(u);
    }
    return all;
}

static ht_var one(ht_tape *tape) { return ht_fill(tape, 1, HT_SCALAR); }

/* Largest difference of two lists, relative to the largest number of the second. */
static ht_var apart(ht_vars a, ht_vars b)
{
    ht_tape *tape = a.at[0].tape;
    ht_var off = ht_fill(tape, 0, HT_SCALAR), most = off;
    for (int32_t i = 0; i < a.count && i < b.count; i++) {
        ht_var flat = ht_reshape(b.at[i], HT_SHAPE(ht_shape_count(ht_var_shape(b.at[i]))));
        ht_var gap = ht_sub(ht_reshape(a.at[i], ht_var_shape(flat)), flat);
        off = ht_maximum(off, ht_max_axes(ht_abs(gap), HT_SHAPE(0)));
        most = ht_maximum(most, ht_max_axes(ht_abs(flat), HT_SHAPE(0)));
    }
    return ht_div(off, most);
}

static void check(const subject *of)
{
    ht_error error = {0};
    ht_store *store[STORES] = {ht_store_new(device), ht_store_new(device)};
    ht_tape *tape = ht_tape_new(HT_F64);
    nn_scope s[STORES] = {nn_open(tape, store[0], .seed = 3, .freeze_statistics = 1), nn_open(tape, store[1], .seed = 4)};
    ht_var loss = of->loss(s, of);
    ht_vars leaves = nn_params(s[0]);
    if (ht_store_count(store[1]) > 0) leaves = ht_vars_join(leaves, nn_params(s[1]));
    if (!tap_ok(ht_ok(loss) && leaves.count > 0, "%s: is recorded: %s", of->name, ht_tape_error(tape)->message)) return;
    ht_vars u = direction(leaves, 100), v = direction(leaves, 500);
    ht_var a = ht_fill(tape, 0.75, HT_SCALAR), b = ht_fill(tape, -1.375, HT_SCALAR);
    ht_vars w = ht_add_scaled(ht_scale_by(u, a), v, b);
    ht_vars g = ht_vjp(ht_list(loss), ht_list(one(tape)), leaves);
    ht_vars hu = ht_hvp(loss, leaves, u), hv = ht_hvp(loss, leaves, v), hw = ht_hvp(loss, leaves, w);
    ht_vars reverse = ht_vjp(ht_list(ht_dot(g, u)), ht_list(one(tape)), leaves);
    ht_vars pushed = ht_jvp(ht_list(loss), leaves, u), mixed = ht_vjp(pushed, ht_list(one(tape)), leaves);
    ht_vars sum = ht_add_scaled(ht_scale_by(hu, a), hv, b);
    ht_program *program = NULL;
    if (ht_tape_error(tape)->status == HT_OK)
        program = ht_compile(tape, device, ht_list(ht_dot(u, hv), ht_dot(v, hu), apart(hw, sum), apart(reverse, hu),
                                                   apart(mixed, hu)), .error = &error);
    double is[5] = {NAN, NAN, NAN, NAN, NAN};
    int ran = program && ht_run(program) == HT_OK;
    for (int32_t i = 0; i < 5 && ran; i++) ht_get_at(program, i, &is[i], 1);
    if (tap_ok(ran, "%s: Hessian products in %d parameters run: %s%s", of->name, (int)leaves.count, ht_tape_error(tape)->message,
               program ? ht_program_error(program)->message : error.message)) {
        tap_ok(is[0] != 0 && fabs(is[0] - is[1]) <= ALLOWED * fabs(is[1]), "%s: u'Hv = %.16g, v'Hu = %.16g: apart by %.1e",
               of->name, is[0], is[1], fabs(is[0] / is[1] - 1));
        tap_ok(is[2] <= ALLOWED, "%s: H(a u + b v) = a Hu + b Hv: apart by %.1e", of->name, is[2]);
        tap_ok(is[3] <= ALLOWED, "%s: reverse over reverse = forward over reverse: apart by %.1e", of->name, is[3]);
        tap_ok(is[4] <= ALLOWED, "%s: reverse over forward = forward over reverse: apart by %.1e", of->name, is[4]);
    }
    ht_program_free(program);
    ht_tape_free(tape);
    for (int i = 0; i < STORES; i++) ht_store_free(store[i]);
}

int main(void)
{
    static const subject subjects[] = {
        {"generator, merged cells", generator, 0, GENSEG_CELLS_MERGED, GENSEG_SEARCH_BOTH},
        {"generator, separate cells", generator, 0, GENSEG_CELLS_SEPARATE, GENSEG_SEARCH_BOTH},
        {"generator, mixed cells", generator, 0, GENSEG_CELLS_AUTO, GENSEG_SEARCH_BOTH},
        {"generator, decoder searched", generator, 0, GENSEG_CELLS_MERGED, GENSEG_SEARCH_DECODER},
        {"generator, encoder searched", generator, 0, GENSEG_CELLS_SEPARATE, GENSEG_SEARCH_ENCODER},
        {"generator, smooth", generator, 1, GENSEG_CELLS_MERGED, GENSEG_SEARCH_BOTH},
        {"critic with gradient penalty", critic, 0, 0, 0},
        {"critic with gradient penalty, smooth", critic, 1, 0, 0},
        {"attention", attention, 1, 0, 0},
    };
    ht_error error = {0};
    device = ht_device_open("cpu", 1, &error);
    if (!tap_ok(device != NULL, "device: %s", error.message)) return tap_done();
    for (size_t i = 0; i < sizeof subjects / sizeof subjects[0]; i++) check(&subjects[i]);
    ht_device_close(device);
    return tap_done();
}
