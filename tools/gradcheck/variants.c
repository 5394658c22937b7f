/*
 * What an op of the registry is checked on: its own samples, and the same at sizes 0 and 1, at rank 0, and over small and
 * wide ranges. Knows kinds of ops, no names.
 */
#include <stdlib.h>
#include <string.h>

#include "suite.h"

#define LARGEST 16 /* size of an axis in a sample */

bool gradcheck_add(gradcheck_variants *list, gradcheck_variant variant)
{
    if (list->count == list->capacity) {
        int32_t capacity = list->capacity ? 2 * list->capacity : 32;
        gradcheck_variant *at = realloc(list->at, (size_t)capacity * sizeof *at);
        if (!at) {
            list->short_of_memory = true;
            return false;
        }
        list->at = at;
        list->capacity = capacity;
    }
    list->at[list->count++] = variant;
    return true;
}

static ht_var record_sample(ht_tape *tape, ht_store *store, const ht_var *in, const void *context)
{
    (void)store;
    return ((const hti_sample *)context)->record(tape, in);
}

gradcheck_variant gradcheck_variant_of(const hti_sample *sample)
{
    gradcheck_variant v = {.inputs = sample->inputs, .low = sample->low, .high = sample->high,
                           .tolerance = sample->tolerance, .record = record_sample, .context = sample};
    snprintf(v.name, sizeof v.name, "%s", sample->name);
    if (v.low == 0 && v.high == 0) v.low = -1, v.high = 1;
    for (int32_t k = 0; k < sample->inputs; k++) v.shape[k] = sample->shape[k];
    return v;
}

static void add_scaled(gradcheck_variants *list, gradcheck_variant v, double factor)
{
    size_t used = strlen(v.name);
    v.low *= factor;
    v.high *= factor;
    snprintf(v.name + used, sizeof v.name - used, ", times %g", factor);
    gradcheck_add(list, v);
}

static void add_shaped(gradcheck_variants *list, gradcheck_variant v, ht_shape shape)
{
    char text[HT_SHAPE_TEXT];
    size_t used = strlen(v.name);
    for (int32_t k = 0; k < v.inputs; k++) v.shape[k] = shape;
    v.generated = true;
    snprintf(v.name + used, sizeof v.name - used, ", %.60s", ht_shape_text(shape, text));
    gradcheck_add(list, v);
}

/* The sample with every axis of size `from` at size `to`: axes that must agree mostly have one size. */
static void add_resized(gradcheck_variants *list, gradcheck_variant v, int64_t from, int64_t to)
{
    size_t used = strlen(v.name);
    for (int32_t k = 0; k < v.inputs; k++)
        for (int32_t i = 0; i < v.shape[k].rank; i++)
            if (v.shape[k].dim[i] == from) v.shape[k].dim[i] = to;
    v.generated = true;
    snprintf(v.name + used, sizeof v.name - used, ", size %d as %d", (int)from, (int)to);
    gradcheck_add(list, v);
}

void gradcheck_add_sizes(gradcheck_variants *list, gradcheck_variant v)
{
    for (int64_t from = 1; from <= LARGEST; from++) {
        bool there = false;
        for (int32_t k = 0; k < v.inputs; k++)
            for (int32_t i = 0; i < v.shape[k].rank; i++) there = there || v.shape[k].dim[i] == from;
        if (there) add_resized(list, v, from, 0);
        if (there && from > 1) add_resized(list, v, from, 1);
    }
}

void gradcheck_variants_of(const hti_op *op, gradcheck_variants *list)
{
    const ht_shape shapes[] = {HT_SCALAR, HT_SHAPE(1), HT_SHAPE(0), HT_SHAPE(7), HT_SHAPE(2, 1, 3)};
    for (int32_t i = 0; i < op->sample_count; i++) {
        gradcheck_variant v = gradcheck_variant_of(&op->samples[i]);
        gradcheck_add(list, v);
        gradcheck_add_sizes(list, v);
        bool equal = op->kind == HTI_POINTWISE;
        for (int32_t k = 1; k < v.inputs; k++) equal = equal && ht_shape_equal(v.shape[0], v.shape[k]);
        for (size_t s = 0; equal && s < sizeof shapes / sizeof shapes[0]; s++) add_shaped(list, v, shapes[s]);
        if (op->kind == HTI_CONSTANT) continue;
        add_scaled(list, v, 1.0 / 64);
        add_scaled(list, v, 8);
        if (op->kind == HTI_MULTILINEAR) { /* products know no size but that of f32 */
            add_scaled(list, v, 1e15);
            add_scaled(list, v, 1e-15);
        }
    }
    gradcheck_add_convolutions(op, list);
    gradcheck_add_products(op, list);
}
