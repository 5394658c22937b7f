/*
 * The runner of our C tests: prints TAP (Test Anything Protocol) on stdout, which Meson reads.
 * It is no framework: no fixtures, no registration, no macros. A test is a main() that calls tap_ok for each
 * fact it holds true and ends with `return tap_done();`. Link tests/tap.c.
 */
#ifndef TESTS_TAP_H
#define TESTS_TAP_H

#if defined(__GNUC__)
#define TAP_FORMAT(text, first) __attribute__((format(printf, text, first)))
#else
#define TAP_FORMAT(text, first)
#endif

/** One result: "ok N - TEXT" or "not ok N - TEXT". Returns ok, so that a test can stop where going on makes no sense. */
int tap_ok(int ok, const char *format, ...) TAP_FORMAT(2, 3);

/** One result that could not be had here, with the reason: "ok N # SKIP REASON". */
void tap_skip(const char *format, ...) TAP_FORMAT(1, 2);

/** Prints the plan "1..N". Returns main's exit status: 0 if at least one result was given and none was "not ok". */
int tap_done(void);

#endif
