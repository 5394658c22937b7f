/*
 * Where the time of the rounds went, for `genseg train --profile DIR`: the library's profile of the round's program in each
 * of its forms. Not part of a run directory, and not durable: it can be made again.
 */
#include <errno.h>
#include <string.h>

#include "output.h"
#include "profile.h"

ht_status genseg_profile_write(const ht_program *program, const char *folder, ht_error *error)
{
    static const struct { ht_profile_form form; const char *suffix; } files[] = {
        {HT_PROFILE_TABLE, ".txt"}, {HT_PROFILE_TRACE, ".json"}, {HT_PROFILE_FLAME, ".svg"}};
    char path[GENSEG_OUTPUT_PATH];
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        if (genseg_output_path(path, folder, "round", files[i].suffix, error) != HT_OK) return error->status;
        FILE *file = fopen(path, "wb");
        if (!file) return ht_fail(error, HT_EIO, "%.300s: %s; expected a file that can be written; choose another --profile",
                                  path, strerror(errno));
        ht_profile(program, files[i].form, file, error);
        if (fclose(file) != 0) ht_fail(error, HT_EIO, "%.300s: %s; expected room for it", path, strerror(errno));
        if (error->status != HT_OK) return error->status;
    }
    return HT_OK;
}
