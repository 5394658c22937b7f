/*
 * Compositions that users call by one name: norms, the softmax family, losses, pooling, attention, layers, steps of
 * optimisers. They have no rule of their own, but their derivatives of order 2 and 3 are what models stand on. To add one:
 * a function and a row; rows of one name are variants of one subject.
 */
#include <ht/nn.h>

#include "suite.h"

#define COMPOSITION(name, expression)                                                                            \
    static ht_var record_##name(ht_tape *tape, ht_store *store, const ht_var *in, const void *context)           \
    {                                                                                                            \
        (void)tape, (void)store, (void)context;                                                                  \
        return expression;                                                                                       \
    }

/* ---- layers: the first recording makes the parameters, the second one takes the inputs in their place ---- */

typedef ht_var (*layer)(nn_scope scope, ht_var x);
static const char *const layer_names[] = {"layer.weight", "layer.bias"};

static ht_var with_inputs(ht_tape *tape, ht_store *store, layer record, const ht_var *in, int32_t evaluate)
{
    nn_scope scope = nn_open(tape, store, .seed = 1, .evaluate = evaluate);
    record(scope, in[0]);
    return record(nn_at(scope, ht_vars_new(tape, in + 1, layer_names, 2)), in[0]);
}

static ht_var batch_norm(nn_scope s, ht_var x) { return nn_batch_norm(s, "layer", x); }
static ht_var instance_norm(nn_scope s, ht_var x) { return nn_instance_norm(s, "layer", x); }
static ht_var dense(nn_scope s, ht_var x) { return nn_dense(s, "layer", x, 3); }
static ht_var convolution(nn_scope s, ht_var x) { return nn_conv(s, "layer", x, 2, .kernel = 3, .stride = 2, .pad = 1); }
static ht_var up(nn_scope s, ht_var x) { return nn_conv_transpose(s, "layer", x, 2, .kernel = 4, .stride = 2, .pad = 1); }

COMPOSITION(batch_norm, with_inputs(tape, store, batch_norm, in, 0))
COMPOSITION(batch_norm_evaluate, with_inputs(tape, store, batch_norm, in, 1))
COMPOSITION(batch_norm_fresh, nn_batch_norm(nn_open(tape, store, .seed = 1), "layer", in[0]))
COMPOSITION(instance_norm, with_inputs(tape, store, instance_norm, in, 0))
COMPOSITION(dense, with_inputs(tape, store, dense, in, 0))
COMPOSITION(layer_conv, with_inputs(tape, store, convolution, in, 0))
COMPOSITION(layer_up, with_inputs(tape, store, up, in, 0))
COMPOSITION(drop_path, nn_drop_path(nn_open(tape, store, .seed = 1), "layer", in[0], 0.5))
COMPOSITION(dropout, nn_dropout(nn_open(tape, store, .seed = 1), "layer", in[0], 0.3))

COMPOSITION(layer_norm, ht_layer_norm(in[0], in[1], in[2]))

/* ---- the softmax family, losses, lists ---- */

