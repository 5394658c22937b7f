/*
 * The TOML reader and the numbers: what it takes, what it refuses and where, its limits; and against Python's tomllib,
 * if there is one: whatever we accept, it accepts with the same values, over thousands of mutated documents.
 */
#include <float.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ht/random.h>

#include "tap.h"
#include "toml.h"

enum { DOCUMENTS = 6000, DUMP = 1 << 16 };

/* ---- a document as sorted lines "key kind value", strings and floats as hexadecimal ---- */

typedef struct dump {
    char text[DUMP];
    size_t used;
} dump;

static void put(dump *to, const char *text)
{
    size_t length = strlen(text);
    if (to->used + length >= DUMP) return;
    memcpy(to->text + to->used, text, length + 1);
    to->used += length;
}

static void put_value(dump *to, const genseg_toml_value *value)
{
    char text[64];
    uint64_t bits = 0;
    switch (value->kind) {
    case GENSEG_TOML_STRING:
        put(to, "s");
        for (const unsigned char *c = (const unsigned char *)value->text; *c; c++) {
            snprintf(text, sizeof text, "%02x", *c);
            put(to, text);
        }
        return;
    case GENSEG_TOML_INTEGER:
        snprintf(text, sizeof text, "i%lld", (long long)value->integer);
        put(to, text);
        return;
    case GENSEG_TOML_FLOAT:
        memcpy(&bits, &value->number, sizeof bits);
        snprintf(text, sizeof text, "f%016llx", (unsigned long long)bits);
        put(to, isnan(value->number) ? "fnan" : text);
        return;
    case GENSEG_TOML_BOOLEAN:
        put(to, value->truth ? "btrue" : "bfalse");
        return;
    case GENSEG_TOML_ARRAY:
        put(to, "[");
        for (int32_t k = 0; k < value->count; k++) {
            put_value(to, &value->items[k]);
            put(to, ",");
        }
        put(to, "]");
        return;
    case GENSEG_TOML_TABLE:
        return;
    }
}

static ht_status visit(void *context, const genseg_toml_entry *entry, ht_error *error)
{
    dump *to = context;
    (void)error;
    if (entry->value.kind == GENSEG_TOML_TABLE) return HT_OK;
    put(to, entry->key);
    put(to, " ");
    put_value(to, &entry->value);
    put(to, "\n");
    return HT_OK;
}

static ht_status parse(const char *text, size_t bytes, dump *to, ht_error *error)
{
    to->used = 0;
    to->text[0] = 0;
    *error = (ht_error){0};
    return genseg_toml_parse("f", text, bytes, visit, to, error);
}

/* ---- what is taken ---- */

static const struct {
    const char *text, *expected;
} taken[] = {
    {"", ""},
    {"# only a comment", ""},
    {"a = 1", "a i1\n"},
    {"a=-0\r\nb = +17 # x\r\n", "a i0\nb i17\n"},
    {"a = 1_000_000\n", "a i1000000\n"},
    {"a = 0xDEAD_beef\nb = 0o17\nc = 0b101", "a i3735928559\nb i15\nc i5\n"},
    {"a = 9223372036854775807\nb = -9223372036854775808", "a i9223372036854775807\nb i-9223372036854775808\n"},
    {"a = 1.5\nb = -2e0\nc = 1E+0_2", "a f3ff8000000000000\nb fc000000000000000\nc f4059000000000000\n"},
    {"a = inf\nb = -inf\nc = +nan", "a f7ff0000000000000\nb ffff0000000000000\nc fnan\n"},
    {"a = true\nb = false", "a btrue\nb bfalse\n"},
    {"a = \"x\\ty\\u00e9\\U0001F600\\\\\"", "a s780979c3a9f09f98805c\n"},
    {"a = 'C:\\x \"q\"'", "a s433a5c7820227122\n"},
    {"a = \"\"\nb = ''", "a s\nb s\n"},
    {"a = [1, 2.0, 'x', true]", "a [i1,f4000000000000000,s78,btrue,]\n"},
    {"a = [ # one\n 1, # two\n 2,\n]\n", "a [i1,i2,]\n"},
    {"a = []", "a []\n"},
    {"[ a . b-c ] # t\nd_1 = 1\n[a]\ne = 2", "a.b-c.d_1 i1\na.e i2\n"},
    {"1 = 2\n\t- = 3", "1 i2\n- i3\n"},
    {"\n\n  [t]\n\n", ""},
};

