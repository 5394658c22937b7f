/*
 * Matrix product, one element of the result per call, row-major count: the definition that fast paths are checked
 * against. One fixed order of summation.
 */
#include "kernel/kernel.h"
#include "kernel/matmul.h"

HT_DEVICE void HT_NAME(hti_matmul_element)(const hti_matmul_frame *f, const T *a, const T *b, T *c, int64_t element)
{
    int64_t j = element % f->columns, rest = element / f->columns, i = rest % f->rows;
    rest /= f->rows;
    for (int32_t k = f->leading - 1; k >= 0; k--) {
        int64_t at = rest % f->lead[k];
        rest /= f->lead[k];
        a += at * f->lead_a[k];
        b += at * f->lead_b[k];
        c += at * f->lead_c[k];
    }
    a += i * f->row_a;
    b += j * f->column_b;
    T sum = 0;
    for (int64_t l = 0; l < f->inner; l++) sum += a[l * f->inner_a] * b[l * f->inner_b];
    c[i * f->row_c + j * f->column_c] = sum;
}
