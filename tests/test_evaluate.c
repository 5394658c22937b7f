/*
 * Scoring and prediction by a segmenter whose answer is known: every convolution passes one channel through, so that the
 * logit is a times the red of the image minus b. The test works in a folder of its own.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "commands.h"
#include "evaluate.h"
#include "overlay.h"
#include "tap.h"

enum { SIZE = 16, CASES = 4, PATH = 512, TEXT = 1 << 16 };
static const double gain = 24, shift = 12;

static char root[] = "/tmp/genseg-evaluate-XXXXXX";
static genseg_config config;

static void stop(const char *what)
{
    tap_ok(0, "%s: %s", what, strerror(errno));
    exit(tap_done());
}

static void make(const char *name)
{
    if (mkdir(name, 0700)) stop(name);
}

/* The whole file with a 0 after it, in one of two places; "" if it cannot be read. */
static const char *text_of(const char *name)
{
    static char text[2][TEXT];
    static int next;
    char *to = text[next++ % 2];
    FILE *file = fopen(name, "rb");
    size_t got = file ? fread(to, 1, TEXT - 1, file) : 0;
    if (file) fclose(file);
    to[got] = 0;
    return to;
}

static uint64_t file_hash(const char *name)
{
    uint64_t hash = 1469598103934665603u;
    FILE *file = fopen(name, "rb");
    if (!file) return 0;
    for (int c = fgetc(file); c != EOF; c = fgetc(file)) hash = (hash ^ (uint64_t)c) * 1099511628211u;
    fclose(file);
    return hash;
}

/* ---- the run ---- */

/* Weight 1 from the first channel to the first, at the middle of a kernel; else 0. */
static void pass_through(ht_store *s, const char *name)
{
    int32_t k = ht_store_find(s, name);
    ht_shape shape = ht_store_shape(s, k);
    float *w = ht_store_data(s, k);
    int64_t kernel = shape.dim[2] * shape.dim[3];
    memset(w, 0, sizeof(float) * (size_t)ht_shape_count(shape));
    w[kernel / 2] = 1;
}

static ht_store *known_segmenter(ht_device *device, const genseg_networks *nets, double scale)
{
    static const char *const convolutions[] = {"down0.conv0", "down0.conv1", "down1.conv0",
                                               "down1.conv1", "level0.conv0", "level0.conv1"};
    char name[64];
    ht_store *s = ht_store_new(device);
    ht_tape *tape = ht_tape_new(HT_F32);
    genseg_segment(nn_open(tape, s, .seed = 3), ht_input(tape, "image", HT_SHAPE(1, 3, SIZE, SIZE)), &nets->segmenter);
    if (ht_tape_error(tape)->status) tap_ok(0, "segmenter: %s", ht_tape_error(tape)->message);
    ht_tape_free(tape);
    for (int k = 0; k < 6; k++) {
        snprintf(name, sizeof name, "%s.weight", convolutions[k]);
        pass_through(s, name);
    }
    /* what comes from below meets a weight of 0 in level0.conv0, whose first input is the skip */
    float head[2] = {(float)scale, 0}, bias = (float)-shift;
    ht_store_set(s, "head.weight", head, 2, NULL);
    ht_store_set(s, "head.bias", &bias, 1, NULL);
    return s;
}

static ht_status make_run(const char *name, double scale)
{
    static const ht_metadata facts[] = {{"channels", "3"}, {"round", "240"}, {"score", "0.5"}, {"metric", "jaccard"}};
    char path[PATH];
    ht_error error = {0};
    ht_device *device = ht_device_open("cpu", 1, &error);
    genseg_networks nets = genseg_networks_of(&config, 3);
    ht_store *s = known_segmenter(device, &nets, scale);
    make(name);
    snprintf(path, sizeof path, "%s/config.toml", name);
    ht_status status = genseg_config_write(&config, path, &error);
    snprintf(path, sizeof path, "%s/best.safetensors", name);
    if (!status) status = ht_store_save(s, path, facts, 4, &error);
    ht_store_free(s);
    ht_device_close(device);
    tap_ok(!status, "run %s: %s", name, error.message);
    return status;
}

/* ---- the data ---- */

