/*
 * Joins pointwise steps over one space into groups, in one pass over the steps: a step joins the open groups whose results
 * it reads, or one that reads what it reads. A group is closed, and stands where its last member stood or later, as soon
 * as a step outside reads what it makes. So open groups never wait for each other, and each buffer has one writer.
 * A sum over the rows of what a group makes joins it too, so that nothing need be written for it.
 */
#include <stdlib.h>
#include <string.h>

#include "plan/plan.h"

#define OPEN_GROUPS 32
/* A group that gets no new member for so many steps is closed: what it reads would stay in memory. */
#define PATIENCE 64
/* Below so many elements handing out the work costs more than the work: any step of the space may join. */
#define SMALL 4096
/* From so many elements on a step alone is a group too: a group knows how to write what no cache holds. */
#define LARGE 1048576

/* Axes of a value without those of size 1, by descending stride. */
typedef struct space {
    ht_dtype dtype;
    int32_t rank, axis[HT_MAX_RANK];
    int64_t count, dim[HT_MAX_RANK];
} space;

typedef struct open_group {
    space space;
    int32_t members; /* 0: free */
    int32_t step[HTI_GROUP_MEMBERS];
    int32_t sums, sum[HTI_GROUP_SUMS]; /* steps */
    int64_t columns;                   /* of the sums */
    int32_t touched; /* the step at which the last member came */
} open_group;

typedef struct fuser {
    ht_program *program;
    open_group open[OPEN_GROUPS];
    int32_t *maker; /* by buffer: the open group that makes it, or HTI_NOWHERE */
    int32_t *uses;  /* by buffer: how often steps, outputs and commits read it */
    HTI_LIST(hti_step) emitted;
    bool short_of_memory;
} fuser;

/* ---- spaces ---- */

static const hti_value *value_of(const fuser *f, int32_t value) { return &f->program->values.at[value]; }
static const hti_step *step_of(const fuser *f, int32_t step) { return &f->program->steps.at[step]; }

bool hti_in_groups(const ht_program *p, const hti_step *step)
{
    if (!hti_pointwise(step) || step->inputs > HTI_MEMBER_INPUTS) return false;
    const hti_value *out = &p->values.at[step->out];
    if ((out->dtype != HT_F32 && out->dtype != HT_F64) || out->view || ht_shape_count(out->shape) == 0) return false;
    for (int32_t k = 0; k < step->inputs; k++)
        if (p->values.at[step->in[k]].dtype != out->dtype) return false;
    return true;
}

/* False if the step cannot be in a group. */
static bool space_of(const ht_program *p, const hti_step *step, space *s)
{
    if (!hti_in_groups(p, step)) return false;
    const hti_value *out = &p->values.at[step->out];
    *s = (space){.dtype = out->dtype, .count = ht_shape_count(out->shape)};
    for (int32_t k = 0; k < out->shape.rank; k++) {
        if (out->shape.dim[k] == 1) continue;
        int32_t at = s->rank++;
        for (; at > 0 && out->stride[s->axis[at - 1]] < out->stride[k]; at--) s->axis[at] = s->axis[at - 1];
        s->axis[at] = k;
    }
    for (int32_t k = 0; k < s->rank; k++) s->dim[k] = out->shape.dim[s->axis[k]];
    return true;
}

/* Whether the value, of the space's shape, lies there as the results of its groups do. */
static bool dense_in(const space *s, const hti_value *value)
{
    int64_t expected = 1;
    if (value->inside) return false;
    for (int32_t k = s->rank - 1; k >= 0; k--) {
        if (value->stride[s->axis[k]] != expected) return false;
        expected *= s->dim[k];
    }
    return true;
}

int64_t hti_sum_columns(const ht_program *p, const hti_step *step)
{
    if (step->kind != HTI_STEP_OP || step->op->id != HTI_OP_sum_to || !p->backend->group_sum) return 0;
    const hti_value *from = &p->values.at[step->in[0]], *to = &p->values.at[step->out];
    const hti_tensor x = hti_described(from), y = hti_described(to);
    return from->view || to->view ? 0 : p->backend->group_sum(&x, &y);
}

static bool same_space(const space *a, const space *b)
{
    return a->dtype == b->dtype && a->rank == b->rank &&
           memcmp(a->dim, b->dim, (size_t)a->rank * sizeof *a->dim) == 0;
}

