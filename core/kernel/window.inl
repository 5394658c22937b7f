/*
 * Pooling and its adjoints, one element of the result at a time. Base pointers stand at the element's image and
 * channel, strides are those of the three spatial axes. Adjoints gather: an image position visits the windows that
 * cover it, in row-major order. Needs reduce.inl; included once per type, see kernel.h.
 */

/* for each (a, b, c) of a box of three ranges, in row-major order */
#define BOX(r) \
    for (int64_t a = r[0].begin; a < r[0].end; a++)     \
        for (int64_t b = r[1].begin; b < r[1].end; b++) \
            for (int64_t c = r[2].begin; c < r[2].end; c++)

/* Place of the first largest under window p (k_beats: the first NaN wins); -1 if it lies in the padding alone. */
HT_DEVICE int32_t HT_NAME(k_pool_argmax)(const hti_window *w, const T *x, const int64_t *stride, const int64_t *p)
{
    const hti_range r[3] = {hti_taps(w, 0, p[0]), hti_taps(w, 1, p[1]), hti_taps(w, 2, p[2])};
    int64_t place = -1;
    T best = (T)0;
    BOX(r)
    {
        const T v = x[a * stride[0] + b * stride[1] + c * stride[2]];
        if (place >= 0 && !HT_NAME(k_beats)(v, best)) continue;
        place = hti_flat(w, a, b, c);
        best = v;
    }
    return (int32_t)place;
}

/* x at a place; 0 for a place outside of the image. */
HT_DEVICE T HT_NAME(k_pool_take)(const hti_window *w, const T *x, const int64_t *stride, int32_t place)
{
    if (place < 0 || place >= w->image[0] * w->image[1] * w->image[2]) return (T)0;
    const int64_t c = place % w->image[2], ab = place / w->image[2];
    return x[ab / w->image[1] * stride[0] + ab % w->image[1] * stride[1] + c * stride[2]];
}

/* What the windows over image position h put there: g of those whose place is h. */
HT_DEVICE T HT_NAME(k_pool_put)(const hti_window *w, const T *g, const int64_t *g_stride, const int32_t *place,
                                const int64_t *place_stride, const int64_t *h)
{
    const hti_range r[3] = {hti_covers(w, 0, h[0]), hti_covers(w, 1, h[1]), hti_covers(w, 2, h[2])};
    const int64_t here = hti_flat(w, h[0], h[1], h[2]);
    T sum = (T)0;
    BOX(r)
    if (place[a * place_stride[0] + b * place_stride[1] + c * place_stride[2]] == here)
        sum += g[a * g_stride[0] + b * g_stride[1] + c * g_stride[2]];
    return sum;
}

/* The sum over a box: of x under window p (hti_taps), or of g of the windows over image position h (hti_covers). */
HT_DEVICE T HT_NAME(k_box_sum)(const T *x, const int64_t *stride, const hti_range *r)
{
    T sum = (T)0;
    BOX(r)
    sum += x[a * stride[0] + b * stride[1] + c * stride[2]];
    return sum;
}
HT_DEVICE T HT_NAME(k_window_sum)(const hti_window *w, const T *x, const int64_t *stride, const int64_t *p)
{
    const hti_range r[3] = {hti_taps(w, 0, p[0]), hti_taps(w, 1, p[1]), hti_taps(w, 2, p[2])};
    return HT_NAME(k_box_sum)(x, stride, r);
}
HT_DEVICE T HT_NAME(k_window_spread)(const hti_window *w, const T *g, const int64_t *stride, const int64_t *h)
{
    const hti_range r[3] = {hti_covers(w, 0, h[0]), hti_covers(w, 1, h[1]), hti_covers(w, 2, h[2])};
    return HT_NAME(k_box_sum)(g, stride, r);
}

#undef BOX
