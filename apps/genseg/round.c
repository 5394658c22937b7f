/*
 * The round of Eqs. (5) to (9): generator and discriminator step at the same (G, A, H), the generator after its step draws
 * images of augmented masks, the segmenter steps on them and on real pairs, and the architecture moves by the derivative
 * of the segmenter's validation loss through all of that. In x = G'(M) the architecture stands at a place of its own
 * (held), so one reverse pass gives Eq. (9) and the direct term apart.
 */
#include "round.h"

#include <stdbool.h>

typedef struct levels_context {
    const genseg_state *state;
    const genseg_config *config;
    const genseg_networks *nets;
    ht_var mask, image, augmented, val_mask, val_image, rate;
    int32_t commit;
} levels_context;

/* In the order of the stores. */
static const char *const level_names[4] = {"generator", "discriminator", "segmenter", "architecture"};

/* Adam's beta of 0 is a request, not an option left out. */
static double given(double value) { return value == 0 ? NN_NONE : value; }

/* ---- losses of the levels ---- */

static ht_var loss_generator(const mlo_point *at, void *context)
{
    const levels_context *c = context;
    ht_var fake = genseg_generate(mlo_at(at, "generator"), mlo_at(at, "architecture"), c->mask, &c->nets->generator);
    return genseg_loss_gan(mlo_at(at, "discriminator"), c->mask, fake, c->image, c->nets);
}

static ht_var loss_discriminator(const mlo_point *at, void *context)
{
    const levels_context *c = context;
    ht_var fake = genseg_generate(mlo_at(at, "generator"), mlo_at(at, "architecture"), c->mask, &c->nets->generator);
    return genseg_loss_discriminator(mlo_at(at, "discriminator"), c->mask, fake, c->image, c->nets);
}

/* Running statistics follow real images alone: those are what the segmenter is used on. */
static ht_var loss_segmenter(const mlo_point *at, void *context)
{
    const levels_context *c = context;
    nn_scope S = mlo_at(at, "segmenter");
    ht_var generated = genseg_to_unit(
        genseg_generate(mlo_at(at, "generator"), mlo_at(at, "architecture"), c->augmented, &c->nets->generator));
    ht_var on_generated = genseg_loss_segmenter(nn_at(S, nn_params(S)), generated, c->augmented, c->nets);
    ht_var on_real = genseg_loss_segmenter(S, c->image, c->mask, c->nets);
    return ht_add(on_generated, ht_scale(on_real, c->config->gamma));
}

static ht_var loss_architecture(const mlo_point *at, void *context)
{
    const levels_context *c = context;
    return genseg_loss_segmenter(mlo_at(at, "segmenter"), c->val_image, c->val_mask, c->nets);
}

/* ---- steps of the optimisers ---- */

static ht_vars step_generator(ht_vars w, ht_vars g, void *context)
{
    const levels_context *c = context;
    const genseg_config *o = c->config;
    return nn_adam(c->state->store[GENSEG_G_MOMENTS], w, g, .rate = o->g_rate, .beta1 = given(o->g_beta1),
                   .beta2 = given(o->g_beta2), .weight_decay = o->g_decay, .read_only = !c->commit);
}

static ht_vars step_discriminator(ht_vars w, ht_vars g, void *context)
{
    const levels_context *c = context;
    const genseg_config *o = c->config;
    return nn_adam(c->state->store[GENSEG_H_MOMENTS], w, g, .rate = o->h_rate, .beta1 = given(o->h_beta1),
                   .beta2 = given(o->h_beta2), .weight_decay = o->h_decay, .read_only = !c->commit);
}

static ht_vars step_segmenter(ht_vars w, ht_vars g, void *context)
{
    const levels_context *c = context;
    const genseg_config *o = c->config;
    return nn_rmsprop(c->state->store[GENSEG_S_MOMENTS], w, g, .rate_from = c->rate, .momentum = o->s_momentum,
                      .weight_decay = o->s_decay, .read_only = !c->commit);
}

/* ---- the round ---- */

static levels_context inputs(ht_tape *tape, const genseg_state *state, const genseg_config *config,
                             const genseg_networks *nets, genseg_sizes z)
{
    levels_context c = {.state = state, .config = config, .nets = nets};
    c.mask = ht_input(tape, "mask", HT_SHAPE(z.batch, 1, z.size, z.size));
    c.image = ht_input(tape, "image", HT_SHAPE(z.batch, z.channels, z.size, z.size));
    c.rate = ht_input(tape, "rate", HT_SCALAR);
    return c;
}

