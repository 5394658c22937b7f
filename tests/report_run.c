/*
 * A synthetic run directory for the test of the report: curves that fall, cells that choose, pictures that get better. Not
 * a training run: every number comes from a formula, so that the files are the same everywhere.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "../apps/genseg/run.h"
#include "report_run.h"

char report_folder[512];

const char *report_path(const char *name)
{
    static char path[1024];
    snprintf(path, sizeof path, "%s/%s", report_folder, name);
    return path;
}

void report_put(const char *name, const void *bytes, size_t count)
{
    FILE *file = fopen(report_path(name), "wb");
    if (!file || fwrite(bytes, 1, count, file) != count || fclose(file) != 0) {
        perror(name);
        exit(1);
    }
}

void report_put_text(const char *name, const char *text)
{
    report_put(name, text, strlen(text));
}

/* The whole file with a 0 after it, or NULL. */
char *report_get(const char *name, size_t *count)
{
    FILE *file = fopen(report_path(name), "rb");
    if (!file) return NULL;
    size_t room = 1 << 16, used = 0, got;
    char *text = malloc(room);
    while (text && (got = fread(text + used, 1, room - used - 1, file)) > 0) {
        used += got;
        if (room - used < 2) text = realloc(text, room *= 2);
    }
    fclose(file);
    if (text) text[used] = 0;
    if (count) *count = used;
    return text;
}

/* A number in [0, 1) that depends on two numbers alone. */
double report_noise(uint64_t a, uint64_t b)
{
    uint64_t x = a * UINT64_C(0x9E3779B97F4A7C15) + b * UINT64_C(0xD1B54A32D192ED03) + 1;
    x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
    return (double)((x ^ (x >> 31)) >> 11) / 9007199254740992.0;
}

/* ---- pictures: PNG with stored blocks, written by hand so that nothing else is needed ---- */

static uint32_t crc_of(const uint8_t *bytes, size_t count)
{
    uint32_t crc = 0xFFFFFFFFU;
    for (size_t i = 0; i < count; ++i) {
        crc ^= bytes[i];
        for (int b = 0; b < 8; ++b) crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320U : 0);
    }
    return ~crc;
}

static uint8_t *put_big(uint8_t *to, uint32_t value)
{
    for (int i = 0; i < 4; ++i) to[i] = (uint8_t)(value >> (24 - 8 * i));
    return to + 4;
}

/* Closes a chunk whose data were written behind its 8 bytes of head. */
static uint8_t *end_chunk(uint8_t *head, const char *type, uint8_t *end)
{
    put_big(head, (uint32_t)(end - head - 8));
    memcpy(head + 4, type, 4);
    return put_big(end, crc_of(head + 4, (size_t)(end - head - 4)));
}

typedef void (*painter)(int32_t x, int32_t y, int32_t key, uint8_t rgb[3]);

static void put_png(const char *name, int32_t width, int32_t height, painter paint, int32_t key)
{
    size_t row = (size_t)width * 3 + 1;
    uint8_t *file = malloc(128 + (row + 5) * (size_t)height), *to = file, *head;
    uint32_t a = 1, b = 0;
    memcpy(to, "\x89PNG\r\n\x1A\n", 8);
    head = to + 8;
    to = put_big(put_big(head + 8, (uint32_t)width), (uint32_t)height);
    memcpy(to, "\x08\x02\0\0\0", 5);
    head = end_chunk(head, "IHDR", to + 5);
    to = head + 8;
    *to++ = 0x78;
    *to++ = 0x01;
    for (int32_t y = 0; y < height; ++y) {
        *to++ = y == height - 1;
        *to++ = (uint8_t)row;
        *to++ = (uint8_t)(row >> 8);
        *to++ = (uint8_t)~row;
        *to++ = (uint8_t)(~row >> 8);
        uint8_t *line = to;
        *to++ = 0;
        for (int32_t x = 0; x < width; ++x, to += 3) paint(x, y, key, to);
        for (; line < to; ++line) {
            a = (a + *line) % 65521;
            b = (b + a) % 65521;
        }
    }
    head = end_chunk(head, "IDAT", put_big(to, b << 16 | a));
    to = end_chunk(head, "IEND", head + 8);
    report_put(name, file, (size_t)(to - file));
    free(file);
}

static double inside(double x, double y, int32_t key, double grow)
{
    double dx = x - 32 - 8 * (report_noise((uint64_t)key, 1) - 0.5), dy = y - 32 - 8 * (report_noise((uint64_t)key, 2) - 0.5);
    double angle = atan2(dy, dx), radius = 15 + 5 * report_noise((uint64_t)key, 3) + grow;
    return radius * (1 + 0.18 * sin(3 * angle + key) + 0.08 * cos(5 * angle)) - sqrt(dx * dx + dy * dy);
}

static void skin(double depth, uint64_t seed, double contrast, uint8_t rgb[3])
{
    double t = contrast / (1 + exp(-depth * 0.9)), grain = 16 * (report_noise(seed, 9) - 0.5);
    rgb[0] = (uint8_t)(214 - 110 * t + grain);
    rgb[1] = (uint8_t)(168 - 100 * t + grain);
    rgb[2] = (uint8_t)(146 - 78 * t + grain);
}

