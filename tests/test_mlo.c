/*
 * Multilevel optimisation on problems with known answers: the closed-form case of three levels (C1), the approximation by
 * finite differences beside the exact derivative, and everything that is refused before anything is differentiated, by
 * messages that name level, unknown and place.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <ht/mlo.h>

#include "tap.h"

static ht_device *device;

enum { LEVELS = 3 };

/* What is planted on the way from the generator's unknown to the segmenter's loss. */
typedef enum plant {
    PLANT_NONE, PLANT_STOP, PLANT_ROUND, PLANT_SIGN, PLANT_ARGMAX, PLANT_CAST, PLANT_STOP_EARLY, PLANT_HALF
} plant;

/* Three levels on stores of their own. */
typedef struct problem {
    ht_store *store[LEVELS];
    ht_tape *tape;
    nn_scope scope[LEVELS];
    const char *asked; /* the level by which the last loss finds S */
    plant planted;
    int wide;          /* 0: numbers of C1; 1: vectors with tanh in between */
} problem;

static const char *const names[LEVELS] = {"generator", "segmenter", "architecture"};

static ht_var unknown(nn_scope s, const problem *p)
{
    return p->wide ? nn_parameter(s, "w", HT_SHAPE(4), nn_normal(0.5)) : nn_parameter(s, "w", HT_SCALAR);
}

static ht_var half_square(ht_var x) { return ht_scale(ht_sum(ht_square(x)), 0.5); }

static ht_var plant_on(ht_var x, plant what)
{
    switch (what) {
    case PLANT_STOP: return ht_stop(x);
    case PLANT_ROUND: return ht_round(x);
    case PLANT_SIGN: return ht_sign(x);
    case PLANT_ARGMAX: return ht_cast(ht_argmax(ht_reshape(x, HT_SHAPE(1)), 0), HT_F64);
    case PLANT_CAST: return ht_cast(ht_cast(x, HT_I32), HT_F64);
    default: return x;
    }
}

/* (G - A)^2 / 2 */
static ht_var loss_generator(const mlo_point *at, void *context)
{
    const problem *p = context;
    ht_var a = unknown(mlo_at(at, "architecture"), p), g = unknown(mlo_at(at, "generator"), p);
    if (p->planted == PLANT_STOP_EARLY) a = ht_stop(a);
    if (p->planted == PLANT_HALF) a = ht_add(ht_scale(a, 0.5), ht_scale(ht_stop(a), 0.5));
    return p->wide ? half_square(ht_sub(ht_tanh(ht_mul(g, a)), ht_sin(ht_add(g, a)))) : half_square(ht_sub(g, a));
}

/* (S - G' A)^2 / 2 */
static ht_var loss_segmenter(const mlo_point *at, void *context)
{
    const problem *p = context;
    ht_var a = unknown(mlo_at(at, "architecture"), p), g = unknown(mlo_at(at, "generator"), p);
    ht_var image = ht_reshape(plant_on(ht_mul(g, a), p->planted), p->wide ? HT_SHAPE(4) : HT_SCALAR);
    ht_var s = unknown(mlo_at(at, "segmenter"), p);
    return p->wide ? half_square(ht_sub(ht_tanh(ht_mul(s, s)), ht_sin(image))) : half_square(ht_sub(s, image));
}

/* (S' - 1)^2 / 2 */
static ht_var loss_architecture(const mlo_point *at, void *context)
{
    const problem *p = context;
    ht_var s = unknown(mlo_at(at, p->asked), p);
    return half_square(p->wide ? ht_exp(s) : ht_offset(s, -1));
}

static void set_level(problem *p, mlo_level levels[LEVELS], int i, double rate)
{
    static ht_var (*const losses[LEVELS])(const mlo_point *, void *) = {loss_generator, loss_segmenter, loss_architecture};
    levels[i] = (mlo_level){.name = names[i], .scope = p->scope[i], .loss = losses[i], .rate = rate, .context = p};
}

static void open_problem(problem *p, mlo_level levels[LEVELS], int wide)
{
    static const double start[LEVELS] = {0.5, 2, 1.5}, rate[LEVELS] = {0.1, 0.2, 0};
    ht_error error = {HT_OK, ""};
    *p = (problem){.tape = ht_tape_new(HT_F64), .asked = "segmenter", .wide = wide};
    for (int i = 0; i < LEVELS; i++) {
        p->store[i] = ht_store_new(device);
        p->scope[i] = nn_open(p->tape, p->store[i], .name = names[i], .seed = (uint64_t)i + 1);
        unknown(p->scope[i], p);
        if (!wide) ht_store_set(p->store[i], "w", &start[i], 1, &error);
        set_level(p, levels, i, rate[i]);
    }
    levels[1].hold = "architecture";
    if (error.status != HT_OK) tap_ok(0, "three levels: %s", error.message);
}