COMPOSITION(softmax_0, ht_softmax(in[0], 0))
COMPOSITION(softmax_1, ht_softmax(in[0], 1))
COMPOSITION(log_softmax_0, ht_log_softmax(in[0], 0))
COMPOSITION(log_softmax_1, ht_log_softmax(in[0], 1))
COMPOSITION(logsumexp_0, ht_logsumexp(in[0], 0))
COMPOSITION(logsumexp_1, ht_logsumexp(in[0], 1))
COMPOSITION(sigmoid_cross_entropy, ht_sigmoid_cross_entropy(in[0], in[1]))
COMPOSITION(softmax_cross_entropy, ht_neg(ht_mean(ht_mul(ht_log_softmax(in[0], 1), ht_softmax(in[1], 1)))))
COMPOSITION(dice_loss, ht_dice_loss(ht_sigmoid(in[0]), ht_sigmoid(in[1]), 1))
COMPOSITION(charbonnier, ht_charbonnier(in[0], 0.1))
COMPOSITION(charbonnier_wide, ht_charbonnier(in[0], 1))
COMPOSITION(l1_loss, ht_mean(ht_abs(ht_sub(in[0], in[1]))))
COMPOSITION(maximum, ht_maximum(in[0], in[1]))
COMPOSITION(minimum, ht_minimum(in[0], in[1]))
COMPOSITION(relu, ht_relu(in[0]))
COMPOSITION(gelu, ht_gelu(in[0]))
COMPOSITION(gelu_tanh, ht_gelu_tanh(in[0]))
COMPOSITION(silu, ht_silu(in[0]))
COMPOSITION(elu, ht_elu(in[0], 0.75))
COMPOSITION(log_sigmoid, ht_log_sigmoid(in[0]))
COMPOSITION(clamp, ht_clamp(in[0], -0.25, 0.5))
COMPOSITION(less, ht_mul(ht_less(in[0], in[1]), in[0]))
COMPOSITION(greater_equal, ht_mul(ht_greater_equal(in[0], in[1]), in[0]))
COMPOSITION(less_equal, ht_mul(ht_less_equal(in[0], in[1]), in[1]))
COMPOSITION(not_equal, ht_mul(ht_not_equal(ht_round(in[0]), ht_round(in[1])), in[0]))
COMPOSITION(norm, ht_norm(ht_list(in[0], in[1])))
COMPOSITION(unit, ht_unit(ht_list(in[0], in[1])).at[0])
COMPOSITION(dot, ht_dot(ht_list(in[0], in[1]), ht_list(in[2], in[3])))
COMPOSITION(mean_to, ht_mean_to(in[0], HT_SHAPE(1, 3, 1)))

COMPOSITION(attention, ht_attention(in[0], in[1], in[2]))

/* ---- pooling ---- */

COMPOSITION(max_pool, ht_max_pool(in[0], .kernel = ht_all(2)))
COMPOSITION(max_pool_padded, ht_max_pool(in[0], .kernel = ht_all(3), .stride = ht_all(2), .pad = ht_all(1)))
COMPOSITION(avg_pool, ht_avg_pool(in[0], .kernel = ht_all(2)))
COMPOSITION(avg_pool_padded, ht_avg_pool(in[0], .kernel = ht_all(3), .stride = ht_all(2), .pad = ht_all(1)))

/* ---- one step of each optimiser, as a function of weights and gradients: what a look-ahead differentiates ---- */

static const char *const weight_names[] = {"w"};
#define WEIGHT ht_vars_new(tape, &in[0], weight_names, 1)
#define GRADIENT ht_vars_new(tape, &in[1], weight_names, 1)

static ht_var first(ht_vars list) { return list.count > 0 ? list.at[0] : (ht_var){0}; }

COMPOSITION(sgd, first(nn_sgd(WEIGHT, GRADIENT, .rate = 0.1, .momentum = 0.9, .weight_decay = 0.01, .store = store)))
COMPOSITION(rmsprop, first(nn_rmsprop(store, WEIGHT, GRADIENT, .rate = 0.1, .weight_decay = 0.01, .eps = 1e-2)))
COMPOSITION(adam, first(nn_adam(store, WEIGHT, GRADIENT, .rate = 0.1, .eps = 1e-2)))
COMPOSITION(adamw, first(nn_adamw(store, WEIGHT, GRADIENT, .rate = 0.1, .weight_decay = 0.01, .eps = 1e-2)))

#define VECTOR {1, {3}}
#define MATRIX {2, {3, 4}}
#define IMAGE {4, {2, 3, 3, 2}}
#define PIXELS {4, {2, 2, 4, 6}}

