/*
 * Judges that know no derivative rule: what an op means is evaluated by reference.h. For each variant and draw
 *     value    what the kernels give, in f64 and in f32, against the reference in the same type, and f64 against quad
 *     quad     derivative n against n mixed central differences, extrapolated once, of the value itself in quad: of no
 *              lower derivative, so that nothing that the rules say is believed
 *     complex  derivative n against the imaginary part of derivative n - 1 at x + i h v with h = 1e-100, which has no
 *              rounding of a difference
 * Directions are in units of the inputs' range, so that all sizes are those of the value.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <ht/random.h>

#include "reference.h"
#include "suite.h"

#define DRAWS 3
#define REDRAWS 20
/* Of the size that a number is made of: f64 against what is exact, also where it passes f32, and f32 against its own. */
#define ALLOWED 1e-11
#define ALLOWED_ROUNDED 1e-6
#define ALLOWED_VALUE 1e-12
#define ALLOWED_SINGLE 1e-5
#define COMPLEX_STEP 1e-100
/* By order: rounding grows as 1e-34 / h^order, what one extrapolation leaves as h^4. */
static const double quad_step[GRADCHECK_ORDERS] = {1e-8, 1e-7, 4e-6};

/* Leaves of the recording: the inputs; per order but the last a direction in each; the last direction in each. */
#define LEAVES (GRADCHECK_INPUTS * (GRADCHECK_ORDERS + 1))

typedef struct oracles {
    const gradcheck_options *options;
    const gradcheck_variant *variant;
    gradcheck_row *row;
    gradcheck_record exact, single;      /* f64 and f32 */
    ht_store *fresh, *fresh_single;      /* their stores before any run: optimisers move theirs */
    ht_program *program, *narrow;
    int32_t inputs, orders, leaves;
    ht_var scalar[GRADCHECK_ORDERS];     /* the value, and its derivatives along the directions */
    ht_var leaf[LEAVES];
    int64_t count[LEAVES];
    double *number[LEAVES];
    double scale[GRADCHECK_ORDERS + 1];  /* of the scalar of each order: the sum of magnitudes */
    int64_t results;                     /* elements of the value's array */
    double *out, *scratch;
    ht_error error;
} oracles;

static ht_var *direction_leaf(oracles *o, int32_t order, int32_t k) { return &o->leaf[o->inputs * (order + 1) + k]; }

/* ---- recording: the chain of derivatives in reverse mode ---- */

static void add_leaves(oracles *o)
{
    char name[32];
    o->leaves = o->inputs * (o->orders + 1);
    for (int32_t i = 0; i < o->leaves; i++) {
        int32_t k = i % o->inputs;
        snprintf(name, sizeof name, "direction %d", (int)i);
        o->leaf[i] = i < o->inputs ? o->exact.in[i] : ht_input(o->exact.tape, name, o->variant->shape[k]);
        o->count[i] = ht_shape_count(o->variant->shape[k]);
        o->number[i] = malloc((size_t)(o->count[i] + 1) * sizeof **o->number);
        if (!o->number[i]) ht_fail(&o->error, HT_ENOMEM, "oracles: the system gave no memory");
    }
}

/* Outputs: the array, then for each order and input the derivative along the last direction, and the gradient. */
static ht_vars record_chain(oracles *o)
{
    gradcheck_record *r = &o->exact;
    ht_vars outputs = ht_list(ht_cast(r->y, HT_F64));
    ht_var one = ht_fill(r->tape, 1, HT_SCALAR), next = r->value;
    for (int32_t n = 0; n < o->orders; n++) {
        o->scalar[n] = next;
        ht_vars pulled = ht_vjp(ht_list(next), ht_list(one), ht_vars_new(r->tape, r->in, NULL, o->inputs));
        if (pulled.count < o->inputs) break;
        for (int32_t k = 0; k < o->inputs; k++)
            outputs = ht_vars_join(outputs, ht_list(ht_sum(ht_mul(pulled.at[k], *direction_leaf(o, o->orders - 1, k))),
                                                    pulled.at[k]));
        if (n + 1 < o->orders) next = ht_dot(pulled, ht_vars_new(r->tape, direction_leaf(o, n, 0), NULL, o->inputs));
    }
    return outputs;
}

