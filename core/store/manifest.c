/*
 * MANIFEST: what makes a folder of files a checkpoint. One line "crc32 bytes name" for each file, and a last one of the
 * same form for the lines before it, under the name MANIFEST: so the list itself cannot lose or change a line unseen.
 * CRC-32 finds what disks and copies do to files; it is no signature.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "store/file.h"
#include "store/internal.h"

#define MANIFEST "MANIFEST"
#define MANIFEST_LIMIT ((int64_t)16 << 20)
#define CHUNK_BYTES ((size_t)1 << 18)
#define LINE_BYTES (HTI_NAME_BYTES + 32) /* 8 digits, 19 digits, two spaces, '\n', NUL */

/* Whether a name may stand in a manifest: a visible file of the folder itself. */
static bool name_fits(const char *name)
{
    return !hti_name_fault(name) && name[0] != '.' && !strchr(name, '/') && strcmp(name, MANIFEST) != 0;
}

static char *joined(const char *folder, const char *name, ht_error *error)
{
    size_t bytes = strlen(folder) + strlen(name) + 2;
    char *path = malloc(bytes);
    if (path) snprintf(path, bytes, "%s/%s", folder, name);
    else ht_fail(error, HT_ENOMEM, "%s: no memory for the name of \"%.64s\"", hti_path_shown(folder), name);
    return path;
}

static uint32_t crc_of(const void *bytes, size_t count)
{
    return (uint32_t)crc32_z(crc32_z(0, NULL, 0), bytes, count);
}

/* CRC-32 of an open file, chunk by chunk. */
static ht_status crc_of_file(const hti_file *file, uint32_t *crc, ht_error *error)
{
    size_t most = file->bytes < (int64_t)CHUNK_BYTES ? (size_t)file->bytes : CHUNK_BYTES;
    unsigned char *chunk = malloc(most + 1);
    if (!chunk) return ht_fail(error, HT_ENOMEM, "%s: no memory to read it", hti_path_shown(file->path));
    uLong sum = crc32_z(0, NULL, 0);
    ht_status status = HT_OK;
    for (int64_t at = 0; at < file->bytes && status == HT_OK;) {
        size_t count = file->bytes - at < (int64_t)most ? (size_t)(file->bytes - at) : most;
        status = hti_file_read(file, at, chunk, count, error);
        if (status == HT_OK) sum = crc32_z(sum, chunk, count);
        at += (int64_t)count;
    }
    free(chunk);
    *crc = (uint32_t)sum;
    return status;
}

static int put_line(char *line, uint32_t crc, int64_t bytes, const char *name)
{
    return snprintf(line, LINE_BYTES, "%08" PRIx32 " %" PRId64 " %s\n", crc, bytes, name);
}

/* The line of one file of the folder; its length through *length. */
static ht_status describe(const char *folder, const char *name, char *line, size_t *length, ht_error *error)
{
    uint32_t crc = 0;
    hti_file file;
    char *path = joined(folder, name, error);
    if (!path) return HT_ENOMEM;
    ht_status status = hti_file_open(&file, path, error);
    if (status == HT_OK) status = crc_of_file(&file, &crc, error);
    if (status == HT_OK) *length = (size_t)put_line(line, crc, file.bytes, name);
    hti_file_close(&file);
    free(path);
    return status;
}

ht_status ht_manifest_write(const char *folder, const char *const *names, int32_t count, ht_error *error)
{
    const char *shown = hti_path_shown(folder);
    if (count < 1 || (int64_t)count >= MANIFEST_LIMIT / LINE_BYTES)
        return ht_fail(error, HT_EINVALID, "%s: a manifest of %d files; expected 1 to %d", shown, (int)count,
                       (int)(MANIFEST_LIMIT / LINE_BYTES - 1));
    for (int32_t i = 0; i < count; i++)
        if (!name_fits(names[i]))
            return ht_fail(error, HT_EINVALID, "%s: \"%.64s\" cannot stand in a manifest; expected the name of a file "
                           "in the folder, printable ASCII, without '/' and without '.' in front", shown, names[i]);
    size_t used = 0, length = 0;
    char *lines = malloc(((size_t)count + 1) * LINE_BYTES), *path = joined(folder, MANIFEST, error);
    ht_status status = path ? HT_OK : HT_ENOMEM;
    if (!lines) status = ht_fail(error, HT_ENOMEM, "%s: no memory for its manifest", shown);
    for (int32_t i = 0; i < count && status == HT_OK; i++, used += length)
        status = describe(folder, names[i], lines + used, &length, error);
    if (status == HT_OK) {
        used += (size_t)put_line(lines + used, crc_of(lines, used), (int64_t)used, MANIFEST);
        status = ht_file_write(path, lines, used, error);
    }
    free(lines);
    free(path);
    return status;
}

