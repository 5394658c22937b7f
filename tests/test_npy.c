/*
 * The strict reader of .npy files: files that are wrong in one named way, each refused with a message that names the path,
 * the store left as it was; every type and format; every truncation and every flipped bit of a header; the tables in
 * examples/data.
 */
#include <stdint.h>

#include <ht/store.h>

#include "scratch.h"
#include "tap.h"

#define FILE_BYTES 4096
#define GOOD "{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }"

/* Writes a file of the format major.minor whose header is the text, then `data_bytes` of data. Returns its size. */
static size_t write_npy(const char *path, int major, int minor, const char *header, const void *data, size_t data_bytes)
{
    unsigned char bytes[FILE_BYTES] = "\x93NUMPY";
    size_t length = strlen(header), at = major == 1 ? 10 : 12;
    scratch_need(at + length + data_bytes <= sizeof bytes, "hold a file");
    bytes[6] = (unsigned char)major;
    bytes[7] = (unsigned char)minor;
    bytes[8] = (unsigned char)(length & 255);
    bytes[9] = (unsigned char)(length >> 8);
    memcpy(bytes + at, header, length);
    if (data) memcpy(bytes + at + length, data, data_bytes);
    scratch_write(path, bytes, at + length + data_bytes);
    return at + length + data_bytes;
}

static void expect_refused(const char *path, ht_status status, const char *words, const char *name)
{
    ht_error error = {0};
    ht_store *store = ht_store_new(NULL);
    int32_t index = ht_store_load_npy(store, "x", path, &error);
    int same = ht_store_count(store) == 0, named = strstr(error.message, path) && strstr(error.message, words);
    int plain = !strchr(error.message, '\n') && !strstr(error.message, "error") && !strstr(error.message, "failed");
    tap_ok(index == -1 && error.status == status && same && named && plain, "refused: %s", name);
    if (index != -1 || error.status != status || !same || !named || !plain)
        printf("# %d, %s, \"%s\"\n", (int)index, ht_status_name(error.status), error.message);
    ht_store_free(store);
}

static void test_kinds(void)
{
    static const struct {
        const char *name, *header, *words;
        size_t data_bytes;
    } kinds[] = {
        {"an empty header", "", "'{'", 16},
        {"a list", "[]\n", "'{'", 16},
        {"an empty dict", "{}\n", "each once", 16},
        {"no line feed", GOOD, "line feed", 16},
        {"text behind the dict", GOOD " x\n", "line feed", 16},
        {"two line feeds", GOOD "\n\n", "line feed", 16},
        {"dict not closed", "{'descr': '<f8', 'fortran_order': False, 'shape': (2,),\n", "'}'", 16},
        {"a key twice", "{'descr': '<f8', 'descr': '<f8', 'shape': (2,), }\n", "each once", 16},
        {"a key too few", "{'descr': '<f8', 'shape': (2,), }\n", "each once", 16},
        {"a key too many", "{'descr': '<f8', 'fortran_order': False, 'shape': (2,), 'x': 1, }\n", "'}'", 16},
        {"an unknown key", "{'kind': '<f8', 'fortran_order': False, 'shape': (2,), }\n", "each once", 16},
        {"no colon", "{'descr' '<f8', 'fortran_order': False, 'shape': (2,), }\n", "':'", 16},
        {"no comma", "{'descr': '<f8' 'fortran_order': False, 'shape': (2,), }\n", "','", 16},
        {"quotes that differ", "{'descr': '<f8\", 'fortran_order': False, 'shape': (2,), }\n", "'<f8'", 16},
        {"big-endian numbers", "{'descr': '>f8', 'fortran_order': False, 'shape': (2,), }\n", "'<f8'", 16},
        {"complex numbers", "{'descr': '<c16', 'fortran_order': False, 'shape': (2,), }\n", "'<f8'", 32},
        {"half numbers", "{'descr': '<f2', 'fortran_order': False, 'shape': (2,), }\n", "'<f8'", 4},
        {"objects", "{'descr': '|O', 'fortran_order': False, 'shape': (2,), }\n", "'<f8'", 16},
        {"a record", "{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (2,), }\n", "'<f8'", 16},
        {"a type with a tail", "{'descr': '<f8x', 'fortran_order': False, 'shape': (2,), }\n", "'<f8'", 16},
        {"Fortran's order", "{'descr': '<f8', 'fortran_order': True, 'shape': (2,), }\n", "ascontiguousarray", 16},
        {"a shape that is a number", "{'descr': '<f8', 'fortran_order': False, 'shape': 2, }\n", "'('", 16},
        {"a shape that is a number in brackets", "{'descr': '<f8', 'fortran_order': False, 'shape': (2), }\n", "','", 16},
        {"a shape without end", "{'descr': '<f8', 'fortran_order': False, 'shape': (2,\n", "whole number", 16},
        {"a shape of a comma", "{'descr': '<f8', 'fortran_order': False, 'shape': (,), }\n", "whole number", 16},
        {"a negative size", "{'descr': '<f8', 'fortran_order': False, 'shape': (-2,), }\n", "whole number", 16},
        {"a size with a zero in front", "{'descr': '<f8', 'fortran_order': False, 'shape': (02,), }\n", "whole number", 16},
        {"a size with a letter", "{'descr': '<f8', 'fortran_order': False, 'shape': (2L,), }\n", "','", 16},
        {"a size of 2^63", "{'descr': '<f8', 'fortran_order': False, 'shape': (9223372036854775808,), }\n", "below 2^63", 16},
        {"nine axes", "{'descr': '<f8', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,2), }\n", "8 axes", 16},
        {"a product of 2^64", "{'descr': '<f8', 'fortran_order': False, 'shape': (4294967296, 4294967296), }\n", "agree", 16},
        {"2^63 bytes", "{'descr': '<f8', 'fortran_order': False, 'shape': (1152921504606846976,), }\n", "agree", 16},
        {"32 GiB that are not there", "{'descr': '<f8', 'fortran_order': False, 'shape': (4294967296,), }\n", "agree", 16},
        {"a number more than the shape says", GOOD "\n", "agree", 24},
        {"a byte less than the shape says", GOOD "\n", "agree", 15},
        {"nothing for a scalar", "{'descr': '<f8', 'fortran_order': False, 'shape': (), }\n", "agree", 0},
    };
    const char *path = scratch_path("kind.npy");
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        write_npy(path, 1, 0, kinds[i].header, NULL, kinds[i].data_bytes);
        expect_refused(path, HT_EFORMAT, kinds[i].words, kinds[i].name);
    }
    write_npy(path, 0, 9, GOOD "\n", NULL, 16);
    expect_refused(path, HT_EFORMAT, "format 0.9", "a format of the past");
    write_npy(path, 4, 0, GOOD "\n", NULL, 16);
    expect_refused(path, HT_EFORMAT, "format 4.0", "a format of the future");
    scratch_write(path, "", 0);
    expect_refused(path, HT_EFORMAT, "does not begin", "an empty file");
    scratch_write(path, "PK\3\4 an archive of arrays", 25);
    expect_refused(path, HT_EFORMAT, "does not begin", "an archive");
    scratch_write(path, "\x93NUMPY\2\0\xFF\xFF\xFF\xFF{}", 14);
    expect_refused(path, HT_EFORMAT, "4294967295", "a header of 4 GiB");
    expect_refused(scratch_path("absent.npy"), HT_EIO, "No such file", "absent file");
    expect_refused(scratch_folder, HT_EIO, "regular file", "a folder");
}

