/*
 * Strict reader of the header of a safetensors file: JSON text in, a checked list of tensors out. It reads no file and
 * trusts nothing. The grammar is that of the format and no more, so nesting is bounded by the code itself; strings
 * (json.c) are unescaped in place, so the only memory taken is one record per tensor or metadata entry that was there.
 * Stricter than the format's own reader: names twice (however spelled), names that are not printable ASCII or are
 * longer than 255 bytes, more than 8 sizes, unknown fields, metadata twice or with NUL are refused.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/file.h"
#include "store/internal.h"

typedef struct reader {
    char *at, *end; /* *end is NUL, which no rule accepts: so no rule looks past it */
    const char *text, *path;
    int64_t data_bytes;
    hti_header *header;
    ht_error *error;
    ht_status status;
} reader;

static bool refuse(reader *r, const char *expected)
{
    unsigned char c = (unsigned char)*r->at;
    char found[16] = "its end";
    if (r->at < r->end) snprintf(found, sizeof found, c > 0x20 && c < 0x7F ? "'%c'" : "byte 0x%02x", c);
    r->status = ht_fail(r->error, HT_EFORMAT, "%s: header, byte %lld: found %s; expected %s", hti_path_shown(r->path),
                        (long long)(r->at - r->text), found, expected);
    return false;
}

#define REFUSE_TENSOR(r, name, code, format, ...)                                                           \
    ((r)->status = ht_fail((r)->error, code, "%s: tensor \"%.96s\": " format, hti_path_shown((r)->path), name, \
                           __VA_ARGS__), false)

/* An array doubles at 0, 1, 2, 4 ... records, so it never has more than twice the records that were read. */
static void *grown(reader *r, void *array, int32_t count, size_t each)
{
    void *larger = array;
    if (count == HTI_TENSOR_LIMIT)
        refuse(r, "at most 65536 tensors and 65536 metadata entries");
    else if ((count & (count - 1)) == 0 && !(larger = realloc(array, (count ? 2 * (size_t)count : 1) * each)))
        r->status = ht_fail(r->error, HT_ENOMEM, "%s: no memory for its header", hti_path_shown(r->path));
    return r->status == HT_OK ? larger : NULL;
}

static bool take(reader *r, char sign, const char *expected)
{
    hti_json_space(&r->at);
    if (*r->at != sign) return refuse(r, expected);
    r->at++;
    return true;
}

/* Steps to the next member of a list or object; false behind its closing sign, and on a refusal. */
static bool next(reader *r, char closing, int64_t *members)
{
    if (r->status != HT_OK) return false;
    hti_json_space(&r->at);
    if (*r->at == closing) {
        r->at++;
        return false;
    }
    return (*members)++ == 0 || take(r, ',', closing == ']' ? "',' or ']'" : "',' or '}'");
}

/* A string, unescaped in place; NULL on a refusal. */
static char *string(reader *r, const char *expected)
{
    if (!take(r, '"', expected)) return NULL;
    char *text = r->at;
    const char *fault = hti_json_string(&r->at);
    return fault && !refuse(r, fault) ? NULL : text;
}

static bool whole_numbers(reader *r, int64_t *numbers, int64_t most, int64_t *count)
{
    int64_t members = 0;
    if (!take(r, '[', "'['")) return false;
    while (next(r, ']', &members)) {
        if (members > most) return refuse(r, most == 2 ? "two offsets" : "at most 8 sizes");
        const char *fault = hti_json_number(&r->at, &numbers[members - 1]);
        if (fault) return refuse(r, fault);
    }
    *count = members;
    return r->status == HT_OK;
}

static bool number_type(reader *r, hti_entry *e)
{
    const char *text = string(r, "a number type as a string");
    if (!text) return false;
    e->wide = strcmp(text, "I64") == 0;
    if (strcmp(text, "F32") == 0) e->dtype = HT_F32;
    else if (strcmp(text, "F64") == 0) e->dtype = HT_F64;
    else if (e->wide || strcmp(text, "I32") == 0) e->dtype = HT_I32;
    else
        return REFUSE_TENSOR(r, e->name, HT_EDTYPE, "number type %.16s; expected F32, F64, I32 or I64; convert it",
                             hti_name_fault(text) ? "unknown" : text);
    return true;
}

/* What one tensor says of itself, against itself and the size of the data. */
static bool consistent(reader *r, const hti_entry *e)
{
    char text[HT_SHAPE_TEXT];
    size_t bytes;
    if (!hti_bytes(ht_shape_count(e->shape), e->wide ? sizeof(int64_t) : ht_dtype_bytes(e->dtype), &bytes))
        return REFUSE_TENSOR(r, e->name, HT_EFORMAT, "shape %s; expected less than 2^63 bytes",
                             ht_shape_text(e->shape, text));
    if (e->begin > e->end || e->end > r->data_bytes)
        return REFUSE_TENSOR(r, e->name, HT_EFORMAT, "offsets %lld to %lld; expected them rising, within %lld bytes",
                             (long long)e->begin, (long long)e->end, (long long)r->data_bytes);
    return (int64_t)bytes == e->end - e->begin ||
           REFUSE_TENSOR(r, e->name, HT_EFORMAT, "%lld bytes of data; expected %lld, for shape %s",
                         (long long)(e->end - e->begin), (long long)bytes, ht_shape_text(e->shape, text));
}

