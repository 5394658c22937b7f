/*
 * Devices, stores, their files and manifests: what a store promises, what a round trip keeps, that a write that is
 * refused leaves the old file, that damage to a checkpoint shows. Files that are wrong by design: test_safetensors.c.
 */
#include <float.h>
#include <math.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "scratch.h"
#include "store/internal.h"
#include "tap.h"

static void expect(ht_status got, ht_status status, const ht_error *error, const char *words, const char *name)
{
    bool good = got == status && error->status == status && strstr(error->message, words);
    tap_ok(good, "%s", name);
    if (!good) printf("# %s \"%s\"\n", ht_status_name(got), error->message);
}

static void test_device(void)
{
    ht_error error = {0};
    ht_device *device = ht_device_open("cpu", 3, &error);
    tap_ok(device && ht_device_threads(device) == 3, "a CPU of 3 threads");
    tap_ok(hti_device_backend(device) != NULL, "has a backend");
    ht_device_close(device);
    device = ht_device_open("cpu", 0, &error);
    tap_ok(device && ht_device_threads(device) >= 1, "a CPU of as many as OpenMP offers");
    ht_device_close(device);
    ht_device_close(NULL);
    device = ht_device_open("abacus", 0, &error);
    expect(error.status, HT_EDEVICE, &error, "abacus", "no such device");
    error = (ht_error){0};
    tap_ok(!device && !ht_device_open("cpu", -1, &error) && error.status == HT_EINVALID, "no threads below 0");
}

static void expect_no_tensor(ht_store *store, const char *name, ht_dtype dtype, ht_shape shape, ht_role role,
                             ht_status status, const char *what)
{
    ht_error error = {0};
    int32_t before = ht_store_count(store);
    int32_t index = ht_store_add(store, name, dtype, shape, role, &error);
    expect(index < 0 && ht_store_count(store) == before ? error.status : HT_OK, status, &error, "store: ", what);
}

