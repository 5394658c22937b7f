/*
 * genseg evaluate: the best weights of a run on a split, again or for the first time. What the run wrote stays as it is;
 * the result gets a folder of its own, RUN/evaluations/DATA-SPLIT.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "output.h"
#include "trained.h"

typedef struct evaluation {
    genseg_trained trained;
    genseg_dataset data;
    const genseg_split *split;
    char name[256];                    /* of the data set */
    char folder[GENSEG_OUTPUT_PATH];
    bool output;                       /* an EIO now is about what is written */
} evaluation;

/* The folder's own name, also where DATA is "." or ends in "..". */
static ht_status name_data(const char *data, char name[256], ht_error *error)
{
    char *whole = strcmp(data, "phantom") ? realpath(data, NULL) : strdup("phantom");
    if (!whole)
        return ht_fail(error, HT_EINVALID, "%.300s: no such folder; expected train|val|test/{images,masks}; give a folder "
                       "of that form, or the word phantom", data);
    const char *last = strrchr(whole, '/');
    last = last ? last + 1 : whole;
    snprintf(name, 256, "%s", *last ? last : "root");
    free(whole);
    return HT_OK;
}

static ht_status open_split(evaluation *e, const genseg_job *job, ht_error *error)
{
    const char *split = job->split;
    int32_t bit = !strcmp(split, "train") ? GENSEG_TRAIN : !strcmp(split, "val") ? GENSEG_VAL
                  : !strcmp(split, "test") ? GENSEG_TEST : 0;
    const genseg_config *config = &e->trained.config;
    if (!bit)
        return ht_fail(error, HT_EINVALID, "--split: %.60s is no split; expected train, val or test; correct it", split);
    ht_status status = name_data(job->data, e->name, error);
    if (!status)
        status = genseg_dataset_open(job->data, bit, config->size, e->trained.channels, (uint64_t)config->seed,
                                     ht_device_threads(e->trained.device), &e->data, error);
    e->split = bit == GENSEG_TRAIN ? &e->data.train : bit == GENSEG_VAL ? &e->data.val : &e->data.test;
    return status;
}

/* Makes the folder; the numbers of an earlier evaluation go, since they will not belong to the pictures for a while. */
static ht_status make_folder(const evaluation *e, const char *parent, ht_error *error)
{
    static const char *const numbers[] = {"metrics.json", "cases.csv"};
    char path[GENSEG_OUTPUT_PATH];
    ht_status status = genseg_output_folder(parent, error);
    if (!status) status = genseg_output_folder(e->folder, error);
    for (int k = 0; k < 2 && !status; k++) {
        status = genseg_output_path(path, e->folder, numbers[k], "", error);
        if (!status) unlink(path);
    }
    return status;
}

static void print_summary(const char *name, genseg_summary s)
{
    printf("%-22s %.4f \302\261 %.4f   median %.4f\n", name, s.mean, s.sd, s.median);
}

static void print_metrics(const evaluation *e, const genseg_metrics *m)
{
    printf("%s of %s: %d cases, %d of them with an empty mask; weights of round %lld, best by %s\n", m->split, e->name,
           (int)m->cases, (int)m->cases_empty, (long long)m->selection_round, m->selection_metric);
    print_summary("Dice", m->dice);
    print_summary("Jaccard", m->jaccard);
    print_summary("precision", m->precision);
    print_summary("recall", m->recall);
    if (m->cases_empty && m->cases_empty < m->cases) print_summary("Dice, no empty masks", m->dice_nonempty);
    printf("%s\n", e->folder);
}

static ht_status score(evaluation *e, const genseg_job *job, const char *parent, ht_error *error)
{
    genseg_progress progress;
    genseg_metrics metrics;
    e->output = true;
    ht_status status = make_folder(e, parent, error);
    if (status) return status;
    genseg_progress_start(&progress, "evaluate", 0, e->split->count, 0, job->quiet);
    genseg_predictor_show(e->trained.predictor, &progress);
    status = genseg_evaluate_split(e->trained.predictor, e->split, job->split, &e->trained.config, e->trained.metric,
                                   e->trained.round, e->folder, &metrics, error);
    genseg_predictor_show(e->trained.predictor, NULL);
    genseg_progress_stop(&progress, "");
    if (!status) print_metrics(e, &metrics);
    return status;
}

static ht_status evaluate(evaluation *e, const genseg_job *job, ht_error *error)
{
    char parent[GENSEG_OUTPUT_PATH], suffix[16];
    ht_status status = genseg_trained_open(job->run, job->interrupt, &e->trained, error);
    if (!status) status = open_split(e, job, error);
    if (!status) status = genseg_output_path(parent, job->run, "evaluations", "", error);
    snprintf(suffix, sizeof suffix, "-%.8s", job->split);
    if (!status) status = genseg_output_path(e->folder, parent, e->name, suffix, error);
    if (status) return status;
    if (e->data.warnings && !job->quiet) printf("%s\n", e->data.warnings);
    if (!job->dry_run) return score(e, job, parent, error);
    printf("%s of %s: %d cases would be scored; the result would stand in %s\n", job->split, e->name,
           (int)e->split->count, e->folder);
    return HT_OK;
}

int genseg_evaluate(const genseg_job *job, ht_error *error)
{
    evaluation *e = calloc(1, sizeof *e);
    if (!e) return genseg_exit_code(ht_fail(error, HT_ENOMEM, "evaluate: no memory to begin; free some memory"), false);
    ht_status status = evaluate(e, job, error);
    int code = status == HT_EINTERRUPTED ? GENSEG_EXIT_INTERRUPTED : genseg_exit_code(status, e->output);
    genseg_dataset_free(&e->data);
    genseg_trained_close(&e->trained);
    free(e);
    return code;
}
