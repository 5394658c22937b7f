/*
 * f32 numbers as sums of three bf16 parts, h + m + l, and products of blocks of them on the matrix unit (Intel AMX): six of
 * the nine products of parts, summed in f32, err less than f32 arithmetic does, and take a third of its time. The scheme is
 * known as BF16x6, or as emulation of single precision. What is infinite or not a number comes out as not a number; what is
 * below the least normal f32 counts as zero.
 */
#ifndef HTI_CPU_SPLIT_H
#define HTI_CPU_SPLIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where compiler, system and instruction set allow; the machine is asked when it runs. */
#if defined(__x86_64__) && defined(__linux__) && defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__has_include)
#if __has_include(<amxbf16intrin.h>) && __has_include(<avx512bf16intrin.h>)
#define HT_AMX
#endif
#endif

enum {
    HTI_SPLIT_PARTS = 3,
    HTI_SPLIT_LANES = 16,  /* rows of a tile of a; columns of a tile of b */
    HTI_SPLIT_SIDE = 32,   /* rows and columns of a block: two tiles each */
    HTI_SPLIT_DEPTH = 32,  /* terms of a sum that one step takes */
    HTI_SPLIT_LINE = 64,   /* bytes of one row of a, or of two rows of b, in one part of a step */
    HTI_SPLIT_STEP = 6144, /* bytes of b for one step: [part][tile][16 pairs of rows][16 columns][2] */
    HTI_SPLIT_STEPS = 64   /* of a block, about: longer sums err more */
};

/* Whether this machine has the unit; asks the system for it. */
bool hti_split_runs(void);
/* Around what a thread computes with it. */
void hti_split_begin(void);
void hti_split_end(void);

/* A block of products: a[32 rows][depth] b[depth][32 columns]. */
typedef struct hti_split_block {
    const char *a[2];     /* 16 rows each, of which each step takes 64 bytes; the first part */
    int64_t row, part;    /* bytes from one row of a to the next, and from one part */
    const int64_t *step;  /* where in a each step begins, in bytes */
    const char *b;        /* the steps, one after the other */
    int64_t steps;
} hti_split_block;
/* sum [tile of a][tile of b][16][16], 64-byte aligned. */
void hti_split_multiply(const hti_split_block *block, float *sum);

/* The same, with the steps of a one after the other, and rows of b that lie in pairs anywhere: a shift by pairs is free. */
typedef struct hti_split_pairs {
    const char *a;        /* HTI_SPLIT_STEP bytes a step: [part][tile][16 rows][32 numbers] */
    const char *b[2];     /* 16 columns each, of which each step takes 16 lines, which are pairs; the first part */
    int64_t part;         /* bytes from one part of b to the next */
    const int64_t *step;  /* where in b each step begins, in bytes */
    int64_t steps;
    const char *ahead;    /* what will be read soon: `each` lines of it a step are asked for */
    int64_t each;
} hti_split_pairs;
void hti_split_multiply_pairs(const hti_split_pairs *block, float *sum);

/* Rows of a: up to 32 numbers each, `step` numbers apart, become lines of 64 bytes one after the other, zeros behind. */
void hti_split_rows(const float *from, int64_t step, int64_t rows, int64_t count, char *to, int64_t part);
/* Lines of zeros. */
void hti_split_zeros(char *to, int64_t lines, int64_t part);
/* Pairs of rows of b, of 16 numbers each, `step` numbers apart, become lines of a step one after the other. */
void hti_split_weights(const float *from, int64_t step, int64_t pairs, char *to, bool past_cache);
/* Up to 16 rows of up to 16 numbers, `step` numbers apart, turned: 16 rows of so many numbers, `to_step` apart, or 16 apart and
 * then with zeros behind. What is read next lies `ahead`. */
void hti_split_turn(const float *from, int64_t ahead, int64_t step, int64_t rows, int64_t count, float *to, int64_t to_step);
/* Up to 32 rows of up to 16 numbers become 16 rows of a, of a line each: the first numbers, the second ones, .. */
void hti_split_turned(const float *from, int64_t step, int64_t rows, int64_t count, char *to, int64_t part);
/* Up to 16 numbers of each row (NULL: zeros), from number `first` on: 16 lines of pairs from row 0 on, and from row 1 on. */
void hti_split_both_pairs(const float *const row[33], int64_t first, int64_t count, char *const to[2], int64_t part);

#endif