static void put(const char *folder, const char *name, int32_t width, int32_t height, int32_t channels, uint8_t *pixels)
{
    char path[2 * PATH];
    ht_error error = {0};
    genseg_picture picture = {width, height, channels, pixels};
    snprintf(path, sizeof path, "%s/%s.png", folder, name);
    if (genseg_picture_write(path, &picture, &error)) tap_ok(0, "%s", error.message);
}

/* Smooth red, the rest noise; the mask of case 2 is empty. */
static void put_case(const char *data, int k, bool masks, bool inverted)
{
    int32_t width = 20 + 13 * k, height = 33 - 6 * k;
    uint8_t *image = malloc((size_t)width * (size_t)height * 3), *mask = malloc((size_t)width * (size_t)height);
    char name[16], folder[PATH];
    for (int32_t i = 0; i < width * height; i++) {
        double x = (double)(i % width) / width - 0.5, y = (double)(i / width) / height - 0.45;
        image[3 * i] = (uint8_t)(255 * exp(-(6 + k) * (x * x + y * y)));
        image[3 * i + 1] = image[3 * i + 2] = (uint8_t)(i * 37 % 251);
        mask[i] = ((k != 2 && x * x + y * y < 0.09) != inverted) ? 255 : 0;
    }
    snprintf(name, sizeof name, "case%d", k);
    snprintf(folder, sizeof folder, masks ? "%s/test/images" : "%s", data);
    put(folder, name, width, height, 3, image);
    snprintf(folder, sizeof folder, "%s/test/masks", data);
    if (masks) put(folder, name, width, height, 1, mask);
    free(image);
    free(mask);
}

/* One mask may be inverted: number `inverted`, or none at -1. */
static void make_data(const char *data, bool masks, int inverted)
{
    char path[PATH];
    static const char *const parts[] = {"", "/test", "/test/images", "/test/masks"};
    for (int k = 0; k < (masks ? 4 : 1); k++) {
        snprintf(path, sizeof path, "%s%s", data, parts[k]);
        make(path);
    }
    for (int k = 0; k < CASES; k++) put_case(data, k, masks, k == inverted);
}

/* ---- calls, with what they print caught in a file ---- */

static int call(int (*command)(const genseg_job *, ht_error *), const genseg_job *job, ht_error *error)
{
    *error = (ht_error){0};
    fflush(stdout);
    int kept = dup(STDOUT_FILENO), file = open("printed", O_WRONLY | O_CREAT | O_TRUNC, 0600);
    dup2(file, STDOUT_FILENO);
    close(file);
    int code = command(job, error);
    fflush(stdout);
    dup2(kept, STDOUT_FILENO);
    close(kept);
    return code;
}

static genseg_job evaluation(const char *run, const char *data)
{
    return (genseg_job){.run = run, .data = data, .split = "test", .quiet = true};
}

/* ---- tests ---- */

/* The answer without the framework: 1 / (1 + e^-logit) of the small image's red. */
static genseg_score expected_score(const genseg_case *c)
{
    int64_t count = (int64_t)c->width * c->height;
    float small[SIZE * SIZE], *large = malloc(sizeof(float) * (size_t)count);
    uint8_t *mask = malloc((size_t)count);
    double passed = pow(1 / sqrt(1 + 1e-5), 4); /* four norms at mean 0 and variance 1 */
    for (int k = 0; k < SIZE * SIZE; k++) small[k] = (float)(1 / (1 + exp(shift - gain * passed * c->image[k])));
    genseg_resize_probability(small, SIZE, c->width, c->height, large);
    for (int64_t k = 0; k < count; k++) mask[k] = large[k] > 0.5;
    genseg_score score = genseg_score_masks(mask, c->mask, count);
    free(large);
    free(mask);
    return score;
}

