/*
 * Weights in oneDNN's blocked formats, packed and unpacked by ourselves: the offset of an element is a sum over axes,
 * so four small tables say where everything lies. One pass turns weights round, sums the slices of a gradient and
 * changes the format, without memory in between, which the library's reorders would need.
 */
#ifdef HT_ONEDNN

#include "backend/cpu/conv_packing.h"

#include <stdlib.h>
#include <string.h>

#include "backend/cpu/bf16.h"
#include "base/internal.h"

enum {
    LANES = 16,          /* numbers that a packed format keeps together, at least, if it keeps any */
    MOST_LINES = 4,      /* of that many numbers that are moved side by side */
    TILE = 8192,         /* numbers that are moved at a time: they stay in the first cache */
    TAPS = 32,           /* of these, taps: they may lie far apart in the packed format, so not too many */
    TASK = 65536         /* numbers of a task, about */
};

/* Offset of index i along one axis of a blocked format; the offset of an element is the sum over its axes. */
static int64_t axis_offset(const dnnl_memory_desc_t *md, int axis, int64_t i)
{
    const dnnl_blocking_desc_t *b = &md->format_desc.blocking;
    int64_t offset = 0, stride = 1;
    for (int k = b->inner_nblks - 1; k >= 0; k--) {
        if (b->inner_idxs[k] == axis) {
            offset += i % b->inner_blks[k] * stride;
            i /= b->inner_blks[k];
        }
        stride *= b->inner_blks[k];
    }
    return offset + i * b->strides[axis];
}

/* The axis whose neighbours are neighbours in the format; in bf16, of which a format keeps pairs, whose pairs are. */
static int innermost(const dnnl_memory_desc_t *md)
{
    const dnnl_blocking_desc_t *b = &md->format_desc.blocking;
    int last = b->inner_nblks - 1;
    if (last > 0 && md->data_type == dnnl_bf16 && b->inner_blks[last] == 2) last--;
    if (last >= 0) return (int)b->inner_idxs[last];
    int axis = 0;
    for (int k = 1; k < md->ndims; k++)
        if (b->strides[k] < b->strides[axis]) axis = k;
    return axis;
}

/* How many of the fast axis lie side by side: as many as four lines, if that holds everywhere. */
static int64_t find_run(const hti_weight_layout *l)
{
    int64_t run = LANES * MOST_LINES;
    for (int64_t i = 1; i < l->fast && run > 1; i++)
        while (i % run != 0 && l->fast_at[i] != l->fast_at[i - 1] + 1) run /= 2;
    return run;
}

ht_status hti_weight_layout_read(hti_weight_layout *l, const hti_conv_problem *p, bool flipped,
                                 const dnnl_memory_desc_t *md)
{
    const hti_conv_frame *f = &p->frame;
    int64_t outer = f->filters / f->groups, inner = f->channels / f->groups;
    int64_t taps = f->kernel[0] * f->kernel[1] * f->kernel[2];
    int lead = f->groups > 1;
    if (md->format_kind != dnnl_blocked || md->extra.flags != 0 || md->offset0 != 0) return HT_EUNSUPPORTED;
    bool second = !flipped && innermost(md) == lead + 1, channels = flipped || second;
    *l = (hti_weight_layout){.groups = f->groups, .fast = channels ? inner : outer, .slow = channels ? outer : inner,
                             .taps = taps, .fast_step = channels ? taps : inner * taps,
                             .slow_step = channels ? inner * taps : taps, .group_step = outer * inner * taps,
                             .narrow = md->data_type == dnnl_bf16, .bytes = dnnl_memory_desc_get_size(md)};
    l->padded = memcmp(md->dims, md->padded_dims, (size_t)md->ndims * sizeof md->dims[0]) != 0;
    l->group_at = calloc((size_t)(l->groups + l->fast + l->slow + taps), sizeof *l->group_at);
    if (!l->group_at) return HT_ENOMEM;
    l->fast_at = l->group_at + l->groups;
    l->slow_at = l->fast_at + l->fast;
    l->tap_at = l->slow_at + l->slow;
    for (int64_t i = 0; i < l->groups && lead; i++) l->group_at[i] = axis_offset(md, 0, i);
    for (int64_t i = 0; i < l->fast; i++) l->fast_at[i] = axis_offset(md, lead + second, i);
    for (int64_t i = 0; i < l->slow; i++) l->slow_at[i] = axis_offset(md, lead + !second, i);
    for (int64_t t = 0; t < taps; t++) {
        int64_t rest = flipped ? taps - 1 - t : t; /* turning round along every axis reverses the count of taps */
        for (int32_t k = 2; k >= 3 - p->axes; k--) {
            l->tap_at[t] += axis_offset(md, lead + 2 + k - (3 - p->axes), rest % f->kernel[k]);
            rest /= f->kernel[k];
        }
    }
    l->run = find_run(l);
    return HT_OK;
}

