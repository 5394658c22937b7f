/*
 * RUN/events.out.tfevents.SECONDS.genseg: the numbers of log.csv and the strips of pictures/, for TensorBoard. A file is a
 * row of records (TFRecord: length, its checksum, data, their checksum), each with one protocol-buffer message "Event". Of
 * both forms we need a few fields only, so they are encoded here. No state: a resumed run cuts the events behind its
 * checkpoint out of the files that are there, and goes on in a later file, for a reader may hold an old one open.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "picture.h"
#include "run.h"

#define NAME_START "events.out.tfevents."
#define NAME_END   ".genseg"

/* Fields of the messages that are used. */
enum {
    EVENT_WALL_TIME = 1, EVENT_STEP = 2, EVENT_FILE_VERSION = 3, EVENT_SUMMARY = 5, EVENT_SESSION_LOG = 7,
    SESSION_STATUS = 1, SESSION_START = 1,
    SUMMARY_VALUE = 1,
    VALUE_TAG = 1, VALUE_SIMPLE = 2, VALUE_IMAGE = 4,
    IMAGE_HEIGHT = 1, IMAGE_WIDTH = 2, IMAGE_COLOURS = 3, IMAGE_BYTES = 4
};
/* How a field is written: the low bits of its key. */
enum { VARINT = 0, EIGHT_BYTES = 1, COUNTED = 2, FOUR_BYTES = 5 };

enum { HEAD = 12, TAIL = 4 }; /* bytes of a record before and after its data */

/* Bytes that grow. */
typedef struct message {
    uint8_t *at;
    size_t used, room;
    bool lost; /* no memory: it is not whole */
} message;

struct genseg_events {
    FILE *file;
    char *path;
    message event, summary, value, image;
};

static ht_status refused(const char *path, ht_error *error)
{
    char shown[GENSEG_PLACE];
    return ht_fail(error, HT_EIO, "%s: %s; expected a file that can be written; look at the disk",
                   genseg_place(path, shown), strerror(errno));
}

static ht_status no_memory(const char *path, ht_error *error)
{
    char shown[GENSEG_PLACE];
    return ht_fail(error, HT_ENOMEM, "%s: no memory; expected room for an event; close other programs",
                   genseg_place(path, shown));
}

/* ---- bytes ---- */

/* CRC-32C (Castagnoli). */
static uint32_t checksum(const uint8_t *bytes, size_t count)
{
    uint32_t crc = 0xFFFFFFFF;
    for (size_t i = 0; i < count; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++) crc = crc & 1 ? crc >> 1 ^ 0x82F63B78 : crc >> 1;
    }
    return ~crc;
}

/* The form in which a record holds it: a checksum over checksums would say little. */
static uint32_t masked(const uint8_t *bytes, size_t count)
{
    uint32_t crc = checksum(bytes, count);
    return (crc >> 15 | crc << 17) + 0xA282EAD8;
}

static void little_endian(uint8_t *to, uint64_t number, int bytes)
{
    for (int i = 0; i < bytes; i++) to[i] = (uint8_t)(number >> 8 * i);
}

static uint64_t from_little_endian(const uint8_t *at, int bytes)
{
    uint64_t number = 0;
    for (int i = 0; i < bytes; i++) number |= (uint64_t)at[i] << 8 * i;
    return number;
}

/* Room for so many more bytes; false without memory. */
static bool grow(message *m, size_t more)
{
    size_t needed = 0, room = m->room ? m->room : 256;
    if (__builtin_add_overflow(m->used, more, &needed) || needed > SIZE_MAX / 2) m->lost = true;
    if (m->lost || needed <= m->room) return !m->lost;
    while (room < needed) room *= 2;
    uint8_t *at = realloc(m->at, room);
    if (!at) m->lost = true;
    else {
        m->at = at;
        m->room = room;
    }
    return !m->lost;
}

/* ---- fields of a message ---- */

