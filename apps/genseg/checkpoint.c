/*
 * Checkpoints: a folder of files for every kept round. Written under a hidden name, sealed by its MANIFEST, then renamed:
 * what has the final name is whole, whenever the power goes. Names below RUN/checkpoints:
 *     round-NNNNNN   .round-NNNNNN.old (one that is being replaced)   .round-NNNNNN.tmp-PID (one that is being written)
 * The state's numbers have their own reader and writer: checkpoint_numbers.c. One process writes a run at a time.
 */
#include "checkpoint.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "picture.h"

#define KEPT 2
#define NAME_BYTES 64 /* of a checkpoint's folder: 19 digits and what stands around them */
#define FOLDER "checkpoints"
#define MANIFEST "MANIFEST"
#define SUFFIX ".safetensors"

const char *const genseg_store_names[GENSEG_STORES] = {
    [GENSEG_G] = "generator",
    [GENSEG_H] = "discriminator",
    [GENSEG_S] = "segmenter",
    [GENSEG_A] = "architecture",
    [GENSEG_G_MOMENTS] = "generator-moments",
    [GENSEG_H_MOMENTS] = "discriminator-moments",
    [GENSEG_S_MOMENTS] = "segmenter-moments",
    [GENSEG_A_MOMENTS] = "architecture-moments",
    [GENSEG_CLOCK] = "clock",
};

static ht_status refuse(const char *path, const char *doing, ht_error *error)
{
    char place[GENSEG_PLACE];
    int code = errno;
    return ht_fail(error, HT_EIO, "%s: cannot %s: %s; look at the disk and the permissions", genseg_place(path, place),
                   doing, strerror(code));
}

/* folder/name in new memory, or NULL with a filled record. */
static char *join(const char *folder, const char *name, ht_error *error)
{
    char place[GENSEG_PLACE];
    char *path = genseg_path_join(folder, name);
    if (!path)
        ht_fail(error, HT_ENOMEM, "%s: no memory for the name of %.64s; free some memory", genseg_place(folder, place), name);
    return path;
}

/* ---- the folder of checkpoints ---- */

typedef enum kind { UNFINISHED, REPLACED, FINISHED } kind; /* the later the better, of the same round */

typedef struct entry {
    int64_t round;
    kind kind;
    char name[NAME_BYTES];
} entry;

typedef struct listing {
    entry *entries; /* newest first */
    int32_t count, room;
} listing;

/* Reads a name that is one of ours; what merely looks like one is left alone. */
static bool read_name(const char *name, entry *to)
{
    char again[NAME_BYTES];
    size_t bytes = strlen(name), hidden = name[0] == '.';
    if (bytes >= sizeof to->name || strncmp(name + hidden, "round-", 6) != 0) return false;
    const char *digits = name + hidden + 6;
    size_t count = strspn(digits, "0123456789");
    if (count < 6 || count > 18) return false;
    to->round = strtoll(digits, NULL, 10);
    snprintf(again, sizeof again, "%06lld", (long long)to->round);
    if (strlen(again) != count) return false;
    const char *end = digits + count;
    if (!hidden && !*end) to->kind = FINISHED;
    else if (hidden && strcmp(end, ".old") == 0) to->kind = REPLACED;
    else if (hidden && strncmp(end, ".tmp-", 5) == 0) to->kind = UNFINISHED;
    else return false;
    memcpy(to->name, name, bytes + 1);
    return true;
}

static int newest_first(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    if (x->round != y->round) return x->round < y->round ? 1 : -1;
    return (x->kind < y->kind) - (x->kind > y->kind);
}

