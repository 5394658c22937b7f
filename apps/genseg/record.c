/*
 * run.json: program, machine, settings that matter for bits, data with a hash for every case, sizes of the networks,
 * time, and the hash of the final state. It only records: nothing is read back from it to train. No host or user name.
 * What cannot be found out is null.
 */
#include "record.h"

#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <jansson.h>

#include "picture.h"

#ifndef GENSEG_VERSION
#define GENSEG_VERSION "0.1.0"
#endif
#if defined(__clang__)
#define COMPILER __VERSION__
#elif defined(__GNUC__)
#define COMPILER "gcc " __VERSION__
#else
#define COMPILER "unknown"
#endif

#define FORM 1
#define DIGITS 17
#define LINE_BYTES 512

/*
 * An object under construction. The first refused allocation spoils the whole, and is asked for once, at the end:
 * jansson itself takes NULL for any value and says that it could not be put.
 */
typedef struct record {
    bool refused;
} record;

static void put(record *r, json_t *object, const char *name, json_t *value)
{
    if (json_object_set_new(object, name, value) != 0) r->refused = true;
}

static json_t *put_object(record *r, json_t *object, const char *name)
{
    json_t *below = json_object();
    put(r, object, name, below);
    return r->refused ? NULL : below;
}

/* Text that is not UTF-8, as a path may be, has its odd bytes escaped. */
static json_t *text_of(const char *text)
{
    char place[GENSEG_PLACE];
    if (!text) return json_null();
    json_t *value = json_string(text);
    return value ? value : json_string(genseg_place(text, place));
}

static json_t *hash_of(uint64_t hash)
{
    char text[17];
    snprintf(text, sizeof text, "%016" PRIx64, hash);
    return json_string(text);
}

static json_t *real_of(double value) { return isfinite(value) ? json_real(value) : json_null(); }

static void put_build(record *r, json_t *root)
{
    json_t *build = put_object(r, root, "build");
    put(r, build, "version", json_string(GENSEG_VERSION));
    put(r, build, "compiler", json_string(COMPILER));
#ifdef GENSEG_FLAGS /* the build told us its flags, and so which of the two libraries it has */
    put(r, build, "flags", json_string(GENSEG_FLAGS));
#ifdef HT_ONEDNN
    put(r, build, "onednn", json_true());
#else
    put(r, build, "onednn", json_false());
#endif
#ifdef HT_OPENBLAS
    put(r, build, "openblas", json_true());
#else
    put(r, build, "openblas", json_false());
#endif
#endif
}

/* The processor's model as Linux names it; "" if it does not. */
static void find_processor(char model[LINE_BYTES])
{
    char line[LINE_BYTES];
    model[0] = 0;
    FILE *file = fopen("/proc/cpuinfo", "re");
    while (file && !model[0] && fgets(line, sizeof line, file)) {
        const char *colon = strchr(line, ':');
        if (!colon || strncmp(line, "model name", 10) != 0) continue;
        colon += 1 + strspn(colon + 1, " \t");
        snprintf(model, LINE_BYTES, "%.*s", (int)strcspn(colon, "\n"), colon);
    }
    if (file) fclose(file);
}

static void put_machine(record *r, json_t *root, const ht_device *device)
{
    char model[LINE_BYTES], system[LINE_BYTES];
    struct utsname names;
    json_t *machine = put_object(r, root, "machine");
    bool named = uname(&names) >= 0;
    if (named) snprintf(system, sizeof system, "%.200s %.200s", names.sysname, names.release);
    long cores = sysconf(_SC_NPROCESSORS_ONLN), pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    find_processor(model);
    put(r, machine, "system", text_of(named ? system : NULL));
    put(r, machine, "architecture", text_of(named ? names.machine : NULL));
    put(r, machine, "processor", text_of(*model ? model : NULL));
    put(r, machine, "cores", cores > 0 ? json_integer(cores) : json_null());
    put(r, machine, "memory_mib", pages > 0 && page > 0 ? json_integer((int64_t)pages / 1024 * page / 1024) : json_null());
    put(r, machine, "device", text_of(ht_device_name(device)));
    put(r, machine, "threads", json_integer(ht_device_threads(device)));
}

