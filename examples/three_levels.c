/*
 * Three levels with a known answer: L_gan = (G - A)^2 / 2, L_seg = (S - G' A)^2 / 2, L_val = (S' - 1)^2 / 2. The derivative
 * of L_val with respect to A goes through G' and S', and directly through the A in L_seg; mlo gives both, from one reverse
 * pass: 117/5000 and, with the direct term, 117/1000.
 */
#include <math.h>
#include <stdio.h>

#include <ht/mlo.h>

#include "dump.h"

static ht_var value(const mlo_point *at, const char *level)
{
    return nn_parameter(mlo_at(at, level), "value", HT_SCALAR, nn_constant(0));
}

static ht_var half_square(ht_var x) { return ht_scale(ht_square(x), 0.5); }

static ht_var loss_gan(const mlo_point *at, void *context)
{
    (void)context;
    ht_var G = value(at, "G"), A = value(at, "A");
    return half_square(ht_sub(G, A));
}

static ht_var loss_seg(const mlo_point *at, void *context)
{
    (void)context;
    ht_var S = value(at, "S"), G = value(at, "G"), A = value(at, "A");
    return half_square(ht_sub(S, ht_mul(G, A)));
}

static ht_var loss_val(const mlo_point *at, void *context)
{
    (void)context;
    return half_square(ht_offset(value(at, "S"), -1));
}

static nn_scope scalar(ht_tape *tape, ht_store *store, const char *name, double start)
{
    nn_scope s = nn_open(tape, store, .name = name);
    nn_parameter(s, "value", HT_SCALAR, nn_constant(start));
    return s;
}

int main(int argc, char **argv)
{
    ht_error error = {0};
    ht_device *device = ht_device_open("cpu", 1, &error);
    ht_store *G = ht_store_new(device), *S = ht_store_new(device), *A = ht_store_new(device);
    ht_tape *tape = ht_tape_new(HT_F64);

    const mlo_level levels[] = {
        {"G", scalar(tape, G, "G", 0.5), loss_gan, .rate = 0.1},
        {"S", scalar(tape, S, "S", 2.0), loss_seg, .rate = 0.2, .hold = "A"}, /* A has a place of its own in this loss */
        {.name = "A", .scope = scalar(tape, A, "A", 1.5), .loss = loss_val},
    };
    mlo_round round = mlo_record(tape, levels, 3);
    ht_vars results = ht_vars_join(ht_vars_join(round.path, round.direct), round.total);
    if (dumped(argc, argv, tape)) return 0;
    ht_program *program = ht_compile(tape, device, results, .error = &error);
    if (!program) return fprintf(stderr, "%s\n", error.message), 1;

    double path = 0, direct = 0, total = 0;
    ht_run(program);
    ht_get_at(program, 0, &path, 1);
    ht_get_at(program, 1, &direct, 1);
    ht_get_at(program, 2, &total, 1);
    printf("through G' and S' %.16f (117/5000), directly %.16f, total %.16f (117/1000)\n", path, direct, total);

    ht_program_free(program);
    ht_tape_free(tape);
    ht_store_free(G);
    ht_store_free(S);
    ht_store_free(A);
    ht_device_close(device);
    return fabs(path - 117.0 / 5000) < 1e-15 && fabs(total - 117.0 / 1000) < 1e-15 ? 0 : 1;
}
