/*
 * Softmax cross-entropy on logits with integer targets, as a composition. Logits of targets that do not count are replaced
 * before anything is computed of them, so no infinity in them reaches a value or a derivative.
 */
#include "rules.h"

static bool fits(const ht_softmax_cross_entropy_args *args, ht_shape *line)
{
    char a[HT_SHAPE_TEXT], b[HT_SHAPE_TEXT];
    ht_tape *tape = args->logits.tape;
    ht_shape logits = ht_var_shape(args->logits), expected = logits;
    if (!tape) return false;
    if (!ht_ok(args->logits) || !ht_ok(args->target)) {
        ht_tape_fail(tape, args->where, HT_EINVALID, "softmax_cross_entropy: logits or target are empty; expected both");
        return false;
    }
    for (int32_t k = 1; k + 1 < logits.rank; k++) expected.dim[k] = logits.dim[k + 1];
    expected.rank = logits.rank - 1;
    if (logits.rank < 2 || logits.dim[1] < 1 || !ht_shape_equal(expected, ht_var_shape(args->target))) {
        ht_tape_fail(tape, args->where, HT_ESHAPE, "softmax_cross_entropy: logits %s and target %s; expected [N,C,...] and "
                     "[N,...]", ht_shape_text(logits, a), ht_shape_text(ht_var_shape(args->target), b));
        return false;
    }
    if (ht_var_dtype(args->target) != HT_I32) {
        ht_tape_fail(tape, args->where, HT_EDTYPE, "softmax_cross_entropy: the target is %s; expected i32",
                     ht_dtype_name(ht_var_dtype(args->target)));
        return false;
    }
    if (ht_ok(args->weights) && !ht_shape_equal(ht_var_shape(args->weights), HT_SHAPE(logits.dim[1]))) {
        ht_tape_fail(tape, args->where, HT_ESHAPE, "softmax_cross_entropy: weights %s; expected [%lld], one per class",
                     ht_shape_text(ht_var_shape(args->weights), a), (long long)logits.dim[1]);
        return false;
    }
    *line = logits;
    line->dim[1] = 1;
    return true;
}

ht_var ht_softmax_cross_entropy_(ht_softmax_cross_entropy_args args)
{
    const char *where = args.where;
    ht_shape line;
    if (!fits(&args, &line)) return (ht_var){0};
    ht_var logits = args.logits, place = ht_reshape_(args.target, line, where), counts = {0};
    if (args.ignoring) {
        ht_var number = ht_cast_(place, ht_var_dtype(logits), where), zero = hti_fill_like(number, 0, where);
        ht_var ignored = ht_equal_(number, hti_fill_like(number, args.ignore, where), where);
        counts = ht_affine_(ignored, -1, 1, where);
        place = ht_cast_(ht_where_(ignored, zero, number, where), HT_I32, where);
        logits = ht_where_(ignored, zero, logits, where);
    }
    ht_var loss = ht_neg_(ht_take_along_(ht_log_softmax_(logits, 1, where), place, 1, where), where);
    if (ht_ok(args.weights)) {
        ht_var weight = ht_reshape_(ht_take_(args.weights, ht_reshape_(place, HT_SHAPE(ht_shape_count(line)), where), 0, where),
                                    line, where);
        counts = ht_ok(counts) ? ht_mul_(counts, weight, where) : weight;
    }
    if (!ht_ok(counts)) return ht_mean_(loss, where);
    ht_var total = ht_sum_(counts, where);
    ht_var any = hti_emit(total.tape, HTI_OP_positive, NULL, &total, 1, where);
    if (!ht_ok(any)) return any;
    total = ht_where_(any, total, hti_fill_like(total, 1, where), where);
    return ht_div_(ht_sum_(ht_mul_(counts, loss, where), where), total, where);
}