static void test_add(void)
{
    ht_store *store = ht_store_new(NULL);
    char name[300];
    tap_ok(ht_store_add(store, "w", HT_F32, HT_SHAPE(2, 3), HT_PARAMETER, NULL) == 0, "a tensor");
    tap_ok(ht_store_add(store, "step", HT_I32, HT_SCALAR, HT_BUFFER, NULL) == 1, "a scalar");
    tap_ok(ht_store_add(store, "none", HT_F64, HT_SHAPE(0, 4), HT_BUFFER, NULL) == 2 && ht_store_data(store, 2),
           "an empty tensor has a place too");
    const float *first = ht_store_data(store, 0);
    bool zeroed = true, aligned = true, still = true;
    for (int i = 0; i < 6; i++) zeroed = zeroed && first[i] == 0;
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "layer %d/weight", i);
        int32_t index = ht_store_add(store, name, HT_F64, HT_SHAPE(i % 7 + 1), HT_PARAMETER, NULL);
        aligned = aligned && index == i + 3 && (uintptr_t)ht_store_data(store, index) % 64 == 0;
    }
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "layer %d/weight", i);
        still = still && ht_store_find(store, name) == i + 3 && strcmp(ht_store_name(store, i + 3), name) == 0;
    }
    tap_ok(zeroed && aligned && first == ht_store_data(store, 0), "zeroed, aligned to 64 bytes, never moved");
    tap_ok(still && ht_store_find(store, "layer") == -1 && ht_store_find(store, NULL) == -1, "found by name");
    tap_ok(ht_store_dtype(store, 1) == HT_I32 && ht_store_shape(store, 1).rank == 0 &&
               ht_store_role(store, 1) == HT_BUFFER && ht_store_role(store, 0) == HT_PARAMETER, "facts of a tensor");
    for (int i = 0; i < 3; i++) { /* large memory, given back full of ones and taken again */
        ht_store *large = ht_store_new(NULL);
        int32_t index = ht_store_add(large, "large", HT_F32, HT_SHAPE(3 << 20), HT_BUFFER, NULL);
        unsigned char *bytes = index == 0 ? ht_store_data(large, 0) : NULL;
        for (size_t at = 0; bytes && at < (size_t)12 << 20; at += 1021) zeroed = zeroed && bytes[at] == 0;
        if (bytes) memset(bytes, 1, (size_t)12 << 20);
        zeroed = zeroed && bytes;
        ht_store_free(large);
    }
    tap_ok(zeroed && !ht_store_device(store), "large tensors are zeroed too");
    memset(name, 'n', sizeof name);
    name[255] = 0;
    tap_ok(ht_store_add(store, name, HT_F32, HT_SCALAR, HT_BUFFER, NULL) >= 0, "a name of 255 bytes");
    name[255] = 'n';
    name[256] = 0;
    expect_no_tensor(store, name, HT_F32, HT_SCALAR, HT_BUFFER, HT_EINVALID, "a name of 256 is refused");
    expect_no_tensor(store, "", HT_F32, HT_SCALAR, HT_BUFFER, HT_EINVALID, "the empty name is refused");
    expect_no_tensor(store, NULL, HT_F32, HT_SCALAR, HT_BUFFER, HT_EINVALID, "no name is refused");
    expect_no_tensor(store, "w", HT_F32, HT_SCALAR, HT_BUFFER, HT_EINVALID, "a name that is taken is refused");
    expect_no_tensor(store, "a\tb", HT_F32, HT_SCALAR, HT_BUFFER, HT_EINVALID, "a tab is refused");
    expect_no_tensor(store, "\xC3\xA4", HT_F32, HT_SCALAR, HT_BUFFER, HT_EINVALID, "beyond ASCII is refused");
    expect_no_tensor(store, "__metadata__", HT_F32, HT_SCALAR, HT_BUFFER, HT_EINVALID, "the reserved name is refused");
    expect_no_tensor(store, "x", (ht_dtype)7, HT_SCALAR, HT_BUFFER, HT_EINVALID, "no type is refused");
    expect_no_tensor(store, "x", HT_F32, HT_SCALAR, (ht_role)0, HT_EINVALID, "no role is refused");
    expect_no_tensor(store, "x", HT_F32, HT_SHAPE(-1), HT_BUFFER, HT_ESHAPE, "a negative size is refused");
    expect_no_tensor(store, "x", HT_F32, HT_SHAPE(1, 1, 1, 1, 1, 1, 1, 1, 1), HT_BUFFER, HT_ESHAPE,
                     "9 sizes are refused");
    expect_no_tensor(store, "x", HT_F32, HT_SHAPE(INT64_C(1) << 32, INT64_C(1) << 32), HT_BUFFER, HT_ESHAPE,
                     "2^64 elements are refused");
    expect_no_tensor(store, "x", HT_F64, HT_SHAPE(INT64_C(1) << 62), HT_BUFFER, HT_ENOMEM, "2^65 bytes are refused");
    expect_no_tensor(store, "x", HT_F32, HT_SHAPE(INT64_C(1) << 50), HT_BUFFER, HT_ENOMEM, "2^52 bytes are refused");
    hti_store_retain(store);
    tap_ok(ht_store_free(store) == HT_EINVALID && ht_store_count(store) > 0, "not freed while a program reads it");
    hti_store_release(store);
    tap_ok(ht_store_free(store) == HT_OK && ht_store_free(NULL) == HT_OK, "freed after it");
}

static const float floats[6] = {1.5f, -0.0f, FLT_TRUE_MIN, FLT_MAX, 3, 4};

/* f32, f64, i32; parameter and buffers; infinities and a NaN with a payload. */
static ht_store *filled(void)
{
    static const int32_t integers[3] = {INT32_MIN, 0, INT32_MAX};
    double doubles[3] = {INFINITY, DBL_TRUE_MIN, 0};
    uint64_t payload = UINT64_C(0x7FF80000DEADBEEF);
    memcpy(&doubles[2], &payload, sizeof payload);
    ht_store *store = ht_store_new(NULL);
    scratch_need(ht_store_add(store, "count \"q\" \\", HT_I32, HT_SHAPE(3), HT_BUFFER, NULL) == 0, "add");
    scratch_need(ht_store_add(store, "G/enc0/weight", HT_F32, HT_SHAPE(2, 1, 3), HT_PARAMETER, NULL) == 1, "add");
    scratch_need(ht_store_add(store, "mean", HT_F64, HT_SHAPE(3), HT_BUFFER, NULL) == 2, "add");
    scratch_need(ht_store_add(store, "none", HT_F64, HT_SHAPE(0), HT_PARAMETER, NULL) == 3, "add");
    scratch_need(ht_store_add(store, "rate", HT_F32, HT_SCALAR, HT_PARAMETER, NULL) == 4, "add");
    scratch_need(ht_store_set(store, "count \"q\" \\", integers, 3, NULL) == HT_OK, "set");
    scratch_need(ht_store_set(store, "G/enc0/weight", floats, 6, NULL) == HT_OK, "set");
    scratch_need(ht_store_set(store, "mean", doubles, 3, NULL) == HT_OK, "set");
    return store;
}

