/*
 * The built-in data set: pictures of skin with irregular, soft-edged lesions, and what resembles them without being
 * one: flushed patches, moles, hairs, pen marks, glints. Not anatomy: only as hard as it must be to tell methods apart.
 * A case is drawn in coordinates of 0 to 1 from numbers of (seed, split, index) alone, with sums, products, quotients
 * and square roots, which every machine rounds alike, so the bits never change; a test holds their hash.
 */
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include <ht/random.h>

#include "phantom.h"
#include "picture.h"

#define LESIONS_MAX 2
#define HARMONICS   5 /* of orders 2 to 6 */

typedef struct colour {
    double part[3];
} colour;

typedef struct lesion {
    double x, y, radius, edge;      /* edge: width of the soft border */
    double along[2], across[2];     /* the axes, with the stretch in them */
    double wave[HARMONICS][2];      /* cosine and sine of each order */
    double ragged;                  /* how far noise moves the border, in radii */
    double contrast, mottle, blend; /* share of the tone, its unevenness, share of the second tone */
    double halo, reach;             /* of the flushed skin around it: share of its tone, width */
    colour tone, second;
} lesion;

static colour mix(colour a, colour b, double t)
{
    colour c;
    for (int i = 0; i < 3; i++) c.part[i] = a.part[i] + (b.part[i] - a.part[i]) * t;
    return c;
}

static colour jitter(genseg_draws *d, colour c, double by)
{
    double all = genseg_between(d, -by, by);
    for (int i = 0; i < 3; i++) c.part[i] += all + genseg_between(d, -by, by) * 0.5;
    return c;
}

/* The tone at t of (0, 1) along a row. */
static colour tone_at(double t, const colour *row, int count)
{
    double at = t * (count - 1);
    int first = (int)at;
    return mix(row[first], row[first + 1], at - first);
}

static colour pick(genseg_draws *d, const colour *row, int count)
{
    return tone_at(genseg_between(d, 0, 1), row, count);
}

/* What decides most how hard a case is, spread evenly over the cases of a split: so few drawn freely would make the
   data set of one seed easy and of another hard. The steps are those of the three-dimensional R sequence. */
typedef struct traits {
    double skin, tone, contrast; /* each of [0, 1) */
} traits;

static traits make_traits(uint64_t seed, int32_t split, int32_t index)
{
    genseg_draws d = {.key = ht_random_mix(ht_random_key(seed, "phantom traits"), (uint64_t)split)};
    const double steps[3] = {0.8191725133961645, 0.6710436067037893, 0.5497004779019703};
    double at[3];
    for (int i = 0; i < 3; i++) {
        at[i] = genseg_between(&d, 0, 1) + index * steps[i];
        at[i] -= floor(at[i]);
    }
    return (traits){at[0], at[1], at[2]};
}

static void blend(genseg_canvas *c, size_t pixel, colour tone, double share)
{
    double *p = c->rgb + 3 * pixel;
    for (int i = 0; i < 3; i++) p[i] += (tone.part[i] - p[i]) * share;
}

/* ---- skin ---- */

static bool draw_skin(genseg_canvas *c, genseg_draws *d, double shade)
{
    static const colour tones[4] = {
        {{0.92, 0.76, 0.69}}, {{0.86, 0.66, 0.58}}, {{0.76, 0.55, 0.45}}, {{0.60, 0.41, 0.32}}};
    colour skin = jitter(d, tone_at(shade, tones, 4), 0.03);
    double grain = genseg_between(d, 0.5, 1.3), flush = genseg_between(d, 0.02, 0.07);
    double slope = genseg_between(d, 0, 0.35), fall = genseg_between(d, 0, 0.7), way[2];
    genseg_direction(d, way);
    genseg_field texture = {0}, redness = {0};
    bool good = genseg_field_open(&texture, c->size) && genseg_field_open(&redness, c->size);
    static const double octaves[5][2] = {{5, 0.050}, {11, 0.035}, {23, 0.028}, {47, 0.022}, {95, 0.018}};
    for (int i = 0; good && i < 5; i++)
        good = genseg_field_add(&texture, d, (int32_t)octaves[i][0], octaves[i][1] * grain);
    for (int i = 0; good && i < 2; i++) good = genseg_field_add(&redness, d, i ? 7 : 3, i ? flush * 0.6 : flush);
    for (int32_t y = 0; good && y < c->size; y++) {
        for (int32_t x = 0; x < c->size; x++) {
            size_t pixel = (size_t)y * (size_t)c->size + (size_t)x;
            double u = (x + 0.5) / c->size - 0.5, v = (y + 0.5) / c->size - 0.5;
            double light = 1 + slope * (u * way[0] + v * way[1]) * 1.4 - fall * (u * u + v * v);
            c->light[pixel] = light;
            for (int i = 0; i < 3; i++)
                c->rgb[3 * pixel + (size_t)i] =
                    skin.part[i] + texture.value[pixel] + redness.value[pixel] * (i == 0 ? 0.7 : -1.0);
        }
    }
    genseg_field_close(&texture);
    genseg_field_close(&redness);
    return good;
}

