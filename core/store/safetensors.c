/*
 * Saving and loading of stores as safetensors files: eight bytes of length, a header of JSON (header.c), the numbers.
 * A load reads everything into blocks of its own before the store is touched, so it happens entirely or not at all.
 * Wide numbers stand first in the data, so that all are aligned; the header keeps the store's order.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/file.h"
#include "store/internal.h"

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "safetensors files are little-endian, and this code copies numbers as they are"
#endif

#define BUFFERS_KEY "ht.buffers" /* names of the tensors that are buffers, with '\n' between them */
#define LENGTH_BYTES ((int64_t)8)
#define DATA_ALIGNMENT ((size_t)64)

static void free_header(hti_header *header)
{
    free(header->text);
    free(header->entry);
    free(header->metadata);
    *header = (hti_header){0};
}

/* ---- reading ---- */

/* Reads the header of an open file; *data is where the numbers begin. On a refusal there is nothing to free. */
static ht_status read_header(const hti_file *file, hti_header *header, int64_t *data, ht_error *error)
{
    unsigned char length[LENGTH_BYTES];
    const char *shown = hti_path_shown(file->path);
    *header = (hti_header){0};
    if (file->bytes < LENGTH_BYTES)
        return ht_fail(error, HT_EFORMAT, "%s: %lld bytes; expected a safetensors file, which has at least 10", shown,
                       (long long)file->bytes);
    ht_status status = hti_file_read(file, 0, length, sizeof length, error);
    if (status != HT_OK) return status;
    uint64_t bytes = 0;
    for (int32_t i = (int32_t)sizeof length; i-- > 0;) bytes = bytes << 8 | length[i];
    int64_t most = file->bytes - LENGTH_BYTES;
    if (most > HTI_HEADER_LIMIT) most = HTI_HEADER_LIMIT;
    if (bytes > (uint64_t)most)
        return ht_fail(error, HT_EFORMAT, "%s: a header of %llu bytes; expected at most %lld, within the file and "
                       "16 MiB; it is no safetensors file, or cut short",
                       shown, (unsigned long long)bytes, (long long)most);
    header->text = malloc((size_t)bytes + 1);
    if (!header->text) return ht_fail(error, HT_ENOMEM, "%s: no memory for its header", shown);
    header->text[bytes] = 0;
    *data = LENGTH_BYTES + (int64_t)bytes;
    status = hti_file_read(file, LENGTH_BYTES, header->text, (size_t)bytes, error);
    if (status == HT_OK)
        status = hti_header_parse(header, (int64_t)bytes, file->bytes - *data, file->path, error);
    if (status != HT_OK) free_header(header);
    return status;
}

static const char *value_of(const hti_header *header, const char *key)
{
    for (int32_t i = 0; i < header->metadata_count; i++)
        if (strcmp(header->metadata[i].key, key) == 0) return header->metadata[i].value;
    return NULL;
}

/* Where the numbers of one entry land: a block that a new tensor keeps, or that is copied into the one there is. */
typedef struct landing {
    void *block;
    char *name; /* of a new tensor */
    int32_t index;
    ht_role role;
} landing;

typedef struct load {
    ht_store *store;
    const char *path;
    hti_file file;
    hti_header header;
    int64_t data;
    landing *landings;
    int32_t added;
    ht_error *error;
} load;

static ht_status no_memory(const load *l)
{
    return ht_fail(l->error, HT_ENOMEM, "%s: no memory for its tensors; free some and try again",
                   hti_path_shown(l->path));
}

/* Gives entries their roles: the metadata names the buffers, in the order of the header. */
static ht_status read_roles(load *l)
{
    const char *at = value_of(&l->header, BUFFERS_KEY);
    for (int32_t i = 0; i < l->header.count; i++) {
        size_t bytes = at ? strcspn(at, "\n") : 0;
        const char *name = l->header.entry[i].name;
        l->landings[i].role = HT_PARAMETER;
        if (bytes == 0 || strlen(name) != bytes || memcmp(name, at, bytes) != 0) continue;
        l->landings[i].role = HT_BUFFER;
        at += bytes + (at[bytes] == '\n');
    }
    if (!at || !*at) return HT_OK;
    return ht_fail(l->error, HT_EFORMAT, "%s: metadata \"%s\" goes on with \"%.64s\"; expected names of its tensors, "
                   "in their order", hti_path_shown(l->path), BUFFERS_KEY, at);
}

