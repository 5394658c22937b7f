/*
 * Exact reads and durable replacement of files. The only place of core/store that calls the system on files.
 * A replacement goes through a descriptor of the folder: the temporary name is short and random, created with O_EXCL,
 * and no step follows a folder that is swapped meanwhile. A refused fsync (not one that a signal cut short) is never
 * tried again: the pages that it could not write are gone from the cache, and a second call would report success.
 */
#include "store/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <ht/random.h>
#include <ht/store.h>

#define SHOWN_PATH_BYTES 200
#define TEMPORARY_BYTES 32
#define TEMPORARY_TRIES 64

const char *hti_path_shown(const char *path)
{
    size_t bytes = strlen(path);
    if (bytes <= SHOWN_PATH_BYTES) return path;
    path += bytes - SHOWN_PATH_BYTES;
    while (((unsigned char)*path & 0xC0u) == 0x80u) path++;
    return path;
}

static ht_status refuse(const char *path, const char *doing, int code, ht_error *error)
{
    return ht_fail(error, HT_EIO, "%s: cannot %s: %s", hti_path_shown(path), doing, strerror(code));
}

ht_status hti_file_open(hti_file *file, const char *path, ht_error *error)
{
    *file = (hti_file){.path = path, .descriptor = -1};
    /* O_NONBLOCK: opening a pipe that nobody writes would wait for ever; it changes nothing for regular files. */
    do file->descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    while (file->descriptor < 0 && errno == EINTR);
    if (file->descriptor < 0) return refuse(path, "open it to read", errno, error);
    struct stat facts;
    ht_status status = HT_OK;
    if (fstat(file->descriptor, &facts) != 0) status = refuse(path, "ask for its size", errno, error);
    else if (!S_ISREG(facts.st_mode))
        status = ht_fail(error, HT_EIO, "%s: not a regular file; expected one", hti_path_shown(path));
    if (status != HT_OK) hti_file_close(file);
    else file->bytes = (int64_t)facts.st_size;
    return status;
}

ht_status hti_file_read(const hti_file *file, int64_t offset, void *bytes, size_t count, ht_error *error)
{
    char *to = bytes;
    while (count > 0) {
        ssize_t got = pread(file->descriptor, to, count, (off_t)offset);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return refuse(file->path, "read it", errno, error);
        if (got == 0)
            return ht_fail(error, HT_EIO, "%s: ends at byte %lld; expected %lld more; it was cut while being read",
                           hti_path_shown(file->path), (long long)offset, (long long)count);
        to += got;
        offset += got;
        count -= (size_t)got;
    }
    return HT_OK;
}

void hti_file_close(hti_file *file)
{
    if (file->descriptor >= 0) close(file->descriptor);
    file->descriptor = -1;
}

/* Where a file is to be made: the folder's descriptor, the name in it, the name of the temporary sibling. */
typedef struct place {
    const char *path, *name;
    int folder;
    char temporary[TEMPORARY_BYTES];
} place;

static ht_status open_folder(place *p, const char *path, ht_error *error)
{
    const char *slash = strrchr(path, '/');
    *p = (place){.path = path, .name = slash ? slash + 1 : path, .folder = -1};
    if (!*p->name)
        return ht_fail(error, HT_EINVALID, "\"%s\": names no file; expected FOLDER/NAME", hti_path_shown(path));
    size_t bytes = (size_t)(p->name - path);
    char *folder = malloc(bytes + 2);
    if (!folder) return ht_fail(error, HT_ENOMEM, "%s: no memory for the folder's name", hti_path_shown(path));
    memcpy(folder, path, bytes);
    memcpy(folder + bytes, ".", 2); /* "a/" gives "a/.", "" gives "." */
    do p->folder = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    while (p->folder < 0 && errno == EINTR);
    int code = errno;
    free(folder);
    return p->folder < 0 ? refuse(path, "open its folder", code, error) : HT_OK;
}

/* Creates the sibling; returns its descriptor, or -1 with errno set. */
static int create_temporary(place *p)
{
    for (uint64_t attempt = 0; attempt < TEMPORARY_TRIES; attempt++) {
        struct timespec now = {0};
        clock_gettime(CLOCK_REALTIME, &now);
        uint64_t clock = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
        uint64_t who = ht_random_mix((uint64_t)getpid(), (uint64_t)(uintptr_t)p);
        uint64_t random = ht_random_mix(ht_random_mix(clock, attempt), who);
        snprintf(p->temporary, sizeof p->temporary, ".ht-%016llx.tmp", (unsigned long long)random);
        int descriptor = openat(p->folder, p->temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
        if (descriptor >= 0 || (errno != EEXIST && errno != EINTR)) return descriptor;
    }
    return -1;
}

static bool write_part(int descriptor, const hti_part *part)
{
    const char *from = part->bytes;
    size_t left = part->count;
    while (left > 0) {
        ssize_t put = write(descriptor, from, left);
        if (put < 0 && errno == EINTR) continue;
        if (put == 0) errno = EIO;
        if (put <= 0) return false;
        from += put;
        left -= (size_t)put;
    }
    return true;
}

static int sync_descriptor(int descriptor)
{
    int result;
    do result = fsync(descriptor);
    while (result != 0 && errno == EINTR);
    return result;
}

/* Writes and closes the sibling. NULL if it is on the disk, else what could not be done, with errno set. */
static const char *fill(int descriptor, const hti_part *parts, int32_t count)
{
    const char *doing = NULL;
    for (int32_t i = 0; i < count && !doing; i++)
        if (!write_part(descriptor, &parts[i])) doing = "write it";
    if (!doing && sync_descriptor(descriptor) != 0) doing = "bring it to the disk (fsync)";
    int code = errno;
    /* Linux closes the descriptor even if it reports EINTR, and the data is synced by then. */
    if (close(descriptor) != 0 && errno != EINTR && !doing) {
        doing = "close it";
        code = errno;
    }
    errno = code;
    return doing;
}

ht_status hti_file_replace(const char *path, const hti_part *parts, int32_t count, ht_error *error)
{
    place p;
    ht_status status = open_folder(&p, path, error);
    if (status != HT_OK) return status;
    const char *doing = "create a temporary file beside it";
    int descriptor = create_temporary(&p), code = errno;
    if (descriptor >= 0) {
        doing = fill(descriptor, parts, count);
        if (!doing && renameat(p.folder, p.temporary, p.folder, p.name) != 0) doing = "give it its name";
        code = errno;
        if (doing) unlinkat(p.folder, p.temporary, 0);
    }
    if (doing) status = refuse(path, doing, code, error);
    else if (sync_descriptor(p.folder) != 0 && errno != EINVAL) /* EINVAL: this file system syncs no folders */
        status = refuse(path, "bring its new name to the disk (fsync of the folder)", errno, error);
    close(p.folder);
    return status;
}

ht_status ht_file_write(const char *path, const void *bytes, size_t count, ht_error *error)
{
    return hti_file_replace(path, &(hti_part){.bytes = bytes, .count = count}, 1, error);
}
