/*
 * The gradient-check suite: what is checked (subjects, each with variants), how one variant is checked, what was found.
 * A subject is an op of the registry, or a composition of ops that users call by one name.
 */
#ifndef GRADCHECK_SUITE_H
#define GRADCHECK_SUITE_H

#include <stdbool.h>
#include <stdio.h>

#include <ht/ht.h>

#include "tape/op.h"

#define GRADCHECK_INPUTS 4
#define GRADCHECK_NAME 64 /* bytes of a subject's name */
#define GRADCHECK_ORDERS 3
#define GRADCHECK_TOLERANCE 1e-9
#define GRADCHECK_ILL 10 /* times that, at sizes made by rule: two numbers that nearly agree may be all of a norm's group */

/*
 * One way to record a subject; `store` is an empty one for layers that keep statistics. Inputs are random numbers in
 * [low, high]; 0, 0 means -1 to 1.
 */
typedef struct gradcheck_variant {
    char name[96];
    int32_t inputs;
    ht_shape shape[GRADCHECK_INPUTS];
    double low, high, tolerance; /* tolerance of differences; 0: GRADCHECK_TOLERANCE */
    ht_var (*record)(ht_tape *tape, ht_store *store, const ht_var *in, const void *context);
    const void *context;
    bool generated;              /* of a shape that the author of the op did not write: may be refused, in clear words */
} gradcheck_variant;

typedef struct gradcheck_variants {
    gradcheck_variant *at;
    int32_t count, capacity;
    bool short_of_memory;
} gradcheck_variants;

/* Appends one; false without memory. */
bool gradcheck_add(gradcheck_variants *list, gradcheck_variant variant);

/* How many checks a subject gets at least. */
typedef enum gradcheck_weight { GRADCHECK_LIGHT = 800, GRADCHECK_MIDDLE = 1800, GRADCHECK_HEAVY = 2600 } gradcheck_weight;

/* A composition: not in the registry, so it is listed by us. */
typedef struct gradcheck_composite {
    const char *name;
    gradcheck_weight weight;
    int32_t inputs;
    ht_shape shape[GRADCHECK_INPUTS];
    double low, high;
    ht_var (*record)(ht_tape *tape, ht_store *store, const ht_var *in, const void *context);
} gradcheck_composite;

/* Rows of one name stand next to each other: they are variants of one subject. */
extern const gradcheck_composite gradcheck_composites[];
extern const int32_t gradcheck_composite_count;

/* Compositions as samples of an op that is not there; its rejects are the subject of its own name. */
extern const hti_op gradcheck_compositions;

/* The name of subject i, in order: ops, compositions, samples of compositions; "" for an op without inputs. */
const char *gradcheck_subject(int32_t i, char text[GRADCHECK_NAME]);
int32_t gradcheck_subjects(void);
/* Whether there is a subject of that name. */
bool gradcheck_known(const char *name);

/* Samples of the op, the same at other shapes and ranges, and what the generators add. */
void gradcheck_variants_of(const hti_op *op, gradcheck_variants *list);
gradcheck_variant gradcheck_variant_of(const hti_sample *sample);
/* The variant at sizes 0 and 1: each size that its shapes have, wherever it stands. */
void gradcheck_add_sizes(gradcheck_variants *list, gradcheck_variant variant);
/* The generators: none for most ops. */
void gradcheck_add_convolutions(const hti_op *op, gradcheck_variants *list);
void gradcheck_add_products(const hti_op *op, gradcheck_variants *list);

typedef struct gradcheck_plant {
    const hti_op *op; /* NULL: none */
    int32_t input;
    double relative;
} gradcheck_plant;

typedef struct gradcheck_options {
    ht_device *device;
    const char *only;       /* name of the one subject, or NULL */
    int32_t order;          /* the only order, or 0             */
    ht_dtype dtype;         /* HT_F64; HT_F32 compares f32 with f64 */
    uint64_t seed;
    double effort;          /* share of the full number of checks; 0 is 1 */
    ht_precision precision; /* of the f32 side where f32 is compared with f64 */
    gradcheck_plant plant;
} gradcheck_options;

/* What was found of one subject. */
typedef struct gradcheck_row {
    char name[GRADCHECK_NAME];
    const hti_op *op;       /* NULL for a composition */
    bool pointwise;
    int64_t checks, failed, skipped;
    double worst, seconds;
    char message[HT_MESSAGE_BYTES + 128]; /* first failure, else first skip, else "" */
    int32_t order;          /* of the failure, if it is known, else 0 */
} gradcheck_row;

typedef struct gradcheck_report {
    gradcheck_row *row;
    int32_t count;
    int64_t checks, failed, skipped;
    double seconds;
} gradcheck_report;

/* Checks everything that the options ask for. false without memory. You free report->row. */
bool gradcheck_run(const gradcheck_options *options, gradcheck_report *report);
/* One variant; adds to the row. `draws` points each. */
void gradcheck_variant_run(const gradcheck_options *options, const gradcheck_variant *variant, int32_t draws,
                           gradcheck_row *row);
/* Calls that must be refused, with their words. */
void gradcheck_rejects_run(const hti_op *op, gradcheck_row *row);
/* One result of the suite's own kind; a failure keeps the message. */
#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
void gradcheck_note(gradcheck_row *row, bool good, const char *format, ...);

/* Whether a refusal names its place, what it was given and what was expected. */
bool gradcheck_refusal_is_clear(const ht_error *error);

/* What a variant is on a fresh tape. value: the sum of the result's elements times fixed numbers. */
typedef struct gradcheck_record {
    ht_tape *tape;
    ht_store *store;
    ht_var in[GRADCHECK_INPUTS];
    ht_var y, value;
    bool reached[GRADCHECK_INPUTS];
} gradcheck_record;
/* tape is NULL without memory; its error says why value is empty, if it is. Release it in any case. */
gradcheck_record gradcheck_recorded(const gradcheck_options *options, const gradcheck_variant *variant, ht_dtype dtype);
void gradcheck_release(gradcheck_record *record);
/* Number of a stream, in (0, 1). */
double gradcheck_unit(uint64_t key, uint64_t stream, int64_t i);
/* f32 against f64: the value and the first derivatives. A planted rule is in the f32 alone. */
void gradcheck_single_run(const gradcheck_options *options, const gradcheck_variant *variant, int32_t draws,
                          gradcheck_row *row);
/* The same of products whose operands are rounded to bf16: a row of its own, by the name GRADCHECK_ROUNDED. */
#define GRADCHECK_ROUNDED "bf16"
void gradcheck_rounded_run(const gradcheck_options *options, gradcheck_row *row);

/* Values and derivatives against judges that know no rule; at most a few of the draws. */
void gradcheck_oracles_run(const gradcheck_options *options, const gradcheck_variant *variant, int32_t draws,
                           gradcheck_row *row);

/* How to see a row's failure again. */
void gradcheck_command(const gradcheck_options *options, const gradcheck_row *row, FILE *file);
void gradcheck_write_table(const gradcheck_options *options, const gradcheck_report *report, FILE *file);
void gradcheck_write_json(const gradcheck_report *report, FILE *file);
void gradcheck_write_junit(const gradcheck_options *options, const gradcheck_report *report, FILE *file);

#endif
