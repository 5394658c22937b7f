/* What VJP and JVP share: the marking of what depends on the leaves, and the two small rules. */
#include <stdlib.h>

#include <ht/ops.h>

#include "derive.h"

ht_var hti_accumulate(ht_var a, ht_var b, const char *where)
{
    if (!ht_ok(a)) return b;
    if (!ht_ok(b)) return a;
    return ht_add_(a, b, where);
}

ht_var hti_planted(const hti_call *call, int32_t input, ht_var part)
{
    const hti_plant *plant = &call->tape->plant;
    if (plant->factor == 0 || plant->op != call->op->id || plant->input != input || !ht_ok(part)) return part;
    return ht_scale_(part, plant->factor, call->where);
}

ht_var hti_pointwise_rule(const hti_call *call, int32_t input, ht_var direction)
{
    return hti_planted(call, input, ht_mul_(call->op->partial(call, input), direction, call->where));
}

bool hti_all_on(const ht_tape *tape, ht_vars list)
{
    for (int32_t i = 0; i < list.count; i++)
        if (list.at[i].tape != tape || !ht_ok(list.at[i])) return false;
    return true;
}

bool hti_refuse_passed(ht_vars outputs, ht_vars leaves, const char *where)
{
    for (int32_t k = 0; k < leaves.count; k++) {
        const hti_node *leaf = hti_node_of(leaves.at[k]);
        bool later = false;
        for (int32_t i = 0; i < outputs.count && leaf->passed > 0; i++) later = later || outputs.at[i].id >= leaf->passed;
        if (!later) continue;
        ht_tape_fail(leaves.at[k].tape, where, HT_EINVALID, "derivative in a value that %s stretched: the derivatives before "
                     "read what it was made from; expected that as the leaf, or a value that is not stretched", leaf->where);
        return true;
    }
    return false;
}

bool hti_walk_begin(hti_walk *walk, ht_tape *tape, ht_vars leaves)
{
    *walk = (hti_walk){.tape = tape, .limit = tape->count, .inner_from = tape->inner_from};
    tape->inner_from = tape->count;
    size_t count = (size_t)tape->count;
    walk->reached = calloc(count, sizeof *walk->reached);
    walk->leaf = calloc(count, sizeof *walk->leaf);
    walk->value = calloc(count, sizeof *walk->value);
    if (!walk->reached || !walk->leaf || !walk->value) {
        ht_tape_fail(tape, HT_HERE, HT_ENOMEM, "derivative: the system gave no memory");
        hti_walk_end(walk);
        return false;
    }
    walk->first = tape->count;
    for (int32_t i = 0; i < leaves.count; i++) {
        int32_t id = leaves.at[i].id;
        walk->leaf[id] = walk->reached[id] = true;
        if (id < walk->first) walk->first = id;
    }
    for (int32_t id = walk->first + 1; id < walk->limit; id++) {
        const hti_node *node = &tape->nodes[id];
        for (int32_t k = 0; k < node->inputs && !walk->reached[id]; k++)
            walk->reached[id] = hti_carries(node->op, k) && walk->reached[node->in[k].id];
    }
    return true;
}

void hti_walk_end(hti_walk *walk)
{
    free(walk->reached);
    free(walk->leaf);
    free(walk->value);
    walk->tape->inner_from = walk->inner_from;
    *walk = (hti_walk){0};
}
