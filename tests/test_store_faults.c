/*
 * Files under faults: this program brings its own open, openat, pread, write, fsync, close and renameat, which take the
 * place of the system's and can go wrong at the n-th call, once or from then on, or move only a few bytes at a time.
 * For every n, error and operation: no half-written file, no half-loaded store, no descriptor or temporary left, and
 * what was refused works when the fault is over.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/syscall.h>

#include "scratch.h"
#include "store/internal.h"
#include "tap.h"

static struct fault {
    int32_t at, calls; /* the call that goes wrong, counted from 1; 0: none */
    int code;
    bool sticky, small;
} fault;

static bool wrong(void)
{
    if (fault.at == 0) return false;
    fault.calls++;
    if (fault.calls != fault.at && !(fault.sticky && fault.calls > fault.at)) return false;
    errno = fault.code;
    return true;
}

static size_t portion(size_t count) { return fault.small && count > 5 ? 5 : count; }

int open(const char *path, int flags, ...)
{
    return wrong() ? -1 : (int)syscall(SYS_openat, AT_FDCWD, path, flags, 0666);
}

int openat(int folder, const char *path, int flags, ...)
{
    return wrong() ? -1 : (int)syscall(SYS_openat, folder, path, flags, 0666);
}

ssize_t pread(int descriptor, void *bytes, size_t count, off_t offset)
{
    return wrong() ? -1 : (ssize_t)syscall(SYS_pread64, descriptor, bytes, portion(count), offset);
}

ssize_t write(int descriptor, const void *bytes, size_t count)
{
    return wrong() ? -1 : (ssize_t)syscall(SYS_write, descriptor, bytes, portion(count));
}

int fsync(int descriptor) { return wrong() ? -1 : (int)syscall(SYS_fsync, descriptor); }

int renameat(int from_folder, const char *from, int to_folder, const char *to)
{
    return wrong() ? -1 : (int)syscall(SYS_renameat2, from_folder, from, to_folder, to, 0);
}

/* As on Linux: the descriptor is closed, whatever is reported. */
int close(int descriptor)
{
    int result = (int)syscall(SYS_close, descriptor);
    return wrong() ? -1 : result;
}

static ht_store *stores[2]; /* what is saved over what */

static ht_store *new_store(float value)
{
    ht_store *store = ht_store_new(NULL);
    scratch_need(ht_store_add(store, "w", HT_F32, HT_SHAPE(4), HT_PARAMETER, NULL) == 0, "add");
    scratch_need(ht_store_add(store, "m", HT_F64, HT_SHAPE(2), HT_BUFFER, NULL) == 1, "add");
    scratch_need(ht_store_set(store, "w", (const float[]){value, value, value, value}, 4, NULL) == HT_OK, "set");
    scratch_need(ht_store_set(store, "m", (const double[]){value, 1}, 2, NULL) == HT_OK, "set");
    return store;
}

static const char *const members[] = {"a.safetensors", "b.json"};

static ht_status save(ht_error *error) { return ht_store_save(stores[1], scratch_path(members[0]), NULL, 0, error); }
static ht_status put_text(ht_error *error)
{
    return ht_file_write(scratch_path(members[1]), "{\"new\": 1}", 10, error);
}
static ht_status list(ht_error *error) { return ht_manifest_write(scratch_folder, members, 2, error); }
static ht_status verify(ht_error *error) { return ht_manifest_verify(scratch_folder, error); }

/* Loads over a store and beside it: either all of the file arrives or nothing. */
static ht_status load(ht_error *error)
{
    ht_store *store = ht_store_new(NULL);
    ht_store_add(store, "m", HT_F64, HT_SHAPE(2), HT_BUFFER, NULL);
    uint64_t before = ht_store_hash(store);
    ht_status status = ht_store_load(store, scratch_path(members[0]), error);
    uint64_t after = ht_store_hash(store);
    ht_store_free(store);
    return status == HT_OK ? (after == ht_store_hash(stores[0]) ? HT_OK : HT_EINTERNAL)
                           : (after == before ? status : HT_EINTERNAL);
}

#define TABLE "c.npy"

/* The table arrives as a whole, or nothing does. */
static ht_status load_table(ht_error *error)
{
    ht_store *store = ht_store_new(NULL);
    ht_status status = ht_store_load_npy(store, "x", scratch_path(TABLE), error) == 0 ? HT_OK : error ? error->status : HT_EIO;
    bool good = ht_store_count(store) == (status == HT_OK);
    if (status == HT_OK) good = good && ((const double *)ht_store_data(store, 0))[1] == 2.5;
    ht_store_free(store);
    return good ? status : HT_EINTERNAL;
}

static ht_status metadata(ht_error *error)
{
    char value[8];
    return ht_file_metadata(scratch_path(members[0]), "ht.buffers", value, sizeof value, error);
}

