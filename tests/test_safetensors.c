/*
 * The strict reader of safetensors files: files that are wrong in one named way, each refused with its status and a
 * message that names the path, the store left as it was; files that are odd but right; every truncation; lies of the
 * length prefix under a limit of memory. Headers are written with ' for ".
 */
#include <math.h>
#include <sys/resource.h>

#include "scratch.h"
#include "store/internal.h"
#include "tap.h"

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED
#endif
#endif

#define A "'a':{'dtype':'F32','shape':[2],'data_offsets':[0,8]}"
#define TENSOR(name, type, shape, offsets) \
    "'" name "':{'dtype':'" type "','shape':[" shape "],'data_offsets':[" offsets "]}"
#define NAME64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define NAME255 NAME64 NAME64 NAME64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde"

typedef struct kind {
    const char *name, *header;
    size_t data_bytes;
    ht_status status;
    const char *words; /* that the message must contain */
} kind;

static const kind kinds[] = {
    /* not the JSON of the format */
    {"empty header", "", 0, HT_EFORMAT, "its end"},
    {"not JSON", "hello", 0, HT_EFORMAT, "'{'"},
    {"a list", "[]", 0, HT_EFORMAT, "'{'"},
    {"a number", "1", 0, HT_EFORMAT, "'{'"},
    {"space in front", " {" A "}", 8, HT_EFORMAT, "'{'"},
    {"byte order mark", "\xEF\xBB\xBF{" A "}", 8, HT_EFORMAT, "'{'"},
    {"object not closed", "{" A, 8, HT_EFORMAT, "its end"},
    {"object closed twice", "{" A "}}", 8, HT_EFORMAT, "nothing but spaces"},
    {"second object", "{" A "}{}", 8, HT_EFORMAT, "nothing but spaces"},
    {"letter behind", "{" A "} x", 8, HT_EFORMAT, "nothing but spaces"},
    {"comma at the end", "{" A ",}", 8, HT_EFORMAT, "name of a tensor"},
    {"comma in front", "{," A "}", 8, HT_EFORMAT, "name of a tensor"},
    {"no comma", "{" A TENSOR("b", "F32", "1", "8,12") "}", 12, HT_EFORMAT, "','"},
    {"comment", "{/**/" A "}", 8, HT_EFORMAT, "name of a tensor"},
    {"name without quotes", "{a:1}", 0, HT_EFORMAT, "name of a tensor"},
    {"string not ended", "{'a", 0, HT_EFORMAT, "UTF-8"},
    {"no colon", "{'a'{}}", 0, HT_EFORMAT, "':'"},
    {"tensor is a number", "{'a':1}", 0, HT_EFORMAT, "'{'"},
    {"tensor is null", "{'a':null}", 0, HT_EFORMAT, "'{'"},
    {"tensor is a list", "{'a':[]}", 0, HT_EFORMAT, "'{'"},
    {"tensor is a string", "{'a':'b'}", 0, HT_EFORMAT, "'{'"},
    {"vertical tab", "{\v" A "}", 8, HT_EFORMAT, "byte 0x0b"},
    /* names */
    {"empty name", "{" TENSOR("", "F32", "2", "0,8") "}", 8, HT_EFORMAT, "printable ASCII"},
    {"name of 256 bytes", "{" TENSOR(NAME255 "x", "F32", "2", "0,8") "}", 8, HT_EFORMAT, "255"},
    {"name with a line feed", "{" TENSOR("a\nb", "F32", "2", "0,8") "}", 8, HT_EFORMAT, "control"},
    {"name with an escaped line feed", "{" TENSOR("a\\nb", "F32", "2", "0,8") "}", 8, HT_EFORMAT, "printable ASCII"},
    {"name with ESC", "{" TENSOR("a\x1b[31m", "F32", "2", "0,8") "}", 8, HT_EFORMAT, "control"},
    {"name with DEL", "{" TENSOR("a\x7f", "F32", "2", "0,8") "}", 8, HT_EFORMAT, "printable ASCII"},
    {"name with escaped NUL", "{" TENSOR("a\\u0000", "F32", "2", "0,8") "}", 8, HT_EFORMAT, "without NUL"},
    {"name beyond ASCII", "{" TENSOR("\xC3\xA4", "F32", "2", "0,8") "}", 8, HT_EFORMAT, "printable ASCII"},
    {"name twice, same data", "{" A "," A "}", 8, HT_EFORMAT, "twice"},
    {"name twice, other type", "{" A "," TENSOR("a", "I32", "2", "0,8") "}", 8, HT_EFORMAT, "twice"},
    {"name twice, other data", "{" A "," TENSOR("a", "F32", "2", "8,16") "}", 16, HT_EFORMAT, "twice"},
    {"name twice, escaped", "{" A "," TENSOR("\\u0061", "F32", "2", "8,16") "}", 16, HT_EFORMAT, "twice"},
    {"name twice, far apart", "{" A "," TENSOR("b", "F32", "1", "8,12") "," TENSOR("a", "F32", "1", "12,16") "}", 16,
     HT_EFORMAT, "\"a\": is there twice"},
    {"reserved name, escaped, as a tensor", "{" TENSOR("\\u005f_metadata__", "F32", "2", "0,8") "}", 8, HT_EFORMAT,
     "metadata"},
    /* strings */
    {"overlong UTF-8", "{'\xC0\xAF':1}", 0, HT_EFORMAT, "UTF-8"},
    {"UTF-8 of a surrogate", "{'\xED\xA0\x80':1}", 0, HT_EFORMAT, "UTF-8"},
    {"UTF-8 above U+10FFFF", "{'\xF4\x90\x80\x80':1}", 0, HT_EFORMAT, "UTF-8"},
    {"UTF-8 cut", "{'\xE2\x82':1}", 0, HT_EFORMAT, "UTF-8"},
    {"byte 0xFF", "{'\xFF':1}", 0, HT_EFORMAT, "UTF-8"},
    {"continuation byte alone", "{'\x80':1}", 0, HT_EFORMAT, "UTF-8"},
    {"unknown escape", "{'\\x61':1}", 0, HT_EFORMAT, "escape of JSON"},
    {"escape cut", "{'\\", 0, HT_EFORMAT, "escape of JSON"},
    {"hexadecimal cut", "{'\\u00", 0, HT_EFORMAT, "hexadecimal"},
    {"hexadecimal wrong", "{'\\u00g0':1}", 0, HT_EFORMAT, "hexadecimal"},
    {"high surrogate alone", "{'\\ud800':1}", 0, HT_EFORMAT, "surrogate"},
    {"low surrogate alone", "{'\\udc00':1}", 0, HT_EFORMAT, "surrogate"},
    {"two high surrogates", "{'\\ud800\\ud800':1}", 0, HT_EFORMAT, "surrogate"},
    /* fields */
    {"no fields", "{'a':{}}", 0, HT_EFORMAT, "missing"},
    {"no dtype", "{'a':{'shape':[2],'data_offsets':[0,8]}}", 8, HT_EFORMAT, "missing"},
    {"no shape", "{'a':{'dtype':'F32','data_offsets':[0,8]}}", 8, HT_EFORMAT, "missing"},
    {"no offsets", "{'a':{'dtype':'F32','shape':[2]}}", 8, HT_EFORMAT, "missing"},
    {"unknown field", "{'a':{'dtype':'F32','shape':[2],'data_offsets':[0,8],'x':1}}", 8, HT_EFORMAT, "nothing else"},
    {"field twice", "{'a':{'dtype':'F32','dtype':'F32','shape':[2],'data_offsets':[0,8]}}", 8, HT_EFORMAT, "once"},
    {"field twice, escaped", "{'a':{'dtype':'F32','\\u0064type':'F32','shape':[2],'data_offsets':[0,8]}}", 8,
     HT_EFORMAT, "once"},
    {"field in capitals", "{'a':{'DTYPE':'F32','shape':[2],'data_offsets':[0,8]}}", 8, HT_EFORMAT, "nothing else"},
    {"unknown type", "{" TENSOR("a", "F33", "2", "0,8") "}", 8, HT_EDTYPE, "F33"},
    {"type U64", "{" TENSOR("step", "U64", "1", "0,8") "}", 8, HT_EDTYPE, "\"step\": number type U64"},
    {"I64 beyond 32 bits", "{" TENSOR("step", "I64", "1", "0,8") "}", 8, HT_EFORMAT, "element 0 is 4557430888798830399"},
    {"I64 with the bytes of I32", "{" TENSOR("a", "I64", "2", "0,8") "}", 8, HT_EFORMAT, "expected 16"},
    {"type BF16", "{" TENSOR("a", "BF16", "4", "0,8") "}", 8, HT_EDTYPE, "BF16"},
    {"type with control characters", "{" TENSOR("a", "\\u001b[1m", "4", "0,8") "}", 8, HT_EDTYPE, "unknown"},
    {"type in small letters", "{" TENSOR("a", "f32", "2", "0,8") "}", 8, HT_EDTYPE, "f32"},
    {"type is a number", "{'a':{'dtype':32,'shape':[2],'data_offsets':[0,8]}}", 8, HT_EFORMAT, "number type"},
    {"shape is a number", "{'a':{'dtype':'F32','shape':2,'data_offsets':[0,8]}}", 8, HT_EFORMAT, "'['"},
    {"shape is a string", "{'a':{'dtype':'F32','shape':'2','data_offsets':[0,8]}}", 8, HT_EFORMAT, "'['"},
    {"offsets are an object", "{'a':{'dtype':'F32','shape':[2],'data_offsets':{}}}", 8, HT_EFORMAT, "'['"},
    {"one offset", "{" TENSOR("a", "F32", "2", "0") "}", 8, HT_EFORMAT, "offsets"},
    {"no offset", "{" TENSOR("a", "F32", "2", "") "}", 8, HT_EFORMAT, "offsets"},
    {"three offsets", "{" TENSOR("a", "F32", "2", "0,8,8") "}", 8, HT_EFORMAT, "two offsets"},
    {"9 sizes", "{" TENSOR("a", "F32", "2,1,1,1,1,1,1,1,1", "0,8") "}", 8, HT_EFORMAT, "at most 8"},
    {"list in the shape", "{" TENSOR("a", "F32", "[2]", "0,8") "}", 8, HT_EFORMAT, "whole number"},
    {"comma at the end of a shape", "{" TENSOR("a", "F32", "2,", "0,8") "}", 8, HT_EFORMAT, "whole number"},
    /* numbers */
    {"negative size", "{" TENSOR("a", "F32", "-2", "0,8") "}", 8, HT_EFORMAT, "whole number"},
    {"minus zero", "{" TENSOR("a", "F32", "2", "-0,8") "}", 8, HT_EFORMAT, "whole number"},
    {"fraction", "{" TENSOR("a", "F32", "2.0", "0,8") "}", 8, HT_EFORMAT, "','"},
    {"exponent", "{" TENSOR("a", "F32", "2e0", "0,8") "}", 8, HT_EFORMAT, "','"},
    {"leading zero", "{" TENSOR("a", "F32", "02", "0,8") "}", 8, HT_EFORMAT, "leading"},
    {"plus sign", "{" TENSOR("a", "F32", "+2", "0,8") "}", 8, HT_EFORMAT, "whole number"},
    {"hexadecimal number", "{" TENSOR("a", "F32", "0x2", "0,8") "}", 8, HT_EFORMAT, "','"},
    {"true for a number", "{" TENSOR("a", "F32", "true", "0,8") "}", 8, HT_EFORMAT, "whole number"},
    {"NaN for a number", "{" TENSOR("a", "F32", "NaN", "0,8") "}", 8, HT_EFORMAT, "whole number"},
    {"2^63", "{" TENSOR("a", "F32", "9223372036854775808", "0,8") "}", 8, HT_EFORMAT, "below 2^63"},
    {"2^64 + 2", "{" TENSOR("a", "F32", "18446744073709551618", "0,8") "}", 8, HT_EFORMAT, "below 2^63"},
    {"100 digits", "{" TENSOR("a", "F32", NAME64 "0", "0,8") "}", 8, HT_EFORMAT, "leading"},
    {"offset of 2^64", "{" TENSOR("a", "F32", "2", "18446744073709551616,18446744073709551624") "}", 8, HT_EFORMAT,
     "below 2^63"},
    /* shapes against data */
    {"product 2^31 elements", "{" TENSOR("a", "F32", "65536,32768", "0,8") "}", 8, HT_EFORMAT, "8589934592"},
    {"product 2^32 elements", "{" TENSOR("a", "F32", "65536,65536", "0,8") "}", 8, HT_EFORMAT, "17179869184"},
    {"product 2^62 elements of 4 bytes", "{" TENSOR("a", "F32", "2147483648,2147483648", "0,0") "}", 0, HT_EFORMAT,
     "2^63 bytes"},
    {"product 2^63", "{" TENSOR("a", "F32", "4294967296,2147483648", "0,0") "}", 0, HT_EFORMAT, "2^63 bytes"},
    {"product 2^64", "{" TENSOR("a", "F32", "4294967296,4294967296", "0,0") "}", 0, HT_EFORMAT, "2^63 bytes"},
    {"product 2^64 and a 0", "{" TENSOR("a", "F32", "4294967296,4294967296,0", "0,0") "}", 0, HT_EFORMAT, "2^63"},
    {"product 2^63 + 2", "{" TENSOR("a", "F32", "2,4611686018427387905", "0,8") "}", 8, HT_EFORMAT, "2^63 bytes"},
    {"shape too large for its data", "{" TENSOR("a", "F32", "3", "0,8") "}", 8, HT_EFORMAT, "expected 12"},
    {"shape too small for its data", "{" TENSOR("a", "F32", "1", "0,8") "}", 8, HT_EFORMAT, "expected 4"},
    {"rank 0 with data of two", "{" TENSOR("a", "F32", "", "0,8") "}", 8, HT_EFORMAT, "expected 4"},
    {"empty shape with data", "{" TENSOR("a", "F32", "0", "0,8") "}", 8, HT_EFORMAT, "expected 0"},
    {"F64 with the bytes of F32", "{" TENSOR("a", "F64", "2", "0,8") "}", 8, HT_EFORMAT, "expected 16"},
    /* offsets */
    {"offsets reversed", "{" TENSOR("a", "F32", "2", "8,0") "}", 8, HT_EFORMAT, "rising"},
    {"end beyond the data", "{" TENSOR("a", "F32", "4", "0,16") "}", 8, HT_EFORMAT, "within 8 bytes"},
    {"begin beyond the data", "{" TENSOR("a", "F32", "0", "16,16") "}", 8, HT_EFORMAT, "within 8 bytes"},
    {"hole in front", "{" TENSOR("a", "F32", "1", "4,8") "}", 8, HT_EFORMAT, "a hole"},
    {"hole between", "{" A "," TENSOR("b", "F32", "1", "12,16") "}", 16, HT_EFORMAT, "\"b\": data begins at 12"},
    {"bytes behind", "{" A "}", 9, HT_EFORMAT, "9 bytes of data; expected 8"},
    {"overlap by half", "{" A "," TENSOR("b", "F32", "2", "4,12") "}", 12, HT_EFORMAT, "overlap"},
    {"same data twice", "{" A "," TENSOR("b", "F32", "2", "0,8") "}", 8, HT_EFORMAT, "overlap"},
    {"one within another", "{" A "," TENSOR("b", "F32", "1", "4,8") "}", 8, HT_EFORMAT, "overlap"},
    {"data without a tensor", "{}", 4, HT_EFORMAT, "expected 0"},
    {"metadata and data only", "{'__metadata__':{}}", 4, HT_EFORMAT, "expected 0"},
    /* metadata */
    {"metadata is a string", "{'__metadata__':'x'}", 0, HT_EFORMAT, "'{'"},
    {"metadata is null", "{'__metadata__':null}", 0, HT_EFORMAT, "'{'"},
    {"metadata of a number", "{'__metadata__':{'k':1}}", 0, HT_EFORMAT, "as the metadata's value"},
    {"metadata of an object", "{'__metadata__':{'k':{}}}", 0, HT_EFORMAT, "as the metadata's value"},
    {"metadata of null", "{'__metadata__':{'k':null}}", 0, HT_EFORMAT, "as the metadata's value"},
    {"metadata with NUL", "{'__metadata__':{'k':'a\\u0000b'}}", 0, HT_EFORMAT, "NUL"},
    {"metadata twice", "{'__metadata__':{},'__metadata__':{}}", 0, HT_EFORMAT, "only once"},
    {"key twice", "{'__metadata__':{'k':'1','k':'2'}}", 0, HT_EFORMAT, "twice"},
    {"key twice, escaped", "{'__metadata__':{'k':'1','\\u006b':'2'}}", 0, HT_EFORMAT, "twice"},
    {"metadata as a tensor", "{" TENSOR("__metadata__", "F32", "2", "0,8") "}", 8, HT_EFORMAT, "metadata"},
    {"buffers that are not there", "{'__metadata__':{'ht.buffers':'b'}," A "}", 8, HT_EFORMAT, "ht.buffers"},
    {"buffers in another order", "{'__metadata__':{'ht.buffers':'b\\na'}," A "," TENSOR("b", "F32", "0", "8,8") "}", 8,
     HT_EFORMAT, "ht.buffers"},
    {"buffers, empty line", "{'__metadata__':{'ht.buffers':'a\\n\\n'}," A "}", 8, HT_EFORMAT, "ht.buffers"},
    /* against the store, which has kept = F32 [3] */
    {"other shape than in the store", "{" A "," TENSOR("kept", "F32", "2", "8,16") "}", 16, HT_ESHAPE, "expected [3]"},
    {"other type than in the store", "{" A "," TENSOR("kept", "I32", "3", "8,20") "}", 20, HT_EDTYPE, "expected f32"},
};

