/*
 * The check of a recorded derivative against the procedure itself: the last level's values are moved along a direction,
 * all steps run again, the last loss is read. Differences across a kink prove nothing and are not used; what no step
 * resolves is reported as not judged, never as wrong.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <ht/random.h>

#include "internal.h"

#define HALVINGS 14

typedef struct checking {
    mlo_check_args a;
    ht_dtype dtype;
    ht_program *derivative, *procedure;
    ht_store *store;                      /* of the last level                                */
    int32_t *index;                       /* its tensors in the store                         */
    int64_t *counts;                      /* of the tensors, then of the residuals, then of the branches */
    int32_t tensors, residuals, branch_outputs;
    int64_t branches, largest;
    double *h, *d, *taken[2];
    void *saved;                          /* the numbers of the tensor that is moved          */
} checking;

static ht_status no_memory(checking *c) { return ht_fail(c->a.error, HT_ENOMEM, "mlo_check: no memory for the numbers"); }

static bool allocate(checking *c, ht_vars unknowns, ht_vars branches)
{
    int32_t outputs = c->tensors + MLO_LEVELS_MAX + c->branch_outputs;
    c->index = calloc((size_t)c->tensors + 1, sizeof *c->index);
    c->counts = calloc((size_t)outputs + 1, sizeof *c->counts);
    if (!c->index || !c->counts) return false;
    for (int32_t i = 0; i < outputs; i++) c->counts[i] = 1;
    for (int32_t i = 0; i < c->tensors; i++) {
        c->counts[i] = ht_shape_count(ht_var_shape(unknowns.at[i]));
        c->index[i] = ht_store_find(c->store, unknowns.names[i]);
        if (c->counts[i] > c->largest) c->largest = c->counts[i];
    }
    for (int32_t i = 0; i < c->branch_outputs; i++)
        c->branches += c->counts[c->tensors + MLO_LEVELS_MAX + i] = ht_shape_count(ht_var_shape(branches.at[i]));
    c->h = calloc((size_t)mlo_numbers(unknowns) + 1, sizeof *c->h);
    c->d = calloc((size_t)c->largest + 1, sizeof *c->d);
    c->saved = calloc((size_t)c->largest + 1, sizeof(double));
    for (int32_t k = 0; k < 2; k++) c->taken[k] = calloc((size_t)c->branches + 1, sizeof(double));
    return c->h && c->d && c->saved && c->taken[0] && c->taken[1];
}

/* The derivative as the problem says. */
static ht_status record_derivative(checking *c, ht_tape *tape, ht_vars *unknowns)
{
    mlo_args args = c->a.problem.record(tape, c->a.problem.context);
    args.tape = tape;
    if (!args.where) args.where = HT_HERE;
    mlo_round round = mlo_record_(args);
    ht_vars residuals = mlo_residuals(&round);
    c->residuals = residuals.count;
    *unknowns = round.total;
    if (ht_tape_error(tape)->status == HT_OK && round.total.count == 0)
        ht_tape_fail(tape, HT_HERE, HT_EINVALID, "mlo_check: the problem's method is MLO_NONE; expected one with a derivative");
    if (ht_tape_error(tape)->status == HT_OK) c->store = args.levels[args.count - 1].scope.store;
    c->derivative = mlo_program(&c->a.problem, tape, c->a.device,
                                residuals.count ? ht_vars_join(round.total, residuals) : round.total, c->a.error);
    return c->a.error->status;
}

/* The procedure: all levels by recorded steps, the last loss, its branches. */
static ht_status record_procedure(checking *c, ht_tape *tape, ht_vars *branches)
{
    mlo_args args = c->a.problem.record(tape, c->a.problem.context);
    mlo_level levels[MLO_LEVELS_MAX];
    for (int32_t i = 0; i < args.count; i++) {
        levels[i] = args.levels[i];
        if (levels[i].solver >= MLO_CG && (c->a.steps > 0 || levels[i].steps == MLO_NO_STEPS))
            levels[i].steps = c->a.steps > 0 ? c->a.steps : 100;
        levels[i].solver = MLO_UNROLLED;
        levels[i].truncate = 0;
    }
    args.tape = tape;
    args.levels = levels;
    args.method = MLO_UNROLL;
    if (!args.where) args.where = HT_HERE;
    mlo_round round = mlo_record_(args);
    ht_var loss = round.loss[args.count - 1];
    if (ht_tape_error(tape)->status == HT_OK) *branches = ht_branches(loss);
    c->branch_outputs = branches->count;
    ht_vars one = ht_ok(loss) ? ht_list(loss) : (ht_vars){0};
    if (branches->count > 0) one = ht_vars_join(one, *branches);
    c->procedure = mlo_program(&c->a.problem, tape, c->a.device, one, c->a.error);
    return c->a.error->status;
}

