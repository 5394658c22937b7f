/*
 * The few pointwise kernels that integers have too: sums and products modulo 2^32; affine in double, which holds every
 * integer, then as a cast does. Included once, with T as int32_t, after move.inl for double; see kernel.h.
 */
HT_DEVICE T HT_NAME(k_stop)(T x, double p, double q)
{
    (void)p, (void)q;
    return x;
}
HT_DEVICE T HT_NAME(k_affine)(T x, double p, double q) { return k_to_i32_f64(p * (double)x + q, p, q); }
HT_DEVICE T HT_NAME(k_add)(T a, T b) { return (T)((uint32_t)a + (uint32_t)b); }
HT_DEVICE T HT_NAME(k_sub)(T a, T b) { return (T)((uint32_t)a - (uint32_t)b); }
HT_DEVICE T HT_NAME(k_mul)(T a, T b) { return (T)((uint32_t)a * (uint32_t)b); }
HT_DEVICE T HT_NAME(k_greater)(T a, T b) { return a > b ? 1 : 0; }
HT_DEVICE T HT_NAME(k_where)(T c, T a, T b) { return c != 0 ? a : b; }
