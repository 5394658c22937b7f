/*
 * Stores: named tensors in blocks of their own, found through a hash table of indices. Not the files: safetensors.c.
 * Everything that can be refused is done before anything changes, so that a store is never half way.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <ht/random.h>

#include "store/internal.h"

#define LARGE_BLOCK_BYTES (4 * HTI_HUGE_PAGE)
#define FIRST_ROOM 16
#define MOST_TENSORS (1 << 28)

typedef struct slot {
    char *name;
    void *data;
    int64_t count;
    ht_shape shape;
    ht_dtype dtype;
    ht_role role;
} slot;

struct ht_store {
    ht_device *device;
    slot *slots;
    int32_t *table; /* open addressing over names: index + 1, or 0; a power of two, at most half full */
    int32_t count, room, table_room, programs;
};

const char *hti_name_fault(const char *name)
{
    if (!name || !*name) return "is empty";
    size_t bytes = 0;
    for (; name[bytes]; bytes++) {
        if (name[bytes] < 0x20 || name[bytes] > 0x7E) return "has a character that is not printable ASCII";
        if (bytes == HTI_NAME_BYTES) return "is longer than 255 bytes";
    }
    return strcmp(name, HTI_METADATA_NAME) == 0 ? "is reserved by the file format" : NULL;
}

void *hti_block_take(size_t bytes)
{
    void *block = hti_memory(bytes, LARGE_BLOCK_BYTES);
#if defined(__linux__) /* what was thrown away is zeros once it is asked for */
    if (block && bytes >= LARGE_BLOCK_BYTES && madvise(block, bytes, MADV_DONTNEED) == 0) return block;
#endif
    return block ? memset(block, 0, bytes) : NULL;
}

ht_store *ht_store_new(ht_device *device)
{
    ht_store *store = calloc(1, sizeof *store);
    if (store) store->device = device;
    return store;
}

ht_status ht_store_free(ht_store *store)
{
    if (!store) return HT_OK;
    if (store->programs > 0) return HT_EINVALID;
    for (int32_t i = 0; i < store->count; i++) {
        free(store->slots[i].name);
        free(store->slots[i].data);
    }
    free(store->slots);
    free(store->table);
    free(store);
    return HT_OK;
}

void hti_store_retain(ht_store *store) { store->programs++; }
void hti_store_release(ht_store *store) { store->programs--; }

/* The table's place of a name: where it stands, or where it would be put. */
static int32_t *place_of(const ht_store *store, const char *name)
{
    uint32_t mask = (uint32_t)store->table_room - 1;
    uint32_t at = (uint32_t)hti_hash(HTI_HASH_START, name, strlen(name)) & mask;
    while (store->table[at] && strcmp(store->slots[store->table[at] - 1].name, name) != 0) at = (at + 1) & mask;
    return &store->table[at];
}

int32_t ht_store_find(const ht_store *store, const char *name)
{
    return store->count && name ? *place_of(store, name) - 1 : -1;
}

bool hti_store_reserve(ht_store *store, int32_t more)
{
    if (more > MOST_TENSORS - store->count) return false;
    int32_t need = store->count + more, room = store->room ? store->room : FIRST_ROOM;
    if (need <= store->room) return true;
    while (room < need) room *= 2;
    slot *slots = realloc(store->slots, (size_t)room * sizeof *slots);
    if (!slots) return false;
    store->slots = slots;
    int32_t *table = calloc((size_t)room * 2, sizeof *table);
    if (!table) return false;
    free(store->table);
    store->table = table;
    store->table_room = room * 2;
    store->room = room;
    for (int32_t i = 0; i < store->count; i++) *place_of(store, store->slots[i].name) = i + 1;
    return true;
}

int32_t hti_store_adopt(ht_store *store, char *name, ht_dtype dtype, ht_shape shape, ht_role role, void *data)
{
    int32_t index = store->count++;
    store->slots[index] = (slot){.name = name, .data = data, .count = ht_shape_count(shape), .shape = shape,
                                 .dtype = dtype, .role = role};
    *place_of(store, name) = index + 1;
    return index;
}

