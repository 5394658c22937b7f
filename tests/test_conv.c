/*
 * Convolution on the CPU, by its table entries and by each method: against the definition, as three adjoint faces of
 * one form, and bit by bit for 1 to 8 threads.
 */
#include <math.h>
#include <stdio.h>

#include "conv_call.h"
#include "tap.h"

static uint64_t seed = 1;

static double uniform(void)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (double)(seed >> 40) / (double)(1 << 23) - 1.0;
}

/* The numbers of x, w, y (as cotangent) in both types. */
typedef struct operands {
    double *f64[3];
    float *f32[3];
    int64_t count[3];
} operands;

static operands make_operands(const conv_case *c)
{
    operands o = {0};
    for (int32_t k = 0; k < 3; k++) {
        hti_tensor t = case_tensor(c, HT_F64, k);
        o.count[k] = ht_shape_count(t.shape);
        o.f64[k] = take((size_t)o.count[k] * sizeof(double));
        o.f32[k] = take((size_t)o.count[k] * sizeof(float));
        for (int64_t i = 0; i < o.count[k]; i++) {
            o.f32[k][i] = (float)uniform();
            o.f64[k][i] = (double)o.f32[k][i];
        }
    }
    return o;
}

static void free_operands(operands *o)
{
    for (int32_t k = 0; k < 3; k++) {
        free(o->f64[k]);
        free(o->f32[k]);
    }
}

static const int32_t first_of[] = {0, 2, 0}, second_of[] = {1, 1, 2}, result_of[] = {2, 0, 1};
static const char *const face_name[] = {"conv", "conv_input", "conv_weight"};

/* One call; the result as fresh memory, or NULL with a note in `why`. */
static void *call(const conv_case *c, hti_conv_face face, ht_dtype dtype, const hti_conv_method *method,
                  int32_t threads, const operands *o, char why[256])
{
    conv_plan p;
    ht_error error = {0};
    ht_status status = conv_plan_make(&p, c, face, dtype, method, threads, &error);
    if (status != HT_OK) {
        snprintf(why, 256, "%s prepare: %.200s", face_name[face], error.message);
        return NULL;
    }
    size_t bytes = tensor_bytes(&p.out);
    void *result = take(bytes);
    bool wide = dtype == HT_F64;
    for (int32_t again = 0; again < 2 && status == HT_OK; again++) { /* a second run must not see the first */
        memset(result, 0xFF, bytes);
        status = conv_plan_run(&p, wide ? (void *)o->f64[first_of[face]] : (void *)o->f32[first_of[face]],
                               wide ? (void *)o->f64[second_of[face]] : (void *)o->f32[second_of[face]], result);
    }
    if (status != HT_OK) snprintf(why, 256, "%s by %.100s: status %d", face_name[face], p.choice.algorithm, status);
    if (!guarded(result, bytes)) snprintf(why, 256, "%s: wrote behind its result", face_name[face]);
    if (!conv_plan_free(&p)) snprintf(why, 256, "%s: wrote behind scratch or packed weights", face_name[face]);
    return result;
}

/* Largest difference divided by the largest value. */
static double distance(const void *a, ht_dtype dtype, const double *exact, int64_t count)
{
    double worst = 0, largest = 1e-30;
    for (int64_t i = 0; i < count; i++) {
        double v = dtype == HT_F64 ? ((const double *)a)[i] : (double)((const float *)a)[i];
        double d = fabs(v - exact[i]);
        if (!(d <= worst)) worst = d;
        if (fabs(exact[i]) > largest) largest = fabs(exact[i]);
    }
    return worst / largest;
}

static double inner(const double *a, const double *b, int64_t count)
{
    double sum = 0;
    for (int64_t i = 0; i < count; i++) sum += a[i] * b[i];
    return sum;
}

/* One face by one method: near the definition, and the same bits for 1, 2, 4 and 8 threads. */
static void check_method(const conv_case *c, hti_conv_face face, ht_dtype dtype, const hti_conv_method *method,
                         const operands *o, const double *exact, char why[256])
{
    int64_t count = o->count[result_of[face]];
    size_t bytes = (size_t)count * ht_dtype_bytes(dtype);
    void *one = call(c, face, dtype, method, 1, o, why);
    if (!one) return;
    double d = distance(one, dtype, exact, count), limit = dtype == HT_F64 ? 1e-13 : 1e-5;
    if (!(d <= limit)) snprintf(why, 256, "%s %s: off by %.2e", face_name[face], ht_dtype_name(dtype), d);
    for (int32_t threads = 2; threads <= 8; threads *= 2) {
        void *more = call(c, face, dtype, method, threads, o, why);
        if (more && memcmp(one, more, bytes) != 0)
            snprintf(why, 256, "%s %s: other bits with %d threads", face_name[face], ht_dtype_name(dtype), threads);
        free(more);
    }
    free(one);
}

