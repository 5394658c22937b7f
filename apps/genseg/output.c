/* What scoring and prediction write beside numbers. Files appear whole: genseg_picture_write sees to that. */
#include "output.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <ht/random.h>

enum { NAME_BYTES = 255, HASH_BYTES = 17 };

ht_status genseg_output_path(char path[GENSEG_OUTPUT_PATH], const char *folder, const char *name, const char *suffix,
                             ht_error *error)
{
    size_t length = strlen(name), room = NAME_BYTES - strlen(suffix);
    char hash[HASH_BYTES + 1] = "";
    if (length > room) {
        snprintf(hash, sizeof hash, "-%016llx", (unsigned long long)ht_random_key(0, name));
        length = room - HASH_BYTES;
        /* not within a character of UTF-8 */
        while (length > 0 && ((unsigned char)name[length] & 0xC0u) == 0x80u) length--;
    }
    int written = snprintf(path, GENSEG_OUTPUT_PATH, "%s/%.*s%s%s", folder, (int)length, name, hash, suffix);
    if (written >= 0 && written < GENSEG_OUTPUT_PATH) return HT_OK;
    return ht_fail(error, HT_EINVALID, "%.200s: a path of %d bytes; expected less than %d; choose a shorter one", folder,
                   written, GENSEG_OUTPUT_PATH);
}

ht_status genseg_output_check(const char *option, const char *path, ht_error *error)
{
    struct stat facts;
    if (stat(path, &facts) || S_ISDIR(facts.st_mode)) return HT_OK;
    return ht_fail(error, HT_EINVALID, "%s: %.300s is a file; expected a folder, or a name for a new one; give another name",
                   option, path);
}

ht_status genseg_output_folder(const char *path, ht_error *error)
{
    struct stat facts;
    if (mkdir(path, 0777) == 0) return HT_OK;
    int why = errno;
    if (why == EEXIST && stat(path, &facts) == 0 && S_ISDIR(facts.st_mode)) return HT_OK;
    return ht_fail(error, HT_EIO, "%.300s: the folder cannot be made: %s; expected a place that can be written; check path "
                   "and permissions", path, why == EEXIST ? "there is a file of that name" : strerror(why));
}

ht_status genseg_output_mask(const char *path, const uint8_t *mask, int32_t width, int32_t height, ht_error *error)
{
    size_t count = (size_t)width * (size_t)height;
    genseg_picture picture = {.width = width, .height = height, .channels = 1, .pixels = malloc(count)};
    if (!picture.pixels)
        return ht_fail(error, HT_ENOMEM, "%.300s: no memory for a mask of %d x %d pixels; free some memory", path, width,
                       height);
    for (size_t k = 0; k < count; k++) picture.pixels[k] = mask[k] ? 255 : 0;
    ht_status status = genseg_picture_write(path, &picture, error);
    genseg_picture_free(&picture);
    return status;
}
