/*
 * Curves y = height sin(x + phase) to be learned from ten points of each, for maml.c and imaml.c: the tasks, and a network
 * whose weights are the meta weights plus a task's shift. All tasks of a batch stand along a leading axis.
 */
#ifndef EXAMPLES_SINUSOIDS_H
#define EXAMPLES_SINUSOIDS_H

#include <ht/mlo.h>

enum { TASKS = 8, POINTS = 10, WIDTH = 24 };

typedef struct tasks {
    ht_var x, y, x_test, y_test; /* [TASKS, POINTS, 1] */
} tasks;

static inline ht_var uniform(ht_var round, const char *stream, int64_t points, double low, double high)
{
    ht_var u = ht_uniform(round.tape, HT_SHAPE(TASKS, points, 1), round, .stream = stream);
    return ht_affine(u, high - low, low);
}

static inline tasks draw(ht_var round)
{
    ht_var height = uniform(round, "height", 1, 0.5, 3), phase = uniform(round, "phase", 1, 0, 3.1);
    tasks t = {.x = uniform(round, "x", POINTS, -4, 4), .x_test = uniform(round, "x_test", POINTS, -4, 4)};
    t.y = ht_mul(height, ht_sin(ht_add(t.x, phase)));
    t.y_test = ht_mul(height, ht_sin(ht_add(t.x_test, phase)));
    return t;
}

/* A layer's weights of every task: [TASKS, rows, columns]. */
static inline ht_var adapted(nn_scope meta, nn_scope shift, const char *name, int64_t rows, int64_t columns, double spread)
{
    ht_var shared = nn_parameter(meta, name, HT_SHAPE(1, rows, columns), nn_normal(spread));
    return ht_add(shared, nn_parameter(shift, name, HT_SHAPE(TASKS, rows, columns), nn_constant(0)));
}

static inline ht_var network(nn_scope meta, nn_scope shift, ht_var x)
{
    ht_var w1 = adapted(meta, shift, "w1", 1, WIDTH, 1), b1 = adapted(meta, shift, "b1", 1, WIDTH, 1);
    ht_var w2 = adapted(meta, shift, "w2", WIDTH, WIDTH, 0.3), b2 = adapted(meta, shift, "b2", 1, WIDTH, 0.3);
    ht_var w3 = adapted(meta, shift, "w3", WIDTH, 1, 0.3);
    ht_var h = ht_tanh(ht_add(ht_mul(x, w1), b1));
    return ht_matmul(ht_tanh(ht_add(ht_matmul(h, w2), b2)), w3);
}

/* The sum over tasks of each task's mean: no task's step depends on another. */
static inline ht_var loss_on(const mlo_point *at, ht_var x, ht_var y)
{
    ht_var off = ht_sub(network(mlo_at(at, "meta"), mlo_at(at, "shift"), x), y);
    return ht_scale(ht_mean(ht_square(off)), TASKS);
}

#endif
