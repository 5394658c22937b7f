/*
 * Recording: the instruction list, hash-consing, the sticky error, scopes and the values of store tensors.
 * It knows no op: shapes come from the descriptors of the registry.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tape/attributes.h"
#include "tape/tape_internal.h"

static const ht_var empty;

ht_tape *ht_tape_new(ht_dtype real)
{
    ht_tape *tape = calloc(1, sizeof *tape);
    if (!tape) return NULL;
    tape->real = real;
    tape->capacity = 256;
    tape->table_size = 1024;
    tape->nodes = calloc((size_t)tape->capacity, sizeof *tape->nodes);
    tape->table = calloc((size_t)tape->table_size, sizeof *tape->table);
    tape->scope[0] = "";
    tape->count = 1;
    tape->inner_from = INT32_MAX;
    if (!tape->nodes || !tape->table) {
        ht_tape_free(tape);
        return NULL;
    }
    if (real != HT_F32 && real != HT_F64) ht_fail(&tape->error, HT_EDTYPE, "tape: a tape is of type f32 or f64");
    return tape;
}

void ht_tape_free(ht_tape *tape)
{
    if (!tape) return;
    hti_arena_free(&tape->arena);
    free(tape->nodes);
    free(tape->table);
    free(tape->slots);
    free(tape);
}

const ht_error *ht_tape_error(const ht_tape *tape) { return &tape->error; }

ht_dtype ht_tape_dtype(const ht_tape *tape) { return tape->real; }

int ht_ok(ht_var x) { return x.id > 0; }

ht_shape ht_var_shape(ht_var x)
{
    if (x.id > 0) return hti_node_of(x)->spec.shape;
    return HT_SCALAR;
}

ht_dtype ht_var_dtype(ht_var x)
{
    if (x.id > 0) return hti_node_of(x)->spec.dtype;
    return x.tape ? x.tape->real : HT_F32;
}

ht_var ht_tape_fail(ht_tape *tape, const char *where, ht_status status, const char *format, ...)
{
    if (!tape || tape->error.status != HT_OK) return empty;
    char text[HT_MESSAGE_BYTES];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    const char *scope = tape->scope[tape->scope_depth];
    if (*scope) ht_fail(&tape->error, status, "%s: in \"%s\": %.400s", where, scope, text);
    else ht_fail(&tape->error, status, "%s: %.480s", where, text);
    return empty;
}

static void *out_of_memory(ht_tape *tape)
{
    ht_fail(&tape->error, HT_ENOMEM, "tape: the system gave no memory for instruction %d", (int)tape->count);
    return NULL;
}

/* ---- scopes ---- */

void ht_scope_push(ht_tape *tape, const char *name)
{
    const char *outer = tape->scope[tape->scope_depth];
    if (tape->scope_depth + 1 >= HTI_SCOPE_DEPTH) {
        ht_tape_fail(tape, HT_HERE, HT_EINVALID, "scope \"%s\": nested deeper than %d", name, HTI_SCOPE_DEPTH);
        return;
    }
    size_t bytes = strlen(outer) + strlen(name) + 2;
    char *path = hti_arena_take(&tape->arena, bytes);
    if (path) snprintf(path, bytes, "%s%s%s", outer, *outer ? "/" : "", name);
    else out_of_memory(tape);
    tape->scope[++tape->scope_depth] = path ? path : "";
}

void ht_scope_pop(ht_tape *tape)
{
    if (tape->scope_depth > 0) tape->scope_depth--;
}

const char *ht_scope_path(ht_tape *tape) { return tape->scope[tape->scope_depth]; }

const char *hti_scope_swap(ht_tape *tape, const char *scope)
{
    const char *old = tape->scope[tape->scope_depth];
    tape->scope[tape->scope_depth] = scope;
    return old;
}

/* ---- texts and lists ---- */

const char *ht_tape_text(ht_tape *tape, const char *text)
{
    const char *copy = hti_arena_text(&tape->arena, text);
    return copy ? copy : out_of_memory(tape);
}

ht_vars ht_vars_new(ht_tape *tape, const ht_var *values, const char *const *names, int32_t count)
{
    ht_vars list = {0};
    if (!tape || count < 1) return list;
    ht_var *at = hti_arena_array(&tape->arena, count, sizeof *at);
    const char **copies = names ? hti_arena_array(&tape->arena, count, sizeof *copies) : NULL;
    if (!at || (names && !copies)) {
        out_of_memory(tape);
        return list;
    }
    for (int32_t i = 0; i < count; i++) {
        at[i] = values[i];
        if (names) copies[i] = ht_tape_text(tape, names[i] ? names[i] : "");
    }
    list.at = at;
    list.names = copies;
    list.count = count;
    return list;
}

