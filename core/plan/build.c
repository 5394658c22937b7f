/*
 * From a tape to steps: what nothing needs is left out; every value gets a physical order, chosen by the rule of its kernel
 * and the orders of its inputs; a change of order and a packing of weights are steps of their own, done once per value.
 * Images end up channels last, weights row-major.
 */
#include <stdlib.h>
#include <string.h>

#include "plan/plan.h"
#include "tape/attributes.h"

typedef struct builder {
    ht_program *program;
    const ht_tape *tape;
    const hti_node *node; /* the one at work: its place goes into the steps it needs */
    const char *scope, *kept_scope; /* the last node's on the tape, and the program's copy of it */
    int32_t *in;          /* values that the node reads */
    hti_tensor *tensors;  /* as many, and its result */
    ht_error *error;
    bool short_of_memory;
} builder;

bool hti_list_grow(void **at, int32_t *count, int32_t *room, size_t each)
{
    if (*count < *room) return true;
    if (*room > INT32_MAX / 2) return false;
    int32_t wanted = *room ? *room * 2 : 64;
    void *grown = realloc(*at, (size_t)wanted * each);
    if (!grown) return false;
    *at = grown;
    *room = wanted;
    return true;
}

void hti_dense_strides(ht_shape shape, hti_order order, int64_t stride[HT_MAX_RANK])
{
    int64_t step = 1;
    bool last = order == HTI_LAST && shape.rank >= 3 && shape.rank <= 5;
    memset(stride, 0, sizeof(int64_t) * HT_MAX_RANK);
    if (last) {
        stride[1] = 1;
        step = shape.dim[1];
    }
    for (int32_t i = shape.rank - 1; i >= 0; i--) {
        if (last && i == 1) continue;
        stride[i] = step;
        step *= shape.dim[i];
    }
}

bool hti_orders_agree(ht_shape shape)
{
    if (shape.rank < 3 || shape.rank > 5 || shape.dim[1] == 1) return true;
    for (int32_t i = 2; i < shape.rank; i++)
        if (shape.dim[i] != 1) return false;
    return true;
}

/* ---- buffers and values ---- */

static int32_t new_buffer(builder *b, size_t bytes, void *fixed)
{
    hti_buffer *buffer = HTI_PUSH(b->program->buffers);
    if (!buffer) {
        b->short_of_memory = true;
        return 0;
    }
    *buffer = (hti_buffer){.bytes = bytes, .fixed = fixed};
    return b->program->buffers.count - 1;
}

static int32_t new_value(builder *b, ht_dtype dtype, ht_shape shape, hti_order order, int32_t buffer)
{
    hti_value *value = HTI_PUSH(b->program->values);
    size_t bytes = 0;
    if (!value) {
        b->short_of_memory = true;
        return 0;
    }
    int32_t index = b->program->values.count - 1;
    *value = (hti_value){.dtype = dtype, .shape = shape, .order = order, .in_order = {HTI_NOWHERE, HTI_NOWHERE}};
    hti_dense_strides(shape, order, value->stride);
    if (!hti_bytes(ht_shape_count(shape), ht_dtype_bytes(dtype), &bytes))
        ht_fail(b->error, HT_ENOMEM, "%s: %s: a value has more bytes than memory can hold", b->node->where,
                b->node->op->name);
    if (buffer == HTI_NOWHERE) buffer = new_buffer(b, bytes, NULL);
    b->program->values.at[index].buffer = buffer;
    return index;
}

static hti_value *value_at(const builder *b, int32_t index) { return &b->program->values.at[index]; }

/* ---- steps ---- */

static hti_step *new_step(builder *b, hti_step_kind kind, const int32_t *in, int32_t inputs, int32_t out)
{
    ht_program *p = b->program;
    int32_t *kept = hti_arena_array(&p->texts, inputs, sizeof *kept);
    hti_step *step = kept ? HTI_PUSH(p->steps) : NULL;
    if (!step) {
        b->short_of_memory = true;
        return NULL;
    }
    for (int32_t k = 0; k < inputs; k++) kept[k] = in[k];
    *step = (hti_step){.kind = kind, .op = b->node->op, .inputs = inputs, .in = kept, .out = out,
                       .scratch = HTI_NOWHERE, .packed = HTI_NOWHERE,
                       .packed_for = {HTI_NOWHERE, HTI_NOWHERE, HTI_NOWHERE}};
    step->where = b->node->where;
    if (b->scope != b->node->scope) b->kept_scope = hti_arena_text(&p->texts, b->scope = b->node->scope);
    b->short_of_memory = b->short_of_memory || !b->kept_scope;
    step->scope = b->kept_scope;
    return step;
}

