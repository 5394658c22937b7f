/*
 * Which of the CPU's tables this machine runs: the same kernels stand in the library once for each instruction set that
 * the build was told of (meson.build), best last. This file is compiled for the least machine.
 */
#include <string.h>

#include "backend/backend.h"

#define HTI_TABLE(name) extern const hti_backend hti_backend_cpu_##name;
#include "backend/cpu/tables.def"
#undef HTI_TABLE

/* A set that was asked for by name at configuration (native, custom) is trusted: nothing else is in the library. */
static bool runs_here(const char *instruction_set)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    const bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
                    __builtin_cpu_supports("bmi2");
    if (strcmp(instruction_set, "v3") == 0) return v3;
    if (strcmp(instruction_set, "v4") == 0)
        return v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
#endif
    (void)instruction_set;
    return true;
}

const hti_backend *hti_cpu_backend(const char *name)
{
    static const hti_backend *const tables[] = {
#define HTI_TABLE(name) &hti_backend_cpu_##name,
#include "backend/cpu/tables.def"
#undef HTI_TABLE
    };
    for (size_t i = sizeof tables / sizeof *tables; i-- > 0;) {
        const bool asked = strcmp(name, "cpu") == 0 || strcmp(name, tables[i]->name) == 0;
        if (asked && runs_here(strchr(tables[i]->name, ':') + 1)) return tables[i];
    }
    return NULL;
}
