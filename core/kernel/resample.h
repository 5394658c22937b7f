/*
 * Where one axis of a resized image reads the image, and with which weights: the geometry behind resample.inl. Positions
 * are fractions of integers, so that the ranges of both directions agree exactly. No numbers of the image are here.
 */
#ifndef HTI_KERNEL_RESAMPLE_H
#define HTI_KERNEL_RESAMPLE_H

#include "kernel/kernel.h"
#include "tape/attributes.h"

/* Twice the product of two sizes must be an int64_t. */
#define HTI_RESAMPLE_MOST (INT64_C(1) << 30)

/* Position i of the result in the image, as a fraction over `*under`, held inside of the image. */
HT_DEVICE int64_t hti_resample_at(const hti_resample_attributes *a, int64_t i, int64_t *under)
{
    const int corners = a->mode == HTI_LINEAR_CORNERS;
    const int64_t last = a->to > 1 ? a->to - 1 : 1, divisor = corners ? last : 2 * a->to;
    const int64_t over = corners ? i * (a->from - 1) : (2 * i + 1) * a->from - a->to, most = (a->from - 1) * divisor;
    *under = divisor;
    return over < 0 ? 0 : over > most ? most : over;
}

/* The image positions that position i of the result is made of; neither end ever falls as i grows. */
HT_DEVICE hti_range hti_resample_taps(const hti_resample_attributes *a, int64_t i)
{
    hti_range r;
    if (a->mode == HTI_NEAREST || a->mode == HTI_WINDOW_MEAN) {
        r.begin = i * a->from / a->to;
        r.end = a->mode == HTI_NEAREST ? r.begin + 1 : ((i + 1) * a->from + a->to - 1) / a->to;
        return r;
    }
    int64_t under;
    const int64_t over = hti_resample_at(a, i, &under);
    r.begin = over / under;
    r.end = r.begin + (over % under > 0 ? 2 : 1);
    return r;
}

/* The weight of image position j, one of the taps of i. */
HT_DEVICE double hti_resample_weight(const hti_resample_attributes *a, int64_t i, int64_t j)
{
    if (a->mode == HTI_NEAREST) return 1;
    if (a->mode == HTI_WINDOW_MEAN) {
        const hti_range r = hti_resample_taps(a, i);
        return 1 / (double)(r.end - r.begin);
    }
    int64_t under;
    const int64_t over = hti_resample_at(a, i, &under), rest = over % under;
    return (double)(j == over / under ? under - rest : rest) / (double)under;
}

/* First position of the result whose taps end behind image position j, or begin behind it. */
HT_DEVICE int64_t hti_resample_first(const hti_resample_attributes *a, int64_t j, int begins)
{
    int64_t low = 0, high = a->to;
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        const hti_range r = hti_resample_taps(a, middle);
        if ((begins ? r.begin : r.end) > j) high = middle;
        else low = middle + 1;
    }
    return low;
}

/* The positions of the result that image position j is part of. */
HT_DEVICE hti_range hti_resample_covers(const hti_resample_attributes *a, int64_t j)
{
    hti_range r = {hti_resample_first(a, j, 0), hti_resample_first(a, j, 1)};
    return r;
}

#endif
