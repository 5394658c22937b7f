/*
 * exp, expm1, log, log1p, tanh, erf, erfc, sin and cos for f32, in plain arithmetic: no branches, no tables, no library. So
 * loops over them become vector loops, and one element has equal bits wherever it stands in a loop, alone, and on a GPU. (A
 * vector library has other bits in the tail of a loop.) At most 2 ulp off, erfc 2.1, and what is made of them (sigmoid,
 * softplus) 2.5: tests/test_math.c measures it. The polynomials interpolate the functions at Chebyshev nodes. Included once,
 * by kernel.h.
 */

/* One rounding where the machine has the instruction; without it fmaf would be a call per element. */
HT_DEVICE float math_fma(float a, float b, float c)
{
#if defined(FP_FAST_FMAF) || defined(__CUDACC__)
    return fmaf(a, b, c);
#else
    return a * b + c;
#endif
}
HT_DEVICE uint32_t math_bits(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}
HT_DEVICE float math_float(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Natural logarithm of 2 as a number with few bits, whose products with exponents are exact, and the rest. */
#define LN2_HIGH 0.693359375f
#define LN2_LOW (-2.12194440e-4f)

/* e^r - 1 and two factors that make 2^n together: 2^128 and 2^-150 are no normal numbers. */
typedef struct math_power {
    float rest, first, second;
} math_power;

HT_DEVICE float math_two_to(int32_t n) { return math_float((uint32_t)(n + 127) << 23); }

/* e^(x - less) = 2^n e^r with |r| <= ln 2 / 2. Adding 1.5 * 2^23 rounds to an integer, which then stands in the low bits. */
HT_DEVICE math_power math_power_of(float x, float less)
{
    const float magic = 12582912.0f;
    const float high = x > 89.0f ? 89.0f : x;          /* beyond: infinity; NaN stays in both */
    const float bounded = high < -104.0f ? -104.0f : high; /* beyond: 0 */
    const float shifted = math_fma(bounded, 1.44269504f, magic);
    const float n = shifted - magic;
    const float r = math_fma(n, -LN2_LOW, math_fma(n, -LN2_HIGH, bounded)) - less;
    float p = math_fma(0.001392655074596405f, r, 0.008363472297787666f);
    p = math_fma(p, r, 0.04166655242443085f);
    p = math_fma(p, r, 0.16666574776172638f);
    p = math_fma(p, r, 0.5f);
    const int32_t exponent = (int32_t)(math_bits(shifted) - math_bits(magic)), half = exponent / 2;
    const math_power power = {math_fma(p * r, r, r), math_two_to(half), math_two_to(exponent - half)};
    return power;
}
HT_DEVICE float math_exp_f32(float x)
{
    const math_power y = math_power_of(x, 0.0f);
    return (y.rest + 1.0f) * y.first * y.second;
}

/* 2^n (e^r - 1) + (2^n - 1), of which the second is exact wherever it counts. */
HT_DEVICE float math_expm1_f32(float x)
{
    const math_power y = math_power_of(x, 0.0f);
    return copysignf(math_fma(y.first, y.rest, y.first - 1.0f / y.second) * y.second, x);
}

/* log x = e ln 2 + log(1 + f) with 1 + f in [sqrt(1/2), sqrt(2)), of x > 0. */
HT_DEVICE float math_log_positive(float x)
{
    const int tiny = x < 1.17549435e-38f;
    const float scaled = tiny ? x * 8388608.0f : x;
    const uint32_t bits = math_bits(scaled) - 0x3F3504F3u; /* sqrt(1/2): so the exponent changes there */
    const float e = (float)((int32_t)bits >> 23) - (tiny ? 23.0f : 0.0f);
    const float f = math_float((bits & 0x007FFFFFu) + 0x3F3504F3u) - 1.0f;
    float p = math_fma(0.06971611827611923f, f, -0.11479733884334564f);
    p = math_fma(p, f, 0.11685419827699661f);
    p = math_fma(p, f, -0.12425687164068222f);
    p = math_fma(p, f, 0.14249058067798615f);
    p = math_fma(p, f, -0.1666780263185501f);
    p = math_fma(p, f, 0.20000715553760529f);
    p = math_fma(p, f, -0.2499999701976776f);
    p = math_fma(p, f, 0.3333333134651184f);
    const float square = f * f;
    const float low = math_fma(e, LN2_LOW, math_fma(p * f, square, -0.5f * square));
    return math_fma(e, LN2_HIGH, f + low);
}
HT_DEVICE float math_log_f32(float x)
{
    const float y = math_log_positive(x);
    const float edge = x == 0.0f ? -INFINITY : (x == INFINITY ? x : NAN); /* 0, infinity; below 0 and NaN */
    return x > 0.0f && x < INFINITY ? y : edge;
}

/* log u with u = 1 + x as rounded, and the part of x that the rounding lost, which moves the logarithm by lost / u. */
HT_DEVICE float math_log1p_f32(float x)
{
    const float u = 1.0f + x, lost = x - (u - 1.0f);
    const float y = math_log_f32(u);
    return u > 0.0f && u < INFINITY ? y + lost / u : y;
}

/* An odd polynomial near 0, else 1 - 2 / (e^2|x| + 1) with the sign of x. */
HT_DEVICE float math_tanh_f32(float x)
{
    const float a = fabsf(x), z = x * x;
    float p = math_fma(0.002292744815349579f, z, -0.008343945257365704f);
    p = math_fma(p, z, 0.02176891826093197f);
    p = math_fma(p, z, -0.053959257900714874f);
    p = math_fma(p, z, 0.13333304226398468f);
    p = math_fma(p, z, -0.3333333432674408f);
    const float near = math_fma(p * z, a, a);
    const float far = 1.0f - 2.0f / (math_exp_f32(2.0f * a) + 1.0f);
    return copysignf(a < 0.625f ? near : far, x); /* NaN takes far, which is NaN */
}

/* What the product loses by rounding, exactly: without the instruction, by factors of 12 bits each. */
HT_DEVICE float math_product_rest(float a, float b, float product)
{
#if defined(FP_FAST_FMAF) || defined(__CUDACC__)
    return fmaf(a, b, -product);
#else
    const float a_high = math_float(math_bits(a) & 0xFFFFF000u), a_low = a - a_high;
    const float b_high = math_float(math_bits(b) & 0xFFFFF000u), b_low = b - b_high;
    return ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low;
#endif
}

/* erf x - x for |x| <= 0.8. */
HT_DEVICE float math_erf_near(float x)
{
    const float z = x * x;
    float p = math_fma(-0.000654381699860096f, z, 0.005086514167487621f);
    p = math_fma(p, z, -0.026821589097380638f);
    p = math_fma(p, z, 0.11283130943775177f);
    p = math_fma(p, z, -0.3761260211467743f);
    p = math_fma(p, z, 0.12837916612625122f);
    return p * x;
}

/*
 * erfc x = e^(-x^2) t P(t) with t = 1 / (x + 2), for x >= 0.8. What rounding took from x^2 and from t goes into the exponent:
 * where t is wrong by a small part of itself, t P(t) is wrong by about 0.88 + 3.1 t times as much.
 */
HT_DEVICE float math_erfc_far(float x)
{
    const float a = x > 11.0f ? 11.0f : x; /* beyond: 0; NaN stays */
    const float s = a + 2.0f, t = 1.0f / s, one = s * t, square = a * a;
    const float short_of = (1.0f - one) - math_product_rest(s, t, one) - (a - (s - 2.0f)) * t;
    float p = math_fma(-28.053529739379883f, t, 70.30769348144531f);
    p = math_fma(p, t, -61.6124153137207f);
    p = math_fma(p, t, 18.038904190063477f);
    p = math_fma(p, t, -1.0698020458221436f);
    p = math_fma(p, t, 3.3035457134246826f);
    p = math_fma(p, t, 1.9365017414093018f);
    p = math_fma(p, t, 1.130070686340332f);
    const float upper = p * t, q = upper + 0.5641574859619141f, y = q * t;
    const float lost = (0.5641574859619141f - q + upper) * t + math_product_rest(q, t, y);
    const float less = math_product_rest(a, a, square) - short_of * math_fma(3.1f, t, 0.88f);
    const math_power e = math_power_of(-square, less);
    return (y + math_fma(e.rest, y, lost)) * e.first * e.second;
}
HT_DEVICE float math_erf_f32(float x)
{
    const float a = fabsf(x);
    const float near = a + math_erf_near(a), far = 1.0f - math_erfc_far(a);
    return copysignf(a < 0.8f ? near : far, x); /* NaN takes far, which is NaN */
}
HT_DEVICE float math_erfc_f32(float x)
{
    const float a = fabsf(x);
    const float near = 1.0f - x - math_erf_near(x), far = math_erfc_far(a);
    return a < 0.8f ? near : (x < 0.0f ? 2.0f - far : far);
}

/* Up to here the multiples of pi / 2 have no more than 13 bits, and their products with parts of 11 bits are exact. */
#define HTI_TURN_MOST 8192.0f

/* sin and cos of |x| <= HTI_TURN_MOST: of x - n pi / 2, whose absolute value is at most pi / 4; n counts quarters of a turn. */
HT_DEVICE float math_turn(float x, uint32_t quarters)
{
    const float magic = 12582912.0f;
    const float shifted = math_fma(x, 0.636619772f, magic), n = shifted - magic;
    const float first = math_fma(n, -1.5703125f, x), second = math_fma(n, -0.000483751297f, first);
    const float third = n * -7.54953362e-08f, fourth = n * -2.56334407e-12f;
    const float almost = second + third, r = almost + fourth, z = r * r;
    const float rest = (second - almost + third) + (almost - r + fourth); /* what the last two sums lost */
    float s = math_fma(-0.00019587387214414775f, z, 0.008332746103405952f);
    s = math_fma(s, z, -0.166666641831398f);
    float c = math_fma(2.4547436623834074e-05f, z, -0.0013888300163671374f);
    c = math_fma(c, z, 0.0416666641831398f);
    const uint32_t at = math_bits(shifted) - math_bits(magic) + quarters;
    const float sine = r + math_fma(s * z, r, rest), cosine = math_fma(c * z, z, math_fma(-0.5f, z, 1.0f));
    return math_float(math_bits(at & 1u ? cosine : sine) ^ (at & 2u) << 30);
}
HT_DEVICE float math_sin_near(float x) { return x == 0.0f ? x : math_turn(x, 0); }
HT_DEVICE float math_cos_near(float x) { return math_turn(x, 1); }

/* Larger numbers, infinity and NaN are the library's: a loop over small ones takes math_sin_near, and gets equal bits. */
HT_DEVICE float math_sin_f32(float x) { return fabsf(x) <= HTI_TURN_MOST ? math_sin_near(x) : sinf(x); }
HT_DEVICE float math_cos_f32(float x) { return fabsf(x) <= HTI_TURN_MOST ? math_cos_near(x) : cosf(x); }

#undef LN2_HIGH
#undef LN2_LOW
