/* Weights in a blocked format of oneDNN: where each number lies, and moving them there and back. Needs oneDNN. */
#ifndef HTI_CPU_CONV_PACKING_H
#define HTI_CPU_CONV_PACKING_H

#include <dnnl.h>

#include "backend/cpu/conv.h"

/* Where number (group, fast, slow, tap) of w lies in the packed format: a sum of four table entries. Fast is the axis
 * that packed formats keep together in lanes: filters, or channels. */
typedef struct hti_weight_layout {
    int64_t groups, fast, slow, taps;
    int64_t run;                                /* so many of the fast axis, from a multiple of it on, lie side by side */
    int64_t fast_step, slow_step, group_step;   /* in row-major w; a tap's step is 1 */
    int64_t *group_at, *fast_at, *slow_at, *tap_at;
    bool padded, narrow;                        /* narrow: bf16 */
    size_t bytes;
} hti_weight_layout;

/* Reads a format of one problem's weights; with `flipped`, of weights turned round (input and output channels change
 * places, taps are counted backwards). EUNSUPPORTED for formats that are no plain blocks. */
ht_status hti_weight_layout_read(hti_weight_layout *layout, const hti_conv_problem *problem, bool flipped,
                                 const dnnl_memory_desc_t *format);
/*
 * Turns the layout of w over blocks of pixels, [filters, phase and channel, kernel of the blocks], into one of w
 * itself. Tap r of w is tap r / step of phase r modulo step. EUNSUPPORTED if the format tears a block's channels apart.
 */
ht_status hti_weight_layout_unblock(hti_weight_layout *layout, const hti_conv_frame *whole,
                                    const hti_conv_frame *blocks);
void hti_weight_layout_free(hti_weight_layout *layout);
/* Equal for equal formats of equal weights. */
uint64_t hti_weight_layout_key(const dnnl_memory_desc_t *format, bool flipped);

/* From row-major w to the format, rounded if it is narrow; padding is zeroed. */
void hti_weight_pack(const hti_weight_layout *layout, const float *w, void *packed, int32_t threads);
/* Back, adding `slices` packed partial sums in order; each begins `step` numbers after the one before. */
void hti_weight_unpack(const hti_weight_layout *layout, float *packed, int64_t step, int32_t slices, float *w,
                       int32_t threads);

/*
 * Between a tile[n][lanes], which stays in the first cache, and `lanes` rows of n numbers, each `step` after the one before.
 * What is read next lies `ahead`: rows are too short for the processor to see it coming.
 */
void hti_tile_from_rows(const float *rows, int64_t ahead, int64_t step, int64_t n, int64_t lanes, float *tile);
void hti_tile_to_rows(const float *tile, int64_t step, int64_t n, int64_t lanes, float *rows);

#endif
