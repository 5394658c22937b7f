/*
 * Reductions of the CPU. A sum either adds whole rows into a row of accumulators (columns side by side are kept), or
 * adds up lines (what lies side by side is summed). Long sums are cut into parts of a fixed number of lines, whose
 * partial results go to scratch and are added by the same code: no bit depends on the number of threads.
 */
#include <string.h>

#include "backend/cpu/cpu.h"
#include "backend/cpu/loops.h"

#define ROWS 8          /* lines that are added in a tree before they reach the accumulators */
#define COLUMNS 256     /* accumulators of one task */
#define MOST_LINES 1024 /* of a part */
#define LEAST_LINES 64  /* of a part, where a line is a row of columns */

typedef struct sum_plan {
    hti_walk kept, reduced;                   /* positions outside of a row or line, with strides of the input  */
    int64_t kept_out[HT_MAX_RANK];            /* strides of the result along `kept`                             */
    int64_t columns, column_in, column_out;   /* kept side by side; 1 if lines are summed                       */
    int64_t line, line_in, pieces;            /* summed side by side; 1 if columns are kept                     */
    int64_t lines, part, parts, part_out;     /* all pieces of an output; of a part; stride of parts            */
    int64_t outputs, tiles;                   /* positions of `kept`; tasks along the columns                   */
} sum_plan;

typedef struct sum_context {
    sum_plan plan;
    const void *from;
    void *to;
} sum_context;

#define HT_BODY "kernel/reduce.inl"
#include "kernel/reals.h"
#define HT_BODY "backend/cpu/sum_loops.inl"
#include "kernel/reals.h"

static int64_t ceiling(int64_t a, int64_t b) { return (a + b - 1) / b; }
static int64_t clamp(int64_t x, int64_t low, int64_t high) { return x < low ? low : (x > high ? high : x); }

/* The axis of the loop with the smallest stride in the input among those that are kept, or summed; -1 without one. */
static int32_t innermost(const hti_loop *loop, bool kept)
{
    int32_t best = -1;
    for (int32_t k = 0; k < loop->rank; k++) {
        if ((loop->stride[1][k] != 0) != kept) continue;
        if (best < 0 || loop->stride[0][best] == 0 ||
            (loop->stride[0][k] != 0 && loop->stride[0][k] < loop->stride[0][best]))
            best = k;
    }
    return best;
}

/* Rows of columns, or lines? What lies side by side decides, unless there is too little of it. */
static bool takes_columns(const hti_loop *loop, int32_t kept, int32_t summed)
{
    if (kept < 0) return false;
    if (summed < 0) return true;
    const int64_t columns = loop->dim[kept], line = loop->dim[summed];
    if (loop->stride[0][kept] < loop->stride[0][summed]) return columns >= 8 || columns >= line;
    return line < 16 && line < columns;
}

static void add_axis(hti_walk *walk, int64_t dim, int64_t stride)
{
    walk->dim[walk->rank] = dim;
    walk->stride[walk->rank++] = stride;
}

static sum_plan make_plan(const hti_tensor *x, const hti_tensor *y)
{
    hti_tensor view = *y;
    for (int32_t k = 0; k < y->shape.rank; k++)
        if (y->shape.dim[k] == 1) view.stride[k] = 0;
    const hti_tensor *operand[] = {x, &view};
    const hti_loop loop = hti_loop_make(operand, 2);
    const int32_t kept = innermost(&loop, true), summed = innermost(&loop, false);
    const int32_t inner = takes_columns(&loop, kept, summed) ? kept : summed;
    sum_plan plan = {.columns = 1, .line = 1, .outputs = 1, .lines = 1};
    for (int32_t k = 0; k < loop.rank; k++) {
        const int64_t dim = loop.dim[k], in = loop.stride[0][k], out = loop.stride[1][k];
        if (k == inner && out != 0) {
            plan.columns = dim;
            plan.column_in = in;
            plan.column_out = out;
        } else if (k == inner) {
            plan.line = dim;
            plan.line_in = in;
        } else if (out != 0) {
            plan.kept_out[plan.kept.rank] = out;
            add_axis(&plan.kept, dim, in);
            plan.outputs *= dim;
        } else {
            add_axis(&plan.reduced, dim, in);
            plan.lines *= dim;
        }
    }
    const int64_t width = plan.line > 1 ? clamp(plan.line, 1, HTI_SUM_PIECE) : plan.columns;
    plan.pieces = ceiling(plan.line, HTI_SUM_PIECE);
    plan.lines *= plan.pieces;
    plan.part = clamp(2 * HTI_GRAIN / width, plan.line > 1 ? 1 : LEAST_LINES, MOST_LINES);
    plan.parts = ceiling(plan.lines, plan.part);
    plan.tiles = ceiling(plan.columns, COLUMNS);
    return plan;
}

