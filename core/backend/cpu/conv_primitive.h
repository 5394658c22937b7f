/* One convolution primitive of oneDNN 2 with its stream and memories: made at planning, given addresses when it runs. */
#ifndef HTI_CPU_CONV_PRIMITIVE_H
#define HTI_CPU_CONV_PRIMITIVE_H

#include <dnnl.h>

#include "backend/cpu/conv.h"

/* What one primitive computes. FLIPPED: a forward primitive from g to x on weights turned round. */
typedef enum hti_primitive_kind { HTI_FORWARD = 0, HTI_FLIPPED, HTI_TO_INPUT, HTI_TO_WEIGHT } hti_primitive_kind;

/* A primitive in its own words: source, weights, destination. */
typedef struct hti_primitive_form {
    hti_primitive_kind kind;
    dnnl_alg_kind_t algorithm;
    dnnl_data_type_t operands;
    size_t most_scratch;             /* implementations that want more bytes are refused */
    dnnl_memory_desc_t source, weights, destination;
    dnnl_dims_t steps, dilations, before, after;
} hti_primitive_form;

typedef struct hti_primitive {
    hti_primitive_kind kind;
    dnnl_primitive_t primitive;
    dnnl_stream_t stream;
    dnnl_memory_t memory[4];         /* source, weights, destination, scratchpad */
    void *handle[4];                 /* what the memories point to now */
    size_t bytes[4];
    char implementation[48];
} hti_primitive;

/* Weights of any format, in the order of the kind's own axes. */
dnnl_status_t hti_primitive_weights(dnnl_memory_desc_t *weights, const hti_conv_problem *problem,
                                    hti_primitive_kind kind);
/*
 * Runs later with as many threads as OpenMP's limit is now. *weights becomes the format that the primitive chose.
 * EUNSUPPORTED where oneDNN has no implementation, or one named "ref". After a failure free it all the same.
 */
ht_status hti_primitive_make(hti_primitive *primitive, dnnl_engine_t engine, const hti_primitive_form *form,
                             dnnl_memory_desc_t *weights);
ht_status hti_primitive_run(hti_primitive *primitive, void *const handle[4]);
void hti_primitive_free(hti_primitive *primitive);

ht_status hti_primitive_status(dnnl_status_t status);

#endif