/* The value, dense, in the order asked for: itself, or a copy that is made once. */
static int32_t dense(builder *b, int32_t index, hti_order order)
{
    hti_value *value = value_at(b, index);
    if (!value->view && (value->order == order || hti_orders_agree(value->shape))) return index;
    if (value->in_order[order] != HTI_NOWHERE) return value->in_order[order];
    int32_t copy = new_value(b, value->dtype, value->shape, order, HTI_NOWHERE);
    value_at(b, index)->in_order[order] = copy;
    new_step(b, HTI_STEP_COPY, &index, 1, copy);
    b->program->facts.conversions++;
    return copy;
}

/* ---- leaves and aliases ---- */

/* Every input of the tape is known by name, so that a misspelt one can be told from one that nothing needs. */
static void name_input(builder *b, const hti_node *node, int32_t id, int32_t value)
{
    hti_named_input *input = HTI_PUSH(b->program->inputs);
    const char *name = hti_arena_text(&b->program->texts, ((const hti_input_attributes *)node->attributes)->name);
    if (input) *input = (hti_named_input){name, id, value, false};
    b->short_of_memory = b->short_of_memory || !input || !name;
}

static int32_t leaf(builder *b, const hti_node *node, int32_t id)
{
    ht_program *p = b->program;
    ht_shape shape = node->spec.shape;
    size_t bytes = 0;
    if (node->op->id == HTI_OP_read) {
        const hti_read_attributes *a = node->attributes;
        int32_t buffer = new_buffer(b, 0, ht_store_data(a->store, (int32_t)a->index));
        if (!b->short_of_memory) p->buffers.at[buffer].state = true;
        return new_value(b, node->spec.dtype, shape, HTI_ROW, buffer);
    }
    if (node->op->id == HTI_OP_fill) shape = HT_SCALAR; /* one number; the shape is a view of it */
    if (!hti_bytes(ht_shape_count(shape), ht_dtype_bytes(node->spec.dtype), &bytes)) return 0;
    void *memory = p->backend->allocate(bytes ? bytes : 1);
    int32_t buffer = new_buffer(b, bytes, memory);
    b->short_of_memory = b->short_of_memory || !memory;
    int32_t index = new_value(b, node->spec.dtype, node->spec.shape, HTI_ROW, buffer);
    if (b->short_of_memory) return 0;
    int64_t count = ht_shape_count(shape);
    const double *numbers = node->op->id == HTI_OP_fill ? &((const hti_fill_attributes *)node->attributes)->value : NULL;
    if (node->op->id == HTI_OP_constant) numbers = ((const hti_constant_attributes *)node->attributes)->numbers;
    for (int64_t i = 0; numbers && i < count; i++) {
        if (node->spec.dtype == HT_F32) ((float *)memory)[i] = (float)numbers[i];
        else if (node->spec.dtype == HT_I32) ((int32_t *)memory)[i] = (int32_t)numbers[i];
        else ((double *)memory)[i] = numbers[i];
    }
    if (node->op->id == HTI_OP_fill) {
        hti_value *value = value_at(b, index);
        memset(value->stride, 0, sizeof value->stride);
        value->view = ht_shape_count(node->spec.shape) > 1;
    }
    if (node->op->id == HTI_OP_input) name_input(b, node, id, index);
    return index;
}

static bool all_zero_strides(const hti_value *value)
{
    for (int32_t i = 0; i < value->shape.rank; i++)
        if (value->stride[i] != 0 && value->shape.dim[i] > 1) return false;
    return true;
}

