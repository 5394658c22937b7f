/*
 * What an example does with --dump as its last argument: it prints its tape instead of running, and tests/golden holds that.
 * Instructions, shapes and scopes are the model as it was understood; a change of them can be reviewed.
 */
#ifndef EXAMPLES_DUMP_H
#define EXAMPLES_DUMP_H

#include <stdio.h>
#include <string.h>

#include <ht/program.h>

/* 1 if the example was called with --dump; then the tape is printed, and, if it has an error, that. */
static inline int dumped(int argc, char **argv, const ht_tape *tape)
{
    if (argc < 2 || strcmp(argv[argc - 1], "--dump") != 0) return 0;
    ht_dump(tape, stdout);
    fputs(ht_tape_error(tape)->message, stderr);
    return 1;
}

#endif
