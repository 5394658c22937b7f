/*
 * Groups of pointwise ops: a register program over tiles. Each op runs over a whole tile with the very loop that it has
 * alone, so bits are the same; registers are pieces of memory that stay in the first cache. Dense inputs and outputs are
 * read and written in place; an input that repeats is pointed into where a tile meets one row of it, else it is copied
 * out, and but once per chunk if it repeats with the tile. Chunks depend on the group alone. Sums over rows are fed while
 * a tile is at hand, in the chunks and the order that they have alone; what only they need is never written.
 */
#include <string.h>

#include "backend/cpu/cpu.h"
#include "backend/cpu/loops.h"

#define TILE_BYTES 4096
/* Least elements per chunk, however many ops there are. */
#define LEAST_CHUNK 4096

typedef struct operand {
    char *at;
    int64_t stride; /* in elements: 0 or 1 */
} operand;

typedef enum input_form { DENSE, SINGLE, REPEATED } input_form;

/* An input with axes merged as far as its own strides allow. */
typedef struct input {
    char *data;
    input_form form;
    int32_t rank;
    int64_t dim[HT_MAX_RANK], stride[HT_MAX_RANK];
    int64_t period; /* its numbers come again after so many; the whole count if they do not */
    bool spread;    /* an op with three inputs reads it: its loop wants stride 1 */
    bool gathered;  /* it goes by `gather` alone */
    hti_gather gather;
} input;

typedef struct group_context {
    const hti_group *group;
    int64_t bytes, tile;
    input in[HTI_GROUP_INPUTS];
    hti_span_call call[HTI_GROUP_MEMBERS];
    int64_t grain;      /* elements of a chunk */
    hti_row_sum sum;    /* of all sums, if there are any */
} group_context;

static void merge_input(const hti_group *g, const hti_group_input *from, input *to)
{
    to->gathered = hti_gather_of(g, from, &to->gather);
    to->period = g->count;
    if (to->gathered) return;
    for (int32_t k = 0; k < g->rank; k++) {
        const int32_t last = to->rank - 1;
        if (last >= 0 && to->stride[last] == from->stride[k] * g->dim[k]) {
            to->dim[last] *= g->dim[k];
            to->stride[last] = from->stride[k];
            continue;
        }
        to->dim[to->rank] = g->dim[k];
        to->stride[to->rank++] = from->stride[k];
    }
    if (to->rank == 0) to->dim[to->rank++] = 1; /* one number: stride 0 */
    to->data = (char *)(uintptr_t)from->data;
    to->form = to->rank > 1 ? REPEATED : to->stride[0] == 1 ? DENSE : to->stride[0] == 0 ? SINGLE : REPEATED;
    if (to->stride[0] == 0) to->period = g->count / to->dim[0];
}

/* One number n times. */
static void fill(char *to, const char *from, int64_t n, int64_t bytes)
{
    if (bytes == 4) {
        const float number = *(const float *)from;
        HTI_EACH(((float *)to)[i] = number);
    } else {
        const double number = *(const double *)from;
        HTI_EACH(((double *)to)[i] = number);
    }
}

/* Copies the numbers [at, at + n) of an input into a register. */
static void spread(const input *in, int64_t at, int64_t n, int64_t bytes, char *to)
{
    hti_walk walk = {.rank = in->rank - 1};
    const int64_t row = in->dim[in->rank - 1], stride = in->stride[in->rank - 1];
    memcpy(walk.dim, in->dim, sizeof walk.dim);
    memcpy(walk.stride, in->stride, sizeof walk.stride);
    hti_walk_to(&walk, at / row);
    int64_t column = at % row;
    while (n > 0) {
        const int64_t some = row - column < n ? row - column : n;
        const char *from = in->data + (walk.offset + column * stride) * bytes;
        if (stride == 1) memcpy(to, from, (size_t)(some * bytes));
        else if (stride == 0) fill(to, from, some, bytes);
        else if (bytes == 4)
            for (int64_t i = 0; i < some; i++) ((float *)to)[i] = ((const float *)from)[i * stride];
        else
            for (int64_t i = 0; i < some; i++) ((double *)to)[i] = ((const double *)from)[i * stride];
        to += some * bytes;
        n -= some;
        column = 0;
        hti_walk_next(&walk);
    }
}

/* Where the tile [at, at + n) finds an input. */
static operand find(const group_context *c, const input *in, int64_t at, int64_t n, bool first, char *memory)
{
    if (in->gathered) return (operand){hti_gather_at(&in->gather, at, n, first ? 0 : c->tile, memory), 1};
    const int32_t inner = in->rank - 1;
    const bool returns = c->tile % in->period == 0 && c->grain % in->period == 0;
    if (in->form == DENSE) return (operand){in->data + at * c->bytes, 1};
    if (in->form == SINGLE && !in->spread) return (operand){in->data, 0};
    if (returns) {
        if (first) spread(in, at, n, c->bytes, memory);
        return (operand){memory, 1};
    }
    const int64_t row = in->dim[inner], stride = in->stride[inner];
    if (at % row + n <= row && (stride == 1 || (stride == 0 && !in->spread))) {
        const int64_t offset = hti_offset(at / row, inner, in->dim, in->stride) + at % row * stride;
        return (operand){in->data + offset * c->bytes, stride};
    }
    spread(in, at, n, c->bytes, memory);
    return (operand){memory, 1};
}

