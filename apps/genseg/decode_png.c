/*
 * PNG to rows of samples, through libpng. Ancillary chunks are never looked into; no row is kept but the present one,
 * also when the file is interlaced: each pass hands its narrow rows on. All that is used after a jump back lives in
 * the reader, reached through a pointer that never changes, so no local variable can be lost.
 */
#include <png.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "picture.h"

/* deflate cannot shrink below 1/1032. */
#define DEFLATE_RATIO 1032.0

typedef struct png_reader {
    jmp_buf escape;
    png_structp png;
    png_infop info;
    const genseg_bytes *file;
    size_t at;
    const char *place;
    const genseg_sink *sink;
    genseg_form form;
    png_bytep row;
    uint16_t *samples;
    ht_error *error;
    char said[80];
} png_reader;

static _Noreturn void stopped(png_structp png, png_const_charp text)
{
    png_reader *r = png_get_error_ptr(png);
    snprintf(r->said, sizeof r->said, "%s", text);
    longjmp(r->escape, 1);
}

/* Warnings concern chunks that we do not use; what harms the pixels is no warning (png_set_benign_errors). */
static void warned(png_structp png, png_const_charp text)
{
    (void)png;
    (void)text;
}

static void take_bytes(png_structp png, png_bytep to, size_t count)
{
    png_reader *r = png_get_io_ptr(png);
    if (count > r->file->count - r->at) stopped(png, "the file ends too early");
    memcpy(to, r->file->data + r->at, count);
    r->at += count;
}

