/*
 * The seam between the planner and a machine. A backend is a const table of kernels, one per op; the planner knows
 * nothing else of it. A kernel works on tensors that carry their own strides: dense in row-major order, dense with
 * channels last, or broadcast (stride 0) where the kernel says that it takes such views.
 */
#ifndef HTI_BACKEND_H
#define HTI_BACKEND_H

#include <ht/program.h>

#include "tape/op.h"

/* Physical order of a value of rank 3 to 5. ROW: as the shape says. LAST: axis 1 (channels) varies fastest. */
typedef enum hti_order { HTI_ROW = 0, HTI_LAST } hti_order;

typedef struct hti_tensor {
    void *data;
    ht_dtype dtype;
    ht_shape shape;
    int64_t stride[HT_MAX_RANK]; /* in elements; 0 along a broadcast axis */
} hti_tensor;

#define HTI_MAX_PACKED 3

/* What a kernel decides at planning; filled by `prepare`, given back to `run`. */
typedef struct hti_choice {
    ht_convolution convolution;           /* asked for by the planner, not decided by the kernel                */
    ht_precision precision;               /* likewise                                                          */
    bool rounds;                          /* decided: f32 operands are rounded to bf16                         */
    void *state;                          /* the kernel's own: primitives and so on; freed by `release`       */
    size_t scratch_bytes;                 /* workspace, 64-byte aligned, from the arena                        */
    size_t packed_bytes[HTI_MAX_PACKED];  /* > 0: input k wants to be handed over packed, in so many bytes     */
    uint64_t packed_key[HTI_MAX_PACKED];  /* equal keys mean equal formats: one packing serves all their uses   */
    const char *algorithm;                /* for dumps and profiles: "onednn jit_wino...", "im2col dgemm"      */
} hti_choice;

typedef struct hti_run {
    const void *attributes;
    const hti_tensor *in;  /* data of a packed input points to the packed bytes; shape and strides stay */
    const hti_tensor *out;
    int32_t inputs;
    int32_t threads;
    void *state;
    void *scratch;
} hti_run;

/* What order a kernel wants (hti_kernel.order). */
typedef enum hti_order_rule {
    HTI_FOLLOW = 0, /* all inputs in one order, the result alike: pointwise, concat, slice, pad                */
    HTI_ROW_ONLY,   /* inputs and result row-major: permute, matmul                                            */
    HTI_LAST_ONLY,  /* inputs and result channels last: pooling                                                */
    HTI_CONV,       /* input 0 and the result channels last, input 1 row-major (packed)                        */
    HTI_CONV_WEIGHT /* both inputs channels last, the result row-major                                         */
} hti_order_rule;

struct hti_pointwise; /* the backend's own */

typedef struct hti_kernel {
    ht_status (*run)(const hti_run *run);
    hti_order_rule order;
    uint32_t views; /* bit k: input k may be a broadcast view (zero strides); bit 31: any input, and views with gaps too */
    /* Optional. in[].data is NULL at planning. Without it: no state, no scratch. */
    ht_status (*prepare)(const void *attributes, const hti_tensor *in, int32_t inputs, const hti_tensor *out,
                         int32_t threads, hti_choice *choice, ht_error *error);
    void (*release)(void *state);                                                   /* with prepare */
    ht_status (*pack)(void *state, int32_t input, const hti_tensor *from, void *packed, int32_t threads);
    double (*flop)(const void *attributes, const hti_tensor *in, const hti_tensor *out); /* NULL: not counted */
    /* Of ops that compute each number of the result from the numbers at its place, all of one type: may be fused. */
    const struct hti_pointwise *pointwise;
} hti_kernel;

/*
 * Pointwise ops that run together, over one space: a nest of loops without axes of size 1, outermost first. Results are
 * numbered as the space is, in memory in rows of so many; inputs have strides of their own.
 */
#define HTI_GROUP_MEMBERS 32
#define HTI_GROUP_INPUTS 16
#define HTI_MEMBER_INPUTS 3

typedef struct hti_member {
    const hti_op *op;
    const hti_kernel *kernel;
    const void *attributes;
    int32_t inputs;
    int32_t source[HTI_MEMBER_INPUTS]; /* >= 0: the result of that member; ~k: input k of the group      */
    int32_t place;                     /* >= 0: a register, kept for the group alone; ~k: output k       */
} hti_member;

typedef struct hti_group_input {
    const void *data;
    int64_t stride[HT_MAX_RANK];
    int64_t first[HT_MAX_RANK], size[HT_MAX_RANK]; /* the block of the space that data holds: around it are zeros */
} hti_group_input;

/* Rows of so many elements, of which one begins so many after the one before: side by side if those are equal. */
typedef struct hti_group_output {
    void *data; /* may be the memory of a dense input that no later member reads */
    int64_t row, step;
} hti_group_output;

/* The sum over rows of a member's result, which is seen as a matrix of so many columns: made tile by tile. */
#define HTI_GROUP_SUMS 8
typedef struct hti_group_sum {
    int32_t member;
    void *output, *scratch; /* scratch: as much as the sum alone would have */
} hti_group_sum;

typedef struct hti_group {
    ht_dtype dtype;
    int32_t rank, members, inputs, outputs, registers;
    int64_t count, dim[HT_MAX_RANK];
    hti_member *member;     /* each after the members it reads */
    hti_group_input *input;
    hti_group_output *output;
    int32_t sums;
    int64_t columns;        /* of all sums */
    hti_group_sum *sum;
} hti_group;

typedef struct hti_backend {
    const char *name;
    const hti_kernel *const *kernels; /* HTI_OPS entries, indexed by hti_op_id; NULL for leaves and aliases only */
    /* Copy between any two strided tensors of one shape and type: changes of order, materialised views. */
    ht_status (*copy)(const hti_tensor *from, const hti_tensor *to, int32_t threads);
    /* Runs a group; bits are those of its members one by one. NULL: nothing is fused. */
    ht_status (*run_group)(const hti_group *group, int32_t threads);
    /* Columns of a sum_to that a group can make of a member's result, both dense; 0 if it cannot. NULL: of none. */
    int64_t (*group_sum)(const hti_tensor *from, const hti_tensor *to);
    const char *(*refuses_bf16)(void); /* why HT_PRECISION_BF16 is refused, "what is; what was expected"; NULL: it is not */
    void *(*allocate)(size_t bytes); /* 64-byte aligned; NULL if refused */
    void (*release)(void *memory);
} hti_backend;

/* The CPU's table for "cpu" (the best that this machine runs) or "cpu:SET"; NULL: not in this build, or not on this machine. */
const hti_backend *hti_cpu_backend(const char *name);

#endif
