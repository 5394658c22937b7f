/*
 * Reading the command line, and resolving a configuration from it: preset first, file next, flags last, whatever their
 * order on the line. Options take "--name value" or "--name=value"; "--" ends them.
 */
#include "arguments.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "picture.h"

#define TRAIN GENSEG_COMMAND_TRAIN
#define EVALUATE GENSEG_COMMAND_EVALUATE
#define PREDICT GENSEG_COMMAND_PREDICT
#define REPORT GENSEG_COMMAND_REPORT
#define PLACE(member) offsetof(genseg_arguments, member)

static const char command_names[] = "train|evaluate|predict|report",
                  command_list[] = "train, evaluate, predict, report";
static const char commands_later[] = "init|check|derive|export|compare";

static const genseg_command commands[] = {
    {"train", TRAIN, "DATA", "DATA --out RUN", "train generator, architecture and segmenter",
     "genseg train phantom --out run --preset small --rounds 50"},
    {"evaluate", EVALUATE, "RUN", "RUN --data DATA [--split test]", "score the best weights of a run on a split",
     "genseg evaluate run --data phantom --split test"},
    {"predict", PREDICT, "RUN", "RUN --images DIR --out DIR", "write a mask for every image of a folder",
     "genseg predict run --images photographs --out masks"},
    {"report", REPORT, "RUN", "RUN", "make report.html from the files of a run", "genseg report run"},
};

static const genseg_option options[] = {
    {"out", "DIR", PLACE(out), TRAIN | PREDICT, "folder for what is written"},
    {"config", "FILE", PLACE(config), TRAIN, "settings from a file, after the preset and before the flags"},
    {"data", "DATA", PLACE(data), EVALUATE, "folder of the data, or phantom"},
    {"split", "SPLIT", PLACE(split), EVALUATE, "train, val or test (test)"},
    {"images", "DIR", PLACE(images), PREDICT, "folder of PNG or JPEG images"},
    {"resume", NULL, PLACE(resume), TRAIN, "go on from the newest checkpoint, with the settings of the run"},
    {"profile", "DIR", PLACE(profile), TRAIN, "write where the rounds' time goes: round.txt, .json (Perfetto), .svg"},
    {"dry-run", NULL, PLACE(dry_run), TRAIN | EVALUATE | PREDICT, "check everything, write nothing"},
    {"quiet", NULL, PLACE(quiet), TRAIN | EVALUATE | PREDICT | REPORT, "no progress"},
    {"set", "KEY=VALUE", 0, TRAIN, "one setting by its key; may be given again"},
    {"help", NULL, PLACE(help), TRAIN | EVALUATE | PREDICT | REPORT, "this text"},
};

const genseg_command *genseg_command_at(int32_t index)
{
    return (size_t)index < sizeof commands / sizeof *commands ? &commands[index] : NULL;
}

const genseg_option *genseg_option_at(int32_t index)
{
    return (size_t)index < sizeof options / sizeof *options ? &options[index] : NULL;
}

/* ---- names ---- */

/* A name that shares less than half of what was typed would only mislead. */
static bool is_near(const char *word, int32_t distance) { return 2 * (size_t)distance < strlen(word); }

static ht_status find_command(const char *word, genseg_arguments *out, ht_error *error)
{
    char nearest[32], shown[GENSEG_PLACE];
    for (int32_t k = 0; genseg_command_at(k); k++) {
        if (strcmp(commands[k].name, word)) continue;
        out->command = &commands[k];
        return HT_OK;
    }
    if (genseg_name_index(commands_later, word) >= 0)
        return ht_fail(error, HT_EINVALID, "%s: not in this version; expected one of %s; see genseg --help",
                       genseg_place(word, shown), command_list);
    if (!*word)
        return ht_fail(error, HT_EINVALID, "command line: an empty command; expected one of %s; see genseg --help",
                       command_list);
    if (word[0] == '-')
        return ht_fail(error, HT_EINVALID, "%s: unknown option before a command; expected one of %s first; see genseg --help",
                       genseg_place(word, shown), command_list);
    genseg_word_nearest(word, command_names, nearest, sizeof nearest);
    if (!is_near(word, genseg_word_distance(word, nearest)))
        return ht_fail(error, HT_EINVALID, "%s: unknown command; expected one of %s; see genseg --help",
                       genseg_place(word, shown), command_list);
    return ht_fail(error, HT_EINVALID, "%s: unknown command; expected one of %s; the nearest is %s",
                   genseg_place(word, shown), command_list, nearest);
}

