/*
 * Forward mode: one loop up the tape, from the same rules. A POINTWISE op multiplies by its partials, a LINEAR op is
 * applied to the tangents themselves, a MULTILINEAR op to one tangent at a time (product rule).
 */
#include <stdlib.h>

#include <ht/grad.h>
#include <ht/ops.h>

#include "derive.h"

/* The op of the call with input k replaced, for MULTILINEAR; k < 0 replaces every carrying input, for LINEAR. */
static ht_var push_linear(const hti_walk *walk, const hti_call *call, int32_t k)
{
    ht_var *in = hti_arena_array(&call->tape->arena, call->inputs, sizeof *in);
    if (!in) return (ht_var){0};
    for (int32_t i = 0; i < call->inputs; i++) {
        in[i] = call->in[i];
        if (i != k && (k >= 0 || !hti_carries(call->op, i))) continue;
        in[i] = hti_planted(call, i, walk->value[call->in[i].id]);
        if (!ht_ok(in[i])) in[i] = ht_fill_(call->tape, 0, ht_var_shape(call->in[i]), call->where);
    }
    return hti_emit(call->tape, call->op->id, call->attributes, in, call->inputs, call->where);
}

static ht_var push(const hti_walk *walk, ht_var self)
{
    hti_call call = hti_call_of(self);
    if (call.op->kind == HTI_LINEAR) return push_linear(walk, &call, -1);
    ht_var sum = {0};
    for (int32_t k = 0; k < call.inputs; k++) {
        ht_var t = walk->value[call.in[k].id];
        if (!hti_carries(call.op, k) || !ht_ok(t)) continue;
        ht_var part = call.op->kind == HTI_POINTWISE ? hti_pointwise_rule(&call, k, t) : push_linear(walk, &call, k);
        sum = hti_accumulate(sum, part, call.where);
    }
    return sum;
}

static bool moves(const hti_walk *walk, const hti_node *node)
{
    for (int32_t k = 0; k < node->inputs; k++)
        if (hti_carries(node->op, k) && ht_ok(walk->value[node->in[k].id])) return true;
    return false;
}

ht_vars ht_jvp_(ht_vars outputs, ht_vars inputs, ht_vars tangents, const char *where)
{
    ht_tape *tape = hti_tape_of(outputs.at, outputs.count);
    if (!tape) tape = hti_tape_of(inputs.at, inputs.count);
    if (!tape || tape->error.status != HT_OK) return hti_empties(tape, outputs);
    bool fit = tangents.count == inputs.count && hti_all_on(tape, outputs) && hti_all_on(tape, inputs);
    for (int32_t i = 0; fit && i < inputs.count; i++)
        fit = !ht_ok(tangents.at[i]) || (ht_shape_equal(ht_var_shape(inputs.at[i]), ht_var_shape(tangents.at[i])) &&
                                         ht_var_dtype(inputs.at[i]) == ht_var_dtype(tangents.at[i]));
    if (!fit) {
        ht_tape_fail(tape, where, HT_ESHAPE, "jvp: inputs and tangents do not fit; expected one tangent of the same shape "
                                             "and type for each input, and values of one tape");
        return hti_empties(tape, outputs);
    }
    hti_walk walk;
    if (hti_refuse_passed(outputs, inputs, where)) return hti_empties(tape, outputs);
    if (!hti_walk_begin(&walk, tape, inputs)) return hti_empties(tape, outputs);
    bool *needed = calloc((size_t)walk.limit, sizeof *needed);
    ht_var *found = hti_arena_array(&tape->arena, outputs.count, sizeof *found);
    for (int32_t i = 0; needed && i < outputs.count; i++) needed[outputs.at[i].id] = true;
    for (int32_t id = walk.limit - 1; needed && id >= walk.first; id--)
        for (int32_t k = 0; needed[id] && k < tape->nodes[id].inputs; k++)
            if (walk.reached[id]) needed[tape->nodes[id].in[k].id] = true;
    for (int32_t i = 0; i < inputs.count; i++)
        walk.value[inputs.at[i].id] = hti_accumulate(walk.value[inputs.at[i].id], tangents.at[i], where);
    for (int32_t id = walk.first; needed && id < walk.limit; id++) {
        if (!needed[id] || walk.leaf[id] || !walk.reached[id] || !moves(&walk, &tape->nodes[id])) continue;
        const char *scope = hti_scope_swap(tape, tape->nodes[id].scope);
        walk.value[id] = push(&walk, (ht_var){tape, id});
        hti_scope_swap(tape, scope);
    }
    for (int32_t i = 0; needed && found && i < outputs.count; i++) {
        ht_var y = outputs.at[i], t = walk.value[y.id];
        found[i] = ht_ok(t) ? t : ht_fill_(tape, 0, ht_var_shape(y), where);
    }
    if (!needed || !found) ht_tape_fail(tape, where, HT_ENOMEM, "jvp: the system gave no memory");
    bool complete = needed && found;
    free(needed);
    hti_walk_end(&walk);
    return complete ? ht_vars_new(tape, found, outputs.names, outputs.count) : hti_empties(tape, outputs);
}