static const kind odd[] = {
    {"no tensors", "{}", 0, HT_OK, ""},
    {"spaces everywhere", "{ 'a' : { 'dtype' : 'F32' ,\n'shape' : [ 2 ] ,\t'data_offsets' : [ 0 , 8 ] } }  ", 8, HT_OK,
     "a"},
    {"metadata only", "{'__metadata__':{'k':'v'}}", 0, HT_OK, ""},
    {"metadata at the end", "{" A ",'__metadata__':{}}", 8, HT_OK, "a"},
    {"metadata of all escapes", "{'__metadata__':{'':'\\u00e4\\u20ac\\ud83d\\ude00\\\\\\/\\b\\f\\n\\r\\t'}}", 0, HT_OK,
     ""},
    {"metadata in UTF-8", "{'__metadata__':{'\xC3\xA4':'\xE2\x82\xAC\xF0\x9F\x98\x80\x7F'}}", 0, HT_OK, ""},
    {"rank 0", "{" TENSOR("s", "F64", "", "0,8") "}", 8, HT_OK, "s"},
    {"8 sizes", "{" TENSOR("s", "F32", "1,1,1,1,1,1,1,2", "0,8") "}", 8, HT_OK, "s"},
    {"size 0", "{" TENSOR("s", "F32", "3,0", "0,0") "}", 0, HT_OK, "s"},
    {"size 0 between", "{" A "," TENSOR("s", "F32", "0", "8,8") "," TENSOR("b", "F32", "1", "8,12") "}", 12, HT_OK,
     "s"},
    {"fields in another order", "{'s':{'data_offsets':[0,8],'dtype':'I32','shape':[2]}}", 8, HT_OK, "s"},
    {"data in another order", "{" TENSOR("s", "F32", "1", "8,12") "," A "}", 12, HT_OK, "s"},
    {"a name that looks like a path", "{" TENSOR("../../etc/x", "F32", "2", "0,8") "}", 8, HT_OK, "../../etc/x"},
    {"an escaped name", "{" TENSOR("\\u0061\\/\\\"b\\\\", "F32", "2", "0,8") "}", 8, HT_OK, "a/\"b\\"},
    {"a name of 255 bytes", "{" TENSOR(NAME255, "F32", "2", "0,8") "}", 8, HT_OK, NAME255},
    {"a tensor of the store", "{" TENSOR("kept", "F32", "3", "0,12") "}", 12, HT_OK, "kept"},
    {"buffers", "{'__metadata__':{'ht.buffers':'a'}," A "}", 8, HT_OK, "a"},
    {"no buffers", "{'__metadata__':{'ht.buffers':''}," A "}", 8, HT_OK, "a"},
};