static const genseg_option *find_option(const genseg_command *command, const char *name)
{
    for (int32_t k = 0; genseg_option_at(k); k++)
        if (options[k].commands & command->bit && !strcmp(options[k].name, name)) return &options[k];
    return NULL;
}

static void take_nearer(const char *name, const char *known, int32_t *least, const char **nearest)
{
    int32_t distance = genseg_word_distance(name, known);
    if (*nearest && distance >= *least) return;
    *least = distance;
    *nearest = known;
}

static ht_status refuse_option(const genseg_command *command, const char *name, ht_error *error)
{
    const char *nearest = NULL;
    char shown[GENSEG_PLACE];
    int32_t least = 0;
    for (int32_t k = 0; genseg_option_at(k); k++)
        if (options[k].commands & command->bit) take_nearer(name, options[k].name, &least, &nearest);
    for (int32_t k = 0; command->bit == TRAIN && k < genseg_config_fields(); k++)
        if (genseg_field_at(k)->flag) take_nearer(name, genseg_field_at(k)->flag, &least, &nearest);
    if (!nearest || !is_near(name, least))
        return ht_fail(error, HT_EINVALID, "--%s: unknown option of %s; expected one that genseg %s --help lists; look there",
                       genseg_place(name, shown), command->name, command->name);
    return ht_fail(error, HT_EINVALID,
                   "--%s: unknown option of %s; the nearest known one is --%s; see genseg %s --help",
                   genseg_place(name, shown), command->name, nearest, command->name);
}

/* ---- reading ---- */

static void add_assignment(genseg_arguments *out, const genseg_field *field, const char *value, bool by_set)
{
    /* there is room: one for each word of the command line */
    out->assignments[out->assignment_count++] = (genseg_assignment){field, value, by_set};
}

static ht_status read_set(genseg_arguments *out, const char *text, ht_error *error)
{
    char key[GENSEG_TOML_KEY], nearest[128], shown[GENSEG_PLACE];
    const char *equals = strchr(text, '=');
    if (!equals)
        return ht_fail(error, HT_EINVALID, "--set: %s has no =; expected KEY=VALUE; write for example --set rounds=100",
                       genseg_place(text, shown));
    size_t length = (size_t)(equals - text);
    snprintf(key, sizeof key, "%.*s", (int)(length < sizeof key ? length : sizeof key - 1), text);
    const genseg_field *field = genseg_field_find(key);
    if (!field) {
        genseg_field_nearest(key, false, nearest, sizeof nearest);
        return ht_fail(error, HT_EINVALID,
                       "--set: unknown key %s; the nearest known one is %s; see genseg train --help",
                       genseg_place(key, shown), nearest);
    }
    add_assignment(out, field, equals + 1, true);
    return HT_OK;
}

static ht_status take_value(genseg_arguments *out, const genseg_option *option, const genseg_field *field,
                            const char *value, ht_error *error)
{
    if (field) {
        add_assignment(out, field, value, false);
        return HT_OK;
    }
    if (!strcmp(option->name, "set")) return read_set(out, value, error);
    if (!*value)
        return ht_fail(error, HT_EINVALID, "--%s: an empty value; expected %s; give one", option->name, option->value);
    memcpy((char *)out + option->offset, &value, sizeof value);
    return HT_OK;
}

