/*
 * The suite of ht-gradcheck over the whole registry, with few draws: orders 1 to 3 by four oracles in f64, first order and
 * value in f32 against f64, calls that must be refused, with their words. An op without samples does not pass.
 */
#include <stdlib.h>
#include <string.h>

#include "gradcheck/suite.h"
#include "tap.h"

#define FEWEST 200 /* checks of an op that has a rule, in the full run; here a share of it */
#define EFFORT 0.25

static void run(ht_device *device, ht_dtype dtype)
{
    gradcheck_options options = {.device = device, .seed = 3, .dtype = dtype, .effort = EFFORT};
    gradcheck_report report;
    int64_t pointwise = 0;
    const char *type = ht_dtype_name(dtype);
    if (!tap_ok(gradcheck_run(&options, &report), "the suite runs in %s", type)) return;
    for (int32_t i = 0; i < report.count; i++) {
        const gradcheck_row *row = &report.row[i];
        bool ruled = !row->op || (row->op != &gradcheck_compositions && row->op->kind != HTI_CONSTANT);
        ruled = ruled && strcmp(row->name, GRADCHECK_ROUNDED) != 0; /* where bf16 is refused there is one check */
        bool enough = dtype == HT_F32 || !ruled || (double)row->checks >= EFFORT * FEWEST;
        if (row->op && row->op->kind == HTI_POINTWISE) pointwise += row->checks;
        tap_ok(row->checks > 0 && row->failed == 0 && row->skipped == 0 && enough, "%s in %s: %d checks, worst %.2g %s",
               row->name, type, (int)row->checks, row->worst, row->message);
    }
    tap_ok(dtype == HT_F32 || 10 * pointwise <= 4 * report.checks, "%d of %d checks are of pointwise ops", (int)pointwise,
           (int)report.checks);
    free(report.row);
}

int main(void)
{
    ht_error error = {0};
    ht_device *device = ht_device_open("cpu", 1, &error);
    if (!device) return tap_ok(0, "device: %s", error.message), tap_done();
    run(device, HT_F64);
    run(device, HT_F32);
    ht_device_close(device);
    return tap_done();
}
