/* Makes PNG files for tests, byte by byte and without libpng, so that reader and writer cannot share a fault. */
#ifndef TESTS_PICTURE_MAKER_H
#define TESTS_PICTURE_MAKER_H

#include <stdint.h>

#include "apps/genseg/picture.h"

/* Colour types of PNG. */
enum { MADE_GREY = 0, MADE_RGB = 2, MADE_PALETTE = 3, MADE_GREY_ALPHA = 4, MADE_RGBA = 6 };

typedef struct made_png {
    int32_t width, height, depth, type, interlaced;
    int32_t filter;          /* 0 to 4, or 5: each row another one */
    const uint16_t *samples; /* row by row, channels interleaved */
    const uint8_t (*palette)[3];
    int32_t palette_count;
    int32_t ancillary; /* 1: broken text, colour profile and transparency chunks that must be passed over */
} made_png;

int32_t made_channels(int32_t type);
/** The file; the caller frees data. */
genseg_bytes made_encode(const made_png *png);
/** Writes a file. 1 if it went well. */
int made_write(const char *path, const void *bytes, size_t count);
/** An 8-bit grey PNG of one plane at a path. */
int made_grey(const char *path, int32_t width, int32_t height, const uint8_t *levels);

#endif
