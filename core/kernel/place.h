/*
 * Points that lie on pixels: the geometry behind place.inl. Each point of an image names a row and a column; a point
 * outside of the image reads zero and puts nothing. The adjoint gathers with the help of a list of the points, sorted by
 * pixel, which one pass over the points of an image makes.
 */
#ifndef HTI_KERNEL_PLACE_H
#define HTI_KERNEL_PLACE_H

#include "kernel/kernel.h"

/* The pixel, counted row-major, or -1 outside of the image. */
HT_DEVICE int64_t hti_place_of(const int64_t *image, int32_t row, int32_t column)
{
    if (row < 0 || column < 0 || row >= image[0] || column >= image[1]) return -1;
    return row * image[1] + column;
}

/*
 * The points of one image by pixel, those of one pixel in their own order: list[first[p]] up to list[first[p + 1]] are
 * those on pixel p. `first` has one entry more than the image has pixels.
 */
HT_DEVICE void hti_place_list(const int64_t *image, int64_t points, const int32_t *row, const int32_t *column,
                              int32_t *first, int32_t *list)
{
    const int64_t pixels = image[0] * image[1];
    int32_t sum = 0;
    for (int64_t p = 0; p <= pixels; p++) first[p] = 0;
    for (int64_t i = 0; i < points; i++) {
        const int64_t p = hti_place_of(image, row[i], column[i]);
        if (p >= 0) first[p]++;
    }
    for (int64_t p = 0; p <= pixels; p++) first[p] = sum += first[p];
    for (int64_t i = points - 1; i >= 0; i--) {
        const int64_t p = hti_place_of(image, row[i], column[i]);
        if (p >= 0) list[--first[p]] = (int32_t)i;
    }
}

#endif
