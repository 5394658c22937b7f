/*
 * Convolution and matrix product on the CPU: the four kernels of the backend's table, and the seam between them and
 * their methods (the matrix unit, oneDNN direct or Winograd, products with the weights as they lie, im2col + GEMM, reference
 * loops). A method looks at a problem and takes it or leaves it.
 */
#ifndef HTI_CPU_CONV_H
#define HTI_CPU_CONV_H

#include <stdbool.h>

#include "backend/backend.h"
#include "kernel/conv.h"
#include "kernel/matmul.h"
#include "tape/attributes.h"

extern const hti_kernel hti_cpu_conv, hti_cpu_conv_input, hti_cpu_conv_weight, hti_cpu_matmul;

typedef enum hti_conv_face { HTI_CONV_FORWARD = 0, HTI_CONV_TO_INPUT, HTI_CONV_TO_WEIGHT } hti_conv_face;

/* One convolution at planning. The frame holds sizes and strides of x, w, y, whichever of them is the result. */
typedef struct hti_conv_problem {
    hti_conv_frame frame;
    hti_conv_face face;
    ht_dtype dtype;
    int32_t axes, threads;
    bool rounded; /* operands come rounded to bf16, x and y dense; the result is f32 */
    bool direct; /* no algorithm that transforms values: see ht_compile_args.convolution */
    bool usual; /* x and y dense channels last, w dense row-major: what the fast methods need */
} hti_conv_problem;

/*
 * prepare (NULL of a method that is not in the build) fills *own and the choice; EUNSUPPORTED, with nothing left behind,
 * means "not mine, ask the next one".
 * pack may be NULL in a method that never asks for packed weights.
 */
typedef struct hti_conv_method {
    ht_status (*prepare)(const hti_conv_problem *problem, void **own, hti_choice *choice);
    ht_status (*run)(void *own, const hti_conv_problem *problem, const hti_run *run);
    ht_status (*pack)(const void *own, const hti_conv_problem *problem, const hti_tensor *from, void *packed,
                      int32_t threads);
    void (*release)(void *own);
} hti_conv_method;

extern const hti_conv_method hti_conv_split, hti_conv_split_weight, hti_conv_winograd, hti_conv_deep, hti_conv_onednn,
    hti_conv_gemm, hti_conv_reference;

/* What the three kernels' `prepare` does, with one method given, or with the first that takes it (NULL). */
ht_status hti_conv_prepare(const hti_conv_method *method, hti_conv_face face, const void *attributes,
                           const hti_tensor *in, const hti_tensor *out, int32_t threads, hti_choice *choice,
                           ht_error *error);

/* Whether there is a fast matrix product for the type in this build. */
bool hti_gemm_built(ht_dtype dtype);

/*
 * Row-major c[m, n] = a[m, k] b[k, n], or c += with `add`; a and b may be stored transposed. Runs on the calling
 * thread alone if that thread's OpenMP limit is 1 or it is one of a team: see hti_alone. EUNSUPPORTED if a size does
 * not fit the library's integers, ENOMEM.
 */
typedef struct hti_gemm_args {
    int64_t m, n, k;
    const void *a, *b;
    void *c;
    int64_t row_a, row_b, row_c; /* elements from one stored row to the next */
    bool transpose_a, transpose_b, add;
} hti_gemm_args;
ht_status hti_gemm(ht_dtype dtype, const hti_gemm_args *args);

/* Sizes and strides of a product of matrices along the last two axes. */
void hti_matmul_frame_read(const hti_matmul_attributes *attributes, const hti_tensor *a, const hti_tensor *b,
                           const hti_tensor *c, hti_matmul_frame *frame);
/* One matrix on the right for all of them on the left, which lie one after the other: a single taller product. */
void hti_matmul_frame_merge(hti_matmul_frame *frame);

/* Sets OpenMP's limit for the calling thread and returns what it was: libraries size their teams by it. */
int32_t hti_team(int32_t threads);

/* Rounds up to whole cache lines. */
static inline size_t hti_lines(size_t bytes) { return (bytes + 63) / 64 * 64; }

/* So many bytes behind the begin of scratch, which is absent where none of it is needed. */
static inline char *hti_behind(void *scratch, size_t bytes) { return bytes ? (char *)scratch + bytes : scratch; }

#endif
