/*
 * Reductions: one sum, or one largest, over some axes of a tensor. Sums are cut into blocks of a fixed length with a
 * fixed number of partial sums in each, so that neither threads nor vector width can change a bit, and the rounding
 * grows with the length of a block rather than with that of the sum. Included once per type, see kernel.h.
 */

/* The sum of n numbers, `stride` apart. */
HT_DEVICE T HT_NAME(k_line)(const T *x, int64_t n, int64_t stride)
{
    T total = (T)0;
    for (int64_t begin = 0; begin < n; begin += HTI_SUM_BLOCK) {
        const int64_t end = n - begin < HTI_SUM_BLOCK ? n : begin + HTI_SUM_BLOCK;
        T lane[HTI_SUM_LANES] = {(T)0};
        int64_t i = begin;
        for (; i + HTI_SUM_LANES <= end; i += HTI_SUM_LANES)
            for (int32_t k = 0; k < HTI_SUM_LANES; k++) lane[k] += x[(i + k) * stride];
        for (int32_t k = 0; i + k < end; k++) lane[k] += x[(i + k) * stride];
        for (int32_t half = HTI_SUM_LANES / 2; half > 0; half /= 2)
            for (int32_t k = 0; k < half; k++) lane[k] += lane[k + half];
        total += lane[0];
    }
    return total;
}

/* The sum over `rank` axes of the given sizes and strides, line by line along the last one, in groups of lines. */
HT_DEVICE T HT_NAME(k_sum)(const T *x, int32_t rank, const int64_t *dim, const int64_t *stride)
{
    if (rank == 0) return x[0];
    const int32_t last = rank - 1;
    int64_t lines = 1;
    for (int32_t k = 0; k < last; k++) lines *= dim[k];
    T total = (T)0, group = (T)0;
    for (int64_t i = 0; i < lines; i++) {
        group += HT_NAME(k_line)(x + hti_offset(i, last, dim, stride), dim[last], stride[last]);
        if (i % HTI_SUM_LINES != HTI_SUM_LINES - 1) continue;
        total += group;
        group = (T)0;
    }
    return total + group;
}

/* Whether x takes the place of best: larger, or the first NaN. */
HT_DEVICE int HT_NAME(k_beats)(T x, T best) { return (x > best) | ((x != x) & (best == best)); }

/* Index of the first largest of n >= 1 numbers; the first NaN if there is one. */
HT_DEVICE int32_t HT_NAME(k_argmax)(const T *x, int64_t n, int64_t stride)
{
    int64_t best = 0;
    for (int64_t i = 1; i < n; i++)
        if (HT_NAME(k_beats)(x[i * stride], x[best * stride])) best = i;
    return (int32_t)best;
}
HT_DEVICE T HT_NAME(k_max)(const T *x, int64_t n, int64_t stride)
{
    return x[HT_NAME(k_argmax)(x, n, stride) * stride];
}
