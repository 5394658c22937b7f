/* What the two halves of ht_gradcheck share: the copy of the value on a tape of its own, and its two programs. */
#ifndef HTI_GRADCHECK_H
#define HTI_GRADCHECK_H

#include <ht/grad.h>

#include "base/internal.h"
#include "tape/attributes.h"
#include "tape/tape_internal.h"

#define HTI_CHECK_ORDERS 3

/* What the exact program gives for each order and input, at 5 (inputs (order - 1) + input) + one of these. */
typedef enum hti_exact {
    HTI_EXACT_REVERSE = 0,   /* reverse mode all the way                        */
    HTI_EXACT_FORWARD,       /* forward mode all the way                        */
    HTI_EXACT_FORWARD_LAST,  /* forward mode over reverse mode                  */
    HTI_EXACT_REVERSE_LAST,  /* reverse mode over forward mode                  */
    HTI_EXACT_GRADIENT,      /* the whole gradient, in reverse mode             */
    HTI_EXACT_KINDS
} hti_exact;

/* One value that derivatives are checked in: x, an input of the copy; given: the caller's gradient. Arrays have `count`. */
typedef struct hti_checked {
    const char *name, *input;   /* for messages; on the copy */
    ht_var x, given, along, chain[HTI_CHECK_ORDERS - 1];
    int64_t count;
    bool drawn;                 /* its base point is random */
    double spread;              /* typical size of a move    */
    double *base, *moved;
    double *direction;          /* of the differences        */
    double *step[HTI_CHECK_ORDERS - 1]; /* of the chain from order to order */
    double *gradient[HTI_CHECK_ORDERS];
} hti_checked;

/* An input that is not checked. */
typedef struct hti_held {
    const char *input;
    ht_dtype dtype;
    int64_t count;
    bool drawn;
    void *numbers;
} hti_held;

typedef struct hti_gradcheck {
    const ht_gradcheck_args *args;
    ht_tape *tape;
    ht_program *exact, *probe;  /* probe: the scalars of order 0, 1, ... and the branches */
    int32_t orders, inputs, helds, branches;
    hti_checked *checked;
    hti_held *held;
    int64_t *branch_count, branch_total;
    double *branch_base, *branch_now;
    ht_error error;
} hti_gradcheck;

/* Copies the value and compiles its derivatives; false (and g->error) if that cannot be. */
bool hti_gradcheck_record(hti_gradcheck *g);

#endif
