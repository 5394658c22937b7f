/* The derivative rules as the two transforms use them. Private to autograd. */
#ifndef HTI_DERIVE_H
#define HTI_DERIVE_H

#include "base/internal.h"
#include "tape/attributes.h"
#include "tape/tape_internal.h"

/* a + b where an empty value is a symbolic zero. */
ht_var hti_accumulate(ht_var a, ht_var b, const char *where);
/* What the rule of an input gave, or its multiple if that rule is planted on the tape (hti_tape_plant). */
ht_var hti_planted(const hti_call *call, int32_t input, ht_var part);
/* partial . cotangent of a POINTWISE op, without the multiplication by constant one. */
ht_var hti_pointwise_rule(const hti_call *call, int32_t input, ht_var direction);

/*
 * VJP over ids: cotangent[id] is added to for every leaf that asks. `leaf` marks nodes through which nothing passes.
 * Arrays have `limit` entries, the tape's count when the transform began; those before the first leaf are never touched,
 * so that the gradient of one step among many costs what that step costs.
 */
typedef struct hti_walk {
    ht_tape *tape;
    int32_t first, limit, inner_from; /* inner_from: the tape's before */
    bool *reached;     /* depends on a leaf through edges that carry a derivative, or is one */
    bool *leaf;
    ht_var *value;     /* cotangents (VJP) or tangents (JVP) by id; empty is zero */
} hti_walk;

/* Whether every value of the list exists and is of the tape: walks index by id, so nothing else may come near them. */
bool hti_all_on(const ht_tape *tape, ht_vars list);
/*
 * Derivatives draw factors out of sums and blocks (ops/broadcast.c, ops/movement.c) and then read what a stretched factor was
 * made from. A later derivative of these in the stretched value itself would miss that path: true, and a sticky error.
 */
bool hti_refuse_passed(ht_vars outputs, ht_vars leaves, const char *where);
/* Marks leaves and what depends on them; false (sticky error) without memory. Release with hti_walk_end. */
bool hti_walk_begin(hti_walk *walk, ht_tape *tape, ht_vars leaves);
void hti_walk_end(hti_walk *walk);

#endif
