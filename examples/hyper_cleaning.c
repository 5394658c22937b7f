/*
 * Data hyper-cleaning: benchmark problems C9 and C10. Part of the training labels is wrong. Every sample has a weight between
 * 0 and 1, and a softmax regression, solved by Newton's steps, is fitted to the weighted samples; the weights are learned
 * from the loss on clean samples. Those that end below 1/2 are the labels found wrong.
 * usage: hyper_cleaning [FOLDER OF TABLES [RATE OF WRONG LABELS IN PER CENT...]]    (C9; default 50)
 *        hyper_cleaning --fashion FOLDER OF IDX FILES                              (C10; takes minutes)
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <zlib.h>

#include <ht/mlo.h>

#include "dump.h"

#define CLASSES 10
#define PENALTY 1e-3

typedef struct cleaning {
    ht_store *tables, *weights, *trust, *moments; /* "data" and "target": rows to fit, to judge by, to test, in this order */
    int32_t fitted, judging, testing, pixels;     /* counts */
    double white;                                 /* of a pixel; becomes 1 */
    int32_t *truth;                               /* the true labels of the rows that are fitted */
    int32_t steps;                                /* of cleaning */
    int32_t newton_steps, solver_steps;           /* of the lower level in each of them; of conjugate gradients */
    double left;                                  /* gradient that a fit may leave */
    mlo_level levels[2];
} cleaning;

static int32_t *labels(const cleaning *c) { return ht_store_data(c->tables, ht_store_find(c->tables, "target")); }

/* ---- the problem ---- */

static ht_var weights(nn_scope s, const cleaning *c)
{
    return nn_parameter(s, "w", HT_SHAPE(c->pixels + 1, CLASSES), nn_constant(0));
}
static ht_var trust(nn_scope s, const cleaning *c) { return nn_parameter(s, "trust", HT_SHAPE(c->fitted, 1), nn_constant(0)); }

/* Class scores of `count` rows from `first` on. Pixels are scaled and have a 1 beside them, for the bias. */
static ht_var scores(ht_var w, const cleaning *c, int64_t first, int64_t count)
{
    ht_var data = ht_slice(ht_read_one(w.tape, c->tables, "data"), HT_SHAPE(first, 0), HT_SHAPE(count, c->pixels));
    ht_var x = ht_scale(ht_cast(data, HT_F64), 1 / c->white);
    return ht_matmul(ht_concat(1, ht_list(x, ht_fill(w.tape, 1, HT_SHAPE(count, 1)))), w);
}

/* The misfit of each of these rows, [count, 1]. */
static ht_var misfit(ht_var w, const cleaning *c, int64_t first, int64_t count)
{
    ht_var target = ht_slice(ht_read_one(w.tape, c->tables, "target"), HT_SHAPE(first), HT_SHAPE(count));
    ht_var z = scores(w, c, first, count);
    ht_var score = ht_take_along(z, ht_reshape(target, HT_SHAPE(count, 1)), 1);
    return ht_sub(ht_logsumexp(z, 1), score);
}

static ht_var weighted_loss(ht_var w, const cleaning *c, ht_var sample_weight)
{
    ht_var mean = ht_mean(ht_mul(sample_weight, misfit(w, c, 0, c->fitted)));
    return ht_add(mean, ht_scale(ht_sum(ht_square(w)), PENALTY / 2));
}

static ht_var fit_loss(const mlo_point *at, void *context)
{
    const cleaning *c = context;
    ht_var sample_weight = ht_sigmoid(trust(mlo_at(at, "trust"), c));
    return weighted_loss(weights(mlo_at(at, "weights"), c), c, sample_weight);
}

static ht_var judge_loss(const mlo_point *at, void *context)
{
    const cleaning *c = context;
    return ht_mean(misfit(weights(mlo_at(at, "weights"), c), c, c->fitted, c->judging));
}

static ht_vars newton(ht_vars w, ht_vars gradient, void *context)
{
    const cleaning *c = context;
    return mlo_newton(w, gradient, .solver_steps = c->solver_steps);
}

