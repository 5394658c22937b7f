/*
 * The state of a run and its checkpoints: same seed, same bits; what is written comes back; whatever a crash or a disk
 * leaves behind is passed over, named if it is damage, and never taken for a checkpoint. And run.json.
 */
#include <dirent.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>

#include "record.h"
#include "state.h"
#include "tap.h"

#define PATH_BYTES 512

static char run[64] = "/tmp/genseg-state-XXXXXX";
static ht_device *device;

static const char *path_of(const char *name)
{
    static char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/checkpoints/%s", run, name);
    return path;
}

static int is_there(const char *name) { return access(path_of(name), F_OK) == 0; }

static void remove_all(const char *folder)
{
    char path[PATH_BYTES];
    DIR *open_folder = opendir(folder);
    const struct dirent *entry;
    while (open_folder && (entry = readdir(open_folder))) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        if (snprintf(path, sizeof path, "%s/%s", folder, entry->d_name) >= (int)sizeof path) continue;
        if (unlink(path) != 0) remove_all(path);
    }
    if (open_folder) closedir(open_folder);
    rmdir(folder);
}

static void remove_checkpoints(void)
{
    char folder[PATH_BYTES];
    snprintf(folder, sizeof folder, "%s/checkpoints", run);
    remove_all(folder);
}

static int count_entries(void)
{
    int count = 0;
    DIR *open_folder = opendir(path_of(""));
    const struct dirent *entry;
    while (open_folder && (entry = readdir(open_folder))) count += strncmp(entry->d_name, "..", 3) && strcmp(entry->d_name, ".");
    if (open_folder) closedir(open_folder);
    return count;
}

/* Flips a bit of one byte, `from_end` bytes before the end. */
static void damage(const char *name, long from_end)
{
    FILE *file = fopen(path_of(name), "r+b");
    if (!file) return;
    fseek(file, -from_end, SEEK_END);
    int byte = fgetc(file);
    fseek(file, -from_end, SEEK_END);
    fputc(byte ^ 4, file);
    fclose(file);
}

static genseg_config tiny(int64_t seed)
{
    ht_error error = {HT_OK, ""};
    genseg_config c;
    tap_ok(genseg_config_preset(&c, "small", &error) == HT_OK, "a configuration %s", error.message);
    c.method = GENSEG_GENSEG;
    c.seed = seed;
    c.size = 16;
    c.batch = 2;
    c.generator_width = c.discriminator_width = c.unet_width = 2;
    c.generator_levels = c.unet_depth = 2;
    c.discriminator_layers = 1;
    c.search = GENSEG_SEARCH_BOTH;
    return c;
}

static genseg_state make(int64_t seed)
{
    ht_error error = {HT_OK, ""};
    genseg_config config = tiny(seed);
    genseg_networks nets = genseg_networks_of(&config, 3);
    genseg_state state;
    tap_ok(genseg_state_new(&state, &config, &nets, device, &error) == HT_OK, "a state of seed %d %s", (int)seed, error.message);
    return state;
}

static void write_round(genseg_state *state, int64_t round)
{
    ht_error error = {HT_OK, ""};
    state->round = round;
    ((float *)ht_store_data(state->store[GENSEG_S], 0))[0] = (float)round;
    tap_ok(genseg_checkpoint_write(run, state, &error) == HT_OK, "round %d is written %s", (int)round, error.message);
}

/* Reads into a state that holds something else; tells what happened. */
static ht_status read_back(genseg_state *state, char warning[HT_MESSAGE_BYTES], ht_error *error)
{
    *error = (ht_error){HT_OK, ""};
    strcpy(warning, "unset");
    return genseg_checkpoint_read(run, state, warning, HT_MESSAGE_BYTES, error);
}