/* Every folder of ours. An absent folder of checkpoints is an empty list. The caller frees entries. */
static ht_status list_folder(const char *folder, listing *list, ht_error *error)
{
    char place[GENSEG_PLACE];
    *list = (listing){0};
    DIR *open_folder = opendir(folder);
    if (!open_folder) return errno == ENOENT ? HT_OK : refuse(folder, "list it", error);
    ht_status status = HT_OK;
    entry found;
    const struct dirent *next;
    while (status == HT_OK && (errno = 0, next = readdir(open_folder))) {
        if (!read_name(next->d_name, &found)) continue;
        if (list->count == list->room) {
            int32_t room = list->room ? list->room * 2 : 16;
            entry *more = room > (1 << 24) ? NULL : realloc(list->entries, (size_t)room * sizeof *more);
            if (!more) {
                status = ht_fail(error, HT_ENOMEM, "%s: no memory to list it; free some memory", genseg_place(folder, place));
                break;
            }
            list->entries = more;
            list->room = room;
        }
        list->entries[list->count++] = found;
    }
    if (status == HT_OK && errno) status = refuse(folder, "list it", error);
    closedir(open_folder);
    if (list->count > 1) qsort(list->entries, (size_t)list->count, sizeof *list->entries, newest_first);
    if (status == HT_OK) return status;
    free(list->entries);
    *list = (listing){0};
    return status;
}

static int remove_entry(const char *path, const struct stat *facts, int what, struct FTW *where)
{
    (void)facts, (void)what, (void)where;
    return remove(path) != 0;
}

/*
 * Removes one folder of ours, the manifest first: one that is removed by halves is no checkpoint rather than a damaged
 * one. 0, or -1 with errno set.
 */
static int remove_folder(const char *path)
{
    struct stat facts;
    bool own = lstat(path, &facts) == 0 && S_ISDIR(facts.st_mode); /* nothing is removed behind a link */
    char *manifest = own ? genseg_path_join(path, MANIFEST) : NULL;
    if (manifest) unlink(manifest);
    free(manifest);
    return nftw(path, remove_entry, 8, FTW_DEPTH | FTW_PHYS) == 0 ? 0 : -1;
}

/* Without memory, or against a reluctant disk, it stays for the next sweep. */
static void remove_below(const char *folder, const char *name)
{
    char *path = genseg_path_join(folder, name);
    if (path) (void)remove_folder(path);
    free(path);
}

static ht_status sync_folder(const char *path, ht_error *error)
{
    int folder, result = 0;
    do folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    while (folder < 0 && errno == EINTR);
    if (folder < 0) return refuse(path, "open it", error);
    do result = fsync(folder);
    while (result != 0 && errno == EINTR);
    ht_status status = HT_OK;
    if (result != 0 && errno != EINVAL) /* EINVAL: this file system syncs no folders */
        status = refuse(path, "bring its names to the disk (fsync)", error);
    close(folder);
    return status;
}

/* ---- writing ---- */

static ht_status write_files(const char *folder, const genseg_state *state, ht_error *error)
{
    char name[GENSEG_STORES][NAME_BYTES];
    const char *names[GENSEG_STORES + 1];
    int32_t count = 0;
    ht_status status = HT_OK;
    for (int32_t i = 0; i < GENSEG_STORES && status == HT_OK; i++) {
        if (!state->store[i] || ht_store_count(state->store[i]) == 0) continue;
        snprintf(name[i], sizeof name[i], "%s" SUFFIX, genseg_store_names[i]);
        char *path = join(folder, name[i], error);
        status = path ? ht_store_save(state->store[i], path, NULL, 0, error) : HT_ENOMEM;
        free(path);
        names[count++] = name[i];
    }
    if (status == HT_OK) {
        char *path = join(folder, GENSEG_NUMBERS, error);
        status = path ? genseg_numbers_write(path, state, error) : HT_ENOMEM;
        free(path);
        names[count++] = GENSEG_NUMBERS;
    }
    return status == HT_OK ? ht_manifest_write(folder, names, count, error) : status;
}

/* Gives the written folder its name; one that has it already steps aside, and is back if that goes wrong. */
static ht_status give_name(const char *from, const char *to, const char *aside, ht_error *error)
{
    struct stat facts;
    bool replaces = lstat(to, &facts) == 0;
    if (replaces) {
        if (lstat(aside, &facts) == 0 && remove_folder(aside) != 0)
            return refuse(aside, "remove this leftover", error);
        if (rename(to, aside) != 0) return refuse(to, "move it away to replace it", error);
    }
    if (rename(from, to) == 0) return HT_OK;
    ht_status status = refuse(to, "give the checkpoint its name", error);
    if (replaces) (void)rename(aside, to); /* if not, reading knows the other name too */
    return status;
}

