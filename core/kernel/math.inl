/*
 * exp, log, log1p and tanh for f32, in plain arithmetic: no branches, no tables, no library. So loops over them become
 * vector loops, and one element has equal bits wherever it stands in a loop, alone, and on a GPU. (A vector library has
 * other bits in the tail of a loop.) At most 2 ulp off, and what is made of them (sigmoid, softplus) 2.5:
 * tests/test_math.c measures it. The polynomials interpolate the functions at Chebyshev nodes. Included once, by
 * kernel.h.
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

/* e^x = 2^n e^r with |r| <= ln 2 / 2. Adding 1.5 * 2^23 rounds to an integer, which then stands in the low bits. */
HT_DEVICE float math_exp_f32(float x)
{
    const float magic = 12582912.0f;
    const float high = x > 89.0f ? 89.0f : x;          /* beyond: infinity; NaN stays in both */
    const float bounded = high < -104.0f ? -104.0f : high; /* beyond: 0 */
    const float shifted = math_fma(bounded, 1.44269504f, magic);
    const float n = shifted - magic;
    const float r = math_fma(n, -LN2_LOW, math_fma(n, -LN2_HIGH, bounded));
    float p = math_fma(0.001392655074596405f, r, 0.008363472297787666f);
    p = math_fma(p, r, 0.04166655242443085f);
    p = math_fma(p, r, 0.16666574776172638f);
    p = math_fma(p, r, 0.5f);
    p = math_fma(p * r, r, r) + 1.0f;
    /* Two factors: 2^128 and 2^-150 are no normal numbers. */
    const int32_t exponent = (int32_t)(math_bits(shifted) - math_bits(magic)), half = exponent / 2;
    const float first = math_float((uint32_t)(half + 127) << 23);
    const float second = math_float((uint32_t)(exponent - half + 127) << 23);
    return p * first * second;
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

#undef LN2_HIGH
#undef LN2_LOW
