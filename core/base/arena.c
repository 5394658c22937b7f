/*
 * The arena: blocks from calloc, handed out front to back, freed together. Not for memory that must be given back
 * piece by piece. Small requests share blocks that double in size; a large one gets a block of its own, behind the
 * current block, whose room stays in use.
 */
#include <stdlib.h>
#include <string.h>

#include "base/internal.h"

#define ALIGNMENT 16u
#define FIRST_BLOCK_BYTES ((size_t)4096)
#define LARGEST_SHARED_BYTES ((size_t)1 << 20)

struct hti_arena_block {
    struct hti_arena_block *older;
    size_t room_bytes, taken_bytes; /* of the bytes that follow this head */
};

#define HEAD_BYTES ((sizeof(struct hti_arena_block) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT)

static struct hti_arena_block *new_block(size_t room_bytes)
{
    if (room_bytes > SIZE_MAX - HEAD_BYTES) return NULL;
    struct hti_arena_block *block = calloc(1, HEAD_BYTES + room_bytes);
    if (block) block->room_bytes = room_bytes;
    return block;
}

/* The block that has room for a request, which is a multiple of ALIGNMENT. */
static struct hti_arena_block *block_for(hti_arena *arena, size_t bytes)
{
    struct hti_arena_block *current = arena->block;
    if (current && bytes <= current->room_bytes - current->taken_bytes) return current;
    size_t shared = FIRST_BLOCK_BYTES;
    if (current && current->room_bytes >= shared) shared = current->room_bytes * 2;
    if (shared > LARGEST_SHARED_BYTES) shared = LARGEST_SHARED_BYTES;
    bool own = bytes > shared / 4;
    struct hti_arena_block *block = new_block(own ? bytes : shared);
    if (!block) return NULL;
    if (own && current) {
        block->older = current->older;
        current->older = block;
    } else {
        block->older = current;
        arena->block = block;
    }
    return block;
}

void *hti_arena_take(hti_arena *arena, size_t bytes)
{
    if (bytes > SIZE_MAX - ALIGNMENT) return NULL;
    if (bytes == 0) bytes = 1;
    bytes = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    struct hti_arena_block *block = block_for(arena, bytes);
    if (!block) return NULL;
    char *place = (char *)block + HEAD_BYTES + block->taken_bytes;
    block->taken_bytes += bytes;
    arena->used_bytes += bytes;
    return place;
}

void *hti_arena_array(hti_arena *arena, int64_t count, size_t each)
{
    size_t bytes;
    return hti_bytes(count, each, &bytes) ? hti_arena_take(arena, bytes) : NULL;
}

char *hti_arena_text(hti_arena *arena, const char *text)
{
    size_t bytes = strlen(text) + 1;
    char *copy = hti_arena_take(arena, bytes);
    return copy ? memcpy(copy, text, bytes) : NULL;
}

void hti_arena_free(hti_arena *arena)
{
    struct hti_arena_block *block = arena->block;
    while (block) {
        struct hti_arena_block *older = block->older;
        free(block);
        block = older;
    }
    *arena = (hti_arena){0};
}
