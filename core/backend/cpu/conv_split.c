/*
 * Convolution and its data gradient on the matrix unit, f32: sums of products of bf16 parts (split.h). Both gather: result
 * place p takes source places (p + offset) step + phase, one offset and phase for each tap. A data gradient of step s has
 * s x s kinds of result places, each with taps of its own; the source of a convolution of step s lies as s x s images, so
 * that a tap is an address in all cases. A task is a band of rows of the result and a part of its channels. The order of sums
 * is fixed by the problem: bits do not depend on threads.
 */
#include "backend/cpu/conv.h"
#include "backend/cpu/loops.h"
#include "backend/cpu/split.h"

#ifdef HT_AMX

#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/internal.h"

enum {
    SIDE = HTI_SPLIT_SIDE,
    LANES = HTI_SPLIT_LANES,
    LINE = HTI_SPLIT_LINE,
    PARTS = HTI_SPLIT_PARTS,
    BAND_BYTES = 1 << 20,     /* of the source's parts: they stay in the second cache */
    MOST_TAPS = 256,
    MOST_KINDS = 16,          /* of result places */
    TASKS = 2,                /* for each thread, at least */
    LEAST_PLACES = 64,        /* over all images */
    FEW_PLACES = 512,         /* up to which so many weights are read as they lie: packing takes as long as using them */
    MANY_WEIGHTS = 1 << 22,
    LEAST_REUSE = 128,        /* products that a number of the source is part of: below it, splitting takes too long */
    LEAST_REUSE_ALONE = 160,  /* where there is one tap, so that others gather nothing */
    FORWARD_KEY = 0xA311, INPUT_KEY = 0xA312
};

/* Along the two axes of an image. */
typedef struct axes {
    int64_t row, column;
} axes;

/* One kind of result places: (p result_step + first). */
typedef struct kind {
    axes first;
    int64_t taps, packed;     /* packed: where its weights begin, in bytes, among those of all or of a chunk */
    int64_t tap[MOST_TAPS];   /* of the kernel */
    int64_t at[MOST_TAPS];    /* where the tap begins in a block of 32 channels of the band, in bytes */
} kind;

typedef struct split_state {
    int64_t batch, taps, kinds;
    int64_t channels, filters;   /* of the source and the result */
    int64_t channel_blocks, filter_blocks, chunk; /* chunk: blocks of channels that are summed at a time */
    int64_t channel_step, filter_step, turned; /* in w; channels that are turned at a time, to stay in the first cache */
    axes source, result, places; /* sizes; of the grid of places of one kind */
    axes source_step, result_step;
    axes origin, reach;          /* of the padded source; the largest offsets */
    int64_t width;               /* of the rows in a band */
    int64_t rows, images, bands_of_image, bands; /* rows of places and images of a band */
    int64_t image_lines, block_bytes, part_bytes; /* of a band: lines of one image; bytes of 32 channels, of one part */
    int64_t tiles;               /* of 16 places in a band, at most */
    bool lies;                   /* weights are read as they lie, and packed where they are used */
    bool past_cache;             /* the result, which is written once */
    int64_t weight_bytes;        /* packed, or in the scratch of a task */
    size_t table_bytes, task_bytes;
    kind kind[];
} split_state;

/* ---- planning ---- */

/* The tap's phase and offset along an axis of a forward convolution; of a data gradient its kind and offset. */
typedef struct reached {
    int64_t phase, offset;
} reached;

static reached reach_of(const hti_conv_problem *p, int32_t axis, int64_t tap)
{
    const hti_conv_frame *f = &p->frame;
    const int64_t step = f->step[axis], at = tap * f->dilation[axis];
    if (p->face == HTI_CONV_FORWARD) return (reached){at % step, at / step};
    /* x at q step + first is reached from y at q + offset, where first + pad - at = offset step. */
    const int64_t first = ((at - f->pad[axis]) % step + step) % step;
    return (reached){first, (first + f->pad[axis] - at) / step};
}

/* The least offset of the axis, which becomes 0, and the largest one then. */
static void find_reach(const hti_conv_problem *p, int32_t axis, int64_t *least, int64_t *most)
{
    *least = INT64_MAX;
    *most = INT64_MIN;
    for (int64_t t = 0; t < p->frame.kernel[axis]; t++) {
        const int64_t offset = reach_of(p, axis, t).offset;
        if (offset < *least) *least = offset;
        if (offset > *most) *most = offset;
    }
    *most -= *least;
}