/* A value as input along the axes of a space, which are those of its shape. */
static hti_group_input input_in(const space *s, const hti_value *value)
{
    hti_group_input input = {0};
    for (int32_t k = 0; k < s->rank; k++) {
        input.stride[k] = value->stride[s->axis[k]];
        input.first[k] = value->inside ? value->inside->start.dim[s->axis[k]] : 0;
        input.size[k] = value->inside ? value->inside->size.dim[s->axis[k]] : s->dim[k];
    }
    return input;
}

/* ---- the group that is handed to the backend ---- */

typedef struct assembly {
    hti_group *group;
    hti_group_input input[HTI_GROUP_INPUTS]; /* the group gets as many as there are, when they are known */
    int32_t in[HTI_GROUP_INPUTS], *out; /* values */
    int32_t left[HTI_GROUP_MEMBERS]; /* reads of a member's result by members, still to come */
} assembly;

/* The member that makes the buffer, among the first `members`; HTI_NOWHERE if it comes from outside. */
static int32_t member_of(const fuser *f, const open_group *g, int32_t members, int32_t buffer)
{
    for (int32_t m = members - 1; m >= 0; m--)
        if (value_of(f, step_of(f, g->step[m])->out)->buffer == buffer) return m;
    return HTI_NOWHERE;
}

static bool same_input(const hti_group_input *a, const hti_group_input *b)
{
    return memcmp(a->stride, b->stride, sizeof a->stride) == 0 && memcmp(a->first, b->first, sizeof a->first) == 0 &&
           memcmp(a->size, b->size, sizeof a->size) == 0;
}

/* The number of an input, which is added if it is new: one buffer in one form is one input. */
static int32_t input_of(const fuser *f, assembly *a, const space *s, int32_t value)
{
    const hti_group_input input = input_in(s, value_of(f, value));
    int32_t k = 0;
    for (; k < a->group->inputs; k++)
        if (value_of(f, a->in[k])->buffer == value_of(f, value)->buffer &&
            value_of(f, a->in[k])->offset == value_of(f, value)->offset && same_input(&a->input[k], &input))
            return k;
    a->input[k] = input;
    a->in[k] = value;
    a->group->inputs++;
    return k;
}

static void add_member(const fuser *f, assembly *a, const open_group *g, int32_t m)
{
    const hti_step *step = step_of(f, g->step[m]);
    hti_member *member = &a->group->member[m];
    space s;
    (void)space_of(f->program, step, &s);
    *member = (hti_member){.op = step->op, .kernel = step->kernel, .attributes = step->attributes, .inputs = step->inputs};
    for (int32_t k = 0; k < step->inputs; k++) {
        int32_t maker = member_of(f, g, m, value_of(f, step->in[k])->buffer);
        member->source[k] = maker != HTI_NOWHERE ? maker : ~input_of(f, a, &s, step->in[k]);
        if (maker != HTI_NOWHERE) a->left[maker]++;
    }
}

/* How many sums of the group read the buffer: at once, when it is made. */
static int32_t sums_of(const fuser *f, const open_group *g, int32_t buffer)
{
    int32_t count = 0;
    for (int32_t k = 0; k < g->sums; k++) count += value_of(f, step_of(f, g->sum[k])->in[0])->buffer == buffer;
    return count;
}

/* False without memory. */
static bool add_sums(const fuser *f, hti_group *group, const open_group *g, const hti_sum_places **kept)
{
    hti_sum_places *places = hti_arena_array(&f->program->texts, g->sums, sizeof *places);
    group->sum = hti_arena_array(&f->program->texts, g->sums, sizeof *group->sum);
    if (!places || !group->sum) return false;
    group->sums = g->sums;
    group->columns = g->columns;
    for (int32_t k = 0; k < g->sums; k++) {
        const hti_step *step = step_of(f, g->sum[k]);
        group->sum[k].member = member_of(f, g, g->members, value_of(f, step->in[0])->buffer);
        places[k] = (hti_sum_places){step->out, step->scratch};
    }
    *kept = places;
    return true;
}

