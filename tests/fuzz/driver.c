/*
 * Runs a target on its seeds and on mutations of them, the same ones for the same --seed: an input whose outcome is of a new
 * kind is kept and mutated further, so it comes deeper without any help from the compiler. What stops the program (a signal,
 * a sanitizer, an alarm) leaves the input in a file; a broken promise is a result that is not ok.
 *
 *     fuzz_NAME [--runs N] [--seed N] [FILE]      FILE: this input alone
 */
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <ht/random.h>

#include "../tap.h"
#include "fuzz.h"

enum { KEPT = 4096, SECONDS_EACH = 60 };

typedef struct input {
    unsigned char *bytes;
    size_t count;
} input;

typedef struct campaign {
    input kept[KEPT];
    uint64_t kind[KEPT];
    int32_t count;
    uint64_t seed, drawn;
} campaign;

/* The input at hand, for the signal handler. */
static unsigned char current[FUZZ_BYTES];
static volatile size_t current_count;
static char finding[256];

static void keep_current(void)
{
    const int file = open(finding, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (file >= 0 && write(file, current, current_count) == (ssize_t)current_count) {
        static const char said[] = "# the input that did it was kept as ";
        if (write(STDERR_FILENO, said, sizeof said - 1) < 0 || write(STDERR_FILENO, finding, strlen(finding)) < 0 ||
            write(STDERR_FILENO, "\n", 1) < 0)
            return;
    }
    if (file >= 0) close(file);
}

static void on_signal(int number)
{
    keep_current();
    signal(number, SIG_DFL);
    raise(number);
}

static uint64_t draw(campaign *c, uint64_t below)
{
    return below ? ht_random_word(c->seed, 0, c->drawn++) % below : 0;
}

/* Opens a gap of `more` bytes at a place, as far as there is room. */
static size_t open_gap(size_t count, size_t at, size_t more)
{
    if (more > FUZZ_BYTES - count) more = FUZZ_BYTES - count;
    memmove(current + at + more, current + at, count - at);
    return more;
}

static size_t insert_word(campaign *c, size_t count, size_t at)
{
    int32_t words = 0;
    while (fuzz_words[words]) words++;
    if (words == 0) return count;
    const char *word = fuzz_words[draw(c, (uint64_t)words)];
    const size_t length = strlen(word);
    if (draw(c, 2) == 0) { /* over what is there */
        const size_t some = length < count - at ? length : count - at;
        memcpy(current + at, word, some);
        return count;
    }
    const size_t more = open_gap(count, at, length);
    memcpy(current + at, word, more);
    return count + more;
}

static size_t mutate_once(campaign *c, size_t count)
{
    static const uint64_t numbers[] = {0, 1, 2, 127, 128, 255, 256, 65535, 65536,
                                       INT32_MAX, UINT32_MAX, INT64_MAX, UINT64_MAX, 1u << 24};
    const size_t at = draw(c, count + 1), width = (size_t)1 << draw(c, 4);
    const bool inside = at < count;
    switch (draw(c, 9)) {
    case 0:
        if (inside) current[at] ^= (unsigned char)(1u << draw(c, 8));
        return count;
    case 1:
        if (inside) current[at] = (unsigned char)draw(c, 256);
        return count;
    case 2: { /* a number, low byte first or last */
        uint64_t number = numbers[draw(c, sizeof numbers / sizeof *numbers)] + draw(c, 3) - 1;
        const bool last = draw(c, 2) == 1;
        for (size_t i = 0; i < width && at + i < count; i++)
            current[at + i] = (unsigned char)(number >> 8 * (last ? width - 1 - i : i));
        return count;
    }
    case 3: { /* cut out */
        const size_t some = 1 + draw(c, 1 + (count - at) / 2);
        if (at + some > count) return count;
        memmove(current + at, current + at + some, count - at - some);
        return count - some;
    }
    case 4: { /* twice */
        const size_t some = draw(c, 1 + (count - at) / 2), more = open_gap(count, at, some);
        memmove(current + at, current + at + more, more);
        return count + more;
    }
    case 5: return at; /* cut off */
    case 6:
    case 7: return insert_word(c, count, at);
    default: { /* the rest of another one */
        const input *other = &c->kept[draw(c, (uint64_t)c->count)];
        const size_t from = draw(c, other->count + 1), rest = other->count - from;
        const size_t some = rest < FUZZ_BYTES - at ? rest : FUZZ_BYTES - at;
        memcpy(current + at, other->bytes + from, some);
        return at + some;
    }
    }
}

static bool keep(campaign *c, uint64_t kind)
{
    for (int32_t i = 0; i < c->count; i++)
        if (c->kind[i] == kind) return true;
    if (c->count == KEPT) return true;
    unsigned char *copy = malloc(current_count + 1);
    if (!copy) return false;
    memcpy(copy, current, current_count);
    c->kept[c->count] = (input){copy, current_count};
    c->kind[c->count++] = kind;
    return true;
}

/* false at the first broken promise. */
static bool run(campaign *c, const char *what)
{
    fuzz_outcome outcome = {.broken = ""};
    alarm(SECONDS_EACH);
    fuzz_one(current, current_count, &outcome);
    alarm(0);
    if (outcome.broken[0]) {
        keep_current();
        tap_ok(0, "%s, %s: %s; it said \"%s\"; see it again by giving %s", fuzz_name, what, outcome.broken, outcome.said,
               finding);
        return false;
    }
    return keep(c, outcome.kind);
}

static bool run_file(campaign *c, const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file) return tap_ok(0, "%s: cannot be read", path), false;
    current_count = fread(current, 1, sizeof current, file);
    fclose(file);
    return run(c, path) && (tap_ok(1, "%s: nothing broken", path), true);
}

static bool run_all(campaign *c, int64_t runs)
{
    for (int32_t seed = 0;; seed++) {
        const int32_t count = fuzz_seed(seed, current);
        if (count < 0) break;
        current_count = (size_t)count;
        if (!run(c, "a seed")) return false;
    }
    const int32_t seeds = c->count;
    for (int64_t i = 0; i < runs; i++) {
        const input *from = &c->kept[draw(c, (uint64_t)c->count)];
        memcpy(current, from->bytes, from->count);
        size_t count = from->count;
        for (uint64_t k = 1 + draw(c, 6); k > 0; k--) count = mutate_once(c, count);
        current_count = count;
        if (!run(c, "a mutation")) return false;
    }
    tap_ok(seeds > 0 && c->count > seeds, "%s: nothing broken by %lld mutations of %d seeds", fuzz_name, (long long)runs,
           (int)seeds);
    printf("# %d kinds of outcomes\n", (int)c->count);
    return true;
}

int main(int count, char **words)
{
    static campaign c;
    static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGALRM};
    const char *file = NULL, *folder = getenv("TMPDIR");
    int64_t runs = 20000;
    c.seed = 1;
    for (int i = 1; i < count; i++) {
        if (strcmp(words[i], "--runs") == 0 && i + 1 < count) runs = strtoll(words[++i], NULL, 10);
        else if (strcmp(words[i], "--seed") == 0 && i + 1 < count) c.seed = strtoull(words[++i], NULL, 10);
        else file = words[i];
    }
    snprintf(finding, sizeof finding, "%s/fuzz-%s-finding", folder ? folder : "/tmp", fuzz_name);
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) signal(signals[i], on_signal);
    if (file) run_file(&c, file);
    else run_all(&c, runs);
    for (int32_t i = 0; i < c.count; i++) free(c.kept[i].bytes);
    return tap_done();
}
