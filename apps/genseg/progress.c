/* Progress for a person. The remaining time is the mean time of this process's own rounds, times those to come. */
#include "progress.h"

#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum { LINE = 512, BAR = 20 };

double genseg_seconds(void)
{
    struct timespec now = {0};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

char *genseg_duration_text(double seconds, char *text, size_t bytes)
{
    /* also catches NaN and what no clock can mean */
    long long s = seconds >= 0 && seconds < 1e12 ? (long long)(seconds + 0.5) : 0;
    if (s < 60)
        snprintf(text, bytes, "%lld s", s);
    else if (s < 3600)
        snprintf(text, bytes, "%lld min %02lld s", s / 60, s % 60);
    else
        snprintf(text, bytes, "%lld h %02lld min", s / 3600, s % 3600 / 60);
    return text;
}

void genseg_progress_start(genseg_progress *progress, const char *label, int64_t done, int64_t total, int64_t every,
                           bool quiet)
{
    *progress = (genseg_progress){.first = done, .total = total, .every = every};
    snprintf(progress->label, sizeof progress->label, "%s", label);
    if (every <= 0) progress->every = total > 20 ? (total + 19) / 20 : 1;
    progress->started = genseg_seconds();
    progress->drawn = progress->started - 1;
    if (quiet) return;
    progress->bar = isatty(STDERR_FILENO) || isatty(STDOUT_FILENO);
    progress->to = isatty(STDERR_FILENO) ? stderr : stdout;
}

/* "12 of 300", the remaining time, the text. */
static void describe(const genseg_progress *progress, int64_t done, const char *text, char line[LINE])
{
    char left[48] = "", duration[32];
    int64_t own = done - progress->first;
    double elapsed = genseg_seconds() - progress->started;
    if (own > 0 && done < progress->total) {
        double remaining = elapsed / (double)own * (double)(progress->total - done);
        snprintf(left, sizeof left, "  %s left", genseg_duration_text(remaining, duration, sizeof duration));
    } else if (done >= progress->total) {
        snprintf(left, sizeof left, "  in %s", genseg_duration_text(elapsed, duration, sizeof duration));
    }
    snprintf(line, LINE, "%lld of %lld%s%s%s", (long long)done, (long long)progress->total, left, *text ? "  " : "",
             text);
}

static int terminal_width(FILE *to)
{
    struct winsize size = {0};
    if (ioctl(fileno(to), TIOCGWINSZ, &size) || size.ws_col < 20) return 80;
    return size.ws_col;
}

static void draw_bar(genseg_progress *progress, int64_t done, const char *text)
{
    char line[LINE], bar[BAR + 1], full[LINE + 64];
    double now = genseg_seconds();
    if (now - progress->drawn < 0.2 && done < progress->total) return;
    progress->drawn = now;
    double share = progress->total > 0 ? (double)done / (double)progress->total : 1;
    int filled = share >= 1 ? BAR : share > 0 ? (int)(share * BAR) : 0;
    memset(bar, '-', BAR);
    memset(bar, '#', (size_t)filled);
    bar[BAR] = 0;
    describe(progress, done, text, line);
    snprintf(full, sizeof full, "%s [%s] %s", progress->label, bar, line);
    /* one column stays free: a full line would wrap and could not be drawn over */
    fprintf(progress->to, "\r%.*s\033[K", terminal_width(progress->to) - 1, full);
    fflush(progress->to);
    progress->dirty = true;
}

void genseg_progress_step(genseg_progress *progress, int64_t done, const char *text)
{
    if (!progress->to) return;
    if (progress->bar) {
        draw_bar(progress, done, text);
        return;
    }
    if (done % progress->every && done != progress->total) return;
    char line[LINE];
    describe(progress, done, text, line);
    fprintf(progress->to, "%s %s\n", progress->label, line);
    fflush(progress->to);
}

void genseg_progress_stop(genseg_progress *progress, const char *text)
{
    if (!progress->to) return;
    if (progress->dirty) fputs("\r\033[K", progress->to);
    if (*text) fprintf(progress->to, "%s\n", text);
    fflush(progress->to);
    progress->dirty = false;
}
