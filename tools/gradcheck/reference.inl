/*
 * Ops as plain loops, for one number type T: included by reference.c, which sets T, NAME(name), REAL(x) (the part that
 * branches look at) and TO_SINGLE(x) (rounding to f32, which the exact types leave out). Integers are held in T. Sums go
 * in the order in which the result's definition lists them; adjoints scatter.
 */

/* ---- pointwise ---- */

static T NAME(logistic)(T x)
{
    T e = NAME(exp)(REAL(x) > 0 ? -x : x);
    return (REAL(x) > 0 ? (T)1 : e) / ((T)1 + e);
}

static T NAME(unary)(hti_op_id op, T x, T p, T q)
{
    switch (op) {
    case HTI_OP_affine: return p * x + q;
    case HTI_OP_exp: return NAME(exp)(x);
    case HTI_OP_expm1: return NAME(expm1)(x);
    case HTI_OP_log: return NAME(log)(x);
    case HTI_OP_log1p: return NAME(log1p)(x);
    case HTI_OP_sqrt: return NAME(sqrt)(x);
    case HTI_OP_safe_sqrt: return REAL(x) == 0 ? (T)0 : NAME(sqrt)(x);
    case HTI_OP_rsqrt: return (T)1 / NAME(sqrt)(x);
    case HTI_OP_square: return x * x;
    case HTI_OP_reciprocal: return (T)1 / x;
    case HTI_OP_pow: return NAME(pow)(x, p);
    case HTI_OP_sin: return NAME(sin)(x);
    case HTI_OP_cos: return NAME(cos)(x);
    case HTI_OP_tanh: return NAME(tanh)(x);
    case HTI_OP_sigmoid: return NAME(logistic)(x);
    case HTI_OP_erf: return NAME(erf)(x);
    case HTI_OP_erfc: return NAME(erfc)(x);
    case HTI_OP_softplus: return REAL(x) > 0 ? x + NAME(log1p)(NAME(exp)(-x)) : NAME(log1p)(NAME(exp)(x));
    case HTI_OP_leaky_relu: return REAL(x) > 0 ? x : p * x;
    case HTI_OP_leaky_gate: return REAL(x) > 0 ? (T)1 : p;
    case HTI_OP_abs: return REAL(x) < 0 ? -x : x;
    case HTI_OP_sign: return (T)(REAL(x) > 0 ? 1 : REAL(x) < 0 ? -1 : 0);
    case HTI_OP_round: return (T)nearbyint((double)REAL(x));
    case HTI_OP_positive: return (T)(REAL(x) > 0 ? 1 : 0);
    default: return (T)NAN;
    }
}

static T NAME(binary)(hti_op_id op, T a, T b)
{
    switch (op) {
    case HTI_OP_add: return a + b;
    case HTI_OP_sub: return a - b;
    case HTI_OP_mul: return a * b;
    case HTI_OP_div: return a / b;
    case HTI_OP_greater: return (T)(REAL(a) > REAL(b) ? 1 : 0);
    case HTI_OP_equal: return (T)(REAL(a) == REAL(b) ? 1 : 0);
    case HTI_OP_shift: return REAL(a) == REAL(b) && isinf((double)REAL(a)) ? (REAL(a) > 0 ? (T)0 : a) : a - b;
    default: return (T)NAN;
    }
}

static bool NAME(pointwise)(const hti_node *node, const T *const *v, T *y, int64_t count)
{
    hti_op_id op = node->op->id;
    const hti_affine_attributes *a = node->attributes;
    bool numbers = node->op->attribute_bytes == sizeof *a;
    for (int64_t i = 0; i < count; i++) {
        if (op == HTI_OP_where) y[i] = REAL(v[0][i]) != 0 ? v[1][i] : v[2][i];
        else if (node->inputs == 2) y[i] = NAME(binary)(op, v[0][i], v[1][i]);
        else y[i] = NAME(unary)(op, v[0][i], numbers ? (T)a->factor : (T)0, numbers ? (T)a->term : (T)0);
    }
    return true;
}