static void begin(void)
{
    static const char head[] = "\x93NUMPY\1\0\x38\0{'descr': '<f8', 'fortran_order': False, 'shape': (2,)}\n";
    char table[82] = {0};
    double numbers[2] = {1, 2.5};
    fault = (struct fault){0};
    memcpy(table, head, sizeof head - 1);
    memcpy(table + sizeof head - 1, numbers, sizeof numbers);
    scratch_need(sizeof head - 1 == 66, "count");
    scratch_write(scratch_path(TABLE), table, sizeof table);
    scratch_need(ht_store_save(stores[0], scratch_path(members[0]), NULL, 0, NULL) == HT_OK, "save");
    scratch_need(ht_file_write(scratch_path(members[1]), "{}", 2, NULL) == HT_OK, "write");
    scratch_need(ht_manifest_write(scratch_folder, members, 2, NULL) == HT_OK, "list");
}

/* The file holds all of the old or all of the new. */
static bool whole(void)
{
    size_t bytes;
    ht_store *store = ht_store_new(NULL);
    bool loaded = ht_store_load(store, scratch_path(members[0]), NULL) == HT_OK;
    uint64_t hash = ht_store_hash(store);
    ht_store_free(store);
    char *text = scratch_read(scratch_path(members[1]), &bytes);
    bool good = strcmp(text, "{}") == 0 || strcmp(text, "{\"new\": 1}") == 0;
    free(text);
    return good && loaded && (hash == ht_store_hash(stores[0]) || hash == ht_store_hash(stores[1]));
}

typedef struct tally {
    int32_t runs, halves, leaks, orphans, wordless, stuck;
} tally;

/* One run with the fault at call n; false if the operation has fewer calls. */
static bool run(ht_status (*operation)(ht_error *), int32_t n, int code, bool sticky, tally *t)
{
    ht_error error = {0};
    begin();
    int lowest = dup(0);
    close(lowest);
    fault = (struct fault){.at = n, .code = code, .sticky = sticky};
    ht_status status = operation(&error);
    bool reached = fault.calls >= n;
    fault = (struct fault){0};
    int again = dup(0);
    close(again);
    t->runs += reached;
    t->leaks += lowest != again;
    t->orphans += scratch_count() != 4;
    t->halves += !whole() || (status != HT_OK && status != HT_EIO);
    bool words = strstr(error.message, scratch_folder) && strstr(error.message, strerror(code));
    t->wordless += status != HT_OK && !words;
    if (operation != verify) t->stuck += operation(NULL) != HT_OK;
    return reached;
}

static void test_operation(ht_status (*operation)(ht_error *), const char *name)
{
    static const int codes[] = {EIO, ENOSPC, EINTR};
    tally t = {0};
    for (size_t c = 0; c < sizeof codes / sizeof codes[0]; c++) {
        for (int32_t n = 1; run(operation, n, codes[c], false, &t); n++) continue;
        if (codes[c] == EINTR) continue; /* what a signal cuts short is tried again, for ever if need be */
        for (int32_t n = 1; run(operation, n, codes[c], true, &t); n++) continue;
    }
    tap_ok(t.runs > 0, "%s: %d faults", name, t.runs);
    tap_ok(t.halves == 0, "%s: all or nothing", name);
    tap_ok(t.leaks == 0 && t.orphans == 0, "%s: no descriptor and no temporary file is left", name);
    tap_ok(t.wordless == 0, "%s: messages name the file and what the system said", name);
    tap_ok(t.stuck == 0, "%s: works when the fault is over", name);
    begin();
    fault.small = true;
    tap_ok(operation(NULL) == HT_OK, "%s: five bytes at a time", name);
    fault.small = false;
    tap_ok(whole(), "%s: and the files are whole", name);
}

/* A refused fsync must not be reported as done, and nothing may be renamed after it. */
static void test_sync(void)
{
    ht_error error = {0};
    ht_store *store = ht_store_new(NULL);
    int32_t synced = 0;
    for (int32_t n = 1; n < 100; n++) {
        begin();
        error = (ht_error){0};
        fault = (struct fault){.at = n, .code = EIO};
        ht_status status = save(&error);
        bool reached = fault.calls >= n;
        fault = (struct fault){0};
        if (!reached) break;
        if (!strstr(error.message, "fsync")) continue;
        synced++;
        bool folder = strstr(error.message, "folder");
        ht_store_load(store, scratch_path(members[0]), NULL);
        bool kept = ht_store_hash(store) == ht_store_hash(stores[folder ? 1 : 0]);
        tap_ok(status == HT_EIO && kept, "fsync refused, of the %s",
               folder ? "folder: the new file is there, but not promised" : "file: the old one stays");
    }
    tap_ok(synced == 2, "a save syncs its file and its folder");
    ht_store_free(store);
}

int main(void)
{
    scratch_open();
    stores[0] = new_store(1);
    stores[1] = new_store(2);
    test_operation(save, "save");
    test_operation(load, "load");
    test_operation(load_table, "load a table");
    test_operation(metadata, "metadata");
    test_operation(put_text, "write");
    test_operation(list, "manifest");
    test_operation(verify, "verify");
    test_sync();
    ht_store_free(stores[0]);
    ht_store_free(stores[1]);
    scratch_close();
    return tap_done();
}