static void test_scores(void)
{
    ht_error error = {0};
    genseg_dataset data;
    genseg_case_row *rows = NULL;
    genseg_metrics m = {0};
    genseg_networks nets = genseg_networks_of(&config, 3);
    ht_device *device = ht_device_open("cpu", 2, &error);
    ht_store *s = known_segmenter(device, &nets, gain);
    uint64_t before = ht_store_hash(s);
    genseg_predictor *p = genseg_predictor_new(device, s, &nets, &config, NULL, &error);
    ht_status status = genseg_dataset_open("data", GENSEG_TEST, SIZE, 3, 0, 2, &data, &error);
    if (p && !status) status = genseg_score_split(p, &data.test, "test", 0.5, &rows, &m, &error);
    if (!tap_ok(p && !status && rows, "a split is scored: %s", error.message)) return;
    double sum = 0, nonempty = 0;
    for (int k = 0; k < CASES; k++) {
        genseg_score e = expected_score(&data.test.cases[k]), f = rows[k].score;
        bool same = e.true_positive == f.true_positive && e.false_positive == f.false_positive &&
                    e.false_negative == f.false_negative;
        tap_ok(same && !strcmp(rows[k].name, data.test.cases[k].name), "%s: Dice %.4f, expected %.4f", rows[k].name, f.dice,
               e.dice);
        tap_ok(rows[k].predicted_pixels == e.true_positive + e.false_positive && rows[k].width == 20 + 13 * k,
               "and its pixels are counted at its own size");
        sum += e.dice;
        nonempty += k == 2 ? 0 : e.dice;
    }
    tap_ok(m.cases == CASES && m.cases_empty == 1 && !strcmp(m.split, "test"), "%d cases, %d empty", m.cases, m.cases_empty);
    tap_ok(fabs(m.dice.mean - sum / CASES) < 1e-15 && fabs(m.dice_nonempty.mean - nonempty / (CASES - 1)) < 1e-15,
           "means of Dice %.6f, of the cases that are not empty %.6f", m.dice.mean, m.dice_nonempty.mean);
    tap_ok(ht_store_hash(s) == before, "scoring changes no tensor");
    free(rows);
    make("direct");
    status = genseg_evaluate_split(p, &data.test, "test", &config, "jaccard", 240, "direct", &m, &error);
    tap_ok(!status && m.selection_round == 240, "as at the end of a training: %s", error.message);
    /* another threshold and other weights at once are seen by the same predictor */
    float head[2] = {0, 0};
    ht_store_set(s, "head.weight", head, 2, &error);
    status = genseg_score_split(p, &data.test, "test", 0.0, &rows, &m, &error);
    tap_ok(!status && rows && rows[0].predicted_pixels == rows[0].width * rows[0].height, "all is foreground above 0");
    free(rows);
    head[0] = NAN;
    ht_store_set(s, "head.weight", head, 2, &error);
    status = genseg_score_split(p, &data.test, "test", 0.5, &rows, &m, &error);
    tap_ok(status == HT_EINVALID && !rows && strstr(error.message, "no numbers"), "NaN: %s", error.message);
    genseg_dataset_free(&data);
    genseg_predictor_free(p);
    ht_store_free(s);
    ht_device_close(device);
}

static void test_evaluate(void)
{
    ht_error error;
    genseg_job job = evaluation("run", "data");
    char first[TEXT];
    job.dry_run = true;
    tap_ok(call(genseg_evaluate, &job, &error) == 0 && access("run/evaluations", F_OK), "a dry run writes nothing: %s",
           error.message);
    job.dry_run = false;
    tap_ok(call(genseg_evaluate, &job, &error) == 0, "evaluate: %s", error.message);
    snprintf(first, sizeof first, "%s", text_of("run/evaluations/data-test/metrics.json"));
    uint64_t cases = file_hash("run/evaluations/data-test/cases.csv"),
             overlay = file_hash("run/evaluations/data-test/predictions/case1-overlay.png");
    tap_ok(strstr(first, "\"metric\": \"jaccard\", \"round\": 240") != NULL && cases && overlay, "it writes what was chosen");
    tap_ok(!strcmp(first, text_of("direct/metrics.json")) && cases == file_hash("direct/cases.csv") &&
               overlay == file_hash("direct/predictions/case1-overlay.png"),
           "what the end of a training wrote is reproduced, byte by byte");
    tap_ok(strstr(text_of("printed"), "Dice ") && strstr(text_of("printed"), "run/evaluations/data-test\n"),
           "and prints a table and the folder");
    tap_ok(call(genseg_evaluate, &job, &error) == 0 && cases == file_hash("run/evaluations/data-test/cases.csv") &&
               overlay == file_hash("run/evaluations/data-test/predictions/case1-overlay.png") &&
               !strcmp(first, text_of("run/evaluations/data-test/metrics.json")),
           "a second evaluation has equal bytes");
    job = evaluation("run", "other");
    tap_ok(call(genseg_evaluate, &job, &error) == 0 && strcmp(first, text_of("run/evaluations/other-test/metrics.json")) &&
               text_of("run/evaluations/other-test/metrics.json")[0],
           "one inverted mask gives other numbers: %s", error.message);
    job = evaluation("run", "other/../data/.");
    tap_ok(call(genseg_evaluate, &job, &error) == 0 && access("run/evaluations/.-test", F_OK), "the folder's own name");
    tap_ok(access("run/metrics.json", F_OK) && access("run/predictions", F_OK), "the run itself stays as it is");
}

