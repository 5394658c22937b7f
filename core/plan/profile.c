/*
 * Where the time of a program's runs went: the parts of a run, and the table of them by op, by scope and by line. Time is
 * the mean over the runs that were timed; bytes and operations are what one run needs by the shapes, not counters.
 */
#include <stdlib.h>
#include <string.h>

#include "plan/profile.h"

const char *const hti_work_names[HTI_WORKS] = {"convolutions and products", "pointwise", "changes of order, packing", "other"};

const char *hti_step_name(const hti_step *step)
{
    if (step->kind == HTI_STEP_COPY) return "reorder";
    if (step->kind == HTI_STEP_GROUP && step->group->members + step->group->sums > 1) return "fused";
    return step->kind == HTI_STEP_PACK ? "pack" : step->op->name;
}

/* ---- parts ---- */

/* An axis of stride 0 repeats its numbers; zeros around a block are not read. */
static double bytes_of(const ht_program *p, int32_t index)
{
    const hti_value *value = &p->values.at[index];
    double bytes = (double)ht_dtype_bytes(value->dtype);
    const ht_shape *shape = value->inside ? &value->inside->size : &value->shape;
    for (int32_t k = 0; k < shape->rank; k++)
        if (value->stride[k] != 0 || shape->dim[k] == 0) bytes *= (double)shape->dim[k];
    return bytes;
}

static double mean(const hti_clock *clock) { return clock->runs > 0 ? clock->nanoseconds / (double)clock->runs : 0; }

static hti_work work_of(const hti_step *step, double flop)
{
    if (step->kind == HTI_STEP_COPY || step->kind == HTI_STEP_PACK) return HTI_WORK_ORDER;
    if (step->kind == HTI_STEP_GROUP || step->kernel->pointwise) return HTI_WORK_POINTWISE;
    return flop > 0 ? HTI_WORK_PRODUCT : HTI_WORK_OTHER;
}

static hti_part commit_of(const ht_program *p)
{
    hti_part part = {.name = "commit", .scope = "", .where = "", .work = HTI_WORK_OTHER, .nanoseconds = mean(&p->commit_clock)};
    for (int32_t i = 0; i < p->commits.count; i++) part.bytes += 2 * bytes_of(p, p->commits.at[i].value);
    return part;
}

int32_t hti_part_count(const ht_program *p) { return p->steps.count + (p->commits.count > 0); }

hti_part hti_part_at(const ht_program *p, int32_t index)
{
    if (index == p->steps.count) return commit_of(p);
    const hti_step *step = &p->steps.at[index];
    hti_part part = {.name = hti_step_name(step), .scope = step->scope ? step->scope : "", .step = step,
                     .where = step->where ? step->where : "", .algorithm = step->choice.algorithm,
                     .nanoseconds = mean(&step->clock)};
    for (int32_t k = 0; k < step->inputs; k++) part.bytes += bytes_of(p, step->in[k]);
    if (step->out != HTI_NOWHERE) part.bytes += bytes_of(p, step->out);
    for (int32_t k = 0; step->group && k < step->group->outputs; k++) part.bytes += bytes_of(p, step->group_out[k]);
    if (step->kind == HTI_STEP_PACK) part.bytes += (double)p->buffers.at[step->packed].bytes;
    if (step->kind == HTI_STEP_OP && step->kernel->flop)
        part.flop = step->kernel->flop(step->attributes, step->tensors, &step->tensors[step->inputs]);
    part.work = work_of(step, part.flop);
    return part;
}

/* ---- text ---- */

hti_path hti_scope_path(const char *scope)
{
    hti_path path = {.names = 0};
    for (const char *at = scope + strspn(scope, "/."); *at && path.names < HTI_PATH_NAMES; at += strspn(at, "/.")) {
        size_t bytes = path.names == HTI_PATH_NAMES - 1 ? strlen(at) : strcspn(at, "/.");
        path.name[path.names] = at;
        path.bytes[path.names++] = bytes;
        at += bytes;
    }
    return path;
}

/* Bytes of the character, which lie within the text; 0 if no reader could show it. U+FFFE and U+FFFF are none in XML. */
static size_t shown_bytes(const char *at, size_t left)
{
    size_t bytes = hti_utf8_bytes(at);
    const unsigned char *c = (const unsigned char *)at;
    if (bytes > left || c[0] == 0x7F || (c[0] == 0xC2 && c[1] < 0xA0)) return 0;
    return bytes == 3 && c[0] == 0xEF && c[1] == 0xBF && c[2] >= 0xBE ? 0 : bytes;
}

void hti_put_text(FILE *file, const char *text, size_t bytes, int32_t characters, const char *marks,
                  const char *const *escapes)
{
    for (size_t i = 0; i < bytes && characters > 0; characters--) {
        size_t shown = shown_bytes(text + i, bytes - i);
        const char *mark = shown == 1 ? strchr(marks, text[i]) : NULL;
        if (mark) fputs(escapes[mark - marks], file);
        else if (shown) fwrite(text + i, 1, shown, file);
        else fputs("\xEF\xBF\xBD", file);
        i += shown ? shown : 1;
    }
}

/* ---- the table ---- */

typedef struct share {
    const char *name;
    double nanoseconds, bytes, flop;
    int32_t parts;
} share;