static int32_t alias(builder *b, const hti_node *node, int32_t from)
{
    hti_alias sort = node->op->alias;
    if (sort == HTI_ALIAS_SAME) return from;
    if (sort == HTI_ALIAS_RESHAPE && !all_zero_strides(value_at(b, from))) from = dense(b, from, HTI_ROW);
    int32_t index = new_value(b, node->spec.dtype, node->spec.shape, HTI_ROW, value_at(b, from)->buffer);
    hti_value *value = value_at(b, index);
    const hti_value *source = value_at(b, from);
    if (sort == HTI_ALIAS_BROADCAST) {
        value->order = source->order;
        for (int32_t i = 0; i < value->shape.rank; i++)
            value->stride[i] = source->shape.dim[i] == value->shape.dim[i] ? source->stride[i] : 0;
        value->view = ht_shape_count(value->shape) > 0;
    } else if (all_zero_strides(source)) {
        memset(value->stride, 0, sizeof value->stride);
        value->view = ht_shape_count(value->shape) > 1;
    }
    return index;
}

/* ---- ops ---- */

/* The order of a FOLLOW kernel: channels last if any whole input of the result's rank is, or if nothing says otherwise. */
static hti_order followed(const builder *b, const int32_t *in, int32_t inputs, const hti_spec *spec)
{
    bool voted = false;
    for (int32_t k = 0; k < inputs; k++) {
        const hti_value *value = value_at(b, in[k]);
        if (value->shape.rank != spec->shape.rank || value->view || hti_orders_agree(value->shape)) continue;
        if (value->order == HTI_LAST) return HTI_LAST;
        voted = true;
    }
    return !voted && inputs <= 1 && spec->shape.rank >= 4 && spec->shape.rank <= 5 &&
                   (inputs == 0 || value_at(b, in[0])->view || value_at(b, in[0])->shape.rank != spec->shape.rank)
               ? HTI_LAST
               : HTI_ROW;
}

static hti_order input_order(hti_order_rule rule, hti_order result, int32_t k)
{
    switch (rule) {
    case HTI_ROW_ONLY: return HTI_ROW;
    case HTI_LAST_ONLY: return HTI_LAST;
    case HTI_CONV: return k == 0 ? HTI_LAST : HTI_ROW;
    case HTI_CONV_WEIGHT: return HTI_LAST;
    default: return result;
    }
}

static hti_order result_order(const builder *b, hti_order_rule rule, const int32_t *in, int32_t inputs,
                              const hti_spec *spec)
{
    switch (rule) {
    case HTI_LAST_ONLY:
    case HTI_CONV: return HTI_LAST;
    case HTI_FOLLOW: return followed(b, in, inputs, spec);
    default: return HTI_ROW;
    }
}

hti_tensor hti_described(const hti_value *value)
{
    hti_tensor t = {.dtype = value->dtype, .shape = value->shape};
    memcpy(t.stride, value->stride, sizeof t.stride);
    return t;
}

static hti_tensor tensor_of(const hti_value *value, hti_order wanted)
{
    hti_tensor t = hti_described(value);
    if (!value->view && hti_orders_agree(value->shape)) hti_dense_strides(value->shape, wanted, t.stride);
    return t;
}

/* Buffers for inputs that the kernel wants packed; equal packings of one value are made once. */
static void pack_inputs(builder *b, const hti_kernel *kernel, const hti_choice *choice, const int32_t *in, int32_t inputs,
                        int32_t packed_for[HTI_MAX_PACKED])
{
    ht_program *p = b->program;
    for (int32_t k = 0; k < HTI_MAX_PACKED; k++) {
        packed_for[k] = HTI_NOWHERE;
        if (k >= inputs || choice->packed_bytes[k] == 0) continue;
        for (int32_t i = 0; i < p->packings.count; i++)
            if (p->packings.at[i].value == in[k] && p->packings.at[i].key == choice->packed_key[k])
                packed_for[k] = p->packings.at[i].buffer;
        if (packed_for[k] != HTI_NOWHERE) continue;
        int32_t buffer = new_buffer(b, choice->packed_bytes[k], NULL);
        hti_step *step = new_step(b, HTI_STEP_PACK, &in[k], 1, HTI_NOWHERE);
        hti_packing *packing = HTI_PUSH(p->packings);
        if (!step || !packing) {
            b->short_of_memory = true;
            return;
        }
        step->kernel = kernel;
        step->packed = buffer;
        step->packed_input = k;
        step->choice = choice;
        *packing = (hti_packing){in[k], buffer, choice->packed_key[k]};
        packed_for[k] = buffer;
        p->facts.conversions++;
    }
}

