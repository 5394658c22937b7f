/* What a critic's loss needs beside its scores: points between two batches, and the penalty on its slope there. */
#include "internal.h"

/* One number for each case, to stretch over the others of x. */
static ht_shape over_cases(ht_shape x)
{
    for (int32_t k = 1; k < x.rank; k++) x.dim[k] = 1;
    return x;
}

ht_var nn_critic_loss_(ht_var real, ht_var fake, const char *where)
{
    ht_var of_real = ht_mean_(real, where);
    return ht_sub_(ht_mean_(fake, where), of_real, where);
}

ht_var nn_between_(nn_scope scope, const char *name, ht_var a, ht_var b, const char *where)
{
    ht_var none = {0};
    ht_shape shape = ht_var_shape(a);
    const char *full = hti_full_name(scope, name, NULL, where);
    if (!full || !ht_ok(a) || !ht_ok(b)) return none;
    if (shape.rank < 1 || !ht_shape_equal(shape, ht_var_shape(b))) {
        char one[HT_SHAPE_TEXT], two[HT_SHAPE_TEXT];
        return ht_tape_fail(scope.tape, where, HT_ESHAPE, "between \"%s\": %s and %s; two batches of one shape were expected",
                            full, ht_shape_text(shape, one), ht_shape_text(ht_var_shape(b), two));
    }
    const char *stream = hti_stream(scope, full);
    if (!stream) return none;
    ht_var share = ht_uniform_((ht_random_args){.where = where, .tape = scope.tape, .shape = over_cases(shape),
                                                .step = scope.step, .seed = scope.seed, .stream = stream});
    return ht_add_(a, ht_mul_(share, ht_sub_(b, a, where), where), where);
}

ht_var nn_gradient_penalty_(ht_var scores, ht_var points, double norm, const char *where)
{
    ht_var none = {0};
    ht_shape shape = ht_var_shape(points);
    if (!ht_ok(scores) || !ht_ok(points)) return none;
    if (shape.rank < 1) return ht_tape_fail(points.tape, where, HT_ESHAPE, "gradient_penalty: the points are one number; a batch "
                                            "[N, ...] was expected");
    ht_vars slope = ht_grad_(ht_sum_(scores, where), ht_list(points), where);
    if (slope.count < 1) return none;
    ht_var length = ht_safe_sqrt_(ht_sum_to_(ht_square_(slope.at[0], where), over_cases(shape), where), where);
    return ht_mean_(ht_square_(ht_offset_(length, -norm, where), where), where);
}