ht_vars hti_empties(ht_tape *tape, ht_vars like)
{
    static const ht_var lent[64]; /* where there is no tape, or no memory */
    const int32_t room = (int32_t)(sizeof lent / sizeof *lent);
    ht_var *at = tape && like.count > 0 ? hti_arena_array(&tape->arena, like.count, sizeof *at) : NULL;
    for (int32_t i = 0; at && i < like.count; i++) at[i] = (ht_var){.tape = tape};
    return at ? (ht_vars){at, like.names, like.count} : (ht_vars){lent, NULL, like.count < room ? like.count : room};
}

ht_vars ht_list_(const ht_var *values, int32_t count)
{
    return ht_vars_new(hti_tape_of(values, count), values, NULL, count);
}

ht_vars ht_vars_join(ht_vars a, ht_vars b)
{
    if (a.count == 0) return b;
    if (b.count == 0) return a;
    ht_tape *tape = hti_tape_of(a.at, a.count);
    if (!tape) tape = hti_tape_of(b.at, b.count);
    ht_vars none = {0};
    if (!tape) return none;
    int32_t count = a.count + b.count;
    ht_var *at = hti_arena_array(&tape->arena, count, sizeof *at);
    const char **names = hti_arena_array(&tape->arena, count, sizeof *names);
    if (!at || !names) {
        out_of_memory(tape);
        return none;
    }
    for (int32_t i = 0; i < count; i++) {
        const ht_vars *from = i < a.count ? &a : &b;
        int32_t k = i < a.count ? i : i - a.count;
        at[i] = from->at[k];
        names[i] = from->names ? from->names[k] : "";
    }
    return (ht_vars){.at = at, .names = names, .count = count};
}

/* ---- instructions ---- */

static uint64_t mixed(uint64_t a, uint64_t b) { return ((a ^ b) ^ (a ^ b) >> 32) * UINT64_C(0x9E3779B97F4A7C15); }

/* By words: hti_hash, which goes by bytes, takes a tenth of the recording. */
static uint64_t node_hash(const hti_op *op, const void *attributes, const ht_var *in, int32_t inputs)
{
    const char *at = attributes;
    uint64_t h = (uint64_t)op->id, word;
    for (size_t i = 0; i + sizeof word <= op->attribute_bytes; i += sizeof word, at += sizeof word) {
        memcpy(&word, at, sizeof word);
        h = mixed(h, word);
    }
    if (op->attribute_bytes % sizeof word) h = hti_hash(h, at, op->attribute_bytes % sizeof word);
    for (int32_t k = 0; k < inputs; k++) h = mixed(h, (uint64_t)in[k].id);
    return h;
}

static bool node_equal(const hti_node *node, uint64_t hash, const hti_op *op, const void *attributes, const ht_var *in,
                       int32_t inputs)
{
    if (node->hash != hash || node->op != op || node->inputs != inputs) return false;
    for (int32_t k = 0; k < inputs; k++)
        if (node->in[k].id != in[k].id) return false;
    return op->attribute_bytes == 0 || memcmp(node->attributes, attributes, op->attribute_bytes) == 0;
}

static bool grow(ht_tape *tape)
{
    if (tape->count < tape->capacity) return true;
    if (tape->capacity > INT32_MAX / 4) return false;
    int32_t capacity = tape->capacity * 2, size = capacity * 4;
    hti_node *nodes = realloc(tape->nodes, (size_t)capacity * sizeof *nodes);
    if (!nodes) return false;
    tape->nodes = nodes;
    int32_t *table = calloc((size_t)size, sizeof *table);
    if (!table) return false;
    for (int32_t id = 1; id < tape->count; id++) {
        uint64_t at = nodes[id].hash & (uint64_t)(size - 1);
        while (table[at]) at = (at + 1) & (uint64_t)(size - 1);
        table[at] = id;
    }
    free(tape->table);
    tape->table = table;
    tape->table_size = size;
    tape->capacity = capacity;
    return true;
}

static void refuse(ht_tape *tape, const hti_op *op, const char *where, const ht_error *error)
{
    const char *scope = tape->scope[tape->scope_depth];
    ht_fail(&tape->error, error->status, "%s: %s%s%s%s: %.380s", where, op->name, *scope ? " \"" : "", scope,
            *scope ? "\"" : "", error->message);
}