bool hti_store_check_name(const ht_store *store, const char *name, ht_error *error)
{
    const char *fault = hti_name_fault(name);
    if (fault)
        ht_fail(error, HT_EINVALID, "store: name \"%.64s\" %s; expected 1 to %d printable characters of ASCII",
                name ? name : "", fault, HTI_NAME_BYTES);
    else if (ht_store_find(store, name) >= 0)
        ht_fail(error, HT_EINVALID, "store: \"%s\" is there already; expected a new name", name);
    else return true;
    return false;
}

int32_t ht_store_add(ht_store *store, const char *name, ht_dtype dtype, ht_shape shape, ht_role role, ht_error *error)
{
    char text[HT_SHAPE_TEXT];
    size_t bytes;
    void *data = NULL;
    char *copy = NULL;
    if (!hti_store_check_name(store, name, error)) return -1;
    if (!ht_dtype_bytes(dtype))
        ht_fail(error, HT_EINVALID, "store: \"%s\": number type %d is none; expected f32, f64 or i32", name, (int)dtype);
    else if (role != HT_PARAMETER && role != HT_BUFFER)
        ht_fail(error, HT_EINVALID, "store: \"%s\": role %d is none; expected HT_PARAMETER or HT_BUFFER", name, (int)role);
    else if (ht_shape_count(shape) < 0)
        ht_fail(error, HT_ESHAPE, "store: \"%s\": shape %s; expected at most %d sizes, none negative, and a product below 2^63",
                name, ht_shape_text(shape, text), HT_MAX_RANK);
    else if (hti_bytes(ht_shape_count(shape), ht_dtype_bytes(dtype), &bytes) && hti_store_reserve(store, 1) &&
             (copy = strdup(name)) && (data = hti_block_take(bytes)))
        return hti_store_adopt(store, copy, dtype, shape, role, data);
    else
        ht_fail(error, HT_ENOMEM, "store: \"%s\": no memory for %s %s; take a smaller shape or free some", name,
                ht_dtype_name(dtype), ht_shape_text(shape, text));
    free(copy);
    return -1;
}

ht_device *ht_store_device(const ht_store *store) { return store->device; }
int32_t ht_store_count(const ht_store *store) { return store->count; }
const char *ht_store_name(const ht_store *store, int32_t index) { return store->slots[index].name; }
ht_dtype ht_store_dtype(const ht_store *store, int32_t index) { return store->slots[index].dtype; }
ht_shape ht_store_shape(const ht_store *store, int32_t index) { return store->slots[index].shape; }
ht_role ht_store_role(const ht_store *store, int32_t index) { return store->slots[index].role; }
void *ht_store_data(const ht_store *store, int32_t index) { return store->slots[index].data; }

size_t hti_store_bytes(const ht_store *store, int32_t index)
{
    return (size_t)store->slots[index].count * ht_dtype_bytes(store->slots[index].dtype);
}

/* The tensor that set and get move numbers of, or NULL with a filled record. */
static const slot *moved(const ht_store *store, const char *name, int64_t count, ht_status *status, ht_error *error)
{
    char text[HT_SHAPE_TEXT];
    int32_t index = ht_store_find(store, name);
    if (index < 0) {
        *status = ht_fail(error, HT_EINVALID, "store: \"%.255s\" is not there; expected the name of a tensor",
                          name ? name : "");
        return NULL;
    }
    const slot *s = &store->slots[index];
    if (s->count != count) {
        *status = ht_fail(error, HT_ESHAPE, "store: \"%s\": %lld numbers given; expected %lld, the shape is %s", name,
                          (long long)count, (long long)s->count, ht_shape_text(s->shape, text));
        return NULL;
    }
    *status = HT_OK;
    return s;
}

ht_status ht_store_set(ht_store *store, const char *name, const void *numbers, int64_t count, ht_error *error)
{
    ht_status status;
    const slot *s = moved(store, name, count, &status, error);
    if (s && count) memcpy(s->data, numbers, (size_t)count * ht_dtype_bytes(s->dtype));
    return status;
}

ht_status ht_store_get(const ht_store *store, const char *name, void *numbers, int64_t count, ht_error *error)
{
    ht_status status;
    const slot *s = moved(store, name, count, &status, error);
    if (s && count) memcpy(numbers, s->data, (size_t)count * ht_dtype_bytes(s->dtype));
    return status;
}