static void test_new(void)
{
    ht_error error = {HT_OK, ""};
    genseg_state a = make(1), b = make(1), c = make(2), copy = {0}, back = {0};
    for (int32_t i = GENSEG_G; i <= GENSEG_A; i++) tap_ok(ht_store_count(a.store[i]) > 0, "store %d has tensors", (int)i);
    tap_ok(ht_store_count(a.store[GENSEG_S_MOMENTS]) == 0 && ht_store_count(a.store[GENSEG_CLOCK]) == 0, "the others wait");
    tap_ok(genseg_state_hash(&a) == genseg_state_hash(&b), "same seed, same hash");
    tap_ok(genseg_state_hash(&a) != genseg_state_hash(&c), "another seed, another hash");
    for (int32_t i = GENSEG_G; i <= GENSEG_A; i++)
        tap_ok(ht_store_hash(a.store[i]) != ht_store_hash(c.store[i]), "store %d depends on the seed", (int)i);
    genseg_config config = tiny(1);
    genseg_networks nets = genseg_networks_of(&config, 3);
    genseg_state blank;
    tap_ok(genseg_state_blank(&blank, &config, &nets, device, &error) == HT_OK, "a blank state %s", error.message);
    for (int32_t i = GENSEG_G; i <= GENSEG_A; i++) {
        int32_t found = 0, same = ht_store_count(blank.store[i]) == ht_store_count(a.store[i]);
        for (int32_t k = 0; same && k < ht_store_count(a.store[i]); k++) {
            same = ht_shape_equal(ht_store_shape(blank.store[i], k), ht_store_shape(a.store[i], k));
            const float *w = ht_store_data(blank.store[i], k);
            if (ht_store_role(blank.store[i], k) == HT_BUFFER) continue;
            for (int64_t n = 0; n < ht_shape_count(ht_store_shape(blank.store[i], k)); n++) found += w[n] != 0;
        }
        tap_ok(same && found == 0, "has the tensors of store %d, and draws none (%d)", (int)i, (int)found);
    }
    genseg_state_free(&blank);
    tap_ok(isnan(a.best_score) && a.round == 0, "no best score yet");
    tap_ok(genseg_state_copy(&a, HT_F64, &copy, &error) == HT_OK && genseg_state_copy(&copy, HT_F32, &back, &error) == HT_OK &&
               ht_store_dtype(copy.store[GENSEG_G], 0) == HT_F64, "a copy in float64 and back %s", error.message);
    tap_ok(genseg_state_hash(&back) == genseg_state_hash(&a), "gives the same bits");
    ht_store *exchanged = a.store[GENSEG_G];
    a.store[GENSEG_G] = a.store[GENSEG_H];
    a.store[GENSEG_H] = exchanged;
    tap_ok(genseg_state_hash(&a) != genseg_state_hash(&b), "the hash knows which store is which");
    genseg_state *all[] = {&a, &b, &c, &copy, &back};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) genseg_state_free(all[i]);
}

static void test_plain(void)
{
    ht_error error = {HT_OK, ""};
    genseg_config config = tiny(1);
    genseg_state full = make(1), plain;
    config.method = GENSEG_PLAIN;
    config.s_plateau_patience = 0;
    genseg_networks nets = genseg_networks_of(&config, 3);
    tap_ok(genseg_state_new(&plain, &config, &nets, device, &error) == HT_OK, "method plain %s", error.message);
    tap_ok(ht_store_count(plain.store[GENSEG_G]) == 0 && ht_store_count(plain.store[GENSEG_A]) == 0, "makes S alone");
    tap_ok(ht_store_hash(plain.store[GENSEG_S]) == ht_store_hash(full.store[GENSEG_S]), "the same S as with search");
    double rate = 0;
    for (int i = 0; i < 100; i++) rate = nn_plateau_step(&plain.plateau, 0);
    tap_ok(rate == config.s_rate, "patience 0: the rate never falls");
    genseg_state_free(&plain);
    config.size = 17;
    ht_status status = genseg_state_new(&plain, &config, &nets, device, &error);
    tap_ok(status == HT_ESHAPE && strstr(error.message, "17") && !plain.store[GENSEG_S], "17 pixels: %s", error.message);
    genseg_state_free(&full);
}

