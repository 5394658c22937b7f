/*
 * What ht_gradcheck runs. The value is copied to a tape of its own, where what is checked, and every tensor of a store, is
 * an input: so it can be moved, nothing is written, and the user's tape stays as it is. Then the chain of derivatives, in
 * every order of modes.
 */
#include <stdio.h>
#include <stdlib.h>

#include <ht/ops.h>

#include "gradcheck.h"

static bool short_of_memory(hti_gradcheck *g)
{
    ht_fail(&g->error, HT_ENOMEM, "gradcheck: the system gave no memory");
    return false;
}

/* ---- the copy ---- */

static int32_t checked_index(const hti_gradcheck *g, int32_t id)
{
    for (int32_t k = 0; k < g->inputs; k++)
        if (g->args->inputs.at[k].id == id) return k;
    return -1;
}

/* What the user calls it: the name in the list, that of the input, or that of the tensor; else NULL. */
static const char *given_name(const hti_gradcheck *g, int32_t k)
{
    ht_vars list = g->args->inputs;
    const hti_node *node = hti_node_of(list.at[k]);
    if (list.names && list.names[k] && *list.names[k]) return list.names[k];
    if (node->op->id == HTI_OP_input) return ((const hti_input_attributes *)node->attributes)->name;
    if (node->op->id != HTI_OP_read) return NULL;
    const hti_read_attributes *a = node->attributes;
    return ht_store_name(a->store, (int32_t)a->index);
}

static const char *format_name(hti_gradcheck *g, const char *format, int32_t first, int32_t second)
{
    char text[64];
    snprintf(text, sizeof text, format, (int)first, (int)second);
    return ht_tape_text(g->tape, text);
}

/* The numbers of a tensor of a store, read into fresh memory of the copy. */
static void *numbers_of(hti_gradcheck *g, const hti_node *node)
{
    const hti_read_attributes *a = node->attributes;
    int64_t count = ht_shape_count(node->spec.shape);
    void *numbers = hti_arena_array(&g->tape->arena, count, ht_dtype_bytes(node->spec.dtype));
    if (!numbers) return short_of_memory(g), NULL;
    ht_store_get(a->store, ht_store_name(a->store, (int32_t)a->index), numbers, count, &g->error);
    return numbers;
}

/* A value that is checked becomes an input; its base point: .at, what the store holds, or random numbers. */
static ht_var copy_checked(hti_gradcheck *g, const hti_node *node, int32_t k)
{
    hti_checked *c = &g->checked[k];
    const double *at = g->args->at ? g->args->at[k] : NULL;
    bool is_input = node->op->id == HTI_OP_input, is_read = node->op->id == HTI_OP_read;
    c->input = is_input ? ((const hti_input_attributes *)node->attributes)->name
                        : format_name(g, "gradcheck: value %d", k, 0);
    c->name = given_name(g, k);
    if (!c->name) c->name = c->input;
    c->count = ht_shape_count(node->spec.shape);
    c->drawn = !at && is_input;
    if (node->spec.dtype != HT_F64) {
        ht_fail(&g->error, HT_EDTYPE, "gradcheck: \"%s\" is %s; expected f64", c->name, ht_dtype_name(node->spec.dtype));
        return (ht_var){0};
    }
    if (!at && !is_input && !is_read) {
        ht_fail(&g->error, HT_EINVALID, "gradcheck: \"%s\" is computed at %s; expected an input, a tensor of a store, or "
                "numbers in .at", c->name, node->where);
        return (ht_var){0};
    }
    c->base = is_read && !at ? numbers_of(g, node) : hti_arena_array(&g->tape->arena, c->count, sizeof *c->base);
    for (int64_t i = 0; at && c->base && i < c->count; i++) c->base[i] = at[i];
    if (!c->base) short_of_memory(g);
    return ht_input_(g->tape, c->input, HT_F64, node->spec.shape, node->where);
}

static ht_var copy_leaf(hti_gradcheck *g, const hti_node *node)
{
    hti_held *h = &g->held[g->helds++];
    bool is_input = node->op->id == HTI_OP_input;
    h->input = is_input ? ((const hti_input_attributes *)node->attributes)->name
                        : format_name(g, "gradcheck: tensor %d", g->helds, 0);
    h->dtype = node->spec.dtype;
    h->count = ht_shape_count(node->spec.shape);
    h->drawn = is_input && h->dtype != HT_I32;
    h->numbers = is_input ? hti_arena_array(&g->tape->arena, h->count, ht_dtype_bytes(h->dtype)) : numbers_of(g, node);
    if (!h->numbers) short_of_memory(g);
    return ht_input_(g->tape, h->input, h->dtype, node->spec.shape, node->where);
}

