/* What mlo_compare and mlo_check share: programs that leave no trace, and their numbers as doubles. */
#include <math.h>
#include <stdlib.h>

#include "internal.h"
#include "tape/tape_internal.h"

ht_program *mlo_program(const mlo_problem *problem, ht_tape *tape, ht_device *device, ht_vars outputs, size_t memory_limit,
                        ht_error *error)
{
    bool *written = calloc((size_t)tape->slot_count + 1, sizeof *written);
    if (!written) {
        ht_fail(error, HT_ENOMEM, "mlo: no memory for a program");
        return NULL;
    }
    for (int32_t i = 0; i < tape->slot_count; i++) {
        written[i] = tape->slots[i].written;
        tape->slots[i].written = false;
    }
    ht_program *program = ht_compile(tape, device, outputs, .error = error, .memory_limit = memory_limit);
    for (int32_t i = 0; i < tape->slot_count; i++) tape->slots[i].written = written[i];
    free(written);
    if (!program) return NULL;
    ht_status status = problem->set ? problem->set(program, problem->context) : HT_OK;
    if (status == HT_OK) return program;
    const ht_error *stopped = ht_program_error(program);
    ht_fail(error, status, "%s", stopped->status != HT_OK ? stopped->message : "mlo: the problem's .set refused");
    ht_program_free(program);
    return NULL;
}

int64_t mlo_numbers(ht_vars list)
{
    int64_t count = 0;
    for (int32_t i = 0; i < list.count; i++) count += ht_shape_count(ht_var_shape(list.at[i]));
    return count;
}

ht_status mlo_get(ht_program *program, int32_t first, const int64_t *counts, int32_t outputs, ht_dtype dtype, double *to)
{
    ht_status status = ht_program_error(program)->status;
    for (int32_t i = 0; i < outputs && status == HT_OK; i++) {
        if (dtype == HT_F64) {
            status = ht_get_at(program, first + i, to, counts[i]);
        } else {
            float *narrow = calloc((size_t)counts[i] + 1, sizeof *narrow);
            if (!narrow) return HT_ENOMEM;
            status = ht_get_at(program, first + i, narrow, counts[i]);
            for (int64_t k = 0; k < counts[i]; k++) to[k] = (double)narrow[k];
            free(narrow);
        }
        to += counts[i];
    }
    return status;
}

double mlo_norm(const double *v, int64_t count)
{
    double square = 0;
    for (int64_t i = 0; i < count; i++) square += v[i] * v[i];
    return sqrt(square);
}

ht_vars mlo_residuals(const mlo_round *round)
{
    ht_vars all = {0};
    for (int32_t i = 0; i < MLO_LEVELS_MAX; i++) {
        if (!ht_ok(round->residual[i])) continue;
        ht_vars one = ht_list(round->residual[i]);
        all = all.count > 0 ? ht_vars_join(all, one) : one;
    }
    return all;
}
