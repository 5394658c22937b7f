/*
 * Optimisers as recorded: 50 steps against scalar reference loops, composition and read-only steps, and derivatives
 * through an update, which must be exact, and finite where gradients and moments are exactly zero.
 */
#include <math.h>
#include <string.h>

#include <ht/nn.h>

#include "tap.h"

enum { N = 5, STEPS = 50 };

static ht_device *device;
static const double start[N] = {0.5, -1.25, 2, 0.03125, -0.75}, slope[N] = {1, 0.5, 2, 3, 0.25}, centre[N] = {0.2, 1, -1, 0, 4};

typedef enum kind { SGD, MOMENTUM, RMSPROP, ADAM, ADAMW, KINDS } kind;
static const char *const titles[KINDS] = {"sgd", "sgd with momentum", "rmsprop", "adam", "adamw"};

/* Records one step of each kind at the rates that the reference below has. */
static ht_vars step(kind k, ht_store *state, ht_vars w, ht_vars g, ht_var rate, int read_only)
{
    switch (k) {
    case SGD: return nn_sgd(w, g, .rate_from = rate, .weight_decay = 0.01);
    case MOMENTUM: return nn_sgd(w, g, .rate = 0.05, .momentum = 0.9, .store = state, .read_only = read_only);
    case RMSPROP:
        return nn_rmsprop(state, w, g, .rate_from = rate, .momentum = 0.9, .weight_decay = 0.01, .read_only = read_only);
    case ADAM:
        return nn_adam(state, w, g, .rate = 0.05, .beta1 = 0.5, .weight_decay = 0.01, .read_only = read_only);
    default: return nn_adamw(state, w, g, .rate_from = rate, .weight_decay = 0.01, .read_only = read_only);
    }
}

/* The same on one number. a and b are its two slots. */
static double reference(kind k, double w, double g, int t, double *a, double *b)
{
    double rate = 0.05, beta1 = k == ADAM ? 0.5 : 0.9;
    if (k == SGD || k == RMSPROP || k == ADAM) g += 0.01 * w;
    if (k == SGD) return w - rate * g;
    if (k == MOMENTUM) return w - rate * (*a = 0.9 * *a + g);
    if (k == RMSPROP) {
        *a = 0.99 * *a + (1 - 0.99) * g * g;
        *b = 0.9 * *b + g / (sqrt(*a) + 1e-8);
        return w - rate * *b;
    }
    *a = beta1 * *a + (1 - beta1) * g;
    *b = 0.999 * *b + (1 - 0.999) * g * g;
    if (k == ADAMW) w -= rate * 0.01 * w;
    return w - rate * (*a / (1 - pow(beta1, t))) / (sqrt(*b / (1 - pow(0.999, t))) + 1e-8);
}

/* The gradient of the test: a plain function of w, so that nothing but the update is under test. */
static ht_vars gradient(ht_tape *tape, ht_vars w)
{
    ht_var s = ht_constant(tape, slope, HT_SHAPE(N)), c = ht_constant(tape, centre, HT_SHAPE(N));
    return ht_list(ht_mul(s, ht_sub(w.at[0], c)));
}

static void test_steps(kind k)
{
    ht_store *store = ht_store_new(device), *state = ht_store_new(device);
    ht_tape *tape = ht_tape_new(HT_F64);
    ht_error error = {HT_OK, ""};
    nn_scope s = nn_open(tape, store);
    nn_parameter(s, "w", HT_SHAPE(N));
    ht_store_set(store, "w", start, N, &error);
    ht_var rate = ht_input(tape, "rate", HT_SCALAR);
    ht_vars w = nn_params(s), moved = step(k, state, w, gradient(tape, w), rate, 0);
    ht_write(store, moved);
    ht_program *program = ht_compile(tape, device, ht_list(rate), .error = &error);
    if (!tap_ok(program != NULL, "%s compiles: %s", titles[k], error.message)) return;
    tap_ok(moved.count == 1 && strcmp(moved.names[0], "w") == 0, "%s keeps the names", titles[k]);
    double is[N], expected[N], a[N] = {0}, b[N] = {0}, worst = 0, number = 0.05;
    memcpy(expected, start, sizeof start);
    ht_set(program, rate, &number, 1);
    for (int t = 1; t <= STEPS; t++) {
        ht_run(program);
        ht_store_get(store, "w", is, N, &error);
        for (int i = 0; i < N; i++) {
            expected[i] = reference(k, expected[i], slope[i] * (expected[i] - centre[i]), t, &a[i], &b[i]);
            double off = fabs(is[i] - expected[i]) / fmax(1, fabs(expected[i]));
            worst = off <= worst ? worst : off;
        }
    }
    tap_ok(error.status == HT_OK && worst <= 1e-14, "%s: 50 steps as the reference, worst %.1e", titles[k], worst);
    if (ht_store_find(state, "step") >= 0) {
        int32_t steps = 0;
        ht_store_get(state, "step", &steps, 1, &error);
        tap_ok(steps == STEPS, "%s counted %d steps", titles[k], steps);
    }
    ht_program_free(program);
    ht_tape_free(tape);
    ht_store_free(store);
    ht_store_free(state);
}