ht_status hti_weight_layout_unblock(hti_weight_layout *l, const hti_conv_frame *whole, const hti_conv_frame *blocks)
{
    hti_weight_layout old = *l;
    int64_t taps = whole->kernel[0] * whole->kernel[1] * whole->kernel[2], channels = whole->channels;
    int64_t *table = calloc((size_t)(1 + channels + old.slow + taps), sizeof *table);
    if (!table) return HT_ENOMEM;
    l->fast = channels;
    l->taps = l->fast_step = taps;
    l->slow_step = channels * taps;
    l->padded = true; /* taps that w does not have are zero */
    l->group_at = table;
    l->fast_at = table + 1;
    l->slow_at = l->fast_at + channels;
    l->tap_at = l->slow_at + old.slow;
    memcpy(l->fast_at, old.fast_at, (size_t)channels * sizeof *table);
    memcpy(l->slow_at, old.slow_at, (size_t)old.slow * sizeof *table);
    bool whole_blocks = true;
    for (int64_t t = 0; t < taps; t++) {
        int64_t phase = 0, tap = 0, part = taps, rest = t;
        for (int32_t k = 0; k < 3; k++) {
            part /= whole->kernel[k];
            phase = phase * whole->step[k] + rest / part % whole->step[k];
            tap = tap * blocks->kernel[k] + rest / part / whole->step[k];
            rest %= part;
        }
        l->tap_at[t] = old.fast_at[phase * channels] + old.tap_at[tap];
        const int64_t *at = old.fast_at + phase * channels;
        for (int64_t c = 0; c < channels; c++) whole_blocks = whole_blocks && at[c] == at[0] + old.fast_at[c];
    }
    free(old.group_at);
    l->run = find_run(l);
    return whole_blocks ? HT_OK : HT_EUNSUPPORTED;
}

void hti_weight_layout_free(hti_weight_layout *layout) { free(layout->group_at); }

uint64_t hti_weight_layout_key(const dnnl_memory_desc_t *md, bool flipped)
{
    const dnnl_blocking_desc_t *b = &md->format_desc.blocking;
    size_t axes = (size_t)md->ndims * sizeof(dnnl_dim_t), blocks = (size_t)b->inner_nblks * sizeof(dnnl_dim_t);
    int64_t start[] = {0x6E6E64, flipped, md->ndims, b->inner_nblks, md->data_type};
    uint64_t h = hti_hash(HTI_HASH_START, start, sizeof start);
    h = hti_hash(h, md->dims, axes);
    h = hti_hash(h, md->padded_dims, axes);
    h = hti_hash(h, b->strides, axes);
    h = hti_hash(h, b->inner_blks, blocks);
    return hti_hash(h, b->inner_idxs, blocks);
}

typedef struct packing {
    const hti_weight_layout *layout;
    const float *from;
    void *to;
    float *partial;      /* unpacking: the first of the slices */
    int64_t partial_step; /* from one slice to the next, in numbers */
    int32_t slices;
    int64_t lanes, runs; /* of a task; runs of lanes along the fast axis */
    int64_t part, parts; /* of the slow axis */
} packing;

/* A piece of w: a run of lanes, some of the slow axis, some taps. It goes through a tile in the first cache, [slow,
 * tap, lane], so that both sides are read and written in runs: strides of a power of two would defeat caches. */
typedef struct piece {
    int64_t group, lane, lanes, slow, slows, tap, taps;
} piece;

static int64_t packed_at(const hti_weight_layout *l, const piece *c, int64_t s, int64_t t)
{
    return l->group_at[c->group] + l->slow_at[c->slow + s] + l->tap_at[c->tap + t];
}