/* One step of cleaning. The weights go on from where the last step left them, so that a few of Newton's steps are enough. */
static mlo_round record(ht_tape *tape, cleaning *c)
{
    nn_scope W = nn_open(tape, c->weights), T = nn_open(tape, c->trust);
    weights(W, c); /* parameters exist once they were recorded */
    trust(T, c);
    c->levels[0] = (mlo_level){"weights", W, fit_loss, .step = newton, .context = c, .steps = c->newton_steps,
                               .solver = MLO_CG, .solver_steps = c->solver_steps};
    c->levels[1] = (mlo_level){.name = "trust", .scope = T, .loss = judge_loss, .context = c};
    return mlo_record(tape, c->levels, 2, .look_ahead = MLO_OPTIMIZER);
}

/* ---- programs ---- */

static ht_status keep(const ht_program *program, ht_error *error)
{
    const ht_error *stopped = ht_program_error(program);
    return stopped->status == HT_OK ? HT_OK : ht_fail(error, stopped->status, "%s", stopped->message);
}

static ht_status clean(ht_device *device, cleaning *c, ht_error *error)
{
    ht_tape *tape = ht_tape_new(HT_F64);
    mlo_round round = record(tape, c);
    ht_write(c->weights, round.next[0]);
    ht_write(c->trust, nn_adam(c->moments, nn_params(c->levels[1].scope), round.total, .rate = 0.2));
    ht_program *program = ht_compile(tape, device, ht_list(round.loss[1], round.residual[0]), .error = error);
    ht_tape_free(tape);
    for (int32_t i = 1; i <= c->steps && program && ht_run(program) == HT_OK; i++) {
        double loss = NAN, residual = NAN;
        ht_get_at(program, 0, &loss, 1);
        ht_get_at(program, 1, &residual, 1);
        if (i == 1 || i % 30 == 0) printf("# step %d: L_val = %.10g, gradient left below %.1e\n", (int)i, loss, residual);
    }
    if (program) keep(program, error);
    ht_program_free(program);
    return error->status;
}

/* One of Newton's steps after the other; a step that makes the loss larger is taken back, and half of it is tried. */
static ht_status descend(ht_program *fit, cleaning *c, ht_error *error)
{
    size_t bytes = sizeof(double) * (size_t)(c->pixels + 1) * CLASSES;
    double *w = ht_store_data(c->weights, 0), *before = malloc(2 * bytes), *now = before + bytes / sizeof *w;
    double loss = INFINITY, left = INFINITY, rate = 1, got = NAN;
    if (before) memcpy(before, w, bytes);
    for (int i = 0; before && i < 200 && left > c->left; i++) {
        memcpy(now, w, bytes);
        ht_set_named(fit, "rate", &rate, 1);
        if (ht_run(fit) != HT_OK) break;
        ht_get_at(fit, 0, &got, 1);
        if (got <= loss + 1e-14) {
            loss = got;
            ht_get_at(fit, 1, &left, 1);
            memcpy(before, now, bytes);
            rate = fmin(1, 2 * rate);
        } else {
            memcpy(w, before, bytes);
            rate /= 4;
        }
    }
    free(before);
    if (keep(fit, error) == HT_OK && !(left <= c->left))
        ht_fail(error, HT_EINVALID, "the fit does not converge: a gradient of %g is left", left);
    return error->status;
}

/* Fits the weights to the samples as weighted, to the end, and gives the share of the test rows that are classed rightly. */
static double accuracy(ht_device *device, cleaning *c, const double *sample_weight, ht_error *error)
{
    ht_tape *tape = ht_tape_new(HT_F64);
    nn_scope W = nn_open(tape, c->weights);
    ht_var w = weights(W, c), given = ht_input(tape, "sample weight", HT_SHAPE(c->fitted, 1));
    ht_var loss = weighted_loss(w, c, given);
    ht_vars gradient = ht_grad(loss, nn_params(W));
    ht_write(c->weights, mlo_newton(nn_params(W), gradient, .rate_from = ht_input(tape, "rate", HT_SCALAR),
                                    .solver_steps = c->solver_steps));
    int64_t first = c->fitted + c->judging;
    ht_var classed = ht_argmax(scores(w, c, first, c->testing), 1);
    ht_program *program = ht_compile(tape, device, ht_list(loss, ht_norm(gradient), classed), .error = error);
    ht_tape_free(tape);
    int32_t *found = calloc((size_t)c->testing, sizeof *found), right = 0;
    if (program && found) {
        ht_set_named(program, "sample weight", sample_weight, c->fitted);
        descend(program, c, error);
        ht_get_at(program, 2, found, c->testing);
        for (int32_t i = 0; i < c->testing; i++) right += found[i] == labels(c)[first + i];
    }
    ht_program_free(program);
    free(found);
    return (double)right / c->testing;
}

