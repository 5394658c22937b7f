/* run.json: what a run was made with and from, and how far it came. For those who read it later, and for the report. */
#ifndef GENSEG_RECORD_H
#define GENSEG_RECORD_H

#include "config.h"
#include "data.h"
#include "state.h"

typedef enum genseg_job_status {
    GENSEG_JOB_RUNNING, /* also what is left of a run that was killed */
    GENSEG_JOB_DONE,
    GENSEG_JOB_STOPPED  /* on request, its checkpoint is durable      */
} genseg_job_status;

/* Everything is lent for the call. */
typedef struct genseg_job_facts {
    genseg_job_status status;
    const genseg_config *config;
    const genseg_dataset *data;
    const char *data_path;       /* as given: a folder, or the word phantom                           */
    uint64_t phantom_seed;       /* shown for the phantom alone                                       */
    const genseg_state *state;   /* rounds, seconds, numbers of parameters; hashed unless RUNNING     */
    const char *path_cut;        /* where the path from A to the validation loss is cut; NULL: whole  */
} genseg_job_facts;

/** Writes RUN/run.json, durably; at the start and at the end. ENOMEM, EIO naming the file. */
ht_status genseg_record_write(const char *run, const genseg_job_facts *facts, ht_error *error);

#endif