/* RUN/checkpoints, made if it is not there; what was left behind unfinished is removed. */
static ht_status open_folder(const char *run, char **folder, ht_error *error)
{
    listing list;
    *folder = join(run, FOLDER, error);
    if (!*folder) return HT_ENOMEM;
    ht_status status = HT_OK;
    if (mkdir(*folder, 0777) == 0) status = sync_folder(run, error);
    else if (errno != EEXIST) status = refuse(*folder, "make this folder", error);
    if (status == HT_OK) status = list_folder(*folder, &list, error);
    if (status == HT_OK) {
        for (int32_t i = 0; i < list.count; i++)
            if (list.entries[i].kind == UNFINISHED) remove_below(*folder, list.entries[i].name);
        free(list.entries);
    }
    return status;
}

/*
 * The written round and the one before it stay. Later rounds belong to a future that was given up when the run went on
 * from an earlier checkpoint; left there, they would be read in place of this one.
 */
static void remove_others(const char *folder, int64_t round)
{
    listing list;
    int32_t kept = 0;
    if (list_folder(folder, &list, NULL) != HT_OK) return;
    for (int32_t i = 0; i < list.count; i++) {
        const entry *e = &list.entries[i];
        bool stays = e->kind == FINISHED && e->round <= round && kept < KEPT;
        kept += stays;
        if (!stays) remove_below(folder, e->name);
    }
    free(list.entries);
}

static ht_status write_below(const char *folder, const genseg_state *state, ht_error *error)
{
    char name[3][NAME_BYTES];
    char *path[3] = {NULL, NULL, NULL};
    long long round = (long long)state->round;
    snprintf(name[UNFINISHED], NAME_BYTES, ".round-%06lld.tmp-%ld", round, (long)getpid());
    snprintf(name[REPLACED], NAME_BYTES, ".round-%06lld.old", round);
    snprintf(name[FINISHED], NAME_BYTES, "round-%06lld", round);
    ht_status status = HT_OK;
    for (int32_t i = UNFINISHED; i <= FINISHED && status == HT_OK; i++)
        if (!(path[i] = join(folder, name[i], error))) status = HT_ENOMEM;
    if (status == HT_OK && mkdir(path[UNFINISHED], 0777) != 0)
        status = refuse(path[UNFINISHED], "make this folder", error);
    else if (status == HT_OK) {
        status = write_files(path[UNFINISHED], state, error);
        if (status == HT_OK) status = give_name(path[UNFINISHED], path[FINISHED], path[REPLACED], error);
        if (status != HT_OK) (void)remove_folder(path[UNFINISHED]);
    }
    if (status == HT_OK) status = sync_folder(folder, error);
    for (int32_t i = UNFINISHED; i <= FINISHED; i++) free(path[i]);
    return status;
}

ht_status genseg_checkpoint_write(const char *run, const genseg_state *state, ht_error *error)
{
    char *folder = NULL;
    ht_status status = open_folder(run, &folder, error);
    if (status == HT_OK) status = write_below(folder, state, error);
    if (status == HT_OK) remove_others(folder, state->round);
    free(folder);
    return status;
}

/* ---- reading ---- */

static ht_status read_store(const char *folder, int32_t index, int64_t tensors, genseg_state *state, ht_error *error)
{
    char name[NAME_BYTES], place[GENSEG_PLACE];
    state->store[index] = ht_store_new(state->device);
    if (!state->store[index])
        return ht_fail(error, HT_ENOMEM, "%s: no memory to read it; free some memory", genseg_place(folder, place));
    if (tensors == 0) return HT_OK;
    snprintf(name, sizeof name, "%s" SUFFIX, genseg_store_names[index]);
    char *path = join(folder, name, error);
    if (!path) return HT_ENOMEM;
    ht_status status = ht_store_load(state->store[index], path, error);
    if (status == HT_OK && ht_store_count(state->store[index]) != tensors)
        status = ht_fail(error, HT_EFORMAT, "%s: %d tensors; expected %lld, as " GENSEG_NUMBERS " says",
                         genseg_place(path, place), (int)ht_store_count(state->store[index]), (long long)tensors);
    free(path);
    return status;
}