/* Rounded up to whole blocks. */
static int64_t whole(int64_t channels) { return (channels + SIDE - 1) / SIDE * SIDE; }

static bool pays(const hti_conv_problem *p)
{
    const hti_conv_frame *f = &p->frame;
    const int64_t taps = f->kernel[1] * f->kernel[2], kinds = f->step[1] * f->step[2];
    const bool forward = p->face == HTI_CONV_FORWARD;
    const int64_t from = forward ? f->channels : f->filters, to = forward ? f->filters : f->channels;
    if (p->face == HTI_CONV_TO_WEIGHT || p->dtype != HT_F32 || !p->usual || p->direct || p->rounded || p->axes != 2) return false;
    if (f->groups != 1 || taps > MOST_TAPS || kinds > MOST_KINDS || 3 * from * to < 2 * whole(from) * whole(to)) return false;
    return f->batch * f->out[1] * f->out[2] >= LEAST_PLACES &&
           taps * to / (forward ? kinds : 1) >= (taps > 1 ? LEAST_REUSE : LEAST_REUSE_ALONE);
}

static void read_shape(split_state *s, const hti_conv_problem *p)
{
    const hti_conv_frame *f = &p->frame;
    const axes image = {f->image[1], f->image[2]}, out = {f->out[1], f->out[2]}, step = {f->step[1], f->step[2]};
    const bool forward = p->face == HTI_CONV_FORWARD;
    const int64_t taps = f->kernel[1] * f->kernel[2];
    axes least;
    s->batch = f->batch;
    s->taps = taps;
    s->channels = forward ? f->channels : f->filters;
    s->filters = forward ? f->filters : f->channels;
    s->channel_step = forward ? taps : f->channels * taps;
    s->filter_step = forward ? f->channels * taps : taps;
    for (s->turned = LANES / 2; s->turned > 2 && s->turned * taps > MOST_TAPS;) s->turned /= 2;
    s->channel_blocks = (s->channels + SIDE - 1) / SIDE;
    s->filter_blocks = (s->filters + SIDE - 1) / SIDE;
    s->source = forward ? image : out;
    s->result = forward ? out : image;
    s->source_step = forward ? step : (axes){1, 1};
    s->result_step = forward ? (axes){1, 1} : step;
    s->places.row = (s->result.row + s->result_step.row - 1) / s->result_step.row;
    s->places.column = (s->result.column + s->result_step.column - 1) / s->result_step.column;
    find_reach(p, 1, &least.row, &s->reach.row);
    find_reach(p, 2, &least.column, &s->reach.column);
    s->origin = forward ? (axes){-f->pad[1], -f->pad[2]} : least;
    s->kinds = s->result_step.row * s->result_step.column;
    s->lies = s->channels * s->filters * taps >= MANY_WEIGHTS && f->batch * f->out[1] * f->out[2] <= FEW_PLACES;
}

/* Which taps each kind of places has; the most of any. */
static int64_t sort_taps(split_state *s, const hti_conv_problem *p)
{
    const bool forward = p->face == HTI_CONV_FORWARD;
    int64_t most = 0;
    for (int64_t k = 0; k < s->kinds; k++)
        s->kind[k].first = (axes){k / s->result_step.column, k % s->result_step.column};
    for (int64_t t = 0; t < s->taps; t++) {
        const int64_t row = reach_of(p, 1, t / p->frame.kernel[2]).phase, column = reach_of(p, 2, t % p->frame.kernel[2]).phase;
        kind *k = &s->kind[forward ? 0 : row * s->result_step.column + column];
        k->tap[k->taps++] = t;
        if (most < k->taps) most = k->taps;
    }
    return most;
}

