/*
 * Products on operands rounded to bf16: values and first derivatives of f32 programs that ask for it against f64, within
 * what roundings of 8 bits leave. No text of what rounding means: tests/test_bf16.c has that. Here a derivative that goes
 * wrong on bf16 alone has to show, and one that is a tenth off does. Where bf16 is refused, the refusal is checked.
 */
#include <math.h>
#include <string.h>

#include "suite.h"

#define DRAWS 12 /* of each variant */

static ht_var conv(ht_tape *tape, ht_store *store, const ht_var *in, const void *context)
{
    (void)tape, (void)store, (void)context;
    return ht_conv(in[0], in[1], .pad = ht_all(1));
}

static ht_var strided(ht_tape *tape, ht_store *store, const ht_var *in, const void *context)
{
    (void)tape, (void)store, (void)context;
    return ht_conv(in[0], in[1], .stride = ht_all(2), .pad = ht_all(1));
}

static ht_var transposed(ht_tape *tape, ht_store *store, const ht_var *in, const void *context)
{
    (void)tape, (void)store, (void)context;
    return ht_conv_transpose(in[0], in[1], .stride = ht_all(2), .pad = ht_all(1));
}

static ht_var matmul(ht_tape *tape, ht_store *store, const ht_var *in, const void *context)
{
    (void)tape, (void)store, (void)context;
    return ht_matmul(in[0], in[1]);
}

static ht_var matmul_turned(ht_tape *tape, ht_store *store, const ht_var *in, const void *context)
{
    (void)tape, (void)store, (void)context;
    return ht_matmul(in[0], in[1], .transpose_b = 1);
}

/* Sizes at which each product, and each of its gradients, is one that bf16 takes. */
#define ROUNDED(title, function, ...) \
    {.name = title, .inputs = 2, .shape = {__VA_ARGS__}, .low = -1, .high = 1, .record = function}
static const gradcheck_variant variants[] = {
    ROUNDED("conv", conv, {4, {2, 16, 12, 11}}, {4, {32, 16, 3, 3}}),
    ROUNDED("conv, stride 2", strided, {4, {2, 16, 20, 18}}, {4, {32, 16, 4, 4}}),
    ROUNDED("conv_transpose", transposed, {4, {2, 32, 9, 10}}, {4, {32, 16, 4, 4}}),
    ROUNDED("matmul", matmul, {2, {144, 48}}, {2, {48, 80}}),
    ROUNDED("matmul, b turned", matmul_turned, {2, {144, 48}}, {2, {80, 48}}),
    ROUNDED("matmul, batches", matmul, {3, {3, 130, 32}}, {3, {3, 32, 48}}),
};

void gradcheck_rounded_run(const gradcheck_options *options, gradcheck_row *row)
{
    gradcheck_options rounded = *options;
    ht_error error = {0};
    int32_t draws = (int32_t)ceil(DRAWS * (options->effort > 0 ? options->effort : 1));
    rounded.precision = HT_PRECISION_BF16;
    if (ht_precision_check(options->device, HT_PRECISION_BF16, &error) == HT_OK)
        for (size_t i = 0; i < sizeof variants / sizeof variants[0]; i++)
            gradcheck_single_run(&rounded, &variants[i], draws, row);
    else
        gradcheck_note(row, error.status == HT_EUNSUPPORTED && strstr(error.message, "expected"), "refused: %s", error.message);
}
