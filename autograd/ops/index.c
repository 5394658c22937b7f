/*
 * take <-> put: along an axis at the places of an integer index, and the sum of what goes to each place. Linear in their
 * numbers, each the other's transpose. The index has the shape of the side that it indexes; an index of one axis alone is
 * repeated along the others as a view. One-hot rows and constants of integers beside them.
 */
#include "rules.h"

static const hti_take_attributes *attributes_of(const hti_call *call) { return call->attributes; }

/* Of both ops: real numbers, and integers of as many axes, of which one is the axis that is counted. */
static ht_status check_index(const hti_call *call, hti_spec *out, ht_error *error)
{
    char a[HT_SHAPE_TEXT];
    int64_t axis = attributes_of(call)->axis;
    ht_shape shape = hti_in_shape(call, 0), index = hti_in_shape(call, 1);
    out->dtype = ht_var_dtype(call->in[0]);
    if (out->dtype == HT_I32) return ht_fail(error, HT_EDTYPE, "input 0 is i32; expected a real type (ht_cast)");
    if (ht_var_dtype(call->in[1]) != HT_I32)
        return ht_fail(error, HT_EDTYPE, "the index is %s; expected i32 (ht_cast)", ht_dtype_name(ht_var_dtype(call->in[1])));
    if (axis < 0 || axis >= shape.rank)
        return ht_fail(error, HT_ESHAPE, "axis %d of %s; expected an axis that exists", (int)axis, ht_shape_text(shape, a));
    if (call->op->id == HTI_OP_take && index.rank == shape.rank) shape.dim[axis] = index.dim[axis];
    if (ht_shape_equal(shape, index)) return HT_OK;
    char b[HT_SHAPE_TEXT];
    return ht_fail(error, HT_ESHAPE, "%s and an index %s; expected the other sizes to agree",
                   ht_shape_text(hti_in_shape(call, 0), a), ht_shape_text(index, b));
}

static ht_status shape_take(const hti_call *call, hti_spec *out, ht_error *error)
{
    out->shape = hti_in_shape(call, 1);
    return check_index(call, out, error);
}

static ht_status shape_put(const hti_call *call, hti_spec *out, ht_error *error)
{
    out->shape = hti_in_shape(call, 0);
    ht_status status = check_index(call, out, error);
    if (status == HT_OK) out->shape.dim[attributes_of(call)->axis] = attributes_of(call)->size;
    return status;
}

static ht_var along(hti_op_id op, ht_var x, ht_var index, int64_t axis, int64_t size, const char *where)
{
    hti_take_attributes a = {axis, size};
    ht_var in[2] = {x, index};
    return hti_emit(x.tape ? x.tape : index.tape, op, &a, in, 2, where);
}

/* put: the cotangent is added at the index */
static ht_var transpose_take(const hti_call *c, int32_t input, ht_var cotangent)
{
    (void)input;
    return along(HTI_OP_put, cotangent, c->in[1], attributes_of(c)->axis, attributes_of(c)->size, c->where);
}
/* take: the cotangent at the index */
static ht_var transpose_put(const hti_call *c, int32_t input, ht_var cotangent)
{
    (void)input;
    return along(HTI_OP_take, cotangent, c->in[1], attributes_of(c)->axis, attributes_of(c)->size, c->where);
}

/* ---- recording ---- */

/* Size of an axis; -1, with the tape's sticky error, if there is none. */
static int64_t size_of(const char *op, ht_var x, int32_t axis, const char *where)
{
    char text[HT_SHAPE_TEXT];
    ht_shape shape = ht_var_shape(x);
    if (ht_ok(x) && axis >= 0 && axis < shape.rank) return shape.dim[axis];
    ht_tape_fail(x.tape, where, HT_ESHAPE, "%s: axis %d of %s; expected an axis that exists", op, (int)axis,
                 ht_shape_text(shape, text));
    return -1;
}

ht_var ht_take_along_(ht_var x, ht_var index, int32_t axis, const char *where)
{
    int64_t size = size_of("take_along", x, axis, where);
    return size < 0 ? (ht_var){0} : along(HTI_OP_take, x, index, axis, size, where);
}

/* The shape of x with the axis replaced by the sizes of the index; rank -1 if these are too many. */
static ht_shape joined(ht_shape x, int32_t axis, ht_shape index)
{
    int64_t dim[2 * HT_MAX_RANK];
    int32_t rank = 0;
    for (int32_t i = 0; i < axis; i++) dim[rank++] = x.dim[i];
    for (int32_t i = 0; i < index.rank; i++) dim[rank++] = index.dim[i];
    for (int32_t i = axis + 1; i < x.rank; i++) dim[rank++] = x.dim[i];
    return ht_shape_of(dim, rank);
}