static void close_problem(problem *p)
{
    ht_tape_free(p->tape);
    for (int i = 0; i < LEVELS; i++) ht_store_free(p->store[i]);
}

/* Runs a recorded round once and gets its lists: path, direct, total. */
static int numbers(problem *p, const mlo_round *round, double *path, double *direct, double *total)
{
    ht_error error = {HT_OK, ""};
    int32_t count = p->wide ? 4 : 1;
    ht_vars all = ht_vars_join(round->path, ht_vars_join(round->direct, round->total));
    ht_program *program = ht_compile(p->tape, device, all, .error = &error);
    int good = program && ht_run(program) == HT_OK && ht_get(program, round->path.at[0], path, count) == HT_OK &&
               ht_get(program, round->total.at[0], total, count) == HT_OK &&
               (round->direct.count == 0 || ht_get(program, round->direct.at[0], direct, count) == HT_OK);
    if (!good) tap_ok(0, "the round runs: %s", program ? ht_program_error(program)->message : error.message);
    ht_program_free(program);
    return good;
}

static void test_closed_form(void)
{
    problem p;
    mlo_level levels[LEVELS];
    ht_error error = {HT_OK, ""};
    open_problem(&p, levels, 0);
    mlo_round r = mlo_record(p.tape, levels, LEVELS);
    tap_ok(ht_tape_error(p.tape)->status == HT_OK, "C1 is recorded: %s", ht_tape_error(p.tape)->message);
    ht_vars all = ht_list(r.next[0].at[0], r.next[1].at[0], r.path.at[0], r.direct.at[0], r.total.at[0], r.loss[2]);
    ht_program *program = ht_compile(p.tape, device, all, .error = &error);
    static const double expected[6] = {3.0 / 5, 89.0 / 50, 117.0 / 5000, 117.0 / 1000 - 117.0 / 5000, 117.0 / 1000,
                                       0.5 * (89.0 / 50 - 1) * (89.0 / 50 - 1)};
    static const char *const words[6] = {"G'", "S'", "eq9", "direct", "total", "L_val"};
    if (!tap_ok(program && ht_run(program) == HT_OK, "and runs: %s", error.message)) return;
    for (int i = 0; i < 6; i++) {
        double value = NAN;
        ht_get_at(program, i, &value, 1);
        tap_ok(fabs(value - expected[i]) <= 1e-15, "C1, %s: %.17g, expected %.17g", words[i], value, expected[i]);
    }
    tap_ok(strcmp(r.path.names[0], "w") == 0 && strcmp(r.total.names[0], "w") == 0, "lists carry the unknowns' names");
    ht_program_free(program);
    close_problem(&p);
}

/* Nothing held: path is the total derivative and there is no direct part. */
static void test_nothing_held(void)
{
    problem p;
    mlo_level levels[LEVELS];
    double path[4], direct[4], total[4];
    open_problem(&p, levels, 0);
    levels[1].hold = NULL;
    mlo_round r = mlo_record(p.tape, levels, LEVELS);
    if (numbers(&p, &r, path, direct, total))
        tap_ok(r.direct.count == 0 && fabs(total[0] - 0.117) <= 1e-15 && total[0] == path[0],
               "nothing held: one list, %.17g", total[0]);
    close_problem(&p);
}

/* A stop in a loss is not the place where mlo holds the same values: what is cut there is in no list at all. */
static void test_stop_beside_hold(void)
{
    for (int method = MLO_UNROLL; method <= MLO_FINITE_DIFFERENCE; method++) {
        problem p;
        mlo_level levels[LEVELS];
        double path = NAN, direct = NAN, total = NAN;
        open_problem(&p, levels, 0);
        p.planted = PLANT_HALF;
        mlo_round r = mlo_record(p.tape, levels, LEVELS, .method = (mlo_method)method);
        if (numbers(&p, &r, &path, &direct, &total))
            tap_ok(fabs(path - 0.0117) <= 1e-12 && fabs(direct - 0.0936) <= 1e-12,
                   "half of A stopped in L_gan: eq9 %.15g, direct %.15g", path, direct);
        close_problem(&p);
    }
}

