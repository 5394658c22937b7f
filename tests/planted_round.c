/*
 * The text of apps/genseg/round.c under other names, in which the map from the generator's range to the segmenter's is
 * ours: the program that trains, with the one mistake that cuts its path.
 */
#include "planted_round.h"

static planted_defect chosen;

void planted_choose(planted_defect defect) { chosen = defect; }

static ht_var planted_to_unit(ht_var generated)
{
    ht_var x = genseg_to_unit(generated);
    switch (chosen) {
    case PLANTED_ROUND: return ht_scale(ht_round(ht_scale(x, 255)), 1.0 / 255);
    case PLANTED_STOP: return ht_stop(x);
    case PLANTED_BYTES: return ht_scale(ht_cast(ht_cast(ht_scale(x, 255), HT_I32), ht_tape_dtype(x.tape)), 1.0 / 255);
    default: return x;
    }
}

genseg_recording planted_record_plain(ht_tape *tape, const genseg_state *state, const genseg_config *config,
                                      const genseg_networks *nets, genseg_sizes sizes);
genseg_recording planted_record_pretraining(ht_tape *tape, const genseg_state *state, const genseg_config *config,
                                            const genseg_networks *nets, genseg_sizes sizes);
ht_var planted_record_picture(ht_tape *tape, const genseg_state *state, const genseg_config *config,
                              const genseg_networks *nets, genseg_sizes sizes);
mlo_method planted_method_of(const genseg_config *config);

#define genseg_to_unit planted_to_unit
#define genseg_record_round planted_record_round
#define genseg_record_plain planted_record_plain
#define genseg_record_pretraining planted_record_pretraining
#define genseg_record_picture planted_record_picture
#define genseg_method_of planted_method_of
#include "round.c"
