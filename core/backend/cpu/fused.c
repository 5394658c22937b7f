/*
 * Groups of pointwise ops: a register program over tiles. Each op runs over a whole tile with the very loop that it has
 * alone, so bits are the same; registers are pieces of memory that stay in the first cache. Dense inputs and outputs are
 * read and written in place; an input that repeats is pointed into where a tile meets one row of it, else it is copied
 * out, and but once per chunk if it repeats with the tile. While ops compute, they ask for what the next tile will read.
 * Chunks depend on the group alone. Sums over rows are fed while a tile is at hand, in the chunks and the order that they
 * have alone; what only they need is never written.
 */
#include <string.h>

#include "backend/cpu/cpu.h"
#include "backend/cpu/loops.h"

#define TILE_BYTES 4096
/* What eight rows of a sum may take: they are added at once, in more than one tile if they are long. */
#define ROWS_BYTES 32768
/* Least elements per chunk, however many ops there are; most chunks of a group, however large it is. */
#define LEAST_CHUNK 4096
#define MOST_CHUNKS 256

typedef struct operand {
    char *at;
    int64_t stride; /* in elements: 0 or 1 */
} operand;

/* RETURNING: every tile finds the same numbers, which are copied out once per chunk. GATHERED: by gather.c. */
typedef enum input_form { DENSE, SINGLE, RETURNING, WANDERING, GATHERED } input_form;

/* An input with axes merged as far as its own strides allow. */
typedef struct input {
    char *data;
    input_form form;
    int32_t rank;
    int64_t dim[HT_MAX_RANK], stride[HT_MAX_RANK];
    int64_t period; /* its numbers come again after so many; the whole count if they do not */
    bool spread;    /* an op with three inputs reads it: its loop wants stride 1 */
    hti_gather gather;
} input;

typedef struct group_context {
    const hti_group *group;
    int64_t bytes, tile;
    input in[HTI_GROUP_INPUTS];
    hti_span_call call[HTI_GROUP_MEMBERS];
    int64_t grain;      /* elements of a chunk */
    int32_t streams;
    const char *stream[HTI_GROUP_INPUTS]; /* dense inputs */
    const char *ahead[HTI_GROUP_MEMBERS]; /* by member: what it asks for during a tile at offset 0; NULL: nothing */
    int64_t gap[HTI_GROUP_MEMBERS];       /* and another part so far behind; 0: none */
    bool past_cache[HTI_GROUP_MEMBERS];   /* by output */
    hti_row_sum sum;    /* of all sums, if there are any */
    int64_t eight;      /* elements of eight of their rows, or of a piece of a sum over all */
} group_context;

static void merge_input(const hti_group *g, const hti_group_input *from, input *to)
{
    to->form = GATHERED;
    to->period = g->count;
    if (hti_gather_of(g, from, &to->gather)) return;
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
    to->form = to->rank > 1 ? WANDERING : to->stride[0] == 1 ? DENSE : to->stride[0] == 0 ? SINGLE : WANDERING;
    if (to->stride[0] == 0) to->period = g->count / to->dim[0];
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
        hti_pick(to, from, some, stride, bytes);
        to += some * bytes;
        n -= some;
        column = 0;
        hti_walk_next(&walk);
    }
}

