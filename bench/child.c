/*
 * Children: a fork that works, or another program. The answer comes by a pipe, complaints by a file without a name, peak
 * memory from the system when the child is collected. The parent starts no thread, so that forks are whole.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

typedef struct pipe_text {
    char *at;
    size_t count, room;
} pipe_text;

/* 1: more may come, 0: the end. */
static int take(pipe_text *text, int from)
{
    if (text->count + 65536 > text->room) {
        char *more = realloc(text->at, text->room * 2 + 65536);
        if (!more) return 0;
        text->at = more;
        text->room = text->room * 2 + 65536;
    }
    ssize_t got = read(from, text->at + text->count, text->room - text->count);
    if (got > 0) text->count += (size_t)got;
    return got > 0 || (got < 0 && errno == EINTR);
}

/* What the child wrote, to its end or to the limit. */
static bool listen_to(int from, double limit, pipe_text *text)
{
    double end = limit > 0 ? bench_now() + limit : 0;
    for (;;) {
        struct pollfd wait = {.fd = from, .events = POLLIN};
        double left = limit > 0 ? end - bench_now() : 1;
        if (left <= 0) return false;
        int ready = poll(&wait, 1, (int)((left < 1 ? left : 1) * 1000) + 1);
        if (ready > 0 && !take(text, from)) return true;
        if (ready < 0 && errno != EINTR) return true;
    }
}

void bench_last_line(FILE *complaints, char *text, size_t bytes)
{
    char line[512];
    rewind(complaints);
    while (fgets(line, sizeof line, complaints)) {
        line[strcspn(line, "\r\n")] = 0;
        if (line[strspn(line, " ")]) snprintf(text, bytes, "%.400s", line);
    }
}

static _Noreturn void work_in_child(int to, FILE *complaints, bench_work work, void *context, char *const *words)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)setpgid(0, 0); /* so that what it starts can be ended with it */
    if (dup2(fileno(complaints), STDERR_FILENO) < 0 || dup2(to, STDOUT_FILENO) < 0) _exit(127);
    if (words) {
        execvp(words[0], words);
        fprintf(stderr, "%s: %s\n", words[0], strerror(errno));
        fflush(stderr);
        _exit(127);
    }
    ht_error error = {0};
    json_t *answer = work(context, &error);
    if (answer) json_dumpf(answer, stdout, JSON_REAL_PRECISION(17) | JSON_COMPACT);
    else fprintf(stderr, "%s\n", error.message);
    fflush(stdout);
    fflush(stderr);
    _exit(answer ? 0 : 1);
}

static bench_child collect(pid_t child, int from, FILE *complaints, double limit)
{
    bench_child c = {0};
    pipe_text text = {0};
    double start = bench_now();
    bool ended = listen_to(from, limit, &text);
    if (!ended) (void)kill(-child, SIGKILL);
    int status = 0;
    struct rusage used = {0};
    while (wait4(child, &status, 0, &used) < 0 && errno == EINTR) continue;
    c.wall_seconds = bench_now() - start;
    c.peak_bytes = (size_t)used.ru_maxrss * 1024;
    if (!ended) {
        snprintf(c.problem, sizeof c.problem, "no answer in %.0f s", limit);
    } else if (WIFSIGNALED(status)) {
        snprintf(c.problem, sizeof c.problem, "ended by signal %d", WTERMSIG(status));
    } else if (WEXITSTATUS(status) != 0) {
        snprintf(c.problem, sizeof c.problem, "exit status %d", WEXITSTATUS(status));
        bench_last_line(complaints, c.problem, sizeof c.problem);
    } else {
        c.answer = json_loadb(text.at ? text.at : "", text.count, JSON_DISABLE_EOF_CHECK, NULL);
        if (!c.answer) snprintf(c.problem, sizeof c.problem, "no JSON object in its output");
    }
    free(text.at);
    return c;
}

static bench_child start(bench_work work, void *context, char *const *words, double limit)
{
    bench_child c = {0};
    int ends[2];
    FILE *complaints = tmpfile();
    if (!complaints || pipe(ends) != 0) {
        snprintf(c.problem, sizeof c.problem, "no child: %s", strerror(errno));
        if (complaints) fclose(complaints);
        return c;
    }
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        close(ends[0]);
        work_in_child(ends[1], complaints, work, context, words);
    }
    close(ends[1]);
    if (child > 0) c = collect(child, ends[0], complaints, limit);
    else snprintf(c.problem, sizeof c.problem, "no child: %s", strerror(errno));
    close(ends[0]);
    fclose(complaints);
    return c;
}

bench_child bench_fork(bench_work work, void *context) { return start(work, context, NULL, 0); }
bench_child bench_program(char *const *words, double limit) { return start(NULL, NULL, words, limit); }
