/*
 * The searchable generator. A cell mixes three linear candidates that share stride and centre, so
 * sum_k a_k conv(x, W_k) = conv(x, sum_k a_k pad(W_k)) exactly: it is recorded as three convolutions or as one,
 * whichever is cheaper for its size.
 */
#include "networks.h"

#include <math.h>
#include <stdio.h>

static const ht_var empty;
static const int32_t kernel_of[GENSEG_CANDIDATES] = {4, 6, 8};

/* Below this many positions of the smaller grid, mixing the kernels costs more than the pixels it saves. */
enum { MERGE_FROM_POSITIONS = 128 };

ht_var genseg_activate(ht_var x, double slope, int32_t smooth)
{
    if (smooth) return ht_softplus(x);
    return slope == 0 ? ht_relu(x) : ht_leaky_relu(x, slope);
}

ht_var genseg_to_unit(ht_var generated) { return ht_affine(generated, 0.5, 0.5); }

/* One cell while it is recorded. */
typedef struct searched_cell {
    nn_scope scope;
    const char *title;
    ht_var weights;       /* softmax(alpha) [levels, 3]; empty: the first candidate alone */
    int32_t row;
    int64_t in, out;      /* channels */
    int transposed, bias;
    genseg_cells form;
} searched_cell;

/* W_k, shape [out, in, k, k], or [in, out, k, k] of a transposed convolution. */
static ht_var kernel(const searched_cell *c, int32_t k)
{
    int64_t size = kernel_of[k], first = c->transposed ? c->in : c->out, second = c->transposed ? c->out : c->in;
    nn_scope s = nn_sub(c->scope, nn_name(c->scope, "k%d", kernel_of[k]));
    return nn_parameter(s, "weight", HT_SHAPE(first, second, size, size), nn_normal(0.02));
}

/* The bias of a candidate, shaped for adding to an image. */
static ht_var bias(const searched_cell *c, int32_t k)
{
    nn_scope s = nn_sub(c->scope, nn_name(c->scope, "k%d", kernel_of[k]));
    return ht_reshape(nn_parameter(s, "bias", HT_SHAPE(c->out)), HT_SHAPE(1, c->out, 1, 1));
}

static ht_var convolve(const searched_cell *c, ht_var x, ht_var w, int32_t kernel_size)
{
    ht_axes stride = ht_all(2), pad = ht_all(kernel_size / 2 - 1);
    return c->transposed ? ht_conv_transpose(x, w, .stride = stride, .pad = pad)
                         : ht_conv(x, w, .stride = stride, .pad = pad);
}

/* a_k, shaped for multiplying with an image or a kernel. */
static ht_var share(const searched_cell *c, int32_t k)
{
    ht_var a = ht_slice(c->weights, HT_SHAPE(c->row, k), HT_SHAPE(1, 1));
    return ht_reshape(a, HT_SHAPE(1, 1, 1, 1));
}

/* The kernel in the middle of one of size 8. */
static ht_var centred(ht_var w, int32_t size)
{
    int64_t side = (8 - size) / 2;
    return side ? ht_pad(w, HT_SHAPE(0, 0, side, side), HT_SHAPE(0, 0, side, side)) : w;
}

static genseg_cells form_of(const searched_cell *c, ht_shape x)
{
    if (c->form != GENSEG_CELLS_AUTO) return c->form;
    int64_t positions = x.dim[0] * x.dim[2] * x.dim[3] / (c->transposed ? 1 : 4);
    return positions >= MERGE_FROM_POSITIONS ? GENSEG_CELLS_MERGED : GENSEG_CELLS_SEPARATE;
}

static ht_var plus(ht_var sum, ht_var term) { return ht_ok(sum) ? ht_add(sum, term) : term; }