/* What NumPy or another writer may write: types, formats, shapes, spaces, quotes, order of keys. */
static void test_read(void)
{
    static const double f8[] = {1.5, -2};
    static const float f4[] = {1.5F, -2};
    static const int32_t i4[] = {INT32_MAX, INT32_MIN};
    static const int64_t i8[] = {INT32_MAX, INT32_MIN}, beyond[] = {0, INT64_C(2147483648)};
    static const unsigned char u1[] = {255, 0, 7, 128, 1};
    static const int32_t wide[] = {255, 0, 7, 128, 1};
    static const struct {
        const char *header;
        const void *data, *numbers;
        size_t data_bytes, bytes;
        int32_t rank;
        ht_dtype dtype;
    } good[] = {
        {GOOD "\n", f8, f8, sizeof f8, sizeof f8, 1, HT_F64},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), }    \n", f4, f4, sizeof f4, sizeof f4, 2, HT_F32},
        {"{\"shape\":(2,1,),\"fortran_order\":False,\"descr\":\"<i4\"}\n", i4, i4, sizeof i4, sizeof i4, 2, HT_I32},
        {"{  'descr' :'<i8' , 'fortran_order':False ,'shape': ( 2 , ) } \n", i8, i4, sizeof i8, sizeof i4, 1, HT_I32},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (5,), }\n", u1, wide, sizeof u1, sizeof wide, 1, HT_I32},
        {"{'descr': '<f8', 'fortran_order': False, 'shape': (), }\n", f8, f8, sizeof *f8, sizeof *f8, 0, HT_F64},
        {"{'descr': '<f8', 'fortran_order': False, 'shape': (3, 0), }\n", f8, f8, 0, 0, 2, HT_F64},
    };
    const char *path = scratch_path("good.npy");
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        for (int major = 1; major <= 3; major++) {
            ht_error error = {0};
            ht_store *store = ht_store_new(NULL);
            write_npy(path, major, 0, good[i].header, good[i].data, good[i].data_bytes);
            int read = ht_store_load_npy(store, "x", path, &error) == 0;
            tap_ok(read && ht_store_dtype(store, 0) == good[i].dtype && ht_store_role(store, 0) == HT_BUFFER &&
                       ht_store_shape(store, 0).rank == good[i].rank &&
                       memcmp(ht_store_data(store, 0), good[i].numbers, good[i].bytes) == 0,
                   "format %d.0, header %d is read %s", major, (int)i, error.message);
            ht_store_free(store);
        }
    write_npy(path, 1, 0, "{'descr': '<i8', 'fortran_order': False, 'shape': (2,), }\n", beyond, sizeof beyond);
    expect_refused(path, HT_EFORMAT, "element 1 is 2147483648", "a whole number of more than 32 bits");
}

