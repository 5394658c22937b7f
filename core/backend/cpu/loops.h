/*
 * Loops over strided operands, shared by the CPU's kernels. A kernel gives a span function for the two innermost
 * loops; everything else (merging axes, chunks, threads) is here. Chunks depend on the shapes alone.
 */
#ifndef HTI_CPU_LOOPS_H
#define HTI_CPU_LOOPS_H

#include "backend/backend.h"
#include "base/internal.h"
#include "kernel/kernel.h"
#include "tape/attributes.h"

/* hti_kernel.views: any input may be a view, broadcast or with gaps. */
#define HTI_ANY_VIEW (UINT32_C(1) << 31)

/* Elements per chunk: enough to outweigh handing out a chunk, small enough to stay in a core's cache. */
#define HTI_GRAIN 16384

/* A statement for each i in [0, n), in vector lanes: the iterations write different elements. */
#define HTI_EACH(...)                                \
    do {                                             \
        _Pragma("omp simd")                          \
        for (int64_t i = 0; i < n; i++) __VA_ARGS__; \
    } while (0)

/*
 * The same, asking for a line of the span's `ahead` now and then: memory is waited for while something is computed. Asked
 * for in one go, lines would be as slow as without: few can be on their way at a time.
 */
#define HTI_BLOCK 64
#define HTI_LINE 64
#define HTI_EACH_AHEAD(...)                                                            \
    do {                                                                               \
        int64_t begin_ = 0;                                                            \
        const char *ahead_ = span->ahead;                                              \
        const int64_t gap_ = span->gap;                                                \
        for (; begin_ + HTI_BLOCK <= n; begin_ += HTI_BLOCK) {                         \
            if (ahead_) {                                                              \
                __builtin_prefetch(ahead_, 0, 2);                                      \
                if (gap_) __builtin_prefetch(ahead_ + gap_, 0, 2);                     \
                ahead_ += HTI_LINE;                                                    \
            }                                                                          \
            _Pragma("omp simd")                                                        \
            for (int64_t i = begin_; i < begin_ + HTI_BLOCK; i++) __VA_ARGS__;         \
        }                                                                              \
        _Pragma("omp simd")                                                            \
        for (int64_t i = begin_; i < n; i++) __VA_ARGS__;                              \
    } while (0)

/* `rows` times `n` elements. Pointers and strides (in elements) of the result, then of the inputs. */
typedef struct hti_span {
    void *at[HTI_OPERANDS];
    int64_t inner[HTI_OPERANDS], outer[HTI_OPERANDS];
    int64_t n, rows;
    double p, q; /* the op's attributes */
    /* Memory to ask for meanwhile, a line for each HTI_BLOCK elements, and the one `gap` bytes behind it; NULL: none. */
    const char *ahead;
    int64_t gap;
} hti_span;

typedef void (*hti_span_function)(const hti_span *span);

/* What a pointwise op runs over spans of one number type; function is NULL where it has none. */
typedef struct hti_span_call {
    hti_span_function function;
    double p, q;
} hti_span_call;

typedef struct hti_pointwise {
    hti_span_call (*choose)(const void *attributes, ht_dtype dtype);
} hti_pointwise;

/* The loop over operands of one shape; operand 0 is the result. */
hti_loop hti_loop_make(const hti_tensor *const *operand, int32_t operands);

/* Exchanges two axes. */
void hti_loop_swap(hti_loop *loop, int32_t a, int32_t b);

/* Runs `function` over the whole loop, in parallel. */
void hti_loop_run(const hti_loop *loop, const hti_tensor *const *operand, hti_span_function function, double p,
                  double q, int32_t threads);

/* Copies any strided block to any other of one shape and number type. */
ht_status hti_copy(const hti_tensor *from, const hti_tensor *to, int32_t threads);

/* Equal rows of so many bytes, in planes; distances in bytes. Short ones have loops in which their length is constant. */
typedef struct hti_rows {
    char *to;
    const char *from;
    bool past_cache; /* long rows go to memory so */
    int64_t planes, rows, bytes, to_plane, from_plane, to_step, from_step;
} hti_rows;
void hti_copy_rows(const hti_rows *rows);

/* A result of so many bytes leaves the caches of a core before it is read: loading its memory to write it is in vain. */
#define HTI_PAST_CACHE (4 << 20)
/* Copies whole cache lines to memory without reading there first; anything else as it is. */
void hti_write_past_cache(char *to, const char *from, size_t bytes);
/* What was written past the cache is there before anything that this thread says next. */
void hti_end_writes(void);

/* One position in nested loops, and its offset in a tensor. */
typedef struct hti_walk {
    int32_t rank;
    int64_t dim[HT_MAX_RANK], stride[HT_MAX_RANK], at[HT_MAX_RANK];
    int64_t offset;
} hti_walk;

/* Moves to position `index`, counted row-major. */
static inline void hti_walk_to(hti_walk *walk, int64_t index)
{
    walk->offset = 0;
    for (int32_t k = walk->rank - 1; k >= 0; k--) {
        walk->at[k] = index % walk->dim[k];
        walk->offset += walk->at[k] * walk->stride[k];
        index /= walk->dim[k];
    }
}

/* Moves to the next position; after the last one comes the first. */
static inline void hti_walk_next(hti_walk *walk)
{
    for (int32_t k = walk->rank - 1; k >= 0; k--) {
        walk->offset += walk->stride[k];
        if (++walk->at[k] < walk->dim[k]) return;
        walk->offset -= walk->at[k] * walk->stride[k];
        walk->at[k] = 0;
    }
}

/* Whether the tensor is dense and row-major. */
bool hti_is_row_major(const hti_tensor *tensor);

/* gather.c: n numbers, `stride` apart, side by side. */
void hti_pick(char *to, const char *from, int64_t n, int64_t stride, int64_t bytes);
/* An input of a group that is neither dense nor repeats: rows with gaps between them, or zeros around. */
typedef struct hti_gather {
    char *data;
    int64_t bytes; /* of an element */
    int32_t rank;  /* at least 2: the last axis is a row, the one before numbers the rows of a plane */
    int64_t dim[HT_MAX_RANK], stride[HT_MAX_RANK];
    int64_t first[HT_MAX_RANK], size[HT_MAX_RANK]; /* of the numbers that are there; the others are zeros */
    bool padded;   /* some are not */
    int64_t plane; /* numbers of a plane; 0 if whole planes are not there */
    hti_walk planes;
    int64_t origin; /* what the first plane that is there has as offset in the walk */
} hti_gather;
/* False if the input is dense, or repeats. */
bool hti_gather_of(const hti_group *group, const hti_group_input *input, hti_gather *gather);
/*
 * The numbers [at, at + n) of the group's space side by side: where they are, or copied into memory, which holds the so many
 * numbers before `at` that were gathered last.
 */
char *hti_gather_at(const hti_gather *gather, int64_t at, int64_t n, int64_t before, char *memory);

#endif
