/*
 * Inputs of groups that are parts of larger values, or stand in zeros: a tile of them is copied side by side into a register,
 * plane by plane and row by row, unless it lies side by side where it is. Zeros that the tile before had at the same places
 * are not written again.
 */
#include <string.h>

#include "backend/cpu/cpu.h"
#include "backend/cpu/loops.h"

bool hti_gather_of(const hti_group *group, const hti_group_input *input, hti_gather *g)
{
    *g = (hti_gather){.data = (char *)(uintptr_t)input->data, .bytes = (int64_t)ht_dtype_bytes(group->dtype)};
    bool repeats = false;
    for (int32_t k = 0; k < group->rank; k++) {
        const int64_t dim = group->dim[k], stride = input->stride[k];
        const int32_t last = g->rank - 1;
        repeats = repeats || stride == 0;
        g->padded = g->padded || input->size[k] < dim;
        if (last >= 0 && input->size[k] == dim && g->stride[last] == stride * dim) {
            g->dim[last] *= dim;
            g->first[last] *= dim;
            g->size[last] *= dim;
            g->stride[last] = stride;
            continue;
        }
        g->dim[g->rank] = dim;
        g->stride[g->rank] = stride;
        g->first[g->rank] = input->first[k];
        g->size[g->rank++] = input->size[k];
    }
    const bool dense = g->rank == 0 || (g->rank == 1 && g->stride[0] == 1);
    if (g->rank == 1) { /* rows of one plane */
        g->rank = 2;
        g->dim[1] = g->dim[0], g->stride[1] = g->stride[0], g->first[1] = g->first[0], g->size[1] = g->size[0];
        g->dim[0] = g->size[0] = 1;
        g->stride[0] = g->first[0] = 0;
    }
    bool outer = false;
    for (int32_t k = 0; k < g->rank - 2; k++) {
        outer = outer || g->size[k] < g->dim[k];
        g->planes.dim[k] = g->dim[k];
        g->planes.stride[k] = g->stride[k];
        g->planes.rank = k + 1;
        g->origin += g->first[k] * g->stride[k];
    }
    const int64_t plane = g->rank < 2 ? 0 : g->dim[g->rank - 1] * g->dim[g->rank - 2];
    g->plane = outer ? 0 : plane;
    return g->padded || !(repeats || dense);
}

#define PICK(T)                                                    \
    {                                                              \
        const T *x = (const void *)from, first = *x;               \
        T *y = (void *)to;                                         \
        if (stride == 0) HTI_EACH(y[i] = first);                   \
        else for (int64_t i = 0; i < n; i++) y[i] = x[i * stride]; \
    }

void hti_pick(char *to, const char *from, int64_t n, int64_t stride, int64_t bytes)
{
    if (stride == 1) memcpy(to, from, (size_t)(n * bytes));
    else if (bytes == 4) PICK(float)
    else PICK(double)
}

typedef struct range {
    int64_t begin, end;
} range;

/* Of [begin, begin + n) along an axis, what is there. */
static range there(const hti_gather *g, int32_t axis, int64_t begin, int64_t n)
{
    const int64_t first = g->first[axis], behind = first + g->size[axis];
    return (range){begin > first ? begin : first, begin + n < behind ? begin + n : behind};
}

/* What of a space is copied at once: so many planes, of each some rows, of each some columns. */
typedef struct part {
    int64_t plane, line, column; /* where it begins; plane: its offset */
    int64_t planes, lines, columns;
} part;

/* To memory where the part is dense. */
static void copy_part(const hti_gather *g, const part *p, char *to)
{
    const int32_t row = g->rank - 1;
    const range r = there(g, row - 1, p->line, p->lines), c = there(g, row, p->column, p->columns);
    if (r.begin >= r.end || c.begin >= c.end) return;
    const int64_t stride = g->stride[row], step = g->stride[row - 1], plane = row > 1 ? g->stride[row - 2] : 0;
    hti_rows copy = {.to = to + ((r.begin - p->line) * p->columns + c.begin - p->column) * g->bytes, .planes = p->planes,
                     .rows = r.end - r.begin, .bytes = (c.end - c.begin) * g->bytes,
                     .from_plane = plane * g->bytes, .to_plane = p->lines * p->columns * g->bytes,
                     .from_step = step * g->bytes, .to_step = p->columns * g->bytes};
    copy.from = g->data + (p->plane + (r.begin - g->first[row - 1]) * step + (c.begin - g->first[row]) * stride) * g->bytes;
    if (stride == 1) {
        hti_copy_rows(&copy);
        return;
    }
    for (int64_t i = 0; i < p->planes * copy.rows; i++) {
        const int64_t line = i % copy.rows, at = i / copy.rows;
        hti_pick(copy.to + at * copy.to_plane + line * copy.to_step, copy.from + at * copy.from_plane + line * copy.from_step,
             c.end - c.begin, stride, g->bytes);
    }
}

/* How many planes of at most `most` follow at one distance from the walk's position, all of them there or none. */
static int64_t planes_from(const hti_gather *g, const hti_walk *walk, int64_t most, bool *inside)
{
    const int32_t last = walk->rank - 1;
    *inside = true;
    for (int32_t k = 0; k < walk->rank; k++)
        *inside = *inside && walk->at[k] >= g->first[k] && walk->at[k] < g->first[k] + g->size[k];
    if (last < 0 || most <= 1) return 1;
    const int64_t at = walk->at[last], first = g->first[last], behind = first + g->size[last];
    const int64_t end = at < first ? first : at < behind ? behind : walk->dim[last];
    return end - at < most ? end - at : most;
}

char *hti_gather_at(const hti_gather *g, int64_t at, int64_t n, int64_t before, char *memory)
{
    const int32_t row = g->rank - 1;
    const int64_t length = g->dim[row], lines = g->dim[row - 1];
    int64_t index = at / length, column = at - index * length, plane = index / lines, line = index - plane * lines;
    hti_walk walk = g->planes;
    hti_walk_to(&walk, plane);
    if (!g->padded && column + n <= length && g->stride[row] == 1)
        return g->data + (walk.offset + line * g->stride[row - 1] + column) * g->bytes;
    const bool zeros_stay = g->plane > 0 && before > 0 && before % g->plane == 0 && at % g->plane == 0;
    if (g->padded && !zeros_stay) memset(memory, 0, (size_t)(n * g->bytes));
    for (char *to = memory; n > 0;) {
        bool inside;
        part p = {.line = line, .column = column, .lines = 1, .columns = length};
        if (column > 0 || n < length) p.columns = length - column < n ? length - column : n;
        else p.lines = lines - line < n / length ? lines - line : n / length;
        p.planes = planes_from(g, &walk, p.lines == lines && p.columns == length ? n / (lines * length) : 1, &inside);
        p.plane = walk.offset - g->origin;
        if (inside) copy_part(g, &p, to);
        to += p.planes * p.lines * p.columns * g->bytes;
        n -= p.planes * p.lines * p.columns;
        column = column + p.columns < length ? column + p.columns : 0;
        line += column == 0 ? p.lines : 0;
        if (line < lines) continue;
        line = 0;
        if (p.planes > 1) {
            walk.at[walk.rank - 1] += p.planes - 1;
            walk.offset += (p.planes - 1) * walk.stride[walk.rank - 1];
        }
        hti_walk_next(&walk);
    }
    return memory;
}
