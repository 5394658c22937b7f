/*
 * Cases of a whole round: networks and losses are genseg's own, the levels are recorded as its round does, and the steps
 * are those of the case. Both forms of the generator's cells are worked out; both must agree with the case.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "levels.h"
#include "procedure.h"

enum { G = CONFORM_LEVEL_G, H = CONFORM_LEVEL_H, S = CONFORM_LEVEL_S, LETTERS = CONFORM_LEVELS };
static const char letters[] = "GHSA";

/* A round while it is worked out. */
typedef struct procedure {
    conform_case *c;
    json_t *config, *order;
    conform_rule rule[LETTERS]; /* of G and S */
    ht_var factors[2][GENSEG_LEVELS_MAX];
    conform_levels levels;
} procedure;

static ht_vars step_by_rule(ht_vars weights, ht_vars gradients, void *rule)
{
    return conform_rule_step(weights, gradients, rule);
}

/* ---- what the case says ---- */

/* The weights of one letter: tensors LETTER.NAME that are no moments. */
static void take_weights(procedure *p, int32_t letter)
{
    conform_case *c = p->c;
    for (int32_t i = 0; i < ht_store_count(c->tensors) && c->error.status == HT_OK; i++) {
        const char *name = ht_store_name(c->tensors, i);
        if (name[0] != letters[letter] || name[1] != '.') continue;
        if (strncmp(name + 2, "adam.", 5) == 0 || strncmp(name + 2, "rmsprop.", 8) == 0) continue;
        ht_shape shape = ht_store_shape(c->tensors, i);
        if (ht_store_add(p->levels.store[letter], name + 2, ht_store_dtype(c->tensors, i), shape, HT_PARAMETER, &c->error) >= 0)
            ht_store_set(p->levels.store[letter], name + 2, ht_store_data(c->tensors, i), ht_shape_count(shape), &c->error);
    }
    if (c->error.status == HT_OK && ht_store_count(p->levels.store[letter]) == 0)
        ht_fail(&c->error, HT_EFORMAT, "there is no tensor \"%c.NAME\"; expected its weights", letters[letter]);
}

static void take_factors(procedure *p)
{
    static const char *const uses[] = {"gan", "seg"};
    for (int32_t use = 0; use < 2; use++) {
        for (int32_t i = 0; i < GENSEG_LEVELS_MAX; i++) {
            char name[32];
            snprintf(name, sizeof name, "dropout.%s.%d", uses[use], i);
            if (ht_store_find(p->c->tensors, name) >= 0) p->factors[use][i] = conform_input(p->c, p->levels.tape, name);
        }
    }
}

static int32_t size_of(const procedure *p, const char *key)
{
    if (!json_object_get(p->config, key)) ht_fail(&p->c->error, HT_EFORMAT, "configuration: no \"%s\"; expected it", key);
    return conform_whole(p->config, key, 1, &p->c->error);
}

static void take_networks(procedure *p)
{
    static const char *const searches[] = {"encoder", "decoder", "both", NULL};
    static const genseg_search search[] = {GENSEG_SEARCH_ENCODER, GENSEG_SEARCH_DECODER, GENSEG_SEARCH_BOTH};
    ht_error *error = &p->c->error;
    int32_t smooth = conform_flag(p->config, "smooth", 0, error);
    int dice = conform_flag(p->config, "dice", 1, error);
    p->levels.gan = (genseg_networks){
        .generator = {.levels = size_of(p, "downs"), .width = size_of(p, "ngf"), .channels = size_of(p, "channels"),
                      .search = search[conform_word(p->config, "search", searches, 1, error)], .smooth = smooth},
        .discriminator = {.width = size_of(p, "ndf"), .layers = size_of(p, "d_layers"), .smooth = smooth},
        .segmenter = {.width = size_of(p, "unet_base"), .depth = size_of(p, "unet_depth"), .smooth = smooth},
        .gan = GENSEG_GAN_PIX2PIX, .segmentation = dice ? GENSEG_SEG_CE_DICE : GENSEG_SEG_CE,
        .l1 = conform_real(p->config, "l1", 100, error),
    };
    p->levels.gamma = conform_real(p->config, "gamma", 1, error);
    p->levels.seg = p->levels.gan;
    p->levels.gan.generator.factors = p->factors[0];
    p->levels.seg.generator.factors = p->factors[1];
}