/* How much of the result a band holds, and where things lie in its scratch. */
static void cut_bands(split_state *s, int64_t most_taps)
{
    const int64_t phases = s->source_step.row * s->source_step.column;
    s->chunk = HTI_SPLIT_STEPS / most_taps;
    if (s->chunk < 1) s->chunk = 1;
    const int64_t chunks = (s->channel_blocks + s->chunk - 1) / s->chunk;
    s->chunk = (s->channel_blocks + chunks - 1) / chunks;
    s->width = s->places.column + s->reach.column;
    const int64_t row_bytes = phases * s->width * LINE * PARTS * s->chunk;
    s->rows = BAND_BYTES / row_bytes - s->reach.row;
    if (s->rows < 1) s->rows = 1;
    if (s->rows > s->places.row) s->rows = s->places.row;
    s->bands_of_image = (s->places.row + s->rows - 1) / s->rows;
    s->rows = (s->places.row + s->bands_of_image - 1) / s->bands_of_image;
    s->image_lines = phases * (s->rows + s->reach.row) * s->width;
    s->images = s->bands_of_image > 1 ? 1 : BAND_BYTES / (s->image_lines * LINE * PARTS * s->chunk);
    if (s->images < 1) s->images = 1;
    if (s->images > s->batch) s->images = s->batch;
    s->bands = (s->batch + s->images - 1) / s->images * s->bands_of_image;
    s->block_bytes = (s->images * s->image_lines + SIDE) * LINE; /* tiles may reach behind the last image */
    s->part_bytes = s->block_bytes * s->chunk;
    const int64_t flat = (s->rows * s->width + LANES - 1) / LANES;
    const int64_t by_rows = s->rows * ((s->places.column + LANES - 1) / LANES);
    s->tiles = s->images * (s->places.column < LANES ? flat : by_rows) + 1;
    s->table_bytes = hti_lines((size_t)(s->tiles * (LANES + 1)) * sizeof(int64_t));
    s->past_cache = chunks == 1 && s->filters % SIDE == 0 &&
                    s->batch * s->result.row * s->result.column * s->filters >= HTI_PAST_CACHE / (int64_t)sizeof(float);
    s->task_bytes = (size_t)(s->part_bytes * PARTS) + s->table_bytes * (size_t)s->kinds;
}

/* Where taps begin in a block of channels of a band. */
static void place_taps(split_state *s, const hti_conv_problem *p)
{
    const bool forward = p->face == HTI_CONV_FORWARD;
    const axes least = forward ? (axes){0, 0} : s->origin;
    for (int64_t k = 0; k < s->kinds; k++)
        for (int64_t i = 0; i < s->kind[k].taps; i++) {
            const int64_t tap = s->kind[k].tap[i];
            const reached row = reach_of(p, 1, tap / p->frame.kernel[2]), column = reach_of(p, 2, tap % p->frame.kernel[2]);
            const int64_t phase = forward ? row.phase * s->source_step.column + column.phase : 0;
            const int64_t line = (phase * (s->rows + s->reach.row) + row.offset - least.row) * s->width;
            s->kind[k].at[i] = (line + column.offset - least.column) * LINE;
        }
}

static void choose_packing(const split_state *s, const hti_conv_problem *p, hti_choice *choice)
{
    choice->packed_bytes[1] = (size_t)s->weight_bytes;
    choice->packed_key[1] = FORWARD_KEY;
    if (p->face == HTI_CONV_FORWARD) return;
    choice->packed_key[1] = hti_hash(INPUT_KEY, p->frame.step, sizeof p->frame.step); /* and what else sorts taps by kinds */
    choice->packed_key[1] = hti_hash(choice->packed_key[1], p->frame.pad, sizeof p->frame.pad);
    choice->packed_key[1] = hti_hash(choice->packed_key[1], p->frame.dilation, sizeof p->frame.dilation);
}

static ht_status prepare_split(const hti_conv_problem *p, void **own, hti_choice *choice)
{
    if (!pays(p) || !hti_split_runs()) return HT_EUNSUPPORTED;
    const int64_t kinds = p->face == HTI_CONV_FORWARD ? 1 : p->frame.step[1] * p->frame.step[2];
    split_state *s = calloc(1, sizeof *s + (size_t)kinds * sizeof s->kind[0]);
    if (!s) return HT_ENOMEM;
    read_shape(s, p);
    cut_bands(s, sort_taps(s, p));
    place_taps(s, p);
    for (int64_t k = 0; k < kinds; k++) {
        s->kind[k].packed = s->weight_bytes;
        s->weight_bytes += (s->lies ? s->chunk : s->filter_blocks * s->channel_blocks) * s->kind[k].taps * HTI_SPLIT_STEP;
    }
    if (s->lies) s->task_bytes += (size_t)s->weight_bytes;
    else choose_packing(s, p, choice);
    choice->scratch_bytes = s->task_bytes * (size_t)p->threads;
    choice->algorithm = s->lies ? "split amx, weights as they lie" : "split amx";
    *own = s;
    return HT_OK;
}