/* Flushed or shaded patches: the colours and sizes of lesions, but even and with a wide border. */
static bool draw_patches(genseg_canvas *c, genseg_draws *d)
{
    static const colour tones[3] = {{{0.66, 0.34, 0.31}}, {{0.52, 0.33, 0.27}}, {{0.42, 0.29, 0.27}}};
    int count = (int)genseg_between(d, 0, 4);
    genseg_field warp = {0};
    bool good = genseg_field_open(&warp, c->size) && genseg_field_add(&warp, d, 6, 0.35);
    for (int k = 0; good && k < count; k++) {
        colour tone = pick(d, tones, 3);
        double x = genseg_between(d, 0, 1), y = genseg_between(d, 0, 1), radius = genseg_between(d, 0.09, 0.30);
        double share = genseg_between(d, 0.15, 0.45), firm = genseg_between(d, 1.0, 2.2);
        for (int32_t j = 0; j < c->size; j++) {
            for (int32_t i = 0; i < c->size; i++) {
                size_t pixel = (size_t)j * (size_t)c->size + (size_t)i;
                double u = ((i + 0.5) / c->size - x) / radius, v = ((j + 0.5) / c->size - y) / radius;
                double in = 1 - (u * u + v * v) * (1 + warp.value[pixel]);
                if (in > 0) blend(c, pixel, tone, share * genseg_smooth(in * firm));
            }
        }
    }
    genseg_field_close(&warp);
    return good;
}

/* ---- lesions ---- */

static lesion make_lesion(genseg_draws *d, double radius, double tone, double contrast)
{
    static const colour tones[5] = {
        {{0.70, 0.36, 0.33}}, {{0.52, 0.27, 0.21}}, {{0.38, 0.23, 0.18}}, {{0.24, 0.17, 0.16}}, {{0.30, 0.27, 0.32}}};
    lesion l = {.radius = radius};
    double way[2], stretch = genseg_between(d, 1, 1.5);
    l.x = genseg_between(d, 0.24, 0.76);
    l.y = genseg_between(d, 0.24, 0.76);
    l.edge = genseg_between(d, 0.020, 0.050);
    genseg_direction(d, way);
    for (int i = 0; i < 2; i++) {
        l.along[i] = way[i] / stretch;
        l.across[i] = (i ? way[0] : -way[1]) * stretch;
    }
    for (int k = 0; k < HARMONICS; k++) {
        double most = 0.26 / (k + 2);
        l.wave[k][0] = genseg_between(d, -most, most);
        l.wave[k][1] = genseg_between(d, -most, most);
    }
    l.ragged = genseg_between(d, 0.04, 0.16);
    l.contrast = 0.36 + 0.44 * contrast;
    l.mottle = genseg_between(d, 0.1, 0.4);
    l.blend = genseg_between(d, 0, 0.8);
    l.halo = genseg_between(d, 0, 0.45);
    l.reach = genseg_between(d, 0.03, 0.12);
    l.tone = jitter(d, tone_at(tone, tones, 5), 0.03);
    l.second = jitter(d, pick(d, tones, 5), 0.03);
    return l;
}

/* How far inside the border a point lies, in units of the picture. */
static double depth_at(const lesion *l, double u, double v, double noise)
{
    double x = (u - l->x) * l->along[0] + (v - l->y) * l->along[1];
    double y = (u - l->x) * l->across[0] + (v - l->y) * l->across[1];
    double distance = sqrt(x * x + y * y);
    if (distance < 1e-9) return l->radius;
    double cosine = x / distance, sine = y / distance, radius = 1 + l->ragged * noise;
    double c = cosine, s = sine; /* of the order's multiple of the angle */
    for (int k = 0; k < HARMONICS; k++) {
        double next = c * cosine - s * sine;
        s = s * cosine + c * sine;
        c = next;
        radius += l->wave[k][0] * c + l->wave[k][1] * s;
    }
    return l->radius * radius - distance;
}