/* Between real types, and to whole numbers: towards zero, held within 32 bits, NaN as 0. */
static bool NAME(convert)(const hti_node *node, const T *const *v, T *y, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        double x = (double)REAL(v[0][i]);
        y[i] = v[0][i];
        if (node->spec.dtype == HT_I32) y[i] = (T)(x != x ? 0 : trunc(fmin(fmax(x, INT32_MIN), INT32_MAX)));
#ifdef TO_SINGLE
        else if (node->spec.dtype == HT_F32) y[i] = TO_SINGLE(v[0][i]);
#endif
    }
    return true;
}

/* ---- movement ---- */

static bool NAME(moved)(const hti_node *node, const T *const *v, T *y, int64_t count)
{
    const ht_shape *order = node->attributes;
    const hti_block_attributes *block = node->attributes;
    ht_shape from = shape_of(node->in[0]), to = node->spec.shape;
    int64_t all = ht_shape_count(from), at[HT_MAX_RANK] = {0}, other[HT_MAX_RANK] = {0};
    hti_op_id op = node->op->id;
    if (op == HTI_OP_sum_to || op == HTI_OP_pad) {
        for (int64_t i = 0; i < count; i++) y[i] = (T)0;
        for (int64_t i = 0; i < all; i++) {
            place_of(i, from, at);
            for (int32_t k = 0; op == HTI_OP_pad && k < to.rank; k++) at[k] += block->start.dim[k];
            y[op == HTI_OP_pad ? index_of(at, to) : squeezed(i, from, to)] += v[0][i];
        }
        return true;
    }
    for (int64_t i = 0; i < count; i++) {
        int64_t source = i;
        place_of(i, to, at);
        if (op == HTI_OP_broadcast_to) source = squeezed(i, to, from);
        if (op == HTI_OP_permute)
            for (int32_t k = 0; k < to.rank; k++) other[order->dim[k]] = at[k];
        if (op == HTI_OP_slice)
            for (int32_t k = 0; k < to.rank; k++) other[k] = at[k] + block->start.dim[k];
        if (op == HTI_OP_permute || op == HTI_OP_slice) source = index_of(other, from);
        y[i] = v[0][source];
    }
    return true;
}

static bool NAME(joined)(const hti_node *node, const T *const *v, T *y, int64_t count)
{
    int64_t axis = ((const hti_axis_attributes *)node->attributes)->axis, start = 0, at[HT_MAX_RANK];
    (void)count;
    for (int32_t k = 0; k < node->inputs; k++) {
        ht_shape part = shape_of(node->in[k]);
        for (int64_t i = 0; i < ht_shape_count(part); i++) {
            place_of(i, part, at);
            at[axis] += start;
            y[index_of(at, node->spec.shape)] = v[k][i];
        }
        start += part.dim[axis];
    }
    return true;
}

/* ---- along an axis ---- */

/* Whether x comes before the largest so far: it is larger, or the first NaN. */
static bool NAME(beats)(T x, T best) { return REAL(best) == REAL(best) && !(REAL(x) <= REAL(best)); }

static bool NAME(largest)(const hti_node *node, const T *const *v, T *y, int64_t count)
{
    int64_t axis = ((const hti_axis_attributes *)node->attributes)->axis, at[HT_MAX_RANK];
    ht_shape from = shape_of(node->in[0]);
    for (int64_t i = 0; i < count; i++) {
        int64_t best = -1, place = 0;
        place_of(i, node->spec.shape, at);
        for (int64_t j = 0; j < from.dim[axis]; j++) {
            at[axis] = j;
            int64_t here = index_of(at, from);
            if (best < 0 || NAME(beats)(v[0][here], v[0][best])) best = here, place = j;
        }
        y[i] = node->op->id == HTI_OP_argmax ? (T)place : v[0][best];
    }
    return true;
}

