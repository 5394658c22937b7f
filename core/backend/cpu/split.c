/* Parts of f32 numbers and their products on the matrix unit: see split.h. */
#include "backend/cpu/split.h"

#ifdef HT_AMX

#include <immintrin.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The file is compiled for a lesser machine. */
#define UNIT __attribute__((target("amx-tile,amx-bf16,avx512bf16")))

enum { ASK_PERMISSION = 0x1023, TILE_DATA = 18 }; /* of arch_prctl: ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA */

/* Every processor with tiles and AVX512-BF16 multiplies tiles of bf16. (Asking it by cpuid would leave a virtual machine.) */
bool hti_split_runs(void)
{
    return __builtin_cpu_supports("avx512bf16") && syscall(SYS_arch_prctl, ASK_PERMISSION, TILE_DATA) == 0;
}

/* Constant, since gcc 12 believes that the instruction reads its first bytes only. */
static const struct {
    uint8_t palette, start, reserved[14];
    uint16_t bytes[16];
    uint8_t rows[16];
} tile_shapes = {.palette = 1, .bytes = {64, 64, 64, 64, 64, 64, 64, 64}, .rows = {16, 16, 16, 16, 16, 16, 16, 16}};

UNIT void hti_split_begin(void) { _tile_loadconfig(&tile_shapes); }

UNIT void hti_split_end(void) { _tile_release(); }

/* ---- products ---- */

/* Two tiles for each part and step: where the first part of each begins, and where in it the steps, or one after the other. */
typedef struct operand {
    const char *tile[2];
    int64_t part, row;
    const int64_t *step;
} operand;

/* Tiles 0 to 3 are sums, 4 and 5 hold rows of a, 6 and 7 columns of b. */
#define TAKE(o, p, to, and)                                                                        \
    do {                                                                                        \
        const int64_t at = ((o)->step ? (o)->step[k] : k * HTI_SPLIT_STEP) + (p) * (o)->part;   \
        _tile_loadd(to, (o)->tile[0] + at, (size_t)(o)->row);                                   \
        _tile_loadd(and, (o)->tile[1] + at, (size_t)(o)->row);                                  \
    } while (0)
#define MULTIPLY()                  \
    do {                            \
        _tile_dpbf16ps(0, 4, 6);    \
        _tile_dpbf16ps(1, 4, 7);    \
        _tile_dpbf16ps(2, 5, 6);    \
        _tile_dpbf16ps(3, 5, 7);    \
    } while (0)

/* The products of the largest parts come last: what comes before is small, so that its roundings do not count. */
UNIT static inline void multiply(const operand *a, const operand *b, int64_t steps, const char *ahead, int64_t each, float *sum)
{
    __asm__ volatile("" ::: "memory"); /* loads of tiles do not tell the compiler that they read memory */
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t k = 0; k < steps; k++) {
        for (int64_t i = 0; i < each; i++, ahead += HTI_SPLIT_LINE) _mm_prefetch(ahead, _MM_HINT_T1);
        TAKE(a, 2, 4, 5);
        TAKE(b, 0, 6, 7);
        MULTIPLY();
        TAKE(a, 1, 4, 5);
        MULTIPLY();
        TAKE(b, 1, 6, 7);
        MULTIPLY();
        TAKE(a, 0, 4, 5);
        MULTIPLY();
        TAKE(b, 2, 6, 7);
        MULTIPLY();
    }
    for (int64_t k = steps - 1; k >= 0; k--) { /* those read last are near */
        TAKE(a, 0, 4, 5);
        TAKE(b, 0, 6, 7);
        MULTIPLY();
    }
    _tile_stored(0, sum, HTI_SPLIT_LINE);
    _tile_stored(1, sum + 256, HTI_SPLIT_LINE);
    _tile_stored(2, sum + 512, HTI_SPLIT_LINE);
    _tile_stored(3, sum + 768, HTI_SPLIT_LINE);
}