/* The index counted along one axis, the same for every place of the others; `like` gets the shape that it has then. */
static ht_var repeated(ht_var index, ht_shape *like, int32_t axis, const char *where)
{
    ht_shape line;
    memset(&line, 0, sizeof line);
    line.rank = like->rank;
    for (int32_t i = 0; i < line.rank; i++) line.dim[i] = 1;
    line.dim[axis] = like->dim[axis] = ht_shape_count(ht_var_shape(index));
    return ht_broadcast_to_(ht_reshape_(index, line, where), *like, where);
}

ht_var ht_take_(ht_var x, ht_var index, int32_t axis, const char *where)
{
    int64_t size = size_of("take", x, axis, where);
    if (size < 0 || !ht_ok(index)) return size < 0 ? (ht_var){0} : along(HTI_OP_take, x, index, axis, size, where);
    ht_shape shape = ht_var_shape(x), result = joined(shape, axis, ht_var_shape(index));
    ht_var places = repeated(index, &shape, axis, where);
    return ht_reshape_(along(HTI_OP_take, x, places, axis, size, where), result, where);
}

ht_var ht_put_(ht_var x, ht_var index, ht_var source, int32_t axis, const char *where)
{
    char a[HT_SHAPE_TEXT], b[HT_SHAPE_TEXT];
    int64_t size = size_of("put", x, axis, where);
    if (size < 0 || !ht_ok(index)) return size < 0 ? (ht_var){0} : along(HTI_OP_put, x, index, axis, size, where);
    ht_shape shape = ht_var_shape(x), expected = joined(shape, axis, ht_var_shape(index));
    if (!ht_shape_equal(ht_var_shape(source), expected))
        return ht_tape_fail(x.tape, where, HT_ESHAPE, "put: the source is %s; expected %s, the index in place of the axis",
                            ht_shape_text(ht_var_shape(source), a), ht_shape_text(expected, b));
    ht_var places = repeated(index, &shape, axis, where);
    source = ht_reshape_(source, shape, where);
    return ht_add_(x, along(HTI_OP_put, source, places, axis, size, where), where);
}

ht_var ht_integers_(ht_tape *tape, const int32_t *numbers, ht_shape shape, const char *where)
{
    if (!tape || tape->error.status != HT_OK) return (ht_var){0};
    int64_t count = ht_shape_count(shape);
    if (count < 0) return ht_tape_fail(tape, where, HT_ESHAPE, "integers: the shape is not valid");
    double *copy = hti_arena_array(&tape->arena, count, sizeof *copy);
    if (!copy) return ht_tape_fail(tape, where, HT_ENOMEM, "integers: the system gave no memory");
    for (int64_t i = 0; i < count; i++) copy[i] = numbers[i];
    hti_constant_attributes a;
    memset(&a, 0, sizeof a);
    a.numbers = copy;
    a.dtype = HT_I32;
    hti_shape_put(&a.shape, shape);
    return hti_emit(tape, HTI_OP_constant, &a, NULL, 0, where);
}

ht_var ht_one_hot_(ht_var index, int32_t classes, const char *where)
{
    ht_tape *tape = index.tape;
    ht_shape shape = ht_var_shape(index);
    if (!ht_ok(index)) return hti_refuse_empty("one_hot", index, where);
    if (classes < 1 || shape.rank >= HT_MAX_RANK)
        return ht_tape_fail(tape, where, HT_EINVALID, "one_hot: %d classes of an index of rank %d; expected at least one, "
                            "and a rank below %d", (int)classes, (int)shape.rank, HT_MAX_RANK);
    if (ht_var_dtype(index) != HT_I32) return ht_tape_fail(tape, where, HT_EDTYPE, "one_hot: the index is real; expected i32");
    double *numbers = hti_arena_array(&tape->arena, classes, sizeof *numbers);
    if (!numbers) return ht_tape_fail(tape, where, HT_ENOMEM, "one_hot: the system gave no memory");
    for (int32_t i = 0; i < classes; i++) numbers[i] = i;
    shape.dim[shape.rank++] = 1;
    ht_var places = ht_cast_(ht_reshape_(index, shape, where), ht_tape_dtype(tape), where);
    return ht_equal_(places, ht_constant_(tape, numbers, HT_SHAPE(classes), where), where);
}