/* G and H keep no running statistics: they are never used but with those of the batch. */
static nn_scope open_level(const levels_context *c, int32_t which, const char *name, ht_var step)
{
    return nn_open(c->mask.tape, c->state->store[which], .name = name, .seed = (uint64_t)c->config->seed, .step = step,
                   .freeze_statistics = which != GENSEG_S || !c->commit);
}

mlo_method genseg_method_of(const genseg_config *config)
{
    if (config->hypergradient == GENSEG_H_NONE) return MLO_NONE;
    return config->hypergradient == GENSEG_H_FINITE_DIFFERENCE ? MLO_FINITE_DIFFERENCE : MLO_UNROLL;
}

/* The levels of Eqs. (5) to (8), on scopes in the order of the stores of state.h. */
static mlo_round record_levels(levels_context *c, const nn_scope scope[4], mlo_method method)
{
    const genseg_config *o = c->config;
    ht_var eta_s = o->eta_s > 0 ? ht_fill(c->rate.tape, o->eta_s, HT_SCALAR) : c->rate;
    const mlo_level levels[] = {
        {"generator", scope[GENSEG_G], loss_generator, step_generator, .rate = o->eta_g > 0 ? o->eta_g : o->g_rate, .context = c},
        {"discriminator", scope[GENSEG_H], loss_discriminator, step_discriminator, .rate = o->h_rate, .context = c,
         .before = "generator", .draw = "generator"},
        {"segmenter", scope[GENSEG_S], loss_segmenter, step_segmenter, .rate_from = eta_s, .context = c, .hold = "architecture"},
        {"architecture", scope[GENSEG_A], loss_architecture, .context = c},
    };
    return mlo_record(c->rate.tape, levels, 4, method,
                      .look_ahead = o->unroll == GENSEG_UNROLL_OPTIMIZER ? MLO_OPTIMIZER : MLO_SGD);
}

/*
 * A's step (8): h over the step sizes that every one of its paths has passed (eta_g eta_s for Eq. (9), eta_s for the total),
 * through Adam, with weight decay decoupled. What h and what decay moved is measured apart.
 */
static ht_vars move_architecture(const levels_context *c, ht_vars alpha, int32_t commit, genseg_recording *r)
{
    const genseg_config *o = c->config;
    ht_tape *tape = c->rate.tape;
    ht_var eta_s = o->eta_s > 0 ? ht_fill(tape, o->eta_s, HT_SCALAR) : c->rate;
    double eta_g = o->hypergradient == GENSEG_H_TOTAL ? 1 : o->eta_g > 0 ? o->eta_g : o->g_rate;
    ht_var inverse = o->hypergradient_scale == GENSEG_SCALE_STEPS ? ht_reciprocal(ht_scale(eta_s, eta_g))
                                                                  : ht_fill(tape, 1, HT_SCALAR);
    ht_vars next = nn_adamw(c->state->store[GENSEG_A_MOMENTS], alpha, ht_scale_by(r->used, inverse), .rate = o->a_rate,
                            .beta1 = given(o->a_beta1), .beta2 = given(o->a_beta2), .weight_decay = o->a_decay,
                            .read_only = !commit);
    double kept = 1 - o->a_rate * o->a_decay;
    ht_vars moved = ht_add_scaled(next, alpha, ht_fill(tape, -kept, HT_SCALAR));
    r->alpha_step = ht_norm(moved);
    r->alpha_decay_step = ht_scale(ht_norm(alpha), 1 - kept);
    if (commit) ht_write(c->state->store[GENSEG_A], next);
    return next;
}

static void measure(genseg_recording *r, genseg_hypergradient form)
{
    r->used = form == GENSEG_H_TOTAL ? r->total : r->path;
    r->norm_path = ht_norm(r->path);
    r->norm_direct = ht_norm(r->direct);
    r->norm_used = ht_norm(r->used);
    ht_var product = ht_mul(r->norm_path, r->norm_direct);
    ht_var floored = ht_maximum(product, ht_fill(product.tape, 1e-37, HT_SCALAR));
    r->cosine = ht_div(ht_dot(r->path, r->direct), floored);
}

/*
 * The steps of G, H and S from where they were before the round, on its batch and its draws, with the new architecture. It is
 * held: it came from derivatives of these very losses, and none goes back through it.
 */
static mlo_round take_again(levels_context *c, const nn_scope scope[4], ht_vars architecture, ht_var draw)
{
    c->commit = 1;
    const nn_scope again[4] = {[GENSEG_G] = scope[GENSEG_G], [GENSEG_H] = scope[GENSEG_H],
                               [GENSEG_S] = open_level(c, GENSEG_S, level_names[GENSEG_S], draw),
                               [GENSEG_A] = nn_at(scope[GENSEG_A], architecture, .hold = 1)};
    return record_levels(c, again, MLO_NONE);
}