/* ---- what is compared ---- */

/* The numbers of one row: sum, 2-norm, inner product with cos(0), cos(1), cos(2), ... */
enum { ROW = 3 };
static void summarise(const double *numbers, int64_t count, double row[ROW])
{
    row[0] = row[1] = row[2] = 0;
    for (int64_t i = 0; i < count; i++) {
        row[0] += numbers[i];
        row[1] += numbers[i] * numbers[i];
        row[2] += numbers[i] * cos((double)i);
    }
    row[1] = sqrt(row[1]);
}

/* The value of that name, or an empty one. */
static ht_var named(ht_vars list, const char *name)
{
    for (int32_t i = 0; i < list.count; i++)
        if (name && strcmp(list.names[i], name) == 0) return list.at[i];
    return (ht_var){0};
}

/* Names of a letter in the order of the case: a member of an object, or those of one list that begin with the letter. */
static json_t *order_of(const procedure *p, const char *key)
{
    json_t *names = json_array(), *all = json_is_array(p->order) ? p->order : json_object_get(p->order, key), *name;
    size_t i;
    json_array_foreach(all, i, name) {
        const char *text = json_string_value(name);
        int full = text && text[0] == key[0] && text[1] == '.';
        if (text && (full || all != p->order)) json_array_append_new(names, json_string(full ? text + 2 : text));
    }
    return names;
}

/* One tensor "checksum.*": a row for each tensor of a letter, in the order of the case. */
static void compare_checksum(procedure *p, ht_program *program, const char *name, ht_vars values, int32_t letter)
{
    conform_case *c = p->c;
    char key[2] = {letters[letter], 0};
    json_t *order = order_of(p, key);
    size_t count = json_array_size(order);
    double *rows = calloc(count + 1, sizeof(double) * ROW);
    if (!rows) ht_fail(&c->error, HT_ENOMEM, "no memory for checksums");
    if (count != (size_t)values.count)
        ht_fail(&c->error, HT_EFORMAT, "metadata \"order\" names %zu tensors of %s; expected %d", count, key, values.count);
    for (size_t i = 0; i < count && c->error.status == HT_OK; i++) {
        const char *tensor = json_string_value(json_array_get(order, i));
        ht_var value = named(values, tensor);
        if (!ht_ok(value)) {
            ht_fail(&c->error, HT_EFORMAT, "metadata \"order\": %s has no tensor \"%.64s\"", key, tensor ? tensor : "?");
            break;
        }
        double *numbers = conform_numbers(c, program, value);
        if (numbers) summarise(numbers, ht_shape_count(ht_var_shape(value)), rows + ROW * i);
        free(numbers);
    }
    if (rows) conform_compare(c, name, HT_SHAPE((int64_t)count, ROW), rows);
    free(rows);
    json_decref(order);
}

static void compare_list(procedure *p, ht_program *program, const char *prefix, ht_vars values)
{
    for (int32_t i = 0; i < values.count; i++) {
        char name[CONFORM_NAME];
        snprintf(name, sizeof name, "%s.%s", prefix, values.names[i]);
        conform_compare_output(p->c, program, name, values.at[i]);
    }
}

static void compare_round(procedure *p, ht_program *program, const mlo_round *round)
{
    static const char *const losses[] = {"loss_gan", "loss_discriminator", "loss_seg", "loss_val"};
    for (int32_t i = 0; i < 4; i++) conform_compare_output(p->c, program, losses[i], round->loss[i]);
    conform_compare_output(p->c, program, "generated", p->levels.generated);
    compare_list(p, program, "h_eq9", round->path);
    compare_list(p, program, "h_direct", round->direct);
    compare_list(p, program, "h_total", round->total);
    compare_checksum(p, program, "checksum.G_new", round->next[G], G);
    compare_checksum(p, program, "checksum.S_new", round->next[S], S);
    compare_checksum(p, program, "checksum.H_gradient", round->gradient[H], H);
}

/* ---- the whole ---- */

