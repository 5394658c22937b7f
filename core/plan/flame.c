/*
 * A profile as a flame graph: an SVG picture without scripts. The whole run lies at the bottom, scopes stand on the scopes
 * that they are in, then op and line; a frame is as wide as its time, neighbours have the longest first. Each frame has a
 * <title>, which viewers show where the pointer is. Frames too narrow to be seen are left out; their time stays below.
 */
#include <stdlib.h>
#include <string.h>

#include "plan/profile.h"

enum { WIDTH = 1200, MARGIN = 16, HEADER = 92, ROW = 23, CHARACTER_TENTHS = 67, PADDING = 5 };

typedef enum frame_kind { FRAME_ALL, FRAME_SCOPE, FRAME_OP, FRAME_LINE } frame_kind;

typedef struct frame {
    frame_kind kind;
    hti_work work;             /* of ops and lines */
    const char *name;
    size_t bytes;              /* of the name */
    int32_t parent, child, next; /* indices; 0 for none but as a parent */
    int32_t depth, parts;
    double nanoseconds, moved, flop; /* moved: bytes */
    double left, filled;       /* nanoseconds from the left edge: where it begins, where its next child does */
} frame;

typedef struct graph {
    HTI_LIST(frame) frames;    /* the first is the whole run; parents before children */
    int32_t *order;            /* frames by parent, then time */
    int32_t rows;
    double works[HTI_WORKS];   /* nanoseconds */
    int64_t runs;
} graph;

/* ---- frames of the parts ---- */

/* The child of that name, made if there is none yet; -1 without memory. */
static int32_t child_of(graph *g, int32_t parent, frame_kind kind, const char *name, size_t bytes)
{
    int32_t *link = &g->frames.at[parent].child;
    while (*link) {
        const frame *f = &g->frames.at[*link];
        if (f->kind == kind && f->bytes == bytes && memcmp(f->name, name, bytes) == 0) return *link;
        link = &g->frames.at[*link].next;
    }
    *link = g->frames.count;
    frame *made = HTI_PUSH(g->frames); /* link is not good any more */
    if (!made) return -1;
    *made = (frame){.kind = kind, .name = name, .bytes = bytes, .parent = parent, .depth = g->frames.at[parent].depth + 1};
    if (made->depth >= g->rows) g->rows = made->depth + 1;
    return g->frames.count - 1;
}

/* Counts a part in a frame; the frame's index again. */
static int32_t count_in(graph *g, int32_t index, const hti_part *part)
{
    if (index < 0) return index;
    frame *f = &g->frames.at[index];
    f->work = part->work;
    f->parts++;
    f->nanoseconds += part->nanoseconds;
    f->moved += part->bytes;
    f->flop += part->flop;
    return index;
}

static bool add_part(graph *g, const hti_part *part)
{
    hti_path path = hti_scope_path(part->scope);
    int32_t at = count_in(g, 0, part);
    for (int32_t i = 0; i < path.names && at >= 0; i++)
        at = count_in(g, child_of(g, at, FRAME_SCOPE, path.name[i], path.bytes[i]), part);
    if (at >= 0) at = count_in(g, child_of(g, at, FRAME_OP, part->name, strlen(part->name)), part);
    if (at >= 0 && *part->where) at = count_in(g, child_of(g, at, FRAME_LINE, part->where, strlen(part->where)), part);
    g->works[part->work] += part->nanoseconds;
    return at >= 0;
}

static int by_parent_and_time(const void *a, const void *b, void *context)
{
    const graph *g = context;
    const frame *x = &g->frames.at[*(const int32_t *)a], *y = &g->frames.at[*(const int32_t *)b];
    if (x->parent != y->parent) return x->parent < y->parent ? -1 : 1;
    if (x->nanoseconds != y->nanoseconds) return x->nanoseconds < y->nanoseconds ? 1 : -1;
    return *(const int32_t *)a < *(const int32_t *)b ? -1 : 1;
}

/* Gives every frame but the first its left edge. */
static bool arrange(graph *g)
{
    int32_t count = g->frames.count - 1;
    g->order = malloc(((size_t)count + 1) * sizeof *g->order);
    if (!g->order) return false;
    for (int32_t i = 0; i < count; i++) g->order[i] = i + 1;
    qsort_r(g->order, (size_t)count, sizeof *g->order, by_parent_and_time, g);
    for (int32_t i = 0; i < count; i++) {
        frame *f = &g->frames.at[g->order[i]], *below = &g->frames.at[f->parent];
        f->left = f->filled = below->filled;
        below->filled += f->nanoseconds;
    }
    return true;
}