static void run_plan(const sum_plan *plan, ht_dtype dtype, const void *from, void *to, int32_t threads)
{
    sum_context c = {.plan = *plan, .from = from, .to = to};
    const int64_t lines = plan->lines < plan->part ? plan->lines : plan->part;
    const int64_t columns = plan->columns < COLUMNS ? plan->columns : COLUMNS;
    const int64_t line = plan->line < HTI_SUM_PIECE ? plan->line : HTI_SUM_PIECE;
    const int64_t work = clamp(lines * columns * line, 1, INT64_MAX);
    const int64_t grain = clamp(2 * HTI_GRAIN / work, 1, HTI_GRAIN);
    hti_parallel_for(threads, plan->outputs * plan->parts * plan->tiles, grain,
                     dtype == HT_F32 ? sum_tasks_f32 : sum_tasks_f64, &c);
}

static ht_status prepare_sum_to(const void *attributes, const hti_tensor *in, int32_t inputs, const hti_tensor *out,
                                int32_t threads, hti_choice *choice, ht_error *error)
{
    (void)attributes, (void)inputs, (void)threads;
    if (ht_shape_count(in[0].shape) == 0) return HT_OK;
    const sum_plan plan = make_plan(&in[0], out);
    int64_t count = 0;
    if (plan.parts > 1 && (!hti_multiply(plan.parts, plan.outputs * plan.columns, &count) ||
                           !hti_bytes(count, ht_dtype_bytes(out->dtype), &choice->scratch_bytes)))
        return ht_fail(error, HT_ENOMEM, "sum_to: partial sums do not fit into memory; use smaller arrays");
    choice->algorithm = plan.line > 1 ? "lines" : "columns";
    return HT_OK;
}

/* The sum over the partial sums of a plan: [part][kept position][column], dense. */
static sum_plan plan_of_parts(sum_plan *plan)
{
    sum_plan last = {.kept = plan->kept, .columns = plan->columns, .column_in = 1, .column_out = plan->column_out};
    last.line = last.pieces = last.parts = 1;
    last.lines = last.part = plan->parts;
    last.outputs = plan->outputs;
    last.tiles = plan->tiles;
    memcpy(last.kept_out, plan->kept_out, sizeof last.kept_out);
    int64_t stride = plan->columns;
    for (int32_t k = plan->kept.rank - 1; k >= 0; k--) {
        plan->kept_out[k] = last.kept.stride[k] = stride;
        stride *= plan->kept.dim[k];
    }
    plan->column_out = 1;
    plan->part_out = stride;
    add_axis(&last.reduced, plan->parts, stride);
    return last;
}

static ht_status run_sum_to(const hti_run *run)
{
    const ht_dtype dtype = run->out->dtype;
    if (run->in[0].dtype != dtype || (dtype != HT_F32 && dtype != HT_F64)) return HT_EDTYPE;
    if (ht_shape_count(run->in[0].shape) == 0) { /* the result is dense: zeros, or nothing */
        memset(run->out->data, 0, (size_t)ht_shape_count(run->out->shape) * ht_dtype_bytes(dtype));
        return HT_OK;
    }
    sum_plan plan = make_plan(&run->in[0], run->out);
    if (plan.parts == 1) {
        run_plan(&plan, dtype, run->in[0].data, run->out->data, run->threads);
        return HT_OK;
    }
    if (!run->scratch) return HT_EINTERNAL;
    const sum_plan last = plan_of_parts(&plan);
    run_plan(&plan, dtype, run->in[0].data, run->scratch, run->threads);
    run_plan(&last, dtype, run->scratch, run->out->data, run->threads);
    return HT_OK;
}

/* ---- the same sum, fed by others ---- */

bool hti_row_sum_of(const hti_tensor *from, const hti_tensor *to, hti_row_sum *sum)
{
    if (from->dtype != to->dtype || (to->dtype != HT_F32 && to->dtype != HT_F64)) return false;
    const sum_plan plan = make_plan(from, to);
    *sum = (hti_row_sum){plan.columns, plan.lines, plan.part, plan.parts};
    if (plan.line > 1 && plan.line_in == 1 && plan.kept.rank == 0 && plan.reduced.rank == 0)
        return plan.part <= HTI_SUM_PIECES || plan.lines == 1;
    return plan.line == 1 && plan.columns > 1 && plan.columns <= HTI_SUM_COLUMNS && plan.lines > 1 && plan.kept.rank == 0 &&
           plan.column_in == 1 && plan.column_out == 1 && plan.reduced.rank == 1 && plan.reduced.stride[0] == plan.columns;
}

void hti_row_sum_add(ht_dtype dtype, int64_t columns, void *sums, const void *rows, int64_t lines)
{
    if (dtype == HT_F32) add_lines_f32(sums, rows, columns, lines, columns, 1);
    else add_lines_f64(sums, rows, columns, lines, columns, 1);
}

