/*
 * Masks, folders, resizing, augmentation, scores and the phantom. Reading of the files themselves is tested in
 * test_pictures.c. The last part reads real data where GENSEG_DATA (or ../shared/data beside the sources) has it.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ht/random.h>

#include "apps/genseg/config.h"
#include "picture_maker.h"
#include "tap.h"

/* Of the pixels and masks of all phantom cases of seed 1 at 192 pixels. It never changes: results depend on it. */
#define PHANTOM_HASH UINT64_C(0xD1617AFC68F09CC7)

static char root[64]; /* the temporary folder */

static char *at(const char *name) /* a path in it; one of the last few, for use at once */
{
    static char paths[8][512];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", root, name);
    return path;
}

static int well_said(const ht_error *e)
{
    int parts = 0;
    for (const char *c = e->message; *c; c++) parts += *c == ';';
    return e->status != HT_OK && strncmp(e->message, root, strlen(root)) == 0 && parts == 2 &&
           !strchr(e->message, '\n') && !strstr(e->message, "rror") && !strstr(e->message, "ailed") &&
           strlen(e->message) < HT_MESSAGE_BYTES - 1;
}

/* ---- masks ---- */

#define SIDE 50 /* 2,500 pixels: two may be stray */

typedef struct mask_row {
    const char *what;
    int32_t type, depth;
    int32_t level[3], count[3]; /* that many pixels of that sample, from the front; 0 behind */
    const char *word;           /* of the message; NULL: accepted */
    int32_t foreground, warned;
} mask_row;

static const uint8_t palette[8][3] = {{0, 0, 0},       {255, 255, 255}, {128, 0, 0}, {1, 1, 1},
                                      {128, 128, 128}, {0, 128, 0},     {0, 0, 0},   {255, 255, 255}};

static const mask_row mask_rows[] = {
    {"0 and 255", MADE_GREY, 8, {255}, {100}, NULL, 100, 0},
    {"0 and 1", MADE_GREY, 8, {1}, {100}, NULL, 100, 0},
    {"empty", MADE_GREY, 8, {0}, {0}, NULL, 0, 0},
    {"full", MADE_GREY, 8, {255}, {2500}, NULL, 2500, 0},
    {"full of ones", MADE_GREY, 8, {1}, {2500}, NULL, 2500, 0},
    {"one pixel", MADE_GREY, 8, {255}, {1}, NULL, 1, 0},
    {"one bit", MADE_GREY, 1, {1}, {100}, NULL, 100, 0},
    {"two bits, 0 and 3", MADE_GREY, 2, {3}, {100}, NULL, 100, 0},
    {"two bits, 0 and 1", MADE_GREY, 2, {1}, {100}, NULL, 100, 0},
    {"two bits, 0 and 2", MADE_GREY, 2, {2}, {100}, "other than 0 and 3", 0, 0},
    {"16 bits, 0 and 65535", MADE_GREY, 16, {65535}, {100}, NULL, 100, 0},
    {"16 bits, 0 and 1", MADE_GREY, 16, {1}, {100}, NULL, 100, 0},
    {"16 bits, 0 and 255", MADE_GREY, 16, {255}, {100}, "100 of 2500", 0, 0},
    {"RGB", MADE_RGB, 8, {255}, {100}, NULL, 100, 0},
    {"RGB of ones", MADE_RGB, 8, {1}, {100}, NULL, 100, 0},
    {"16-bit RGB", MADE_RGB, 16, {65535}, {100}, NULL, 100, 0},
    {"two low strays", MADE_GREY, 8, {255, 32}, {100, 2}, NULL, 100, 1},
    {"two high strays", MADE_RGB, 8, {255, 128}, {100, 2}, NULL, 102, 1},
    {"ones beside 255", MADE_GREY, 8, {255, 1}, {100, 2}, NULL, 100, 1},
    {"three strays", MADE_GREY, 8, {255, 32}, {100, 3}, "3 of 2500 pixels, as 32 at column 0, row 2", 0, 0},
    {"many ones beside 255", MADE_GREY, 8, {255, 1}, {100, 50}, "as 1 at column 0, row 2", 0, 0},
    {"strays without 255", MADE_GREY, 8, {2}, {2}, "2 of 2500", 0, 0},
    {"classes 0 1 2", MADE_GREY, 8, {1, 2}, {2, 1}, "1 of 2500", 0, 0},
    {"only 128", MADE_GREY, 8, {128}, {2500}, "2500 of 2500", 0, 0},
    {"palette, white", MADE_PALETTE, 4, {1}, {100}, NULL, 100, 0},
    {"palette, black twice", MADE_PALETTE, 4, {6}, {100}, NULL, 0, 0},
    {"palette, levels 0 and 1", MADE_PALETTE, 4, {3}, {100}, NULL, 100, 0},
    {"palette, strays", MADE_PALETTE, 8, {1, 4}, {100, 2}, NULL, 102, 1},
    {"palette, many strays", MADE_PALETTE, 8, {1, 4}, {100, 30}, "30 of 2500 pixels, as 128 at column 0, row 2", 0, 0},
    {"palette, red", MADE_PALETTE, 4, {2}, {100}, "100 of 2500 pixels are coloured", 0, 0},
    {"palette, white and green", MADE_PALETTE, 4, {1, 5}, {100, 1}, "1 of 2500 pixels are coloured", 0, 0},
};