/* One option; *at is the index of its word, and moves to the value if that is a word of its own. */
static ht_status read_option(int count, char **words, int *at, genseg_arguments *out, ht_error *error)
{
    char name[64], shown[GENSEG_PLACE];
    const char *word = words[*at] + 2, *value = strchr(word, '=');
    size_t length = value ? (size_t)(value - word) : strlen(word);
    snprintf(name, sizeof name, "%.*s", (int)(length < sizeof name ? length : sizeof name - 1), word);
    const genseg_option *option = find_option(out->command, name);
    const genseg_field *field = out->command->bit == TRAIN && !option ? genseg_field_of_flag(name) : NULL;
    if (!option && !field) return refuse_option(out->command, name, error);
    if (option && !option->value) {
        if (value)
            return ht_fail(error, HT_EINVALID, "--%s: has the value %s; expected none; write --%s alone", name,
                           genseg_place(value + 1, shown), name);
        bool yes = true;
        memcpy((char *)out + option->offset, &yes, sizeof yes);
        return HT_OK;
    }
    if (value) return take_value(out, option, field, value + 1, error);
    /* a value that itself looks like an option is a forgotten value; --name=--value is still possible */
    if (*at + 1 >= count || !strncmp(words[*at + 1], "--", 2)) {
        char expected[224];
        const char *wanted = field ? genseg_field_expected(field, expected, sizeof expected) : option->value;
        return ht_fail(error, HT_EINVALID, "--%s: no value; expected %s; see genseg %s --help", name, wanted,
                       out->command->name);
    }
    *at += 1;
    return take_value(out, option, field, words[*at], error);
}

/* What each command cannot do without. */
static ht_status check_presence(const genseg_arguments *a, ht_error *error)
{
    const genseg_command *command = a->command;
    const char *missing = NULL;
    char shown[GENSEG_PLACE];
    if (!a->subject)
        missing = command->subject;
    else if (command->bit & (TRAIN | PREDICT) && !a->out)
        missing = "--out";
    else if (command->bit == EVALUATE && !a->data)
        missing = "--data";
    else if (command->bit == PREDICT && !a->images)
        missing = "--images";
    if (missing)
        return ht_fail(error, HT_EINVALID, "%s: %s is missing; expected genseg %s %s; see genseg %s --help",
                       command->name, missing, command->name, command->form, command->name);
    if (a->split && strcmp(a->split, "train") && strcmp(a->split, "val") && strcmp(a->split, "test"))
        return ht_fail(error, HT_EINVALID, "--split: %s is no split; expected train, val or test; give one of these",
                       genseg_place(a->split, shown));
    return HT_OK;
}

static ht_status take_subject(genseg_arguments *out, const char *word, ht_error *error)
{
    char shown[GENSEG_PLACE];
    if (!*word)
        return ht_fail(error, HT_EINVALID, "%s: an empty %s; expected a path; give one", out->command->name,
                       out->command->subject);
    if (out->subject)
        return ht_fail(error, HT_EINVALID, "%s: one argument too many, %s; expected genseg %s %s; remove it",
                       out->command->name, genseg_place(word, shown), out->command->name, out->command->form);
    out->subject = word;
    return HT_OK;
}

ht_status genseg_arguments_read(int count, char **words, genseg_arguments *out, ht_error *error)
{
    *out = (genseg_arguments){0};
    if (count < 2)
        return ht_fail(error, HT_EINVALID, "command line: no command; expected one of %s; see genseg --help",
                       command_list);
    const char *first = words[1];
    out->help = !strcmp(first, "--help") || !strcmp(first, "-h") || !strcmp(first, "help");
    out->version = !strcmp(first, "--version");
    if (out->help || out->version) return HT_OK;
    ht_status status = find_command(first, out, error);
    if (status) return status;
    out->assignments = calloc((size_t)count, sizeof *out->assignments);
    if (!out->assignments)
        return ht_fail(error, HT_ENOMEM, "command line: no memory to read it; expected a few kilobytes");
    bool only_subjects = false;
    char shown[GENSEG_PLACE];
    for (int k = 2; k < count && !status; k++) {
        const char *word = words[k];
        if (only_subjects || word[0] != '-')
            status = take_subject(out, word, error);
        else if (!strcmp(word, "--"))
            only_subjects = true;
        else if (!strcmp(word, "-h"))
            out->help = true;
        else if (word[1] == '-')
            status = read_option(count, words, &k, out, error);
        else
            status = ht_fail(error, HT_EINVALID,
                             "%s: unknown option of %s; expected --NAME, or -- before a path that "
                             "begins with -; see genseg %s --help",
                             genseg_place(word, shown), out->command->name, out->command->name);
        if (out->help) return HT_OK;
    }
    return status ? status : check_presence(out, error);
}

