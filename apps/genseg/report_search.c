/*
 * The report on the search: boxes about what must not be overlooked, the hypergradient, the certificate and the
 * candidates' weights. It judges only by the files' numbers: a search that h never moved says so at the top.
 */
#include "report.h"
#include "config.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CELLS_MAX 128

static const char *value_of(const genseg_facts *facts, const char *key)
{
    const char *value = genseg_facts_find(facts, key);
    return value ? value : "";
}

bool genseg_report_searches(const genseg_report *report)
{
    if (genseg_facts_find(&report->settings, "method"))
        return strcmp(value_of(&report->settings, "method"), "genseg") == 0 &&
               strcmp(value_of(&report->settings, "mlo.hypergradient"), "none") != 0;
    const genseg_table *log = &report->log;
    return report->alpha.count > 0 || genseg_column_computed(log->column[GENSEG_LOG_STEP], log->count) > 0 ||
           genseg_column_computed(log->column[GENSEG_LOG_NORM], log->count) > 0;
}

/* Where the training found the path cut: the entry path_cut of run.json, at whatever depth; NULL if it is whole. */
static const char *cut_path(const genseg_facts *facts)
{
    for (int32_t i = 0; i < facts->count; ++i) {
        const char *last = strrchr(facts->key[i], '.');
        if (strcmp(last ? last + 1 : facts->key[i], "path_cut") != 0) continue;
        const char *value = facts->value[i];
        if (*value && strcmp(value, "false") != 0 && strcmp(value, "0") != 0) return value;
    }
    return NULL;
}

/* The agreement of h with f64 is a promise of f32, not of training on bf16. */
static bool on_bf16(const genseg_report *report)
{
    const char *precision = genseg_facts_find(&report->settings, "precision");
    return precision && strcmp(precision, "bf16") == 0;
}

static void search_alerts(genseg_html *html, const genseg_report *report)
{
    const genseg_table *log = &report->log;
    const char *cut = cut_path(&report->run_facts);
    if (cut) {
        genseg_report_box(html, "bad", "The path from the architecture to the validation loss was cut.");
        genseg_html_raw(html, "No hypergradient could reach A, so nothing was searched. Place: ");
        genseg_html_text_start(html, strcmp(cut, "true") == 0 ? "not named" : cut, 300);
        genseg_html_raw(html, "</div>");
    }
    if (!genseg_report_searches(report) || log->count == 0) return;
    bool zero = genseg_column_nonzero(log->column[GENSEG_LOG_NORM], log->count) == 0 &&
                genseg_column_nonzero(log->column[GENSEG_LOG_EQ9], log->count) == 0;
    if (genseg_column_nonzero(log->column[GENSEG_LOG_STEP], log->count) == 0 || zero) {
        genseg_report_box(html, "bad", "The hypergradient never moved the architecture.");
        genseg_html_format(html, "In all %lld logged rounds %s is 0 or was not computed. What A did in this run, it did "
                           "by weight decay or not at all: its architecture is not the result of a search.</div>",
                           (long long)log->count,
                           zero ? "\xE2\x80\x96h\xE2\x80\x96 itself" : "the step \xE2\x80\x96\xCE\x94\xCE\xB1\xE2\x80\x96 by h");
    }
    int64_t apart = 0;
    const double *error = report->proof.column[GENSEG_PROOF_RELATIVE];
    for (int64_t i = 0; i < report->proof.count && !on_bf16(report); ++i) apart += error[i] > GENSEG_AGREEMENT;
    if (apart > 0) {
        genseg_report_box(html, "bad", "The certificate does not hold.");
        genseg_html_raw(html, "In at least one certified round h in single precision is further than 10\xE2\x81\xBB\xC2\xB2 from "
                              "h in double precision; see the certificate.</div>");
    }
}

static void unfinished_alert(genseg_html *html, const genseg_table *table, const char *file)
{
    if (!table->unfinished) return;
    genseg_report_box(html, "warn", "A file ends in the middle of a line.");
    genseg_html_format(html, "The last line of %s has no end and is left out; a run that was stopped leaves this.</div>", file);
}

