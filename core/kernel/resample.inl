/*
 * Resizing along one axis and its adjoint, one element of the result at a time; x and g stand at the element's line, and
 * `stride` lies between its numbers. The adjoint gathers, in the order of the result. Needs resample.h; included once per
 * type, see kernel.h.
 */
HT_DEVICE T HT_NAME(k_resample)(const hti_resample_attributes *a, const T *x, int64_t stride, int64_t i)
{
    const hti_range r = hti_resample_taps(a, i);
    T sum = (T)0;
    for (int64_t j = r.begin; j < r.end; j++) sum += (T)hti_resample_weight(a, i, j) * x[j * stride];
    return sum;
}

HT_DEVICE T HT_NAME(k_resample_back)(const hti_resample_attributes *a, const T *g, int64_t stride, int64_t j)
{
    const hti_range r = hti_resample_covers(a, j);
    T sum = (T)0;
    for (int64_t i = r.begin; i < r.end; i++) sum += (T)hti_resample_weight(a, i, j) * g[i * stride];
    return sum;
}
