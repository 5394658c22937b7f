/*
 * The CPU's matmul kernel: transposes, broadcast leading axes, strides, against a plain sum; equal bits for 1, 2 and 4
 * threads.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cpu/conv.h"
#include "tap.h"
#include "tape/attributes.h"

static uint64_t seed = 7;

static double uniform(void)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (double)(seed >> 40) / (double)(1 << 23) - 1.0;
}

typedef struct product_case {
    int64_t m, n, k;
    int32_t leading_a, leading_b, leading;
    int64_t lead_a[3], lead_b[3], lead[3];
    int32_t view; /* bit 0: a's leading axes are a broadcast view; bit 1: b's; bit 2: b's rows repeat */
} product_case;

static double get(const hti_tensor *t, int64_t i)
{
    return t->dtype == HT_F64 ? ((const double *)t->data)[i] : (double)((const float *)t->data)[i];
}

/* A tensor with leading axes and a matrix of rows x columns; with `view`, leading axes have stride 0. */
static hti_tensor make(ht_dtype dtype, int32_t leading, const int64_t *lead, int64_t rows, int64_t columns, bool view,
                       bool repeat)
{
    hti_tensor t = {.dtype = dtype, .shape = {.rank = leading + 2}};
    int64_t next = 1;
    for (int32_t k = 0; k < leading; k++) t.shape.dim[k] = lead[k];
    t.shape.dim[leading] = rows;
    t.shape.dim[leading + 1] = columns;
    for (int32_t k = leading + 1; k >= 0; k--) {
        bool zero = (view && k < leading) || (repeat && k == leading);
        t.stride[k] = zero ? 0 : next;
        if (!zero) next *= t.shape.dim[k];
    }
    t.data = calloc((size_t)next, ht_dtype_bytes(dtype));
    for (int64_t i = 0; i < next; i++) {
        if (dtype == HT_F64)
            ((double *)t.data)[i] = uniform();
        else
            ((float *)t.data)[i] = (float)uniform();
    }
    return t;
}

/* Offset of the matrix of one combination of leading indices. */
static int64_t matrix_at(const hti_tensor *t, const product_case *c, int64_t batch)
{
    int64_t at = 0;
    int32_t own = t->shape.rank - 2;
    for (int32_t k = c->leading - 1; k >= 0; k--) {
        int64_t i = batch % c->lead[k];
        int32_t axis = k - (c->leading - own);
        batch /= c->lead[k];
        if (axis >= 0 && t->shape.dim[axis] > 1) at += i * t->stride[axis];
    }
    return at;
}

static double element(const product_case *c, const hti_tensor *a, const hti_tensor *b, bool ta, bool tb,
                      int64_t batch, int64_t i, int64_t j)
{
    int64_t at = matrix_at(a, c, batch), bt = matrix_at(b, c, batch);
    int32_t ra = a->shape.rank, rb = b->shape.rank;
    double sum = 0;
    for (int64_t l = 0; l < c->k; l++) {
        int64_t x = at + (ta ? l : i) * a->stride[ra - 2] + (ta ? i : l) * a->stride[ra - 1];
        int64_t y = bt + (tb ? j : l) * b->stride[rb - 2] + (tb ? l : j) * b->stride[rb - 1];
        sum += get(a, x) * get(b, y);
    }
    return sum;
}

