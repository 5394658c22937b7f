/*
 * ht-gradcheck: checks the derivatives of every op. Arguments, and where the report goes. What is wrong with either is said
 * before anything is checked.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "genseg/options.h"
#include "suite.h"

#define EXIT_FAILED 1
#define EXIT_USAGE 2

static const char usage[] =
    "usage: ht-gradcheck [--op NAME] [--order N] [--dtype T] [--seed N] [--json] [--junit FILE] [--plant OP:INPUT:RELATIVE]\n"
    "\n"
    "Checks the derivatives of every op of the library, and of its norms, losses and layers: orders 1 to 3 in double\n"
    "precision, against differences of the order before, of forward mode against reverse mode, of mixed modes, and of single\n"
    "entries of the gradient. Differences that would cross a kink are taken with a smaller step. Then against a second text of\n"
    "what every op means, which shares nothing with kernels and rules: values in f64 and f32, differences of the value in\n"
    "quadruple precision, complex steps. Every sample is tried at sizes 0 and 1 too: taken, or refused in clear words.\n"
    "The row bf16 compares products on operands rounded to bf16 with f64, where the processor has them.\n"
    "\n"
    "  --op NAME      one op only, for example conv or batch_norm; or bf16\n"
    "  --order N      one order only: 1, 2 or 3\n"
    "  --dtype T      f64 (default), or f32: values and first derivatives in f32 against f64, within 1e-5;\n"
    "                 within 1e-4 at sizes that are made by rule\n"
    "  --seed N       of all random numbers (default 1): equal seeds, equal checks\n"
    "  --json         the report as JSON on standard output\n"
    "  --junit FILE   the report as JUnit in FILE as well, opened before anything is checked\n"
    "  --plant OP:INPUT:RELATIVE   makes the derivative of OP in INPUT (from 0) wrong by this share, to try the suite\n"
    "\n"
    "Exit status: 0 every check passed, 1 any failed, 2 wrong usage, or a FILE that cannot be written.\n"
    "Example: ht-gradcheck --op conv --order 2 --seed 7\n";

typedef struct arguments {
    gradcheck_options options;
    const char *junit;
    FILE *file;             /* that --junit names, open */
    bool json, help;
} arguments;

static bool complain(const char *what, const char *is, const char *expected)
{
    fprintf(stderr, "ht-gradcheck: %s: %s; expected %s\n", what, is, expected);
    return false;
}

static bool whole_number(const char *text, uint64_t *number)
{
    char *end;
    errno = 0;
    *number = strtoull(text, &end, 10);
    return *text >= '0' && *text <= '9' && *end == 0 && errno == 0;
}

static const hti_op *op_named(const char *name, size_t bytes)
{
    for (int32_t id = 0; id < HTI_OPS; id++)
        if (strlen(hti_ops[id]->name) == bytes && memcmp(hti_ops[id]->name, name, bytes) == 0) return hti_ops[id];
    return NULL;
}

/* Copies the subject whose name is nearest; false if less than half of the name is like it, which would only mislead. */
static bool near_subject(const char *name, char nearest[GRADCHECK_NAME])
{
    char text[GRADCHECK_NAME];
    int32_t least = INT32_MAX;
    for (int32_t i = 0; i < gradcheck_subjects(); i++) {
        int32_t distance = genseg_word_distance(name, gradcheck_subject(i, text));
        if (distance >= least) continue;
        least = distance;
        snprintf(nearest, GRADCHECK_NAME, "%s", gradcheck_subject(i, text));
    }
    return 2 * (size_t)least < strlen(name);
}

static bool has_rule(const hti_op *op, uint64_t input)
{
    bool kind = op->kind == HTI_POINTWISE || op->kind == HTI_LINEAR || op->kind == HTI_MULTILINEAR;
    bool within = op->inputs == HTI_ANY_INPUTS ? input < GRADCHECK_INPUTS : input < (uint64_t)op->inputs;
    return kind && within && hti_carries(op, (int32_t)input);
}

static bool take_plant(const char *text, gradcheck_plant *plant)
{
    const char *first = strchr(text, ':'), *second = first ? strchr(first + 1, ':') : NULL;
    char number[24] = "", *end = NULL;
    uint64_t input = 0;
    if (second && second - first - 1 < (long)sizeof number) memcpy(number, first + 1, (size_t)(second - first - 1));
    if (second) plant->relative = strtod(second + 1, &end);
    if (!second || !whole_number(number, &input) || end == second + 1 || *end)
        return complain("--plant", text, "OP:INPUT:RELATIVE, for example conv:1:1e-4");
    plant->op = op_named(text, (size_t)(first - text));
    plant->input = (int32_t)input;
    if (!plant->op || !has_rule(plant->op, input))
        return complain("--plant", text, "an op of the registry and an input in which it has a derivative rule");
    return true;
}