static ht_var copy_node(hti_gradcheck *g, const hti_node *node, const ht_var *map)
{
    ht_var *in = hti_arena_array(&g->tape->arena, node->inputs, sizeof *in);
    if (!in) return short_of_memory(g), (ht_var){0};
    for (int32_t k = 0; k < node->inputs; k++) in[k] = map[node->in[k].id];
    const char *scope = hti_scope_swap(g->tape, node->scope);
    ht_var copy = hti_emit(g->tape, node->op->id, node->attributes, in, node->inputs, node->where);
    hti_scope_swap(g->tape, scope);
    return copy;
}

/* The value on the copy; empty (and g->error) if anything is refused. */
static ht_var copy_value(hti_gradcheck *g)
{
    ht_var value = g->args->value, copied = {0};
    ht_vars gradient = g->args->gradient;
    const ht_tape *from = value.tape;
    int32_t last = value.id;
    bool *needed = calloc((size_t)from->count, sizeof *needed);
    ht_var *map = calloc((size_t)from->count, sizeof *map);
    g->held = hti_arena_array(&g->tape->arena, from->count, sizeof *g->held);
    if (!needed || !map || !g->held) short_of_memory(g);
    else needed[value.id] = true;
    for (int32_t k = 0; g->error.status == HT_OK && k < gradient.count; k++) {
        needed[gradient.at[k].id] = true;
        if (gradient.at[k].id > last) last = gradient.at[k].id;
    }
    for (int32_t id = last; g->error.status == HT_OK && id > 0; id--)
        for (int32_t k = 0; needed[id] && checked_index(g, id) < 0 && k < from->nodes[id].inputs; k++)
            needed[from->nodes[id].in[k].id] = true;
    for (int32_t id = 1; g->error.status == HT_OK && id <= last; id++) {
        if (!needed[id]) continue;
        const hti_node *node = &from->nodes[id];
        int32_t checked = checked_index(g, id);
        bool leaf = node->op->id == HTI_OP_input || node->op->id == HTI_OP_read;
        map[id] = checked >= 0 ? copy_checked(g, node, checked) : leaf ? copy_leaf(g, node) : copy_node(g, node, map);
        if (checked >= 0) g->checked[checked].x = map[id];
    }
    if (g->error.status == HT_OK) copied = map[value.id];
    for (int32_t k = 0; g->error.status == HT_OK && k < gradient.count; k++) g->checked[k].given = map[gradient.at[k].id];
    free(needed);
    free(map);
    return copied;
}

static bool accept_gradient(hti_gradcheck *g)
{
    ht_vars inputs = g->args->inputs, gradient = g->args->gradient;
    bool fits = gradient.count == inputs.count && g->orders == 1;
    for (int32_t k = 0; fits && k < inputs.count; k++) {
        ht_var x = inputs.at[k], given = gradient.at[k];
        fits = ht_ok(x) && ht_ok(given) && x.tape == g->args->value.tape && given.tape == x.tape &&
               ht_shape_equal(ht_var_shape(x), ht_var_shape(given)) && ht_var_dtype(given) == HT_F64;
    }
    if (!fits)
        ht_fail(&g->error, HT_EINVALID, "gradcheck: .gradient has %d values for %d inputs, with .orders = %d; expected one of "
                "the shape of each input, on one tape, and order 1", (int)gradient.count, (int)inputs.count, (int)g->orders);
    return fits;
}