/* Reads one folder into stores of its own; on a refusal nothing is left of them. */
static ht_status read_folder(const char *folder, genseg_state *state, ht_error *error)
{
    int64_t tensors[GENSEG_STORES];
    ht_status status = ht_manifest_verify(folder, error);
    char *path = status == HT_OK ? join(folder, GENSEG_NUMBERS, error) : NULL;
    if (status == HT_OK) status = path ? genseg_numbers_read(path, state, tensors, error) : HT_ENOMEM;
    free(path);
    for (int32_t i = 0; i < GENSEG_STORES && status == HT_OK; i++)
        status = read_store(folder, i, tensors[i], state, error);
    if (status != HT_OK) genseg_state_free(state);
    return status;
}

/* The finding without the advice that it ends with, which the caller follows or corrects. */
static int finding_bytes(const ht_error *finding)
{
    const char *advice = strstr(finding->message, "; take an older checkpoint");
    return advice ? (int)(advice - finding->message) : (int)strlen(finding->message);
}

/*
 * The newest that can be read. *damage keeps the first finding. EINVALID, with nothing in *damage, if there was none to
 * try: a folder without a manifest was being written when the process ended, and says nothing.
 */
static ht_status read_newest(const char *folder, const listing *list, genseg_state *state, int32_t *taken,
                             ht_error *damage, ht_error *error)
{
    for (*taken = 0; *taken < list->count; ++*taken) {
        const entry *e = &list->entries[*taken];
        if (e->kind == UNFINISHED) continue;
        char *path = join(folder, e->name, error), *manifest = path ? join(path, MANIFEST, error) : NULL;
        ht_error finding = {HT_OK, ""};
        ht_status status = HT_ENOMEM;
        bool sealed = manifest && (access(manifest, F_OK) == 0 || (errno != ENOENT && errno != ENOTDIR));
        if (sealed) status = read_folder(path, state, &finding);
        bool memory = !manifest || (sealed && status == HT_ENOMEM);
        free(manifest);
        free(path);
        if (memory) return ht_fail(error, HT_ENOMEM, "%s", finding.message);
        if (sealed && status == HT_OK) return HT_OK;
        if (sealed && damage->status == HT_OK) *damage = finding;
    }
    return HT_EINVALID;
}

ht_status genseg_checkpoint_read(const char *run, genseg_state *state, char *warning, size_t bytes, ht_error *error)
{
    char place[GENSEG_PLACE];
    listing list;
    int32_t taken = 0;
    ht_error damage = {HT_OK, ""};
    genseg_state fresh = {.device = state->device};
    if (bytes > 0) warning[0] = 0;
    char *folder = join(run, FOLDER, error);
    if (!folder) return HT_ENOMEM;
    ht_status status = list_folder(folder, &list, error);
    if (status == HT_OK) {
        status = read_newest(folder, &list, &fresh, &taken, &damage, error);
        if (status == HT_OK && damage.status != HT_OK)
            snprintf(warning, bytes, "%.*s; going on from round %lld", finding_bytes(&damage), damage.message,
                     (long long)fresh.round);
        else if (status == HT_EINVALID && damage.status != HT_OK)
            status = ht_fail(error, HT_EFORMAT, "%.*s; no other checkpoint can be read; start the run anew",
                             finding_bytes(&damage), damage.message);
        else if (status == HT_EINVALID)
            ht_fail(error, status, "%s: no checkpoint; expected a folder round-NNNNNN with its " MANIFEST "; start the run "
                    "anew", genseg_place(folder, place));
        free(list.entries);
    }
    free(folder);
    if (status != HT_OK) return status;
    genseg_state_free(state);
    *state = fresh;
    return HT_OK;
}
