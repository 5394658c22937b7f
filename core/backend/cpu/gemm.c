/*
 * Matrix products: one seam over the libraries' GEMM, and the matmul kernel. The libraries are called on one thread
 * and on tiles that the problem alone fixes; the threads are ours. So bits do not depend on how many there are.
 * Without a library, or with strides that GEMM cannot express, every element is the sum that matmul.inl defines.
 */
#include "backend/cpu/conv.h"

#include <omp.h>
#ifdef HT_ONEDNN
#include <dnnl.h>
#endif
#ifdef HT_OPENBLAS
#include <cblas.h>
#endif

#include "backend/cpu/bf16.h"
#include "base/internal.h"
#include "kernel/matmul.h"
#include "tape/attributes.h"

#define HT_BODY "kernel/matmul.inl"
#include "kernel/reals.h"

int32_t hti_team(int32_t threads)
{
    int32_t before = (int32_t)omp_get_max_threads();
    omp_set_num_threads(threads > 0 ? threads : 1);
    return before;
}

/* ---- the seam over the libraries ---- */

bool hti_gemm_built(ht_dtype dtype)
{
#ifdef HT_ONEDNN
    if (dtype == HT_F32) return true;
#endif
#ifdef HT_OPENBLAS
    return dtype == HT_F32 || dtype == HT_F64;
#else
    (void)dtype;
    return false;
#endif
}

#ifdef HT_OPENBLAS
static bool fits_int(const hti_gemm_args *p)
{
    int64_t largest = INT32_MAX;
    return p->m <= largest && p->n <= largest && p->k <= largest && p->row_a <= largest && p->row_b <= largest &&
           p->row_c <= largest;
}

static ht_status openblas_gemm(ht_dtype dtype, const hti_gemm_args *p)
{
    if (!fits_int(p)) return HT_EUNSUPPORTED;
    CBLAS_TRANSPOSE ta = p->transpose_a ? CblasTrans : CblasNoTrans, tb = p->transpose_b ? CblasTrans : CblasNoTrans;
    blasint m = (blasint)p->m, n = (blasint)p->n, k = (blasint)p->k;
    blasint la = (blasint)p->row_a, lb = (blasint)p->row_b, lc = (blasint)p->row_c;
    if (dtype == HT_F64)
        cblas_dgemm(CblasRowMajor, ta, tb, m, n, k, 1, p->a, la, p->b, lb, p->add ? 1 : 0, p->c, lc);
    else
        cblas_sgemm(CblasRowMajor, ta, tb, m, n, k, 1, p->a, la, p->b, lb, p->add ? 1 : 0, p->c, lc);
    return HT_OK;
}
#endif

ht_status hti_gemm(ht_dtype dtype, const hti_gemm_args *p)
{
#ifdef HT_ONEDNN
    if (dtype == HT_F32) {
        dnnl_status_t status = dnnl_sgemm(p->transpose_a ? 'T' : 'N', p->transpose_b ? 'T' : 'N', p->m, p->n, p->k, 1,
                                          p->a, p->row_a, p->b, p->row_b, p->add ? 1 : 0, p->c, p->row_c);
        return status == dnnl_success ? HT_OK : status == dnnl_out_of_memory ? HT_ENOMEM : HT_EUNSUPPORTED;
    }
#endif
#ifdef HT_OPENBLAS
    return openblas_gemm(dtype, p);
#else
    (void)dtype;
    (void)p;
    return HT_EUNSUPPORTED;
#endif
}

/* ---- matmul ---- */

/* Tiles of the result: large enough for GEMM to be at speed, small enough to keep a few threads busy. */
enum { TILE_ROWS = 128, TILE_COLUMNS = 384 };

typedef struct product {
    hti_matmul_frame frame;
    ht_dtype dtype;
    size_t bytes; /* of one number */
    const char *a, *b;
    char *c;
    int64_t batch, row_tiles, column_tiles;
    bool transpose_a, transpose_b; /* as stored; with these, inner strides are 1 */
    int32_t status;
} product;

