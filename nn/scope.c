/*
 * Scopes: names become parameters of a store, or other values bound to the same names.
 * A scope keeps no state of its own beside the tape and the store, so it is copied by value; whether a parameter
 * exists is asked of the store each time.
 */
#include "internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const ht_var empty;

const char *nn_name(nn_scope scope, const char *format, ...)
{
    char text[HTI_NAME_BYTES];
    va_list list;
    va_start(list, format);
    int n = vsnprintf(text, sizeof text, format, list);
    va_end(list);
    if (hti_stopped(scope.tape)) return "";
    if (n < 0 || n >= (int)sizeof text) {
        ht_tape_fail(scope.tape, HT_HERE, HT_EINVALID, "name \"%.40s...\" has %d bytes; at most %d were expected", text, n,
                     HTI_NAME_BYTES - 1);
        return "";
    }
    const char *kept = ht_tape_text(scope.tape, text);
    return kept ? kept : "";
}

const char *hti_full_name(nn_scope scope, const char *name, const char *part, const char *where)
{
    if (hti_stopped(scope.tape)) return NULL;
    if (!name || !*name) {
        ht_tape_fail(scope.tape, where, HT_EINVALID, "a layer of scope \"%s\" has no name; give each layer a name",
                     scope.prefix);
        return NULL;
    }
    char text[HTI_NAME_BYTES];
    int n = snprintf(text, sizeof text, "%s%s%s%s", scope.prefix, name, part ? "." : "", part ? part : "");
    if (n < 0 || n >= (int)sizeof text) {
        ht_tape_fail(scope.tape, where, HT_EINVALID, "name \"%.40s...\" has %d bytes; at most %d were expected", text, n,
                     HTI_NAME_BYTES - 1);
        return NULL;
    }
    return ht_tape_text(scope.tape, text);
}

nn_scope nn_open_(nn_open_args args)
{
    nn_scope s = {.tape = args.tape, .store = args.store, .name = args.name ? args.name : "", .prefix = "", .draw = "",
                  .step = args.step, .seed = args.seed, .evaluate = args.evaluate,
                  .freeze_statistics = args.freeze_statistics, .uninitialised = args.uninitialised};
    if (args.tape && !args.store)
        ht_tape_fail(args.tape, args.where, HT_EINVALID, "nn_open: there is no store; a scope needs one to keep parameters");
    return s;
}

nn_scope nn_sub(nn_scope scope, const char *name)
{
    const char *below = hti_full_name(scope, name, "", HT_HERE); /* "enc0" and an empty part: "enc0." */
    if (below) scope.prefix = below;
    return scope;
}

nn_scope nn_draw(nn_scope scope, const char *draw)
{
    scope.draw = draw;
    return scope;
}

nn_scope nn_at_(nn_at_args args)
{
    nn_scope s = args.scope;
    if (!hti_stopped(s.tape) && args.values.count > 0 && !args.values.names)
        ht_tape_fail(s.tape, args.where, HT_EINVALID,
                     "nn_at: the %d values have no names; values are bound by the names that nn_params gives them",
                     args.values.count);
    s.bound = 1;
    s.values = args.hold ? ht_stop_all_(args.values, args.where) : args.values;
    s.freeze_statistics = 1;
    if (args.draw) s.draw = args.draw;
    if (args.evaluate) s.evaluate = 1;
    return s;
}

/* The values whose names begin with the scope's prefix. */
static ht_vars below(nn_scope s, ht_vars all, const char *where)
{
    size_t length = strlen(s.prefix);
    ht_vars none = {NULL, NULL, 0}, found = none;
    for (int32_t i = 0, from = -1; i <= all.count; i++) {
        bool in = i < all.count && strncmp(all.names[i], s.prefix, length) == 0;
        if (in && from < 0) from = i;
        if (in || from < 0) continue;
        ht_vars run = ht_vars_new(s.tape, all.at + from, all.names + from, i - from); /* neighbours at once */
        found = found.count ? ht_vars_join(found, run) : run;
        from = -1;
    }
    if (!found.count)
        ht_tape_fail(s.tape, where, HT_EINVALID,
                     "nn_params: scope \"%s\" has no parameters yet; record the network before asking for them",
                     length ? s.prefix : s.name);
    return hti_stopped(s.tape) ? none : found;
}

ht_vars nn_params_(nn_scope scope, const char *where)
{
    ht_vars none = {NULL, NULL, 0};
    if (hti_stopped(scope.tape)) return none;
    ht_vars all = none;
    if (scope.bound) {
        all = scope.values;
    } else {
        bool any = false;
        for (int32_t i = 0; i < ht_store_count(scope.store) && !any; i++)
            any = ht_store_role(scope.store, i) == HT_PARAMETER;
        if (any) all = ht_read_(scope.tape, scope.store, where);
    }
    if (hti_stopped(scope.tape)) return none;
    return *scope.prefix || !all.count ? below(scope, all, where) : all;
}