/* ---- what is refused, and where ---- */

static const struct {
    const char *text, *words;
} refused[] = {
    {"a", "f:1:2: no ="},
    {"a =", "f:1:4: no value"},
    {"a = # c", "f:1:5: no value"},
    {"= 1", "f:1:1: no key"},
    {"a = 1 b = 2", "f:1:7: there is more"},
    {"a = 1\na = 2", "f:2:1: a is there already"},
    {"[a]\n[a]", "f:2:2: a is there already"},
    {"a = 1\n[a]", "f:2:2: a is there already"},
    {"a = 1\n[a.b]", "f:2:2: a is there already"},
    {"[a.b]\n[a]\nb = 1", "f:3:1: a.b is there already"},
    {"a.b = 1", "f:1:2: a dotted key"},
    {"\"a\" = 1", "f:1:1: a key in quotes"},
    {"[[a]]", "f:1:1: an array of tables"},
    {"[a", "f:1:3: a table header without its end"},
    {"[]", "f:1:2: no key"},
    {"[a.]", "f:1:4: no key"},
    {"[a] x = 1", "f:1:5: there is more"},
    {"a = {}", "f:1:5: an inline table"},
    {"a = [[1]]", "f:1:6: an array inside an array"},
    {"a = [1 2]", "f:1:8: no comma"},
    {"a = [1,,2]", "f:1:8: no value"},
    {"a = [1,\n2\n", "f:1:5: an array without its end"},
    {"a = \"x", "f:1:5: a string without its end"},
    {"a = 'x\n'", "f:1:5: a string without its end"},
    {"a = \"\"\"x\"\"\"", "f:1:5: a multi-line string"},
    {"a = '''x'''", "f:1:5: a multi-line string"},
    {"a = \"\\x41\"", "f:1:6: unknown escape"},
    {"a = \"\\e\"", "f:1:6: unknown escape"},
    {"a = \"\\u12\"", "f:1:6: escape \\u is cut short"},
    {"a = \"\\ud800\"", "f:1:6: escape stands for no character"},
    {"a = \"\\u0000\"", "f:1:6: escape stands for no character"},
    {"a = \"\\U00110000\"", "f:1:6: escape stands for no character"},
    {"a = 01", "f:1:5: 01 is a number that begins with a needless 0"},
    {"a = -00", "needless 0"},
    {"a = 1.", "f:1:5: 1. is no number"},
    {"a = .5", "f:1:5: .5 is no number"},
    {"a = 1e", "is no number"},
    {"a = 1.e1", "is no number"},
    {"a = 1__0", "has an underscore"},
    {"a = _1", "has an underscore"},
    {"a = 1_", "has an underscore"},
    {"a = 1_.0", "has an underscore"},
    {"a = 0x", "is no number"},
    {"a = 0X1", "is no number"},
    {"a = +0x1", "is no number"},
    {"a = 0b2", "is no number"},
    {"a = 9223372036854775808", "beyond 64 bits"},
    {"a = 0xFFFFFFFFFFFFFFFF", "beyond 64 bits"},
    {"a = 1979-05-27", "is no number"},
    {"a = 07:32:00", "is no number"},
    {"a = True", "is no number"},
    {"a = NaN", "is no number"},
    {"a = truely", "is no number"},
    {"a = \xff", "f:1:5: byte 0xFF is not UTF-8"},
    {"a = '\xc0\xaf'", "f:1:6: byte 0xC0 is not UTF-8"},
    {"a = '\xed\xa0\x80'", "is not UTF-8"},
    {"a = 'x\x01'", "f:1:7: control character 0x01"},
    {"# \x7f", "f:1:3: control character 0x7F"},
    {"a = 1\rb = 2", "f:1:6: control character 0x0D"},
    {"\xef\xbb\xbf"
     "a = 1",
     "no key"},
    {"\xc3\xa9 = 1", "f:1:1: no key"},
    {"a = '\xc3\xa9' x", "f:1:9: there is more"},
};

