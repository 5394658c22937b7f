/*
 * genseg predict: a mask for every image of a folder, at the image's own size, under the image's name. All images are
 * read and checked before the first mask is written.
 */
#include <stdlib.h>
#include <sys/stat.h>

#include "commands.h"
#include "output.h"
#include "trained.h"

typedef struct prediction {
    genseg_trained trained;
    genseg_dataset data;
    bool output; /* an EIO now is about what is written */
} prediction;

/* A mask has its image's name: in the images' own folder it would replace the image. */
static ht_status check_folders(const genseg_job *job, ht_error *error)
{
    struct stat images, out;
    if (stat(job->images, &images) || !S_ISDIR(images.st_mode))
        return ht_fail(error, HT_EINVALID, "--images: %.300s is no folder; expected one of PNG or JPEG images; check the "
                       "path", job->images);
    if (genseg_output_check("--out", job->out, error) != HT_OK) return error->status;
    if (stat(job->out, &out)) return HT_OK;
    if (images.st_dev == out.st_dev && images.st_ino == out.st_ino)
        return ht_fail(error, HT_EINVALID, "--out: %.300s holds the images, which masks of the same names would replace; "
                       "expected another folder; give another name", job->out);
    return HT_OK;
}

static ht_status write_masks(prediction *p, const genseg_job *job, ht_error *error)
{
    char path[GENSEG_OUTPUT_PATH];
    genseg_progress progress;
    const genseg_split *images = &p->data.test;
    p->output = true;
    ht_status status = genseg_output_folder(job->out, error);
    genseg_progress_start(&progress, "predict", 0, images->count, 0, job->quiet);
    for (int32_t k = 0; k < images->count && !status; k++) {
        const genseg_case *c = &images->cases[k];
        uint8_t *mask = NULL;
        status = genseg_predictor_mask(p->trained.predictor, c, p->trained.config.metric_threshold, &mask, error);
        if (!status) status = genseg_output_path(path, job->out, c->name, ".png", error);
        if (!status) status = genseg_output_mask(path, mask, c->width, c->height, error);
        free(mask);
        if (!status) genseg_progress_step(&progress, k + 1, "");
    }
    genseg_progress_stop(&progress, "");
    return status;
}

static ht_status predict(prediction *p, const genseg_job *job, ht_error *error)
{
    ht_status status = check_folders(job, error);
    if (!status) status = genseg_trained_open(job->run, job->interrupt, &p->trained, error);
    if (!status)
        status = genseg_dataset_images(job->images, p->trained.config.size, p->trained.channels,
                                       ht_device_threads(p->trained.device), &p->data, error);
    if (status) return status;
    int32_t count = p->data.test.count;
    if (job->dry_run) {
        printf("%d masks would be written into %s\n", (int)count, job->out);
        return HT_OK;
    }
    status = write_masks(p, job, error);
    if (!status && !job->quiet) printf("%d masks in %s\n", (int)count, job->out);
    return status;
}

int genseg_predict(const genseg_job *job, ht_error *error)
{
    prediction *p = calloc(1, sizeof *p);
    if (!p) return genseg_exit_code(ht_fail(error, HT_ENOMEM, "predict: no memory to begin; free some memory"), false);
    ht_status status = predict(p, job, error);
    int code = status == HT_EINTERRUPTED ? GENSEG_EXIT_INTERRUPTED : genseg_exit_code(status, p->output);
    genseg_dataset_free(&p->data);
    genseg_trained_close(&p->trained);
    free(p);
    return code;
}