UNIT void hti_split_multiply(const hti_split_block *block, float *sum)
{
    const operand a = {{block->a[0], block->a[1]}, block->part, block->row, block->step};
    const operand b = {{block->b, block->b + HTI_SPLIT_STEP / 6}, HTI_SPLIT_STEP / 3, HTI_SPLIT_LINE, NULL};
    multiply(&a, &b, block->steps, NULL, 0, sum);
}

UNIT void hti_split_multiply_pairs(const hti_split_pairs *block, float *sum)
{
    const operand a = {{block->a, block->a + HTI_SPLIT_STEP / 6}, HTI_SPLIT_STEP / 3, HTI_SPLIT_LINE, NULL};
    const operand b = {{block->b[0], block->b[1]}, block->part, HTI_SPLIT_LINE, block->step};
    multiply(&a, &b, block->steps, block->ahead, block->each, sum);
}

/* ---- parts ---- */

/* Of 16 numbers, in 16 bits each: as f32. */
UNIT static inline __m512 widened(__m256i x) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(x), 16)); }

/* A line of each part, of 32 numbers: what the parts before it leave, rounded to bf16. */
UNIT static inline void split_line(__m512 low, __m512 high, char *to, int64_t part)
{
    for (int64_t i = 0; i < HTI_SPLIT_PARTS; i++) {
        const __m512i both = (__m512i)_mm512_cvtne2ps_pbh(high, low);
        _mm512_store_si512(to + i * part, both);
        low = _mm512_sub_ps(low, widened(_mm512_castsi512_si256(both)));
        high = _mm512_sub_ps(high, widened(_mm512_extracti64x4_epi64(both, 1)));
    }
}

static inline __mmask16 mask_of(int64_t count)
{
    return (__mmask16)(count >= 16 ? 0xFFFFu : count <= 0 ? 0u : (1u << count) - 1u);
}

UNIT void hti_split_rows(const float *from, int64_t step, int64_t rows, int64_t count, char *to, int64_t part)
{
    enum { AHEAD = 16 };
    const __mmask16 low = mask_of(count), high = mask_of(count - 16);
    for (int64_t r = 0; r < rows; r++, from += step, to += HTI_SPLIT_LINE) {
        __builtin_prefetch(from + AHEAD * step); /* rows are too short for the processor to see what comes */
        __builtin_prefetch(from + AHEAD * step + 16);
        split_line(_mm512_maskz_loadu_ps(low, from), _mm512_maskz_loadu_ps(high, from + 16), to, part);
    }
}

void hti_split_zeros(char *to, int64_t lines, int64_t part)
{
    for (int64_t i = 0; i < HTI_SPLIT_PARTS; i++) memset(to + i * part, 0, (size_t)(lines * HTI_SPLIT_LINE));
}

/* The parts of both rows, number by number: a pair is then the upper half of the one f32, and of the other shifted down. */
UNIT void hti_split_weights(const float *from, int64_t step, int64_t pairs, char *to, bool past_cache)
{
    const __m512i counted = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i in_pairs = _mm512_or_si512(counted, _mm512_slli_epi32(_mm512_add_epi32(counted, _mm512_set1_epi32(16)), 16));
    for (int64_t k = 0; k < pairs; k++, from += 2 * step, to += HTI_SPLIT_LINE) {
        __m512 even = _mm512_load_ps(from), odd = _mm512_load_ps(from + step);
        for (int64_t i = 0; i < HTI_SPLIT_PARTS; i++) {
            const __m512i part = _mm512_permutexvar_epi16(in_pairs, (__m512i)_mm512_cvtne2ps_pbh(odd, even));
            char *line = to + i * (HTI_SPLIT_STEP / HTI_SPLIT_PARTS);
            if (past_cache) _mm512_stream_si512((void *)line, part);
            else _mm512_store_si512(line, part);
            even = _mm512_sub_ps(even, _mm512_castsi512_ps(_mm512_slli_epi32(part, 16)));
            odd = _mm512_sub_ps(odd, _mm512_castsi512_ps(_mm512_and_si512(part, _mm512_set1_epi32(-65536))));
        }
    }
}