static bool build(graph *g, const ht_program *p)
{
    frame *all = HTI_PUSH(g->frames);
    if (!all) return false;
    *all = (frame){.kind = FRAME_ALL, .name = "all", .bytes = 3, .parent = -1};
    g->rows = 1;
    for (int32_t i = 0; i < hti_part_count(p); i++) {
        hti_part part = hti_part_at(p, i);
        if (!add_part(g, &part)) return false;
        int64_t runs = part.step ? part.step->clock.runs : p->commit_clock.runs;
        if (runs > g->runs) g->runs = runs;
    }
    return arrange(g);
}

/* ---- the picture ---- */

static void put(FILE *file, const char *text, size_t bytes, int32_t characters)
{
    static const char *const escapes[] = {"&amp;", "&lt;", "&gt;", "&quot;"};
    hti_put_text(file, text, bytes, characters, "&<>\"", escapes);
}

static int32_t characters_of(const char *text, size_t bytes)
{
    int32_t count = 0;
    for (size_t i = 0; i < bytes && count < INT32_MAX; i++) count += ((unsigned char)text[i] & 0xC0u) != 0x80u;
    return count;
}

/* Names from the second frame on to this one. */
static void put_path(const graph *g, const frame *f, FILE *file)
{
    if (f->parent > 0) {
        put_path(g, &g->frames.at[f->parent], file); /* as deep as rows */
        fputs(f->kind == FRAME_LINE ? " at " : " / ", file);
    }
    put(file, f->name, f->bytes, INT32_MAX);
}

static void put_title(const graph *g, const frame *f, FILE *file)
{
    double all = g->frames.at[0].nanoseconds;
    fputs("<title>", file);
    put_path(g, f, file);
    fprintf(file, "\n%.3f ms of %.3f, %.1f %%; %d %s", f->nanoseconds * 1e-6, all * 1e-6,
            all > 0 ? 100 * f->nanoseconds / all : 0, (int)f->parts, f->parts == 1 ? "step" : "steps");
    if (f->nanoseconds > 0) fprintf(file, "\n%.1f GB/s", f->moved / f->nanoseconds);
    if (f->nanoseconds > 0 && f->flop > 0) fprintf(file, ", %.1f GF/s", f->flop / f->nanoseconds);
    fputs("</title>", file);
}

/* As much of the name as there is room for; of a line its file without the folders, and rather the end than the start. */
static void put_label(const frame *f, double width, FILE *file)
{
    const char *name = f->name;
    size_t bytes = f->bytes;
    for (size_t i = 0; f->kind == FRAME_LINE && i < f->bytes; i++) {
        if (f->name[i] != '/') continue;
        name = f->name + i + 1;
        bytes = f->bytes - i - 1;
    }
    int32_t room = (int32_t)((width - 2 * PADDING) * 10 / CHARACTER_TENTHS), wanted = characters_of(name, bytes);
    if (room < 2 || (room < 4 && room < wanted)) return;
    char time[32];
    snprintf(time, sizeof time, "%.*f ms", f->nanoseconds < 1e7 ? 2 : 1, f->nanoseconds * 1e-6);
    fprintf(file, "<text x=\"%d\" y=\"15\">", PADDING);
    bool cut = room < wanted, from_start = f->kind == FRAME_LINE;
    for (int32_t skip = cut && from_start ? wanted - room + 1 : 0; skip > 0; skip--)
        do {
            name++;
            bytes--;
        } while (bytes > 0 && ((unsigned char)*name & 0xC0u) == 0x80u);
    if (cut && from_start) fputs("\xE2\x80\xA6", file);
    put(file, name, bytes, cut ? room - 1 : wanted);
    if (cut && !from_start) fputs("\xE2\x80\xA6", file);
    if (room >= wanted + 2 + (int32_t)strlen(time)) fprintf(file, "<tspan class=\"t\" dx=\"8\">%s</tspan>", time);
    fputs("</text>", file);
}

