/*
 * What stands on the two transforms: gradients that refuse to be silently zero, Hessian-vector products, stop, and the
 * question whether one value reaches another and, if not, where it is cut.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ht/grad.h>
#include <ht/ops.h>

#include "derive.h"

/* Marks what depends on `input`, up to `last`, by edges that carry derivatives or by any. NULL without memory. */
static bool *mark(ht_var input, int32_t last, bool over_cuts)
{
    const ht_tape *tape = input.tape;
    bool *marked = calloc((size_t)tape->count, sizeof *marked);
    if (!marked) return NULL;
    marked[input.id] = true;
    for (int32_t id = input.id + 1; id <= last; id++) {
        const hti_node *node = &tape->nodes[id];
        for (int32_t k = 0; k < node->inputs; k++)
            marked[id] |= marked[node->in[k].id] && (over_cuts || hti_carries(node->op, k));
    }
    return marked;
}

/*
 * The last instruction before the output at which a path from the input stops carrying a derivative. `below` marks what
 * reaches the output, by carrying edges only or, with `over_cuts`, by any: one path may be cut more than once.
 */
static int32_t last_cut(ht_var output, const bool *carried, const bool *any, bool over_cuts, bool *below)
{
    const ht_tape *tape = output.tape;
    memset(below, 0, (size_t)tape->count * sizeof *below);
    below[output.id] = any[output.id];
    for (int32_t id = output.id; id > 0; id--) {
        const hti_node *node = &tape->nodes[id];
        for (int32_t k = 0; below[id] && k < node->inputs; k++) {
            int32_t from = node->in[k].id;
            bool carries = hti_carries(node->op, k);
            if (carried[from] && !carries) return id;
            below[from] |= any[from] && (carries || over_cuts);
        }
    }
    return 0;
}

/* A cut whose removal alone would reconnect input and output, if there is one, else the last cut of any path. */
static int32_t find_cut(ht_var output, const bool *carried, const bool *any, bool *once)
{
    bool *below = calloc((size_t)output.tape->count, sizeof *below);
    if (!below) return 0;
    int32_t cut = last_cut(output, carried, any, false, below);
    *once = cut > 0;
    if (!cut) cut = last_cut(output, carried, any, true, below);
    free(below);
    return cut;
}

int ht_reaches(ht_var output, ht_var input, char *cut, size_t cut_bytes)
{
    if (cut && cut_bytes) cut[0] = 0;
    if (!ht_ok(output) || !ht_ok(input) || output.tape != input.tape) return 0;
    bool *carried = mark(input, output.id, false), *any = NULL;
    const bool reaches = carried && carried[output.id];
    if (carried && !reaches && cut && cut_bytes) any = mark(input, output.id, true);
    if (any) {
        bool once = true;
        int32_t id = any[output.id] ? find_cut(output, carried, any, &once) : 0;
        const hti_node *node = &input.tape->nodes[id];
        if (id)
            snprintf(cut, cut_bytes, "the path is cut at %s by %s%s", node->where, node->op->name,
                     once ? "" : ", and again behind it");
        else snprintf(cut, cut_bytes, "no path leads there at all");
    }
    free(carried);
    free(any);
    return reaches;
}

static const char *name_of(ht_vars list, int32_t i, char text[16])
{
    if (list.names && list.names[i] && *list.names[i]) return list.names[i];
    snprintf(text, 16, "%d", (int)i);
    return text;
}

