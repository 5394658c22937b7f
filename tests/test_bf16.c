/*
 * Precision bf16: rounding itself; the three faces of convolution and the matrix product against f64 of the same rounded
 * operands (what f32 sums lose), and of the operands as they are (what rounding loses); equal bits for 1 to 16 threads;
 * what programs count, share and refuse. On a processor without bf16 the refusal alone.
 */
#include <math.h>
#include <stdio.h>

#include <ht/ht.h>

#include "backend/cpu/bf16.h"
#include "conv_call.h"
#include "tap.h"

#define COUNT(list) ((int32_t)(sizeof(list) / sizeof((list)[0])))

/* Of a sum of |x||w|, at most: each operand loses 2^-8, half a unit of its last of 8 bits. */
#define LOST (ldexp(1, -7) + ldexp(1, -16) + 1e-5)

enum { ROUNDED, TYPED, SIZE, FORMS }; /* operands rounded to bf16, as they are, and their absolute values */

static float widened(uint16_t half)
{
    uint32_t u = (uint32_t)half << 16;
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

/* ---- rounding ---- */

static float number_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static void check_rounding(void)
{
    static const uint32_t rows[][2] = {
        {0x00000000, 0x0000}, {0x80000000, 0x8000}, {0x3F800000, 0x3F80}, {0x3F808000, 0x3F80}, {0x3F808001, 0x3F81},
        {0x3F818000, 0x3F82}, {0x3F817FFF, 0x3F81}, {0xBF808001, 0xBF81}, {0x7F7F7FFF, 0x7F7F}, {0x7F7FFFFF, 0x7F80},
        {0x7F800000, 0x7F80}, {0xFF800000, 0xFF80}, {0x00000001, 0x0000}, {0x00018000, 0x0002}, {0x007FFFFF, 0x0080},
    };
    int32_t wrong = 0;
    for (int32_t i = 0; i < COUNT(rows); i++) wrong += hti_bf16(number_of(rows[i][0])) != rows[i][1];
    tap_ok(wrong == 0, "rounds to the nearest, ties to even, at the ends of the range too: %d wrong", (int)wrong);
    tap_ok(isnan(widened(hti_bf16(number_of(0x7F800001)))) && isnan(widened(hti_bf16(number_of(0xFFFFFFFF)))),
           "NaN stays NaN");
    float from[1001];
    uint16_t to[1001], pairs[32];
    for (int32_t i = 0; i < 1001; i++) from[i] = (float)(conv_uniform() * pow(2, 200 * conv_uniform() - 90));
    hti_tensor t = {.data = from, .dtype = HT_F32, .shape = HT_SHAPE(7, 143), .stride = {143, 1}};
    hti_bf16_pack(&t, to, 2);
    hti_bf16_pairs(from, from + 16, 16, pairs);
    double worst = 0;
    for (int32_t i = 0; i < 1001; i++) {
        wrong += to[i] != hti_bf16(from[i]);
        if (fabsf(from[i]) > 1e-37F) worst = fmax(worst, fabs((double)widened(to[i]) / (double)from[i] - 1));
    }
    for (int32_t i = 0; i < 16; i++) wrong += pairs[2 * i] != to[i] || pairs[2 * i + 1] != to[16 + i];
    tap_ok(wrong == 0 && worst <= ldexp(1, -8) && worst > 1e-4, "whole tensors and pairs alike, off by %.2e at most", worst);
}

/* ---- convolutions ---- */

typedef struct operands {
    conv_operands typed;
    double *f64[3][FORMS];
} operands;

static operands operands_new(const conv_case *c)
{
    operands o = {.typed = conv_operands_new(c)};
    for (int32_t k = 0; k < 3; k++) {
        o.f64[k][TYPED] = o.typed.f64[k];
        o.f64[k][ROUNDED] = take((size_t)o.typed.count[k] * sizeof(double));
        o.f64[k][SIZE] = take((size_t)o.typed.count[k] * sizeof(double));
        for (int64_t i = 0; i < o.typed.count[k]; i++) {
            o.f64[k][ROUNDED][i] = (double)widened(hti_bf16(o.typed.f32[k][i]));
            o.f64[k][SIZE][i] = fabs(o.f64[k][TYPED][i]);
        }
    }
    return o;
}

static void operands_free(operands *o)
{
    for (int32_t k = 0; k < 3; k++) {
        free(o->f64[k][ROUNDED]);
        free(o->f64[k][SIZE]);
    }
    conv_operands_free(&o->typed);
}

/* Largest |a - exact| / size over all numbers. */
static double distance(const float *a, const double *exact, const double *size, int64_t count)
{
    double worst = 0;
    for (int64_t i = 0; i < count; i++) {
        double d = fabs((double)a[i] - exact[i]), share = size[i] > 0 ? d / size[i] : d;
        if (!(share <= worst)) worst = share;
    }
    return worst;
}

/* Returns 1 if the face was computed on rounded operands. */
static int check_face(const conv_case *c, hti_conv_face face, const operands *o, char why[256])
{
    int32_t a = conv_first[face], b = conv_second[face];
    int64_t count = o->typed.count[conv_result[face]];
    float *const *f32 = o->typed.f32;
    double *exact[FORMS] = {NULL, NULL, NULL};
    bool rounds = false;
    const hti_conv_method *plain_method = c->groups > 1 ? &hti_conv_reference : &hti_conv_gemm;
    conv_case plain = *c;
    plain.precision = HT_PRECISION_TYPED;
    for (int32_t form = 0; form < FORMS; form++)
        exact[form] = conv_call(&plain, face, HT_F64, plain_method, 2, o->f64[a][form], o->f64[b][form], NULL, why);
    float *one = conv_call(c, face, HT_F32, NULL, 1, f32[a], f32[b], &rounds, why);
    bool there = one && exact[ROUNDED] && exact[TYPED] && exact[SIZE];
    double sums = there ? distance(one, exact[rounds ? ROUNDED : TYPED], exact[SIZE], count) : INFINITY;
    double all = there ? distance(one, exact[TYPED], exact[SIZE], count) : INFINITY;
    if (why[0] == 0 && !(sums <= 1e-5)) snprintf(why, 256, "face %d: sums off by %.2e", (int)face, sums);
    if (why[0] == 0 && !(all <= LOST)) snprintf(why, 256, "face %d: off by %.2e", (int)face, all);
    for (int32_t threads = 2; threads <= 16 && one; threads *= 2) {
        float *more = conv_call(c, face, HT_F32, NULL, threads, f32[a], f32[b], NULL, why);
        if (more && memcmp(one, more, (size_t)count * sizeof *one) != 0)
            snprintf(why, 256, "face %d: other bits with %d threads", (int)face, (int)threads);
        free(more);
    }
    free(one);
    for (int32_t form = 0; form < FORMS; form++) free(exact[form]);
    return rounds;
}

static void check_convolutions(void)
{
    static const struct {
        int32_t axes, groups, rounded; /* rounded: how many of the three faces, at least */
        int64_t batch, channels, filters, size, kernel, stride, pad, dilation;
    } rows[] = {
        {2, 1, 3, 2, 16, 32, 20, 3, 1, 1, 1},  {2, 1, 3, 2, 32, 32, 64, 3, 1, 1, 1},  {2, 1, 3, 1, 64, 48, 33, 3, 1, 1, 1},
        {2, 1, 3, 2, 3, 32, 32, 4, 2, 1, 1},   {2, 1, 3, 2, 3, 32, 32, 8, 2, 3, 1},   {2, 1, 3, 3, 16, 32, 24, 4, 2, 1, 1},
        {2, 1, 2, 2, 64, 128, 8, 6, 2, 2, 1},  {2, 1, 2, 2, 128, 128, 4, 8, 2, 3, 1}, {2, 1, 3, 2, 64, 32, 16, 2, 2, 0, 1},
        {2, 1, 3, 2, 5, 7, 17, 3, 1, 1, 1},    {2, 1, 3, 9, 16, 16, 16, 3, 1, 1, 1},  {2, 1, 2, 1, 256, 256, 8, 3, 1, 1, 1},
        {2, 1, 3, 2, 32, 16, 16, 3, 1, 2, 2},  {2, 1, 3, 2, 32, 24, 19, 1, 1, 0, 1},  {2, 1, 0, 2, 32, 1, 32, 1, 1, 0, 1},
        {2, 1, 0, 2, 1, 16, 32, 3, 1, 1, 1},   {2, 4, 0, 2, 16, 32, 16, 3, 1, 1, 1},  {2, 2, 0, 2, 64, 64, 16, 4, 2, 1, 1},
        {2, 8, 0, 2, 8, 8, 16, 3, 1, 1, 1},    {1, 1, 0, 2, 16, 24, 65, 5, 2, 2, 1},  {3, 1, 0, 1, 16, 16, 9, 3, 1, 1, 1},
        {3, 1, 0, 2, 4, 6, 8, 4, 2, 1, 1},     {2, 1, 0, 2, 5, 1, 12, 3, 3, 2, 1},    {2, 1, 3, 2, 96, 160, 12, 3, 1, 1, 1},
    };
    for (int32_t i = 0; i < COUNT(rows); i++) {
        conv_case c = {.axes = rows[i].axes, .groups = rows[i].groups, .batch = rows[i].batch, .channels = rows[i].channels,
                       .filters = rows[i].filters, .precision = HT_PRECISION_BF16};
        for (int32_t k = 0; k < c.axes; k++) {
            c.image[k] = rows[i].size + (k == 0);
            c.kernel[k] = rows[i].kernel;
            c.stride[k] = rows[i].stride;
            c.pad[k] = rows[i].pad;
            c.dilation[k] = rows[i].dilation;
        }
        operands o = operands_new(&c);
        char why[256] = "";
        int32_t rounded = 0;
        for (int32_t face = 0; face < 3; face++) rounded += check_face(&c, (hti_conv_face)face, &o, why);
        if (why[0] == 0 && rounded < rows[i].rounded)
            snprintf(why, sizeof why, "expected %d faces on bf16", (int)rows[i].rounded);
        tap_ok(why[0] == 0, "%d axes, %d groups, [%d,%d->%d] %d:k%ds%dp%dd%d, %d faces on bf16%s%s", (int)c.axes, (int)c.groups,
               (int)c.batch, (int)c.channels, (int)c.filters, (int)rows[i].size, (int)rows[i].kernel, (int)rows[i].stride,
               (int)rows[i].pad, (int)rows[i].dilation, (int)rounded, why[0] ? ": " : "", why);
        operands_free(&o);
    }
}

/* ---- matrix products, in programs ---- */

typedef struct product {
    ht_shape a, b;
    int32_t transpose_a, transpose_b, rounded;
} product;

static void fill_input(ht_program *program, ht_var input, ht_dtype real, int32_t form)
{
    int64_t count = ht_shape_count(ht_var_shape(input));
    float *narrow = calloc((size_t)count, sizeof *narrow);
    double *wide = calloc((size_t)count, sizeof *wide);
    for (int64_t i = 0; i < count; i++) {
        narrow[i] = (float)conv_uniform();
        if (form == ROUNDED) narrow[i] = widened(hti_bf16(narrow[i]));
        if (form == SIZE) narrow[i] = fabsf(narrow[i]);
        wide[i] = (double)narrow[i];
    }
    ht_set(program, input, real == HT_F64 ? (void *)wide : (void *)narrow, count);
    free(narrow);
    free(wide);
}

/* The product of fixed random matrices; fresh memory, or NULL. */
static void *multiply(const product *p, ht_dtype real, ht_precision precision, int32_t form, int32_t threads,
                      ht_program_facts *facts, int64_t *count)
{
    ht_error error = {0};
    ht_device *device = ht_device_open("cpu", threads, &error);
    ht_tape *tape = ht_tape_new(real);
    ht_var a = ht_input(tape, "a", p->a), b = ht_input(tape, "b", p->b);
    ht_var c = ht_matmul(a, b, .transpose_a = p->transpose_a, .transpose_b = p->transpose_b);
    ht_program *program = ht_compile(tape, device, ht_list(c), .error = &error, .precision = precision);
    void *numbers = NULL;
    *count = ht_shape_count(ht_var_shape(c));
    if (program) {
        conv_seed = 77;
        fill_input(program, a, real, form);
        fill_input(program, b, real, form);
        numbers = take((size_t)*count * ht_dtype_bytes(real));
        ht_run(program);
        ht_get(program, c, numbers, *count);
        error = *ht_program_error(program);
        if (facts) *facts = ht_program_describe(program);
    }
    ht_program_free(program);
    ht_tape_free(tape);
    ht_device_close(device);
    if (error.status == HT_OK) return numbers;
    printf("# %s\n", error.message);
    free(numbers);
    return NULL;
}

static void check_product(const product *p)
{
    char ta[HT_SHAPE_TEXT], tb[HT_SHAPE_TEXT];
    int64_t count = 0;
    double *exact[FORMS];
    ht_program_facts facts = {0};
    for (int32_t form = 0; form < FORMS; form++) exact[form] = multiply(p, HT_F64, HT_PRECISION_TYPED, form, 1, NULL, &count);
    float *one = multiply(p, HT_F32, HT_PRECISION_BF16, TYPED, 1, &facts, &count);
    bool there = one && exact[ROUNDED] && exact[TYPED] && exact[SIZE], equal = there;
    double sums = there ? distance(one, exact[facts.bf16 ? ROUNDED : TYPED], exact[SIZE], count) : INFINITY;
    double all = there ? distance(one, exact[TYPED], exact[SIZE], count) : INFINITY;
    for (int32_t threads = 2; threads <= 16 && there; threads *= 2) {
        float *more = multiply(p, HT_F32, HT_PRECISION_BF16, TYPED, threads, NULL, &count);
        equal = equal && more && memcmp(one, more, (size_t)count * sizeof *one) == 0;
        free(more);
    }
    tap_ok(sums <= 1e-5 && all <= LOST && equal && facts.products == 1 && facts.bf16 == p->rounded,
           "product %s%s %s%s: sums off by %.1e, all by %.1e, %d of 1 on bf16%s", ht_shape_text(p->a, ta),
           p->transpose_a ? "^T" : "", ht_shape_text(p->b, tb), p->transpose_b ? "^T" : "", sums, all, (int)facts.bf16,
           equal ? "" : ", other bits with more threads");
    free(one);
    for (int32_t form = 0; form < FORMS; form++) free(exact[form]);
}

static void check_products(void)
{
    const product rows[] = {
        {HT_SHAPE(64, 96), HT_SHAPE(96, 80), 0, 0, 1},       {HT_SHAPE(64, 96), HT_SHAPE(80, 96), 0, 1, 1},
        {HT_SHAPE(130, 64), HT_SHAPE(130, 80), 1, 0, 1},       {HT_SHAPE(96, 64), HT_SHAPE(80, 96), 1, 1, 0},
        {HT_SHAPE(300, 257), HT_SHAPE(257, 65), 0, 0, 1},    {HT_SHAPE(3, 5, 40, 32), HT_SHAPE(32, 48), 0, 0, 1},
        {HT_SHAPE(3, 40, 32), HT_SHAPE(3, 48, 32), 0, 1, 1}, {HT_SHAPE(2, 3, 128, 40), HT_SHAPE(2, 3, 128, 48), 1, 0, 1},
        {HT_SHAPE(2, 1, 16, 32), HT_SHAPE(3, 32, 24), 0, 0, 1}, {HT_SHAPE(1, 512), HT_SHAPE(512, 100), 0, 0, 1},
        {HT_SHAPE(7, 3), HT_SHAPE(3, 5), 0, 0, 1},           {HT_SHAPE(1200, 64), HT_SHAPE(1200, 48), 1, 0, 1},
    };
    for (int32_t i = 0; i < COUNT(rows); i++) check_product(&rows[i]);
}

/* ---- what programs share, count and refuse ---- */

static ht_program *compile_net(ht_device *device, ht_tape *tape, ht_precision precision, ht_error *error)
{
    ht_var x = ht_input(tape, "x", HT_SHAPE(2, 16, 16, 16)), w = ht_input(tape, "w", HT_SHAPE(32, 16, 3, 3));
    ht_var v = ht_input(tape, "v", HT_SHAPE(24, 16, 3, 3));
    ht_var y = ht_conv(x, w, .pad = ht_all(1)), z = ht_conv(x, v, .pad = ht_all(1));
    ht_var loss = ht_add(ht_sum(ht_square(y)), ht_sum(ht_square(z)));
    return ht_compile(tape, device, ht_vars_join(ht_list(loss), ht_grad(loss, ht_list(x, w, v))), .error = error,
                      .precision = precision);
}

static void check_counts(ht_device *device)
{
    ht_error error = {0};
    ht_program_facts facts[2] = {{0}};
    for (int32_t k = 0; k < 2; k++) {
        ht_tape *tape = ht_tape_new(HT_F32);
        ht_program *program = compile_net(device, tape, k ? HT_PRECISION_BF16 : HT_PRECISION_TYPED, &error);
        tap_ok(program != NULL, "a net and its gradients: %s", error.message);
        if (program) facts[k] = ht_program_describe(program);
        ht_program_free(program);
        ht_tape_free(tape);
    }
    tap_ok(facts[0].products == 6 && facts[0].bf16 == 0, "as typed: %d products, none on bf16", (int)facts[0].products);
    tap_ok(facts[1].products == 6 && facts[1].bf16 == 6, "bf16: %d of %d products", (int)facts[1].bf16, (int)facts[1].products);
    /* x for two forward and two weight faces, each cotangent for two faces: three roundings more, weights as before */
    tap_ok(facts[1].conversions <= facts[0].conversions + 3, "one rounding for all uses of a value: %d conversions for %d",
           (int)facts[1].conversions, (int)facts[0].conversions);
}

static void check_refusals(ht_device *device, bool able)
{
    ht_error error = {0};
    ht_tape *tape = ht_tape_new(HT_F64);
    tap_ok(!compile_net(device, tape, HT_PRECISION_BF16, &error) && error.status == HT_EUNSUPPORTED, "f64 is refused: %s",
           error.message);
    ht_tape_free(tape);
    tape = ht_tape_new(HT_F32);
    error = (ht_error){0};
    tap_ok(!compile_net(device, tape, (ht_precision)7, &error) && error.status == HT_EINVALID, "a wild value is refused: %s",
           error.message);
    ht_tape_free(tape);
    if (able) return;
    tape = ht_tape_new(HT_F32);
    error = (ht_error){0};
    tap_ok(!compile_net(device, tape, HT_PRECISION_BF16, &error) && error.status == HT_EUNSUPPORTED,
           "refused where it is not there: %s", error.message);
    ht_tape_free(tape);
}

int main(void)
{
    const char *refused = hti_refuses_bf16();
    ht_error error = {0};
    ht_device *device = ht_device_open("cpu", 2, &error);
    check_rounding();
    check_refusals(device, refused == NULL);
    if (refused) {
        tap_skip("products on bf16: %s", refused);
    } else {
        check_convolutions();
        check_products();
        check_counts(device);
    }
    ht_device_close(device);
    return tap_done();
}