static void test_phantom(void)
{
    ht_error error;
    genseg_job job = evaluation("run", "data");
    job.data = "phantom";
    job.split = "val";
    tap_ok(call(genseg_evaluate, &job, &error) == 0 && !access("run/evaluations/phantom-val/metrics.json", F_OK),
           "phantom is drawn and scored: %s", error.message);
    volatile int set = 1;
    job.interrupt = &set;
    tap_ok(call(genseg_evaluate, &job, &error) == GENSEG_EXIT_INTERRUPTED && error.status == HT_EINTERRUPTED &&
               access("run/evaluations/phantom-val/metrics.json", F_OK),
           "stopped, it leaves no numbers behind: %s", error.message);
}

static void test_predict(void)
{
    ht_error error = {0};
    genseg_job job = {.run = "run", .images = "photographs", .out = "masks", .quiet = true, .dry_run = true};
    tap_ok(call(genseg_predict, &job, &error) == 0 && access("masks", F_OK), "a dry run writes nothing: %s",
           error.message);
    job.dry_run = false;
    for (int pass = 0; pass < 2; pass++)
        tap_ok(call(genseg_predict, &job, &error) == 0, "predict%s: %s", pass ? " over what is there" : "", error.message);
    for (int k = 0; k < CASES; k++) {
        char name[PATH];
        genseg_picture mask = {0}, scored = {0};
        snprintf(name, sizeof name, "masks/case%d.png", k);
        ht_status status = genseg_picture_read(name, &mask, &error);
        snprintf(name, sizeof name, "run/evaluations/data-test/predictions/case%d.png", k);
        if (!status) status = genseg_picture_read(name, &scored, &error);
        size_t count = (size_t)mask.width * (size_t)mask.height, levels[256] = {0};
        for (size_t i = 0; i < count; i++) levels[mask.pixels[i]]++;
        tap_ok(!status && mask.width == 20 + 13 * k && mask.height == 33 - 6 * k && mask.channels == 1 && levels[255] &&
                   levels[0] + levels[255] == count,
               "a mask of 0 and 255 at the image's size %s", error.message);
        tap_ok(count && mask.width == scored.width && !memcmp(mask.pixels, scored.pixels, count), "the one that was scored");
        genseg_picture_free(&mask);
        genseg_picture_free(&scored);
    }
    job.out = "photographs/.";
    tap_ok(call(genseg_predict, &job, &error) == 2 && strstr(error.message, "holds the images"), "refused: %s", error.message);
    job.out = "run/config.toml";
    tap_ok(call(genseg_predict, &job, &error) == 2, "refused: %s", error.message);
    job.out = "nowhere/masks";
    tap_ok(call(genseg_predict, &job, &error) == 1, "refused: %s", error.message);
}

