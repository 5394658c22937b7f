/*
 * Resizing to and from the network's square. Images: area average where an axis shrinks, bilinear with half-pixel
 * centres where it grows; masks: nearest; probabilities: bilinear. All positions are exact fractions of integers, so
 * that results do not depend on a machine's rounding. Not for masks of more than two values.
 */
#include <stdlib.h>

#include "picture.h"

/* The inputs that one output of an axis reads, and the weights of the first and the last; those between weigh 1. */
typedef struct taps {
    int32_t begin, end; /* end excluded */
    double first, last, sum;
} taps;

/* In units of 1 / to of an input pixel, input j covers [j to, (j + 1) to) and output i covers [i from, (i + 1) from).
 */
static taps area(int32_t from, int32_t to, int32_t i)
{
    int64_t low = (int64_t)i * from, high = low + from;
    taps t = {.begin = (int32_t)(low / to), .end = (int32_t)((high + to - 1) / to), .sum = (double)from / to};
    int64_t first = ((int64_t)t.begin + 1) * to, last = ((int64_t)t.end - 1) * to;
    t.first = (double)((first < high ? first : high) - low) / to;
    t.last = (double)(high - (last > low ? last : low)) / to;
    return t;
}

static taps bilinear(int32_t from, int32_t to, int32_t i)
{
    int64_t twice = (2 * (int64_t)i + 1) * from - to; /* the position in units of 1 / (2 to) */
    int64_t whole = twice < 0 ? 0 : twice / (2 * (int64_t)to), rest = twice < 0 ? 0 : twice % (2 * (int64_t)to);
    if (whole >= from - 1) return (taps){from - 1, from, 1.0, 1.0, 1.0};
    if (rest == 0) return (taps){(int32_t)whole, (int32_t)whole + 1, 1.0, 1.0, 1.0};
    double part = (double)rest / (2.0 * to);
    return (taps){(int32_t)whole, (int32_t)whole + 2, 1.0 - part, part, 1.0};
}

static taps axis_taps(int32_t from, int32_t to, int32_t i)
{
    return from > to ? area(from, to, i) : bilinear(from, to, i);
}

static double weight(const taps *t, int32_t j)
{
    return j == t->begin ? t->first : j == t->end - 1 ? t->last : 1.0;
}

/* One input row, resized, times `scale`, added to sum [channels of the picture, size]. */
static void add_row(const genseg_picture *from, int32_t y, const taps *columns, int32_t size, double scale, double *sum)
{
    const uint8_t *row = from->pixels + (size_t)y * (size_t)from->width * (size_t)from->channels;
    for (int32_t x = 0; x < size; x++) {
        const taps *t = &columns[x];
        for (int32_t c = 0; c < from->channels; c++) {
            const uint8_t *at = row + (size_t)t->begin * (size_t)from->channels + (size_t)c;
            double value = t->first * *at;
            for (int32_t j = t->begin + 1; j < t->end; j++) {
                at += from->channels;
                value += j == t->end - 1 ? t->last * *at : *at;
            }
            sum[c * size + x] += scale * (value / t->sum);
        }
    }
}

static float level(double sum)
{
    double value = sum / 255.0;
    return (float)(value < 0 ? 0 : value > 1 ? 1 : value);
}

/* A row of sums to the planes that were asked for: as they are, grey repeated, or colours weighed to grey (BT.601). */
static void store_row(const double *sum, int32_t have, int32_t want, int32_t size, int32_t y, float *to)
{
    size_t plane = (size_t)size * (size_t)size;
    float *row = to + (size_t)y * (size_t)size;
    for (int32_t x = 0; x < size; x++) {
        if (have == 3 && want == 1) {
            row[x] = level(0.299 * sum[x] + 0.587 * sum[size + x] + 0.114 * sum[2 * size + x]);
            continue;
        }
        for (int32_t c = 0; c < want; c++)
            row[(size_t)c * plane + (size_t)x] = level(sum[(have == 1 ? 0 : c) * size + x]);
    }
}

ht_status genseg_resize_image(const genseg_picture *from, int32_t channels, int32_t size, float *to, ht_error *error)
{
    if (!from->pixels || from->width < 1 || from->height < 1 || (from->channels != 1 && from->channels != 3) ||
        (channels != 1 && channels != 3) || size < 1 || size > 32768)
        return ht_fail(error, HT_EINVALID,
                       "an image: %d x %d pixels, %d to %d channels, to size %d; expected 1 or 3 channels "
                       "and a size of 1 to 32768; change data.size",
                       from->width, from->height, from->channels, channels, size);
    taps *columns = malloc(sizeof *columns * (size_t)size);
    double *sum = malloc(sizeof *sum * 3 * (size_t)size);
    ht_status status = HT_OK;
    if (!columns || !sum)
        status = ht_fail(error, HT_ENOMEM, "an image: no memory to resize it; expected more of it; free some memory");
    for (int32_t x = 0; status == HT_OK && x < size; x++) columns[x] = axis_taps(from->width, size, x);
    for (int32_t y = 0; status == HT_OK && y < size; y++) {
        taps t = axis_taps(from->height, size, y);
        for (int32_t i = 0; i < 3 * size; i++) sum[i] = 0;
        for (int32_t j = t.begin; j < t.end; j++) add_row(from, j, columns, size, weight(&t, j) / t.sum, sum);
        store_row(sum, from->channels, channels, size, y, to);
    }
    free(columns);
    free(sum);
    return status;
}

void genseg_resize_mask(const uint8_t *from, int32_t width, int32_t height, int32_t size, float *to)
{
    for (int32_t y = 0; y < size; y++) {
        const uint8_t *row = from + (size_t)((2 * (int64_t)y + 1) * height / (2 * (int64_t)size)) * (size_t)width;
        for (int32_t x = 0; x < size; x++)
            to[(size_t)y * (size_t)size + (size_t)x] =
                row[(2 * (int64_t)x + 1) * width / (2 * (int64_t)size)] ? 1.0f : 0.0f;
    }
}

void genseg_resize_probability(const float *from, int32_t size, int32_t width, int32_t height, float *to)
{
    for (int32_t y = 0; y < height; y++) {
        taps v = bilinear(size, height, y);
        const float *above = from + (size_t)v.begin * (size_t)size, *below = from + (size_t)(v.end - 1) * (size_t)size;
        double down = v.end - v.begin == 2 ? v.last : 0.0;
        for (int32_t x = 0; x < width; x++) {
            taps h = bilinear(size, width, x);
            double right = h.end - h.begin == 2 ? h.last : 0.0;
            double a = above[h.begin] * (1.0 - right) + above[h.end - 1] * right;
            double b = below[h.begin] * (1.0 - right) + below[h.end - 1] * right;
            to[(size_t)y * (size_t)width + (size_t)x] = (float)(a * (1.0 - down) + b * down);
        }
    }
}
