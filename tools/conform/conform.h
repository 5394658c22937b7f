/*
 * ht-conform: one case is one file, read, recorded and compared. What its files share.
 * The form of the files is docs/conformance.md; nothing here knows how a case was made.
 */
#ifndef CONFORM_H
#define CONFORM_H

#include <ht/ht.h>
#include <jansson.h>

enum { CONFORM_NAME = 256, CONFORM_TEXT = 16 << 20 };

/** A case while it is worked on. error: why there is no answer; worst: of the answers that were compared. */
typedef struct conform_case {
    const char *path;
    char name[CONFORM_NAME];
    ht_device *device;
    ht_store *tensors;          /* everything that the file holds                                      */
    char *text;                 /* room for one metadata value, CONFORM_TEXT bytes                      */
    double tolerance;
    double worst;               /* largest error so far, relative to the largest number expected        */
    char worst_tensor[CONFORM_NAME];
    ht_error error;
} conform_case;

/** Opens the file and finds out its name, tolerance and tensors. The kind is left in c->text. */
ht_status conform_open(conform_case *c, const char *path, ht_device *device);
void conform_close(conform_case *c);
/** The two kinds: everything that a case says is recorded, run and compared. */
void conform_operation(conform_case *c);
void conform_procedure(conform_case *c);

/** One metadata value in c->text; EINVALID if the file has none. */
ht_status conform_metadata(conform_case *c, const char *key, ht_error *error);
/** One metadata value parsed as JSON: an object ("order": or a list), which the caller owns; else NULL and the case's error. */
json_t *conform_json(conform_case *c, const char *key);

/** Index of a tensor of the file, or -1. */
int32_t conform_find(const conform_case *c, const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 2, 3)))
#endif
    ;
/** An input of the tape with the name, type and shape of a tensor of the file. The case's error if it is not there. */
ht_var conform_input(conform_case *c, ht_tape *tape, const char *name);
/** Compiles, gives each input the tensor of its name and runs. NULL and the case's error if that does not work out. */
ht_program *conform_run(conform_case *c, ht_tape *tape, ht_vars outputs);

/** Compares numbers with the tensor of that name; a missing one, another shape or type is the case's error. */
void conform_compare(conform_case *c, const char *name, ht_shape shape, const double *numbers);
/** The same for an output of a program. */
void conform_compare_output(conform_case *c, ht_program *program, const char *name, ht_var output);
/** The numbers of an output, of malloc; NULL and the case's error if there are none. */
double *conform_numbers(conform_case *c, ht_program *program, ht_var output);

/* ---- members of a JSON object: absent or null ones take the default, others must be what is asked for ---- */

/** EINVALID naming the first member that is not among the words (with blanks between them). */
ht_status conform_known(const json_t *object, const char *words, ht_error *error);
double conform_real(const json_t *object, const char *key, double otherwise, ht_error *error);
int32_t conform_whole(const json_t *object, const char *key, int32_t otherwise, ht_error *error);
int conform_flag(const json_t *object, const char *key, int otherwise, ht_error *error);
/** Position of a word in a list that ends with NULL. */
int32_t conform_word(const json_t *object, const char *key, const char *const *words, int32_t otherwise, ht_error *error);
/** count whole numbers, or one that stands for all. Rank 0 if the member is absent. */
ht_shape conform_sizes(const json_t *object, const char *key, int32_t count, ht_error *error);

#endif
