/* The same targets under clang's libFuzzer: a broken promise ends the program, which libFuzzer reports with its input. */
#include <stdio.h>
#include <stdlib.h>

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    fuzz_outcome outcome = {.broken = ""};
    fuzz_one(bytes, count < FUZZ_BYTES ? count : FUZZ_BYTES, &outcome);
    if (!outcome.broken[0]) return 0;
    fprintf(stderr, "%s: %s\n", fuzz_name, outcome.broken);
    abort();
}