static bool tensor(reader *r, const char *name)
{
    hti_header *h = r->header;
    static const char *const fields[3] = {"dtype", "shape", "data_offsets"};
    static const char expected[] = "each of \"dtype\", \"shape\" and \"data_offsets\" once, and nothing else";
    hti_entry e = {.name = name};
    int64_t offsets[2] = {0}, rank = 0, offset_count = 0, members = 0;
    unsigned seen = 0;
    if (!take(r, '{', "'{'")) return false;
    while (next(r, '}', &members)) {
        const char *field = string(r, "the name of a field");
        unsigned k = 0;
        if (!field) return false;
        while (k < 3 && strcmp(field, fields[k]) != 0) k++;
        if (k == 3 || (seen >> k & 1u)) return refuse(r, expected);
        seen |= 1u << k;
        if (!take(r, ':', "':'")) return false;
        bool read = k == 0   ? number_type(r, &e)
                    : k == 1 ? whole_numbers(r, e.shape.dim, HT_MAX_RANK, &rank)
                             : whole_numbers(r, offsets, 2, &offset_count);
        if (!read) return false;
    }
    if (r->status != HT_OK) return false;
    if (seen != 7 || offset_count != 2)
        return REFUSE_TENSOR(r, name, HT_EFORMAT, "fields or offsets are missing; expected %s", expected);
    e.shape.rank = (int32_t)rank;
    e.begin = offsets[0], e.end = offsets[1];
    hti_entry *larger = consistent(r, &e) ? grown(r, h->entry, h->count, sizeof e) : NULL;
    if (!larger) return false;
    h->entry = larger;
    h->entry[h->count++] = e;
    return true;
}

static bool metadata(reader *r)
{
    hti_header *h = r->header;
    int64_t members = 0;
    if (!take(r, '{', "'{'")) return false;
    while (next(r, '}', &members)) {
        ht_metadata entry = {.key = string(r, "a key of the metadata")};
        if (!entry.key || !take(r, ':', "':'")) return false;
        entry.value = string(r, "a string as the metadata's value");
        ht_metadata *larger = entry.value ? grown(r, h->metadata, h->metadata_count, sizeof entry) : NULL;
        if (!larger) return false;
        h->metadata = larger;
        h->metadata[h->metadata_count++] = entry;
    }
    return r->status == HT_OK;
}

static bool members_of_file(reader *r)
{
    int64_t members = 0;
    bool had_metadata = false;
    if (*r->at != '{') return refuse(r, "'{' as its first byte");
    r->at++;
    while (next(r, '}', &members)) {
        const char *name = string(r, "the name of a tensor");
        if (!name) return false;
        bool is_metadata = strcmp(name, HTI_METADATA_NAME) == 0;
        if (is_metadata && had_metadata) return refuse(r, "the metadata only once");
        if (!is_metadata && hti_name_fault(name))
            return refuse(r, "a name of 1 to 255 characters of printable ASCII in front of it");
        if (!take(r, ':', "':'") || !(is_metadata ? metadata(r) : tensor(r, name))) return false;
        had_metadata |= is_metadata;
    }
    hti_json_space(&r->at);
    return r->status == HT_OK && (r->at == r->end || refuse(r, "nothing but spaces behind the last '}'"));
}

/* For any record whose first member is its name. */
static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Names lie in the text in the order of the header. */
static int by_place(const void *a, const void *b)
{
    const char *x = ((const hti_entry *)a)->name, *y = ((const hti_entry *)b)->name;
    return (x > y) - (x < y);
}

static int by_data(const void *a, const void *b)
{
    const hti_entry *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    return (x->end > y->end) - (x->end < y->end);
}

/* Sorts records by name; false if one stands twice. */
static bool names_differ(reader *r, void *records, int32_t count, size_t each)
{
    if (count) qsort(records, (size_t)count, each, by_name);
    for (int32_t i = 1; i < count; i++) {
        const char *at = (const char *)records + (size_t)i * each;
        if (by_name(at - each, at) == 0)
            return REFUSE_TENSOR(r, *(const char *const *)at, HT_EFORMAT, "is there twice; %s",
                                 "expected each name once");
    }
    return true;
}

/* What the tensors say together: no name twice, every byte of the data in exactly one of them. */
static bool coherent(reader *r)
{
    hti_header *h = r->header;
    if (!names_differ(r, h->metadata, h->metadata_count, sizeof *h->metadata) ||
        !names_differ(r, h->entry, h->count, sizeof *h->entry)) return false;
    if (h->count) qsort(h->entry, (size_t)h->count, sizeof *h->entry, by_data);
    int64_t covered = 0;
    for (int32_t i = 0; i < h->count; covered = h->entry[i++].end)
        if (h->entry[i].begin != covered)
            return REFUSE_TENSOR(r, h->entry[i].name, HT_EFORMAT, "data begins at %lld; expected %lld, without %s",
                                 (long long)h->entry[i].begin, (long long)covered,
                                 h->entry[i].begin < covered ? "overlap" : "a hole");
    if (covered != r->data_bytes)
        r->status = ht_fail(r->error, HT_EFORMAT, "%s: %lld bytes of data; expected %lld, what its tensors cover",
                            hti_path_shown(r->path), (long long)r->data_bytes, (long long)covered);
    if (h->count) qsort(h->entry, (size_t)h->count, sizeof *h->entry, by_place);
    return r->status == HT_OK;
}

ht_status hti_header_parse(hti_header *header, int64_t bytes, int64_t data_bytes, const char *path, ht_error *error)
{
    reader r = {.at = header->text, .end = header->text + bytes, .text = header->text, .path = path,
                .data_bytes = data_bytes, .header = header, .error = error};
    if (members_of_file(&r)) (void)coherent(&r);
    return r.status;
}