static ht_var record_cell(const searched_cell *c, ht_var x)
{
    if (!ht_ok(x)) return empty;
    ht_scope_push(x.tape, c->title);
    ht_var y = empty, mixed = empty, mixed_bias = empty;
    int merged = form_of(c, ht_var_shape(x)) == GENSEG_CELLS_MERGED, searched = ht_ok(c->weights);
    for (int32_t k = 0; k < (searched ? GENSEG_CANDIDATES : 1); k++) {
        ht_var w = kernel(c, k), part = searched ? share(c, k) : empty;
        if (!searched) y = convolve(c, x, w, kernel_of[k]);
        else if (merged) mixed = plus(mixed, ht_mul(centred(w, kernel_of[k]), part));
        else y = plus(y, ht_mul(convolve(c, x, w, kernel_of[k]), part));
        if (c->bias) mixed_bias = plus(mixed_bias, searched ? ht_mul(bias(c, k), part) : bias(c, k));
    }
    if (searched && merged) y = convolve(c, x, mixed, 8);
    if (c->bias) y = ht_add(y, mixed_bias);
    ht_scope_pop(x.tape);
    return y;
}

/* Channels after i encoder cells. */
static int64_t channels_after(const genseg_generator *net, int32_t i, int64_t image)
{
    if (i == 0) return image;
    return (int64_t)net->width * (i > 3 ? 8 : (int64_t)1 << (i - 1));
}

/* A generator that cannot be, as a message. */
static int refused(nn_scope G, ht_var mask, const genseg_generator *net)
{
    ht_shape s = ht_var_shape(mask);
    char text[HT_SHAPE_TEXT];
    if (net->levels < 2 || net->levels > GENSEG_LEVELS_MAX || net->width < 1 || net->channels < 1) {
        ht_tape_fail(G.tape, HT_HERE, HT_EINVALID, "generator: %d levels of width %d to %d channels; 2 to %d levels, width and "
                     "channels of at least 1 were expected", net->levels, net->width, net->channels, GENSEG_LEVELS_MAX);
        return 1;
    }
    int64_t multiple = (int64_t)1 << net->levels;
    if (s.rank == 4 && s.dim[2] % multiple == 0 && s.dim[3] % multiple == 0) return 0;
    ht_tape_fail(G.tape, HT_HERE, HT_ESHAPE, "generator: the mask is %s; [N, C, H, W] with H and W multiples of 2^%d was "
                 "expected: take another size or fewer levels", ht_shape_text(s, text), net->levels);
    return 1;
}

/* softmax over the candidates of alpha.enc or alpha.dec; empty if that part is not searched. */
static ht_var architecture(nn_scope A, const genseg_generator *net, const char *name, genseg_search other)
{
    if (net->search == other) return empty;
    ht_var alpha = nn_parameter(A, name, HT_SHAPE(net->levels, GENSEG_CANDIDATES), nn_normal(1e-3));
    return ht_softmax(alpha, 1);
}

static ht_var norm(nn_scope s, ht_var x) { return nn_batch_norm(s, "norm", x, .init = nn_normal_about(1, 0.02)); }

/* Dropout of decoder cell i: drawn, or the factors given. */
static ht_var dropped(nn_scope s, ht_var x, int32_t i, const genseg_generator *net)
{
    if (net->factors) return ht_ok(net->factors[i]) ? ht_mul(x, net->factors[i]) : x;
    return i >= 4 && i < net->levels - 1 ? nn_dropout(s, "drop", x, net->dropout) : x;
}

