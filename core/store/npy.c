/*
 * A strict reader of NumPy's .npy files: magic, version, length, a header that is a Python dict, the numbers. The header
 * is read as the three known keys in any order and nothing else; it is never evaluated. Before memory is asked for, the
 * shape must account for every byte that the file has, so that a header that lies costs nothing.
 * Source: NumPy Enhancement Proposal 1, formats 1.0, 2.0, 3.0.
 */
#include <stdlib.h>
#include <string.h>

#include "store/file.h"
#include "store/internal.h"

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "only little-endian .npy files are read, and this code copies numbers as they are"
#endif

#define MAGIC "\x93NUMPY"
#define MAGIC_BYTES 6
#define PRELUDE_BYTES 12           /* magic, version, and a length of 4 bytes */
#define HEADER_LIMIT 10000         /* bytes of the dict; NumPy's own limit     */

typedef struct number_kind {
    const char *name;
    size_t bytes;    /* of a number in the file */
    ht_dtype dtype;  /* what it becomes         */
} number_kind;

static const number_kind kinds[] = {
    {"<f8", 8, HT_F64}, {"<f4", 4, HT_F32}, {"<i4", 4, HT_I32}, {"<i8", 8, HT_I32}, {"|u1", 1, HT_I32},
};
#define KINDS ((int32_t)(sizeof kinds / sizeof *kinds))

typedef struct npy {
    hti_file file;
    ht_error *error;
    char text[HEADER_LIMIT + 1]; /* the dict, ended with NUL */
    const char *at;
    int64_t bytes, data;         /* of the dict; where the numbers begin */
    const number_kind *kind;
    ht_shape shape;
    int64_t count;
} npy;

static ht_status refuse(npy *n, const char *expected)
{
    return ht_fail(n->error, HT_EFORMAT, "%s: header, character %lld: expected %s", hti_path_shown(n->file.path),
                   (long long)(n->at - n->text), expected);
}

static ht_status read_prelude(npy *n)
{
    unsigned char bytes[PRELUDE_BYTES] = {0};
    const char *shown = hti_path_shown(n->file.path);
    size_t there = n->file.bytes < PRELUDE_BYTES ? (size_t)n->file.bytes : PRELUDE_BYTES;
    ht_status status = hti_file_read(&n->file, 0, bytes, there, n->error);
    if (status != HT_OK) return status;
    if (there < PRELUDE_BYTES || memcmp(bytes, MAGIC, MAGIC_BYTES) != 0)
        return ht_fail(n->error, HT_EFORMAT, "%s: does not begin as a .npy file does; expected one, as numpy.save writes it",
                       shown);
    int major = bytes[6], minor = bytes[7];
    if (major < 1 || major > 3 || minor != 0)
        return ht_fail(n->error, HT_EFORMAT, "%s: .npy format %d.%d; expected 1.0, 2.0 or 3.0", shown, major, minor);
    n->data = major == 1 ? PRELUDE_BYTES - 2 : PRELUDE_BYTES;
    n->bytes = bytes[8] | bytes[9] << 8;
    if (major > 1) n->bytes |= (int64_t)bytes[10] << 16 | (int64_t)bytes[11] << 24;
    if (n->bytes > HEADER_LIMIT || n->bytes > n->file.bytes - n->data)
        return ht_fail(n->error, HT_EFORMAT, "%s: a header of %lld bytes; expected at most %d, within the file", shown,
                       (long long)n->bytes, HEADER_LIMIT);
    status = hti_file_read(&n->file, n->data, n->text, (size_t)n->bytes, n->error);
    n->text[n->bytes] = 0;
    n->at = n->text;
    n->data += n->bytes;
    return status;
}

/* Steps over spaces and then over the word, if it comes. */
static bool take(npy *n, const char *word)
{
    while (*n->at == ' ') n->at++;
    size_t bytes = strlen(word);
    if (strncmp(n->at, word, bytes) != 0) return false;
    n->at += bytes;
    return true;
}

/* A word in quotes of either kind. */
static bool take_text(npy *n, const char *word)
{
    const char *begin = n->at;
    const char *quote = take(n, "'") ? "'" : take(n, "\"") ? "\"" : NULL;
    size_t bytes = strlen(word);
    if (quote && strncmp(n->at, word, bytes) == 0 && n->at[bytes] == *quote) {
        n->at += bytes + 1;
        return true;
    }
    n->at = begin;
    return false;
}

static ht_status read_kind(npy *n)
{
    for (int32_t i = 0; i < KINDS; i++) {
        if (!take_text(n, kinds[i].name)) continue;
        n->kind = &kinds[i];
        return HT_OK;
    }
    return refuse(n, "numbers of type '<f8', '<f4', '<i4', '<i8' or '|u1'");
}

static ht_status read_order(npy *n)
{
    if (take(n, "False")) return HT_OK;
    return refuse(n, "False: rows one after the other, as numpy.ascontiguousarray gives them");
}

static ht_status read_size(npy *n, int64_t *size)
{
    const char *begin = n->at;
    *size = 0;
    for (; *n->at >= '0' && *n->at <= '9'; n->at++)
        if (!hti_multiply(*size, 10, size) || !hti_sum(*size, *n->at - '0', size)) return refuse(n, "a size below 2^63");
    if (n->at == begin || (*begin == '0' && n->at - begin > 1)) return refuse(n, "a whole number");
    return HT_OK;
}

