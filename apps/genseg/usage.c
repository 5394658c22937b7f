/* Help, made from the tables of commands, options and fields, so that it cannot fall behind them. */
#include "arguments.h"

#include <string.h>

static void program_usage(FILE *to)
{
    fputs("genseg: medical image segmentation from few examples, by masks and images that are made to help\n\n"
          "Usage: genseg COMMAND ...\n\n",
          to);
    for (int32_t k = 0; genseg_command_at(k); k++)
        fprintf(to, "  genseg %-8s %-34s %s\n", genseg_command_at(k)->name, genseg_command_at(k)->form,
                genseg_command_at(k)->summary);
    fputs("\n  genseg COMMAND --help            options and an example\n"
          "  genseg --version\n\n"
          "DATA is a folder with train, val and test, each with images and masks; or the word phantom, data that are\n"
          "drawn on the spot. RUN is the folder of a training run.\n\n"
          "Example:\n  genseg train phantom --out run --rounds 50 && genseg evaluate run --data phantom\n\n"
          "Exit codes: 0 done, 1 failure, 2 usage or input, 75 stopped on request with a durable checkpoint,\n"
          "130 interrupted without one.\n",
          to);
}

/* What stands behind a flag in its help: the choices, or N. */
static void flag_value(const genseg_field *field, char *text, size_t bytes)
{
    switch (field->kind) {
    case GENSEG_FIELD_CHOICE:
    case GENSEG_FIELD_NAME:
        snprintf(text, bytes, "%s", field->names);
        return;
    case GENSEG_FIELD_DEVICE:
        snprintf(text, bytes, "auto|cpu");
        return;
    case GENSEG_FIELD_AUGMENT:
        snprintf(text, bytes, "all|none|rotate,flip,...");
        return;
    case GENSEG_FIELD_ROUNDS:
        snprintf(text, bytes, "N,N,...");
        return;
    case GENSEG_FIELD_BYTES:
        snprintf(text, bytes, "N|500M|2G");
        return;
    case GENSEG_FIELD_INTEGER:
    case GENSEG_FIELD_REAL:
        snprintf(text, bytes, "N");
        return;
    }
}

static void option_line(FILE *to, const char *name, const char *value, const char *help)
{
    char left[128];
    snprintf(left, sizeof left, "--%s%s%s", name, value ? " " : "", value ? value : "");
    if (strlen(left) > 34)
        fprintf(to, "  %s\n  %-34s %s\n", left, "", help);
    else
        fprintf(to, "  %-34s %s\n", left, help);
}

static void field_usage(FILE *to)
{
    genseg_config small, paper;
    char value[GENSEG_TEXT], of_paper[GENSEG_TEXT], expected[224], flag[96];
    genseg_config_preset(&small, "small", NULL);
    genseg_config_preset(&paper, "paper", NULL);
    for (int32_t k = 0; k < genseg_config_fields(); k++) {
        const genseg_field *field = genseg_field_at(k);
        if (!field->flag) continue;
        flag_value(field, flag, sizeof flag);
        option_line(to, field->flag, flag, field->help);
    }
    fputs(
        "\nKeys for --set and for the file of --config, with the values of the presets small and paper. In the file\n"
        "the words before the last dot are the table: [optimizer.segmenter], then rate = 1e-4. A flag sets the key of\n"
        "its line; preset first, file next, flags last.\n\n",
        to);
    for (int32_t k = 0; k < genseg_config_fields(); k++) {
        const genseg_field *field = genseg_field_at(k);
        genseg_field_text(field, &small, value, sizeof value);
        genseg_field_text(field, &paper, of_paper, sizeof of_paper);
        fprintf(to, "  %s = %s", field->key, value);
        if (strcmp(value, of_paper)) fprintf(to, " | %s", of_paper);
        fprintf(to, "\n      %s; %s\n", field->help, genseg_field_expected(field, expected, sizeof expected));
    }
}

void genseg_usage(const genseg_command *command, FILE *to)
{
    if (!command) {
        program_usage(to);
        return;
    }
    fprintf(to, "genseg %s: %s\n\nUsage: genseg %s %s [options]\n\n", command->name, command->summary, command->name,
            command->form);
    for (int32_t k = 0; genseg_option_at(k); k++) {
        const genseg_option *option = genseg_option_at(k);
        if (option->commands & command->bit) option_line(to, option->name, option->value, option->help);
    }
    if (command->bit == GENSEG_COMMAND_TRAIN) field_usage(to);
    fprintf(to, "\nExample:\n  %s\n", command->example);
}
