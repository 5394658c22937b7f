/*
 * The training loop: pre-training, rounds, validation, checkpoints, and at the end the one look at the test split. Which
 * numbers a round has depends on the seed and its own number alone, so a resumed run needs no position.
 */
#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "output.h"
#include "profile.h"
#include "progress.h"
#include "record.h"
#include "trained.h"
#include "trainer.h"

#define ALPHA_HEADER "round,cell,a4,a6,a8\n"
#define CERTIFICATE_HEADER \
    "round,norm_f32,norm_f64,relative_error,direction,derivative,difference,difference_error,kinks\n"

/* ---- programs ---- */

static ht_status compile(genseg_trainer *t, ht_tape *tape, const genseg_recording *r, genseg_program *p, ht_error *error)
{
    const ht_var numbers[GENSEG_NUMBERS] = {r->loss_gan, r->loss_discriminator, r->loss_seg, r->loss_val, r->norm_used,
                                            r->norm_path, r->norm_direct, r->cosine, r->alpha_step,
                                            r->alpha_decay_step};
    ht_var outputs[GENSEG_NUMBERS];
    int32_t count = 0;
    for (int32_t i = 0; i < GENSEG_NUMBERS; i++) {
        p->position[i] = ht_ok(numbers[i]) ? count : -1;
        if (ht_ok(numbers[i])) outputs[count++] = numbers[i];
    }
    p->program = ht_compile(tape, t->state.device, ht_vars_new(tape, outputs, NULL, count), .error = error,
                            .interrupt = t->job->interrupt, .profile = t->job->profile != NULL,
                            .convolution = (ht_convolution)t->config.convolution,
                            .precision = (ht_precision)t->config.precision,
                            .memory_limit = (size_t)t->config.memory_limit);
    ht_tape_free(tape);
    return error->status;
}

typedef genseg_recording (*recorder)(ht_tape *, const genseg_state *, const genseg_config *, const genseg_networks *,
                                     genseg_sizes);

static genseg_recording record_round(ht_tape *tape, const genseg_state *state, const genseg_config *config,
                                     const genseg_networks *nets, genseg_sizes sizes)
{
    return genseg_record_round(tape, state, config, nets, sizes, genseg_method_of(config), 1);
}

static ht_status make_program(genseg_trainer *t, recorder record, genseg_program *p, ht_error *error)
{
    ht_tape *tape = ht_tape_new(HT_F32);
    if (!tape) return ht_fail(error, HT_ENOMEM, "%s: no memory for a tape", t->job->run);
    genseg_recording r = record(tape, &t->state, &t->config, &t->nets, t->sizes);
    return compile(t, tape, &r, p, error);
}

static ht_status set_numbers(ht_program *program, const char *name, const float *numbers, int64_t count, ht_dtype real)
{
    if (!ht_has_input(program, name)) return HT_OK;
    if (real == HT_F32) return ht_set_named(program, name, numbers, count);
    double *wide = malloc((size_t)(count + 1) * sizeof *wide);
    if (!wide) return HT_ENOMEM;
    for (int64_t i = 0; i < count; i++) wide[i] = (double)numbers[i];
    ht_status status = ht_set_named(program, name, wide, count);
    free(wide);
    return status;
}

ht_status genseg_trainer_feed(const genseg_trainer *t, ht_program *program, ht_dtype real)
{
    int64_t plane = (int64_t)t->sizes.size * t->sizes.size;
    int64_t batch = t->sizes.batch * plane, val = t->sizes.val_batch * plane;
    float rate = (float)t->state.plateau.rate;
    ht_status status = set_numbers(program, "mask", t->mask, batch, real);
    if (status == HT_OK) status = set_numbers(program, "image", t->image, batch * t->sizes.channels, real);
    if (status == HT_OK) status = set_numbers(program, "augmented", t->augmented, batch, real);
    if (status == HT_OK) status = set_numbers(program, "val_mask", t->val_mask, val, real);
    if (status == HT_OK) status = set_numbers(program, "val_image", t->val_image, val * t->sizes.channels, real);
    if (status == HT_OK) status = set_numbers(program, "rate", &rate, 1, real);
    return status;
}

