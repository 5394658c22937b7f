/* Leaves and control: inputs, reads of stores, constants, stop, cast. Recorded by core/tape and autograd/grad.c. */
#include "rules.h"

static ht_status shape_input(const hti_call *call, hti_spec *out, ht_error *error)
{
    *out = ((const hti_input_attributes *)call->attributes)->spec;
    if (ht_shape_count(out->shape) < 0) return ht_fail(error, HT_ESHAPE, "the shape is not valid");
    if (ht_dtype_bytes(out->dtype) == 0) return ht_fail(error, HT_EDTYPE, "the type is not valid");
    return HT_OK;
}

static ht_status shape_read(const hti_call *call, hti_spec *out, ht_error *error)
{
    (void)error;
    const hti_read_attributes *a = call->attributes;
    out->dtype = ht_store_dtype(a->store, (int32_t)a->index);
    out->shape = ht_store_shape(a->store, (int32_t)a->index);
    return HT_OK;
}

static ht_status shape_fill(const hti_call *call, hti_spec *out, ht_error *error)
{
    const hti_fill_attributes *a = call->attributes;
    out->dtype = (ht_dtype)a->dtype;
    out->shape = a->shape;
    if (ht_shape_count(out->shape) < 0) return ht_fail(error, HT_ESHAPE, "the shape is not valid");
    return HT_OK;
}

static ht_status shape_constant(const hti_call *call, hti_spec *out, ht_error *error)
{
    const hti_constant_attributes *a = call->attributes;
    (void)error;
    out->dtype = (ht_dtype)a->dtype;
    out->shape = a->shape;
    return HT_OK;
}

static ht_status shape_stop(const hti_call *call, hti_spec *out, ht_error *error)
{
    (void)error;
    *out = hti_node_of(call->in[0])->spec;
    return HT_OK;
}

static void print_input(const void *attributes, FILE *file)
{
    fprintf(file, " \"%s\"", ((const hti_input_attributes *)attributes)->name);
}

static void print_read(const void *attributes, FILE *file)
{
    const hti_read_attributes *a = attributes;
    fprintf(file, " \"%s\"", ht_store_name(a->store, (int32_t)a->index));
}

static void print_fill(const void *attributes, FILE *file)
{
    fprintf(file, " %.17g", ((const hti_fill_attributes *)attributes)->value);
}

const hti_op hti_op_input = {.name = "input", .id = HTI_OP_input, .kind = HTI_LEAF,
                             .attribute_bytes = sizeof(hti_input_attributes), .shape = shape_input,
                             .print = print_input};
const hti_op hti_op_read = {.name = "read", .id = HTI_OP_read, .kind = HTI_LEAF,
                            .attribute_bytes = sizeof(hti_read_attributes), .shape = shape_read, .print = print_read};
const hti_op hti_op_fill = {.name = "fill", .id = HTI_OP_fill, .kind = HTI_LEAF,
                            .attribute_bytes = sizeof(hti_fill_attributes), .shape = shape_fill, .print = print_fill};
const hti_op hti_op_constant = {.name = "constant", .id = HTI_OP_constant, .kind = HTI_LEAF,
                                .attribute_bytes = sizeof(hti_constant_attributes), .shape = shape_constant};

static ht_var record_stop(ht_tape *tape, const ht_var *in)
{
    (void)tape;
    return hti_emit(in[0].tape, HTI_OP_stop, NULL, in, 1, HT_HERE);
}
static const hti_sample stop_samples[] = {{"matrix", 1, {{2, {3, 4}}}, 0, 0, record_stop}};
const hti_op hti_op_stop = {.name = "stop", .id = HTI_OP_stop, .kind = HTI_CONSTANT, .inputs = 1, .alias = HTI_ALIAS_SAME,
                            .shape = shape_stop,
                            HTI_SAMPLES(stop_samples)};

/* ---- cast: linear between real types; from or to integers it carries nothing, so it is another op then ---- */

static ht_status shape_cast(const hti_call *call, hti_spec *out, ht_error *error)
{
    *out = hti_node_of(call->in[0])->spec;
    out->dtype = (ht_dtype)((const hti_cast_attributes *)call->attributes)->dtype;
    if (ht_dtype_bytes(out->dtype) == 0) return ht_fail(error, HT_EDTYPE, "cast to a type that does not exist");
    return HT_OK;
}

/* a cast back */
static ht_var transpose_cast(const hti_call *call, int32_t input, ht_var cotangent)
{
    return ht_cast_(cotangent, ht_var_dtype(call->in[input]), call->where);
}

static ht_var record_cast(ht_tape *tape, const ht_var *in)
{
    (void)tape;
    return ht_cast(ht_cast(in[0], HT_F32), HT_F64);
}
static ht_var record_truncate(ht_tape *tape, const ht_var *in) { return ht_cast(ht_cast(in[0], HT_I32), ht_tape_dtype(tape)); }
static const hti_sample cast_samples[] = {{"to f32 and back", 1, {{2, {3, 4}}}, 0, 0, record_cast, 5e-5}};
const hti_op hti_op_cast = {.name = "cast", .id = HTI_OP_cast, .kind = HTI_LINEAR, .inputs = 1,
                            .attribute_bytes = sizeof(hti_cast_attributes), .shape = shape_cast,
                            .transpose = transpose_cast, HTI_SAMPLES(cast_samples)};
static const hti_sample truncate_samples[] = {{"to integers", 1, {{2, {3, 4}}}, -5, 5, record_truncate}};
const hti_op hti_op_truncate = {.name = "truncate", .id = HTI_OP_truncate, .kind = HTI_CONSTANT, .inputs = 1,
                                .attribute_bytes = sizeof(hti_cast_attributes), .branch = HTI_BRANCH_VALUE,
                                .shape = shape_cast, HTI_SAMPLES(truncate_samples)};

ht_var ht_cast_(ht_var x, ht_dtype dtype, const char *where)
{
    if (ht_ok(x) && ht_var_dtype(x) == dtype) return x;
    hti_cast_attributes a;
    memset(&a, 0, sizeof a);
    a.dtype = dtype;
    bool real = ht_var_dtype(x) != HT_I32 && dtype != HT_I32;
    return hti_emit(x.tape, real ? HTI_OP_cast : HTI_OP_truncate, &a, &x, 1, where);
}
