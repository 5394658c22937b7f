/*
 * What several tests of core and autograd share: numbers by name, "compile, run once, read the outputs", and a small
 * network with a training step of it, for programs that run more than once.
 */
#ifndef TESTS_KIT_H
#define TESTS_KIT_H

#include <ht/nn.h>

/** Number i of a stream, uniform in (-1, 1). */
double kit_uniform(uint64_t stream, int64_t i);
/** Fills with numbers low + (high - low) u of a stream. */
void kit_fill(double *numbers, int64_t count, uint64_t stream, double low, double high);
/** Adds a tensor of random numbers in (low, high) to a store, in the store's type; the index, or -1 and a "not ok". */
int32_t kit_tensor(ht_store *store, const char *name, ht_dtype dtype, ht_shape shape, double low, double high);

/**
 * Compiles the outputs of an f64 tape, runs once, and copies them one after the other into values. 0, and a "not ok"
 * with the message, if anything was refused.
 */
int kit_run(ht_device *device, ht_vars outputs, double *values);

/** |a - b| relative to the larger of |b| and 1. */
double kit_difference(double a, double b);

/** A small U: conv, norm, leaky ReLU | pool, conv, tanh | conv_transpose, concat, dropout, conv. */
typedef struct kit_net {
    int32_t width;
    int32_t peaks;  /* 1: max pooling and ReLU, else average pooling and leaky ReLU */
    double dropout;
} kit_net;
/** Logits [N, 1, H, W] of x [N, C, H, W], H and W even. Parameters stand below the scope. */
ht_var kit_logits(nn_scope scope, ht_var x, kit_net net);

/** Sets a real input of a program to numbers low + (high - low) u of a stream, in the input's type. */
ht_status kit_set(ht_program *program, const char *name, ht_dtype dtype, int64_t count, uint64_t stream, double low, double high);

/** A step of Adam on that network: inputs x [N, C, H, W] and y [N, 1, H, W]; the output is the loss. */
typedef struct kit_step {
    ht_store *store, *state;
    ht_program *program;    /* NULL, and a "not ok" was given, if it could not be compiled */
    ht_dtype dtype;
    ht_shape x;
} kit_step;
typedef struct kit_step_args {
    ht_device *device;
    ht_dtype dtype;
    ht_shape x;
    kit_net net;
    ht_var (*loss)(ht_var logits, ht_var y);
    double steepness;       /* so much of |gradient|^2 is in the loss that is stepped on: second derivatives */
    int32_t check;          /* checked and profiled */
} kit_step_args;
kit_step kit_step_new(kit_step_args args);
/** New x and y in (0, 1), others for each round. */
void kit_step_set(const kit_step *step, uint64_t round);
void kit_step_free(kit_step *step);

#endif