/* Numbers of an entry in memory. */
static size_t memory_bytes(const hti_entry *e)
{
    size_t bytes = (size_t)(e->end - e->begin);
    return e->wide ? bytes / sizeof(int64_t) * sizeof(int32_t) : bytes;
}

/* Whole numbers of 8 bytes become such of 4, in place: the one written never passes the one read. */
static ht_status narrow(const load *l, const hti_entry *e, void *block)
{
    char *bytes = block;
    size_t count = memory_bytes(e) / sizeof(int32_t);
    for (size_t i = 0; i < count; i++) {
        int64_t number;
        memcpy(&number, bytes + i * sizeof number, sizeof number);
        int32_t kept = (int32_t)number;
        if (number < INT32_MIN || number > INT32_MAX)
            return ht_fail(l->error, HT_EFORMAT, "%s: tensor \"%.96s\": element %zu is %lld; expected whole numbers of 32 "
                           "bits", hti_path_shown(l->path), e->name, i, (long long)number);
        memcpy(bytes + i * sizeof kept, &kept, sizeof kept);
    }
    return HT_OK;
}

/* Takes a block for one entry and reads it; the store stays as it is. */
static ht_status land(load *l, const hti_entry *e, landing *to)
{
    char a[HT_SHAPE_TEXT], b[HT_SHAPE_TEXT];
    to->index = ht_store_find(l->store, e->name);
    if (to->index >= 0) {
        ht_dtype dtype = ht_store_dtype(l->store, to->index);
        ht_shape shape = ht_store_shape(l->store, to->index);
        if (dtype != e->dtype)
            return ht_fail(l->error, HT_EDTYPE, "%s: tensor \"%.96s\": %s; expected %s, as in the store",
                           hti_path_shown(l->path), e->name, ht_dtype_name(e->dtype), ht_dtype_name(dtype));
        if (!ht_shape_equal(shape, e->shape))
            return ht_fail(l->error, HT_ESHAPE, "%s: tensor \"%.96s\": shape %s; expected %s, as in the store",
                           hti_path_shown(l->path), e->name, ht_shape_text(e->shape, a), ht_shape_text(shape, b));
    } else {
        to->name = strdup(e->name);
        if (!to->name) return no_memory(l);
        l->added++;
    }
    size_t bytes = (size_t)(e->end - e->begin);
    to->block = hti_block_take(bytes);
    if (!to->block) return no_memory(l);
    ht_status status = hti_file_read(&l->file, l->data + e->begin, to->block, bytes, l->error);
    return status == HT_OK && e->wide ? narrow(l, e, to->block) : status;
}

/* Nothing here can be refused: room is reserved, and every number is in memory. */
static void commit(load *l)
{
    for (int32_t i = 0; i < l->header.count; i++) {
        const hti_entry *e = &l->header.entry[i];
        landing *from = &l->landings[i];
        if (from->index >= 0) {
            memcpy(ht_store_data(l->store, from->index), from->block, memory_bytes(e));
            continue;
        }
        hti_store_adopt(l->store, from->name, e->dtype, e->shape, from->role, from->block);
        from->name = NULL;
        from->block = NULL;
    }
}

static ht_status load_open_file(load *l)
{
    ht_status status = read_header(&l->file, &l->header, &l->data, l->error);
    if (status != HT_OK || l->header.count == 0) return status;
    l->landings = calloc((size_t)l->header.count, sizeof *l->landings);
    if (!l->landings) return no_memory(l);
    status = read_roles(l);
    for (int32_t i = 0; i < l->header.count && status == HT_OK; i++)
        status = land(l, &l->header.entry[i], &l->landings[i]);
    if (status == HT_OK && !hti_store_reserve(l->store, l->added)) status = no_memory(l);
    if (status == HT_OK) commit(l);
    for (int32_t i = 0; i < l->header.count; i++) {
        free(l->landings[i].name);
        free(l->landings[i].block);
    }
    free(l->landings);
    return status;
}

