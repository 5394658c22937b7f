/*
 * ht-conform: cases that another framework wrote, one file each, worked out here and compared. One line per case on
 * stdout, the count last. Not a test of the derivatives against themselves: that is ht-gradcheck.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "conform.h"

static const char usage[] =
    "usage: ht-conform FILE.safetensors...\n"
    "\n"
    "Works out each case again and compares. Prints \"ok NAME WORST\" or \"FAIL NAME WORST WHY\" for each file, where WORST\n"
    "is the largest error relative to the largest number of the tensor that it is in, and last \"N passed, N failed\".\n"
    "The form of the files: docs/conformance.md.\n"
    "\n"
    "Exit status: 0 all passed, 1 any failed or unknown, 2 wrong usage.\n"
    "Example: ht-conform cases/*.safetensors\n";

/* One case, one line; 1 if it passed. */
static int work_out(const char *path, ht_device *device)
{
    conform_case c;
    if (conform_open(&c, path, device) == HT_OK) {
        if (strcmp(c.text, "op") == 0) conform_operation(&c);
        else if (strcmp(c.text, "procedure") == 0) conform_procedure(&c);
        else ht_fail(&c.error, HT_EINVALID, "unknown kind \"%.32s\"; expected op or procedure", c.text);
    }
    int passed = c.error.status == HT_OK && c.worst <= c.tolerance;
    if (passed) {
        printf("ok %s %.3g\n", c.name, c.worst);
    } else if (c.error.status == HT_OK) {
        printf("FAIL %s %.3g %s; at most %.3g was expected\n", c.name, c.worst, c.worst_tensor, c.tolerance);
    } else {
        for (unsigned char *at = (unsigned char *)c.error.message; *at; at++)
            if (*at < 0x20 || *at == 0x7F) *at = '?';
        printf("FAIL %s %.3g %s\n", c.name, (double)INFINITY, c.error.message);
    }
    fflush(stdout);
    conform_close(&c);
    return passed;
}

int main(int count, char **arguments)
{
    if (count == 2 && (strcmp(arguments[1], "--help") == 0 || strcmp(arguments[1], "-h") == 0)) {
        fputs(usage, stdout);
        return 0;
    }
    if (count < 2 || arguments[1][0] == '-') {
        fprintf(stderr, "ht-conform: %.80s: %s; expected FILE.safetensors..., one case each; see ht-conform --help\n",
                count < 2 ? "command line" : arguments[1], count < 2 ? "no file" : "no such option");
        return 2;
    }
    ht_error error = {HT_OK, ""};
    ht_device *device = ht_device_open("cpu", 0, &error);
    if (!device) {
        fprintf(stderr, "ht-conform: %s\n", error.message);
        return 1;
    }
    int passed = 0;
    for (int i = 1; i < count; i++) passed += work_out(arguments[i], device);
    printf("%d passed, %d failed\n", passed, count - 1 - passed);
    ht_device_close(device);
    return ferror(stdout) || fflush(stdout) != 0 || passed < count - 1;
}
