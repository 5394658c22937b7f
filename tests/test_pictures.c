/*
 * Reading of PNG and JPEG: exact pixels for every kind of PNG, and that nothing damaged, cut short or boastful is
 * taken, crashes or costs memory. What masks and folders make of pictures is tested in test_data.c.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jpeglib.h>

#include <ht/random.h>

#include "picture_maker.h"
#include "tap.h"

static const struct {
    int32_t type, depth;
} kinds[15] = {{MADE_GREY, 1},    {MADE_GREY, 2},       {MADE_GREY, 4},        {MADE_GREY, 8},    {MADE_GREY, 16},
               {MADE_PALETTE, 1}, {MADE_PALETTE, 2},    {MADE_PALETTE, 4},     {MADE_PALETTE, 8}, {MADE_RGB, 8},
               {MADE_RGB, 16},    {MADE_GREY_ALPHA, 8}, {MADE_GREY_ALPHA, 16}, {MADE_RGBA, 8},    {MADE_RGBA, 16}};

static const char *const place = "some/where.png";
static uint8_t palette[256][3];

/* Says what, where, what was expected, what to do, on one line and without the words that are banned. */
static int well_said(const ht_error *e, const char *path)
{
    int parts = 0;
    for (const char *c = e->message; *c; c++) parts += *c == ';';
    return e->status != HT_OK && strncmp(e->message, path, strlen(path)) == 0 && parts == 2 &&
           !strchr(e->message, '\n') && !strstr(e->message, "rror") && !strstr(e->message, "ailed");
}

static made_png make(int kind, int32_t width, int32_t height, int32_t filter, int32_t interlaced, uint16_t *samples)
{
    made_png p = {.width = width,
                  .height = height,
                  .depth = kinds[kind].depth,
                  .type = kinds[kind].type,
                  .interlaced = interlaced,
                  .filter = filter,
                  .samples = samples};
    if (p.type == MADE_PALETTE) {
        p.palette = (const uint8_t(*)[3])palette;
        p.palette_count = 1 << p.depth;
    }
    int32_t count = width * height * made_channels(p.type);
    for (int32_t i = 0; i < count; i++)
        samples[i] = (uint16_t)(ht_random_word(7, (uint64_t)kind, (uint64_t)i) & ((1u << p.depth) - 1));
    return p;
}

static int same(const made_png *p, const genseg_picture *got)
{
    int32_t have = made_channels(p->type), want = p->type == MADE_GREY || p->type == MADE_GREY_ALPHA ? 1 : 3;
    if (got->width != p->width || got->height != p->height || got->channels != want) return 0;
    double most = (double)((1 << p->depth) - 1);
    for (int32_t i = 0; i < p->width * p->height; i++) {
        for (int32_t c = 0; c < want; c++) {
            uint16_t sample = p->samples[i * have + (p->type == MADE_PALETTE ? 0 : c)];
            int expected = p->type == MADE_PALETTE ? palette[sample][c] : (int)(sample * 255.0 / most + 0.5);
            if (got->pixels[i * want + c] != expected) return 0;
        }
    }
    return 1;
}

static void test_every_kind(void)
{
    static const int32_t sizes[4][2] = {{1, 1}, {3, 2}, {13, 11}, {70, 130}};
    uint16_t *samples = malloc(sizeof *samples * 70 * 130 * 4);
    int right = 0, all = 0;
    for (int k = 0; k < 15; k++)
        for (int filter = 0; filter < 6; filter++)
            for (int interlaced = 0; interlaced < 2; interlaced++)
                for (int s = 0; s < 4; s++) {
                    made_png p = make(k, sizes[s][0], sizes[s][1], filter, interlaced, samples);
                    p.ancillary = filter == 3 && p.type != MADE_GREY_ALPHA && p.type != MADE_RGBA;
                    genseg_bytes file = made_encode(&p);
                    genseg_picture got;
                    ht_error e = {0};
                    all++;
                    right += genseg_picture_decode(&file, place, &got, &e) == HT_OK && same(&p, &got);
                    genseg_picture_free(&got);
                    free(file.data);
                }
    tap_ok(right == all, "%d of %d kinds of PNG (type, depth, filter, interlacing, size) give the exact pixels", right,
           all);
    free(samples);
}

