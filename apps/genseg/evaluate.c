/*
 * The segmenter as a program, and its scores on whole cases. One image at a time: a case then has the same bits whatever
 * stands beside it in a split. Probabilities go to the case's original size first, and are cut at the threshold there.
 */
#include "evaluate.h"

#include <stdlib.h>
#include <string.h>

#include "output.h"
#include "overlay.h"

struct genseg_predictor {
    ht_program *program;
    int32_t size, channels;
    const volatile int *interrupt;
    genseg_progress *progress;
    float *probability; /* [size, size] */
};

static ht_status no_memory(const char *what, ht_error *error)
{
    return ht_fail(error, HT_ENOMEM, "%.200s: no memory to score it; free some memory", what);
}

/* ---- the predictor ---- */

static ht_program *compile(ht_device *device, ht_store *segmenter, const genseg_networks *nets, const genseg_config *config,
                           const volatile int *interrupt, ht_error *error)
{
    ht_tape *tape = ht_tape_new(HT_F32);
    if (!tape) {
        no_memory("segmenter", error);
        return NULL;
    }
    nn_scope scope = nn_open(tape, segmenter, .name = "S", .evaluate = 1, .freeze_statistics = 1);
    ht_var image = ht_input(tape, "image", HT_SHAPE(1, nets->generator.channels, config->size, config->size));
    ht_var probability = ht_sigmoid(genseg_segment(scope, image, &nets->segmenter));
    ht_program *program =
        ht_compile(tape, device, ht_list(probability), .interrupt = interrupt, .error = error,
                   .convolution = (ht_convolution)config->convolution);
    ht_tape_free(tape);
    return program;
}

genseg_predictor *genseg_predictor_new(ht_device *device, ht_store *segmenter, const genseg_networks *nets,
                                       const genseg_config *config, const volatile int *interrupt, ht_error *error)
{
    const int32_t size = config->size;
    genseg_predictor *p = calloc(1, sizeof *p);
    if (p) {
        *p = (genseg_predictor){.size = size, .channels = nets->generator.channels, .interrupt = interrupt};
        p->program = compile(device, segmenter, nets, config, interrupt, error);
        /* the size has passed the checks of the recording */
        if (p->program) p->probability = malloc(sizeof(float) * (size_t)size * (size_t)size);
        if (p->probability) return p;
    }
    if (!p || p->program) no_memory("segmenter", error);
    genseg_predictor_free(p);
    return NULL;
}

void genseg_predictor_free(genseg_predictor *predictor)
{
    if (!predictor) return;
    ht_program_free(predictor->program);
    free(predictor->probability);
    free(predictor);
}

void genseg_predictor_show(genseg_predictor *predictor, genseg_progress *progress) { predictor->progress = progress; }

/* Probabilities of one case at the network's size, into the predictor. */
static ht_status run(genseg_predictor *p, const genseg_case *c, ht_error *error)
{
    int64_t pixels = (int64_t)p->size * p->size;
    bool stop = p->interrupt && *p->interrupt;
    ht_status status = stop ? HT_EINTERRUPTED : ht_set_named(p->program, "image", c->image, p->channels * pixels);
    if (!status) status = ht_run(p->program);
    if (!status) status = ht_get_at(p->program, 0, p->probability, pixels);
    if (status == HT_EINTERRUPTED) {
        ht_resume(p->program);
        return ht_fail(error, status, "%.200s: stopped on request before this case was done; what was written before it "
                       "is whole; run the command again", c->name);
    }
    if (status) return ht_fail(error, status, "%s", ht_program_error(p->program)->message);
    for (int64_t k = 0; k < pixels; k++)
        if (!isfinite(p->probability[k]))
            return ht_fail(error, HT_EINVALID, "%.200s: the segmenter gives values that are no numbers; expected "
                           "probabilities; train it again, with a lower optimizer.segmenter.rate", c->name);
    return HT_OK;
}

ht_status genseg_predictor_mask(genseg_predictor *predictor, const genseg_case *c, double threshold, uint8_t **mask,
                                ht_error *error)
{
    *mask = NULL;
    ht_status status = run(predictor, c, error);
    if (status) return status;
    size_t count = (size_t)c->width * (size_t)c->height;
    float *probability = malloc(sizeof(float) * count);
    uint8_t *made = malloc(count);
    if (!probability || !made) {
        free(probability);
        free(made);
        return no_memory(c->name, error);
    }
    genseg_resize_probability(predictor->probability, predictor->size, c->width, c->height, probability);
    for (size_t k = 0; k < count; k++) made[k] = probability[k] > threshold;
    free(probability);
    *mask = made;
    return HT_OK;
}

/* ---- scores ---- */

