/*
 * Includes the text named by HT_BODY once for each real number type, with T and HT_NAME(name) set:
 *     #define HT_BODY "kernel/random.inl"
 *     #include "kernel/reals.h"
 * Meant to be included many times, so it has no guard.
 */
#define T float
#define HT_NAME(name) name##_f32
#include HT_BODY
#undef T
#undef HT_NAME

#define T double
#define HT_NAME(name) name##_f64
#include HT_BODY
#undef T
#undef HT_NAME

#undef HT_BODY