/* The loss with tensor t moved by step along d; branches into `taken`. The tensor is put back. */
static double loss_at(checking *c, int32_t t, double step, double *taken)
{
    void *numbers = ht_store_data(c->store, c->index[t]);
    size_t bytes = (size_t)c->counts[t] * ht_dtype_bytes(c->dtype);
    int64_t one = 1;
    double loss = NAN;
    memcpy(c->saved, numbers, bytes);
    for (int64_t k = 0; k < c->counts[t]; k++) {
        if (c->dtype == HT_F64) ((double *)numbers)[k] += step * c->d[k];
        else ((float *)numbers)[k] += (float)(step * c->d[k]);
    }
    ht_run(c->procedure);
    memcpy(numbers, c->saved, bytes);
    mlo_get(c->procedure, 0, &one, 1, c->dtype, &loss);
    mlo_get(c->procedure, 1, c->counts + c->tensors + MLO_LEVELS_MAX, c->branch_outputs, c->dtype, taken);
    return loss;
}

static double difference(checking *c, int32_t t, double step, int64_t *kinks)
{
    double above = loss_at(c, t, step, c->taken[0]), below = loss_at(c, t, -step, c->taken[1]);
    *kinks = 0;
    for (int64_t i = 0; i < c->branches; i++) *kinks += c->taken[0][i] != c->taken[1][i];
    return (above - below) / (2 * step);
}

static void draw_direction(checking *c, int32_t t, int32_t turn)
{
    uint64_t key = ht_random_key(c->a.seed, "mlo_check");
    for (int64_t k = 0; k < c->counts[t]; k++)
        c->d[k] = 2 * ht_random_unit(ht_random_word(key, (uint64_t)turn * 65536 + (uint64_t)t, (uint64_t)k)) - 1;
    double norm = mlo_norm(c->d, c->counts[t]);
    for (int64_t k = 0; k < c->counts[t]; k++) c->d[k] /= norm;
}

/* Richardson: (4 D(s/2) - D(s)) / 3 is free of the s^2 term; its distance from D(s/2) bounds what is left. */
static void judge(checking *c, int32_t t, const double *h, mlo_check_row *row)
{
    int64_t count = c->counts[t], kinks, wide_kinks;
    double step = c->a.step > 0 ? c->a.step : 1e-2, tolerance = c->a.tolerance > 0 ? c->a.tolerance : 1e-6;
    double floor = mlo_norm(h, count) / sqrt((double)count), best = INFINITY, scale = floor;
    for (int64_t k = 0; k < count; k++) row->slope += h[k] * c->d[k];
    double wide = difference(c, t, step, &wide_kinks), before = NAN;
    for (int32_t k = 0; k < HALVINGS && best > 0.01 * tolerance * scale; k++, step /= 2) {
        double narrow = difference(c, t, step / 2, &kinks), value = (4 * narrow - wide) / 3;
        double doubt = fabs(value - (isnan(before) ? narrow : before)); /* of two extrapolations, if there are */
        if (wide_kinks == 0 && kinks == 0 && doubt < best) {
            best = doubt;
            row->difference = value;
            row->step = step;
            scale = fmax(fmax(fabs(row->slope), fabs(value)), floor);
        }
        before = wide_kinks == 0 && kinks == 0 ? value : NAN;
        row->kinks = kinks;
        wide = narrow;
        wide_kinks = kinks;
    }
    row->uncertainty = best;
    double gap = fabs(row->slope - row->difference);
    row->error = scale > 0 ? gap / scale : gap;
    row->judged = best <= 1e-3 * scale || (best <= 1e-12 && scale <= 1e-9);
    row->agrees = row->judged && gap <= tolerance * scale + fmin(2 * best, 10 * tolerance * scale) + 1e-15;
}

