/*
 * Cases of one operation: its value, the product with a cotangent, the product with tangents, and how the first of these
 * changes when all inputs move. Derivatives are asked of the library as a user would.
 */
#include <stdio.h>
#include <string.h>

#include "operation.h"

/* A case of an operation while it is recorded. real: which inputs have derivatives. */
typedef struct recorded {
    conform_case *c;
    ht_tape *tape;
    conform_call call;
    int32_t real[OPERANDS_MAX];
    ht_var inputs[OPERANDS_MAX];
    int32_t reals;
    ht_var out;
    ht_vars vjp, jvp, hvp; /* count 0 if the case does not have them */
} recorded;

static ht_vars listed(const recorded *r) { return ht_vars_new(r->tape, r->inputs, NULL, r->reals); }

/* Inputs in.0, in.1, ... with the types that the operation needs. */
static int take_inputs(recorded *r, const conform_row *row)
{
    conform_case *c = r->c;
    for (int32_t n = 0; n < row->operands; n++) {
        char name[16];
        snprintf(name, sizeof name, "in.%d", n);
        ht_var x = conform_input(c, r->tape, name);
        if (!ht_ok(x)) return 0;
        int whole = (row->indices >> n & 1u) != 0;
        if (ht_var_dtype(x) != (whole ? HT_I32 : HT_F64)) {
            ht_fail(&c->error, HT_EDTYPE, "tensor \"%s\" is %s; expected %s", name, ht_dtype_name(ht_var_dtype(x)),
                    whole ? "int64" : "float64");
            return 0;
        }
        r->call.in[r->call.count++] = x;
        if (whole) continue;
        r->real[r->reals] = n;
        r->inputs[r->reals++] = x;
    }
    return 1;
}

/* The tensors PREFIX.N of all inputs that have derivatives, as further inputs, of the shapes of the inputs. */
static ht_vars beside(recorded *r, const char *prefix)
{
    ht_var all[OPERANDS_MAX];
    for (int32_t k = 0; k < r->reals; k++) {
        char name[32];
        snprintf(name, sizeof name, "%s.%d", prefix, r->real[k]);
        all[k] = conform_input(r->c, r->tape, name);
    }
    return ht_vars_new(r->tape, all, NULL, r->reals);
}

/* Whether the file has any of the tensors PREFIX, PREFIX.0, PREFIX.1, ... */
static int has(const recorded *r, const char *prefix)
{
    int any = conform_find(r->c, "%s", prefix) >= 0;
    for (int32_t n = 0; n < OPERANDS_MAX; n++) any = any || conform_find(r->c, "%s.%d", prefix, n) >= 0;
    return any;
}

/* Each of the three derivatives is there as a whole, or not at all. */
static void record_derivatives(recorded *r)
{
    int jvp = has(r, "tangent") || has(r, "jvp"), hvp = has(r, "u") || has(r, "hvp");
    int vjp = hvp || has(r, "cotangent") || has(r, "vjp");
    if (vjp) {
        ht_var y = conform_input(r->c, r->tape, "cotangent");
        if (ht_ok(y) && ht_ok(r->out)) r->vjp = ht_vjp(ht_list(r->out), ht_list(y), listed(r));
    }
    if (jvp) {
        ht_vars tangents = beside(r, "tangent");
        if (r->c->error.status == HT_OK) r->jvp = ht_jvp(ht_list(r->out), listed(r), tangents);
    }
    if (hvp && r->c->error.status == HT_OK) {
        ht_vars direction = beside(r, "u");
        if (r->c->error.status == HT_OK) r->hvp = ht_jvp(r->vjp, listed(r), direction);
    }
}

/* A tensor that means nothing here is a case that was written wrongly. */
static void look_for_others(recorded *r)
{
    static const char *const single[] = {"out", "cotangent", "jvp"};
    static const char *const numbered[] = {"in", "vjp", "tangent", "u", "hvp"};
    for (int32_t i = 0; i < ht_store_count(r->c->tensors); i++) {
        const char *name = ht_store_name(r->c->tensors, i);
        int known = 0;
        for (size_t k = 0; k < sizeof single / sizeof single[0]; k++) known = known || strcmp(name, single[k]) == 0;
        for (size_t k = 0; k < sizeof numbered / sizeof numbered[0]; k++) {
            for (int32_t n = 0; n < r->call.count && !known; n++) {
                char expected[32];
                int derivative = k > 0;
                if (derivative && ht_var_dtype(r->call.in[n]) != HT_F64) continue;
                snprintf(expected, sizeof expected, "%s.%d", numbered[k], n);
                known = strcmp(name, expected) == 0;
            }
        }
        if (!known) ht_fail(&r->c->error, HT_EFORMAT, "tensor \"%.64s\" is unknown; expected those of this operation", name);
    }
}

static void compare_all(recorded *r, ht_program *program)
{
    conform_compare_output(r->c, program, "out", r->out);
    if (r->jvp.count) conform_compare_output(r->c, program, "jvp", r->jvp.at[0]);
    for (int32_t k = 0; k < r->reals; k++) {
        char name[32];
        snprintf(name, sizeof name, "vjp.%d", r->real[k]);
        if (r->vjp.count) conform_compare_output(r->c, program, name, r->vjp.at[k]);
        snprintf(name, sizeof name, "hvp.%d", r->real[k]);
        if (r->hvp.count) conform_compare_output(r->c, program, name, r->hvp.at[k]);
    }
}

static void record_and_run(recorded *r, const conform_row *row)
{
    conform_case *c = r->c;
    if (!take_inputs(r, row)) return;
    look_for_others(r);
    r->out = row->record(&r->call);
    if (c->error.status == HT_OK) record_derivatives(r);
    if (ht_tape_error(r->tape)->status != HT_OK)
        ht_fail(&c->error, ht_tape_error(r->tape)->status, "%s", ht_tape_error(r->tape)->message);
    if (c->error.status != HT_OK) return;
    ht_vars outputs = ht_list(r->out);
    if (r->vjp.count) outputs = ht_vars_join(outputs, r->vjp);
    if (r->jvp.count) outputs = ht_vars_join(outputs, r->jvp);
    if (r->hvp.count) outputs = ht_vars_join(outputs, r->hvp);
    ht_program *program = conform_run(c, r->tape, outputs);
    if (program) compare_all(r, program);
    ht_program_free(program);
}

void conform_operation(conform_case *c)
{
    recorded r = {.c = c};
    if (conform_metadata(c, "op", &c->error) != HT_OK) return;
    const conform_row *row = conform_operation_row(c->text);
    if (!row) {
        ht_fail(&c->error, HT_EINVALID, "unknown op \"%.64s\"; expected one of docs/conformance.md", c->text);
        return;
    }
    json_t *attributes = conform_json(c, "attributes");
    r.tape = ht_tape_new(HT_F64);
    if (!r.tape) ht_fail(&c->error, HT_ENOMEM, "no memory for a tape");
    if (attributes && r.tape && conform_known(attributes, row->attributes, &c->error) == HT_OK) {
        r.call = (conform_call){.tape = r.tape, .attributes = attributes, .error = &c->error};
        record_and_run(&r, row);
    }
    ht_tape_free(r.tape);
    json_decref(attributes);
}
