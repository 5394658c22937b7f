/*
 * Reading an image at points and the adjoint, one element at a time; x stands at the element's image and channel, g at
 * the channel's first point. Needs place.h; included once per type, see kernel.h.
 */
HT_DEVICE T HT_NAME(k_place_take)(const int64_t *image, const T *x, const int64_t *stride, int32_t row, int32_t column)
{
    return hti_place_of(image, row, column) < 0 ? (T)0 : x[row * stride[0] + column * stride[1]];
}

/* The sum of g over the points list[begin] up to list[end], `stride` apart. */
HT_DEVICE T HT_NAME(k_place_put)(const T *g, int64_t stride, const int32_t *list, int32_t begin, int32_t end)
{
    T sum = (T)0;
    for (int32_t k = begin; k < end; k++) sum += g[list[k] * stride];
    return sum;
}