static void test_round_trip(void)
{
    ht_error error = {HT_OK, ""};
    char warning[HT_MESSAGE_BYTES];
    genseg_state a = make(3), b = make(4), none = {.device = device};
    tap_ok(read_back(&b, warning, &error) == HT_EINVALID && strstr(error.message, "/checkpoints:") && !*warning,
           "nothing yet: %s", error.message);
    ht_store_add(a.store[GENSEG_CLOCK], "round", HT_I32, HT_SCALAR, HT_BUFFER, &error);
    ((int32_t *)ht_store_data(a.store[GENSEG_CLOCK], 0))[0] = 41;
    ht_store_add(a.store[GENSEG_S_MOMENTS], "v/head.weight", HT_F64, HT_SHAPE(3), HT_BUFFER, &error);
    a.pretrained = 7;
    a.plateau.rate = 0.1;
    a.plateau.best = 1.0 / 3;
    a.plateau.started = 1;
    a.plateau.waited = 2;
    a.seconds = 12.345678901234567;
    a.bound_seconds = 1e-300;
    write_round(&a, 41);
    tap_ok(read_back(&b, warning, &error) == HT_OK && !*warning, "is read %s", error.message);
    tap_ok(genseg_state_hash(&a) == genseg_state_hash(&b), "same hash");
    tap_ok(isnan(b.best_score) && b.round == 41 && b.pretrained == 7 && b.seconds == a.seconds &&
               b.bound_seconds == a.bound_seconds, "same numbers");
    tap_ok(memcmp(&a.plateau, &b.plateau, sizeof a.plateau) == 0, "same plateau");
    tap_ok(ht_store_count(b.store[GENSEG_G_MOMENTS]) == 0 && !is_there("round-000041/generator-moments.safetensors"),
           "an empty store has no file and stays empty");
    tap_ok(ht_store_role(b.store[GENSEG_CLOCK], 0) == HT_BUFFER && ht_store_role(b.store[GENSEG_G], 0) == HT_PARAMETER,
           "roles come back");
    a.best_score = 0.1 + 0.2;
    a.best_round = 40;
    write_round(&a, 41);
    tap_ok(count_entries() == 1, "the same round again replaces it");
    tap_ok(read_back(&none, warning, &error) == HT_OK && none.best_score == 0.1 + 0.2 && none.best_round == 40,
           "into a state without stores %s", error.message);
    a.seconds = (double)INFINITY;
    tap_ok(genseg_checkpoint_write(run, &a, &error) == HT_EINVALID && strstr(error.message, "seconds"), "%s", error.message);
    tap_ok(count_entries() == 1 && read_back(&none, warning, &error) == HT_OK, "a refused one leaves no trace");
    genseg_state_free(&a);
    genseg_state_free(&b);
    genseg_state_free(&none);
    remove_checkpoints();
}

static void test_damage(void)
{
    ht_error error;
    char warning[HT_MESSAGE_BYTES];
    genseg_state a = make(5), b = {.device = device};
    write_round(&a, 10);
    uint64_t before = genseg_state_hash(&a);
    write_round(&a, 20);
    damage("round-000020/segmenter.safetensors", 40);
    tap_ok(read_back(&b, warning, &error) == HT_OK && b.round == 10, "a byte of the newest: round 10 is taken %s", error.message);
    tap_ok(strstr(warning, "round-000020/segmenter.safetensors") && strstr(warning, "round 10"), "%s", warning);
    tap_ok(genseg_state_hash(&b) == before, "and its bits");
    uint64_t kept = genseg_state_hash(&b);
    damage("round-000010/state.json", 20);
    tap_ok(read_back(&b, warning, &error) == HT_EFORMAT && strstr(error.message, "round-000020/segmenter.safetensors") &&
               !*warning, "both: %s", error.message);
    tap_ok(genseg_state_hash(&b) == kept && b.round == 10, "and the state is as before");
    remove_checkpoints();
    write_round(&a, 10);
    write_round(&a, 20);
    tap_ok(truncate(path_of("round-000020/generator.safetensors"), 100) == 0 && read_back(&b, warning, &error) == HT_OK &&
               b.round == 10 && strstr(warning, "generator.safetensors"), "a cut file: %s", warning);
    tap_ok(unlink(path_of("round-000020/generator.safetensors")) == 0 && read_back(&b, warning, &error) == HT_OK &&
               b.round == 10 && strstr(warning, "generator.safetensors"), "an absent file: %s", warning);
    damage("round-000010/MANIFEST", 3);
    tap_ok(read_back(&b, warning, &error) == HT_EFORMAT, "a manifest: %s", error.message);
    unlink(path_of("round-000010/MANIFEST"));
    unlink(path_of("round-000020/MANIFEST"));
    tap_ok(read_back(&b, warning, &error) == HT_EINVALID, "no manifest at all: %s", error.message);
    genseg_state_free(&a);
    genseg_state_free(&b);
    remove_checkpoints();
}