void genseg_report_alerts(genseg_html *html, const genseg_report *report)
{
    static const char *const name[] = {GENSEG_REPORT_LOG_NAMES};
    const genseg_table *log = &report->log;
    search_alerts(html, report);
    if (log->not_finite > 0) {
        genseg_report_box(html, "warn", "Not all logged numbers are finite.");
        genseg_html_format(html, "log.csv says nan or inf %lld times, first in round %.0f in column %s. The charts leave "
                           "these values out.</div>", (long long)log->not_finite,
                           log->column[GENSEG_LOG_ROUND][log->not_finite_row], name[log->not_finite_column]);
    }
    double wanted = genseg_facts_number(&report->settings, "rounds");
    double last = log->count > 0 ? log->column[GENSEG_LOG_ROUND][log->count - 1] : 0;
    if (last < wanted) {
        genseg_report_box(html, "warn", "The run is not at its end.");
        genseg_html_format(html, "%.0f of %.0f rounds are logged. The report shows the run as far as it is.</div>", last,
                           wanted);
    }
    unfinished_alert(html, log, "log.csv");
    unfinished_alert(html, &report->alpha, "alpha.csv");
    unfinished_alert(html, &report->proof, "certificate.csv");
    unfinished_alert(html, &report->cases, "cases.csv");
}

/* The h that A is given, where it is another than the path of Eq. (9). */
static bool differs(const double *a, const double *b, int64_t count)
{
    for (int64_t i = 0; i < count; ++i)
        if (!isnan(a[i]) && !(fabs(a[i] - b[i]) <= 1e-6 * fabs(a[i]))) return true;
    return false;
}

void genseg_report_hypergradient(genseg_html *html, const genseg_report *report)
{
    const genseg_table *log = &report->log;
    genseg_report_heading(html, "hypergradient", "Hypergradient");
    if (!genseg_report_searches(report)) {
        genseg_html_raw(html, "<p class=\"note\">This run searches no architecture, so there is no hypergradient.</p>");
        return;
    }
    genseg_html_raw(html,
        "<p>h is the derivative of the validation loss with respect to the architecture A. Along <i>Eq.&nbsp;9</i> it goes "
        "from A through the generator\xE2\x80\x99s step and the segmenter\xE2\x80\x99s step; the <i>direct</i> path is "
        "A\xE2\x80\x99s own share in the generated image. Steps of A by h and by weight decay are logged apart, since decay "
        "alone moves A too.</p>"
        "<div class=\"grid two\">");
    genseg_chart norms = genseg_report_chart(report, "Size of h by path", "\xE2\x80\x96h\xE2\x80\x96");
    norms.logarithmic = true;
    genseg_report_series(&norms, "Eq.&nbsp;9", log->column[GENSEG_LOG_EQ9]);
    genseg_report_series(&norms, "direct", log->column[GENSEG_LOG_DIRECT]);
    if (differs(log->column[GENSEG_LOG_NORM], log->column[GENSEG_LOG_EQ9], log->count))
        genseg_report_series(&norms, "h that A is given", log->column[GENSEG_LOG_NORM]);
    genseg_report_figure(html, &norms);

    genseg_chart cosine = genseg_report_chart(report, "Cosine of the two paths", "cosine");
    cosine.low = -1.05;
    cosine.high = 1.05;
    cosine.has_line = true;
    genseg_report_series(&cosine, "cosine", log->column[GENSEG_LOG_COSINE]);
    genseg_report_figure(html, &cosine);

    genseg_chart steps = genseg_report_chart(report, "Step of the architecture", "\xE2\x80\x96\xCE\x94\xCE\xB1\xE2\x80\x96");
    steps.logarithmic = true;
    genseg_report_series(&steps, "by h", log->column[GENSEG_LOG_STEP]);
    genseg_report_series(&steps, "by weight decay", log->column[GENSEG_LOG_DECAY]);
    genseg_report_figure(html, &steps);

    genseg_chart largest = genseg_report_chart(report, "Largest candidate weight of all cells", "softmax weight");
    largest.low = 0.3;
    largest.high = 1.02;
    largest.has_line = true;
    largest.line = 1.0 / 3;
    genseg_report_series(&largest, "largest", log->column[GENSEG_LOG_LARGEST]);
    genseg_report_figure(html, &largest);
    genseg_html_raw(html, "</div>");
}