/* What is read outside becomes an output; the others share registers, one being free after its last reader. */
static void assign_places(const fuser *f, assembly *a, const open_group *g)
{
    uint64_t taken = 0;
    for (int32_t m = 0; m < g->members; m++) {
        hti_member *member = &a->group->member[m];
        const int32_t out = step_of(f, g->step[m])->out;
        for (int32_t k = 0; k < member->inputs; k++) {
            const int32_t source = member->source[k];
            if (source < 0 || --a->left[source] > 0) continue;
            const int32_t place = a->group->member[source].place;
            if (place >= 0) taken &= ~(UINT64_C(1) << place);
        }
        const int32_t buffer = value_of(f, out)->buffer;
        if (f->uses[buffer] > a->left[m] + sums_of(f, g, buffer)) {
            a->out[a->group->outputs] = out;
            a->group->output[a->group->outputs].row = a->group->output[a->group->outputs].step = a->group->count;
            member->place = ~a->group->outputs++;
            continue;
        }
        while (taken >> member->place & 1u) member->place++;
        taken |= UINT64_C(1) << member->place;
        if (member->place >= a->group->registers) a->group->registers = member->place + 1;
    }
}

static bool assemble(fuser *f, const open_group *g, hti_step *step)
{
    hti_arena *texts = &f->program->texts;
    assembly a;
    a.group = hti_arena_take(texts, sizeof *a.group);
    a.out = hti_arena_array(texts, g->members, sizeof *a.out);
    memset(a.left, 0, sizeof a.left);
    if (!a.group || !a.out) return false;
    *a.group = (hti_group){.dtype = g->space.dtype, .rank = g->space.rank, .members = g->members, .count = g->space.count,
                           .member = hti_arena_array(texts, g->members, sizeof(hti_member)),
                           .output = hti_arena_array(texts, g->members, sizeof(hti_group_output))};
    if (!a.group->member || !a.group->output) return false;
    memcpy(a.group->dim, g->space.dim, sizeof a.group->dim);
    int32_t recomputed = 0;
    for (int32_t m = 0; m < g->members; m++) {
        add_member(f, &a, g, m);
        recomputed += step_of(f, g->step[m])->recomputed;
    }
    assign_places(f, &a, g);
    int32_t *in = hti_arena_array(texts, a.group->inputs, sizeof *in);
    a.group->input = hti_arena_array(texts, a.group->inputs, sizeof *a.input);
    if (!in || !a.group->input) return false;
    memcpy(in, a.in, (size_t)a.group->inputs * sizeof *in);
    memcpy(a.group->input, a.input, (size_t)a.group->inputs * sizeof *a.input);
    const hti_sum_places *sums = NULL;
    if (!add_sums(f, a.group, g, &sums)) return false;
    for (int32_t k = 0; k < g->sums; k++) recomputed += step_of(f, g->sum[k])->recomputed;
    const hti_step *first = step_of(f, g->step[0]);
    *step = (hti_step){.kind = HTI_STEP_GROUP, .op = first->op, .where = first->where, .scope = first->scope,
                       .inputs = a.group->inputs, .in = in, .out = HTI_NOWHERE, .scratch = HTI_NOWHERE,
                       .packed = HTI_NOWHERE, .packed_for = {HTI_NOWHERE, HTI_NOWHERE, HTI_NOWHERE},
                       .group = a.group, .group_out = a.out, .sums = sums, .recomputed = recomputed};
    f->program->facts.groups += g->members + g->sums > 1;
    return true;
}

/* ---- open groups ---- */

static void emit(fuser *f, const hti_step *step)
{
    hti_step *to = HTI_PUSH(f->emitted);
    if (to) *to = *step;
    else f->short_of_memory = true;
}

/* Kernels of single ops know nothing of parts, and of zeros around what they read. */
static bool reads_part(const fuser *f, const hti_step *step)
{
    bool any = false;
    for (int32_t k = 0; k < step->inputs; k++) any = any || value_of(f, step->in[k])->inside;
    return any;
}

static void close_group(fuser *f, int32_t index)
{
    open_group *g = &f->open[index];
    for (int32_t m = 0; m < g->members; m++) f->maker[value_of(f, step_of(f, g->step[m])->out)->buffer] = HTI_NOWHERE;
    for (int32_t k = 0; k < g->sums; k++) f->maker[value_of(f, step_of(f, g->sum[k])->out)->buffer] = HTI_NOWHERE;
    const bool alone = g->members == 1 && g->sums == 0 && g->space.count < LARGE && !reads_part(f, step_of(f, g->step[0]));
    hti_step group;
    f->short_of_memory = f->short_of_memory || (!alone && !assemble(f, g, &group));
    if (!f->short_of_memory) emit(f, alone ? step_of(f, g->step[0]) : &group);
    g->members = g->sums = 0;
}

