/*
 * mlo_compare on a problem whose answers are known, and that it leaves every store as it was; mlo_check on several steps,
 * truncated ones, optimisers, and implicit solvers that may or may not have converged.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "quadratic.h"
#include "tap.h"

#define N QUADRATIC_N

static ht_device *device;

static void test_compare(void)
{
    quadratic q = quadratic_make(device, 55, 1);
    quadratic_converge(&q);
    q.level[0] = (mlo_level){.rate = 0.5, .steps = 60, .solver_steps = 40};
    uint64_t before[2] = {ht_store_hash(q.X), ht_store_hash(q.W)};
    mlo_problem problem = {quadratic_record, NULL, &q};
    mlo_row rows[MLO_VARIANTS];
    ht_error error = {0};
    int32_t n = mlo_compare(device, problem, rows, MLO_VARIANTS, .error = &error);
    if (!tap_ok(n == MLO_VARIANTS, "mlo_compare gives %d rows: %s", (int)n, error.message)) return;
    static const double most[MLO_VARIANTS] = {0, 10, 1e-8, 10, 1e-5, 1e-5, 1e-9, 1e-9};
    for (int i = 0; i < n; i++)
        tap_ok(rows[i].status == HT_OK && rows[i].error <= most[i] && rows[i].cosine > 0.5 && rows[i].cosine < 1 + 1e-12 &&
                   rows[i].seconds > 0 && rows[i].arena_bytes > 0, "%s: error %.1e, cosine %.6f, residual %.1e%s", rows[i].name,
               rows[i].error, rows[i].cosine, rows[i].residual, rows[i].note);
    tap_ok(rows[1].error > 1e-3 && rows[3].error > 1e-3, "one step and the identity are seen to be approximations");
    tap_ok(rows[0].arena_bytes > rows[1].arena_bytes && rows[0].instructions > rows[1].instructions,
           "60 steps hold %zu bytes, the last one alone %zu", rows[0].arena_bytes, rows[1].arena_bytes);
    tap_ok(before[0] == ht_store_hash(q.X) && before[1] == ht_store_hash(q.W), "comparing changes no store");
    FILE *file = tmpfile();
    if (file) mlo_compare_print(rows, n, file);
    tap_ok(file && ftell(file) > 500, "the table has its rows");
    if (file) fclose(file);
    quadratic_release(&q);
}

/* Names and notes may hold anything, numbers may be infinite: what is written stays JSON. */
static void test_json(void)
{
    static const char *const expected =
        "[\n  {\"method\": \"a \\\"b\\\\\\u000a\", \"error\": 0.5, \"cosine\": null, \"norm\": 2, "
        "\"residual\": 0.10000000000000001, \"seconds\": 0.25, \"arena_bytes\": 64, \"instructions\": 3},\n"
        "  {\"method\": \"CG\", \"refused\": \"no \\\"w\\\"\"}\n]\n";
    const mlo_row rows[] = {
        {.name = "a \"b\\\n", .error = 0.5, .cosine = NAN, .norm = 2, .residual = 0.1,
         .seconds = 0.25, .arena_bytes = 64, .instructions = 3},
        {.name = "CG", .status = HT_EINVALID, .note = "no \"w\""},
    };
    char text[600] = "";
    FILE *file = tmpfile();
    if (file) {
        mlo_compare_json(rows, 2, file);
        rewind(file);
        text[fread(text, 1, sizeof text - 1, file)] = 0;
        fclose(file);
    }
    tap_ok(strcmp(text, expected) == 0, "rows as JSON, %zu bytes", strlen(text));
}

/* A limit that holds changes nothing; one that cannot is the variant's own refusal. What limits do: test_recompute.c. */
static void test_memory(void)
{
    quadratic q = quadratic_make(device, 55, 1);
    quadratic_converge(&q);
    q.level[0] = (mlo_level){.rate = 0.5, .steps = 60};
    mlo_problem problem = {quadratic_record, NULL, &q};
    mlo_variant variants[3] = {{.name = "unrolled"}, {.name = "as much"}, {.name = "too little", .memory_limit = 8}};
    mlo_row rows[3];
    ht_error error = {0};
    int32_t count = mlo_compare(device, problem, rows, 3, variants, 1, .error = &error);
    variants[1].memory_limit = count == 1 ? rows[0].arena_bytes : 8;
    count = mlo_compare(device, problem, rows, 3, variants, 3, .error = &error);
    tap_ok(count == 3 && rows[1].status == HT_OK && rows[1].error <= 0 && rows[1].arena_bytes == rows[0].arena_bytes &&
               rows[1].recomputed == 0 && rows[2].status == HT_ENOMEM && strstr(rows[2].note, "program: needs "),
           "a variant has its limit of memory: %s", rows[2].note);
    quadratic_release(&q);
}

