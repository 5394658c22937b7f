/*
 * What the command line hands to a command, and what comes back. The return value of a command is the exit code of the
 * program; when it is not 0 the record holds the one line that main prints.
 */
#ifndef GENSEG_COMMANDS_H
#define GENSEG_COMMANDS_H

#include <stdbool.h>

#include "config.h"

/* Exit codes: contract, section 2. */
enum {
    GENSEG_EXIT_DONE = 0,
    GENSEG_EXIT_FAILURE = 1,
    GENSEG_EXIT_USAGE = 2,        /* usage or input                            */
    GENSEG_EXIT_STOPPED = 75,     /* on request, the checkpoint is durable     */
    GENSEG_EXIT_INTERRUPTED = 130 /* without a checkpoint                      */
};

/* Texts are lent for the call; those that a command does not take are NULL. */
typedef struct genseg_job {
    const char *run;              /* train: --out; the others: the run directory that is read         */
    const char *data;             /* train: DATA; evaluate: --data; a folder or the word phantom      */
    const char *split;            /* evaluate: train, val or test                                     */
    const char *images, *out;     /* predict                                                          */
    const char *profile;          /* train: folder for the profile of the rounds                      */
    genseg_config config;         /* train: resolved and checked; the others read RUN/config.toml     */
    bool resume, dry_run, quiet;
    volatile int *interrupt;      /* becomes 1 on SIGINT, SIGTERM, SIGUSR1 and SIGHUP                 */
} genseg_job;

int genseg_train(const genseg_job *job, ht_error *error);
int genseg_evaluate(const genseg_job *job, ht_error *error);
int genseg_predict(const genseg_job *job, ht_error *error);

/** Exit code of a status. EIO is the user's input (2) unless the file was an output (1). EINTERRUPTED gives 75. */
int genseg_exit_code(ht_status status, bool output);

#endif