void hti_piece_sum(ht_dtype dtype, void *to, const void *numbers, int64_t n)
{
    if (dtype == HT_F32) *(float *)to = k_line_f32(numbers, n, 1);
    else *(double *)to = k_line_f64(numbers, n, 1);
}

void hti_row_sum_parts(ht_dtype dtype, const hti_row_sum *sum, const void *parts, void *to, int32_t threads)
{
    sum_plan plan = {.columns = sum->columns, .column_out = 1, .parts = sum->parts, .outputs = 1,
                     .tiles = ceiling(sum->columns, COLUMNS)};
    const sum_plan last = plan_of_parts(&plan);
    run_plan(&last, dtype, parts, to, threads);
}

/* argmax and max_along: outputs of one line each. */
typedef struct line_context {
    hti_walk from, to;
    int64_t n, stride;
    const void *x;
    void *y;
} line_context;

#define LINE_LOOP(name, S, T, Y)                                                          \
    static void name##_##S(void *context, int64_t begin, int64_t end)                     \
    {                                                                                     \
        const line_context *c = context;                                                  \
        hti_walk from = c->from, to = c->to;                                              \
        hti_walk_to(&from, begin);                                                        \
        hti_walk_to(&to, begin);                                                          \
        for (int64_t i = begin; i < end; i++) {                                           \
            ((Y *)c->y)[to.offset] = k_##name##_##S((const T *)c->x + from.offset, c->n, c->stride); \
            hti_walk_next(&from);                                                         \
            hti_walk_next(&to);                                                           \
        }                                                                                 \
    }
LINE_LOOP(argmax, f32, float, int32_t)
LINE_LOOP(argmax, f64, double, int32_t)
LINE_LOOP(max, f32, float, float)
LINE_LOOP(max, f64, double, double)

/* The same of a row-major x: [outer][n][inner]. Lanes go over columns, or over parts of a line. */
typedef struct dense_context {
    int64_t n, inner, tiles;
    const void *x;
    void *y;
    size_t x_bytes, y_bytes; /* of a number */
    void (*columns)(const struct dense_context *c, const void *x, void *y, int64_t count);
} dense_context;

/* A task is COLUMNS of x side by side, or those that are left. */
static void each_columns(void *context, int64_t begin, int64_t end)
{
    const dense_context *c = context;
    for (int64_t task = begin; task < end; task++) {
        const int64_t column = task % c->tiles * COLUMNS, outer = task / c->tiles, rest = c->inner - column;
        c->columns(c, (const char *)c->x + (size_t)(outer * c->n * c->inner + column) * c->x_bytes,
                   (char *)c->y + (size_t)(outer * c->inner + column) * c->y_bytes, rest < COLUMNS ? rest : COLUMNS);
    }
}

#define MAX_LANES 32
#define LEAST_COLUMNS 8 /* with fewer side by side, each goes by itself */
#define DENSE_LOOPS(S, T)                                                                     \
    static inline void keep_larger_##S(T *best, const T *x, int64_t n)                        \
    {                                                                                         \
        HTI_EACH({                                                                            \
            const T v = x[i], old = best[i];                                                  \
            best[i] = k_beats_##S(v, old) ? v : old;                                          \
        });                                                                                   \
    }                                                                                         \
    static void max_columns_##S(const dense_context *c, const void *from, void *to, int64_t n) \
    {                                                                                         \
        const T *x = from;                                                                    \
        memcpy(to, x, (size_t)n * sizeof *x);                                                 \
        for (int64_t k = 1; k < c->n; k++) keep_larger_##S(to, x + k * c->inner, n);          \
    }                                                                                         \
    static void argmax_columns_##S(const dense_context *c, const void *from, void *to, int64_t n) \
    {                                                                                         \
        const T *x = from;                                                                    \
        int32_t *y = to;                                                                      \
        T best[COLUMNS];                                                                      \
        memcpy(best, x, (size_t)n * sizeof *best);                                            \
        memset(y, 0, (size_t)n * sizeof *y);                                                  \
        for (int32_t k = 1; k < c->n; k++) {                                                  \
            x += c->inner;                                                                    \
            HTI_EACH({                                                                        \
                const int beats = k_beats_##S(x[i], best[i]);                                 \
                best[i] = beats ? x[i] : best[i];                                             \
                y[i] = beats ? k : y[i];                                                      \
            });                                                                               \
        }                                                                                     \
    }                                                                                         \
    /* Of zeros and of NaNs the first counts, which lanes do not know. */                     \
    static T max_of_line_##S(const T *x, int64_t n)                                           \
    {                                                                                         \
        if (n < 2 * MAX_LANES) return k_max_##S(x, n, 1);                                     \
        T lane[MAX_LANES];                                                                    \
        memcpy(lane, x, sizeof lane);                                                         \
        for (int64_t at = MAX_LANES; at + MAX_LANES <= n; at += MAX_LANES) keep_larger_##S(lane, x + at, MAX_LANES); \
        keep_larger_##S(lane, x + n - MAX_LANES, MAX_LANES);                                  \
        for (int32_t half = MAX_LANES / 2; half > 0; half /= 2) keep_larger_##S(lane, lane + half, half); \
        int64_t first = 0;                                                                    \
        if (lane[0] < (T)0 || lane[0] > (T)0) return lane[0];                                 \
        while (x[first] != lane[0] && x[first] == x[first]) first++;                          \
        return x[first];                                                                      \
    }                                                                                         \
    static void max_lines_##S(void *context, int64_t begin, int64_t end)                      \
    {                                                                                         \
        const dense_context *c = context;                                                     \
        for (int64_t i = begin; i < end; i++) ((T *)c->y)[i] = max_of_line_##S((const T *)c->x + i * c->n, c->n); \
    }                                                                                         \
    static void argmax_lines_##S(void *context, int64_t begin, int64_t end)                   \
    {                                                                                         \
        const dense_context *c = context;                                                     \
        for (int64_t i = begin; i < end; i++)                                                 \
            ((int32_t *)c->y)[i] = k_argmax_##S((const T *)c->x + i * c->n, c->n, 1);         \
    }