/* Runs a program on the present batch and takes its numbers. A loss that is not finite stops the run. */
static ht_status run_program(genseg_trainer *t, const genseg_program *p, const char *what, int64_t number, ht_error *error)
{
    double start = genseg_seconds();
    genseg_trainer_feed(t, p->program, HT_F32);
    ht_run(p->program);
    for (int32_t i = 0; i < GENSEG_NUMBERS; i++) {
        float value = 0;
        t->value[i] = NAN;
        if (p->position[i] >= 0 && ht_get_at(p->program, p->position[i], &value, 1) == HT_OK) t->value[i] = (double)value;
    }
    if (p == &t->round) t->state.bound_seconds += genseg_seconds() - start;
    const ht_error *stopped = ht_program_error(p->program);
    if (stopped->status != HT_OK) return ht_fail(error, stopped->status, "%s", stopped->message);
    for (int32_t i = 0; i <= GENSEG_NORM_USED; i++)
        if (p->position[i] >= 0 && !isfinite(t->value[i]))
            return ht_fail(error, HT_EINVALID, "%s: %s %lld: a loss or the hypergradient is not finite; the last checkpoint "
                           "is good; lower the rates or resume with other settings", t->job->run, what, (long long)number);
    return HT_OK;
}

/* ---- batches ---- */

static void take_batch(genseg_trainer *t, const char *stream, int64_t step)
{
    uint64_t seed = (uint64_t)t->config.seed;
    int32_t picked[GENSEG_BATCH_MAX];
    genseg_batch_pick(seed, stream, step, t->sizes.batch, t->data.train.count, picked);
    genseg_batch_copy(&t->data.train, picked, t->sizes.batch, t->sizes.channels, t->sizes.size, t->image, t->mask);
    genseg_batch_augment(t->mask, t->sizes.batch, t->sizes.size, t->config.mask_augment, seed, step, t->augmented);
    genseg_batch_pick(seed, "validation", step, t->sizes.val_batch, t->data.val.count, picked);
    genseg_batch_copy(&t->data.val, picked, t->sizes.val_batch, t->sizes.channels, t->sizes.size, t->val_image,
                      t->val_mask);
}

/* ---- pre-training of the GAN ---- */

static ht_status pretrain(genseg_trainer *t, ht_error *error)
{
    genseg_program p = {0};
    genseg_progress progress;
    char text[80];
    if (t->config.method != GENSEG_GENSEG || t->state.pretrained >= t->config.pretrain_steps) return HT_OK;
    if (make_program(t, genseg_record_pretraining, &p, error) != HT_OK) return error->status;
    genseg_progress_start(&progress, "pre-training", t->state.pretrained, t->config.pretrain_steps, 0, t->job->quiet);
    while (error->status == HT_OK && t->state.pretrained < t->config.pretrain_steps) {
        take_batch(t, "pretraining", t->state.pretrained);
        if (run_program(t, &p, "pre-training step", t->state.pretrained + 1, error) != HT_OK) break;
        t->state.pretrained++;
        snprintf(text, sizeof text, "GAN loss %.3f, discriminator %.3f", t->value[GENSEG_LOSS_GAN],
                 t->value[GENSEG_LOSS_DISCRIMINATOR]);
        genseg_progress_step(&progress, t->state.pretrained, text);
    }
    genseg_progress_stop(&progress, "");
    ht_program_free(p.program);
    return error->status;
}

/* ---- validation ---- */

static ht_status save_best(const genseg_trainer *t, ht_error *error)
{
    char path[GENSEG_TEXT], round[24], score[32], channels[12], hash[24];
    snprintf(path, sizeof path, "%.1000s/best.safetensors", t->job->run);
    snprintf(round, sizeof round, "%lld", (long long)t->state.best_round);
    snprintf(score, sizeof score, "%.17g", t->state.best_score);
    snprintf(channels, sizeof channels, "%d", (int)t->sizes.channels);
    snprintf(hash, sizeof hash, "%016llx", (unsigned long long)ht_store_hash(t->state.store[GENSEG_S]));
    const ht_metadata metadata[] = {{"channels", channels}, {"round", round}, {"score", score}, {"hash", hash},
                                    {"metric", t->config.select == GENSEG_SELECT_JACCARD ? "jaccard" : "dice"}};
    return ht_store_save(t->state.store[GENSEG_S], path, metadata, 5, error);
}

