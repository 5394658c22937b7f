/*
 * Counter-based random numbers: Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers:
 * as easy as 1, 2, 3", SC 2011). A value is a function of (key, counter) alone, so that nothing needs to be
 * restored on resume and the same text serves host and device. Header only, C17, C++17 and CUDA.
 */
#ifndef HT_RANDOM_H
#define HT_RANDOM_H

#include <math.h>
#include <stdint.h>
#include <string.h>

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
HT_RANDOM_FUNCTION double ht_random_unit(uint32_t word) { return ((double)(int32_t)(word >> 9) + 0.5) * 0x1p-23; }

typedef struct ht_random_pair {
    double first, second;
} ht_random_pair;

/**
 * Two independent normals of mean 0 and deviation 1 from two words, by Box and Muller: sqrt(-2 log u) times the cosine and
 * the sine of 2 pi v, where u and v are the words' uniforms. In plain arithmetic, so with equal bits on every machine (given
 * no contraction: -ffp-contract=off, nvcc -fmad=false) and in vector loops; a few units of the last place off. At most 5.8.
 *
 * log u is exponent * log 2 + 2 artanh(s), s = f / (2 + f), of the part 1 + f of u in [sqrt(1/2), sqrt(2)), which is taken
 * apart in f32, exactly. Of 2 pi v the sine and cosine are those of the rest r of v to the next quarter turn, exact too.
 * The polynomials in s s and r r interpolate at Chebyshev nodes, to 1 part in 2^54.
 */
HT_RANDOM_FUNCTION ht_random_pair ht_random_normals(uint32_t radius, uint32_t angle)
{
    const float whole = (float)(int32_t)(radius >> 8 | 1); /* u in units of 2^-24 */
    uint32_t bits;
    memcpy(&bits, &whole, sizeof bits);
    bits -= 0x3F3504F3u; /* sqrt(1/2): so the exponent changes there */
    const double exponent = (double)(((int32_t)bits >> 23) - 24);
    bits = (bits & 0x007FFFFFu) + 0x3F3504F3u;
    float part;
    memcpy(&part, &bits, sizeof part);
    const double f = (double)part - 1, s = f / (2 + f), z = s * s;
    double p = 0.14809710360655276 * z + 0.1531252814836419;
    p = p * z + 0.18183631680229329;
    p = p * z + 0.22222197056726048;
    p = p * z + 0.2857142876064168;
    p = p * z + 0.3999999999930234;
    p = p * z + 0.6666666666666765;
    const double length = sqrt(-2 * (exponent * 0.6931471805599453 + (s * z * p + 2 * s)));

    const int32_t turn = (int32_t)(angle >> 8 | 1), quarters = (turn + (1 << 21)) >> 22; /* v in units of 2^-24 */
    const double r = (double)(turn - (quarters << 22)) * 0x1p-24, y = r * r;
    double a = 3.7808689593022957 * y - 15.093804209987114;
    a = a * y + 42.058685020160894;
    a = a * y - 76.70585970427454;
    a = a * y + 81.60524927594804;
    a = a * y - 41.341702240399634;
    double b = -1.6968494702918826 * y + 7.903091687751697;
    b = b * y - 26.426250908622137;
    b = b * y + 60.244641328867296;
    b = b * y - 85.45681720652271;
    b = b * y + 64.93939402266795;
    b = b * y - 19.739208802178716;
    const double sine = r * y * a + r * 6.283185307179586, cosine = b * y + 1;
    const double along = quarters & 1 ? sine : cosine, across = quarters & 1 ? cosine : sine;
    ht_random_pair pair;
    pair.first = (quarters + 1) & 2 ? -length * along : length * along;
    pair.second = quarters & 2 ? -length * across : length * across;
    return pair;
}

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
