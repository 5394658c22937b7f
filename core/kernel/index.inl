/*
 * Taking along an axis at given places, and its adjoint, one element of the result at a time. Pointers stand at the start of
 * the axis. The adjoint gathers: it looks at every place, in order, so that repeated ones add up alike on any machine.
 * Included once per type, see kernel.h.
 */

/* x at a place; 0 for a place outside of the axis. */
HT_DEVICE T HT_NAME(k_take)(const T *x, int64_t size, int64_t stride, int32_t place)
{
    return place < 0 || place >= size ? (T)0 : x[place * stride];
}

/* The sum of the g whose place is `here`. */
HT_DEVICE T HT_NAME(k_put)(const T *g, int64_t g_stride, const int32_t *place, int64_t place_stride, int64_t count,
                           int64_t here)
{
    T sum = (T)0;
    for (int64_t k = 0; k < count; k++)
        if (place[k * place_stride] == here) sum += g[k * g_stride];
    return sum;
}