static bool accept(hti_gradcheck *g)
{
    const ht_gradcheck_args *args = g->args;
    char text[HT_SHAPE_TEXT], cut[200];
    if (!args->value.tape || !args->device || args->inputs.count < 1)
        return ht_fail(&g->error, HT_EINVALID, "gradcheck: a value, inputs and a device are needed"), false;
    const ht_tape *tape = args->value.tape;
    if (tape->error.status != HT_OK) return g->error = tape->error, false;
    if (!ht_ok(args->value))
        return ht_fail(&g->error, HT_EINVALID, "gradcheck: the value is empty; expected a recorded one"), false;
    if (tape->real != HT_F64 || ht_var_dtype(args->value) != HT_F64 ||
        ht_shape_count(ht_var_shape(args->value)) != 1)
        return ht_fail(&g->error, HT_EINVALID, "gradcheck: the value is %s %s; expected a single number on an f64 tape",
                       ht_dtype_name(ht_var_dtype(args->value)), ht_shape_text(ht_var_shape(args->value), text)), false;
    if (args->gradient.count > 0) return accept_gradient(g);
    for (int32_t k = 0; k < args->inputs.count; k++) {
        ht_var x = args->inputs.at[k];
        if (ht_reaches(args->value, x, cut, sizeof cut)) continue;
        const char *name = ht_ok(x) && x.tape == tape ? given_name(g, k) : NULL;
        ht_fail(&g->error, HT_EINVALID, "gradcheck: input %d \"%s\" does not reach the value: %s", (int)k, name ? name : "",
                cut);
        return false;
    }
    return true;
}

/* ---- the chain ---- */

/* The caller's gradient has only reverse mode's place: there is nothing to compare it with but differences. */
static void record_given(hti_gradcheck *g, ht_var value, ht_var *outputs, ht_var *scalars)
{
    scalars[0] = ht_reshape(value, HT_SCALAR);
    for (int32_t k = 0; k < g->inputs; k++) {
        ht_var *out = &outputs[HTI_EXACT_KINDS * k], given = g->checked[k].given;
        for (int32_t i = 0; i < HTI_EXACT_GRADIENT; i++) out[i] = ht_sum(ht_mul(given, g->checked[k].along));
        out[HTI_EXACT_GRADIENT] = given;
    }
}

static ht_var scalar(ht_var x) { return ht_reshape(x, HT_SCALAR); }

static ht_vars gradient_of(hti_gradcheck *g, ht_var y, ht_vars x)
{
    return ht_vjp(ht_list(y), ht_list(ht_fill(g->tape, 1, HT_SCALAR)), x);
}

static ht_var push_along(ht_var y, ht_vars x, ht_vars directions)
{
    ht_vars pushed = ht_jvp(ht_list(y), x, directions);
    return pushed.count ? pushed.at[0] : (ht_var){0};
}

static ht_var along(ht_vars gradient, int32_t k, ht_var direction)
{
    return gradient.count ? ht_sum(ht_mul(gradient.at[k], direction)) : (ht_var){0};
}

/* Records orders 1, 2, ...; outputs as hti_exact says, scalars those of order 0, 1, ... */
static void record_chain(hti_gradcheck *g, ht_var value, ht_var *outputs, ht_var *scalars)
{
    ht_var *at = hti_arena_array(&g->tape->arena, g->inputs, sizeof *at);
    if (!at) {
        short_of_memory(g);
        return;
    }
    for (int32_t k = 0; k < g->inputs; k++) at[k] = g->checked[k].x;
    ht_vars x = ht_vars_new(g->tape, at, NULL, g->inputs);
    ht_var reverse = scalar(value), forward = reverse;
    for (int32_t o = 0; o < g->orders; o++) {
        scalars[o] = reverse;
        ht_vars pulled = gradient_of(g, reverse, x), pulled_last = gradient_of(g, forward, x);
        for (int32_t k = 0; k < g->inputs; k++) {
            ht_var *out = &outputs[HTI_EXACT_KINDS * (g->inputs * o + k)], v = g->checked[k].along;
            out[HTI_EXACT_REVERSE] = along(pulled, k, v);
            out[HTI_EXACT_FORWARD] = push_along(forward, ht_list(at[k]), ht_list(v));
            out[HTI_EXACT_FORWARD_LAST] = push_along(reverse, ht_list(at[k]), ht_list(v));
            out[HTI_EXACT_REVERSE_LAST] = along(pulled_last, k, v);
            out[HTI_EXACT_GRADIENT] = pulled.count ? pulled.at[k] : (ht_var){0};
        }
        if (o + 1 == g->orders) break;
        ht_var *steps = hti_arena_array(&g->tape->arena, g->inputs, sizeof *steps);
        for (int32_t k = 0; steps && k < g->inputs; k++) steps[k] = g->checked[k].chain[o];
        ht_vars chain = ht_vars_new(g->tape, steps, NULL, steps ? g->inputs : 0);
        reverse = ht_dot(pulled, chain);
        forward = push_along(forward, x, chain);
    }
}

