/* A case's file: its metadata and tensors, what they give to a tape, and how answers are compared with them. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conform.h"

static const ht_var empty;

/* Where nothing but 0 is expected: what counts as 0, relative to the largest number that the case starts from. */
#define ZERO_TOLERANCE 1e-12

/* ---- the file ---- */

ht_status conform_metadata(conform_case *c, const char *key, ht_error *error)
{
    return ht_file_metadata(c->path, key, c->text, CONFORM_TEXT, error);
}

/* The file's own name where the case has none, so that each line says something. */
static void find_name(conform_case *c)
{
    const char *slash = strrchr(c->path, '/');
    const char *name = slash ? slash + 1 : c->path;
    if (c->text && conform_metadata(c, "name", NULL) == HT_OK && *c->text) name = c->text;
    snprintf(c->name, sizeof c->name, "%s", name);
    for (unsigned char *at = (unsigned char *)c->name; *at; at++)
        if (*at < 0x21 || *at == 0x7F) *at = '_'; /* one line, one word */
}

ht_status conform_open(conform_case *c, const char *path, ht_device *device)
{
    *c = (conform_case){.path = path, .device = device, .tolerance = 1e-8};
    c->text = malloc(CONFORM_TEXT);
    find_name(c);
    c->tensors = ht_store_new(device);
    if (!c->text || !c->tensors) return ht_fail(&c->error, HT_ENOMEM, "no memory for the case");
    ht_status status = ht_store_load(c->tensors, path, &c->error);
    if (status != HT_OK) return status;
    if (conform_metadata(c, "tolerance", NULL) == HT_OK) {
        char *end;
        c->tolerance = strtod(c->text, &end);
        if (end == c->text || *end || !(c->tolerance > 0) || !isfinite(c->tolerance))
            return ht_fail(&c->error, HT_EFORMAT, "metadata \"tolerance\" is \"%.32s\"; expected a number above 0", c->text);
    }
    return conform_metadata(c, "kind", &c->error);
}

void conform_close(conform_case *c)
{
    (void)ht_store_free(c->tensors);
    free(c->text);
}

json_t *conform_json(conform_case *c, const char *key)
{
    json_error_t finding;
    if (conform_metadata(c, key, &c->error) != HT_OK) return NULL;
    json_t *value = json_loads(c->text, JSON_REJECT_DUPLICATES, &finding);
    if (json_is_object(value) || (json_is_array(value) && strcmp(key, "order") == 0)) return value;
    ht_fail(&c->error, HT_EFORMAT, "metadata \"%s\": %s; expected a JSON object", key,
            value ? "JSON of another kind" : finding.text);
    json_decref(value);
    return NULL;
}

int32_t conform_find(const conform_case *c, const char *format, ...)
{
    char name[CONFORM_NAME];
    va_list list;
    va_start(list, format);
    int n = vsnprintf(name, sizeof name, format, list);
    va_end(list);
    return n > 0 && n < (int)sizeof name ? ht_store_find(c->tensors, name) : -1;
}

/* ---- to a tape, and through a program ---- */

ht_var conform_input(conform_case *c, ht_tape *tape, const char *name)
{
    int32_t i = ht_store_find(c->tensors, name);
    if (i < 0) {
        ht_fail(&c->error, HT_EFORMAT, "there is no tensor \"%s\"; expected it", name);
        return empty;
    }
    return ht_input_of(tape, name, ht_store_dtype(c->tensors, i), ht_store_shape(c->tensors, i));
}

ht_program *conform_run(conform_case *c, ht_tape *tape, ht_vars outputs)
{
    if (c->error.status != HT_OK) return NULL;
    ht_program *program = ht_compile(tape, c->device, outputs, .error = &c->error);
    if (!program) return NULL;
    for (int32_t i = 0; i < ht_store_count(c->tensors); i++) {
        const char *name = ht_store_name(c->tensors, i);
        if (ht_has_input(program, name))
            ht_set_named(program, name, ht_store_data(c->tensors, i), ht_shape_count(ht_store_shape(c->tensors, i)));
    }
    if (ht_run(program) == HT_OK) return program;
    ht_fail(&c->error, ht_program_error(program)->status, "%s", ht_program_error(program)->message);
    ht_program_free(program);
    return NULL;
}

