/*
 * A Wasserstein GAN with gradient penalty (Gulrajani et al. 2017) on eight Gaussians in a ring. The critic's loss contains its
 * own derivative with respect to points, so its gradient is a derivative of second order. Four steps of the critic and one
 * of the generator are one program; all draws are functions of the round. With --points FILE it writes the last points
 * there as CSV: x, y.
 */
#include <math.h>
#include <stdio.h>

#include <ht/nn.h>

#include "dump.h"

enum { BATCH = 64, WIDTH = 48, NOISE = 4, MODES = 8, CRITIC_STEPS = 4, ROUNDS = 4000, POINTS = 1024 };
#define RADIUS 2.0
#define DEVIATION 0.1

static ht_var hidden(nn_scope s, const char *name, ht_var x) { return ht_leaky_relu(nn_dense(s, name, x, WIDTH), 0.2); }

static ht_var generate(nn_scope s, ht_var noise) { return nn_dense(s, "out", hidden(s, "h2", hidden(s, "h1", noise)), 2); }

static ht_var criticise(nn_scope s, ht_var points) { return nn_dense(s, "out", hidden(s, "h2", hidden(s, "h1", points)), 1); }

/* Points of the ring: a mode for each case, and a deviation from it. */
static ht_var ring(ht_var round, const char *stream, const char *mode_stream)
{
    ht_var u = ht_uniform(round.tape, HT_SHAPE(BATCH, 1), round, .stream = mode_stream);
    ht_var angle = ht_scale(ht_round(ht_affine(u, MODES, -0.5)), 2 * 3.14159265358979 / MODES);
    ht_var east = ht_cos(angle), north = ht_sin(angle), centre = ht_scale(ht_concat(1, ht_list(east, north)), RADIUS);
    return ht_add(centre, ht_scale(ht_normal(round.tape, HT_SHAPE(BATCH, 2), round, .stream = stream), DEVIATION));
}

static ht_var noise_of(ht_var round, const char *stream, int64_t count)
{
    return ht_normal(round.tape, HT_SHAPE(count, NOISE), round, .stream = stream);
}

/* One step of the critic, on draws of its own; its weights in the store move on. */
static ht_var critic_step(nn_scope C, nn_scope G, ht_store *store, ht_store *moments, ht_var round, int k)
{
    static const char *const streams[CRITIC_STEPS][3] = {{"noise 0", "ring 0", "modes 0"}, {"noise 1", "ring 1", "modes 1"},
                                                         {"noise 2", "ring 2", "modes 2"}, {"noise 3", "ring 3", "modes 3"}};
    ht_var fake = ht_stop(generate(G, noise_of(round, streams[k][0], BATCH))), real = ring(round, streams[k][1], streams[k][2]);
    nn_scope here = nn_draw(C, streams[k][0]);
    ht_var between = nn_between(here, "mix", real, fake);
    ht_var penalty = nn_gradient_penalty(criticise(here, between), between, 1);
    ht_var price = ht_scale(penalty, 0.2), of_fake = criticise(here, fake);
    ht_var loss = ht_add(nn_critic_loss(criticise(here, real), of_fake), price);
    ht_vars w = nn_params(here);
    ht_write(store, nn_adam(moments, w, ht_grad(loss, w), .rate = 2e-3, .beta1 = 0.5, .beta2 = 0.9));
    return loss;
}

/* How many modes have at least a quarter of their share of the points, and the share of points near any mode. */
static int covered(const float *points, double *near)
{
    int count[MODES] = {0}, modes = 0;
    *near = 0;
    for (int i = 0; i < POINTS; i++)
        for (int m = 0; m < MODES; m++) {
            double dx = (double)points[2 * i] - RADIUS * cos(2 * 3.14159265358979 * m / MODES);
            double dy = (double)points[2 * i + 1] - RADIUS * sin(2 * 3.14159265358979 * m / MODES);
            if (dx * dx + dy * dy > 16 * DEVIATION * DEVIATION) continue;
            count[m]++;
            *near += 1.0 / POINTS;
        }
    for (int m = 0; m < MODES; m++) modes += count[m] * MODES * 4 >= POINTS;
    return modes;
}

static int write_points(const char *path, const float *points)
{
    FILE *file = fopen(path, "w");
    if (!file) return 0;
    fprintf(file, "x,y\n");
    for (int i = 0; i < POINTS; i++) fprintf(file, "%.4f,%.4f\n", (double)points[2 * i], (double)points[2 * i + 1]);
    return fclose(file) == 0;
}

int main(int argc, char **argv)
{
    ht_error error = {0};
    ht_device *device = ht_device_open("cpu", 1, &error);
    ht_store *critic = ht_store_new(device), *generator = ht_store_new(device);
    ht_store *critic_moments = ht_store_new(device), *moments = ht_store_new(device), *clock = ht_store_new(device);
    ht_tape *tape = ht_tape_new(HT_F32);
    ht_var round = nn_count(tape, clock, "round"), loss = {0};
    nn_scope G = nn_open(tape, generator, .name = "generator", .seed = 1), C = {0};
    for (int k = 0; k < CRITIC_STEPS; k++) {
        C = nn_open(tape, critic, .name = "critic", .seed = 2, .step = round); /* anew, for the weights have moved */
        loss = critic_step(C, G, critic, critic_moments, round, k);
    }
    C = nn_open(tape, critic, .name = "critic");
    ht_var fake = generate(G, noise_of(round, "noise", BATCH));
    ht_var score = ht_neg(ht_mean(criticise(nn_at(C, nn_params(C), .hold = 1), fake)));
    ht_vars g = nn_params(G);
    ht_write(generator, nn_adam(moments, g, ht_grad(score, g), .rate = 1e-3, .beta1 = 0.5, .beta2 = 0.9));
    ht_var made = generate(G, noise_of(ht_cast(ht_fill(tape, 0, HT_SCALAR), HT_I32), "picture", POINTS));
    if (dumped(argc, argv, tape)) return 0;

    ht_program *step = ht_compile(tape, device, ht_list(loss), .error = &error);
    ht_program *look = ht_compile(tape, device, ht_list(loss, made), .error = &error);
    if (!step || !look) return fprintf(stderr, "%s\n", error.message), 1;
    static float points[2 * POINTS];
    float distance = 0;
    double near = 0;
    for (int i = 0; i + 1 < ROUNDS; i++) ht_run(step);
    ht_run(look);
    ht_get_at(look, 0, &distance, 1);
    ht_get_at(look, 1, points, 2 * POINTS);
    int modes = covered(points, &near), written = argc != 3 || strcmp(argv[1], "--points") || write_points(argv[2], points);
    printf("after %d rounds: %d of %d modes, %.0f %% of the points near one; critic's loss %.3f%s\n", ROUNDS, modes, MODES,
           100 * near, (double)distance, written ? "" : "; the file could not be written");
    ht_program_free(step);
    ht_program_free(look);
    ht_tape_free(tape);
    ht_store *const stores[] = {critic, generator, critic_moments, moments, clock};
    for (int i = 0; i < 5; i++) ht_store_free(stores[i]);
    ht_device_close(device);
    return modes == MODES && near > 0.6 && written ? 0 : 1;
}