/* The branches below every scalar, each once. */
static ht_vars branches_of(hti_gradcheck *g, const ht_var *scalars)
{
    ht_vars all = {0};
    for (int32_t o = 0; o < g->orders; o++) {
        ht_vars some = ht_branches(scalars[o]);
        for (int32_t i = 0; i < some.count; i++) {
            bool known = false;
            for (int32_t j = 0; j < all.count; j++) known |= all.at[j].id == some.at[i].id;
            if (!known) all = ht_vars_join(all, ht_list(some.at[i]));
        }
    }
    return all;
}

static bool take_arrays(hti_gradcheck *g, ht_vars branches)
{
    hti_arena *arena = &g->tape->arena;
    bool all = true;
    for (int32_t k = 0; k < g->inputs; k++) {
        hti_checked *c = &g->checked[k];
        size_t each = sizeof(double);
        all = all && (c->moved = hti_arena_array(arena, c->count, each)) != NULL &&
              (c->direction = hti_arena_array(arena, c->count, each)) != NULL;
        for (int32_t o = 0; all && o < g->orders; o++) {
            all = (c->gradient[o] = hti_arena_array(arena, c->count, each)) != NULL;
            if (all && o + 1 < g->orders) all = (c->step[o] = hti_arena_array(arena, c->count, each)) != NULL;
        }
    }
    g->branches = branches.count;
    all = all && (g->branch_count = hti_arena_array(arena, branches.count, sizeof(int64_t))) != NULL;
    for (int32_t i = 0; all && i < branches.count; i++) {
        g->branch_count[i] = ht_shape_count(ht_var_shape(branches.at[i]));
        g->branch_total += g->branch_count[i];
    }
    all = all && (g->branch_base = hti_arena_array(arena, g->branch_total, sizeof(double))) != NULL &&
          (g->branch_now = hti_arena_array(arena, g->branch_total, sizeof(double))) != NULL;
    return all || short_of_memory(g);
}

bool hti_gradcheck_record(hti_gradcheck *g)
{
    if (!accept(g)) return false;
    g->tape = ht_tape_new(HT_F64);
    if (!g->tape) return short_of_memory(g);
    g->tape->plant = g->args->value.tape->plant;
    g->inputs = g->args->inputs.count;
    int64_t count = (int64_t)HTI_EXACT_KINDS * g->inputs * g->orders;
    g->checked = hti_arena_array(&g->tape->arena, g->inputs, sizeof *g->checked);
    ht_var *outputs = hti_arena_array(&g->tape->arena, count, sizeof *outputs), scalars[HTI_CHECK_ORDERS];
    if (!g->checked || !outputs || count > INT32_MAX) return short_of_memory(g);
    ht_var value = copy_value(g);
    if (g->error.status != HT_OK) return false;
    for (int32_t k = 0; k < g->inputs; k++) {
        hti_checked *c = &g->checked[k];
        ht_shape shape = ht_var_shape(c->x);
        if (!ht_ok(c->x)) {
            const char *name = given_name(g, k);
            bool reaches = ht_reaches(g->args->value, g->args->inputs.at[k], NULL, 0);
            ht_fail(&g->error, HT_EINVALID, "gradcheck: input %d \"%s\" %s", (int)k, name ? name : "",
                    reaches ? "reaches the value only through another of the inputs; expected inputs of which none is "
                              "computed from another"
                            : "is not what the value is computed from; expected its inputs, and parameters as they were read "
                              "before ht_write");
            return false;
        }
        c->along = ht_input(g->tape, format_name(g, "gradcheck: direction %d", k, 0), shape);
        for (int32_t o = 0; o + 1 < g->orders; o++)
            c->chain[o] = ht_input(g->tape, format_name(g, "gradcheck: step %d of %d", k, o), shape);
    }
    if (g->args->gradient.count > 0) record_given(g, value, outputs, scalars);
    else record_chain(g, value, outputs, scalars);
    if (g->tape->error.status != HT_OK) return g->error = g->tape->error, false;
    if (g->error.status != HT_OK) return false;
    ht_vars branches = branches_of(g, scalars);
    if (!take_arrays(g, branches)) return false;
    g->exact = ht_compile(g->tape, g->args->device, ht_vars_new(g->tape, outputs, NULL, (int32_t)count), .error = &g->error);
    if (g->exact)
        g->probe = ht_compile(g->tape, g->args->device,
                              ht_vars_join(ht_vars_new(g->tape, scalars, NULL, g->orders), branches), .error = &g->error);
    return g->probe != NULL;
}
