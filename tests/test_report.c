/*
 * The report: a synthetic run directory with hostile names in, one page out. Checks the page as a parser sees it:
 * elements balanced, no script, no event attribute, no address but fragments and embedded pictures. Not a check of how it
 * looks; `test_report DIR` leaves the run in DIR, to be looked at.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../apps/genseg/run.h"
#include "report_run.h"
#include "tap.h"

/* ---- the page as a parser sees it ---- */

static bool is_void(const char *name)
{
    return strcmp(name, "meta") == 0 || strcmp(name, "br") == 0 || strcmp(name, "img") == 0;
}

static bool starts(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

/* Reads one attribute at *at; false (and why) if it may not stand there. */
static bool attribute_is_good(const char **at, char *why, size_t room)
{
    const char *p = *at, *name = p;
    while (*p && !strchr("=> /", *p)) ++p;
    int length = (int)(p - name);
    if (*p != '=' || p[1] != '"') {
        snprintf(why, room, "attribute without a quoted value: %.*s", length, name);
        return false;
    }
    const char *value = p + 2, *end = strchr(value, '"');
    *at = end ? end + 1 : value;
    bool known = length > 0 && strncmp(name, "on", 2) != 0 && strncmp(name, "style", 5) != 0;
    if (starts(name, "href=")) known = *value == '#';
    if (starts(name, "src=")) known = starts(value, "data:image/png;base64,");
    if (!end || !known) snprintf(why, room, "attribute %.*s=%.40s", length, name, value);
    return end && known;
}

/* Balanced elements, allowed attributes, no bare < or &. */
static bool page_is_good(const char *page, char *why, size_t room)
{
    enum { DEEP = 64, NAME = 24 };
    static char open[DEEP][NAME];
    int depth = 0;
    if (!starts(page, "<!DOCTYPE html>\n")) return snprintf(why, room, "no doctype"), false;
    for (const char *p = page + 16; *p;) {
        if (*p == '&' && p[1] != '#' && !starts(p, "&nbsp;") && !starts(p, "&ensp;"))
            return snprintf(why, room, "bare &: %.30s", p), false;
        if (*p++ != '<') continue;
        bool closing = *p == '/';
        if (closing) ++p;
        char name[NAME] = "";
        size_t length = strspn(p, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ123456");
        if (length == 0 || length >= NAME) return snprintf(why, room, "bare <: %.30s", p), false;
        memcpy(name, p, length);
        p += length;
        bool closed = false;
        while (*p && *p != '>') {
            if (*p == '/' && p[1] == '>') closed = true;
            if (*p == ' ' || *p == '/') ++p;
            else if (!attribute_is_good(&p, why, room)) return false;
        }
        if (*p) ++p;
        if (strcmp(name, "script") == 0 || strcmp(name, "iframe") == 0) return snprintf(why, room, "element %s", name), false;
        if (closing) {
            if (depth == 0 || strcmp(open[--depth], name) != 0)
                return snprintf(why, room, "</%s> closes nothing, at %.40s", name, p), false;
        } else if (!closed && !is_void(name)) {
            if (depth == DEEP) return snprintf(why, room, "too deep"), false;
            strcpy(open[depth++], name);
        }
        if (!closing && strcmp(name, "style") == 0) {
            p = strstr(p, "</style>");
            if (!p) return snprintf(why, room, "style without end"), false;
        }
    }
    if (depth > 0) snprintf(why, room, "<%s> stays open", open[depth - 1]);
    return depth == 0;
}

/* Makes the report and checks what every report must be. The caller frees the page. */
static char *make(const char *what)
{
    ht_error error = {0};
    char why[256] = "";
    ht_status status = genseg_report_write(report_folder, &error);
    tap_ok(status == HT_OK, "%s: is made %s", what, error.message);
    char *page = report_get("report.html", NULL);
    if (!page) page = calloc(1, 1);
    tap_ok(page_is_good(page, why, sizeof why), "%s: is well-formed %s", what, why);
    tap_ok(!strstr(page, "<script") && !strstr(page, "http:/") && !strstr(page, "https:/"),
           "%s: has no script and no address", what);
    return page;
}

static int times(const char *page, const char *what)
{
    int count = 0;
    for (const char *p = page; (p = strstr(p, what)) != NULL; ++p) ++count;
    return count;
}

/* The report is refused with one message that holds `part`, and no page is left. */
static void refused(const char *what, ht_status wanted, const char *part)
{
    ht_error error = {0};
    remove(report_path("report.html"));
    ht_status status = genseg_report_write(report_folder, &error);
    tap_ok(status == wanted && strstr(error.message, part) && !strchr(error.message, '\n') &&
               access(report_path("report.html"), F_OK) != 0,
           "%s: refused: %s", what, error.message);
}

static void forget(void)
{
    static const char *const name[] = {"log.csv", "alpha.csv", "certificate.csv", "cases.csv", "metrics.json", "run.json",
                                       "config.toml", "report.html"};
    for (size_t i = 0; i < sizeof name / sizeof name[0]; ++i) remove(report_path(name[i]));
}

static void test_full(void)
{
    static const char *const heading[] = {"Result", "Curves", "Hypergradient", "Architecture", "Certificate",
                                          "Generated pictures", "Cases", "Settings", "Run facts"};
    report_put_run();
    char *page = make("full run");
    bool all = true;
    for (size_t i = 0; i < sizeof heading / sizeof heading[0]; ++i) {
        char text[64];
        snprintf(text, sizeof text, ">%s</h2>", heading[i]);
        all = all && strstr(page, text);
    }
    tap_ok(all, "every section has its heading");
    tap_ok(strstr(page, "0.842") && strstr(page, "0.131") && strstr(page, "0.895"), "mean, deviation and median of Dice");
    tap_ok(times(page, "data:image/png") == 6 + 9, "six strips, and ten cases of which one has no picture");
    tap_ok(times(page, "role=\"img\"") == 6 + 4 + 14 + 1, "25 charts");
    tap_ok(strstr(page, ">1.25 <small>s</small>") && strstr(page, "all rounds 9 min"),
           "the log counts seconds on: median and end");
    tap_ok(times(page, "verdict good") == 2 + 3 && times(page, "verdict bad") == 1 && times(page, ">across kinks<") == 2,
           "verdicts of the certificate");
    tap_ok(strstr(page, "The certificate does not hold") && !strstr(page, "never moved"), "one box, not the other");
    tap_ok(!strstr(page, "nan") || !strstr(page, "\"nan"), "no coordinate is nan");
    tap_ok(strstr(page, "a &#60;b&#62;fast") != NULL, "mark-up in run.json is text");
    size_t count;
    char *again = (free(make("the same again")), report_get("report.html", &count));
    tap_ok(again && strlen(page) == count && memcmp(page, again, count) == 0, "equal files give equal bytes");
    free(page);
    free(again);
}

static void test_parts(void)
{
    forget();
    refused("empty folder", HT_EINVALID, "log.csv");
    report_put_log();
    char *page = make("log alone");
    tap_ok(times(page, "the run directory has no") == 6, "what is absent is said");
    free(page);
    report_put_text("log.csv", GENSEG_LOG_COLUMNS "\n");
    free(make("no round"));
    report_put_text("log.csv", "round,loss_seg,alpha_step\n1,0.5,0\n2,nan,0\n3,0.25,0\n4,0.2");
    page = make("killed while logging");
    tap_ok(strstr(page, "has no end") && strstr(page, "never moved") && strstr(page, "first in round 2 in column loss_seg"),
           "an unfinished line, a search that does not move, a nan");
    free(page);
    report_put_text("run.json", "{\"search\":{\"path_cut\":\"op 17 \\\"stop\\\"\"}}");
    page = make("cut path");
    tap_ok(strstr(page, "was cut") && strstr(page, "op 17 &#34;stop"), "a cut path is named");
    free(page);
    report_put_text("config.toml", "method = \"plain\"\nrounds = 9\n");
    page = make("plain method");
    tap_ok(!strstr(page, "never moved") && strstr(page, "3 of 9 rounds"), "no search, no box; not at its end");
    tap_ok(!strstr(page, "Generator loss") && !strstr(page, "#certificate") && strstr(page, "no generator"),
           "what only a generator has is left out");
    free(page);
    report_put_text("log.csv", "round,loss_seg,loss_val,loss_gan,hypergradient_norm\n"
                               "-5,1e308,-1e308,0,0\n9,-1e308,1e308,0,1e-320\n");
    free(make("wild numbers"));
    report_put_text("log.csv", "round,loss_seg\r\n7,3\r\n");
    free(make("one round, other line ends"));
}

static void test_refusals(void)
{
    forget();
    report_put_text("log.csv", "round,loss_seg\n1,0.5\n2,abc\n");
    refused("word for a number", HT_EFORMAT, "log.csv:3: ");
    report_put_text("log.csv", "round,loss_seg\n1,0x10\n");
    refused("hexadecimal", HT_EFORMAT, "log.csv:2: ");
    report_put_text("log.csv", "round,loss_seg\n2,1\n2,1\n");
    refused("a round twice", HT_EFORMAT, "log.csv:3: ");
    report_put_text("log.csv", "round,loss_seg\n2\n");
    refused("too few fields", HT_EFORMAT, "1 fields; expected 2");
    report_put_text("log.csv", "lap,loss_seg\n2,1\n");
    refused("other header", HT_EFORMAT, "no column round");
    report_put("log.csv", "round\n1\0\n", 9);
    refused("zero bytes", HT_EFORMAT, "zero bytes");
    report_put_text("log.csv", "");
    refused("empty log", HT_EFORMAT, "no column round");
    report_put_text("log.csv", "round\n1\n");
    report_put_text("metrics.json", "{\"split\":");
    refused("cut JSON", HT_EFORMAT, "metrics.json:1:");
    report_put_text("metrics.json", "[1]");
    refused("JSON of another form", HT_EFORMAT, "no JSON object");
    remove(report_path("metrics.json"));
    mkfifo(report_path("cases.csv"), 0600);
    refused("a pipe", HT_EFORMAT, "no regular file");
    remove(report_path("cases.csv"));
    report_put_text("cases.csv", "case,dice\n\"a\"b,1\n");
    refused("text behind a quote", HT_EFORMAT, "cases.csv:2: ");
}

/* ---- hostile text ---- */

static const char *const payload[] = {
    "\"><script>alert(1)</script>", "<script>alert(1)</script>", "</script><script>alert(1)</script>",
    "</style><script>alert(1)</script>", "</title><img src=x onerror=alert(1)>", "<img src=x onerror=alert(1)>",
    "' onmouseover='alert(1)", "\" onmouseover=\"alert(1)", "` onclick=`alert(1)`", "<svg/onload=alert(1)>",
    "<iframe src=javascript:alert(1)>", "javascript:alert(1)", "<a href=\"https://example.org\">x</a>",
    "https://example.org/x.png", "//example.org/x.js", "data:text/html,<script>alert(1)</script>",
    "<link rel=stylesheet href=//example.org>", "<meta http-equiv=refresh content=0>", "<base href=//example.org>",
    "url(https://example.org)", "&lt;script&gt;", "&#60;script&#62;", "<!-- ", "-->", "]]>", "<![CDATA[", "<?xml ?>",
    "=cmd|' /C calc'!A0", "@SUM(1+1)", "+1+1", "\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "\x80\xFF\xC0\xAF",
    "\xE2\x80\xAE" "gnp.exe", "\xED\xA0\x80", "\xF5\x80\x80\x80", "%s%n%d", "../../../etc/passwd", "{{7*7}}", "${7*7}",
    "<math><mi//xlink:href=\"data:x\">", "\xC2\x9B" "31m"};
enum { PAYLOADS = sizeof payload / sizeof payload[0] };

static void json_string(FILE *file, const char *text)
{
    fputc('"', file);
    for (const unsigned char *p = (const unsigned char *)text; *p; ++p)
        if (*p >= ' ' && *p < 0x7F && *p != '"' && *p != '\\') fputc(*p, file);
        else fprintf(file, "\\u%04x", *p);
    fputc('"', file);
}

static void test_hostile(void)
{
    forget();
    const char *names[2 * PAYLOADS];
    char doubled[PAYLOADS][128];
    for (int i = 0; i < PAYLOADS; ++i) {
        snprintf(doubled[i], sizeof doubled[i], "a'\">%s\"'", payload[i]);
        names[2 * i] = payload[i];
        names[2 * i + 1] = doubled[i];
    }
    report_put_cases(names, 2 * PAYLOADS);
    FILE *file = fopen(report_path("run.json"), "wb");
    fprintf(file, "{\"data\":{\"name\":");
    json_string(file, payload[0]);
    fprintf(file, "},\"list\":[\"</td>\",\"\\\"'\"]");
    for (int i = 0; i < 2 * PAYLOADS; ++i) {
        fprintf(file, ",");
        json_string(file, names[i]);
        fprintf(file, ":");
        json_string(file, names[i]);
    }
    fprintf(file, "}");
    fclose(file);
    file = fopen(report_path("metrics.json"), "wb");
    fprintf(file, "{\"split\":");
    json_string(file, "</div>\">");
    fprintf(file, ",\"selection\":{\"metric\":");
    json_string(file, payload[5]);
    fprintf(file, "}}");
    fclose(file);
    report_put_log();
    file = fopen(report_path("config.toml"), "wb");
    for (int i = 0; i < 2 * PAYLOADS; ++i) fprintf(file, "[%s]\n%s = \"%s\"\n%s\n", names[i], names[i], names[i], names[i]);
    fclose(file);
    file = fopen(report_path("alpha.csv"), "wb");
    fprintf(file, "round,cell,a4,a6,a8\n");
    for (int i = 0; i < 2 * PAYLOADS; ++i) {
        fprintf(file, "1,");
        report_csv_field(file, names[i]);
        fprintf(file, ",0.3,0.3,0.4\n");
    }
    fclose(file);
    char *page = make("hostile names");
    tap_ok(strstr(page, "&#34;&#62;&#60;script&#62;alert(1)&#60;&#47;script&#62;") != NULL, "a script's text is shown as text");
    bool clean = true;
    for (const char *p = page; *p; ++p) clean = clean && ((unsigned char)*p >= ' ' || *p == '\n') && *p != 0x7F;
    tap_ok(clean && !strstr(page, "\xE2\x80\xAE") && !strstr(page, "\xC2\x9B"), "no control character, none that turns the line");
    free(page);
    report_put_alpha("\"dec<6>\"");
    free(make("hostile cell"));
}

static void swap_folder(const char *from, const char *to)
{
    char old[1024];
    snprintf(old, sizeof old, "%s", report_path(from));
    if (rename(old, report_path(to)) != 0) perror(old);
}

/* Damaged files: a page that is well-formed or a refusal, never anything else. */
static void test_damage(void)
{
    static const char *const name[] = {"log.csv", "alpha.csv", "certificate.csv", "cases.csv", "metrics.json", "run.json",
                                       "config.toml"};
    int good = 0, turned_away = 0, bad = 0;
    forget();
    report_put_run();
    report_put_text("log.csv", "round,loss_seg,alpha_step,val_dice\n1,0.5,0.1,\n2,0.4,0.1,0.5\n3,0.3,0.1,\n");
    report_put_text("alpha.csv", "round,cell,a4,a6,a8\n1,enc0,0.3,0.3,0.4\n1,dec0,0.3,0.3,0.4\n2,enc0,0.2,0.4,0.4\n");
    report_put_cases(NULL, 3);
    swap_folder("pictures", "aside"); /* 350 times the same pictures would only take time */
    swap_folder("predictions", "beside");
    for (uint64_t i = 0; i < 350; ++i) {
        size_t count;
        const char *file = name[i % 7];
        char *text = report_get(file, &count), *copy = malloc(count + 1), why[256];
        memcpy(copy, text, count);
        for (uint64_t k = 0; k < 1 + i % 3; ++k)
            copy[(size_t)(report_noise(i, 2 * k) * (double)count)] =
                "\n,\"'<>&0-e{}[]:=#\x01\xC3"[(int)(report_noise(i, 2 * k + 1) * 20)];
        report_put(file, copy, i % 5 == 0 ? (size_t)(report_noise(i, 99) * (double)count) : count);
        ht_error error = {0};
        if (genseg_report_write(report_folder, &error) == HT_OK) {
            char *page = report_get("report.html", NULL);
            page_is_good(page, why, sizeof why) ? ++good : ++bad;
            free(page);
        } else error.message[0] ? ++turned_away : ++bad;
        report_put(file, text, count);
        free(text);
        free(copy);
    }
    swap_folder("aside", "pictures");
    swap_folder("beside", "predictions");
    tap_ok(bad == 0 && good > 20 && turned_away > 20, "350 damaged files: %d pages, %d refusals, %d else", good, turned_away,
           bad);
}

int main(int count, char **argument)
{
    if (count > 1) {
        snprintf(report_folder, sizeof report_folder, "%s", argument[1]);
        mkdir(report_folder, 0700);
        report_put_run();
        ht_error error = {0};
        if (genseg_report_write(report_folder, &error) != HT_OK) fprintf(stderr, "%s\n", error.message);
        return error.status != HT_OK;
    }
    const char *base = getenv("TMPDIR");
    snprintf(report_folder, sizeof report_folder, "%s/report-XXXXXX", base ? base : "/tmp");
    if (!mkdtemp(report_folder)) return perror(report_folder), 1;
    test_full();
    test_parts();
    test_refusals();
    test_hostile();
    test_damage();
    char command[600];
    snprintf(command, sizeof command, "rm -rf '%s'", report_folder);
    return system(command) == 0 ? tap_done() : 1;
}