static void check(const product_case *c, ht_dtype dtype, bool ta, bool tb)
{
    int64_t rows_a = ta ? c->k : c->m, columns_a = ta ? c->m : c->k, rows_b = tb ? c->n : c->k;
    int64_t columns_b = tb ? c->k : c->n;
    hti_tensor in[2] = {make(dtype, c->leading_a, c->lead_a, rows_a, columns_a, c->view & 1, false),
                        make(dtype, c->leading_b, c->lead_b, rows_b, columns_b, c->view & 2, c->view & 4)};
    hti_tensor out[3];
    double worst = 0, largest = 1e-30;
    int64_t count = 0, batches = 1;
    ht_status status = HT_OK;
    hti_matmul_attributes attributes = {ta, tb};
    for (int32_t k = 0; k < c->leading; k++) batches *= c->lead[k];
    for (int32_t t = 0; t < 3; t++) {
        out[t] = make(dtype, c->leading, c->lead, c->m, c->n, false, false);
        count = ht_shape_count(out[t].shape);
        memset(out[t].data, 0xFF, (size_t)count * ht_dtype_bytes(dtype));
        hti_run run = {.attributes = &attributes, .in = in, .out = &out[t], .inputs = 2, .threads = 1 << t};
        ht_status one = hti_cpu_matmul.run(&run);
        if (one != HT_OK) status = one;
    }
    for (int64_t batch = 0; batch < batches; batch++)
        for (int64_t i = 0; i < c->m; i++)
            for (int64_t j = 0; j < c->n; j++) {
                double exact = element(c, &in[0], &in[1], ta, tb, batch, i, j);
                double d = fabs(exact - get(&out[0], (batch * c->m + i) * c->n + j));
                if (!(d <= worst)) worst = d;
                if (fabs(exact) > largest) largest = fabs(exact);
            }
    size_t bytes = (size_t)count * ht_dtype_bytes(dtype);
    bool same = !memcmp(out[0].data, out[1].data, bytes) && !memcmp(out[0].data, out[2].data, bytes);
    double flop = hti_cpu_matmul.flop(&attributes, in, &out[0]);
    tap_ok(status == HT_OK && worst / largest <= (dtype == HT_F64 ? 1e-13 : 1e-5) && same &&
               flop == 2.0 * (double)count * (double)c->k,
           "[%d][%d,%d,%d] leading %d %d view %d%s%s %s: off by %.1e, %s", (int)batches, (int)c->m, (int)c->k,
           (int)c->n, c->leading_a, c->leading_b, c->view, ta ? " a'" : "", tb ? " b'" : "", ht_dtype_name(dtype),
           worst / largest, same ? "same bits" : "other bits with more threads");
    for (int32_t t = 0; t < 3; t++) free(out[t].data);
    free(in[0].data);
    free(in[1].data);
}

int main(void)
{
    static const product_case cases[] = {
        /* m, n, k; leading axes of a, b, result; their sizes; view */
        {3, 4, 5, 0, 0, 0, {0}, {0}, {0}, 0},
        {1, 1, 7, 0, 0, 0, {0}, {0}, {0}, 0},
        {1, 9, 1, 0, 0, 0, {0}, {0}, {0}, 0},
        {9, 1, 6, 0, 0, 0, {0}, {0}, {0}, 0},
        {150, 400, 20, 0, 0, 0, {0}, {0}, {0}, 0},
        {5, 700, 33, 1, 1, 1, {6}, {6}, {6}, 0},
        {4, 3, 5, 2, 0, 2, {2, 3}, {0}, {2, 3}, 0},
        {4, 3, 5, 0, 2, 2, {0}, {2, 3}, {2, 3}, 0},
        {4, 3, 5, 2, 2, 2, {2, 1}, {1, 3}, {2, 3}, 0},
        {4, 3, 5, 1, 3, 3, {3}, {2, 2, 1}, {2, 2, 3}, 0},
        {4, 3, 5, 1, 1, 1, {6}, {6}, {6}, 1},
        {40, 30, 50, 1, 1, 1, {6}, {6}, {6}, 2},
        {4, 3, 5, 2, 2, 2, {2, 3}, {2, 3}, {2, 3}, 3},
        {4, 3, 5, 0, 0, 0, {0}, {0}, {0}, 4},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (int32_t t = 0; t < 4; t++) {
            check(&cases[i], HT_F64, t & 1, t >> 1);
            check(&cases[i], HT_F32, t & 1, t >> 1);
        }
    return tap_done();
}