/* Three panels of 64 pixels per sample; the generated one has more contrast the later the round. */
static void paint_strip(int32_t x, int32_t y, int32_t key, uint8_t rgb[3])
{
    int32_t panel = x / 64, sample = y / 64 + 10;
    double depth = inside(x % 64, y % 64, sample + (panel == 2 ? 20 : 0), 0);
    uint64_t seed = (uint64_t)(x + 1000 * y);
    if (panel == 0) memset(rgb, depth > 0 ? 255 : 0, 3);
    else skin(depth, seed, panel == 2 ? 1 : 0.25 + 0.7 * key / ROUNDS, rgb);
}

static void paint_overlay(int32_t x, int32_t y, int32_t key, uint8_t rgb[3])
{
    double truth = inside(x * 0.5, y * 0.5, key, 0), guess = inside(x * 0.5 + 1, y * 0.5, key, key % 7 - 3);
    skin(truth, (uint64_t)(x + 1000 * y), 1, rgb);
    if (fabs(truth) < 0.5) memcpy(rgb, "\x20\xC0\x50", 3);
    else if (fabs(guess) < 0.5) memcpy(rgb, "\xE0\x30\xC0", 3);
}

/* ---- the synthetic run ---- */

void report_put_log(void)
{
    FILE *file = fopen(report_path("log.csv"), "wb");
    fprintf(file, "%s\n", GENSEG_LOG_COLUMNS);
    double rate = 1e-3, seconds = 0;
    for (int r = 1; r <= ROUNDS; ++r) {
        uint64_t k = (uint64_t)r;
        double fall = exp(-r / 80.0), dice = 0.86 - 0.6 * exp(-r / 55.0) + 0.04 * (report_noise(k, 5) - 0.5);
        if (r == 180) rate /= 2;
        seconds += r % 100 == 50 ? 61 : 1.25; /* now and then a round does more: the median does not see it */
        fprintf(file, "%d,%.3f,%.6g,%.6g,%.6g,", r, seconds, 22 + 60 * fall + 6 * report_noise(k, 1) + (r == 3) * 900,
                0.5 + 0.4 * report_noise(k, 2), 0.12 + 0.7 * fall + 0.1 * report_noise(k, 3));
        if (r > 200 && r < 220) fprintf(file, ",,,,,,,,");
        else
            fprintf(file, "%.6g,%.6g,%.6g,%.6g,%.6g,%.6g,%.6g,%.6g,", 0.2 + 0.6 * fall + 0.15 * report_noise(k, 4),
                    exp(-3.0 - r / 90.0 + report_noise(k, 6)), exp(-3.0 - r / 90.0 + report_noise(k, 6)),
                    exp(-1.0 - r / 120.0 + report_noise(k, 7)),
                    0.3 + 0.5 * (report_noise(k, 8) - 0.5), 0.01 * (0.4 + 0.5 * report_noise(k, 9)), 1e-7 * (1 + r / 100.0),
                    0.34 + 0.22 * (1 - fall));
        if (r % 10 == 0) fprintf(file, "%.6g,%.6g,%g\n", dice, dice / (2 - dice), rate);
        else fprintf(file, ",,%g\n", rate);
    }
    fclose(file);
}

void report_put_alpha(const char *hostile)
{
    FILE *file = fopen(report_path("alpha.csv"), "wb");
    fprintf(file, "round,cell,a4,a6,a8\n");
    for (int r = 1; r <= ROUNDS; ++r)
        for (int c = 0; c < 14; ++c) {
            double w[3], sum = 0;
            for (uint64_t k = 0; k < 3; ++k) {
                double slope = 2.4 * (report_noise((uint64_t)c, k + 40) - 0.5) * (c < 7 ? 1 : 0.5);
                sum += w[k] = exp(slope * (1 - exp(-r / 150.0)) + 0.02 * report_noise((uint64_t)(r * 20 + c), k));
            }
            char name[128];
            if (hostile && c == 13) snprintf(name, sizeof name, "%s", hostile);
            else snprintf(name, sizeof name, "%s%d", c < 7 ? "enc" : "dec", c % 7);
            fprintf(file, "%d,%s,%.6f,%.6f,%.6f\n", r, name, w[0] / sum, w[1] / sum, w[2] / sum);
        }
    fclose(file);
}

static void put_certificate(void)
{
    report_put_text("certificate.csv",
             "round,norm_f32,norm_f64,relative_error,direction,derivative,difference,difference_error,kinks\n"
             "1,0.0412113,0.0412098,3.6e-05,0,0.00231876,0.00231861,6.5e-05,0\n"
             "1,0.0412113,0.0412098,3.6e-05,1,-0.00087113,-0.00087117,4.6e-05,2\n"
             "100,0.0161239,0.0161228,6.8e-05,0,0.00061231,0.00061198,0.00054,14\n"
             "100,0.0161239,0.0161228,6.8e-05,1,0.00113882,0.00097141,0.172,2231\n"
             "300,1.71e-06,1.59e-06,0.0755,0,3.1e-08,2.9e-08,0.069,3\n"
             "300,1.71e-06,1.59e-06,0.0755,1,,,,\n");
}