static ht_status validate(genseg_trainer *t, genseg_log_row *row, ht_error *error)
{
    genseg_case_row *rows = NULL;
    genseg_metrics metrics = {0};
    if (genseg_score_split(t->predictor, &t->data.val, "val", t->config.metric_threshold, &rows, &metrics, error) != HT_OK)
        return error->status;
    free(rows);
    row->val_dice = metrics.dice.mean;
    row->val_jaccard = metrics.jaccard.mean;
    double score = t->config.select == GENSEG_SELECT_JACCARD ? metrics.jaccard.mean : metrics.dice.mean;
    nn_plateau_step(&t->state.plateau, score);
    if (isnan(t->state.best_score) || score > t->state.best_score) {
        t->state.best_score = score;
        t->state.best_round = t->state.round;
        return save_best(t, error);
    }
    return HT_OK;
}

/* ---- one round ---- */

static bool due(int64_t round, int64_t every, int64_t rounds) { return (every > 0 && round % every == 0) || round == rounds; }

static bool certified(const genseg_config *config, int64_t round)
{
    for (int32_t i = 0; i < config->certify_count; i++)
        if (config->certify[i] == round) return true;
    return false;
}

static ht_status log_round(genseg_trainer *t, genseg_log_row *row, ht_error *error)
{
    const double *v = t->value;
    row->round = t->state.round;
    row->seconds = t->state.seconds;
    row->loss_gan = v[GENSEG_LOSS_GAN];
    row->loss_discriminator = v[GENSEG_LOSS_DISCRIMINATOR];
    row->loss_seg = v[GENSEG_LOSS_SEG];
    row->loss_val = v[GENSEG_LOSS_VAL];
    row->hypergradient_norm = v[GENSEG_NORM_USED];
    row->hypergradient_norm_eq9 = v[GENSEG_NORM_PATH];
    row->hypergradient_norm_direct = v[GENSEG_NORM_DIRECT];
    row->hypergradient_cosine = v[GENSEG_COSINE];
    row->alpha_step = v[GENSEG_ALPHA_STEP];
    row->alpha_decay_step = v[GENSEG_DECAY_STEP];
    row->alpha_largest = t->largest;
    if (genseg_log_append(t->log, row, error) != HT_OK) return error->status;
    return genseg_events_append(t->events, row, error);
}

static ht_status one_round(genseg_trainer *t, double started, genseg_log_row *row, ht_error *error)
{
    const genseg_config *o = &t->config;
    take_batch(t, "training", t->state.round);
    if (certified(o, t->state.round + 1) && genseg_certify(t, error) != HT_OK) return error->status;
    if (run_program(t, &t->round, "round", t->state.round + 1, error) != HT_OK) return error->status;
    t->state.round++;
    row->segmenter_rate = t->state.plateau.rate;
    if (o->method == GENSEG_GENSEG && genseg_alpha_rows(t, error) != HT_OK) return error->status;
    t->searched++;
    if (!isnan(t->value[GENSEG_ALPHA_STEP])) t->h_moved += t->value[GENSEG_ALPHA_STEP];
    if (!isnan(t->value[GENSEG_NORM_USED])) t->h_norm += t->value[GENSEG_NORM_USED];
    if (due(t->state.round, o->validate_every, o->rounds) && validate(t, row, error) != HT_OK) return error->status;
    if (o->method == GENSEG_GENSEG && (t->state.round == 1 || due(t->state.round, o->picture_every, o->rounds)) &&
        genseg_picture_round(t, error) != HT_OK)
        return error->status;
    t->state.seconds += genseg_seconds() - started;
    return log_round(t, row, error);
}

