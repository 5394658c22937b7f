/*
 * Pictures: the choice of a decoder by content, limits on sizes, 8-bit pictures from decoded rows, and PNG writing.
 * Samples are scaled by the depth that the file declares, never by the values found in it.
 */
#include <png.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <ht/store.h>

#include "picture.h"

ht_status genseg_check_size(const char *place, int64_t width, int64_t height, double possible, size_t bytes,
                            ht_error *error)
{
    if (width < 1 || height < 1)
        return ht_fail(error, HT_EFORMAT,
                       "%s: claims %lld x %lld pixels; expected at least one; replace or remove the file", place,
                       (long long)width, (long long)height);
    if (width > GENSEG_SIDE_MAX || height > GENSEG_SIDE_MAX || width * height > GENSEG_PIXELS_MAX)
        return ht_fail(error, HT_EFORMAT,
                       "%s: claims %lld x %lld pixels; expected at most %lld in all and %d on a side; shrink or remove "
                       "the file",
                       place, (long long)width, (long long)height, (long long)GENSEG_PIXELS_MAX, GENSEG_SIDE_MAX);
    if ((double)width * (double)height > possible)
        return ht_fail(
            error, HT_EFORMAT,
            "%s: claims %lld x %lld pixels, more than its %zu bytes can hold; expected a whole file; replace "
            "or remove the file",
            place, (long long)width, (long long)height, bytes);
    return HT_OK;
}

ht_status genseg_decode(const genseg_bytes *file, const char *path, const genseg_sink *sink, ht_error *error)
{
    static const struct {
        const char *start, *name;
        size_t count;
    } others[] = {{"II*\0", "a TIFF", 4}, {"MM\0*", "a TIFF", 4},       {"GIF8", "a GIF", 4}, {"BM", "a BMP", 2},
                  {"RIFF", "a WebP", 4},  {"\x1f\x8b", "gzip data", 2}, {"P5", "a PGM", 2},   {"P6", "a PPM", 2}};
    char place[GENSEG_PLACE];
    const uint8_t *b = file->data;
    if (file->count >= 8 && memcmp(b, "\x89PNG\r\n\x1a\n", 8) == 0) return genseg_decode_png(file, path, sink, error);
    if (file->count >= 3 && memcmp(b, "\xff\xd8\xff", 3) == 0) return genseg_decode_jpeg(file, path, sink, error);
    genseg_place(path, place);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (file->count >= others[i].count && memcmp(b, others[i].start, others[i].count) == 0)
            return ht_fail(error, HT_EFORMAT, "%s: holds %s; expected PNG or JPEG; convert the file", place,
                           others[i].name);
    return ht_fail(error, HT_EFORMAT,
                   "%s: its %zu bytes are neither PNG nor JPEG; expected one of these; replace or remove the file",
                   place, file->count);
}

static ht_status grow(genseg_rows *rows, const genseg_form *form, int32_t count, ht_error *error)
{
    char place[GENSEG_PLACE];
    uint8_t *data = realloc(rows->data, rows->bytes * (size_t)count);
    if (!data)
        return ht_fail(error, HT_ENOMEM,
                       "%s: no memory for its %d x %d pixels; expected more of it; free some memory or "
                       "shrink the image",
                       genseg_place(rows->path, place), form->width, form->height);
    rows->data = data;
    rows->ready = count;
    return HT_OK;
}

ht_status genseg_rows_begin(genseg_rows *rows, const genseg_form *form, size_t bytes, ht_error *error)
{
    rows->bytes = bytes;
    return grow(rows, form, form->interlaced || form->height < 64 ? form->height : 64, error);
}

ht_status genseg_rows_at(genseg_rows *rows, const genseg_form *form, int32_t y, uint8_t **row, ht_error *error)
{
    ht_status status = HT_OK;
    if (y >= rows->ready)
        status = grow(rows, form, rows->ready > form->height / 2 ? form->height : rows->ready * 2, error);
    if (status == HT_OK) *row = rows->data + (size_t)y * rows->bytes;
    return status;
}

typedef struct picture_sink {
    genseg_rows rows;
    int32_t width, height, channels;
} picture_sink;

static bool palette_is_grey(const genseg_form *form)
{
    for (int32_t i = 0; i < form->palette_count; i++)
        if (form->palette[i][0] != form->palette[i][1] || form->palette[i][0] != form->palette[i][2]) return false;
    return true;
}

static ht_status picture_begin(void *context, const genseg_form *form, ht_error *error)
{
    picture_sink *s = context;
    bool colour = form->palette_count ? !palette_is_grey(form) : form->channels >= 3;
    s->width = form->width;
    s->height = form->height;
    s->channels = colour ? 3 : 1;
    return genseg_rows_begin(&s->rows, form, (size_t)s->width * (size_t)s->channels, error);
}