/* take reads x at the index, put adds g there; the index has the shape of the side that it counts. */
static bool NAME(indexed)(const hti_node *node, const T *const *v, T *y, int64_t count)
{
    const hti_take_attributes *a = node->attributes;
    bool put = node->op->id == HTI_OP_put;
    ht_shape index = shape_of(node->in[1]), other = put ? node->spec.shape : shape_of(node->in[0]);
    for (int64_t i = 0; i < count; i++) y[i] = (T)0;
    for (int64_t i = 0; i < ht_shape_count(index); i++) {
        int64_t at[HT_MAX_RANK], place = (int64_t)REAL(v[1][i]);
        if (place < 0 || place >= a->size) continue;
        place_of(i, index, at);
        at[a->axis] = place;
        if (put) y[index_of(at, other)] += v[0][i];
        else y[i] = v[0][index_of(at, other)];
    }
    return true;
}

/* ---- products ---- */

static bool NAME(product)(const hti_node *node, const T *const *v, T *y, int64_t count)
{
    const hti_matmul_attributes *a = node->attributes;
    ht_shape left = shape_of(node->in[0]);
    int32_t row = left.rank - 2, column = left.rank - 1;
    int64_t rows = node->spec.shape.dim[row], columns = node->spec.shape.dim[column];
    int64_t inner = left.dim[a->transpose_a ? row : column];
    for (int64_t i = 0; i < count; i++) {
        int64_t j = i % columns, r = i / columns % rows, lead = i / columns / rows;
        y[i] = (T)0;
        for (int64_t l = 0; l < inner; l++)
            y[i] += v[0][lead * rows * inner + (a->transpose_a ? l * rows + r : r * inner + l)] *
                    v[1][lead * inner * columns + (a->transpose_b ? j * inner + l : l * columns + j)];
    }
    return true;
}

/* All three faces of T(x, w, g) = sum of x w g over what a convolution multiplies: one nest of loops. */
static bool NAME(convolved)(const hti_node *node, const T *const *v, T *y, int64_t count)
{
    const hti_conv_attributes *a = node->attributes;
    hti_op_id op = node->op->id;
    ht_shape of_x = op == HTI_OP_conv_input ? node->spec.shape : shape_of(node->in[0]);
    ht_shape of_w = op == HTI_OP_conv_weight ? node->spec.shape : shape_of(node->in[1]);
    ht_shape of_g = op == HTI_OP_conv ? node->spec.shape : shape_of(node->in[op == HTI_OP_conv_input ? 0 : 1]);
    space s = space_of(a->axes, a->image, a->stride, a->pad, a->dilation);
    int64_t kernel[3], out[3], p[3] = {0, 0, 0}, r[3] = {0, 0, 0};
    spatial(of_w, kernel);
    spatial(of_g, out);
    int64_t pixels = s.size[0] * s.size[1] * s.size[2], taps = kernel[0] * kernel[1] * kernel[2];
    int64_t places = out[0] * out[1] * out[2], each = of_w.dim[1];
    for (int64_t i = 0; i < count; i++) y[i] = (T)0;
    if (pixels * taps * places == 0) return true;
    for (int64_t n = 0; n < of_x.dim[0]; n++)
        for (int64_t o = 0; o < of_w.dim[0]; o++)
            for (int64_t c = 0; c < each; c++) {
                int64_t place = 0;
                do {
                    int64_t tap = 0, channel = o / (of_w.dim[0] / a->groups) * each + c;
                    do {
                        int64_t here = read_at(&s, s.size, p, r), at_w = (o * each + c) * taps + tap++;
                        int64_t at_x = (n * of_x.dim[1] + channel) * pixels + here, at_g = (n * of_w.dim[0] + o) * places + place;
                        if (here < 0) continue;
                        if (op == HTI_OP_conv) y[at_g] += v[0][at_x] * v[1][at_w];
                        else if (op == HTI_OP_conv_input) y[at_x] += v[0][at_g] * v[1][at_w];
                        else y[at_w] += v[0][at_x] * v[1][at_g];
                    } while (next_in(r, kernel));
                    place++;
                } while (next_in(p, out));
            }
    return true;
}