double *conform_numbers(conform_case *c, ht_program *program, ht_var output)
{
    int64_t count = ht_shape_count(ht_var_shape(output));
    if (c->error.status != HT_OK) return NULL;
    double *numbers = malloc(sizeof *numbers * (size_t)(count > 0 ? count : 1));
    if (!numbers) {
        ht_fail(&c->error, HT_ENOMEM, "no memory for %lld numbers", (long long)count);
        return NULL;
    }
    if (ht_get(program, output, numbers, count) == HT_OK) return numbers;
    ht_fail(&c->error, ht_program_error(program)->status, "%s", ht_program_error(program)->message);
    free(numbers);
    return NULL;
}

/* ---- comparing ---- */

static double largest(const double *numbers, int64_t count)
{
    double most = 0;
    for (int64_t i = 0; i < count; i++) most = fmax(most, fabs(numbers[i]));
    return most;
}

/* The largest number that the case starts from, at least 1: what rounding to 0 is measured by. */
static double scale_of(const conform_case *c)
{
    double most = 1;
    for (int32_t i = 0; i < ht_store_count(c->tensors); i++)
        if (ht_store_dtype(c->tensors, i) == HT_F64)
            most = fmax(most, largest(ht_store_data(c->tensors, i), ht_shape_count(ht_store_shape(c->tensors, i))));
    return most;
}

/* Whether numbers of one shape can be compared with a tensor: equal shapes, or one number each. */
static int comparable(conform_case *c, const char *name, ht_shape shape, int32_t i)
{
    char a[HT_SHAPE_TEXT], b[HT_SHAPE_TEXT];
    if (c->error.status != HT_OK) return 0;
    if (i < 0) {
        ht_fail(&c->error, HT_EFORMAT, "there is no tensor \"%s\"; expected it", name);
        return 0;
    }
    ht_shape expected = ht_store_shape(c->tensors, i);
    if (ht_store_dtype(c->tensors, i) != HT_F64) {
        ht_fail(&c->error, HT_EDTYPE, "tensor \"%s\" is %s; expected float64", name,
                ht_dtype_name(ht_store_dtype(c->tensors, i)));
        return 0;
    }
    if (ht_shape_equal(shape, expected) || (ht_shape_count(shape) == 1 && ht_shape_count(expected) == 1)) return 1;
    ht_fail(&c->error, HT_ESHAPE, "\"%s\" is %s in the file; the answer is %s", name, ht_shape_text(expected, a),
            ht_shape_text(shape, b));
    return 0;
}

void conform_compare(conform_case *c, const char *name, ht_shape shape, const double *numbers)
{
    int32_t i = ht_store_find(c->tensors, name);
    if (!comparable(c, name, shape, i)) return;
    const double *expected = ht_store_data(c->tensors, i);
    int64_t count = ht_shape_count(shape);
    double most = largest(expected, count), apart = 0;
    for (int64_t k = 0; k < count; k++) {
        double gap = fabs(numbers[k] - expected[k]);
        apart = isnan(gap) ? (double)INFINITY : fmax(apart, gap);
    }
    if (most > 0) apart /= most;
    else if (apart <= ZERO_TOLERANCE * scale_of(c)) apart = 0; /* 0 to rounding */
    else apart = (double)INFINITY;
    if (apart > c->worst || !*c->worst_tensor) {
        c->worst = fmax(c->worst, apart);
        snprintf(c->worst_tensor, sizeof c->worst_tensor, "%s", name);
    }
}

void conform_compare_output(conform_case *c, ht_program *program, const char *name, ht_var output)
{
    double *numbers = conform_numbers(c, program, output);
    if (numbers) conform_compare(c, name, ht_var_shape(output), numbers);
    free(numbers);
}