/* Decodes a mask; foreground -1 if it was refused. */
static int32_t read_mask(const genseg_bytes *file, char *warning, size_t bytes, ht_error *error)
{
    uint8_t *mask = NULL;
    int32_t width = 0, height = 0, foreground = 0;
    genseg_lines lines = {0};
    *error = (ht_error){0};
    ht_status status = genseg_mask_decode(file, at("m.png"), &width, &height, &mask, &lines, error);
    for (int32_t i = 0; status == HT_OK && i < width * height; i++) foreground += mask[i];
    snprintf(warning, bytes, "%s", lines.text ? lines.text : "");
    free(lines.text);
    free(mask);
    return status == HT_OK ? foreground : -1;
}

static void fill(uint16_t *samples, const mask_row *row)
{
    int32_t channels = made_channels(row->type), pixel = 0;
    memset(samples, 0, sizeof *samples * SIDE * SIDE * (size_t)channels);
    for (int k = 0; k < 3; k++)
        for (int32_t i = 0; i < row->count[k]; i++, pixel++)
            for (int32_t c = 0; c < channels; c++) samples[pixel * channels + c] = (uint16_t)row->level[k];
}

static void test_masks(void)
{
    static uint16_t samples[SIDE * SIDE * 4];
    char warning[600];
    ht_error e;
    for (size_t i = 0; i < sizeof mask_rows / sizeof mask_rows[0]; i++) {
        const mask_row *row = &mask_rows[i];
        for (int interlaced = 0; interlaced < 2; interlaced++) {
            fill(samples, row);
            made_png png = {.width = SIDE,
                            .height = SIDE,
                            .depth = row->depth,
                            .type = row->type,
                            .samples = samples,
                            .interlaced = interlaced};
            if (row->type == MADE_PALETTE) {
                png.palette = palette;
                png.palette_count = 8;
            }
            genseg_bytes file = made_encode(&png);
            int32_t got = read_mask(&file, warning, sizeof warning, &e);
            int good = row->word ? got < 0 && well_said(&e) && strstr(e.message, interlaced ? "" : row->word)
                                 : got == row->foreground && !!*warning == row->warned;
            if (!interlaced || !good) tap_ok(good, "mask, %s: %d %s%s", row->what, got, e.message, warning);
            free(file.data);
        }
    }
    made_png png = {.width = SIDE, .height = SIDE, .depth = 8, .type = MADE_RGB, .samples = samples};
    fill(samples, &mask_rows[13]);
    samples[3 * 1234 + 1] = 1;
    genseg_bytes file = made_encode(&png);
    tap_ok(read_mask(&file, warning, sizeof warning, &e) < 0 && well_said(&e) &&
               strstr(e.message, "differ in 1 of 2500 pixels, as at column 34, row 24"),
           "unequal channels: %s", e.message);
    free(file.data);
    for (int i = 0; i < SIDE * SIDE * 2; i++) samples[i] = i < 200 || i % 2 ? 255 : 0;
    png.type = MADE_GREY_ALPHA;
    file = made_encode(&png);
    tap_ok(read_mask(&file, warning, sizeof warning, &e) == 100, "an opaque alpha channel is passed over");
    free(file.data);
    samples[2 * 7 + 1] = 254;
    file = made_encode(&png);
    tap_ok(read_mask(&file, warning, sizeof warning, &e) < 0 && well_said(&e) && strstr(e.message, "alpha"),
           "alpha: %s", e.message);
    free(file.data);
}