/* Every start of the file must be refused, in good words; every flipped bit refused or taken, without harm. */
static void test_damage(const genseg_bytes *file, const char *what, int flips)
{
    int taken = 0, unsaid = 0;
    uint8_t *copy = malloc(file->count);
    for (size_t count = 0; count < file->count; count++) {
        uint8_t *part = malloc(count + 1); /* a block of its own, so that reading past the end is seen */
        memcpy(part, file->data, count);
        genseg_bytes cut = {part, count};
        genseg_picture got;
        ht_error e = {0};
        taken += genseg_picture_decode(&cut, place, &got, &e) == HT_OK;
        unsaid += !well_said(&e, place);
        genseg_picture_free(&got);
        free(part);
    }
    tap_ok(taken == 0 && unsaid == 0, "%s cut at each of %zu places: %d taken, %d without a good message", what,
           file->count, taken, unsaid);
    for (size_t bit = 0; flips && bit < file->count * 8; bit++) {
        memcpy(copy, file->data, file->count);
        copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
        genseg_bytes bent = {copy, file->count};
        genseg_picture got;
        ht_error e = {0};
        if (genseg_picture_decode(&bent, place, &got, &e) != HT_OK) unsaid += !well_said(&e, place) || got.pixels;
        genseg_picture_free(&got);
    }
    if (flips) tap_ok(unsaid == 0, "%s with each bit flipped: %d without a good message", what, unsaid);
    free(copy);
}

static void test_damaged_png(void)
{
    uint16_t samples[13 * 11 * 4];
    for (int k = 0; k < 15; k++) {
        char what[64];
        made_png p = make(k, 13, 11, 5, k % 2, samples);
        genseg_bytes file = made_encode(&p);
        snprintf(what, sizeof what, "PNG of type %d, %d bits", p.type, p.depth);
        test_damage(&file, what, k == 0 || k == 6 || k == 9);
        free(file.data);
    }
}

static ht_error refuse(const genseg_bytes *file, const char *path)
{
    genseg_picture got;
    ht_error e = {0};
    genseg_picture_decode(file, path, &got, &e);
    genseg_picture_free(&got);
    return e;
}

/* The header of a PNG with other sizes; the checksum is not mended, since sizes come first. */
static void claim(genseg_bytes *file, uint32_t width, uint32_t height)
{
    for (int i = 0; i < 4; i++) {
        file->data[16 + i] = (uint8_t)(width >> (24 - 8 * i));
        file->data[20 + i] = (uint8_t)(height >> (24 - 8 * i));
    }
}

static void test_claims(void)
{
    static const struct {
        uint32_t width, height;
        const char *word;
    } claims[] = {{100000, 100000, "100000 x 100000"},
                  {10000, 10001, "at most 100000000"},
                  {10000, 10000, "can hold"},
                  {3000, 3000, "can hold"},
                  {0, 5, "0 x 5"},
                  {5, 0, "5 x 0"},
                  {0xFFFFFFFFu, 0xFFFFFFFFu, "4294967295"},
                  {0x80000001u, 2, "2147483649 x 2"},
                  {1000001, 1, "on a side"}};
    uint16_t samples[13 * 11 * 4];
    made_png p = make(3, 13, 11, 0, 0, samples);
    for (size_t i = 0; i < sizeof claims / sizeof claims[0]; i++) {
        genseg_bytes file = made_encode(&p);
        claim(&file, claims[i].width, claims[i].height);
        ht_error e = refuse(&file, place);
        tap_ok(well_said(&e, place) && strstr(e.message, claims[i].word), "a PNG that boasts is refused: %s",
               e.message);
        free(file.data);
    }
    p = make(6, 13, 11, 0, 0, samples); /* indices to 3 */
    p.palette_count = 3;
    genseg_bytes file = made_encode(&p);
    ht_error e = refuse(&file, place);
    tap_ok(well_said(&e, place) && strstr(e.message, "palette"), "an index past the palette: %s", e.message);
    free(file.data);
}

