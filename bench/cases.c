/*
 * The operations that bench_ops measures, at the shapes of the round and of other networks: how one is recorded, and how a
 * peer is asked for it. To add one: a row; a kind that is new also a case of the switch and one in peer_ops.py.
 */
#include "bench.h"

typedef enum case_kind {
    CONV, CONV_UP, NORM, LAYER_NORM, RELU, GELU, TANH, SOFTMAX, MAX_POOL, AVG_POOL, RESIZE, CONCAT, ATTENTION, CROSS_ENTROPY,
    CLASSES, MATMUL, KINDS
} case_kind;

/* By the names of ht-conform. */
static const char *const op_names[KINDS] = {
    "conv", "conv_transpose", "batch_norm", "layer_norm", "relu", "gelu", "tanh", "softmax", "max_pool", "avg_pool", "resize",
    "concat", "attention", "sigmoid_cross_entropy", "softmax_cross_entropy", "matmul"};

/* channels and filters in widths of the network, 0 for one channel, -1 for an image's; size as a fraction of the image's. */
typedef struct op_case {
    const char *name;
    case_kind kind;
    int32_t channels, filters, part, kernel, stride, pad;
} op_case;

static const op_case cases[] = {
    {"segmenter, first convolution", CONV, -1, 1, 1, 3, 1, 1},
    {"segmenter, level 0", CONV, 1, 1, 1, 3, 1, 1},
    {"segmenter, level 0 after the skip", CONV, 2, 1, 1, 3, 1, 1},
    {"segmenter, level 1", CONV, 2, 2, 2, 3, 1, 1},
    {"segmenter, level 2", CONV, 4, 4, 4, 3, 1, 1},
    {"segmenter, level 3", CONV, 8, 8, 8, 3, 1, 1},
    {"segmenter, level 4", CONV, 16, 16, 16, 3, 1, 1},
    {"segmenter, head", CONV, 1, 0, 1, 1, 1, 0},
    {"segmenter, up to level 0", CONV_UP, 2, 1, 2, 2, 2, 0},
    {"generator, encoder 0, 8x8", CONV, 0, 1, 1, 8, 2, 3},
    {"generator, encoder 1, 4x4", CONV, 1, 2, 2, 4, 2, 1},
    {"generator, encoder 1, 6x6", CONV, 1, 2, 2, 6, 2, 2},
    {"generator, encoder 1, 8x8", CONV, 1, 2, 2, 8, 2, 3},
    {"generator, encoder 2, 8x8", CONV, 2, 4, 4, 8, 2, 3},
    {"generator, encoder 4, 8x8", CONV, 8, 8, 16, 8, 2, 3},
    {"generator, decoder 2, 4x4", CONV_UP, 8, 2, 8, 4, 2, 1},
    {"generator, decoder 2, 8x8", CONV_UP, 8, 2, 8, 8, 2, 3},
    {"generator, decoder 0, 8x8", CONV_UP, 2, -1, 2, 8, 2, 3},
    {"discriminator, last but one", CONV, 4, 8, 8, 4, 1, 1},
    {"batch norm", NORM, 1, 1, 1, 0, 0, 0},
    {"layer norm", LAYER_NORM, 1, 1, 1, 0, 0, 0},
    {"ReLU", RELU, 1, 1, 1, 0, 0, 0},
    {"tanh", TANH, 1, 1, 1, 0, 0, 0},
    {"GELU", GELU, 1, 1, 1, 0, 0, 0},
    {"softmax over channels", SOFTMAX, 1, 1, 1, 0, 0, 0},
    {"max pooling", MAX_POOL, 1, 1, 1, 2, 2, 0},
    {"average pooling", AVG_POOL, 1, 1, 1, 2, 2, 0},
    {"bilinear to twice the size", RESIZE, 1, 1, 2, 0, 0, 0},
    {"concat of a skip", CONCAT, 1, 1, 1, 0, 0, 0},
    {"cross-entropy", CROSS_ENTROPY, 0, 0, 1, 0, 0, 0},
    {"cross-entropy of 21 classes", CLASSES, 0, 0, 2, 0, 0, 0},
    {"attention, 4 heads of 64", ATTENTION, 0, 0, 8, 0, 0, 0},
    {"matrix product of 1024", MATMUL, 0, 0, 1, 0, 0, 0},
};
enum { CASES = sizeof cases / sizeof cases[0] };

/* ---- recording ---- */

static int64_t channels_of(const genseg_config *o, int32_t widths)
{
    return widths > 0 ? (int64_t)widths * o->unet_width : widths < 0 ? BENCH_CHANNELS : 1;
}

static int64_t size_of(const genseg_config *o, const op_case *c) { return o->size / c->part > 0 ? o->size / c->part : 1; }

/* Ops that are not of images. */
static ht_var record_rows(ht_tape *tape, const genseg_config *o, const op_case *c, ht_vars *inputs)
{
    int64_t size = size_of(o, c), length = size * size;
    ht_shape shape = c->kind == MATMUL ? HT_SHAPE(1024, 1024) : c->kind == ATTENTION ? HT_SHAPE(o->batch, 4, length, 64)
                                                              : HT_SHAPE(o->batch, length, channels_of(o, c->channels));
    ht_var a = ht_input(tape, "a", shape);
    if (c->kind == MATMUL) {
        *inputs = ht_list(a, ht_input(tape, "b", shape));
        return ht_matmul(a, inputs->at[1]);
    }
    if (c->kind == ATTENTION) {
        *inputs = ht_list(a, ht_input(tape, "k", shape), ht_input(tape, "v", shape));
        return ht_attention(a, inputs->at[1], inputs->at[2]);
    }
    ht_shape last = HT_SHAPE(shape.dim[2]);
    *inputs = ht_list(a, ht_input(tape, "gain", last), ht_input(tape, "bias", last));
    return ht_layer_norm(a, inputs->at[1], inputs->at[2]);
}

