/*
 * Masks: 0 and 1 from what a file declares, by rules, never by guessing from its values. With M the largest level of
 * the declared depth (255 for a palette):
 *   levels 0 and 1, or 0 and M     as they say; three channels must be equal in every pixel; alpha must be opaque
 *   a palette                      by its colours if those in use are grey, else indices 0 (black) and 1
 *   some other levels, 0 and M too 0 below half of M, else 1, with a warning, if they are at most
 *                                  GENSEG_STRAY_PER_THOUSAND of the pixels
 * and everything else is refused with the count of the pixels in question.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "picture.h"

enum { ZERO, ONE, MOST, STRAY_LOW, STRAY_HIGH, CODES };

/* A pixel that is named in a message. */
typedef struct odd_pixel {
    int64_t count;
    int32_t x, y, level;
} odd_pixel;

typedef struct mask_sink {
    genseg_rows rows; /* one code per pixel; with a palette one index */
    genseg_form form;
    odd_pixel stray, unequal, clear;
} mask_sink;

static void note(odd_pixel *odd, int32_t x, int32_t y, int32_t level)
{
    if (odd->count++ == 0) {
        odd->x = x;
        odd->y = y;
        odd->level = level;
    }
}

static uint8_t code_of(int32_t level, int32_t most)
{
    if (level == most) return MOST;
    if (level == 0) return ZERO;
    if (level == 1) return ONE;
    return level > most / 2 ? STRAY_HIGH : STRAY_LOW;
}

static ht_status mask_begin(void *context, const genseg_form *form, ht_error *error)
{
    mask_sink *s = context;
    s->form = *form;
    return genseg_rows_begin(&s->rows, form, (size_t)form->width, error);
}

static ht_status mask_row(void *context, const genseg_form *form, const genseg_run_of_pixels *run, ht_error *error)
{
    mask_sink *s = context;
    uint8_t *row;
    ht_status status = genseg_rows_at(&s->rows, form, run->y, &row, error);
    if (status != HT_OK) return status;
    int32_t most = (1 << form->depth) - 1, channels = form->channels;
    for (int32_t i = 0; i < run->count; i++) {
        const uint16_t *from = run->samples + (size_t)i * (size_t)channels;
        int32_t x = run->first + i * run->step;
        if (form->palette_count) {
            row[x] = (uint8_t)from[0];
            continue;
        }
        row[x] = code_of(from[0], most);
        if (row[x] >= STRAY_LOW) note(&s->stray, x, run->y, from[0]);
        if (channels >= 3 && (from[0] != from[1] || from[0] != from[2])) note(&s->unequal, x, run->y, from[0]);
        if (channels % 2 == 0 && from[channels - 1] != most) note(&s->clear, x, run->y, from[channels - 1]);
    }
    return HT_OK;
}

#define MASK_FORM "expected 0 and 1, or 0 and the largest level, in grey or equal channels; save it again so, as PNG"

/* Palette indices to codes. False with a filled record if the colours in use are no mask. */
static bool palette_codes(mask_sink *s, const char *place, ht_error *error)
{
    int64_t used[256] = {0}, coloured = 0, beyond = 0, pixels = (int64_t)s->form.width * s->form.height;
    for (int64_t i = 0; i < pixels; i++) used[s->rows.data[i]]++;
    uint8_t codes[256] = {0};
    for (int32_t i = 0; i < s->form.palette_count; i++) {
        const uint8_t *colour = s->form.palette[i];
        codes[i] = code_of(colour[0], 255);
        if (colour[0] != colour[1] || colour[0] != colour[2]) coloured += used[i];
        if (i > 1) beyond += used[i];
    }
    if (coloured > 0) {
        const uint8_t *first = s->form.palette[0];
        if (beyond > 0 || first[0] || first[1] || first[2]) {
            ht_fail(error, HT_EFORMAT,
                    "%s: a palette mask in which %lld of %lld pixels are coloured and %lld are neither "
                    "index 0 nor 1 (0 must be black); " MASK_FORM,
                    place, (long long)coloured, (long long)pixels, (long long)beyond);
            return false;
        }
        codes[0] = ZERO;
        codes[1] = MOST;
    }
    for (int64_t i = 0; i < pixels; i++) {
        uint8_t index = s->rows.data[i];
        s->rows.data[i] = codes[index];
        if (codes[index] >= STRAY_LOW)
            note(&s->stray, (int32_t)(i % s->form.width), (int32_t)(i / s->form.width), s->form.palette[index][0]);
    }
    return true;
}

