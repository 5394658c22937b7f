/*
 * The program: one command, signals, exit codes, and the one line on stderr when something is wrong. What the commands
 * do is elsewhere; how the line is read, in arguments.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "arguments.h"
#include "commands.h"
#include "picture.h"
#include "run.h"

#ifndef GENSEG_VERSION
#define GENSEG_VERSION "0.1.0"
#endif

/* ---- the line ---- */

/* One line of at most 1,024 bytes, UTF-8, without control characters: names of files are shown escaped. */
static void print_line(const char *message)
{
    static const char hexadecimal[] = "0123456789abcdef";
    char line[1024] = "genseg: ";
    size_t used = strlen(line);
    for (const unsigned char *c = (const unsigned char *)message; *c && used + 6 < sizeof line;) {
        size_t plain = genseg_shown(c);
        if (plain) {
            memcpy(line + used, c, plain);
            used += plain;
            c += plain;
        } else {
            line[used++] = '\\';
            line[used++] = 'x';
            line[used++] = hexadecimal[*c >> 4];
            line[used++] = hexadecimal[*c & 15];
            c++;
        }
    }
    line[used++] = '\n';
    fflush(stdout);
    fwrite(line, 1, used, stderr);
}

/* ---- signals ---- */

/* The only things that change outside of a call: a handler can reach nothing else. */
static volatile int stop_requested;
static volatile sig_atomic_t interrupts;

static void on_signal(int number)
{
    static const char line[] =
        "genseg: interrupt: stopped at once; the last checkpoint is as it was; go on with --resume\n";
    stop_requested = 1;
    if (number != SIGINT || ++interrupts < 2) return;
    if (write(STDERR_FILENO, line, sizeof line - 1) < 0) _exit(GENSEG_EXIT_INTERRUPTED);
    _exit(GENSEG_EXIT_INTERRUPTED);
}

static void catch_signals(void)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGUSR1, SIGHUP};
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART}, before;
    sigemptyset(&action.sa_mask);
    for (size_t k = 0; k < sizeof numbers / sizeof *numbers; k++) {
        /* under nohup a lost terminal is no request to stop */
        if (numbers[k] == SIGHUP && !sigaction(SIGHUP, NULL, &before) && before.sa_handler == SIG_IGN) continue;
        sigaction(numbers[k], &action, NULL);
    }
}

/* Closed standard streams are opened on nothing, so that no file of ours takes their numbers. */
static void hold_standard_streams(void)
{
    for (int k = 0; k <= 2; k++)
        if (fcntl(k, F_GETFD) < 0 && errno == EBADF && open("/dev/null", O_RDWR) != k) _exit(GENSEG_EXIT_FAILURE);
}

/* ---- commands ---- */

static int report(const genseg_arguments *a, ht_error *error)
{
    char path[4096], shown[GENSEG_PLACE];
    int length = snprintf(path, sizeof path, "%s/config.toml", a->subject);
    /* what cannot be read here is no run: the user's input, whatever the writer meets later */
    if (length < 0 || (size_t)length >= sizeof path || access(path, R_OK)) {
        ht_fail(error, HT_EIO,
                "%s: no run, it has no config.toml; expected the folder of a training run; check the path",
                genseg_place(a->subject, shown));
        return GENSEG_EXIT_USAGE;
    }
    int code = genseg_exit_code(genseg_report_write(a->subject, error), true);
    if (!code && !a->quiet) printf("%s/report.html\n", a->subject);
    return code;
}

static int run_command(const genseg_arguments *a, ht_error *error)
{
    genseg_job job = {.run = a->subject,
                      .data = a->data,
                      .images = a->images,
                      .out = a->out,
                      .profile = a->profile,
                      .resume = a->resume,
                      .dry_run = a->dry_run,
                      .quiet = a->quiet,
                      .interrupt = &stop_requested};
    switch (a->command->bit) {
    case GENSEG_COMMAND_TRAIN: {
        job.run = a->out;
        job.data = a->subject;
        ht_status status = genseg_arguments_resolve(a, &job.config, error);
        if (status) return genseg_exit_code(status, false);
        catch_signals();
        return genseg_train(&job, error);
    }
    case GENSEG_COMMAND_EVALUATE:
        job.split = a->split ? a->split : "test";
        catch_signals();
        return genseg_evaluate(&job, error);
    case GENSEG_COMMAND_PREDICT:
        catch_signals();
        return genseg_predict(&job, error);
    default:
        return report(a, error);
    }
}

/*
 * Threads that spin for long while they wait make a run up to a hundred times slower as soon as anything else wants a core; those
 * that sleep at once lose a fifth of a run of small images to waking up. A thousand turns lose next to nothing either way
 * (docs/performance.md). OpenMP takes its policy from the environment before main begins, so the program starts itself once more.
 */
static void wait_briefly(char **words)
{
    if (getenv("OMP_WAIT_POLICY") || getenv("GOMP_SPINCOUNT") || getenv("KMP_BLOCKTIME")) return;
    if (setenv("GOMP_SPINCOUNT", "1000", 1) || setenv("KMP_BLOCKTIME", "0", 1)) return; /* gcc's library, clang's */
    execv("/proc/self/exe", words); /* where that cannot be, the run is right all the same, and at worst slow */
}

int main(int count, char **words)
{
    wait_briefly(words);
    genseg_arguments arguments = {0};
    ht_error error = {0};
    hold_standard_streams();
    signal(SIGPIPE, SIG_IGN);
    int code = genseg_exit_code(genseg_arguments_read(count, words, &arguments, &error), false);
    if (!code && arguments.version)
        puts("genseg " GENSEG_VERSION);
    else if (!code && arguments.help)
        genseg_usage(arguments.command, stdout);
    else if (!code)
        code = run_command(&arguments, &error);
    genseg_arguments_free(&arguments);
    if (code && !error.message[0])
        ht_fail(&error, HT_EINTERNAL,
                "%s: it stopped with code %d and no reason; expected a reason; please report this", words[1], code);
    if ((fflush(stdout) || ferror(stdout)) && !code) {
        code = GENSEG_EXIT_FAILURE;
        ht_fail(&error, HT_EIO, "stdout: cannot be written; expected room for the output; look at where it goes");
    }
    if (code) print_line(error.message);
    return code;
}