/* ---- one experiment ---- */

/* Wrong labels by a generator of its own, the same in every library: s = 1664525 s + 1013904223 mod 2^32, of which s / 256. */
static int32_t corrupt(cleaning *c, uint32_t rate)
{
    uint32_t s = 12345, *drawn = calloc(2 * (size_t)c->fitted, sizeof *drawn);
    int32_t wrong = 0;
    for (int32_t i = 0; drawn && i < 2 * c->fitted; i++) drawn[i] = (s = 1664525u * s + 1013904223u) >> 8;
    for (int32_t i = 0; drawn && i < c->fitted; i++) {
        labels(c)[i] = drawn[i] % 100 < rate ? (int32_t)(drawn[c->fitted + i] % CLASSES) : c->truth[i];
        wrong += labels(c)[i] != c->truth[i];
    }
    free(drawn);
    return wrong;
}

/* F1 of "wrong" as what sample weights below 1/2 say. */
static double found_wrong(const cleaning *c, const double *sample_weight)
{
    double both = 0, either = 0;
    for (int32_t i = 0; i < c->fitted; i++) {
        int wrong = labels(c)[i] != c->truth[i], found = sample_weight[i] < 0.5;
        both += wrong && found;
        either += wrong + found;
    }
    return either > 0 ? 2 * both / either : 0;
}

static ht_status experiment(ht_device *device, cleaning *c, uint32_t rate, int *good, ht_error *error)
{
    double *one = calloc((size_t)c->fitted, sizeof *one), share[3] = {0};
    if (!one) return ht_fail(error, HT_ENOMEM, "no memory for %d samples", (int)c->fitted);
    c->weights = ht_store_new(device);
    c->trust = ht_store_new(device);
    c->moments = ht_store_new(device);
    int32_t wrong = corrupt(c, rate);
    printf("rate %u: %d of %d labels are wrong\n", (unsigned)rate, (int)wrong, (int)c->fitted);
    for (int32_t i = 0; i < c->fitted; i++) one[i] = 1;
    share[0] = accuracy(device, c, one, error);
    for (int32_t i = 0; i < c->fitted; i++) one[i] = labels(c)[i] == c->truth[i];
    share[1] = accuracy(device, c, one, error);
    for (int32_t i = 0; i < c->fitted; i++) one[i] = 0.5;
    accuracy(device, c, one, error); /* cleaning begins at the solution */
    if (error->status == HT_OK && clean(device, c, error) == HT_OK) {
        const double *t = ht_store_data(c->trust, 0);
        for (int32_t i = 0; i < c->fitted; i++) one[i] = 1 / (1 + exp(-t[i]));
        share[2] = accuracy(device, c, one, error);
        printf("rate %u, %d steps: test accuracy of all labels %.10g, of true labels only %.10g, cleaned %.10g; F1 %.10g\n",
               (unsigned)rate, (int)c->steps, share[0], share[1], share[2], found_wrong(c, one));
    }
    *good = *good && share[2] > share[0] && found_wrong(c, one) > 0.5;
    ht_store_free(c->weights);
    ht_store_free(c->trust);
    ht_store_free(c->moments);
    free(one);
    return error->status;
}

/* ---- tables and recipes ---- */

static void load_digits(cleaning *c, const char *folder, ht_error *error)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/digits_data.npy", folder);
    ht_store_load_npy(c->tables, "data", path, error);
    snprintf(path, sizeof path, "%s/digits_target.npy", folder);
    ht_store_load_npy(c->tables, "target", path, error);
}