ht_vars ht_grad_(ht_var loss, ht_vars inputs, const char *where)
{
    ht_tape *tape = loss.tape ? loss.tape : hti_tape_of(inputs.at, inputs.count);
    if (!tape || tape->error.status != HT_OK) return hti_empties(tape, inputs);
    if (!ht_ok(loss)) {
        ht_tape_fail(tape, where, HT_EINVALID, "grad: the loss is an empty value; expected a recorded one");
        return hti_empties(tape, inputs);
    }
    char shape[HT_SHAPE_TEXT], number[16], cut[200];
    if (ht_shape_count(ht_var_shape(loss)) != 1) {
        ht_tape_fail(tape, where, HT_ESHAPE, "grad: the loss is %s; expected a single number",
                     ht_shape_text(ht_var_shape(loss), shape));
        return hti_empties(tape, inputs);
    }
    if (!hti_all_on(tape, inputs)) {
        ht_tape_fail(tape, where, HT_EINVALID, "grad: an input is empty or of another tape; expected values of the loss's "
                                               "tape");
        return hti_empties(tape, inputs);
    }
    hti_walk walk;
    if (inputs.count < 1 || !hti_walk_begin(&walk, tape, inputs)) return hti_empties(tape, inputs);
    bool *up = calloc((size_t)walk.limit, sizeof *up);
    if (up) up[loss.id] = walk.reached[loss.id];
    for (int32_t id = loss.id; up && id > walk.first; id--)
        for (int32_t k = 0; up[id] && k < tape->nodes[id].inputs; k++)
            if (!walk.leaf[id] && hti_carries(tape->nodes[id].op, k)) up[tape->nodes[id].in[k].id] = true;
    for (int32_t i = 0; up && i < inputs.count; i++) {
        if (up[inputs.at[i].id]) continue;
        int reaches = ht_reaches(loss, inputs.at[i], cut, sizeof cut);
        ht_tape_fail(tape, where, HT_EINVALID, "grad: \"%s\" does not reach the loss: %s; its gradient would be zero, where a "
                     "path was expected",
                     name_of(inputs, i, number), reaches ? "only through another of the inputs" : cut);
    }
    free(up);
    hti_walk_end(&walk);
    ht_var one = ht_fill_(tape, 1, ht_var_shape(loss), where);
    if (ht_var_dtype(loss) != tape->real) one = ht_cast_(one, ht_var_dtype(loss), where);
    return ht_vjp_(ht_list(loss), ht_list(one), inputs, where);
}

ht_vars ht_hvp_(ht_var loss, ht_vars inputs, ht_vars direction, const char *where)
{
    return ht_jvp_(ht_grad_(loss, inputs, where), inputs, direction, where);
}

ht_var ht_stop_(ht_var x, const char *where) { return hti_emit(x.tape, HTI_OP_stop, NULL, &x, 1, where); }

ht_vars ht_stop_all_(ht_vars x, const char *where)
{
    if (x.count < 1 || !x.at[0].tape) return hti_empties(NULL, x);
    ht_tape *tape = x.at[0].tape;
    ht_var *stopped = hti_arena_array(&tape->arena, x.count, sizeof *stopped);
    if (!stopped) ht_tape_fail(tape, where, HT_ENOMEM, "stop_all: the system gave no memory");
    if (!stopped) return hti_empties(tape, x);
    for (int32_t i = 0; i < x.count; i++) stopped[i] = ht_stop_(x.at[i], where);
    return ht_vars_new(tape, stopped, x.names, x.count);
}

ht_vars ht_branches_(ht_var y, const char *where)
{
    ht_vars none = {0};
    ht_tape *tape = y.tape;
    if (!ht_ok(y) || tape->error.status != HT_OK) return none;
    int32_t limit = y.id + 1, count = 0;
    bool *below = calloc((size_t)limit, sizeof *below);
    ht_var *found = hti_arena_array(&tape->arena, limit, sizeof *found);
    if (!below || !found) {
        free(below);
        ht_tape_fail(tape, where, HT_ENOMEM, "branches: the system gave no memory");
        return none;
    }
    below[y.id] = true;
    for (int32_t id = y.id; id > 0; id--) {
        if (!below[id]) continue;
        const hti_op *op = tape->nodes[id].op;
        ht_var first = tape->nodes[id].inputs > 0 ? tape->nodes[id].in[0] : (ht_var){0};
        for (int32_t k = 0; k < tape->nodes[id].inputs; k++) below[tape->nodes[id].in[k].id] = true;
        if (op->branch == HTI_BRANCH_SIGN) found[count++] = hti_emit(tape, HTI_OP_positive, NULL, &first, 1, where);
        if (op->branch == HTI_BRANCH_VALUE) found[count++] = ht_cast_((ht_var){tape, id}, tape->real, where);
    }
    free(below);
    return count ? ht_vars_new(tape, found, NULL, count) : none;
}