static void test_foreign(void)
{
    static const struct {
        const char *bytes, *word;
        size_t count;
    } files[] = {{"", "0 bytes", 0},          {"\xff", "1 bytes", 1},          {"GIF89a", "GIF", 6},
                 {"BM......", "BMP", 8},      {"II*\0....", "TIFF", 8},        {"hello", "neither", 5},
                 {"\xff\xd8\xff", "JPEG", 3}, {"\x89PNG\r\n\x1a\n", "PNG", 8}, {"RIFF....WEBP", "WebP", 12}};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        genseg_bytes file = {(uint8_t *)(uintptr_t)files[i].bytes, files[i].count};
        ht_error e = refuse(&file, "a.jpg");
        tap_ok(well_said(&e, "a.jpg") && strstr(e.message, files[i].word), "what is no image: %s", e.message);
    }
    ht_error e = refuse(&(genseg_bytes){(uint8_t *)(uintptr_t) "x", 1}, "a\n\x1b[31m\xe2\x80\xae\xff\xc3\xa4.png");
    static const char escaped[] = "a\\x0a\\x1b[31m\\xe2\\x80\\xae\\xff\xc3\xa4.png: ";
    tap_ok(strncmp(e.message, escaped, sizeof escaped - 1) == 0, "names are escaped: %s", e.message);
    char deep[5000];
    memset(deep, 'd', sizeof deep);
    memcpy(deep + sizeof deep - 7, "/x.png", 7);
    e = refuse(&(genseg_bytes){(uint8_t *)(uintptr_t) "x", 1}, deep);
    tap_ok(strncmp(e.message, "...d", 4) == 0 && strstr(e.message, "/x.png: ") && well_said(&e, "..."),
           "long paths are cut in front");
}

/* ---- JPEG ---- */

typedef struct made_jpeg {
    int32_t width, height, channels;
    J_COLOR_SPACE space;
    int progressive, each_coefficient; /* a scan for each coefficient of each channel */
    int quality;
} made_jpeg;

static genseg_bytes encode_jpeg(const made_jpeg *m, const uint8_t *pixels)
{
    struct jpeg_compress_struct c;
    struct jpeg_error_mgr manager;
    jpeg_scan_info scans[1 + 3 * 63];
    unsigned char *data = NULL;
    unsigned long count = 0;
    c.err = jpeg_std_error(&manager);
    jpeg_create_compress(&c);
    jpeg_mem_dest(&c, &data, &count);
    c.image_width = (JDIMENSION)m->width;
    c.image_height = (JDIMENSION)m->height;
    c.input_components = m->channels;
    c.in_color_space = m->space;
    jpeg_set_defaults(&c);
    jpeg_set_quality(&c, m->quality, TRUE);
    if (m->progressive) jpeg_simple_progression(&c);
    if (m->each_coefficient) {
        c.num_scans = 0;
        scans[c.num_scans++] = (jpeg_scan_info){m->channels, {0, 1, 2}, 0, 0, 0, 0};
        for (int k = 0; k < m->channels; k++)
            for (int i = 1; i < 64; i++) scans[c.num_scans++] = (jpeg_scan_info){1, {k}, i, i, 0, 0};
        c.scan_info = scans;
    }
    jpeg_start_compress(&c, TRUE);
    for (int32_t y = 0; y < m->height; y++) {
        JSAMPROW row = (JSAMPROW)(uintptr_t)(pixels + (size_t)y * (size_t)(m->width * m->channels));
        jpeg_write_scanlines(&c, &row, 1);
    }
    jpeg_finish_compress(&c);
    jpeg_destroy_compress(&c);
    return (genseg_bytes){data, count};
}

static void test_jpeg(void)
{
    uint8_t pixels[40 * 24 * 4];
    for (size_t i = 0; i < sizeof pixels; i++) pixels[i] = (uint8_t)(100 + i % (40 * 3) / 2);
    static const made_jpeg made[] = {{40, 24, 1, JCS_GRAYSCALE, 0, 0, 98},
                                     {40, 24, 3, JCS_RGB, 0, 0, 98},
                                     {40, 24, 3, JCS_RGB, 1, 0, 98},
                                     {40, 24, 1, JCS_GRAYSCALE, 1, 1, 98}};
    for (size_t k = 0; k < sizeof made / sizeof made[0]; k++) {
        char what[64];
        genseg_bytes file = encode_jpeg(&made[k], pixels);
        genseg_picture got;
        ht_error e = {0};
        int worst = 0;
        genseg_picture_decode(&file, place, &got, &e);
        for (int32_t i = 0; got.pixels && i < got.width * got.height * got.channels; i++)
            worst = abs(got.pixels[i] - pixels[i]) > worst ? abs(got.pixels[i] - pixels[i]) : worst;
        tap_ok(got.width == 40 && got.height == 24 && got.channels == made[k].channels && worst <= 8,
               "JPEG with %d channels, progressive %d: off by at most %d %s", made[k].channels, made[k].progressive,
               worst, e.message);
        genseg_picture_free(&got);
        snprintf(what, sizeof what, "JPEG with %d channels, progressive %d", made[k].channels, made[k].progressive);
        test_damage(&file, what, k < 3);
        free(file.data);
    }
}