/* Where the sums of the chunk that begins at `at` are collected. */
static char *sums_of(const group_context *c, const hti_group_sum *sum, int64_t at)
{
    char *parts = c->sum.parts > 1 ? sum->scratch : sum->output;
    return parts + at / c->grain * c->sum.columns * c->bytes;
}

static void add_sums(const group_context *c, int32_t member, const char *tile, int64_t chunk, int64_t n)
{
    for (int32_t k = 0; k < c->group->sums; k++)
        if (c->group->sum[k].member == member)
            hti_row_sum_add(c->group->dtype, c->sum.columns, sums_of(c, &c->group->sum[k], chunk), tile, n / c->sum.columns);
}

static void run_chunk(void *context, int64_t begin, int64_t end)
{
    const group_context *c = context;
    const hti_group *g = c->group;
    _Alignas(64) char memory[HTI_GROUP_MEMBERS + HTI_GROUP_INPUTS][TILE_BYTES];
    operand in[HTI_GROUP_INPUTS], result[HTI_GROUP_MEMBERS];
    for (int32_t k = 0; k < g->sums; k++) memset(sums_of(c, &g->sum[k], begin), 0, (size_t)(c->sum.columns * c->bytes));
    for (int64_t at = begin; at < end; at += c->tile) {
        const int64_t n = end - at < c->tile ? end - at : c->tile;
        for (int32_t k = 0; k < g->inputs; k++)
            in[k] = find(c, &c->in[k], at, n, at == begin, memory[HTI_GROUP_MEMBERS + k]);
        for (int32_t m = 0; m < g->members; m++) {
            const hti_member *member = &g->member[m];
            hti_span span = {.n = n, .rows = 1, .p = c->call[m].p, .q = c->call[m].q};
            for (int32_t k = 0; k < member->inputs; k++) {
                const int32_t source = member->source[k];
                const operand from = source >= 0 ? result[source] : in[~source];
                span.at[k + 1] = from.at;
                span.inner[k + 1] = from.stride;
            }
            char *to = member->place >= 0 ? memory[member->place] : (char *)g->output[~member->place] + at * c->bytes;
            result[m] = (operand){to, 1};
            span.at[0] = to;
            span.inner[0] = 1;
            c->call[m].function(&span);
            add_sums(c, m, to, begin, n);
        }
    }
}

/* As many elements as a register holds, in whole periods of an input that fits; of sums in whole eights of rows. */
static int64_t tile_of(const group_context *c)
{
    const int64_t most = TILE_BYTES / c->bytes;
    if (c->group->sums > 0) return most / (8 * c->sum.columns) * (8 * c->sum.columns);
    int64_t period = 1;
    for (int32_t k = 0; k < c->group->inputs; k++)
        if (c->in[k].form == REPEATED && c->in[k].period <= most && c->in[k].period > period) period = c->in[k].period;
    return most / period * period;
}

/* As of a matrix: sum_to merges all axes but that of the columns. */
static hti_row_sum row_sum_of(const hti_group *group)
{
    const int64_t lines = group->count / group->columns;
    const hti_tensor from = {.dtype = group->dtype, .shape = HT_SHAPE(lines, group->columns), .stride = {group->columns, 1}};
    const hti_tensor to = {.dtype = group->dtype, .shape = HT_SHAPE(1, group->columns), .stride = {group->columns, 1}};
    hti_row_sum sum;
    (void)hti_row_sum_of(&from, &to, &sum);
    return sum;
}

ht_status hti_cpu_group(const hti_group *group, int32_t threads)
{
    group_context c = {.group = group, .bytes = (int64_t)ht_dtype_bytes(group->dtype)};
    for (int32_t k = 0; k < group->inputs; k++) merge_input(group, &group->input[k], &c.in[k]);
    for (int32_t m = 0; m < group->members; m++) {
        const hti_member *member = &group->member[m];
        c.call[m] = member->kernel->pointwise->choose(member->attributes, group->dtype);
        if (!c.call[m].function) return HT_EDTYPE;
        for (int32_t k = 0; member->inputs > 2 && k < member->inputs; k++)
            if (member->source[k] < 0) c.in[~member->source[k]].spread = true;
    }
    if (group->sums > 0) c.sum = row_sum_of(group);
    c.tile = tile_of(&c);
    const int64_t wanted = HTI_GRAIN / group->members > LEAST_CHUNK ? HTI_GRAIN / group->members : LEAST_CHUNK;
    c.grain = wanted / c.tile * c.tile;
    if (c.grain < c.tile) c.grain = c.tile;
    if (group->sums > 0) c.grain = c.sum.part * c.sum.columns;
    hti_parallel_for(threads, group->count, c.grain, run_chunk, &c);
    for (int32_t k = 0; k < group->sums && c.sum.parts > 1; k++)
        hti_row_sum_parts(group->dtype, &c.sum, group->sum[k].scratch, group->sum[k].output, threads);
    return HT_OK;
}

int64_t hti_cpu_group_sum(const hti_tensor *from, const hti_tensor *to)
{
    hti_row_sum sum;
    const int64_t eight = 8 * (int64_t)ht_dtype_bytes(to->dtype);
    return hti_row_sum_of(from, to, &sum) && sum.columns * eight <= TILE_BYTES ? sum.columns : 0;
}