/* ---- folders ---- */

static void put_picture(const char *name, int32_t width, int32_t height, int32_t channels, int seed)
{
    uint8_t pixels[16 * 16 * 3];
    ht_error e = {0};
    for (size_t i = 0; i < sizeof pixels; i++) pixels[i] = (uint8_t)ht_random_word((uint64_t)seed, 0, i);
    genseg_picture_write(at(name), &(genseg_picture){width, height, channels, pixels}, &e);
}

static void put_mask(const char *name, int32_t width, int32_t height, uint8_t level)
{
    uint8_t levels[16 * 16] = {0};
    for (int32_t i = 0; i < width * height / 2; i++) levels[i] = level;
    made_grey(at(name), width, height, levels);
}

/* set/train and set/val with two good cases each, built anew; the tests then spoil it. */
static void fresh(void)
{
    char command[256];
    snprintf(command, sizeof command, "rm -rf '%s/set'", root);
    if (system(command) != 0) return;
    static const char *const folders[] = {"set",     "set/train",      "set/train/images", "set/train/masks",
                                          "set/val", "set/val/images", "set/val/masks"};
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) mkdir(at(folders[i]), 0777);
    put_picture("set/train/images/b.png", 8, 6, 1, 1);
    put_picture("set/train/images/a.PNG", 6, 8, 1, 2);
    put_picture("set/val/images/c.jpg", 8, 8, 1, 3); /* a PNG, whatever its name says */
    put_picture("set/val/images/a.x.jpeg", 8, 8, 1, 4);
    put_mask("set/train/masks/a.jpg", 6, 8, 255);
    put_mask("set/train/masks/b.png", 8, 6, 1);
    put_mask("set/val/masks/c.png", 8, 8, 255);
    put_mask("set/val/masks/a.x.png", 8, 8, 255);
    made_write(at("set/train/images/.hidden"), "x", 1);
}

static ht_error open_set(genseg_dataset *d)
{
    ht_error e = {0};
    genseg_dataset_open(at("set"), GENSEG_TRAIN | GENSEG_VAL, 4, 0, 0, 2, d, &e);
    return e;
}

static void refused(const char *word, const char *what)
{
    genseg_dataset d;
    ht_error e = open_set(&d);
    tap_ok(well_said(&e) && strstr(e.message, word) && !d.name && !d.train.cases, "%s: %s", what, e.message);
    genseg_dataset_free(&d);
}

static void test_good_folder(void)
{
    genseg_dataset d, again;
    fresh();
    ht_error e = open_set(&d);
    tap_ok(e.status == HT_OK && d.train.count == 2 && d.val.count == 2 && d.test.count == 0 && d.channels == 1 &&
               !d.warnings && strcmp(d.name, "set") == 0,
           "a good folder opens %s", e.message);
    if (e.status != HT_OK) return;
    tap_ok(strcmp(d.train.cases[0].name, "a") == 0 && d.train.cases[0].width == 6 && d.train.cases[0].mask[23] == 1 &&
               d.train.cases[0].mask[24] == 0 && strcmp(d.val.cases[0].name, "a.x") == 0,
           "cases are sorted and paired by stem");
    put_picture("set/val/images/c.jpg", 8, 8, 3, 3);
    e = open_set(&again);
    tap_ok(e.status == HT_OK && again.channels == 3 && again.hash != d.hash &&
               again.train.cases[0].hash == d.train.cases[0].hash,
           "one RGB image makes three channels and another hash");
    const float *image = again.train.cases[0].image;
    tap_ok(memcmp(image, image + 16, 64) == 0 && memcmp(image, image + 32, 64) == 0 &&
               memcmp(image, d.train.cases[0].image, 64) == 0,
           "grey is repeated into each channel");
    genseg_dataset_free(&again);
    put_picture("set/val/images/c.jpg", 8, 8, 1, 1);
    put_picture("set/train/images/b.png", 8, 8, 1, 1);
    put_mask("set/train/masks/b.png", 8, 8, 255);
    put_mask("set/train/masks/a.jpg", 6, 8, 0);
    e = open_set(&again);
    tap_ok(e.status == HT_OK && again.warnings &&
               strstr(again.warnings, "leak: train/b and val/c hold the same image") &&
               strstr(again.warnings, "train: 1 of 2 masks are all background (a)\n"),
           "warnings: %s", again.warnings ? again.warnings : e.message);
    genseg_dataset_free(&again);
    ht_status status = genseg_dataset_images(at("set/val/images"), 4, 3, 2, &again, &e);
    tap_ok(status == HT_OK && again.test.count == 2 && !again.test.cases[0].mask && !again.test.cases[0].mask_path &&
               again.channels == 3,
           "a folder of images alone %s", e.message);
    genseg_dataset_free(&again);
    genseg_picture picture;
    status = genseg_case_picture(&d.train.cases[0], &picture, &e);
    tap_ok(status == HT_OK && picture.channels == 3 && picture.width == 6 && picture.pixels[3] == picture.pixels[5] &&
               picture.pixels[6 * 8 * 3 - 3] == (uint8_t)ht_random_word(2, 0, 47),
           "a case's picture is RGB");
    genseg_picture_free(&picture);
    genseg_dataset_free(&d);
}

