/*
 * A plan within a limit of memory. The arena that fusing and layout give is what counts, not an estimate: plans are tried
 * with budgets for recompute.c, which walks the steps before they are fused, until an arena keeps the limit narrowly. If
 * none keeps it, the smallest arena that was reached is described.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plan/plan.h"

/* Plans that are tried. */
#define TRIALS 12
/* Budgets closer than one part in so many are alike, and an arena that near to the limit is good. */
#define FINENESS 64
/* Values that a refusal names. */
#define NAMED 3

/* What fusing, layout and recomputing change. */
typedef struct snapshot {
    hti_step *steps;
    hti_value *values;
    hti_buffer *buffers;
    int32_t *outputs, *commits;
    int32_t step_count, value_count, buffer_count;
    ht_program_facts facts;
    bool *inner; /* by buffer: it takes no memory of the arena once steps are fused and stores written in place */
} snapshot;

typedef struct search {
    ht_program *p;
    const snapshot *before;
    size_t limit;
    size_t too_small, too_large; /* budgets that left a step without room; that gave an arena over the limit */
    size_t best, least;          /* budgets: of the least work within the limit, and of the smallest arena; 0: none */
    double best_work;
    size_t least_arena, tried;   /* tried: the budget of the plan that the program holds */
    bool tried_fits;
} search;

/* ---- a state that trials start from ---- */

static void *copied(const void *from, int32_t count, size_t each)
{
    void *to = calloc((size_t)count + 1, each);
    if (to && count > 0) memcpy(to, from, (size_t)count * each);
    return to;
}

static void forget(snapshot *s)
{
    free(s->steps);
    free(s->values);
    free(s->buffers);
    free(s->outputs);
    free(s->commits);
    free(s->inner);
}

static bool remember(snapshot *s, const ht_program *p)
{
    *s = (snapshot){.steps = copied(p->steps.at, p->steps.count, sizeof *s->steps),
                    .values = copied(p->values.at, p->values.count, sizeof *s->values),
                    .buffers = copied(p->buffers.at, p->buffers.count, sizeof *s->buffers),
                    .outputs = copied(p->output_values, p->outputs, sizeof *s->outputs),
                    .commits = calloc((size_t)p->commits.count + 1, sizeof *s->commits),
                    .inner = calloc((size_t)p->buffers.count + 1, sizeof *s->inner),
                    .step_count = p->steps.count, .value_count = p->values.count, .buffer_count = p->buffers.count,
                    .facts = p->facts};
    for (int32_t i = 0; s->commits && i < p->commits.count; i++) s->commits[i] = p->commits.at[i].value;
    return s->steps && s->values && s->buffers && s->outputs && s->commits && s->inner;
}

static bool restore(ht_program *p, const snapshot *s)
{
    hti_step *steps = copied(s->steps, s->step_count, sizeof *steps);
    if (!steps) return false;
    free(p->steps.at);
    p->steps.at = steps;
    p->steps.count = p->steps.room = s->step_count;
    p->values.count = s->value_count;
    memcpy(p->values.at, s->values, (size_t)s->value_count * sizeof *s->values);
    p->buffers.count = s->buffer_count;
    memcpy(p->buffers.at, s->buffers, (size_t)s->buffer_count * sizeof *s->buffers);
    if (p->outputs > 0) memcpy(p->output_values, s->outputs, (size_t)p->outputs * sizeof *s->outputs);
    for (int32_t i = 0; i < p->commits.count; i++) {
        p->commits.at[i].value = s->commits[i];
        p->commits.at[i].in_place = false;
    }
    p->commit_section = s->step_count;
    p->facts = s->facts;
    return true;
}