static void test_tables(void)
{
    static dump to;
    ht_error error;
    for (size_t k = 0; k < sizeof taken / sizeof *taken; k++) {
        ht_status status = parse(taken[k].text, strlen(taken[k].text), &to, &error);
        tap_ok(status == HT_OK && !strcmp(to.text, taken[k].expected), "taken: document %zu (%s)", k, error.message);
    }
    for (size_t k = 0; k < sizeof refused / sizeof *refused; k++) {
        ht_status status = parse(refused[k].text, strlen(refused[k].text), &to, &error);
        tap_ok(status == HT_EFORMAT && strstr(error.message, refused[k].words) != NULL, "refused: document %zu: %s", k,
               refused[k].words);
    }
    tap_ok(parse("a = 1\0b", 7, &to, &error) == HT_EFORMAT, "a NUL is refused");
}

/* ---- limits ---- */

static char *repeated(const char *start, const char *unit, int count, const char *end)
{
    size_t each = strlen(unit), used = strlen(start);
    char *text = malloc(used + each * (size_t)count + strlen(end) + 1);
    if (!text) exit(1);
    memcpy(text, start, used);
    for (int k = 0; k < count; k++, used += each) memcpy(text + used, unit, each);
    memcpy(text + used, end, strlen(end) + 1);
    return text;
}

static void limit(const char *what, char *text, ht_status expected)
{
    static dump to;
    ht_error error;
    ht_status status = parse(text, strlen(text), &to, &error);
    tap_ok(status == expected, "limit: %s: %s", what, status ? error.message : "taken");
    free(text);
}

static void test_limits(const char *folder)
{
    char path[512];
    ht_error error = {0};
    static dump to;
    limit("4,096 values in an array", repeated("a = [", "1,", GENSEG_TOML_ITEMS, "]"), HT_OK);
    limit("4,097 values in an array", repeated("a = [", "1,", GENSEG_TOML_ITEMS + 1, "]"), HT_EFORMAT);
    limit("a key of 254 bytes", repeated("", "a", GENSEG_TOML_KEY - 2, " = 1"), HT_OK);
    limit("a key of 255 bytes", repeated("", "a", GENSEG_TOML_KEY - 1, " = 1"), HT_EFORMAT);
    limit("100,000 nested arrays", repeated("a = ", "[", 100000, ""), HT_EFORMAT);
    limit("a file of 1 MiB", repeated("#", "x", GENSEG_TOML_BYTES - 1, ""), HT_OK);
    limit("a file of 1 MiB and a byte", repeated("#", "x", GENSEG_TOML_BYTES, ""), HT_EFORMAT);
    limit("a string of nearly 1 MiB", repeated("a = \"", "\\n", GENSEG_TOML_BYTES / 2 - 8, "\""), HT_OK);
    char *names = malloc((GENSEG_TOML_NAMES + 1) * 12);
    if (!names) exit(1);
    size_t used = 0;
    for (int k = 0; k <= GENSEG_TOML_NAMES; k++) used += (size_t)sprintf(names + used, "k%d=1\n", k);
    tap_ok(genseg_toml_parse("f", names, used, visit, &to, &error) == HT_EFORMAT, "limit: 4,097 keys");
    free(names);
    error = (ht_error){0};
    tap_ok(genseg_toml_read(folder, visit, &to, &error) == HT_EFORMAT, "a folder is no file: %s", error.message);
    error = (ht_error){0};
    snprintf(path, sizeof path, "%s/none.toml", folder);
    tap_ok(genseg_toml_read(path, visit, &to, &error) == HT_EIO && strstr(error.message, "none.toml"),
           "a missing file");
    snprintf(path, sizeof path, "%s/fifo", folder);
    error = (ht_error){0};
    tap_ok(!mkfifo(path, 0600) && genseg_toml_read(path, visit, &to, &error) == HT_EFORMAT, "a FIFO is not waited for");
    unlink(path);
}