void hti_split_turn(const float *from, int64_t ahead, int64_t step, int64_t rows, int64_t count, float *to, int64_t to_step)
{
    const __mmask16 mask = mask_of(count), there = to_step == HTI_SPLIT_LANES ? 0xFFFF : mask_of(rows);
    __m512 r[16], s[16];
    for (int32_t i = 0; i < 16; i++) {
        __builtin_prefetch(from + ahead + i * step);
        r[i] = i < rows ? _mm512_maskz_loadu_ps(mask, from + i * step) : _mm512_setzero_ps();
    }
    for (int32_t i = 0; i < 16; i += 2) { /* within pairs of rows, then pairs of pairs, both in quarters; then quarters */
        s[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
        s[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
    }
    for (int32_t i = 0; i < 16; i += 4)
        for (int32_t k = 0; k < 2; k++) {
            const __m512d a = _mm512_castps_pd(s[i + k]), b = _mm512_castps_pd(s[i + k + 2]);
            r[i + 2 * k] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
            r[i + 2 * k + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
        }
    for (int32_t i = 0; i < 4; i++) {
        const __m512 a = _mm512_shuffle_f32x4(r[i], r[i + 4], 0x88), b = _mm512_shuffle_f32x4(r[i], r[i + 4], 0xDD);
        const __m512 c = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0x88), d = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0xDD);
        _mm512_mask_storeu_ps(to + to_step * i, there, _mm512_shuffle_f32x4(a, c, 0x88));
        _mm512_mask_storeu_ps(to + to_step * (i + 4), there, _mm512_shuffle_f32x4(b, d, 0x88));
        _mm512_mask_storeu_ps(to + to_step * (i + 8), there, _mm512_shuffle_f32x4(a, c, 0xDD));
        _mm512_mask_storeu_ps(to + to_step * (i + 12), there, _mm512_shuffle_f32x4(b, d, 0xDD));
    }
}

UNIT void hti_split_turned(const float *from, int64_t step, int64_t rows, int64_t count, char *to, int64_t part)
{
    float low[256], high[256];
    hti_split_turn(from, HTI_SPLIT_LANES, step, rows, count, low, HTI_SPLIT_LANES);
    hti_split_turn(from + (rows > 16 ? 16 * step : 0), HTI_SPLIT_LANES, step, rows - 16, count, high, HTI_SPLIT_LANES);
    for (int64_t r = 0; r < 256; r += 16, to += HTI_SPLIT_LINE)
        split_line(_mm512_loadu_ps(low + r), _mm512_loadu_ps(high + r), to, part);
}

/* Parts as lanes of 32 bits: the second of a pair goes above the first. */
typedef struct lanes {
    __m512i part[HTI_SPLIT_PARTS];
} lanes;

UNIT static inline lanes lanes_of(const float *row, int64_t first, __mmask16 mask)
{
    __m512 x = row ? _mm512_maskz_loadu_ps(mask, row + first) : _mm512_setzero_ps();
    lanes l;
    for (int32_t i = 0; i < HTI_SPLIT_PARTS; i++) {
        l.part[i] = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(x));
        x = _mm512_sub_ps(x, _mm512_castsi512_ps(_mm512_slli_epi32(l.part[i], 16)));
    }
    return l;
}

UNIT void hti_split_both_pairs(const float *const row[33], int64_t first, int64_t count, char *const to[2], int64_t part)
{
    const __mmask16 mask = mask_of(count);
    lanes even = lanes_of(row[0], first, mask);
    for (int64_t k = 0; k < 16; k++) {
        const lanes odd = lanes_of(row[2 * k + 1], first, mask), next = lanes_of(row[2 * k + 2], first, mask);
        for (int64_t i = 0; i < HTI_SPLIT_PARTS; i++) {
            const int64_t at = i * part + k * HTI_SPLIT_LINE;
            const __m512i high = _mm512_slli_epi32(odd.part[i], 16), after = _mm512_slli_epi32(next.part[i], 16);
            if (to[0]) _mm512_store_si512(to[0] + at, _mm512_or_si512(even.part[i], high));
            if (to[1]) _mm512_store_si512(to[1] + at, _mm512_or_si512(odd.part[i], after));
        }
        even = next;
    }
}

#else

bool hti_split_runs(void) { return false; }

#endif
