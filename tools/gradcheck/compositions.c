/*
 * Samples and rejects of what is recorded in several ops at once and so has no row in the registry: norms, attention,
 * losses, a critic's penalty. Written as one more op; what stands before the comma of a sample's name is the subject.
 */
#include <ht/nn.h>

#include "suite.h"

#define SAMPLE(name, call)                                       \
    static ht_var record_##name(ht_tape *tape, const ht_var *in) \
    {                                                            \
        (void)tape;                                              \
        return call;                                             \
    }
SAMPLE(batch, ht_batch_norm(in[0], in[1], in[2]))
SAMPLE(batch_plain, ht_batch_norm(in[0], .eps = 1e-3))
SAMPLE(instance, ht_instance_norm(in[0], in[1], in[2]))
SAMPLE(group, ht_group_norm(in[0], in[1], in[2], .groups = 2))
SAMPLE(layer, ht_layer_norm(in[0], in[1], in[2]))
SAMPLE(layer_two, ht_layer_norm(in[0], .bias = in[1], .axes = 2))
SAMPLE(attention, ht_attention(in[0], in[1], in[2]))
SAMPLE(attention_scaled, ht_attention(in[0], in[1], in[2], .scale = 2))
SAMPLE(l1, ht_l1_loss(in[0], ht_affine(in[1], 0.25, 0.5)))
SAMPLE(l2, ht_l2_loss(in[0], in[1]))
SAMPLE(hinge, ht_hinge_loss(ht_scale(in[0], 3), in[1]))
SAMPLE(jaccard, ht_jaccard_loss(in[0], in[1], 0.5))
SAMPLE(weighted, ht_weighted_cross_entropy(in[0], in[1], in[2]))
SAMPLE(focal, ht_focal_loss(in[0], in[1], 2, 0.25))
SAMPLE(focal_root, ht_focal_loss(in[0], in[1], 0.5, 0))
SAMPLE(critic, nn_critic_loss(in[0], in[1]))
SAMPLE(penalty, nn_gradient_penalty(ht_tanh(ht_matmul(in[0], in[1])), in[0], 1))
SAMPLE(sum_axes, ht_sum_axes(in[0], HT_SHAPE(0, 2)))
SAMPLE(mean_axes, ht_mean_axes(in[0], HT_SHAPE(1), .keep = 1))
SAMPLE(variance, ht_variance_axes(in[0], HT_SHAPE(0, 2)))
SAMPLE(variance_unbiased, ht_variance_axes(in[0], HT_SHAPE(1), .unbiased = 1))
SAMPLE(deviation, ht_deviation_axes(in[0], HT_SHAPE(1), .keep = 1))
SAMPLE(largest, ht_max_axes(in[0], HT_SHAPE(0, 2)))
SAMPLE(smallest, ht_min_axes(in[0], HT_SHAPE(1)))
SAMPLE(at_smallest, ht_mul(ht_cast(ht_argmin(in[0], 1), ht_tape_dtype(tape)), in[0]))
SAMPLE(flip, ht_flip(in[0], HT_SHAPE(1)))
SAMPLE(roll, ht_roll(in[0], 4, 1))
SAMPLE(tile, ht_tile(in[0], HT_SHAPE(2, 1, 3)))
SAMPLE(repeat, ht_repeat(in[0], 3, 1))
SAMPLE(slice_by, ht_slice_by(in[0], HT_SHAPE(1, 2, 0), HT_SHAPE(1, 2, 2), HT_SHAPE(1, -2, 3)))
SAMPLE(pad_reflect, ht_pad_reflect(in[0], HT_SHAPE(0, 2, 1), HT_SHAPE(0, 0, 3)))
SAMPLE(pad_replicate, ht_pad_replicate(in[0], HT_SHAPE(1, 0, 2), HT_SHAPE(0, 1, 0)))
SAMPLE(one_hot, ht_mul(ht_one_hot(ht_integers(tape, ((const int32_t[]){1, 3, 0}), HT_SHAPE(3)), 4), in[0]))
SAMPLE(take_along, ht_take_along(in[0], ht_integers(tape, ((const int32_t[]){0, 2, 3, 1, 1, 1}), HT_SHAPE(3, 2)), 1))
SAMPLE(nearest, ht_resize(in[0], HT_SHAPE(5, 7)))
SAMPLE(bilinear, ht_resize(in[0], HT_SHAPE(5, 7), .linear = 1))
SAMPLE(corners, ht_resize(in[0], HT_SHAPE(5, 2), .linear = 1, .align_corners = 1))
SAMPLE(trilinear, ht_resize(in[0], HT_SHAPE(3, 2, 4), .linear = 1))
SAMPLE(trilinear_corners, ht_resize(in[0], HT_SHAPE(3, 2, 4), .linear = 1, .align_corners = 1))
SAMPLE(adaptive, ht_adaptive_avg_pool(in[0], HT_SHAPE(2, 3)))
SAMPLE(affine_grid, ht_affine_grid(in[0], HT_SHAPE(3, 2)))
SAMPLE(grid_sample, ht_grid_sample(in[0], ht_affine_grid(in[1], HT_SHAPE(3, 3))))
SAMPLE(grid_border, ht_grid_sample(in[0], ht_affine_grid(in[1], HT_SHAPE(3, 3)), .border = 1, .align_corners = 1))
SAMPLE(classes, ht_softmax_cross_entropy(in[0], ht_integers(tape, ((const int32_t[]){2, 0, 2}), HT_SHAPE(3))))
SAMPLE(classes_weighted, ht_softmax_cross_entropy(in[0], ht_integers(tape, ((const int32_t[]){2, 0, 9, 1}), HT_SHAPE(2, 2)),
                                                  in[1], .ignoring = 1, .ignore = 9))
