/* What the fuzz targets share: see fuzz.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"

const char *fuzz_file(const unsigned char *bytes, size_t count)
{
    static char path[64];
    static int file = -1;
    if (file < 0) file = memfd_create("fuzz", MFD_CLOEXEC);
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    if (file < 0 || ftruncate(file, 0) || pwrite(file, bytes, count, 0) != (ssize_t)count) {
        printf("Bail out! no file in memory\n");
        exit(1);
    }
    return path;
}

uint64_t fuzz_mix(uint64_t kind, uint64_t number) { return (kind ^ number) * UINT64_C(0x100000001B3); }

void fuzz_break(fuzz_outcome *outcome, const char *promise)
{
    if (!outcome->broken[0]) snprintf(outcome->broken, sizeof outcome->broken, "%s", promise);
}

void fuzz_refused(const ht_error *error, fuzz_outcome *outcome)
{
    const char *at = error->message;
    outcome->kind = fuzz_mix(UINT64_C(0xCBF29CE484222325), error->status);
    if (error->status == HT_OK || !*at) fuzz_break(outcome, "a refusal has a status and a message");
    if (error->status == HT_EINTERNAL) fuzz_break(outcome, "no input shows a broken invariant of the library");
    snprintf(outcome->said, sizeof outcome->said, "%s", at);
    if (!strstr(at, ": ")) fuzz_break(outcome, "a message names a place");
    for (; *at; at++) {
        if ((unsigned char)*at < 0x20 || *at == 0x7F) fuzz_break(outcome, "a message is one line without control characters");
        if (*at < '0' || *at > '9') outcome->kind = fuzz_mix(outcome->kind, (unsigned char)*at);
    }
}

int32_t fuzz_text(const char *text, unsigned char *bytes)
{
    const size_t count = strlen(text);
    memcpy(bytes, text, count);
    return (int32_t)count;
}
