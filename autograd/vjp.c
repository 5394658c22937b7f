/*
 * Reverse mode: one loop down the tape. Each instruction's cotangent is pulled back to its inputs by the one rule of
 * its op; an absent cotangent is zero and costs nothing. What is recorded is ordinary tape, so VJPs of VJPs need nothing
 * more.
 */
#include <stdlib.h>

#include <ht/grad.h>
#include <ht/ops.h>

#include "derive.h"

static void pull(hti_walk *walk, ht_var self, ht_var cotangent)
{
    hti_call call = hti_call_of(self);
    for (int32_t k = 0; k < call.inputs; k++) {
        int32_t from = call.in[k].id;
        if (!hti_carries(call.op, k) || !walk->reached[from]) continue;
        ht_var part = call.op->kind == HTI_POINTWISE ? hti_pointwise_rule(&call, k, cotangent)
                                                     : hti_planted(&call, k, call.op->transpose(&call, k, cotangent));
        walk->value[from] = hti_accumulate(walk->value[from], part, call.where);
    }
}

static bool same_spec(ht_var a, ht_var b)
{
    return ht_shape_equal(ht_var_shape(a), ht_var_shape(b)) && ht_var_dtype(a) == ht_var_dtype(b);
}

ht_vars ht_vjp_(ht_vars outputs, ht_vars cotangents, ht_vars inputs, const char *where)
{
    ht_tape *tape = hti_tape_of(outputs.at, outputs.count);
    if (!tape) tape = hti_tape_of(inputs.at, inputs.count);
    if (!tape || tape->error.status != HT_OK || inputs.count < 1) return hti_empties(tape, inputs);
    bool fit = cotangents.count == outputs.count && hti_all_on(tape, outputs) && hti_all_on(tape, inputs);
    for (int32_t i = 0; fit && i < outputs.count; i++)
        fit = !ht_ok(cotangents.at[i]) || same_spec(outputs.at[i], cotangents.at[i]);
    if (!fit) {
        ht_tape_fail(tape, where, HT_ESHAPE, "vjp: outputs, cotangents and inputs do not fit; expected one cotangent of "
                                             "the same shape and type for each output, and values of one tape");
        return hti_empties(tape, inputs);
    }
    hti_walk walk;
    if (hti_refuse_passed(outputs, inputs, where)) return hti_empties(tape, inputs);
    if (!hti_walk_begin(&walk, tape, inputs)) return hti_empties(tape, inputs);
    int32_t last = 0;
    for (int32_t i = 0; i < outputs.count; i++) {
        int32_t id = outputs.at[i].id;
        if (!walk.reached[id]) continue;
        walk.value[id] = hti_accumulate(walk.value[id], cotangents.at[i], where);
        if (id > last) last = id;
    }
    for (int32_t id = last; id >= walk.first && id > 0; id--) {
        if (!ht_ok(walk.value[id]) || walk.leaf[id]) continue;
        const char *scope = hti_scope_swap(tape, tape->nodes[id].scope);
        pull(&walk, (ht_var){tape, id}, walk.value[id]);
        hti_scope_swap(tape, scope);
    }
    ht_var *found = hti_arena_array(&tape->arena, inputs.count, sizeof *found);
    if (!found) ht_tape_fail(tape, where, HT_ENOMEM, "vjp: the system gave no memory");
    for (int32_t i = 0; found && i < inputs.count; i++) {
        ht_var x = inputs.at[i], g = walk.value[x.id];
        if (!ht_ok(g)) g = ht_fill_(tape, 0, ht_var_shape(x), where);
        found[i] = g;
    }
    hti_walk_end(&walk);
    return found ? ht_vars_new(tape, found, inputs.names, inputs.count) : hti_empties(tape, inputs);
}
