/* The geometry of one batched matrix product as matmul.inl reads it: plain numbers, passed by value to a device. */
#ifndef HTI_KERNEL_MATMUL_H
#define HTI_KERNEL_MATMUL_H

#include <stdint.h>

#include <ht/base.h>

/* c[lead, i, j] = sum over l of a[lead, i, l] b[lead, l, j]; transposes are in the strides, 0 where a or b repeats. */
typedef struct hti_matmul_frame {
    int32_t leading;
    int64_t lead[HT_MAX_RANK], lead_a[HT_MAX_RANK], lead_b[HT_MAX_RANK], lead_c[HT_MAX_RANK];
    int64_t rows, columns, inner;
    int64_t row_a, inner_a, inner_b, column_b, row_c, column_c;
} hti_matmul_frame;

#endif