/* Buffers of the arena that only steps without a result of their own would write: registers of groups. */
static void find_inner(const ht_program *p, snapshot *s)
{
    for (int32_t i = 0; i < s->step_count; i++)
        if (s->steps[i].out != HTI_NOWHERE) s->inner[s->values[s->steps[i].out].buffer] = true;
    for (int32_t i = 0; i < p->steps.count; i++) {
        const hti_step *step = &p->steps.at[i];
        if (step->out != HTI_NOWHERE) s->inner[p->values.at[step->out].buffer] = false;
        for (int32_t k = 0; step->group && k < step->group->outputs; k++)
            s->inner[p->values.at[step->group_out[k]].buffer] = false;
        for (int32_t k = 0; step->group && k < step->group->sums; k++)
            s->inner[p->values.at[step->sums[k].value].buffer] = false;
    }
}

/* Updates that are written over their stores: those buffers are the stores' memory. */
static void find_in_place(const ht_program *p, snapshot *s)
{
    for (int32_t i = 0; i < p->commits.count; i++)
        if (p->commits.at[i].in_place) s->inner[p->values.at[p->commits.at[i].value].buffer] = true;
}

/* ---- trials ---- */

static ht_status try_budget(search *s, size_t budget, hti_recomputation *found, ht_error *error)
{
    ht_program *p = s->p;
    const hti_arena kept = p->texts;
    s->tried = budget;
    hti_arena_free(&p->trial);
    if (!restore(p, s->before)) return ht_fail(error, HT_ENOMEM, "plan: the system gave no memory for the plan");
    p->texts = (hti_arena){0};
    ht_status status = hti_plan_recompute(p, s->before->inner, budget, found, error);
    if (status == HT_OK && found->fits) {
        p->facts.recomputed = found->steps;
        p->facts.recomputed_flop += found->flop;
        status = hti_plan_fuse(p, error);
        if (status == HT_OK) status = hti_plan_offsets(p, error);
    }
    p->trial = p->texts;
    p->texts = kept;
    s->tried_fits = found->fits;
    return status;
}

static void judge(search *s, const hti_recomputation *found)
{
    const size_t arena = s->p->facts.arena_bytes;
    if (!found->fits) {
        if (s->tried > s->too_small) s->too_small = s->tried;
        return;
    }
    if (s->least == 0 || arena < s->least_arena) {
        s->least = s->tried;
        s->least_arena = arena;
    }
    if (arena > s->limit) {
        if (s->tried < s->too_large) s->too_large = s->tried;
    } else if (s->best == 0 || found->work < s->best_work || (found->work == s->best_work && s->tried > s->best)) {
        s->best = s->tried;
        s->best_work = found->work;
    }
}

/* The budget to try next; 0: none that could say more. */
static size_t next_budget(const search *s)
{
    const size_t arena = s->p->facts.arena_bytes;
    const size_t low = s->best > s->too_small ? s->best : s->too_small, high = s->too_large;
    const bool keeps = s->tried_fits && arena <= s->limit;
    if (high <= low || high - low <= high / FINENESS || (keeps && s->limit - arena <= s->limit / FINENESS)) return 0;
    size_t guess = low + (high - low) / 2;
    if (s->tried_fits) { /* the arena follows the budget */
        const double ratio = 0.995 * (double)s->limit / (double)arena;
        const double scaled = (double)s->tried * ratio;
        if (scaled > (double)low && scaled < (double)high) guess = (size_t)scaled;
        else if (keeps) return 0;
    }
    return guess > low && guess < high ? guess : 0;
}

/* ---- a refusal ---- */

#define SIZE_TEXT 32

/* Rounded up: a limit of so much is no smaller. */
static const char *size_text(size_t bytes, char text[SIZE_TEXT])
{
    if (bytes < 100000) snprintf(text, SIZE_TEXT, "%zu bytes", bytes);
    else if (bytes < 10000000) snprintf(text, SIZE_TEXT, "%zu kB", (bytes + 999) / 1000);
    else if (bytes < 10000000000) snprintf(text, SIZE_TEXT, "%.1f MB", (double)((bytes + 99999) / 100000) * 0.1);
    else snprintf(text, SIZE_TEXT, "%.1f GB", (double)((bytes + 99999999) / 100000000) * 0.1);
    return text;
}

