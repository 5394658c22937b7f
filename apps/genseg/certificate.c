/*
 * The certificate: at a chosen round the hypergradient is recorded again in f64, from the same state, batch and draws, and
 * along random directions d the total derivative is compared with a central difference of the procedure itself,
 * phi(A) = L_val(S'(G'(A), A)). Activations that change their branch between the two ends are counted: a difference across
 * a kink need not agree, so the step shrinks until there is none. Nothing of the run is touched: the f64 state is a copy.
 */
#include <stdlib.h>
#include <string.h>

#include <ht/random.h>

#include "trainer.h"

#define DIRECTIONS 3
#define STEP 1e-4       /* of alpha, along a unit direction: the first one tried */
#define STEP_SHORT 1e-8 /* and the last one: below it rounding leaves nothing to compare */

typedef struct certificate {
    genseg_trainer *t;
    genseg_state copy;             /* in f64 */
    ht_program *derivative, *procedure;
    int32_t used, total, tensors;  /* outputs of `derivative`: first tensor of h in use, of the total */
    int64_t branches;              /* numbers in all of the branch outputs of `procedure` */
    int32_t branch_outputs;
    int64_t *branch_count;
    int64_t count;                 /* numbers of A */
    double step;                   /* the last one that was tried: where the next direction begins */
} certificate;

static ht_status record(certificate *c, ht_error *error)
{
    genseg_trainer *t = c->t;
    ht_tape *tape = ht_tape_new(HT_F64);
    if (!tape) return ht_fail(error, HT_ENOMEM, "certificate: no memory for its tape");
    genseg_recording r = genseg_record_round(tape, &c->copy, &t->config, &t->nets, t->sizes, genseg_method_of(&t->config), 0);
    c->tensors = r.used.count;
    c->used = 0;
    c->total = r.used.count;
    c->derivative = ht_compile(tape, c->copy.device, ht_vars_join(r.used, r.total), .error = error,
                               .interrupt = t->job->interrupt);
    ht_vars branches = c->derivative ? ht_branches(r.loss_val) : (ht_vars){0};
    if (c->derivative)
        c->procedure = ht_compile(tape, c->copy.device, ht_vars_join(ht_list(r.loss_val), branches), .error = error,
                                  .interrupt = t->job->interrupt);
    c->branch_outputs = branches.count;
    c->branch_count = calloc((size_t)branches.count + 1, sizeof *c->branch_count);
    for (int32_t i = 0; c->branch_count && i < branches.count; i++) {
        c->branch_count[i] = ht_shape_count(ht_var_shape(branches.at[i]));
        c->branches += c->branch_count[i];
    }
    ht_tape_free(tape);
    if (!c->branch_count) return ht_fail(error, HT_ENOMEM, "certificate: no memory for its counts");
    return error->status;
}

/* A list of tensors of A, one after the other, as doubles; real is the program's type. */
static ht_status get_vector(ht_program *program, const ht_store *A, int32_t first, ht_dtype real, double *to)
{
    ht_status status = HT_OK;
    for (int32_t i = 0, output = first; i < ht_store_count(A) && status == HT_OK; i++) {
        int64_t count = ht_shape_count(ht_store_shape(A, i));
        if (ht_store_role(A, i) != HT_PARAMETER) continue;
        float *narrow = real == HT_F32 ? malloc((size_t)(count + 1) * sizeof *narrow) : NULL;
        status = ht_get_at(program, output++, real == HT_F32 ? (void *)narrow : (void *)to, count);
        for (int64_t k = 0; narrow && k < count; k++) to[k] = (double)narrow[k];
        free(narrow);
        to += count;
    }
    return status;
}

