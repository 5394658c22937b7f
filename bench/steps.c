/* The steps of a compiled program with .profile = 1: their time, and what they read, write and compute in one run. */
#include "bench.h"
#include "plan/profile.h"

int32_t bench_steps(const ht_program *p) { return p->steps.count; }

bench_step bench_step_at(const ht_program *p, int32_t index)
{
    hti_part part = hti_part_at(p, index);
    return (bench_step){.name = part.name, .scope = part.scope, .algorithm = part.algorithm, .bytes = part.bytes,
                        .flop = part.flop, .seconds = part.step->clock.nanoseconds * 1e-9};
}

void bench_steps_clear(ht_program *p)
{
    for (int32_t s = 0; s < p->steps.count; s++) p->steps.at[s].clock = (hti_clock){0};
    p->commit_clock = (hti_clock){0};
}

double bench_order_share(const ht_program *p)
{
    double order = 0, all = 0;
    for (int32_t i = 0; i < hti_part_count(p); i++) {
        hti_part part = hti_part_at(p, i);
        if (part.work == HTI_WORK_ORDER) order += part.nanoseconds;
        all += part.nanoseconds;
    }
    return all > 0 ? order / all : 0;
}
