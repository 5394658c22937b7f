/*
 * Charts as SVG inside the page: lines over rounds, and a histogram. Colours come from the style sheet, nothing is
 * fetched, nothing is scripted. Values that were not computed are gaps; a column of pixels never costs more than four
 * points, however long the run was.
 */
#include "report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TICKS_MAX 24
#define SMOOTH_FROM 40 /* fewer values than this are drawn as they are, with dots */

/* One direction of a chart: values from low to high (their logarithms on a logarithmic one) at pixels from and to. */
typedef struct axis {
    double low, high, from, to;
    bool logarithmic;
    int32_t ticks;
    double tick[TICKS_MAX];
} axis;

/* The computed values of one series, in the axis' units; `starts` where a line must not reach back. */
typedef struct trace {
    double *x, *y, *smooth;
    bool *starts;
    int64_t count, dropped; /* dropped: not positive on a logarithmic axis */
    void *memory;
} trace;

typedef struct frame {
    double width, height;
    axis x, y;
} frame;

static double place(const axis *a, double value)
{
    return a->from + (value - a->low) / (a->high - a->low) * (a->to - a->from);
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Whole powers of ten, the same everywhere, without the library's pow. */
static double power_of_ten(int exponent)
{
    double p = 1;
    for (int i = 0; i < (exponent < 0 ? -exponent : exponent); ++i) p *= 10;
    return exponent < 0 ? 1 / p : p;
}

/* Ticks at 1, 2 or 5 times a power of ten, about `wanted` of them. */
static void linear_ticks(axis *a, int wanted, bool whole)
{
    static const double factor[4] = {1, 2, 5, 10};
    double rough = (a->high - a->low) / wanted;
    int exponent = (int)floor(log10(rough));
    double unit = power_of_ten(exponent);
    int f = 0;
    while (f < 3 && factor[f] * unit < rough * 0.999) ++f;
    if (whole && (exponent < 0 || (exponent == 0 && factor[f] < 1))) exponent = f = 0;
    double first = ceil(a->low / (factor[f] * power_of_ten(exponent)) - 1e-9);
    a->ticks = 0;
    for (double k = first; a->ticks < TICKS_MAX; ++k) {
        /* dividing by a power gives the decimal that is meant: 3 / 10, not 3 * 0.1 */
        double value = exponent < 0 ? k * factor[f] / power_of_ten(-exponent) : k * factor[f] * power_of_ten(exponent);
        if (value > a->high + 1e-9 * (a->high - a->low)) break;
        a->tick[a->ticks++] = value == 0 ? 0 : value;
    }
}

/* Ticks at powers of ten, thinned to at most `wanted`; between them at 2 and 5 if the axis spans little. */
static void logarithmic_ticks(axis *a, int wanted)
{
    int low = (int)ceil(a->low - 1e-9), high = (int)floor(a->high + 1e-9);
    int step = 1;
    while ((high - low) / step + 1 > wanted) ++step;
    a->ticks = 0;
    if (high - low >= 2) {
        for (int e = low; e <= high && a->ticks < TICKS_MAX; e += step) a->tick[a->ticks++] = e;
        return;
    }
    static const double factor[3] = {1, 2, 5};
    for (int e = low - 1; e <= high; ++e)
        for (int f = 0; f < 3; ++f) {
            double t = e + log10(factor[f]);
            if (t >= a->low - 1e-9 && t <= a->high + 1e-9 && a->ticks < TICKS_MAX) a->tick[a->ticks++] = t;
        }
}

static void tick_label(genseg_html *html, const axis *a, double tick)
{
    if (!a->logarithmic) {
        genseg_html_number(html, tick, 6);
        return;
    }
    int whole = (int)floor(tick + 1e-9);
    double rest = tick - whole;
    double factor = rest < 0.15 ? 1 : rest < 0.5 ? 2 : 5;
    genseg_html_number(html, whole < 0 ? factor / power_of_ten(-whole) : factor * power_of_ten(whole), 2);
}

/* Median distance of neighbours: how often this series is computed. */
static double cadence_of(const double *x, int64_t count, double *space)
{
    if (count < 2) return 1;
    for (int64_t i = 1; i < count; ++i) space[i - 1] = x[i] - x[i - 1];
    qsort(space, (size_t)(count - 1), sizeof *space, ascending);
    return space[(count - 1) / 2];
}

/* Mean over a window of neighbours, never across a gap. A wild value counts as one at the axis' edge. */
static void smooth_trace(trace *t, const axis *range)
{
    int64_t half = t->count / 50 + 1;
    for (int64_t begin = 0, end; begin < t->count; begin = end) {
        for (end = begin + 1; end < t->count && !t->starts[end]; ++end) {}
        double sum = 0;
        int64_t low = begin, high = begin;
        for (int64_t i = begin; i < end; ++i) {
            int64_t from = i - half < begin ? begin : i - half, to = i + half + 1 > end ? end : i + half + 1;
            for (; high < to; ++high) sum += fmin(fmax(t->y[high], range->low), range->high);
            for (; low < from; ++low) sum -= fmin(fmax(t->y[low], range->low), range->high);
            t->smooth[i] = sum / (double)(to - from);
        }
    }
}

static bool make_trace(const genseg_chart *chart, const genseg_series *series, trace *t)
{
    memset(t, 0, sizeof *t);
    size_t room = (size_t)(chart->count > 0 ? chart->count : 1);
    t->memory = malloc(room * (3 * sizeof(double) + sizeof(bool))); /* columns come from files with a limit */
    if (!t->memory) return false;
    t->x = t->memory;
    t->y = t->x + room;
    t->smooth = t->y + room;
    t->starts = (bool *)(t->smooth + room);
    for (int64_t i = 0; i < chart->count; ++i) {
        double value = series->y[i];
        if (isnan(value) || isnan(chart->x[i])) continue;
        if (chart->logarithmic && value <= 0) {
            ++t->dropped;
            continue;
        }
        t->x[t->count] = chart->x[i];
        t->y[t->count++] = chart->logarithmic ? log10(value) : value;
    }
    double cadence = cadence_of(t->x, t->count, t->smooth);
    for (int64_t i = 0; i < t->count; ++i) t->starts[i] = i == 0 || t->x[i] - t->x[i - 1] > 1.9 * cadence;
    return true;
}

/* Range of one trace. A few wild values (at most 1 in 100 at each end) may stay outside of a linear axis. */
static bool trace_range(const trace *t, bool robust, double *low, double *high)
{
    if (t->count == 0) return true;
    double *sorted = malloc((size_t)t->count * sizeof *sorted);
    if (!sorted) return false;
    memcpy(sorted, t->y, (size_t)t->count * sizeof *sorted);
    qsort(sorted, (size_t)t->count, sizeof *sorted, ascending);
    int64_t aside = robust ? t->count / 100 : 0;
    double a = sorted[0], b = sorted[t->count - 1];
    double inner_a = sorted[aside], inner_b = sorted[t->count - 1 - aside], span = inner_b - inner_a;
    free(sorted);
    if (aside > 0 && span > 0 && a < inner_a - span) a = inner_a;
    if (aside > 0 && span > 0 && b > inner_b + span) b = inner_b;
    if (a < *low) *low = a;
    if (b > *high) *high = b;
    return true;
}

/* Sets the y axis; false without memory. */
static bool find_range(const genseg_chart *chart, const trace *traces, axis *y)
{
    y->logarithmic = chart->logarithmic;
    if (chart->low < chart->high) {
        y->low = chart->low;
        y->high = chart->high;
        return true;
    }
    double low = INFINITY, high = -INFINITY;
    for (int32_t s = 0; s < chart->series_count; ++s)
        if (!trace_range(&traces[s], !chart->logarithmic, &low, &high)) return false;
    if (chart->has_line && !chart->logarithmic) {
        low = fmin(low, chart->line);
        high = fmax(high, chart->line);
    }
    double least = chart->logarithmic ? 1 : fmax(fabs(low), fabs(high)) * (high > low ? 1e-3 : 0.2);
    if (!(least > 1e-290)) least = 1;
    if (high - low < least) {
        double middle = low / 2 + high / 2;
        low = middle - least / 2;
        high = middle + least / 2;
    }
    double margin = (high / 2 - low / 2) * 0.1;
    /* an axis of positive values does not go below 0 just for its margin */
    y->low = low >= 0 && low < margin && !chart->logarithmic ? 0 : low - margin;
    y->high = high + margin;
    return isfinite(y->high - y->low);
}

static void put_point(genseg_html *html, const frame *f, double x, double y, bool starts)
{
    /* far outside is outside: keeps the digits few and the numbers finite */
    double py = fmin(fmax(place(&f->y, y), -2 * f->height), 3 * f->height);
    genseg_html_format(html, "%c%.1f %.1f", starts ? 'M' : 'L', place(&f->x, x), py);
}

/*
 * The path of one trace. Of the points in one column of pixels the first, least, greatest and last stay, which draws
 * the same picture.
 */
static void put_path(genseg_html *html, const frame *f, const trace *t, const double *y, const char *kind, int colour)
{
    genseg_html_format(html, "<path class=\"%s s%d\" d=\"", kind, colour);
    for (int64_t i = 0, end; i < t->count; i = end) {
        double column = floor(place(&f->x, t->x[i]) * 2);
        int64_t least = i, greatest = i;
        for (end = i + 1; end < t->count && !t->starts[end] && floor(place(&f->x, t->x[end]) * 2) == column; ++end) {
            if (y[end] < y[least]) least = end;
            if (y[end] > y[greatest]) greatest = end;
        }
        int64_t kept[4] = {i, least < greatest ? least : greatest, least < greatest ? greatest : least, end - 1};
        for (int k = 0; k < 4; ++k)
            if (k == 0 || kept[k] != kept[k - 1]) put_point(html, f, t->x[kept[k]], y[kept[k]], k == 0 && t->starts[i]);
    }
    genseg_html_raw(html, "\"/>");
}

/* Dots: all values of a short series, and those of a long one that no line reaches. */
static void put_dots(genseg_html *html, const frame *f, const trace *t, const double *y, int colour, bool small)
{
    for (int64_t i = 0; i < t->count; ++i) {
        bool alone = t->starts[i] && (i + 1 == t->count || t->starts[i + 1]);
        if (!alone && (small || t->count >= SMOOTH_FROM)) continue;
        double py = place(&f->y, y[i]);
        if (py < -f->height || py > 2 * f->height) continue;
        genseg_html_format(html, "<circle class=\"f%d\" cx=\"%.1f\" cy=\"%.1f\" r=\"%s\"/>", colour,
                           place(&f->x, t->x[i]), py, small ? "1.6" : "2.4");
    }
}

/* Grid, axes, tick labels. */
static void put_frame(genseg_html *html, const frame *f, const char *x_label, const char *y_label)
{
    for (int32_t i = 0; i < f->y.ticks; ++i) {
        double y = place(&f->y, f->y.tick[i]);
        genseg_html_format(html, "<line class=\"grid-line\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>",
                           f->x.from, f->x.to, y, y);
        genseg_html_format(html, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">", f->x.from - 5, y + 3.8);
        tick_label(html, &f->y, f->y.tick[i]);
        genseg_html_raw(html, "</text>");
    }
    for (int32_t i = 0; i < f->x.ticks; ++i) {
        double x = place(&f->x, f->x.tick[i]);
        genseg_html_format(html, "<path class=\"axis\" d=\"M%.1f %.1fv4\"/>", x, f->y.from);
        /* two ticks are the ends of a small chart, where a label in the middle would not fit */
        genseg_html_format(html, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">", x, f->y.from + 15,
                           f->x.ticks > 2 ? "middle" : i == 0 ? "start" : "end");
        tick_label(html, &f->x, f->x.tick[i]);
        genseg_html_raw(html, "</text>");
    }
    genseg_html_format(html, "<path class=\"axis\" d=\"M%.1f %.1fV%.1fH%.1f\"/>", f->x.from, f->y.to, f->y.from,
                       f->x.to);
    if (x_label) {
        genseg_html_format(html, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">", (f->x.from + f->x.to) / 2,
                           f->height - 3);
        genseg_html_raw(html, x_label);
        genseg_html_raw(html, "</text>");
    }
    if (y_label && *y_label) {
        double middle = (f->y.from + f->y.to) / 2;
        genseg_html_format(html, "<text x=\"11\" y=\"%.1f\" text-anchor=\"middle\" transform=\"rotate(-90 11 %.1f)\">",
                           middle, middle);
        genseg_html_raw(html, y_label);
        genseg_html_raw(html, "</text>");
    }
}

static void open_svg(genseg_html *html, const frame *f, const char *title)
{
    genseg_html_format(html, "<svg viewBox=\"0 0 %.0f %.0f\" role=\"img\" aria-label=\"", f->width, f->height);
    genseg_html_text(html, title);
    genseg_html_raw(html, "\">");
}

/* An inner picture clips what it holds, so that wild values end at the frame; dots at the sides stay whole. */
static void open_clip(genseg_html *html, const frame *f)
{
    double left = f->x.from - 4, width = f->x.to - f->x.from + 8, height = f->y.from - f->y.to;
    genseg_html_format(html, "<svg x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" viewBox=\"%.1f %.1f %.1f %.1f\">",
                       left, f->y.to, width, height, left, f->y.to, width, height);
}

static void put_mark(genseg_html *html, const frame *f, double value, const char *name)
{
    if (isnan(value) || value < f->x.low || value > f->x.high) return;
    double x = place(&f->x, value);
    bool left = x > (f->x.from + f->x.to) / 2;
    genseg_html_format(html, "<path class=\"mark\" d=\"M%.1f %.1fV%.1f\"/>", x, f->y.from, f->y.to);
    genseg_html_format(html, "<text class=\"mark-name\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">", x + (left ? -4 : 4),
                       f->y.from - 7, left ? "end" : "start");
    genseg_html_raw(html, name);
    genseg_html_raw(html, "</text>");
}

static void put_chart(genseg_html *html, const genseg_chart *chart, const trace *traces, frame *f)
{
    if (f->y.logarithmic) logarithmic_ticks(&f->y, chart->small ? 4 : 7);
    else linear_ticks(&f->y, chart->small ? 3 : 5, false);
    if (chart->small) {
        f->x.ticks = 2;
        f->x.tick[0] = f->x.low;
        f->x.tick[1] = f->x.high;
    } else linear_ticks(&f->x, 6, true);
    open_svg(html, f, chart->title);
    put_frame(html, f, chart->small ? NULL : "round", chart->y_label);
    open_clip(html, f);
    if (chart->has_line)
        genseg_html_format(html, "<path class=\"reference\" d=\"M%.1f %.1fH%.1f\"/>", f->x.from,
                           place(&f->y, chart->line), f->x.to);
    for (int32_t s = 0; s < chart->series_count; ++s) {
        const trace *t = &traces[s];
        int32_t colour = chart->series[s].colour;
        if (t->count == 0) continue;
        bool smooth = chart->smooth && t->count >= SMOOTH_FROM;
        put_path(html, f, t, t->y, smooth ? "raw" : "line", colour);
        if (!smooth) put_dots(html, f, t, t->y, colour, chart->small);
    }
    for (int32_t s = 0; s < chart->series_count; ++s)
        if (chart->smooth && traces[s].count >= SMOOTH_FROM)
            put_path(html, f, &traces[s], traces[s].smooth, "line", chart->series[s].colour);
    genseg_html_raw(html, "</svg>");
    if (chart->has_mark) put_mark(html, f, chart->mark, chart->mark_name);
    genseg_html_raw(html, "</svg>");
}

/* What the picture cannot show is said under it. */
static void put_remarks(genseg_html *html, const genseg_chart *chart, const trace *traces, const frame *f)
{
    int64_t outside = 0, dropped = 0, computed = 0;
    for (int32_t s = 0; s < chart->series_count; ++s) {
        dropped += traces[s].dropped;
        if (chart->smooth && traces[s].count >= SMOOTH_FROM && traces[s].count > computed) computed = traces[s].count;
        for (int64_t i = 0; i < traces[s].count; ++i)
            outside += traces[s].y[i] < f->y.low || traces[s].y[i] > f->y.high;
    }
    if (chart->small || (outside == 0 && dropped == 0 && computed == 0)) return;
    genseg_html_raw(html, "<p class=\"below\">");
    if (computed > 0)
        genseg_html_format(html, "Bold: %smean over %lld values; faint: all. ",
                           chart->logarithmic ? "geometric " : "", (long long)(computed / 50 + 1) * 2 + 1);
    if (outside > 0) genseg_html_format(html, "%lld outside of the axis, counted at its edge. ", (long long)outside);
    if (dropped > 0) genseg_html_format(html, "%lld of 0, which a logarithmic axis cannot show. ", (long long)dropped);
    genseg_html_raw(html, "</p>");
}

static void put_caption(genseg_html *html, const genseg_chart *chart, const trace *traces)
{
    genseg_html_raw(html, "<figcaption><b>");
    genseg_html_text(html, chart->title);
    genseg_html_raw(html, "</b>");
    for (int32_t s = 0; s < chart->series_count && chart->series_count > 1 && !chart->small; ++s) {
        genseg_html_format(html, "<span class=\"key\"><i class=\"k%d\"></i>", (int)chart->series[s].colour);
        genseg_html_raw(html, chart->series[s].name);
        genseg_html_raw(html, traces[s].count + traces[s].dropped == 0 ? " (not computed)</span>" : "</span>");
    }
    genseg_html_raw(html, "</figcaption>");
}

void genseg_chart_write(genseg_html *html, const genseg_chart *chart)
{
    trace traces[GENSEG_CHART_SERIES];
    memset(traces, 0, sizeof traces);
    int64_t points = 0, dropped = 0;
    bool fits = true;
    for (int32_t s = 0; s < chart->series_count && fits; ++s) {
        fits = make_trace(chart, &chart->series[s], &traces[s]);
        points += traces[s].count;
        dropped += traces[s].dropped;
    }
    frame f = {.width = chart->small ? 150 : 520, .height = chart->small ? 112 : 244};
    f.x = (axis){.from = chart->small ? 36 : 68, .to = f.width - (chart->small ? 8 : 14)};
    f.y = (axis){.from = f.height - (chart->small ? 18 : 36), .to = chart->small ? 6 : 10};
    if (chart->count > 0) {
        f.x.low = chart->x[0];
        f.x.high = chart->x[chart->count - 1];
    }
    if (!(f.x.high > f.x.low)) {
        f.x.low -= 1;
        f.x.high = f.x.low + 2;
    }
    if (fits) put_caption(html, chart, traces);
    if (fits && points == 0)
        genseg_html_raw(html, dropped ? "<div class=\"empty\">0 in every round</div>"
                                      : "<div class=\"empty\">not computed in this run</div>");
    else if (fits && find_range(chart, traces, &f.y)) {
        for (int32_t s = 0; s < chart->series_count; ++s) smooth_trace(&traces[s], &f.y);
        put_chart(html, chart, traces, &f);
        put_remarks(html, chart, traces, &f);
    } else if (fits) genseg_html_raw(html, "<div class=\"empty\">values too large to draw</div>");
    if (!fits) html->refused = true;
    for (int32_t s = 0; s < GENSEG_CHART_SERIES; ++s) free(traces[s].memory);
}

#define BINS 20

static void put_summary_line(genseg_html *html, const frame *f, double value, const char *name, double y, const char *anchor)
{
    if (isnan(value) || value < 0 || value > 1) return;
    double x = place(&f->x, value);
    genseg_html_format(html, "<path class=\"mark\" d=\"M%.1f %.1fV%.1f\"/>", x, f->y.from, y - 8);
    genseg_html_format(html, "<text class=\"mark-name\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">%s ",
                       x + (*anchor == 'e' ? -4 : 4), y, anchor, name);
    genseg_html_fixed(html, value, 3);
    genseg_html_raw(html, "</text>");
}

void genseg_histogram_write(genseg_html *html, const double *values, int64_t count, double mean, double median)
{
    int64_t bin[BINS] = {0}, most = 1;
    for (int64_t i = 0; i < count; ++i) {
        if (isnan(values[i]) || values[i] < 0 || values[i] > 1) continue;
        int32_t b = (int32_t)floor(values[i] * BINS + 1e-9);
        if (b == BINS) b = BINS - 1;
        if (++bin[b] > most) most = bin[b];
    }
    frame f = {.width = 1080, .height = 250};
    f.x = (axis){.low = 0, .high = 1, .from = 48, .to = 1066};
    f.y = (axis){.low = 0, .high = (double)most * 1.04, .from = 212, .to = 34};
    linear_ticks(&f.x, 10, false);
    linear_ticks(&f.y, most < 5 ? (int)most : 5, true);
    genseg_html_raw(html, "<figure><figcaption><b>Dice per case</b></figcaption>");
    open_svg(html, &f, "Histogram of Dice per case");
    put_frame(html, &f, "Dice (bins of 0.05)", "cases");
    for (int32_t b = 0; b < BINS; ++b) {
        if (bin[b] == 0) continue;
        double left = place(&f.x, (double)b / BINS), right = place(&f.x, (double)(b + 1) / BINS);
        double top = place(&f.y, (double)bin[b]);
        genseg_html_format(html, "<rect class=\"bar\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" rx=\"1.5\">",
                           left + 1, top, right - left - 2, f.y.from - top);
        genseg_html_format(html, "<title>%.2f to %.2f: %lld</title></rect>", (double)b / BINS, (double)(b + 1) / BINS,
                           (long long)bin[b]);
    }
    put_summary_line(html, &f, mean, "mean", 11, mean > median ? "start" : "end");
    put_summary_line(html, &f, median, "median", 25, mean > median ? "end" : "start");
    genseg_html_raw(html, "</svg></figure>");
}
