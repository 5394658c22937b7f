/*
 * Sampling of images at points. place_take reads at whole pixels and place_put adds there: each is the other's transpose.
 * Bilinear sampling is four such reads, weighted by recorded arithmetic of the grid, so that derivatives of any order in
 * the image and in the grid follow by themselves.
 */
#include "rules.h"

static const int64_t *image_of(const hti_call *call) { return ((const hti_place_attributes *)call->attributes)->image; }

/* `whole` says whether input 0 is the image or the points' numbers. */
static ht_status shape_between(const hti_call *call, bool whole, hti_spec *out, ht_error *error)
{
    char a[HT_SHAPE_TEXT], b[HT_SHAPE_TEXT];
    const int64_t *image = image_of(call);
    ht_shape x = hti_in_shape(call, 0), points = hti_in_shape(call, 1);
    int64_t pixels, count;
    out->dtype = ht_var_dtype(call->in[0]);
    out->shape = x;
    bool fits = x.rank == 4 && points.rank == 4 && ht_shape_equal(points, hti_in_shape(call, 2)) &&
                points.dim[0] == x.dim[0] && points.dim[1] == 1;
    for (int32_t k = 0; fits && k < 2; k++) {
        fits = x.dim[k + 2] == (whole ? image[k] : points.dim[k + 2]);
        out->shape.dim[k + 2] = whole ? points.dim[k + 2] : image[k];
    }
    if (!fits)
        return ht_fail(error, HT_ESHAPE, "%s at points %s; expected [N, C, H, W] and rows and columns of the points, "
                       "[N, 1, P, Q] both", ht_shape_text(x, a), ht_shape_text(points, b));
    if (!hti_multiply(image[0], image[1], &pixels) || !hti_multiply(points.dim[2], points.dim[3], &count) ||
        image[0] < 0 || image[1] < 0 || pixels >= INT32_MAX || count >= INT32_MAX || ht_shape_count(out->shape) < 0)
        return ht_fail(error, HT_ESHAPE, "%s at points %s; expected fewer than 2^31 pixels and points for each image",
                       ht_shape_text(x, a), ht_shape_text(points, b));
    if (ht_var_dtype(call->in[1]) == HT_I32 && ht_var_dtype(call->in[2]) == HT_I32 && out->dtype != HT_I32) return HT_OK;
    return ht_fail(error, HT_EDTYPE, "inputs are %s, %s and %s; expected a real type, i32 and i32",
                   ht_dtype_name(out->dtype), ht_dtype_name(ht_var_dtype(call->in[1])),
                   ht_dtype_name(ht_var_dtype(call->in[2])));
}

static ht_status shape_take(const hti_call *call, hti_spec *out, ht_error *error)
{
    return shape_between(call, true, out, error);
}
static ht_status shape_put(const hti_call *call, hti_spec *out, ht_error *error)
{
    return shape_between(call, false, out, error);
}

static ht_var other(hti_op_id op, const hti_call *c, ht_var g)
{
    ht_var in[3] = {g, c->in[1], c->in[2]};
    return hti_emit(g.tape, op, c->attributes, in, 3, c->where);
}
/* place_put at the same points */
static ht_var transpose_take(const hti_call *c, int32_t input, ht_var g)
{
    (void)input;
    return other(HTI_OP_place_put, c, g);
}
/* place_take at the same points */
static ht_var transpose_put(const hti_call *c, int32_t input, ht_var g)
{
    (void)input;
    return other(HTI_OP_place_take, c, g);
}

static ht_var take_at(ht_var x, ht_var row, ht_var column, const char *where)
{
    hti_place_attributes a = {{ht_var_shape(x).dim[2], ht_var_shape(x).dim[3]}};
    ht_var in[3] = {x, row, column};
    return hti_emit(x.tape, HTI_OP_place_take, &a, in, 3, where);
}

/* One coordinate of the grid as two neighbouring pixels and the weight of the second. */
typedef struct axis_reading {
    ht_var pixel[2], weight[2];
} axis_reading;

static axis_reading read_axis(const ht_grid_sample_args *args, int32_t coordinate, int64_t size)
{
    const char *where = args->where;
    ht_shape g = ht_var_shape(args->grid);
    ht_var c = ht_slice_(args->grid, HT_SHAPE(0, 0, 0, coordinate), HT_SHAPE(g.dim[0], g.dim[1], g.dim[2], 1), where);
    c = ht_reshape_(c, HT_SHAPE(g.dim[0], 1, g.dim[1], g.dim[2]), where);
    double half = 0.5 * (double)(size - 1);
    ht_var at = ht_affine_(c, args->align_corners ? half : 0.5 * (double)size, half, where);
    if (args->border) {
        at = ht_minimum_(at, hti_fill_like(at, 2 * half, where), where);
        at = ht_maximum_(at, hti_fill_like(at, 0, where), where);
    }
    /* the integer at or below: the nearest one, less one where that lies above */
    ht_var nearest = ht_round_(at, where), low = ht_sub_(nearest, ht_greater_(nearest, at, where), where);
    axis_reading r;
    r.weight[1] = ht_sub_(at, low, where);
    r.weight[0] = ht_affine_(r.weight[1], -1, 1, where);
    r.pixel[0] = ht_cast_(low, HT_I32, where);
    r.pixel[1] = ht_cast_(ht_offset_(low, 1, where), HT_I32, where);
    return r;
}

