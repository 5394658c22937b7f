/* Looking at a program: its steps as text. Where the time of its runs went: profile.c. */
#include "plan/profile.h"

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
    for (int32_t k = 0; k < group->sums; k++) {
        const int32_t value = step->sums[k].value;
        fprintf(file, "         sum of m%d over rows of %lld -> v%d at %zu\n", (int)group->sum[k].member,
                (long long)group->columns, (int)value, p->buffers.at[p->values.at[value].buffer].offset);
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
        if (hti_algorithm(step)) fprintf(file, "  by %s", hti_algorithm(step));
        if (*step->scope) fprintf(file, "  in %s", step->scope);
        if (step->group) fprintf(file, " of %d, %lld each", (int)step->group->members, (long long)step->group->count);
        if (step->recomputed > 0 && step->group) fprintf(file, ", %d recomputed", (int)step->recomputed);
        else if (step->recomputed > 0) fprintf(file, "  recomputed");
        fprintf(file, "  @ %s\n", step->where);
        if (step->group) dump_group(p, step, file);
    }
    for (int32_t i = 0; i < p->commits.count; i++)
        fprintf(file, "commit \"%s\" <- v%d%s\n", ht_store_name(p->commits.at[i].store, p->commits.at[i].index),
                (int)p->commits.at[i].value, p->commits.at[i].in_place ? " in place" : "");
}
