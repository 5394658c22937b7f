/*
 * Batched matrix product with transpose flags: bilinear, and closed alone, since each transpose is again a product.
 * On the tape both operands have equal leading axes; recording broadcasts them.
 */
#include "rules.h"

static const hti_matmul_attributes *flags(const hti_call *call) { return call->attributes; }

static ht_status shape_matmul(const hti_call *call, hti_spec *out, ht_error *error)
{
    char ta[HT_SHAPE_TEXT], tb[HT_SHAPE_TEXT];
    ht_shape a = hti_in_shape(call, 0), b = hti_in_shape(call, 1);
    bool fits = a.rank >= 2 && a.rank == b.rank;
    for (int32_t i = 0; fits && i < a.rank - 2; i++) fits = a.dim[i] == b.dim[i];
    if (!fits)
        return ht_fail(error, HT_ESHAPE, "%s times %s; expected matrices with leading axes that fit",
                       ht_shape_text(a, ta), ht_shape_text(b, tb));
    int32_t row = a.rank - 2, column = a.rank - 1;
    bool at = flags(call)->transpose_a, bt = flags(call)->transpose_b;
    if (a.dim[at ? row : column] != b.dim[bt ? column : row])
        return ht_fail(error, HT_ESHAPE, "%s%s times %s%s: inner sizes differ; expected equal ones",
                       ht_shape_text(a, ta), at ? "^T" : "", ht_shape_text(b, tb), bt ? "^T" : "");
    out->shape = a;
    out->shape.dim[row] = a.dim[at ? column : row];
    out->shape.dim[column] = b.dim[bt ? row : column];
    return hti_same_real(call, out, error);
}

static ht_var product(ht_var a, ht_var b, bool transpose_a, bool transpose_b, const char *where)
{
    return ht_matmul_((ht_matmul_args){where, a, b, transpose_a, transpose_b});
}

/* y = A B: dA = g B', dB = A' g, each written for the operand as it is stored. */
static ht_var transpose_matmul(const hti_call *call, int32_t input, ht_var g)
{
    bool at = flags(call)->transpose_a, bt = flags(call)->transpose_b;
    ht_var a = call->in[0], b = call->in[1];
    if (input == 0) return at ? product(b, g, bt, true, call->where) : product(g, b, false, !bt, call->where);
    return bt ? product(g, a, true, at, call->where) : product(a, g, !at, false, call->where);
}

/* x with the leading axes of `lead` (NumPy's rule) before its own last two; empty (sticky error) if they do not fit. */
static ht_var with_leading(ht_var x, ht_shape other, const char *where)
{
    ht_shape own = ht_var_shape(x), full;
    memset(&full, 0, sizeof full);
    full.rank = own.rank > other.rank ? own.rank : other.rank;
    for (int32_t i = 0; i < full.rank - 2; i++) {
        int32_t io = i - (full.rank - own.rank), it = i - (full.rank - other.rank);
        int64_t a = io < 0 ? 1 : own.dim[io], b = it < 0 ? 1 : other.dim[it];
        full.dim[i] = a == 1 ? b : a;
    }
    full.dim[full.rank - 2] = own.dim[own.rank - 2];
    full.dim[full.rank - 1] = own.dim[own.rank - 1];
    return ht_broadcast_to_(x, full, where);
}

ht_var ht_matmul_(ht_matmul_args args)
{
    ht_var in[2] = {args.a, args.b};
    if (ht_ok(args.a) && ht_ok(args.b)) {
        ht_shape a = ht_var_shape(args.a), b = ht_var_shape(args.b);
        if (a.rank >= 2 && b.rank >= 2) {
            in[0] = with_leading(args.a, b, args.where);
            in[1] = with_leading(args.b, a, args.where);
        }
    }
    hti_matmul_attributes attributes = {args.transpose_a != 0, args.transpose_b != 0};
    return hti_emit(hti_tape_of(in, 2), HTI_OP_matmul, &attributes, in, 2, args.where);
}

static void print_matmul(const void *attributes, FILE *file)
{
    const hti_matmul_attributes *a = attributes;
    fprintf(file, "%s%s", a->transpose_a ? " a^T" : "", a->transpose_b ? " b^T" : "");
}

static ht_var record_plain(ht_tape *tape, const ht_var *in)
{
    (void)tape;
    return ht_matmul(in[0], in[1]);
}
static ht_var record_a(ht_tape *tape, const ht_var *in)
{
    (void)tape;
    return ht_matmul(in[0], in[1], .transpose_a = 1);
}
static ht_var record_b(ht_tape *tape, const ht_var *in)
{
    (void)tape;
    return ht_matmul(in[0], in[1], .transpose_b = 1);
}
static ht_var record_ab(ht_tape *tape, const ht_var *in)
{
    (void)tape;
    return ht_matmul(in[0], in[1], .transpose_a = 1, .transpose_b = 1);
}
static const hti_sample samples[] = {
    {"plain", 2, {{2, {3, 4}}, {2, {4, 2}}}, 0, 0, record_plain},
    {"first transposed", 2, {{2, {4, 3}}, {2, {4, 2}}}, 0, 0, record_a},
    {"second transposed", 2, {{2, {3, 4}}, {2, {2, 4}}}, 0, 0, record_b},
    {"both transposed, batch", 2, {{3, {2, 4, 3}}, {3, {2, 2, 4}}}, 0, 0, record_ab},
    {"leading axes broadcast", 2, {{4, {2, 1, 2, 3}}, {3, {3, 3, 2}}}, 0, 0, record_plain},
};
static const hti_reject rejects[] = {
    {"inner sizes", HT_ESHAPE, "inner sizes differ", 2, {{2, {4, 13}}, {2, {12, 1}}}, record_plain},
    {"a vector", HT_ESHAPE, "expected matrices", 2, {{1, {4}}, {2, {4, 1}}}, record_plain},
};
const hti_op hti_op_matmul = {.name = "matmul", .id = HTI_OP_matmul, .kind = HTI_MULTILINEAR, .inputs = 2,
                              .attribute_bytes = sizeof(hti_matmul_attributes), .shape = shape_matmul,
                              .transpose = transpose_matmul,
                              .print = print_matmul, HTI_SAMPLES(samples), HTI_REJECTS(rejects)};
