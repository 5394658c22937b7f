/* Looking at a program: its steps as text, and where the time of its runs went. */
#include <stdlib.h>
#include <string.h>

#include "plan/plan.h"

const char *hti_step_name(const hti_step *step)
{
    if (step->kind == HTI_STEP_COPY) return "reorder";
    if (step->kind == HTI_STEP_GROUP) return "fused";
    return step->kind == HTI_STEP_PACK ? "pack" : step->op->name;
}

static const char *order_name(const hti_value *value)
{
    if (value->view) return "view";
    if (hti_orders_agree(value->shape)) return "dense";
    return value->order == HTI_LAST ? "channels-last" : "row-major";
}

/* The members below the step's line: m for results that stay within, v for values. */
static void dump_group(const ht_program *p, const hti_step *step, FILE *file)
{
    const hti_group *group = step->group;
    for (int32_t m = 0; m < group->members; m++) {
        const hti_member *member = &group->member[m];
        fprintf(file, "         m%-3d %s", (int)m, member->op->name);
        for (int32_t k = 0; k < member->inputs; k++) {
            int32_t source = member->source[k];
            if (source >= 0) fprintf(file, "%s m%d", k ? "," : "", (int)source);
            else fprintf(file, "%s v%d", k ? "," : "", (int)step->in[~source]);
        }
        if (member->place < 0) {
            int32_t value = step->group_out[~member->place];
            fprintf(file, " -> v%d at %zu", (int)value, p->buffers.at[p->values.at[value].buffer].offset);
        }
        fprintf(file, "\n");
    }
}

void ht_program_dump(const ht_program *p, FILE *file)
{
    char text[HT_SHAPE_TEXT];
    for (int32_t s = 0; s < p->steps.count; s++) {
        const hti_step *step = &p->steps.at[s];
        fprintf(file, "%5d  %s", (int)s, hti_step_name(step));
        for (int32_t k = 0; k < step->inputs; k++) fprintf(file, "%s v%d", k ? "," : "", (int)step->in[k]);
        if (step->out != HTI_NOWHERE) {
            const hti_value *value = &p->values.at[step->out];
            const hti_buffer *buffer = &p->buffers.at[value->buffer];
            fprintf(file, " -> v%d %s %s %s at %zu", (int)step->out, ht_dtype_name(value->dtype),
                    ht_shape_text(value->shape, text), order_name(value), buffer->offset);
        }
        if (step->choice.algorithm) fprintf(file, "  by %s", step->choice.algorithm);
        if (*step->scope) fprintf(file, "  in %s", step->scope);
        if (step->group) fprintf(file, " of %d, %lld each", (int)step->group->members, (long long)step->group->count);
        if (step->recomputed > 0 && step->group) fprintf(file, ", %d recomputed", (int)step->recomputed);
        else if (step->recomputed > 0) fprintf(file, "  recomputed");
        fprintf(file, "  @ %s\n", step->where);
        if (step->group) dump_group(p, step, file);
    }
    for (int32_t i = 0; i < p->commits.count; i++)
        fprintf(file, "commit \"%s\" <- v%d\n", ht_store_name(p->commits.at[i].store, p->commits.at[i].index),
                (int)p->commits.at[i].value);
}

typedef struct share {
    const char *name;
    double nanoseconds;
    int32_t steps;
} share;

static int by_time(const void *a, const void *b)
{
    double x = ((const share *)a)->nanoseconds, y = ((const share *)b)->nanoseconds;
    return x < y ? 1 : x > y ? -1 : 0;
}

void ht_profile(const ht_program *p, FILE *file)
{
    share shares[HTI_OPS + 3];
    int32_t count = 0;
    double total = 0, again = 0;
    for (int32_t s = 0; s < p->steps.count; s++) {
        const hti_step *step = &p->steps.at[s];
        int32_t i = 0;
        while (i < count && strcmp(shares[i].name, hti_step_name(step)) != 0) i++;
        if (i == count) shares[count++] = (share){hti_step_name(step), 0, 0};
        shares[i].nanoseconds += step->nanoseconds;
        shares[i].steps++;
        total += step->nanoseconds;
        again += step->nanoseconds * step->recomputed / (step->group ? step->group->members : 1);
    }
    qsort(shares, (size_t)count, sizeof *shares, by_time);
    double runs = p->runs > 0 ? (double)p->runs : 1;
    fprintf(file, "%-16s %8s %12s %7s\n", "op", "steps", "ms per run", "share");
    for (int32_t i = 0; i < count; i++)
        fprintf(file, "%-16s %8d %12.3f %6.1f%%\n", shares[i].name, (int)shares[i].steps,
                shares[i].nanoseconds * 1e-6 / runs, total > 0 ? 100 * shares[i].nanoseconds / total : 0);
    fprintf(file, "%-16s %8d %12.3f\n", "all", (int)p->steps.count, total * 1e-6 / runs);
    if (p->facts.recomputed > 0) /* a group's time goes by the number of its members */
        fprintf(file, "%-16s %8lld %12.3f %6.1f%%\n", "recomputed", (long long)p->facts.recomputed, again * 1e-6 / runs,
                total > 0 ? 100 * again / total : 0);
}