/* A step of the level's own: 2 w - (w + rate g), which is w - rate g by another name and must be looked through. */
static ht_vars own_step(ht_vars w, ht_vars g, void *context)
{
    (void)context;
    ht_var one = ht_fill(w.at[0].tape, 1, HT_SCALAR), rate = ht_fill(w.at[0].tape, 0.5, HT_SCALAR);
    return ht_add_scaled(ht_add_scaled(w, w, one), ht_add_scaled(w, g, rate), ht_neg(one));
}

static void test_look_ahead(void)
{
    double path[4], direct[4], total[4], own[4];
    for (int i = 0; i < 2; i++) {
        problem p;
        mlo_level levels[LEVELS];
        open_problem(&p, levels, 1);
        if (i == 0) levels[0].rate = levels[1].rate = 0.5;
        else levels[0].step = levels[1].step = own_step;
        mlo_round r = mlo_record(p.tape, levels, LEVELS, .look_ahead = i ? MLO_OPTIMIZER : MLO_SGD);
        if (!numbers(&p, &r, path, direct, i ? own : total)) return;
        close_problem(&p);
    }
    double off = 0;
    for (int k = 0; k < 4; k++) off = fmax(off, fabs(own[k] - total[k]) / fabs(total[k]));
    tap_ok(off <= 1e-13, "a level's own step is looked through: %.1e", off);
}

static void test_finite_difference(void)
{
    double exact[3][4] = {{0}}, near[3][4] = {{0}};
    for (int wide = 0; wide < 2; wide++) {
        double off = 0;
        problem p;
        mlo_level levels[LEVELS];
        open_problem(&p, levels, wide);
        mlo_round r = mlo_record(p.tape, levels, LEVELS);
        if (!numbers(&p, &r, exact[0], exact[1], exact[2])) return;
        close_problem(&p);
        open_problem(&p, levels, wide);
        r = mlo_record(p.tape, levels, LEVELS, .method = MLO_FINITE_DIFFERENCE, .radius = 1e-4);
        tap_ok(ht_tape_error(p.tape)->status == HT_OK, "finite differences are recorded: %s", ht_tape_error(p.tape)->message);
        if (!numbers(&p, &r, near[0], near[1], near[2])) return;
        close_problem(&p);
        for (int list = 0; list < 3; list++)
            for (int k = 0; k < (wide ? 4 : 1); k++)
                off = fmax(off, fabs(near[list][k] - exact[list][k]) / fabs(exact[list][k]));
        tap_ok(off <= 1e-6 && (!wide || off > 0), "they are close on a %s problem, path, direct and total: %.1e",
               wide ? "smooth" : "quadratic", off);
    }
}

static void test_none(void)
{
    problem p;
    mlo_level levels[LEVELS];
    open_problem(&p, levels, 0);
    mlo_round r = mlo_record(p.tape, levels, LEVELS, .method = MLO_NONE);
    tap_ok(ht_tape_error(p.tape)->status == HT_OK && r.path.count == 0 && !ht_ok(r.loss[2]) && r.next[1].count == 1,
           "without a derivative the steps are recorded, and no last loss");
    close_problem(&p);
}

/* ---- refusals ---- */

static void expect(problem *p, const char *const words[], int count, const char *what)
{
    const ht_error *e = ht_tape_error(p->tape);
    int good = e->status == HT_EINVALID && strchr(e->message, ':') != NULL;
    for (int i = 0; i < count; i++) good = good && strstr(e->message, words[i]) != NULL;
    tap_ok(good, "%s: %s", what, e->message);
    close_problem(p);
}

static void test_cut_paths(void)
{
    static const struct { plant planted; const char *word, *what; } table[] = {
        {PLANT_STOP, "stop", "stop on the generated image"},   {PLANT_ROUND, "round", "round()"},
        {PLANT_SIGN, "sign", "sign()"},                        {PLANT_ARGMAX, "argmax", "argmax"},
        {PLANT_CAST, "truncate", "a cast to integers"}};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        for (int method = MLO_UNROLL; method <= MLO_FINITE_DIFFERENCE; method++) {
            problem p;
            mlo_level levels[LEVELS];
            open_problem(&p, levels, 0);
            p.planted = table[i].planted;
            mlo_record(p.tape, levels, LEVELS, .method = (mlo_method)method);
            const char *const words[] = {"architecture", "\"w\"", "test_mlo.c:", table[i].word};
            expect(&p, words, 4, table[i].what);
        }
}

