/*
 * MAML with implicit gradients (Rajeswaran et al. 2019) on the curves of maml.c: a task's shift is trained for thirty steps and
 * held near zero by |shift|^2, so that the meta weights' derivative follows from the place where it ends, by conjugate
 * gradients, whatever the steps were. Before training, methods are compared: unrolling is the derivative of the steps and keeps
 * all of them in memory; the solver tends to that of the minimum, which the steps have not quite reached (residual).
 */
#include <math.h>
#include <stdio.h>

#include <ht/mlo.h>

#include "dump.h"
#include "sinusoids.h"

enum { STEPS = 30, SOLVER_STEPS = 10, ROUNDS = 1200 };
#define PULL 4.0 /* of |shift|^2 / 2 */

typedef struct training {
    ht_store *meta, *shifts, *clock;
    tasks t;
    mlo_level levels[2];
} training;

/* Trained towards the points of the task, and towards zero: the second derivative is PULL more than without. */
static ht_var adapt(const mlo_point *at, void *context)
{
    const training *m = context;
    ht_vars shift = nn_params(mlo_at(at, "shift"));
    ht_var pull = ht_scale(ht_dot(shift, shift), PULL / 2);
    return ht_add(loss_on(at, m->t.x, m->t.y), pull);
}

static ht_var test(const mlo_point *at, void *context)
{
    const training *m = context;
    return loss_on(at, m->t.x_test, m->t.y_test);
}

static mlo_args record(ht_tape *tape, void *context)
{
    training *m = context;
    m->t = draw(nn_count(tape, m->clock, "round"));
    nn_scope meta = nn_open(tape, m->meta), shift = nn_open(tape, m->shifts);
    network(meta, shift, m->t.x);
    m->levels[0] = (mlo_level){"shift", shift, adapt, .rate = 0.01, .context = m, .steps = STEPS, .solver = MLO_CG,
                               .solver_steps = SOLVER_STEPS};
    m->levels[1] = (mlo_level){.name = "meta", .scope = meta, .loss = test, .context = m};
    return (mlo_args){.tape = tape, .levels = m->levels, .count = 2};
}

static double mean_of(ht_program *program, int rounds)
{
    double sum = 0;
    for (int i = 0; i < rounds; i++) {
        float loss = NAN;
        ht_run(program);
        ht_get_at(program, 0, &loss, 1);
        sum += (double)loss / rounds;
    }
    return sum;
}

int main(int argc, char **argv)
{
    static const mlo_variant variants[] = {
        {.name = "unrolled, 400 steps", .steps = 400},
        {.name = "CG, 400 steps", .solver = MLO_CG, .steps = 400, .solver_steps = 20},
        {.name = "Neumann, 400 steps", .solver = MLO_NEUMANN, .steps = 400, .solver_steps = 20},
        {.name = "identity, 400 steps", .solver = MLO_IDENTITY, .steps = 400},
        {.name = "unrolled, 30 steps"},
        {.name = "CG, 30 steps", .solver = MLO_CG},
    };
    enum { VARIANTS = sizeof variants / sizeof variants[0] };
    ht_error error = {0};
    ht_device *device = ht_device_open("cpu", 1, &error);
    training m = {.meta = ht_store_new(device), .shifts = ht_store_new(device), .clock = ht_store_new(device)};
    ht_store *moments = ht_store_new(device);
    ht_tape *tape = ht_tape_new(HT_F32);
    mlo_args problem = record(tape, &m);
    mlo_round round = mlo_record(tape, problem.levels, problem.count);
    ht_write(m.meta, nn_adam(moments, nn_params(m.levels[1].scope), round.total, .rate = 2e-3));
    if (dumped(argc, argv, tape)) return 0;
    ht_program *program = ht_compile(tape, device, ht_list(ht_scale(round.loss[1], 1.0 / TASKS)), .error = &error);
    if (!program) return fprintf(stderr, "%s\n", error.message), 1;
    mlo_row rows[VARIANTS];
    int32_t count = mlo_compare(device, (mlo_problem){record, NULL, &m}, rows, VARIANTS, variants, VARIANTS, .dtype = HT_F32,
                                .error = &error);
    mlo_compare_print(rows, count, stdout);

    double first = mean_of(program, 50);
    mean_of(program, ROUNDS - 100);
    double last = mean_of(program, 50);
    printf("test error after %d steps on a new curve: %.3f at first, %.3f after %d rounds %s\n", STEPS, first, last, ROUNDS,
           error.message);
    ht_program_free(program);
    ht_tape_free(tape);
    ht_store_free(m.meta);
    ht_store_free(m.shifts);
    ht_store_free(m.clock);
    ht_store_free(moments);
    ht_device_close(device);
    int close = count == VARIANTS && rows[1].cosine > 0.95 && 20 * rows[1].arena_bytes < rows[0].arena_bytes;
    return close && last < 0.5 * first ? 0 : 1;
}
