/* Noise and strokes for the phantom, in arithmetic that every machine rounds alike (no sine, no exponential). */
#include "phantom.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <ht/random.h>

double genseg_between(genseg_draws *draws, double low, double high)
{
    return low + (high - low) * ht_random_unit(ht_random_word(draws->key, 0, draws->next++));
}

void genseg_direction(genseg_draws *draws, double way[2])
{
    for (;;) {
        double x = genseg_between(draws, -1, 1), y = genseg_between(draws, -1, 1), square = x * x + y * y;
        if (square < 0.01 || square > 1) continue;
        double length = sqrt(square);
        way[0] = x / length;
        way[1] = y / length;
        return;
    }
}

uint64_t genseg_draws_key(genseg_draws *draws)
{
    return ht_random_mix(draws->key, draws->next++);
}

double genseg_smooth(double t)
{
    return t <= 0 ? 0 : t >= 1 ? 1 : t * t * (3 - 2 * t);
}

bool genseg_field_open(genseg_field *field, int32_t size)
{
    field->size = size;
    field->value = calloc((size_t)size * (size_t)size, sizeof *field->value);
    return field->value != NULL;
}

void genseg_field_close(genseg_field *field)
{
    free(field->value);
    field->value = NULL;
}

bool genseg_field_add(genseg_field *field, genseg_draws *draws, int32_t cells, double amplitude)
{
    size_t side = (size_t)cells + 1;
    uint64_t key = genseg_draws_key(draws);
    double *corner = malloc(side * side * sizeof *corner);
    if (!corner) return false;
    for (size_t i = 0; i < side * side; i++) corner[i] = 2 * ht_random_unit(ht_random_word(key, 0, i)) - 1;
    for (int32_t y = 0; y < field->size; y++) {
        double v = (y + 0.5) / field->size * cells, down = genseg_smooth(v - floor(v));
        const double *row = corner + (size_t)v * side;
        for (int32_t x = 0; x < field->size; x++) {
            double u = (x + 0.5) / field->size * cells, right = genseg_smooth(u - floor(u));
            const double *c = row + (size_t)u;
            double above = c[0] + (c[1] - c[0]) * right, below = c[side] + (c[side + 1] - c[side]) * right;
            field->value[(size_t)y * (size_t)field->size + (size_t)x] += amplitude * (above + (below - above) * down);
        }
    }
    free(corner);
    return true;
}

bool genseg_canvas_open(genseg_canvas *canvas, int32_t size)
{
    size_t count = (size_t)size * (size_t)size;
    *canvas = (genseg_canvas){.size = size,
                              .rgb = calloc(count * 3, sizeof(double)),
                              .light = calloc(count, sizeof(double)),
                              .cover = calloc(count, sizeof(double)),
                              .stroke = calloc(count, sizeof(double))};
    return canvas->rgb && canvas->light && canvas->cover && canvas->stroke;
}

void genseg_canvas_close(genseg_canvas *canvas)
{
    free(canvas->rgb);
    free(canvas->light);
    free(canvas->cover);
    free(canvas->stroke);
}

void genseg_canvas_clear(genseg_canvas *canvas)
{
    memset(canvas->stroke, 0, (size_t)canvas->size * (size_t)canvas->size * sizeof(double));
}

/* The pixels of one axis that lie within reach of [a, b]. */
static void reach(int32_t size, double a, double b, double by, int32_t *first, int32_t *last)
{
    double low = floor(((a < b ? a : b) - by) * size), high = ceil(((a < b ? b : a) + by) * size);
    *first = low < 0 ? 0 : low > size ? size : (int32_t)low;
    *last = high < 0 ? 0 : high > size ? size : (int32_t)high;
}

void genseg_canvas_stroke(genseg_canvas *canvas, const double from[2], const double to[2], double radius, double edge)
{
    int32_t left, right, top, bottom;
    double soft = edge * canvas->size < 1 ? 1.0 / canvas->size : edge; /* at least a pixel */
    reach(canvas->size, from[0], to[0], radius + soft, &left, &right);
    reach(canvas->size, from[1], to[1], radius + soft, &top, &bottom);
    double way[2] = {to[0] - from[0], to[1] - from[1]}, square = way[0] * way[0] + way[1] * way[1];
    for (int32_t y = top; y < bottom; y++) {
        for (int32_t x = left; x < right; x++) {
            double u = (x + 0.5) / canvas->size - from[0], v = (y + 0.5) / canvas->size - from[1];
            double along = square > 0 ? (u * way[0] + v * way[1]) / square : 0;
            along = along < 0 ? 0 : along > 1 ? 1 : along;
            u -= along * way[0];
            v -= along * way[1];
            double cover = genseg_smooth((radius - sqrt(u * u + v * v)) / soft + 0.5);
            double *at = &canvas->stroke[(size_t)y * (size_t)canvas->size + (size_t)x];
            if (cover > *at) *at = cover;
        }
    }
}

void genseg_canvas_curve(genseg_canvas *canvas, const double from[2], const double middle[2], const double to[2],
                         double radius)
{
    enum { PARTS = 24 };
    double last[2] = {from[0], from[1]};
    for (int k = 1; k <= PARTS; k++) {
        double t = (double)k / PARTS, next[2];
        for (int i = 0; i < 2; i++) next[i] = (1 - t) * (1 - t) * from[i] + 2 * t * (1 - t) * middle[i] + t * t * to[i];
        genseg_canvas_stroke(canvas, last, next, radius, 0.004);
        last[0] = next[0];
        last[1] = next[1];
    }
}

void genseg_canvas_paint(genseg_canvas *canvas, const double colour[3], double share)
{
    size_t count = (size_t)canvas->size * (size_t)canvas->size;
    for (size_t p = 0; p < count; p++) {
        double by = canvas->stroke[p] * share;
        if (by <= 0) continue;
        for (size_t i = 0; i < 3; i++) canvas->rgb[3 * p + i] += (colour[i] - canvas->rgb[3 * p + i]) * by;
    }
}