ht_status ht_store_load(ht_store *store, const char *path, ht_error *error)
{
    load l = {.store = store, .path = path, .error = error};
    ht_status status = hti_file_open(&l.file, path, error);
    if (status != HT_OK) return status;
    status = load_open_file(&l);
    free_header(&l.header);
    hti_file_close(&l.file);
    return status;
}

ht_status ht_file_metadata(const char *path, const char *key, char *value, size_t bytes, ht_error *error)
{
    hti_file file;
    hti_header header;
    int64_t data;
    ht_status status = hti_file_open(&file, path, error);
    if (status != HT_OK) return status;
    status = read_header(&file, &header, &data, error);
    const char *found = status == HT_OK ? value_of(&header, key) : NULL;
    size_t length = found ? strlen(found) : 0;
    if (status == HT_OK && !found)
        status = ht_fail(error, HT_EINVALID, "%s: no metadata \"%.64s\"; expected it", hti_path_shown(path), key);
    else if (status == HT_OK && length >= bytes)
        status = ht_fail(error, HT_EINVALID, "%s: metadata \"%.64s\" has %zu bytes; expected less than %zu",
                         hti_path_shown(path), key, length, bytes);
    else if (status == HT_OK) memcpy(value, found, length + 1);
    free_header(&header);
    hti_file_close(&file);
    return status;
}

/* ---- writing ---- */

/* A text that grows; once `lost`, appending does nothing more. */
typedef struct text {
    char *bytes;
    size_t count, room;
    bool lost;
} text;

static bool make_room(text *t, size_t more)
{
    size_t room = t->room ? t->room : 4096;
    if (t->lost || more <= t->room - t->count) return !t->lost;
    while (room - t->count < more) room *= 2;
    char *larger = realloc(t->bytes, room);
    t->lost = !larger;
    if (!larger) return false;
    t->bytes = larger;
    t->room = room;
    return true;
}

static void put(text *t, const char *from)
{
    size_t bytes = strlen(from);
    if (!make_room(t, bytes)) return;
    memcpy(t->bytes + t->count, from, bytes);
    t->count += bytes;
}

static void put_number(text *t, int64_t number)
{
    char digits[24];
    snprintf(digits, sizeof digits, "%" PRId64, number);
    put(t, digits);
}

/* False if the string is not UTF-8. */
static bool put_string(text *t, const char *from)
{
    if (!make_room(t, strlen(from) * 6 + 2)) return true;
    size_t bytes = hti_json_quote(t->bytes + t->count, from);
    t->count += bytes;
    return bytes > 0;
}

static void put_tensor(text *t, const ht_store *store, int32_t index, int64_t begin, int64_t end)
{
    static const char *const types[] = {[HT_F32] = "F32", [HT_F64] = "F64", [HT_I32] = "I32"};
    ht_shape shape = ht_store_shape(store, index);
    put_string(t, ht_store_name(store, index));
    put(t, ":{\"dtype\":\"");
    put(t, types[ht_store_dtype(store, index)]);
    put(t, "\",\"shape\":[");
    for (int32_t i = 0; i < shape.rank; i++) {
        if (i) put(t, ",");
        put_number(t, shape.dim[i]);
    }
    put(t, "],\"data_offsets\":[");
    put_number(t, begin);
    put(t, ",");
    put_number(t, end);
    put(t, "]}");
}

/* The names of all buffers as one string; names are printable, so '\n' can stand between them. */
static void put_buffers(text *t, const ht_store *store)
{
    text names = {0};
    for (int32_t i = 0; i < ht_store_count(store); i++) {
        if (ht_store_role(store, i) != HT_BUFFER) continue;
        if (names.count) put(&names, "\n");
        put(&names, ht_store_name(store, i));
    }
    if (names.count && make_room(&names, 1)) {
        names.bytes[names.count] = 0;
        put(t, "\"" BUFFERS_KEY "\":");
        put_string(t, names.bytes);
    }
    t->lost = t->lost || names.lost;
    free(names.bytes);
}

