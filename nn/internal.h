/* Shared within nn/: finding or making a tensor of a store, and filling a new one. */
#ifndef HTI_NN_INTERNAL_H
#define HTI_NN_INTERNAL_H

#include <stdbool.h>

#include <ht/nn.h>

/* Longest name that a store takes, with its end. */
#define HTI_NAME_BYTES 256

/* One tensor that a recording needs. `what` opens messages, as in: conv "enc0.k4.weight". */
typedef struct hti_wanted {
    const char *where, *what, *name;
    ht_dtype dtype;
    ht_shape shape;
    ht_role role;
} hti_wanted;

/*
 * Finds the tensor and checks it, or adds it (zero-filled; *created is then true). False and the tape's sticky error
 * if it does not agree or cannot be added.
 */
bool hti_tensor_obtain(ht_tape *tape, ht_store *store, const hti_wanted *tensor, bool *created);

/* Fills a tensor of real type. */
ht_status hti_initialise(ht_store *store, const char *name, nn_init init, uint64_t seed, ht_error *error);

/* The layer's full name in the store, or NULL and the sticky error. part may be NULL: NAME, else NAME.part. */
const char *hti_full_name(nn_scope scope, const char *name, const char *part, const char *where);

/* The stream of a layer's draws, by its full name; NULL and the sticky error without memory. */
const char *hti_stream(nn_scope scope, const char *full);

/* Parameter NAME.part of a layer: from the bound values, or from the store. */
ht_var hti_parameter(nn_scope scope, const char *what, const char *name, const char *part, ht_shape shape, nn_init init,
                     const char *where);
/* Buffer NAME.part of the tape's type in the store; its full name comes back in *full. Empty value on error. */
ht_var hti_buffer(nn_scope scope, const char *what, const char *name, const char *part, ht_shape shape, nn_init init,
                  const char **full, const char *where);

/* An option: 0 stands for the default, a negative number (NN_NONE) for 0. */
static inline double hti_option(double value, double otherwise) { return value == 0 ? otherwise : value < 0 ? 0 : value; }

/* True if nothing can be recorded any more. */
static inline bool hti_stopped(const ht_tape *tape) { return !tape || ht_tape_error(tape)->status != HT_OK; }

#endif