static void test_refused_jpeg(void)
{
    uint8_t pixels[40 * 24 * 4] = {0};
    genseg_bytes file = encode_jpeg(&(made_jpeg){40, 24, 4, JCS_CMYK, 0, 0, 90}, pixels);
    ht_error e = refuse(&file, "a.jpg");
    tap_ok(well_said(&e, "a.jpg") && strstr(e.message, "CMYK"), "CMYK: %s", e.message);
    free(file.data);
    file = encode_jpeg(&(made_jpeg){40, 24, 3, JCS_RGB, 1, 1, 90}, pixels);
    e = refuse(&file, "a.jpg");
    tap_ok(well_said(&e, "a.jpg") && strstr(e.message, "64 scans"), "190 scans: %s", e.message);
    free(file.data);
    file = encode_jpeg(&(made_jpeg){40, 24, 1, JCS_GRAYSCALE, 0, 0, 90}, pixels);
    for (size_t i = 0; i + 9 < file.count; i++)
        if (file.data[i] == 0xFF && file.data[i + 1] == 0xC0) memset(file.data + i + 5, 0x9C, 4); /* 40092 x 40092 */
    e = refuse(&file, "a.jpg");
    tap_ok(well_said(&e, "a.jpg") && strstr(e.message, "at most 100000000"), "a JPEG that boasts: %s", e.message);
    for (size_t i = 0; i + 9 < file.count; i++)
        if (file.data[i] == 0xFF && file.data[i + 1] == 0xC0) memset(file.data + i + 5, 0x11, 4); /* 4369 x 4369 */
    e = refuse(&file, "a.jpg");
    tap_ok(well_said(&e, "a.jpg") && strstr(e.message, "can hold"), "a JPEG that boasts: %s", e.message);
    free(file.data);
}

static void test_writing(void)
{
    char path[] = "/tmp/genseg-picture-XXXXXX";
    int file = mkstemp(path), right = 0;
    if (file >= 0) close(file);
    for (int32_t channels = 1; channels <= 3; channels += 2) {
        uint8_t pixels[17 * 9 * 3];
        for (size_t i = 0; i < sizeof pixels; i++) pixels[i] = (uint8_t)ht_random_word(1, 0, i);
        genseg_picture p = {17, 9, channels, pixels}, back;
        ht_error e = {0};
        if (genseg_picture_write(path, &p, &e) == HT_OK && genseg_picture_read(path, &back, &e) == HT_OK) {
            right += back.width == 17 && back.height == 9 && back.channels == channels &&
                     memcmp(back.pixels, pixels, (size_t)(17 * 9 * channels)) == 0;
            genseg_picture_free(&back);
        }
    }
    tap_ok(right == 2, "a written picture is read back, grey and RGB");
    unlink(path);
    genseg_picture none = {0}, back;
    ht_error e = {0}, absent = {0}, folder = {0};
    uint8_t *bytes;
    size_t count;
    tap_ok(genseg_picture_encode(&none, &bytes, &count, &e) == HT_EINVALID && !bytes,
           "an empty picture is not written");
    genseg_picture_read("/nowhere/a.png", &back, &absent);
    tap_ok(absent.status == HT_EIO && well_said(&absent, "/nowhere/a.png"), "absent: %s", absent.message);
    genseg_picture_read("/tmp", &back, &folder);
    tap_ok(folder.status == HT_EFORMAT && well_said(&folder, "/tmp"), "a folder: %s", folder.message);
}

int main(void)
{
    for (int i = 0; i < 256; i++) {
        palette[i][0] = (uint8_t)(i * 7 + 3);
        palette[i][1] = (uint8_t)(255 - i);
        palette[i][2] = (uint8_t)(i * 3);
    }
    test_every_kind();
    test_damaged_png();
    test_claims();
    test_foreign();
    test_jpeg();
    test_refused_jpeg();
    test_writing();
    return tap_done();
}