DENSE_LOOPS(f32, float)
DENSE_LOOPS(f64, double)

/* The bodies of one op for a number type: of any strides, of lines and of columns of a row-major x. */
typedef struct line_bodies {
    hti_body any, lines;
    void (*columns)(const dense_context *c, const void *x, void *y, int64_t count);
} line_bodies;

static ht_status run_lines(const hti_run *run, ht_dtype result, line_bodies f32, line_bodies f64)
{
    const hti_tensor *x = &run->in[0], *y = run->out;
    const int64_t axis = ((const hti_axis_attributes *)run->attributes)->axis, outputs = ht_shape_count(y->shape);
    if (y->dtype != result || (x->dtype != HT_F32 && x->dtype != HT_F64)) return HT_EDTYPE;
    const line_bodies body = x->dtype == HT_F32 ? f32 : f64;
    dense_context dense = {.n = x->shape.dim[axis], .inner = 1, .x = x->data, .y = y->data, .columns = body.columns,
                           .x_bytes = ht_dtype_bytes(x->dtype), .y_bytes = ht_dtype_bytes(y->dtype)};
    for (int32_t k = (int32_t)axis + 1; k < x->shape.rank; k++) dense.inner *= x->shape.dim[k];
    dense.tiles = ceiling(dense.inner, COLUMNS);
    const bool columns = dense.inner > 1;
    if (outputs > 0 && (!columns || dense.inner >= LEAST_COLUMNS) && hti_is_row_major(x) && hti_is_row_major(y)) {
        const int64_t tasks = columns ? outputs / dense.inner * dense.tiles : outputs;
        const int64_t work = dense.n * (columns && dense.inner > COLUMNS ? COLUMNS : dense.inner);
        hti_parallel_for(run->threads, tasks, clamp(HTI_GRAIN / work, 1, HTI_GRAIN), columns ? each_columns : body.lines, &dense);
        return HT_OK;
    }
    line_context c = {.n = x->shape.dim[axis], .stride = x->stride[axis], .x = x->data, .y = y->data};
    for (int32_t k = 0; k < y->shape.rank; k++) {
        add_axis(&c.from, y->shape.dim[k], x->stride[k]);
        add_axis(&c.to, y->shape.dim[k], y->stride[k]);
    }
    hti_parallel_for(run->threads, outputs, clamp(HTI_GRAIN / c.n, 1, HTI_GRAIN), body.any, &c);
    return HT_OK;
}
static ht_status run_argmax(const hti_run *run)
{
    return run_lines(run, HT_I32, (line_bodies){argmax_f32, argmax_lines_f32, argmax_columns_f32},
                     (line_bodies){argmax_f64, argmax_lines_f64, argmax_columns_f64});
}
static ht_status run_max_along(const hti_run *run)
{
    return run_lines(run, run->in[0].dtype, (line_bodies){max_f32, max_lines_f32, max_columns_f32},
                     (line_bodies){max_f64, max_lines_f64, max_columns_f64});
}

const hti_kernel hti_cpu_sum_to = {
    .run = run_sum_to, .prepare = prepare_sum_to, .order = HTI_FOLLOW, .views = HTI_ANY_VIEW};
const hti_kernel hti_cpu_argmax = {.run = run_argmax, .order = HTI_ROW_ONLY, .views = HTI_ANY_VIEW};
const hti_kernel hti_cpu_max_along = {.run = run_max_along, .order = HTI_ROW_ONLY, .views = HTI_ANY_VIEW};