/* (), (3,), (3, 4) or (3, 4,) */
static ht_status read_shape(npy *n)
{
    bool comma = true;
    if (!take(n, "(")) return refuse(n, "'(' of a shape");
    while (!take(n, ")")) {
        if (!comma || n->shape.rank == HT_MAX_RANK) return refuse(n, comma ? "at most 8 axes" : "',' or ')'");
        ht_status status = read_size(n, &n->shape.dim[n->shape.rank]);
        if (status != HT_OK) return status;
        n->shape.rank++;
        comma = take(n, ",");
        if (!comma && n->shape.rank == 1) return refuse(n, "','");
    }
    return HT_OK;
}

static ht_status read_header(npy *n)
{
    static const char *const keys[] = {"descr", "fortran_order", "shape"};
    static ht_status (*const readers[])(npy *) = {read_kind, read_order, read_shape};
    bool seen[3] = {false};
    ht_status status = HT_OK;
    if (!take(n, "{")) return refuse(n, "'{'");
    for (int32_t left = 3; left > 0 && status == HT_OK; left--) {
        int32_t k = 0;
        while (k < 3 && (seen[k] || !take_text(n, keys[k]))) k++;
        if (k == 3) return refuse(n, "'descr', 'fortran_order' and 'shape', each once");
        seen[k] = true;
        if (!take(n, ":")) return refuse(n, "':'");
        take(n, "");
        status = readers[k](n);
        if (status == HT_OK && !take(n, ",") && left > 1) status = refuse(n, "','");
    }
    if (status != HT_OK) return status;
    if (!take(n, "}")) return refuse(n, "'}'");
    if (!take(n, "\n") || n->at != n->text + n->bytes) return refuse(n, "spaces and a line feed to its end");
    return HT_OK;
}

/* Whether the numbers are exactly what the file has behind the header. */
static ht_status check_size(npy *n)
{
    char text[HT_SHAPE_TEXT];
    size_t bytes = 0;
    n->count = ht_shape_count(n->shape);
    int64_t there = n->file.bytes - n->data;
    if (n->count >= 0 && hti_bytes(n->count, n->kind->bytes, &bytes) && bytes == (size_t)there) return HT_OK;
    return ht_fail(n->error, HT_EFORMAT, "%s: shape %s of '%s' and %lld bytes of numbers; expected them to agree",
                   hti_path_shown(n->file.path), ht_shape_text(n->shape, text), n->kind->name, (long long)there);
}

/* The numbers in a block of the store's, or NULL with a filled record. Types of other widths are converted in place. */
static void *read_numbers(npy *n)
{
    size_t wide = n->kind->bytes > sizeof(int32_t) ? n->kind->bytes : sizeof(int32_t), count = (size_t)n->count, bytes = 0;
    char *block = hti_bytes(n->count, wide, &bytes) ? hti_block_take(bytes) : NULL;
    if (!block) {
        ht_fail(n->error, HT_ENOMEM, "%s: no memory for its numbers; free some and try again", hti_path_shown(n->file.path));
        return NULL;
    }
    char *from = block + bytes - count * n->kind->bytes; /* of narrow numbers: at the end, so that none is overwritten unread */
    ht_status status = hti_file_read(&n->file, n->data, from, count * n->kind->bytes, n->error);
    bool convert = n->kind->dtype == HT_I32 && n->kind->bytes != sizeof(int32_t);
    for (size_t i = 0; convert && i < count && status == HT_OK; i++) {
        int64_t number = (unsigned char)from[i * n->kind->bytes];
        if (n->kind->bytes == sizeof number) memcpy(&number, from + i * sizeof number, sizeof number);
        int32_t kept = (int32_t)number;
        if (number < INT32_MIN || number > INT32_MAX)
            status = ht_fail(n->error, HT_EFORMAT, "%s: element %zu is %lld; expected whole numbers of 32 bits",
                             hti_path_shown(n->file.path), i, (long long)number);
        memcpy(block + i * sizeof kept, &kept, sizeof kept);
    }
    if (status == HT_OK) return block;
    free(block);
    return NULL;
}

/* Everything that can be refused, before the store changes. */
static int32_t add(npy *n, ht_store *store, const char *name)
{
    ht_status status = read_prelude(n);
    if (status == HT_OK) status = read_header(n);
    if (status == HT_OK) status = check_size(n);
    void *block = status == HT_OK ? read_numbers(n) : NULL;
    if (!block) return -1;
    char *copy = strdup(name);
    if (copy && hti_store_reserve(store, 1)) return hti_store_adopt(store, copy, n->kind->dtype, n->shape, HT_BUFFER, block);
    ht_fail(n->error, HT_ENOMEM, "%s: no memory for tensor \"%s\"", hti_path_shown(n->file.path), name);
    free(copy);
    free(block);
    return -1;
}

int32_t ht_store_load_npy(ht_store *store, const char *name, const char *path, ht_error *error)
{
    ht_error local = {0};
    if (!error) error = &local;
    if (error->status != HT_OK || !hti_store_check_name(store, name, error)) return -1;
    npy *n = calloc(1, sizeof *n);
    if (!n) {
        ht_fail(error, HT_ENOMEM, "%s: no memory for its header", hti_path_shown(path));
        return -1;
    }
    n->error = error;
    int32_t index = -1;
    if (hti_file_open(&n->file, path, error) == HT_OK) {
        index = add(n, store, name);
        hti_file_close(&n->file);
    }
    free(n);
    return index;
}