/* By blocks of 4x4, which stay in registers. */
void hti_tile_from_rows(const float *from, int64_t ahead, int64_t step, int64_t n, int64_t lanes, float *tile)
{
    const int64_t whole = n / 4 * 4, most = lanes / 4 * 4;
    for (int64_t i = 0; i < most; i += 4)
        for (int64_t t = 0; t < whole; t += 4) {
            float block[4][4];
            if (t % LANES == 0)
                for (int64_t a = 0; a < 4; a++) __builtin_prefetch(from + ahead + (i + a) * step + t);
            for (int64_t a = 0; a < 4; a++) memcpy(block[a], from + (i + a) * step + t, sizeof block[a]);
            for (int64_t b = 0; b < 4; b++)
                for (int64_t a = 0; a < 4; a++) tile[(t + b) * lanes + i + a] = block[a][b];
        }
    for (int64_t t = 0; t < n; t++)
        for (int64_t i = t < whole ? most : 0; i < lanes; i++) tile[t * lanes + i] = from[i * step + t];
}

void hti_tile_to_rows(const float *tile, int64_t step, int64_t n, int64_t lanes, float *to)
{
    const int64_t whole = n / 4 * 4, most = lanes / 4 * 4;
    for (int64_t i = 0; i < most; i += 4)
        for (int64_t t = 0; t < whole; t += 4) {
            float block[4][4];
            for (int64_t b = 0; b < 4; b++)
                for (int64_t a = 0; a < 4; a++) block[a][b] = tile[(t + b) * lanes + i + a];
            for (int64_t a = 0; a < 4; a++) memcpy(to + (i + a) * step + t, block[a], sizeof block[a]);
        }
    for (int64_t t = 0; t < n; t++)
        for (int64_t i = t < whole ? most : 0; i < lanes; i++) to[i * step + t] = tile[t * lanes + i];
}

/* Rows of w that a piece takes in one go: all of it, if its slow axis and its taps follow each other in w. */
static int64_t rows_of(const hti_weight_layout *l, const piece *c)
{
    return l->slow_step == c->taps ? 1 : c->slows;
}

/* Lanes between a tile and the packed format, which keeps them side by side, or does not. */
static void put_lanes(const hti_weight_layout *l, const piece *c, const float *from, float *to)
{
    const int64_t *at = l->fast_at + c->lane, n = c->lanes;
    if (l->run < n)
        for (int64_t i = 0; i < n; i++) to[at[i]] = from[i];
    else if (n == LANES) memcpy(to + at[0], from, LANES * sizeof *to);
    else if (n == LANES * MOST_LINES) memcpy(to + at[0], from, LANES * MOST_LINES * sizeof *to);
    else memcpy(to + at[0], from, (size_t)n * sizeof *to);
}

static void take_lanes(const hti_weight_layout *l, const piece *c, const float *from, float *to, bool add)
{
    const int64_t *at = l->fast_at + c->lane, n = c->lanes;
    if (l->run >= n && n == LANES) /* what weight gradients have */
        for (int64_t i = 0; i < LANES; i++) to[i] = (add ? to[i] : 0) + from[at[0] + i];
    else
        for (int64_t i = 0; i < n; i++) to[i] = (add ? to[i] : 0) + from[at[i]];
}

/* From a tile into bf16. Where the format keeps pairs along the slow axis, two rows of the tile become a run of pairs. */
static void put_narrow(const packing *k, const piece *c, const float *tile)
{
    const hti_weight_layout *l = k->layout;
    const int64_t *at = l->fast_at + c->lane, n = c->lanes, row = c->taps * n;
    bool pairs = true;
    for (int64_t i = 0; i < n; i++) pairs = pairs && at[i] == at[0] + 2 * i;
    for (int64_t t = 0; t < c->taps; t++)
        for (int64_t s = 0; s < c->slows; s++) {
            const float *from = tile + s * row + t * n;
            const int64_t *slow = l->slow_at + c->slow + s;
            uint16_t *to = (uint16_t *)k->to + packed_at(l, c, s, t) + at[0];
            if (pairs && s + 1 < c->slows && slow[1] == slow[0] + 1) {
                hti_bf16_pairs(from, from + row, n, to);
                s++;
            } else {
                for (int64_t i = 0; i < n; i++) to[at[i] - at[0]] = hti_bf16(from[i]);
            }
        }
}

