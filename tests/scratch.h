/*
 * A folder of its own for a test that writes files, and small ways to make, read and damage them. Header only;
 * a test that cannot even do that exits at once, since nothing that it would say could be trusted.
 */
#ifndef TESTS_SCRATCH_H
#define TESTS_SCRATCH_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char scratch_folder[256];

static inline void scratch_need(int good, const char *what)
{
    if (good) return;
    printf("Bail out! scratch folder: cannot %s\n", what);
    exit(1);
}

/* Makes a new folder below TMPDIR. */
static inline void scratch_open(void)
{
    const char *above = getenv("TMPDIR");
    int bytes = snprintf(scratch_folder, sizeof scratch_folder, "%s/ht-test-XXXXXX", above ? above : "/tmp");
    scratch_need(bytes < (int)sizeof scratch_folder && mkdtemp(scratch_folder) != NULL, "make the folder");
}

/* Path of a name in the folder; one of four buffers in turn. */
static inline const char *scratch_path(const char *name)
{
    static char paths[4][768];
    static int turn;
    char *path = paths[turn++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", scratch_folder, name);
    return path;
}

static inline void scratch_write(const char *path, const void *bytes, size_t count)
{
    FILE *file = fopen(path, "wb");
    scratch_need(file && fwrite(bytes, 1, count, file) == count && fclose(file) == 0, "write a file");
}

/* Writes over a file without emptying it first, for which some file systems wait for the disk. */
static inline void scratch_overwrite(const char *path, const void *bytes, size_t count)
{
    FILE *file = fopen(path, "r+b");
    scratch_need(file && fwrite(bytes, 1, count, file) == count && fclose(file) == 0, "write a file again");
}

/* Reads a whole file; the caller frees the result, which has a NUL behind its end. */
static inline char *scratch_read(const char *path, size_t *count)
{
    FILE *file = fopen(path, "rb");
    scratch_need(file && fseek(file, 0, SEEK_END) == 0, "open a file");
    long bytes = ftell(file);
    rewind(file);
    char *text = malloc((size_t)bytes + 1);
    scratch_need(text && fread(text, 1, (size_t)bytes, file) == (size_t)bytes, "read a file");
    fclose(file);
    text[bytes] = 0;
    *count = (size_t)bytes;
    return text;
}

/* Names in the folder, hidden ones too, but "." and "..". */
static inline int scratch_count(void)
{
    int count = 0;
    DIR *folder = opendir(scratch_folder);
    scratch_need(folder != NULL, "list the folder");
    for (struct dirent *entry; (entry = readdir(folder));)
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(folder);
    return count;
}

/* Removes the folder and the plain files and empty folders in it. */
static inline void scratch_close(void)
{
    DIR *folder = opendir(scratch_folder);
    scratch_need(folder != NULL, "list the folder");
    for (struct dirent *entry; (entry = readdir(folder));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) remove(scratch_path(entry->d_name));
    closedir(folder);
    remove(scratch_folder);
}

#endif