static ht_status checkpoint(genseg_trainer *t, ht_error *error)
{
    if (genseg_log_sync(t->log, error) != HT_OK) return error->status;
    if (genseg_events_sync(t->events, error) != HT_OK) return error->status;
    if (t->alpha && genseg_log_sync(t->alpha, error) != HT_OK) return error->status;
    if (t->certificate && genseg_log_sync(t->certificate, error) != HT_OK) return error->status;
    return genseg_checkpoint_write(t->job->run, &t->state, error);
}

static ht_status rounds(genseg_trainer *t, ht_error *error)
{
    const genseg_config *o = &t->config;
    genseg_progress progress;
    char text[96];
    if (make_program(t, o->method == GENSEG_PLAIN ? genseg_record_plain : record_round, &t->round, error) != HT_OK)
        return error->status;
    genseg_progress_start(&progress, "training", t->state.round, o->rounds, o->validate_every, t->job->quiet);
    while (t->state.round < o->rounds) {
        genseg_log_row row = {.val_dice = NAN, .val_jaccard = NAN};
        if (one_round(t, genseg_seconds(), &row, error) != HT_OK) break;
        snprintf(text, sizeof text, "loss %.4f  best val %s %.4f", t->value[GENSEG_LOSS_SEG],
                 o->select == GENSEG_SELECT_JACCARD ? "Jaccard" : "Dice", t->state.best_score);
        genseg_progress_step(&progress, t->state.round, text);
        if (due(t->state.round, o->checkpoint_every, o->rounds) && checkpoint(t, error) != HT_OK) break;
    }
    genseg_progress_stop(&progress, "");
    if (t->job->profile && t->searched == 0 && error->status == HT_OK && !t->job->quiet)
        printf("no profile: no round was left to run\n");
    ht_error writing = {0}; /* a run that was stopped has a profile too */
    if (t->job->profile && t->searched > 0 &&
        genseg_profile_write(t->round.program, t->job->profile, &writing) != HT_OK && error->status == HT_OK)
        *error = writing;
    return error->status;
}

/* ---- the run's folder ---- */

static ht_status make_folder(const char *run, const char *name, ht_error *error)
{
    char path[GENSEG_TEXT];
    snprintf(path, sizeof path, "%.900s%s%s", run, *name ? "/" : "", name);
    if (mkdir(path, 0777) == 0 || errno == EEXIST) return HT_OK;
    return ht_fail(error, HT_EIO, "%.300s: %s; expected a folder that can be made; choose another --out", path,
                   strerror(errno));
}

static bool exists(const char *run, const char *name)
{
    char path[GENSEG_TEXT];
    struct stat facts;
    snprintf(path, sizeof path, "%.900s/%s", run, name);
    return stat(path, &facts) == 0;
}

/* Whether the folder that a new one is to be made in is there. What else may be wrong with it is seen when it is used. */
static bool parent_exists(const char *run)
{
    char parent[GENSEG_TEXT];
    snprintf(parent, sizeof parent, "%.900s", run);
    size_t length = strlen(parent);
    while (length > 0 && parent[length - 1] == '/') length--;
    while (length > 0 && parent[length - 1] != '/') length--;
    parent[length] = 0;
    return length == 0 || access(parent, F_OK) == 0 || errno != ENOENT;
}

/* A new run fills a folder of its own; what a run left there that was killed in its first moments is no hindrance. */
static ht_status check_room(const char *run, ht_error *error)
{
    DIR *folder = opendir(run);
    int reason = errno;
    if (!folder && access(run, F_OK) != 0 && parent_exists(run)) return HT_OK;
    if (!folder && reason == ENOENT)
        return ht_fail(error, HT_EINVALID, "%.300s: to be made in a folder that does not exist; expected one that does; make it, "
                       "or choose another --out", run);
    if (!folder)
        return ht_fail(error, reason == ENOTDIR ? HT_EINVALID : HT_EIO, "%.300s: %s; expected a new or an empty folder; choose "
                       "another --out", run, reason == ENOTDIR ? "not a folder" : strerror(reason));
    const struct dirent *entry;
    while ((entry = readdir(folder)) != NULL) {
        const char *name = entry->d_name;
        if (*name == '.' || !strcmp(name, "checkpoints") || !strcmp(name, "pictures") || !strcmp(name, "predictions")) continue;
        ht_fail(error, HT_EINVALID, "%.300s: holds other files; expected a new or an empty folder; choose another --out", run);
        break;
    }
    closedir(folder);
    return error->status;
}

