/*
 * Attribute structs: what an op knows beside its inputs. Plain data without padding surprises: always zero-initialise,
 * since attributes are compared and hashed bytewise. Shared with the backends.
 */
#ifndef HTI_ATTRIBUTES_H
#define HTI_ATTRIBUTES_H

#include <stdint.h>

#include <ht/base.h>

typedef struct hti_affine_attributes {
    double factor, term;
} hti_affine_attributes; /* affine; leaky_relu, leaky_gate (factor = slope); pow (factor = exponent); fill (term) */

typedef struct hti_shape_attributes {
    ht_shape shape;
} hti_shape_attributes; /* sum_to, broadcast_to, reshape: target; permute: order; pad: before (after follows) */

typedef struct hti_block_attributes {
    ht_shape start, size;
} hti_block_attributes; /* slice: start and size; pad: start = zeros before, size = the whole result */

typedef struct hti_axis_attributes {
    int64_t axis;
} hti_axis_attributes; /* concat, argmax, max_along */

typedef struct hti_cast_attributes {
    int64_t dtype;
} hti_cast_attributes;

typedef struct hti_matmul_attributes {
    int32_t transpose_a, transpose_b;
} hti_matmul_attributes;

/*
 * The three faces of T(x, w, g) = <g, conv(x, w)>: conv, conv_input, conv_weight.
 * `image` are the spatial sizes of x, `kernel` those of w: what the adjoints cannot see from their inputs.
 */
typedef struct hti_conv_attributes {
    int32_t axes, groups;
    int64_t stride[3], pad[3], dilation[3], image[3], kernel[3];
} hti_conv_attributes;

/* pool_argmax, pool_take, pool_put, window_sum, window_spread. `image` are the spatial sizes of the unpooled side. */
typedef struct hti_pool_attributes {
    int64_t axes;
    int64_t kernel[3], stride[3], pad[3], image[3];
} hti_pool_attributes;

/*
 * resample, resample_back: one axis of size `from` becomes one of size `to`. NEAREST takes floor(i from / to); LINEAR lies
 * between two, at half-pixel centres, CORNERS with the first and last centres on each other; MEAN is that of a window.
 */
typedef enum hti_resampling {
    HTI_NEAREST = 1,
    HTI_LINEAR_CENTRES,
    HTI_LINEAR_CORNERS,
    HTI_WINDOW_MEAN
} hti_resampling;
typedef struct hti_resample_attributes {
    int64_t axis, mode, from, to;
} hti_resample_attributes;

typedef struct hti_place_attributes {
    int64_t image[2];
} hti_place_attributes; /* place_take, place_put: rows and columns of the image */

typedef struct hti_random_attributes {
    uint64_t key;
    double probability;
    int64_t dtype;
    ht_shape shape;
} hti_random_attributes;

/* read: a tensor of a store, and how often that tensor was written on this tape before. */
typedef struct hti_read_attributes {
    struct ht_store *store;
    int64_t index;
} hti_read_attributes;

#endif