static void put(message *m, const void *bytes, size_t count)
{
    if (!count || !grow(m, count)) return;
    memcpy(m->at + m->used, bytes, count);
    m->used += count;
}

/* Seven bits a byte, the low ones first; the top bit says that more follow. */
static void put_varint(message *m, uint64_t number)
{
    uint8_t bytes[10];
    size_t count = 0;
    for (; number > 0x7F; number >>= 7) bytes[count++] = (uint8_t)(number | 0x80);
    bytes[count++] = (uint8_t)number;
    put(m, bytes, count);
}

static void put_key(message *m, int field, int form) { put_varint(m, (uint64_t)(field << 3 | form)); }

static void put_whole(message *m, int field, int64_t number)
{
    put_key(m, field, VARINT);
    put_varint(m, (uint64_t)number);
}

static void put_bits(message *m, int field, int form, uint64_t bits)
{
    uint8_t bytes[8];
    int count = form == EIGHT_BYTES ? 8 : 4;
    little_endian(bytes, bits, count);
    put_key(m, field, form);
    put(m, bytes, (size_t)count);
}

static void put_double(message *m, int field, double number)
{
    uint64_t bits = 0;
    memcpy(&bits, &number, sizeof bits);
    put_bits(m, field, EIGHT_BYTES, bits);
}

static void put_float(message *m, int field, float number)
{
    uint32_t bits = 0;
    memcpy(&bits, &number, sizeof bits);
    put_bits(m, field, FOUR_BYTES, bits);
}

static void put_counted(message *m, int field, const void *bytes, size_t count)
{
    put_key(m, field, COUNTED);
    put_varint(m, count);
    put(m, bytes, count);
}

static void put_inner(message *m, int field, const message *inner)
{
    put_counted(m, field, inner->at, inner->used);
    m->lost |= inner->lost;
}

/* ---- records ---- */

static void begin_event(genseg_events *events, int64_t step)
{
    struct timespec now = {0};
    clock_gettime(CLOCK_REALTIME, &now);
    events->event.used = events->summary.used = 0;
    put_double(&events->event, EVENT_WALL_TIME, (double)now.tv_sec + 1e-9 * (double)now.tv_nsec);
    put_whole(&events->event, EVENT_STEP, step);
}

static ht_status write_event(genseg_events *events, ht_error *error)
{
    const message *event = &events->event;
    uint8_t head[HEAD], tail[TAIL];
    if (event->lost) return no_memory(events->path, error);
    little_endian(head, event->used, 8);
    little_endian(head + 8, masked(head, 8), 4);
    little_endian(tail, masked(event->at, event->used), TAIL);
    if (fwrite(head, 1, HEAD, events->file) != HEAD || fwrite(event->at, 1, event->used, events->file) != event->used ||
        fwrite(tail, 1, TAIL, events->file) != TAIL || fflush(events->file))
        return refused(events->path, error);
    return HT_OK;
}

static ht_status write_summary(genseg_events *events, ht_error *error)
{
    put_inner(&events->event, EVENT_SUMMARY, &events->summary);
    return write_event(events, error);
}

/* ---- the cut on resume ---- */

/* A varint at *at; false if it does not end before `end`. */
static bool take_varint(const uint8_t **at, const uint8_t *end, uint64_t *number)
{
    *number = 0;
    for (int shift = 0; *at < end && shift < 64; shift += 7) {
        uint8_t byte = *(*at)++;
        *number |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80) return true;
    }
    return false;
}

/* The step of an event, 0 if it has none; -1 if the bytes are no message. */
static int64_t step_of(const uint8_t *at, size_t count)
{
    const uint8_t *end = at + count;
    uint64_t key = 0, number = 0;
    while (at < end) {
        if (!take_varint(&at, end, &key)) return -1;
        int form = (int)(key & 7);
        if (form == FOUR_BYTES || form == EIGHT_BYTES) number = form == FOUR_BYTES ? 4 : 8;
        else if ((form != VARINT && form != COUNTED) || !take_varint(&at, end, &number)) return -1;
        if (key == (EVENT_STEP << 3 | VARINT)) return number <= INT64_MAX ? (int64_t)number : -1;
        if (form == VARINT) continue;
        if (number > (uint64_t)(end - at)) return -1;
        at += number;
    }
    return 0;
}