static bool open_oracles(oracles *o)
{
    const gradcheck_variant *v = o->variant;
    bool carries = false;
    o->exact = gradcheck_recorded(o->options, v, HT_F64);
    o->single = gradcheck_recorded(o->options, v, HT_F32);
    if (!o->exact.tape || !o->single.tape || !ht_ok(o->exact.value)) return false;
    for (int32_t k = 0; k < v->inputs; k++) carries = carries || o->exact.reached[k];
    o->inputs = v->inputs;
    o->orders = !carries ? 0 : o->options->order ? o->options->order : GRADCHECK_ORDERS;
    add_leaves(o);
    if (o->error.status != HT_OK) return false;
    o->results = ht_shape_count(ht_var_shape(o->exact.y));
    int64_t most = o->results;
    for (int32_t i = 0; i < o->leaves; i++) most = most > o->count[i] ? most : o->count[i];
    o->out = malloc((size_t)(most + 1) * sizeof *o->out);
    o->scratch = malloc((size_t)(most + 1) * sizeof *o->scratch);
    o->program = ht_compile(o->exact.tape, o->options->device, record_chain(o), .error = &o->error);
    if (ht_ok(o->single.y))
        o->narrow = ht_compile(o->single.tape, o->options->device, ht_list(ht_cast(o->single.y, HT_F32)), .error = &o->error);
    else o->error = *ht_tape_error(o->single.tape);
    o->fresh = ht_store_copy(o->exact.store, HT_F64, &o->error);
    o->fresh_single = ht_store_copy(o->single.store, HT_F32, &o->error);
    return o->out && o->scratch && o->program && o->narrow && o->fresh && o->fresh_single;
}

static void close_oracles(oracles *o)
{
    ht_program_free(o->program);
    ht_program_free(o->narrow);
    gradcheck_release(&o->exact);
    gradcheck_release(&o->single);
    ht_store_free(o->fresh);
    ht_store_free(o->fresh_single);
    for (int32_t i = 0; i < o->leaves; i++) free(o->number[i]);
    free(o->out);
    free(o->scratch);
}

/* ---- draws ---- */

static double spread(const gradcheck_variant *v) { return (v->high - v->low) / 2; }

static bool run_draw(oracles *o, uint64_t key)
{
    const gradcheck_variant *v = o->variant;
    for (int32_t i = 0; i < o->leaves; i++) {
        for (int64_t e = 0; e < o->count[i]; e++) {
            double u = gradcheck_unit(key, (uint64_t)i, e);
            o->number[i][e] = i < o->inputs ? v->low + (v->high - v->low) * u : spread(v) * (2 * u - 1);
        }
        ht_set(o->program, o->leaf[i], o->number[i], o->count[i]);
    }
    return ht_run(o->program) == HT_OK && ht_store_assign(o->exact.store, o->fresh, NULL) == HT_OK;
}

static double derivative(const oracles *o, int32_t order, int32_t k)
{
    double x = NAN;
    ht_get_at(o->program, 1 + 2 * (o->inputs * (order - 1) + k), &x, 1);
    return x;
}

/* Sums of magnitudes of every order; the gradients have the shapes of their inputs. */
static void measure(oracles *o)
{
    double total = 0;
    gradcheck_evaluate_f64(o->exact.value, o->leaf, (const double *const *)o->number, o->leaves, &total, NULL);
    o->scale[0] = fabs(total);
    for (int32_t n = 0; n < o->orders; n++) {
        o->scale[n + 1] = 0;
        for (int32_t k = 0; k < o->inputs; k++) {
            int32_t at = 2 + 2 * (o->inputs * n + k);
            bool read = ht_get_at(o->program, at, o->scratch, o->count[k]) == HT_OK;
            for (int64_t e = 0; read && e < o->count[k]; e++) o->scale[n + 1] += spread(o->variant) * fabs(o->scratch[e]);
        }
    }
}

/* What errors of an order are relative to; as in autograd/gradcheck.c. */
static double size_of(const oracles *o, int32_t order)
{
    double most = 0;
    for (int32_t n = 0; n <= order; n++) most = fmax(most, o->scale[n]);
    return o->scale[order - 1] + o->scale[order] + 1e-3 * most + DBL_MIN;
}

static void judge(oracles *o, double off, double size, double allowed, const char *what, int32_t order, int32_t k)
{
    double relative = off == 0 ? 0 : off / size;
    if (allowed < ALLOWED_SINGLE && !(relative <= o->row->worst)) o->row->worst = relative; /* of f64 alone */
    gradcheck_note(o->row, relative <= allowed, "\"%s\": input %d, order %d, %s, seed %llu: they differ by %.3g of the size "
                   "%.3g; allowed are %.3g", o->variant->name, (int)k, (int)order, what,
                   (unsigned long long)o->options->seed, relative, size, allowed);
}

/* ---- values ---- */

