/*
 * The checker of hypergradients, as users call it: three levels on vectors, exact and by finite differences, with a held
 * edge, with an optimiser that is looked through; and derivatives that are wrong, which it has to notice.
 */
#include <stdbool.h>
#include <string.h>

#include <ht/mlo.h>

#include "tap.h"

enum { LEVELS = 3 };

static ht_device *device;

typedef struct problem {
    bool hold, cut, adam; /* the second level holds the third; half of an edge is cut, undeclared; not a plain step */
    bool written;         /* the unknowns get new values before they are asked for */
    ht_store *moments;
} problem;

static ht_var unknown(nn_scope s) { return nn_parameter(s, "w", HT_SHAPE(4), nn_normal(0.7)); }

static ht_var loss_first(const mlo_point *at, void *context)
{
    const problem *p = context;
    ht_var a = unknown(mlo_at(at, "third")), w = unknown(mlo_at(at, "first"));
    if (p->cut) a = ht_add(ht_scale(a, 0.5), ht_scale(ht_stop(a), 0.5));
    return ht_sum(ht_square(ht_sub(ht_tanh(ht_mul(w, a)), ht_sin(a))));
}

static ht_var loss_second(const mlo_point *at, void *context)
{
    (void)context;
    ht_var a = unknown(mlo_at(at, "third")), g = unknown(mlo_at(at, "first")), s = unknown(mlo_at(at, "second"));
    return ht_sum(ht_square(ht_sub(ht_tanh(ht_mul(s, g)), ht_cos(a))));
}

static ht_var loss_third(const mlo_point *at, void *context)
{
    (void)context;
    return ht_mean(ht_exp(unknown(mlo_at(at, "second"))));
}

static ht_vars optimise(ht_vars w, ht_vars gradient, void *context)
{
    const problem *p = context;
    return nn_adam(p->moments, w, gradient, .rate = 0.05, .eps = 1e-2, .read_only = 1);
}

static ht_gradcheck_result check(problem p, mlo_method method, double tolerance)
{
    static const char *const names[LEVELS] = {"first", "second", "third"};
    static ht_var (*const losses[LEVELS])(const mlo_point *, void *) = {loss_first, loss_second, loss_third};
    ht_tape *tape = ht_tape_new(HT_F64);
    ht_store *store[LEVELS];
    mlo_level levels[LEVELS] = {0};
    p.moments = ht_store_new(device);
    for (int32_t i = 0; i < LEVELS; i++) {
        store[i] = ht_store_new(device);
        levels[i] = (mlo_level){.name = names[i], .scope = nn_open(tape, store[i], .name = names[i], .seed = (uint64_t)i + 1),
                                .loss = losses[i], .rate = 0.1, .context = &p};
        unknown(levels[i].scope);
    }
    if (p.hold) levels[1].hold = "third";
    if (p.adam) levels[0].step = optimise;
    mlo_round round = mlo_record(tape, levels, LEVELS, .method = method, .look_ahead = p.adam ? MLO_OPTIMIZER : MLO_SGD,
                                 .radius = 1e-3);
    if (p.written) ht_write(store[LEVELS - 1], nn_sgd(nn_params(levels[LEVELS - 1].scope), round.total, .rate = 0.1));
    ht_gradcheck_result r = mlo_check(&round, LEVELS, nn_params(levels[LEVELS - 1].scope), device, .draws = 3, .seed = 6,
                                      .tolerance = tolerance);
    ht_tape_free(tape);
    for (int32_t i = 0; i < LEVELS; i++) ht_store_free(store[i]);
    ht_store_free(p.moments);
    return r;
}

static void passes(const char *what, ht_gradcheck_result r)
{
    tap_ok(r.status == HT_OK && r.checks == 6 && r.failed + r.skipped == 0, "%s: %d checks, worst %.2g %s", what, (int)r.checks,
           r.worst, r.message);
}

int main(void)
{
    ht_error error = {0};
    device = ht_device_open("cpu", 1, &error);
    if (!device) return tap_ok(0, "device: %s", error.message), tap_done();
    problem plain = {0}, held = {.hold = true}, cut = {.cut = true}, adam = {.adam = true};
    passes("three levels", check(plain, MLO_UNROLL, 0));
    passes("with a held edge, whose share is the direct term", check(held, MLO_UNROLL, 0));
    passes("through a step of Adam", check(adam, MLO_UNROLL, 0));
    passes("by finite differences, coarsely", check(plain, MLO_FINITE_DIFFERENCE, 1e-3));
    ht_gradcheck_result r = check(plain, MLO_FINITE_DIFFERENCE, 1e-11);
    tap_ok(r.status == HT_OK && r.failed > 0, "finite differences are not exact: %s", r.message);
    r = check(cut, MLO_UNROLL, 0);
    tap_ok(r.status == HT_OK && r.failed > 0 && strstr(r.message, "\"w\""), "a cut that nobody declared is found: %s", r.message);
    r = check(plain, MLO_NONE, 0);
    tap_ok(r.status == HT_EINVALID && strstr(r.message, "empty"), "without a derivative there is nothing to check: %s",
           r.message);
    problem written = {.written = true};
    r = check(written, MLO_UNROLL, 0);
    tap_ok(r.status == HT_EINVALID && strstr(r.message, "before ht_write"), "unknowns that were written before: %s", r.message);
    ht_device_close(device);
    return tap_done();
}
