/*
 * core/base: checked sizes, the arena, shapes as text, messages, Philox against the published vectors of Random123,
 * parallel loops, large memory. Everything here is exact but the normals, which are compared with the C library's.
 */
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <ht/random.h>

#include "base/internal.h"
#include "tap.h"

static void test_sizes(void)
{
    int64_t out = 7;
    size_t bytes = 7;
    tap_ok(hti_multiply(INT64_MAX / 2, 2, &out) && out == INT64_MAX - 1, "a product just below 2^63");
    tap_ok(!hti_multiply(INT64_C(1) << 62, 2, &out) && out == INT64_MAX - 1, "2^62 * 2 is refused, out stays");
    tap_ok(!hti_multiply(INT64_C(1) << 32, INT64_C(1) << 32, &out), "2^32 * 2^32 is refused");
    tap_ok(hti_sum(INT64_MAX - 1, 1, &out) && out == INT64_MAX, "a sum that just fits");
    tap_ok(!hti_sum(INT64_MAX, 1, &out) && out == INT64_MAX, "a sum beyond 2^63 is refused, out stays");
    tap_ok(hti_bytes(3, 8, &bytes) && bytes == 24, "3 numbers of 8 bytes");
    tap_ok(!hti_bytes(-1, 8, &bytes) && bytes == 24, "a negative count is refused");
    tap_ok(!hti_bytes(INT64_C(1) << 60, 8, &bytes) && bytes == 24, "2^63 bytes are refused");
    tap_ok(hti_bytes((INT64_C(1) << 60) - 1, 8, &bytes), "8 bytes less are not");
}

static void test_names(void)
{
    tap_ok(strcmp(ht_status_name(HT_OK), "OK") == 0, "name of HT_OK");
    tap_ok(strcmp(ht_status_name(HT_ESHAPE), "ESHAPE") == 0, "name of HT_ESHAPE");
    tap_ok(strcmp(ht_status_name(HT_EINTERNAL), "EINTERNAL") == 0, "name of HT_EINTERNAL");
    tap_ok(strcmp(ht_status_name((ht_status)99), "?") == 0, "name of no status");
    tap_ok(ht_dtype_bytes(HT_F32) == 4 && ht_dtype_bytes(HT_F64) == 8 && ht_dtype_bytes(HT_I32) == 4, "bytes");
    tap_ok(ht_dtype_bytes((ht_dtype)0) == 0 && strcmp(ht_dtype_name((ht_dtype)9), "?") == 0, "no type");
    tap_ok(strcmp(ht_dtype_name(HT_F64), "f64") == 0, "name of HT_F64");
}

static void expect_text(ht_shape shape, const char *expected)
{
    char text[HT_SHAPE_TEXT];
    tap_ok(strcmp(ht_shape_text(shape, text), expected) == 0, "shape text %s", expected);
}

static void test_shapes(void)
{
    int64_t many[9] = {1, 1, 1, 1, 1, 1, 1, 1, 1};
    expect_text(HT_SHAPE(2, 3, 64, 64), "[2,3,64,64]");
    expect_text(HT_SCALAR, "[]");
    expect_text(HT_SHAPE(0), "[0]");
    expect_text(HT_SHAPE(-1, 5), "[-1,5]");
    expect_text(ht_shape_of(many, 9), "[?]");
    char text[HT_SHAPE_TEXT];
    int64_t huge[8];
    for (int32_t i = 0; i < 8; i++) huge[i] = INT64_MIN;
    ht_shape_text(ht_shape_of(huge, 8), text);
    tap_ok(strlen(text) == HT_SHAPE_TEXT - 1 && strcmp(text + HT_SHAPE_TEXT - 5, "...]") == 0, "a long text is cut");
    tap_ok(ht_shape_of(many, 9).rank == -1 && ht_shape_count(ht_shape_of(many, 9)) == -1, "9 sizes are no shape");
    tap_ok(ht_shape_count(HT_SCALAR) == 1 && ht_shape_count(HT_SHAPE(2, 3)) == 6, "counts");
    tap_ok(ht_shape_count(HT_SHAPE(3, 0, 5)) == 0, "an empty shape has no elements");
    tap_ok(ht_shape_count(HT_SHAPE(3, -1)) == -1, "a negative size has no count");
    tap_ok(ht_shape_count(HT_SHAPE(INT64_C(1) << 32, INT64_C(1) << 31)) == -1, "2^63 elements have no count");
    tap_ok(ht_shape_count(HT_SHAPE(INT64_C(1) << 31, INT64_C(1) << 31)) == INT64_C(1) << 62, "2^62 have");
    tap_ok(ht_shape_count(HT_SHAPE(0, INT64_C(1) << 32, INT64_C(1) << 32)) == -1, "a size of 0 hides no overflow");
    tap_ok(ht_shape_equal(HT_SHAPE(2, 3), HT_SHAPE(2, 3)) && !ht_shape_equal(HT_SHAPE(2, 3), HT_SHAPE(3, 2)) &&
               !ht_shape_equal(HT_SHAPE(2, 1), HT_SHAPE(2)), "equality of shapes");
}