/* Writes a file: length prefix, header, data. */
static void write_file(const char *path, uint64_t length, const char *header, size_t header_bytes, size_t data_bytes)
{
    size_t total = 8 + header_bytes + data_bytes;
    char *bytes = malloc(total);
    scratch_need(bytes != NULL, "have memory");
    for (int i = 0; i < 8; i++) bytes[i] = (char)(length >> (8 * i) & 0xFF);
    memcpy(bytes + 8, header, header_bytes);
    memset(bytes + 8 + header_bytes, 0x3F, data_bytes);
    scratch_write(path, bytes, total);
    free(bytes);
}

static char *quoted(const char *header)
{
    char *copy = strdup(header);
    scratch_need(copy != NULL, "have memory");
    for (char *at = copy; *at; at++)
        if (*at == '\'') *at = '"';
    return copy;
}

static ht_store *new_store(void)
{
    ht_store *store = ht_store_new(NULL);
    scratch_need(store && ht_store_add(store, "kept", HT_F32, HT_SHAPE(3), HT_PARAMETER, NULL) == 0, "make a store");
    scratch_need(ht_store_set(store, "kept", (const float[]){1, 2, 3}, 3, NULL) == HT_OK, "fill a store");
    return store;
}

/* The file at path is refused as it should be, and the store is as before. */
static void expect_refused(const char *path, ht_status status, const char *words, const char *name)
{
    ht_error error = {0};
    ht_store *store = new_store();
    uint64_t before = ht_store_hash(store);
    ht_status got = ht_store_load(store, path, &error);
    bool same = ht_store_count(store) == 1 && ht_store_hash(store) == before;
    bool named = strstr(error.message, path) && strstr(error.message, words);
    bool plain = !strstr(error.message, "error") && !strstr(error.message, "failed");
    tap_ok(got == status && error.status == status && same && named && plain, "refused: %s", name);
    if (got != status || !same || !named || !plain)
        printf("# %s, store %s, \"%s\"\n", ht_status_name(got), same ? "as before" : "changed", error.message);
    ht_store_free(store);
}

