/*
 * The suite against wrong rules: every derivative rule in turn is made wrong by 1e-4, and the suite has to see it; the same
 * rule left right has to pass. The oracles that know no rule have to see it alone too. On bf16, which has fewer digits, a
 * rule of a product is made wrong by a twentieth.
 */
#include <stdlib.h>
#include <string.h>

#include "gradcheck/suite.h"
#include "tap.h"

#define RELATIVE 1e-4
#define RELATIVE_BF16 0.05

/* How many inputs of the op have a rule that a sample can reach. */
static int32_t inputs_of(const hti_op *op)
{
    int32_t most = 0;
    for (int32_t i = 0; i < op->sample_count; i++)
        if (op->samples[i].inputs > most) most = op->samples[i].inputs;
    return op->inputs == HTI_ANY_INPUTS ? most : op->inputs;
}

static gradcheck_report run(gradcheck_options options, const hti_op *op, int32_t input, double relative)
{
    gradcheck_report report = {0};
    options.only = op->name;
    if (relative != 0) options.plant = (gradcheck_plant){op, input, relative};
    gradcheck_run(&options, &report);
    free(report.row);
    report.row = NULL;
    return report;
}

/* Whether the oracles see the planted rule without the differences and dualities of ht_gradcheck. */
static bool seen_by_oracles(gradcheck_options options, const hti_op *op, int32_t input)
{
    gradcheck_variants list = {0};
    gradcheck_row row = {0};
    options.plant = (gradcheck_plant){op, input, RELATIVE};
    gradcheck_variants_of(op, &list);
    for (int32_t i = 0; i < list.count && row.failed == 0; i++)
        if (!list.at[i].generated) gradcheck_oracles_run(&options, &list.at[i], 3, &row);
    free(list.at);
    return row.failed > 0 && (strstr(row.message, "quad difference") || strstr(row.message, "complex step"));
}

static void test_bf16(gradcheck_options options)
{
    static const hti_op_id products[] = {HTI_OP_conv, HTI_OP_conv_input, HTI_OP_matmul};
    ht_error error = {0};
    gradcheck_report report = {0};
    options.only = GRADCHECK_ROUNDED;
    if (ht_precision_check(options.device, HT_PRECISION_BF16, &error) != HT_OK) {
        tap_skip("wrong rules on bf16: %s", error.message);
        return;
    }
    gradcheck_run(&options, &report);
    tap_ok(report.checks > 6 && report.failed == 0, "bf16: its own rules pass");
    free(report.row);
    for (int32_t i = 0; i < 6; i++) {
        options.plant = (gradcheck_plant){hti_ops[products[i / 2]], i % 2, RELATIVE_BF16};
        gradcheck_run(&options, &report);
        tap_ok(report.failed > 0, "bf16, %s, input %d: %g too much is caught (%d of %d checks)", options.plant.op->name,
               (int)(i % 2), RELATIVE_BF16, (int)report.failed, (int)report.checks);
        free(report.row);
    }
}

int main(void)
{
    ht_error error = {0};
    ht_device *device = ht_device_open("cpu", 1, &error);
    if (!device) return tap_ok(0, "device: %s", error.message), tap_done();
    gradcheck_options options = {.device = device, .seed = 5, .dtype = HT_F64, .effort = 0.2};
    int32_t rules = 0, caught = 0, alone = 0;
    for (int32_t id = 0; id < HTI_OPS; id++) {
        const hti_op *op = hti_ops[id];
        if (op->kind != HTI_POINTWISE && op->kind != HTI_LINEAR && op->kind != HTI_MULTILINEAR) continue;
        tap_ok(run(options, op, 0, 0).failed == 0, "%s: its own rules pass", op->name);
        for (int32_t k = 0; k < inputs_of(op); k++) {
            if (!hti_carries(op, k)) continue;
            gradcheck_report above = run(options, op, k, RELATIVE), below = run(options, op, k, -RELATIVE);
            bool both = above.failed > 0 && below.failed > 0;
            rules++;
            caught += both;
            alone += seen_by_oracles(options, op, k);
            tap_ok(both, "%s, input %d: %g too much and too little are caught (%d and %d of %d checks)", op->name, (int)k,
                   RELATIVE, (int)above.failed, (int)below.failed, (int)above.checks);
        }
    }
    tap_ok(rules > 0 && caught == rules, "%d of %d rules made wrong are caught", (int)caught, (int)rules);
    tap_ok(rules > 0 && alone == rules, "%d of %d are seen by the oracles that know no rule", (int)alone, (int)rules);
    test_bf16(options);
    ht_device_close(device);
    return tap_done();
}