static bool equal(const ht_store *a, const ht_store *b)
{
    bool same = ht_store_count(a) == ht_store_count(b);
    for (int32_t i = 0; same && i < ht_store_count(a); i++)
        same = strcmp(ht_store_name(a, i), ht_store_name(b, i)) == 0 && ht_store_dtype(a, i) == ht_store_dtype(b, i) &&
               ht_store_role(a, i) == ht_store_role(b, i) && hti_store_bytes(a, i) == hti_store_bytes(b, i) &&
               ht_shape_equal(ht_store_shape(a, i), ht_store_shape(b, i)) &&
               memcmp(ht_store_data(a, i), ht_store_data(b, i), hti_store_bytes(a, i)) == 0;
    return same;
}

static void test_values(void)
{
    ht_error error = {0};
    float out[6] = {0};
    ht_store *store = filled();
    tap_ok(ht_store_get(store, "G/enc0/weight", out, 6, &error) == HT_OK && !memcmp(out, floats, sizeof out),
           "numbers come out as they went in");
    expect(ht_store_get(store, "no", out, 6, &error), HT_EINVALID, &error, "\"no\"", "get of an absent name");
    error = (ht_error){0};
    expect(ht_store_set(store, "rate", out, 2, &error), HT_ESHAPE, &error, "expected 1", "set of a wrong count");
    tap_ok(ht_store_set(store, "none", NULL, 0, NULL) == HT_OK, "nothing can be set");
    uint64_t before = ht_store_hash(store);
    ((float *)ht_store_data(store, 1))[1] = 0.0f;
    tap_ok(ht_store_hash(store) != before, "the hash tells -0 from 0");
    ((float *)ht_store_data(store, 1))[1] = -0.0f;
    tap_ok(ht_store_hash(store) == before, "and is a function of the bits");
    ht_store *wide = ht_store_copy(store, HT_F64, NULL), *narrow = ht_store_copy(wide, HT_F32, NULL);
    tap_ok(ht_store_dtype(wide, 1) == HT_F64 && ht_store_dtype(wide, 0) == HT_I32, "a copy as f64 keeps integers");
    tap_ok(memcmp(ht_store_data(narrow, 1), floats, sizeof floats) == 0, "f32 to f64 and back is exact");
    tap_ok(ht_store_hash(wide) != before && ht_store_role(wide, 0) == HT_BUFFER, "types hash, roles are kept");
    error = (ht_error){0};
    tap_ok(!ht_store_copy(store, HT_I32, &error) && error.status == HT_EDTYPE, "no copy as integers");
    memset(ht_store_data(store, 1), 0, sizeof floats);
    tap_ok(ht_store_assign(store, wide, NULL) == HT_OK && ht_store_hash(store) == before, "assigned by name");
    tap_ok(ht_store_assign(store, store, NULL) == HT_OK && ht_store_hash(store) == before, "to itself");
    ht_store_add(wide, "more", HT_F32, HT_SCALAR, HT_BUFFER, NULL);
    error = (ht_error){0};
    expect(ht_store_assign(store, wide, &error), HT_EINVALID, &error, "\"more\"", "no place for a tensor");
    error = (ht_error){0};
    expect(ht_store_assign(wide, store, &error), HT_EINVALID, &error, "\"more\"", "no value for a tensor");
    ht_store *other = ht_store_new(NULL), *third = ht_store_new(NULL);
    ht_store_add(other, "rate", HT_I32, HT_SCALAR, HT_BUFFER, NULL);
    ht_store_add(third, "rate", HT_F32, HT_SHAPE(1), HT_BUFFER, NULL);
    error = (ht_error){0};
    expect(ht_store_assign(other, third, &error), HT_ESHAPE, &error, "[1]", "another shape");
    ht_store_free(third);
    third = ht_store_new(NULL);
    ht_store_add(third, "rate", HT_F32, HT_SCALAR, HT_BUFFER, NULL);
    error = (ht_error){0};
    expect(ht_store_assign(other, third, &error), HT_EDTYPE, &error, "integer", "real to integer");
    ht_store_add(other, "b", HT_F32, HT_SHAPE(2), HT_BUFFER, NULL);
    ht_store *turned = ht_store_new(NULL);
    ht_store_add(turned, "b", HT_F32, HT_SHAPE(2), HT_BUFFER, NULL);
    ht_store_add(turned, "rate", HT_I32, HT_SCALAR, HT_BUFFER, NULL);
    tap_ok(ht_store_hash(turned) == ht_store_hash(other), "the hash does not depend on the order of addition");
    ht_store *const all[] = {store, wide, narrow, other, third, turned};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) ht_store_free(all[i]);
}

