/*
 * Status names, number types, shapes as values and as text, the error record, large memory, hashing, a clock.
 * A message is always one line: bytes that would break or colour a terminal are shown as '?', and a message that is
 * too long is cut between characters and ends with "...".
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "base/internal.h"

const char *ht_status_name(ht_status status)
{
    static const char *const names[] = {
        [HT_OK] = "OK",
        [HT_EINVALID] = "EINVALID",
        [HT_ESHAPE] = "ESHAPE",
        [HT_EDTYPE] = "EDTYPE",
        [HT_EDEVICE] = "EDEVICE",
        [HT_ENOMEM] = "ENOMEM",
        [HT_EIO] = "EIO",
        [HT_EFORMAT] = "EFORMAT",
        [HT_EUNSUPPORTED] = "EUNSUPPORTED",
        [HT_EINTERRUPTED] = "EINTERRUPTED",
        [HT_EINTERNAL] = "EINTERNAL",
    };
    size_t index = (size_t)status;
    return index < sizeof names / sizeof names[0] ? names[index] : "?";
}

size_t ht_dtype_bytes(ht_dtype dtype)
{
    switch (dtype) {
    case HT_F32: return sizeof(float);
    case HT_F64: return sizeof(double);
    case HT_I32: return sizeof(int32_t);
    }
    return 0;
}

const char *ht_dtype_name(ht_dtype dtype)
{
    switch (dtype) {
    case HT_F32: return "f32";
    case HT_F64: return "f64";
    case HT_I32: return "i32";
    }
    return "?";
}

ht_shape ht_shape_of(const int64_t *dim, int32_t rank)
{
    ht_shape shape = {0};
    if (rank < 0 || rank > HT_MAX_RANK) {
        shape.rank = -1;
        return shape;
    }
    shape.rank = rank;
    for (int32_t i = 0; i < rank; i++) shape.dim[i] = dim[i];
    return shape;
}

/* A size of 0 does not excuse the others: strides are products of sizes too, and must not leave int64_t. */
int64_t ht_shape_count(ht_shape shape)
{
    if (shape.rank < 0 || shape.rank > HT_MAX_RANK) return -1;
    int64_t product = 1;
    bool empty = false;
    for (int32_t i = 0; i < shape.rank; i++) {
        if (shape.dim[i] < 0) return -1;
        if (shape.dim[i] == 0) empty = true;
        else if (!hti_multiply(product, shape.dim[i], &product)) return -1;
    }
    return empty ? 0 : product;
}

int ht_shape_equal(ht_shape a, ht_shape b)
{
    if (a.rank != b.rank) return 0;
    for (int32_t i = 0; i < a.rank && i < HT_MAX_RANK; i++)
        if (a.dim[i] != b.dim[i]) return 0;
    return 1;
}

char *ht_shape_text(ht_shape shape, char text[HT_SHAPE_TEXT])
{
    char whole[HT_MAX_RANK * 21 + 3]; /* a size has at most 20 characters and a comma */
    size_t used = 0;
    if (shape.rank < 0 || shape.rank > HT_MAX_RANK) return strcpy(text, "[?]");
    whole[used++] = '[';
    for (int32_t i = 0; i < shape.rank; i++)
        used += (size_t)snprintf(whole + used, sizeof whole - used, "%s%" PRId64, i ? "," : "", shape.dim[i]);
    whole[used++] = ']';
    whole[used] = 0;
    if (used < HT_SHAPE_TEXT) return memcpy(text, whole, used + 1);
    static const char cut[] = "...]";
    memcpy(text, whole, HT_SHAPE_TEXT - sizeof cut);
    memcpy(text + HT_SHAPE_TEXT - sizeof cut, cut, sizeof cut);
    return text;
}

/* Ends a text that filled its buffer with "...", not within a character of UTF-8. */
static void mark_cut(char *text, size_t bytes)
{
    size_t at = bytes - sizeof "...";
    while (at > 0 && ((unsigned char)text[at] & 0xC0u) == 0x80u) at--;
    memcpy(text + at, "...", sizeof "...");
}

ht_status ht_fail(ht_error *error, ht_status status, const char *format, ...)
{
    if (!error || error->status != HT_OK) return status;
    va_list list;
    va_start(list, format);
    int length = vsnprintf(error->message, sizeof error->message, format, list);
    va_end(list);
    if (length < 0) error->message[0] = 0;
    if (length >= (int)sizeof error->message) mark_cut(error->message, sizeof error->message);
    for (char *at = error->message; *at; at++)
        if ((unsigned char)*at < 0x20u || *at == 0x7F) *at = '?';
    error->status = status;
    return status;
}

void *hti_memory(size_t bytes, size_t large)
{
    if (bytes > (size_t)1 << 46) return NULL; /* beyond what a process can address */
    const size_t unit = bytes >= large ? HTI_HUGE_PAGE : 64, whole = bytes ? (bytes + unit - 1) / unit * unit : unit;
    void *memory = aligned_alloc(unit, whole);
#if defined(MADV_HUGEPAGE)
    if (memory && bytes >= large) (void)madvise(memory, whole, MADV_HUGEPAGE); /* a wish: without it all is as before */
#endif
    return memory;
}

void hti_memory_wake(void *memory, size_t bytes)
{
#if defined(MADV_POPULATE_WRITE)
    (void)madvise(memory, bytes, MADV_POPULATE_WRITE);
#endif
    (void)memory, (void)bytes;
}

uint64_t hti_hash(uint64_t h, const void *bytes, size_t count)
{
    const unsigned char *at = bytes;
    for (size_t i = 0; i < count; i++) h = (h ^ at[i]) * UINT64_C(0x100000001B3);
    return h;
}

int64_t hti_nanoseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}
