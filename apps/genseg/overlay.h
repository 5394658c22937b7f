/* Outlines of masks drawn into a picture, so that a person sees where a prediction leaves the truth. */
#ifndef GENSEG_OVERLAY_H
#define GENSEG_OVERLAY_H

#include "data.h"

/**
 * Draws the outlines of two 0/1 masks of the picture's size into an RGB picture: the truth green, the prediction magenta,
 * and where they meet, dashes of both. Either may be NULL. Lines lie inside of what they enclose, 2 pixels wide, wider
 * from 512 pixels on, so that they still show when the picture is shrunk to that.
 */
ht_status genseg_overlay_draw(genseg_picture *picture, const uint8_t *truth, const uint8_t *predicted, ht_error *error);

#endif
