/*
 * safetensors files: whatever the bytes are, a load is all or nothing; what was accepted is saved and read back to the same
 * numbers.
 */
#include <string.h>
#include <unistd.h>

#include <ht/store.h>

#include "../scratch.h"
#include "fuzz.h"

const char *const fuzz_name = "safetensors";
const char *const fuzz_words[] = {"\"dtype\":", "\"shape\":", "\"data_offsets\":", "\"__metadata__\":", "\"F32\"", "\"F64\"",
                                  "\"I32\"", "\"I64\"", "\"BF16\"", "[0,4]", "[]", "[1]", "{}", "\\u0000", "\\ud800", "\"a\"",
                                  "\"../x\"", ",", "}", "9223372036854775807", "18446744073709551616", "-1", "1e3", NULL};

/* The eight bytes of the header's length, the header, the numbers. */
static int32_t whole(const char *header, size_t numbers, unsigned char *bytes)
{
    const size_t length = strlen(header);
    for (size_t i = 0; i < 8; i++) bytes[i] = (unsigned char)(length >> 8 * i);
    memcpy(bytes + 8, header, length);
    for (size_t i = 0; i < numbers; i++) bytes[8 + length + i] = (unsigned char)(i % 60);
    return (int32_t)(8 + length + numbers);
}

int32_t fuzz_seed(int32_t number, unsigned char *bytes)
{
    switch (number) {
    case 0: return whole("{\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]}}", 24, bytes);
    case 1:
        return whole("{\"__metadata__\":{\"hash\":\"12\",\"roles\":\"b\"},"
                     "\"a\":{\"dtype\":\"F64\",\"shape\":[],\"data_offsets\":[0,8]},"
                     "\"b\":{\"dtype\":\"I32\",\"shape\":[0],\"data_offsets\":[8,8]}}", 8, bytes);
    case 2: return whole("{\"x\":{\"shape\":[1],\"dtype\":\"I64\",\"data_offsets\":[0,8]}}  ", 8, bytes);
    case 3: return whole("{}", 0, bytes);
    case 4: return 0;
    default: return -1;
    }
}

static void check_round_trip(const ht_store *store, fuzz_outcome *outcome)
{
    static char path[64];
    ht_error error = {0};
    snprintf(path, sizeof path, "/dev/shm/ht-fuzz-%ld", (long)getpid());
    ht_store *again = ht_store_new(NULL);
    if (!again || ht_store_save(store, path, NULL, 0, &error) || ht_store_load(again, path, &error))
        fuzz_break(outcome, "what was read can be saved and read again");
    else if (ht_store_hash(store) != ht_store_hash(again)) fuzz_break(outcome, "what was saved is what is read");
    unlink(path);
    ht_store_free(again);
}

void fuzz_one(const unsigned char *bytes, size_t count, fuzz_outcome *outcome)
{
    const char *path = fuzz_file(bytes, count);
    ht_error error = {0}, second = {0};
    char value[16];
    ht_device *device = ht_device_open("cpu", 1, &second);
    ht_store *store = ht_store_new(device);
    const uint64_t empty = ht_store_hash(store);
    if (ht_store_load(store, path, &error)) {
        if (ht_store_hash(store) != empty) fuzz_break(outcome, "a refused file leaves the store as it was");
        fuzz_refused(&error, outcome);
    } else {
        outcome->kind = fuzz_mix(7, (uint64_t)ht_store_count(store));
        check_round_trip(store, outcome);
    }
    if (ht_file_metadata(path, "hash", value, sizeof value, &second) == HT_OK)
        outcome->kind = fuzz_mix(outcome->kind, strlen(value));
    else if (second.status == HT_EINTERNAL) fuzz_break(outcome, "no input shows a broken invariant of the library");
    ht_store_free(store);
    ht_device_close(device);
}