/* ---- windows ---- */

/* Every window of every channel: the first largest, what stands at a place, sums, and the adjoints of the last two. */
static bool NAME(pooled)(const hti_node *node, const T *const *v, T *y, int64_t count)
{
    const hti_pool_attributes *a = node->attributes;
    hti_op_id op = node->op->id;
    bool to_image = op == HTI_OP_pool_put || op == HTI_OP_window_spread;
    ht_shape windows_of = to_image ? shape_of(node->in[0]) : node->spec.shape;
    space s = space_of((int32_t)a->axes, a->image, a->stride, a->pad, NULL);
    space k = space_of((int32_t)a->axes, a->kernel, a->stride, a->pad, NULL);
    int64_t windows[3], p[3] = {0, 0, 0}, r[3] = {0, 0, 0};
    spatial(windows_of, windows);
    int64_t pixels = s.size[0] * s.size[1] * s.size[2], each = windows[0] * windows[1] * windows[2];
    for (int64_t i = 0; i < count; i++) y[i] = (T)0;
    for (int64_t i = 0; each > 0 && i < windows_of.dim[0] * windows_of.dim[1] * each; i++) {
        int64_t base = i / each * pixels, best = -1;
        if (op == HTI_OP_pool_take || op == HTI_OP_pool_put) {
            int64_t place = (int64_t)REAL(v[1][i]);
            if (place >= 0 && to_image) y[base + place] += v[0][i];
            else if (place >= 0) y[i] = v[0][base + place];
            continue;
        }
        do {
            int64_t here = read_at(&s, s.size, p, r);
            if (here < 0) continue;
            if (op == HTI_OP_window_sum) y[i] += v[0][base + here];
            else if (op == HTI_OP_window_spread) y[base + here] += v[0][i];
            else if (best < 0 || NAME(beats)(v[0][base + here], v[0][base + best])) best = here;
        } while (next_in(r, k.size));
        if (op == HTI_OP_pool_argmax) y[i] = (T)best;
        next_in(p, windows);
    }
    return true;
}

/* ---- resizing and points ---- */

/* One line: place i of the result reads, or adds to, places of the image with weights. */
static void NAME(resized)(const hti_resample_attributes *a, bool back, const T *x, T *y, int64_t stride)
{
    for (int64_t i = 0; i < a->to; i++) {
        int64_t first = i * a->from / a->to, last = ((i + 1) * a->from + a->to - 1) / a->to;
        double share = 1, at = 0;
        if (a->mode == HTI_NEAREST) last = first + 1;
        if (a->mode == HTI_WINDOW_MEAN) share = 1 / (double)(last - first);
        if (a->mode == HTI_LINEAR_CENTRES) at = ((double)i + 0.5) * (double)a->from / (double)a->to - 0.5;
        if (a->mode == HTI_LINEAR_CORNERS) at = a->to > 1 ? (double)(i * (a->from - 1)) / (double)(a->to - 1) : 0;
        bool linear = a->mode == HTI_LINEAR_CENTRES || a->mode == HTI_LINEAR_CORNERS;
        if (linear) {
            at = fmin(fmax(at, 0), (double)(a->from - 1));
            first = (int64_t)at;
            last = first + 2 < a->from ? first + 2 : a->from;
        }
        for (int64_t j = first; j < last; j++) {
            T weight = (T)(linear ? 1 - fabs((double)j - at) : share);
            if (back) y[j * stride] += weight * x[i * stride];
            else y[i * stride] += weight * x[j * stride];
        }
    }
}