static void test_kinds(void)
{
    const char *path = scratch_path("kind.safetensors");
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        char *header = quoted(kinds[i].header);
        write_file(path, strlen(header), header, strlen(header), kinds[i].data_bytes);
        expect_refused(path, kinds[i].status, kinds[i].words, kinds[i].name);
        free(header);
    }
}

static void test_odd(void)
{
    const char *path = scratch_path("odd.safetensors");
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        ht_error error = {0};
        ht_store *store = new_store();
        char *header = quoted(odd[i].header);
        write_file(path, strlen(header), header, strlen(header), odd[i].data_bytes);
        bool loaded = ht_store_load(store, path, &error) == HT_OK;
        tap_ok(loaded && (!*odd[i].words || ht_store_find(store, odd[i].words) >= 0), "loaded: %s", odd[i].name);
        if (!loaded) printf("# %s\n", error.message);
        free(header);
        ht_store_free(store);
    }
}

/* What the length prefix and raw bytes can say. */
static void test_raw(void)
{
    char *good = quoted("{" A "}");
    size_t bytes = strlen(good);
    const char *path = scratch_path("raw.safetensors");
    static const struct {
        const char *name;
        uint64_t length;
        const char *words;
    } lies[] = {
        {"length 0", 0, "first byte"},
        {"length 1", 1, "its end"},
        {"length one short", 53, "its end"},
        {"length with a byte of the data", 55, "within 7 bytes"},
        {"length of the file", 70, "at most 62"},
        {"length one too large", 63, "at most 62"},
        {"length 2^31", UINT64_C(1) << 31, "at most 62"},
        {"length 2^32 + 54", (UINT64_C(1) << 32) + 54, "at most 62"},
        {"length 2^63", UINT64_C(1) << 63, "at most 62"},
        {"length 2^63 - 1", INT64_MAX, "at most 62"},
        {"length 2^64 - 1", UINT64_MAX, "at most 62"},
        {"length 2^64 - 8", UINT64_MAX - 7, "at most 62"},
    };
    scratch_need(bytes == 54, "count");
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        write_file(path, lies[i].length, good, bytes, 8);
        expect_refused(path, HT_EFORMAT, lies[i].words, lies[i].name);
    }
    char padded[64] = {0};
    memcpy(padded, good, bytes);
    write_file(path, sizeof padded, padded, sizeof padded, 8);
    expect_refused(path, HT_EFORMAT, "byte 0x00", "header padded with NUL");
    memset(padded, ' ', sizeof padded);
    memcpy(padded, good, bytes);
    padded[3] = 0;
    write_file(path, sizeof padded, padded, sizeof padded, 8);
    expect_refused(path, HT_EFORMAT, "control", "NUL within a name");
    free(good);
    scratch_write(path, "", 0);
    expect_refused(path, HT_EFORMAT, "0 bytes", "empty file");
    expect_refused(scratch_path("absent.safetensors"), HT_EIO, "No such file", "absent file");
    expect_refused(scratch_folder, HT_EIO, "regular file", "a folder");
    expect_refused("/dev/zero", HT_EIO, "regular file", "a device");
}

