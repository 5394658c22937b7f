/*
 * What fuse.c and lazy.c share: the space that a pointwise step runs over, and values that are made where they are read.
 * Private to these two.
 */
#ifndef HTI_FUSE_H
#define HTI_FUSE_H

#include "plan/plan.h"

/* Axes of a value without those of size 1, by descending stride. */
typedef struct hti_space {
    ht_dtype dtype;
    int32_t rank, axis[HT_MAX_RANK];
    int64_t count, dim[HT_MAX_RANK];
} hti_space;

/* False if the step cannot be in a group. */
bool hti_space_of(const ht_program *program, const hti_step *step, hti_space *space);
/* Whether the value, of the space's shape, lies there as the results of its groups do. */
bool hti_dense_in(const hti_space *space, const hti_value *value);

/* A lazy value is made by at most so many ops, the lazy ones that it is made from included, from so many dense ones. */
#define HTI_LAZY_OPS 6
#define HTI_LAZY_LEAVES 2

/* A lazy buffer, or one that lazy ones are made from. */
typedef struct hti_lazy {
    int32_t step;               /* that makes it; HTI_NOWHERE of what is not lazy */
    int32_t value;              /* where it was made last; HTI_NOWHERE before */
    int32_t ops, leaves, leaf[HTI_LAZY_LEAVES];
    int32_t last;               /* the step that may read it last, also for a lazy one's sake */
    bool stuck;                 /* read by others than groups, or in another form */
} hti_lazy;

/* Finds lazy values: entries by buffer, all without a step before, and as many places to work with. */
void hti_find_lazy(const ht_program *program, hti_lazy *lazy, int32_t *maker);

#endif