static bool NAME(resampled)(const hti_node *node, const T *const *v, T *y, int64_t count)
{
    const hti_resample_attributes *a = node->attributes;
    bool back = node->op->id == HTI_OP_resample_back;
    int64_t stride = 1, size = back ? a->from : a->to, other = back ? a->to : a->from;
    for (int32_t k = (int32_t)a->axis + 1; k < node->spec.shape.rank; k++) stride *= node->spec.shape.dim[k];
    for (int64_t i = 0; i < count; i++) y[i] = (T)0;
    for (int64_t line = 0; size > 0 && line < count / size; line++) {
        int64_t outer = line / stride, inner = line % stride;
        NAME(resized)(a, back, v[0] + outer * other * stride + inner, y + outer * size * stride + inner, stride);
    }
    return true;
}

static bool NAME(placed)(const hti_node *node, const T *const *v, T *y, int64_t count)
{
    const int64_t *image = ((const hti_place_attributes *)node->attributes)->image;
    bool put = node->op->id == HTI_OP_place_put;
    ht_shape x = shape_of(node->in[0]), points = shape_of(node->in[1]);
    int64_t each = points.dim[2] * points.dim[3], pixels = image[0] * image[1];
    for (int64_t i = 0; i < count; i++) y[i] = (T)0;
    for (int64_t n = 0; n < x.dim[0]; n++)
        for (int64_t c = 0; c < x.dim[1]; c++)
            for (int64_t i = 0; i < each; i++) {
                int64_t row = (int64_t)REAL(v[1][n * each + i]), column = (int64_t)REAL(v[2][n * each + i]);
                if (row < 0 || column < 0 || row >= image[0] || column >= image[1]) continue;
                int64_t pixel = (n * x.dim[1] + c) * pixels + row * image[1] + column, point = (n * x.dim[1] + c) * each + i;
                if (put) y[pixel] += v[0][point];
                else y[point] = v[0][pixel];
            }
    return true;
}

/* ---- leaves ---- */

static bool NAME(drawn)(const hti_node *node, const T *const *v, T *y, int64_t count)
{
    const hti_random_attributes *a = node->attributes;
    uint64_t step = node->inputs > 0 ? (uint64_t)REAL(v[0][0]) : 0, own = ht_random_mix(a->key, 1);
    for (int64_t i = 0; i < count; i++) {
        double u = ht_random_unit(ht_random_word(a->key, step, (uint64_t)i));
        if (node->op->id == HTI_OP_bernoulli) u = u < a->probability ? 1 : 0;
        if (node->op->id == HTI_OP_normal)
            u = sqrt(-2 * log(ht_random_unit(ht_random_word(own, step, 2 * (uint64_t)i)))) *
                cos(2 * 3.14159265358979324 * ht_random_unit(ht_random_word(own, step, 2 * (uint64_t)i + 1)));
        y[i] = (T)u;
    }
    return true;
}

static bool NAME(stored)(const hti_node *node, const T *const *v, T *y, int64_t count)
{
    const hti_read_attributes *a = node->attributes;
    const void *numbers = ht_store_data(a->store, (int32_t)a->index);
    (void)v;
    for (int64_t i = 0; numbers && i < count; i++) {
        if (node->spec.dtype == HT_F32) y[i] = (T)((const float *)numbers)[i];
        else if (node->spec.dtype == HT_F64) y[i] = (T)((const double *)numbers)[i];
        else y[i] = (T)((const int32_t *)numbers)[i];
    }
    return numbers != NULL;
}

static bool NAME(given)(const hti_node *node, const T *const *v, T *y, int64_t count)
{
    (void)v;
    for (int64_t i = 0; i < count; i++)
        y[i] = node->op->id == HTI_OP_fill ? (T)((const hti_fill_attributes *)node->attributes)->value
                                           : (T)((const hti_constant_attributes *)node->attributes)->numbers[i];
    return true;
}

/* ---- the tape ---- */