/* Headers made of one text again and again. */
static void test_repeated(void)
{
    static const struct {
        const char *name, *front, *unit;
        int32_t times;
        const char *words;
    } bombs[] = {
        {"100000 open lists", "{\"a\":{\"shape\":", "[", 100000, "whole number"},
        {"100000 open objects", "", "{\"a\":", 100000, "nothing else"},
        {"1 MiB of blanks", "", " ", 1 << 20, "first byte"},
        {"a name of 1 MiB", "{\"", "x", 1 << 20, "its end"},
        {"a number of 1 MiB", "{\"a\":{\"shape\":[", "9", 1 << 20, "below 2^63"},
        {"an escape a million times", "{\"", "\\n", 1 << 20, "its end"},
        {"more metadata than 65536", "{\"__metadata__\":{\"\":\"\"", ",\"\":\"\"", 70000, "at most 65536"},
        {"more tensors than 65536", "{\"__metadata__\":{}",
         ",\"a\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}", 66000, "at most 65536"},
        {"a header above 16 MiB", "{", " ", (16 << 20) + 1, "at most 16777216"},
    };
    const char *path = scratch_path("bomb.safetensors");
    for (size_t i = 0; i < sizeof bombs / sizeof bombs[0]; i++) {
        size_t front = strlen(bombs[i].front), unit = strlen(bombs[i].unit);
        size_t bytes = front + unit * (size_t)bombs[i].times;
        char *header = malloc(bytes + 1);
        scratch_need(header != NULL, "have memory");
        strcpy(header, bombs[i].front);
        for (size_t at = front; at < bytes; at += unit) memcpy(header + at, bombs[i].unit, unit);
        write_file(path, bytes, header, bytes, 0);
        expect_refused(path, HT_EFORMAT, bombs[i].words, bombs[i].name);
        free(header);
    }
}