static void test_bad_folders(void)
{
    fresh();
    unlink(at("set/train/masks/b.png"));
    refused("1 of 2 images without a mask (b)", "an image without a mask");
    fresh();
    for (int i = 0; i < 9; i++) {
        char name[64];
        snprintf(name, sizeof name, "set/val/masks/extra%d.png", i);
        put_mask(name, 8, 8, 1);
    }
    refused("9 of 11 masks without an image (extra0, extra1, extra2, extra3, extra4, ...)", "masks without an image");
    fresh();
    put_mask("set/train/masks/b.png", 6, 8, 1);
    refused("6 x 8 pixels for an image of 8 x 6", "sizes that differ");
    fresh();
    put_picture("set/train/images/b.jpeg", 8, 6, 1, 1);
    refused("two files named b", "two images of one stem");
    fresh();
    made_write(at("set/train/images/notes.txt"), "x", 1);
    refused("notes.txt: not an image by its name", "an unknown extension");
    fresh();
    made_write(at("set/train/images/Thumbs.db"), "x", 1);
    refused("Thumbs.db", "a stray file");
    fresh();
    mkdir(at("set/train/images/more"), 0777);
    refused("more: not a regular file", "a folder among the images");
    fresh();
    mkfifo(at("set/train/images/pipe.png"), 0666);
    refused("pipe.png: not a regular file", "a pipe among the images");
    fresh();
    unlink(at("set/val/images/c.jpg"));
    unlink(at("set/val/images/a.x.jpeg"));
    refused("val/images: no images", "an empty split");
    fresh();
    rename(at("set/val"), at("set/other"));
    refused("val/images: no such folder", "an absent split");
    rename(at("set"), at("elsewhere"));
    refused("expected train|val|test/{images,masks}", "an absent data set");
    rename(at("elsewhere"), at("set"));
    fresh();
    made_write(at("set/train/images/a.PNG"), "\xff", 1);
    refused("a.PNG: its 1 bytes", "a damaged image");
    fresh();
    made_write(at("set/train/images/b.png"), "\x89PNG\r\n\x1a\n\0\0", 10);
    refused("b.png: a PNG without a whole header", "a PNG cut short");
    fresh();
    made_write(at("set/val/images/c.jpg"), "\xff", 1);
    for (int i = 0; i < 40; i++) { /* whichever thread is first, the first fault is told */
        char name[64];
        snprintf(name, sizeof name, "set/train/images/c%02d.png", i);
        put_picture(name, 8, 6, 1, 1);
        snprintf(name, sizeof name, "set/train/masks/c%02d.png", i);
        put_mask(name, 8, 6, 1);
        if (i % 5 == 4) made_write(at(name), "\xff", 1);
    }
    refused("train/masks/c04.png: its 1 bytes", "several damaged files");
    fresh();
    rename(at("set/train/images/a.PNG"), at("set/train/images/A.PNG"));
    refused("without a mask (A)", "stems that differ in case alone");
    fresh();
    rename(at("set/train/images/a.PNG"), at("set/train/images/%s \n\x1b[1m*.png"));
    refused("without a mask (%s \\x0a\\x1b[1m*)", "a name that would steer a terminal");
}

/* ---- resizing, scores, augmentation ---- */