/* Whether the next record is whole and of a step up to `last`; `left` bytes are there. Sets its size. */
static bool keep_record(FILE *file, uint64_t left, int64_t last, message *data, uint64_t *bytes)
{
    uint8_t head[HEAD];
    if (left < HEAD + TAIL || fread(head, 1, HEAD, file) != HEAD) return false;
    uint64_t count = from_little_endian(head, 8);
    if (from_little_endian(head + 8, 4) != masked(head, 8) || count > left - HEAD - TAIL) return false;
    data->used = 0;
    if (!grow(data, (size_t)count + TAIL) || fread(data->at, 1, (size_t)count + TAIL, file) != (size_t)count + TAIL) return false;
    if (from_little_endian(data->at + count, TAIL) != masked(data->at, (size_t)count)) return false;
    int64_t step = step_of(data->at, (size_t)count);
    *bytes = HEAD + count + TAIL;
    return step >= 0 && step <= last;
}

/* Cuts off what comes after step `last`, or was torn while it was written. */
static ht_status cut(const char *path, int64_t last, message *data, ht_error *error)
{
    struct stat facts = {0};
    char shown[GENSEG_PLACE];
    uint64_t kept = 0, bytes = 0;
    FILE *file = fopen(path, "r+be");
    if (!file) return refused(path, error);
    ht_status status = HT_OK;
    if (fstat(fileno(file), &facts) || !S_ISREG(facts.st_mode))
        status = ht_fail(error, HT_EFORMAT, "%s: not a regular file; expected the events of a run; move it away",
                         genseg_place(path, shown));
    uint64_t size = facts.st_size > 0 ? (uint64_t)facts.st_size : 0;
    while (!status && kept < size && keep_record(file, size - kept, last, data, &bytes)) kept += bytes;
    if (!status && data->lost) status = no_memory(path, error);
    if (!status && (ferror(file) || (kept < size && ftruncate(fileno(file), (off_t)kept)))) status = refused(path, error);
    fclose(file);
    return status;
}

/* The seconds in a name of ours, or -1. */
static int64_t seconds_of(const char *name)
{
    size_t start = strlen(NAME_START);
    if (strncmp(name, NAME_START, start)) return -1;
    char *end = NULL;
    errno = 0;
    long long seconds = strtoll(name + start, &end, 10);
    return !errno && seconds >= 0 && seconds < INT64_MAX && end > name + start && !strcmp(end, NAME_END) ? seconds : -1;
}

/* Cuts every file of ours; newest: the largest of their seconds, -1 if there is none. */
static ht_status cut_all(const char *run, int64_t last, message *data, int64_t *newest, ht_error *error)
{
    DIR *folder = opendir(run);
    ht_status status = HT_OK;
    *newest = -1;
    if (!folder) return refused(run, error);
    const struct dirent *entry;
    while (!status && (entry = readdir(folder)) != NULL) {
        int64_t seconds = seconds_of(entry->d_name);
        if (seconds < 0) continue;
        if (seconds > *newest) *newest = seconds;
        char *path = genseg_path_join(run, entry->d_name);
        status = path ? cut(path, last, data, error) : no_memory(run, error);
        free(path);
    }
    closedir(folder);
    return status;
}

/* ---- for the run ---- */

