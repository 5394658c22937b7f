/*
 * Files, as core/store uses them: exact reads of regular files, and durable replacement. Every system call on a file
 * stands in file.c, so that a harness can make any of them go wrong in one place.
 */
#ifndef HTI_STORE_FILE_H
#define HTI_STORE_FILE_H

#include "base/internal.h"

typedef struct hti_file {
    const char *path; /* lent, for messages */
    int64_t bytes;
    int descriptor;
} hti_file;

/* Opens a regular file for reading. EIO names it and says why not. */
ht_status hti_file_open(hti_file *file, const char *path, ht_error *error);
/* Reads exactly count bytes from an offset; EIO if the file ends before. */
ht_status hti_file_read(const hti_file *file, int64_t offset, void *bytes, size_t count, ht_error *error);
void hti_file_close(hti_file *file);

typedef struct hti_part {
    const void *bytes;
    size_t count;
} hti_part;

/*
 * Makes path hold exactly the parts, one after the other, durably: temporary sibling, fsync, rename, fsync of the
 * folder. Before the rename nothing is changed; the sibling is removed again if anything goes wrong.
 */
ht_status hti_file_replace(const char *path, const hti_part *parts, int32_t count, ht_error *error);

/* The end of a path, short enough to leave room in a message. */
const char *hti_path_shown(const char *path);

#endif
