/*
 * The words of JSON that a file's header is made of: strings, both ways, and whole numbers. Not its grammar: header.c.
 * Text is UTF-8, checked: no overlong forms, no surrogates, nothing above U+10FFFF; NUL cannot be spelled, since texts
 * end with it in C. Nothing here looks past the NUL at the end of its input.
 */
#include <stdio.h>
#include <string.h>

#include "store/internal.h"

size_t hti_utf8_bytes(const char *at)
{
    const unsigned char *c = (const unsigned char *)at;
    if (c[0] < 0x20) return 0;
    if (c[0] < 0x80) return 1;
    if (c[0] < 0xC2 || c[0] > 0xF4) return 0;
    size_t bytes = c[0] >= 0xF0 ? 4 : c[0] >= 0xE0 ? 3 : 2;
    uint32_t code = c[0] & (0xFFu >> (bytes + 1));
    for (size_t i = 1; i < bytes; i++) {
        if ((c[i] & 0xC0u) != 0x80u) return 0;
        code = code << 6 | (c[i] & 0x3Fu);
    }
    if ((bytes == 3 && code < 0x800) || (bytes == 4 && code < 0x10000)) return 0;
    return code > 0x10FFFF || (code >= 0xD800 && code < 0xE000) ? 0 : bytes;
}

void hti_json_space(char **at)
{
    while (**at == ' ' || **at == '\n' || **at == '\r' || **at == '\t') ++*at;
}

const char *hti_json_number(char **at, int64_t *number)
{
    hti_json_space(at);
    const char *start = *at;
    for (*number = 0; **at >= '0' && **at <= '9'; ++*at) {
        if (*at == start + 1 && *start == '0') return "a whole number without leading zeros";
        if (!hti_multiply(*number, 10, number) || !hti_sum(*number, **at - '0', number))
            return "a whole number below 2^63";
    }
    return *at > start ? NULL : "a whole number";
}

static const char *hexadecimal(char **at, uint32_t *code)
{
    static const char digits[] = "0123456789abcdef0123456789ABCDEF";
    *code = 0;
    for (int32_t i = 0; i < 4; i++, ++*at) {
        const char *digit = **at ? strchr(digits, **at) : NULL;
        if (!digit) return "four hexadecimal digits";
        *code = *code << 4 | (uint32_t)((digit - digits) % 16);
    }
    return NULL;
}

/* What stands behind "\u", with the second half of a surrogate pair. */
static const char *escaped_code(char **at, uint32_t *code)
{
    uint32_t low;
    const char *fault = hexadecimal(at, code);
    if (fault) return fault;
    if (*code >= 0xD800 && *code < 0xE000) {
        if (*code >= 0xDC00 || (*at)[0] != '\\' || (*at)[1] != 'u') return "a surrogate pair";
        *at += 2;
        fault = hexadecimal(at, &low);
        if (fault) return fault;
        if (low < 0xDC00 || low > 0xDFFF) return "a surrogate pair";
        *code = 0x10000 + ((*code - 0xD800) << 10) + (low - 0xDC00);
    }
    return *code ? NULL : "text without NUL";
}

static char *put_code(char *to, uint32_t code)
{
    uint32_t more = code < 0x80 ? 0 : code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    if (more == 0) *to++ = (char)code;
    else *to++ = (char)((0xFF00u >> (more + 1) & 0xFFu) | code >> (6 * more));
    while (more-- > 0) *to++ = (char)(0x80u | (code >> (6 * more) & 0x3Fu));
    return to;
}

/* `to` never passes *at: no escape is shorter than what it stands for. */
const char *hti_json_string(char **at)
{
    static const char letters[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    char *to = *at;
    while (**at != '"') {
        if (**at != '\\') {
            size_t bytes = hti_utf8_bytes(*at);
            if (bytes == 0) return "UTF-8 text without control characters, and '\"' at its end";
            memmove(to, *at, bytes);
            to += bytes;
            *at += bytes;
            continue;
        }
        char letter = *++*at;
        const char *known = letter ? strchr(letters, letter) : NULL;
        if (known) {
            *to++ = meanings[known - letters];
            ++*at;
            continue;
        }
        if (letter != 'u') return "an escape of JSON";
        uint32_t code;
        ++*at;
        const char *fault = escaped_code(at, &code);
        if (fault) return fault;
        to = put_code(to, code);
    }
    *to = 0;
    ++*at;
    return NULL;
}

size_t hti_json_quote(char *to, const char *from)
{
    char *start = to;
    *to++ = '"';
    while (*from) {
        unsigned char c = (unsigned char)*from;
        if (c < 0x20) {
            char escape[8];
            snprintf(escape, sizeof escape, "\\u%04x", c);
            memcpy(to, escape, 6);
            to += 6;
            from++;
            continue;
        }
        size_t bytes = hti_utf8_bytes(from);
        if (bytes == 0) return 0;
        if (c == '"' || c == '\\') *to++ = '\\';
        memcpy(to, from, bytes);
        to += bytes;
        from += bytes;
    }
    *to++ = '"';
    return (size_t)(to - start);
}
