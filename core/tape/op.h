/*
 * What an op family declares. A descriptor is data that the rest of the system iterates over; its kind says which
 * functions must be given, and both JVP and VJP are derived from that one rule (autograd/).
 */
#ifndef HTI_OP_H
#define HTI_OP_H

#include <stdbool.h>
#include <stdio.h>

#include <ht/tape.h>

/* Identity of an op: the order of op.def. */
typedef enum hti_op_id {
#define HT_OP(name) HTI_OP_##name,
#include "op.def"
#undef HT_OP
    HTI_OPS
} hti_op_id;

typedef enum hti_op_kind {
    HTI_LEAF = 1,    /* input, read, constants: no inputs                                              */
    HTI_POINTWISE,   /* partial(k): d y / d x_k as recorded ops, same shape                            */
    HTI_LINEAR,      /* jointly linear in its carrying inputs; transpose(k): VJP                       */
    HTI_MULTILINEAR, /* linear in each carrying input alone; transpose(k)                              */
    HTI_CONSTANT     /* carries no derivative                                                          */
} hti_op_kind;

typedef struct hti_spec {
    ht_dtype dtype;
    ht_shape shape;
} hti_spec;

/* Ops that move nothing: the planner gives the result the memory of input 0. */
typedef enum hti_alias {
    HTI_NO_ALIAS = 0,
    HTI_ALIAS_SAME,     /* the same value                                    */
    HTI_ALIAS_RESHAPE,  /* the same numbers, row-major, in another shape      */
    HTI_ALIAS_BROADCAST /* stride 0 along the axes that stretch               */
} hti_alias;

/* Ops that take one of several branches, and what tells which one. */
typedef enum hti_branch {
    HTI_NO_BRANCH = 0,
    HTI_BRANCH_SIGN, /* whether input 0 is above zero     */
    HTI_BRANCH_VALUE /* the op's own value                */
} hti_branch;

#define HTI_ANY_INPUTS (-1)

/* One recorded call, as rules see it. `self` is empty while the shape rule runs. */
typedef struct hti_call {
    ht_tape *tape;
    const struct hti_op *op;
    const void *attributes;
    const ht_var *in;
    int32_t inputs;
    ht_var self;
    const char *where;
} hti_call;

/* One sample for the suites: shapes of the inputs, and a function that records the op on them. */
typedef struct hti_sample {
    const char *name;
    int32_t inputs;
    ht_shape shape[4];
    double low, high;                                /* range of the random inputs; 0, 0 means -1 to 1        */
    ht_var (*record)(ht_tape *tape, const ht_var *in);
    double tolerance;                                /* of differences; 0 means the suite's own               */
} hti_sample;

/* One call that must be refused, with words that its message must contain. */
typedef struct hti_reject {
    const char *name;
    ht_status status;
    const char *words;
    int32_t inputs;
    ht_shape shape[4];
    ht_var (*record)(ht_tape *tape, const ht_var *in);
} hti_reject;

typedef struct hti_op {
    const char *name;
    hti_op_id id;
    hti_op_kind kind;
    int32_t inputs;             /* HTI_ANY_INPUTS: one or more */
    size_t attribute_bytes;
    hti_alias alias;
    hti_branch branch;
    uint32_t carries;           /* bit k: input k carries a derivative; 0 means all (of kinds that have one) */
    ht_status (*shape)(const hti_call *call, hti_spec *out, ht_error *error);
    ht_var (*partial)(const hti_call *call, int32_t input);
    ht_var (*transpose)(const hti_call *call, int32_t input, ht_var cotangent);
    void (*print)(const void *attributes, FILE *file); /* optional: what ht_dump says after the inputs */
    const hti_sample *samples;
    int32_t sample_count;
    const hti_reject *rejects;
    int32_t reject_count;
} hti_op;

/* The registry, indexed by hti_op_id. */
extern const hti_op *const hti_ops[HTI_OPS];

/* Whether input k of an op carries a derivative. */
static inline bool hti_carries(const hti_op *op, int32_t k)
{
    if (op->kind == HTI_LEAF || op->kind == HTI_CONSTANT) return false;
    return op->carries == 0 || k >= 32 || (op->carries >> k & 1u);
}

/*
 * Records an instruction: checks, infers the shape, finds an equal one (hash-consing). Empty if the tape already has
 * an error or any input is empty. attributes are copied.
 */
ht_var hti_emit(ht_tape *tape, hti_op_id op, const void *attributes, const ht_var *in, int32_t inputs,
                const char *where);

#define HTI_SAMPLES(list) .samples = (list), .sample_count = (int32_t)(sizeof(list) / sizeof((list)[0]))
#define HTI_REJECTS(list) .rejects = (list), .reject_count = (int32_t)(sizeof(list) / sizeof((list)[0]))

#endif
