/*
 * A fuzz target: seeds, words worth inserting, and one function that takes any bytes. Two mains know targets: driver.c
 * (in every build, runs in CI) and libfuzzer.c (clang's coverage-guided engine, -Dlibfuzzer=true).
 */
#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

#include <ht/base.h>

enum { FUZZ_BYTES = 4096, FUZZ_BROKEN = 160 };

/* What one input did. broken: "", or the promise that was not kept. said: the last refusal. kind: equal for inputs that took
   the same way. */
typedef struct fuzz_outcome {
    char broken[FUZZ_BROKEN], said[HT_MESSAGE_BYTES];
    uint64_t kind;
} fuzz_outcome;

/* Of the target. The words end with NULL. */
extern const char *const fuzz_name;
extern const char *const fuzz_words[];
/* Writes seed `number` (at most FUZZ_BYTES), returns its size; -1 behind the last one. */
int32_t fuzz_seed(int32_t number, unsigned char *bytes);
void fuzz_one(const unsigned char *bytes, size_t count, fuzz_outcome *outcome);

/* Shared by the targets (common.c). */
/* A path whose file holds the bytes, in memory. The same path every time. */
const char *fuzz_file(const unsigned char *bytes, size_t count);
/* What a refusal must look like: a status, a message of one line with a place; else `broken` is filled. Its kind is the text
   without numbers. */
void fuzz_refused(const ht_error *error, fuzz_outcome *outcome);
/* Text as a seed. */
int32_t fuzz_text(const char *text, unsigned char *bytes);
/* Another number for a kind. */
uint64_t fuzz_mix(uint64_t kind, uint64_t number);
void fuzz_break(fuzz_outcome *outcome, const char *promise);

#endif