void hti_matmul_frame_read(const hti_matmul_attributes *attributes, const hti_tensor *a, const hti_tensor *b,
                           const hti_tensor *c, hti_matmul_frame *f)
{
    int32_t ra = a->shape.rank, rb = b->shape.rank, rc = c->shape.rank;
    int32_t ta = attributes->transpose_a ? 1 : 0, tb = attributes->transpose_b ? 1 : 0;
    *f = (hti_matmul_frame){.leading = rc - 2};
    for (int32_t k = 0; k < rc - 2; k++) {
        int32_t ka = k - (rc - ra), kb = k - (rc - rb);
        f->lead[k] = c->shape.dim[k];
        f->lead_a[k] = ka >= 0 && a->shape.dim[ka] > 1 ? a->stride[ka] : 0;
        f->lead_b[k] = kb >= 0 && b->shape.dim[kb] > 1 ? b->stride[kb] : 0;
        f->lead_c[k] = c->stride[k];
    }
    f->rows = c->shape.dim[rc - 2];
    f->columns = c->shape.dim[rc - 1];
    f->inner = a->shape.dim[ra - 1 - ta];
    f->row_a = a->stride[ra - 2 + ta];
    f->inner_a = a->stride[ra - 1 - ta];
    f->inner_b = b->stride[rb - 2 + tb];
    f->column_b = b->stride[rb - 1 - tb];
    f->row_c = c->stride[rc - 2];
    f->column_c = c->stride[rc - 1];
}

void hti_matmul_frame_merge(hti_matmul_frame *f)
{
    int64_t rows = f->rows;
    for (int32_t k = f->leading - 1; k >= 0; k--) {
        if (f->lead[k] == 1) continue;
        if (f->lead_b[k] != 0 || f->lead_a[k] != rows * f->row_a || f->lead_c[k] != rows * f->row_c) return;
        rows *= f->lead[k];
    }
    f->rows = rows;
    f->leading = 0;
}

/* Whether GEMM can read a matrix: sets *transposed by which of the two strides is 1. Strides of one row or column
 * are never used, so they are set to what a dense matrix has. */
static bool readable(int64_t rows, int64_t columns, int64_t *row, int64_t *column, bool *transposed)
{
    if (columns == 1) *column = 1;
    if (rows == 1) *row = columns;
    if (*column == 1 && *row >= columns) {
        *transposed = false;
        return true;
    }
    if (rows == 1) *row = 1;
    if (columns == 1) *column = rows;
    *transposed = true;
    return *row == 1 && *column >= rows;
}

static void run_tile(product *p, int64_t tile)
{
    const hti_matmul_frame *f = &p->frame;
    int64_t j = tile % p->column_tiles * TILE_COLUMNS, rest = tile / p->column_tiles;
    int64_t i = rest % p->row_tiles * TILE_ROWS, batch = rest / p->row_tiles;
    int64_t a = i * f->row_a, b = j * f->column_b, c = i * f->row_c + j;
    for (int32_t k = f->leading - 1; k >= 0; k--) {
        int64_t at = batch % f->lead[k];
        batch /= f->lead[k];
        a += at * f->lead_a[k];
        b += at * f->lead_b[k];
        c += at * f->lead_c[k];
    }
    hti_gemm_args g = {.m = f->rows - i < TILE_ROWS ? f->rows - i : TILE_ROWS,
                       .n = f->columns - j < TILE_COLUMNS ? f->columns - j : TILE_COLUMNS,
                       .k = f->inner,
                       .a = p->a + a * (int64_t)p->bytes,
                       .b = p->b + b * (int64_t)p->bytes,
                       .c = p->c + c * (int64_t)p->bytes,
                       .row_a = p->transpose_a ? f->inner_a : f->row_a,
                       .row_b = p->transpose_b ? f->column_b : f->inner_b,
                       .row_c = f->row_c,
                       .transpose_a = p->transpose_a,
                       .transpose_b = p->transpose_b};
    ht_status status = hti_gemm(p->dtype, &g);
    if (status != HT_OK) {
#pragma omp atomic write
        p->status = (int32_t)status;
    }
}