/* Values from outside that groups would read together with one more step; as inputs of a group they are no more. */
static int32_t outside_values(const fuser *f, int32_t one, int32_t other, const hti_step *step)
{
    int32_t values[(2 * HTI_GROUP_MEMBERS + 1) * HTI_MEMBER_INPUTS], count = 0;
    const int32_t first = f->open[one].members, both = first + (other == HTI_NOWHERE ? 0 : f->open[other].members);
    for (int32_t m = 0; m <= both; m++) {
        const hti_step *at = m < first  ? step_of(f, f->open[one].step[m])
                             : m < both ? step_of(f, f->open[other].step[m - first])
                                        : step;
        for (int32_t k = 0; k < at->inputs; k++) {
            const int32_t maker = f->maker[value_of(f, at->in[k])->buffer];
            int32_t i = 0;
            if (maker != HTI_NOWHERE && (maker == one || maker == other)) continue;
            while (i < count && values[i] != at->in[k]) i++;
            if (i == count) values[count++] = at->in[k];
        }
    }
    return count;
}

static bool has_room(const fuser *f, int32_t one, int32_t other, const hti_step *step)
{
    const open_group *a = &f->open[one], *b = other == HTI_NOWHERE ? NULL : &f->open[other];
    if (b && (a->sums + b->sums > HTI_GROUP_SUMS || (a->sums > 0 && b->sums > 0 && a->columns != b->columns))) return false;
    return a->members + (b ? b->members : 0) < HTI_GROUP_MEMBERS &&
           outside_values(f, one, other, step) <= HTI_GROUP_INPUTS;
}

/* Open groups do not wait for each other, so the members of one may follow those of the other. */
static void merge_groups(fuser *f, int32_t into, int32_t from)
{
    open_group *g = &f->open[into], *other = &f->open[from];
    for (int32_t m = 0; m < other->members; m++) {
        f->maker[value_of(f, step_of(f, other->step[m])->out)->buffer] = into;
        g->step[g->members++] = other->step[m];
    }
    for (int32_t k = 0; k < other->sums; k++) {
        f->maker[value_of(f, step_of(f, other->sum[k])->out)->buffer] = into;
        g->sum[g->sums++] = other->sum[k];
        g->columns = other->columns;
    }
    other->members = other->sums = 0;
}

/* The open group that the step must join, since it reads its results; those that it cannot join are closed. */
static int32_t join_makers(fuser *f, const hti_step *step, const space *s)
{
    int32_t target = HTI_NOWHERE;
    for (int32_t k = 0; k < step->inputs; k++) {
        const hti_value *value = value_of(f, step->in[k]);
        const int32_t maker = f->maker[value->buffer];
        if (maker == HTI_NOWHERE || hti_reads_packed(step, k)) continue;
        open_group *g = &f->open[maker];
        const bool fits = s && same_space(s, &g->space) && dense_in(s, value);
        if (fits && maker == target) continue;
        if (fits && target == HTI_NOWHERE && has_room(f, maker, HTI_NOWHERE, step)) {
            target = maker;
        } else if (fits && target != HTI_NOWHERE && has_room(f, target, maker, step)) {
            merge_groups(f, target, maker);
        } else {
            close_group(f, maker);
            if (maker == target) target = HTI_NOWHERE;
        }
    }
    return target;
}

static bool shares_input(const fuser *f, const open_group *g, const space *s, const hti_step *step)
{
    for (int32_t k = 0; k < step->inputs; k++) {
        if (!dense_in(s, value_of(f, step->in[k]))) continue;
        for (int32_t m = 0; m < g->members; m++)
            for (int32_t i = 0; i < step_of(f, g->step[m])->inputs; i++)
                if (value_of(f, step_of(f, g->step[m])->in[i])->buffer == value_of(f, step->in[k])->buffer) return true;
    }
    return false;
}