/* ---- numbers ---- */

static double random_double(uint64_t step, uint64_t k)
{
    uint64_t bits = (uint64_t)ht_random_word(7, step, 2 * k) << 32 | ht_random_word(7, step, 2 * k + 1);
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* How many of `count` random doubles and all powers of two do not come back from their text. */
static int lost_numbers(int count)
{
    int lost = 0;
    for (int k = 0; k < count + 2100; k++) {
        char text[GENSEG_NUMBER_TEXT];
        genseg_toml_value back = {0};
        double value = k < count ? random_double(1, (uint64_t)k) : ldexp(1.0, k - count - 1074);
        if (!isfinite(value)) continue;
        genseg_number_text(value, text);
        const char *problem = genseg_toml_number(text, &back);
        if (problem || memcmp(&back.number, &value, sizeof value)) lost++;
        if (strlen(text) > 24 || strchr(text, ',')) lost++;
    }
    return lost;
}

static void test_numbers(const char *folder)
{
    static const struct {
        double value;
        const char *text;
    } fixed[] = {{0, "0"},          {-0.0, "-0"},
                 {1e-5, "1e-05"},   {0.1, "0.1"},
                 {100, "100"},      {1.0 / 3, "0.3333333333333333"},
                 {2e-4, "0.0002"},  {1e22, "1e+22"},
                 {INFINITY, "inf"}, {-INFINITY, "-inf"},
                 {NAN, "nan"},      {0.1 + 0.2, "0.30000000000000004"}};
    char text[GENSEG_NUMBER_TEXT], command[700], place[512];
    for (size_t k = 0; k < sizeof fixed / sizeof *fixed; k++) {
        genseg_number_text(fixed[k].value, text);
        double back = strtod(text, NULL);
        bool same = isnan(fixed[k].value) ? isnan(back) : back == fixed[k].value;
        tap_ok(same && !strcmp(text, fixed[k].text), "number %s is %s", text, fixed[k].text);
    }
    tap_ok(lost_numbers(100000) == 0, "100,000 random doubles and every power of two come back from their text");
    /* a locale with a decimal comma, made for the purpose where it can be */
    snprintf(command, sizeof command, "localedef -i de_DE -f UTF-8 '%s/de_DE.UTF-8' >/dev/null 2>&1", folder);
    snprintf(place, sizeof place, "%s", folder);
    const char *present = getenv("LOCPATH");
    bool made = system(command) == 0;
    if (made) setenv("LOCPATH", place, 1);
    if (setlocale(LC_NUMERIC, "de_DE.UTF-8")) {
        snprintf(text, sizeof text, "%.1f", 0.5);
        tap_ok(!strcmp(text, "0,5"), "the locale has a decimal comma: %s", text);
        tap_ok(lost_numbers(20000) == 0, "numbers do not follow a decimal comma");
        setlocale(LC_NUMERIC, "C");
    } else {
        tap_skip("no locale with a decimal comma here");
    }
    if (made && !present) unsetenv("LOCPATH");
}

/* ---- against tomllib ---- */

static const char peer[] =
    "import struct, sys, tomllib\n"
    "def show(v):\n"
    "    if isinstance(v, bool): return 'b' + str(v).lower()\n"
    "    if isinstance(v, int): return 'i%d' % v\n"
    "    if isinstance(v, float): return 'fnan' if v != v else 'f' + struct.pack('>d', v).hex()\n"
    "    if isinstance(v, str): return 's' + v.encode().hex()\n"
    "    if isinstance(v, list): return '[' + ''.join(show(x) + ',' for x in v) + ']'\n"
    "    return '?'\n"
    "def walk(d, path, out):\n"
    "    for k, v in d.items():\n"
    "        if isinstance(v, dict): walk(v, path + [k], out)\n"
    "        else: out.append('.'.join(path + [k]) + ' ' + show(v))\n"
    "wrong = accepted = 0\n"
    "with open(sys.argv[1], 'rb') as f:\n"
    "    while line := f.readline():\n"
    "        size, ours = map(int, line.split())\n"
    "        text, dump = f.read(size), f.read(ours).decode()\n"
    "        accepted += 1\n"
    "        out = []\n"
    "        try:\n"
    "            walk(tomllib.loads(text.decode()), [], out)\n"
    "            same = sorted(out) == sorted(dump.splitlines())\n"
    "        except Exception as e:\n"
    "            same = False\n"
    "            out = [repr(e)]\n"
    "        if not same:\n"
    "            wrong += 1\n"
    "            if wrong < 5: print('#', text, out, dump)\n"
    "print('# documents that both read: %d' % accepted)\n"
    "sys.exit(1 if wrong or accepted < 100 else 0)\n";

/* A document: some lines from the tables above, with a few bytes replaced, inserted or removed. */
static size_t mutate(uint64_t seed, char *text, size_t room)
{
    static const char letters[] = "ab.=[]\"'\\#,_-+0179xeEnu{}: \t\n\r\xc3\xa9tf";
    uint64_t at = 0;
    size_t used = 0;
    uint32_t parts = 1 + ht_random_word(3, seed, at++) % 3, changes = ht_random_word(3, seed, at++) % 4;
    for (uint32_t k = 0; k < parts; k++) {
        uint32_t which = ht_random_word(3, seed, at++);
        const char *part = which % 4 ? taken[which / 4 % (sizeof taken / sizeof *taken)].text
                                     : refused[which / 4 % (sizeof refused / sizeof *refused)].text;
        used += (size_t)snprintf(text + used, room - used, k ? "\n%s" : "%s", part);
    }
    for (uint32_t k = 0; k < changes && used; k++) {
        size_t place = ht_random_word(3, seed, at++) % used;
        char letter = letters[ht_random_word(3, seed, at++) % (sizeof letters - 1)];
        uint32_t kind = ht_random_word(3, seed, at++) % 3;
        if (kind == 0) {
            text[place] = letter;
        } else if (kind == 1) {
            memmove(text + place + 1, text + place, used - place);
            text[place] = letter;
            used++;
        } else {
            memmove(text + place, text + place + 1, used - place - 1);
            used--;
        }
    }
    return used;
}

static void test_peer(const char *folder)
{
    static dump to;
    char path[512], script[512], command[1200], text[1024];
    int accepted = 0;
    if (system("python3 -c 'import tomllib' >/dev/null 2>&1")) {
        tap_skip("python3 with tomllib is not here");
        return;
    }
    snprintf(path, sizeof path, "%s/documents", folder);
    snprintf(script, sizeof script, "%s/peer.py", folder);
    FILE *file = fopen(path, "wb"), *program = fopen(script, "w");
    if (!file || !program) {
        tap_ok(0, "files in %s", folder);
        return;
    }
    fputs(peer, program);
    for (uint64_t k = 0; k < DOCUMENTS; k++) {
        ht_error error;
        size_t bytes = mutate(k, text, sizeof text - 8);
        if (parse(text, bytes, &to, &error)) continue;
        accepted++;
        fprintf(file, "%zu %zu\n", bytes, to.used);
        fwrite(text, 1, bytes, file);
        fwrite(to.text, 1, to.used, file);
    }
    fclose(program);
    fclose(file);
    snprintf(command, sizeof command, "python3 '%s' '%s'", script, path);
    fflush(stdout);
    tap_ok(system(command) == 0, "tomllib reads every document that we accept, to the same values (%d of %d)", accepted,
           DOCUMENTS);
}

int main(void)
{
    char folder[] = "/tmp/genseg-toml-XXXXXX", command[64];
    if (!mkdtemp(folder)) return 1;
    test_tables();
    test_limits(folder);
    test_numbers(folder);
    test_peer(folder);
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    tap_ok(system(command) == 0, "the scratch folder is gone");
    return tap_done();
}