ht_var hti_emit(ht_tape *tape, hti_op_id id, const void *attributes, const ht_var *in, int32_t inputs,
                const char *where)
{
    if (!tape || tape->error.status != HT_OK) return empty;
    const hti_op *op = hti_ops[id];
    ht_error error = {0};
    for (int32_t k = 0; k < inputs && error.status == HT_OK; k++) {
        if (in[k].id <= 0) ht_fail(&error, HT_EINVALID, "input %d is an empty value; expected a recorded one", (int)k);
        else if (in[k].tape != tape) ht_fail(&error, HT_EINVALID, "input %d is of another tape; expected values of one", (int)k);
    }
    if (error.status != HT_OK) {
        refuse(tape, op, where, &error);
        return empty;
    }
    uint64_t hash = node_hash(op, attributes, in, inputs);
    uint64_t mask = (uint64_t)(tape->table_size - 1), at = hash & mask;
    /* a stop is a place of its own: merged with another one, derivatives at either would be those of both */
    for (; id != HTI_OP_stop && tape->table[at]; at = (at + 1) & mask)
        if (node_equal(&tape->nodes[tape->table[at]], hash, op, attributes, in, inputs))
            return (ht_var){tape, tape->table[at]};
    hti_spec spec = {0};
    hti_call call = {tape, op, attributes, in, inputs, empty, where};
    if (op->shape(&call, &spec, &error) != HT_OK) {
        refuse(tape, op, where, &error);
        return empty;
    }
    if (ht_shape_count(spec.shape) < 0) {
        ht_fail(&error, HT_ESHAPE, "the result has more elements than a 64-bit count holds");
        refuse(tape, op, where, &error);
        return empty;
    }
    void *kept = hti_arena_take(&tape->arena, op->attribute_bytes);
    ht_var *kept_in = hti_arena_array(&tape->arena, inputs, sizeof *kept_in);
    if (!kept || !kept_in || !grow(tape)) {
        out_of_memory(tape);
        return empty;
    }
    if (op->attribute_bytes) memcpy(kept, attributes, op->attribute_bytes);
    for (int32_t k = 0; k < inputs; k++) kept_in[k] = in[k];
    tape->nodes[tape->count] = (hti_node){op, kept, kept_in, inputs, where, tape->scope[tape->scope_depth], spec, hash};
    mask = (uint64_t)(tape->table_size - 1);
    for (at = hash & mask; tape->table[at];) at = (at + 1) & mask;
    tape->table[at] = tape->count;
    return (ht_var){tape, tape->count++};
}

hti_call hti_call_of(ht_var x)
{
    const hti_node *node = hti_node_of(x);
    return (hti_call){x.tape, node->op, node->attributes, node->in, node->inputs, x, node->where};
}

/* ---- leaves ---- */

ht_var ht_input_(ht_tape *tape, const char *name, ht_dtype dtype, ht_shape shape, const char *where)
{
    if (!tape || tape->error.status != HT_OK) return empty;
    for (int32_t id = 1; id < tape->count; id++) {
        const hti_node *node = &tape->nodes[id];
        if (node->op->id == HTI_OP_input && strcmp(((const hti_input_attributes *)node->attributes)->name, name) == 0)
            return ht_tape_fail(tape, where, HT_EINVALID, "input \"%s\" is recorded already at %s; names are unique",
                                name, node->where);
    }
    hti_input_attributes a;
    memset(&a, 0, sizeof a);
    a.name = ht_tape_text(tape, name);
    a.spec.dtype = dtype;
    hti_shape_put(&a.spec.shape, shape);
    return hti_emit(tape, HTI_OP_input, &a, NULL, 0, where);
}

ht_var ht_fill_(ht_tape *tape, double value, ht_shape shape, const char *where)
{
    if (!tape || tape->error.status != HT_OK) return empty;
    hti_fill_attributes a;
    memset(&a, 0, sizeof a);
    a.value = value;
    a.dtype = tape->real;
    hti_shape_put(&a.shape, shape);
    return hti_emit(tape, HTI_OP_fill, &a, NULL, 0, where);
}

ht_var ht_constant_(ht_tape *tape, const double *numbers, ht_shape shape, const char *where)
{
    if (!tape || tape->error.status != HT_OK) return empty;
    int64_t count = ht_shape_count(shape);
    double *copy = count < 0 ? NULL : hti_arena_array(&tape->arena, count, sizeof *copy);
    if (count < 0) return ht_tape_fail(tape, where, HT_ESHAPE, "constant: the shape is not valid");
    if (!copy) {
        out_of_memory(tape);
        return empty;
    }
    for (int64_t i = 0; i < count; i++) copy[i] = numbers[i];
    hti_constant_attributes a;
    memset(&a, 0, sizeof a);
    a.numbers = copy;
    a.dtype = tape->real;
    hti_shape_put(&a.shape, shape);
    return hti_emit(tape, HTI_OP_constant, &a, NULL, 0, where);
}

/* ---- stores ---- */

