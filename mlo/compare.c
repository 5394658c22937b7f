/*
 * All methods on one problem: each variant is recorded on a tape of its own, compiled and run; the first row is what the
 * others are measured against. It judges estimators, not convergence: every variant sees the same steps unless it says so.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "internal.h"

const mlo_variant mlo_variants[MLO_VARIANTS] = {
    {.name = "unrolled"},
    {.name = "last step only", .truncate = 1},
    {.name = "finite difference", .method = MLO_FINITE_DIFFERENCE},
    {.name = "identity", .solver = MLO_IDENTITY},
    {.name = "Neumann", .solver = MLO_NEUMANN},
    {.name = "fixed point", .solver = MLO_FIXED_POINT},
    {.name = "CG", .solver = MLO_CG},
    {.name = "normal CG", .solver = MLO_NORMAL_CG},
    {.name = "as given", .as_given = 1},
};

typedef struct measured {
    double *h;
    int64_t count;
} measured;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* The problem's round with the variant's fields for those of every lower level. */
static mlo_round record(const mlo_compare_args *a, const mlo_variant *variant, ht_tape *tape)
{
    mlo_args args = a->problem.record(tape, a->problem.context);
    mlo_level levels[MLO_LEVELS_MAX];
    if (!args.levels || args.count < 1 || args.count > MLO_LEVELS_MAX) return mlo_record_(args);
    for (int32_t i = 0; i < args.count; i++) {
        mlo_level *level = &levels[i];
        *level = args.levels[i];
        if (!variant->as_given) {
            level->solver = variant->solver;
            memset(level->edges, 0, sizeof level->edges);
        }
        if (variant->steps) level->steps = variant->steps;
        if (variant->truncate) level->truncate = variant->truncate;
        if (variant->solver_steps) level->solver_steps = variant->solver_steps;
        if (variant->solver_rate > 0) level->solver_rate = variant->solver_rate;
        if (variant->damping > 0) level->damping = variant->damping;
        if (level->truncate > level->steps && level->steps > 0) level->truncate = level->steps;
    }
    args.tape = tape;
    args.levels = levels;
    args.method = variant->method;
    if (variant->radius > 0) args.radius = variant->radius;
    if (!args.where) args.where = HT_HERE;
    return mlo_record_(args);
}

static ht_status take_numbers(ht_program *program, const int64_t *counts, int32_t tensors, int32_t residuals, ht_dtype dtype,
                              mlo_row *row, double *h)
{
    row->seconds = INFINITY;
    for (int32_t k = 0; k < 3; k++) {
        double begun = now();
        if (ht_run(program) != HT_OK) break;
        double taken = now() - begun;
        if (taken < row->seconds) row->seconds = taken;
    }
    double residual[MLO_LEVELS_MAX] = {0};
    int64_t one[MLO_LEVELS_MAX];
    for (int32_t i = 0; i < MLO_LEVELS_MAX; i++) one[i] = 1;
    ht_status status = mlo_get(program, 0, counts, tensors, dtype, h);
    if (status == HT_OK) status = mlo_get(program, tensors, one, residuals, dtype, residual);
    for (int32_t i = 0; i < residuals; i++) row->residual = fmax(row->residual, residual[i]);
    ht_program_facts facts = ht_program_describe(program);
    row->arena_bytes = facts.arena_bytes;
    row->instructions = facts.instructions;
    row->recomputed = facts.recomputed;
    return status;
}

/* One variant: its derivative into h, its costs into the row. */
static ht_status measure(const mlo_compare_args *a, const mlo_variant *variant, mlo_row *row, measured *m, ht_error *error)
{
    ht_dtype dtype = a->dtype ? a->dtype : HT_F64;
    ht_tape *tape = ht_tape_new(dtype);
    if (!tape) return ht_fail(error, HT_ENOMEM, "mlo_compare: no memory for a tape");
    mlo_round round = record(a, variant, tape);
    ht_vars residuals = mlo_residuals(&round), h = round.total;
    if (h.count == 0 && ht_tape_error(tape)->status == HT_OK)
        ht_tape_fail(tape, HT_HERE, HT_EINVALID, "mlo_compare: variant \"%s\" has no derivative; expected a method that has one",
                     variant->name);
    ht_program *program = mlo_program(&a->problem, tape, a->device, residuals.count ? ht_vars_join(h, residuals) : h,
                                      variant->memory_limit, error);
    int64_t *counts = calloc((size_t)h.count + 1, sizeof *counts);
    m->count = mlo_numbers(h);
    m->h = calloc((size_t)m->count + 1, sizeof *m->h);
    for (int32_t i = 0; counts && i < h.count; i++) counts[i] = ht_shape_count(ht_var_shape(h.at[i]));
    if (program && counts && m->h && take_numbers(program, counts, h.count, residuals.count, dtype, row, m->h) != HT_OK)
        ht_fail(error, ht_program_error(program)->status, "%s", ht_program_error(program)->message);
    if (!counts || !m->h) ht_fail(error, HT_ENOMEM, "mlo_compare: no memory for the derivative");
    free(counts);
    ht_program_free(program);
    ht_tape_free(tape);
    return error->status;
}