static ht_status choose(builder *b, const hti_kernel *kernel, const void *attributes, const int32_t *in, int32_t inputs,
                        int32_t out, hti_order order, hti_choice *choice)
{
    ht_program *p = b->program;
    hti_tensor *const tensors = b->tensors;
    if (!kernel->prepare && !kernel->flop) return HT_OK;
    for (int32_t k = 0; k < inputs; k++) tensors[k] = tensor_of(value_at(b, in[k]), input_order(kernel->order, order, k));
    tensors[inputs] = tensor_of(value_at(b, out), order);
    ht_status status = HT_OK;
    ht_error error = {0};
    if (kernel->prepare) {
        *choice = (hti_choice){.convolution = p->convolution, .precision = p->precision};
        const int64_t start = hti_nanoseconds();
        status = kernel->prepare(attributes, tensors, inputs, &tensors[inputs], p->threads, choice, &error);
        p->facts.prepare_seconds += (double)(hti_nanoseconds() - start) * 1e-9;
    }
    if (status != HT_OK)
        ht_fail(b->error, status, "%s: %s \"%s\": %.300s", b->node->where, b->node->op->name, b->node->scope,
                error.message);
    if (kernel->flop) {
        double flop = kernel->flop(attributes, tensors, &tensors[inputs]);
        p->facts.flop += flop;
        p->facts.products++;
        p->facts.bf16 += choice && choice->rounds;
        if (kernel->order == HTI_CONV || kernel->order == HTI_CONV_WEIGHT) p->facts.convolution_flop += flop;
    }
    return status;
}

/* The program owns it from here on, or it is released at once. */
static bool keep_state(builder *b, const hti_kernel *kernel, void *state)
{
    if (!kernel->release || !state) return true;
    hti_state *kept = HTI_PUSH(b->program->states);
    if (kept) *kept = (hti_state){kernel, state};
    else kernel->release(state);
    b->short_of_memory = b->short_of_memory || !kept;
    return kept;
}

static int32_t instruction(builder *b, const hti_node *node, const hti_spec *spec, int32_t *in)
{
    ht_program *p = b->program;
    const hti_kernel *kernel = p->backend->kernels[node->op->id];
    if (!kernel) {
        ht_fail(b->error, HT_EUNSUPPORTED, "%s: %s: device \"%s\" has no kernel for it", node->where, node->op->name,
                p->backend->name);
        return 0;
    }
    hti_order order = result_order(b, kernel->order, in, node->inputs, spec);
    for (int32_t k = 0; k < node->inputs; k++) {
        bool takes_views = kernel->views & (UINT32_C(1) << 31) || (k < 31 && kernel->views >> k & 1u);
        if (value_at(b, in[k])->view && takes_views) continue;
        in[k] = dense(b, in[k], input_order(kernel->order, order, k));
    }
    void *attributes = hti_arena_take(&p->texts, node->op->attribute_bytes);
    hti_choice *choice = kernel->prepare ? hti_arena_take(&p->texts, sizeof *choice) : NULL;
    if (!attributes || (kernel->prepare && !choice)) b->short_of_memory = true;
    if (b->short_of_memory) return 0;
    if (node->op->attribute_bytes) memcpy(attributes, node->attributes, node->op->attribute_bytes);
    int32_t out = new_value(b, spec->dtype, spec->shape, order, HTI_NOWHERE);
    if (b->short_of_memory || choose(b, kernel, attributes, in, node->inputs, out, order, choice) != HT_OK) return 0;
    if (choice && !keep_state(b, kernel, choice->state)) return 0;
    int32_t packed_for[HTI_MAX_PACKED] = {HTI_NOWHERE, HTI_NOWHERE, HTI_NOWHERE};
    if (choice) pack_inputs(b, kernel, choice, in, node->inputs, packed_for);
    int32_t scratch = choice && choice->scratch_bytes ? new_buffer(b, choice->scratch_bytes, NULL) : HTI_NOWHERE;
    hti_step *step = new_step(b, HTI_STEP_OP, in, node->inputs, out);
    if (!step) return 0;
    step->kernel = kernel;
    step->attributes = attributes;
    step->choice = choice;
    step->scratch = scratch;
    memcpy(step->packed_for, packed_for, sizeof packed_for);
    return out;
}

/* ---- pointwise ops of values that repeat ---- */

