/*
 * A partner: a program that answers many questions, one JSON object a line, so that what it takes to start (seconds, of a
 * Python that imports torch) is paid once. It waits in a read while ours runs, so the two never compute at once.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

enum { ANSWER_BYTES = 65536 };

struct bench_partner {
    pid_t child;
    int to, from;
    FILE *complaints;
};

static _Noreturn void become(char *const *words, int in, int out, FILE *complaints)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)setpgid(0, 0);
    if (dup2(in, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 || dup2(fileno(complaints), STDERR_FILENO) < 0) _exit(127);
    execvp(words[0], words);
    fprintf(stderr, "%s: %s\n", words[0], strerror(errno));
    fflush(stderr);
    _exit(127);
}

bench_partner *bench_partner_open(char *const *words)
{
    int question[2] = {-1, -1}, answer[2] = {-1, -1};
    bench_partner *p = calloc(1, sizeof *p);
    signal(SIGPIPE, SIG_IGN); /* a partner that is gone is told by its answer */
    if (p) p->complaints = tmpfile();
    /* closed on exec: a second partner must not hold the first one's end open */
    if (p && p->complaints && pipe2(question, O_CLOEXEC) == 0 && pipe2(answer, O_CLOEXEC) == 0) {
        fflush(NULL);
        p->child = fork();
        if (p->child == 0) become(words, question[0], answer[1], p->complaints);
    }
    if (question[0] >= 0) close(question[0]);
    if (answer[1] >= 0) close(answer[1]);
    if (p) {
        p->to = question[1];
        p->from = answer[0];
        if (p->child > 0) return p;
        bench_partner_close(p);
    }
    return NULL;
}

/* One line, to the limit; how many bytes, or 0. */
static size_t read_line(int from, double limit, char *text, size_t room)
{
    size_t count = 0;
    double end = bench_now() + limit;
    while (count < room && bench_now() < end) {
        struct pollfd wait = {.fd = from, .events = POLLIN};
        int ready = poll(&wait, 1, 1000);
        if (ready < 0 && errno != EINTR) return 0;
        if (ready <= 0) continue;
        ssize_t got = read(from, text + count, room - count);
        if (got <= 0) return 0;
        count += (size_t)got;
        if (text[count - 1] == '\n') return count;
    }
    return 0;
}

bench_child bench_partner_ask(bench_partner *p, const json_t *question, double limit)
{
    static char text[ANSWER_BYTES];
    bench_child c = {0};
    double start = bench_now();
    char *line = json_dumps(question, JSON_COMPACT);
    bool asked = line && dprintf(p->to, "%s\n", line) > 0;
    size_t count = asked ? read_line(p->from, limit, text, sizeof text) : 0;
    free(line);
    c.wall_seconds = bench_now() - start;
    if (count) c.answer = json_loadb(text, count, 0, NULL);
    const char *problem = json_string_value(json_object_get(c.answer, "problem"));
    if (c.answer && !problem) return c;
    if (problem) snprintf(c.problem, sizeof c.problem, "%.400s", problem);
    else if (c.wall_seconds >= limit) snprintf(c.problem, sizeof c.problem, "no answer in %.0f s", limit);
    else bench_last_line(p->complaints, c.problem, sizeof c.problem);
    if (!c.problem[0]) snprintf(c.problem, sizeof c.problem, "no JSON object in its output");
    json_decref(c.answer);
    c.answer = NULL;
    return c;
}

void bench_partner_close(bench_partner *p)
{
    if (!p) return;
    if (p->to >= 0) close(p->to);
    if (p->from >= 0) close(p->from);
    if (p->child > 0) {
        (void)kill(-p->child, SIGKILL);
        while (waitpid(p->child, NULL, 0) < 0 && errno == EINTR) continue;
    }
    if (p->complaints) fclose(p->complaints);
    free(p);
}