static uint32_t big_endian(const uint8_t *b)
{
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

/* Width, height, depth and colour type as the header claims them, before libpng sees the file. */
static ht_status check_header(const genseg_bytes *file, const char *place, ht_error *error)
{
    const uint8_t *b = file->data;
    if (file->count < 33 || big_endian(b + 8) != 13 || memcmp(b + 12, "IHDR", 4) != 0)
        return ht_fail(error, HT_EFORMAT,
                       "%s: a PNG without a whole header (%zu bytes); expected a whole file; replace or "
                       "remove the file",
                       place, file->count);
    static const int channels[7] = {1, 0, 3, 1, 2, 0, 4};
    int depth = b[24], type = b[25];
    bool known = type < 7 && channels[type] && (depth == 1 || depth == 2 || depth == 4 || depth == 8 || depth == 16);
    if (!known)
        return ht_fail(error, HT_EFORMAT,
                       "%s: a PNG header with colour type %d and depth %d; expected a pair that PNG has; replace or "
                       "remove the file",
                       place, type, depth);
    double pixels = DEFLATE_RATIO * (double)file->count * 8.0 / (channels[type] * depth);
    return genseg_check_size(place, big_endian(b + 16), big_endian(b + 20), pixels, file->count, error);
}

static void read_form(png_reader *r)
{
    png_structp png = r->png;
    png_infop info = r->info;
    genseg_form *form = &r->form;
    form->width = (int32_t)png_get_image_width(png, info);
    form->height = (int32_t)png_get_image_height(png, info);
    form->depth = png_get_bit_depth(png, info);
    form->channels = png_get_channels(png, info);
    form->interlaced = png_get_interlace_type(png, info) != PNG_INTERLACE_NONE;
    if (png_get_color_type(png, info) != PNG_COLOR_TYPE_PALETTE) return;
    png_colorp palette = NULL;
    int count = 0;
    if (!png_get_PLTE(png, info, &palette, &count) || count < 1 || count > 256) stopped(png, "no palette");
    form->palette_count = count;
    for (int i = 0; i < count; i++) {
        form->palette[i][0] = palette[i].red;
        form->palette[i][1] = palette[i].green;
        form->palette[i][2] = palette[i].blue;
    }
}

/* Bytes of a row to samples; depths below 8 were unpacked to one byte each by libpng. */
static void to_samples(const png_reader *r, int64_t count)
{
    if (r->form.depth == 16)
        for (int64_t i = 0; i < count; i++) r->samples[i] = (uint16_t)(r->row[2 * i] << 8 | r->row[2 * i + 1]);
    else
        for (int64_t i = 0; i < count; i++) r->samples[i] = r->row[i];
    if (!r->form.palette_count) return;
    for (int64_t i = 0; i < count; i++)
        if (r->samples[i] >= r->form.palette_count) stopped(r->png, "a pixel points past the end of the palette");
}

/* How many of `extent` rows or columns a pass holds that starts at `first` and takes each `step`-th. */
static int32_t held(int32_t extent, int32_t first, int32_t step)
{
    return extent > first ? (extent - first + step - 1) / step : 0;
}

/* One of the seven passes of an interlaced file, or (pass 7) the only one of another. */
static ht_status rows(png_reader *r, int pass)
{
    static const struct {
        int8_t first, step, top, down;
    } passes[8] = {{0, 8, 0, 8}, {4, 8, 0, 8}, {0, 4, 4, 8}, {2, 4, 0, 4},
                   {0, 2, 2, 4}, {1, 2, 0, 2}, {0, 1, 1, 2}, {0, 1, 0, 1}};
    int32_t first = passes[pass].first, step = passes[pass].step, top = passes[pass].top, down = passes[pass].down;
    int32_t columns = held(r->form.width, first, step), count = held(r->form.height, top, down);
    if (columns == 0) return HT_OK;
    for (int32_t y = 0; y < count; y++) {
        png_read_row(r->png, r->row, NULL);
        to_samples(r, (int64_t)columns * r->form.channels);
        genseg_run_of_pixels run = {top + y * down, first, step, columns, r->samples};
        ht_status status = r->sink->row(r->sink->context, &r->form, &run, r->error);
        if (status != HT_OK) return status;
    }
    return HT_OK;
}

static ht_status read_image(png_reader *r)
{
    png_structp png = r->png;
    png_set_read_fn(png, r, take_bytes);
    png_set_user_limits(png, GENSEG_SIDE_MAX, GENSEG_SIDE_MAX);
    png_set_chunk_malloc_max(png, 0); /* nothing is allocated for a chunk that is skipped */
    png_set_benign_errors(png, 0);
    static const png_byte transparency[5] = "tRNS";
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, NULL, -1);
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, transparency, 1);
    png_read_info(png, r->info);
    read_form(r);
    png_set_packing(png);
    png_read_update_info(png, r->info);
    r->row = malloc(png_get_rowbytes(png, r->info));
    r->samples = malloc(sizeof(uint16_t) * (size_t)r->form.width * (size_t)r->form.channels);
    if (!r->row || !r->samples) return ht_fail(r->error, HT_ENOMEM, GENSEG_NO_MEMORY, r->place);
    ht_status status = r->sink->begin(r->sink->context, &r->form, r->error);
    for (int pass = r->form.interlaced ? 0 : 7; status == HT_OK && pass < (r->form.interlaced ? 7 : 8); pass++)
        status = rows(r, pass);
    if (status == HT_OK) png_read_end(png, NULL);
    return status;
}

/* libpng's own words where they say something and keep to our wording. */
static ht_status damaged(const png_reader *r)
{
    if (strstr(r->said, "emory")) return ht_fail(r->error, HT_ENOMEM, GENSEG_NO_MEMORY, r->place);
    const char *said = strstr(r->said, "CRC") ? "a checksum does not match" : r->said;
    if (strstr(said, "rror") || strstr(said, "ailed")) said = "its data cannot be decoded";
    return ht_fail(r->error, HT_EFORMAT, "%s: a damaged PNG: %s; expected a whole file; replace or remove the file",
                   r->place, said);
}

static ht_status guarded(png_reader *r)
{
    if (setjmp(r->escape)) return damaged(r);
    return read_image(r);
}

ht_status genseg_decode_png(const genseg_bytes *file, const char *path, const genseg_sink *sink, ht_error *error)
{
    char place[GENSEG_PLACE];
    ht_status status = check_header(file, genseg_place(path, place), error);
    if (status != HT_OK) return status;
    png_reader r = {.file = file, .place = place, .sink = sink, .error = error};
    r.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &r, stopped, warned);
    r.info = r.png ? png_create_info_struct(r.png) : NULL;
    status = r.info ? guarded(&r) : ht_fail(error, HT_ENOMEM, GENSEG_NO_MEMORY, place);
    if (r.png) png_destroy_read_struct(&r.png, &r.info, NULL);
    free(r.row);
    free(r.samples);
    return status;
}
