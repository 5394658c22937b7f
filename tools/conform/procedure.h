/* A whole round of a case: what the configuration says, and the rules of its steps. */
#ifndef CONFORM_PROCEDURE_H
#define CONFORM_PROCEDURE_H

#include "conform.h"
#include "genseg/networks.h"

/** Names of the rules, in the order of conform_rule_words. */
typedef enum conform_rule_kind { CONFORM_SGD, CONFORM_ADAM, CONFORM_RMSPROP } conform_rule_kind;

/** How one level steps: the rule, its numbers, and the store of the moments that it starts from. */
typedef struct conform_rule {
    conform_rule_kind kind;
    double rate, weight_decay, beta1, beta2, eps, decay, momentum;
    int32_t step;               /* number of the step that is taken, from 1 */
    ht_store *moments;
} conform_rule;

/** Reads the member `letter` of a configuration, and its moments from the tensors of the case. */
ht_status conform_rule_read(conform_rule *rule, conform_case *c, const json_t *config, const char *letter);
/** Records the step; context is the rule. Moments are read and not written. */
ht_vars conform_rule_step(ht_vars weights, ht_vars gradients, const conform_rule *rule);

#endif