ht_var ht_grid_sample_(ht_grid_sample_args args)
{
    char a[HT_SHAPE_TEXT], b[HT_SHAPE_TEXT];
    ht_shape x = ht_var_shape(args.x), grid = ht_var_shape(args.grid);
    ht_tape *tape = args.x.tape ? args.x.tape : args.grid.tape;
    if (!ht_ok(args.x) || !ht_ok(args.grid))
        return tape ? ht_tape_fail(tape, args.where, HT_EINVALID, "grid_sample: x or grid is an empty value; expected "
                                   "recorded ones") : (ht_var){0};
    if (x.rank != 4 || grid.rank != 4 || grid.dim[3] != 2 || grid.dim[0] != x.dim[0] || x.dim[2] < 1 || x.dim[3] < 1)
        return ht_tape_fail(tape, args.where, HT_ESHAPE, "grid_sample: x is %s and grid %s; expected [N, C, H, W] and "
                            "[N, P, Q, 2]", ht_shape_text(x, a), ht_shape_text(grid, b));
    axis_reading column = read_axis(&args, 0, x.dim[3]), row = read_axis(&args, 1, x.dim[2]);
    ht_var sum = {0};
    for (int32_t i = 0; i < 4; i++) {
        int32_t r = i / 2, c = i % 2;
        ht_var weight = ht_mul_(row.weight[r], column.weight[c], args.where);
        ht_var part = ht_mul_(take_at(args.x, row.pixel[r], column.pixel[c], args.where), weight, args.where);
        sum = i == 0 ? part : ht_add_(sum, part, args.where);
    }
    return sum;
}

/* Centre i of n pixels as a coordinate in [-1, 1]. */
static double centre(int64_t i, int64_t n, bool align_corners)
{
    if (align_corners) return n > 1 ? (double)(2 * i) / (double)(n - 1) - 1 : 0;
    return (double)(2 * i + 1) / (double)n - 1;
}

ht_var ht_affine_grid_(ht_affine_grid_args args)
{
    char a[HT_SHAPE_TEXT], b[HT_SHAPE_TEXT];
    ht_shape theta = ht_var_shape(args.theta), size = args.size;
    int64_t points = 0;
    if (!ht_ok(args.theta)) return hti_refuse_empty("affine_grid", args.theta, args.where);
    if (theta.rank != 3 || theta.dim[1] != 2 || theta.dim[2] != 3 || size.rank != 2 || size.dim[0] < 1 ||
        size.dim[1] < 1 || !hti_multiply(size.dim[0], size.dim[1], &points) || points >= INT32_MAX)
        return ht_tape_fail(args.theta.tape, args.where, HT_ESHAPE, "affine_grid: theta is %s and the size %s; expected "
                            "[N, 2, 3] and [P, Q] with fewer than 2^31 points", ht_shape_text(theta, a),
                            ht_shape_text(size, b));
    double *base = hti_arena_array(&args.theta.tape->arena, 3 * points, sizeof *base);
    if (!base) return ht_tape_fail(args.theta.tape, args.where, HT_ENOMEM, "affine_grid: the system gave no memory");
    for (int64_t i = 0; i < points; i++) {
        base[3 * i] = centre(i % size.dim[1], size.dim[1], args.align_corners);
        base[3 * i + 1] = centre(i / size.dim[1], size.dim[0], args.align_corners);
        base[3 * i + 2] = 1;
    }
    ht_var points_of = ht_constant_(args.theta.tape, base, HT_SHAPE(1, points, 3), args.where);
    points_of = ht_cast_(points_of, ht_var_dtype(args.theta), args.where);
    ht_var grid = ht_matmul_((ht_matmul_args){.where = args.where, .a = points_of, .b = args.theta, .transpose_b = 1});
    return ht_reshape_(grid, HT_SHAPE(theta.dim[0], size.dim[0], size.dim[1], 2), args.where);
}

/* ---- descriptors and samples ---- */
#define SAMPLE(name, call)                                       \
    static ht_var record_##name(ht_tape *tape, const ht_var *in) \
    {                                                            \
        (void)tape;                                              \
        return call;                                             \
    }