static hti_slot *slot_of(ht_tape *tape, ht_store *store, int32_t index)
{
    for (int32_t i = 0; i < tape->slot_count; i++)
        if (tape->slots[i].store == store && tape->slots[i].index == index) return &tape->slots[i];
    if (tape->slot_count == tape->slot_capacity) {
        int32_t capacity = tape->slot_capacity ? tape->slot_capacity * 2 : 64;
        hti_slot *slots = realloc(tape->slots, (size_t)capacity * sizeof *slots);
        if (!slots) return out_of_memory(tape);
        tape->slots = slots;
        tape->slot_capacity = capacity;
    }
    hti_slot *slot = &tape->slots[tape->slot_count++];
    *slot = (hti_slot){store, index, empty, false};
    return slot;
}

static ht_var read_index(ht_tape *tape, ht_store *store, int32_t index, const char *where)
{
    hti_slot *slot = slot_of(tape, store, index);
    if (!slot || slot->value.id > 0) return slot ? slot->value : empty;
    hti_read_attributes a;
    memset(&a, 0, sizeof a);
    a.store = store;
    a.index = index;
    slot->value = hti_emit(tape, HTI_OP_read, &a, NULL, 0, where);
    return slot->value;
}

ht_var ht_read_one_(ht_tape *tape, ht_store *store, const char *name, const char *where)
{
    if (!tape || tape->error.status != HT_OK) return empty;
    int32_t index = store ? ht_store_find(store, name) : -1;
    if (index < 0) return ht_tape_fail(tape, where, HT_EINVALID, "read: the store has no tensor \"%s\"", name);
    return read_index(tape, store, index, where);
}

static int32_t parameters(const ht_store *store)
{
    int32_t count = 0;
    for (int32_t i = 0; i < ht_store_count(store); i++) count += ht_store_role(store, i) == HT_PARAMETER;
    return count;
}

ht_vars ht_read_(ht_tape *tape, ht_store *store, const char *where)
{
    int32_t count = parameters(store), at = 0;
    const ht_vars none = hti_empties(tape, (ht_vars){.count = count});
    if (!tape || tape->error.status != HT_OK) return none;
    ht_var *values = hti_arena_array(&tape->arena, count, sizeof *values);
    const char **names = hti_arena_array(&tape->arena, count, sizeof *names);
    if (!values || !names) {
        out_of_memory(tape);
        return none;
    }
    for (int32_t i = 0; i < ht_store_count(store); i++) {
        if (ht_store_role(store, i) != HT_PARAMETER) continue;
        values[at] = read_index(tape, store, i, where);
        names[at++] = ht_store_name(store, i);
    }
    return ht_vars_new(tape, values, names, count);
}

static void write_index(ht_store *store, int32_t index, ht_var value, const char *where)
{
    ht_tape *tape = value.tape;
    if (!tape || value.id <= 0) return;
    char is[HT_SHAPE_TEXT], wanted[HT_SHAPE_TEXT];
    if (!ht_shape_equal(ht_var_shape(value), ht_store_shape(store, index)) ||
        ht_var_dtype(value) != ht_store_dtype(store, index)) {
        bool fits = ht_shape_equal(ht_var_shape(value), ht_store_shape(store, index));
        ht_tape_fail(tape, where, fits ? HT_EDTYPE : HT_ESHAPE, "write \"%s\": the value is %s %s; the tensor is %s %s",
                     ht_store_name(store, index), ht_dtype_name(ht_var_dtype(value)),
                     ht_shape_text(ht_var_shape(value), is), ht_dtype_name(ht_store_dtype(store, index)),
                     ht_shape_text(ht_store_shape(store, index), wanted));
        return;
    }
    hti_slot *slot = slot_of(tape, store, index);
    if (!slot) return;
    slot->value = value;
    slot->written = true;
}

void ht_write_one_(ht_store *store, const char *name, ht_var value, const char *where)
{
    int32_t index = ht_store_find(store, name);
    if (index < 0) {
        ht_tape_fail(value.tape, where, HT_EINVALID, "write: the store has no tensor \"%s\"", name);
        return;
    }
    write_index(store, index, value, where);
}

void ht_write_(ht_store *store, ht_vars values, const char *where)
{
    int32_t at = 0, count = parameters(store);
    if (values.count != count) {
        if (values.count > 0)
            ht_tape_fail(values.at[0].tape, where, HT_ESHAPE, "write: %d values for a store of %d parameters",
                         (int)values.count, (int)count);
        return;
    }
    for (int32_t i = 0; i < ht_store_count(store); i++)
        if (ht_store_role(store, i) == HT_PARAMETER) write_index(store, i, values.at[at++], where);
}