static void test_messages(void)
{
    ht_error error = {0};
    tap_ok(ht_fail(NULL, HT_EINVALID, "x") == HT_EINVALID, "a record may be absent");
    tap_ok(ht_fail(&error, HT_ESHAPE, "first %d", 1) == HT_ESHAPE && error.status == HT_ESHAPE, "the status is set");
    tap_ok(ht_fail(&error, HT_EIO, "second") == HT_EIO && error.status == HT_ESHAPE &&
               strcmp(error.message, "first 1") == 0, "the first message stays");
    error = (ht_error){0};
    ht_fail(&error, HT_EIO, "a\nb\x1B[31m\x7F");
    tap_ok(strcmp(error.message, "a?b?[31m?") == 0, "a message is one line without control characters");
    char text[HT_MESSAGE_BYTES + 50];
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = 0;
    error = (ht_error){0};
    ht_fail(&error, HT_EIO, "%s", text);
    tap_ok(strlen(error.message) == HT_MESSAGE_BYTES - 1 &&
               strcmp(error.message + HT_MESSAGE_BYTES - 4, "...") == 0, "a long message is cut and says so");
    for (size_t i = 1; i + 1 < sizeof text; i += 2) memcpy(text + i, "\xC3\xA4", 2);
    error = (ht_error){0};
    ht_fail(&error, HT_EIO, "%s", text);
    size_t end = strlen(error.message) - 3;
    tap_ok(strcmp(error.message + end, "...") == 0 && error.message[end - 1] == '\xA4', "not within a character");
}

static void test_arena(void)
{
    hti_arena arena = {0};
    bool aligned = true, zeroed = true, apart = true;
    unsigned char *last = NULL;
    for (size_t i = 0; i < 3000; i++) {
        size_t bytes = i % 97 + (i % 500 == 0 ? 300000 : 0);
        unsigned char *block = hti_arena_take(&arena, bytes);
        if (!block) break;
        aligned = aligned && (uintptr_t)block % 16 == 0;
        apart = apart && block != last;
        for (size_t j = 0; j < bytes; j++) zeroed = zeroed && block[j] == 0;
        memset(block, 0xAB, bytes);
        last = block;
    }
    tap_ok(aligned, "blocks are aligned to 16 bytes");
    tap_ok(zeroed, "blocks are zeroed and do not overlap");
    tap_ok(apart, "blocks of 0 bytes have places of their own");
    tap_ok(arena.used_bytes >= 6 * 300000, "the bytes are counted");
    char *text = hti_arena_text(&arena, "a name");
    tap_ok(text && strcmp(text, "a name") == 0, "a text is copied");
    tap_ok(!hti_arena_take(&arena, SIZE_MAX) && !hti_arena_take(&arena, SIZE_MAX - 20), "SIZE_MAX bytes are refused");
    tap_ok(!hti_arena_array(&arena, INT64_MAX, 16) && !hti_arena_array(&arena, -1, 1), "a wrong product is refused");
    tap_ok(hti_arena_array(&arena, 0, 16) != NULL, "0 elements are a block");
    hti_arena_free(&arena);
    tap_ok(!arena.block && arena.used_bytes == 0, "freed");
    hti_arena_free(&arena);
}

static void expect_philox(uint64_t key, uint64_t low, uint64_t high, const uint32_t expected[4], const char *name)
{
    ht_philox drawn = ht_philox_draw(key, low, high);
    tap_ok(memcmp(drawn.word, expected, sizeof drawn.word) == 0, "Philox4x32-10, %s", name);
}

static void test_random(void)
{
    static const uint32_t zeros[4] = {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8};
    static const uint32_t ones[4] = {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd};
    static const uint32_t digits[4] = {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1};
    expect_philox(0, 0, 0, zeros, "zeros");
    expect_philox(UINT64_MAX, UINT64_MAX, UINT64_MAX, ones, "ones");
    expect_philox(0x299f31d0a4093822, 0x85a308d3243f6a88, 0x0370734413198a2e, digits, "digits of pi");
    tap_ok(ht_random_word(0, 0, 2) == zeros[2], "the word of an element is a word of its block");
    tap_ok(ht_random_unit(0) > 0 && ht_random_unit(UINT32_MAX) < 1, "uniforms lie within (0, 1)");
    bool exact = true;
    for (uint64_t i = 0; i < 4096; i++) {
        double unit = ht_random_unit((uint32_t)(UINT32_MAX - i * 1048583));
        exact = exact && (double)(float)unit == unit;
    }
    tap_ok(exact && (float)ht_random_unit(UINT32_MAX) < 1, "exactly so in f32");
    tap_ok(ht_random_key(1, "a") != ht_random_key(1, "b") && ht_random_key(1, "a") != ht_random_key(2, "a"),
           "streams differ by name and seed");
}

