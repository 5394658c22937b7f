/*
 * Stores and devices as the rest of core sees them, and what the files of core/store share. Not for users.
 * The device carries its backend as an opaque pointer: the table itself is the planner's business.
 */
#ifndef HTI_STORE_INTERNAL_H
#define HTI_STORE_INTERNAL_H

#include <ht/store.h>

#include "base/internal.h"

/* ---- for plan ---- */
struct hti_backend;
const struct hti_backend *hti_device_backend(const ht_device *device);
/* Programs that read the store: while the count is not 0, ht_store_free refuses. */
void hti_store_retain(ht_store *store);
void hti_store_release(ht_store *store);
/* Bytes (1 to 4) of the character of a text that ends with NUL; 0 if it is malformed or a control character. */
size_t hti_utf8_bytes(const char *at);

/* ---- within core/store ---- */
#define HTI_NAME_BYTES 255
#define HTI_METADATA_NAME "__metadata__" /* reserved by the file format */

/* What is wrong with a tensor's name, as words ("is empty"), or NULL if nothing is. */
const char *hti_name_fault(const char *name);
/* Whether a new tensor may have the name; if not, a filled record. */
bool hti_store_check_name(const ht_store *store, const char *name, ht_error *error);
/* 64-byte aligned zeros, never NULL for 0 bytes; NULL if refused. Large ones take memory when written. free() gives it back. */
void *hti_block_take(size_t bytes);
/* Makes room for more tensors, so that so many calls of hti_store_adopt cannot be refused. */
bool hti_store_reserve(ht_store *store, int32_t more);
/* Adds a tensor whose name is good and new; name (of malloc) and data (of hti_block_take) become the store's. */
int32_t hti_store_adopt(ht_store *store, char *name, ht_dtype dtype, ht_shape shape, ht_role role, void *data);
/* Bytes of a tensor's numbers. */
size_t hti_store_bytes(const ht_store *store, int32_t index);

/* ---- header of a safetensors file (header.c) ---- */
#define HTI_HEADER_LIMIT ((int64_t)16 << 20) /* bytes */
#define HTI_TENSOR_LIMIT 65536               /* tensors of a file, and metadata entries of a file */

typedef struct hti_entry {
    const char *name; /* within the header's text */
    ht_dtype dtype;
    ht_shape shape;
    int64_t begin, end; /* bytes within the data */
    bool wide;          /* whole numbers of 8 bytes (I64) in the file, of type HT_I32 here */
} hti_entry;

typedef struct hti_header {
    char *text; /* of malloc, bytes + 1 large, the last one NUL; holds the strings, unescaped in place */
    hti_entry *entry;      /* as the header lists them; their data covers the file's without hole or overlap */
    ht_metadata *metadata; /* by key */
    int32_t count, metadata_count;
} hti_header;

/*
 * Parses header->text, which announces data_bytes of data. The arrays are of malloc and the caller's to free, on a
 * refusal too. The text of metadata may be any UTF-8 without NUL.
 */
ht_status hti_header_parse(hti_header *header, int64_t bytes, int64_t data_bytes, const char *path, ht_error *error);

/* ---- words of JSON (json.c); texts end with NUL ---- */
void hti_json_space(char **at);
/*
 * Both read from *at: a whole number; a string, *at behind its opening quote, unescaped in place and ended with NUL.
 * NULL, and *at behind the word; or what was expected, and *at where it was not found.
 */
const char *hti_json_number(char **at, int64_t *number);
const char *hti_json_string(char **at);
/* Writes a string with its quotes, at most 6 * strlen + 2 bytes, without NUL. The bytes written, 0 if not UTF-8. */
size_t hti_json_quote(char *to, const char *from);

#endif