/* An open group that the step may join, or a new one. */
static int32_t find_group(fuser *f, const hti_step *step, const space *s)
{
    int32_t oldest = 0;
    for (int32_t i = 0; i < OPEN_GROUPS; i++) {
        const open_group *g = &f->open[i];
        if (g->members > 0 && same_space(&g->space, s) && (s->count <= SMALL || shares_input(f, g, s, step)) &&
            has_room(f, i, HTI_NOWHERE, step))
            return i;
        if (f->open[oldest].members > 0 && (g->members == 0 || g->touched < f->open[oldest].touched)) oldest = i;
    }
    if (f->open[oldest].members > 0) close_group(f, oldest);
    f->open[oldest].space = *s;
    return oldest;
}

/* A sum over the rows of what an open group makes becomes a part of it; false if the step is none. */
static bool take_sum(fuser *f, int32_t index)
{
    const hti_step *step = step_of(f, index);
    const int64_t columns = hti_sum_columns(f->program, step);
    if (columns == 0) return false;
    const hti_value *from = value_of(f, step->in[0]), *to = value_of(f, step->out);
    const int32_t maker = f->maker[from->buffer];
    if (maker == HTI_NOWHERE) return false;
    open_group *g = &f->open[maker];
    if (g->sums == HTI_GROUP_SUMS || member_of(f, g, g->members, from->buffer) == HTI_NOWHERE ||
        ht_shape_count(from->shape) != g->space.count || from->dtype != g->space.dtype)
        return false;
    if (g->sums > 0 && g->columns != columns) return false;
    g->sum[g->sums++] = index;
    g->columns = columns;
    g->touched = index;
    f->maker[to->buffer] = maker;
    return true;
}

static void take_step(fuser *f, int32_t index)
{
    const hti_step *step = step_of(f, index);
    space s;
    for (int32_t i = 0; i < OPEN_GROUPS; i++)
        if (f->open[i].members > 0 && index - f->open[i].touched > PATIENCE) close_group(f, i);
    if (take_sum(f, index)) return;
    if (!space_of(f->program, step, &s)) {
        join_makers(f, step, NULL);
        emit(f, step);
        return;
    }
    int32_t target = join_makers(f, step, &s);
    if (target == HTI_NOWHERE) target = find_group(f, step, &s);
    open_group *g = &f->open[target];
    g->step[g->members++] = index;
    g->touched = index;
    f->maker[value_of(f, step->out)->buffer] = target;
}

static void count_uses(fuser *f)
{
    const ht_program *p = f->program;
    for (int32_t s = 0; s < p->steps.count; s++)
        for (int32_t k = 0; k < step_of(f, s)->inputs; k++)
            f->uses[value_of(f, step_of(f, s)->in[k])->buffer] += !hti_reads_packed(step_of(f, s), k);
    for (int32_t i = 0; i < p->outputs; i++) f->uses[value_of(f, p->output_values[i])->buffer]++;
    for (int32_t i = 0; i < p->commits.count; i++) f->uses[value_of(f, p->commits.at[i].value)->buffer]++;
}

ht_status hti_plan_fuse(ht_program *p, ht_error *error)
{
    if (!p->backend->run_group || p->check) return HT_OK;
    const size_t buffers = (size_t)p->buffers.count + 1;
    fuser *f = calloc(1, sizeof *f);
    if (!f) return ht_fail(error, HT_ENOMEM, "plan: the system gave no memory for the plan");
    *f = (fuser){.program = p, .maker = malloc(buffers * sizeof *f->maker), .uses = calloc(buffers, sizeof *f->uses)};
    f->short_of_memory = !f->maker || !f->uses;
    for (size_t i = 0; i < buffers && f->maker; i++) f->maker[i] = HTI_NOWHERE;
    if (!f->short_of_memory) count_uses(f);
    for (int32_t s = 0; s < p->steps.count && !f->short_of_memory; s++) take_step(f, s);
    for (int32_t i = 0; i < OPEN_GROUPS && !f->short_of_memory; i++)
        if (f->open[i].members > 0) close_group(f, i);
    const bool fits = !f->short_of_memory;
    if (fits) {
        p->facts.fused += p->steps.count - f->emitted.count + p->facts.groups;
        free(p->steps.at);
        p->steps.at = f->emitted.at;
        p->steps.count = f->emitted.count;
        p->steps.room = f->emitted.room;
    } else {
        free(f->emitted.at);
    }
    free(f->maker);
    free(f->uses);
    free(f);
    return fits ? HT_OK : ht_fail(error, HT_ENOMEM, "plan: the system gave no memory for the plan");
}
