/* Shared within the library, not for users: checked sizes, the arena, parallel loops, hashing. */
#ifndef HTI_BASE_INTERNAL_H
#define HTI_BASE_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ht/base.h>

/* ---- checked sizes: false (and *out untouched) on overflow ---- */
static inline bool hti_multiply(int64_t a, int64_t b, int64_t *out)
{
    int64_t r;
    if (__builtin_mul_overflow(a, b, &r)) return false;
    *out = r;
    return true;
}
static inline bool hti_sum(int64_t a, int64_t b, int64_t *out)
{
    int64_t r;
    if (__builtin_add_overflow(a, b, &r)) return false;
    *out = r;
    return true;
}
static inline bool hti_bytes(int64_t count, size_t each, size_t *out)
{
    size_t r;
    if (count < 0 || __builtin_mul_overflow((size_t)count, each, &r) || r > (size_t)INT64_MAX) return false;
    *out = r;
    return true;
}

/* ---- arena: a bump allocator of zeroed, 16-byte aligned blocks, freed together ---- */
typedef struct hti_arena {
    struct hti_arena_block *block;
    size_t used_bytes;
} hti_arena;
/* NULL if the system refuses. bytes = 0 gives a valid pointer. */
void *hti_arena_take(hti_arena *arena, size_t bytes);
/* count * each with the product checked. */
void *hti_arena_array(hti_arena *arena, int64_t count, size_t each);
char *hti_arena_text(hti_arena *arena, const char *text);
void hti_arena_free(hti_arena *arena);

/* ---- large memory: 64-byte aligned, not zeroed, never NULL for 0 bytes; NULL if refused. free() gives it back. ---- */
#define HTI_HUGE_PAGE ((size_t)2 << 20)
/* Blocks of `large` bytes or more are whole huge pages, where the system has them. */
void *hti_memory(size_t bytes, size_t large);
/* Takes large memory now, before it is read: pages of zeros that are read first stay small in Linux 5.8 to 6.12. A hint. */
void hti_memory_wake(void *memory, size_t bytes);

/* ---- parallel loops: chunks depend on the problem alone, never on the number of threads ---- */
typedef void (*hti_body)(void *context, int64_t begin, int64_t end);
/* Calls body on [0, n) in chunks of `grain` (>= 1), on at most `threads` threads. */
void hti_parallel_for(int32_t threads, int64_t n, int64_t grain, hti_body body, void *context);

/* FNV-1a of bytes, continued from h (start with HTI_HASH_START). */
#define HTI_HASH_START UINT64_C(0xCBF29CE484222325)
uint64_t hti_hash(uint64_t h, const void *bytes, size_t count);

/* Of a clock that never goes back. */
int64_t hti_nanoseconds(void);

#endif