/* ---- packing weights ---- */

typedef struct packing {
    const split_state *s;
    const float *w;
    char *to;
    bool past_cache;
} packing;

/* Steps of one block of filters and one of channels, of all kinds: packed [kind][place][tap]. Channels that lie one after the
 * other are turned as one row. */
static void pack_block(const packing *j, int64_t filter_block, int64_t channel_block, int64_t place)
{
    const split_state *s = j->s;
    const int64_t some = s->turned, merged = s->channel_step == s->taps ? some : 1;
    const int64_t ahead = merged > 1 ? merged * s->taps : 4 * s->channel_step;
    _Alignas(64) float turned[2 * MOST_TAPS + LANES][LANES];
    for (int64_t at = 0; at < 2 * SIDE; at += some) {
        const int64_t half = at / SIDE * LANES, first = at % SIDE, filter = filter_block * SIDE + half;
        for (int64_t c = 0; c < some; c += merged) {
            const int64_t channel = channel_block * SIDE + first + c;
            const int64_t there = s->channels - channel < merged ? s->channels - channel : merged;
            const float *from = j->w + channel * s->channel_step + filter * s->filter_step;
            for (int64_t t = 0; t < merged * s->taps; t += LANES)
                hti_split_turn(from + t, ahead, s->filter_step, s->filters - filter, there * s->taps - t,
                               turned[c * s->taps + t], LANES);
        }
        for (int64_t i = 0; i < s->kinds; i++) {
            const kind *k = &s->kind[i];
            char *to = j->to + k->packed + place * k->taps * HTI_SPLIT_STEP + (half + first / 2) * LINE;
            for (int64_t t = 0; t < k->taps; t++)
                hti_split_weights(turned[k->tap[t]], s->taps * LANES, some / 2, to + t * HTI_SPLIT_STEP, j->past_cache);
        }
    }
}

/* In the order in which w lies. */
static void pack_blocks(void *context, int64_t begin, int64_t end)
{
    const packing *j = context;
    const split_state *s = j->s;
    const bool forward = s->channel_step == s->taps;
    for (int64_t i = begin; i < end; i++) {
        const int64_t filter = forward ? i / s->channel_blocks : i % s->filter_blocks;
        const int64_t channel = forward ? i % s->channel_blocks : i / s->filter_blocks;
        pack_block(j, filter, channel, filter * s->channel_blocks + channel);
    }
    hti_end_writes();
}

static ht_status pack_split(const void *own, const hti_conv_problem *p, const hti_tensor *from, void *packed, int32_t threads)
{
    const split_state *s = own;
    packing j = {.s = s, .w = from->data, .to = packed, .past_cache = s->weight_bytes >= HTI_PAST_CACHE};
    (void)p;
    hti_parallel_for(threads, s->filter_blocks * s->channel_blocks, 1, pack_blocks, &j);
    return HT_OK;
}

/* ---- running ---- */

/* What one task works on, and where its scratch is. */
typedef struct band {
    const split_state *s;
    int64_t image, images, row, rows; /* of the grid of places */
    char *parts, *weights;
    int64_t *tables, tiles;           /* see tile_of and places_of */
} band;

/* Tables of one kind: of each tile its first line in the band; of each place its number in the result, or -1. */
static int64_t *tile_of(const band *b, int64_t number, int64_t tile)
{
    return b->tables + number * (int64_t)(b->s->table_bytes / sizeof(int64_t)) + tile;
}

static int64_t *places_of(const band *b, int64_t number, int64_t tile) { return tile_of(b, number, b->s->tiles + tile * LANES); }

