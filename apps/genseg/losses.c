/* The losses of the levels (genseg.md, section 1), on logits, and the networks that a configuration asks for. */
#include "networks.h"

/* mean cross-entropy of logits against the same answer everywhere */
static ht_var against(ht_var logits, double answer)
{
    if (!ht_ok(logits)) return logits;
    return ht_sigmoid_cross_entropy(logits, ht_fill(logits.tape, answer, ht_var_shape(logits)));
}

/* From the segmenter's range to the generator's. */
static ht_var to_symmetric(ht_var image) { return ht_affine(image, 2, -1); }

/* BCE(H(mask, fake), 0) + BCE(H(mask, image), 1), which is minus Eq. (1). */
static ht_var told_apart(nn_scope H, ht_var mask, ht_var fake, ht_var image, const genseg_networks *nets)
{
    ht_var on_fake = against(genseg_discriminate(H, mask, fake, &nets->discriminator), 0);
    ht_var on_real = against(genseg_discriminate(H, mask, to_symmetric(image), &nets->discriminator), 1);
    return ht_add(on_fake, on_real);
}

ht_var genseg_loss_gan(nn_scope H, ht_var mask, ht_var fake, ht_var image, const genseg_networks *nets)
{
    if (nets->gan == GENSEG_GAN_MINIMAX) return ht_neg(told_apart(H, mask, fake, image, nets));
    ht_var loss = against(genseg_discriminate(H, mask, fake, &nets->discriminator), 1);
    if (nets->l1 == 0) return loss;
    ht_var gap = ht_sub(fake, to_symmetric(image));
    ht_var distance = nets->generator.smooth ? ht_charbonnier(gap, 0.1) : ht_abs(gap);
    return ht_add(loss, ht_scale(ht_mean(distance), nets->l1));
}

ht_var genseg_loss_discriminator(nn_scope H, ht_var mask, ht_var fake, ht_var image, const genseg_networks *nets)
{
    ht_var loss = told_apart(H, mask, fake, image, nets);
    return nets->gan == GENSEG_GAN_MINIMAX ? loss : ht_scale(loss, 0.5);
}

ht_var genseg_loss_segmenter(nn_scope S, ht_var image, ht_var mask, const genseg_networks *nets)
{
    ht_var logits = genseg_segment(S, image, &nets->segmenter);
    ht_var loss = ht_sigmoid_cross_entropy(logits, mask);
    if (nets->segmentation != GENSEG_SEG_CE_DICE) return loss;
    return ht_add(loss, ht_dice_loss(ht_sigmoid(logits), mask, 1e-6));
}

genseg_networks genseg_networks_of(const genseg_config *config, int32_t channels)
{
    genseg_networks nets = {
        .generator = {.levels = config->generator_levels, .width = config->generator_width, .channels = channels,
                      .search = config->search, .cells = config->cells, .dropout = config->dropout},
        .discriminator = {.width = config->discriminator_width, .layers = config->discriminator_layers},
        .segmenter = {.width = config->unet_width, .depth = config->unet_depth},
        .gan = config->gan, .segmentation = config->segmentation, .l1 = config->l1,
    };
    return nets;
}
