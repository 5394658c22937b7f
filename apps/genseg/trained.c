/*
 * Opening a run. The weights are compared with a recording of the segmenter that the configuration asks for, so that
 * weights of another network are refused by the name of a tensor and none is ever made up.
 */
#include "trained.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "output.h"

static ht_status read_config(const char *run, genseg_config *config, ht_error *error)
{
    char path[GENSEG_OUTPUT_PATH];
    ht_status status = genseg_output_path(path, run, "config.toml", "", error);
    if (!status && access(path, F_OK))
        return ht_fail(error, HT_EINVALID, "%.300s: no run, it has no config.toml; expected the folder of a training run; "
                       "check the path", run);
    if (!status) status = genseg_config_preset(config, "small", error);
    if (!status) status = genseg_config_file(config, path, error);
    return status ? status : genseg_config_check(config, error);
}

/* A whole number from the metadata of the weights. */
static ht_status read_number(const char *path, const char *key, int64_t *number, ht_error *error)
{
    char text[32], *end;
    ht_status status = ht_file_metadata(path, key, text, sizeof text, error);
    if (status) return status;
    errno = 0;
    *number = strtoll(text, &end, 10);
    if (errno || end == text || *end || *number < 0)
        return ht_fail(error, HT_EFORMAT, "%.250s: its metadata \"%s\" is \"%s\"; expected a whole number; restore the file",
                       path, key, text);
    return HT_OK;
}

static ht_status read_facts(const char *path, genseg_trained *t, ht_error *error)
{
    int64_t channels = 0;
    ht_status status = read_number(path, "channels", &channels, error);
    if (!status && channels != 1 && channels != 3)
        status = ht_fail(error, HT_EFORMAT, "%.250s: a segmenter of %lld channels; expected 1 or 3; restore the file", path,
                         (long long)channels);
    t->channels = (int32_t)channels;
    if (!status) status = read_number(path, "round", &t->round, error);
    return status ? status : ht_file_metadata(path, "metric", t->metric, sizeof t->metric, error);
}

/* Every tensor of a is in b, in its shape and type. */
static ht_status compare(const ht_store *a, const ht_store *b, const char *path, const char *what, ht_error *error)
{
    char shape[2][HT_SHAPE_TEXT];
    for (int32_t k = 0; k < ht_store_count(a); k++) {
        const char *name = ht_store_name(a, k);
        int32_t at = ht_store_find(b, name);
        if (at < 0)
            return ht_fail(error, HT_EFORMAT, "%.250s: tensor \"%.96s\" %s; expected those of the model in config.toml; "
                           "restore both files from one run", path, name, what);
        ht_shape_text(ht_store_shape(a, k), shape[0]);
        ht_shape_text(ht_store_shape(b, at), shape[1]);
        if (ht_store_dtype(a, k) != ht_store_dtype(b, at) || strcmp(shape[0], shape[1]))
            return ht_fail(error, HT_ESHAPE, "%.200s: tensor \"%.60s\" is %s %s; expected %s %s, by config.toml; restore both "
                           "files from one run", path, name, ht_dtype_name(ht_store_dtype(b, at)), shape[1],
                           ht_dtype_name(ht_store_dtype(a, k)), shape[0]);
    }
    return HT_OK;
}

/* Refuses weights that are not those of the network, before it is recorded on them. */
static ht_status check_weights(const genseg_trained *t, const genseg_networks *nets, const char *path, ht_error *error)
{
    ht_store *wanted = ht_store_new(t->device);
    ht_tape *tape = ht_tape_new(HT_F32);
    ht_status status = HT_OK;
    if (!wanted || !tape) {
        status = ht_fail(error, HT_ENOMEM, "%.300s: no memory to look at it; free some memory", path);
    } else {
        nn_scope scope = nn_open(tape, wanted, .name = "S", .evaluate = 1, .uninitialised = 1);
        genseg_segment(scope, ht_input(tape, "image", HT_SHAPE(1, t->channels, t->config.size, t->config.size)),
                       &nets->segmenter);
        if (ht_tape_error(tape)->status)
            status = ht_fail(error, ht_tape_error(tape)->status, "%s", ht_tape_error(tape)->message);
    }
    if (!status) status = compare(wanted, t->segmenter, path, "is missing", error);
    if (!status) status = compare(t->segmenter, wanted, path, "belongs to no part of the segmenter", error);
    ht_tape_free(tape);
    ht_store_free(wanted);
    return status;
}

ht_status genseg_weights_load(ht_store *store, const char *path, ht_error *error)
{
    char written[32] = "", found[32];
    ht_error absent = {0};
    if (ht_store_load(store, path, error)) return error->status;
    if (ht_file_metadata(path, "hash", written, sizeof written, &absent)) return HT_OK; /* weights made elsewhere */
    snprintf(found, sizeof found, "%016llx", (unsigned long long)ht_store_hash(store));
    if (strcmp(written, found) == 0) return HT_OK;
    return ht_fail(error, HT_EFORMAT, "%.300s: its numbers are not those that were written, by their hash; expected the file as "
                   "genseg train left it; restore it, or train on with --resume", path);
}

static ht_status open_weights(const char *run, const volatile int *interrupt, genseg_trained *t, ht_error *error)
{
    char path[GENSEG_OUTPUT_PATH];
    ht_status status = genseg_output_path(path, run, "best.safetensors", "", error);
    if (!status && access(path, F_OK))
        status = ht_fail(error, HT_EINVALID, "%.300s: no trained segmenter; expected the weights that genseg train keeps "
                         "after its first validation; train on with --resume, or give another run", path);
    if (!status) status = read_facts(path, t, error);
    if (status) return status;
    const char *device = strcmp(t->config.device, "auto") ? t->config.device : "cpu";
    t->device = ht_device_open(device, t->config.threads, error);
    if (!t->device) return error->status;
    t->segmenter = ht_store_new(t->device);
    if (!t->segmenter) return ht_fail(error, HT_ENOMEM, "%.300s: no memory to read it; free some memory", path);
    genseg_networks nets = genseg_networks_of(&t->config, t->channels);
    status = genseg_weights_load(t->segmenter, path, error);
    if (!status) status = check_weights(t, &nets, path, error);
    if (status) return status;
    t->predictor = genseg_predictor_new(t->device, t->segmenter, &nets, &t->config, interrupt, error);
    return t->predictor ? HT_OK : error->status;
}

ht_status genseg_trained_open(const char *run, const volatile int *interrupt, genseg_trained *out, ht_error *error)
{
    ht_error local = {0}; /* its status is needed, and the caller's record may be NULL */
    *out = (genseg_trained){0};
    ht_status status = read_config(run, &out->config, &local);
    if (!status) status = open_weights(run, interrupt, out, &local);
    if (!status) return HT_OK;
    genseg_trained_close(out);
    return ht_fail(error, status, "%s", local.message);
}

void genseg_trained_close(genseg_trained *trained)
{
    genseg_predictor_free(trained->predictor);
    ht_store_free(trained->segmenter);
    ht_device_close(trained->device);
    *trained = (genseg_trained){0};
}