genseg_recording genseg_record_round(ht_tape *tape, const genseg_state *state, const genseg_config *config,
                                     const genseg_networks *nets, genseg_sizes z, mlo_method method, int32_t commit)
{
    levels_context c = inputs(tape, state, config, nets, z);
    c.augmented = ht_input(tape, "augmented", HT_SHAPE(z.batch, 1, z.size, z.size));
    c.val_mask = ht_input(tape, "val_mask", HT_SHAPE(z.val_batch, 1, z.size, z.size));
    c.val_image = ht_input(tape, "val_image", HT_SHAPE(z.val_batch, z.channels, z.size, z.size));
    const bool again = commit && config->lookahead == GENSEG_LOOKAHEAD_RESTORE && method != MLO_NONE;
    c.commit = commit && !again;
    ht_var draw = nn_count(tape, state->store[GENSEG_CLOCK], "round", .read_only = !commit);
    nn_scope scope[4];
    for (int32_t i = 0; i < 4; i++) scope[i] = open_level(&c, i, level_names[i], draw);
    mlo_round round = record_levels(&c, scope, method);
    genseg_recording r = {.loss_gan = round.loss[0], .loss_discriminator = round.loss[1], .loss_seg = round.loss[2],
                          .loss_val = round.loss[3], .path = round.path, .direct = round.direct, .total = round.total};
    if (ht_tape_error(tape)->status != HT_OK) return r;
    if (method != MLO_NONE) {
        measure(&r, config->hypergradient);
        ht_vars next = move_architecture(&c, nn_params(scope[GENSEG_A]), commit, &r);
        if (again) round = take_again(&c, scope, next, draw);
    }
    for (int32_t i = GENSEG_G; commit && i <= GENSEG_S; i++) ht_write(state->store[i], round.next[i]);
    return r;
}

/* ---- the other programs ---- */

genseg_recording genseg_record_plain(ht_tape *tape, const genseg_state *state, const genseg_config *config,
                                     const genseg_networks *nets, genseg_sizes z)
{
    genseg_recording r = {0};
    levels_context c = inputs(tape, state, config, nets, z);
    c.commit = 1;
    nn_scope S = open_level(&c, GENSEG_S, "segmenter", (ht_var){0});
    r.loss_seg = genseg_loss_segmenter(S, c.image, c.mask, nets);
    ht_vars w = nn_params(S);
    ht_write(state->store[GENSEG_S], step_segmenter(w, ht_grad(r.loss_seg, w), &c));
    return r;
}

genseg_recording genseg_record_pretraining(ht_tape *tape, const genseg_state *state, const genseg_config *config,
                                           const genseg_networks *nets, genseg_sizes z)
{
    genseg_recording r = {0};
    genseg_config at_rate = *config;
    at_rate.g_rate = at_rate.h_rate = config->pretrain_rate;
    levels_context c = inputs(tape, state, &at_rate, nets, z);
    c.commit = 1;
    ht_var draw = nn_count(tape, state->store[GENSEG_CLOCK], "pretraining");
    nn_scope G = nn_draw(open_level(&c, GENSEG_G, "generator", draw), "pretraining");
    nn_scope H = nn_draw(open_level(&c, GENSEG_H, "discriminator", draw), "pretraining");
    nn_scope A = open_level(&c, GENSEG_A, "architecture", draw);
    ht_var fake = genseg_generate(G, A, c.mask, &nets->generator);
    r.loss_gan = genseg_loss_gan(H, c.mask, fake, c.image, nets);
    r.loss_discriminator = genseg_loss_discriminator(H, c.mask, fake, c.image, nets);
    ht_vars g = nn_params(G), h = nn_params(H);
    ht_vars g_next = step_generator(g, ht_grad(r.loss_gan, g), &c);
    ht_vars h_next = step_discriminator(h, ht_grad(r.loss_discriminator, h), &c);
    ht_write(state->store[GENSEG_G], g_next);
    ht_write(state->store[GENSEG_H], h_next);
    return r;
}

ht_var genseg_record_picture(ht_tape *tape, const genseg_state *state, const genseg_config *config,
                             const genseg_networks *nets, genseg_sizes z)
{
    levels_context c = inputs(tape, state, config, nets, z);
    nn_scope G = nn_draw(open_level(&c, GENSEG_G, "generator", (ht_var){0}), "picture");
    nn_scope A = open_level(&c, GENSEG_A, "architecture", (ht_var){0});
    return genseg_to_unit(genseg_generate(G, A, c.mask, &nets->generator));
}
