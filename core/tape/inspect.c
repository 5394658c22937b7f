/* Looking at a tape: is it well formed, and what does it say. */
#include <stdio.h>

#include "tape/tape_internal.h"
#include <ht/program.h>

ht_status ht_verify(const ht_tape *tape, ht_error *error)
{
    for (int32_t id = 1; id < tape->count; id++) {
        const hti_node *node = &tape->nodes[id];
        if (!node->op || hti_ops[node->op->id] != node->op)
            return ht_fail(error, HT_EINTERNAL, "instruction %d: its op is not in the registry", (int)id);
        if (node->op->inputs != HTI_ANY_INPUTS && node->op->inputs != node->inputs)
            return ht_fail(error, HT_EINTERNAL, "instruction %d, %s: %d inputs; expected %d", (int)id, node->op->name,
                           (int)node->inputs, (int)node->op->inputs);
        for (int32_t k = 0; k < node->inputs; k++)
            if (node->in[k].tape != tape || node->in[k].id <= 0 || node->in[k].id >= id)
                return ht_fail(error, HT_EINTERNAL, "instruction %d, %s: input %d does not come before it", (int)id,
                               node->op->name, (int)k);
        hti_spec spec = {0};
        hti_call call = {node->in ? node->in[0].tape : NULL, node->op, node->attributes, node->in, node->inputs,
                         {0}, node->where};
        if (node->inputs == 0) call.tape = NULL;
        if (node->op->shape(&call, &spec, error) != HT_OK) return HT_EINTERNAL;
        if (spec.dtype != node->spec.dtype || !ht_shape_equal(spec.shape, node->spec.shape))
            return ht_fail(error, HT_EINTERNAL, "instruction %d, %s: its shape is not what its rule gives", (int)id,
                           node->op->name);
    }
    return HT_OK;
}

void ht_dump(const ht_tape *tape, FILE *file)
{
    char text[HT_SHAPE_TEXT];
    for (int32_t id = 1; id < tape->count; id++) {
        const hti_node *node = &tape->nodes[id];
        fprintf(file, "%%%d = %s", (int)id, node->op->name);
        for (int32_t k = 0; k < node->inputs; k++) fprintf(file, "%s%%%d", k ? ", " : " ", (int)node->in[k].id);
        if (node->op->print) node->op->print(node->attributes, file);
        fprintf(file, " : %s %s", ht_dtype_name(node->spec.dtype), ht_shape_text(node->spec.shape, text));
        if (node->scope && *node->scope) fprintf(file, "  in %s", node->scope);
        fprintf(file, "  @ %s\n", node->where);
    }
    for (int32_t i = 0; i < tape->slot_count; i++)
        if (tape->slots[i].written)
            fprintf(file, "write \"%s\" <- %%%d\n", ht_store_name(tape->slots[i].store, tape->slots[i].index),
                    (int)tape->slots[i].value.id);
    if (tape->error.status != HT_OK) fprintf(file, "stopped: %s\n", tape->error.message);
}