static ht_status picture_row(void *context, const genseg_form *form, const genseg_run_of_pixels *run, ht_error *error)
{
    picture_sink *s = context;
    uint8_t *row;
    ht_status status = genseg_rows_at(&s->rows, form, run->y, &row, error);
    if (status != HT_OK) return status;
    uint32_t most = (1u << form->depth) - 1;
    if (form->depth == 8 && form->channels == s->channels && run->step == 1 && !form->palette_count) { /* as it is */
        const int64_t count = (int64_t)run->count * s->channels;
        row += (size_t)run->first * (size_t)s->channels;
        for (int64_t i = 0; i < count; i++) row[i] = (uint8_t)run->samples[i];
        return HT_OK;
    }
    for (int32_t i = 0; i < run->count; i++) {
        uint8_t *to = row + ((size_t)run->first + (size_t)i * (size_t)run->step) * (size_t)s->channels;
        const uint16_t *from = run->samples + (size_t)i * (size_t)form->channels;
        for (int32_t c = 0; c < s->channels; c++)
            to[c] = form->palette_count ? form->palette[*from][c] : (uint8_t)((from[c] * 255u + most / 2) / most);
    }
    return HT_OK;
}

ht_status genseg_picture_decode(const genseg_bytes *file, const char *path, genseg_picture *out, ht_error *error)
{
    ht_error local = {0};
    picture_sink s = {.rows.path = path};
    const genseg_sink sink = {&s, picture_begin, picture_row};
    ht_status status = genseg_decode(file, path, &sink, &local);
    if (status != HT_OK) ht_fail(error, status, "%s", local.message);
    *out = (genseg_picture){0};
    if (status == HT_OK)
        *out = (genseg_picture){s.width, s.height, s.channels, s.rows.data};
    else
        free(s.rows.data);
    return status;
}

ht_status genseg_picture_read(const char *path, genseg_picture *out, ht_error *error)
{
    genseg_bytes file;
    *out = (genseg_picture){0};
    ht_status status = genseg_bytes_read(path, &file, error);
    if (status != HT_OK) return status;
    status = genseg_picture_decode(&file, path, out, error);
    free(file.data);
    return status;
}

void genseg_picture_free(genseg_picture *picture)
{
    if (!picture) return;
    free(picture->pixels);
    *picture = (genseg_picture){0};
}

/* ---- writing ---- */

typedef struct png_writer {
    jmp_buf escape;
    png_structp png;
    png_infop info;
    genseg_bytes file;
    size_t room;
} png_writer;

static _Noreturn void write_stopped(png_structp png, png_const_charp text)
{
    png_writer *w = png_get_error_ptr(png);
    (void)text;
    longjmp(w->escape, 1);
}

static void write_warned(png_structp png, png_const_charp text)
{
    (void)png;
    (void)text;
}

static void put_bytes(png_structp png, png_bytep from, size_t count)
{
    png_writer *w = png_get_io_ptr(png);
    if (count > w->room - w->file.count) {
        size_t room = (w->room + count) * 2;
        uint8_t *data = realloc(w->file.data, room);
        if (!data) write_stopped(png, "memory");
        w->file.data = data;
        w->room = room;
    }
    memcpy(w->file.data + w->file.count, from, count);
    w->file.count += count;
}

static void put_nothing(png_structp png)
{
    (void)png;
}

static ht_status write_image(png_writer *w, const genseg_picture *picture, ht_error *error)
{
    if (setjmp(w->escape))
        return ht_fail(error, HT_ENOMEM, "a picture: no memory to encode it; expected more of it; free some memory");
    size_t row = (size_t)picture->width * (size_t)picture->channels;
    png_set_write_fn(w->png, w, put_bytes, put_nothing);
    png_set_IHDR(w->png, w->info, (uint32_t)picture->width, (uint32_t)picture->height, 8,
                 picture->channels == 1 ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_set_compression_level(w->png, 2); /* a third of the time of the default, an eighth more bytes */
    png_write_info(w->png, w->info);
    for (int32_t y = 0; y < picture->height; y++) png_write_row(w->png, picture->pixels + (size_t)y * row);
    png_write_end(w->png, w->info);
    return HT_OK;
}

ht_status genseg_picture_encode(const genseg_picture *picture, uint8_t **bytes, size_t *count, ht_error *error)
{
    *bytes = NULL;
    *count = 0;
    if (!picture->pixels || picture->width < 1 || picture->height < 1 ||
        (picture->channels != 1 && picture->channels != 3) || picture->width > GENSEG_SIDE_MAX ||
        picture->height > GENSEG_SIDE_MAX)
        return ht_fail(error, HT_EINVALID,
                       "a picture: %d x %d pixels and %d channels; expected 1 or 3 channels and at most "
                       "%d pixels on a side; this is a fault of genseg",
                       picture->width, picture->height, picture->channels, GENSEG_SIDE_MAX);
    png_writer w = {0};
    w.png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &w, write_stopped, write_warned);
    w.info = w.png ? png_create_info_struct(w.png) : NULL;
    ht_status status =
        w.info ? write_image(&w, picture, error)
               : ht_fail(error, HT_ENOMEM, "a picture: no memory to encode it; expected more of it; free some memory");
    if (w.png) png_destroy_write_struct(&w.png, &w.info);
    if (status != HT_OK) {
        free(w.file.data);
        return status;
    }
    *bytes = w.file.data;
    *count = w.file.count;
    return HT_OK;
}

ht_status genseg_picture_write(const char *path, const genseg_picture *picture, ht_error *error)
{
    uint8_t *bytes;
    size_t count;
    ht_status status = genseg_picture_encode(picture, &bytes, &count, error);
    if (status != HT_OK) return status;
    status = ht_file_write(path, bytes, count, error);
    free(bytes);
    return status;
}