static void text_of(const conv_case *c, char text[200])
{
    int at = snprintf(text, 200, "%d axes, %d groups, [%d,%d->%d]", c->axes, c->groups, (int)c->batch,
                      (int)c->channels, (int)c->filters);
    for (int32_t k = 0; k < c->axes; k++)
        at += snprintf(text + at, 200 - (size_t)at, " %d:k%ds%dp%dd%d", (int)c->image[k], (int)c->kernel[k],
                       (int)c->stride[k], (int)c->pad[k], (int)c->dilation[k]);
}

static void check_case(const conv_case *c)
{
    char why[256] = "", text[200];
    operands o = make_operands(c);
    double *exact[3] = {NULL, NULL, NULL};
    for (int32_t k = 0; k < 3; k++) {
        hti_conv_face face = (hti_conv_face)k;
        exact[k] = call(c, face, HT_F64, &hti_conv_reference, 1, &o, why);
        if (!exact[k]) break;
        check_method(c, face, HT_F64, NULL, &o, exact[k], why);
        check_method(c, face, HT_F32, NULL, &o, exact[k], why);
        conv_case plain = *c;
        plain.convolution = HT_CONVOLUTION_DIRECT;
        if (c->image[0] >= 32) check_method(&plain, face, HT_F32, NULL, &o, exact[k], why);
        check_method(c, face, HT_F32, &hti_conv_reference, &o, exact[k], why);
        bool direct = c->channels == c->groups && c->filters == c->groups;
        if (hti_gemm_built(HT_F32) && !direct) check_method(c, face, HT_F32, &hti_conv_gemm, &o, exact[k], why);
    }
    if (exact[0] && exact[1] && exact[2]) {
        double *y = call(c, HTI_CONV_FORWARD, HT_F64, NULL, 2, &o, why);
        double *x = call(c, HTI_CONV_TO_INPUT, HT_F64, NULL, 2, &o, why);
        double *w = call(c, HTI_CONV_TO_WEIGHT, HT_F64, NULL, 2, &o, why);
        double a = inner(o.f64[2], y, o.count[2]);
        double scale = inner(y, y, o.count[2]) + inner(o.f64[2], o.f64[2], o.count[2]);
        double by_x = fabs(a - inner(o.f64[0], x, o.count[0])), by_w = fabs(a - inner(o.f64[1], w, o.count[1]));
        if (!(by_x <= 1e-13 * scale)) snprintf(why, 256, "conv_input is not the adjoint");
        if (!(by_w <= 1e-13 * scale)) snprintf(why, 256, "conv_weight is not the adjoint");
        free(y);
        free(x);
        free(w);
    }
    text_of(c, text);
    tap_ok(why[0] == 0, "%s%s%s", text, why[0] ? ": " : "", why);
    for (int32_t k = 0; k < 3; k++) free(exact[k]);
    free_operands(&o);
}

/* Kernel, stride, pad, dilation along one axis. */
typedef struct window {
    int64_t kernel, stride, pad, dilation;
} window;

static const window windows[] = {
    {1, 1, 0, 1}, {3, 1, 1, 1}, {3, 1, 0, 1}, {3, 1, 2, 1}, {3, 1, 4, 1}, {3, 1, 2, 2}, {3, 2, 1, 1}, {4, 2, 1, 1},
    {6, 2, 2, 1}, {8, 2, 3, 1}, {2, 2, 0, 1}, {1, 2, 0, 1}, {1, 3, 1, 1}, {2, 3, 1, 1}, {2, 5, 0, 1}, {3, 2, 2, 2},
    {3, 4, 3, 2}, {4, 4, 0, 1}, {5, 3, 6, 1}, {2, 1, 3, 3}, {4, 1, 1, 1}, {4, 6, 4, 3},
};
static const int32_t channel_sets[][3] = {
    {1, 1, 1}, {3, 5, 1}, {4, 6, 2}, {6, 6, 6}, {16, 32, 1}, {5, 1, 1}, {1, 7, 1}, {4, 8, 4},
};

#define COUNT(list) ((int32_t)(sizeof(list) / sizeof((list)[0])))

static void set_axis(conv_case *c, int32_t k, const window *w, int64_t size)
{
    int64_t reach = w->dilation * (w->kernel - 1) + 1 - 2 * w->pad;
    c->kernel[k] = w->kernel;
    c->stride[k] = w->stride;
    c->pad[k] = w->pad;
    c->dilation[k] = w->dilation;
    c->image[k] = size < reach ? reach : size;
}

