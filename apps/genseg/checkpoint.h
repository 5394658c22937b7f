/* Inside of the checkpoint: the file of the state's numbers, and the stores' names. Not for the rest of genseg (state.h). */
#ifndef GENSEG_CHECKPOINT_H
#define GENSEG_CHECKPOINT_H

#include "state.h"

#define GENSEG_NUMBERS "state.json"

/** Names of the stores' files, without ".safetensors". */
extern const char *const genseg_store_names[GENSEG_STORES];

/** All but the stores, and how many tensors each of them has; durably. EINVALID for a number that is not finite. */
ht_status genseg_numbers_write(const char *path, const genseg_state *state, ht_error *error);
/** Reads what genseg_numbers_write wrote, strictly; the stores are left alone. EFORMAT names the file and the entry. */
ht_status genseg_numbers_read(const char *path, genseg_state *state, int64_t tensors[GENSEG_STORES], ht_error *error);

#endif