/* A field of a CSV file, quoted. */
void report_csv_field(FILE *file, const char *text)
{
    fputc('"', file);
    for (; *text; ++text) {
        if (*text == '"') fputc('"', file);
        fputc(*text, file);
    }
    fputc('"', file);
}

void report_put_cases(const char *const *names, int32_t count)
{
    FILE *file = fopen(report_path("cases.csv"), "wb");
    fprintf(file, "case,dice,jaccard,precision,recall,true_positive,false_positive,false_negative,truth_pixels,"
                  "predicted_pixels,width,height\n");
    for (int32_t i = 0; i < count; ++i) {
        double dice = i % 17 == 11 ? 0.2 + 0.3 * report_noise((uint64_t)i, 77)
                                   : 0.97 - 0.35 * pow(report_noise((uint64_t)i, 78), 2);
        long truth = i % 29 == 28 ? 0 : 900 + i;
        if (!truth) dice = 1;
        char plain[64];
        snprintf(plain, sizeof plain, "phantom-%04d", i);
        report_csv_field(file, names ? names[i] : plain);
        fprintf(file, ",%.6f,%.6f,%.6f,%.6f,%ld,%d,%d,%ld,%ld,512,512\n", dice, dice / (2 - dice), dice * 0.98,
                fmin(dice * 1.02, 1), truth, 40, 30, truth, truth + 10);
    }
    fclose(file);
}

static void put_settings(void)
{
    report_put_text("config.toml",
             "preset = \"small\"\nmethod = \"genseg\"\nrounds = 300\nseed = 1\nthreads = 2\ndevice = \"cpu\"\n\n[data]\n"
             "size = 128\nbatch = 2\n\n[model]\ngenerator_width = 16\ngenerator_levels = 7\nsearch = \"both\"\n"
             "cells = \"auto\"\ndropout = 0.5\n\n[loss]\nsegmentation = \"cross-entropy+dice\"\ngan = \"pix2pix\"\n"
             "l1 = 100\ngamma = 1\n\n[mlo]\nhypergradient = \"total\"\nunroll = \"sgd\"\nhypergradient_scale = \"steps\"\n"
             "mask_augment = \"all\"\ncertify = [1, 100, 300] # rounds\n\n[optimizer.segmenter]\nrate = 0.001\n"
             "momentum = 0.9\n\n[optimizer.architecture]\nrate = 0.01\nbeta1 = 0.5\nbeta2 = 0.999\n\n[run]\n"
             "validate_every = 10\nnote = \"plain\"\n");
}

static void put_json(void)
{
    report_put_text("metrics.json",
             "{\"split\":\"test\",\"cases\":60,\"cases_empty\":2,\"dice\":{\"mean\":0.84213,\"sd\":0.1312,\"median\":0.8951},"
             "\"jaccard\":{\"mean\":0.7461,\"sd\":0.1522,\"median\":0.8102},\"precision\":{\"mean\":0.8623,\"sd\":0.12,"
             "\"median\":0.9},\"recall\":{\"mean\":0.8511,\"sd\":0.14,\"median\":0.88},\"dice_nonempty\":{\"mean\":0.8369,"
             "\"sd\":0.131,\"median\":0.8933},\"selection\":{\"metric\":\"dice\",\"round\":240}}");
    report_put_text("run.json",
             "{\"build\":{\"version\":\"0.1.0\",\"compiler\":\"gcc 12.2\",\"flags\":[\"-O2\",\"-ffp-contract=off\"]},"
             "\"machine\":{\"processor\":\"a <b>fast</b> one\",\"threads\":2},\"seed\":1,\"data\":{\"name\":\"phantom\","
             "\"hash\":\"9f3c\",\"train\":40,\"splits\":[{\"name\":\"train\",\"hash\":\"aa\"}]},"
             "\"home\":\"https://example.org/\",\"seconds\":312.25,\"done\":true,\"nothing\":null,\"path_cut\":false}");
}

void report_put_run(void)
{
    static const int rounds[] = {1, 50, 100, 150, 200, 250, 275, 300};
    char name[128];
    report_put_log();
    report_put_alpha(NULL);
    put_certificate();
    report_put_cases(NULL, 60);
    put_settings();
    put_json();
    mkdir(report_path("pictures"), 0700);
    mkdir(report_path("predictions"), 0700);
    for (size_t i = 0; i < sizeof rounds / sizeof rounds[0]; ++i) {
        snprintf(name, sizeof name, "pictures/round-%05d.png", rounds[i]);
        put_png(name, 192, 192, paint_strip, rounds[i]);
    }
    for (int i = 0; i < 60; ++i) {
        snprintf(name, sizeof name, "predictions/phantom-%04d-overlay.png", i);
        if (i != 11) put_png(name, 128, 128, paint_overlay, i);
    }
    report_put_text("pictures/round-x.png", "not a strip's name");
    report_put_text("pictures/notes.txt", "nor this");
}
