/*
 * The derivative phase by phase, from the last one down. What phases end with are leaves here: one whose end has the
 * cotangent v hands it on, by the rule of each edge, to what its loss sees. So every edge may have another method.
 * Symbolic zeros (constants of zero, as VJP gives them) are left out, and show what no path reaches.
 */
#include "internal.h"
#include "tape/tape_internal.h"

bool mlo_is_zero(ht_var x)
{
    return hti_is(x, HTI_OP_fill) && ((const hti_fill_attributes *)hti_node_of(x)->attributes)->value == 0;
}

const mlo_phase *mlo_phase_of(const mlo_walk *walk, int32_t p) { return walk->r->phases[walk->since + p]; }

/* List k of the walk as phase p depends on it: later ones are none, nor are those of its own level. */
static ht_vars list_of(const mlo_walk *walk, int32_t k, int32_t p)
{
    ht_vars none = {0};
    if (k == walk->count) return walk->target;
    if (k > walk->count) return walk->held;
    if (k >= p || (p < walk->count && mlo_phase_of(walk, k)->level == mlo_phase_of(walk, p)->level)) return none;
    return mlo_phase_of(walk, k)->end;
}

/* The level that list k belongs to. */
static int32_t level_of(const mlo_walk *walk, int32_t k)
{
    return k < walk->count ? mlo_phase_of(walk, k)->level : walk->level;
}

/* Of the edge from list k to phase p. */
static mlo_rule rule_from(const mlo_walk *walk, int32_t p, int32_t k)
{
    return mlo_rule_of(walk->r, mlo_phase_of(walk, p)->level, level_of(walk, k));
}

ht_vars mlo_leaves(const mlo_walk *walk, int32_t p)
{
    ht_vars all = {0};
    for (int32_t k = 0; k < walk->count + 2; k++) {
        ht_vars list = list_of(walk, k, p);
        if (list.count > 0) all = all.count > 0 ? ht_vars_join(all, list) : list;
    }
    return all;
}

/* sum + weight part, symbolic zeros left out; part where there is no sum. */
static ht_var add_one(ht_var sum, ht_var part, ht_var weight, const char *where)
{
    if (mlo_is_zero(part)) return ht_ok(sum) ? sum : part;
    if (ht_ok(weight)) part = ht_mul_(part, weight, where);
    return !ht_ok(sum) || mlo_is_zero(sum) ? part : ht_add_(sum, part, where);
}

/* Adds to a list, which is as long as `named`, weight times the found values from `first` on. */
static void add_list(const mlo_walk *walk, ht_vars *to, ht_vars named, const ht_var *found, ht_var weight)
{
    const mlo_args *a = &walk->r->args;
    ht_var *sum = hti_arena_array(&a->tape->arena, named.count, sizeof *sum);
    if (!sum) {
        ht_tape_fail(a->tape, a->where, HT_ENOMEM, "mlo: the system gave no memory");
        return;
    }
    for (int32_t m = 0; m < named.count; m++)
        sum[m] = add_one(to->count > 0 ? to->at[m] : (ht_var){0}, found[m], weight, a->where);
    *to = (ht_vars){sum, named.names, named.count};
}

void mlo_add_found(mlo_walk *walk, int32_t p, ht_vars found, ht_var weight, int32_t group)
{
    for (int32_t k = 0, at = 0; k < walk->count + 2; k++) {
        ht_vars list = list_of(walk, k, p);
        if (list.count == 0 || at + list.count > found.count) continue;
        if (walk->group[k] == group) add_list(walk, &walk->cotangent[k], list, found.at + at, weight);
        at += list.count;
    }
}

void mlo_add_chain(mlo_walk *walk, int32_t p, ht_vars part)
{
    int32_t k = mlo_phase_of(walk, p)->previous - walk->since;
    if (k < 0 || part.count == 0 || walk->chained == p) return; /* two groups of edges may both go by steps */
    walk->chained = p;
    add_list(walk, &walk->chain[k], part, part.at, (ht_var){0});
}

/* By the recorded steps, to others and to what the phase began with. */
static void exact_rule(mlo_walk *walk, int32_t p, ht_vars v, int32_t group)
{
    const mlo_phase *phase = mlo_phase_of(walk, p);
    ht_vars others = mlo_leaves(walk, p), begin = phase->seen[phase->level], leaves = others;
    bool chained = phase->previous >= walk->since;
    if (chained) leaves = ht_vars_join(others, begin);
    ht_vars found = ht_vjp_(phase->end, v, leaves, walk->r->args.where);
    if (found.count < leaves.count) return;
    mlo_add_found(walk, p, found, (ht_var){0}, group);
    if (chained) mlo_add_chain(walk, p, ht_vars_new(walk->r->args.tape, found.at + others.count, begin.names, begin.count));
}