ht_var bench_case_record(ht_tape *tape, const genseg_config *o, int32_t index, ht_vars *inputs, ht_vars *fixed)
{
    const op_case *c = &cases[index];
    int64_t in = channels_of(o, c->channels), out = channels_of(o, c->filters), size = size_of(o, c);
    *fixed = (ht_vars){0};
    if (c->kind == MATMUL || c->kind == ATTENTION || c->kind == LAYER_NORM) return record_rows(tape, o, c, inputs);
    if (c->kind == CLASSES) in = BENCH_CASE_CLASSES;
    ht_var x = ht_input(tape, "x", HT_SHAPE(o->batch, in, size, size));
    *inputs = ht_list(x);
    ht_axes stride = ht_all(c->stride), pad = ht_all(c->pad);
    switch (c->kind) {
    case CONV:
        *inputs = ht_list(x, ht_input(tape, "w", HT_SHAPE(out, in, c->kernel, c->kernel)));
        return ht_conv(x, inputs->at[1], .stride = stride, .pad = pad);
    case CONV_UP:
        *inputs = ht_list(x, ht_input(tape, "w", HT_SHAPE(in, out, c->kernel, c->kernel)));
        return ht_conv_transpose(x, inputs->at[1], .stride = stride, .pad = pad);
    case NORM:
        *inputs = ht_list(x, ht_input(tape, "gain", HT_SHAPE(in)), ht_input(tape, "bias", HT_SHAPE(in)));
        return ht_batch_norm(x, inputs->at[1], inputs->at[2]);
    case RELU: return ht_relu(x);
    case GELU: return ht_gelu(x);
    case TANH: return ht_tanh(x);
    case SOFTMAX: return ht_softmax(x, 1);
    case MAX_POOL: return ht_max_pool(x, .kernel = ht_all(c->kernel));
    case AVG_POOL: return ht_avg_pool(x, .kernel = ht_all(c->kernel));
    case RESIZE: return ht_resize(x, HT_SHAPE(2 * size, 2 * size), .linear = 1);
    case CONCAT:
        *inputs = ht_list(x, ht_input(tape, "skip", HT_SHAPE(o->batch, in, size, size)));
        return ht_concat(1, *inputs);
    case CROSS_ENTROPY:
        *fixed = ht_list(ht_input(tape, "mask", HT_SHAPE(o->batch, in, size, size)));
        return ht_sigmoid_cross_entropy(x, fixed->at[0]);
    case CLASSES:
        *fixed = ht_list(ht_input_of(tape, "class", HT_I32, HT_SHAPE(o->batch, size, size)));
        return ht_softmax_cross_entropy(x, fixed->at[0]);
    case MATMUL: case ATTENTION: case LAYER_NORM: case KINDS: break;
    }
    return (ht_var){0};
}

/* ---- numbers ---- */

void bench_fill(ht_program *program, ht_var input, const char *name, ht_error *error)
{
    int64_t count = ht_shape_count(ht_var_shape(input));
    float *numbers = malloc((size_t)count * sizeof *numbers);
    double *wide = ht_var_dtype(input) == HT_F64 ? malloc((size_t)count * sizeof *wide) : NULL;
    if (!numbers || (ht_var_dtype(input) == HT_F64 && !wide)) {
        ht_fail(error, HT_ENOMEM, "no memory for %lld numbers", (long long)count);
        free(numbers);
        free(wide);
        return;
    }
    uint64_t key = ht_random_key(1, name);
    for (int64_t i = 0; i < count; i++) numbers[i] = (float)(ht_random_unit(ht_random_word(key, 0, (uint64_t)i)) - 0.5);
    for (int64_t i = 0; wide && i < count; i++) wide[i] = (double)numbers[i];
    ht_set(program, input, wide ? (const void *)wide : numbers, count);
    free(wide);
    free(numbers);
}

/* ---- running ---- */

/* ---- asking ---- */

int32_t bench_cases(void) { return CASES; }
const char *bench_case_name(int32_t index) { return cases[index].name; }

bool bench_case_convolves(int32_t index) { return cases[index].kind == CONV || cases[index].kind == CONV_UP; }

json_t *bench_case_question(const genseg_config *o, int32_t index)
{
    const op_case *c = &cases[index];
    int size = (int)(2 * size_of(o, c));
    json_t *attributes = NULL;
    if (c->kind == CONV || c->kind == CONV_UP)
        attributes = json_pack("{s:[i,i], s:[i,i]}", "stride", c->stride, c->stride, "padding", c->pad, c->pad);
    if (c->kind == MAX_POOL || c->kind == AVG_POOL) attributes = json_pack("{s:[i,i]}", "kernel", c->kernel, c->kernel);
    if (c->kind == RESIZE) attributes = json_pack("{s:[i,i]}", "size", size, size);
    if (c->kind == SOFTMAX || c->kind == CONCAT) attributes = json_pack("{s:i}", "axis", 1);
    if (c->kind == CLASSES) attributes = json_pack("{s:i}", "classes", BENCH_CASE_CLASSES);
    return json_pack("{s:s, s:o}", "op", op_names[c->kind], "attributes", attributes ? attributes : json_object());
}
