/*
 * JPEG to rows of samples, through libjpeg. What libjpeg only warns of (data cut short, bits lost) is fatal here, and
 * a file may not have more than GENSEG_SCANS_MAX scans. CMYK and arithmetic coding are refused by name. As in
 * decode_png.c, all state that outlives a jump lives in the reader.
 */
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>

#include "picture.h"

typedef struct jpeg_reader {
    jmp_buf escape;
    struct jpeg_decompress_struct jpeg;
    struct jpeg_error_mgr manager;
    struct jpeg_progress_mgr progress;
    const genseg_bytes *file;
    const char *place;
    const genseg_sink *sink;
    genseg_form form;
    JSAMPLE *row;
    uint16_t *samples;
    ht_error *error;
    char said[JMSG_LENGTH_MAX];
} jpeg_reader;

static _Noreturn void stopped(j_common_ptr jpeg)
{
    jpeg_reader *r = jpeg->client_data;
    jpeg->err->format_message(jpeg, r->said);
    longjmp(r->escape, 1);
}

static void told(j_common_ptr jpeg, int level)
{
    if (level < 0) stopped(jpeg);
}

static void silent(j_common_ptr jpeg)
{
    (void)jpeg;
}

/* Called at least once for every scan, long before it is decoded. */
static void count_scans(j_common_ptr jpeg)
{
    jpeg_reader *r = jpeg->client_data;
    if (r->jpeg.input_scan_number <= GENSEG_SCANS_MAX) return;
    ht_fail(r->error, HT_EFORMAT, "%s: a JPEG of more than %d scans; expected at most these; save the image again",
            r->place, GENSEG_SCANS_MAX);
    longjmp(r->escape, 1);
}

/* Each block of 8x8 samples takes at least one bit of Huffman code, in the first scan at the latest. */
static ht_status check_form(jpeg_reader *r)
{
    struct jpeg_decompress_struct *jpeg = &r->jpeg;
    double blocks = 0;
    for (int i = 0; i < jpeg->num_components; i++)
        blocks += (double)jpeg->comp_info[i].width_in_blocks * jpeg->comp_info[i].height_in_blocks;
    double pixels = (double)jpeg->image_width * jpeg->image_height;
    double possible = pixels * ((double)r->file->count * 8.0 / (blocks > 0 ? blocks : 1));
    ht_status status =
        genseg_check_size(r->place, jpeg->image_width, jpeg->image_height, possible, r->file->count, r->error);
    if (status != HT_OK) return status;
    J_COLOR_SPACE space = jpeg->jpeg_color_space;
    if (space == JCS_CMYK || space == JCS_YCCK)
        return ht_fail(r->error, HT_EFORMAT, "%s: a CMYK JPEG; expected grey or RGB; convert the file to RGB",
                       r->place);
    if (space != JCS_GRAYSCALE && space != JCS_RGB && space != JCS_YCbCr)
        return ht_fail(r->error, HT_EFORMAT,
                       "%s: a JPEG with %d channels of unknown meaning; expected grey or RGB; "
                       "convert the file",
                       r->place, jpeg->num_components);
    if (jpeg->arith_code)
        return ht_fail(r->error, HT_EFORMAT,
                       "%s: an arithmetic-coded JPEG; expected a baseline or progressive one; "
                       "convert the file",
                       r->place);
    return HT_OK;
}

static ht_status read_image(jpeg_reader *r)
{
    struct jpeg_decompress_struct *jpeg = &r->jpeg;
    jpeg_create_decompress(jpeg);
    jpeg->progress = &r->progress;
    jpeg_mem_src(jpeg, r->file->data, (unsigned long)r->file->count);
    jpeg_read_header(jpeg, TRUE);
    ht_status status = check_form(r);
    if (status != HT_OK) return status;
    r->form = (genseg_form){.width = (int32_t)jpeg->image_width,
                            .height = (int32_t)jpeg->image_height,
                            .depth = 8,
                            .channels = jpeg->jpeg_color_space == JCS_GRAYSCALE ? 1 : 3};
    jpeg->out_color_space = r->form.channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
    jpeg->dct_method = JDCT_ISLOW;
    jpeg->do_block_smoothing = FALSE;
    size_t count = (size_t)r->form.width * (size_t)r->form.channels;
    r->row = malloc(count);
    r->samples = malloc(count * sizeof(uint16_t));
    if (!r->row || !r->samples) return ht_fail(r->error, HT_ENOMEM, GENSEG_NO_MEMORY, r->place);
    status = r->sink->begin(r->sink->context, &r->form, r->error);
    if (status != HT_OK) return status;
    jpeg_start_decompress(jpeg);
    while (jpeg->output_scanline < jpeg->output_height) {
        genseg_run_of_pixels run = {(int32_t)jpeg->output_scanline, 0, 1, r->form.width, r->samples};
        jpeg_read_scanlines(jpeg, &r->row, 1); /* the memory source never suspends: it is one row, or a jump */
        for (size_t i = 0; i < count; i++) r->samples[i] = r->row[i];
        status = r->sink->row(r->sink->context, &r->form, &run, r->error);
        if (status != HT_OK) return status;
    }
    jpeg_finish_decompress(jpeg);
    return HT_OK;
}

static ht_status guarded(jpeg_reader *r)
{
    if (setjmp(r->escape) == 0) return read_image(r);
    if (r->error->status != HT_OK) return r->error->status; /* said by count_scans */
    if (strstr(r->said, "memory")) return ht_fail(r->error, HT_ENOMEM, GENSEG_NO_MEMORY, r->place);
    const char *said = strstr(r->said, "rror") || strstr(r->said, "ailed") ? "its data cannot be decoded" : r->said;
    return ht_fail(r->error, HT_EFORMAT,
                   "%s: a damaged JPEG: %.100s; expected a whole file; replace or remove the file", r->place, said);
}

ht_status genseg_decode_jpeg(const genseg_bytes *file, const char *path, const genseg_sink *sink, ht_error *error)
{
    char place[GENSEG_PLACE];
    jpeg_reader r = {.file = file, .place = genseg_place(path, place), .sink = sink, .error = error};
    r.jpeg.err = jpeg_std_error(&r.manager);
    r.manager.error_exit = stopped;
    r.manager.emit_message = told;
    r.manager.output_message = silent;
    r.progress.progress_monitor = count_scans;
    r.jpeg.client_data = &r;
    ht_status status = guarded(&r);
    jpeg_destroy_decompress(&r.jpeg);
    free(r.row);
    free(r.samples);
    return status;
}
