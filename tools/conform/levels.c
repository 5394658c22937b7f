/* The losses of the levels as genseg's round has them, with factors of dropout for each use of the generator. */
#include "levels.h"

static ht_var generate(const mlo_point *at, ht_var mask, const genseg_networks *nets)
{
    return genseg_generate(mlo_at(at, "G"), mlo_at(at, "A"), mask, &nets->generator);
}

static ht_var loss_generator(const mlo_point *at, void *context)
{
    const conform_levels *l = context;
    return genseg_loss_gan(mlo_at(at, "H"), l->mask, generate(at, l->mask, &l->gan), l->image, &l->gan);
}

static ht_var loss_discriminator(const mlo_point *at, void *context)
{
    const conform_levels *l = context;
    return genseg_loss_discriminator(mlo_at(at, "H"), l->mask, generate(at, l->mask, &l->gan), l->image, &l->gan);
}

/* What is kept is of the first recording: finite differences record the loss again, elsewhere. */
static ht_var loss_segmenter(const mlo_point *at, void *context)
{
    conform_levels *l = context;
    ht_var generated = genseg_to_unit(generate(at, l->augmented, &l->seg));
    ht_var on_generated = genseg_loss_segmenter(mlo_at(at, "S"), generated, l->augmented, &l->seg);
    ht_var on_real = genseg_loss_segmenter(mlo_at(at, "S"), l->image, l->mask, &l->seg);
    if (!ht_ok(l->generated)) {
        l->generated = generated;
        l->on_generated = on_generated;
        l->on_real = on_real;
    }
    return ht_add(on_generated, ht_scale(on_real, l->gamma));
}

static ht_var loss_architecture(const mlo_point *at, void *context)
{
    const conform_levels *l = context;
    return genseg_loss_segmenter(mlo_at(at, "S"), l->val_image, l->val_mask, &l->seg);
}

static ht_vars step_of(const conform_levels *l, int32_t level, ht_vars w, ht_vars g)
{
    return l->step[level].record(w, g, l->step[level].context);
}

static ht_vars step_generator(ht_vars w, ht_vars g, void *context) { return step_of(context, CONFORM_LEVEL_G, w, g); }
static ht_vars step_discriminator(ht_vars w, ht_vars g, void *context) { return step_of(context, CONFORM_LEVEL_H, w, g); }
static ht_vars step_segmenter(ht_vars w, ht_vars g, void *context) { return step_of(context, CONFORM_LEVEL_S, w, g); }

mlo_round conform_levels_record(conform_levels *l, mlo_method method, mlo_look_ahead look_ahead)
{
    static const char *const names[] = {"G", "H", "S", "A"};
    nn_scope scope[CONFORM_LEVELS];
    for (int32_t i = 0; i < CONFORM_LEVELS; i++)
        scope[i] = nn_open(l->tape, l->store[i], .name = names[i], .freeze_statistics = 1);
    mlo_level levels[] = {
        {"G", scope[CONFORM_LEVEL_G], loss_generator, step_generator, .context = l},
        {"H", scope[CONFORM_LEVEL_H], loss_discriminator, step_discriminator, .context = l, .before = "G"},
        {"S", scope[CONFORM_LEVEL_S], loss_segmenter, step_segmenter, .context = l, .hold = "A"},
        {"A", scope[CONFORM_LEVEL_A], loss_architecture, .context = l},
    };
    for (int32_t i = 0; i < CONFORM_LEVEL_A; i++) {
        levels[i].rate = l->step[i].rate;
        if (!l->step[i].record) levels[i].step = NULL;
    }
    return mlo_record(l->tape, levels, CONFORM_LEVELS, method, .look_ahead = look_ahead);
}