static void check_all(checking *c, mlo_check_report *report)
{
    double residual[MLO_LEVELS_MAX] = {0};
    int64_t total = 0;
    for (int32_t i = 0; i < c->tensors; i++) total += c->counts[i];
    ht_run(c->derivative);
    mlo_get(c->derivative, 0, c->counts, c->tensors, c->dtype, c->h);
    mlo_get(c->derivative, c->tensors, c->counts + c->tensors, c->residuals, c->dtype, residual);
    for (int32_t i = 0; i < c->residuals; i++) report->residual = fmax(report->residual, residual[i]);
    report->norm = mlo_norm(c->h, total);
    for (int32_t n = 0; n < c->a.room; n++) {
        int32_t t = n % c->tensors;
        int64_t at = 0;
        for (int32_t i = 0; i < t; i++) at += c->counts[i];
        mlo_check_row *row = &c->a.rows[n];
        *row = (mlo_check_row){.tensor = ht_store_name(c->store, c->index[t])};
        draw_direction(c, t, n / c->tensors);
        judge(c, t, c->h + at, row);
        report->rows++;
        report->judged += row->judged;
        report->agree += row->agrees;
        if (row->judged && (report->worst < 0 || !(row->error <= c->a.rows[report->worst].error))) report->worst = n;
    }
}

mlo_check_report mlo_check_(mlo_check_args args)
{
    mlo_check_report report = {.worst = -1, .seed = args.seed}, none = report;
    ht_error local = {0};
    checking c = {.a = args, .dtype = args.dtype ? args.dtype : HT_F64};
    if (!args.error) c.a.error = &local;
    if (!args.device || !args.problem.record || !args.rows || args.room < 1) {
        ht_fail(c.a.error, HT_EINVALID, "mlo_check: device, problem or rows are missing; expected all of them");
        return none;
    }
    ht_tape *first = ht_tape_new(c.dtype), *second = ht_tape_new(c.dtype);
    ht_vars unknowns = {0}, branches = {0};
    if (!first || !second) no_memory(&c);
    else if (record_derivative(&c, first, &unknowns) == HT_OK && record_procedure(&c, second, &branches) == HT_OK) {
        c.tensors = unknowns.count;
        if (allocate(&c, unknowns, branches)) check_all(&c, &report);
        else no_memory(&c);
        for (int32_t k = 0; k < 2; k++) {
            const ht_error *stopped = ht_program_error(k ? c.procedure : c.derivative);
            if (stopped->status != HT_OK) ht_fail(c.a.error, stopped->status, "%s", stopped->message);
        }
    }
    report.ok = report.judged > 0 && report.agree == report.judged;
    ht_program_free(c.derivative);
    ht_program_free(c.procedure);
    ht_tape_free(first);
    ht_tape_free(second);
    for (int32_t k = 0; k < 2; k++) free(c.taken[k]);
    free(c.saved);
    free(c.d);
    free(c.h);
    free(c.counts);
    free(c.index);
    return c.a.error->status == HT_OK ? report : none;
}

void mlo_check_print(const mlo_check_report *report, const mlo_check_row *rows, FILE *file)
{
    fprintf(file, "%-24s %16s %16s %10s %10s %8s\n", "tensor", "derivative", "difference", "error", "known to", "");
    for (int32_t i = 0; i < report->rows; i++) {
        const mlo_check_row *r = &rows[i];
        fprintf(file, "%-24s %16.9g %16.9g %10.1e %10.1e %8s\n", r->tensor, r->slope, r->difference, r->error, r->uncertainty,
                !r->judged ? r->kinks ? "kink" : "unclear" : r->agrees ? "agrees" : "DIFFERS");
    }
    fprintf(file, "%d of %d judged, %d agree; norm %.6g, residual %.1e, seed %llu\n", (int)report->judged, (int)report->rows,
            (int)report->agree, report->norm, report->residual, (unsigned long long)report->seed);
}
