/*
 * Generated variants of the multilinear ops: convolution and its two adjoints over strides, padding, dilation, groups, odd
 * sizes and sizes of 1, for 1 to 3 axes; matrix products with sizes of 1 and broadcast batches.
 */
#include <string.h>

#include "suite.h"
#include "tape/attributes.h"

/* ---- convolution: one row serves all three faces of <g, conv(x, w)> ---- */

typedef struct conv_row {
    const char *name;
    int64_t batch, in, out;
    int32_t groups, axes;
    int64_t image[3], kernel[3], stride[3], pad[3], dilation[3];
} conv_row;

static const conv_row conv_rows[] = {
    {"a single number", 1, 1, 1, 1, 1, {1}, {1}, {1}, {0}, {1}},
    {"kernel is the image", 2, 2, 2, 1, 1, {4}, {4}, {1}, {0}, {1}},
    {"1-d, stride 3, odd rest", 1, 2, 1, 1, 1, {8}, {2}, {3}, {0}, {1}},
    {"1-d, dilation 3", 1, 1, 2, 1, 1, {8}, {3}, {1}, {2}, {3}},
    {"1-d, depthwise", 2, 3, 3, 3, 1, {5}, {2}, {2}, {1}, {1}},
    {"only padding at the border", 1, 1, 2, 1, 1, {2}, {3}, {2}, {3}, {1}},
    {"3x3", 1, 2, 2, 1, 2, {4, 5}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
    {"4x4, stride 2", 2, 1, 2, 1, 2, {6, 5}, {4, 4}, {2, 2}, {1, 1}, {1, 1}},
    {"8x8, stride 2", 1, 1, 1, 1, 2, {8, 6}, {8, 8}, {2, 2}, {3, 3}, {1, 1}},
    {"1x1, stride 2", 1, 3, 2, 1, 2, {5, 4}, {1, 1}, {2, 2}, {0, 0}, {1, 1}},
    {"two groups, dilation 2", 1, 4, 2, 2, 2, {5, 5}, {2, 3}, {1, 1}, {1, 2}, {2, 2}},
    {"depthwise, two each", 1, 2, 4, 2, 2, {4, 4}, {3, 3}, {2, 1}, {1, 1}, {1, 1}},
    {"every option by axis", 1, 2, 2, 2, 2, {7, 6}, {3, 2}, {2, 3}, {2, 0}, {1, 3}},
    {"3-d, stride 2", 1, 1, 2, 1, 3, {3, 4, 3}, {2, 3, 2}, {2, 1, 2}, {0, 1, 1}, {1, 1, 1}},
    {"3-d, groups and dilation", 1, 2, 2, 2, 3, {3, 3, 4}, {2, 1, 2}, {1, 1, 1}, {0, 0, 1}, {2, 1, 2}},
};

/* The three ops differ in which two of x, w and g they take. */
static hti_conv_attributes conv_attributes(const conv_row *row)
{
    hti_conv_attributes a;
    memset(&a, 0, sizeof a);
    a.axes = row->axes;
    a.groups = row->groups;
    for (int32_t i = 0; i < row->axes; i++) {
        a.stride[i] = row->stride[i];
        a.pad[i] = row->pad[i];
        a.dilation[i] = row->dilation[i];
        a.image[i] = row->image[i];
        a.kernel[i] = row->kernel[i];
    }
    return a;
}

static ht_var record_face(hti_op_id op, const ht_var *in, const void *context)
{
    hti_conv_attributes a = conv_attributes(context);
    return hti_emit(in[0].tape, op, &a, in, 2, HT_HERE);
}
static ht_var record_conv(ht_tape *tape, ht_store *store, const ht_var *in, const void *context)
{
    (void)tape, (void)store;
    return record_face(HTI_OP_conv, in, context);
}
static ht_var record_conv_input(ht_tape *tape, ht_store *store, const ht_var *in, const void *context)
{
    (void)tape, (void)store;
    return record_face(HTI_OP_conv_input, in, context);
}
static ht_var record_conv_weight(ht_tape *tape, ht_store *store, const ht_var *in, const void *context)
{
    (void)tape, (void)store;
    return record_face(HTI_OP_conv_weight, in, context);
}

void gradcheck_add_convolutions(const hti_op *op, gradcheck_variants *list)
{
    bool face = op->id == HTI_OP_conv || op->id == HTI_OP_conv_input || op->id == HTI_OP_conv_weight;
    for (size_t r = 0; face && r < sizeof conv_rows / sizeof conv_rows[0]; r++) {
        const conv_row *row = &conv_rows[r];
        ht_shape x = {row->axes + 2, {row->batch, row->in}}, w = {row->axes + 2, {row->out, row->in / row->groups}};
        ht_shape g = {row->axes + 2, {row->batch, row->out}};
        for (int32_t i = 0; i < row->axes; i++) {
            int64_t reach = row->dilation[i] * (row->kernel[i] - 1) + 1;
            x.dim[i + 2] = row->image[i];
            w.dim[i + 2] = row->kernel[i];
            g.dim[i + 2] = (row->image[i] + 2 * row->pad[i] - reach) / row->stride[i] + 1;
        }
        gradcheck_variant v = {.inputs = 2, .low = -1, .high = 1, .context = row};
        snprintf(v.name, sizeof v.name, "%s", row->name);
        v.shape[0] = op->id == HTI_OP_conv_input ? g : x;
        v.shape[1] = op->id == HTI_OP_conv_weight ? g : w;
        v.record = op->id == HTI_OP_conv ? record_conv : op->id == HTI_OP_conv_input ? record_conv_input : record_conv_weight;
        gradcheck_add(list, v);
    }
}

/* ---- matrix products ---- */

typedef struct product_row {
    const char *name;
    ht_shape a, b;
    int32_t transpose_a, transpose_b;
} product_row;

static const product_row product_rows[] = {
    {"a single number", {2, {1, 1}}, {2, {1, 1}}, 0, 0},
    {"outer product", {2, {5, 1}}, {2, {1, 3}}, 0, 0},
    {"inner product", {2, {1, 6}}, {2, {1, 6}}, 0, 1},
    {"row by matrix", {2, {1, 3}}, {2, {4, 3}}, 0, 1},
    {"batches of both sides", {4, {1, 2, 2, 3}}, {4, {2, 1, 2, 2}}, 1, 0},
    {"empty inner size", {2, {2, 0}}, {2, {0, 3}}, 0, 0},
};

static ht_var record_product(ht_tape *tape, ht_store *store, const ht_var *in, const void *context)
{
    const product_row *row = context;
    (void)tape, (void)store;
    return ht_matmul(in[0], in[1], .transpose_a = row->transpose_a, .transpose_b = row->transpose_b);
}

void gradcheck_add_products(const hti_op *op, gradcheck_variants *list)
{
    for (size_t r = 0; op->id == HTI_OP_matmul && r < sizeof product_rows / sizeof product_rows[0]; r++) {
        const product_row *row = &product_rows[r];
        gradcheck_variant v = {.inputs = 2, .low = -1, .high = 1, .context = row, .record = record_product};
        snprintf(v.name, sizeof v.name, "%s", row->name);
        v.shape[0] = row->a;
        v.shape[1] = row->b;
        gradcheck_add(list, v);
    }
}