/* Fields: 0 the border, 1 the mottle, 2 the mixture of tones. */
static void draw_lesion(genseg_canvas *c, const lesion *l, const genseg_field field[3])
{
    static const colour flushed = {{0.72, 0.40, 0.36}};
    for (int32_t y = 0; y < c->size; y++) {
        for (int32_t x = 0; x < c->size; x++) {
            size_t pixel = (size_t)y * (size_t)c->size + (size_t)x;
            double in = depth_at(l, (x + 0.5) / c->size, (y + 0.5) / c->size, field[0].value[pixel]);
            double around = genseg_smooth(1 + in / l->reach);
            blend(c, pixel, mix(l->tone, flushed, 0.5), l->halo * around * around);
            double cover = genseg_smooth(in / l->edge + 0.5);
            if (cover <= 0) continue;
            if (cover > c->cover[pixel]) c->cover[pixel] = cover;
            double share = l->contrast * (1 + l->mottle * field[1].value[pixel]);
            colour tone = mix(l->tone, l->second, l->blend * genseg_smooth(0.5 + field[2].value[pixel]));
            blend(c, pixel, tone, cover * (share > 1 ? 1 : share < 0.2 ? 0.2 : share));
        }
    }
}

static bool draw_lesions(genseg_canvas *c, genseg_draws *d, traits t)
{
    genseg_field field[3] = {{0}, {0}, {0}};
    static const int32_t cells[3][2] = {{7, 17}, {9, 21}, {5, 10}};
    bool good = true;
    for (int i = 0; good && i < 3; i++)
        good = genseg_field_open(&field[i], c->size) && genseg_field_add(&field[i], d, cells[i][0], 0.8) &&
               genseg_field_add(&field[i], d, cells[i][1], 0.5);
    lesion all[LESIONS_MAX];
    all[0] = make_lesion(d, genseg_between(d, 0.09, 0.20), t.tone, t.contrast);
    bool two = genseg_between(d, 0, 1) < 0.25;
    if (good) draw_lesion(c, &all[0], field);
    if (two) {
        double radius = genseg_between(d, 0.06, 0.10), tone = genseg_between(d, 0, 1);
        all[1] = make_lesion(d, radius, tone, genseg_between(d, 0, 1));
        if (good) draw_lesion(c, &all[1], field);
    }
    for (int i = 0; i < 3; i++) genseg_field_close(&field[i]);
    return good;
}

/* ---- what lies above ---- */

static void draw_moles(genseg_canvas *c, genseg_draws *d)
{
    static const colour tones[2] = {{{0.34, 0.22, 0.18}}, {{0.56, 0.36, 0.30}}};
    int count = (int)genseg_between(d, 0, 6);
    for (int k = 0; k < count; k++) {
        double at[2]; /* in statements of their own: the parts of a list are drawn in no fixed order */
        for (int i = 0; i < 2; i++) at[i] = genseg_between(d, 0, 1);
        double radius = genseg_between(d, 0.010, 0.030);
        colour tone = pick(d, tones, 2);
        genseg_canvas_clear(c);
        genseg_canvas_stroke(c, at, at, radius, 0.010);
        genseg_canvas_paint(c, tone.part, genseg_between(d, 0.5, 0.95));
    }
}

static void draw_hairs(genseg_canvas *c, genseg_draws *d)
{
    static const colour tones[2] = {{{0.12, 0.09, 0.08}}, {{0.40, 0.29, 0.20}}};
    int count = (int)genseg_between(d, -6, 14);
    colour tone = pick(d, tones, 2);
    for (int k = 0; k < count; k++) {
        double way[2], from[2], middle[2], to[2], length = genseg_between(d, 0.2, 0.8);
        genseg_direction(d, way);
        for (int i = 0; i < 2; i++) {
            from[i] = genseg_between(d, -0.1, 1.1);
            to[i] = from[i] + way[i] * length;
            middle[i] = (from[i] + to[i]) * 0.5 + genseg_between(d, -0.2, 0.2) * length;
        }
        genseg_canvas_clear(c);
        genseg_canvas_curve(c, from, middle, to, genseg_between(d, 0.0015, 0.0035));
        genseg_canvas_paint(c, tone.part, genseg_between(d, 0.5, 0.9));
    }
}