/* What each code stands for, by the counts of all; false with a filled record if the mask is refused. */
static bool meaning(const mask_sink *s, const char *place, uint8_t value[CODES], genseg_lines *warnings,
                    ht_error *error)
{
    int64_t count[CODES] = {0}, apart[4][CODES] = {{0}}, pixels = (int64_t)s->form.width * s->form.height;
    for (int64_t i = 0; i < pixels; i++) apart[i & 3][s->rows.data[i]]++; /* one count would wait for itself at each pixel */
    for (int32_t i = 0; i < 4 * CODES; i++) count[i % CODES] += apart[i / CODES][i % CODES];
    int32_t most = s->form.palette_count ? 255 : (1 << s->form.depth) - 1;
    memcpy(value, (const uint8_t[CODES]){0, 1, 1, 0, 1}, CODES);
    int64_t strays = count[STRAY_LOW] + count[STRAY_HIGH] + (count[MOST] ? count[ONE] : 0);
    if (strays == 0) return true;
    odd_pixel odd = s->stray;
    for (int64_t i = 0; odd.count == 0 && i < pixels; i++) /* only ones beside M: they stand where the codes say */
        if (s->rows.data[i] == ONE) note(&odd, (int32_t)(i % s->form.width), (int32_t)(i / s->form.width), 1);
    if (count[MOST] == 0 || strays * 1000 > pixels * GENSEG_STRAY_PER_THOUSAND) {
        ht_fail(error, HT_EFORMAT,
                "%s: a mask with levels other than 0 and %d in %lld of %lld pixels, as %d at column %d, "
                "row %d; " MASK_FORM,
                place, most, (long long)strays, (long long)pixels, odd.level, odd.x, odd.y);
        return false;
    }
    if (most > 1) value[ONE] = 0;
    char line[HT_MESSAGE_BYTES];
    snprintf(line, sizeof line,
             "%s: a mask with levels other than 0 and %d in %lld of %lld pixels, as %d at column %d, row "
             "%d; cut at %d",
             place, most, (long long)strays, (long long)pixels, odd.level, odd.x, odd.y, most / 2 + 1);
    return genseg_lines_add(warnings, line, error) == HT_OK;
}

static bool finish(mask_sink *s, const char *place, genseg_lines *warnings, ht_error *error)
{
    long long pixels = (long long)s->form.width * s->form.height;
    if (s->unequal.count) {
        ht_fail(error, HT_EFORMAT,
                "%s: a mask with channels that differ in %lld of %lld pixels, as at column %d, row %d; " MASK_FORM,
                place, (long long)s->unequal.count, pixels, s->unequal.x, s->unequal.y);
        return false;
    }
    if (s->clear.count) {
        ht_fail(error, HT_EFORMAT,
                "%s: a mask with alpha below its largest level in %lld of %lld pixels, as at column %d, "
                "row %d; expected no alpha; save the mask again without it",
                place, (long long)s->clear.count, pixels, s->clear.x, s->clear.y);
        return false;
    }
    uint8_t value[CODES];
    if (s->form.palette_count && !palette_codes(s, place, error)) return false;
    if (!meaning(s, place, value, warnings, error)) return false;
    for (long long i = 0; i < pixels; i++) s->rows.data[i] = value[s->rows.data[i]];
    return true;
}

ht_status genseg_mask_decode(const genseg_bytes *file, const char *path, int32_t *width, int32_t *height,
                             uint8_t **mask, genseg_lines *warnings, ht_error *error)
{
    ht_error local = {0};
    mask_sink s = {.rows.path = path};
    const genseg_sink sink = {&s, mask_begin, mask_row};
    char place[GENSEG_PLACE];
    *mask = NULL;
    ht_status status = genseg_decode(file, path, &sink, &local);
    if (status == HT_OK && !finish(&s, genseg_place(path, place), warnings, &local)) status = local.status;
    if (status != HT_OK) {
        free(s.rows.data);
        return ht_fail(error, status, "%s", local.message);
    }
    *width = s.form.width;
    *height = s.form.height;
    *mask = s.rows.data;
    return HT_OK;
}
