/*
 * The CPU as a backend: its table of kernels, and memory. Nothing is computed here.
 */
#include <stdlib.h>

#include "backend/cpu/bf16.h"
#include "backend/cpu/conv.h"
#include "backend/cpu/cpu.h"
#include "backend/cpu/loops.h"

#define TEXT_OF(name) #name
#define NAME_OF(set) "cpu:" TEXT_OF(set)
#define JOIN(a, b) a##b
#define TABLE_OF(set) JOIN(hti_backend_cpu_, set)

/* Leaves have no kernel: the planner gives them memory; what is another's view needs none either. */
#define ENTRY(name) [HTI_OP_##name] = &hti_cpu_##name
static const hti_kernel *const kernels[HTI_OPS] = {
    [HTI_OP_truncate] = &hti_cpu_cast, /* the same conversion, by other rules on the tape */
    ENTRY(cast), ENTRY(affine), ENTRY(exp), ENTRY(expm1), ENTRY(log), ENTRY(log1p), ENTRY(sqrt), ENTRY(safe_sqrt),
    ENTRY(rsqrt), ENTRY(square), ENTRY(reciprocal), ENTRY(pow), ENTRY(sin), ENTRY(cos), ENTRY(tanh), ENTRY(sigmoid),
    ENTRY(erf), ENTRY(erfc), ENTRY(softplus), ENTRY(leaky_relu), ENTRY(leaky_gate), ENTRY(abs), ENTRY(sign), ENTRY(round),
    ENTRY(positive), ENTRY(add), ENTRY(sub), ENTRY(mul), ENTRY(div), ENTRY(greater), ENTRY(equal), ENTRY(shift), ENTRY(where),
    ENTRY(sum_to), ENTRY(argmax), ENTRY(max_along), ENTRY(permute), ENTRY(slice), ENTRY(pad), ENTRY(concat), ENTRY(take),
    ENTRY(put), ENTRY(matmul), ENTRY(conv), ENTRY(conv_input), ENTRY(conv_weight), ENTRY(pool_argmax), ENTRY(pool_take),
    ENTRY(pool_put), ENTRY(window_sum), ENTRY(window_spread), ENTRY(uniform), ENTRY(normal), ENTRY(bernoulli),
    ENTRY(resample), ENTRY(resample_back), ENTRY(place_take), ENTRY(place_put),
};

/* A whole network's values touch far fewer huge pages. */
static void *allocate(size_t bytes) { return hti_memory(bytes, 2 * HTI_HUGE_PAGE); }

/* Of this instruction set: these sources are compiled once for each (meson.build). */
extern const hti_backend TABLE_OF(HTI_INSTRUCTION_SET);
const hti_backend TABLE_OF(HTI_INSTRUCTION_SET) = {
    .name = NAME_OF(HTI_INSTRUCTION_SET), .kernels = kernels, .copy = hti_copy, .run_group = hti_cpu_group,
    .group_sum = hti_cpu_group_sum, .refuses_bf16 = hti_refuses_bf16, .allocate = allocate, .release = free};