/* phi at alpha + step d; its branches into `taken` (branches large). */
static ht_status procedure_at(certificate *c, const double *alpha, const double *d, double step, double *phi, double *taken)
{
    ht_store *A = c->copy.store[GENSEG_A];
    int64_t at = 0;
    for (int32_t i = 0; i < ht_store_count(A); i++) {
        if (ht_store_role(A, i) != HT_PARAMETER) continue;
        double *numbers = ht_store_data(A, i);
        for (int64_t k = 0; k < ht_shape_count(ht_store_shape(A, i)); k++, at++) numbers[k] = alpha[at] + step * d[at];
    }
    genseg_trainer_feed(c->t, c->procedure, HT_F64);
    ht_run(c->procedure);
    ht_get_at(c->procedure, 0, phi, 1);
    for (int32_t i = 0; i < c->branch_outputs; i++) {
        ht_get_at(c->procedure, i + 1, taken, c->branch_count[i]);
        taken += c->branch_count[i];
    }
    return ht_program_error(c->procedure)->status;
}

static void direction(uint64_t seed, int64_t round, int32_t which, int64_t count, double *d)
{
    double square = 0;
    uint64_t key = ht_random_key(seed, "certificate");
    for (int64_t i = 0; i < count; i++) {
        d[i] = 2 * ht_random_unit(ht_random_word(key, (uint64_t)(round * DIRECTIONS + which), (uint64_t)i)) - 1;
        square += d[i] * d[i];
    }
    for (int64_t i = 0; i < count; i++) d[i] /= sqrt(square);
}

static double norm(const double *v, int64_t count)
{
    double square = 0;
    for (int64_t i = 0; i < count; i++) square += v[i] * v[i];
    return sqrt(square);
}

typedef struct numbers {
    double *narrow, *wide, *total, *alpha, *d, *above, *below;
} numbers;

/* The central difference of phi along n->d with the longest step that crosses no kink, and the kinks of that step. */
static ht_status differentiate(certificate *c, const numbers *n, double *difference, int64_t *kinks, ht_error *error)
{
    double phi[2] = {0};
    *kinks = 1;
    for (double step = c->step; *kinks > 0 && step > 0.5 * STEP_SHORT; step /= 10) {
        c->step = step;
        if (procedure_at(c, n->alpha, n->d, step, &phi[0], n->above) != HT_OK ||
            procedure_at(c, n->alpha, n->d, -step, &phi[1], n->below) != HT_OK) {
            const ht_error *stopped = ht_program_error(c->procedure);
            return ht_fail(error, stopped->status, "%s", stopped->message);
        }
        *difference = (phi[0] - phi[1]) / (2 * step);
        *kinks = 0;
        for (int64_t i = 0; i < c->branches; i++) *kinks += n->above[i] != n->below[i];
    }
    return HT_OK;
}

static ht_status compare(certificate *c, const numbers *n, ht_error *error)
{
    genseg_trainer *t = c->t;
    int64_t round = t->state.round + 1;
    bool rounded = t->config.precision == HT_PRECISION_BF16;
    double gap = 0, wide = norm(n->wide, c->count), worst = 0;
    int64_t crossed = 0;
    for (int64_t i = 0; i < c->count; i++) gap += (n->narrow[i] - n->wide[i]) * (n->narrow[i] - n->wide[i]);
    double relative = wide > 0 ? sqrt(gap) / wide : sqrt(gap) > 0 ? INFINITY : 0;
    for (int32_t k = 0; k < DIRECTIONS; k++) {
        double difference = 0, slope = 0;
        int64_t kinks = 0;
        direction((uint64_t)t->config.seed, round, k, c->count, n->d);
        if (differentiate(c, n, &difference, &kinks, error) != HT_OK) return error->status;
        for (int64_t i = 0; i < c->count; i++) slope += n->total[i] * n->d[i];
        double apart = fabs(slope) > 0 ? fabs(difference - slope) / fabs(slope) : 0;
        if (!(apart <= worst)) worst = apart;
        crossed += kinks;
        char row[320];
        snprintf(row, sizeof row, "%lld,%.9g,%.9g,%.9g,%d,%.9g,%.9g,%.9g,%lld", (long long)round, norm(n->narrow, c->count), wide,
                 relative, (int)k, slope, difference, apart, (long long)kinks);
        if (genseg_table_append(t->certificate, row, error) != HT_OK) return error->status;
    }
    if (!t->job->quiet)
        printf("certificate, round %lld: hypergradient %.4g %s, %.4g in f64, relative difference %.2g%s; total derivative "
               "within %.2g of differences along %d directions, %lld kinks\n", (long long)round, norm(n->narrow, c->count),
               rounded ? "on bf16" : "in f32", wide, relative, relative <= GENSEG_AGREEMENT ? ""
               : rounded ? " (the 0.01 of a certificate is meant for f32)" : " (more than the 0.01 of a certificate)", worst,
               DIRECTIONS, (long long)crossed);
    return HT_OK;
}