static void test_refusals(void)
{
    ht_error error;
    genseg_job job = evaluation("nowhere", "data");
    tap_ok(call(genseg_evaluate, &job, &error) == 2 && strstr(error.message, "config.toml"), "no run: %s", error.message);
    job = evaluation("run", "photographs");
    tap_ok(call(genseg_evaluate, &job, &error) == 2, "no such split: %s", error.message);
    job.split = "tset";
    tap_ok(call(genseg_evaluate, &job, &error) == 2 && strstr(error.message, "tset"), "no split: %s", error.message);
    job = evaluation("young", "data");
    const char *path = "young/config.toml";
    make("young");
    genseg_config wider = config;
    wider.unet_width = 4;
    genseg_config_write(&wider, path, &error);
    tap_ok(call(genseg_evaluate, &job, &error) == 2 && strstr(error.message, "no trained segmenter"), "young: %s",
           error.message);
    if (link("run/best.safetensors", "young/best.safetensors")) stop("link");
    tap_ok(call(genseg_evaluate, &job, &error) == 2 && strstr(error.message, "\"down0.conv0.weight\""),
           "weights of another width: %s", error.message);
    wider.unet_width = 2;
    wider.unet_depth = 2;
    genseg_config_write(&wider, path, &error);
    tap_ok(call(genseg_evaluate, &job, &error) == 2 && strstr(error.message, "is missing"), "of another depth: %s",
           error.message);
}

/* A square picture whose outlines are to be `line` pixels wide. */
static void test_outlines(int side, int line)
{
    enum { SIDE_MAX = 128 };
    static uint8_t truth[SIDE_MAX * SIDE_MAX], predicted[SIDE_MAX * SIDE_MAX], pixels[SIDE_MAX * SIDE_MAX * 3];
    ht_error error = {0};
    genseg_picture picture = {side, side, 3, pixels};
    memset(truth, 0, sizeof truth);
    memset(predicted, 0, sizeof predicted);
    memset(pixels, 0, sizeof pixels);
    for (int y = 4; y < 14; y++)
        for (int x = 4; x < 14; x++) truth[y * side + x] = 1;
    for (int y = 4; y < 14; y++)
        for (int x = 12; x < side; x++) predicted[y * side + x] = 1;
    ht_status status = genseg_overlay_draw(&picture, truth, predicted, &error);
    int green = 0, magenta = 0, meeting[2] = {0}, wrong = 0;
    for (int y = 0; y < side; y++)
        for (int x = 0; x < side; x++) {
            const uint8_t *p = pixels + 3 * (y * side + x);
            bool rows = y >= 4 && y < 14, ends = rows && (y < 4 + line || y >= 14 - line);
            bool of_truth = rows && x >= 4 && x < 14 && (ends || x < 4 + line || x >= 14 - line);
            /* the edge of the picture closes it */
            bool of_other = rows && x >= 12 && (ends || x < 12 + line || x >= side - line);
            bool is_green = !p[0] && p[1] == 255 && !p[2], is_magenta = p[0] == 255 && !p[1] && p[2] == 255;
            green += is_green;
            magenta += is_magenta;
            if (of_truth && of_other) meeting[is_magenta]++;
            wrong += (of_truth || of_other) ? !(of_truth && is_green) && !(of_other && is_magenta) : p[0] + p[1] + p[2] != 0;
        }
    tap_ok(!status && !wrong, "outlines of %d pixels in %d x %d, %d green and %d magenta, %d wrong", line, side, side,
           green, magenta, wrong);
    tap_ok(meeting[0] && meeting[1], "both show where they meet: %d and %d", meeting[0], meeting[1]);
    picture.channels = 1;
    tap_ok(genseg_overlay_draw(&picture, truth, NULL, &error) == HT_EINVALID, "grey is refused: %s", error.message);
}

static int drop(const char *path, const struct stat *facts, int kind, struct FTW *place)
{
    (void)facts;
    (void)kind;
    (void)place;
    return remove(path);
}

int main(void)
{
    ht_error error = {0};
    if (!mkdtemp(root) || chdir(root)) stop("a folder");
    genseg_config_preset(&config, "small", &error);
    config.size = SIZE;
    config.unet_width = 2;
    config.unet_depth = 1;
    config.generator_levels = config.discriminator_layers = 2;
    config.threads = 1;
    make_data("data", true, -1);
    make_data("other", true, 1);
    make_data("photographs", false, -1);
    test_outlines(24, 1); /* two pixels would fill a small lesion */
    test_outlines(128, 2);
    test_scores();
    if (!make_run("run", gain)) {
        test_evaluate();
        test_phantom();
        test_predict();
        test_refusals();
    }
    if (chdir("/")) stop("leaving the folder");
    nftw(root, drop, 16, FTW_DEPTH | FTW_PHYS);
    return tap_done();
}