/* ---- certificate ---- */

/* digits 0: a whole number, else so many digits with a power of ten. */
static void put_cell(genseg_html *html, double value, int digits)
{
    genseg_html_raw(html, "<td class=\"number\">");
    if (digits == 0) genseg_html_number(html, value, 12);
    else genseg_html_scientific(html, value, digits);
    genseg_html_raw(html, "</td>");
}

/* excuse: why it says nothing that the two differ (across a kink a difference is no derivative), or NULL. */
static void put_verdict(genseg_html *html, double error, const char *excuse)
{
    bool good = error <= GENSEG_AGREEMENT, known = !isnan(error) && (good || !excuse);
    genseg_html_format(html, "<span class=\"verdict %s\">%s</span>", !known ? "none" : good ? "good" : "bad",
                       isnan(error) ? "not computed" : !known ? excuse : good ? "agrees" : "differs");
}

/* The first cells of a round, which span its directions. */
static void put_round(genseg_html *html, const genseg_report *report, int64_t row, int64_t rows)
{
    const genseg_table *proof = &report->proof;
    static const int32_t column[3] = {GENSEG_PROOF_F32, GENSEG_PROOF_F64, GENSEG_PROOF_RELATIVE};
    double error = proof->column[GENSEG_PROOF_RELATIVE][row];
    genseg_html_format(html, "<td class=\"number\" rowspan=\"%lld\">", (long long)rows);
    genseg_html_number(html, proof->column[GENSEG_PROOF_ROUND][row], 12);
    genseg_html_raw(html, "</td>");
    for (int32_t i = 0; i < 3; ++i) {
        genseg_html_format(html, "<td class=\"number\" rowspan=\"%lld\">", (long long)rows);
        genseg_html_scientific(html, proof->column[column[i]][row], i < 2 ? 5 : 2);
        genseg_html_raw(html, "</td>");
    }
    genseg_html_format(html, "<td rowspan=\"%lld\">", (long long)rows);
    put_verdict(html, error, on_bf16(report) ? "rounded to bf16" : NULL);
    genseg_html_raw(html, "</td>");
}