static void pack_piece(const packing *k, const piece *c, float *tile)
{
    const hti_weight_layout *l = k->layout;
    const float *from = k->from + c->group * l->group_step + c->lane * l->fast_step + c->slow * l->slow_step + c->tap;
    int64_t rows = rows_of(l, c), n = c->slows * c->taps / rows;
    for (int64_t r = 0; r < rows; r++)
        hti_tile_from_rows(from + r * l->slow_step, rows > 1 ? l->slow_step : 8 * l->fast_step, l->fast_step, n, c->lanes,
                           tile + r * n * c->lanes);
    if (l->narrow) {
        put_narrow(k, c, tile);
        return;
    }
    for (int64_t t = 0; t < c->taps; t++)
        for (int64_t s = 0; s < c->slows; s++)
            put_lanes(l, c, tile + (s * c->taps + t) * c->lanes, (float *)k->to + packed_at(l, c, s, t));
}

/* The way back, for a weight gradient: sums the slices in order. */
static void unpack_piece(const packing *k, const piece *c, float *tile)
{
    const hti_weight_layout *l = k->layout;
    for (int32_t p = 0; p < k->slices; p++)
        for (int64_t t = 0; t < c->taps; t++)
            for (int64_t s = 0; s < c->slows; s++)
                take_lanes(l, c, k->partial + p * k->partial_step + packed_at(l, c, s, t),
                           tile + (s * c->taps + t) * c->lanes, p > 0);
    float *to = (float *)k->to + c->group * l->group_step + c->lane * l->fast_step + c->slow * l->slow_step + c->tap;
    int64_t rows = rows_of(l, c), n = c->slows * c->taps / rows;
    for (int64_t r = 0; r < rows; r++)
        hti_tile_to_rows(tile + r * n * c->lanes, l->fast_step, n, c->lanes, to + r * l->slow_step);
}

/* One task is one group, one run of lanes and a part of the slow axis. */
static void pack_tasks(void *context, int64_t begin, int64_t end)
{
    const packing *k = context;
    const hti_weight_layout *l = k->layout;
    _Alignas(64) float tile[TILE];
    const int64_t taps = l->taps < TAPS ? l->taps : TAPS, slows = TILE / (k->lanes * taps);
    for (int64_t task = begin; task < end; task++) {
        const int64_t first = task % k->parts * k->part, last = first + k->part < l->slow ? first + k->part : l->slow;
        piece c = {.group = task / k->parts / k->runs, .lane = task / k->parts % k->runs * k->lanes};
        c.lanes = l->fast - c.lane < k->lanes ? l->fast - c.lane : k->lanes;
        for (c.slow = first; c.slow < last; c.slow += slows)
            for (c.tap = 0; c.tap < l->taps; c.tap += taps) {
                c.slows = last - c.slow < slows ? last - c.slow : slows;
                c.taps = l->taps - c.tap < taps ? l->taps - c.tap : taps;
                if (k->partial) unpack_piece(k, &c, tile);
                else pack_piece(k, &c, tile);
            }
    }
}

static void pack_all(packing *k, int32_t threads)
{
    const hti_weight_layout *l = k->layout;
    k->lanes = l->run > LANES ? l->run : LANES;
    k->runs = (l->fast + k->lanes - 1) / k->lanes;
    k->part = (TASK / (k->lanes * l->taps) + LANES) / LANES * LANES;
    k->parts = (l->slow + k->part - 1) / k->part;
    hti_parallel_for(threads, l->groups * k->runs * k->parts, 1, pack_tasks, k);
}

void hti_weight_pack(const hti_weight_layout *layout, const float *w, void *packed, int32_t threads)
{
    packing k = {.layout = layout, .from = w, .to = packed};
    if (layout->padded) memset(packed, 0, layout->bytes);
    pack_all(&k, threads);
}

void hti_weight_unpack(const hti_weight_layout *layout, float *packed, int64_t step, int32_t slices, float *w,
                       int32_t threads)
{
    packing k = {.layout = layout, .to = w, .partial = packed, .partial_step = step, .slices = slices};
    pack_all(&k, threads);
}

#else

/* ISO C wants a translation unit to declare something. */
typedef int hti_no_weight_packing;

#endif
