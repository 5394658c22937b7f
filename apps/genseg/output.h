/* Folders, names and masks that scoring and prediction write. */
#ifndef GENSEG_OUTPUT_H
#define GENSEG_OUTPUT_H

#include "data.h"

#define GENSEG_OUTPUT_PATH 4096

/**
 * path = folder/name and suffix. A name that would be too long for a file is cut and told apart by its hash.
 * EINVALID if the whole is too long.
 */
ht_status genseg_output_path(char path[GENSEG_OUTPUT_PATH], const char *folder, const char *name, const char *suffix,
                             ht_error *error);
/** EINVALID, naming the option, if what is meant to be a folder, or to be made one, is a file. */
ht_status genseg_output_check(const char *option, const char *path, ht_error *error);
/** Makes a folder in an existing one, unless it is there. EIO names it. */
ht_status genseg_output_folder(const char *path, ht_error *error);
/** Writes a 0/1 mask as a grey PNG of 0 and 255. */
ht_status genseg_output_mask(const char *path, const uint8_t *mask, int32_t width, int32_t height, ht_error *error);

#endif