/* Strokes of a pen, as surgeons leave them. */
static void draw_marks(genseg_canvas *c, genseg_draws *d)
{
    static const colour tones[2] = {{{0.30, 0.22, 0.48}}, {{0.20, 0.24, 0.34}}};
    int count = (int)genseg_between(d, -3, 3);
    colour tone = pick(d, tones, 2);
    for (int k = 0; k < count; k++) {
        double from[2], middle[2], to[2];
        for (int i = 0; i < 2; i++) {
            from[i] = genseg_between(d, 0.02, 0.98);
            to[i] = from[i] + genseg_between(d, -0.3, 0.3);
            middle[i] = (from[i] + to[i]) * 0.5 + genseg_between(d, -0.12, 0.12);
        }
        genseg_canvas_clear(c);
        genseg_canvas_curve(c, from, middle, to, genseg_between(d, 0.006, 0.014));
        genseg_canvas_paint(c, tone.part, genseg_between(d, 0.4, 0.8));
    }
}

static void draw_glints(genseg_canvas *c, genseg_draws *d)
{
    static const double white[3] = {0.98, 0.97, 0.95};
    int count = (int)genseg_between(d, -2, 8);
    for (int k = 0; k < count; k++) {
        double from[2], to[2];
        for (int i = 0; i < 2; i++) from[i] = genseg_between(d, 0, 1);
        for (int i = 0; i < 2; i++) to[i] = from[i] + genseg_between(d, -0.025, 0.025);
        genseg_canvas_clear(c);
        genseg_canvas_stroke(c, from, to, genseg_between(d, 0.003, 0.010), 0.012);
        genseg_canvas_paint(c, white, genseg_between(d, 0.4, 0.9));
    }
}

/* Light, noise of the camera, and the eight bits of a file. */
static void expose(const genseg_canvas *c, genseg_draws *d, uint8_t *pixels, uint8_t *mask)
{
    double noise = genseg_between(d, 0.012, 0.040);
    uint64_t key = genseg_draws_key(d);
    size_t count = (size_t)c->size * (size_t)c->size;
    for (size_t p = 0; p < count; p++) {
        ht_philox r = ht_philox_draw(key, p, 0);
        for (size_t i = 0; i < 3; i++) {
            double grain = ht_random_unit(r.word[i]) + ht_random_unit(r.word[3]) - 1; /* half of it grey */
            double value = (c->rgb[3 * p + i] * c->light[p] + noise * grain) * 255 + 0.5;
            pixels[3 * p + i] = (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
        }
        mask[p] = c->cover[p] > 0.5;
    }
}

int32_t genseg_phantom_count(int32_t split)
{
    return split == GENSEG_TRAIN ? 16 : split == GENSEG_VAL ? 8 : 24;
}

ht_status genseg_phantom_draw(uint64_t seed, int32_t split, int32_t index, int32_t size, genseg_picture *image,
                              uint8_t **mask, ht_error *error)
{
    *image = (genseg_picture){0};
    *mask = NULL;
    if (size < 16 || size > 4096)
        return ht_fail(error, HT_EINVALID, "phantom: %d pixels on a side; expected 16 to 4096; change the size", size);
    genseg_draws draws = {
        .key = ht_random_mix(ht_random_mix(ht_random_key(seed, "phantom"), (uint64_t)split), (uint64_t)index)};
    genseg_canvas canvas;
    size_t count = (size_t)size * (size_t)size;
    uint8_t *pixels = malloc(count * 3), *cover = malloc(count);
    bool good = genseg_canvas_open(&canvas, size) && pixels && cover;
    traits t = make_traits(seed, split, index);
    good =
        good && draw_skin(&canvas, &draws, t.skin) && draw_patches(&canvas, &draws) && draw_lesions(&canvas, &draws, t);
    if (good) {
        draw_moles(&canvas, &draws);
        draw_marks(&canvas, &draws);
        draw_hairs(&canvas, &draws);
        draw_glints(&canvas, &draws);
        expose(&canvas, &draws, pixels, cover);
    }
    genseg_canvas_close(&canvas);
    if (!good) {
        free(pixels);
        free(cover);
        return ht_fail(error, HT_ENOMEM, "phantom: no memory to draw it; expected more of it; free some memory");
    }
    *image = (genseg_picture){size, size, 3, pixels};
    *mask = cover;
    return HT_OK;
}