/* The lines of one row of one phase, for 32 channels. */
static void split_row(const band *b, const float *image, int64_t row, int64_t phase, int64_t count, char *to)
{
    const split_state *s = b->s;
    const int64_t step = s->source_step.column, first = phase + s->origin.column; /* column of the first line */
    int64_t low = first >= 0 ? 0 : (-first + step - 1) / step, high = (s->source.column - first + step - 1) / step;
    if (row < 0 || row >= s->source.row || high < 0) high = 0;
    if (high > s->width) high = s->width;
    if (low > high) low = high;
    hti_split_zeros(to, low, s->part_bytes);
    if (high > low)
        hti_split_rows(image + (row * s->source.column + first + low * step) * s->channels, step * s->channels, high - low,
                       count, to + low * LINE, s->part_bytes);
    hti_split_zeros(to + high * LINE, s->width - high, s->part_bytes);
}

/* The parts of channels of the source that the band reads. */
static void split_source(const band *b, const float *source, int64_t block, int64_t blocks)
{
    const split_state *s = b->s;
    const int64_t height = s->rows + s->reach.row, phases = s->source_step.column;
    for (int64_t n = 0; n < b->images; n++)
        for (int64_t phase = 0; phase < s->source_step.row * phases; phase++)
            for (int64_t i = 0; i < b->rows + s->reach.row; i++)
                for (int64_t k = 0; k < blocks; k++) {
                    const int64_t channel = (block + k) * SIDE;
                    const float *image = source + (b->image + n) * s->source.row * s->source.column * s->channels + channel;
                    split_row(b, image, (b->row + i) * s->source_step.row + phase / phases + s->origin.row, phase % phases,
                              s->channels - channel,
                              b->parts + k * s->block_bytes + (n * s->image_lines + (phase * height + i) * s->width) * LINE);
                }
}

/* Tiles of 16 places for results of one kind: along rows, the last one of a row over places of the one before; or, of narrow
 * images, over all lines, with those between rows. */
static void find_tiles(band *b, int64_t number)
{
    const split_state *s = b->s;
    const axes offset = s->kind[number].first;
    const bool flat = s->places.column < LANES;
    const int64_t rows = flat ? 1 : b->rows, width = flat ? (b->rows - 1) * s->width + s->places.column : s->places.column;
    b->tiles = 0;
    for (int64_t n = 0; n < b->images; n++)
        for (int64_t r = 0; r < rows; r++)
            for (int64_t next = 0; next < width; next += LANES) {
                const int64_t first = flat || next + LANES <= width ? next : width - LANES;
                int64_t *place = places_of(b, number, b->tiles);
                *tile_of(b, number, b->tiles++) = n * s->image_lines + r * s->width + first;
                for (int64_t i = 0; i < LANES; i++) {
                    const int64_t row = (b->row + (flat ? (first + i) / s->width : r)) * s->result_step.row + offset.row;
                    const int64_t at = flat ? (first + i) % s->width : first + i;
                    const int64_t column = at * s->result_step.column + offset.column;
                    const bool there = first + i >= next && first + i < width && at < s->places.column && row < s->result.row &&
                                       column < s->result.column;
                    place[i] = there ? ((b->image + n) * s->result.row + row) * s->result.column + column : -1;
                }
            }
}

/* Puts or adds a block of sums where it belongs. */
static void put(const split_state *s, const int64_t place[SIDE], int64_t rows, int64_t filter, bool add, const float *sum,
                float *result)
{
    const int64_t count = s->filters - filter < SIDE ? s->filters - filter : SIDE;
    for (int64_t i = 0; i < rows; i++) {
        const float *from = sum + i / LANES * 2 * LANES * LANES + i % LANES * LANES;
        float *to = result + place[i] * s->filters + filter;
        if (place[i] < 0) continue;
        if (s->past_cache)
            for (int64_t k = 0; k < SIDE; k += LANES)
                hti_write_past_cache((char *)(to + k), (const char *)(from + k * LANES), LINE);
        else if (count == SIDE && add)
            for (int64_t k = 0; k < LANES; k++) {
                to[k] += from[k];
                to[LANES + k] += from[LANES * LANES + k];
            }
        else if (count == SIDE)
            for (int64_t k = 0; k < LANES; k++) {
                to[k] = from[k];
                to[LANES + k] = from[LANES * LANES + k];
            }
        else
            for (int64_t k = 0; k < count; k++)
                to[k] = (add ? to[k] : 0) + from[k / LANES * LANES * LANES + k % LANES];
    }
}