static bool take_op(const char *name, gradcheck_options *options)
{
    char nearest[GRADCHECK_NAME];
    options->only = name;
    if (gradcheck_known(name)) return true;
    if (!near_subject(name, nearest))
        return complain("--op", name, "the name of an op; without --op all of them are listed");
    fprintf(stderr, "ht-gradcheck: --op: %s; expected the name of an op; the nearest is %s\n", name, nearest);
    return false;
}

/* An option with a value; false with a message if the value is not right. */
static bool take_value(const char *option, const char *value, arguments *a)
{
    gradcheck_options *o = &a->options;
    uint64_t number;
    if (strcmp(option, "--op") == 0) return take_op(value, o);
    if (strcmp(option, "--order") == 0) {
        if (!whole_number(value, &number) || number < 1 || number > GRADCHECK_ORDERS)
            return complain("--order", value, "1, 2 or 3");
        o->order = (int32_t)number;
        return true;
    }
    if (strcmp(option, "--dtype") == 0) {
        o->dtype = strcmp(value, "f32") == 0 ? HT_F32 : HT_F64;
        return o->dtype == HT_F32 || strcmp(value, "f64") == 0 || complain("--dtype", value, "f64 or f32");
    }
    if (strcmp(option, "--seed") == 0) return whole_number(value, &o->seed) || complain("--seed", value, "a whole number");
    if (strcmp(option, "--junit") == 0) {
        a->junit = value;
        return true;
    }
    return take_plant(value, &o->plant);
}

static bool take(int count, char **argv, arguments *a)
{
    static const char *const with_value[] = {"--op", "--order", "--dtype", "--seed", "--junit", "--plant"};
    for (int i = 1; i < count; i++) {
        const char *option = NULL;
        if (strcmp(argv[i], "--json") == 0) a->json = true;
        else if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) a->help = true;
        else {
            for (size_t k = 0; k < sizeof with_value / sizeof with_value[0]; k++)
                if (strcmp(argv[i], with_value[k]) == 0) option = with_value[k];
            if (!option) return complain(argv[i], "no such option", "one of those that --help lists");
            if (i + 1 >= count) return complain(option, "nothing follows it", "a value");
            if (!take_value(option, argv[++i], a)) return false;
        }
    }
    if (a->options.dtype == HT_F32 && a->options.order > 1)
        return complain("--order", "above 1 with --dtype f32", "order 1: f32 is compared with f64 in value and first order");
    bool rounded = a->options.only && strcmp(a->options.only, GRADCHECK_ROUNDED) == 0;
    if (rounded && (a->options.dtype == HT_F32 || a->options.order > 1))
        return complain("--op", "bf16 with --dtype or --order", "it alone, or order 1: bf16 is compared with f64 in first order");
    return true;
}

/* Everything was written, or one line says that it was not. */
static bool flushed(FILE *file, const char *name)
{
    if (fflush(file) == 0 && !ferror(file)) return true;
    return complain(name, strerror(errno), "a place that can be written");
}

static bool open_junit(arguments *a)
{
    if (a->junit) a->file = fopen(a->junit, "w");
    return !a->junit || a->file || complain(a->junit, strerror(errno), "a file that can be written");
}

int main(int count, char **argv)
{
    arguments a = {.options = {.dtype = HT_F64, .seed = 1}};
    ht_error error = {0};
    gradcheck_report report;
    if (!take(count, argv, &a)) return EXIT_USAGE;
    if (a.help) return fputs(usage, stdout) < 0 ? EXIT_FAILED : 0;
    if (!open_junit(&a)) return EXIT_USAGE;
    a.options.device = ht_device_open("cpu", 1, &error);
    if (!a.options.device) return complain("device cpu", error.message, "a processor"), EXIT_FAILED;
    bool good = gradcheck_run(&a.options, &report);
    if (!good) complain("memory", "the system gave none", "more of it");
    if (good && a.json) gradcheck_write_json(&report, stdout);
    else if (good) gradcheck_write_table(&a.options, &report, stdout);
    good = good && flushed(stdout, "standard output");
    if (good && a.file) {
        gradcheck_write_junit(&a.options, &report, a.file);
        good = flushed(a.file, a.junit);
    }
    if (a.file && fclose(a.file) != 0 && good) good = complain(a.junit, strerror(errno), "a place that can be written");
    for (int32_t i = 0; good && a.json && i < report.count; i++)
        if (report.row[i].failed > 0) {
            fprintf(stderr, "ht-gradcheck: %s %s; again: ", report.row[i].name, report.row[i].message);
            gradcheck_command(&a.options, &report.row[i], stderr);
            fputc('\n', stderr);
        }
    bool passed = good && report.failed == 0;
    free(report.row);
    ht_device_close(a.options.device);
    return passed ? 0 : EXIT_FAILED;
}
