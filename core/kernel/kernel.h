/*
 * What a kernel body (.inl) needs to be one text for C and CUDA. A body is included once per number type, after
 *     #define T float
 *     #define HT_NAME(name) name##_f32
 * and undefines neither; the including file does.
 */
#ifndef HT_KERNEL_H
#define HT_KERNEL_H

#if defined(__CUDACC__)
#define HT_DEVICE static __device__ inline
#else
#define HT_DEVICE static inline
#endif

#endif
