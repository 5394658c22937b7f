/* Devices: a name, a number of threads and the backend that the planner takes kernels from. No memory of its own. */
#ifdef _OPENMP
#include <omp.h>
#endif
#include <stdlib.h>
#include <string.h>

#include "backend/backend.h"
#include "store/internal.h"

#define MOST_THREADS 1024

struct ht_device {
    const struct hti_backend *backend;
    int32_t threads;
};

static int32_t offered_threads(void)
{
#ifdef _OPENMP
    int offered = omp_get_max_threads();
    return offered < 1 ? 1 : offered > MOST_THREADS ? MOST_THREADS : offered;
#else
    return 1;
#endif
}

ht_device *ht_device_open(const char *name, int32_t threads, ht_error *error)
{
    const hti_backend *backend = name ? hti_cpu_backend(name) : NULL;
    if (!backend) {
        ht_fail(error, HT_EDEVICE, "device \"%.64s\": not in this build, or not on this machine; expected \"cpu\"",
                name ? name : "");
        return NULL;
    }
    if (threads < 0 || threads > MOST_THREADS) {
        ht_fail(error, HT_EINVALID, "device \"%s\": %d threads asked for; expected 0 (what OpenMP offers) to %d",
                backend->name, (int)threads, MOST_THREADS);
        return NULL;
    }
    ht_device *device = malloc(sizeof *device);
    if (!device) {
        ht_fail(error, HT_ENOMEM, "device \"%s\": no memory for its record; free some and try again", backend->name);
        return NULL;
    }
    *device = (ht_device){.backend = backend, .threads = threads ? threads : offered_threads()};
    return device;
}

void ht_device_close(ht_device *device) { free(device); }

const char *ht_device_name(const ht_device *device) { return device->backend->name; }

int32_t ht_device_threads(const ht_device *device) { return device->threads; }

const struct hti_backend *hti_device_backend(const ht_device *device) { return device->backend; }