void genseg_arguments_free(genseg_arguments *arguments) { free(arguments->assignments); }

/* ---- resolving ---- */

static ht_status assign(const genseg_assignment *a, genseg_config *config, ht_error *error)
{
    char place[64];
    if (a->by_set)
        snprintf(place, sizeof place, "--set");
    else
        snprintf(place, sizeof place, "--%s", a->field->flag);
    return genseg_field_set_text(a->field, config, a->value, place, error);
}

/* The file that stands between preset and flags: --config, or the run's own when it is resumed. "" if there is none. */
static ht_status find_file(const genseg_arguments *a, bool preset_given, char *path, size_t bytes, ht_error *error)
{
    int length = 0;
    path[0] = 0;
    if (a->config) {
        length = snprintf(path, bytes, "%s", a->config);
    } else if (a->resume && !preset_given) {
        length = snprintf(path, bytes, "%s/config.toml", a->out);
        if (length >= 0 && (size_t)length < bytes && access(path, F_OK)) path[0] = 0;
    }
    if (length < 0 || (size_t)length >= bytes)
        return ht_fail(error, HT_EINVALID, "--%s: a path of %d bytes; expected less than %zu; shorten it",
                       a->config ? "config" : "out", length, bytes);
    return HT_OK;
}

ht_status genseg_arguments_resolve(const genseg_arguments *a, genseg_config *config, ht_error *error)
{
    char path[4096];
    bool preset_given = false;
    ht_status status = genseg_config_preset(config, "small", error);
    for (int32_t k = 0; k < a->assignment_count && !status; k++) {
        if (strcmp(a->assignments[k].field->key, "preset")) continue;
        preset_given = true;
        status = assign(&a->assignments[k], config, error);
    }
    if (!status) status = find_file(a, preset_given, path, sizeof path, error);
    if (!status && !preset_given && path[0]) {
        /* a first reading only to learn the preset that the file builds upon */
        genseg_config probe = *config;
        status = genseg_config_file(&probe, path, error);
        if (!status) memcpy(config->preset, probe.preset, sizeof config->preset);
    }
    char preset[sizeof config->preset];
    memcpy(preset, config->preset, sizeof preset);
    if (!status) status = genseg_config_preset(config, preset, error);
    if (!status && path[0]) status = genseg_config_file(config, path, error);
    memcpy(config->preset, preset, sizeof preset);
    /* loss.gan first: it takes loss.l1 with it, which another flag may set again */
    for (int pass = 0; pass < 2; pass++)
        for (int32_t k = 0; k < a->assignment_count && !status; k++) {
            bool early = !strcmp(a->assignments[k].field->key, "loss.gan");
            if (early == (pass == 0)) status = assign(&a->assignments[k], config, error);
        }
    if (!status) status = genseg_config_check(config, error);
    /* a run that exists may have such a configuration: it can be gone on with */
    bool searches = config->method == GENSEG_GENSEG && config->hypergradient != GENSEG_H_NONE;
    if (!status && !a->resume && config->certify_count && !searches)
        status = ht_fail(error, HT_EINVALID, "mlo.certify: this run takes no hypergradient; expected method genseg and a "
                         "hypergradient other than none; leave it out, or give --set mlo.certify=[]");
    return status;
}

int genseg_exit_code(ht_status status, bool output)
{
    switch (status) {
    case HT_OK:
        return GENSEG_EXIT_DONE;
    case HT_EINVALID:
    case HT_ESHAPE:
    case HT_EDTYPE:
    case HT_EFORMAT:
        return GENSEG_EXIT_USAGE;
    case HT_EIO:
    case HT_EUNSUPPORTED: /* asked for what this machine or build does not have */
        return output ? GENSEG_EXIT_FAILURE : GENSEG_EXIT_USAGE;
    case HT_EINTERRUPTED:
        return GENSEG_EXIT_STOPPED;
    case HT_EDEVICE:
    case HT_ENOMEM:
    case HT_EINTERNAL:
        return GENSEG_EXIT_FAILURE;
    }
    return GENSEG_EXIT_FAILURE;
}