/* A file of several tensors, cut at every byte, and with every bit of its header flipped: never a crash. */
static void test_damage(void)
{
    const char *path = scratch_path("whole.safetensors");
    char *header = quoted("{'__metadata__':{'ht.buffers':'b','k':'v'}," A "," TENSOR("b", "I32", "2,1", "8,16") "}");
    size_t bytes;
    write_file(path, strlen(header), header, strlen(header), 16);
    char *whole = scratch_read(path, &bytes);
    int32_t loaded = 0, changed = 0, nameless = 0;
    for (size_t cut = bytes; cut-- > 0;) {
        ht_error error = {0};
        ht_store *store = new_store();
        scratch_need(truncate(path, (off_t)cut) == 0, "cut a file");
        loaded += ht_store_load(store, path, &error) == HT_OK;
        changed += ht_store_count(store) != 1;
        nameless += !strstr(error.message, path);
        ht_store_free(store);
    }
    tap_ok(loaded == 0, "a file cut at any of its %zu bytes is refused", bytes);
    tap_ok(changed == 0 && nameless == 0, "the store stays, and the message names the file");
    changed = nameless = 0;
    scratch_write(path, whole, bytes);
    for (size_t bit = 0; bit < 8 * (strlen(header) + 8); bit++) {
        ht_error error = {0};
        ht_store *store = new_store();
        whole[bit / 8] = (char)(whole[bit / 8] ^ (1 << (bit % 8)));
        scratch_overwrite(path, whole, bytes);
        ht_status status = ht_store_load(store, path, &error);
        changed += status != HT_OK && ht_store_count(store) != 1;
        nameless += status != HT_OK && !strstr(error.message, path);
        whole[bit / 8] = (char)(whole[bit / 8] ^ (1 << (bit % 8)));
        ht_store_free(store);
    }
    tap_ok(changed == 0 && nameless == 0, "with any bit of the header flipped: refused and the store stays, or loaded");
    free(header);
    free(whole);
}

