/*
 * Counter-based random numbers: Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers:
 * as easy as 1, 2, 3", SC 2011). A value is a function of (key, counter) alone, so that nothing needs to be
 * restored on resume and the same text serves host and device. Header only, C17, C++17 and CUDA.
 */
#ifndef HT_RANDOM_H
#define HT_RANDOM_H

#include <stdint.h>

#if defined(__CUDACC__)
#define HT_RANDOM_FUNCTION static __host__ __device__ inline
#else
#define HT_RANDOM_FUNCTION static inline
#endif

typedef struct ht_philox {
    uint32_t word[4];
} ht_philox;

/** Four random words of (key, counter). key: seed mixed with a stream; counter: {element / 4, step, ...}. */
HT_RANDOM_FUNCTION ht_philox ht_philox_draw(uint64_t key, uint64_t counter_low, uint64_t counter_high)
{
    ht_philox c = {{(uint32_t)counter_low, (uint32_t)(counter_low >> 32), (uint32_t)counter_high,
                    (uint32_t)(counter_high >> 32)}};
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c.word[0], p1 = (uint64_t)0xCD9E8D57u * c.word[2];
        ht_philox next = {{(uint32_t)(p1 >> 32) ^ c.word[1] ^ k0, (uint32_t)p1,
                           (uint32_t)(p0 >> 32) ^ c.word[3] ^ k1, (uint32_t)p0}};
        c = next;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return c;
}

/** The 32-bit word of one element. */
HT_RANDOM_FUNCTION uint32_t ht_random_word(uint64_t key, uint64_t step, uint64_t element)
{
    ht_philox r = ht_philox_draw(key, element >> 2, step);
    return r.word[element & 3];
}

/** Uniform in the open interval (0, 1): odd multiples of 2^-24, so exact in f32 and f64 alike. */
HT_RANDOM_FUNCTION double ht_random_unit(uint32_t word) { return ((double)(word >> 9) + 0.5) * 0x1p-23; }

/** Mixes two words into a key (finaliser of SplitMix64). */
HT_RANDOM_FUNCTION uint64_t ht_random_mix(uint64_t a, uint64_t b)
{
    uint64_t z = a + 0x9E3779B97F4A7C15u * (b + 1);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

/** Key of a named stream: FNV-1a of the text, mixed with the seed. */
HT_RANDOM_FUNCTION uint64_t ht_random_key(uint64_t seed, const char *stream)
{
    uint64_t h = 0xCBF29CE484222325u;
    for (; *stream; stream++) h = (h ^ (uint8_t)*stream) * 0x100000001B3u;
    return ht_random_mix(seed, h);
}

#endif