void genseg_report_certificate(genseg_html *html, const genseg_report *report)
{
    const genseg_table *proof = &report->proof;
    genseg_report_heading(html, "certificate", "Certificate");
    if (!proof->present || proof->count == 0) {
        genseg_report_absent(html, "certificate.csv", "No round of this run was certified");
        return;
    }
    genseg_html_raw(html,
        "<p>In these rounds h was computed again in double precision, which must agree within 10\xE2\x81\xBB\xC2\xB2. Along "
        "random directions d the total derivative\xE2\x80\x99s slope is set against a central difference of the round itself, "
        "repeated with A \xC2\xB1 \xCE\xB5" "d and all else equal. Kinks are activations that changed sign between the two "
        "ends, for the shortest \xCE\xB5 tried; across them the difference is not a derivative, and may differ.</p>");
    if (on_bf16(report))
        genseg_html_raw(html,
            "<p>This run rounded the operands of its convolutions to bf16: what is called f32 below is its h, and the threshold, "
            "which is meant for f32, does not bind it.</p>");
    genseg_html_raw(html,
        "<div class=\"scroll\"><table><thead><tr><th class=\"number\">Round</th>"
        "<th class=\"number\">\xE2\x80\x96h\xE2\x80\x96 f32</th>"
        "<th class=\"number\">\xE2\x80\x96h\xE2\x80\x96 f64</th><th class=\"number\">relative</th><th>f32 against f64</th>"
        "<th class=\"number\">direction</th><th class=\"number\">slope</th><th class=\"number\">difference</th>"
        "<th class=\"number\">relative</th><th class=\"number\">kinks</th><th>slope against difference</th></tr></thead>");
    const double *round = proof->column[GENSEG_PROOF_ROUND];
    for (int64_t i = 0, end; i < proof->count; i = end) {
        for (end = i + 1; end < proof->count && round[end] == round[i]; ++end) {}
        genseg_html_raw(html, "<tbody class=\"group\">");
        for (int64_t row = i; row < end; ++row) {
            genseg_html_raw(html, "<tr>");
            if (row == i) put_round(html, report, row, end - i);
            put_cell(html, proof->column[GENSEG_PROOF_DIRECTION][row], 0);
            put_cell(html, proof->column[GENSEG_PROOF_DERIVATIVE][row], 5);
            put_cell(html, proof->column[GENSEG_PROOF_DIFFERENCE][row], 5);
            put_cell(html, proof->column[GENSEG_PROOF_DIFFERENCE_RELATIVE][row], 2);
            put_cell(html, proof->column[GENSEG_PROOF_KINKS][row], 0);
            genseg_html_raw(html, "<td>");
            put_verdict(html, proof->column[GENSEG_PROOF_DIFFERENCE_RELATIVE][row],
                        proof->column[GENSEG_PROOF_KINKS][row] > 0 ? "across kinks" : NULL);
            genseg_html_raw(html, "</td></tr>");
        }
        genseg_html_raw(html, "</tbody>");
    }
    genseg_html_raw(html, "</table></div>");
}

/* ---- candidates' weights ---- */

/* The rows of alpha.csv by cell: cell c has rows begin[c] to begin[c + 1] of the columns. */
typedef struct cells {
    int32_t count;
    int64_t left_out; /* rows of cells beyond CELLS_MAX */
    const char *name[CELLS_MAX];
    int64_t begin[CELLS_MAX + 1];
    double *column[4];
    void *memory;
    double low, high;
} cells;

static int32_t cell_of(cells *all, const char *name, int32_t guess)
{
    for (int32_t i = 0; i < all->count; ++i) {
        int32_t c = (guess + i) % all->count; /* cells repeat in their order: the guess is nearly always right */
        if (strcmp(all->name[c], name) == 0) return c;
    }
    if (all->count == CELLS_MAX) return -1;
    all->name[all->count] = name;
    return all->count++;
}

static bool group_cells(const genseg_table *alpha, cells *all)
{
    memset(all, 0, sizeof *all);
    size_t rows = (size_t)alpha->count; /* bounded by the file's limit */
    all->memory = malloc(rows * (4 * sizeof(double) + sizeof(int32_t)) + 1);
    if (!all->memory) return false;
    for (int32_t i = 0; i < 4; ++i) all->column[i] = (double *)all->memory + (size_t)i * rows;
    int32_t *owner = (int32_t *)(all->column[3] + rows);
    int32_t last = -1;
    for (size_t i = 0; i < rows; ++i) {
        owner[i] = last = cell_of(all, alpha->text[i], last + 1);
        if (last >= 0) ++all->begin[last + 1];
        else ++all->left_out;
    }
    int64_t next[CELLS_MAX];
    for (int32_t c = 0; c < all->count; ++c) {
        next[c] = all->begin[c];
        all->begin[c + 1] += all->begin[c];
    }
    all->low = all->high = 1.0 / 3;
    for (size_t i = 0; i < rows; ++i) {
        if (owner[i] < 0) continue;
        int64_t to = next[owner[i]]++;
        for (int32_t k = 0; k < 4; ++k) {
            double value = all->column[k][to] = alpha->column[k][i];
            if (k > 0 && value >= 0 && value <= 1) {
                all->low = fmin(all->low, value);
                all->high = fmax(all->high, value);
            }
        }
    }
    /* one scale for all cells, so that they can be compared; never so fine that noise looks like a choice */
    double margin = fmax((all->high - all->low) * 0.06, 0.01);
    all->low = fmax(all->low - margin, 0);
    all->high = fmin(all->high + margin, 1);
    return true;
}

