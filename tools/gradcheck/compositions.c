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
    {"batch norm of rows, plain", 1, {{2, {5, 3}}}, 0, 0, record_batch_plain},
    {"instance norm", 3, NORM, 0, 0, record_instance},
    {"group norm", 3, NORM, 0, 0, record_group},
    {"layer norm", 3, {{3, {2, 3, 4}}, {1, {4}}, {1, {4}}}, 0, 0, record_layer},
    {"layer norm, two axes", 2, {{3, {2, 3, 4}}, {2, {3, 4}}}, 0, 0, record_layer_two},
    {"attention", 3, {{3, {2, 3, 4}}, {3, {2, 5, 4}}, {3, {2, 5, 2}}}, 0, 0, record_attention},
    {"attention, keys for all", 3, {{3, {2, 3, 4}}, {3, {1, 5, 4}}, {3, {1, 5, 2}}}, 0, 0, record_attention_scaled},
    {"mean distance", 2, PAIR, 1, 2, record_l1},
    {"mean square", 2, PAIR, 0, 0, record_l2},
    {"hinge", 2, PAIR, 0, 0, record_hinge},
    {"Jaccard", 2, PAIR, 0.1, 0.9, record_jaccard},
    {"weighted cross entropy", 3, {{3, {2, 2, 3}}, {3, {2, 2, 3}}, {2, {2, 1}}}, 0, 0, record_weighted},
    {"focal", 2, PAIR, 0, 0, record_focal},
    {"focal, root", 2, PAIR, 0, 0, record_focal_root},
    {"critic", 2, PAIR, 0, 0, record_critic},
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