static void put_frame(const graph *g, const frame *f, FILE *file)
{
    static const char *const kinds[] = {"all", "scope", "op", "line"};
    double all = g->frames.at[0].nanoseconds, scale = all > 0 ? (WIDTH - 2 * MARGIN) / all : 0;
    double width = f->kind == FRAME_ALL ? WIDTH - 2 * MARGIN : f->nanoseconds * scale;
    if (width < 0.4) return;
    fprintf(file, "<svg class=\"%s", kinds[f->kind]);
    if (f->kind >= FRAME_OP) fprintf(file, " w%d", (int)f->work);
    else if (f->depth == 1) fputs(" level", file);
    fprintf(file, "\" x=\"%.2f\" y=\"%d\" width=\"%.2f\" height=\"%d\">", MARGIN + f->left * scale,
            HEADER + (g->rows - 1 - f->depth) * ROW, width > 2 ? width - 1 : width * 0.8, ROW - 1);
    put_title(g, f, file);
    fprintf(file, "<rect width=\"100%%\" height=\"100%%\"%s/>", width > 6 ? " rx=\"2\"" : "");
    put_label(f, width, file);
    fputs("</svg>\n", file);
}

static void put_head(const graph *g, int32_t height, FILE *file)
{
    fprintf(file, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\">\n<style>\n",
            WIDTH, (int)height, WIDTH, (int)height);
    fputs(".page{fill:#fbfbf9}text{font:11px ui-monospace,'DejaVu Sans Mono','Liberation Mono',monospace;fill:#1d2228}\n"
          ".head{font:600 19px system-ui,'Liberation Sans',Arial,sans-serif}\n"
          ".note{font:13px system-ui,'Liberation Sans',Arial,sans-serif;fill:#5c6670}.t{fill-opacity:.62}\n"
          ".all rect{fill:#c9ced6}.scope rect{fill:#e3e6eb}.level rect{fill:#d3d9e2}\n"
          ".w0 rect,rect.w0{fill:#8ab6e0}.w1 rect,rect.w1{fill:#f4b871}.w2 rect,rect.w2{fill:#ec938c}"
          ".w3 rect,rect.w3{fill:#a7cf98}\n"
          ".line rect{fill-opacity:.5}svg svg:hover>rect{stroke:#1d2228;stroke-width:1.5}\n"
          "@media(prefers-color-scheme:dark){.page{fill:#14171a}.head{fill:#e6e8ea}.note{fill:#a5aeb6}"
          ".line text{fill:#e6e8ea}svg svg:hover>rect{stroke:#fff}}\n</style>\n", file);
    fprintf(file, "<rect class=\"page\" width=\"100%%\" height=\"100%%\"/>\n<text class=\"head\" x=\"%d\" y=\"32\">%.3f ms a run"
            "</text>\n<text class=\"note\" x=\"%d\" y=\"53\">mean of %lld timed %s, %d steps. A frame is as wide as its time: "
            "scopes from below, then op, then line. Point at one for its figures.</text>\n", MARGIN,
            g->frames.at[0].nanoseconds * 1e-6, MARGIN, (long long)g->runs, g->runs == 1 ? "run" : "runs",
            (int)g->frames.at[0].parts);
    double x = MARGIN, all = g->frames.at[0].nanoseconds;
    for (int32_t i = 0; i < HTI_WORKS; i++) {
        char text[80];
        int length = snprintf(text, sizeof text, "%s %.1f %%", hti_work_names[i], all > 0 ? 100 * g->works[i] / all : 0);
        fprintf(file, "<rect class=\"w%d\" x=\"%.0f\" y=\"66\" width=\"12\" height=\"12\" rx=\"2\"/>"
                "<text class=\"note\" x=\"%.0f\" y=\"77\">%s</text>\n", (int)i, x, x + 18, text);
        x += 44 + 6.6 * length;
    }
}

ht_status hti_profile_flame(const ht_program *p, FILE *file, ht_error *error)
{
    graph g = {.rows = 0};
    ht_status status = HT_OK;
    if (build(&g, p)) {
        put_head(&g, HEADER + g.rows * ROW + MARGIN, file);
        for (int32_t i = 0; i < g.frames.count; i++) put_frame(&g, &g.frames.at[i], file);
        fputs("</svg>\n", file);
    } else {
        status = ht_fail(error, HT_ENOMEM, "profile: the system gave no memory for a flame graph");
    }
    free(g.frames.at);
    free(g.order);
    return status;
}
