/*
 * Configuration files: accepted ones are written resolved and read back to the same settings; others are refused in one line.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "apps/genseg/config.h"
#include "fuzz.h"

const char *const fuzz_name = "config";
const char *const fuzz_words[] = {"[mlo]", "[model]", "[data]", "seed = ", "rounds = ", "true", "\"eq9\"", "hypergradient = ",
                                  "1e308", "1e-400", "inf", "nan", "0x7f", "1_000", "9223372036854775808",
                                  "\"\\u00e9\"", "\"\\U0010ffff\"", "[1, 2,]", "#", "\r\n", "\t", "'a'", "\xef\xbb\xbf",
                                  "\xc0\x80", "=", "\n", ".", "\"\"\"", NULL};

int32_t fuzz_seed(int32_t number, unsigned char *bytes)
{
    switch (number) {
    case 0: return fuzz_text("seed = 3\nrounds = 20\n\n[data]\nsize = 64\nbatch = 2\n\n[mlo]\nhypergradient = \"eq9\"\n", bytes);
    case 1:
        return fuzz_text("device = \"cpu\" # here\n[model]\nsearch = \"decoder\"\nsegmenter_width = 4\n"
                         "[mlo]\nunroll = \"sgd\"\n", bytes);
    case 2: return fuzz_text("[rate]\ngenerator = 2e-4\nsegmenter = 1E-3\nlist = [1, 2.5, \"a\", true]\n", bytes);
    default: return -1;
    }
}

void fuzz_one(const unsigned char *bytes, size_t count, fuzz_outcome *outcome)
{
    static char written[64], difference[256];
    genseg_config config = {0}, again = {0};
    ht_error error = {0};
    ht_status status = genseg_config_preset(&config, "small", &error);
    if (status == HT_OK) status = genseg_config_file(&config, fuzz_file(bytes, count), &error);
    if (status == HT_OK) status = genseg_config_check(&config, &error);
    if (status != HT_OK) {
        fuzz_refused(&error, outcome);
        return;
    }
    snprintf(written, sizeof written, "/dev/shm/ht-fuzz-%ld.toml", (long)getpid());
    if (genseg_config_preset(&again, "paper", &error) || genseg_config_write(&config, written, &error) ||
        genseg_config_file(&again, written, &error) || genseg_config_check(&again, &error))
        fuzz_break(outcome, "what was accepted is written and read again");
    else if (genseg_config_difference(&config, &again, difference, sizeof difference))
        fuzz_break(outcome, "what was written has the same settings");
    unlink(written);
    for (int32_t i = 0; i < genseg_config_fields(); i++) {
        char *text = genseg_config_value(&config, i, difference, sizeof difference);
        outcome->kind = fuzz_mix(outcome->kind + 11, text ? strlen(text) : 0);
    }
}
