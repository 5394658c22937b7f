/* The rules by which a case's levels step: as the configuration names them, with the moments that the file holds. */
#include <stdio.h>
#include <string.h>

#include "procedure.h"

static const char *const words[] = {"sgd", "adam", "rmsprop", NULL};

/* A number under any of the names that frameworks use for it (with blanks between them), the first being ours. */
static double number(const json_t *o, const char *names, double otherwise, ht_error *error)
{
    char name[32];
    for (const char *at = names; *at; at += strspn(at, " ")) {
        size_t length = strcspn(at, " ");
        snprintf(name, sizeof name, "%.*s", (int)length, at);
        if (json_object_get(o, name)) return conform_real(o, name, otherwise, error);
        at += length;
    }
    return otherwise;
}

/* The library's options take 0 as "the default". */
static double given(double value) { return value == 0 ? NN_NONE : value; }

/* Copies the tensors PREFIX.NAME of the file to SLOT/NAME of the moments. */
static ht_status take_slot(conform_rule *rule, conform_case *c, const char *prefix, const char *slot)
{
    size_t length = strlen(prefix);
    for (int32_t i = 0; i < ht_store_count(c->tensors); i++) {
        const char *name = ht_store_name(c->tensors, i);
        char to[CONFORM_NAME];
        if (strncmp(name, prefix, length) != 0) continue;
        snprintf(to, sizeof to, "%s/%s", slot, name + length);
        ht_shape shape = ht_store_shape(c->tensors, i);
        ht_dtype dtype = ht_store_dtype(c->tensors, i);
        if (ht_store_add(rule->moments, to, dtype, shape, HT_BUFFER, &c->error) < 0) return c->error.status;
        ht_store_set(rule->moments, to, ht_store_data(c->tensors, i), ht_shape_count(shape), &c->error);
    }
    return c->error.status;
}

static ht_status take_moments(conform_rule *rule, conform_case *c, const char *letter)
{
    static const struct { conform_rule_kind kind; const char *part, *slot; } slots[] = {
        {CONFORM_ADAM, "adam.m", "m"}, {CONFORM_ADAM, "adam.v", "v"},
        {CONFORM_RMSPROP, "rmsprop.square", "square"}, {CONFORM_RMSPROP, "rmsprop.buffer", "buffer"}};
    rule->moments = ht_store_new(c->device);
    if (!rule->moments) return ht_fail(&c->error, HT_ENOMEM, "no memory for moments");
    for (size_t k = 0; k < sizeof slots / sizeof slots[0]; k++) {
        char prefix[64];
        snprintf(prefix, sizeof prefix, "%s.%s.", letter, slots[k].part);
        if (slots[k].kind == rule->kind) take_slot(rule, c, prefix, slots[k].slot);
    }
    if (rule->kind != CONFORM_ADAM || c->error.status != HT_OK) return c->error.status;
    int32_t before = rule->step - 1;
    if (before < 0) return ht_fail(&c->error, HT_EINVALID, "rule \"%s\": step %d; expected 1 or more", letter, rule->step);
    if (ht_store_add(rule->moments, "step", HT_I32, HT_SCALAR, HT_BUFFER, &c->error) < 0) return c->error.status;
    return ht_store_set(rule->moments, "step", &before, 1, &c->error);
}

/* The rule is named by a member's value, whatever the member is called, or by the whole of the text. */
static int find_kind(conform_rule *rule, const json_t *o)
{
    const char *key, *word = json_string_value(o);
    json_t *value;
    int found = -1;
    for (int32_t i = 0; words[i]; i++) {
        if (word && strcmp(word, words[i]) == 0) found = i;
        json_object_foreach((json_t *)o, key, value)
            if (json_is_string(value) && strcmp(json_string_value(value), words[i]) == 0) found = i;
    }
    if (found >= 0) rule->kind = (conform_rule_kind)found;
    return found >= 0;
}

ht_status conform_rule_read(conform_rule *rule, conform_case *c, const json_t *config, const char *letter)
{
    const json_t *o = json_object_get(config, letter);
    ht_error *error = &c->error;
    if (!find_kind(rule, o))
        return ht_fail(error, HT_EINVALID, "configuration \"%s\" names no rule; expected \"rule\": sgd, adam or rmsprop", letter);
    rule->rate = number(o, "rate lr eta", 0, error);
    rule->weight_decay = number(o, "weight_decay", 0, error);
    rule->beta1 = number(o, "beta1 beta_1 b1", 0.9, error);
    rule->beta2 = number(o, "beta2 beta_2 b2", 0.999, error);
    const json_t *betas = json_object_get(o, "betas");
    if (json_array_size(betas) == 2) {
        rule->beta1 = json_number_value(json_array_get(betas, 0));
        rule->beta2 = json_number_value(json_array_get(betas, 1));
    }
    rule->eps = number(o, "eps epsilon", 1e-8, error);
    rule->decay = number(o, "decay smoothing alpha", 0.99, error);
    rule->momentum = number(o, "momentum", 0, error);
    rule->step = conform_whole(o, json_object_get(o, "step") ? "step" : "t", 1, error);
    return error->status == HT_OK ? take_moments(rule, c, letter) : error->status;
}

ht_vars conform_rule_step(ht_vars weights, ht_vars gradients, const conform_rule *rule)
{
    switch (rule->kind) {
    case CONFORM_ADAM:
        return nn_adam(rule->moments, weights, gradients, .rate = rule->rate, .beta1 = given(rule->beta1),
                       .beta2 = given(rule->beta2), .eps = given(rule->eps), .weight_decay = rule->weight_decay,
                       .read_only = 1);
    case CONFORM_RMSPROP:
        return nn_rmsprop(rule->moments, weights, gradients, .rate = rule->rate, .smoothing = given(rule->decay),
                          .momentum = given(rule->momentum), .eps = given(rule->eps), .weight_decay = rule->weight_decay,
                          .read_only = 1);
    case CONFORM_SGD: break;
    }
    return nn_sgd(weights, gradients, .rate = rule->rate, .weight_decay = rule->weight_decay);
}
