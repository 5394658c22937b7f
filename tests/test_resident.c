/*
 * Memory over a long run: 1,000 outer steps of a bilevel problem, once with one program that is run again and again, once
 * recorded, compiled and freed anew at every step. After a warm-up the resident set grows by less than 1 MB.
 */
#include <stdio.h>
#include <unistd.h>

#include "quadratic.h"
#include "tap.h"

enum { WARM_UP = 50, STEPS = 1000, MOST = 1 << 20 };

static ht_device *device;

/* Bytes of memory that the process holds; -1 where the system does not say. */
static long resident(void)
{
    long pages = -1, all;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file && fscanf(file, "%ld %ld", &all, &pages) != 2) pages = -1;
    if (file) fclose(file);
    return pages < 0 ? -1 : pages * sysconf(_SC_PAGESIZE);
}

/* One round: both levels step, w through its look-ahead, x against the total derivative. NULL and a "not ok" if refused. */
static ht_program *compiled(quadratic *q)
{
    ht_error error = {0};
    ht_tape *tape = ht_tape_new(HT_F64);
    mlo_args args = quadratic_record(tape, q);
    q->level[0].rate = 0.1;
    mlo_round round = mlo_record(tape, args.levels, args.count);
    ht_vars x = ht_read(tape, q->X);
    ht_write(q->W, round.next[0]);
    ht_write(q->X, ht_add_scaled(x, round.total, ht_fill(tape, -0.1, HT_SCALAR)));
    ht_program *program = ht_compile(tape, device, ht_list(round.loss[1]), .error = &error);
    if (!program) tap_ok(0, "a round compiles: %s", error.message);
    ht_tape_free(tape);
    return program;
}

static void test_growth(int anew)
{
    quadratic q = quadratic_make(device, 7, 1);
    uint64_t start = ht_store_hash(q.X);
    long before = 0;
    int ran = 1;
    ht_program *program = compiled(&q);
    for (int i = 0; i < WARM_UP + STEPS && program && ran; i++) {
        if (i == WARM_UP) before = resident();
        if (anew) {
            ht_program_free(program);
            program = compiled(&q);
        }
        ran = program && ht_run(program) == HT_OK;
    }
    long grown = resident() - before;
    tap_ok(ran && ht_store_hash(q.X) != start, "%d outer steps, %s: they run and move the unknowns", STEPS,
           anew ? "each recorded anew" : "one program");
    if (before < 0) tap_skip("the system does not say how much memory a process holds");
    else tap_ok(grown < MOST, "and the resident set grows by %ld bytes", grown);
    ht_program_free(program);
    quadratic_release(&q);
}

int main(void)
{
    ht_error error = {0};
    device = ht_device_open("cpu", 1, &error);
    if (!tap_ok(device != NULL, "device: %s", error.message)) return tap_done();
    test_growth(0);
    test_growth(1);
    ht_device_close(device);
    return tap_done();
}