/* A new run must not write over an old one; a resumed one must be the one that was begun. */
static ht_status check_folder(const genseg_trainer *t, ht_error *error)
{
    const char *run = t->job->run;
    char path[GENSEG_TEXT], difference[256];
    if (strlen(run) > 800)
        return ht_fail(error, HT_EINVALID, "%.200s: the path is too long; expected at most 800 bytes", run);
    if (t->job->profile && genseg_output_check("--profile", t->job->profile, error) != HT_OK) return error->status;
    if (!t->job->resume) {
        if (!exists(run, "config.toml")) return check_room(run, error);
        return ht_fail(error, HT_EINVALID, "%.300s: a run is there already; expected a new folder; choose another --out, or "
                       "go on with it by --resume", run);
    }
    if (!exists(run, "config.toml"))
        return ht_fail(error, HT_EINVALID, "%.300s: no run to resume, it has no config.toml; leave --resume out to begin one",
                       run);
    genseg_config before = t->config;
    snprintf(path, sizeof path, "%.900s/config.toml", run);
    if (genseg_config_file(&before, path, error) != HT_OK) return error->status;
    before.memory_limit = t->config.memory_limit; /* changes no number */
    if (genseg_config_difference(&before, &t->config, difference, sizeof difference))
        return ht_fail(error, HT_EINVALID, "%.300s: resumed with another configuration: %s; expected that of the run; leave the "
                       "option out, or begin a new run", path, difference);
    return HT_OK;
}

static ht_status begin_files(genseg_trainer *t, ht_error *error)
{
    static const char *const folders[] = {"", "checkpoints", "predictions", "pictures"};
    char path[GENSEG_TEXT];
    for (size_t i = 0, count = t->config.method == GENSEG_GENSEG ? 4 : 3; i < count; i++) /* plain draws no pictures */
        if (make_folder(t->job->run, folders[i], error) != HT_OK) return error->status;
    if (t->job->profile && genseg_output_folder(t->job->profile, error) != HT_OK) return error->status;
    snprintf(path, sizeof path, "%.900s/config.toml", t->job->run);
    if (!t->job->resume && genseg_config_write(&t->config, path, error) != HT_OK) return error->status;
    if (!(t->log = genseg_log_open(t->job->run, t->state.round, error))) return error->status;
    if (!(t->events = genseg_events_open(t->job->run, t->state.round, error))) return error->status;
    if (t->config.method != GENSEG_GENSEG) return HT_OK;
    if (!(t->alpha = genseg_table_open(t->job->run, "alpha.csv", ALPHA_HEADER, t->state.round, error))) return error->status;
    if (t->config.certify_count > 0)
        t->certificate = genseg_table_open(t->job->run, "certificate.csv", CERTIFICATE_HEADER, t->state.round, error);
    return error->status;
}

static ht_status keep_record(const genseg_trainer *t, genseg_job_status status, ht_error *error)
{
    const genseg_job_facts facts = {.status = status, .config = &t->config, .data = &t->data, .data_path = t->job->data,
                                    .phantom_seed = (uint64_t)t->config.seed, .state = &t->state};
    return genseg_record_write(t->job->run, &facts, error);
}

/* ---- the whole ---- */

