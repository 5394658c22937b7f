/* The application's own round (apps/genseg/round.c, compiled a second time) with a defect on the generated image. */
#ifndef TESTS_PLANTED_ROUND_H
#define TESTS_PLANTED_ROUND_H

#include "round.h"

typedef enum planted_defect { PLANTED_NOTHING, PLANTED_ROUND, PLANTED_STOP, PLANTED_BYTES } planted_defect;

/** The defect that the next recordings have. PLANTED_BYTES: grey values of a picture, as 8-bit integers. */
void planted_choose(planted_defect defect);

genseg_recording planted_record_round(ht_tape *tape, const genseg_state *state, const genseg_config *config,
                                      const genseg_networks *nets, genseg_sizes sizes, mlo_method method, int32_t commit);

#endif