/* NAME.png and NAME-overlay.png. */
static ht_status draw_case(const char *folder, const genseg_case *c, const uint8_t *predicted, ht_error *error)
{
    char path[GENSEG_OUTPUT_PATH];
    genseg_picture picture = {0};
    ht_status status = genseg_output_path(path, folder, c->name, ".png", error);
    if (!status) status = genseg_output_mask(path, predicted, c->width, c->height, error);
    if (!status) status = genseg_case_picture(c, &picture, error);
    if (!status && (picture.width != c->width || picture.height != c->height))
        status = ht_fail(error, HT_EINVALID, "%.200s: the image changed while it was scored; expected %d x %d pixels; run "
                         "the command again", c->name, c->width, c->height);
    if (!status) status = genseg_overlay_draw(&picture, c->mask, predicted, error);
    if (!status) status = genseg_output_path(path, folder, c->name, "-overlay.png", error);
    if (!status) status = genseg_picture_write(path, &picture, error);
    genseg_picture_free(&picture);
    return status;
}

/* pictures: folder for them, or NULL. */
static ht_status score_case(genseg_predictor *p, const genseg_case *c, double threshold, const char *pictures,
                            genseg_case_row *row, ht_error *error)
{
    uint8_t *predicted;
    if (!c->mask)
        return ht_fail(error, HT_EINVALID, "%.200s: an image without a mask; expected one to score against; add it, or use "
                       "genseg predict", c->name);
    ht_status status = genseg_predictor_mask(p, c, threshold, &predicted, error);
    if (status) return status;
    int64_t count = (int64_t)c->width * c->height;
    *row = (genseg_case_row){.name = c->name, .width = c->width, .height = c->height};
    row->score = genseg_score_masks(predicted, c->mask, count);
    row->truth_pixels = row->score.true_positive + row->score.false_negative;
    row->predicted_pixels = row->score.true_positive + row->score.false_positive;
    if (pictures) status = draw_case(pictures, c, predicted, error);
    free(predicted);
    return status;
}

static ht_status summarise(const genseg_case_row *rows, int32_t count, const char *split_name, genseg_metrics *metrics,
                           ht_error *error)
{
    enum { DICE, JACCARD, PRECISION, RECALL, NONEMPTY, KINDS };
    double *value = malloc(sizeof(double) * KINDS * (size_t)count);
    if (!value) return no_memory(split_name, error);
    double *of[KINDS];
    int32_t nonempty = 0;
    for (int k = 0; k < KINDS; k++) of[k] = value + (size_t)k * (size_t)count;
    for (int32_t k = 0; k < count; k++) {
        const genseg_score *score = &rows[k].score;
        of[DICE][k] = score->dice;
        of[JACCARD][k] = score->jaccard;
        of[PRECISION][k] = score->precision;
        of[RECALL][k] = score->recall;
        if (rows[k].truth_pixels) of[NONEMPTY][nonempty++] = score->dice;
    }
    *metrics = (genseg_metrics){.cases = count,
                                .cases_empty = count - nonempty,
                                .dice = genseg_summarise(of[DICE], count),
                                .jaccard = genseg_summarise(of[JACCARD], count),
                                .precision = genseg_summarise(of[PRECISION], count),
                                .recall = genseg_summarise(of[RECALL], count),
                                .dice_nonempty = genseg_summarise(of[NONEMPTY], nonempty)};
    snprintf(metrics->split, sizeof metrics->split, "%s", split_name);
    free(value);
    return HT_OK;
}

static ht_status score_cases(genseg_predictor *p, const genseg_split *split, const char *split_name, double threshold,
                             const char *pictures, genseg_case_row **rows, genseg_metrics *metrics, ht_error *error)
{
    *rows = NULL;
    if (split->count < 1)
        return ht_fail(error, HT_EINVALID, "%s: no cases; expected at least one; add some or take another split",
                       split_name);
    genseg_case_row *made = calloc((size_t)split->count, sizeof *made);
    if (!made) return no_memory(split_name, error);
    ht_status status = HT_OK;
    for (int32_t k = 0; k < split->count && !status; k++) {
        status = score_case(p, &split->cases[k], threshold, pictures, &made[k], error);
        if (!status && p->progress) genseg_progress_step(p->progress, k + 1, "");
    }
    if (!status) status = summarise(made, split->count, split_name, metrics, error);
    if (status)
        free(made);
    else
        *rows = made;
    return status;
}

ht_status genseg_score_split(genseg_predictor *predictor, const genseg_split *split, const char *split_name,
                             double threshold, genseg_case_row **rows, genseg_metrics *metrics, ht_error *error)
{
    return score_cases(predictor, split, split_name, threshold, NULL, rows, metrics, error);
}

ht_status genseg_evaluate_split(genseg_predictor *predictor, const genseg_split *split, const char *split_name,
                                const genseg_config *config, const char *selection, int64_t selection_round,
                                const char *folder, genseg_metrics *metrics, ht_error *error)
{
    char pictures[GENSEG_OUTPUT_PATH];
    genseg_case_row *rows = NULL;
    ht_status status = genseg_output_path(pictures, folder, "predictions", "", error);
    if (!status) status = genseg_output_folder(pictures, error);
    if (!status)
        status = score_cases(predictor, split, split_name, config->metric_threshold, pictures, &rows, metrics, error);
    if (!status) {
        snprintf(metrics->selection_metric, sizeof metrics->selection_metric, "%s", selection);
        metrics->selection_round = selection_round;
        status = genseg_metrics_write(folder, metrics, rows, split->count, error);
    }
    free(rows);
    return status;
}