static ht_status allocate_batches(genseg_trainer *t, ht_error *error)
{
    size_t plane = (size_t)t->sizes.size * (size_t)t->sizes.size, channels = (size_t)t->sizes.channels;
    t->mask = malloc((size_t)t->sizes.batch * plane * sizeof(float));
    t->augmented = malloc((size_t)t->sizes.batch * plane * sizeof(float));
    t->image = malloc((size_t)t->sizes.batch * plane * channels * sizeof(float));
    t->val_mask = malloc((size_t)t->sizes.val_batch * plane * sizeof(float));
    t->val_image = malloc((size_t)t->sizes.val_batch * plane * channels * sizeof(float));
    if (t->mask && t->augmented && t->image && t->val_mask && t->val_image) return HT_OK;
    return ht_fail(error, HT_ENOMEM, "%s: no memory for a batch; take a smaller data.batch or data.size", t->job->run);
}

static ht_status open_data(genseg_trainer *t, const ht_device *device, ht_error *error)
{
    const genseg_config *o = &t->config;
    if (genseg_dataset_open(t->job->data, GENSEG_TRAIN | GENSEG_VAL | GENSEG_TEST, o->size, 0, (uint64_t)o->seed,
                            ht_device_threads(device), &t->data, error) != HT_OK)
        return error->status;
    if (o->batch > GENSEG_BATCH_MAX)
        return ht_fail(error, HT_EINVALID, "data.batch: %d; expected at most %d", (int)o->batch, GENSEG_BATCH_MAX);
    int32_t val = o->batch < t->data.val.count ? o->batch : t->data.val.count;
    t->sizes = (genseg_sizes){o->batch, val, o->size, t->data.channels};
    t->nets = genseg_networks_of(o, t->data.channels);
    return HT_OK;
}

static ht_status start(genseg_trainer *t, ht_device *device, ht_error *error)
{
    char warning[400] = "";
    if ((t->job->resume ? genseg_state_blank : genseg_state_new)(&t->state, &t->config, &t->nets, device, error) != HT_OK)
        return error->status;
    if (t->job->resume && genseg_checkpoint_read(t->job->run, &t->state, warning, sizeof warning, error) != HT_OK)
        return error->status;
    if (*warning && !t->job->quiet) printf("%s\n", warning);
    if (allocate_batches(t, error) != HT_OK) return error->status;
    t->began = true;
    if (begin_files(t, error) != HT_OK) return error->status;
    /* not interrupted: a round that is begun ends with its validation, so that a resumed run misses none */
    t->predictor = genseg_predictor_new(device, t->state.store[GENSEG_S], &t->nets, &t->config, NULL, error);
    return error->status;
}

static ht_status finish(genseg_trainer *t, ht_device *device, genseg_metrics *metrics, ht_error *error)
{
    ht_store *best = ht_store_new(device);
    char path[GENSEG_TEXT];
    snprintf(path, sizeof path, "%.900s/best.safetensors", t->job->run);
    if (!best) return ht_fail(error, HT_ENOMEM, "%s: no memory for the best weights", t->job->run);
    genseg_predictor *predictor = NULL;
    if (genseg_weights_load(best, path, error) == HT_OK)
        predictor = genseg_predictor_new(device, best, &t->nets, &t->config, t->job->interrupt, error);
    if (predictor)
        genseg_evaluate_split(predictor, &t->data.test, "test", &t->config,
                              t->config.select == GENSEG_SELECT_JACCARD ? "jaccard" : "dice", t->state.best_round,
                              t->job->run, metrics, error);
    genseg_predictor_free(predictor);
    ht_store_free(best);
    return error->status;
}

static void say_result(const genseg_trainer *t, const genseg_metrics *m)
{
    if (t->job->quiet) return;
    char text[48];
    printf("test Dice %.4f \xC2\xB1 %.4f (median %.4f) over %d cases, Jaccard %.4f; weights of round %lld\n",
           m->dice.mean, m->dice.sd, m->dice.median, (int)m->cases, m->jaccard.mean, (long long)m->selection_round);
    printf("%s, %.3f s a round; state hash %016llx\n", genseg_duration_text(t->state.seconds, text, sizeof text),
           t->state.seconds / (double)(t->state.round > 0 ? t->state.round : 1),
           (unsigned long long)genseg_state_hash(&t->state));
    if (t->config.method == GENSEG_GENSEG && t->config.hypergradient != GENSEG_H_NONE && t->searched > 0 &&
        !(t->h_moved > 0 && t->h_norm > 0))
        printf("WARNING: the hypergradient did not move the architecture in this run\n");
    printf("report: %s/report.html\n", t->job->run);
}