genseg_events *genseg_events_open(const char *run, int64_t resume_round, ht_error *error)
{
    static const char version[] = "brain.Event:2";
    genseg_events *events = calloc(1, sizeof *events);
    int64_t newest = -1, seconds = time(NULL);
    char name[64];
    if (!events) {
        no_memory(run, error);
        return NULL;
    }
    ht_status status = cut_all(run, resume_round, &events->event, &newest, error);
    if (seconds <= newest) seconds = newest + 1; /* readers take the files in the order of their names */
    snprintf(name, sizeof name, NAME_START "%010lld" NAME_END, (long long)seconds);
    if (!status && !(events->path = genseg_path_join(run, name))) status = no_memory(run, error);
    if (!status && !(events->file = fopen(events->path, "wbxe"))) status = refused(events->path, error);
    if (!status) {
        begin_event(events, 0);
        put_counted(&events->event, EVENT_FILE_VERSION, version, sizeof version - 1);
        status = write_event(events, error);
    }
    if (!status && newest >= 0) { /* a reader that saw what was cut forgets it */
        begin_event(events, resume_round + 1);
        put_whole(&events->summary, SESSION_STATUS, SESSION_START);
        put_inner(&events->event, EVENT_SESSION_LOG, &events->summary);
        status = write_event(events, error);
    }
    if (!status) return events;
    genseg_events_close(events);
    return NULL;
}

ht_status genseg_events_append(genseg_events *events, const genseg_log_row *row, ht_error *error)
{
    double values[GENSEG_LOG_VALUES];
    const char *tag = strchr(GENSEG_LOG_COLUMNS, ','); /* behind the round, which is the step */
    genseg_log_values(row, values);
    begin_event(events, row->round);
    for (int32_t k = 0; k < GENSEG_LOG_VALUES && tag; k++) {
        size_t bytes = strcspn(++tag, ",");
        if (!isnan(values[k])) {
            events->value.used = 0;
            put_counted(&events->value, VALUE_TAG, tag, bytes);
            put_float(&events->value, VALUE_SIMPLE, (float)values[k]);
            put_inner(&events->summary, SUMMARY_VALUE, &events->value);
        }
        tag = strchr(tag, ',');
    }
    return write_summary(events, error);
}

ht_status genseg_events_picture(genseg_events *events, int64_t round, const char *tag, const char *path, ht_error *error)
{
    static const uint8_t signature[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};
    enum { WIDTH_AT = 16, HEIGHT_AT = 20, SIZES_END = 24, RGB = 3 };
    genseg_bytes file = {0};
    uint32_t size[2] = {0};
    char shown[GENSEG_PLACE];
    if (genseg_bytes_read(path, &file, error) != HT_OK) return error->status;
    if (file.count < SIZES_END || memcmp(file.data, signature, sizeof signature)) {
        free(file.data);
        return ht_fail(error, HT_EFORMAT, "%s: not a PNG; expected the picture of the round; look at what else writes there",
                       genseg_place(path, shown));
    }
    for (int k = 0; k < 4; k++) {
        size[0] = size[0] << 8 | file.data[WIDTH_AT + k];
        size[1] = size[1] << 8 | file.data[HEIGHT_AT + k];
    }
    events->value.used = events->image.used = 0;
    put_whole(&events->image, IMAGE_HEIGHT, size[1]);
    put_whole(&events->image, IMAGE_WIDTH, size[0]);
    put_whole(&events->image, IMAGE_COLOURS, RGB);
    put_counted(&events->image, IMAGE_BYTES, file.data, file.count);
    free(file.data);
    put_counted(&events->value, VALUE_TAG, tag, strlen(tag));
    put_inner(&events->value, VALUE_IMAGE, &events->image);
    begin_event(events, round);
    put_inner(&events->summary, SUMMARY_VALUE, &events->value);
    return write_summary(events, error);
}

ht_status genseg_events_sync(genseg_events *events, ht_error *error)
{
    if (fflush(events->file) || fsync(fileno(events->file))) return refused(events->path, error);
    return HT_OK;
}

void genseg_events_close(genseg_events *events)
{
    if (!events) return;
    if (events->file) fclose(events->file);
    free(events->path);
    free(events->event.at);
    free(events->summary.at);
    free(events->value.at);
    free(events->image.at);
    free(events);
}
