/*
 * The TAP runner of tests/tap.h. Each line is flushed at once: what a crashing test had already shown is kept,
 * and the missing plan tells Meson that it crashed.
 */
#include "tap.h"

#include <stdarg.h>
#include <stdio.h>

static int results;
static int refused;

/* A line break or a "#" inside the text would change the meaning of the line. */
static void print_text(const char *format, va_list arguments)
{
    char text[1024];
    vsnprintf(text, sizeof text, format, arguments);
    for (char *at = text; *at; at++)
        putchar(*at == '\n' || *at == '\r' ? ' ' : *at == '#' ? '=' : *at);
    putchar('\n');
    fflush(stdout);
}

int tap_ok(int ok, const char *format, ...)
{
    printf("%s %d - ", ok ? "ok" : "not ok", ++results);
    refused += !ok;
    va_list arguments;
    va_start(arguments, format);
    print_text(format, arguments);
    va_end(arguments);
    return ok;
}

void tap_skip(const char *format, ...)
{
    printf("ok %d # SKIP ", ++results);
    va_list arguments;
    va_start(arguments, format);
    print_text(format, arguments);
    va_end(arguments);
}

int tap_done(void)
{
    printf("1..%d\n", results);
    fflush(stdout);
    return results > 0 && refused == 0 ? 0 : 1;
}
