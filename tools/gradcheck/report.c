/* What was found: as a table for people, as JSON and as JUnit for machines. */
#include <inttypes.h>
#include <math.h>

#include "suite.h"

void gradcheck_command(const gradcheck_options *options, const gradcheck_row *row, FILE *file)
{
    fprintf(file, "ht-gradcheck --op %s", row->name);
    if (options->order) fprintf(file, " --order %d", (int)options->order);
    if (options->dtype == HT_F32) fprintf(file, " --dtype f32");
    fprintf(file, " --seed %" PRIu64, options->seed);
    if (options->plant.op)
        fprintf(file, " --plant %s:%d:%g", options->plant.op->name, (int)options->plant.input, options->plant.relative);
}

void gradcheck_write_table(const gradcheck_options *options, const gradcheck_report *report, FILE *file)
{
    fprintf(file, "%-24s %8s %8s %8s %10s %9s\n", "op", "checks", "failed", "skipped", "worst", "seconds");
    for (int32_t i = 0; i < report->count; i++) {
        const gradcheck_row *row = &report->row[i];
        fprintf(file, "%-24s %8" PRId64 " %8" PRId64 " %8" PRId64 " %10.2e %9.2f\n", row->name, row->checks, row->failed,
                row->skipped, row->worst, row->seconds);
    }
    for (int32_t i = 0; i < report->count; i++) {
        const gradcheck_row *row = &report->row[i];
        if (row->failed + row->skipped == 0) continue;
        fprintf(file, "\n%s %s\n    again: ", row->name, row->message);
        gradcheck_command(options, row, file);
        fputc('\n', file);
    }
    fprintf(file, "%" PRId64 " checks, %" PRId64 " failed, %" PRId64 " skipped, %.1f seconds\n", report->checks, report->failed,
            report->skipped, report->seconds);
}

/* A number that JSON can hold. */
static void write_number(double x, FILE *file)
{
    if (isfinite(x)) fprintf(file, "%.3g", x);
    else fputs("null", file);
}

static void write_escaped(const char *text, bool xml, FILE *file)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (xml && (c == '<' || c == '>' || c == '&' || c == '"')) fprintf(file, "&#%d;", (int)c);
        else if (!xml && (c == '"' || c == '\\')) fprintf(file, "\\%c", c);
        else fputc(c < 32 ? ' ' : c, file);
    }
}

void gradcheck_write_json(const gradcheck_report *report, FILE *file)
{
    fprintf(file, "{\"checks\": %" PRId64 ", \"failed\": %" PRId64 ", \"skipped\": %" PRId64 ", \"seconds\": %.3f, \"ops\": [",
            report->checks, report->failed, report->skipped, report->seconds);
    for (int32_t i = 0; i < report->count; i++) {
        const gradcheck_row *row = &report->row[i];
        fprintf(file, "%s\n  {\"name\": \"%s\", \"checks\": %" PRId64 ", \"failed\": %" PRId64 ", \"skipped\": %" PRId64
                ", \"worst\": ", i ? "," : "", row->name, row->checks, row->failed, row->skipped);
        write_number(row->worst, file);
        fprintf(file, ", \"pointwise\": %s, \"message\": \"", row->pointwise ? "true" : "false");
        write_escaped(row->message, false, file);
        fputs("\"}", file);
    }
    fputs("\n]}\n", file);
}

void gradcheck_write_junit(const gradcheck_options *options, const gradcheck_report *report, FILE *file)
{
    int32_t failed = 0, skipped = 0;
    for (int32_t i = 0; i < report->count; i++) {
        failed += report->row[i].failed > 0;
        skipped += report->row[i].failed == 0 && report->row[i].skipped > 0;
    }
    fprintf(file, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"ht-gradcheck\" tests=\"%d\" failures=\"%d\" "
            "skipped=\"%d\" time=\"%.3f\">\n", (int)report->count, (int)failed, (int)skipped, report->seconds);
    for (int32_t i = 0; i < report->count; i++) {
        const gradcheck_row *row = &report->row[i];
        fprintf(file, "  <testcase classname=\"gradcheck\" name=\"%s\" time=\"%.3f\">", row->name, row->seconds);
        if (row->failed + row->skipped > 0) {
            fputs(row->failed > 0 ? "<failure message=\"" : "<skipped message=\"", file);
            write_escaped(row->message, true, file);
            fputs("\">", file);
            gradcheck_command(options, row, file);
            fputs(row->failed > 0 ? "</failure>" : "</skipped>", file);
        }
        fputs("</testcase>\n", file);
    }
    fputs("</testsuite>\n", file);
}