/* What stands in the store under the name agrees with what the recording needs. */
static bool agrees(ht_tape *tape, const ht_store *store, int32_t index, const hti_wanted *t)
{
    char is[HT_SHAPE_TEXT], needed[HT_SHAPE_TEXT];
    ht_dtype dtype = ht_store_dtype(store, index);
    if (ht_store_role(store, index) != t->role)
        ht_tape_fail(tape, t->where, HT_EINVALID, "%s \"%s\": the store has a %s of this name; a %s was expected", t->what,
                     t->name, t->role == HT_BUFFER ? "parameter" : "buffer", t->role == HT_BUFFER ? "buffer" : "parameter");
    else if (dtype != t->dtype)
        ht_tape_fail(tape, t->where, HT_EDTYPE,
                     "%s \"%s\": %s in the store, %s on the tape; they must agree: ht_store_copy(store, ...) makes a store "
                     "of the tape's type",
                     t->what, t->name, ht_dtype_name(dtype), ht_dtype_name(t->dtype));
    else if (!ht_shape_equal(ht_store_shape(store, index), t->shape))
        ht_tape_fail(tape, t->where, HT_ESHAPE,
                     "%s \"%s\": %s in the store, %s needed here; the network must be the one that the store was made by",
                     t->what, t->name, ht_shape_text(ht_store_shape(store, index), is), ht_shape_text(t->shape, needed));
    else
        return true;
    return false;
}

bool hti_tensor_obtain(ht_tape *tape, ht_store *store, const hti_wanted *tensor, bool *created)
{
    *created = false;
    if (hti_stopped(tape)) return false;
    int32_t index = ht_store_find(store, tensor->name);
    if (index >= 0) return agrees(tape, store, index, tensor);
    ht_error error = {HT_OK, ""};
    index = ht_store_add(store, tensor->name, tensor->dtype, tensor->shape, tensor->role, &error);
    if (index < 0) {
        ht_tape_fail(tape, tensor->where, error.status, "%s \"%s\": %s", tensor->what, tensor->name, error.message);
        return false;
    }
    *created = true;
    return true;
}

/* Obtains a tensor of the tape's type, fills it if it is new, reads it. */
static ht_var obtain(nn_scope s, const hti_wanted *tensor, nn_init init)
{
    bool created;
    if (!hti_tensor_obtain(s.tape, s.store, tensor, &created)) return empty;
    if (created && !s.uninitialised) {
        ht_error error = {HT_OK, ""};
        if (hti_initialise(s.store, tensor->name, init, s.seed, &error))
            return ht_tape_fail(s.tape, tensor->where, error.status, "%s \"%s\": %s", tensor->what, tensor->name,
                                error.message);
    }
    return ht_read_one_(s.tape, s.store, tensor->name, tensor->where);
}

/* The value bound to a name, checked. */
static ht_var bound_value(nn_scope s, const hti_wanted *t)
{
    for (int32_t i = 0; i < s.values.count; i++) {
        if (strcmp(s.values.names[i], t->name) != 0) continue;
        ht_var v = s.values.at[i];
        if (ht_shape_equal(ht_var_shape(v), t->shape)) return v;
        char is[HT_SHAPE_TEXT], needed[HT_SHAPE_TEXT];
        return ht_tape_fail(s.tape, t->where, HT_ESHAPE, "%s \"%s\": the bound value is %s; %s was expected", t->what,
                            t->name, ht_shape_text(ht_var_shape(v), is), ht_shape_text(t->shape, needed));
    }
    return ht_tape_fail(s.tape, t->where, HT_EINVALID,
                        "%s \"%s\": nn_at was given %d values, and none has this name; give a value for every parameter",
                        t->what, t->name, s.values.count);
}

ht_var hti_parameter(nn_scope scope, const char *what, const char *name, const char *part, ht_shape shape, nn_init init,
                     const char *where)
{
    const char *full = hti_full_name(scope, name, part, where);
    if (!full) return empty;
    hti_wanted t = {where, what, full, ht_tape_dtype(scope.tape), shape, HT_PARAMETER};
    return scope.bound ? bound_value(scope, &t) : obtain(scope, &t, init);
}

ht_var hti_buffer(nn_scope scope, const char *what, const char *name, const char *part, ht_shape shape, nn_init init,
                  const char **full, const char *where)
{
    *full = hti_full_name(scope, name, part, where);
    if (!*full) return empty;
    hti_wanted t = {where, what, *full, ht_tape_dtype(scope.tape), shape, HT_BUFFER};
    scope.uninitialised = 0; /* small, and zero would be no valid variance */
    return obtain(scope, &t, init);
}

ht_var nn_parameter_(nn_parameter_args args)
{
    nn_init init = args.init.kind == NN_INIT_DEFAULT ? nn_constant(0) : args.init;
    return hti_parameter(args.scope, "parameter", args.name, NULL, args.shape, init, args.where);
}