/* A variant that the problem cannot have gives a row that says why; the first one must be had. */
static void test_refusals(void)
{
    static const mlo_variant variants[] = {{.name = "CG", .solver = MLO_CG}, {.name = "unrolled"}};
    static const mlo_variant turned[] = {{.name = "unrolled"}, {.name = "CG", .solver = MLO_CG}};
    quadratic q = quadratic_make(device, 44, 1);
    quadratic_converge(&q);
    q.level[0] = (mlo_level){.rate = 0.5, .steps = MLO_NO_STEPS};
    mlo_problem problem = {quadratic_record, NULL, &q};
    mlo_row rows[2];
    ht_error error = {0};
    int32_t count = mlo_compare(device, problem, rows, 2, variants, 2, .error = &error);
    tap_ok(count == 2 && rows[0].status == HT_OK && rows[1].status == HT_EINVALID && strstr(rows[1].note, ".steps") &&
               error.status == HT_OK, "a variant that cannot be had says why: %s", rows[1].note);
    count = mlo_compare(device, problem, rows, 2, turned, 2, .error = &error);
    tap_ok(count == -1 && error.status == HT_EINVALID && strstr(error.message,
           ".steps"), "without the first there is nothing: %s",
           error.message);
    quadratic_release(&q);
}

/* What mlo_check says of the problem's round. */
static ht_gradcheck_result check(mlo_args (*record)(ht_tape *, void *), void *context)
{
    ht_tape *tape = ht_tape_new(HT_F64);
    mlo_args args = record(tape, context);
    args.where = HT_HERE;
    mlo_round round = mlo_record_(args);
    ht_gradcheck_result r = mlo_check(&round, args.count, nn_params(args.levels[args.count - 1].scope), device, .draws = 3);
    ht_tape_free(tape);
    return r;
}

static int agrees(ht_gradcheck_result r) { return r.status == HT_OK && r.checks > 0 && r.failed + r.skipped == 0; }

static void test_check(void)
{
    quadratic q = quadratic_make(device, 66, 1);
    q.cubic = 0.3;
    q.level[0] = (mlo_level){.rate = 0.3, .steps = 4};
    ht_gradcheck_result r = check(quadratic_record, &q);
    tap_ok(agrees(r), "mlo_check agrees with 4 unrolled steps: worst %.1e %s", r.worst, r.message);
    q.level[0].truncate = 3;
    r = check(quadratic_record, &q);
    tap_ok(r.status == HT_OK && r.failed > 0, "a truncated derivative is found out: %s", r.message);
    q.level[0] = (mlo_level){.rate = 0.3, .steps = 120, .solver = MLO_CG};
    r = check(quadratic_record, &q);
    tap_ok(agrees(r), "CG where the level is converged: worst %.1e %s", r.worst, r.message);
    q.level[0].steps = 3;
    r = check(quadratic_record, &q);
    tap_ok(r.failed > 0 && strstr(r.message, "residual of the implicit levels"), "CG where it is not: %s", r.message);
    quadratic_release(&q);
}

/* ---- optimisers ---- */

typedef struct trained {
    quadratic q;
    ht_store *moments;
    int adam;
} trained;

static ht_vars optimiser(ht_vars w, ht_vars gradient, void *context)
{
    trained *t = context;
    if (t->adam) return nn_adam(t->moments, w, gradient, .rate = 0.05);
    return nn_rmsprop(t->moments, w, gradient, .rate = 0.05, .momentum = 0.5);
}

/* Half of the weights are not seen by this loss' data: their gradients are exactly zero. */
static ht_var half_blind(const mlo_point *at, void *context)
{
    (void)context;
    static const double mask[N] = {1, 0, 1, 0};
    ht_var w = quadratic_value(at, "w"), x = quadratic_value(at, "x"), m = ht_constant(w.tape, mask, HT_SHAPE(N));
    ht_var seen = ht_mul(w, m);
    return ht_add(ht_sum(ht_mul(ht_exp(x), ht_square(seen))), ht_sum(ht_sin(ht_mul(seen, x))));
}

static mlo_args record_trained(ht_tape *tape, void *context)
{
    trained *t = context;
    mlo_args args = quadratic_record(tape, &t->q);
    t->q.level[0] = (mlo_level){"w", t->q.level[0].scope, half_blind, optimiser, .context = t, .steps = 5};
    args.look_ahead = MLO_OPTIMIZER;
    return args;
}

static void test_optimiser(int adam)
{
    trained t = {.q = quadratic_make(device, 77, 1), .moments = ht_store_new(device), .adam = adam};
    const char *name = adam ? "Adam" : "RMSprop";
    ht_gradcheck_result r = check(record_trained, &t);
    tap_ok(agrees(r), "5 steps of %s, half of the gradients 0: worst %.1e %s", name, r.worst, r.message);
    uint64_t before = ht_store_hash(t.q.W), moments = ht_store_hash(t.moments);
    mlo_problem problem = {record_trained, NULL, &t};
    mlo_row rows[2];
    int32_t count = mlo_compare(device, problem, rows, 2);
    tap_ok(count == 2 && rows[1].error > 1e-3, "%s: the last step alone is off by %.1e", name, rows[1].error);
    tap_ok(before == ht_store_hash(t.q.W) && moments == ht_store_hash(t.moments), "%s: weights and moments are as before", name);
    ht_store_free(t.moments);
    quadratic_release(&t.q);
}

int main(void)
{
    ht_error error = {0};
    device = ht_device_open("cpu", 1, &error);
    if (!tap_ok(device != NULL, "device: %s", error.message)) return tap_done();
    test_compare();
    test_json();
    test_memory();
    test_refusals();
    test_check();
    test_optimiser(1);
    test_optimiser(0);
    ht_device_close(device);
    return tap_done();
}
