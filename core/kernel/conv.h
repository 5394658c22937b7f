/*
 * The geometry of one convolution as the element bodies of conv.inl read it: plain numbers, passed by value to a
 * device. Always three spatial axes; a convolution over fewer has leading axes of size 1, step 1, pad 0.
 */
#ifndef HTI_KERNEL_CONV_H
#define HTI_KERNEL_CONV_H

#include <stdint.h>

/* x [N, C, image], w [O, C / groups, kernel], y [N, O, out]; strides in elements, in this order of axes. */
typedef struct hti_conv_frame {
    int64_t batch, channels, filters, groups;
    int64_t image[3], kernel[3], out[3];
    int64_t step[3], pad[3], dilation[3];
    int64_t x[5], w[5], y[5];
} hti_conv_frame;

#endif
