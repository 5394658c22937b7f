/*
 * The hypergradient against differences of the whole procedure: the one test that a wrong bracket, a held value that should
 * not be held, or a step that is not looked through cannot pass.
 */
#include <stdbool.h>

#include "internal.h"

ht_gradcheck_result mlo_check_(const mlo_round *round, int32_t count, ht_gradcheck_args args)
{
    bool recorded = count >= 1 && count <= MLO_LEVELS_MAX && round->total.count > 0;
    /* without a derivative: the empty value of the tape, so that its own error is told */
    args.value = (ht_var){args.inputs.count > 0 ? args.inputs.at[0].tape : NULL, 0};
    if (recorded) args.value = round->loss[count - 1];
    args.gradient = round->total;
    args.from = args.orders = 1;
    return ht_gradcheck_(args);
}
