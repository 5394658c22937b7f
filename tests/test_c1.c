/*
 * Two multilevel problems with known answers, through the public interface alone: C1, three levels with a direct term,
 * whose tape is compared with a reviewed text, and C2, the toy of DARTS.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ht/ht.h>

#include "tap.h"

static ht_device *device;

static ht_store *scalar(const char *name, double value)
{
    ht_store *store = ht_store_new(device);
    ht_store_add(store, name, HT_F64, HT_SCALAR, HT_PARAMETER, NULL);
    ht_store_set(store, name, &value, 1, NULL);
    return store;
}

static double value_of(const ht_store *store)
{
    double value = NAN;
    ht_store_get(store, ht_store_name(store, 0), &value, 1, NULL);
    return value;
}

/* w - rate dL/dw, recorded */
static ht_vars step(ht_tape *tape, ht_vars w, ht_var loss, double rate)
{
    return ht_add_scaled(w, ht_grad(loss, w), ht_fill(tape, -rate, HT_SCALAR));
}

static ht_var half_square(ht_var x) { return ht_scale(ht_square(x), 0.5); }

/* ---- the dump ---- */

static char *read_all(FILE *file)
{
    size_t room = 1 << 20;
    char *text = calloc(1, room);
    if (text && file) text[fread(text, 1, room - 1, file)] = 0;
    return text;
}

/* Takes the places out: lines move whenever this file is edited. */
static void strip_places(char *text)
{
    char *to = text;
    int skipping = 0;
    for (const char *from = text; *from; from++) {
        if (strncmp(from, "  @ ", 4) == 0) skipping = 1;
        if (*from == '\n') skipping = 0;
        if (!skipping) *to++ = *from;
    }
    *to = 0;
}

static void check_dump(const ht_tape *tape)
{
    FILE *file = tmpfile(), *golden = fopen(TESTS_FOLDER "/golden/c1.dump", "r");
    if (!tap_ok(file && golden, "the reviewed dump is there")) return;
    ht_dump(tape, file);
    rewind(file);
    char *is = read_all(file), *expected = read_all(golden);
    tap_ok(strstr(is, "test_c1.c:") != NULL, "the dump holds places");
    strip_places(is);
    strip_places(expected);
    int same = strcmp(is, expected) == 0;
    tap_ok(same, "the tape of C1 is the reviewed one");
    if (!same) printf("# the tape is now:\n%s", is);
    free(is);
    free(expected);
    fclose(file);
    fclose(golden);
}

/* ---- C1 ---- */

static void check_number(const char *what, double is, double expected)
{
    tap_ok(fabs(is - expected) <= 1e-15 * fabs(expected), "%s = %.17g, expected %.17g", what, is, expected);
}

static void test_c1(void)
{
    ht_error error = {0};
    ht_store *A = scalar("A", 1.5), *G = scalar("G", 0.5), *S = scalar("S", 2);
    ht_tape *tape = ht_tape_new(HT_F64);
    ht_scope_push(tape, "generator");
    ht_var alpha = ht_read_one(tape, A, "A"), direct = ht_stop(alpha);
    ht_vars g = ht_read(tape, G);
    ht_vars g_next = step(tape, g, half_square(ht_sub(g.at[0], alpha)), 0.1);
    ht_scope_pop(tape);
    ht_scope_push(tape, "segmenter");
    ht_vars s = ht_read(tape, S);
    ht_vars s_next = step(tape, s, half_square(ht_sub(s.at[0], ht_mul(g_next.at[0], direct))), 0.2);
    ht_scope_pop(tape);
    ht_scope_push(tape, "validation");
    ht_var loss = half_square(ht_offset(s_next.at[0], -1));
    ht_vars paths = ht_grad(loss, ht_list(alpha, direct)); /* one pass: Eq. (9), and the direct term */
    ht_scope_pop(tape);
    ht_var total = ht_add(paths.at[0], paths.at[1]);
    ht_write(G, g_next);
    ht_write(S, s_next);
    check_dump(tape);
    ht_program *p = ht_compile(tape, device, ht_list(g_next.at[0], s_next.at[0], paths.at[0], total), .error = &error);
    ht_tape_free(tape);
    if (tap_ok(p != NULL, "C1 compiles: %s", error.message)) {
        static const double expected[4] = {3.0 / 5, 89.0 / 50, 117.0 / 5000, 117.0 / 1000};
        static const char *const name[4] = {"C1: G'", "C1: S'", "C1: the path of Eq. (9)", "C1: the total derivative"};
        tap_ok(ht_run(p) == HT_OK, "C1 runs: %s", ht_program_error(p)->message);
        for (int32_t i = 0; i < 4; i++) {
            double is = NAN;
            ht_get_at(p, i, &is, 1);
            check_number(name[i], is, expected[i]);
        }
        check_number("C1: G in its store", value_of(G), 3.0 / 5);
        check_number("C1: S in its store", value_of(S), 89.0 / 50);
        check_number("C1: A in its store", value_of(A), 1.5);
    }
    ht_program_free(p);
    ht_store_free(A);
    ht_store_free(G);
    ht_store_free(S);
}

/* ---- C2: L_train = (w - a)^2, L_val = a w - 2 a + 1 ---- */

static void test_c2(double xi, double end)
{
    ht_error error = {0};
    ht_store *A = scalar("a", 2), *W = scalar("w", -2);
    ht_tape *tape = ht_tape_new(HT_F64);
    ht_vars a = ht_read(tape, A), w = ht_read(tape, W);
    ht_var train = ht_square(ht_sub(w.at[0], a.at[0]));
    ht_var ahead = step(tape, w, train, xi).at[0];
    ht_var valid = ht_offset(ht_sub(ht_mul(a.at[0], ahead), ht_scale(a.at[0], 2)), 1);
    ht_write(A, step(tape, a, valid, 0.1));
    ht_write(W, step(tape, w, train, 0.25));
    ht_program *p = ht_compile(tape, device, ht_list(valid), .error = &error);
    ht_tape_free(tape);
    if (tap_ok(p != NULL, "C2 compiles: %s", error.message)) {
        for (int i = 0; i < 1000; i++) ht_run(p);
        tap_ok(ht_program_error(p)->status == HT_OK && fabs(value_of(A) - end) < 1e-12 && fabs(value_of(W) - end) < 1e-12,
               "C2: xi = %g ends at (%.15g, %.15g), expected (%g, %g)", xi, value_of(A), value_of(W), end, end);
    }
    ht_program_free(p);
    ht_store_free(A);
    ht_store_free(W);
}

int main(void)
{
    ht_error error = {0};
    device = ht_device_open("cpu", 1, &error);
    if (!tap_ok(device != NULL, "device: %s", error.message)) return tap_done();
    test_c1();
    test_c2(0.5, 1);
    test_c2(0, 2);
    ht_device_close(device);
    return tap_done();
}