static void test_round_trip(void)
{
    static const ht_metadata metadata[] = {{"round", "12"}, {"text \"\\", "\xC3\xA4\n\x01/\xF0\x9F\x98\x80"}, {"", ""}};
    ht_error error = {0};
    char value[32];
    size_t bytes;
    const char *path = scratch_path("store.safetensors"), *again = scratch_path("again.safetensors");
    ht_store *store = filled(), *loaded = ht_store_new(NULL);
    expect(ht_store_save(store, path, metadata, 3, &error), HT_OK, &error, "", "saved");
    expect(ht_store_load(loaded, path, &error), HT_OK, &error, "", "loaded");
    tap_ok(equal(store, loaded) && ht_store_hash(store) == ht_store_hash(loaded), "the same tensors, roles and bits");
    memset(ht_store_data(loaded, 1), 1, sizeof floats);
    const void *place = ht_store_data(loaded, 1);
    tap_ok(ht_store_load(loaded, path, &error) == HT_OK && equal(store, loaded) && ht_store_data(loaded, 1) == place,
           "loaded over what is there, in place");
    for (int i = 0; i < 3; i++)
        tap_ok(ht_file_metadata(path, metadata[i].key, value, sizeof value, &error) == HT_OK &&
                   strcmp(value, metadata[i].value) == 0, "metadata %d", i);
    expect(ht_file_metadata(path, "absent", value, sizeof value, &error), HT_EINVALID, &error, "absent", "no such key");
    error = (ht_error){0};
    expect(ht_file_metadata(path, "round", value, 2, &error), HT_EINVALID, &error, "2 bytes", "no room for a value");
    tap_ok(ht_file_metadata(path, "round", value, 3, NULL) == HT_OK, "just room for it");
    tap_ok(ht_store_save(loaded, again, metadata, 3, NULL) == HT_OK, "saved again");
    char *first = scratch_read(path, &bytes), *second = scratch_read(again, &bytes);
    uint64_t length;
    memcpy(&length, first, sizeof length);
    tap_ok(memcmp(first, second, bytes) == 0, "to the same bytes");
    tap_ok((length + 8) % 64 == 0 && first[8] == '{', "with aligned data");
    free(first);
    free(second);
    ht_store_free(loaded);
    loaded = ht_store_new(NULL);
    ht_store *empty = ht_store_new(NULL);
    tap_ok(ht_store_save(empty, again, NULL, 0, NULL) == HT_OK && ht_store_load(loaded, again, NULL) == HT_OK &&
               ht_store_count(loaded) == 0, "an empty store");
    static const struct {
        ht_metadata entries[2];
        const char *name;
    } wrong[] = {
        {{{"k", "1"}, {"k", "2"}}, "a key twice is not written"},
        {{{"ht.buffers", "x"}, {"k", ""}}, "the library's own key is not written"},
        {{{"k", "\xFF"}, {"l", ""}}, "a value that is not UTF-8 is not written"},
        {{{"k", ""}, {"\xC0\x80", ""}}, "a key that is not UTF-8 is not written"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        error = (ht_error){0};
        expect(ht_store_save(store, again, wrong[i].entries, 2, &error), HT_EINVALID, &error, again, wrong[i].name);
    }
    tap_ok(ht_store_load(loaded, again, NULL) == HT_OK && ht_store_count(loaded) == 0, "and the old file stays");
    ht_store_free(store);
    ht_store_free(loaded);
    ht_store_free(empty);
}

/* The path holds what it held, and nothing else lies about. */
static void expect_old(const char *path, int files, ht_status got, const ht_error *error, const char *name)
{
    size_t bytes;
    char *text = scratch_read(path, &bytes);
    expect(got, HT_EIO, error, path, name);
    tap_ok(strcmp(text, "old") == 0, "the old file stays");
    tap_ok(scratch_count() == files, "no temporary file stays");
    free(text);
}

static void test_atomicity(void)
{
    ht_error error = {0};
    struct stat facts;
    struct rlimit unlimited;
    const char *path = scratch_path("old"), *folder = scratch_path("folder");
    ht_store *store = filled();
    mode_t mask = umask(027);
    tap_ok(ht_file_write(path, "old", 3, NULL) == HT_OK && stat(path, &facts) == 0 && (facts.st_mode & 0777) == 0640,
           "a file is written, with the mode that the mask leaves");
    umask(mask);
    int files = scratch_count();
    getrlimit(RLIMIT_FSIZE, &unlimited);
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &(struct rlimit){.rlim_cur = 100, .rlim_max = unlimited.rlim_max});
    ht_status status = ht_store_save(store, path, NULL, 0, &error);
    setrlimit(RLIMIT_FSIZE, &unlimited);
    expect_old(path, files, status, &error, "no room for the file");
    struct rlimit descriptors;
    getrlimit(RLIMIT_NOFILE, &descriptors);
    error = (ht_error){0};
    setrlimit(RLIMIT_NOFILE, &(struct rlimit){.rlim_cur = 0, .rlim_max = descriptors.rlim_max});
    status = ht_store_save(store, path, NULL, 0, &error);
    setrlimit(RLIMIT_NOFILE, &descriptors);
    expect_old(path, files, status, &error, "no descriptors");
    scratch_need(mkdir(folder, 0777) == 0, "make a folder");
    error = (ht_error){0};
    status = ht_store_save(store, folder, NULL, 0, &error);
    expect(status, HT_EIO, &error, folder, "a folder is not replaced");
    tap_ok(scratch_count() == files + 1, "no temporary file stays");
    error = (ht_error){0};
    const char *nowhere = scratch_path("absent/x.safetensors");
    expect(ht_store_save(store, nowhere, NULL, 0, &error), HT_EIO, &error, nowhere, "no such folder");
    error = (ht_error){0};
    expect(ht_file_write(scratch_path("old/x"), "x", 1, &error), HT_EIO, &error, "/old/x", "a file is no folder");
    error = (ht_error){0};
    expect(ht_file_write(scratch_path(""), "x", 1, &error), HT_EINVALID, &error, "names no file", "no name");
    char name[300] = {0};
    memset(name, 'n', 255);
    tap_ok(ht_file_write(scratch_path(name), "x", 1, NULL) == HT_OK, "a name of 255 bytes can be written");
    name[255] = 'n';
    error = (ht_error){0};
    expect(ht_file_write(scratch_path(name), "x", 1, &error), HT_EIO, &error, "nnn", "one of 256 cannot");
    tap_ok(scratch_count() == files + 2, "no temporary file stays");
    scratch_need(chdir(scratch_folder) == 0, "go there");
    tap_ok(ht_file_write("old", "new", 3, NULL) == HT_OK && ht_file_write("empty", NULL, 0, NULL) == HT_OK,
           "paths without a folder");
    scratch_need(chdir("/") == 0, "go back");
    ht_store_free(store);
}