static const char *op_of(const hti_part *part) { return part->name; }
static const char *scope_of(const hti_part *part) { return *part->scope ? part->scope : "(no scope)"; }
static const char *where_of(const hti_part *part) { return *part->where ? part->where : "(no line)"; }

static int by_name(const void *a, const void *b) { return strcmp(((const share *)a)->name, ((const share *)b)->name); }

static int by_time(const void *a, const void *b)
{
    const share *x = a, *y = b;
    if (x->nanoseconds != y->nanoseconds) return x->nanoseconds < y->nanoseconds ? 1 : -1;
    return strcmp(x->name, y->name);
}

static void add(share *to, const share *more)
{
    to->nanoseconds += more->nanoseconds;
    to->bytes += more->bytes;
    to->flop += more->flop;
    to->parts += more->parts;
}

/* One share for each name, the longest time first; how many. */
static int32_t gather(const ht_program *p, const char *(*key)(const hti_part *), share *shares)
{
    int32_t count = hti_part_count(p), kept = 0;
    for (int32_t i = 0; i < count; i++) {
        hti_part part = hti_part_at(p, i);
        shares[i] = (share){key(&part), part.nanoseconds, part.bytes, part.flop, 1};
    }
    qsort(shares, (size_t)count, sizeof *shares, by_name);
    for (int32_t i = 1; i < count; i++) {
        if (strcmp(shares[kept].name, shares[i].name) == 0) add(&shares[kept], &shares[i]);
        else shares[++kept] = shares[i];
    }
    qsort(shares, (size_t)kept + 1, sizeof *shares, by_time);
    return kept + 1;
}

static void print_share(const share *s, double total, FILE *file)
{
    static const char *const none[] = {""};
    fprintf(file, "%12.3f %6.1f%% %7d", s->nanoseconds * 1e-6, total > 0 ? 100 * s->nanoseconds / total : 0, (int)s->parts);
    if (s->flop > 0 && s->nanoseconds > 0) fprintf(file, " %8.1f", s->flop / s->nanoseconds);
    else fprintf(file, " %8s", "");
    if (s->nanoseconds > 0) fprintf(file, " %8.1f  ", s->bytes / s->nanoseconds);
    else fprintf(file, " %8s  ", "");
    hti_put_text(file, s->name, strlen(s->name), INT32_MAX, "", none);
    fputc('\n', file);
}

/* What a memory limit costs; a group's time goes by the number of its ops. */
static void print_again(const ht_program *p, double total, FILE *file)
{
    share again = {.name = "recomputed"};
    for (int32_t s = 0; s < p->steps.count; s++) {
        const hti_step *step = &p->steps.at[s];
        const int32_t ops = step->group ? step->group->members + step->group->sums : 1;
        const hti_part part = hti_part_at(p, s);
        const double fraction = (double)step->recomputed / ops;
        const share more = {part.name, fraction * part.nanoseconds, fraction * part.bytes, fraction * part.flop,
                            step->recomputed > 0};
        add(&again, &more);
    }
    print_share(&again, total, file);
}

static ht_status write_table(const ht_program *p, FILE *file, ht_error *error)
{
    static const struct { const char *title; const char *(*key)(const hti_part *); } tables[] = {
        {"op", op_of}, {"scope", scope_of}, {"line", where_of}};
    share *shares = malloc((size_t)hti_part_count(p) * sizeof *shares);
    if (!shares) return ht_fail(error, HT_ENOMEM, "profile: the system gave no memory for a table");
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        share all = {.name = "all"};
        int32_t count = gather(p, tables[i].key, shares);
        for (int32_t k = 0; k < count; k++) add(&all, &shares[k]);
        fprintf(file, "%s%12s %7s %7s %8s %8s  %s\n", i ? "\n" : "", "ms per run", "share", "steps", "GF/s", "GB/s",
                tables[i].title);
        for (int32_t k = 0; k < count; k++) print_share(&shares[k], all.nanoseconds, file);
        print_share(&all, all.nanoseconds, file);
        if (i == 0 && p->facts.recomputed > 0) print_again(p, all.nanoseconds, file);
    }
    free(shares);
    return HT_OK;
}

ht_status ht_profile(const ht_program *p, ht_profile_form form, FILE *file, ht_error *error)
{
    int64_t timed = p->commit_clock.runs;
    for (int32_t s = 0; s < p->steps.count && timed == 0; s++) timed = p->steps.at[s].clock.runs;
    if (timed == 0 || hti_part_count(p) == 0)
        return ht_fail(error, HT_EINVALID, "profile: no run was timed; expected a program with steps, compiled with "
                       ".profile = 1, after a run");
    ht_status status = HT_OK;
    if (form == HT_PROFILE_TABLE) status = write_table(p, file, error);
    else if (form == HT_PROFILE_TRACE) hti_profile_trace(p, file);
    else if (form == HT_PROFILE_FLAME) status = hti_profile_flame(p, file, error);
    else return ht_fail(error, HT_EINVALID, "profile: form %d; expected one of ht_profile_form", (int)form);
    if (status == HT_OK && (fflush(file) != 0 || ferror(file)))
        return ht_fail(error, HT_EIO, "profile: the file took not all of it; expected room and a file open for writing");
    return status;
}
