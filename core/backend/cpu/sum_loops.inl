/*
 * The loops of sum_to for one number type: included by reduce.c, like the bodies of kernel/, after its sum_plan.
 */

/* acc[c] += the sum of eight rows, in a tree. */
static void HT_NAME(add_rows)(T *acc, const T *const *row, int64_t n, int64_t stride)
{
    const T *a = row[0], *b = row[1], *c = row[2], *d = row[3], *e = row[4], *f = row[5], *g = row[6], *h = row[7];
    if (stride == 1)
        HTI_EACH(acc[i] += ((a[i] + b[i]) + (c[i] + d[i])) + ((e[i] + f[i]) + (g[i] + h[i])));
    else
        for (int64_t i = 0, j = 0; i < n; i++, j += stride)
            acc[i] += ((a[j] + b[j]) + (c[j] + d[j])) + ((e[j] + f[j]) + (g[j] + h[j]));
}

/* acc[c] += the sums of n neighbouring columns over rows at one distance, as of images channels last. */
static void HT_NAME(add_lines)(T *acc, const T *x, int64_t step, int64_t lines, int64_t n, int64_t stride)
{
    int64_t line = 0;
    for (; line + ROWS <= lines; line += ROWS, x += ROWS * step) {
        const T *row[ROWS];
        for (int32_t k = 0; k < ROWS; k++) row[k] = x + k * step;
        HT_NAME(add_rows)(acc, row, n, stride);
    }
    for (; line < lines; line++, x += step) HTI_EACH(acc[i] += x[i * stride]);
}

/* acc[c] = the sums of n neighbouring columns over `lines` positions of walk. */
static void HT_NAME(sum_columns)(T *acc, const T *x, hti_walk *walk, int64_t lines, int64_t n, int64_t stride)
{
    memset(acc, 0, (size_t)n * sizeof(T));
    int64_t line = 0;
    const T *row[ROWS];
    if (walk->rank == 1) {
        HT_NAME(add_lines)(acc, x + walk->offset, walk->stride[0], lines, n, stride);
        return;
    }
    for (; line + ROWS <= lines; line += ROWS) {
        for (int32_t k = 0; k < ROWS; k++) {
            row[k] = x + walk->offset;
            hti_walk_next(walk);
        }
        HT_NAME(add_rows)(acc, row, n, stride);
    }
    for (; line < lines; line++) {
        const T *last = x + walk->offset;
        HTI_EACH(acc[i] += last[i * stride]);
        hti_walk_next(walk);
    }
}

/* The sum of the pieces [begin, end) of the lines of one output, which are at most MOST_LINES. */
static T HT_NAME(sum_lines)(const sum_plan *plan, const T *x, int64_t begin, int64_t end)
{
    hti_walk walk = plan->reduced;
    hti_walk_to(&walk, begin / plan->pieces);
    int64_t piece = begin % plan->pieces;
    T sum[MOST_LINES];
    for (int64_t i = begin; i < end; i++) {
        const int64_t first = piece * HTI_SUM_PIECE;
        const int64_t n = plan->line - first < HTI_SUM_PIECE ? plan->line - first : HTI_SUM_PIECE;
        const T *from = x + walk.offset + first * plan->line_in;
        sum[i - begin] = plan->line_in == 1 ? HT_NAME(k_line)(from, n, 1) : HT_NAME(k_line)(from, n, plan->line_in);
        if (++piece == plan->pieces) {
            piece = 0;
            hti_walk_next(&walk);
        }
    }
    return HT_NAME(k_line)(sum, end - begin, 1);
}

/* Tasks are numbered [kept position][part][tile of columns]. */
static void HT_NAME(sum_tasks)(void *context, int64_t begin, int64_t end)
{
    const sum_context *c = context;
    const sum_plan *plan = &c->plan;
    for (int64_t task = begin; task < end; task++) {
        const int64_t tile = task % plan->tiles, part = task / plan->tiles % plan->parts;
        const int64_t kept = task / plan->tiles / plan->parts;
        const int64_t column = tile * COLUMNS, first = part * plan->part;
        const int64_t n = plan->columns - column < COLUMNS ? plan->columns - column : COLUMNS;
        const int64_t last = plan->lines - first < plan->part ? plan->lines : first + plan->part;
        const T *x = (const T *)c->from + hti_offset(kept, plan->kept.rank, plan->kept.dim, plan->kept.stride) +
                     column * plan->column_in;
        T acc[COLUMNS];
        if (plan->line > 1) {
            acc[0] = HT_NAME(sum_lines)(plan, x, first, last);
        } else {
            hti_walk walk = plan->reduced;
            hti_walk_to(&walk, first);
            HT_NAME(sum_columns)(acc, x, &walk, last - first, n, plan->column_in);
        }
        T *to = (T *)c->to + part * plan->part_out + column * plan->column_out +
                hti_offset(kept, plan->kept.rank, plan->kept.dim, plan->kept_out);
        const int64_t stride = plan->column_out;
        HTI_EACH(to[i * stride] = acc[i]);
    }
}