/* What a reader would refuse, or take for something else, is not written. */
static ht_status put_metadata(text *t, const ht_store *store, const ht_metadata *metadata, int32_t count,
                              const char *path, ht_error *error)
{
    put(t, "{\"" HTI_METADATA_NAME "\":{");
    size_t empty = t->count;
    put_buffers(t, store);
    for (int32_t i = 0; i < count; i++) {
        const char *key = metadata[i].key;
        bool twice = strcmp(key, BUFFERS_KEY) == 0;
        for (int32_t j = 0; j < i && !twice; j++) twice = strcmp(key, metadata[j].key) == 0;
        if (twice)
            return ht_fail(error, HT_EINVALID, "%s: metadata key \"%.64s\" twice, or \"%s\"; expected each key once",
                           hti_path_shown(path), key, BUFFERS_KEY);
        if (t->count > empty) put(t, ",");
        bool good = put_string(t, key);
        put(t, ":");
        if (!good || !put_string(t, metadata[i].value))
            return ht_fail(error, HT_EINVALID, "%s: metadata \"%.64s\" is not UTF-8; expected UTF-8",
                           hti_path_shown(path), key);
    }
    if (t->count > empty) put(t, "}");
    else if (!t->lost) t->count = 1; /* no metadata at all: only the first '{' stays */
    return HT_OK;
}

/* The header, and the parts of the file: it, then the wide numbers, then the others. */
static void lay_out(text *t, const ht_store *store, hti_part *parts)
{
    int32_t count = ht_store_count(store), part = 1;
    int64_t offset[2] = {0, 0}; /* of the next wide tensor, of the next narrow one */
    for (int32_t wide = 1; wide >= 0; wide--)
        for (int32_t i = 0; i < count; i++) {
            if ((ht_dtype_bytes(ht_store_dtype(store, i)) == 8) != wide) continue;
            parts[part++] = (hti_part){.bytes = ht_store_data(store, i), .count = hti_store_bytes(store, i)};
            if (wide) offset[1] += (int64_t)hti_store_bytes(store, i);
        }
    for (int32_t i = 0; i < count; i++) {
        int64_t *at = &offset[ht_dtype_bytes(ht_store_dtype(store, i)) == 8 ? 0 : 1];
        int64_t begin = *at;
        *at += (int64_t)hti_store_bytes(store, i);
        if (t->count > 1) put(t, ",");
        put_tensor(t, store, i, begin, *at);
    }
    put(t, "}");
    while (!t->lost && (t->count + (size_t)LENGTH_BYTES) % DATA_ALIGNMENT != 0) put(t, " ");
}

ht_status ht_store_save(const ht_store *store, const char *path, const ht_metadata *metadata, int32_t metadata_count,
                        ht_error *error)
{
    const char *shown = hti_path_shown(path);
    int32_t count = ht_store_count(store);
    if (count > HTI_TENSOR_LIMIT || metadata_count < 0 || metadata_count >= HTI_TENSOR_LIMIT)
        return ht_fail(error, HT_EINVALID, "%s: %d tensors and %d metadata entries; expected at most %d and %d", shown,
                       (int)count, (int)metadata_count, HTI_TENSOR_LIMIT, HTI_TENSOR_LIMIT - 1);
    text t = {0};
    unsigned char length[LENGTH_BYTES];
    hti_part *parts = calloc((size_t)count + 2, sizeof *parts);
    ht_status status = put_metadata(&t, store, metadata, metadata_count, path, error);
    if (status == HT_OK && parts) lay_out(&t, store, parts + 1);
    if (status == HT_OK && (!parts || t.lost))
        status = ht_fail(error, HT_ENOMEM, "%s: no memory for its header; free some and try again", shown);
    else if (status == HT_OK && t.count > (size_t)HTI_HEADER_LIMIT)
        status = ht_fail(error, HT_EINVALID, "%s: a header of %zu bytes; expected at most %lld; save fewer tensors",
                         shown, t.count, (long long)HTI_HEADER_LIMIT);
    if (status == HT_OK) {
        for (size_t i = 0; i < sizeof length; i++) length[i] = (unsigned char)((uint64_t)t.count >> (8 * i));
        parts[0] = (hti_part){.bytes = length, .count = sizeof length};
        parts[1] = (hti_part){.bytes = t.bytes, .count = t.count};
        status = hti_file_replace(path, parts, count + 2, error);
    }
    free(t.bytes);
    free(parts);
    return status;
}
