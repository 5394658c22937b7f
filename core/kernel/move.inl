/*
 * Kernels that move numbers without computing: conversions of type, and the gather forms behind broadcast_to, reshape,
 * permute, slice (k_gather, with a base and strides that say where each axis of the result lies in x), concat (k_gather
 * once per part) and pad. Included once per type, see kernel.h. p and q as in pointwise.inl, unused.
 */
HT_DEVICE float HT_NAME(k_to_f32)(T x, double p, double q)
{
    (void)p, (void)q;
    return (float)x;
}
HT_DEVICE double HT_NAME(k_to_f64)(T x, double p, double q)
{
    (void)p, (void)q;
    return (double)x;
}
/* Towards zero; NaN gives 0, what is out of range the nearest bound. A double holds every number of the three types. */
HT_DEVICE int32_t HT_NAME(k_to_i32)(T x, double p, double q)
{
    (void)p, (void)q;
    const double v = (double)x;
    if (!(v > -2147483648.0)) return v <= -2147483648.0 ? INT32_MIN : 0;
    return v >= 2147483648.0 ? INT32_MAX : (int32_t)v;
}

/* Element `index` of a result of sizes dim; its axis k lies along stride[k] of x. */
HT_DEVICE T HT_NAME(k_gather)(const T *x, int64_t index, int32_t rank, const int64_t *dim, const int64_t *stride)
{
    return x[hti_offset(index, rank, dim, stride)];
}

/* Element `index` of zeros of sizes dim with the block x, of the given sizes and strides, at `start`. */
HT_DEVICE T HT_NAME(k_pad)(const T *x, int64_t index, int32_t rank, const int64_t *dim, const int64_t *start,
                           const int64_t *size, const int64_t *stride)
{
    int64_t offset = 0;
    for (int32_t k = rank - 1; k >= 0; k--) {
        const int64_t at = index % dim[k] - start[k];
        if (at < 0 || at >= size[k]) return (T)0;
        offset += at * stride[k];
        index /= dim[k];
    }
    return x[offset];
}
