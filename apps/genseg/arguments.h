/* The command line, taken apart: commands, their options, and the settings given as flags. Private to main.c, usage.c. */
#ifndef GENSEG_ARGUMENTS_H
#define GENSEG_ARGUMENTS_H

#include <stdio.h>

#include "options.h"

enum { GENSEG_COMMAND_TRAIN = 1, GENSEG_COMMAND_EVALUATE = 2, GENSEG_COMMAND_PREDICT = 4, GENSEG_COMMAND_REPORT = 8 };

typedef struct genseg_command {
    const char *name;
    int32_t bit;
    const char *subject, *form, *summary, *example; /* subject: the first positional argument */
} genseg_command;

/* An option that is no setting: a switch if value is NULL. */
typedef struct genseg_option {
    const char *name, *value;
    size_t offset;                /* of a const char * or a bool in genseg_arguments; --set has none */
    int32_t commands;
    const char *help;
} genseg_option;

/* One setting from a flag or from --set. */
typedef struct genseg_assignment {
    const genseg_field *field;
    const char *value;
    bool by_set;
} genseg_assignment;

typedef struct genseg_arguments {
    const genseg_command *command; /* NULL with help or version alone */
    const char *subject, *out, *config, *data, *split, *images, *profile;
    bool resume, dry_run, quiet, help, version;
    genseg_assignment *assignments; /* in the order given; free it */
    int32_t assignment_count;
} genseg_arguments;

/** Reads the command line. EINVALID with one message that names the nearest known word; ENOMEM. */
ht_status genseg_arguments_read(int count, char **words, genseg_arguments *out, ht_error *error);
void genseg_arguments_free(genseg_arguments *arguments);
/** Preset, then file, then flags, checked. */
ht_status genseg_arguments_resolve(const genseg_arguments *arguments, genseg_config *config, ht_error *error);

/** Tables; NULL behind the end. */
const genseg_command *genseg_command_at(int32_t index);
const genseg_option *genseg_option_at(int32_t index);

/** Help of one command, or of the program if command is NULL. */
void genseg_usage(const genseg_command *command, FILE *to);

#endif