static void put_final_weights(genseg_html *html, const cells *all, int32_t c)
{
    static const char *const kernel[3] = {"4", "6", "8"};
    int64_t last = all->begin[c + 1] - 1;
    int32_t top = -1;
    for (int32_t k = 0; k < 3; ++k) {
        double value = all->column[k + 1][last];
        if (!isnan(value) && (top < 0 || value > all->column[top + 1][last])) top = k;
    }
    genseg_html_raw(html, "<div class=\"weights\">");
    for (int32_t k = 0; k < 3; ++k) {
        genseg_html_format(html, "<span class=\"w%d%s\">%s\xC3\x97%s<br>", (int)(k + 1), k == top ? " top" : "", kernel[k],
                           kernel[k]);
        genseg_html_fixed(html, all->column[k + 1][last], 3);
        genseg_html_raw(html, "</span>");
    }
    genseg_html_raw(html, "</div>");
}

static bool belongs(const char *name, int32_t kind)
{
    int32_t own = strncmp(name, "enc", 3) == 0 ? 0 : strncmp(name, "dec", 3) == 0 ? 1 : 2;
    return own == kind;
}

/* The small charts of one kind of cells. */
static void put_row(genseg_html *html, const cells *all, int32_t kind)
{
    static const char *const title[3] = {"Encoder cells", "Decoder cells", "Other cells"};
    bool open = false;
    for (int32_t c = 0; c < all->count; ++c) {
        if (!belongs(all->name[c], kind)) continue;
        if (!open) genseg_html_format(html, "<h3>%s</h3><div class=\"grid cells\">", title[kind]);
        open = true;
        int64_t begin = all->begin[c];
        char name[64]; /* a chart's title is text, cut to what a small chart can hold */
        strncpy(name, all->name[c], sizeof name - 1);
        name[sizeof name - 1] = 0;
        genseg_chart chart = {.title = name, .x = all->column[0] + begin, .count = all->begin[c + 1] - begin,
                              .small = true, .low = all->low, .high = all->high, .has_line = true, .line = 1.0 / 3};
        for (int32_t k = 0; k < 3; ++k) genseg_report_series(&chart, "", all->column[k + 1] + begin);
        genseg_html_raw(html, "<figure>");
        genseg_chart_write(html, &chart);
        put_final_weights(html, all, c);
        genseg_html_raw(html, "</figure>");
    }
    if (open) genseg_html_raw(html, "</div>");
}

void genseg_report_architecture(genseg_html *html, const genseg_report *report)
{
    genseg_report_heading(html, "architecture", "Architecture");
    if (!report->alpha.present || report->alpha.count == 0) {
        genseg_report_absent(html, "alpha.csv", "The candidates\xE2\x80\x99 weights were not logged");
        return;
    }
    genseg_html_raw(html,
        "<p>Each cell mixes three candidate convolutions; their weights, which add up to 1, over the rounds. All cells "
        "have the same scale, the dotted line is the equal mixture of 1/3, and the numbers are the last weights, the "
        "strongest bold: that candidate stays when the architecture is derived.</p>"
        "<p class=\"note\"><span class=\"key\"><i class=\"k1\"></i>kernel 4\xC3\x97" "4</span> &ensp; "
        "<span class=\"key\"><i class=\"k2\"></i>kernel 6\xC3\x97" "6</span> &ensp; "
        "<span class=\"key\"><i class=\"k3\"></i>kernel 8\xC3\x97" "8</span></p>");
    cells *all = malloc(sizeof *all);
    if (!all || !group_cells(&report->alpha, all)) {
        html->refused = true;
        free(all);
        return;
    }
    for (int32_t kind = 0; kind < 3; ++kind) put_row(html, all, kind);
    if (all->left_out > 0)
        genseg_html_format(html, "<p class=\"note\">%lld rows belong to cells beyond the first %d and are left out.</p>",
                           (long long)all->left_out, CELLS_MAX);
    free(all->memory);
    free(all);
}