/* ---- descriptors and samples: index, arrangement and largest numbers, all of which end here ---- */
#define SAMPLE(name, call)                                       \
    static ht_var record_##name(ht_tape *tape, const ht_var *in) \
    {                                                            \
        (void)tape, (void)in;                                    \
        return call;                                             \
    }
#define INTEGERS(shape, ...) ht_integers(tape, ((const int32_t[]){__VA_ARGS__}), shape)
SAMPLE(take_rows, ht_take(in[0], INTEGERS(HT_SHAPE(5), 2, 0, 2, 1, 2), 0))
SAMPLE(take_table, ht_take(in[0], INTEGERS(HT_SHAPE(2, 2), 3, 0, 1, 1), 1))
SAMPLE(take_one, ht_take(in[0], INTEGERS(HT_SCALAR, 0), 0))
SAMPLE(take_places, ht_take_along(in[0], INTEGERS(HT_SHAPE(2, 3), 0, 2, 2, 3, 1, 3), 1))
SAMPLE(take_real, ht_take(in[0], in[0], 0))
SAMPLE(take_axis, ht_take(in[0], INTEGERS(HT_SHAPE(1), 0), 2))
SAMPLE(take_sizes, ht_take_along(in[0], INTEGERS(HT_SHAPE(3, 1), 0, 0, 0), 1))
SAMPLE(put_rows, ht_put(in[0], INTEGERS(HT_SHAPE(4), 1, 1, 0, 1), in[1], 0))
SAMPLE(put_columns, ht_put(in[0], INTEGERS(HT_SHAPE(2), 2, 0), in[1], 1))
SAMPLE(put_table, ht_put(in[0], INTEGERS(HT_SHAPE(2, 2), 1, 0, 1, 1), in[1], 1))
SAMPLE(put_none, ht_put(in[0], INTEGERS(HT_SHAPE(1), 0), in[1], 0))
SAMPLE(one_hot, ht_mul(ht_one_hot(INTEGERS(HT_SHAPE(3), 1, 3, 0), 4), in[0]))
SAMPLE(no_classes, ht_one_hot(INTEGERS(HT_SHAPE(3), 1, 3, 0), 0))
SAMPLE(flip, ht_flip(in[0], HT_SHAPE(0, 2)))
SAMPLE(flip_axis, ht_flip(in[0], HT_SHAPE(3)))
SAMPLE(roll, ht_roll(in[0], -7, 1))
SAMPLE(tile, ht_tile(in[0], HT_SHAPE(2, 1, 3)))
SAMPLE(repeat, ht_repeat(in[0], 3, 1))
SAMPLE(repeat_never, ht_repeat(in[0], 0, 0))
SAMPLE(slice_by, ht_slice_by(in[0], HT_SHAPE(4, 0), HT_SHAPE(3, 2), HT_SHAPE(-2, 3)))
SAMPLE(reflect, ht_pad_reflect(in[0], HT_SHAPE(0, 2), HT_SHAPE(0, 3)))
SAMPLE(replicate, ht_pad_replicate(in[0], HT_SHAPE(1, 4), HT_SHAPE(0, 2)))
SAMPLE(max_one, ht_max_axes(in[0], HT_SHAPE(1)))
SAMPLE(max_outer, ht_max_axes(in[0], HT_SHAPE(0, 2), .keep = 1))
SAMPLE(min_all, ht_min_axes(in[0], HT_SHAPE(1, 0)))
SAMPLE(max_twice, ht_max_axes(in[0], HT_SHAPE(1, 1)))
SAMPLE(entropy, ht_softmax_cross_entropy(in[0], INTEGERS(HT_SHAPE(3), 2, 0, 2)))
SAMPLE(entropy_image, ht_softmax_cross_entropy(in[0], INTEGERS(HT_SHAPE(2, 1, 3), 2, 0, 1, 7, 7, 2), in[1], .ignoring = 1,
                                               .ignore = 7))

