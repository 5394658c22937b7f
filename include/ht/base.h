/*
 * hypertape: status values, errors, number types and shapes.
 * Errors are values: nothing here prints, aborts or keeps state of its own.
 */
#ifndef HT_BASE_H
#define HT_BASE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Place of a call, "file:line", as one static string per call site. */
#define HT_HERE_TEXT2(line) #line
#define HT_HERE_TEXT(line) HT_HERE_TEXT2(line)
#define HT_HERE __FILE__ ":" HT_HERE_TEXT(__LINE__)

typedef enum ht_status {
    HT_OK = 0,
    HT_EINVALID,     /* an argument out of its range                        */
    HT_ESHAPE,       /* shapes that do not fit together                     */
    HT_EDTYPE,       /* number types that do not fit together               */
    HT_EDEVICE,      /* the device is absent or gave up                     */
    HT_ENOMEM,       /* an allocation was refused                           */
    HT_EIO,          /* the operating system refused a file operation       */
    HT_EFORMAT,      /* a file does not have the form that it should have   */
    HT_EUNSUPPORTED, /* valid, but not on this device or in this build      */
    HT_EINTERRUPTED, /* stopped on request; nothing was changed             */
    HT_EINTERNAL     /* a broken invariant of the library                   */
} ht_status;

/** Name of a status, for example "ESHAPE". Never NULL. */
const char *ht_status_name(ht_status status);

#define HT_MESSAGE_BYTES 496

/**
 * The caller's error record: lives on the caller's stack, zero-initialised is "no error".
 * The first error stays: functions that take a record with status != HT_OK leave it as it is.
 * message   "PLACE: op "scope/name": what is, with shapes; what was expected"
 */
typedef struct ht_error {
    ht_status status;
    char message[HT_MESSAGE_BYTES];
} ht_error;

/** Types of numbers. No operation changes the type of its operands but ht_cast. */
typedef enum ht_dtype { HT_F32 = 1, HT_F64, HT_I32 } ht_dtype;

/** Bytes of one number; 0 for a value that is no dtype. */
size_t ht_dtype_bytes(ht_dtype dtype);
/** "f32", "f64", "i32"; "?" for a value that is no dtype. */
const char *ht_dtype_name(ht_dtype dtype);

#define HT_MAX_RANK 8

/** Sizes of an array, outermost first. Rank 0 is a single number. */
typedef struct ht_shape {
    int32_t rank;
    int64_t dim[HT_MAX_RANK];
} ht_shape;

/** Shape from a list of sizes: HT_SHAPE(2, 3, 64, 64); HT_SCALAR for rank 0. */
#define HT_SHAPE(...) \
    ht_shape_of((const int64_t[]){__VA_ARGS__}, (int32_t)(sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t)))
#define HT_SCALAR ht_shape_of(NULL, 0)

/** More sizes than HT_MAX_RANK give rank -1, which every operation refuses. */
ht_shape ht_shape_of(const int64_t *dim, int32_t rank);
/** Number of elements; -1 if a size is negative, the rank is wrong, or the product leaves int64_t. */
int64_t ht_shape_count(ht_shape shape);
/** 1 if rank and all sizes agree, else 0. */
int ht_shape_equal(ht_shape a, ht_shape b);

#define HT_SHAPE_TEXT 96
/** Writes "[2,3,64,64]" into text (at most HT_SHAPE_TEXT bytes) and returns text. */
char *ht_shape_text(ht_shape shape, char text[HT_SHAPE_TEXT]);

/**
 * Sets the record, unless it already holds an error, with a printf-style message; returns status.
 * error may be NULL.
 */
#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
ht_status ht_fail(ht_error *error, ht_status status, const char *format, ...);

#ifdef __cplusplus
}
#endif
#endif
