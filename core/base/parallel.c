/*
 * The parallel loop. Chunks are fixed by n and grain, so a body that writes one result per chunk gives the same bits
 * for every number of threads; which thread runs a chunk is left to OpenMP. Without OpenMP the loop is serial.
 * A loop within a loop is serial too: OpenMP gives the inner one a team of one.
 */
#include "base/internal.h"

void hti_parallel_for(int32_t threads, int64_t n, int64_t grain, hti_body body, void *context)
{
    if (n <= 0) return;
    if (grain < 1) grain = 1;
    int64_t chunks = n / grain + (n % grain != 0);
    int team = (int)(threads < chunks ? threads : chunks);
    if (team <= 1) {
        for (int64_t i = 0; i < chunks; i++) body(context, i * grain, i + 1 < chunks ? (i + 1) * grain : n);
        return;
    }
#pragma omp parallel for num_threads(team) schedule(dynamic, 1)
    for (int64_t i = 0; i < chunks; i++) body(context, i * grain, i + 1 < chunks ? (i + 1) * grain : n);
}
