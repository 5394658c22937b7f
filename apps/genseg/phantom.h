/*
 * The tools that phantom.c draws with: numbers in order of asking, fields of noise, strokes on a canvas. They know
 * nothing of skin. All coordinates run from 0 to 1 over the picture.
 */
#ifndef GENSEG_PHANTOM_H
#define GENSEG_PHANTOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A stream of numbers: those of the key, one after the other. */
typedef struct genseg_draws {
    uint64_t key, next;
} genseg_draws;
/** A number of (low, high). */
double genseg_between(genseg_draws *draws, double low, double high);
/** A vector of length 1. */
void genseg_direction(genseg_draws *draws, double way[2]);
/** A key of its own for a field or the camera's noise. */
uint64_t genseg_draws_key(genseg_draws *draws);

/** 0 below 0, 1 above 1, and smooth between. */
double genseg_smooth(double t);

/* A number for each pixel: a sum of octaves of value noise, each of [-1, 1] times its amplitude. */
typedef struct genseg_field {
    int32_t size;
    double *value;
} genseg_field;
bool genseg_field_open(genseg_field *field, int32_t size);
bool genseg_field_add(genseg_field *field, genseg_draws *draws, int32_t cells, double amplitude);
void genseg_field_close(genseg_field *field);

typedef struct genseg_canvas {
    int32_t size;
    double *rgb;    /* [size, size, 3] */
    double *light;  /* [size, size] factor of the illumination */
    double *cover;  /* [size, size] how much of a pixel is lesion */
    double *stroke; /* [size, size] the stroke that is being drawn */
} genseg_canvas;
bool genseg_canvas_open(genseg_canvas *canvas, int32_t size);
void genseg_canvas_close(genseg_canvas *canvas);
/** Forgets the stroke; adds a straight or a curved part with a soft edge to it; paints it. */
void genseg_canvas_clear(genseg_canvas *canvas);
void genseg_canvas_stroke(genseg_canvas *canvas, const double from[2], const double to[2], double radius, double edge);
void genseg_canvas_curve(genseg_canvas *canvas, const double from[2], const double middle[2], const double to[2],
                         double radius);
void genseg_canvas_paint(genseg_canvas *canvas, const double colour[3], double share);

#endif