static void put_leftover(const char *name)
{
    char path[128];
    mkdir(path_of(name), 0700);
    snprintf(path, sizeof path, "%s/generator.safetensors", name);
    FILE *file = fopen(path_of(path), "wb");
    if (file) fclose(file);
}

static void test_leftovers(void)
{
    ht_error error;
    char warning[HT_MESSAGE_BYTES], from[PATH_BYTES];
    genseg_state a = make(6), b = {.device = device};
    write_round(&a, 10);
    put_leftover("round-000030");
    put_leftover(".round-000030.tmp-77");
    put_leftover("round-7");
    tap_ok(read_back(&b, warning, &error) == HT_OK && b.round == 10 && !*warning, "killed while writing: passed over silently");
    snprintf(from, sizeof from, "%s", path_of("round-000010"));
    tap_ok(rename(from, path_of(".round-000010.old")) == 0 && read_back(&b, warning, &error) == HT_OK && b.round == 10,
           "killed while replacing: the replaced one counts %s", error.message);
    write_round(&a, 10);
    tap_ok(is_there("round-000010") && !is_there(".round-000010.old") && !is_there(".round-000030.tmp-77"),
           "leftovers are swept");
    tap_ok(!is_there("round-000030"), "a later round is of a future given up");
    tap_ok(is_there("round-7/generator.safetensors"), "what is not ours stays");
    remove_all(path_of("round-7"));
    for (int64_t round = 20; round <= 40; round += 10) write_round(&a, round);
    tap_ok(is_there("round-000030") && is_there("round-000040") && count_entries() == 2, "the last two stay");
    write_round(&a, 1234567);
    tap_ok(is_there("round-1234567") && is_there("round-000040") && count_entries() == 2, "numbers of seven digits too");
    tap_ok(read_back(&b, warning, &error) == HT_OK && b.round == 1234567, "and are the newest");
    write_round(&a, 35);
    tap_ok(read_back(&b, warning, &error) == HT_OK && b.round == 35 && count_entries() == 1, "gone back: later ones are gone");
    genseg_state_free(&a);
    genseg_state_free(&b);
    remove_checkpoints();
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* Writes one round after the other, and now and then the same one again, until it is killed. */
static void write_until_killed(genseg_state *state)
{
    for (int64_t step = 0;; step++) {
        state->round += step % 3 != 0;
        ((float *)ht_store_data(state->store[GENSEG_S], 0))[0] = (float)state->round;
        if (genseg_checkpoint_write(run, state, NULL) != HT_OK) _exit(1);
    }
}

static void test_kills(void)
{
    enum { KILLS = 24, SPAN = 5 }; /* span: kills fall within so many writes, however fast the disk is */
    ht_error error;
    char warning[HT_MESSAGE_BYTES];
    genseg_state a = make(8);
    double begin = now();
    write_round(&a, 1);
    double each = (now() - begin) * SPAN / KILLS * 1e6;
    int torn = 0, backwards = 0;
    for (int i = 0; i < KILLS; i++) {
        int64_t before = a.round;
        pid_t child = fork();
        if (child == 0) write_until_killed(&a);
        usleep((useconds_t)(each * (i * 11 % KILLS + 1)));
        if (child < 0 || kill(child, SIGKILL) != 0 || waitpid(child, NULL, 0) != child) break;
        torn += read_back(&a, warning, &error) != HT_OK || *warning ||
                ((float *)ht_store_data(a.store[GENSEG_S], 0))[0] != (float)a.round;
        backwards += a.round < before;
    }
    tap_ok(torn == 0 && a.round > 1, "killed %d times while writing, up to round %d, a write takes %.1f ms: %d torn", KILLS,
           (int)a.round, each * KILLS / SPAN / 1e3, torn);
    tap_ok(backwards == 0, "and no round that was there is lost");
    genseg_state_free(&a);
    remove_checkpoints();
}

static void test_refusals(void)
{
    ht_error error = {HT_OK, ""};
    genseg_state a = make(7);
    tap_ok(genseg_checkpoint_write("/tmp/genseg-state-absent", &a, &error) == HT_EIO && strstr(error.message, "state-absent"),
           "no run directory: %s", error.message);
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/checkpoints", run);
    FILE *file = fopen(path, "wb");
    if (file) fclose(file);
    error = (ht_error){HT_OK, ""};
    tap_ok(genseg_checkpoint_write(run, &a, &error) == HT_EIO && strstr(error.message, "/checkpoints"), "a file: %s",
           error.message);
    unlink(path);
    genseg_state_free(&a);
}

static const char *text_in(const json_t *object, const char *first, const char *second)
{
    const char *text = json_string_value(json_object_get(json_object_get(object, first), second));
    return text ? text : "";
}

static void test_record(void)
{
    ht_error error = {HT_OK, ""};
    char path[PATH_BYTES];
    genseg_case cases[2] = {{.name = "a", .hash = 1}, {.name = "b\xFF", .hash = 0xABC}};
    genseg_dataset data = {.name = "phantom", .train = {cases, 2}, .size = 16, .channels = 3, .hash = 0x1234};
    genseg_config config = tiny(9);
    genseg_state state = make(9);
    state.round = 4;
    state.bound_seconds = 2;
    genseg_job_facts facts = {.config = &config, .data = &data, .data_path = "phantom", .phantom_seed = 5, .state = &state};
    tap_ok(genseg_record_write(run, &facts, &error) == HT_OK, "run.json at the start %s", error.message);
    facts.status = GENSEG_JOB_DONE;
    facts.path_cut = "op 17 \"stop\"";
    tap_ok(genseg_record_write(run, &facts, &error) == HT_OK, "and at the end %s", error.message);
    snprintf(path, sizeof path, "%s/run.json", run);
    json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
    const json_t *train = json_object_get(json_object_get(root, "data"), "train");
    tap_ok(root != NULL, "is JSON");
    tap_ok(strcmp(text_in(root, "data", "hash"), "0000000000001234") == 0 &&
               strcmp(text_in(root, "data", "name"), "phantom") == 0,
           "data: %s", text_in(root, "data", "hash"));
    tap_ok(strcmp(json_string_value(json_array_get(json_object_get(train, "names"), 1)), "b\\xff") == 0 &&
               strcmp(json_string_value(json_array_get(json_object_get(train, "hashes"), 1)), "0000000000000abc") == 0,
           "cases with their hashes; a name that is not UTF-8 is escaped");
    tap_ok(json_real_value(json_object_get(json_object_get(root, "seconds"), "per_round")) == 0.5, "seconds per round");
    tap_ok(json_integer_value(json_object_get(json_object_get(root, "parameters"), "architecture")) == 12, "12 alphas");
    tap_ok(strcmp(json_string_value(json_object_get(root, "path_cut")), facts.path_cut) == 0, "the cut path");
    tap_ok(strlen(json_string_value(json_object_get(root, "state_hash"))) == 16, "the state's hash");
    tap_ok(*text_in(root, "machine", "system") && *text_in(root, "build", "compiler"), "%s; %s; %s; %s",
           text_in(root, "machine", "system"), text_in(root, "machine", "processor"), text_in(root, "build", "compiler"),
           text_in(root, "build", "flags"));
    json_decref(root);
    tap_ok(genseg_record_write("/tmp/genseg-state-absent", &facts, &error) == HT_EIO, "%s", error.message);
    genseg_state_free(&state);
}

int main(void)
{
    ht_error error = {HT_OK, ""};
    device = ht_device_open("cpu", 1, &error);
    if (!tap_ok(device && mkdtemp(run), "a device and a folder %s", error.message)) return tap_done();
    test_new();
    test_plain();
    test_round_trip();
    test_damage();
    test_leftovers();
    test_kills();
    test_refusals();
    test_record();
    remove_all(run);
    ht_device_close(device);
    return tap_done();
}
