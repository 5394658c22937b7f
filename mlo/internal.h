/* What the files of mlo/ share: the state of one recording. */
#ifndef MLO_INTERNAL_H
#define MLO_INTERNAL_H

#include <ht/mlo.h>

typedef struct mlo_recording {
    mlo_args args;
    mlo_round round;
    ht_vars start[MLO_LEVELS_MAX];   /* the unknowns' values when the round begins          */
    ht_vars stepped[MLO_LEVELS_MAX]; /* after the look-ahead; count 0 before it is recorded */
    ht_vars held;                    /* the last level's values at a place of their own     */
} mlo_recording;

struct mlo_point {
    const mlo_recording *recording;
    int32_t level;   /* whose loss is recorded                                    */
    ht_vars own;     /* its values, if not those of the start: a probe; count 0   */
};

/* The loss of a level at a point. */
ht_var mlo_loss_at(const mlo_recording *r, int32_t level, ht_vars own);
/* path, direct and total by central differences of the lower levels' gradients. */
void mlo_differences(mlo_recording *r);

#endif