static void check_cases(void)
{
    for (int32_t i = 0; i < COUNT(windows); i++)
        for (int32_t j = 0; j < COUNT(channel_sets); j++) {
            int32_t axes = 1 + (i + j) % 3;
            conv_case c = {.axes = axes, .groups = channel_sets[j][2], .batch = 1 + (i + j / 3) % 3,
                           .channels = channel_sets[j][0], .filters = channel_sets[j][1]};
            for (int32_t k = 0; k < axes; k++)
                set_axis(&c, k, &windows[k == axes - 1 ? i : (i + 5 * k + j) % COUNT(windows)],
                         axes == 1 ? 17 + j : axes == 2 ? 7 + (i + k) % 5 : 4 + (j + k) % 3);
            check_case(&c);
        }
}

/* Layers as networks have them: all paths of oneDNN, several blocks and slices of the others. */
static void check_layers(void)
{
    static const int64_t layers[][7] = {
        /* batch, channels, filters, size, kernel, stride, pad */
        {2, 3, 16, 64, 3, 1, 1}, {2, 16, 16, 64, 3, 1, 1}, {1, 16, 16, 64, 3, 1, 1}, {2, 32, 32, 32, 3, 1, 1},
        {1, 3, 16, 64, 4, 2, 1}, {9, 6, 16, 32, 4, 2, 1}, {2, 16, 32, 32, 4, 2, 1}, {2, 16, 32, 32, 6, 2, 2},
        {2, 16, 32, 32, 8, 2, 3}, {9, 16, 8, 20, 3, 1, 1},
        {2, 128, 64, 4, 4, 2, 1}, {2, 32, 1, 64, 1, 1, 0}, {2, 64, 1, 15, 4, 1, 1}, {2, 32, 16, 32, 2, 2, 0},
        {1, 128, 128, 8, 3, 1, 1}, {2, 48, 16, 64, 1, 1, 0},
        {3, 16, 32, 32, 3, 1, 1}, {1, 32, 16, 35, 3, 1, 1}, {2, 16, 32, 66, 3, 1, 1}, {1, 16, 16, 129, 3, 1, 1},
        {2, 128, 96, 32, 3, 1, 1}, {2, 3, 16, 33, 8, 2, 3}, {1, 2, 24, 31, 5, 2, 3}, {2, 1, 8, 22, 4, 4, 1},
        {4, 64, 128, 16, 4, 2, 1},
    };
    for (int32_t i = 0; i < COUNT(layers); i++) {
        const int64_t *l = layers[i];
        conv_case c = {.axes = 2, .groups = 1, .batch = l[0], .channels = l[1], .filters = l[2]};
        window w = {l[4], l[5], l[6], 1};
        for (int32_t k = 0; k < 2; k++) set_axis(&c, k, &w, l[3]);
        check_case(&c);
    }
}

/* Few places and many weights: chunks of channels that do not come out even, two blocks of rows, one to three axes. */
static void check_deep(void)
{
    static const conv_case deep[] = {
        {1, 1, 3, 72, 128, {12}, {8}, {2}, {3}, {1}, 0, 0},
        {2, 1, 5, 56, 96, {16, 15}, {6, 7}, {2, 2}, {2, 3}, {1, 1}, 0, 0},
        {2, 1, 2, 128, 64, {5, 4}, {3, 3}, {1, 1}, {2, 1}, {2, 1}, 0, 0},
        {2, 1, 2, 48, 80, {2, 2}, {8, 8}, {2, 2}, {3, 3}, {1, 1}, 0, 0},
        {3, 1, 2, 32, 48, {4, 4, 6}, {4, 3, 4}, {2, 1, 2}, {1, 1, 1}, {1, 1, 1}, 0, 0},
    };
    if (!hti_conv_deep.prepare) {
        tap_skip("products with the weights as they lie are not in this build");
        return;
    }
    for (int32_t i = 0; i < COUNT(deep); i++) {
        conv_plan p;
        ht_error error = {0};
        ht_status status = conv_plan_make(&p, &deep[i], HTI_CONV_TO_WEIGHT, HT_F32, NULL, 2, &error);
        tap_ok(status == HT_OK && strstr(p.choice.algorithm, "as they lie") && p.choice.packed_bytes[1] == 0,
               "deep case %d is taken without packing", i);
        if (status == HT_OK) conv_plan_free(&p);
        check_case(&deep[i]);
    }
}