/* Reads MANIFEST whole, ended with NUL; the caller frees *text. */
static ht_status read_manifest(const char *path, char **text, size_t *bytes, ht_error *error)
{
    hti_file file;
    ht_status status = hti_file_open(&file, path, error);
    if (status != HT_OK) return status;
    if (file.bytes > MANIFEST_LIMIT)
        status = ht_fail(error, HT_EFORMAT, "%s: %lld bytes; expected at most %lld", hti_path_shown(path),
                         (long long)file.bytes, (long long)MANIFEST_LIMIT);
    else if (!(*text = malloc((size_t)file.bytes + 1)))
        status = ht_fail(error, HT_ENOMEM, "%s: no memory to read it", hti_path_shown(path));
    else {
        *bytes = (size_t)file.bytes;
        (*text)[*bytes] = 0;
        status = hti_file_read(&file, 0, *text, *bytes, error);
    }
    hti_file_close(&file);
    return status;
}

/* Reads a line "crc32 bytes name\n"; false if it has another form. */
static bool read_line(const char *line, size_t length, uint32_t *crc, int64_t *bytes, char name[HTI_NAME_BYTES + 1])
{
    char copy[LINE_BYTES], again[LINE_BYTES];
    if (length >= sizeof copy) return false;
    memcpy(copy, line, length);
    copy[length] = 0;
    *crc = 0;
    *bytes = 0;
    for (size_t i = 0; i < 8; i++) {
        const char *digits = "0123456789abcdef", *digit = copy[i] ? strchr(digits, copy[i]) : NULL;
        if (!digit) return false;
        *crc = *crc << 4 | (uint32_t)(digit - digits);
    }
    char *at = copy + 8;
    if (*at++ != ' ' || hti_json_number(&at, bytes) || *at++ != ' ') return false;
    snprintf(name, HTI_NAME_BYTES + 1, "%.*s", (int)strcspn(at, "\n"), at);
    /* What reads as the same three values must also have been written in the same way. */
    return (size_t)put_line(again, *crc, *bytes, name) == length && memcmp(again, line, length) == 0;
}

/* Checks one file of the folder against its line: first its size, then its bytes. */
static ht_status verify_file(const char *folder, const char *name, uint32_t crc, int64_t bytes, ht_error *error)
{
    uint32_t found = 0;
    hti_file file;
    char *path = joined(folder, name, error);
    if (!path) return HT_ENOMEM;
    ht_status status = hti_file_open(&file, path, error);
    if (status == HT_OK && file.bytes != bytes)
        status = ht_fail(error, HT_EFORMAT, "%s: %lld bytes; expected %lld; take an older checkpoint",
                         hti_path_shown(path), (long long)file.bytes, (long long)bytes);
    if (status == HT_OK) status = crc_of_file(&file, &found, error);
    if (status == HT_OK && found != crc)
        status = ht_fail(error, HT_EFORMAT, "%s: damaged, its CRC-32 is %08" PRIx32 "; expected %08" PRIx32
                         "; take an older checkpoint", hti_path_shown(path), found, crc);
    hti_file_close(&file);
    free(path);
    return status;
}

static ht_status refuse_line(const char *path, int64_t number, ht_error *error)
{
    return ht_fail(error, HT_EFORMAT, "%s: damaged or cut at line %lld; expected \"crc32 bytes name\", and last the "
                   "line of MANIFEST itself; take an older checkpoint", hti_path_shown(path), (long long)number);
}

/* The list before the files: its last line must be its own, and say what stands before it. */
static ht_status verify_lines(const char *folder, const char *path, const char *text, size_t bytes, ht_error *error)
{
    char name[HTI_NAME_BYTES + 1];
    uint32_t crc = 0;
    int64_t size = 0, number = 1;
    size_t own = bytes ? bytes - 1 : 0;
    while (own > 0 && text[own - 1] != '\n') own--;
    for (size_t i = 0; i < own; i++) number += text[i] == '\n';
    if (own == 0 || !read_line(text + own, bytes - own, &crc, &size, name) || strcmp(name, MANIFEST) != 0 ||
        size != (int64_t)own || crc != crc_of(text, own))
        return refuse_line(path, number, error);
    number = 0;
    for (size_t at = 0; at < own;) {
        size_t length = (size_t)((const char *)memchr(text + at, '\n', own - at) - (text + at)) + 1;
        number++;
        if (!read_line(text + at, length, &crc, &size, name) || !name_fits(name))
            return refuse_line(path, number, error);
        ht_status status = verify_file(folder, name, crc, size, error);
        if (status != HT_OK) return status;
        at += length;
    }
    return HT_OK;
}

ht_status ht_manifest_verify(const char *folder, ht_error *error)
{
    char *text = NULL, *path = joined(folder, MANIFEST, error);
    size_t bytes = 0;
    if (!path) return HT_ENOMEM;
    ht_status status = read_manifest(path, &text, &bytes, error);
    if (status == HT_OK) status = verify_lines(folder, path, text, bytes, error);
    free(text);
    free(path);
    return status;
}
