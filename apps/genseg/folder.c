/*
 * Folders of images: listing, and pairing of images with masks by stem. Nothing is opened here; a name only says that
 * a file is meant to be an image, its content will say which kind.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "picture.h"

#define NAMES_SHOWN 5
#define NAMES_BYTES 150
#define NO_MEMORY   "%s: no memory for the names in it; expected more of it; free some memory"

char *genseg_path_join(const char *folder, const char *name)
{
    size_t a = strlen(folder), b = strlen(name);
    char *path = malloc(a + b + 2);
    if (!path) return NULL;
    memcpy(path, folder, a);
    if (a == 0 || folder[a - 1] != '/') path[a++] = '/';
    memcpy(path + a, name, b + 1);
    return path;
}

void genseg_listing_free(genseg_listing *listing)
{
    for (int32_t i = 0; i < listing->count; i++) {
        free(listing->entries[i].stem);
        free(listing->entries[i].path);
    }
    free(listing->entries);
    *listing = (genseg_listing){0};
}

static int by_stem(const void *a, const void *b)
{
    return strcmp(((const genseg_entry *)a)->stem, ((const genseg_entry *)b)->stem);
}

/* The dot before a known extension, or NULL. */
static const char *extension(const char *name)
{
    const char *dot = strrchr(name, '.');
    bool known = dot && dot > name &&
                 (strcasecmp(dot, ".png") == 0 || strcasecmp(dot, ".jpg") == 0 || strcasecmp(dot, ".jpeg") == 0);
    return known ? dot : NULL;
}

static ht_status add_entry(const char *folder, const char *name, genseg_listing *out, int32_t *room, ht_error *error)
{
    char place[GENSEG_PLACE];
    if (out->count == *room) {
        int32_t larger = *room ? *room * 2 : 64;
        genseg_entry *entries = larger > (1 << 24) ? NULL : realloc(out->entries, sizeof *entries * (size_t)larger);
        if (!entries) return ht_fail(error, HT_ENOMEM, NO_MEMORY, genseg_place(folder, place));
        out->entries = entries;
        *room = larger;
    }
    const char *dot = extension(name);
    genseg_entry entry = {.path = genseg_path_join(folder, name),
                          .stem = dot ? strndup(name, (size_t)(dot - name)) : strdup(name)};
    out->entries[out->count++] = entry;
    if (!entry.path || !entry.stem) return ht_fail(error, HT_ENOMEM, NO_MEMORY, genseg_place(folder, place));
    genseg_place(entry.path, place);
    struct stat facts;
    if (stat(entry.path, &facts) != 0)
        return ht_fail(error, HT_EIO, "%s: cannot be looked at: %s; expected an image; repair or remove it", place,
                       strerror(errno));
    if (!S_ISREG(facts.st_mode))
        return ht_fail(error, HT_EFORMAT, "%s: not a regular file; expected images alone; name the folder that holds them, or "
                       "move it away", place);
    if (!dot)
        return ht_fail(error, HT_EFORMAT,
                       "%s: not an image by its name; expected .png, .jpg or .jpeg; convert the file or move it away", place);
    return HT_OK;
}

static ht_status read_names(DIR *open_folder, const char *folder, genseg_listing *out, ht_error *error)
{
    int32_t room = 0;
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(open_folder);
        if (!entry) break;
        if (entry->d_name[0] == '.') continue;
        ht_status status = add_entry(folder, entry->d_name, out, &room, error);
        if (status != HT_OK) return status;
    }
    if (errno == 0) return HT_OK;
    char place[GENSEG_PLACE];
    return ht_fail(error, HT_EIO, "%s: listing stopped: %s; expected a readable folder; check the disk",
                   genseg_place(folder, place), strerror(errno));
}

static ht_status check_names(const char *place, const genseg_listing *list, ht_error *error)
{
    if (list->count == 0)
        return ht_fail(error, HT_EINVALID,
                       "%s: no images; expected at least one .png, .jpg or .jpeg; add some or name another folder", place);
    for (int32_t i = 1; i < list->count; i++) {
        if (strcmp(list->entries[i - 1].stem, list->entries[i].stem) != 0) continue;
        char stem[GENSEG_PLACE];
        return ht_fail(error, HT_EINVALID,
                       "%s: two files named %s but for the extension; expected one; remove the other", place,
                       genseg_place(list->entries[i].stem, stem));
    }
    return HT_OK;
}

ht_status genseg_folder_list(const char *folder, genseg_listing *out, ht_error *error)
{
    char place[GENSEG_PLACE];
    genseg_place(folder, place);
    *out = (genseg_listing){0};
    DIR *open_folder = opendir(folder);
    if (!open_folder) {
        bool absent = errno == ENOENT || errno == ENOTDIR;
        return ht_fail(error, absent ? HT_EINVALID : HT_EIO, "%s: %s; expected a folder of images; check the path", place,
                       errno == ENOENT ? "no such folder" : errno == ENOTDIR ? "not a folder" : strerror(errno));
    }
    ht_status status = read_names(open_folder, folder, out, error);
    closedir(open_folder);
    if (status == HT_OK) {
        if (out->count) qsort(out->entries, (size_t)out->count, sizeof *out->entries, by_stem);
        status = check_names(place, out, error);
    }
    if (status != HT_OK) genseg_listing_free(out);
    return status;
}

/* Names, joined by commas, with "..." once there are too many or they get too long. */
typedef struct name_list {
    char text[NAMES_BYTES + 8];
    size_t used;
    int32_t count;
    bool full;
} name_list;

static void add_name(name_list *list, const char *name)
{
    char shown[GENSEG_PLACE];
    list->count++;
    if (list->full) return;
    size_t length = strlen(genseg_place(name, shown));
    list->full = list->count > NAMES_SHOWN || list->used + length + 2 > NAMES_BYTES;
    int wrote = snprintf(list->text + list->used, sizeof list->text - list->used, "%s%s", list->used ? ", " : "",
                         list->full ? "..." : shown);
    list->used += wrote > 0 ? (size_t)wrote : 0;
}

/* Stems of a that b lacks; both are sorted. */
static void missing(const genseg_listing *a, const genseg_listing *b, name_list *names)
{
    for (int32_t i = 0, j = 0; i < a->count; i++) {
        while (j < b->count && strcmp(b->entries[j].stem, a->entries[i].stem) < 0) j++;
        if (j == b->count || strcmp(b->entries[j].stem, a->entries[i].stem) != 0) add_name(names, a->entries[i].stem);
    }
}

ht_status genseg_folder_pair(const char *place, const genseg_listing *images, const genseg_listing *masks,
                             ht_error *error)
{
    name_list bare = {0}, lost = {0};
    missing(images, masks, &bare);
    missing(masks, images, &lost);
    if (bare.count && lost.count)
        return ht_fail(error, HT_EINVALID,
                       "%s: %d of %d images without a mask (%s), and masks of other names (%s); expected the same name "
                       "in both but for the extension; rename the masks",
                       place, bare.count, images->count, bare.text, lost.text);
    if (bare.count)
        return ht_fail(error, HT_EINVALID,
                       "%s: %d of %d images without a mask (%s); expected a mask of the same name; "
                       "add the masks or remove the images",
                       place, bare.count, images->count, bare.text);
    if (lost.count)
        return ht_fail(error, HT_EINVALID,
                       "%s: %d of %d masks without an image (%s); expected an image of the same name; "
                       "add the images or remove the masks",
                       place, lost.count, masks->count, lost.text);
    return HT_OK;
}
