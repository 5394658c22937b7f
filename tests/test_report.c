/*
 * The report: a synthetic run directory with hostile names in, one page out. Checks the page as a parser sees it:
 * elements balanced, no script, no event attribute, no address but fragments and embedded pictures. Not a check of how it
 * looks; `test_report DIR` leaves the run in DIR, to be looked at.
 */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../apps/genseg/run.h"
#include "tap.h"

#define ROUNDS 300

static char folder[512];

static const char *in(const char *name)
{
    static char path[1024];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void put(const char *name, const void *bytes, size_t count)
{
    FILE *file = fopen(in(name), "wb");
    if (!file || fwrite(bytes, 1, count, file) != count || fclose(file) != 0) {
        perror(name);
        exit(1);
    }
}

static void put_text(const char *name, const char *text)
{
    put(name, text, strlen(text));
}

/* The whole file with a 0 after it, or NULL. */
static char *get(const char *name, size_t *count)
{
    FILE *file = fopen(in(name), "rb");
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
static double noise(uint64_t a, uint64_t b)
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
    put(name, file, (size_t)(to - file));
    free(file);
}

static double inside(double x, double y, int32_t key, double grow)
{
    double dx = x - 32 - 8 * (noise((uint64_t)key, 1) - 0.5), dy = y - 32 - 8 * (noise((uint64_t)key, 2) - 0.5);
    double angle = atan2(dy, dx), radius = 15 + 5 * noise((uint64_t)key, 3) + grow;
    return radius * (1 + 0.18 * sin(3 * angle + key) + 0.08 * cos(5 * angle)) - sqrt(dx * dx + dy * dy);
}

static void skin(double depth, uint64_t seed, double contrast, uint8_t rgb[3])
{
    double t = contrast / (1 + exp(-depth * 0.9)), grain = 16 * (noise(seed, 9) - 0.5);
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

static void put_log(void)
{
    FILE *file = fopen(in("log.csv"), "wb");
    fprintf(file, "%s\n", GENSEG_LOG_COLUMNS);
    double rate = 1e-3;
    for (int r = 1; r <= ROUNDS; ++r) {
        uint64_t k = (uint64_t)r;
        double fall = exp(-r / 80.0), dice = 0.86 - 0.6 * exp(-r / 55.0) + 0.04 * (noise(k, 5) - 0.5);
        if (r == 180) rate /= 2;
        fprintf(file, "%d,%.3f,%.6g,%.6g,%.6g,", r, 0.9 + 0.3 * noise(k, 0), 22 + 60 * fall + 6 * noise(k, 1) + (r == 3) * 900,
                0.5 + 0.4 * noise(k, 2), 0.12 + 0.7 * fall + 0.1 * noise(k, 3));
        if (r > 200 && r < 220) fprintf(file, ",,,,,,,,");
        else
            fprintf(file, "%.6g,%.6g,%.6g,%.6g,%.6g,%.6g,%.6g,%.6g,", 0.2 + 0.6 * fall + 0.15 * noise(k, 4),
                    exp(-3.0 - r / 90.0 + noise(k, 6)), exp(-3.0 - r / 90.0 + noise(k, 6)), exp(-1.0 - r / 120.0 + noise(k, 7)),
                    0.3 + 0.5 * (noise(k, 8) - 0.5), 0.01 * (0.4 + 0.5 * noise(k, 9)), 1e-7 * (1 + r / 100.0),
                    0.34 + 0.22 * (1 - fall));
        if (r % 10 == 0) fprintf(file, "%.6g,%.6g,%g\n", dice, dice / (2 - dice), rate);
        else fprintf(file, ",,%g\n", rate);
    }
    fclose(file);
}

static void put_alpha(const char *hostile)
{
    FILE *file = fopen(in("alpha.csv"), "wb");
    fprintf(file, "round,cell,a4,a6,a8\n");
    for (int r = 1; r <= ROUNDS; ++r)
        for (int c = 0; c < 14; ++c) {
            double w[3], sum = 0;
            for (uint64_t k = 0; k < 3; ++k) {
                double slope = 2.4 * (noise((uint64_t)c, k + 40) - 0.5) * (c < 7 ? 1 : 0.5);
                sum += w[k] = exp(slope * (1 - exp(-r / 150.0)) + 0.02 * noise((uint64_t)(r * 20 + c), k));
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
    put_text("certificate.csv",
             "round,norm_f32,norm_f64,relative_error,direction,derivative,difference,difference_error,kinks\n"
             "1,0.0412113,0.0412098,3.6e-05,0,0.00231876,0.00231861,6.5e-05,0\n"
             "1,0.0412113,0.0412098,3.6e-05,1,-0.00087113,-0.00087117,4.6e-05,2\n"
             "100,0.0161239,0.0161228,6.8e-05,0,0.00061231,0.00061198,0.00054,14\n"
             "100,0.0161239,0.0161228,6.8e-05,1,0.00113882,0.00097141,0.172,2231\n"
             "300,1.71e-06,1.59e-06,0.0755,0,3.1e-08,2.9e-08,0.069,3\n"
             "300,1.71e-06,1.59e-06,0.0755,1,,,,\n");
}

/* A field of a CSV file, quoted. */
static void csv_field(FILE *file, const char *text)
{
    fputc('"', file);
    for (; *text; ++text) {
        if (*text == '"') fputc('"', file);
        fputc(*text, file);
    }
    fputc('"', file);
}

static void put_cases(const char *const *names, int32_t count)
{
    FILE *file = fopen(in("cases.csv"), "wb");
    fprintf(file, "case,dice,jaccard,precision,recall,true_positive,false_positive,false_negative,truth_pixels,"
                  "predicted_pixels,width,height\n");
    for (int32_t i = 0; i < count; ++i) {
        double dice = i % 17 == 11 ? 0.2 + 0.3 * noise((uint64_t)i, 77) : 0.97 - 0.35 * pow(noise((uint64_t)i, 78), 2);
        long truth = i % 29 == 28 ? 0 : 900 + i;
        if (!truth) dice = 1;
        char plain[64];
        snprintf(plain, sizeof plain, "phantom-%04d", i);
        csv_field(file, names ? names[i] : plain);
        fprintf(file, ",%.6f,%.6f,%.6f,%.6f,%ld,%d,%d,%ld,%ld,512,512\n", dice, dice / (2 - dice), dice * 0.98,
                fmin(dice * 1.02, 1), truth, 40, 30, truth, truth + 10);
    }
    fclose(file);
}

static void put_settings(const char *hostile)
{
    char text[2048];
    snprintf(text, sizeof text,
             "preset = \"small\"\nmethod = \"genseg\"\nrounds = 300\nseed = 1\nthreads = 2\ndevice = \"cpu\"\n\n[data]\n"
             "size = 128\nbatch = 2\n\n[model]\ngenerator_width = 16\ngenerator_levels = 7\nsearch = \"both\"\n"
             "cells = \"auto\"\ndropout = 0.5\n\n[loss]\nsegmentation = \"cross-entropy+dice\"\ngan = \"pix2pix\"\n"
             "l1 = 100\ngamma = 1\n\n[mlo]\nhypergradient = \"total\"\nunroll = \"sgd\"\nhypergradient_scale = \"steps\"\n"
             "mask_augment = \"all\"\ncertify = [1, 100, 300] # rounds\n\n[optimizer.segmenter]\nrate = 0.001\n"
             "momentum = 0.9\n\n[optimizer.architecture]\nrate = 0.01\nbeta1 = 0.5\nbeta2 = 0.999\n\n[run]\n"
             "validate_every = 10\nnote = \"%s\"\n", hostile);
    put_text("config.toml", text);
}

static void put_json(void)
{
    put_text("metrics.json",
             "{\"split\":\"test\",\"cases\":60,\"cases_empty\":2,\"dice\":{\"mean\":0.84213,\"sd\":0.1312,\"median\":0.8951},"
             "\"jaccard\":{\"mean\":0.7461,\"sd\":0.1522,\"median\":0.8102},\"precision\":{\"mean\":0.8623,\"sd\":0.12,"
             "\"median\":0.9},\"recall\":{\"mean\":0.8511,\"sd\":0.14,\"median\":0.88},\"dice_nonempty\":{\"mean\":0.8369,"
             "\"sd\":0.131,\"median\":0.8933},\"selection\":{\"metric\":\"dice\",\"round\":240}}");
    put_text("run.json",
             "{\"build\":{\"version\":\"0.1.0\",\"compiler\":\"gcc 12.2\",\"flags\":[\"-O2\",\"-ffp-contract=off\"]},"
             "\"machine\":{\"processor\":\"a <b>fast</b> one\",\"threads\":2},\"seed\":1,\"data\":{\"name\":\"phantom\","
             "\"hash\":\"9f3c\",\"train\":40,\"splits\":[{\"name\":\"train\",\"hash\":\"aa\"}]},\"home\":\"https://example.org/\","
             "\"seconds\":312.25,\"done\":true,\"nothing\":null,\"path_cut\":false}");
}

static void put_run(void)
{
    static const int rounds[] = {1, 50, 100, 150, 200, 250, 275, 300};
    char name[128];
    put_log();
    put_alpha(NULL);
    put_certificate();
    put_cases(NULL, 60);
    put_settings("plain");
    put_json();
    mkdir(in("pictures"), 0700);
    mkdir(in("predictions"), 0700);
    for (size_t i = 0; i < sizeof rounds / sizeof rounds[0]; ++i) {
        snprintf(name, sizeof name, "pictures/round-%05d.png", rounds[i]);
        put_png(name, 192, 192, paint_strip, rounds[i]);
    }
    for (int i = 0; i < 60; ++i) {
        snprintf(name, sizeof name, "predictions/phantom-%04d-overlay.png", i);
        if (i != 11) put_png(name, 128, 128, paint_overlay, i);
    }
    put_text("pictures/round-x.png", "not a strip's name");
    put_text("pictures/notes.txt", "nor this");
}

/* ---- the page as a parser sees it ---- */

static bool is_void(const char *name)
{
    return strcmp(name, "meta") == 0 || strcmp(name, "br") == 0 || strcmp(name, "img") == 0;
}

static bool starts(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

/* Reads one attribute at *at; false (and why) if it may not stand there. */
static bool attribute_is_good(const char **at, char *why, size_t room)
{
    const char *p = *at, *name = p;
    while (*p && !strchr("=> /", *p)) ++p;
    int length = (int)(p - name);
    if (*p != '=' || p[1] != '"') {
        snprintf(why, room, "attribute without a quoted value: %.*s", length, name);
        return false;
    }
    const char *value = p + 2, *end = strchr(value, '"');
    *at = end ? end + 1 : value;
    bool known = length > 0 && strncmp(name, "on", 2) != 0 && strncmp(name, "style", 5) != 0;
    if (starts(name, "href=")) known = *value == '#';
    if (starts(name, "src=")) known = starts(value, "data:image/png;base64,");
    if (!end || !known) snprintf(why, room, "attribute %.*s=%.40s", length, name, value);
    return end && known;
}

/* Balanced elements, allowed attributes, no bare < or &. */
static bool page_is_good(const char *page, char *why, size_t room)
{
    enum { DEEP = 64, NAME = 24 };
    static char open[DEEP][NAME];
    int depth = 0;
    if (!starts(page, "<!DOCTYPE html>\n")) return snprintf(why, room, "no doctype"), false;
    for (const char *p = page + 16; *p;) {
        if (*p == '&' && p[1] != '#' && !starts(p, "&nbsp;") && !starts(p, "&ensp;"))
            return snprintf(why, room, "bare &: %.30s", p), false;
        if (*p++ != '<') continue;
        bool closing = *p == '/';
        if (closing) ++p;
        char name[NAME] = "";
        size_t length = strspn(p, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ123456");
        if (length == 0 || length >= NAME) return snprintf(why, room, "bare <: %.30s", p), false;
        memcpy(name, p, length);
        p += length;
        bool closed = false;
        while (*p && *p != '>') {
            if (*p == '/' && p[1] == '>') closed = true;
            if (*p == ' ' || *p == '/') ++p;
            else if (!attribute_is_good(&p, why, room)) return false;
        }
        if (*p) ++p;
        if (strcmp(name, "script") == 0 || strcmp(name, "iframe") == 0) return snprintf(why, room, "element %s", name), false;
        if (closing) {
            if (depth == 0 || strcmp(open[--depth], name) != 0)
                return snprintf(why, room, "</%s> closes nothing, at %.40s", name, p), false;
        } else if (!closed && !is_void(name)) {
            if (depth == DEEP) return snprintf(why, room, "too deep"), false;
            strcpy(open[depth++], name);
        }
        if (!closing && strcmp(name, "style") == 0) {
            p = strstr(p, "</style>");
            if (!p) return snprintf(why, room, "style without end"), false;
        }
    }
    if (depth > 0) snprintf(why, room, "<%s> stays open", open[depth - 1]);
    return depth == 0;
}

/* Makes the report and checks what every report must be. The caller frees the page. */
static char *make(const char *what)
{
    ht_error error = {0};
    char why[256] = "";
    ht_status status = genseg_report_write(folder, &error);
    tap_ok(status == HT_OK, "%s: is made %s", what, error.message);
    char *page = get("report.html", NULL);
    if (!page) page = calloc(1, 1);
    tap_ok(page_is_good(page, why, sizeof why), "%s: is well-formed %s", what, why);
    tap_ok(!strstr(page, "<script") && !strstr(page, "http:/") && !strstr(page, "https:/"),
           "%s: has no script and no address", what);
    return page;
}

static int times(const char *page, const char *what)
{
    int count = 0;
    for (const char *p = page; (p = strstr(p, what)) != NULL; ++p) ++count;
    return count;
}

/* The report is refused with one message that holds `part`, and no page is left. */
static void refused(const char *what, ht_status wanted, const char *part)
{
    ht_error error = {0};
    remove(in("report.html"));
    ht_status status = genseg_report_write(folder, &error);
    tap_ok(status == wanted && strstr(error.message, part) && !strchr(error.message, '\n') && access(in("report.html"), F_OK) != 0,
           "%s: refused: %s", what, error.message);
}

static void forget(void)
{
    static const char *const name[] = {"log.csv", "alpha.csv", "certificate.csv", "cases.csv", "metrics.json", "run.json",
                                       "config.toml", "report.html"};
    for (size_t i = 0; i < sizeof name / sizeof name[0]; ++i) remove(in(name[i]));
}

static void test_full(void)
{
    static const char *const heading[] = {"Result", "Curves", "Hypergradient", "Architecture", "Certificate",
                                          "Generated pictures", "Cases", "Settings", "Run facts"};
    put_run();
    char *page = make("full run");
    bool all = true;
    for (size_t i = 0; i < sizeof heading / sizeof heading[0]; ++i) {
        char text[64];
        snprintf(text, sizeof text, ">%s</h2>", heading[i]);
        all = all && strstr(page, text);
    }
    tap_ok(all, "every section has its heading");
    tap_ok(strstr(page, "0.842") && strstr(page, "0.131") && strstr(page, "0.895"), "mean, deviation and median of Dice");
    tap_ok(times(page, "data:image/png") == 6 + 9, "six strips, and ten cases of which one has no picture");
    tap_ok(times(page, "role=\"img\"") == 6 + 4 + 14 + 1, "25 charts");
    tap_ok(times(page, "verdict good") == 2 && times(page, "verdict bad") == 1, "verdicts of the certificate");
    tap_ok(strstr(page, "The certificate does not hold") && !strstr(page, "never moved"), "one box, not the other");
    tap_ok(!strstr(page, "nan") || !strstr(page, "\"nan"), "no coordinate is nan");
    tap_ok(strstr(page, "a &#60;b&#62;fast") != NULL, "mark-up in run.json is text");
    size_t count;
    char *again = (free(make("the same again")), get("report.html", &count));
    tap_ok(again && strlen(page) == count && memcmp(page, again, count) == 0, "equal files give equal bytes");
    free(page);
    free(again);
}

static void test_parts(void)
{
    forget();
    refused("empty folder", HT_EINVALID, "log.csv");
    put_log();
    char *page = make("log alone");
    tap_ok(times(page, "the run directory has no") == 6, "what is absent is said");
    free(page);
    put_text("log.csv", GENSEG_LOG_COLUMNS "\n");
    free(make("no round"));
    put_text("log.csv", "round,loss_seg,alpha_step\n1,0.5,0\n2,nan,0\n3,0.25,0\n4,0.2");
    page = make("killed while logging");
    tap_ok(strstr(page, "has no end") && strstr(page, "never moved") && strstr(page, "first in round 2 in column loss_seg"),
           "an unfinished line, a search that does not move, a nan");
    free(page);
    put_text("run.json", "{\"search\":{\"path_cut\":\"op 17 \\\"stop\\\"\"}}");
    page = make("cut path");
    tap_ok(strstr(page, "was cut") && strstr(page, "op 17 &#34;stop"), "a cut path is named");
    free(page);
    put_text("config.toml", "method = \"plain\"\nrounds = 9\n");
    page = make("plain method");
    tap_ok(!strstr(page, "never moved") && strstr(page, "3 of 9 rounds"), "no search, no box; not at its end");
    free(page);
    put_text("log.csv", "round,loss_seg,loss_val,loss_gan,hypergradient_norm\n-5,1e308,-1e308,0,0\n9,-1e308,1e308,0,1e-320\n");
    free(make("wild numbers"));
    put_text("log.csv", "round,loss_seg\r\n7,3\r\n");
    free(make("one round, other line ends"));
}

static void test_refusals(void)
{
    forget();
    put_text("log.csv", "round,loss_seg\n1,0.5\n2,abc\n");
    refused("word for a number", HT_EFORMAT, "log.csv:3: ");
    put_text("log.csv", "round,loss_seg\n1,0x10\n");
    refused("hexadecimal", HT_EFORMAT, "log.csv:2: ");
    put_text("log.csv", "round,loss_seg\n2,1\n2,1\n");
    refused("a round twice", HT_EFORMAT, "log.csv:3: ");
    put_text("log.csv", "round,loss_seg\n2\n");
    refused("too few fields", HT_EFORMAT, "1 fields; expected 2");
    put_text("log.csv", "lap,loss_seg\n2,1\n");
    refused("other header", HT_EFORMAT, "no column round");
    put("log.csv", "round\n1\0\n", 9);
    refused("zero bytes", HT_EFORMAT, "zero bytes");
    put_text("log.csv", "");
    refused("empty log", HT_EFORMAT, "no column round");
    put_text("log.csv", "round\n1\n");
    put_text("metrics.json", "{\"split\":");
    refused("cut JSON", HT_EFORMAT, "metrics.json:1:");
    put_text("metrics.json", "[1]");
    refused("JSON of another form", HT_EFORMAT, "no JSON object");
    remove(in("metrics.json"));
    mkfifo(in("cases.csv"), 0600);
    refused("a pipe", HT_EFORMAT, "no regular file");
    remove(in("cases.csv"));
    put_text("cases.csv", "case,dice\n\"a\"b,1\n");
    refused("text behind a quote", HT_EFORMAT, "cases.csv:2: ");
}

/* ---- hostile text ---- */

static const char *const payload[] = {
    "\"><script>alert(1)</script>", "<script>alert(1)</script>", "</script><script>alert(1)</script>",
    "</style><script>alert(1)</script>", "</title><img src=x onerror=alert(1)>", "<img src=x onerror=alert(1)>",
    "' onmouseover='alert(1)", "\" onmouseover=\"alert(1)", "` onclick=`alert(1)`", "<svg/onload=alert(1)>",
    "<iframe src=javascript:alert(1)>", "javascript:alert(1)", "<a href=\"https://example.org\">x</a>",
    "https://example.org/x.png", "//example.org/x.js", "data:text/html,<script>alert(1)</script>",
    "<link rel=stylesheet href=//example.org>", "<meta http-equiv=refresh content=0>", "<base href=//example.org>",
    "url(https://example.org)", "&lt;script&gt;", "&#60;script&#62;", "<!-- ", "-->", "]]>", "<![CDATA[", "<?xml ?>",
    "=cmd|' /C calc'!A0", "@SUM(1+1)", "+1+1", "\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "\x80\xFF\xC0\xAF",
    "\xE2\x80\xAE" "gnp.exe", "\xED\xA0\x80", "\xF5\x80\x80\x80", "%s%n%d", "../../../etc/passwd", "{{7*7}}", "${7*7}",
    "<math><mi//xlink:href=\"data:x\">", "\xC2\x9B" "31m"};
enum { PAYLOADS = sizeof payload / sizeof payload[0] };

static void json_string(FILE *file, const char *text)
{
    fputc('"', file);
    for (const unsigned char *p = (const unsigned char *)text; *p; ++p)
        if (*p >= ' ' && *p < 0x7F && *p != '"' && *p != '\\') fputc(*p, file);
        else fprintf(file, "\\u%04x", *p);
    fputc('"', file);
}

static void test_hostile(void)
{
    forget();
    const char *names[2 * PAYLOADS];
    char doubled[PAYLOADS][128];
    for (int i = 0; i < PAYLOADS; ++i) {
        snprintf(doubled[i], sizeof doubled[i], "a'\">%s\"'", payload[i]);
        names[2 * i] = payload[i];
        names[2 * i + 1] = doubled[i];
    }
    put_cases(names, 2 * PAYLOADS);
    FILE *file = fopen(in("run.json"), "wb");
    fprintf(file, "{\"data\":{\"name\":");
    json_string(file, payload[0]);
    fprintf(file, "},\"list\":[\"</td>\",\"\\\"'\"]");
    for (int i = 0; i < 2 * PAYLOADS; ++i) {
        fprintf(file, ",");
        json_string(file, names[i]);
        fprintf(file, ":");
        json_string(file, names[i]);
    }
    fprintf(file, "}");
    fclose(file);
    file = fopen(in("metrics.json"), "wb");
    fprintf(file, "{\"split\":");
    json_string(file, "</div>\">");
    fprintf(file, ",\"selection\":{\"metric\":");
    json_string(file, payload[5]);
    fprintf(file, "}}");
    fclose(file);
    put_log();
    file = fopen(in("config.toml"), "wb");
    for (int i = 0; i < 2 * PAYLOADS; ++i) fprintf(file, "[%s]\n%s = \"%s\"\n%s\n", names[i], names[i], names[i], names[i]);
    fclose(file);
    file = fopen(in("alpha.csv"), "wb");
    fprintf(file, "round,cell,a4,a6,a8\n");
    for (int i = 0; i < 2 * PAYLOADS; ++i) {
        fprintf(file, "1,");
        csv_field(file, names[i]);
        fprintf(file, ",0.3,0.3,0.4\n");
    }
    fclose(file);
    char *page = make("hostile names");
    tap_ok(strstr(page, "&#34;&#62;&#60;script&#62;alert(1)&#60;&#47;script&#62;") != NULL, "a script's text is shown as text");
    bool clean = true;
    for (const char *p = page; *p; ++p) clean = clean && ((unsigned char)*p >= ' ' || *p == '\n') && *p != 0x7F;
    tap_ok(clean && !strstr(page, "\xE2\x80\xAE") && !strstr(page, "\xC2\x9B"), "no control character, none that turns the line");
    free(page);
    put_alpha("\"dec<6>\"");
    free(make("hostile cell"));
}

static void swap_folder(const char *from, const char *to)
{
    char old[1024];
    snprintf(old, sizeof old, "%s", in(from));
    if (rename(old, in(to)) != 0) perror(old);
}

/* Damaged files: a page that is well-formed or a refusal, never anything else. */
static void test_damage(void)
{
    static const char *const name[] = {"log.csv", "alpha.csv", "certificate.csv", "cases.csv", "metrics.json", "run.json",
                                       "config.toml"};
    int good = 0, turned_away = 0, bad = 0;
    forget();
    put_run();
    put_text("log.csv", "round,loss_seg,alpha_step,val_dice\n1,0.5,0.1,\n2,0.4,0.1,0.5\n3,0.3,0.1,\n");
    put_text("alpha.csv", "round,cell,a4,a6,a8\n1,enc0,0.3,0.3,0.4\n1,dec0,0.3,0.3,0.4\n2,enc0,0.2,0.4,0.4\n");
    put_cases(NULL, 3);
    swap_folder("pictures", "aside"); /* 350 times the same pictures would only take time */
    swap_folder("predictions", "beside");
    for (uint64_t i = 0; i < 350; ++i) {
        size_t count;
        const char *file = name[i % 7];
        char *text = get(file, &count), *copy = malloc(count + 1), why[256];
        memcpy(copy, text, count);
        for (uint64_t k = 0; k < 1 + i % 3; ++k)
            copy[(size_t)(noise(i, 2 * k) * (double)count)] = "\n,\"'<>&0-e{}[]:=#\x01\xC3"[(int)(noise(i, 2 * k + 1) * 20)];
        put(file, copy, i % 5 == 0 ? (size_t)(noise(i, 99) * (double)count) : count);
        ht_error error = {0};
        if (genseg_report_write(folder, &error) == HT_OK) {
            char *page = get("report.html", NULL);
            page_is_good(page, why, sizeof why) ? ++good : ++bad;
            free(page);
        } else error.message[0] ? ++turned_away : ++bad;
        put(file, text, count);
        free(text);
        free(copy);
    }
    swap_folder("aside", "pictures");
    swap_folder("beside", "predictions");
    tap_ok(bad == 0 && good > 20 && turned_away > 20, "350 damaged files: %d pages, %d refusals, %d else", good, turned_away, bad);
}

int main(int count, char **argument)
{
    if (count > 1) {
        snprintf(folder, sizeof folder, "%s", argument[1]);
        mkdir(folder, 0700);
        put_run();
        ht_error error = {0};
        if (genseg_report_write(folder, &error) != HT_OK) fprintf(stderr, "%s\n", error.message);
        return error.status != HT_OK;
    }
    const char *base = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/report-XXXXXX", base ? base : "/tmp");
    if (!mkdtemp(folder)) return perror(folder), 1;
    test_full();
    test_parts();
    test_refusals();
    test_hostile();
    test_damage();
    char command[600];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command) == 0 ? tap_done() : 1;
}
