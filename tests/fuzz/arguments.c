/* Command lines: words of any bytes are understood or refused in one line. */
#include <stdlib.h>
#include <string.h>

#include "apps/genseg/arguments.h"
#include "fuzz.h"

enum { WORDS = 24 };

const char *const fuzz_name = "arguments";
/* A newline ends a word. */
const char *const fuzz_words[] = {"train\n", "evaluate\n", "predict\n", "report\n", "phantom\n", "--out\n", "--set\n", "--set=",
                                  "mlo.hypergradient=", "--rounds\n", "--rounds=", "--help\n", "--seed\n", "-1\n",
                                  "--resume\n", "--preset\n", "small\n", "=", "\n", "--\n", "-",
                                  "99999999999999999999\n", "\x1b[31m", "\xff", NULL};

int32_t fuzz_seed(int32_t number, unsigned char *bytes)
{
    switch (number) {
    case 0: return fuzz_text("train\nphantom\n--out\nrun\n--rounds\n3\n--preset\nsmall\n--set\ndata.size=32\n", bytes);
    case 1: return fuzz_text("evaluate\nrun\n--data\nphantom\n--split\ntest\n", bytes);
    case 2: return fuzz_text("--help\n", bytes);
    case 3: return fuzz_text("predict\nrun\n--images\nx\n--out\ny\n", bytes);
    default: return -1;
    }
}

void fuzz_one(const unsigned char *bytes, size_t count, fuzz_outcome *outcome)
{
    char text[FUZZ_BYTES + 1], *words[WORDS + 2] = {"genseg"};
    int number = 1;
    memcpy(text, bytes, count);
    text[count] = 0;
    for (char *at = text; *at && number <= WORDS; number++) {
        words[number] = at;
        at += strcspn(at, "\n");
        if (*at) *at++ = 0;
    }
    genseg_arguments arguments = {0};
    genseg_config config = {0};
    ht_error error = {0};
    ht_status status = genseg_arguments_read(number, words, &arguments, &error);
    if (status == HT_OK && arguments.command && !arguments.help && !arguments.config)
        status = genseg_arguments_resolve(&arguments, &config, &error);
    if (status != HT_OK) fuzz_refused(&error, outcome);
    else outcome->kind = fuzz_mix(5, (uint64_t)arguments.assignment_count +
                                         (uint64_t)(arguments.command ? arguments.command->bit << 8 : 0));
    genseg_arguments_free(&arguments);
}
