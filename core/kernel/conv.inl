/*
 * The three faces of a convolution, one element of the result per call: the definition that every fast path is
 * checked against. Gather form with one fixed order of summation, so neither threads nor blocks can matter.
 * Elements are counted channels last (conv, conv_input) or row-major (conv_weight); strides come from the frame.
 */
#include "kernel/conv.h"
#include "kernel/kernel.h"

/* y[n, o, p] = sum over taps r, then channels c, of x[n, c, p step - pad + r dilation] w[o, c, r] */
HT_DEVICE void HT_NAME(hti_conv_element)(const hti_conv_frame *f, const T *x, const T *w, T *y, int64_t element)
{
    int64_t o = element % f->filters, rest = element / f->filters;
    int64_t p2 = rest % f->out[2], p1 = rest / f->out[2] % f->out[1];
    rest = rest / f->out[2] / f->out[1];
    int64_t p0 = rest % f->out[0], n = rest / f->out[0];
    int64_t each = f->channels / f->groups, first = o / (f->filters / f->groups) * each;
    T sum = 0;
    for (int64_t r0 = 0; r0 < f->kernel[0]; r0++) {
        int64_t i0 = p0 * f->step[0] - f->pad[0] + r0 * f->dilation[0];
        if (i0 < 0 || i0 >= f->image[0]) continue;
        for (int64_t r1 = 0; r1 < f->kernel[1]; r1++) {
            int64_t i1 = p1 * f->step[1] - f->pad[1] + r1 * f->dilation[1];
            if (i1 < 0 || i1 >= f->image[1]) continue;
            for (int64_t r2 = 0; r2 < f->kernel[2]; r2++) {
                int64_t i2 = p2 * f->step[2] - f->pad[2] + r2 * f->dilation[2];
                if (i2 < 0 || i2 >= f->image[2]) continue;
                const T *a = x + n * f->x[0] + first * f->x[1] + i0 * f->x[2] + i1 * f->x[3] + i2 * f->x[4];
                const T *b = w + o * f->w[0] + r0 * f->w[2] + r1 * f->w[3] + r2 * f->w[4];
                for (int64_t c = 0; c < each; c++) sum += a[c * f->x[1]] * b[c * f->w[1]];
            }
        }
    }
    y[n * f->y[0] + o * f->y[1] + p0 * f->y[2] + p1 * f->y[3] + p2 * f->y[4]] = sum;
}

/* The place of y along one axis that reads place i of x by tap r, or -1. */
HT_DEVICE int64_t HT_NAME(hti_conv_reader)(const hti_conv_frame *f, int32_t axis, int64_t i, int64_t r)
{
    int64_t t = i + f->pad[axis] - r * f->dilation[axis];
    if (t < 0 || t % f->step[axis] != 0) return -1;
    t /= f->step[axis];
    return t < f->out[axis] ? t : -1;
}

/* x[n, c, i] = sum over taps r, then filters o, of g[n, o, p] w[o, c, r] with p step - pad + r dilation = i */
HT_DEVICE void HT_NAME(hti_conv_input_element)(const hti_conv_frame *f, const T *g, const T *w, T *x, int64_t element)
{
    int64_t c = element % f->channels, rest = element / f->channels;
    int64_t i2 = rest % f->image[2], i1 = rest / f->image[2] % f->image[1];
    rest = rest / f->image[2] / f->image[1];
    int64_t i0 = rest % f->image[0], n = rest / f->image[0];
    int64_t inner = f->channels / f->groups, each = f->filters / f->groups, first = c / inner * each;
    T sum = 0;
    for (int64_t r0 = 0; r0 < f->kernel[0]; r0++) {
        int64_t p0 = HT_NAME(hti_conv_reader)(f, 0, i0, r0);
        if (p0 < 0) continue;
        for (int64_t r1 = 0; r1 < f->kernel[1]; r1++) {
            int64_t p1 = HT_NAME(hti_conv_reader)(f, 1, i1, r1);
            if (p1 < 0) continue;
            for (int64_t r2 = 0; r2 < f->kernel[2]; r2++) {
                int64_t p2 = HT_NAME(hti_conv_reader)(f, 2, i2, r2);
                if (p2 < 0) continue;
                const T *a = g + n * f->y[0] + first * f->y[1] + p0 * f->y[2] + p1 * f->y[3] + p2 * f->y[4];
                const T *b = w + first * f->w[0] + c % inner * f->w[1] + r0 * f->w[2] + r1 * f->w[3] + r2 * f->w[4];
                for (int64_t o = 0; o < each; o++) sum += a[o * f->y[1]] * b[o * f->w[0]];
            }
        }
    }
    x[n * f->x[0] + c * f->x[1] + i0 * f->x[2] + i1 * f->x[3] + i2 * f->x[4]] = sum;
}

/* w[o, c, r] = sum over images n, then places p, of x[n, c, p step - pad + r dilation] g[n, o, p] */
HT_DEVICE void HT_NAME(hti_conv_weight_element)(const hti_conv_frame *f, const T *x, const T *g, T *w,
                                                int64_t element)
{
    int64_t r2 = element % f->kernel[2], rest = element / f->kernel[2];
    int64_t r1 = rest % f->kernel[1], r0 = rest / f->kernel[1] % f->kernel[0];
    rest = rest / f->kernel[1] / f->kernel[0];
    int64_t inner = f->channels / f->groups, c = rest % inner, o = rest / inner;
    int64_t channel = o / (f->filters / f->groups) * inner + c;
    T sum = 0;
    for (int64_t n = 0; n < f->batch; n++)
        for (int64_t p0 = 0; p0 < f->out[0]; p0++) {
            int64_t i0 = p0 * f->step[0] - f->pad[0] + r0 * f->dilation[0];
            if (i0 < 0 || i0 >= f->image[0]) continue;
            for (int64_t p1 = 0; p1 < f->out[1]; p1++) {
                int64_t i1 = p1 * f->step[1] - f->pad[1] + r1 * f->dilation[1];
                if (i1 < 0 || i1 >= f->image[1]) continue;
                const T *a = x + n * f->x[0] + channel * f->x[1] + i0 * f->x[2] + i1 * f->x[3];
                const T *b = g + n * f->y[0] + o * f->y[1] + p0 * f->y[2] + p1 * f->y[3];
                for (int64_t p2 = 0; p2 < f->out[2]; p2++) {
                    int64_t i2 = p2 * f->step[2] - f->pad[2] + r2 * f->dilation[2];
                    if (i2 >= 0 && i2 < f->image[2]) sum += a[i2 * f->x[4]] * b[p2 * f->y[4]];
                }
            }
        }
    w[o * f->w[0] + c * f->w[1] + r0 * f->w[2] + r1 * f->w[3] + r2 * f->w[4]] = sum;
}