/* The value with the marked axes cut to one number, which all along them is the same. */
static int32_t cut(builder *b, int32_t index, const bool repeated[HT_MAX_RANK])
{
    const hti_value from = *value_at(b, index);
    ht_shape shape = from.shape;
    bool view = false;
    for (int32_t k = 0; k < shape.rank; k++) {
        if (repeated[k]) shape.dim[k] = 1;
        view = view || (from.stride[k] == 0 && shape.dim[k] > 1);
    }
    const int32_t index_of_part = new_value(b, from.dtype, shape, from.order, from.buffer);
    if (b->short_of_memory) return 0;
    hti_value *part = value_at(b, index_of_part);
    for (int32_t k = 0; k < shape.rank; k++)
        if (shape.dim[k] > 1) {
            view = view || part->stride[k] != from.stride[k];
            part->stride[k] = from.stride[k];
        }
    part->view = view;
    return index_of_part;
}

/*
 * Where all inputs repeat along an axis, so does the result of a pointwise op: it is computed once, and repeats as a view.
 * HTI_NOWHERE if there is no such axis.
 */
static int32_t once(builder *b, const hti_node *node, int32_t *in)
{
    const ht_shape whole = node->spec.shape;
    const hti_kernel *kernel = b->program->backend->kernels[node->op->id];
    bool repeated[HT_MAX_RANK] = {false}, any = false;
    if (!kernel || !kernel->pointwise || ht_shape_count(whole) < 2) return HTI_NOWHERE;
    for (int32_t i = 0; i < node->inputs; i++)
        if (!value_at(b, in[i])->view || value_at(b, in[i])->shape.rank != whole.rank) return HTI_NOWHERE;
    for (int32_t k = 0; k < whole.rank; k++) {
        repeated[k] = whole.dim[k] > 1;
        for (int32_t i = 0; i < node->inputs; i++) repeated[k] = repeated[k] && value_at(b, in[i])->stride[k] == 0;
        any = any || repeated[k];
    }
    if (!any) return HTI_NOWHERE;
    hti_spec spec = node->spec;
    for (int32_t k = 0; k < whole.rank; k++)
        if (repeated[k]) spec.shape.dim[k] = 1;
    for (int32_t i = 0; i < node->inputs; i++) in[i] = cut(b, in[i], repeated);
    const int32_t part = b->short_of_memory ? 0 : instruction(b, node, &spec, in);
    if (b->short_of_memory || b->error->status != HT_OK) return 0;
    const int32_t index = new_value(b, spec.dtype, whole, value_at(b, part)->order, value_at(b, part)->buffer);
    hti_value *result = value_at(b, index);
    for (int32_t k = 0; k < whole.rank; k++) result->stride[k] = repeated[k] ? 0 : value_at(b, part)->stride[k];
    result->view = true;
    return index;
}

static int32_t build_node(builder *b, int32_t id)
{
    const hti_node *node = &b->tape->nodes[id];
    b->node = node;
    if (node->op->kind == HTI_LEAF) return leaf(b, node, id);
    int32_t *const in = b->in;
    for (int32_t k = 0; k < node->inputs; k++) in[k] = b->program->node_value[node->in[k].id];
    int32_t value = node->op->alias ? alias(b, node, in[0]) : once(b, node, in);
    return value == HTI_NOWHERE ? instruction(b, node, &node->spec, in) : value;
}

/* ---- outputs and commits ---- */

/* A dense row-major copy that the commit section does not change under the reader. */
static int32_t settled(builder *b, int32_t value)
{
    int32_t row = dense(b, value, HTI_ROW);
    hti_buffer *buffer = &b->program->buffers.at[value_at(b, row)->buffer];
    if (buffer->fixed) {
        int32_t copy = new_value(b, value_at(b, row)->dtype, value_at(b, row)->shape, HTI_ROW, HTI_NOWHERE);
        new_step(b, HTI_STEP_COPY, &row, 1, copy);
        row = copy;
    }
    return row;
}

