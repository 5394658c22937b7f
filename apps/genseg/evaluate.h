/* Scoring of the segmenter on whole cases at their original size, and what is written about it. */
#ifndef GENSEG_EVALUATE_H
#define GENSEG_EVALUATE_H

#include <ht/nn.h>

#include "data.h"
#include "networks.h"
#include "progress.h"
#include "run.h"

/** The segmenter as a program: [1, channels, size, size] to probabilities. Reads the store's values at each use. */
typedef struct genseg_predictor genseg_predictor;
genseg_predictor *genseg_predictor_new(ht_device *device, ht_store *segmenter, const genseg_networks *nets,
                                       const genseg_config *config, const volatile int *interrupt, ht_error *error);
void genseg_predictor_free(genseg_predictor *predictor);
/** Progress that scoring a split tells after each case; NULL (as at first) for none. Lent. */
void genseg_predictor_show(genseg_predictor *predictor, genseg_progress *progress);
/**
 * The 0/1 mask of a case at its original size (probability > threshold); the caller frees *mask. EINTERRUPTED if the
 * interrupt is set, and the predictor may be used again; EINVALID if the weights give no numbers.
 */
ht_status genseg_predictor_mask(genseg_predictor *predictor, const genseg_case *c, double threshold, uint8_t **mask,
                                ht_error *error);

/**
 * Scores every case of a split at its original size (probability > threshold). rows: one per case, in the split's order;
 * the caller frees *rows (names are lent by the split). metrics: all but the selection.
 */
ht_status genseg_score_split(genseg_predictor *predictor, const genseg_split *split, const char *split_name,
                             double threshold, genseg_case_row **rows, genseg_metrics *metrics, ht_error *error);
/**
 * The same for the end of a run: scores, metrics.json, cases.csv, predictions/NAME.png (mask, 0 and 255) and
 * predictions/NAME-overlay.png (image, outline of the truth in green, of the prediction in magenta). The folder must
 * exist. The numbers are written last: where they are, the pictures are complete.
 */
ht_status genseg_evaluate_split(genseg_predictor *predictor, const genseg_split *split, const char *split_name,
                                const genseg_config *config, const char *selection, int64_t selection_round,
                                const char *folder, genseg_metrics *metrics, ht_error *error);

#endif
