/*
 * What a profile is made of: the parts of a run (each step, then the commit), with mean time, bytes and operations. The
 * forms of ht_profile write them: a table (profile.c), a trace (trace.c), a flame graph (flame.c). Private to core/plan,
 * and to the benchmarks, which may look into plans.
 */
#ifndef HTI_PROFILE_H
#define HTI_PROFILE_H

#include "plan/plan.h"

/* Kinds of work, for categories and colours. */
typedef enum hti_work { HTI_WORK_PRODUCT, HTI_WORK_POINTWISE, HTI_WORK_ORDER, HTI_WORK_OTHER, HTI_WORKS } hti_work;
extern const char *const hti_work_names[HTI_WORKS];

typedef struct hti_part {
    const char *name;          /* the op, "fused", "reorder", "pack" or "commit"               */
    const char *scope, *where; /* of a group: those of its first member; "" for none           */
    const char *algorithm;     /* NULL if the backend named none                               */
    const hti_step *step;      /* NULL of the commit                                           */
    hti_work work;
    double nanoseconds;        /* mean over the runs that were timed                           */
    double bytes, flop;        /* of one run: read and written; operations, if the kernel counts them */
} hti_part;

/* Steps, and one more if there is a commit. */
int32_t hti_part_count(const ht_program *program);
hti_part hti_part_at(const ht_program *program, int32_t index);

/*
 * The names of a scope's path, which '/' and '.' part: the next one from `at` on, with its bytes; NULL behind the last.
 * The first HTI_PATH_NAMES - 1 names are parted, the rest is one name.
 */
#define HTI_PATH_NAMES 16
typedef struct hti_path {
    const char *name[HTI_PATH_NAMES];
    size_t bytes[HTI_PATH_NAMES];
    int32_t names;
} hti_path;
hti_path hti_scope_path(const char *scope);

/*
 * Writes text from elsewhere, at most so many characters: what no reader could show (bytes that are no UTF-8, controls)
 * becomes U+FFFD, and each character that stands in `marks` the entry of `escapes` at its place.
 */
void hti_put_text(FILE *file, const char *text, size_t bytes, int32_t characters, const char *marks,
                  const char *const *escapes);

void hti_profile_trace(const ht_program *program, FILE *file);
ht_status hti_profile_flame(const ht_program *program, FILE *file, ht_error *error);

#endif
