/*
 * A plan: values with physical order and memory, and steps that run one after the other. Built from a tape (build.c),
 * laid out (layout.c), run (program.c). Private to core/plan.
 */
#ifndef HTI_PLAN_H
#define HTI_PLAN_H

#include <ht/program.h>

#include "backend/backend.h"
#include "base/internal.h"
#include "store/internal.h"
#include "tape/attributes.h"
#include "tape/tape_internal.h"

#define HTI_NOWHERE (-1)
/* Values of fewer bytes are kept rather than made again, unless a limit asks for it. */
#define HTI_WORTH_AGAIN ((size_t)1 << 15)

/* A piece of memory with a lifetime in steps. */
typedef struct hti_buffer {
    size_t bytes, offset;
    int32_t first, last; /* steps that write it first and touch it last */
    void *fixed;         /* memory that is not the arena's: inputs, constants, stores */
    bool state;          /* fixed memory of a store, which the commit section changes */
} hti_buffer;

/* One value in one physical form. Several values may share a buffer (aliases, views). */
typedef struct hti_value {
    ht_dtype dtype;
    ht_shape shape;
    int64_t stride[HT_MAX_RANK];
    hti_order order;
    bool view;            /* not dense: repeats elements (stride 0 along some axis), or is seen within another value */
    int64_t offset;       /* of its first number in the buffer, in elements */
    const hti_block_attributes *inside; /* of a view that groups alone read: the block that is there, with zeros around */
    int32_t buffer;
    int32_t in_order[2];  /* this value, dense, in ROW and in LAST order; HTI_NOWHERE until asked for */
} hti_value;

/* Time of what was run with .profile = 1. */
typedef struct hti_clock {
    double nanoseconds;
    int64_t runs;
} hti_clock;

/* Of a sum within a group: its value, and its buffer of partial sums or HTI_NOWHERE. */
typedef struct hti_sum_places {
    int32_t value, scratch;
} hti_sum_places;

typedef enum hti_step_kind { HTI_STEP_OP, HTI_STEP_COPY, HTI_STEP_PACK, HTI_STEP_GROUP } hti_step_kind;

typedef struct hti_step {
    hti_step_kind kind;
    const hti_kernel *kernel;
    const hti_op *op;        /* of a copy or a packing: the op that asked for it */
    const char *where, *scope;
    const void *attributes;
    int32_t inputs;
    const int32_t *in;       /* values */
    int32_t out;             /* value; of a packing and of a group HTI_NOWHERE */
    int32_t scratch;         /* buffer or HTI_NOWHERE */
    int32_t packed;          /* of a packing: its buffer, and which input of which step's choice it packs */
    int32_t packed_input;
    int32_t packed_for[HTI_MAX_PACKED]; /* of an op: buffers of packed inputs, HTI_NOWHERE if handed over as they are */
    const hti_choice *choice; /* of kernels that prepare, else NULL; of a packing that of the op that asked first */
    hti_group *group;        /* of a group, whose inputs are the step's; */
    const int32_t *group_out; /* and the values that are its outputs     */
    const hti_sum_places *sums; /* as many as the group has */
    hti_tensor *tensors;     /* inputs, then the result: filled at the end */
    int32_t recomputed;      /* how many of its ops run a second time or later: of a single step 0 or 1 */
    hti_clock clock;
} hti_step;

/* A packing that later steps may share. */
typedef struct hti_packing {
    int32_t value, buffer;
    uint64_t key;
} hti_packing;

/* What a kernel keeps for a step; steps that are computed again share it. */
typedef struct hti_state {
    const hti_kernel *kernel;
    void *state;
} hti_state;

typedef struct hti_commit {
    ht_store *store;
    int32_t index, value;
    bool in_place; /* the value's memory is the store's, and a step of the commit section writes it */
} hti_commit;

typedef struct hti_named_input {
    const char *name;
    int32_t node, value; /* value: HTI_NOWHERE of an input that nothing needs */
    bool set;            /* what is not is zero: from the first run on */
} hti_named_input;

#define HTI_LIST(type)     \
    struct {               \
        type *at;          \
        int32_t count, room; \
    }

struct ht_program {
    ht_device *device;
    const hti_backend *backend;
    int32_t threads;
    hti_arena texts;                /* names, places, attributes: what is kept of the tape */
    hti_arena trial;                /* what the plan within a limit took */
    HTI_LIST(hti_buffer) buffers;
    HTI_LIST(hti_value) values;
    HTI_LIST(hti_step) steps;
    int32_t commit_section;         /* steps from here on write stores, and are not interrupted */
    HTI_LIST(hti_packing) packings;
    HTI_LIST(hti_state) states;     /* owned */
    HTI_LIST(hti_commit) commits;
    HTI_LIST(hti_named_input) inputs;
    HTI_LIST(ht_store *) stores;    /* retained */
    int32_t *output_values, *output_nodes, outputs;
    int32_t *node_value;            /* while building */
    void *arena, *fixed;            /* intermediates; inputs and constants */
    size_t arena_bytes, fixed_bytes;
    ht_error error;
    const volatile int *interrupt;
    int32_t check, profile;
    hti_clock commit_clock;
    ht_convolution convolution;
    ht_precision precision;
    int64_t runs;
    ht_program_facts facts;
};

/* Whether a step reads input k packed, and the input's own numbers not at all. */
static inline bool hti_reads_packed(const hti_step *step, int32_t k)
{
    return k < HTI_MAX_PACKED && step->packed_for[k] != HTI_NOWHERE;
}

/* Whether groups take the step as a member; columns of a sum that is a part of groups, 0 of other steps. */
bool hti_in_groups(const ht_program *program, const hti_step *step);
int64_t hti_sum_columns(const ht_program *program, const hti_step *step);