ht_var genseg_generate(nn_scope G, nn_scope A, ht_var mask, const genseg_generator *net)
{
    if (!ht_ok(mask) || refused(G, mask, net)) return empty;
    ht_var encoder = architecture(A, net, "alpha.enc", GENSEG_SEARCH_DECODER);
    ht_var decoder = architecture(A, net, "alpha.dec", GENSEG_SEARCH_ENCODER);
    ht_var skip[GENSEG_LEVELS_MAX], h = mask;
    int64_t image = ht_var_shape(mask).dim[1];
    int32_t last = net->levels - 1;
    for (int32_t i = 0; i <= last; i++) {
        const char *title = nn_name(G, "enc%d", i);
        searched_cell c = {.scope = nn_sub(G, title), .title = title, .weights = encoder, .row = i,
                  .in = channels_after(net, i, image), .out = channels_after(net, i + 1, image),
                  .form = net->forms ? net->forms[i] : net->cells};
        h = record_cell(&c, h);
        if (i > 0 && i < last) h = norm(c.scope, h);
        if (i < last) skip[i] = h = genseg_activate(h, 0.2, net->smooth);
    }
    for (int32_t i = last; i >= 0; i--) {
        const char *title = nn_name(G, "dec%d", i);
        searched_cell c = {.scope = nn_sub(G, title), .title = title, .weights = decoder, .row = i, .transposed = 1,
                  .in = channels_after(net, i + 1, image) * (i == last ? 1 : 2),
                  .out = channels_after(net, i, net->channels), .bias = i == 0,
                  .form = net->forms ? net->forms[net->levels + i] : net->cells};
        h = record_cell(&c, genseg_activate(h, 0, net->smooth));
        if (i == 0) return ht_tanh(h);
        h = ht_concat(1, ht_list(skip[i - 1], dropped(c.scope, norm(c.scope, h), i, net)));
    }
    return empty;
}

static const char *const searched_parts[] = {"alpha.enc", "alpha.dec"};

/* Rows of one alpha matrix, 0 if it is not there or not of the form that genseg_generate gives it. */
static int32_t rows(const ht_store *A, const char *name)
{
    int32_t index = ht_store_find(A, name);
    if (index < 0) return 0;
    ht_shape s = ht_store_shape(A, index);
    int whole = s.rank == 2 && s.dim[1] == GENSEG_CANDIDATES && s.dim[0] >= 1 && s.dim[0] <= GENSEG_LEVELS_MAX;
    return whole ? (int32_t)s.dim[0] : 0;
}

int32_t genseg_alpha_cells(const ht_store *A) { return rows(A, searched_parts[0]) + rows(A, searched_parts[1]); }

ht_status genseg_alpha_weights(const ht_store *A, int32_t cell, double weight[GENSEG_CANDIDATES], char name[16],
                               ht_error *error)
{
    int32_t encoders = rows(A, searched_parts[0]), cells = genseg_alpha_cells(A);
    if (cell < 0 || cell >= cells)
        return ht_fail(error, HT_EINVALID, "architecture: cell %d of %d; a cell from 0 was expected", cell, cells);
    int part = cell >= encoders;
    int32_t row = part ? cell - encoders : cell;
    int64_t count = (int64_t)rows(A, searched_parts[part]) * GENSEG_CANDIDATES;
    double wide[GENSEG_LEVELS_MAX * GENSEG_CANDIDATES];
    float narrow[GENSEG_LEVELS_MAX * GENSEG_CANDIDATES];
    int single = ht_store_dtype(A, ht_store_find(A, searched_parts[part])) == HT_F32;
    void *to = single ? (void *)narrow : (void *)wide;
    ht_status status = ht_store_get(A, searched_parts[part], to, count, error);
    if (status) return status;
    double sum = 0, largest = -INFINITY, alpha[GENSEG_CANDIDATES];
    for (int32_t k = 0; k < GENSEG_CANDIDATES; k++) {
        alpha[k] = single ? (double)narrow[row * GENSEG_CANDIDATES + k] : wide[row * GENSEG_CANDIDATES + k];
        largest = fmax(largest, alpha[k]);
    }
    for (int32_t k = 0; k < GENSEG_CANDIDATES; k++) sum += weight[k] = exp(alpha[k] - largest);
    for (int32_t k = 0; k < GENSEG_CANDIDATES; k++) weight[k] /= sum;
    snprintf(name, 16, "%s%d", part ? "dec" : "enc", row);
    return HT_OK;
}