static void put_split(record *r, json_t *data, const char *name, const genseg_split *split)
{
    if (split->count == 0) return;
    json_t *below = put_object(r, data, name), *names = json_array(), *hashes = json_array();
    put(r, below, "cases", json_integer(split->count));
    for (int32_t i = 0; i < split->count && !r->refused; i++)
        r->refused = json_array_append_new(names, text_of(split->cases[i].name)) != 0 ||
                     json_array_append_new(hashes, hash_of(split->cases[i].hash)) != 0;
    put(r, below, "names", names);
    put(r, below, "hashes", hashes);
}

static void put_data(record *r, json_t *root, const genseg_job_facts *facts)
{
    const genseg_dataset *set = facts->data;
    json_t *data = put_object(r, root, "data");
    put(r, data, "name", text_of(set->name));
    put(r, data, "path", text_of(facts->data_path));
    put(r, data, "hash", hash_of(set->hash));
    put(r, data, "size", json_integer(set->size));
    put(r, data, "channels", json_integer(set->channels));
    put_split(r, data, "train", &set->train);
    put_split(r, data, "val", &set->val);
    put_split(r, data, "test", &set->test);
}

/* Numbers in all parameters of a store; buffers, as running statistics, do not count. */
static int64_t parameters(const ht_store *store)
{
    int64_t sum = 0;
    for (int32_t i = 0; store && i < ht_store_count(store); i++)
        if (ht_store_role(store, i) == HT_PARAMETER) sum += ht_shape_count(ht_store_shape(store, i));
    return sum;
}

static void put_state(record *r, json_t *root, const genseg_job_facts *facts)
{
    const genseg_state *state = facts->state;
    json_t *counts = put_object(r, root, "parameters");
    put(r, counts, "generator", json_integer(parameters(state->store[GENSEG_G])));
    put(r, counts, "discriminator", json_integer(parameters(state->store[GENSEG_H])));
    put(r, counts, "segmenter", json_integer(parameters(state->store[GENSEG_S])));
    put(r, counts, "architecture", json_integer(parameters(state->store[GENSEG_A])));
    json_t *seconds = put_object(r, root, "seconds");
    put(r, seconds, "all", real_of(state->seconds));
    put(r, seconds, "rounds", real_of(state->bound_seconds));
    put(r, seconds, "per_round", state->round > 0 ? real_of(state->bound_seconds / (double)state->round) : json_null());
    bool final = facts->status != GENSEG_JOB_RUNNING;
    put(r, root, "state_hash", final ? hash_of(genseg_state_hash(state)) : json_null());
}

static void put_all(record *r, json_t *root, const genseg_job_facts *facts)
{
    static const char *const words[] = {
        [GENSEG_JOB_RUNNING] = "running", [GENSEG_JOB_DONE] = "done", [GENSEG_JOB_STOPPED] = "stopped"};
    put(r, root, "form", json_integer(FORM));
    put(r, root, "status", json_string(words[facts->status]));
    json_t *rounds = put_object(r, root, "rounds");
    put(r, rounds, "done", json_integer(facts->state->round));
    put(r, rounds, "planned", json_integer(facts->config->rounds));
    put(r, rounds, "pretrained", json_integer(facts->state->pretrained));
    put(r, root, "path_cut", text_of(facts->path_cut));
    json_t *seeds = put_object(r, root, "seeds");
    put(r, seeds, "run", json_integer(facts->config->seed));
    if (facts->data_path && strcmp(facts->data_path, "phantom") == 0)
        put(r, seeds, "phantom", json_integer((int64_t)facts->phantom_seed));
    put_build(r, root);
    put_machine(r, root, facts->state->device);
    put_state(r, root, facts);
    put_data(r, root, facts);
}

ht_status genseg_record_write(const char *run, const genseg_job_facts *facts, ht_error *error)
{
    record r = {false};
    json_t *root = json_object();
    if (root) put_all(&r, root, facts);
    char *text = root && !r.refused ? json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(DIGITS)) : NULL;
    char *path = text ? genseg_path_join(run, "run.json") : NULL;
    ht_status status = path ? ht_file_write(path, text, strlen(text), error) : HT_ENOMEM;
    if (!path) {
        char place[GENSEG_PLACE];
        ht_fail(error, HT_ENOMEM, "%s/run.json: no memory to write it; free some memory", genseg_place(run, place));
    }
    free(path);
    free(text);
    json_decref(root);
    return status;
}