static ht_status run_tiles(product *p, int32_t threads)
{
    const hti_matmul_frame *f = &p->frame;
    p->row_tiles = (f->rows + TILE_ROWS - 1) / TILE_ROWS;
    p->column_tiles = (f->columns + TILE_COLUMNS - 1) / TILE_COLUMNS;
    int64_t tiles = p->batch * p->row_tiles * p->column_tiles;
    /* Below some ten microseconds of work a team costs more than it gives. */
    if ((double)p->batch * (double)f->rows * (double)f->columns * (double)f->inner < 1e5) threads = 1;
    if (threads > tiles) threads = (int32_t)tiles;
#pragma omp parallel num_threads(threads)
    {
        omp_set_num_threads(1); /* a team of one would let the library open its own */
#pragma omp for schedule(static)
        for (int64_t t = 0; t < tiles; t++) run_tile(p, t);
    }
    return (ht_status)p->status;
}

static void run_elements(void *context, int64_t begin, int64_t end)
{
    product *p = context;
    if (p->dtype == HT_F32)
        for (int64_t e = begin; e < end; e++)
            hti_matmul_element_f32(&p->frame, (const float *)(const void *)p->a, (const float *)(const void *)p->b,
                                   (float *)(void *)p->c, e);
    else
        for (int64_t e = begin; e < end; e++)
            hti_matmul_element_f64(&p->frame, (const double *)(const void *)p->a, (const double *)(const void *)p->b,
                                   (double *)(void *)p->c, e);
}

static ht_status run_matmul(const hti_run *run)
{
    const hti_tensor *a = &run->in[0], *b = &run->in[1];
    if (run->state) return hti_matmul_bf16_run(run);
    product p = {.dtype = run->out->dtype, .a = a->data, .b = b->data, .c = run->out->data, .batch = 1};
    if (p.dtype != HT_F32 && p.dtype != HT_F64) return HT_EUNSUPPORTED;
    p.bytes = ht_dtype_bytes(p.dtype);
    hti_matmul_frame_read(run->attributes, a, b, run->out, &p.frame);
    hti_matmul_frame *f = &p.frame, kept = p.frame;
    bool fast = hti_gemm_built(p.dtype) && f->inner > 0;
    fast = fast && readable(f->rows, f->inner, &f->row_a, &f->inner_a, &p.transpose_a);
    fast = fast && readable(f->inner, f->columns, &f->inner_b, &f->column_b, &p.transpose_b);
    fast = fast && (f->columns == 1 || f->column_c == 1) && f->row_c >= f->columns;
    if (fast) {
        if (!p.transpose_a) hti_matmul_frame_merge(f);
        for (int32_t k = 0; k < f->leading; k++) p.batch *= f->lead[k];
        return run_tiles(&p, run->threads);
    }
    p.frame = kept;
    int64_t grain = 32768 / (f->inner + 1) + 1;
    hti_parallel_for(run->threads, ht_shape_count(run->out->shape), grain, run_elements, &p);
    return HT_OK;
}

static double count_matmul(const void *attributes, const hti_tensor *in, const hti_tensor *out)
{
    const hti_matmul_attributes *a = attributes;
    int64_t inner = in[0].shape.dim[in[0].shape.rank - (a->transpose_a ? 2 : 1)];
    return 2.0 * (double)ht_shape_count(out->shape) * (double)inner;
}

const hti_kernel hti_cpu_matmul = {.run = run_matmul, .order = HTI_ROW_ONLY, .views = 3u,
                                   .prepare = hti_matmul_bf16_prepare, .release = hti_matmul_bf16_release,
                                   .pack = hti_matmul_bf16_pack, .flop = count_matmul};
