/*
 * The report's text: a growing buffer, and the only door through which foreign text enters the page. Every byte from a
 * file goes through genseg_html_text, which leaves no mark-up, no quote, no control character and no address scheme.
 */
#include "report.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *room_for(genseg_html *html, size_t bytes)
{
    if (html->refused) return NULL;
    size_t needed;
    if (__builtin_add_overflow(html->used, bytes, &needed) || needed > (size_t)1 << 40) {
        html->refused = true;
        return NULL;
    }
    if (needed > html->room) {
        size_t room = needed < 4096 ? 8192 : needed * 2;
        char *text = realloc(html->text, room);
        if (!text) {
            html->refused = true;
            return NULL;
        }
        html->text = text;
        html->room = room;
    }
    return html->text + html->used;
}

static void append(genseg_html *html, const char *bytes, size_t count)
{
    char *to = room_for(html, count);
    if (!to) return;
    memcpy(to, bytes, count);
    html->used += count;
}

void genseg_html_raw(genseg_html *html, const char *markup)
{
    append(html, markup, strlen(markup));
}

void genseg_html_format(genseg_html *html, const char *format, ...)
{
    char text[512];
    va_list list;
    va_start(list, format);
    int bytes = vsnprintf(text, sizeof text, format, list);
    va_end(list);
    if (bytes < 0 || (size_t)bytes >= sizeof text) {
        html->refused = true; /* half a tag must not reach the page */
        return;
    }
    append(html, text, (size_t)bytes);
}

/* Bytes of the UTF-8 sequence at the start of `from`, its character in *code; 0 if it is none. */
static size_t decode(const unsigned char *from, size_t left, uint32_t *code)
{
    static const uint32_t smallest[5] = {0, 0, 0x80, 0x800, 0x10000};
    size_t length = from[0] < 0x80 ? 1 : (from[0] & 0xE0) == 0xC0 ? 2 : (from[0] & 0xF0) == 0xE0 ? 3
                  : (from[0] & 0xF8) == 0xF0 ? 4 : 0;
    if (length == 0 || length > left) return 0;
    uint32_t value = length == 1 ? from[0] : from[0] & (0x7FU >> length);
    for (size_t i = 1; i < length; ++i) {
        if ((from[i] & 0xC0) != 0x80) return 0;
        value = value << 6 | (from[i] & 0x3FU);
    }
    if (value < smallest[length] || value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF)) return 0;
    *code = value;
    return length;
}

/* Controls, and the characters that turn the direction of a line or hide: what a reader cannot see must be seen. */
static bool is_hidden(uint32_t code)
{
    return (code < 0x20 && code != '\t' && code != '\n') || (code >= 0x7F && code <= 0x9F) ||
           (code >= 0x200B && code <= 0x200F) || (code >= 0x2028 && code <= 0x202E) ||
           (code >= 0x2060 && code <= 0x206F) || code == 0xFEFF || code == 0x061C || code >= 0xE0000 ||
           (code & 0xFFFE) == 0xFFFE;
}

static void append_text(genseg_html *html, const char *text, size_t count)
{
    const unsigned char *from = (const unsigned char *)text;
    for (size_t i = 0; i < count;) {
        uint32_t code = 0;
        size_t length = decode(from + i, count - i, &code);
        if (length == 0 || is_hidden(code)) {
            append(html, "\xEF\xBF\xBD", 3);
            i += length == 0 ? 1 : length;
            continue;
        }
        /* / and = too: then no address and no attribute can stand in the page's source, whatever the text says */
        if (code < 0x80 && strchr("&<>\"'`/=", (int)code)) genseg_html_format(html, "&#%u;", (unsigned)code);
        else append(html, text + i, length);
        i += length;
    }
}

void genseg_html_text(genseg_html *html, const char *text)
{
    append_text(html, text, strlen(text));
}

void genseg_html_text_start(genseg_html *html, const char *text, size_t limit)
{
    size_t count = strlen(text);
    if (count <= limit) {
        append_text(html, text, count);
        return;
    }
    while (limit > 0 && ((unsigned char)text[limit] & 0xC0) == 0x80) --limit;
    append_text(html, text, limit);
    genseg_html_raw(html, "\xE2\x80\xA6");
}