/* A read-only step gives the numbers of the real one and leaves no trace; a second real step on the tape composes. */
static void test_read_only(kind k)
{
    ht_store *store = ht_store_new(device), *state = ht_store_new(device), *twice = ht_store_new(device);
    ht_tape *tape = ht_tape_new(HT_F64);
    ht_error error = {HT_OK, ""};
    nn_scope s = nn_open(tape, store);
    nn_parameter(s, "w", HT_SHAPE(N));
    ht_store_set(store, "w", start, N, &error);
    ht_var rate = ht_fill(tape, 0.05, HT_SCALAR);
    ht_vars w = nn_params(s), ahead = step(k, state, w, gradient(tape, w), rate, 1);
    ht_vars one = step(k, twice, w, gradient(tape, w), rate, 0), two = step(k, twice, one, gradient(tape, one), rate, 0);
    ht_program *program = ht_compile(tape, device, ht_list(ahead.at[0], one.at[0], two.at[0]), .error = &error);
    if (!tap_ok(program != NULL, "%s, look-ahead, compiles: %s", titles[k], error.message)) return;
    uint64_t before = ht_store_hash(state);
    double out[3][N], w0, a, b, off = 0;
    ht_run(program);
    for (int i = 0; i < 3; i++) ht_get_at(program, i, out[i], N);
    tap_ok(ht_store_hash(state) == before && memcmp(out[0], out[1], sizeof out[0]) == 0,
           "%s: a read-only step takes the same step and writes nothing", titles[k]);
    for (int i = 0; i < N; i++) {
        a = b = 0;
        w0 = reference(k, start[i], slope[i] * (start[i] - centre[i]), 1, &a, &b);
        w0 = reference(k, w0, slope[i] * (w0 - centre[i]), 2, &a, &b);
        off = fmax(off, fabs(w0 - out[2][i]));
    }
    tap_ok(off < 1e-14, "%s: two steps on one tape compose, off by %.1e", titles[k], off);
    ht_program_free(program);
    ht_tape_free(tape);
    ht_store_free(store);
    ht_store_free(state);
    ht_store_free(twice);
}

/* First and second derivative of sum((w' + 1)^2) with respect to the gradient g itself, at new slots. */
static int derivatives(kind k, ht_dtype dtype, double w_is, const double *g_is, double first[N], double second[N],
                       ht_error *error)
{
    ht_store *store = ht_store_new(device), *state = ht_store_new(device);
    ht_tape *tape = ht_tape_new(dtype);
    nn_scope s = nn_open(tape, store, .seed = 1);
    nn_parameter(s, "w", HT_SHAPE(N), nn_constant(w_is));
    nn_parameter(s, "g", HT_SHAPE(N));
    ht_vars all = nn_params(s);
    ht_vars weight = ht_vars_new(tape, all.at, all.names, 1), g = ht_vars_new(tape, all.at + 1, all.names + 1, 1);
    ht_vars moved = step(k, state, weight, g, ht_fill(tape, 0.05, HT_SCALAR), 1);
    ht_var loss = ht_sum(ht_square(ht_offset(moved.count ? moved.at[0] : (ht_var){tape, 0}, 1)));
    ht_vars d = ht_grad(loss, g), dd = ht_grad(ht_sum(d.count ? d.at[0] : loss), g);
    ht_program *program = NULL;
    if (dd.count) program = ht_compile(tape, device, ht_list(d.at[0], dd.at[0]), .error = error);
    else ht_fail(error, HT_EINVALID, "%s", ht_tape_error(tape)->message);
    int ran = 0;
    if (program) {
        float narrow[N];
        for (int i = 0; i < N; i++) narrow[i] = (float)g_is[i];
        ht_store_set(store, "g", dtype == HT_F32 ? (const void *)narrow : (const void *)g_is, N, error);
        ran = ht_run(program) == HT_OK;
        for (int part = 0; part < 2; part++) {
            double *to = part ? second : first;
            ht_get_at(program, part, dtype == HT_F32 ? (void *)narrow : (void *)to, N);
            for (int i = 0; i < N && dtype == HT_F32; i++) to[i] = (double)narrow[i];
        }
    }
    ht_program_free(program);
    ht_tape_free(tape);
    ht_store_free(store);
    ht_store_free(state);
    return ran;
}

