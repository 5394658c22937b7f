/*
 * Benchmark problem C8 by the code of the example itself, which is part of this test: the exact derivative against
 * differences of the whole procedure, and each method's distance from it against numbers that scripts/check_tables.py
 * found without this library.
 */
#include <string.h>

int example_main(int count, char **argument);
#define main example_main
#include "../examples/logistic.c"
#undef main

#include "tap.h"

static const double known[IMPLICIT + UNROLLED] = {0.9292777125979383, 0.964420957774939, 0.7274668579700376, 0.4686156078192383,
                                                  0.1734080011939967, 0.5520575989016198, 0.049869317970690094,
                                                  0.00018593973281916894, 0, /* rounding */
                                                  0.8697080890843307, 0.25740638389141635, 2.9747525513170467e-05};

/* The loss with the penalties moved along a direction, the lower level solved anew. */
static double moved(ht_device *device, regression *r, const double direction[FEATURES], double distance, ht_error *error)
{
    double loss = NAN, residual = NAN, unused[FEATURES], *theta = ht_store_data(r->penalties, 0);
    for (int i = 0; i < FEATURES; i++) theta[i] = -4 + distance * direction[i];
    solve(device, r, &loss, unused, &residual, error);
    for (int i = 0; i < FEATURES; i++) theta[i] = -4;
    return loss;
}

/* Central differences of two distances, extrapolated: mlo_check would see the end of conjugate gradients as a kink. */
static void check_differences(ht_device *device, regression *r, const double exact[FEATURES])
{
    for (int k = 0; k < 3; k++) {
        ht_error error = {0};
        double direction[FEATURES], slope = 0, size = 0, h = 0.02;
        for (int i = 0; i < FEATURES; i++) {
            direction[i] = sin(1 + 7 * i + 3 * k);
            slope += direction[i] * exact[i];
            size += fabs(direction[i] * exact[i]);
        }
        double far = (moved(device, r, direction, h, &error) - moved(device, r, direction, -h, &error)) / (2 * h);
        double near = (moved(device, r, direction, h / 2, &error) - moved(device, r, direction, -h / 2, &error)) / h;
        double difference = (4 * near - far) / 3;
        tap_ok(error.status == HT_OK && fabs(difference - slope) < 1e-8 * size,
               "direction %d: slope %.12g, by differences %.12g, off by %.1e of its size %s", k, slope, difference,
               fabs(difference - slope) / size, error.message);
    }
}

static void check_reference(ht_device *device, regression *r, const double exact[FEATURES])
{
    mlo_problem problem = {record, NULL, r};
    mlo_row row;
    ht_error error = {0};
    int32_t count = mlo_compare(device, problem, &row, 1, implicit, 1, .reference = exact, .reference_count = FEATURES - 1,
                                .error = &error);
    tap_ok(count == -1 && error.status == HT_EINVALID && strstr(error.message, "30 numbers, the reference has 29"),
           "a reference of another size is refused: %s", error.message);
}

int main(void)
{
    ht_error error = {0};
    ht_device *device = ht_device_open("cpu", 1, &error);
    regression r = {.tables = ht_store_new(device), .weights = ht_store_new(device), .penalties = ht_store_new(device)};
    double loss = NAN, residual = NAN, exact[FEATURES] = {0}, square = 0;
    mlo_row rows[IMPLICIT + UNROLLED];
    load(r.tables, TESTS_FOLDER "/../examples/data", &error);
    if (!tap_ok(error.status == HT_OK, "the tables are read %s", error.message)) return tap_done();
    solve(device, &r, &loss, exact, &residual, &error);
    tap_ok(error.status == HT_OK && residual < 1e-14, "the lower level is solved, but for %.1e %s", residual, error.message);
    for (int i = 0; i < FEATURES; i++) square += exact[i] * exact[i];
    tap_ok(fabs(loss - 0.09599757906) < 1e-11, "L_val = %.10g", loss);
    tap_ok(fabs(sqrt(square) - 0.009705604243) < 1e-12, "norm of its derivative %.10g", sqrt(square));
    int32_t made = compare(device, &r, exact, rows, &error);
    tap_ok(made == IMPLICIT + UNROLLED, "%d methods %s", (int)made, error.message);
    for (int32_t i = 0; i < made; i++)
        tap_ok(fabs(rows[i].error - known[i]) <= 1e-7 * known[i] + 1e-10, "%s is off by %.6g", rows[i].name, rows[i].error);
    check_reference(device, &r, exact);
    check_differences(device, &r, exact);
    ht_store_free(r.tables);
    ht_store_free(r.weights);
    ht_store_free(r.penalties);
    ht_device_close(device);
    return tap_done();
}
