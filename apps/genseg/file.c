/*
 * Files and text around pictures: a file's bytes, their hash, and paths and warnings as lines of text.
 * No pictures here. A path in a message must not be able to break the line or steer a terminal, so it is escaped.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "picture.h"

size_t genseg_shown(const unsigned char *s)
{
    if (s[0] < 0x80) return s[0] >= 0x20 && s[0] != 0x7F;
    size_t length = s[0] >= 0xF0 && s[0] < 0xF5 ? 4 : s[0] >= 0xE0 ? 3 : s[0] >= 0xC2 ? 2 : 0;
    if (length == 0 || s[0] >= 0xF5) return 0;
    uint32_t code = s[0] & (0xFFu >> (length + 1));
    for (size_t i = 1; i < length; i++) {
        if ((s[i] & 0xC0) != 0x80) return 0;
        code = code << 6 | (s[i] & 0x3Fu);
    }
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    if (code < least[length] || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) return 0;
    bool control = code < 0xA0;
    bool direction = (code >= 0x200B && code <= 0x200F) || (code >= 0x2028 && code <= 0x202E) ||
                     (code >= 0x2060 && code <= 0x206F) || code == 0xFEFF;
    return control || direction ? 0 : length;
}

const char *genseg_place(const char *path, char text[GENSEG_PLACE])
{
    const unsigned char *s = (const unsigned char *)path;
    size_t length = strlen(path), used = 0;
    /* The end of a path says most; one byte takes at most four once escaped. */
    size_t room = GENSEG_PLACE - 1;
    size_t needed = 0;
    for (size_t i = 0; i < length;) {
        size_t n = genseg_shown(s + i);
        needed += n ? n : 4;
        i += n ? n : 1;
    }
    size_t skip = needed > room ? needed - (room - 3) : 0;
    if (skip) {
        memcpy(text, "...", 3);
        used = 3;
    }
    for (size_t i = 0, past = 0; i < length;) {
        size_t n = genseg_shown(s + i), wide = n ? n : 4;
        if (past >= skip) {
            if (n) {
                memcpy(text + used, s + i, n);
            } else {
                static const char digits[] = "0123456789abcdef";
                const char escaped[4] = {'\\', 'x', digits[s[i] >> 4], digits[s[i] & 15]};
                memcpy(text + used, escaped, 4);
            }
            used += wide;
        }
        past += wide;
        i += n ? n : 1;
    }
    text[used] = 0;
    return text;
}

/* Reads to the end of the file; the buffer doubles only once it is full. */
static ht_status read_all(int file, const char *place, genseg_bytes *out, ht_error *error)
{
    size_t room = 0;
    for (;;) {
        if (out->count == room) {
            size_t larger = room ? room * 2 : 65536;
            uint8_t *data = larger > (size_t)GENSEG_FILE_BYTES_MAX * 2 ? NULL : realloc(out->data, larger);
            if (!data) return ht_fail(error, HT_ENOMEM, GENSEG_NO_MEMORY, place);
            out->data = data;
            room = larger;
        }
        ssize_t got = read(file, out->data + out->count, room - out->count);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0)
            return ht_fail(error, HT_EIO, "%s: reading stopped: %s; expected a readable file; check the disk", place,
                           strerror(errno));
        if (got == 0) return HT_OK;
        out->count += (size_t)got;
        if (out->count > (size_t)GENSEG_FILE_BYTES_MAX)
            return ht_fail(error, HT_EFORMAT, "%s: more than %lld bytes; expected an image; remove the file", place,
                           (long long)GENSEG_FILE_BYTES_MAX);
    }
}

ht_status genseg_bytes_read(const char *path, genseg_bytes *out, ht_error *error)
{
    char place[GENSEG_PLACE];
    genseg_place(path, place);
    *out = (genseg_bytes){0};
    struct stat facts;
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (file < 0 || fstat(file, &facts) != 0) {
        int why = errno;
        if (file >= 0) close(file);
        return ht_fail(error, HT_EIO, "%s: cannot be opened: %s; expected a readable file; check name and permissions",
                       place, strerror(why));
    }
    ht_status status;
    if (!S_ISREG(facts.st_mode))
        status = ht_fail(error, HT_EFORMAT, "%s: not a regular file; expected a PNG or JPEG image; remove it", place);
    else
        status = read_all(file, place, out, error);
    close(file);
    if (status != HT_OK) {
        free(out->data);
        *out = (genseg_bytes){0};
    }
    return status;
}

uint64_t genseg_hash(uint64_t h, const void *bytes, size_t count)
{
    const uint8_t *b = bytes;
    for (size_t i = 0; i < count; i++) h = (h ^ b[i]) * UINT64_C(0x100000001B3);
    return h;
}

ht_status genseg_lines_add(genseg_lines *lines, const char *line, ht_error *error)
{
    size_t length = strlen(line), more = length + (lines->text ? 1 : 0);
    char *text = realloc(lines->text, lines->used + more + 1);
    if (!text)
        return ht_fail(error, HT_ENOMEM, "warnings: no memory for a line; expected more of it; free some memory");
    if (lines->text) text[lines->used++] = '\n';
    memcpy(text + lines->used, line, length + 1);
    lines->text = text;
    lines->used += length;
    return HT_OK;
}
