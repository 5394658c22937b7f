/*
 * A profile as a trace, in the JSON form that chrome://tracing and Perfetto load: one mean run, its steps end to end as
 * complete events, and around steps that follow one another in one scope the scope's own events. Times are whole
 * nanoseconds, so that an event within another is within it to the last digit.
 */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "plan/profile.h"

typedef struct tracer {
    const ht_program *program;
    FILE *file;
    double end;      /* nanoseconds from the run's begin to the end of the last part */
} tracer;

static void put_string(FILE *file, const char *text, size_t bytes)
{
    static const char *const escapes[] = {"\\\"", "\\\\"};
    fputc('"', file);
    hti_put_text(file, text, bytes, INT32_MAX, "\"\\", escapes);
    fputc('"', file);
}

static void put_member(FILE *file, const char *name, const char *text)
{
    if (!*text) return;
    fprintf(file, ",\"%s\":", name);
    put_string(file, text, strlen(text));
}

/* Nanoseconds as microseconds. */
static void put_micro(FILE *file, const char *name, double nanoseconds)
{
    int64_t whole = (int64_t)llround(nanoseconds);
    fprintf(file, ",\"%s\":%" PRId64 ".%03d", name, whole / 1000, (int)(whole % 1000));
}

static void begin_event(const tracer *t, const char *name, size_t bytes, const char *category, double begin, double end)
{
    fputs(",\n{\"ph\":\"X\",\"pid\":1,\"tid\":1,\"name\":", t->file);
    put_string(t->file, name, bytes);
    put_member(t->file, "cat", category);
    put_micro(t->file, "ts", begin);
    put_micro(t->file, "dur", (double)llround(end) - (double)llround(begin));
}

/* "f32 [2, 3], f32 [3] -> f32 [2, 3]" */
static void put_shapes(const tracer *t, const hti_step *step)
{
    char text[HT_SHAPE_TEXT];
    const hti_value *values = t->program->values.at;
    fputs(",\"shapes\":\"", t->file);
    for (int32_t k = 0; k < step->inputs; k++)
        fprintf(t->file, "%s%s %s", k ? ", " : "", ht_dtype_name(values[step->in[k]].dtype),
                ht_shape_text(values[step->in[k]].shape, text));
    int32_t results = step->group ? step->group->outputs : step->out != HTI_NOWHERE;
    for (int32_t k = 0; k < results; k++) {
        const hti_value *value = &values[step->group ? step->group_out[k] : step->out];
        fprintf(t->file, "%s%s %s", k ? ", " : " -> ", ht_dtype_name(value->dtype), ht_shape_text(value->shape, text));
    }
    fputc('"', t->file);
}

static void put_part(tracer *t, const hti_part *part)
{
    double begin = t->end;
    t->end += part->nanoseconds;
    begin_event(t, part->name, strlen(part->name), hti_work_names[part->work], begin, t->end);
    fputs(",\"args\":{\"op\":", t->file);
    put_string(t->file, part->name, strlen(part->name));
    put_member(t->file, "scope", part->scope);
    put_member(t->file, "where", part->where);
    if (part->algorithm) put_member(t->file, "algorithm", part->algorithm);
    if (part->step) put_shapes(t, part->step);
    if (part->step && part->step->group) {
        fputs(",\"members\":\"", t->file);
        for (int32_t m = 0; m < part->step->group->members; m++)
            fprintf(t->file, "%s%s", m ? " " : "", part->step->group->member[m].op->name);
        fputc('"', t->file);
    }
    fprintf(t->file, ",\"bytes\":%.0f,\"flop\":%.0f", part->bytes, part->flop);
    if (part->nanoseconds > 0)
        fprintf(t->file, ",\"GB/s\":%.4g,\"GF/s\":%.4g", part->bytes / part->nanoseconds, part->flop / part->nanoseconds);
    fputs("}}", t->file);
}

/* Whether two scopes have their first names in common, so many of them. */
static bool alike(const hti_path *a, const hti_path *b, int32_t names)
{
    if (a->names < names || b->names < names) return false;
    for (int32_t i = 0; i < names; i++)
        if (a->bytes[i] != b->bytes[i] || memcmp(a->name[i], b->name[i], a->bytes[i]) != 0) return false;
    return true;
}

/* Opens the scopes that part `index` is in and the one before it was not: each reaches to the last part within it. */
static void put_scopes(const tracer *t, int32_t index, const hti_path *before, const hti_path *now)
{
    int32_t count = hti_part_count(t->program);
    for (int32_t depth = 1; depth <= now->names; depth++) {
        double end = t->end;
        if (alike(before, now, depth)) continue;
        for (int32_t i = index; i < count; i++) {
            hti_part part = hti_part_at(t->program, i);
            hti_path path = hti_scope_path(part.scope);
            if (!alike(&path, now, depth)) break;
            end += part.nanoseconds;
        }
        begin_event(t, now->name[depth - 1], now->bytes[depth - 1], "scope", t->end, end);
        fputs(",\"args\":{\"scope\":", t->file);
        const char *path = now->name[0];
        put_string(t->file, path, (size_t)(now->name[depth - 1] - path) + now->bytes[depth - 1]);
        fputs("}}", t->file);
    }
}

void hti_profile_trace(const ht_program *p, FILE *file)
{
    tracer t = {.program = p, .file = file};
    hti_path before = {.names = 0};
    fputs("{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n"
          "{\"ph\":\"M\",\"pid\":1,\"name\":\"process_name\",\"args\":{\"name\":\"hypertape\"}},\n"
          "{\"ph\":\"M\",\"pid\":1,\"tid\":1,\"name\":\"thread_name\",\"args\":{\"name\":\"one run, mean times\"}}",
          file);
    for (int32_t i = 0; i < hti_part_count(p); i++) {
        hti_part part = hti_part_at(p, i);
        hti_path now = hti_scope_path(part.scope);
        put_scopes(&t, i, &before, &now);
        put_part(&t, &part);
        before = now;
    }
    fputs("\n]}\n", file);
}