/* Strides that no fast method takes are computed all the same. */
static void check_strides(void)
{
    conv_case c = {.axes = 2, .groups = 1, .batch = 2, .channels = 3, .filters = 4, .image = {6, 5},
                   .kernel = {3, 3}, .stride = {1, 1}, .pad = {1, 1}, .dilation = {1, 1}};
    operands o = make_operands(&c);
    char why[256] = "";
    double *exact = call(&c, HTI_CONV_FORWARD, HT_F64, NULL, 1, &o, why);
    hti_conv_attributes a = {.axes = 2, .groups = 1, .stride = {1, 1}, .pad = {1, 1}, .dilation = {1, 1},
                             .image = {6, 5}, .kernel = {3, 3}};
    hti_tensor in[2] = {case_tensor(&c, HT_F64, 0), case_tensor(&c, HT_F64, 1)}, out = case_tensor(&c, HT_F64, 2);
    double row[2 * 3 * 6 * 5], result[2 * 4 * 6 * 5];
    for (int32_t n = 0; n < 2; n++)
        for (int32_t k = 0; k < 3; k++)
            for (int32_t i = 0; i < 30; i++) row[(n * 3 + k) * 30 + i] = o.f64[0][(n * 30 + i) * 3 + k];
    int64_t strides[4] = {90, 30, 5, 1};
    memcpy(in[0].stride, strides, sizeof strides);
    hti_choice choice = {0};
    ht_error error = {0};
    ht_status status = hti_cpu_conv.prepare(&a, in, 2, &out, 2, &choice, &error);
    in[0].data = row;
    in[1].data = o.f64[1];
    out.data = result;
    hti_run run = {.attributes = &a, .in = in, .out = &out, .inputs = 2, .threads = 2, .state = choice.state};
    if (status == HT_OK) status = hti_cpu_conv.run(&run);
    tap_ok(status == HT_OK && exact && distance(result, HT_F64, exact, o.count[2]) <= 1e-13,
           "a row-major image is convolved by the plain loops");
    hti_cpu_conv.release(choice.state);
    in[1].shape.dim[1] = 2;
    status = hti_cpu_conv.prepare(&a, in, 2, &out, 2, &choice, &error);
    tap_ok(status == HT_EINTERNAL && error.status == HT_EINTERNAL && !choice.state, "shapes that disagree are refused");
    free(exact);
    free_operands(&o);
}

/* Equal keys mean equal formats; a format that is turned round must have another key. */
static void check_keys(void)
{
    conv_case c = {.axes = 2, .groups = 1, .batch = 2, .channels = 16, .filters = 16, .image = {16, 16},
                   .kernel = {3, 3}, .stride = {1, 1}, .pad = {1, 1}, .dilation = {1, 1}};
    conv_case larger = c;
    larger.image[0] = larger.image[1] = 16;
    larger.batch = 3;
    for (int32_t k = 0; k < 2; k++) {
        ht_dtype dtype = k ? HT_F64 : HT_F32;
        conv_plan forward, same, back;
        ht_error error = {0};
        ht_status status = conv_plan_make(&forward, &c, HTI_CONV_FORWARD, dtype, NULL, 2, &error);
        status = status == HT_OK ? conv_plan_make(&same, &larger, HTI_CONV_FORWARD, dtype, NULL, 2, &error) : status;
        status = status == HT_OK ? conv_plan_make(&back, &c, HTI_CONV_TO_INPUT, dtype, NULL, 2, &error) : status;
        tap_ok(status == HT_OK, "three plans, %s", ht_dtype_name(dtype));
        if (status != HT_OK) continue;
        tap_ok(forward.choice.packed_key[1] == same.choice.packed_key[1], "one packing serves both batches, %s",
               ht_dtype_name(dtype));
        tap_ok(!forward.packed[1] || forward.choice.packed_key[1] != back.choice.packed_key[1],
               "the data gradient has a packing of its own, %s", ht_dtype_name(dtype));
        tap_ok(forward.kernel->flop(&forward.attributes, forward.in, &forward.out) == 2.0 * 2 * 16 * 256 * 16 * 9 &&
                   back.kernel->flop(&back.attributes, back.in, &back.out) == 2.0 * 2 * 16 * 256 * 16 * 9,
               "flop are counted, %s", ht_dtype_name(dtype));
        tap_ok(conv_plan_free(&forward) & conv_plan_free(&same) & conv_plan_free(&back), "released, %s",
               ht_dtype_name(dtype));
    }
}

int main(void)
{
    check_cases();
    check_layers();
    check_deep();
    check_strides();
    check_keys();
    return tap_done();
}
