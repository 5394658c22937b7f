/* The profile of the rounds, as files that other programs show. */
#ifndef GENSEG_PROFILE_H
#define GENSEG_PROFILE_H

#include <ht/ht.h>

/**
 * Writes round.txt (a table), round.json (a trace for chrome://tracing and Perfetto) and round.svg (a flame graph) into an
 * existing folder, over older ones. The program was compiled with .profile = 1 and has run.
 */
ht_status genseg_profile_write(const ht_program *program, const char *folder, ht_error *error);

#endif
