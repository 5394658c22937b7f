/*
 * Calls that must be refused, and how: by a message that names the caller's line, the op, what it was given (shapes or types)
 * and what was expected. Each op lists its own; the ones that every op has to refuse are made here from its first sample.
 */
#include <string.h>

#include "suite.h"

/* "file.c:12: op ...: what is, with its shapes; expected ..." */
bool gradcheck_refusal_is_clear(const ht_error *error)
{
    const char *place = strstr(error->message, ".c:"), *op = place ? strstr(place, ": ") : NULL;
    bool kind = error->status == HT_ESHAPE || error->status == HT_EINVALID || error->status == HT_EDTYPE;
    bool named = op && op[2] >= 'a' && op[2] <= 'z';
    bool shown = error->status != HT_ESHAPE || strchr(error->message, '[');
    return kind && named && shown && strstr(error->message, "expected");
}

static void listed(const hti_reject *reject, gradcheck_row *row)
{
    char name[16];
    ht_tape *tape = ht_tape_new(HT_F64);
    ht_var x[GRADCHECK_INPUTS] = {0};
    for (int32_t k = 0; k < reject->inputs; k++) {
        snprintf(name, sizeof name, "x%d", (int)k);
        x[k] = ht_input(tape, name, reject->shape[k]);
    }
    bool refused = !ht_ok(reject->record(tape, x));
    const ht_error *error = ht_tape_error(tape);
    gradcheck_note(row, refused && error->status == reject->status && strstr(error->message, reject->words) &&
                   gradcheck_refusal_is_clear(error), "refuses \"%s\": %s \"%s\"; expected %s and \"%s\"", reject->name,
                   ht_status_name(error->status), error->message, ht_status_name(reject->status), reject->words);
    ht_tape_free(tape);
}

/* What may be wrong with one input of any op. */
typedef enum fault { INTEGERS, SINGLES, NOTHING, STRANGER, FAULTS } fault;
static const char *const fault_names[] = {"integers", "numbers of another real type", "an empty value",
                                          "a value of another tape"};

/*
 * The sample with input `at` spoilt. It may be taken: types where an op does not mind them, an empty value where the input
 * is an option, a value of another tape whose shape alone is read. But never is an empty result without a word.
 */
static void spoilt(const hti_sample *sample, int32_t at, fault what, gradcheck_row *row)
{
    char name[16];
    ht_tape *tape = ht_tape_new(HT_F64), *other = ht_tape_new(HT_F64);
    ht_var x[GRADCHECK_INPUTS] = {0};
    for (int32_t k = 0; k < sample->inputs; k++) {
        ht_dtype dtype = k != at ? HT_F64 : what == INTEGERS ? HT_I32 : what == SINGLES ? HT_F32 : HT_F64;
        snprintf(name, sizeof name, "x%d", (int)k);
        x[k] = ht_input_of(k == at && what == STRANGER ? other : tape, name, dtype, sample->shape[k]);
        if (k == at && what == NOTHING) x[k].id = 0;
    }
    bool taken = ht_ok(sample->record(tape, x));
    const ht_error *error = ht_tape_error(tape)->status != HT_OK ? ht_tape_error(tape) : ht_tape_error(other);
    bool good = error->status == HT_OK ? taken : !taken && gradcheck_refusal_is_clear(error);
    gradcheck_note(row, good, "\"%s\": input %d holds %s: %s: %s", sample->name, (int)at, fault_names[what],
                   taken ? "taken" : "not taken", error->message);
    ht_tape_free(tape);
    ht_tape_free(other);
}

void gradcheck_rejects_run(const hti_op *op, gradcheck_row *row)
{
    for (int32_t i = 0; i < op->reject_count; i++) listed(&op->rejects[i], row);
    for (int32_t i = 0; i < op->sample_count; i++)
        for (int32_t k = 0; k < op->samples[i].inputs; k++)
            for (int what = 0; what < FAULTS; what++) spoilt(&op->samples[i], k, (fault)what, row);
}