static const hti_sample samples_take[] = {
    {"rows, some twice", 1, {{2, {3, 4}}}, 0, 0, record_take_rows},
    {"index of rank 2", 1, {{3, {2, 4, 3}}}, 0, 0, record_take_table},
    {"one number", 1, {{1, {1}}}, 0, 0, record_take_one},
    {"places of each line", 1, {{2, {2, 5}}}, 0, 0, record_take_places},
    {"flip", 1, {{3, {2, 1, 5}}}, 0, 0, record_flip},
    {"roll", 1, {{2, {3, 5}}}, 0, 0, record_roll},
    {"tile", 1, {{3, {1, 2, 3}}}, 0, 0, record_tile},
    {"repeat", 1, {{2, {2, 3}}}, 0, 0, record_repeat},
    {"slice by steps", 1, {{2, {5, 4}}}, 0, 0, record_slice_by},
    {"padding by reflection", 1, {{2, {2, 4}}}, 0, 0, record_reflect},
    {"padding by the edge", 1, {{2, {2, 1}}}, 0, 0, record_replicate},
    {"largest of rows", 1, {{2, {3, 5}}}, 0, 0, record_max_one},
    {"largest over outer axes", 1, {{3, {2, 3, 5}}}, 0, 0, record_max_outer},
    {"smallest of all", 1, {{2, {3, 7}}}, 0, 0, record_min_all},
    {"softmax_cross_entropy", 1, {{2, {3, 4}}}, 0, 0, record_entropy},
    {"the same of images, weighted, some ignored", 2, {{4, {2, 3, 1, 3}}, {1, {3}}}, 0.2, 2, record_entropy_image},
    {"one_hot", 1, {{2, {3, 4}}}, 0, 0, record_one_hot},
};
static const hti_reject rejects_take[] = {
    {"a real index", HT_EDTYPE, "expected i32", 1, {{1, {3}}}, record_take_real},
    {"no such axis", HT_ESHAPE, "axis 2", 1, {{2, {3, 4}}}, record_take_axis},
    {"other sizes", HT_ESHAPE, "other sizes to agree", 1, {{2, {2, 4}}}, record_take_sizes},
    {"a flip of no axis", HT_ESHAPE, "axis 3", 1, {{2, {2, 4}}}, record_flip_axis},
    {"no repetition", HT_EINVALID, "at least once", 1, {{2, {2, 4}}}, record_repeat_never},
    {"steps that leave", HT_ESHAPE, "places inside", 1, {{2, {3, 4}}}, record_slice_by},
    {"a reflection of too little", HT_EINVALID, "less than the size", 1, {{2, {2, 3}}}, record_reflect},
    {"lists of another rank", HT_ESHAPE, "one entry per axis", 1, {{1, {2}}}, record_reflect},
    {"an axis twice", HT_ESHAPE, "each once", 1, {{2, {2, 3}}}, record_max_twice},
    {"the largest of nothing", HT_ESHAPE, "at least one element", 1, {{2, {2, 0}}}, record_max_one},
    {"a target of other sizes", HT_ESHAPE, "expected [N,C,...]", 1, {{2, {2, 4}}}, record_entropy},
    {"weights of other classes", HT_ESHAPE, "one per class", 2, {{4, {2, 4, 1, 3}}, {1, {3}}}, record_entropy_image},
    {"no classes", HT_EINVALID, "0 classes", 1, {{2, {2, 4}}}, record_no_classes},
};
const hti_op hti_op_take = {.name = "take", .id = HTI_OP_take, .kind = HTI_LINEAR, .inputs = 2, .carries = 1,
                            .attribute_bytes = sizeof(hti_take_attributes), .shape = shape_take,
                            .transpose = transpose_take, .print = hti_print_axis, HTI_SAMPLES(samples_take),
                            HTI_REJECTS(rejects_take)};

static const hti_sample samples_put[] = {
    {"rows, some twice", 2, {{2, {3, 4}}, {2, {4, 4}}}, 0, 0, record_put_rows},
    {"columns", 2, {{3, {2, 3, 5}}, {3, {2, 2, 5}}}, 0, 0, record_put_columns},
    {"index of rank 2", 2, {{2, {3, 2}}, {3, {3, 2, 2}}}, 0, 0, record_put_table},
    {"one number", 2, {{1, {1}}, {1, {1}}}, 0, 0, record_put_none},
};
static const hti_reject rejects_put[] = {
    {"a source of other sizes", HT_ESHAPE, "expected [4,4]", 2, {{2, {3, 4}}, {2, {2, 8}}}, record_put_rows},
};
const hti_op hti_op_put = {.name = "put", .id = HTI_OP_put, .kind = HTI_LINEAR, .inputs = 2, .carries = 1,
                           .attribute_bytes = sizeof(hti_take_attributes), .shape = shape_put,
                           .transpose = transpose_put, .print = hti_print_axis, HTI_SAMPLES(samples_put),
                           HTI_REJECTS(rejects_put)};