/* The first rows of an IDX file of bytes, compressed or not: a magic number, the sizes, the numbers. */
static ht_status read_idx(const char *folder, const char *name, int32_t rows, int32_t each, int32_t *to, ht_error *error)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s.gz", folder, name);
    gzFile file = gzopen(path, "rb");
    if (!file) return ht_fail(error, HT_EIO, "%s: cannot be read; expected a file of the package dataset-fashion-mnist", path);
    unsigned char head[16], axes = each == 1 ? 1 : 3, *bytes = malloc((size_t)each);
    size_t head_bytes = 4 + 4 * (size_t)axes;
    int good = bytes && gzfread(head, 1, head_bytes, file) == head_bytes && memcmp(head, "\0\0\x08", 3) == 0 && head[3] == axes;
    int64_t size = 1;
    for (size_t k = 8; good && k < head_bytes; k += 4) {
        int64_t axis = (int64_t)head[k] << 24 | head[k + 1] << 16 | head[k + 2] << 8 | head[k + 3];
        good = axis > 0 && axis <= each / size;
        if (good) size *= axis;
    }
    good = good && size == each;
    for (int32_t i = 0; i < rows && good; i++) {
        good = gzfread(bytes, 1, (size_t)each, file) == (size_t)each;
        for (int32_t k = 0; k < each && good; k++) *to++ = bytes[k];
    }
    free(bytes);
    gzclose(file);
    return good ? HT_OK : ht_fail(error, HT_EFORMAT, "%s: expected %d rows of %d bytes", path, (int)rows, (int)each);
}

static void load_fashion(cleaning *c, const char *folder, ht_error *error)
{
    int32_t train = c->fitted + c->judging, rows = train + c->testing;
    int32_t data = ht_store_add(c->tables, "data", HT_I32, HT_SHAPE(rows, c->pixels), HT_BUFFER, error);
    int32_t target = ht_store_add(c->tables, "target", HT_I32, HT_SHAPE(rows), HT_BUFFER, error);
    if (data < 0 || target < 0) return;
    int32_t *x = ht_store_data(c->tables, data), *y = ht_store_data(c->tables, target);
    read_idx(folder, "train-images-idx3-ubyte", train, c->pixels, x, error);
    read_idx(folder, "train-labels-idx1-ubyte", train, 1, y, error);
    read_idx(folder, "t10k-images-idx3-ubyte", c->testing, c->pixels, x + (int64_t)train * c->pixels, error);
    read_idx(folder, "t10k-labels-idx1-ubyte", c->testing, 1, y + train, error);
}

static const cleaning c9 = {.fitted = 800, .judging = 400, .testing = 597, .pixels = 64, .white = 16, .steps = 150,
                            .newton_steps = 3, .solver_steps = 100, .left = 1e-10};
static const cleaning c10 = {.fitted = 5000, .judging = 5000, .testing = 10000, .pixels = 784, .white = 255, .steps = 60,
                             .newton_steps = 1, .solver_steps = 40, .left = 1e-6};

/* The tape, if it was asked for. */
static int shown(ht_device *device, cleaning *c, int count, char **argument)
{
    c->weights = ht_store_new(device);
    c->trust = ht_store_new(device);
    ht_tape *tape = ht_tape_new(HT_F64);
    record(tape, c);
    int done = dumped(count, argument, tape);
    ht_tape_free(tape);
    ht_store_free(c->weights);
    ht_store_free(c->trust);
    return done;
}

int main(int count, char **argument)
{
    int fashion = count > 2 && strcmp(argument[1], "--fashion") == 0, good = 1;
    int rates = !fashion && count > 2 ? count - 2 : 1;
    ht_error error = {0};
    ht_device *device = ht_device_open("cpu", fashion ? 0 : 1, &error);
    cleaning c = fashion ? c10 : c9;
    c.tables = ht_store_new(device);
    if (fashion) load_fashion(&c, argument[2], &error);
    else load_digits(&c, count > 1 ? argument[1] : "examples/data", &error);
    c.truth = calloc((size_t)c.fitted, sizeof *c.truth);
    if (error.status == HT_OK && c.truth) memcpy(c.truth, labels(&c), (size_t)c.fitted * sizeof *c.truth);
    int done = error.status == HT_OK && shown(device, &c, count, argument);
    for (int i = 0; i < rates && !done && error.status == HT_OK && c.truth; i++)
        experiment(device, &c, !fashion && count > 2 ? (uint32_t)strtoul(argument[2 + i], NULL, 10) : 50, &good, &error);
    if (error.status != HT_OK) fprintf(stderr, "%s\n", error.message);
    free(c.truth);
    ht_store_free(c.tables);
    ht_device_close(device);
    return error.status == HT_OK && good ? 0 : 1;
}