/* Copies numbers between tensors of one shape; both real, or both of one type. */
static void convert(const slot *to, const slot *from)
{
    if (to->dtype == from->dtype) {
        memmove(to->data, from->data, (size_t)to->count * ht_dtype_bytes(to->dtype));
    } else if (to->dtype == HT_F32) {
        const double *source = from->data;
        float *target = to->data;
        for (int64_t i = 0; i < to->count; i++) target[i] = (float)source[i];
    } else {
        const float *source = from->data;
        double *target = to->data;
        for (int64_t i = 0; i < to->count; i++) target[i] = (double)source[i];
    }
}

ht_store *ht_store_copy(const ht_store *store, ht_dtype dtype, ht_error *error)
{
    if (dtype != HT_F32 && dtype != HT_F64) {
        ht_fail(error, HT_EDTYPE, "store: copy as %s; expected f32 or f64", ht_dtype_name(dtype));
        return NULL;
    }
    ht_store *copy = ht_store_new(store->device);
    if (!copy) {
        ht_fail(error, HT_ENOMEM, "store: no memory for a copy; free some and try again");
        return NULL;
    }
    for (int32_t i = 0; i < store->count; i++) {
        const slot *s = &store->slots[i];
        int32_t index = ht_store_add(copy, s->name, s->dtype == HT_I32 ? HT_I32 : dtype, s->shape, s->role, error);
        if (index < 0) {
            ht_store_free(copy);
            return NULL;
        }
        convert(&copy->slots[index], s);
    }
    return copy;
}

ht_status ht_store_assign(ht_store *to, const ht_store *from, ht_error *error)
{
    char a[HT_SHAPE_TEXT], b[HT_SHAPE_TEXT];
    for (int32_t i = 0; i < from->count; i++) {
        const slot *s = &from->slots[i];
        int32_t index = ht_store_find(to, s->name);
        if (index < 0)
            return ht_fail(error, HT_EINVALID, "store: \"%s\" is to be assigned, but has no place; expected stores "
                           "with the same tensors", s->name);
        const slot *t = &to->slots[index];
        if (!ht_shape_equal(t->shape, s->shape))
            return ht_fail(error, HT_ESHAPE, "store: \"%s\": %s is to be assigned to %s; expected equal shapes",
                           s->name, ht_shape_text(s->shape, a), ht_shape_text(t->shape, b));
        if ((t->dtype == HT_I32) != (s->dtype == HT_I32))
            return ht_fail(error, HT_EDTYPE, "store: \"%s\": %s is to be assigned to %s; expected real to real or "
                           "integer to integer", s->name, ht_dtype_name(s->dtype), ht_dtype_name(t->dtype));
    }
    for (int32_t i = 0; i < to->count; i++)
        if (ht_store_find(from, to->slots[i].name) < 0)
            return ht_fail(error, HT_EINVALID, "store: \"%s\" is given no value; expected stores with the same tensors",
                           to->slots[i].name);
    for (int32_t i = 0; i < from->count; i++)
        convert(&to->slots[ht_store_find(to, from->slots[i].name)], &from->slots[i]);
    return HT_OK;
}

/*
 * The sum over tensors of their mixed hashes, so that the order of addition does not matter. A change within one
 * tensor of its shape always shows: each step of the hash is a bijection of its state.
 */
uint64_t ht_store_hash(const ht_store *store)
{
    uint64_t sum = (uint64_t)store->count;
    for (int32_t i = 0; i < store->count; i++) {
        const slot *s = &store->slots[i];
        int64_t form[2] = {(int64_t)s->dtype, s->shape.rank};
        uint64_t h = hti_hash(HTI_HASH_START, s->name, strlen(s->name) + 1);
        h = hti_hash(h, form, sizeof form);
        h = hti_hash(h, s->shape.dim, (size_t)s->shape.rank * sizeof s->shape.dim[0]);
        sum += ht_random_mix(hti_hash(h, s->data, hti_store_bytes(store, i)), 0);
    }
    return sum;
}