static void test_resize(void)
{
    uint8_t pixels[37 * 23 * 3];
    float to[3 * 64 * 64];
    ht_error e = {0};
    int constant = 1;
    memset(pixels, 77, sizeof pixels);
    for (int32_t size = 1; size <= 64; size++) {
        genseg_resize_image(&(genseg_picture){37, 23, 3, pixels}, 3, size, to, &e);
        for (int32_t i = 0; i < 3 * size * size; i++) constant &= to[i] == (float)(77.0 / 255);
    }
    tap_ok(constant, "a constant stays constant at every size from 1 to 64");
    double mean = 0, got = 0;
    for (size_t i = 0; i < sizeof pixels; i++) pixels[i] = (uint8_t)ht_random_word(5, 0, i);
    for (int i = 0; i < 37 * 23; i++) mean += pixels[i] / 255.0 / (37 * 23);
    for (int32_t size = 1; size <= 23; size += 11) {
        got = 0;
        genseg_resize_image(&(genseg_picture){37, 23, 1, pixels}, 1, size, to, &e);
        for (int32_t i = 0; i < size * size; i++) got += to[i] / (double)(size * size);
        tap_ok(fabs(got - mean) < 1e-7, "the area average to %d keeps the mean: off by %g", size, fabs(got - mean));
    }
    static const uint8_t two[4] = {0, 255, 255, 0}, colour[3] = {255, 100, 0};
    genseg_resize_image(&(genseg_picture){2, 2, 1, (uint8_t *)(uintptr_t)two}, 1, 4, to, &e);
    tap_ok(to[0] == 0 && to[1] == 0.25f && to[2] == 0.75f && to[3] == 1 && to[5] == 0.375f && to[6] == 0.625f &&
               to[9] == 0.625f,
           "bilinear from 2 to 4: %g %g %g %g, %g", to[0], to[1], to[2], to[3], to[5]);
    genseg_resize_image(&(genseg_picture){1, 1, 3, (uint8_t *)(uintptr_t)colour}, 1, 1, to, &e);
    tap_ok(fabs(to[0] - (0.299 + 0.587 * 100 / 255)) < 1e-6, "colours become grey by BT.601: %g", to[0]);
    genseg_resize_image(&(genseg_picture){3, 1, 1, (uint8_t *)(uintptr_t)colour}, 1, 2, to, &e);
    tap_ok(fabs(to[0] - (255 + 50) / 1.5 / 255) < 1e-6 && fabs(to[1] - 50 / 1.5 / 255) < 1e-6, "3 to 2 by area: %g %g",
           to[0], to[1]);
    static const uint8_t mask[6] = {1, 0, 1, 0, 1, 0};
    static const float small[4] = {1, 0, 0, 1};
    genseg_resize_mask(mask, 3, 2, 2, to);
    tap_ok(to[0] == 1 && to[1] == 1 && to[2] == 0 && to[3] == 0, "nearest to 2 x 2");
    genseg_resize_mask(mask, 3, 2, 6, to);
    tap_ok(to[0] == 1 && to[1] == 1 && to[2] == 0 && to[35] == 0 && to[33] == 1, "nearest to 6 x 6");
    genseg_resize_probability(small, 2, 4, 2, to);
    tap_ok(to[0] == 1 && to[1] == 0.75f && to[3] == 0 && to[4] == 0 && to[6] == 0.75f, "probabilities to 4 x 2");
    genseg_resize_probability(small, 2, 1, 1, to);
    tap_ok(to[0] == 0.5f, "probabilities to 1 x 1");
}

static void test_scores(void)
{
    static const uint8_t none[4] = {0}, left[4] = {1, 1, 0, 0}, top[4] = {1, 0, 1, 0};
    genseg_score s = genseg_score_masks(left, top, 4);
    tap_ok(s.dice == 0.5 && s.jaccard == 1.0 / 3 && s.precision == 0.5 && s.recall == 0.5 && s.true_positive == 1 &&
               s.false_positive == 1 && s.false_negative == 1,
           "a half overlap: Dice %g, Jaccard %g", s.dice, s.jaccard);
    s = genseg_score_masks(none, none, 4);
    tap_ok(s.dice == 1 && s.jaccard == 1 && s.precision == 1 && s.recall == 1, "both empty: 1");
    s = genseg_score_masks(none, left, 4);
    tap_ok(s.dice == 0 && s.jaccard == 0 && s.precision == 0 && s.recall == 0, "nothing found: 0");
    s = genseg_score_masks(left, none, 4);
    tap_ok(s.dice == 0 && s.jaccard == 0 && s.precision == 0 && s.recall == 0, "nothing there: 0");
    s = genseg_score_masks(left, left, 4);
    tap_ok(s.dice == 1 && s.jaccard == 1, "equal: 1");
}

