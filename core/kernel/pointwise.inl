/*
 * Pointwise kernels: one number from one, two or three numbers. p and q are the op's attributes (factor and term;
 * slope; exponent). Included once per type, see kernel.h.
 */
#define UNARY(name, value)                     \
    HT_DEVICE T HT_NAME(k_##name)(T x, T p, T q) \
    {                                          \
        (void)p, (void)q;                      \
        return value;                          \
    }
#define BINARY(name, value) \
    HT_DEVICE T HT_NAME(k_##name)(T a, T b) { return value; }

UNARY(stop, x)
UNARY(affine, p *x + q)
UNARY(exp, HT_NAME(math_exp)(x))
UNARY(expm1, HT_NAME(math_expm1)(x))
UNARY(log, HT_NAME(math_log)(x))
UNARY(log1p, HT_NAME(math_log1p)(x))
UNARY(sqrt, HT_NAME(math_sqrt)(x))
UNARY(safe_sqrt, HT_NAME(math_sqrt)(x))
UNARY(square, x *x)
UNARY(reciprocal, (T)1 / x)
UNARY(sin, HT_NAME(math_sin)(x))
UNARY(cos, HT_NAME(math_cos)(x))
UNARY(tanh, HT_NAME(math_tanh)(x))
UNARY(erf, HT_NAME(math_erf)(x))
UNARY(erfc, HT_NAME(math_erfc)(x))
UNARY(leaky_relu, x > (T)0 ? x : p * x)
UNARY(leaky_gate, x > (T)0 ? (T)1 : p)
UNARY(abs, HT_NAME(math_fabs)(x))
UNARY(round, HT_NAME(math_rint)(x))
UNARY(positive, x > (T)0 ? (T)1 : (T)0)
/* x itself if it is neither above nor below: zeros and NaN stay. */
UNARY(sign, x > (T)0 ? (T)1 : (x < (T)0 ? (T)-1 : x))
UNARY(rsqrt, (T)1 / HT_NAME(math_sqrt)(x))
UNARY(softplus, (x > (T)0 ? x : (T)0) + HT_NAME(math_log1p)(HT_NAME(math_exp)(-HT_NAME(math_fabs)(x))))

/* The exponential of -|x| cannot overflow; both branches are exact for large |x|. */
HT_DEVICE T HT_NAME(k_sigmoid)(T x, T p, T q)
{
    (void)p, (void)q;
    const T e = HT_NAME(math_exp)(-HT_NAME(math_fabs)(x));
    return (x >= (T)0 ? (T)1 : e) / ((T)1 + e);
}

/* The frequent exponents are functions of their own; a loop may take those instead and gets equal bits. */
HT_DEVICE T HT_NAME(k_pow)(T x, T p, T q)
{
    if (p == (T)2) return HT_NAME(k_square)(x, p, q);
    if (p == (T)1) return x;
    if (p == (T)0.5) return HT_NAME(k_sqrt)(x, p, q);
    if (p == (T)-1) return HT_NAME(k_reciprocal)(x, p, q);
    if (p == (T)-0.5) return HT_NAME(k_rsqrt)(x, p, q);
    return HT_NAME(math_pow)(x, p);
}

BINARY(add, a + b)
BINARY(sub, a - b)
BINARY(mul, a *b)
BINARY(div, a / b)
BINARY(greater, a > b ? (T)1 : (T)0)
BINARY(equal, a == b ? (T)1 : (T)0)
/* a - b with b the largest of a row: equal infinities leave 0 (+inf), or stay (-inf), where a difference would be NaN. */
BINARY(shift, a == b ? (a == -(T)INFINITY ? a : (T)0) : a - b)

HT_DEVICE T HT_NAME(k_where)(T c, T a, T b) { return c != (T)0 ? a : b; }

#undef UNARY
#undef BINARY
