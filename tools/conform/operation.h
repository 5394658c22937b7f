/* What recording an operation from a case needs to know, and the table of the operations. */
#ifndef CONFORM_OPERATION_H
#define CONFORM_OPERATION_H

#include "conform.h"

enum { OPERANDS_MAX = 8 };

/** A call of an operation: its inputs in order, and what the case says of it. error: of a wrong attribute. */
typedef struct conform_call {
    ht_tape *tape;
    ht_var in[OPERANDS_MAX];
    int32_t count;
    const json_t *attributes;
    ht_error *error;
} conform_call;

/** attributes: the names that are allowed, with blanks between them. indices: bit N for an in.N of whole numbers. */
typedef struct conform_row {
    const char *name;
    ht_var (*record)(const conform_call *call);
    int32_t operands;
    unsigned indices;
    const char *attributes;
} conform_row;

/** The row of an operation; NULL if there is none. */
const conform_row *conform_operation_row(const char *name);

#endif
