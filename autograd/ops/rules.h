/* Shape rules and small helpers that several op families share. Private to autograd/ops. */
#ifndef HTI_RULES_H
#define HTI_RULES_H

#include <string.h>

#include <ht/ops.h>

#include "base/internal.h"
#include "tape/attributes.h"
#include "tape/tape_internal.h"

/* All inputs real, of one type and one shape: the result alike. */
ht_status hti_shape_pointwise(const hti_call *call, hti_spec *out, ht_error *error);
/* EDTYPE unless every input is real and of one type; out->dtype is set. */
ht_status hti_same_real(const hti_call *call, hti_spec *out, ht_error *error);

static inline ht_shape hti_in_shape(const hti_call *call, int32_t k) { return ht_var_shape(call->in[k]); }

/* A constant with the shape and type of x. */
ht_var hti_fill_like(ht_var x, double value, const char *where);
/* The value of a constant that is one number everywhere; false for any other value. */
bool hti_fill_value(ht_var x, double *value);
/* What a broadcast was made from, for reading it in its place. */
ht_var hti_before_stretch(ht_var x);

/* Records an op with the affine attributes. */
ht_var hti_with_numbers(hti_op_id op, ht_var x, double factor, double term, const char *where);

/* Prints the axis of an op that has one. */
void hti_print_axis(const void *attributes, FILE *file);

/* Broadcasts two values against each other; false (sticky error) if they do not fit. */
bool hti_broadcast_pair(const char *op, ht_var *a, ht_var *b, const char *where);

/* Of a rule that needs the shape of an empty value: the sticky error, unless there is one. */
ht_var hti_refuse_empty(const char *op, ht_var x, const char *where);

/* x - largest along an axis, where equal infinities give no NaN (k_shift). `largest` carries no derivative. */
ht_var hti_shift(ht_var x, ht_var largest, const char *where);

#endif