/* A part of the sums: over the channels of a chunk, for one kind of places and a block of filters. */
static void multiply_kind(const band *b, int64_t number, const char *weights, int64_t block, int64_t blocks, int64_t filter,
                          float *result)
{
    const split_state *s = b->s;
    const int64_t taps = s->kind[number].taps;
    _Alignas(64) float sum[SIDE * SIDE];
    int64_t step[MOST_TAPS]; /* as many as HTI_SPLIT_STEPS where taps are fewer */
    for (int64_t i = 0; i < blocks * taps; i++) step[i] = i / taps * s->block_bytes + s->kind[number].at[i % taps];
    hti_split_block m = {.row = LINE, .part = s->part_bytes, .step = step, .steps = blocks * taps, .b = weights};
    for (int64_t t = 0; t < b->tiles; t += 2) {
        const int64_t both = t + 1 < b->tiles;
        m.a[0] = b->parts + *tile_of(b, number, t) * LINE;
        m.a[1] = b->parts + *tile_of(b, number, t + both) * LINE;
        hti_split_multiply(&m, sum);
        put(s, places_of(b, number, t), LANES << both, filter, block > 0, sum, result);
    }
}

/* Adds what a chunk of channels gives to the results of some blocks of filters. */
static void multiply_chunk(const band *b, const hti_run *run, int64_t block, int64_t blocks, const int64_t filters[2])
{
    const split_state *s = b->s;
    const packing lying = {.s = s, .w = run->in[1].data, .to = b->weights};
    for (int64_t f = filters[0]; f < filters[1]; f++) {
        for (int64_t i = 0; i < blocks && s->lies; i++) pack_block(&lying, f, block + i, i);
        const int64_t place = s->lies ? 0 : f * s->channel_blocks + block;
        const char *weights = s->lies ? b->weights : run->in[1].data;
        for (int64_t k = 0; k < s->kinds; k++)
            multiply_kind(b, k, weights + s->kind[k].packed + place * s->kind[k].taps * HTI_SPLIT_STEP, block, blocks, f * SIDE,
                          run->out->data);
    }
}

static void run_task(const split_state *s, const hti_run *run, int64_t index, const int64_t filters[2], char *scratch)
{
    band b = {.s = s, .parts = scratch, .image = index / s->bands_of_image * s->images,
              .row = index % s->bands_of_image * s->rows};
    b.tables = (int64_t *)(void *)(scratch + s->part_bytes * PARTS);
    b.weights = scratch + s->task_bytes - s->weight_bytes; /* if they lie */
    b.images = s->batch - b.image < s->images ? s->batch - b.image : s->images;
    b.rows = s->places.row - b.row < s->rows ? s->places.row - b.row : s->rows;
    if (b.rows <= 0) return;
    for (int64_t k = 0; k < s->kinds; k++) find_tiles(&b, k);
    for (int64_t block = 0; block < s->channel_blocks; block += s->chunk) {
        const int64_t blocks = s->channel_blocks - block < s->chunk ? s->channel_blocks - block : s->chunk;
        split_source(&b, run->in[0].data, block, blocks);
        multiply_chunk(&b, run, block, blocks, filters);
    }
}

static ht_status run_split(void *own, const hti_conv_problem *p, const hti_run *run)
{
    const split_state *s = own;
    const int32_t threads = run->threads < p->threads ? run->threads : p->threads;
    int64_t shares = threads > 1 ? (TASKS * threads + s->bands - 1) / s->bands : 1; /* of the result's channels */
    if (shares > s->filter_blocks) shares = s->filter_blocks;
#pragma omp parallel num_threads(threads)
    {
        char *scratch = (char *)run->scratch + s->task_bytes * (size_t)omp_get_thread_num();
        hti_split_begin();
#pragma omp for schedule(dynamic)
        for (int64_t t = 0; t < s->bands * shares; t++) {
            const int64_t share = t % shares;
            run_task(s, run, t / shares,
                     (int64_t[]){s->filter_blocks * share / shares, s->filter_blocks * (share + 1) / shares}, scratch);
        }
        hti_split_end();
        hti_end_writes();
    }
    return HT_OK;
}

const hti_conv_method hti_conv_split = {.prepare = prepare_split, .run = run_split, .pack = pack_split, .release = free};

#else

const hti_conv_method hti_conv_split = {0}; /* not in this build */

#endif
