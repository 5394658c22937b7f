/*
 * The hypergradient against differences of the whole procedure: the one test that a wrong bracket, a held value that should
 * not be held, or a step that is not looked through cannot pass.
 */
#include <stdio.h>
#include <string.h>

#include "internal.h"

/* An implicit derivative is that of the procedure only where the steps converged: what they leave is said. */
static void tell_residuals(const mlo_round *round, const ht_gradcheck_args *args, ht_gradcheck_result *r)
{
    ht_vars residuals = mlo_residuals(round);
    double residual[MLO_LEVELS_MAX], largest = 0;
    int64_t one[MLO_LEVELS_MAX] = {1, 1, 1, 1, 1, 1, 1, 1};
    ht_error error = {0};
    if (residuals.count == 0) return;
    mlo_problem problem = {.set = args->set, .context = args->context};
    ht_program *program = mlo_program(&problem, residuals.at[0].tape, args->device, residuals, 0, &error);
    if (program && ht_run(program) == HT_OK && mlo_get(program, 0, one, residuals.count, HT_F64, residual) == HT_OK) {
        for (int32_t i = 0; i < residuals.count; i++)
            if (!(residual[i] <= largest)) largest = residual[i];
        size_t used = strlen(r->message);
        snprintf(r->message + used, sizeof r->message - used, "; the residual of the implicit levels is %.2g; expected steps "
                 "that converge", largest);
    }
    ht_program_free(program);
}

ht_gradcheck_result mlo_check_(const mlo_round *round, int32_t count, ht_gradcheck_args args)
{
    bool recorded = count >= 1 && count <= MLO_LEVELS_MAX && round->total.count > 0;
    /* without a derivative: the empty value of the tape, so that its own error is told */
    args.value = (ht_var){args.inputs.count > 0 ? args.inputs.at[0].tape : NULL, 0};
    if (recorded) args.value = round->loss[count - 1];
    args.gradient = round->total;
    args.from = args.orders = 1;
    ht_gradcheck_result result = ht_gradcheck_(args);
    if (result.status == HT_OK && result.failed > 0) tell_residuals(round, &args, &result);
    return result;
}