static bool live(ht_vars v)
{
    for (int32_t k = 0; k < v.count; k++)
        if (!mlo_is_zero(v.at[k])) return true;
    return false;
}

static bool same(mlo_rule a, mlo_rule b)
{
    return a.solver == b.solver && a.solver_steps == b.solver_steps && a.solver_rate == b.solver_rate && a.damping == b.damping;
}

/* Lists whose edges to this phase have one rule form a group, named after the first of them. */
static void group_lists(mlo_walk *walk, int32_t p)
{
    for (int32_t k = 0; k < walk->count + 2; k++) {
        walk->group[k] = -1;
        if (list_of(walk, k, p).count == 0) continue;
        walk->group[k] = k;
        for (int32_t m = k - 1; m >= 0; m--)
            if (walk->group[m] == m && same(rule_from(walk, p, k), rule_from(walk, p, m))) walk->group[k] = m;
    }
}

static void pass(mlo_walk *walk, int32_t p)
{
    ht_vars outside = walk->cotangent[p], stepped = outside;
    if (live(walk->chain[p])) add_list(walk, &stepped, walk->chain[p], walk->chain[p].at, (ht_var){0});
    group_lists(walk, p);
    for (int32_t k = 0; k < walk->count + 2; k++) {
        if (walk->group[k] != k) continue;
        mlo_rule rule = rule_from(walk, p, k);
        ht_vars v = rule.solver >= MLO_CG ? outside : stepped;
        if (!live(v)) continue;
        if (rule.solver >= MLO_CG) mlo_implicit_rule(walk, p, v, k, &rule);
        else if (rule.solver == MLO_DIFFERENCE) mlo_difference_rule(walk, p, v, k);
        else exact_rule(walk, p, v, k);
    }
}

static bool begin(mlo_walk *walk)
{
    mlo_recording *r = walk->r;
    int32_t lists = walk->count + 2;
    walk->cotangent = hti_arena_array(&r->args.tape->arena, lists, sizeof *walk->cotangent);
    walk->chain = hti_arena_array(&r->args.tape->arena, lists, sizeof *walk->chain);
    walk->group = hti_arena_array(&r->args.tape->arena, lists, sizeof *walk->group);
    if (!walk->cotangent || !walk->chain || !walk->group) {
        ht_tape_fail(r->args.tape, r->args.where, HT_ENOMEM, "mlo: the system gave no memory");
        return false;
    }
    for (int32_t k = 0; k < lists; k++) {
        walk->cotangent[k] = walk->chain[k] = (ht_vars){0};
        walk->group[k] = 0;
    }
    return true;
}

ht_vars mlo_walk_phases(mlo_recording *r, int32_t level, ht_var loss, ht_vars target, int32_t since, uint32_t levels)
{
    ht_vars none = {0};
    ht_tape *tape = r->args.tape;
    bool last = level == r->args.count - 1;
    mlo_walk walk = {.r = r, .level = level, .target = target, .held = last ? r->held : none, .since = since,
                     .count = r->phase_count - since, .chained = -1};
    if (!ht_ok(loss) || !begin(&walk)) return none;
    if (ht_shape_count(ht_var_shape(loss)) != 1) {
        char text[HT_SHAPE_TEXT];
        ht_tape_fail(tape, r->args.where, HT_ESHAPE, "mlo: the loss of level \"%s\" is %s; expected a single number",
                     r->args.levels[level].name, ht_shape_text(ht_var_shape(loss), text));
        return none;
    }
    ht_var one = ht_fill_(tape, 1, ht_var_shape(loss), r->args.where);
    mlo_add_found(&walk, walk.count, ht_vjp_(ht_list(loss), ht_list(one), mlo_leaves(&walk, walk.count), r->args.where),
                  (ht_var){0}, 0);
    for (int32_t p = walk.count - 1; p >= 0 && ht_tape_error(tape)->status == HT_OK; p--)
        if (levels >> mlo_phase_of(&walk, p)->level & 1) pass(&walk, p);
    if (ht_tape_error(tape)->status != HT_OK || !mlo_check_found(&walk, walk.count, "")) return none;
    ht_vars path = walk.cotangent[walk.count], direct = walk.cotangent[walk.count + 1];
    path = ht_vars_new(tape, path.at, r->start[level].names, path.count);
    if (!last) return path;
    if (r->held.count > 0 && !mlo_check_found(&walk, walk.count + 1, " by the edges that are held")) return none;
    r->round.path = path;
    if (direct.count > 0) r->round.direct = ht_vars_new(tape, direct.at, r->start[level].names, direct.count);
    return path;
}
