/* Operands rounded to bf16, the upper half of an f32: for convolutions and matrix products, whose results stay f32. */
#ifndef HTI_CPU_BF16_H
#define HTI_CPU_BF16_H

#include <string.h>

#include "backend/backend.h"

/* To the nearest, ties to even; what is beyond the largest becomes infinite, NaN stays NaN, with its sign. */
static inline uint16_t hti_bf16(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    uint32_t even = (u + UINT32_C(0x7FFF) + (u >> 16 & 1u)) >> 16, quiet = u >> 16 | 0x40u;
    return (uint16_t)((u & UINT32_C(0x7FFFFFFF)) > UINT32_C(0x7F800000) ? quiet : even);
}

/* to[2 i] = a[i], to[2 i + 1] = b[i], rounded. */
void hti_bf16_pairs(const float *a, const float *b, int64_t count, uint16_t *to);
/* An input of the kernel is handed over rounded, as it lies: notes what the packing needs. Equal keys for all uses. */
void hti_bf16_pack_choose(hti_choice *choice, int32_t input, const hti_tensor *in);
/* Numbers that a tensor has in memory: repeated ones (stride 0) once. */
int64_t hti_bf16_count(const hti_tensor *t);
/* From an f32 tensor without gaps, number by number in the order of memory; repeated ones once. */
void hti_bf16_pack(const hti_tensor *from, void *packed, int32_t threads);
/* hti_backend.refuses_bf16 of the CPU. */
const char *hti_refuses_bf16(void);

/* matmul_bf16.c: the hooks of the matmul kernel; without a state the product is not for them. */
ht_status hti_matmul_bf16_prepare(const void *attributes, const hti_tensor *in, int32_t inputs, const hti_tensor *out,
                                  int32_t threads, hti_choice *choice, ht_error *error);
ht_status hti_matmul_bf16_pack(void *state, int32_t input, const hti_tensor *from, void *packed, int32_t threads);
ht_status hti_matmul_bf16_run(const hti_run *run);
void hti_matmul_bf16_release(void *state);

#endif