/* Eq. (9) has one edge less: cut there, the direct edge alone must not do. And the other way round. */
static void test_one_edge_is_not_enough(void)
{
    static const char *const words[] = {"architecture", "\"w\"", "test_mlo.c:"};
    problem p;
    mlo_level levels[LEVELS];
    open_problem(&p, levels, 0);
    p.planted = PLANT_STOP_EARLY;
    mlo_record(p.tape, levels, LEVELS);
    expect(&p, words, 3, "the generator's loss sees a stopped architecture");
    open_problem(&p, levels, 0);
    levels[1].hold = NULL;
    levels[0].hold = "architecture"; /* then the held edge goes through G', and the other one through the image */
    p.planted = PLANT_STOP;
    mlo_record(p.tape, levels, LEVELS);
    expect(&p, words, 3, "both edges end in one stop");
}

/* A last loss that does not see S' at all. */
static ht_var loss_elsewhere(const mlo_point *at, void *context)
{
    (void)at;
    const problem *p = context;
    return half_square(ht_fill(p->tape, 2, HT_SCALAR));
}

static void test_wrong_levels(void)
{
    problem p;
    mlo_level levels[LEVELS], nine[MLO_LEVELS_MAX + 1];

    open_problem(&p, levels, 0);
    levels[1].name = "generator";
    mlo_record(p.tape, levels, LEVELS);
    expect(&p, (const char *const[]){"\"generator\"", "test_mlo.c:"}, 2, "two levels of one name");

    open_problem(&p, levels, 0);
    levels[1].scope = p.scope[0];
    mlo_record(p.tape, levels, LEVELS);
    expect(&p, (const char *const[]){"\"generator\"", "\"segmenter\"", "test_mlo.c:"}, 3, "two levels on one store");

    open_problem(&p, levels, 0);
    p.asked = "segmentor";
    mlo_record(p.tape, levels, LEVELS);
    expect(&p, (const char *const[]){"\"architecture\"", "\"segmentor\"", "test_mlo.c:"}, 3, "a level that is not there");

    open_problem(&p, levels, 0);
    levels[1].hold = "generator";
    mlo_record(p.tape, levels, LEVELS);
    expect(&p, (const char *const[]){"\"segmenter\"", "\"generator\"", "test_mlo.c:"}, 3, "holding a level that is not the last");

    open_problem(&p, levels, 0);
    levels[1].hold = "architektur";
    mlo_record(p.tape, levels, LEVELS);
    expect(&p, (const char *const[]){"\"segmenter\"", "\"architektur\"", "test_mlo.c:"}, 3, "holding a level that is not there");

    open_problem(&p, levels, 0);
    levels[0].before = "segmenter";
    mlo_record(p.tape, levels, LEVELS);
    expect(&p, (const char *const[]){"\"generator\"", "\"segmenter\"", "test_mlo.c:"}, 3, "coming before a higher level");

    open_problem(&p, levels, 0);
    levels[1].loss = NULL;
    mlo_record(p.tape, levels, LEVELS);
    expect(&p, (const char *const[]){"\"segmenter\"", "test_mlo.c:"}, 2, "a level without a loss");

    open_problem(&p, levels, 0);
    levels[2].loss = loss_elsewhere;
    mlo_record(p.tape, levels, LEVELS);
    expect(&p, (const char *const[]){"\"w\"", "\"architecture\"", "no path"}, 3, "a last loss that sees nothing");

    open_problem(&p, levels, 0);
    mlo_record(p.tape, levels, 1);
    expect(&p, (const char *const[]){"1 level", "test_mlo.c:"}, 2, "one level");

    open_problem(&p, levels, 0);
    for (int i = 0; i <= MLO_LEVELS_MAX; i++) nine[i] = levels[i % LEVELS];
    mlo_record(p.tape, nine, MLO_LEVELS_MAX + 1);
    expect(&p, (const char *const[]){"9 levels", "test_mlo.c:"}, 2, "too many levels");
}

int main(void)
{
    ht_error error = {HT_OK, ""};
    device = ht_device_open("cpu", 1, &error);
    if (!tap_ok(device != NULL, "a device: %s", error.message)) return tap_done();
    test_closed_form();
    test_nothing_held();
    test_stop_beside_hold();
    test_look_ahead();
    test_finite_difference();
    test_none();
    test_cut_paths();
    test_one_edge_is_not_enough();
    test_wrong_levels();
    ht_device_close(device);
    return tap_done();
}
