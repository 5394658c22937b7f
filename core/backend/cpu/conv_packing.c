/*
 * Weights in oneDNN's blocked formats, packed and unpacked by ourselves: the offset of an element is a sum over axes,
 * so four small tables say where everything lies. One pass turns weights round, sums the slices of a gradient and
 * changes the format, without memory in between, which the library's reorders would need.
 */
#ifdef HT_ONEDNN

#include "backend/cpu/conv_packing.h"

#include <stdlib.h>
#include <string.h>

#include "base/internal.h"

enum {
    LANES = 16, /* numbers that a packed format keeps together, if it keeps any */
    TILE = 256, /* runs of lanes that are moved at a time */
    TAPS = 32   /* of these, taps: they may lie far apart in the packed format, so not too many */
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

ht_status hti_weight_layout_read(hti_weight_layout *l, const hti_conv_problem *p, bool flipped,
                                 const dnnl_memory_desc_t *md)
{
    const hti_conv_frame *f = &p->frame;
    int64_t outer = f->filters / f->groups, inner = f->channels / f->groups;
    int64_t taps = f->kernel[0] * f->kernel[1] * f->kernel[2];
    int lead = f->groups > 1;
    *l = (hti_weight_layout){.groups = f->groups, .fast = flipped ? inner : outer, .slow = flipped ? outer : inner,
                             .taps = taps, .fast_step = flipped ? taps : inner * taps,
                             .slow_step = flipped ? inner * taps : taps, .group_step = outer * inner * taps,
                             .bytes = dnnl_memory_desc_get_size(md)};
    if (md->format_kind != dnnl_blocked || md->extra.flags != 0 || md->offset0 != 0) return HT_EUNSUPPORTED;
    l->padded = memcmp(md->dims, md->padded_dims, (size_t)md->ndims * sizeof md->dims[0]) != 0;
    l->group_at = calloc((size_t)(l->groups + l->fast + l->slow + taps), sizeof *l->group_at);
    if (!l->group_at) return HT_ENOMEM;
    l->fast_at = l->group_at + l->groups;
    l->slow_at = l->fast_at + l->fast;
    l->tap_at = l->slow_at + l->slow;
    for (int64_t i = 0; i < l->groups && lead; i++) l->group_at[i] = axis_offset(md, 0, i);
    for (int64_t i = 0; i < l->fast; i++) l->fast_at[i] = axis_offset(md, lead, i);
    for (int64_t i = 0; i < l->slow; i++) l->slow_at[i] = axis_offset(md, lead + 1, i);
    for (int64_t t = 0; t < taps; t++) {
        int64_t rest = flipped ? taps - 1 - t : t; /* turning round along every axis reverses the count of taps */
        for (int32_t k = 2; k >= 3 - p->axes; k--) {
            l->tap_at[t] += axis_offset(md, lead + 2 + k - (3 - p->axes), rest % f->kernel[k]);
            rest /= f->kernel[k];
        }
    }
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
    return whole_blocks ? HT_OK : HT_EUNSUPPORTED;
}

void hti_weight_layout_free(hti_weight_layout *layout) { free(layout->group_at); }

uint64_t hti_weight_layout_key(const dnnl_memory_desc_t *md, bool flipped)
{
    const dnnl_blocking_desc_t *b = &md->format_desc.blocking;
    size_t axes = (size_t)md->ndims * sizeof(dnnl_dim_t), blocks = (size_t)b->inner_nblks * sizeof(dnnl_dim_t);
    int64_t start[] = {0x6E6E64, flipped, md->ndims, b->inner_nblks};
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
    float *to;
    float *partial;      /* unpacking: the first of the slices */
    int64_t partial_step; /* from one slice to the next, in numbers */
    int32_t slices;
} packing;

/* A piece of w: a run of lanes, some of the slow axis, some taps. It goes through a tile in the first cache, [slow,
 * tap, lane], so that both sides are read and written in runs: strides of a power of two would defeat caches. */
typedef struct piece {
    int64_t group, lane, lanes, slow, slows, tap, taps;
} piece;

static float *packed_lanes(const hti_weight_layout *l, const piece *c, float *packed, int64_t s, int64_t t)
{
    return packed + l->group_at[c->group] + l->slow_at[c->slow + s] + l->tap_at[c->tap + t];
}

/* tile[t][i] = from[i][t] for n runs; by blocks of 4x4, which stay in registers. */
static void load_lanes(const float *from, int64_t step, int64_t n, int64_t lanes, float *tile)
{
    int64_t whole = lanes == LANES ? n / 4 * 4 : 0;
    for (int64_t t = 0; t < whole; t += 4)
        for (int64_t i = 0; i < LANES; i += 4) {
            float block[4][4];
            for (int64_t a = 0; a < 4; a++) memcpy(block[a], from + (i + a) * step + t, sizeof block[a]);
            for (int64_t b = 0; b < 4; b++)
                for (int64_t a = 0; a < 4; a++) tile[(t + b) * LANES + i + a] = block[a][b];
        }
    for (int64_t t = whole; t < n; t++)
        for (int64_t i = 0; i < lanes; i++) tile[t * LANES + i] = from[i * step + t];
}

static void store_lanes(const float *tile, int64_t step, int64_t n, int64_t lanes, float *to)
{
    int64_t whole = lanes == LANES ? n / 4 * 4 : 0;
    for (int64_t t = 0; t < whole; t += 4)
        for (int64_t i = 0; i < LANES; i += 4) {
            float block[4][4];
            for (int64_t b = 0; b < 4; b++)
                for (int64_t a = 0; a < 4; a++) block[a][b] = tile[(t + b) * LANES + i + a];
            for (int64_t a = 0; a < 4; a++) memcpy(to + (i + a) * step + t, block[a], sizeof block[a]);
        }
    for (int64_t t = whole; t < n; t++)
        for (int64_t i = 0; i < lanes; i++) to[i * step + t] = tile[t * LANES + i];
}

/* Rows of w that a piece takes in one go: all of it, if its slow axis and its taps follow each other in w. */
static int64_t rows_of(const hti_weight_layout *l, const piece *c)
{
    return l->slow_step == c->taps ? 1 : c->slows;
}

static void pack_piece(const packing *k, const piece *c)
{
    const hti_weight_layout *l = k->layout;
    float tile[TILE * LANES];
    const float *from = k->from + c->group * l->group_step + c->lane * l->fast_step + c->slow * l->slow_step + c->tap;
    int64_t rows = rows_of(l, c), n = c->slows * c->taps / rows;
    for (int64_t r = 0; r < rows; r++)
        load_lanes(from + r * l->slow_step, l->fast_step, n, c->lanes, tile + r * n * LANES);
    const int64_t *at = l->fast_at + c->lane;
    bool run = c->lanes == LANES && at[LANES - 1] - at[0] == LANES - 1;
    for (int64_t t = 0; t < c->taps; t++)
        for (int64_t s = 0; s < c->slows; s++) {
            const float *a = tile + (s * c->taps + t) * LANES;
            float *to = packed_lanes(l, c, k->to, s, t);
            if (run)
                memcpy(to + at[0], a, LANES * sizeof *a);
            else
                for (int64_t i = 0; i < c->lanes; i++) to[at[i]] = a[i];
        }
}

/* The way back, for a weight gradient: sums the slices in order. */
static void unpack_piece(const packing *k, const piece *c)
{
    const hti_weight_layout *l = k->layout;
    float tile[TILE * LANES];
    const int64_t *at = l->fast_at + c->lane;
    bool run = c->lanes == LANES && at[LANES - 1] - at[0] == LANES - 1;
    for (int32_t p = 0; p < k->slices; p++)
        for (int64_t t = 0; t < c->taps; t++)
            for (int64_t s = 0; s < c->slows; s++) {
                float *a = tile + (s * c->taps + t) * LANES;
                const float *from = packed_lanes(l, c, k->partial + p * k->partial_step, s, t);
                if (p == 0 && run)
                    memcpy(a, from + at[0], LANES * sizeof *a);
                else if (p == 0)
                    for (int64_t i = 0; i < c->lanes; i++) a[i] = from[at[i]];
                else if (run)
                    for (int64_t i = 0; i < LANES; i++) a[i] += from[at[0] + i];
                else
                    for (int64_t i = 0; i < c->lanes; i++) a[i] += from[at[i]];
            }
    float *to = k->to + c->group * l->group_step + c->lane * l->fast_step + c->slow * l->slow_step + c->tap;
    int64_t rows = rows_of(l, c), n = c->slows * c->taps / rows;
    for (int64_t r = 0; r < rows; r++)
        store_lanes(tile + r * n * LANES, l->fast_step, n, c->lanes, to + r * l->slow_step);
}

/* One task is one group and one run of lanes. */
static void pack_tasks(void *context, int64_t begin, int64_t end)
{
    const packing *k = context;
    const hti_weight_layout *l = k->layout;
    int64_t runs = (l->fast + LANES - 1) / LANES, taps = l->taps < TAPS ? l->taps : TAPS, slows = TILE / taps;
    for (int64_t task = begin; task < end; task++) {
        piece c = {.group = task / runs, .lane = task % runs * LANES};
        c.lanes = l->fast - c.lane < LANES ? l->fast - c.lane : LANES;
        for (c.slow = 0; c.slow < l->slow; c.slow += slows)
            for (c.tap = 0; c.tap < l->taps; c.tap += taps) {
                c.slows = l->slow - c.slow < slows ? l->slow - c.slow : slows;
                c.taps = l->taps - c.tap < taps ? l->taps - c.tap : taps;
                if (k->partial)
                    unpack_piece(k, &c);
                else
                    pack_piece(k, &c);
            }
    }
}

static void pack_all(packing *k, int32_t threads)
{
    const hti_weight_layout *l = k->layout;
    hti_parallel_for(threads, l->groups * ((l->fast + LANES - 1) / LANES), 1, pack_tasks, k);
}

void hti_weight_pack(const hti_weight_layout *layout, const float *w, float *packed, int32_t threads)
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