static void test_roles_and_order(void)
{
    const char *path = scratch_path("roles.safetensors");
    char *header = quoted("{'__metadata__':{'ht.buffers':'y\\nx'}," TENSOR("z", "F32", "1", "4,8") ","
                          TENSOR("y", "F32", "1", "0,4") "," TENSOR("x", "F32", "", "8,12") "}");
    ht_store *store = ht_store_new(NULL);
    write_file(path, strlen(header), header, strlen(header), 12);
    tap_ok(ht_store_load(store, path, NULL) == HT_OK && ht_store_find(store, "z") == 0 &&
               ht_store_find(store, "y") == 1 && ht_store_find(store, "x") == 2, "tensors in the order of the header");
    tap_ok(ht_store_role(store, 0) == HT_PARAMETER && ht_store_role(store, 1) == HT_BUFFER &&
               ht_store_role(store, 2) == HT_BUFFER, "roles of the metadata");
    free(header);
    ht_store_free(store);
}

/* Whole numbers of 64 bits, between other tensors, into new tensors and into those of a store. */
static void test_wide(void)
{
    const char *path = scratch_path("wide.safetensors");
    static const int64_t numbers[] = {0, -1, INT32_MAX, INT32_MIN, 7, INT64_C(1) << 31};
    char *header = quoted("{" A "," TENSOR("i", "I64", "2,2", "8,40") "," TENSOR("j", "I64", "", "40,48") "}"), *bytes;
    char *beyond = quoted("{" TENSOR("i", "I64", "6", "0,48") "}");
    size_t count, length = strlen(header);
    ht_error error = {0};
    int32_t got[4] = {0}, one = 0;
    write_file(path, length, header, length, 48);
    bytes = scratch_read(path, &count);
    memcpy(bytes + 8 + length + 8, numbers, 5 * sizeof numbers[0]);
    scratch_write(path, bytes, count);
    for (int32_t known = 0; known < 2; known++) {
        ht_store *store = ht_store_new(NULL);
        if (known) ht_store_add(store, "i", HT_I32, HT_SHAPE(2, 2), HT_BUFFER, NULL);
        tap_ok(ht_store_load(store, path, &error) == HT_OK && ht_store_get(store, "i", got, 4, NULL) == HT_OK &&
                   ht_store_get(store, "j", &one, 1, NULL) == HT_OK && got[0] == 0 && got[1] == -1 &&
                   got[2] == INT32_MAX && got[3] == INT32_MIN && one == 7,
               "I64 as i32, %s: %s", known ? "into a store's tensor" : "new", error.message);
        ht_store_free(store);
    }
    free(bytes);
    length = strlen(beyond);
    write_file(path, length, beyond, length, 48);
    bytes = scratch_read(path, &count);
    memcpy(bytes + 8 + length, numbers, sizeof numbers);
    scratch_write(path, bytes, count);
    expect_refused(path, HT_EFORMAT, "element 5 is 2147483648", "I64 just beyond 32 bits");
    free(bytes);
    free(header);
    free(beyond);
}

int main(void)
{
#if !defined(SANITIZED) /* shadow memory needs terabytes of addresses */
    /* A reader that believed what a file claims would meet this limit; the largest file here has 16 MiB. */
    setrlimit(RLIMIT_AS, &(struct rlimit){.rlim_cur = 256u << 20, .rlim_max = 256u << 20});
#endif
    scratch_open();
    test_kinds();
    test_odd();
    test_raw();
    test_repeated();
    test_damage();
    test_roles_and_order();
    test_wide();
    scratch_close();
    return tap_done();
}