/* Far infinities and NaN must stand in the same places. */
static double apart(const double *a, const double *b, int64_t count)
{
    double off = 0;
    for (int64_t i = 0; i < count; i++)
        if (a[i] != b[i] && !(isnan(a[i]) && isnan(b[i])) && !(fabs(a[i] - b[i]) <= off)) off = fabs(a[i] - b[i]);
    return off;
}

static double largest(const double *a, int64_t count)
{
    double most = 0;
    for (int64_t i = 0; i < count; i++) most = fmax(most, fabs(a[i]));
    return most;
}

static void check_values(oracles *o)
{
    bool good = ht_get_at(o->program, 0, o->out, o->results) == HT_OK;
    double *expected = o->scratch;
    good = good && gradcheck_evaluate_f64(o->exact.y, o->leaf, (const double *const *)o->number, o->leaves, expected, NULL);
    /* what rounding of the inputs does to the array, as far as the value tells */
    double size = largest(expected, good ? o->results : 0) + (o->orders ? o->scale[1] : 0) + DBL_MIN;
    judge(o, good ? apart(o->out, expected, o->results) : NAN, size, ALLOWED_VALUE, "value in f64", 0, 0);

    gradcheck_quad *wide[LEAVES] = {0}, *result = calloc((size_t)o->results + 1, sizeof *result);
    good = good && result;
    for (int32_t i = 0; i < o->inputs && good; i++) {
        wide[i] = calloc((size_t)o->count[i] + 1, sizeof **wide);
        good = wide[i] != NULL;
        for (int64_t e = 0; good && e < o->count[i]; e++) wide[i][e] = (gradcheck_quad)o->number[i][e];
    }
    good = good && gradcheck_evaluate_quad(o->exact.y, o->leaf, (const gradcheck_quad *const *)wide, o->inputs, result, NULL);
    for (int64_t i = 0; good && i < o->results; i++) expected[i] = (double)result[i];
    double allowed = o->variant->tolerance > 0 ? ALLOWED_ROUNDED : ALLOWED_VALUE;
    judge(o, good ? apart(o->out, expected, o->results) : NAN, size, allowed, "value in quad", 0, 0);
    for (int32_t i = 0; i < o->inputs; i++) free(wide[i]);
    free(result);
}

static void check_single(oracles *o)
{
    float *narrow[GRADCHECK_INPUTS] = {0}, *result = calloc((size_t)o->results + 1, sizeof *result);
    float *expected = calloc((size_t)o->results + 1, sizeof *expected);
    bool good = result && expected;
    for (int32_t k = 0; k < o->inputs && good; k++) {
        narrow[k] = calloc((size_t)o->count[k] + 1, sizeof **narrow);
        good = narrow[k] != NULL;
        for (int64_t e = 0; good && e < o->count[k]; e++) narrow[k][e] = (float)o->number[k][e];
        if (good) ht_set(o->narrow, o->single.in[k], narrow[k], o->count[k]);
    }
    good = good && ht_run(o->narrow) == HT_OK && ht_store_assign(o->single.store, o->fresh_single, NULL) == HT_OK &&
           ht_get_at(o->narrow, 0, result, o->results) == HT_OK &&
           gradcheck_evaluate_f32(o->single.y, o->single.in, (const float *const *)narrow, o->inputs, expected, NULL);
    for (int64_t i = 0; good && i < o->results; i++) o->out[i] = (double)result[i], o->scratch[i] = (double)expected[i];
    double size = largest(o->scratch, good ? o->results : 0) + (o->orders ? o->scale[1] : 0) + FLT_MIN / ALLOWED_SINGLE;
    judge(o, good ? apart(o->out, o->scratch, o->results) : NAN, size, ALLOWED_SINGLE, "value in f32", 0, 0);
    for (int32_t k = 0; k < o->inputs; k++) free(narrow[k]);
    free(result);
    free(expected);
}

/* ---- derivatives ---- */

/* The value at x + h (s0 d0 + s1 d1 + ...), signs by the bits of `corner`; the last direction moves input k alone. */
static bool corner_value(oracles *o, int32_t order, int32_t k, int32_t corner, double h, gradcheck_quad **moved,
                         gradcheck_quad *value, uint64_t *branches)
{
    for (int32_t i = 0; i < o->inputs; i++)
        for (int64_t e = 0; e < o->count[i]; e++) {
            gradcheck_quad by = 0;
            for (int32_t n = 0; n < order; n++) {
                bool last = n + 1 == order;
                const double *d = o->number[o->inputs * ((last ? o->orders - 1 : n) + 1) + i];
                if (!last || i == k) by += (gradcheck_quad)((corner >> n & 1) ? -d[e] : d[e]);
            }
            moved[i][e] = (gradcheck_quad)o->number[i][e] + (gradcheck_quad)h * by;
        }
    return gradcheck_evaluate_quad(o->exact.value, o->leaf, (const gradcheck_quad *const *)moved, o->inputs, value, branches);
}