static void release(genseg_trainer *t, ht_device *device)
{
    genseg_log_close(t->log);
    genseg_log_close(t->alpha);
    genseg_log_close(t->certificate);
    genseg_events_close(t->events);
    genseg_predictor_free(t->predictor);
    ht_program_free(t->round.program);
    genseg_state_free(&t->state);
    genseg_dataset_free(&t->data);
    free(t->mask);
    free(t->image);
    free(t->augmented);
    free(t->val_mask);
    free(t->val_image);
    ht_device_close(device);
}

/* After a stop on request: what was done is kept. */
static int stopped(genseg_trainer *t, ht_error *error)
{
    ht_error writing = {0};
    if (checkpoint(t, &writing) != HT_OK) {
        *error = writing;
        return GENSEG_EXIT_FAILURE;
    }
    keep_record(t, GENSEG_JOB_STOPPED, &writing);
    *error = (ht_error){0};
    ht_fail(error, HT_EINTERRUPTED, "%.300s: stopped on request after round %lld of %lld; the checkpoint is written; go on with "
            "--resume", t->job->run, (long long)t->state.round, (long long)t->config.rounds);
    return GENSEG_EXIT_STOPPED;
}

/* For --dry-run: the data, and the memory that a round will need. */
static void say_plan(genseg_trainer *t, ht_device *device, ht_error *error)
{
    recorder record = t->config.method == GENSEG_PLAIN ? genseg_record_plain : record_round;
    if (genseg_state_blank(&t->state, &t->config, &t->nets, device, error) != HT_OK ||
        make_program(t, record, &t->round, error) != HT_OK)
        return;
    const ht_program_facts facts = ht_program_describe(t->round.program);
    printf("a round: %.1f MB for what it computes, beside weights and batches; %.3g flop", (double)facts.arena_bytes * 1e-6,
           facts.flop);
    if (facts.recomputed > 0)
        printf("; within memory_limit by computing %lld steps again, %.1f %% of the flop", (long long)facts.recomputed,
               facts.flop > 0 ? 100 * facts.recomputed_flop / facts.flop : 0);
    printf("\n%s: %d training, %d validation, %d test cases; %lld rounds into %s; nothing was written\n", t->data.name,
           (int)t->data.train.count, (int)t->data.val.count, (int)t->data.test.count, (long long)t->config.rounds, t->job->run);
}

int genseg_train(const genseg_job *job, ht_error *error)
{
    genseg_trainer t = {.job = job, .config = job->config, .largest = NAN};
    genseg_metrics metrics = {0};
    ht_device *device = NULL;
    if (check_folder(&t, error) == HT_OK && (device = ht_device_open("cpu", t.config.threads, error)) &&
        open_data(&t, device, error) == HT_OK &&
        ht_precision_check(device, (ht_precision)t.config.precision, error) == HT_OK && !job->dry_run &&
        start(&t, device, error) == HT_OK) {
        if (t.data.warnings && !job->quiet) printf("%s\n", t.data.warnings);
        if (keep_record(&t, GENSEG_JOB_RUNNING, error) == HT_OK && pretrain(&t, error) == HT_OK && rounds(&t, error) == HT_OK &&
            finish(&t, device, &metrics, error) == HT_OK && keep_record(&t, GENSEG_JOB_DONE, error) == HT_OK &&
            genseg_report_write(job->run, error) == HT_OK)
            say_result(&t, &metrics);
    }
    if (job->dry_run && error->status == HT_OK) say_plan(&t, device, error);
    int code = genseg_exit_code(error->status, t.began);
    if (t.began && error->status == HT_EINTERRUPTED) code = stopped(&t, error);
    release(&t, device);
    return code;
}