static bool NAME(node_value)(const hti_node *node, const T *const *v, T *y, int64_t count)
{
    switch (node->op->id) {
    case HTI_OP_input: return false;
    case HTI_OP_read: return NAME(stored)(node, v, y, count);
    case HTI_OP_fill:
    case HTI_OP_constant: return NAME(given)(node, v, y, count);
    case HTI_OP_cast:
    case HTI_OP_truncate: return NAME(convert)(node, v, y, count);
    case HTI_OP_stop:
    case HTI_OP_reshape:
    case HTI_OP_broadcast_to:
    case HTI_OP_sum_to:
    case HTI_OP_permute:
    case HTI_OP_slice:
    case HTI_OP_pad: return NAME(moved)(node, v, y, count);
    case HTI_OP_concat: return NAME(joined)(node, v, y, count);
    case HTI_OP_argmax:
    case HTI_OP_max_along: return NAME(largest)(node, v, y, count);
    case HTI_OP_take:
    case HTI_OP_put: return NAME(indexed)(node, v, y, count);
    case HTI_OP_matmul: return NAME(product)(node, v, y, count);
    case HTI_OP_conv:
    case HTI_OP_conv_input:
    case HTI_OP_conv_weight: return NAME(convolved)(node, v, y, count);
    case HTI_OP_pool_argmax:
    case HTI_OP_pool_take:
    case HTI_OP_pool_put:
    case HTI_OP_window_sum:
    case HTI_OP_window_spread: return NAME(pooled)(node, v, y, count);
    case HTI_OP_resample:
    case HTI_OP_resample_back: return NAME(resampled)(node, v, y, count);
    case HTI_OP_place_take:
    case HTI_OP_place_put: return NAME(placed)(node, v, y, count);
    case HTI_OP_uniform:
    case HTI_OP_normal:
    case HTI_OP_bernoulli: return NAME(drawn)(node, v, y, count);
    default: return NAME(pointwise)(node, v, y, count);
    }
}

static uint64_t NAME(branches_of)(const hti_node *node, const T *const *v, const T *y, int64_t count, uint64_t h)
{
    for (int64_t i = 0; node->op->branch != HTI_NO_BRANCH && i < count; i++)
        h = digest(h, node->op->branch == HTI_BRANCH_SIGN ? (double)(REAL(v[0][i]) > 0) : (double)REAL(y[i]));
    return h;
}

bool NAME(gradcheck_evaluate)(ht_var target, const ht_var *in, const T *const *numbers, int32_t inputs, T *result,
                              uint64_t *branches)
{
    const ht_tape *tape = target.tape;
    bool good = true;
    bool *needed = calloc((size_t)target.id + 1, sizeof *needed);
    T **value = calloc((size_t)target.id + 1, sizeof *value);
    const T **v = calloc((size_t)tape->count, sizeof *v);
    uint64_t h = 0;
    if (needed) needed[target.id] = true;
    for (int32_t id = needed ? target.id : 0; id > 0; id--)
        for (int32_t k = 0; needed[id] && k < tape->nodes[id].inputs; k++) needed[tape->nodes[id].in[k].id] = true;
    good = needed && value && v;
    for (int32_t id = 1; good && id <= target.id; id++) {
        if (!needed[id]) continue;
        const hti_node *node = &tape->nodes[id];
        int64_t count = count_of((ht_var){target.tape, id});
        int32_t known = -1;
        for (int32_t k = 0; k < inputs; k++)
            if (in[k].id == id) known = k;
        value[id] = malloc((size_t)(count + 1) * sizeof **value);
        for (int32_t k = 0; k < node->inputs; k++) v[k] = value[node->in[k].id];
        if (!value[id]) good = false;
        else if (known >= 0) memcpy(value[id], numbers[known], (size_t)count * sizeof **value);
        else good = NAME(node_value)(node, v, value[id], count);
        if (good) h = NAME(branches_of)(node, v, value[id], count, h);
    }
    if (good) memcpy(result, value[target.id], (size_t)count_of(target) * sizeof *result);
    if (good && branches) *branches = h;
    for (int32_t id = 1; value && id <= target.id; id++) free(value[id]);
    free(v);
    free(value);
    free(needed);
    return good;
}