/* A weight that recording had to make was not in the file. */
static void look_for_missing(procedure *p, const int32_t *before)
{
    for (int32_t i = 0; i < LETTERS; i++)
        for (int32_t k = before[i]; k < ht_store_count(p->levels.store[i]); k++)
            if (ht_store_role(p->levels.store[i], k) == HT_PARAMETER)
                ht_fail(&p->c->error, HT_EFORMAT, "there is no tensor \"%c.%s\"; expected it", letters[i],
                        ht_store_name(p->levels.store[i], k));
}

static void record_and_compare(procedure *p)
{
    conform_case *c = p->c;
    int32_t before[LETTERS];
    for (int32_t i = 0; i < LETTERS; i++) before[i] = ht_store_count(p->levels.store[i]);
    p->levels.mask = conform_input(c, p->levels.tape, "batch.mask");
    p->levels.image = conform_input(c, p->levels.tape, "batch.image");
    p->levels.augmented = conform_input(c, p->levels.tape, "batch.augmented");
    p->levels.val_mask = conform_input(c, p->levels.tape, "val.mask");
    p->levels.val_image = conform_input(c, p->levels.tape, "val.image");
    take_factors(p);
    if (c->error.status != HT_OK) return;
    for (int32_t i = G; i <= S; i += S - G) p->levels.step[i] = (conform_step){.record = step_by_rule, .context = &p->rule[i]};
    mlo_round round = conform_levels_record(&p->levels, MLO_UNROLL, MLO_OPTIMIZER);
    look_for_missing(p, before);
    if (ht_tape_error(p->levels.tape)->status != HT_OK)
        ht_fail(&c->error, ht_tape_error(p->levels.tape)->status, "%s", ht_tape_error(p->levels.tape)->message);
    if (c->error.status != HT_OK) return;
    ht_vars outputs = ht_list(p->levels.generated, round.loss[0], round.loss[1], round.loss[2], round.loss[3]);
    const ht_vars more[] = {round.path, round.direct, round.total, round.next[G], round.next[S], round.gradient[H]};
    for (size_t i = 0; i < sizeof more / sizeof more[0]; i++)
        if (more[i].count) outputs = ht_vars_join(outputs, more[i]);
    ht_program *program = conform_run(c, p->levels.tape, outputs);
    if (program) compare_round(p, program, &round);
    ht_program_free(program);
}

/* One recording with one form of the cells, in stores of its own. */
static void work_out(procedure *p, genseg_cells cells)
{
    conform_case *c = p->c;
    p->levels.tape = ht_tape_new(HT_F64);
    int whole = p->levels.tape != NULL;
    for (int32_t i = 0; i < LETTERS; i++) whole = (p->levels.store[i] = ht_store_new(c->device)) && whole;
    if (!whole) ht_fail(&c->error, HT_ENOMEM, "no memory for a tape and its stores");
    for (int32_t i = 0; i < LETTERS && c->error.status == HT_OK; i++) take_weights(p, i);
    if (c->error.status == HT_OK) conform_rule_read(&p->rule[G], c, p->config, "G");
    if (c->error.status == HT_OK) conform_rule_read(&p->rule[S], c, p->config, "S");
    if (c->error.status == HT_OK) {
        take_networks(p);
        p->levels.gan.generator.cells = p->levels.seg.generator.cells = cells;
    }
    if (c->error.status == HT_OK) record_and_compare(p);
    ht_tape_free(p->levels.tape);
    for (int32_t i = 0; i < LETTERS; i++) {
        (void)ht_store_free(p->levels.store[i]);
        (void)ht_store_free(p->rule[i].moments);
    }
}

void conform_procedure(conform_case *c)
{
    static const genseg_cells forms[] = {GENSEG_CELLS_MERGED, GENSEG_CELLS_SEPARATE};
    json_t *config = conform_json(c, "config"), *order = config ? conform_json(c, "order") : NULL;
    for (size_t i = 0; i < sizeof forms / sizeof forms[0] && config && order && c->error.status == HT_OK; i++) {
        procedure p = {.c = c, .config = config, .order = order};
        work_out(&p, forms[i]);
    }
    json_decref(config);
    json_decref(order);
}