static ht_status against(mlo_row *row, const measured *m, const double *reference, int64_t count, ht_error *error)
{
    if (m->count != count)
        return ht_fail(error, HT_EINVALID, "mlo_compare: \"%s\" gives %lld numbers, the reference has %lld; expected as many",
                       row->name, (long long)m->count, (long long)count);
    double gap = 0, product = 0, norm = mlo_norm(reference, count);
    row->norm = mlo_norm(m->h, m->count);
    for (int64_t i = 0; i < m->count; i++) {
        gap += (m->h[i] - reference[i]) * (m->h[i] - reference[i]);
        product += m->h[i] * reference[i];
    }
    row->error = norm > 0 ? sqrt(gap) / norm : sqrt(gap) > 0 ? INFINITY : 0;
    row->cosine = norm > 0 && row->norm > 0 ? product / (norm * row->norm) : 0;
    return HT_OK;
}

int32_t mlo_compare_(mlo_compare_args args)
{
    const mlo_variant *variants = args.count > 0 ? args.variants : mlo_variants;
    int32_t count = args.count > 0 ? args.count : MLO_VARIANTS, done = 0;
    measured first = {0};
    const double *reference = args.reference;
    ht_error local = {0};
    if (!args.error) args.error = &local;
    if (!args.device || !args.problem.record || !args.rows || !variants) {
        ht_fail(args.error, HT_EINVALID, "mlo_compare: device, problem, rows or variants are missing; expected all of them");
        return -1;
    }
    for (; done < count && done < args.room; done++) {
        mlo_row *row = &args.rows[done];
        measured m = {0};
        ht_error error = {0};
        memset(row, 0, sizeof *row);
        row->name = variants[done].name;
        ht_status status = measure(&args, &variants[done], row, &m, &error);
        if (status == HT_OK && !reference) {
            first = m;
            reference = m.h;
            args.reference_count = m.count;
        }
        if (status == HT_OK) status = against(row, &m, reference, args.reference_count, &error);
        if (status != HT_OK) {
            *row = (mlo_row){.name = row->name, .status = error.status};
            snprintf(row->note, sizeof row->note, "%.*s", (int)sizeof row->note - 1, error.message);
            if (done == 0) ht_fail(args.error, error.status, "%s", error.message);
        }
        if (m.h != first.h) free(m.h);
        if (row->status != HT_OK && done == 0) return -1;
    }
    free(first.h);
    return done;
}

void mlo_compare_print(const mlo_row *rows, int32_t count, FILE *file)
{
    fprintf(file, "%-20s %10s %12s %12s %10s %10s %12s\n", "method", "error", "cosine", "norm", "residual", "ms", "arena bytes");
    for (int32_t i = 0; i < count; i++) {
        const mlo_row *r = &rows[i];
        if (r->status != HT_OK)
            fprintf(file, "%-20s %s\n", r->name, r->note);
        else
            fprintf(file, "%-20s %10.2e %12.9f %12.6g %10.2e %10.3f %12zu\n", r->name, r->error, r->cosine, r->norm, r->residual,
                    1e3 * r->seconds, r->arena_bytes);
    }
}

static void print_text(const char *text, FILE *file)
{
    fputc('"', file);
    for (const unsigned char *c = (const unsigned char *)(text ? text : ""); *c; c++) {
        if (*c == '"' || *c == '\\') fprintf(file, "\\%c", *c);
        else if (*c < 0x20) fprintf(file, "\\u%04x", (unsigned)*c);
        else fputc(*c, file);
    }
    fputc('"', file);
}

/* JSON has no infinity: what is not finite is null. */
static void print_number(const char *name, double number, FILE *file)
{
    if (isfinite(number)) fprintf(file, ", \"%s\": %.17g", name, number);
    else fprintf(file, ", \"%s\": null", name);
}

void mlo_compare_json(const mlo_row *rows, int32_t count, FILE *file)
{
    fprintf(file, "[");
    for (int32_t i = 0; i < count; i++) {
        const mlo_row *r = &rows[i];
        fprintf(file, "%s\n  {\"method\": ", i ? "," : "");
        print_text(r->name, file);
        if (r->status != HT_OK) {
            fprintf(file, ", \"refused\": ");
            print_text(r->note, file);
        } else {
            print_number("error", r->error, file);
            print_number("cosine", r->cosine, file);
            print_number("norm", r->norm, file);
            print_number("residual", r->residual, file);
            print_number("seconds", r->seconds, file);
            fprintf(file, ", \"arena_bytes\": %zu, \"instructions\": %lld", r->arena_bytes, (long long)r->instructions);
        }
        fprintf(file, "}");
    }
    fprintf(file, "\n]\n");
}