static const char *const members[] = {"weights.safetensors", "state.json", "empty"};

static void make_checkpoint(void)
{
    ht_error error = {0};
    ht_store *store = filled();
    ht_store_save(store, scratch_path(members[0]), NULL, 0, &error);
    ht_file_write(scratch_path(members[1]), "{\"round\": 12}\n", 14, &error);
    ht_file_write(scratch_path(members[2]), "", 0, &error);
    ht_manifest_write(scratch_folder, members, 3, &error);
    ht_store_free(store);
    scratch_need(error.status == HT_OK, "make a checkpoint");
}

/* Damages one file in every bit and at every length; each must show. */
static void test_damage_to(const char *name)
{
    size_t bytes;
    int32_t missed = 0, nameless = 0;
    const char *path = scratch_path(name);
    char *text = scratch_read(path, &bytes);
    for (size_t bit = 0; bit < 8 * bytes; bit++) {
        ht_error error = {0};
        text[bit / 8] = (char)(text[bit / 8] ^ (1 << (bit % 8)));
        scratch_overwrite(path, text, bytes);
        missed += ht_manifest_verify(scratch_folder, &error) == HT_OK;
        nameless += !strstr(error.message, path) || !strstr(error.message, "expected");
        text[bit / 8] = (char)(text[bit / 8] ^ (1 << (bit % 8)));
    }
    for (size_t cut = bytes; cut-- > 0;) {
        ht_error error = {0};
        scratch_need(truncate(path, (off_t)cut) == 0, "cut a file");
        missed += ht_manifest_verify(scratch_folder, &error) == HT_OK;
        nameless += !strstr(error.message, path) || !strstr(error.message, "expected");
    }
    scratch_write(path, text, bytes);
    tap_ok(ht_manifest_verify(scratch_folder, NULL) == HT_OK, "%s: and whole again it verifies", name);
    tap_ok(missed == 0, "%s: every flip of %zu bits and every truncation shows", name, 8 * bytes);
    tap_ok(nameless == 0, "%s: and the file is named", name);
    free(text);
}

