/*
 * Shared by the files that read pictures, not for the rest of genseg: file bytes, the decoders, and the sink that
 * takes their rows. A decoder knows nothing of what becomes of a sample; a sink knows nothing of file formats.
 */
#ifndef GENSEG_PICTURE_H
#define GENSEG_PICTURE_H

#include <stdbool.h>

#include "data.h"

/* Limits on what a file may claim, checked before anything is allocated for its pixels. */
#define GENSEG_PIXELS_MAX     INT64_C(100000000)
#define GENSEG_SIDE_MAX       1000000
#define GENSEG_SCANS_MAX      64
#define GENSEG_FILE_BYTES_MAX (INT64_C(1) << 30)

/*
 * A mask may hold grey levels other than 0 and its declared maximum in at most this share of its pixels (in a
 * thousand), if it holds the maximum too; they are cut at half of the maximum, with a warning. More is refused.
 */
#define GENSEG_STRAY_PER_THOUSAND 1

/* A path as it may stand in a message: control characters, broken UTF-8 and direction marks escaped, long ones cut in
   front. Lives in the caller's buffer. */
#define GENSEG_PLACE 176
const char *genseg_place(const char *path, char text[GENSEG_PLACE]);
/* Bytes of the UTF-8 character at text that may be shown as it is; 0 if the byte there must be escaped. */
size_t genseg_shown(const unsigned char *text);

#define GENSEG_NO_MEMORY "%s: no memory to decode it; expected more of it; free some memory or shrink the image"

typedef struct genseg_bytes {
    uint8_t *data;
    size_t count;
} genseg_bytes;
/** The whole of a regular file; memory grows with what is really read. The caller frees data. */
ht_status genseg_bytes_read(const char *path, genseg_bytes *out, ht_error *error);

#define GENSEG_HASH_START UINT64_C(0xCBF29CE484222325)
/** 64-bit FNV-1a, continued from h. */
uint64_t genseg_hash(uint64_t h, const void *bytes, size_t count);

/* What the file says of itself. channels: samples per pixel in the file, 1 grey, 2 grey and alpha, 3 RGB, 4 RGBA. */
typedef struct genseg_form {
    int32_t width, height, channels, depth;
    bool interlaced;
    int32_t palette_count; /* 0: samples are levels; else one channel of indices */
    uint8_t palette[256][3];
} genseg_form;

/* Part of one row: pixel i stands at column first + i * step. samples: count * channels, 0 .. 2^depth - 1. */
typedef struct genseg_run_of_pixels {
    int32_t y, first, step, count;
    const uint16_t *samples;
} genseg_run_of_pixels;

/* Both return HT_OK or fill the record (never NULL). After begin fails nothing else is called. */
typedef struct genseg_sink {
    void *context;
    ht_status (*begin)(void *context, const genseg_form *form, ht_error *error);
    ht_status (*row)(void *context, const genseg_form *form, const genseg_run_of_pixels *run, ht_error *error);
} genseg_sink;

/** Decodes PNG or JPEG, told by its first bytes, into the sink. path: for messages. */
ht_status genseg_decode(const genseg_bytes *file, const char *path, const genseg_sink *sink, ht_error *error);
/* The two decoders behind it. */
ht_status genseg_decode_png(const genseg_bytes *file, const char *path, const genseg_sink *sink, ht_error *error);
ht_status genseg_decode_jpeg(const genseg_bytes *file, const char *path, const genseg_sink *sink, ht_error *error);
/** Refuses sizes of 0, over the limits, or beyond `possible` pixels, the most that the bytes present can hold. */
ht_status genseg_check_size(const char *path, int64_t width, int64_t height, double possible, size_t bytes,
                            ht_error *error);

/*
 * Pixels of a picture to be: rows of `bytes` bytes. Memory is asked for as rows come, so that a header alone takes
 * little; an interlaced file needs all from the start.
 */
typedef struct genseg_rows {
    uint8_t *data; /* the caller frees it */
    size_t bytes;
    int32_t ready;
    const char *path; /* for messages */
} genseg_rows;
ht_status genseg_rows_begin(genseg_rows *rows, const genseg_form *form, size_t bytes, ht_error *error);
/** Makes row y writable; sets *row to it. */
ht_status genseg_rows_at(genseg_rows *rows, const genseg_form *form, int32_t y, uint8_t **row, ht_error *error);

/** A picture from bytes that were read before. */
ht_status genseg_picture_decode(const genseg_bytes *file, const char *path, genseg_picture *out, ht_error *error);

/* Lines of text that grow, for warnings. */
typedef struct genseg_lines {
    char *text; /* NULL while there is none; each line but the last ends in a newline */
    size_t used;
} genseg_lines;
ht_status genseg_lines_add(genseg_lines *lines, const char *line, ht_error *error);

/** A mask as 0 and 1 by the rules above mask.c; one line is added to warnings where stray levels were cut. */
ht_status genseg_mask_decode(const genseg_bytes *file, const char *path, int32_t *width, int32_t *height,
                             uint8_t **mask, genseg_lines *warnings, ht_error *error);

/* The image files of one folder, sorted by stem. */
typedef struct genseg_entry {
    char *stem, *path;
} genseg_entry;
typedef struct genseg_listing {
    genseg_entry *entries;
    int32_t count;
} genseg_listing;
/** Hidden files are passed over; a name that is no image's, two of one stem, or an empty folder are refused. */
ht_status genseg_folder_list(const char *folder, genseg_listing *out, ht_error *error);
/** Refuses, with up to five names, stems that stand in one listing alone. place: the split's folder. */
ht_status genseg_folder_pair(const char *place, const genseg_listing *images, const genseg_listing *masks,
                             ht_error *error);
void genseg_listing_free(genseg_listing *listing);
/** "folder/name"; NULL without memory. The caller frees it. */
char *genseg_path_join(const char *folder, const char *name);

/** Cases of a phantom split, named as GENSEG_*. */
int32_t genseg_phantom_count(int32_t split);
/* Pixels on a side at which the phantom data set is drawn, before it is resized as any other. */
#define GENSEG_PHANTOM_SIZE 192

#endif
