/* PatchGAN: judges overlapping patches of an image together with its mask. Logits, one for each patch. */
#include "networks.h"

static const ht_var empty;

ht_var genseg_discriminate(nn_scope H, ht_var mask, ht_var image, const genseg_discriminator *net)
{
    if (!ht_ok(mask) || !ht_ok(image)) return empty;
    if (net->layers < 1 || net->layers > 16 || net->width < 1)
        return ht_tape_fail(H.tape, HT_HERE, HT_EINVALID, "discriminator: %d layers of width %d; 1 to 16 layers and a width of "
                            "at least 1 were expected", net->layers, net->width);
    ht_var x = ht_concat(1, ht_list(mask, image));
    int32_t last = net->layers + 1;
    for (int32_t i = 0; i <= last; i++) {
        int64_t out = i == last ? 1 : (int64_t)net->width * (i > 3 ? 8 : 1 << i);
        int ends = i == 0 || i == last; /* no norm there, hence a bias */
        x = nn_conv(H, nn_name(H, "conv%d", i), x, out, .kernel = 4, .stride = i < net->layers ? 2 : 1, .pad = 1,
                    .no_bias = !ends, .init = nn_normal(0.02), .bias_init = nn_constant(0));
        if (!ends) x = nn_batch_norm(H, nn_name(H, "norm%d", i), x, .init = nn_normal_about(1, 0.02));
        if (i < last) x = genseg_activate(x, 0.2, net->smooth);
    }
    return x;
}
