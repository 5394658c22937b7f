/*
 * Programs: a tape compiled for a device. Straight-line code with fixed addresses; set, run, get, again and again.
 */
#ifndef HT_PROGRAM_H
#define HT_PROGRAM_H

#include <stdio.h>

#include <ht/tape.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ht_program ht_program;

/*
 * What convolutions may do. AUTO: of the algorithms for a shape the fastest whose error is at most about twice that of
 * the direct one (docs/performance.md has both measured). DIRECT: only sums of products as the definition has them.
 */
typedef enum ht_convolution { HT_CONVOLUTION_AUTO = 0, HT_CONVOLUTION_DIRECT } ht_convolution;

/*
 * What numbers convolutions and matrix products multiply. TYPED: the operands as they are. BF16: f32 operands rounded to
 * bf16 (8 bits of significand; to the nearest, ties to even; NaN stays NaN), their products summed in f32, the result f32;
 * everything else stays f32. For derivatives the rounding counts as the identity, and each convolution of a derivative
 * rounds its own operands. Where the library has no fast kernel for a shape, f32 stays: the facts count both.
 */
typedef enum ht_precision { HT_PRECISION_TYPED = 0, HT_PRECISION_BF16 } ht_precision;

/** HT_OK if programs for the device may have the precision; else EUNSUPPORTED or EINVALID and a filled record. */
ht_status ht_precision_check(const ht_device *device, ht_precision precision, ht_error *error);

typedef struct ht_compile_args {
    ht_tape *tape;
    ht_device *device;
    ht_vars outputs;    /* what ht_get may ask for, beside what the tape writes into stores */
    ht_error *error;    /* filled when NULL is returned                                     */
    const volatile int *interrupt; /* polled between instructions; non-zero stops the run with EINTERRUPTED */
    int32_t check;      /* 1: look for NaN and infinity after every instruction and name its place */
    int32_t profile;    /* 1: time every instruction, for ht_profile                                        */
    ht_convolution convolution; /* default HT_CONVOLUTION_AUTO; matters for f32 alone                        */
    ht_precision precision; /* default HT_PRECISION_TYPED; BF16 is EUNSUPPORTED with f64 tapes, on processors without
                               bf16 instructions, and in builds without oneDNN                           */
    size_t memory_limit; /* most bytes of the arena; what does not fit is computed again. 0: no limit       */
} ht_compile_args;

/**
 * Compiles: removes what nothing needs, chooses physical order, packs weights, lays out one arena by lifetimes,
 * appends the commit section. The tape may be freed afterwards; stores that it reads must outlive the program.
 *     ht_compile(tape, device, ht_list(loss), .error = &error)
 * With .memory_limit, values whose arena would not fit are dropped and computed again before their next use: every result
 * keeps its bits, the run takes longer. The arena is all but inputs, constants and stores. A limit that cannot be reached is
 * ENOMEM; the message names the least that was reached, and the step and the largest values at its peak.
 * NULL and a filled record on an error of the tape, ENOMEM, EUNSUPPORTED.
 */
#define ht_compile(...) ht_compile_((ht_compile_args){__VA_ARGS__})
ht_program *ht_compile_(ht_compile_args args);
void ht_program_free(ht_program *program);

/** Copies numbers into an input (count must be its number of elements). Errors stick to the program. */
ht_status ht_set(ht_program *program, ht_var input, const void *numbers, int64_t count);
/** The same by the input's name, for hosts that no longer have the tape. */
ht_status ht_set_named(ht_program *program, const char *input, const void *numbers, int64_t count);
/** 1 if the tape had an input of that name, else 0. */
int ht_has_input(const ht_program *program, const char *input);
/** Runs once. After a failure nothing runs any more and every call returns the first failure, until ht_resume. */
ht_status ht_run(ht_program *program);
/** Copies an output, row-major. The var is one of the outputs given to ht_compile. */
ht_status ht_get(ht_program *program, ht_var output, void *numbers, int64_t count);
/** The same by position in the list of outputs. */
ht_status ht_get_at(ht_program *program, int32_t output, void *numbers, int64_t count);
/** The program's sticky error. Lent. */
const ht_error *ht_program_error(const ht_program *program);
/** Clears a sticky EINTERRUPTED: the program may run again. Other failures stay. */
void ht_resume(ht_program *program);

typedef struct ht_program_facts {
    int64_t recorded, instructions;      /* on the tape; in the program */
    int64_t conversions;                 /* changes of physical order, packings of weights, roundings to bf16 */
    int64_t products, bf16;              /* convolutions and matrix products; those of them on operands rounded to bf16 */
    int64_t groups, fused;               /* groups of pointwise instructions that run together; instructions in them */
    int64_t repeated;                    /* instructions more, since values are made again rather than kept at little cost */
    size_t arena_bytes, value_bytes;     /* planned; sum of all values without reuse */
    double convolution_flop, flop;       /* per run; flop = convolutions and matrix products */
    double prepare_seconds;              /* of compiling: kernels preparing themselves, as libraries do their primitives */
    int64_t recomputed;                  /* instructions that run again for .memory_limit, also those within groups */
    double recomputed_flop;              /* of these and of the repeated, per run; not in flop */
} ht_program_facts;
ht_program_facts ht_program_describe(const ht_program *program);

/** Prints a tape, one line per instruction with its place. */
void ht_dump(const ht_tape *tape, FILE *file);
/** Prints a program: the planned steps with physical order, offset and place. */
void ht_program_dump(const ht_program *program, FILE *file);

typedef enum ht_profile_form {
    HT_PROFILE_TABLE = 0, /* text: milliseconds, share, steps, GF/s and GB/s by op, by scope and by line of the caller     */
    HT_PROFILE_TRACE,     /* JSON of complete events, for chrome://tracing and Perfetto: scopes, and the steps within them  */
    HT_PROFILE_FLAME      /* an SVG picture: scopes stacked, then op, then line; a frame's width is its time                */
} ht_profile_form;
/**
 * Writes where the time of the runs went, for a program compiled with .profile = 1: the mean over its runs. The time of
 * pointwise ops that run together ("fused") counts for the place of the first of them. GB/s are bytes of what a step
 * reads and writes, by its shapes. Names from elsewhere are escaped; bytes that are no UTF-8 become U+FFFD.
 * EINVALID before a timed run, ENOMEM, EIO.
 */
ht_status ht_profile(const ht_program *program, ht_profile_form form, FILE *file, ht_error *error);

#ifdef __cplusplus
}
#endif
#endif
