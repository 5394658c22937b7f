/*
 * Equal bits: a training step recorded twice, run twice, on one, two and three threads, from a store or after a detour
 * through its copy. Five steps of a small convolutional net with everything on it, at sizes that take different
 * algorithms, f32 and f64. A difference is traced to the first instruction that shows it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ht/nn.h>
#include <ht/random.h>

#include "kit.h"
#include "plan/plan.h"
#include "tap.h"

enum { STEPS = 5, MOST_THREADS = 3 };

typedef struct form {
    int64_t batch, channels, edge;
    int32_t width, peaks;
} form;

static ht_device *devices[MOST_THREADS + 1];

/* Three losses, so that sums of everything and their gradients are in it. */
static ht_var loss_of(ht_var logits, ht_var y)
{
    ht_var loss = ht_add(ht_sigmoid_cross_entropy(logits, y), ht_dice_loss(ht_sigmoid(logits), y, 1));
    return ht_add(loss, ht_scale(ht_mean(ht_charbonnier(ht_sub(logits, y), 0.1)), 0.1));
}

static kit_step step_of(ht_dtype dtype, form size, int32_t threads, int32_t check)
{
    return kit_step_new((kit_step_args){.device = devices[threads], .dtype = dtype, .loss = loss_of, .check = check,
                                        .x = HT_SHAPE(size.batch, size.channels, size.edge, size.edge),
                                        .net = {.width = size.width, .peaks = size.peaks, .dropout = 0.3}});
}

static uint64_t hash_of(const kit_step *j) { return ht_random_mix(ht_store_hash(j->store), ht_store_hash(j->state)); }

static uint64_t run_steps(const kit_step *j)
{
    for (int i = 0; j->program && i < STEPS; i++) {
        kit_step_set(j, (uint64_t)i);
        if (ht_run(j->program) != HT_OK) tap_ok(0, "runs: %s", ht_program_error(j->program)->message);
    }
    return hash_of(j);
}

/* Runs both step by step on equal stores and says which instruction gives other bits first. */
static void trace(const kit_step *a, const kit_step *b)
{
    ht_program *p = a->program, *q = b->program;
    kit_step_set(a, 0);
    kit_step_set(b, 0);
    if (p->steps.count != q->steps.count) printf("# programs of %d and %d steps\n", (int)p->steps.count, (int)q->steps.count);
    for (int32_t s = 0; s < p->steps.count && s < q->steps.count; s++) {
        for (int side = 0; side < 2; side++) {
            ht_program *r = side ? q : p;
            int32_t whole = r->steps.count, commits = r->commits.count;
            r->steps.count = s + 1; /* from the start again each time: values are overwritten as the run goes on */
            r->commits.count = 0;
            ht_run(r);
            r->steps.count = whole;
            r->commits.count = commits;
        }
        const hti_step *x = &p->steps.at[s], *y = &q->steps.at[s];
        if (x->out == HTI_NOWHERE) continue;
        const hti_tensor *tx = &x->tensors[x->inputs], *ty = &y->tensors[y->inputs];
        size_t bytes = (size_t)ht_shape_count(tx->shape) * ht_dtype_bytes(tx->dtype);
        if (memcmp(tx->data, ty->data, bytes) == 0) continue;
        char text[HT_SHAPE_TEXT];
        printf("# step %d, %s %s, differs: by %s and by %s, at %s in %s\n", (int)s, x->op->name, ht_shape_text(tx->shape, text),
               hti_algorithm(x) ? hti_algorithm(x) : "its kernel", hti_algorithm(y) ? hti_algorithm(y) : "its kernel",
               x->where, x->scope);
        return;
    }
    printf("# no single step differs\n");
}

static void test_size(ht_dtype dtype, form size)
{
    char name[96];
    snprintf(name, sizeof name, "%s, batch %d, %d channels, %dx%d, width %d, %s", ht_dtype_name(dtype), (int)size.batch,
             (int)size.channels, (int)size.edge, (int)size.edge, (int)size.width, size.peaks ? "peaks" : "smooth");
    kit_step first = step_of(dtype, size, 1, 0);
    uint64_t start = hash_of(&first), expected = run_steps(&first);
    tap_ok(first.program && start != expected, "%s: five steps change the stores", name);
    for (int32_t threads = 1; threads <= MOST_THREADS; threads++) {
        kit_step other = step_of(dtype, size, threads, 0);
        uint64_t got = other.program ? run_steps(&other) : 0;
        tap_ok(got == expected, "%s: recorded afresh, on %d threads: equal bits", name, (int)threads);
        if (other.program && got != expected) {
            kit_step a = step_of(dtype, size, 1, 0), b = step_of(dtype, size, threads, 0);
            trace(&a, &b);
            kit_step_free(&a);
            kit_step_free(&b);
        }
        kit_step_free(&other);
    }
    kit_step_free(&first);
}

/* A program does not remember its runs: with the stores put back, the same steps give the same bits. */
static void test_again(ht_dtype dtype)
{
    ht_error error = {0};
    kit_step j = step_of(dtype, (form){2, 3, 16, 8, 1}, 2, 0);
    ht_store *store = ht_store_copy(j.store, dtype, &error), *state = ht_store_copy(j.state, dtype, &error);
    uint64_t once = run_steps(&j), onwards = run_steps(&j);
    ht_store_assign(j.store, store, &error);
    ht_store_assign(j.state, state, &error);
    uint64_t again = run_steps(&j);
    tap_ok(error.status == HT_OK && once == again && once != onwards, "%s: stores put back, the run repeats itself",
           ht_dtype_name(dtype));
    kit_step checked = step_of(dtype, (form){2, 3, 16, 8, 1}, 2, 1);
    tap_ok(run_steps(&checked) == once, "%s: checked and profiled, it gives the same bits", ht_dtype_name(dtype));
    kit_step_free(&checked);
    kit_step_free(&j);
    ht_store_free(store);
    ht_store_free(state);
}

int main(void)
{
    static const form sizes[] = {{2, 3, 16, 8, 1}, {3, 1, 10, 5, 0}, {2, 3, 64, 16, 1}, {1, 3, 64, 16, 0}, {1, 1, 32, 32, 1}};
    ht_error error = {0};
    for (int32_t i = 1; i <= MOST_THREADS; i++) devices[i] = ht_device_open("cpu", i, &error);
    if (!tap_ok(error.status == HT_OK, "devices: %s", error.message)) return tap_done();
    for (int wide = 0; wide < 2; wide++) {
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) test_size(wide ? HT_F64 : HT_F32, sizes[i]);
        test_again(wide ? HT_F64 : HT_F32);
    }
    for (int32_t i = 1; i <= MOST_THREADS; i++) ht_device_close(devices[i]);
    return tap_done();
}
