/*
 * Recording. A tape is a list of instructions; a value is an index into it, and an instruction refers to smaller
 * indices only. Values are dense, row-major in meaning (the plan chooses physical order), typed, of fixed shape.
 *
 * A call that is wrong marks the tape with the first error (op, shapes, scope, the caller's line) and returns the empty
 * value (id 0), or a list of the usual length of empty values; every later call on that tape returns empty at once. So
 * model code handles no errors: ht_compile or ht_tape_error reports them.
 */
#ifndef HT_TAPE_H
#define HT_TAPE_H

#include <ht/store.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ht_tape ht_tape;

/** A recorded value. The zero value is empty. */
typedef struct ht_var {
    ht_tape *tape;
    int32_t id;
} ht_var;

/** A list of values, in the tape's memory. names: NULL, or one name for each value. */
typedef struct ht_vars {
    const ht_var *at;
    const char *const *names;
    int32_t count;
} ht_vars;

/** A new tape whose constants and parameters are of the given real type (HT_F32, HT_F64). NULL without memory. */
ht_tape *ht_tape_new(ht_dtype real);
/** Frees the tape and every value on it. Programs compiled from it live on. NULL is allowed. */
void ht_tape_free(ht_tape *tape);
/** The tape's sticky error; status HT_OK while there is none. Lent. */
const ht_error *ht_tape_error(const ht_tape *tape);
/** The tape's real type. */
ht_dtype ht_tape_dtype(const ht_tape *tape);

/** Marks the tape with an error of the caller's own; the first error stays. Returns the empty value. */
#if defined(__GNUC__)
__attribute__((format(printf, 4, 5)))
#endif
ht_var ht_tape_fail(ht_tape *tape, const char *where, ht_status status, const char *format, ...);

/** Shape and type of a value; rank 0 and the tape's type for the empty value. */
ht_shape ht_var_shape(ht_var x);
ht_dtype ht_var_dtype(ht_var x);
/** 1 if the value exists, 0 if it is empty. */
int ht_ok(ht_var x);

/** Opens a named part of the model for messages, dumps and random streams: "G/enc0". Nests; ends with pop. */
void ht_scope_push(ht_tape *tape, const char *name);
void ht_scope_pop(ht_tape *tape);
/** The path of the scopes that are open, "" outside of any. Lent for the life of the tape. */
const char *ht_scope_path(ht_tape *tape);

/** Copies a text into the tape's memory; NULL (and the sticky error) without memory. */
const char *ht_tape_text(ht_tape *tape, const char *text);
/** A list of count values (and names, if not NULL), copied into the tape's memory. */
ht_vars ht_vars_new(ht_tape *tape, const ht_var *values, const char *const *names, int32_t count);
/** ht_list(a, b, ...): a list of values, copied into the tape's memory. At least one value. */
#define ht_list(...) \
    ht_list_((const ht_var[]){__VA_ARGS__}, (int32_t)(sizeof((const ht_var[]){__VA_ARGS__}) / sizeof(ht_var)))
ht_vars ht_list_(const ht_var *values, int32_t count);
/** a followed by b. */
ht_vars ht_vars_join(ht_vars a, ht_vars b);

/**
 * A value that the host sets before each run (ht_set). Names are unique on a tape.
 *     ht_input(tape, "image", HT_SHAPE(2, 3, 64, 64))     of the tape's type
 *     ht_input_of(tape, "label", HT_I32, HT_SHAPE(2))
 */
#define ht_input(tape, name, ...) ht_input_(tape, name, ht_tape_dtype(tape), __VA_ARGS__, HT_HERE)
#define ht_input_of(tape, name, dtype, ...) ht_input_(tape, name, dtype, __VA_ARGS__, HT_HERE)
ht_var ht_input_(ht_tape *tape, const char *name, ht_dtype dtype, ht_shape shape, const char *where);

/** A constant of the tape's type: one number everywhere, or given numbers (row-major, double). */
#define ht_fill(...) ht_fill_(__VA_ARGS__, HT_HERE)
ht_var ht_fill_(ht_tape *tape, double value, ht_shape shape, const char *where);
#define ht_constant(...) ht_constant_(__VA_ARGS__, HT_HERE)
ht_var ht_constant_(ht_tape *tape, const double *numbers, ht_shape shape, const char *where);

/**
 * Reads a tensor of a store. A read after a write on one tape sees the written value; two reads without a write
 * between them are one value. EINVALID if the store has no such tensor.
 */
#define ht_read_one(...) ht_read_one_(__VA_ARGS__, HT_HERE)
ht_var ht_read_one_(ht_tape *tape, ht_store *store, const char *name, const char *where);
/** Reads all parameters of a store, in order, with their names. */
#define ht_read(...) ht_read_(__VA_ARGS__, HT_HERE)
ht_vars ht_read_(ht_tape *tape, ht_store *store, const char *where);

/**
 * Gives a tensor of a store a new value, of the same shape and type. The store itself changes at the end of a run only,
 * in the commit section of the program: an interrupt or a failure before it changes nothing.
 */
#define ht_write_one(...) ht_write_one_(__VA_ARGS__, HT_HERE)
void ht_write_one_(ht_store *store, const char *name, ht_var value, const char *where);
/** Writes all parameters of a store, in order; ESHAPE if the counts differ. */
#define ht_write(...) ht_write_(__VA_ARGS__, HT_HERE)
void ht_write_(ht_store *store, ht_vars values, const char *where);

/** Checks that the tape is well formed (EINTERNAL and the instruction if not). For tests. */
ht_status ht_verify(const ht_tape *tape, ht_error *error);

#ifdef __cplusplus
}
#endif
#endif