static inline bool hti_pointwise(const hti_step *step) { return step->kind == HTI_STEP_OP && step->kernel->pointwise; }

/* How a kernel does it; NULL: it has no choice. */
static inline const char *hti_algorithm(const hti_step *step)
{
    return step->choice && step->kind == HTI_STEP_OP ? step->choice->algorithm : NULL;
}

/* The buffer that a step makes, and the one that it reads as input k; of steps that are not fused. */
static inline int32_t hti_made_by(const ht_program *p, const hti_step *step)
{
    return step->out != HTI_NOWHERE ? p->values.at[step->out].buffer : step->packed;
}
static inline int32_t hti_read_by(const ht_program *p, const hti_step *step, int32_t k)
{
    return hti_reads_packed(step, k) ? step->packed_for[k] : p->values.at[step->in[k]].buffer;
}

/* Makes room for one more entry; false without memory. */
bool hti_list_grow(void **at, int32_t *count, int32_t *room, size_t each);
#define HTI_PUSH(list) \
    (hti_list_grow((void **)&(list).at, &(list).count, &(list).room, sizeof *(list).at) ? &(list).at[(list).count++] : NULL)

void hti_dense_strides(ht_shape shape, hti_order order, int64_t stride[HT_MAX_RANK]);
/* Whether both orders lay the shape out alike. */
bool hti_orders_agree(ht_shape shape);
/* Whether two values of one shape, neither a view, have each number at the same place of their memory. */
bool hti_same_places(const hti_value *a, const hti_value *b);
/* The value as kernels see it, without data. */
hti_tensor hti_described(const hti_value *value);
/* The last member that reads input k of a group; of a single op, the op. */
int32_t hti_last_reader(const hti_step *step, int32_t k);

/* What dumps, profiles and messages call a step. */
const char *hti_step_name(const hti_step *step);

/* Values and steps from the live part of a tape. */
ht_status hti_plan_build(ht_program *program, const ht_tape *tape, ht_vars outputs, ht_error *error);
/* Slices and pads that only steps of groups read are read by those where they come from, and are no steps. */
ht_status hti_plan_views(ht_program *program, ht_error *error);
/* Moves steps that nothing but outputs and commits waits for to the end, where that saves memory. */
ht_status hti_plan_late(ht_program *program, ht_error *error);
/* Puts the steps in an order, by the numbers that they have; `order` is used up. */
void hti_steps_order(ht_program *program, int32_t *order);
/* Steps that are marked go behind all others, each kind in its order; how many are not marked, or -1 without memory. */
int32_t hti_steps_last(ht_program *program, const bool *last);
/* Lets groups make what they read, in registers, where that keeps no more in memory. Runs before fusing. */
ht_status hti_plan_repeat(ht_program *program, ht_error *error);
/* The value in another buffer; HTI_NOWHERE without memory. */
int32_t hti_value_in(ht_program *program, int32_t value, int32_t buffer);
/* Lets a step read another buffer in place of one; false without memory. */
bool hti_redirect(ht_program *program, hti_step *step, int32_t from, int32_t to);
/* Operations of a convolution or product; 0 of other steps. */
double hti_flop_of(const ht_program *program, const hti_step *step);
/* Copies steps so that what lies idle over the peak of memory is made again behind it, where that is little work. */
ht_status hti_plan_spare(ht_program *program, ht_error *error);
/* Joins pointwise steps into groups. Steps may change places, but each stays after those whose results it reads. */
ht_status hti_plan_fuse(ht_program *program, ht_error *error);
/* Parts of concatenations are made where the whole has them. Of a program whose steps are fused. */
void hti_plan_join(ht_program *program);
/* Moves updates of stores into the commit section, where they write in place. Begins anew if the steps changed since. */
ht_status hti_plan_commit(ht_program *program, ht_error *error);
/* The commit section, lifetimes, and by them offsets in one arena, which is not allocated yet. */
ht_status hti_plan_offsets(ht_program *program, ht_error *error);
/* Offsets from base on for the buffers smaller than `below`, step by step; they end where the arena then does. */
ht_status hti_plan_place(ht_program *program, size_t base, size_t below, ht_error *error);
/* Offsets anew if they leave much of the arena empty. */
ht_status hti_plan_squeeze(ht_program *program, ht_error *error);
/* The step at which most bytes live, and how many; of a program with lifetimes. */
ht_status hti_plan_peak(const ht_program *program, int32_t *step, size_t *bytes, ht_error *error);
/* Bytes that a buffer takes in the arena. */
size_t hti_plan_rounded(size_t bytes);
/* Allocates the arena and fills the tensors of the steps. */
ht_status hti_plan_allocate(ht_program *program, ht_error *error);
/*
 * Fuses and gives offsets. With a limit in bytes (0: none) that the arena would exceed, steps are computed again until it
 * fits; ENOMEM, saying what is reachable and where the peak is, if it cannot.
 */
ht_status hti_plan_within(ht_program *program, size_t limit, ht_error *error);

/* What hti_plan_recompute found. */
typedef struct hti_recomputation {
    int32_t steps;          /* that run again */
    double work;            /* theirs, in bytes moved or as many operations as take that time */
    double flop;            /* of the steps that run again */
    bool fits;              /* false: the budget is too small for some step, and the program is spoilt */
} hti_recomputation;
/*
 * Rewrites the steps, which are not fused yet, so that about `budget` bytes hold what lives at any time. inner: by buffer,
 * whether it takes no memory, since a group keeps it in registers.
 */
ht_status hti_plan_recompute(ht_program *program, const bool *inner, size_t budget, hti_recomputation *found,
                             ht_error *error);

#endif