static void test_derivatives(kind k)
{
    static const double zero[N], tiny[N] = {1e-10, -1e-15, 1e-19, -1e-25, 1e-37}, some[N] = {0.5, -1, 2, -0.25, 3};
    double first[N], second[N], off = 0, off_second = 0;
    for (int type = 0; type < 2; type++) {
        ht_error error = {HT_OK, ""};
        int finite = derivatives(k, type ? HT_F64 : HT_F32, 0, zero, first, second, &error);
        for (int i = 0; i < N; i++) finite = finite && isfinite(first[i]) && isfinite(second[i]);
        tap_ok(finite, "%s, %s: derivatives at gradient 0 and new slots are finite %s", titles[k], type ? "f64" : "f32",
               error.message);
    }
    ht_error small = {HT_OK, ""};
    int finite = derivatives(k, HT_F32, 0, tiny, first, second, &small);
    for (int i = 0; i < N; i++) finite = finite && isfinite(first[i]);
    tap_ok(finite, "%s, f32: where squares of gradients underflow, first derivatives are finite: %g %g %g %g %g %s", titles[k],
           first[0], first[1], first[2], first[3], first[4], small.message);
    ht_error error = {HT_OK, ""};
    int ran = derivatives(k, HT_F64, 0.5, some, first, second, &error);
    for (int i = 0; i < N && ran; i++) {
        double value[3], h = 1e-4, slot_a, slot_b; /* central differences of the scalar reference */
        for (int side = -1; side <= 1; side++) {
            slot_a = slot_b = 0;
            double moved = reference(k, 0.5, some[i] + side * h, 1, &slot_a, &slot_b);
            value[side + 1] = (moved + 1) * (moved + 1);
        }
        off = fmax(off, fabs((value[2] - value[0]) / (2 * h) - first[i]));
        off_second = fmax(off_second, fabs((value[2] - 2 * value[1] + value[0]) / (h * h) - second[i]));
    }
    tap_ok(ran && off < 1e-7 && off_second < 1e-5, "%s: derivatives through the step, off by %.1e and %.1e %s", titles[k], off,
           off_second, error.message);
}

static void test_refusals(void)
{
    ht_store *store = ht_store_new(device);
    ht_tape *tape = ht_tape_new(HT_F64);
    nn_scope s = nn_open(tape, store);
    nn_parameter(s, "w", HT_SHAPE(N));
    ht_vars w = nn_params(s);
    ht_vars out = nn_adam(NULL, w, w, .rate = 1);
    const ht_error *e = ht_tape_error(tape);
    tap_ok(out.count == 1 && !ht_ok(out.at[0]) && e->status == HT_EINVALID && strstr(e->message, "store"),
           "no state store: %s", e->message);
    ht_tape_free(tape);
    tape = ht_tape_new(HT_F64);
    w = nn_params(nn_open(tape, store));
    nn_sgd(w, ht_list(ht_fill(tape, 1, HT_SHAPE(N, 1))), .rate = 1);
    e = ht_tape_error(tape);
    tap_ok(e->status == HT_ESHAPE && strstr(e->message, "[5,1]"), "another shape: %s", e->message);
    ht_tape_free(tape);
    tape = ht_tape_new(HT_F64);
    w = nn_params(nn_open(tape, store));
    nn_adam(store, w, w, .rate = 1, .beta2 = 1);
    e = ht_tape_error(tape);
    tap_ok(e->status == HT_EINVALID && strstr(e->message, "beta2"), "beta2 = 1: %s", e->message);
    ht_tape_free(tape);
    ht_store_free(store);
}

int main(void)
{
    ht_error error = {HT_OK, ""};
    device = ht_device_open("cpu", 2, &error);
    if (!tap_ok(device != NULL, "a device: %s", error.message)) return tap_done();
    for (int k = 0; k < KINDS; k++) test_steps((kind)k);
    for (int k = MOMENTUM; k < KINDS; k++) test_read_only((kind)k);
    for (int k = 0; k < KINDS; k++) test_derivatives((kind)k);
    test_refusals();
    ht_device_close(device);
    return tap_done();
}