static void test_manifest(void)
{
    ht_error error = {0};
    size_t bytes;
    make_checkpoint();
    expect(ht_manifest_verify(scratch_folder, &error), HT_OK, &error, "", "a checkpoint verifies");
    char *text = scratch_read(scratch_path("MANIFEST"), &bytes);
    tap_ok(strstr(text, "\n00000000 0 empty\n") && strstr(text, " 14 state.json\n"), "lines of the manifest");
    free(text);
    for (int i = 0; i < 2; i++) test_damage_to(members[i]);
    test_damage_to("MANIFEST");
    scratch_write(scratch_path("empty"), "x", 1);
    expect(ht_manifest_verify(scratch_folder, &error), HT_EFORMAT, &error, "/empty: 1 bytes", "a file grew");
    remove(scratch_path("empty"));
    error = (ht_error){0};
    expect(ht_manifest_verify(scratch_folder, &error), HT_EIO, &error, "/empty: cannot open", "a file is gone");
    error = (ht_error){0};
    expect(ht_manifest_write(scratch_folder, members, 3, &error), HT_EIO, &error, "/empty", "an absent file, no line");
    remove(scratch_path("MANIFEST"));
    error = (ht_error){0};
    expect(ht_manifest_verify(scratch_folder, &error), HT_EIO, &error, "/MANIFEST", "no manifest");
    static const char *const names[] = {"", ".hidden", "..", "a/b", "/etc/passwd", "a\nb", "MANIFEST", "\xC3\xA4"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        error = (ht_error){0};
        tap_ok(ht_manifest_write(scratch_folder, &names[i], 1, &error) == HT_EINVALID &&
                   strstr(error.message, scratch_folder), "name %zu has no place in a manifest", i);
    }
    error = (ht_error){0};
    expect(ht_manifest_write(scratch_folder, members, 0, &error), HT_EINVALID, &error, "0 files", "nor have no files");
    error = (ht_error){0};
    expect(ht_manifest_verify(scratch_path("absent"), &error), HT_EIO, &error, "/absent/MANIFEST", "no folder");
}

int main(void)
{
    scratch_open();
    test_device();
    test_add();
    test_values();
    test_round_trip();
    test_atomicity();
    test_manifest();
    scratch_close();
    return tap_done();
}