#define MASK_SIDE   101
#define MASK_PIXELS (MASK_SIDE * MASK_SIDE)

/* The centre and the angle (of the long axis, in degrees) of a mask. */
static void moments(const float *m, double *x, double *y, double *angle, int *area)
{
    double n = 0, sx = 0, sy = 0, xx = 0, yy = 0, xy = 0;
    for (int i = 0; i < MASK_PIXELS; i++) {
        if (m[i] == 0) continue;
        double u = i % MASK_SIDE, v = i / MASK_SIDE;
        n++, sx += u, sy += v, xx += u * u, yy += v * v, xy += u * v;
    }
    *area = (int)n;
    *x = sx / n;
    *y = sy / n;
    *angle = 0.5 * atan2(2 * (xy / n - *x * *y), xx / n - *x * *x - yy / n + *y * *y) * 57.29577951308232;
}

static void test_augmentation(void)
{
    static float bar[MASK_PIXELS], first[MASK_PIXELS], second[MASK_PIXELS], mirror[MASK_PIXELS];
    enum { DRAWS = 400 };
    for (int y = 46; y < 55; y++)
        for (int x = 25; x < 70; x++) bar[y * MASK_SIDE + x] = 1;
    bar[0] = 1; /* a corner, for the flip */
    for (int i = 0; i < MASK_PIXELS; i++) mirror[i] = bar[i - i % MASK_SIDE + MASK_SIDE - 1 - i % MASK_SIDE];
    int repeats = 0, differ = 0, flipped = 0, kept = 0, binary = 1, intact = 1;
    double x, y, x0, y0, angle, shift = 0, turn = 0, least = 0, most = 0;
    int area, area0;
    for (int i = 0; i < DRAWS; i++) {
        genseg_augment_mask(bar, MASK_SIDE, 7, 9, (uint64_t)i, first);
        genseg_augment_mask(bar, MASK_SIDE, 7, 9, (uint64_t)i, second);
        repeats += memcmp(first, second, sizeof first) == 0;
        genseg_augment_mask(bar, MASK_SIDE, 7, 10, (uint64_t)i, second);
        differ += memcmp(first, second, sizeof first) != 0;
        for (int k = 0; k < MASK_PIXELS; k++) binary &= first[k] == 0 || first[k] == 1;
        genseg_augment_mask(bar, MASK_SIDE, GENSEG_AUGMENT_FLIP, 9, (uint64_t)i, first);
        flipped += memcmp(first, mirror, sizeof first) == 0;
        kept += memcmp(first, bar, sizeof first) == 0;
    }
    tap_ok(repeats == DRAWS && differ == DRAWS && binary,
           "equal names give equal masks, others others, all of 0 and 1");
    tap_ok(flipped + kept == DRAWS && flipped > 160 && flipped < 240, "the flip is exact, in %d of 400", flipped);
    bar[0] = 0;
    moments(bar, &x0, &y0, &angle, &area0);
    for (int i = 0; i < DRAWS; i++) {
        genseg_augment_mask(bar, MASK_SIDE, GENSEG_AUGMENT_TRANSLATE, 9, (uint64_t)i, first);
        moments(first, &x, &y, &angle, &area);
        intact &= area == area0 && fabs(angle) < 1e-9;
        shift = fmax(shift, fmax(fabs(x - x0), fabs(y - y0)));
        genseg_augment_mask(bar, MASK_SIDE, GENSEG_AUGMENT_ROTATE, 9, (uint64_t)i, first);
        moments(first, &x, &y, &angle, &area);
        turn = fmax(turn, hypot(x - 50, y - 50) - hypot(x0 - 50, y0 - 50)); /* about the centre: the distance stays */
        least = fmin(least, angle);
        most = fmax(most, angle);
    }
    tap_ok(intact && shift > 9 && shift <= 10.6,
           "translation moves by up to a tenth of the side and changes nothing else: %g", shift);
    tap_ok(least > -16 && least < -14 && most > 14 && most < 16 && turn < 0.5,
           "rotation is about the centre, of %.1f to %.1f degrees", least, most);
    genseg_augment_mask(bar, MASK_SIDE, 0, 9, 0, first);
    tap_ok(memcmp(first, bar, sizeof first) == 0, "no operation, no change");
}

/* ---- phantom ---- */