static bool lives(const hti_buffer *buffer, int32_t step)
{
    return !buffer->fixed && buffer->first != HTI_NOWHERE && buffer->first <= step && step <= buffer->last;
}

static ht_status refuse(const ht_program *p, size_t limit, ht_error *error)
{
    int32_t named[NAMED], count = 0, peak;
    size_t live;
    if (hti_plan_peak(p, &peak, &live, error) != HT_OK) return error->status;
    const hti_step *step = &p->steps.at[peak];
    char largest[256] = "", size[SIZE_TEXT];
    for (int32_t i = 0; i < p->buffers.count; i++) {
        int32_t at = count;
        if (!lives(&p->buffers.at[i], peak) || p->buffers.at[i].bytes == 0) continue;
        while (at > 0 && p->buffers.at[named[at - 1]].bytes < p->buffers.at[i].bytes) at--;
        if (at == NAMED) continue;
        count += count < NAMED;
        memmove(&named[at + 1], &named[at], (size_t)(count - 1 - at) * sizeof *named);
        named[at] = i;
    }
    for (int32_t n = 0; n < count; n++) {
        const hti_buffer *buffer = &p->buffers.at[named[n]];
        const hti_step *maker = &p->steps.at[buffer->first];
        const size_t used = strlen(largest);
        snprintf(largest + used, sizeof largest - used, "%s%s \"%.32s\" %s", n ? ", " : "", hti_step_name(maker), maker->scope,
                 size_text(buffer->bytes, size));
    }
    char needed[SIZE_TEXT], given[SIZE_TEXT];
    return ht_fail(error, HT_ENOMEM, "program: needs %s by a plan that computes much again; the limit is %s; "
                   "the peak is at %.70s: %s \"%.40s\"; the largest there: %.200s; raise the limit, or take a smaller "
                   "batch or image",
                   size_text(p->facts.arena_bytes, needed), size_text(limit, given), step->where, hti_step_name(step),
                   step->scope, largest);
}

/* ---- the search ---- */

static ht_status try_budgets(search *s, size_t budget, ht_error *error)
{
    hti_recomputation found;
    for (int32_t trial = 0; trial < TRIALS && budget > 0; trial++) {
        if (try_budget(s, budget, &found, error) != HT_OK) return error->status;
        judge(s, &found);
        budget = next_budget(s);
    }
    return HT_OK;
}

static ht_status find_budget(search *s, ht_error *error)
{
    hti_recomputation found;
    search any = *s; /* for the smallest arena, by the same trials whatever the limit: what a refusal names can be kept */
    any.limit = 0;
    ht_status status = try_budgets(s, s->limit, error);
    if (status == HT_OK && s->best == 0) {
        status = try_budgets(&any, any.too_large / 2, error);
        s->tried = any.tried;
        s->least = any.least;
        if (any.least > 0 && any.least_arena <= s->limit) s->best = any.least;
    }
    const size_t budget = s->best > 0 ? s->best : s->least > 0 ? s->least : SIZE_MAX; /* SIZE_MAX: nothing is computed again */
    return status == HT_OK && budget != s->tried ? try_budget(s, budget, &found, error) : status;
}

ht_status hti_plan_within(ht_program *p, size_t limit, ht_error *error)
{
    snapshot before = {0};
    ht_status status = HT_OK;
    if (limit > 0 && !remember(&before, p)) status = ht_fail(error, HT_ENOMEM, "plan: the system gave no memory for the plan");
    if (status == HT_OK) status = hti_plan_fuse(p, error);
    if (status == HT_OK && limit > 0) find_inner(p, &before);
    if (status == HT_OK) status = hti_plan_offsets(p, error);
    if (status == HT_OK && limit > 0) find_in_place(p, &before);
    if (status == HT_OK && limit > 0 && p->facts.arena_bytes > limit) {
        search s = {.p = p, .before = &before, .limit = limit, .too_large = p->facts.arena_bytes + 1};
        status = find_budget(&s, error);
        if (status == HT_OK && s.best == 0) status = refuse(p, limit, error);
    }
    forget(&before);
    return status;
}
