/*
 * Rounding to bf16, by one rule for every number, and whether this machine multiplies bf16. What multiplies is oneDNN,
 * in conv_onednn.c; this is not a type of the tape, only of operands on their way into a product.
 */
#include "backend/cpu/bf16.h"

#ifdef HT_ONEDNN
#include <dnnl.h>
#endif

#include "base/internal.h"

#define GRAIN 16384

void hti_bf16_pairs(const float *a, const float *b, int64_t count, uint16_t *to)
{
    for (int64_t i = 0; i < count; i++) {
        uint32_t both = (uint32_t)hti_bf16(b[i]) << 16 | hti_bf16(a[i]); /* the lower half comes first in memory */
        memcpy(to + 2 * i, &both, sizeof both);
    }
}

typedef struct rounding {
    const float *from;
    uint16_t *to;
} rounding;

static void round_range(void *context, int64_t begin, int64_t end)
{
    const rounding *r = context;
    const float *from = r->from;
    uint16_t *to = r->to;
    for (int64_t i = begin; i < end; i++) to[i] = hti_bf16(from[i]);
}

int64_t hti_bf16_count(const hti_tensor *t)
{
    int64_t count = 1;
    for (int32_t k = 0; k < t->shape.rank; k++)
        if (t->stride[k] != 0) count *= t->shape.dim[k];
    return count;
}

void hti_bf16_pack_choose(hti_choice *choice, int32_t input, const hti_tensor *in)
{
    static const char name[] = "rounded to bf16";
    choice->packed_bytes[input] = (size_t)hti_bf16_count(in) * sizeof(uint16_t);
    choice->packed_key[input] = hti_hash(HTI_HASH_START, name, sizeof name);
}

void hti_bf16_pack(const hti_tensor *from, void *packed, int32_t threads)
{
    rounding r = {from->data, packed};
    hti_parallel_for(threads, hti_bf16_count(from), GRAIN, round_range, &r);
}

const char *hti_refuses_bf16(void)
{
#ifdef HT_ONEDNN
    /* What oneDNN finds, or what its ONEDNN_MAX_CPU_ISA leaves of it. Without the instructions it would emulate them. */
    if (((unsigned)dnnl_get_effective_cpu_isa() & dnnl_cpu_isa_avx512_core_bf16) == dnnl_cpu_isa_avx512_core_bf16) return NULL;
    return "this processor multiplies no bf16; expected one with AVX512-BF16, or precision f32";
#else
    return "this build has no oneDNN; expected a build with it, or precision f32";
#endif
}
