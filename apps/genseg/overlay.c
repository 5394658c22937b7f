/*
 * Outlines. A pixel of a mask belongs to its outline if the outside is near: the chessboard distance to it, which two
 * sweeps over the picture give exactly. What is beyond the picture counts as outside, so that every outline is closed.
 */
#include "overlay.h"

#include <stdlib.h>

enum { TRUTH = 1, PREDICTED = 2, DASH = 4, WIDEST = 200, SMALL = 128 };

static uint8_t least(uint8_t a, uint8_t b) { return a < b ? a : b; }

static int32_t line_width(int32_t width, int32_t height)
{
    int32_t longest = width > height ? width : height, line = longest / 256, least_line = longest < SMALL ? 1 : 2;
    return line < least_line ? least_line : line > WIDEST ? WIDEST : line;
}

/*
 * Distances to the outside, 0 outside and cut off at 255. backward: from the last pixel to the first, over what the
 * forward sweep has left in `distance`.
 */
static void sweep(const uint8_t *mask, int32_t width, int32_t height, int backward, uint8_t *distance)
{
    size_t row = (size_t)width;
    for (int32_t j = 0; j < height; j++) {
        size_t y = (size_t)(backward ? height - 1 - j : j);
        for (int32_t i = 0; i < width; i++) {
            size_t x = (size_t)(backward ? width - 1 - i : i), at = y * row + x;
            if (!mask[at]) {
                distance[at] = 0;
                continue;
            }
            /* the neighbours that this sweep has passed: the one beside, and the three of the row before */
            uint8_t near = 0;
            if (i > 0 && i < width - 1 && j > 0) {
                const uint8_t *before = distance + (backward ? at + row : at - row);
                near = least(distance[backward ? at + 1 : at - 1], least(before[-1], least(before[0], before[1])));
            }
            uint8_t here = near < 255 ? (uint8_t)(near + 1) : 255;
            distance[at] = backward ? least(here, distance[at]) : here;
        }
    }
}

static void mark(const uint8_t *mask, const genseg_picture *picture, uint8_t bit, uint8_t *distance, uint8_t *marks)
{
    size_t count = (size_t)picture->width * (size_t)picture->height;
    int32_t line = line_width(picture->width, picture->height);
    sweep(mask, picture->width, picture->height, 0, distance);
    sweep(mask, picture->width, picture->height, 1, distance);
    for (size_t k = 0; k < count; k++)
        if (distance[k] > 0 && distance[k] <= line) marks[k] |= bit;
}

ht_status genseg_overlay_draw(genseg_picture *picture, const uint8_t *truth, const uint8_t *predicted, ht_error *error)
{
    static const uint8_t colours[2][3] = {{0, 255, 0}, {255, 0, 255}};
    if (!picture->pixels || picture->channels != 3)
        return ht_fail(error, HT_EINVALID, "an overlay on a picture of %d channels; expected 3; convert it before",
                       picture->channels);
    size_t count = (size_t)picture->width * (size_t)picture->height;
    int32_t dash = DASH * line_width(picture->width, picture->height) / 2;
    uint8_t *distance = malloc(count), *marks = calloc(count, 1);
    ht_status status = HT_OK;
    if (!distance || !marks) status = ht_fail(error, HT_ENOMEM, "no memory to draw an overlay; free some memory");
    if (!status && truth) mark(truth, picture, TRUTH, distance, marks);
    if (!status && predicted) mark(predicted, picture, PREDICTED, distance, marks);
    for (size_t k = 0; !status && k < count; k++) {
        if (!marks[k]) continue;
        size_t along = k % (size_t)picture->width + k / (size_t)picture->width;
        int second = marks[k] == PREDICTED || (marks[k] != TRUTH && along / (size_t)dash % 2);
        for (int channel = 0; channel < 3; channel++) picture->pixels[3 * k + (size_t)channel] = colours[second][channel];
    }
    free(distance);
    free(marks);
    return status;
}
