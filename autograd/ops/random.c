/*
 * Random numbers as values: functions of (key, step, element). The key mixes the seed with the stream's name, so adding a
 * layer does not move another layer's numbers; the step is a counter in a store that the program advances. No derivative.
 */
#include <stdio.h>

#include <ht/random.h>

#include "rules.h"

static ht_status shape_random(const hti_call *call, hti_spec *out, ht_error *error)
{
    const hti_random_attributes *a = call->attributes;
    out->shape = a->shape;
    out->dtype = (ht_dtype)a->dtype;
    if (ht_shape_count(out->shape) < 0) return ht_fail(error, HT_ESHAPE, "the shape is not valid");
    if (call->inputs > 1 || (call->inputs == 1 && (ht_var_dtype(call->in[0]) != HT_I32 ||
                                                   ht_shape_count(hti_in_shape(call, 0)) != 1)))
        return ht_fail(error, HT_EDTYPE, "the step is not a single i32 number");
    return HT_OK;
}

static ht_var draw(hti_op_id op, const ht_random_args *args)
{
    hti_random_attributes a;
    memset(&a, 0, sizeof a);
    if (!args->tape) return (ht_var){0};
    a.key = ht_random_key(args->seed, args->stream ? args->stream : "");
    a.probability = args->probability;
    a.dtype = ht_tape_dtype(args->tape);
    hti_shape_put(&a.shape, args->shape);
    return hti_emit(args->tape, op, &a, &args->step, ht_ok(args->step) ? 1 : 0, args->where);
}

ht_var ht_uniform_(ht_random_args args) { return draw(HTI_OP_uniform, &args); }
ht_var ht_normal_(ht_random_args args) { return draw(HTI_OP_normal, &args); }

ht_var ht_bernoulli_(ht_random_args args)
{
    if (!(args.probability >= 0 && args.probability <= 1))
        return ht_tape_fail(args.tape, args.where, HT_EINVALID, "bernoulli: probability %g; expected 0 to 1",
                            args.probability);
    return draw(HTI_OP_bernoulli, &args);
}

/* A random value times an input, so that the suites have something to differentiate. */
#define SAMPLE(name, call)                                       \
    static ht_var record_##name(ht_tape *tape, const ht_var *in) \
    {                                                            \
        return ht_mul(in[0], call);                              \
    }
SAMPLE(uniform, ht_uniform(.tape = tape, .shape = HT_SHAPE(3, 4), .seed = 1, .stream = "sample"))
SAMPLE(normal, ht_normal(.tape = tape, .shape = HT_SHAPE(3, 4), .seed = 1, .stream = "sample"))
SAMPLE(bernoulli, ht_bernoulli(.tape = tape, .shape = HT_SHAPE(3, 4), .seed = 1, .stream = "sample", .probability = 0.5))
SAMPLE(improbable, ht_bernoulli(.tape = tape, .shape = HT_SHAPE(3, 4), .probability = 2))

#define MATRIX {{2, {3, 4}}}
static const hti_reject rejects_bernoulli[] = {
    {"probability above 1", HT_EINVALID, "expected 0 to 1", 1, MATRIX, record_improbable},
};
#define ROW(op, rejects_, count)                                                                                             \
    static const hti_sample samples_##op[] = {{"times an input", 1, MATRIX, 0, 0, record_##op}};                 \
    const hti_op hti_op_##op = {.name = #op, .id = HTI_OP_##op, .kind = HTI_CONSTANT, .inputs = HTI_ANY_INPUTS,  \
                                .attribute_bytes = sizeof(hti_random_attributes), .shape = shape_random,         \
                                HTI_SAMPLES(samples_##op), .rejects = rejects_, .reject_count = count};
ROW(uniform, NULL, 0)
ROW(normal, NULL, 0)
ROW(bernoulli, rejects_bernoulli, 1)