SAMPLE(groups_of_none, ht_group_norm(in[0], in[1], in[2]))
SAMPLE(eps_negative, ht_batch_norm(in[0], .eps = -1))
SAMPLE(axes_many, ht_layer_norm(in[0], .axes = 5))
SAMPLE(focus_negative, ht_focal_loss(in[0], in[0], -1, 0))
SAMPLE(slope_of_number, nn_gradient_penalty(ht_sum(in[0]), ht_sum(in[0]), 1))
SAMPLE(slope_of_stranger, nn_gradient_penalty(ht_sum(in[0]), in[1], 1))

#define NORM {{4, {2, 4, 2, 3}}, {1, {4}}, {1, {4}}}
#define PAIR {{2, {3, 4}}, {2, {3, 4}}}
static const hti_sample samples[] = {
    {"batch norm", 3, NORM, 0, 0, record_batch},
    {"batch norm, rows alone", 1, {{2, {5, 3}}}, 0, 0, record_batch_plain},
    {"instance norm", 3, NORM, 0, 0, record_instance},
    {"group norm", 3, NORM, 0, 0, record_group},
    {"layer norm", 3, {{3, {2, 3, 4}}, {1, {4}}, {1, {4}}}, 0, 0, record_layer},
    {"layer norm, two axes", 2, {{3, {2, 3, 4}}, {2, {3, 4}}}, 0, 0, record_layer_two},
    {"attention", 3, {{3, {2, 3, 4}}, {3, {2, 5, 4}}, {3, {2, 5, 2}}}, 0, 0, record_attention},
    {"attention, keys for all", 3, {{3, {2, 3, 4}}, {3, {1, 5, 4}}, {3, {1, 5, 2}}}, 0, 0, record_attention_scaled},
    {"l1 loss, a distance", 2, PAIR, 1, 2, record_l1},
    {"l2 loss", 2, PAIR, 0, 0, record_l2},
    {"hinge loss", 2, PAIR, 0, 0, record_hinge},
    {"jaccard loss", 2, PAIR, 0.1, 0.9, record_jaccard},
    {"weighted cross entropy", 3, {{3, {2, 2, 3}}, {3, {2, 2, 3}}, {2, {2, 1}}}, 0, 0, record_weighted},
    {"focal loss", 2, PAIR, 0, 0, record_focal},
    {"focal loss, root", 2, PAIR, 0, 0, record_focal_root},
    {"critic loss", 2, PAIR, 0, 0, record_critic},
    {"sum axes", 1, {{3, {2, 3, 4}}}, 0, 0, record_sum_axes},
    {"mean axes", 1, {{2, {3, 4}}}, 0, 0, record_mean_axes},
    {"variance axes", 1, {{3, {2, 3, 4}}}, 0, 0, record_variance},
    {"variance axes, unbiased", 1, {{2, {3, 4}}}, 0, 0, record_variance_unbiased},
    {"deviation axes", 1, {{2, {3, 4}}}, 0, 0, record_deviation},
    {"max axes", 1, {{3, {2, 3, 4}}}, 0, 0, record_largest},
    {"min axes", 1, {{2, {3, 4}}}, 0, 0, record_smallest},
    {"argmin", 1, {{2, {3, 4}}}, 0, 0, record_at_smallest},
    {"flip", 1, {{2, {3, 4}}}, 0, 0, record_flip},
    {"roll", 1, {{2, {3, 4}}}, 0, 0, record_roll},
    {"tile", 1, {{3, {1, 2, 3}}}, 0, 0, record_tile},
    {"repeat", 1, {{2, {3, 4}}}, 0, 0, record_repeat},
    {"slice by", 1, {{3, {2, 3, 4}}}, 0, 0, record_slice_by},
    {"pad reflect", 1, {{3, {2, 3, 4}}}, 0, 0, record_pad_reflect},
    {"pad replicate", 1, {{3, {2, 3, 4}}}, 0, 0, record_pad_replicate},
    {"one hot", 1, {{2, {3, 4}}}, 0, 0, record_one_hot},
    {"take along", 1, {{2, {3, 4}}}, 0, 0, record_take_along},
    {"resize, nearest", 1, {{4, {1, 2, 3, 4}}}, 0, 0, record_nearest},
    {"resize, bilinear", 1, {{4, {1, 2, 3, 4}}}, 0, 0, record_bilinear},
    {"resize, corners aligned", 1, {{4, {1, 2, 3, 4}}}, 0, 0, record_corners},
    {"resize, trilinear", 1, {{5, {1, 2, 2, 3, 3}}}, 0, 0, record_trilinear},
    {"resize, trilinear, corners aligned", 1, {{5, {1, 2, 2, 3, 3}}}, 0, 0, record_trilinear_corners},
    {"adaptive avg pool", 1, {{4, {1, 2, 5, 4}}}, 0, 0, record_adaptive},
    {"affine grid", 1, {{3, {2, 2, 3}}}, 0, 0, record_affine_grid},
    {"grid sample", 2, {{4, {1, 2, 4, 4}}, {3, {1, 2, 3}}}, 0, 0, record_grid_sample},
    {"grid sample, border", 2, {{4, {1, 2, 4, 4}}, {3, {1, 2, 3}}}, 0, 0, record_grid_border},
    {"softmax cross entropy, classes", 1, {{2, {3, 4}}}, 0, 0, record_classes},
    {"softmax cross entropy, weighted classes", 2, {{3, {2, 3, 2}}, {1, {3}}}, 0.2, 2, record_classes_weighted},
    {"gradient penalty", 2, {{2, {3, 4}}, {2, {4, 2}}}, 0.2, 0.9, record_penalty},
};
static const hti_reject rejects[] = {
    {"one number for each channel", HT_ESHAPE, "has no variance", 1, {{2, {1, 3}}}, record_batch_plain},
    {"an empty batch", HT_ESHAPE, "[0,3]", 1, {{2, {0, 3}}}, record_batch_plain},
    {"a gain of another size", HT_ESHAPE, "gain is [3]", 3, {{3, {2, 4, 2}}, {1, {3}}, {1, {4}}}, record_batch},
    {"eps below 0", HT_EINVALID, "eps is -1", 1, {{2, {2, 3}}}, record_eps_negative},
    {"no spatial axis", HT_ESHAPE, "instance_norm", 3, {{2, {2, 4}}, {1, {4}}, {1, {4}}}, record_instance},
    {"no groups", HT_EINVALID, "4 channels in 0 groups", 3, NORM, record_groups_of_none},
    {"groups that do not divide", HT_EINVALID, "3 channels in 2 groups", 3, {{3, {2, 3, 2}}, {1, {3}}, {1, {3}}}, record_group},
    {"more axes than there are", HT_ESHAPE, "layer_norm", 1, {{2, {2, 3}}}, record_axes_many},
    {"keys of another width", HT_ESHAPE, "matmul", 3, {{2, {3, 4}}, {2, {5, 3}}, {2, {5, 2}}}, record_attention},
    {"a single query", HT_ESHAPE, "[..., L, d]", 3, {{1, {4}}, {2, {5, 4}}, {2, {5, 2}}}, record_attention},
    {"a negative focus", HT_EINVALID, "focus -1", 1, {{2, {2, 3}}}, record_focus_negative},
    {"points that are one number", HT_ESHAPE, "batch [N, ...]", 1, {{2, {2, 3}}}, record_slope_of_number},
    {"scores of other points", HT_EINVALID, "", 2, PAIR, record_slope_of_stranger},
};
const hti_op gradcheck_compositions = {.name = "compositions", .kind = HTI_LINEAR, HTI_SAMPLES(samples), HTI_REJECTS(rejects)};