const gradcheck_composite gradcheck_composites[] = {
    {"batch_norm", GRADCHECK_HEAVY, 3, {IMAGE, VECTOR, VECTOR}, 0, 0, record_batch_norm},
    {"batch_norm", GRADCHECK_HEAVY, 3, {{2, {5, 3}}, VECTOR, VECTOR}, 0, 0, record_batch_norm},
    {"batch_norm", GRADCHECK_HEAVY, 3, {{3, {2, 3, 4}}, VECTOR, VECTOR}, 0.5, 3, record_batch_norm},
    {"batch_norm", GRADCHECK_HEAVY, 3, {IMAGE, VECTOR, VECTOR}, 0, 0, record_batch_norm_evaluate},
    {"batch_norm", GRADCHECK_HEAVY, 1, {IMAGE}, 0, 0, record_batch_norm_fresh},
    {"instance_norm", GRADCHECK_HEAVY, 3, {IMAGE, VECTOR, VECTOR}, 0, 0, record_instance_norm},
    {"instance_norm", GRADCHECK_HEAVY, 3, {{5, {1, 3, 2, 2, 3}}, VECTOR, VECTOR}, 0.5, 3, record_instance_norm},
    {"layer_norm", GRADCHECK_HEAVY, 3, {{2, {4, 3}}, VECTOR, VECTOR}, 0, 0, record_layer_norm},
    {"layer_norm", GRADCHECK_HEAVY, 3, {{3, {2, 2, 3}}, VECTOR, VECTOR}, -3, 3, record_layer_norm},
    {"softmax", GRADCHECK_HEAVY, 1, {MATRIX}, 0, 0, record_softmax_1},
    {"softmax", GRADCHECK_HEAVY, 1, {{3, {2, 3, 2}}}, -8, 8, record_softmax_0},
    {"softmax", GRADCHECK_HEAVY, 1, {{2, {3, 1}}}, 0, 0, record_softmax_1},
    {"log_softmax", GRADCHECK_MIDDLE, 1, {MATRIX}, 0, 0, record_log_softmax_1},
    {"log_softmax", GRADCHECK_MIDDLE, 1, {{3, {2, 3, 2}}}, -8, 8, record_log_softmax_0},
    {"logsumexp", GRADCHECK_MIDDLE, 1, {MATRIX}, 0, 0, record_logsumexp_1},
    {"logsumexp", GRADCHECK_MIDDLE, 1, {{3, {2, 3, 2}}}, -8, 8, record_logsumexp_0},
    {"attention", GRADCHECK_HEAVY, 3, {MATRIX, {2, {2, 4}}, {2, {2, 3}}}, 0, 0, record_attention},
    {"attention", GRADCHECK_HEAVY, 3, {{3, {2, 3, 2}}, {3, {2, 3, 2}}, {3, {2, 3, 2}}}, -2, 2, record_attention},
    {"sigmoid_cross_entropy", GRADCHECK_MIDDLE, 2, {MATRIX, MATRIX}, 0, 0, record_sigmoid_cross_entropy},
    {"sigmoid_cross_entropy", GRADCHECK_MIDDLE, 2, {MATRIX, MATRIX}, -20, 20, record_sigmoid_cross_entropy},
    {"softmax_cross_entropy", GRADCHECK_MIDDLE, 2, {IMAGE, IMAGE}, 0, 0, record_softmax_cross_entropy},
    {"dice_loss", GRADCHECK_MIDDLE, 2, {MATRIX, MATRIX}, 0, 0, record_dice_loss},
    {"dice_loss", GRADCHECK_MIDDLE, 2, {MATRIX, MATRIX}, -9, 9, record_dice_loss},
    {"charbonnier", GRADCHECK_LIGHT, 1, {MATRIX}, 0, 0, record_charbonnier},
    {"charbonnier", GRADCHECK_LIGHT, 1, {MATRIX}, -9, 9, record_charbonnier_wide},
    {"l1_loss", GRADCHECK_LIGHT, 2, {MATRIX, MATRIX}, 0, 0, record_l1_loss},
    {"maximum", GRADCHECK_LIGHT, 2, {MATRIX, MATRIX}, 0, 0, record_maximum},
    {"maximum", GRADCHECK_LIGHT, 2, {IMAGE, {4, {1, 3, 1, 1}}}, 0, 0, record_maximum},
    {"minimum", GRADCHECK_LIGHT, 2, {MATRIX, MATRIX}, 0, 0, record_minimum},
    {"relu", GRADCHECK_LIGHT, 1, {IMAGE}, 0, 0, record_relu},
    {"gelu", GRADCHECK_LIGHT, 1, {MATRIX}, -2, 2, record_gelu},
    {"gelu", GRADCHECK_LIGHT, 1, {VECTOR}, -6, -2, record_gelu},
    {"gelu_tanh", GRADCHECK_LIGHT, 1, {MATRIX}, -4, 4, record_gelu_tanh},
    {"silu", GRADCHECK_LIGHT, 1, {MATRIX}, -4, 4, record_silu},
    {"silu", GRADCHECK_LIGHT, 1, {VECTOR}, -40, 40, record_silu},
    {"elu", GRADCHECK_LIGHT, 1, {MATRIX}, -4, 4, record_elu},
    {"log_sigmoid", GRADCHECK_LIGHT, 1, {MATRIX}, -4, 4, record_log_sigmoid},
    {"log_sigmoid", GRADCHECK_LIGHT, 1, {VECTOR}, -40, 40, record_log_sigmoid},
    {"clamp", GRADCHECK_LIGHT, 1, {MATRIX}, 0, 0, record_clamp},
    {"less", GRADCHECK_LIGHT, 2, {MATRIX, {2, {3, 1}}}, 0, 0, record_less},
    {"greater_equal", GRADCHECK_LIGHT, 2, {MATRIX, {2, {3, 1}}}, 0, 0, record_greater_equal},
    {"less_equal", GRADCHECK_LIGHT, 2, {MATRIX, MATRIX}, 0, 0, record_less_equal},
    {"not_equal", GRADCHECK_LIGHT, 2, {MATRIX, MATRIX}, -3, 3, record_not_equal},
    {"drop_path", GRADCHECK_LIGHT, 1, {IMAGE}, 0, 0, record_drop_path},
    {"norm", GRADCHECK_MIDDLE, 2, {MATRIX, VECTOR}, 0, 0, record_norm},
    {"unit", GRADCHECK_MIDDLE, 2, {MATRIX, VECTOR}, 0, 0, record_unit},
    {"dot", GRADCHECK_MIDDLE, 4, {MATRIX, VECTOR, MATRIX, VECTOR}, 0, 0, record_dot},
    {"mean_to", GRADCHECK_MIDDLE, 1, {{3, {2, 3, 2}}}, 0, 0, record_mean_to},
    {"max_pool", GRADCHECK_MIDDLE, 1, {PIXELS}, 0, 0, record_max_pool},
    {"max_pool", GRADCHECK_MIDDLE, 1, {{4, {1, 2, 5, 5}}}, 0, 0, record_max_pool_padded},
    {"max_pool", GRADCHECK_MIDDLE, 1, {{5, {1, 1, 4, 2, 2}}}, 0, 0, record_max_pool},
    {"avg_pool", GRADCHECK_MIDDLE, 1, {PIXELS}, 0, 0, record_avg_pool},
    {"avg_pool", GRADCHECK_MIDDLE, 1, {{3, {1, 2, 5}}}, 0, 0, record_avg_pool_padded},
    {"dense", GRADCHECK_HEAVY, 3, {MATRIX, {2, {3, 4}}, VECTOR}, 0, 0, record_dense},
    {"layer_conv", GRADCHECK_HEAVY, 3, {IMAGE, {4, {2, 3, 3, 3}}, {1, {2}}}, 0, 0, record_layer_conv},
    {"layer_conv", GRADCHECK_HEAVY, 3, {{3, {1, 3, 5}}, {3, {2, 3, 3}}, {1, {2}}}, 0, 0, record_layer_conv},
    {"conv_transpose", GRADCHECK_HEAVY, 3, {{4, {1, 2, 2, 3}}, {4, {2, 2, 4, 4}}, {1, {2}}}, 0, 0, record_layer_up},
    {"dropout", GRADCHECK_LIGHT, 1, {IMAGE}, 0, 0, record_dropout},
    {"sgd", GRADCHECK_MIDDLE, 2, {MATRIX, MATRIX}, 0, 0, record_sgd},
    {"rmsprop", GRADCHECK_MIDDLE, 2, {MATRIX, MATRIX}, 0.2, 1, record_rmsprop},
    {"adam", GRADCHECK_MIDDLE, 2, {MATRIX, MATRIX}, 0.2, 1, record_adam},
    {"adamw", GRADCHECK_MIDDLE, 2, {MATRIX, MATRIX}, 0.2, 1, record_adamw},
};
const int32_t gradcheck_composite_count = (int32_t)(sizeof gradcheck_composites / sizeof gradcheck_composites[0]);
