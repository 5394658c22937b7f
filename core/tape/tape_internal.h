/* The tape's inside: shared by core/tape, core/plan (which reads it) and autograd (which walks it). */
#ifndef HTI_TAPE_INTERNAL_H
#define HTI_TAPE_INTERNAL_H

#include "base/internal.h"
#include "tape/op.h"

/* One instruction. Inputs are smaller ids on the same tape. */
typedef struct hti_node {
    const hti_op *op;
    const void *attributes;
    const ht_var *in;
    int32_t inputs;
    const char *where, *scope;
    hti_spec spec;
    uint64_t hash;
    int32_t passed; /* what is recorded from this id on may read what a stretched value was made from in its place; 0: nothing */
} hti_node;

/* The value that a tensor of a store has at this point of the recording, once it was read or written. */
typedef struct hti_slot {
    ht_store *store;
    int32_t index;
    ht_var value;
    bool written;
} hti_slot;

/* The tape of the first value that has one. */
static inline ht_tape *hti_tape_of(const ht_var *in, int32_t count)
{
    for (int32_t i = 0; i < count; i++)
        if (in[i].tape) return in[i].tape;
    return NULL;
}

/* What a function that gives a list returns on a marked tape: as many values as `like` and its names, all empty, so that a
   caller may look at each. tape may be NULL. */
ht_vars hti_empties(ht_tape *tape, ht_vars like);

/* One derivative rule made wrong on purpose, so that the suite can be tried against wrong rules; factor 0: none. */
typedef struct hti_plant {
    hti_op_id op;
    int32_t input;
    double factor;
} hti_plant;

#define HTI_SCOPE_DEPTH 32

struct ht_tape {
    ht_dtype real;
    hti_arena arena;
    ht_error error;
    hti_node *nodes;            /* nodes[0] is not used: id 0 is the empty value */
    int32_t count, capacity;
    int32_t *table;             /* open addressing: ids by hash */
    int32_t table_size;
    hti_slot *slots;
    int32_t slot_count, slot_capacity;
    const char *scope[HTI_SCOPE_DEPTH];
    int32_t scope_depth;
    hti_plant plant;
    int32_t inner_from; /* from this id on values were made by the derivative at work, and nobody else has seen them */
};

/*
 * Whether recording may read what x was made from in place of x. Of others it may not: whoever has seen a value may ask for a
 * derivative in it, and that must find every path through it.
 */
static inline bool hti_inner(ht_var x) { return x.id >= x.tape->inner_from; }

/* Scales the rule of an op in one input, in every derivative that is recorded on the tape from now on. */
static inline void hti_tape_plant(ht_tape *tape, hti_op_id op, int32_t input, double factor)
{
    tape->plant = (hti_plant){op, input, factor};
}

typedef struct hti_input_attributes {
    const char *name;
    hti_spec spec;
} hti_input_attributes;

typedef struct hti_fill_attributes {
    double value;
    int64_t dtype;
    ht_shape shape;
} hti_fill_attributes;

typedef struct hti_constant_attributes {
    const double *numbers;
    int64_t dtype;
    ht_shape shape;
} hti_constant_attributes;

static inline const hti_node *hti_node_of(ht_var x) { return &x.tape->nodes[x.id]; }

static inline bool hti_is(ht_var x, hti_op_id id) { return x.id > 0 && hti_node_of(x)->op->id == id; }

/* Copies a shape field by field, so that the bytes between fields stay zero (attributes are compared bytewise). */
static inline void hti_shape_put(ht_shape *to, ht_shape from)
{
    to->rank = from.rank;
    for (int32_t i = 0; i < HT_MAX_RANK; i++) to->dim[i] = i < from.rank ? from.dim[i] : 0;
}

/* The call that a node was recorded by. */
hti_call hti_call_of(ht_var x);
/* Runs the rules of a node under its own scope, so that derivatives are attributed to the model's place. */
const char *hti_scope_swap(ht_tape *tape, const char *scope);

#endif
