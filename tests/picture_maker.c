/* The PNG format, written out: stored deflate blocks, all five filters, the seven passes of interlacing. */
#include "picture_maker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct writer {
    uint8_t *data;
    size_t count, room;
} writer;

static void put(writer *w, const void *bytes, size_t count)
{
    if (w->count + count > w->room) {
        w->room = (w->count + count) * 2;
        w->data = realloc(w->data, w->room);
        if (!w->data) abort();
    }
    memcpy(w->data + w->count, bytes, count);
    w->count += count;
}

static void put_byte(writer *w, int byte)
{
    put(w, &(uint8_t){(uint8_t)byte}, 1);
}

static void put_word(writer *w, uint32_t word)
{
    for (int shift = 24; shift >= 0; shift -= 8) put_byte(w, (int)(word >> shift & 255));
}

static uint32_t checksum(const uint8_t *bytes, size_t count)
{
    uint32_t crc = 0xFFFFFFFFu;
    for (size_t i = 0; i < count; i++) {
        crc ^= bytes[i];
        for (int k = 0; k < 8; k++) crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0);
    }
    return ~crc;
}

static void put_chunk(writer *w, const char *name, const void *bytes, size_t count)
{
    put_word(w, (uint32_t)count);
    size_t start = w->count;
    put(w, name, 4);
    if (count) put(w, bytes, count);
    put_word(w, checksum(w->data + start, count + 4));
}

int32_t made_channels(int32_t type)
{
    return type == MADE_RGB ? 3 : type == MADE_GREY_ALPHA ? 2 : type == MADE_RGBA ? 4 : 1;
}

static int predictor(int filter, int left, int up, int corner)
{
    int estimate = left + up - corner, a = abs(estimate - left), b = abs(estimate - up), c = abs(estimate - corner);
    switch (filter) {
    case 1:
        return left;
    case 2:
        return up;
    case 3:
        return (left + up) / 2;
    case 4:
        return a <= b && a <= c ? left : b <= c ? up : corner;
    default:
        return 0;
    }
}

/* One row of a pass: packed, filtered, appended. before: the unfiltered row above, replaced by this one. */
static void put_row(const made_png *p, int32_t y, int32_t first, int32_t step, int filter, uint8_t *before, writer *raw)
{
    int32_t channels = made_channels(p->type), columns = 0;
    size_t bits = 0, unit = (size_t)(channels * p->depth + 7) / 8;
    size_t room = ((size_t)p->width * (size_t)channels * (size_t)p->depth + 7) / 8;
    uint8_t *row = calloc(room + 1, 1);
    if (!row) abort();
    for (int32_t x = first; x < p->width; x += step, columns++) {
        for (int32_t c = 0; c < channels; c++, bits += (size_t)p->depth) {
            unsigned sample = p->samples[((size_t)y * (size_t)p->width + (size_t)x) * (size_t)channels + (size_t)c];
            if (p->depth == 16) row[bits / 8] = (uint8_t)(sample >> 8);
            if (p->depth == 16)
                row[bits / 8 + 1] = (uint8_t)sample;
            else
                row[bits / 8] |= (uint8_t)(sample << (8 - (unsigned)p->depth - bits % 8));
        }
    }
    size_t bytes = (bits + 7) / 8;
    put_byte(raw, filter);
    for (size_t i = 0; i < bytes; i++) {
        int left = i >= unit ? row[i - unit] : 0, corner = i >= unit ? before[i - unit] : 0;
        put_byte(raw, (row[i] - predictor(filter, left, before[i], corner)) & 255);
    }
    memcpy(before, row, bytes);
    free(row);
}

static void put_pass(const made_png *p, const int32_t pass[4], writer *raw)
{
    if (pass[0] >= p->width || pass[2] >= p->height) return;
    uint8_t *before = calloc((size_t)p->width * 8 + 8, 1);
    if (!before) abort();
    int row = 0;
    for (int32_t y = pass[2]; y < p->height; y += pass[3], row++)
        put_row(p, y, pass[0], pass[1], p->filter == 5 ? row % 5 : p->filter, before, raw);
    free(before);
}

static void put_image(const made_png *p, writer *w)
{
    static const int32_t passes[7][4] = {{0, 8, 0, 8}, {4, 8, 0, 8}, {0, 4, 4, 8}, {2, 4, 0, 4},
                                         {0, 2, 2, 4}, {1, 2, 0, 2}, {0, 1, 1, 2}};
    static const int32_t whole[4] = {0, 1, 0, 1};
    writer raw = {0}, packed = {0};
    if (p->interlaced)
        for (int i = 0; i < 7; i++) put_pass(p, passes[i], &raw);
    else
        put_pass(p, whole, &raw);
    uint32_t a = 1, b = 0;
    for (size_t i = 0; i < raw.count; i++) {
        a = (a + raw.data[i]) % 65521;
        b = (b + a) % 65521;
    }
    put(&packed, "\x78\x01", 2);
    for (size_t at = 0; at < raw.count;) {
        size_t block = raw.count - at < 60000 ? raw.count - at : 60000;
        put_byte(&packed, at + block == raw.count);
        put_byte(&packed, (int)(block & 255));
        put_byte(&packed, (int)(block >> 8));
        put_byte(&packed, (int)(~block & 255));
        put_byte(&packed, (int)(~block >> 8 & 255));
        put(&packed, raw.data + at, block);
        at += block;
    }
    put_word(&packed, b << 16 | a);
    put_chunk(w, "IDAT", packed.data, packed.count / 2); /* in two parts, as files often are */
    put_chunk(w, "IDAT", packed.data + packed.count / 2, packed.count - packed.count / 2);
    free(raw.data);
    free(packed.data);
}

genseg_bytes made_encode(const made_png *p)
{
    writer w = {0}, header = {0};
    put(&w, "\x89PNG\r\n\x1a\n", 8);
    put_word(&header, (uint32_t)p->width);
    put_word(&header, (uint32_t)p->height);
    put(&header, (const uint8_t[5]){(uint8_t)p->depth, (uint8_t)p->type, 0, 0, (uint8_t)p->interlaced}, 5);
    put_chunk(&w, "IHDR", header.data, header.count);
    free(header.data);
    if (p->ancillary) put_chunk(&w, "iCCP", "broken", 6);
    if (p->ancillary) put_chunk(&w, "zTXt", "also", 4);
    if (p->palette_count) put_chunk(&w, "PLTE", p->palette, (size_t)p->palette_count * 3);
    if (p->ancillary) put_chunk(&w, "tRNS", "\0", 1);
    put_image(p, &w);
    put_chunk(&w, "IEND", NULL, 0);
    return (genseg_bytes){w.data, w.count};
}

int made_write(const char *path, const void *bytes, size_t count)
{
    FILE *file = fopen(path, "wb");
    if (!file) return 0;
    int good = fwrite(bytes, 1, count, file) == count;
    return fclose(file) == 0 && good;
}

int made_grey(const char *path, int32_t width, int32_t height, const uint8_t *levels)
{
    size_t count = (size_t)width * (size_t)height;
    uint16_t *samples = malloc(count * sizeof *samples);
    if (!samples) return 0;
    for (size_t i = 0; i < count; i++) samples[i] = levels[i];
    made_png png = {.width = width, .height = height, .depth = 8, .type = MADE_GREY, .samples = samples};
    genseg_bytes file = made_encode(&png);
    int good = made_write(path, file.data, file.count);
    free(file.data);
    free(samples);
    return good;
}
