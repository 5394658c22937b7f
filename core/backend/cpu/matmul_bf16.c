/*
 * Matrix products on operands rounded to bf16. Each is one of the three faces of a 1x1 convolution over a row of places,
 * so conv.c plans, packs and runs it: a b^T is the forward face on weights b, a b the data gradient, a^T b the weight
 * gradient. a^T b^T is none of them, and stays with gemm.c, in f32.
 */
#include "backend/cpu/bf16.h"

#include <stdlib.h>

#include "backend/cpu/conv.h"
#include "base/internal.h"

typedef struct bf16_product {
    const hti_kernel *kernel;      /* of the face */
    hti_conv_attributes attributes;
    hti_tensor in[2], out;         /* the face's operands, without data */
    int32_t input[2];              /* which input of the product each of them is */
    hti_matmul_frame frame;        /* its leading axes: one convolution for each of their places */
    int64_t products, matrix_b;    /* matrix_b: numbers of one matrix b */
    size_t weight_bytes;           /* of one matrix b, packed; 0 if b is only rounded */
    void *own;
} bf16_product;

/* Row-major matrices without gaps; the same ones may be repeated along leading axes. */
static bool is_compact(const hti_tensor *t)
{
    int64_t expected = 1, last = t->shape.rank - 2;
    for (int32_t k = t->shape.rank - 1; k >= 0; k--) {
        if (t->shape.dim[k] == 0) return false;
        if (t->shape.dim[k] == 1 || (k < last && t->stride[k] == 0)) continue;
        if (t->stride[k] != expected) return false;
        expected *= t->shape.dim[k];
    }
    return true;
}

/* A matrix [rows, columns] as `rows` places with channels last, or as weights of 1x1. */
static hti_tensor places_of(int64_t rows, int64_t columns)
{
    return (hti_tensor){.dtype = HT_F32, .shape = HT_SHAPE(1, columns, 1, rows),
                        .stride = {rows * columns, 1, rows * columns, columns}};
}

static hti_tensor weights_of(int64_t rows, int64_t columns)
{
    return (hti_tensor){.dtype = HT_F32, .shape = HT_SHAPE(rows, columns, 1, 1), .stride = {columns, 1, 1, 1}};
}

static void choose_face(bf16_product *p, const hti_matmul_attributes *a)
{
    const hti_matmul_frame *f = &p->frame;
    int64_t rows = f->rows, inner = f->inner, columns = f->columns;
    p->attributes = (hti_conv_attributes){.axes = 2, .groups = 1, .stride = {1, 1}, .dilation = {1, 1}, .kernel = {1, 1},
                                          .image = {1, a->transpose_a ? inner : rows}};
    p->input[0] = a->transpose_a != 0;
    p->input[1] = !a->transpose_a;
    if (a->transpose_a) {
        p->kernel = &hti_cpu_conv_weight;
        p->in[0] = places_of(inner, columns);
        p->in[1] = places_of(inner, rows);
        p->out = weights_of(rows, columns);
        return;
    }
    p->kernel = a->transpose_b ? &hti_cpu_conv : &hti_cpu_conv_input;
    p->in[0] = places_of(rows, inner);
    p->in[1] = a->transpose_b ? weights_of(columns, inner) : weights_of(inner, columns);
    p->out = places_of(rows, columns);
}

/* What the product as a whole asks for, from what one convolution does. */
static void take_choice(bf16_product *p, const hti_choice *one, const hti_tensor *in, hti_choice *choice)
{
    *choice = *one;
    choice->state = p;
    p->weight_bytes = p->kernel == &hti_cpu_conv_weight ? 0 : hti_lines(one->packed_bytes[1]);
    for (int32_t k = 0; k < 2; k++) hti_bf16_pack_choose(choice, k, &in[k]);
    if (p->weight_bytes == 0) return;
    int64_t matrices = hti_bf16_count(&in[1]) / p->matrix_b;
    choice->packed_bytes[1] = p->weight_bytes * (size_t)matrices;
    choice->packed_key[1] = hti_hash(one->packed_key[1], &matrices, sizeof matrices);
}

