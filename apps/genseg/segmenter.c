/* The U-Net: two convolutions on each level, down by pooling, up by transposed convolution beside what came down. */
#include "networks.h"

static const ht_var empty;

enum { DEPTH_MAX = 10 };

/* Two times 3x3 convolution, batch norm, ReLU. */
static ht_var twice(nn_scope s, ht_var x, int64_t out, int32_t smooth)
{
    for (int32_t j = 0; j < 2; j++) {
        x = nn_conv(s, nn_name(s, "conv%d", j), x, out, .kernel = 3, .pad = 1, .no_bias = 1);
        x = genseg_activate(nn_batch_norm(s, nn_name(s, "norm%d", j), x), 0, smooth);
    }
    return x;
}

ht_var genseg_segment(nn_scope S, ht_var image, const genseg_segmenter *net)
{
    if (!ht_ok(image)) return empty;
    ht_shape shape = ht_var_shape(image);
    char text[HT_SHAPE_TEXT];
    if (net->depth < 1 || net->depth > DEPTH_MAX || net->width < 1)
        return ht_tape_fail(S.tape, HT_HERE, HT_EINVALID, "segmenter: depth %d, width %d; a depth of 1 to %d and a width of at "
                            "least 1 were expected", net->depth, net->width, DEPTH_MAX);
    if (shape.rank != 4 || shape.dim[2] % (1 << net->depth) != 0 || shape.dim[3] % (1 << net->depth) != 0)
        return ht_tape_fail(S.tape, HT_HERE, HT_ESHAPE, "segmenter: the image is %s; [N, C, H, W] with H and W multiples of 2^%d "
                            "was expected: take another size or a smaller depth", ht_shape_text(shape, text), net->depth);
    ht_var skip[DEPTH_MAX + 1], x = image;
    for (int32_t i = 0; i <= net->depth; i++) {
        if (i > 0) x = net->smooth ? ht_avg_pool(x, .kernel = ht_all(2)) : ht_max_pool(x, .kernel = ht_all(2));
        skip[i] = x = twice(nn_sub(S, nn_name(S, "down%d", i)), x, (int64_t)net->width << i, net->smooth);
    }
    for (int32_t i = net->depth - 1; i >= 0; i--) {
        nn_scope level = nn_sub(S, nn_name(S, "level%d", i));
        int64_t out = (int64_t)net->width << i;
        x = nn_conv_transpose(level, "up", x, out, .kernel = 2, .stride = 2);
        x = twice(level, ht_concat(1, ht_list(skip[i], x)), out, net->smooth);
    }
    return nn_conv(S, "head", x, 1);
}
