/*
 * Reductions over any axes as compositions: sums, means and variances by sum_to; the largest and smallest as what is taken
 * at the place of the first largest, so that of equals the first in row-major order has the derivative.
 */
#include "rules.h"

typedef struct reduction {
    ht_shape kept, dropped; /* of the result: with axes of size 1, and without them */
    ht_shape order;         /* the axes that stay, then those that go, ascending */
    int64_t count;          /* numbers that make one */
    int32_t staying;
} reduction;

static bool take_axes(const char *op, const ht_reduce_args *args, reduction *r)
{
    char a[HT_SHAPE_TEXT], b[HT_SHAPE_TEXT];
    if (!ht_ok(args->x)) {
        if (args->x.tape) ht_tape_fail(args->x.tape, args->where, HT_EINVALID, "%s: an empty value; expected a recorded one", op);
        return false;
    }
    ht_shape shape = ht_var_shape(args->x);
    uint32_t going = 0;
    bool fits = args->axes.rank >= 0;
    for (int32_t i = 0; fits && i < args->axes.rank; i++) {
        int64_t axis = args->axes.dim[i];
        fits = axis >= 0 && axis < shape.rank && !(going >> axis & 1u);
        if (fits) going |= 1u << axis;
    }
    if (!fits) {
        ht_tape_fail(args->x.tape, args->where, HT_ESHAPE, "%s: axes %s of %s; expected axes that exist, each once", op,
                     ht_shape_text(args->axes, a), ht_shape_text(shape, b));
        return false;
    }
    memset(r, 0, sizeof *r);
    r->kept = shape;
    r->count = 1;
    for (int32_t k = 0; k < shape.rank; k++) {
        if (going >> k & 1u) {
            if (!hti_multiply(r->count, shape.dim[k], &r->count)) r->count = INT64_MAX; /* beside an axis of size 0 */
            r->kept.dim[k] = 1;
        } else {
            r->order.dim[r->order.rank++] = k;
            r->dropped.dim[r->dropped.rank++] = shape.dim[k];
        }
    }
    r->staying = r->order.rank;
    for (int32_t k = 0; k < shape.rank; k++)
        if (going >> k & 1u) r->order.dim[r->order.rank++] = k;
    return true;
}

static ht_var shaped(ht_var y, const reduction *r, const ht_reduce_args *args)
{
    return ht_reshape_(y, args->keep ? r->kept : r->dropped, args->where);
}

ht_var ht_sum_axes_(ht_reduce_args args)
{
    reduction r;
    if (!take_axes("sum_axes", &args, &r)) return (ht_var){0};
    return shaped(ht_sum_to_(args.x, r.kept, args.where), &r, &args);
}

ht_var ht_mean_axes_(ht_reduce_args args)
{
    reduction r;
    if (!take_axes("mean_axes", &args, &r)) return (ht_var){0};
    if (r.count < 1) return ht_tape_fail(args.x.tape, args.where, HT_EINVALID, "mean_axes: of no number; expected one or more");
    return shaped(ht_mean_to_(args.x, r.kept, args.where), &r, &args);
}

static ht_var centred(ht_var x, ht_shape kept, const char *where)
{
    return ht_sub_(x, ht_mean_to_(x, kept, where), where);
}

/*
 * E[x^2] - E[x]^2 would cancel. Centred twice, since the first mean is rounded at the size of x, which may be far larger than
 * the spread; a sum of squares cannot fall below 0.
 */
static ht_var variance(const char *op, ht_reduce_args args)
{
    reduction r;
    if (!take_axes(op, &args, &r)) return (ht_var){0};
    int64_t divisor = r.count - (args.unbiased ? 1 : 0);
    if (divisor < 1)
        return ht_tape_fail(args.x.tape, args.where, HT_EINVALID, "%s: %lld numbers; expected at least %d", op,
                            (long long)r.count, args.unbiased ? 2 : 1);
    ht_var from_mean = centred(centred(args.x, r.kept, args.where), r.kept, args.where);
    ht_var sum = ht_sum_to_(ht_square_(from_mean, args.where), r.kept, args.where);
    return shaped(ht_scale_(sum, 1 / (double)divisor, args.where), &r, &args);
}

ht_var ht_variance_axes_(ht_reduce_args args) { return variance("variance_axes", args); }

ht_var ht_deviation_axes_(ht_reduce_args args)
{
    return ht_safe_sqrt_(variance("deviation_axes", args), args.where);
}

/* One axis is followed where it is; several become one, at the end, first. */
static ht_var largest(const char *op, ht_reduce_args args)
{
    reduction r;
    if (!take_axes(op, &args, &r)) return (ht_var){0};
    ht_var x = args.x;
    int32_t axis = r.staying;
    if (args.axes.rank == 0) return x;
    if (args.axes.rank == 1) axis = (int32_t)args.axes.dim[0];
    else {
        ht_shape merged = r.dropped;
        bool moved = false;
        for (int32_t k = 0; k < r.order.rank; k++) moved = moved || r.order.dim[k] != k;
        merged.dim[merged.rank++] = r.count;
        if (moved) x = ht_permute_(x, r.order, args.where);
        x = ht_reshape_(x, merged, args.where);
    }
    if (!ht_ok(x)) return x;
    return shaped(ht_take_along_(x, ht_argmax_(x, axis, args.where), axis, args.where), &r, &args);
}

ht_var ht_max_axes_(ht_reduce_args args) { return largest("max_axes", args); }

ht_var ht_min_axes_(ht_reduce_args args)
{
    args.x = ht_neg_(args.x, args.where);
    return ht_neg_(largest("min_axes", args), args.where);
}

ht_var ht_argmin_(ht_var x, int32_t axis, const char *where) { return ht_argmax_(ht_neg_(x, where), axis, where); }
