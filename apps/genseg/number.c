/*
 * Numbers as text, and places in files as text: the conversions of toml.h that the reader, the log and the
 * configuration share. No locale takes part: a decimal point is a point.
 */
#include "toml.h"

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "picture.h"

_Static_assert(GENSEG_PLACE_TEXT >= GENSEG_PLACE + 24, "a place, two colons and two numbers");

char *genseg_place_text(const char *file, int32_t line, int32_t column, char text[GENSEG_PLACE_TEXT])
{
    char shown[GENSEG_PLACE];
    genseg_place(file, shown);
    if (line > 0)
        snprintf(text, GENSEG_PLACE_TEXT, "%s:%d:%d", shown, (int)line, (int)column);
    else
        snprintf(text, GENSEG_PLACE_TEXT, "%s", shown);
    return text;
}

/* strtod in the C locale, whatever locale the process has. False without memory. */
static bool to_real(const char *text, double *value)
{
    locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (!plain) return false;
    locale_t before = uselocale(plain);
    *value = strtod(text, NULL);
    uselocale(before);
    freelocale(plain);
    return true;
}

char *genseg_number_text(double value, char text[GENSEG_NUMBER_TEXT])
{
    if (isnan(value)) return strcpy(text, "nan");
    if (isinf(value)) return strcpy(text, value > 0 ? "inf" : "-inf");
    for (int digits = 15; digits <= 17; digits++) {
        char raw[64];
        double back;
        size_t length = 0;
        snprintf(raw, sizeof raw, "%.*g", digits, value);
        /* the only bytes that are neither digits, signs nor an exponent are the locale's decimal point */
        for (const char *c = raw; *c && length + 1 < GENSEG_NUMBER_TEXT; c++) {
            if (strchr("0123456789+-e", *c))
                text[length++] = *c;
            else if (length == 0 || text[length - 1] != '.')
                text[length++] = '.';
        }
        text[length] = 0;
        if (digits < 17 && to_real(text, &back) && back == value) break;
    }
    return text;
}

static int digit_of(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return 99;
}

enum { TOKEN_BYTES = 128 };

/* Copies a token without its underscores, each of which must stand between two digits. */
static const char *strip_underscores(const char *token, char clean[TOKEN_BYTES])
{
    int base = token[0] == '0' && token[1] == 'x' ? 16 : 10;
    size_t used = 0;
    for (size_t k = 0; token[k]; k++) {
        if (token[k] == '_') {
            if (k == 0 || digit_of(token[k - 1]) >= base || digit_of(token[k + 1]) >= base)
                return "has an underscore that is not between two digits";
            continue;
        }
        if (used + 1 >= TOKEN_BYTES) return "is a number of too many digits";
        clean[used++] = token[k];
    }
    clean[used] = 0;
    return NULL;
}

static const char *read_digits(const char *digits, int base, bool negative, int64_t *out)
{
    int64_t value = 0;
    if (!*digits) return "is no number";
    for (; *digits; digits++) {
        int digit = digit_of(*digits);
        if (digit >= base) return "is no number";
        if (__builtin_mul_overflow(value, base, &value) ||
            __builtin_add_overflow(value, (int64_t)(negative ? -digit : digit), &value))
            return "is an integer beyond 64 bits";
    }
    *out = value;
    return NULL;
}

/* digits, at least one; returns the end, or NULL */
static const char *pass_digits(const char *c)
{
    const char *start = c;
    while (*c >= '0' && *c <= '9') c++;
    return c > start ? c : NULL;
}

/* [.digits] [e [sign] digits] after the whole part; true if that is all, and there is at least one of the two. */
static bool is_float_tail(const char *c)
{
    if (!*c) return false;
    if (*c == '.') {
        c = pass_digits(c + 1);
        if (!c) return false;
    }
    if (*c == 'e' || *c == 'E') {
        c++;
        if (*c == '+' || *c == '-') c++;
        c = pass_digits(c);
        if (!c) return false;
    }
    return *c == 0;
}

const char *genseg_toml_number(const char *text, genseg_toml_value *value)
{
    char clean[TOKEN_BYTES];
    const char *problem = strip_underscores(text, clean);
    if (problem) return problem;
    bool negative = clean[0] == '-';
    const char *body = clean + (clean[0] == '-' || clean[0] == '+');
    genseg_toml_value found = {.kind = GENSEG_TOML_INTEGER, .line = value->line, .column = value->column};
    if (!strcmp(body, "inf") || !strcmp(body, "nan")) {
        found.kind = GENSEG_TOML_FLOAT;
        found.number = body[0] == 'i' ? (negative ? -INFINITY : INFINITY) : NAN;
        *value = found;
        return NULL;
    }
    if (clean[0] == '0' && clean[1] && strchr("xob", clean[1])) {
        problem = read_digits(clean + 2, clean[1] == 'x' ? 16 : clean[1] == 'o' ? 8 : 2, false, &found.integer);
        if (problem) return problem;
        found.number = (double)found.integer;
        *value = found;
        return NULL;
    }
    const char *tail = pass_digits(body);
    if (!tail) return "is no number";
    if (*tail && !is_float_tail(tail)) return "is no number";
    if (body[0] == '0' && tail > body + 1) return "is a number that begins with a needless 0";
    if (!*tail) {
        problem = read_digits(body, 10, negative, &found.integer);
        if (problem) return problem;
        found.number = (double)found.integer;
    } else {
        found.kind = GENSEG_TOML_FLOAT;
        if (!to_real(clean, &found.number)) return "finds no memory to be read";
    }
    *value = found;
    return NULL;
}