/* NaN without memory; *smooth falls to false where two corners take other branches. */
static double quad_derivative(oracles *o, int32_t order, int32_t k, bool *smooth)
{
    gradcheck_quad *moved[GRADCHECK_INPUTS] = {0}, slope[2] = {0, 0}, value;
    bool good = true;
    uint64_t first = 0, branches;
    for (int32_t i = 0; i < o->inputs && good; i++) good = (moved[i] = calloc((size_t)o->count[i] + 1, sizeof **moved)) != NULL;
    for (int32_t s = 0; s < 2 && good && *smooth; s++) {
        double h = quad_step[order - 1] / (1 << s), under = pow(2 * h, order);
        for (int32_t corner = 0; corner < 1 << order && good && *smooth; corner++) {
            good = corner_value(o, order, k, corner, h, moved, &value, &branches);
            if (s + corner == 0) first = branches;
            *smooth = *smooth && branches == first;
            slope[s] += __builtin_parity((unsigned)corner) ? -value : value;
        }
        slope[s] /= (gradcheck_quad)under;
    }
    for (int32_t i = 0; i < o->inputs; i++) free(moved[i]);
    return good ? (double)((4 * slope[1] - slope[0]) / 3) : NAN;
}

static double complex_derivative(oracles *o, int32_t order, int32_t k)
{
    double complex *moved[LEAVES] = {0}, value = 0;
    bool good = true;
    for (int32_t i = 0; i < o->leaves && good; i++) {
        good = (moved[i] = calloc((size_t)o->count[i] + 1, sizeof **moved)) != NULL;
        const double *d = o->number[o->inputs * o->orders + k];
        for (int64_t e = 0; good && e < o->count[i]; e++)
            moved[i][e] = o->number[i][e] + I * (i == k ? COMPLEX_STEP * d[e] : 0);
    }
    good = good && gradcheck_evaluate_complex(o->scalar[order - 1], o->leaf, (const double complex *const *)moved, o->leaves,
                                              &value, NULL);
    for (int32_t i = 0; i < o->leaves; i++) free(moved[i]);
    return good ? cimag(value) / COMPLEX_STEP : NAN;
}

static void check_derivatives(oracles *o)
{
    double exact = o->variant->generated ? GRADCHECK_ILL * ALLOWED : ALLOWED;
    double allowed = o->variant->tolerance > 0 ? ALLOWED_ROUNDED : exact;
    for (int32_t order = o->options->order ? o->options->order : 1; order <= o->orders; order++)
        for (int32_t k = 0; k < o->inputs; k++) {
            bool smooth = true;
            double is = derivative(o, order, k), by_quad = quad_derivative(o, order, k, &smooth);
            if (!o->exact.reached[k]) continue;
            judge(o, smooth ? fabs(is - by_quad) : NAN, size_of(o, order), allowed, "quad difference", order, k);
            judge(o, fabs(is - complex_derivative(o, order, k)), size_of(o, order), allowed, "complex step", order, k);
        }
}

/* Whether the corners of the highest order lie on one smooth piece. */
static bool calm(oracles *o)
{
    bool smooth = true;
    for (int32_t k = 0; k < o->inputs && smooth; k++)
        if (o->orders > 0 && o->exact.reached[k]) quad_derivative(o, o->orders, k, &smooth);
    return smooth;
}

void gradcheck_oracles_run(const gradcheck_options *options, const gradcheck_variant *variant, int32_t draws, gradcheck_row *row)
{
    oracles o = {.options = options, .variant = variant, .row = row};
    bool open = open_oracles(&o);
    if (!open) gradcheck_note(row, false, "\"%s\": the oracles record it in f64 and f32: %s", variant->name, o.error.message);
    for (int32_t d = 0; open && d < draws && d < DRAWS; d++) {
        uint64_t key = ht_random_mix(ht_random_key(options->seed, variant->name), 1000 + (uint64_t)d);
        bool ran = run_draw(&o, key);
        for (int32_t i = 0; ran && i < REDRAWS && !calm(&o); i++) ran = run_draw(&o, key = ht_random_mix(key, 1));
        if (!ran) gradcheck_note(row, false, "\"%s\": runs: %s", variant->name, ht_program_error(o.program)->message);
        if (!ran) break;
        measure(&o);
        if (options->order <= 1) check_values(&o);
        if (options->order <= 1) check_single(&o);
        check_derivatives(&o);
    }
    close_oracles(&o);
}