static void test_phantom(void)
{
    genseg_dataset d, other;
    ht_error e = {0};
    ht_status status = genseg_dataset_open("phantom", 7, 64, 0, 1, 2, &d, &e);
    tap_ok(status == HT_OK && d.train.count == 16 && d.val.count == 8 && d.test.count == 24 && d.channels == 3 &&
               !d.warnings && strcmp(d.name, "phantom") == 0,
           "phantom opens %s", e.message);
    if (status != HT_OK) return;
    tap_ok(d.hash == PHANTOM_HASH, "phantom's hash is frozen: 0x%016llX", (unsigned long long)d.hash);
    tap_ok(strcmp(d.test.cases[7].name, "phantom-test-007") == 0 && d.test.cases[7].width == GENSEG_PHANTOM_SIZE &&
               !d.test.cases[7].image_path,
           "its cases have names and no files");
    genseg_picture picture;
    status = genseg_case_picture(&d.test.cases[7], &picture, &e);
    uint64_t hash = status == HT_OK ? genseg_hash(GENSEG_HASH_START, picture.pixels,
                                                  (size_t)picture.width * (size_t)picture.height * 3)
                                    : 0;
    tap_ok(hash == d.test.cases[7].image_hash, "a case's picture is drawn again as it was");
    genseg_picture_free(&picture);
    double least = 1, most = 0;
    for (int32_t i = 0; i < d.test.count; i++) {
        double share = 0;
        for (int k = 0; k < 64 * 64; k++) share += d.test.cases[i].mask_small[k] / 4096;
        least = fmin(least, share);
        most = fmax(most, share);
    }
    tap_ok(least > 0.02 && most < 0.4, "lesions take %.3f to %.3f of a picture", least, most);
    status = genseg_dataset_open("phantom", GENSEG_TEST, 16, 1, 2, 1, &other, &e);
    tap_ok(status == HT_OK && other.test.count == 24 && other.train.count == 0 && other.channels == 1 &&
               other.test.cases[7].hash != d.test.cases[7].hash,
           "another seed draws other cases; grey on request");
    genseg_dataset_free(&other);
    genseg_dataset_free(&d);
    status = genseg_dataset_open("phantom", 7, 0, 0, 1, 1, &d, &e);
    tap_ok(status == HT_EINVALID && strstr(e.message, "data.size 0"), "size 0: %s", e.message);
}

/* ---- real data ---- */

static void test_fuseg(void)
{
    char folder[1024];
    const char *data = getenv("GENSEG_DATA");
    if (!data || !*data) data = TESTS_FOLDER "/../../shared/data";
    snprintf(folder, sizeof folder, "%s/fuseg", data);
    if (access(folder, R_OK) != 0) {
        tap_skip("no data set at %s; name the folder that holds it in GENSEG_DATA", folder);
        return;
    }
    genseg_dataset d;
    ht_error e = {0};
    ht_status status = genseg_dataset_open(folder, 7, 64, 0, 0, 2, &d, &e);
    tap_ok(status == HT_OK && d.train.count == 40 && d.val.count == 10 && d.test.count == 100 && d.channels == 3,
           "fuseg opens %s", e.message);
    if (status != HT_OK) return;
    int32_t empty = 0;
    for (int32_t i = 0; i < d.test.count; i++) empty += !memchr(d.test.cases[i].mask, 1, 512 * 512);
    tap_ok(empty == 7, "fuseg has %d empty masks in its test split", empty);
    tap_ok(d.warnings &&
               strstr(d.warnings, "0233.png: a mask with levels other than 0 and 255 in 84 of 262144 pixels, as 32") &&
               strstr(d.warnings, "7 of 100 masks are all background") && !strstr(d.warnings, "leak"),
           "fuseg's warnings: %s", d.warnings ? d.warnings : "none");
    genseg_dataset_free(&d);
}

int main(void)
{
    const char *temporary = getenv("TMPDIR");
    char command[128];
    snprintf(root, sizeof root, "%.30s/genseg-data-XXXXXX",
             temporary && *temporary && strlen(temporary) < 30 ? temporary : "/tmp");
    if (!mkdtemp(root)) return 1;
    test_masks();
    test_good_folder();
    test_bad_folders();
    test_resize();
    test_scores();
    test_augmentation();
    test_phantom();
    test_fuseg();
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    tap_ok(system(command) == 0, "the temporary folder is gone");
    return tap_done();
}