/* Where the tile [at, at + n) finds an input that is neither dense nor kept in memory for the whole chunk. */
static operand find(const group_context *c, const input *in, int64_t at, int64_t n, char *memory)
{
    const int32_t inner = in->rank - 1;
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

/* A sum of the member's result; -1 if there is none. */
static int32_t sum_of(const hti_group *g, int32_t member)
{
    int32_t k = g->sums - 1;
    while (k >= 0 && g->sum[k].member != member) k--;
    return k;
}

/* A chunk at work. */
typedef struct worker {
    const group_context *c;
    char *slot;  /* of TILE_BYTES each: registers, then inputs that are not read in place */
    char *rows;  /* of ROWS_BYTES each, by sum: rows that wait for others, eight being longer than a tile; or a piece */
    char *pieces; /* of HTI_SUM_PIECES doubles each, by sum over all: the sums of its pieces */
    operand in[HTI_GROUP_INPUTS], result[HTI_GROUP_MEMBERS];
    hti_span span[HTI_GROUP_MEMBERS];
} worker;

/* Sums of a member take n numbers, with which the tile ends; the first of them is number `at` of the chunk. */
static void add_sums(worker *w, int32_t member, const char *rows, int64_t chunk, int64_t at, int64_t n, bool last)
{
    const group_context *c = w->c;
    for (int32_t k = 0; k < c->group->sums; k++) {
        if (c->group->sum[k].member != member) continue;
        char *to = sums_of(c, &c->group->sum[k], chunk);
        char *pieces = w->pieces + k * HTI_SUM_PIECES * (int64_t)sizeof(double);
        if (c->sum.columns > 1) {
            hti_row_sum_add(c->group->dtype, c->sum.columns, to, rows, n / c->sum.columns);
            continue;
        }
        hti_piece_sum(c->group->dtype, pieces + at / HTI_SUM_PIECE * c->bytes, rows, n);
        if (last) hti_piece_sum(c->group->dtype, to, pieces, at / HTI_SUM_PIECE + 1);
    }
}

static void find_inputs(worker *w, int64_t at, int64_t n, bool first)
{
    for (int32_t k = 0; k < w->c->group->inputs; k++) {
        const input *in = &w->c->in[k];
        char *memory = w->slot + (HTI_GROUP_MEMBERS + k) * TILE_BYTES;
        if (in->form == DENSE) {
            w->in[k] = (operand){in->data + at * w->c->bytes, 1};
        } else if (in->form == WANDERING) {
            w->in[k] = find(w->c, in, at, n, memory);
        } else if (in->form == GATHERED) {
            w->in[k] = (operand){hti_gather_at(&in->gather, at, n, first ? 0 : w->c->tile, memory), 1};
        } else if (first) {
            w->in[k] = in->form == SINGLE ? (operand){in->data, 0} : (operand){memory, 1};
            if (in->form == RETURNING) spread(in, at, n, w->c->bytes, memory);
        }
    }
}

/* What a member asks for while it computes: one or two parts of what the next tile reads, or none. */
static void plan_ahead(group_context *c)
{
    const int64_t part = c->tile / HTI_BLOCK * HTI_LINE, bytes = c->tile * c->bytes;
    for (int32_t m = 0; m < c->group->members && c->streams > 0; m++) {
        const int64_t from = m / c->streams * part, gap = (c->group->members + c->streams - 1) / c->streams * part;
        if (part == 0 || from + part > bytes) continue;
        c->ahead[m] = c->stream[m % c->streams] + from;
        c->gap[m] = from + gap + part <= bytes ? gap : 0;
    }
}

/* Writes a tile to an output, past the caches or in rows that lie apart. */
static void put_rows(const group_context *c, int32_t output, int64_t at, int64_t n, const char *from)
{
    const hti_group_output *to = &c->group->output[output];
    for (int64_t some; n > 0; at += some, n -= some, from += some * c->bytes) {
        const int64_t column = at % to->row;
        char *row = (char *)to->data + (at / to->row * to->step + column) * c->bytes;
        some = to->row - column < n ? to->row - column : n;
        if (c->past_cache[output]) hti_write_past_cache(row, from, (size_t)(some * c->bytes));
        else memcpy(row, from, (size_t)(some * c->bytes));
    }
}

/* The tile [at, at + n) of the chunk that begins at `chunk`; `ahead` more elements come in the next one. */
static void run_tile(worker *w, int64_t chunk, int64_t at, int64_t n, int64_t ahead)
{
    const group_context *c = w->c;
    const int64_t before = c->tile < c->eight ? (at - chunk) % c->eight : 0;
    const bool whole = before + n == c->eight || c->tile >= c->eight || ahead == 0;
    for (int32_t m = 0; m < c->group->members; m++) {
        const hti_member *member = &c->group->member[m];
        hti_span *span = &w->span[m];
        for (int32_t k = 0; k < member->inputs; k++) {
            const int32_t source = member->source[k];
            const operand *from = source >= 0 ? &w->result[source] : &w->in[~source];
            span->at[k + 1] = from->at;
            span->inner[k + 1] = from->stride;
        }
        const int32_t output = ~member->place;
        const hti_group_output *out = output >= 0 ? &c->group->output[output] : NULL;
        const bool later = out && (c->past_cache[output] || out->row != out->step);
        const int32_t sum = c->tile < c->eight && (later || !out) ? sum_of(c->group, m) : -1;
        char *to = sum >= 0      ? w->rows + sum * ROWS_BYTES + before * c->bytes
                   : later       ? w->slot + (c->group->registers + output) * TILE_BYTES
                   : out != NULL ? (char *)out->data + at * c->bytes
                                 : w->slot + member->place * TILE_BYTES;
        w->result[m] = (operand){to, 1};
        span->at[0] = to;
        span->n = n;
        span->ahead = c->ahead[m] && ahead == c->tile ? c->ahead[m] + (at + n) * c->bytes : NULL;
        span->gap = c->gap[m];
        c->call[m].function(span);
        if (later) put_rows(c, output, at, n, to);
        if (whole) add_sums(w, m, to - before * c->bytes, chunk, at - before - chunk, before + n, ahead == 0);
    }
}

static void run_chunk(void *context, int64_t begin, int64_t end)
{
    const group_context *c = context;
    const hti_group *g = c->group;
    _Alignas(64) char memory[(HTI_GROUP_MEMBERS + HTI_GROUP_INPUTS) * TILE_BYTES];
    _Alignas(64) char rows[HTI_GROUP_SUMS * ROWS_BYTES];
    double pieces[HTI_GROUP_SUMS * HTI_SUM_PIECES];
    worker w = {.c = c, .slot = memory, .rows = rows, .pieces = (char *)pieces};
    for (int32_t m = 0; m < g->members; m++) {
        w.span[m].rows = w.span[m].inner[0] = 1;
        w.span[m].p = c->call[m].p;
        w.span[m].q = c->call[m].q;
    }
    for (int32_t k = 0; k < g->sums; k++) memset(sums_of(c, &g->sum[k], begin), 0, (size_t)(c->sum.columns * c->bytes));
    for (int64_t at = begin; at < end; at += c->tile) {
        const int64_t n = end - at < c->tile ? end - at : c->tile, left = end - at - n;
        find_inputs(&w, at, n, at == begin);
        run_tile(&w, begin, at, n, left < c->tile ? left : c->tile);
    }
    hti_end_writes();
}

/* As many elements as a register holds, in whole periods of an input that fits; of sums eights of rows, or a part of one. */
static int64_t tile_of(const group_context *c)
{
    const int64_t most = TILE_BYTES / c->bytes;
    int64_t period = 1, rows = 8;
    while (c->eight / 8 * rows > most) rows /= 2;
    if (c->eight > 0) return rows < 8 ? c->eight / 8 * rows : most / c->eight * c->eight;
    for (int32_t k = 0; k < c->group->inputs; k++)
        if (c->in[k].form == WANDERING && c->in[k].period <= most && c->in[k].period > period) period = c->in[k].period;
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

/* How tiles come by inputs and leave outputs, once tiles and chunks are known. */
static void settle_forms(group_context *c)
{
    const hti_group *g = c->group;
    for (int32_t k = 0; k < g->inputs; k++) {
        input *in = &c->in[k];
        const bool returns = c->tile % in->period == 0 && c->grain % in->period == 0;
        if (in->form == DENSE) c->stream[c->streams++] = in->data;
        if ((in->form == SINGLE && in->spread) || (in->form == WANDERING && returns)) in->form = RETURNING;
    }
    for (int32_t k = 0; k < g->outputs; k++) {
        c->past_cache[k] = g->count * c->bytes >= HTI_PAST_CACHE;
        for (int32_t i = 0; i < c->streams; i++) /* written over an input, whose lines are at hand */
            c->past_cache[k] = c->past_cache[k] && c->stream[i] != g->output[k].data;
    }
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
    const int64_t line = c.sum.columns == 1 ? HTI_SUM_PIECE : c.sum.columns;
    c.eight = c.sum.columns == 1 ? line : 8 * line;
    c.tile = tile_of(&c);
    const int64_t wanted = HTI_GRAIN / group->members > LEAST_CHUNK ? HTI_GRAIN / group->members : LEAST_CHUNK;
    const int64_t grain = wanted > group->count / MOST_CHUNKS ? wanted : group->count / MOST_CHUNKS;
    c.grain = grain < c.tile ? c.tile : grain / c.tile * c.tile;
    if (group->sums > 0) c.grain = c.sum.part * line;
    settle_forms(&c);
    plan_ahead(&c);
    hti_parallel_for(threads, group->count, c.grain, run_chunk, &c);
    for (int32_t k = 0; k < group->sums && c.sum.parts > 1; k++)
        hti_row_sum_parts(group->dtype, &c.sum, group->sum[k].scratch, group->sum[k].output, threads);
    return HT_OK;
}

int64_t hti_cpu_group_sum(const hti_tensor *from, const hti_tensor *to)
{
    hti_row_sum sum;
    const int64_t eight = 8 * (int64_t)ht_dtype_bytes(to->dtype);
    return hti_row_sum_of(from, to, &sum) && sum.columns * eight <= ROWS_BYTES ? sum.columns : 0;
}