/* The f32 (or bf16) hypergradient of this very round, by a recording of it that writes nothing. */
static ht_status narrow_hypergradient(certificate *c, double *to, ht_error *error)
{
    genseg_trainer *t = c->t;
    ht_tape *tape = ht_tape_new(HT_F32);
    if (!tape) return ht_fail(error, HT_ENOMEM, "certificate: no memory for its tape");
    genseg_recording r =
        genseg_record_round(tape, &t->state, &t->config, &t->nets, t->sizes, genseg_method_of(&t->config), 0);
    ht_program *program = ht_compile(tape, t->state.device, r.used, .error = error, .interrupt = t->job->interrupt,
                                     .convolution = (ht_convolution)t->config.convolution,
                                     .precision = (ht_precision)t->config.precision);
    ht_tape_free(tape);
    if (!program) return error->status;
    genseg_trainer_feed(t, program, HT_F32);
    ht_run(program);
    if (get_vector(program, t->state.store[GENSEG_A], 0, HT_F32, to) != HT_OK)
        ht_fail(error, ht_program_error(program)->status, "%s", ht_program_error(program)->message);
    ht_program_free(program);
    return error->status;
}

static ht_status measure(certificate *c, ht_error *error)
{
    const ht_store *A = c->copy.store[GENSEG_A];
    for (int32_t i = 0; i < ht_store_count(A); i++)
        if (ht_store_role(A, i) == HT_PARAMETER) c->count += ht_shape_count(ht_store_shape(A, i));
    double *block = calloc((size_t)(5 * c->count + 2 * c->branches + 1), sizeof *block);
    if (!block) return ht_fail(error, HT_ENOMEM, "certificate: no memory for its numbers");
    numbers n = {block, block + c->count, block + 2 * c->count, block + 3 * c->count, block + 4 * c->count,
                 block + 5 * c->count, block + 5 * c->count + c->branches};
    int64_t at = 0;
    for (int32_t i = 0; i < ht_store_count(A); i++) {
        if (ht_store_role(A, i) != HT_PARAMETER) continue;
        memcpy(n.alpha + at, ht_store_data(A, i), (size_t)ht_shape_count(ht_store_shape(A, i)) * sizeof *n.alpha);
        at += ht_shape_count(ht_store_shape(A, i));
    }
    genseg_trainer_feed(c->t, c->derivative, HT_F64);
    ht_run(c->derivative);
    get_vector(c->derivative, A, c->used, HT_F64, n.wide);
    get_vector(c->derivative, A, c->total, HT_F64, n.total);
    const ht_error *stopped = ht_program_error(c->derivative);
    if (stopped->status != HT_OK) ht_fail(error, stopped->status, "%s", stopped->message);
    else if (narrow_hypergradient(c, n.narrow, error) == HT_OK) compare(c, &n, error);
    free(block);
    return error->status;
}

ht_status genseg_certify(genseg_trainer *t, ht_error *error)
{
    certificate c = {.t = t, .step = STEP};
    if (t->config.method != GENSEG_GENSEG || t->config.hypergradient == GENSEG_H_NONE) return HT_OK;
    if (genseg_state_copy(&t->state, HT_F64, &c.copy, error) == HT_OK && record(&c, error) == HT_OK) measure(&c, error);
    ht_program_free(c.derivative);
    ht_program_free(c.procedure);
    free(c.branch_count);
    genseg_state_free(&c.copy);
    return error->status;
}