static void finish(builder *b, ht_vars outputs)
{
    ht_program *p = b->program;
    p->outputs = outputs.count;
    p->output_values = hti_arena_array(&p->texts, outputs.count, sizeof *p->output_values);
    p->output_nodes = hti_arena_array(&p->texts, outputs.count, sizeof *p->output_nodes);
    if (!p->output_values || !p->output_nodes) b->short_of_memory = true;
    for (int32_t i = 0; i < outputs.count && !b->short_of_memory; i++) {
        b->node = hti_node_of(outputs.at[i]);
        p->output_nodes[i] = outputs.at[i].id;
        p->output_values[i] = settled(b, p->node_value[outputs.at[i].id]);
    }
    for (int32_t i = 0; i < b->tape->slot_count && !b->short_of_memory; i++) {
        const hti_slot *slot = &b->tape->slots[i];
        if (!slot->written) continue;
        b->node = hti_node_of(slot->value);
        int32_t value = settled(b, p->node_value[slot->value.id]);
        hti_commit *commit = HTI_PUSH(p->commits);
        if (commit) *commit = (hti_commit){.store = slot->store, .index = slot->index, .value = value};
        else b->short_of_memory = true;
    }
}

/* Retains each store that the tape reads or writes, once. */
static void retain_stores(builder *b)
{
    for (int32_t i = 0; i < b->tape->slot_count; i++) {
        ht_store *store = b->tape->slots[i].store;
        bool known = false;
        for (int32_t k = 0; k < b->program->stores.count; k++) known = known || b->program->stores.at[k] == store;
        if (known) continue;
        ht_store **at = HTI_PUSH(b->program->stores);
        if (!at) {
            b->short_of_memory = true;
            return;
        }
        *at = store;
        hti_store_retain(store);
    }
}

static void mark_live(const ht_tape *tape, ht_vars outputs, bool *live)
{
    for (int32_t i = 0; i < outputs.count; i++) live[outputs.at[i].id] = true;
    for (int32_t i = 0; i < tape->slot_count; i++)
        if (tape->slots[i].written) live[tape->slots[i].value.id] = true;
    for (int32_t id = tape->count - 1; id > 0; id--)
        for (int32_t k = 0; live[id] && k < tape->nodes[id].inputs; k++) live[tape->nodes[id].in[k].id] = true;
}

/* For the largest node, and for lists that all passes seldom outgrow: memory that is not touched costs nothing. */
static bool make_room(builder *b)
{
    ht_program *p = b->program;
    int32_t inputs = 0;
    for (int32_t id = 1; id < b->tape->count; id++)
        if (inputs < b->tape->nodes[id].inputs) inputs = b->tape->nodes[id].inputs;
    if (b->tape->count > INT32_MAX / 2) return false;
    b->in = calloc((size_t)inputs + 1, sizeof *b->in);
    b->tensors = calloc((size_t)inputs + 1, sizeof *b->tensors);
    p->steps.room = p->values.room = p->buffers.room = 2 * b->tape->count;
    p->steps.at = malloc((size_t)p->steps.room * sizeof *p->steps.at);
    p->values.at = malloc((size_t)p->values.room * sizeof *p->values.at);
    p->buffers.at = malloc((size_t)p->buffers.room * sizeof *p->buffers.at);
    return b->in && b->tensors && p->steps.at && p->values.at && p->buffers.at;
}

ht_status hti_plan_build(ht_program *program, const ht_tape *tape, ht_vars outputs, ht_error *error)
{
    builder b = {.program = program, .tape = tape, .node = &tape->nodes[0], .error = error};
    bool *live = calloc((size_t)tape->count, sizeof *live);
    program->node_value = calloc((size_t)tape->count, sizeof *program->node_value);
    b.short_of_memory = !live || !program->node_value || !make_room(&b);
    ht_error before = error ? *error : (ht_error){0};
    if (!b.short_of_memory) {
        mark_live(tape, outputs, live);
        retain_stores(&b);
    }
    program->facts.recorded = tape->count - 1;
    for (int32_t id = 1; id < tape->count && !b.short_of_memory; id++) {
        const hti_node *node = &tape->nodes[id];
        if (!live[id] && node->op->id == HTI_OP_input) name_input(&b, node, id, HTI_NOWHERE);
        if (!live[id]) continue;
        program->node_value[id] = build_node(&b, id);
        if (error->status != before.status) break;
    }
    if (!b.short_of_memory && error->status == before.status) finish(&b, outputs);
    free(live);
    free(b.in);
    free(b.tensors);
    free(program->node_value);
    program->node_value = NULL;
    if (b.short_of_memory) return ht_fail(error, HT_ENOMEM, "plan: the system gave no memory for the plan");
    return error->status;
}
