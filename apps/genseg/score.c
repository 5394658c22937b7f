/* Overlap of two masks. Not averages over cases: those belong to the run's metrics. */
#include "data.h"

/* A share of nothing: 1 where both masks are empty, 0 where one is. */
static double share(int64_t part, int64_t whole, int both_empty)
{
    return both_empty ? 1.0 : whole > 0 ? (double)part / (double)whole : 0.0;
}

genseg_score genseg_score_masks(const uint8_t *predicted, const uint8_t *truth, int64_t count)
{
    genseg_score s = {0};
    for (int64_t i = 0; i < count; i++) {
        s.true_positive += predicted[i] && truth[i];
        s.false_positive += predicted[i] && !truth[i];
        s.false_negative += !predicted[i] && truth[i];
    }
    int64_t either = s.true_positive + s.false_positive + s.false_negative;
    int empty = either == 0;
    s.dice = share(2 * s.true_positive, s.true_positive + either, empty);
    s.jaccard = share(s.true_positive, either, empty);
    s.precision = share(s.true_positive, s.true_positive + s.false_positive, empty);
    s.recall = share(s.true_positive, s.true_positive + s.false_negative, empty);
    return s;
}
