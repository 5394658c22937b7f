/*
 * MAML (Finn et al. 2017) on sinusoids: weights from which one step of gradient descent on ten points of a new curve
 * leads far. A task's weights are the meta weights plus a shift that begins at zero; all tasks of a batch are one level,
 * whose shifts have a leading axis of tasks. Nothing writes the shifts, so every round begins with new tasks at zero.
 */
#include <math.h>
#include <stdio.h>

#include <ht/mlo.h>

#include "dump.h"
#include "sinusoids.h"

static ht_var adapt(const mlo_point *at, void *context)
{
    const tasks *t = context;
    return loss_on(at, t->x, t->y);
}

static ht_var test(const mlo_point *at, void *context)
{
    const tasks *t = context;
    return loss_on(at, t->x_test, t->y_test);
}

int main(int argc, char **argv)
{
    ht_error error = {0};
    ht_device *device = ht_device_open("cpu", 1, &error);
    ht_store *meta = ht_store_new(device), *shifts = ht_store_new(device), *state = ht_store_new(device);
    ht_tape *tape = ht_tape_new(HT_F32);
    tasks t = draw(nn_count(tape, state, "round"));
    nn_scope M = nn_open(tape, meta), S = nn_open(tape, shifts);
    ht_var unadapted = network(M, S, t.x_test);

    const mlo_level levels[] = {
        {"shift", S, adapt, .rate = 0.03, .context = &t},
        {.name = "meta", .scope = M, .loss = test, .context = &t},
    };
    mlo_round round = mlo_record(tape, levels, 2);
    ht_write(meta, nn_adam(state, nn_params(M), round.total, .rate = 3e-3));
    ht_var before = ht_mean(ht_square(ht_sub(unadapted, t.y_test))), after = ht_scale(round.loss[1], 1.0 / TASKS);
    if (dumped(argc, argv, tape)) return 0;
    ht_program *program = ht_compile(tape, device, ht_list(before, after), .error = &error);
    if (!program) return fprintf(stderr, "%s\n", error.message), 1;

    double first = 0, plain = 0, last = 0; /* means over 100 rounds of new tasks */
    for (int i = 0; i < 1500; i++) {
        float numbers[2] = {0};
        ht_run(program);
        ht_get_at(program, 0, &numbers[0], 1);
        ht_get_at(program, 1, &numbers[1], 1);
        if (i < 100) first += numbers[1] / 100;
        if (i >= 1400) plain += numbers[0] / 100, last += numbers[1] / 100;
    }
    printf("test error after one step on a new curve: %.3f at first, %.3f now; %.3f without the step\n", first, last, plain);
    ht_program_free(program);
    ht_tape_free(tape);
    ht_store_free(meta);
    ht_store_free(shifts);
    ht_store_free(state);
    ht_device_close(device);
    return last < 0.5 * first && last < 0.5 * plain ? 0 : 1;
}
