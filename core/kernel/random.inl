/*
 * Random numbers as functions of (key, step, element): nothing is stored, and the element is counted row-major in the
 * logical shape, so that neither threads nor physical order move a number. Included once per type, see kernel.h.
 */
HT_DEVICE T HT_NAME(k_uniform_word)(uint32_t word) { return (T)ht_random_unit(word); }
HT_DEVICE T HT_NAME(k_bernoulli_word)(uint32_t word, double probability)
{
    return ht_random_unit(word) < probability ? (T)1 : (T)0;
}
/* In double for both types: they agree to rounding. */
HT_DEVICE T HT_NAME(k_normal_words)(uint32_t radius, uint32_t angle) { return (T)ht_random_normals(radius, angle).first; }

HT_DEVICE T HT_NAME(k_uniform)(uint64_t key, uint64_t step, int64_t element)
{
    return HT_NAME(k_uniform_word)(ht_random_word(key, step, (uint64_t)element));
}
HT_DEVICE T HT_NAME(k_bernoulli)(uint64_t key, uint64_t step, int64_t element, double probability)
{
    return HT_NAME(k_bernoulli_word)(ht_random_word(key, step, (uint64_t)element), probability);
}
/* Two words of a stream of its own, so that normals are no function of the uniforms of the same key. */
HT_DEVICE T HT_NAME(k_normal)(uint64_t key, uint64_t step, int64_t element)
{
    const uint64_t own = ht_random_mix(key, 1), first = 2 * (uint64_t)element;
    return HT_NAME(k_normal_words)(ht_random_word(own, step, first), ht_random_word(own, step, first + 1));
}