/* A grid [1, 2, 3, 2] that moves with an input but stays away from kinks: positions near the middles between pixels of a
 * 4 x 4 image, of which some lie outside. `step` is the distance of two pixels. */
static ht_var calm(ht_var moves, double step)
{
    static const double place[12] = {0, 1, -1, 0, 1, -1, 2, 0, -2, 1, 0, -3};
    ht_var still = ht_constant(moves.tape, place, HT_SHAPE(1, 2, 3, 2));
    return ht_affine(ht_add(ht_scale(moves, 0.1), still), step, 0);
}
SAMPLE(zeros, ht_grid_sample(in[0], calm(in[1], 0.5)))
SAMPLE(border, ht_grid_sample(in[0], calm(in[1], 0.5), .border = 1))
SAMPLE(zeros_corners, ht_grid_sample(in[0], calm(in[1], 2.0 / 3), .align_corners = 1))
SAMPLE(border_corners, ht_grid_sample(in[0], calm(in[1], 2.0 / 3), .border = 1, .align_corners = 1))
SAMPLE(affine, ht_affine_grid(in[0], HT_SHAPE(2, 3)))
SAMPLE(affine_of_matrix, ht_affine_grid(in[0], HT_SHAPE(2, 3), .align_corners = 1))
SAMPLE(sampled, ht_grid_sample(in[0], in[1]))

static ht_var put_at(ht_var g, int64_t height, int64_t width)
{
    static const double row[12] = {0, 1, 1, 2, -1, 0, 1, 1, 1, 1, 5, 2}, column[12] = {0, 2, 2, 1, 1, 0, 2, 0, 3, 2, 1, 0};
    ht_shape points = ht_var_shape(g);
    points.dim[1] = 1;
    hti_place_attributes a = {{height, width}};
    ht_var rows = ht_cast(ht_constant(g.tape, row, points), HT_I32), columns = ht_constant(g.tape, column, points);
    ht_var in[3] = {g, rows, ht_cast(columns, HT_I32)};
    return hti_emit(g.tape, HTI_OP_place_put, &a, in, 3, HT_HERE);
}
SAMPLE(put, put_at(in[0], 3, 3))
SAMPLE(put_nowhere, put_at(in[0], 1, -1))

#define SAMPLED {{4, {1, 2, 4, 4}}, {4, {1, 2, 3, 2}}}
static const hti_sample samples_take[] = {
    {"bilinear, zeros", 2, SAMPLED, 0, 0, record_zeros},
    {"bilinear, border", 2, SAMPLED, 0, 0, record_border},
    {"bilinear, zeros, corners aligned", 2, SAMPLED, 0, 0, record_zeros_corners},
    {"bilinear, border, corners aligned", 2, SAMPLED, 0, 0, record_border_corners},
    {"affine grid", 1, {{3, {2, 2, 3}}}, 0, 0, record_affine},
    {"affine grid, corners aligned", 1, {{3, {2, 2, 3}}}, 0, 0, record_affine_of_matrix},
};
static const hti_reject rejects_take[] = {
    {"a grid of one coordinate", HT_ESHAPE, "[N, P, Q, 2]", 2, {{4, {1, 2, 4, 4}}, {4, {1, 2, 3, 1}}}, record_sampled},
    {"a grid of another batch", HT_ESHAPE, "[N, P, Q, 2]", 2, {{4, {1, 2, 4, 4}}, {4, {2, 2, 3, 2}}}, record_sampled},
    {"an empty image", HT_ESHAPE, "[1,2,0,4]", 2, {{4, {1, 2, 0, 4}}, {4, {1, 2, 3, 2}}}, record_sampled},
    {"a square theta", HT_ESHAPE, "[N, 2, 3]", 1, {{3, {1, 3, 3}}}, record_affine_of_matrix},
};
const hti_op hti_op_place_take = {.name = "place_take", .id = HTI_OP_place_take, .kind = HTI_LINEAR, .inputs = 3,
                                  .carries = 1, .attribute_bytes = sizeof(hti_place_attributes), .shape = shape_take,
                                  .transpose = transpose_take, HTI_SAMPLES(samples_take), HTI_REJECTS(rejects_take)};

static const hti_sample samples_put[] = {{"several at one pixel, some outside", 1, {{4, {2, 2, 2, 3}}}, 0, 0, record_put}};
static const hti_reject rejects_put[] = {
    {"an image of size -1", HT_ESHAPE, "2^31", 1, {{4, {2, 2, 2, 3}}}, record_put_nowhere},
};
const hti_op hti_op_place_put = {.name = "place_put", .id = HTI_OP_place_put, .kind = HTI_LINEAR, .inputs = 3,
                                 .carries = 1, .attribute_bytes = sizeof(hti_place_attributes), .shape = shape_put,
                                 .transpose = transpose_put, HTI_SAMPLES(samples_put), HTI_REJECTS(rejects_put)};