static void test_names(void)
{
    ht_store *store = ht_store_new(NULL);
    const char *path = scratch_path("name.npy");
    write_npy(path, 1, 0, GOOD "\n", NULL, 16);
    ht_error error = {0};
    tap_ok(ht_store_load_npy(store, "x", path, NULL) == 0, "no record of errors is needed");
    tap_ok(ht_store_load_npy(store, "x", path, &error) == -1 && error.status == HT_EINVALID && strstr(error.message, "already"),
           "a name that is taken: %s", error.message);
    tap_ok(ht_store_load_npy(store, "y", path, &error) == -1 && ht_store_count(store) == 1,
           "a record with an error stops a load");
    error = (ht_error){0};
    tap_ok(ht_store_load_npy(store, "", path, &error) == -1 && error.status == HT_EINVALID, "an empty name: %s", error.message);
    ht_store_free(store);
}

/* Every cut and every flipped bit: a refusal that names the file, or numbers that fill the shape; never a crash. */
static void test_damage(void)
{
    const char *path = scratch_path("whole.npy");
    size_t bytes = write_npy(path, 1, 0, GOOD "      \n", NULL, 16), head = bytes - 16;
    char *whole = scratch_read(path, &bytes);
    int32_t loaded = 0, wrong = 0;
    for (size_t cut = bytes; cut-- > 0;) {
        ht_error error = {0};
        ht_store *store = ht_store_new(NULL);
        scratch_need(truncate(path, (off_t)cut) == 0, "cut a file");
        loaded += ht_store_load_npy(store, "x", path, &error) >= 0;
        wrong += ht_store_count(store) != 0 || !strstr(error.message, path);
        ht_store_free(store);
    }
    tap_ok(loaded == 0 && wrong == 0, "a file cut at any of its %zu bytes is refused by name", bytes);
    scratch_write(path, whole, bytes);
    for (size_t bit = 0; bit < 8 * head; bit++) {
        ht_error error = {0};
        ht_store *store = ht_store_new(NULL);
        whole[bit / 8] = (char)(whole[bit / 8] ^ (1 << (bit % 8)));
        scratch_overwrite(path, whole, bytes);
        int32_t index = ht_store_load_npy(store, "x", path, &error);
        if (index < 0) wrong += ht_store_count(store) != 0 || !strstr(error.message, path);
        else wrong += ht_shape_count(ht_store_shape(store, index)) != 2 && ht_store_dtype(store, index) != HT_I32;
        whole[bit / 8] = (char)(whole[bit / 8] ^ (1 << (bit % 8)));
        ht_store_free(store);
    }
    tap_ok(wrong == 0, "with any of %zu bits of the header flipped: refused by name, or read in full", 8 * head);
    free(whole);
}

/* The tables of the examples, which NumPy wrote: sums that any other reader gives. */
static void test_tables(void)
{
    static const struct {
        const char *name;
        int64_t count;
        double sum;
    } tables[] = {
        {"diabetes_split", 442, 97461}, {"diabetes_target", 442, 67243}, {"breast_cancer_target", 569, 357},
        {"digits_data", 1797 * 64, 561718}, {"digits_target", 1797, 8070},
    };
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        char path[512];
        ht_error error = {0};
        ht_store *store = ht_store_new(NULL);
        snprintf(path, sizeof path, TESTS_FOLDER "/../examples/data/%s.npy", tables[i].name);
        int32_t index = ht_store_load_npy(store, "x", path, &error);
        int64_t count = index < 0 ? 0 : ht_shape_count(ht_store_shape(store, index));
        double sum = 0;
        for (int64_t k = 0; k < count; k++)
            sum += ht_store_dtype(store, index) == HT_I32 ? (double)((int32_t *)ht_store_data(store, index))[k]
                                                          : ((double *)ht_store_data(store, index))[k];
        tap_ok(count == tables[i].count && sum == tables[i].sum, "%s: %lld numbers of sum %.17g %s", tables[i].name,
               (long long)count, sum, error.message);
        ht_store_free(store);
    }
}

int main(void)
{
    scratch_open();
    test_kinds();
    test_read();
    test_names();
    test_damage();
    test_tables();
    scratch_close();
    return tap_done();
}