ht_status hti_matmul_bf16_prepare(const void *attributes, const hti_tensor *in, int32_t inputs, const hti_tensor *out,
                                  int32_t threads, hti_choice *choice, ht_error *error)
{
    const hti_matmul_attributes *a = attributes;
    hti_choice one = {.precision = choice->precision};
    (void)inputs;
    *choice = (hti_choice){0};
    if (one.precision != HT_PRECISION_BF16 || out->dtype != HT_F32 || (a->transpose_a && a->transpose_b)) return HT_OK;
    if (!is_compact(&in[0]) || !is_compact(&in[1]) || !is_compact(out)) return HT_OK;
    bf16_product *p = calloc(1, sizeof *p);
    if (!p) return ht_fail(error, HT_ENOMEM, "matmul: no memory for its plan");
    hti_matmul_frame_read(a, &in[0], &in[1], out, &p->frame);
    p->matrix_b = p->frame.inner * p->frame.columns;
    if (!a->transpose_a) hti_matmul_frame_merge(&p->frame);
    p->products = 1;
    for (int32_t k = 0; k < p->frame.leading; k++) p->products *= p->frame.lead[k];
    choose_face(p, a);
    ht_status status = p->kernel->prepare(&p->attributes, p->in, 2, &p->out, threads, &one, error);
    p->own = one.state;
    if (status == HT_OK && one.rounds) take_choice(p, &one, in, choice);
    else hti_matmul_bf16_release(p);
    return status;
}

void hti_matmul_bf16_release(void *state)
{
    bf16_product *p = state;
    if (p && p->own) p->kernel->release(p->own);
    free(p);
}

ht_status hti_matmul_bf16_pack(void *state, int32_t input, const hti_tensor *from, void *packed, int32_t threads)
{
    const bf16_product *p = state;
    ht_status status = HT_OK;
    if (input == 0 || p->weight_bytes == 0) {
        hti_bf16_pack(from, packed, threads);
        return HT_OK;
    }
    int64_t matrices = hti_bf16_count(from) / p->matrix_b;
    hti_tensor one = p->in[1];
    for (int64_t i = 0; i < matrices && status == HT_OK; i++) {
        one.data = (float *)from->data + i * p->matrix_b;
        status = p->kernel->pack(p->own, 1, &one, (char *)packed + (size_t)i * p->weight_bytes, threads);
    }
    return status;
}

ht_status hti_matmul_bf16_run(const hti_run *run)
{
    bf16_product *p = run->state;
    const hti_matmul_frame *f = &p->frame;
    ht_status status = HT_OK;
    for (int64_t i = 0; i < p->products && status == HT_OK; i++) {
        int64_t rest = i, at[2] = {0, 0}, c = 0;
        for (int32_t k = f->leading - 1; k >= 0; k--) {
            int64_t place = rest % f->lead[k];
            rest /= f->lead[k];
            at[0] += place * f->lead_a[k];
            at[1] += place * f->lead_b[k];
            c += place * f->lead_c[k];
        }
        size_t bytes[2] = {(size_t)at[0] * sizeof(uint16_t), (size_t)at[1] * sizeof(uint16_t)};
        if (p->weight_bytes) bytes[1] = (size_t)(at[1] / p->matrix_b) * p->weight_bytes;
        hti_tensor in[2] = {p->in[0], p->in[1]}, out = p->out;
        for (int32_t k = 0; k < 2; k++) in[k].data = (char *)run->in[p->input[k]].data + bytes[p->input[k]];
        out.data = (float *)run->out->data + c;
        hti_run one = {.attributes = &p->attributes, .in = in, .out = &out, .inputs = 2, .threads = run->threads,
                       .state = p->own, .scratch = run->scratch};
        status = p->kernel->run(&one);
    }
    return status;
}