/* The exponent's digits as small raised characters: they work in HTML and in SVG alike. */
static void raised(genseg_html *html, int exponent)
{
    static const char *const digit[10] = {"\xE2\x81\xB0", "\xC2\xB9", "\xC2\xB2", "\xC2\xB3", "\xE2\x81\xB4",
                                          "\xE2\x81\xB5", "\xE2\x81\xB6", "\xE2\x81\xB7", "\xE2\x81\xB8", "\xE2\x81\xB9"};
    char text[16];
    snprintf(text, sizeof text, "%d", exponent);
    for (const char *p = text; *p; ++p) genseg_html_raw(html, *p == '-' ? "\xE2\x81\xBB" : digit[*p - '0']);
}

/* True if the value is no ordinary number and has been written as a sign. */
static bool written_as_sign(genseg_html *html, double value)
{
    if (isfinite(value)) return false;
    genseg_html_raw(html, isnan(value) ? "\xE2\x80\x93" : value < 0 ? "\xE2\x88\x92\xE2\x88\x9E" : "\xE2\x88\x9E");
    return true;
}

static void strip_zeros(char *text)
{
    if (!strchr(text, '.')) return;
    size_t end = strlen(text);
    while (text[end - 1] == '0') --end;
    if (text[end - 1] == '.') --end;
    text[end] = 0;
}

static void put_scientific(genseg_html *html, double size, int digits, bool shortest)
{
    char text[64];
    snprintf(text, sizeof text, "%.*e", digits - 1, size);
    char *power = strchr(text, 'e');
    int exponent = atoi(power + 1);
    *power = 0;
    if (shortest) strip_zeros(text);
    if (!shortest || strcmp(text, "1") != 0) {
        genseg_html_raw(html, text);
        genseg_html_raw(html, "\xC3\x97");
    }
    genseg_html_raw(html, "10");
    raised(html, exponent);
}

void genseg_html_scientific(genseg_html *html, double value, int digits)
{
    if (written_as_sign(html, value)) return;
    if (value < 0) genseg_html_raw(html, "\xE2\x88\x92");
    if (value == 0) genseg_html_raw(html, "0");
    else put_scientific(html, fabs(value), digits, false);
}

void genseg_html_number(genseg_html *html, double value, int digits)
{
    if (written_as_sign(html, value)) return;
    char text[64];
    double size = fabs(value);
    if (value < 0) genseg_html_raw(html, "\xE2\x88\x92");
    if (size != 0 && (size < 1e-3 || size >= 1e6)) {
        put_scientific(html, size, digits, true);
        return;
    }
    int before = 1;
    for (double bound = 10; size >= bound; bound *= 10) ++before;
    for (double bound = 1; size != 0 && size < bound && before > -2; bound /= 10) --before;
    snprintf(text, sizeof text, "%.*f", digits > before ? digits - before : 0, size);
    strip_zeros(text);
    if (strlen(text) > 4 && !strchr(text, '.')) { /* 12300 as 12,300 */
        size_t count = strlen(text);
        for (size_t i = 0; i < count; ++i) {
            if (i > 0 && (count - i) % 3 == 0) genseg_html_raw(html, ",");
            genseg_html_format(html, "%c", text[i]);
        }
        return;
    }
    genseg_html_raw(html, text);
}

void genseg_html_fixed(genseg_html *html, double value, int decimals)
{
    if (written_as_sign(html, value)) return;
    if (fabs(value) >= 1e9) {
        genseg_html_number(html, value, 4);
        return;
    }
    if (value < 0) genseg_html_raw(html, "\xE2\x88\x92");
    genseg_html_format(html, "%.*f", decimals, fabs(value));
}

void genseg_html_base64(genseg_html *html, const uint8_t *bytes, size_t count)
{
    static const char letter[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t length = count / 3 * 4 + (count % 3 ? 4 : 0); /* count is at most a file's limit */
    char *to = room_for(html, length);
    if (!to) return;
    for (size_t i = 0; i < count; i += 3) {
        uint32_t group = (uint32_t)bytes[i] << 16;
        if (i + 1 < count) group |= (uint32_t)bytes[i + 1] << 8;
        if (i + 2 < count) group |= bytes[i + 2];
        to[0] = letter[group >> 18];
        to[1] = letter[group >> 12 & 63];
        to[2] = i + 1 < count ? letter[group >> 6 & 63] : '=';
        to[3] = i + 2 < count ? letter[group & 63] : '=';
        to += 4;
    }
    html->used += length;
}