/* Whole turns and ends of the range first, then words from anywhere. */
static void test_normals(void)
{
    static const uint32_t edges[] = {0, 1u << 29, 1u << 30, 3u << 29, 1u << 31, 5u << 29, 3u << 30, 7u << 29, UINT32_MAX};
    enum { EDGES = sizeof edges / sizeof *edges, DRAWS = 200000 };
    double worst = 0, most = 0;
    for (int64_t i = 0; i < DRAWS; i++) {
        const ht_philox any = ht_philox_draw(1, (uint64_t)i, 0);
        const uint32_t length = i < EDGES * EDGES ? edges[i / EDGES] - (any.word[3] & 1) * 512 : any.word[0];
        const uint32_t turn = i < EDGES * EDGES ? edges[i % EDGES] - (any.word[2] & 1) * 512 : any.word[1];
        const ht_random_pair pair = ht_random_normals(length, turn);
        const double radius = sqrt(-2 * log(ht_random_unit(length))), angle = 6.283185307179586 * ht_random_unit(turn);
        worst = fmax(worst, fabs(pair.first - radius * cos(angle)) / radius);
        worst = fmax(worst, fabs(pair.second - radius * sin(angle)) / radius);
        most = fmax(most, fmax(fabs(pair.first), fabs(pair.second)));
    }
    tap_ok(worst < 0x1p-50 && most < 5.8, "normals are Box and Muller's: %.2g of the radius off, at most %.3f", worst, most);
}

static void test_memory(void)
{
    char *none = hti_memory(0, 100), *some = hti_memory(99, 100), *large = hti_memory(HTI_HUGE_PAGE + 1, HTI_HUGE_PAGE);
    tap_ok(none && some && large && ((uintptr_t)none | (uintptr_t)some) % 64 == 0 && (uintptr_t)large % HTI_HUGE_PAGE == 0,
           "memory is aligned, large memory to huge pages");
    if (large) large[5] = 7;
    hti_memory_wake(large, HTI_HUGE_PAGE + 1);
    hti_memory_wake(some, 99);
    tap_ok(large && large[5] == 7 && !hti_memory(SIZE_MAX - 3, 100), "waking it changes nothing; what cannot be is refused");
    free(none);
    free(some);
    free(large);
}

static void test_hash(void)
{
    tap_ok(hti_hash(HTI_HASH_START, "", 0) == HTI_HASH_START, "FNV-1a of nothing");
    tap_ok(hti_hash(HTI_HASH_START, "a", 1) == UINT64_C(0xaf63dc4c8601ec8c), "FNV-1a of \"a\"");
    tap_ok(hti_hash(HTI_HASH_START, "foobar", 6) == UINT64_C(0x85944171f73967e8), "FNV-1a of \"foobar\"");
    tap_ok(hti_hash(hti_hash(HTI_HASH_START, "foo", 3), "bar", 3) == UINT64_C(0x85944171f73967e8), "in two parts");
}

#define MOST 1000

typedef struct visits {
    int64_t grain, n;
    int32_t times[MOST];
    int32_t wrong[MOST]; /* per chunk: each thread writes its own */
} visits;

static void visit(void *context, int64_t begin, int64_t end)
{
    visits *v = context;
    int64_t expected_end = begin + v->grain < v->n ? begin + v->grain : v->n;
    if (begin % v->grain != 0 || end != expected_end) v->wrong[begin / v->grain] = 1;
    for (int64_t i = begin; i < end; i++) v->times[i]++;
}

static void test_parallel(void)
{
    static const int64_t sizes[] = {0, 1, 7, 8, 9, 63, 1000}, grains[] = {1, 3, 8, 1000, INT64_MAX};
    static const int32_t teams[] = {-1, 0, 1, 2, 4};
    for (size_t t = 0; t < sizeof teams / sizeof teams[0]; t++) {
        bool once = true, chunked = true;
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
            for (size_t g = 0; g < sizeof grains / sizeof grains[0]; g++) {
                visits *v = calloc(1, sizeof *v);
                if (!v) exit(1);
                v->n = sizes[i];
                v->grain = grains[g] < MOST ? grains[g] : MOST;
                hti_parallel_for(teams[t], v->n, grains[g], visit, v);
                for (int64_t k = 0; k < MOST; k++) {
                    once = once && v->times[k] == (k < v->n);
                    chunked = chunked && !v->wrong[k];
                }
                free(v);
            }
        tap_ok(once, "%d threads: every index once", teams[t]);
        tap_ok(chunked, "%d threads: chunks depend on the grain alone", teams[t]);
    }
}

int main(void)
{
    test_sizes();
    test_names();
    test_shapes();
    test_messages();
    test_arena();
    test_random();
    test_normals();
    test_memory();
    test_hash();
    test_parallel();
    return tap_done();
}
