/*
 * Making and running one convolution primitive of oneDNN. Implementations named "ref", which take seconds, and those
 * that want very much scratch are refused here, so that the next method takes the problem.
 */
#ifdef HT_ONEDNN

#include "backend/cpu/conv_primitive.h"

#include <stdio.h>
#include <string.h>

static const int argument_of[4][4] = {
    {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST, DNNL_ARG_SCRATCHPAD},
    {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST, DNNL_ARG_SCRATCHPAD},
    {DNNL_ARG_DIFF_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DIFF_DST, DNNL_ARG_SCRATCHPAD},
    {DNNL_ARG_SRC, DNNL_ARG_DIFF_WEIGHTS, DNNL_ARG_DIFF_DST, DNNL_ARG_SCRATCHPAD},
};

ht_status hti_primitive_status(dnnl_status_t status)
{
    return status == dnnl_success ? HT_OK : status == dnnl_out_of_memory ? HT_ENOMEM : HT_EUNSUPPORTED;
}

dnnl_status_t hti_primitive_weights(dnnl_memory_desc_t *weights, const hti_conv_problem *p, hti_primitive_kind kind)
{
    const hti_conv_frame *f = &p->frame;
    int64_t outer = f->filters / f->groups, inner = f->channels / f->groups;
    dnnl_dims_t dims = {0};
    int rank = 0;
    if (f->groups > 1) dims[rank++] = f->groups;
    dims[rank++] = kind == HTI_FLIPPED ? inner : outer;
    dims[rank++] = kind == HTI_FLIPPED ? outer : inner;
    for (int32_t k = 3 - p->axes; k < 3; k++) dims[rank++] = f->kernel[k];
    dnnl_data_type_t type = p->rounded && kind != HTI_TO_WEIGHT ? dnnl_bf16 : dnnl_f32;
    return dnnl_memory_desc_init_by_tag(weights, rank, dims, type, dnnl_format_tag_any);
}

/* The descriptor of the form's own kind; backward kinds need the forward one as a hint. */
static dnnl_status_t describe(dnnl_engine_t engine, const hti_primitive_form *d, const_dnnl_primitive_attr_t attribute,
                              dnnl_primitive_desc_t *chosen)
{
    dnnl_convolution_desc_t forward, backward;
    dnnl_primitive_desc_t first = NULL;
    dnnl_memory_desc_t source = d->source, weights = d->weights, destination = d->destination;
    bool hint = d->kind == HTI_TO_INPUT || d->kind == HTI_TO_WEIGHT;
    if (hint) source.data_type = weights.data_type = destination.data_type = d->operands; /* a result may be wider */
    dnnl_status_t status = dnnl_dilated_convolution_forward_desc_init(
        &forward, dnnl_forward_training, d->algorithm, &source, &weights, NULL, &destination, d->steps, d->dilations,
        d->before, d->after);
    if (status == dnnl_success) status = dnnl_primitive_desc_create(&first, &forward, attribute, engine, NULL);
    if (status != dnnl_success || !hint) {
        *chosen = first;
        return status;
    }
    if (d->kind == HTI_TO_INPUT)
        status = dnnl_dilated_convolution_backward_data_desc_init(&backward, d->algorithm, &d->source, &d->weights,
                                                                  &d->destination, d->steps, d->dilations, d->before,
                                                                  d->after);
    else
        status = dnnl_dilated_convolution_backward_weights_desc_init(&backward, d->algorithm, &d->source, &d->weights,
                                                                     NULL, &d->destination, d->steps, d->dilations,
                                                                     d->before, d->after);
    if (status == dnnl_success) status = dnnl_primitive_desc_create(chosen, &backward, attribute, engine, first);
    dnnl_primitive_desc_destroy(first);
    return status;
}

static dnnl_status_t choose(dnnl_engine_t engine, const hti_primitive_form *d, dnnl_primitive_desc_t *chosen)
{
    dnnl_primitive_attr_t attribute = NULL;
    dnnl_status_t status = dnnl_primitive_attr_create(&attribute);
    if (status == dnnl_success) status = dnnl_primitive_attr_set_scratchpad_mode(attribute, dnnl_scratchpad_mode_user);
    if (status == dnnl_success) status = dnnl_primitive_attr_set_fpmath_mode(attribute, dnnl_fpmath_mode_strict);
    if (status == dnnl_success) status = describe(engine, d, attribute, chosen);
    if (attribute) dnnl_primitive_attr_destroy(attribute);
    return status;
}

ht_status hti_primitive_make(hti_primitive *p, dnnl_engine_t engine, const hti_primitive_form *form,
                             dnnl_memory_desc_t *weights)
{
    dnnl_primitive_desc_t chosen = NULL;
    const char *name = "ref";
    *p = (hti_primitive){.kind = form->kind};
    dnnl_status_t status = choose(engine, form, &chosen);
    if (status == dnnl_success) status = dnnl_primitive_desc_query(chosen, dnnl_query_impl_info_str, 0, &name);
    if (status == dnnl_success && strncmp(name, "ref", 3) == 0) status = dnnl_unimplemented;
    snprintf(p->implementation, sizeof p->implementation, "%s", name);
    for (int k = 3; k >= 0 && status == dnnl_success; k--) {
        const dnnl_memory_desc_t *md =
            dnnl_primitive_desc_query_md(chosen, dnnl_query_exec_arg_md, argument_of[form->kind][k]);
        p->bytes[k] = dnnl_memory_desc_get_size(md);
        if (k == 3 && p->bytes[k] > form->most_scratch) status = dnnl_unimplemented;
        if (k == 1) *weights = *md;
        if (status == dnnl_success) status = dnnl_memory_create(&p->memory[k], md, engine, DNNL_MEMORY_NONE);
    }
    if (status == dnnl_success) status = dnnl_primitive_create(&p->primitive, chosen);
    if (status == dnnl_success) status = dnnl_stream_create(&p->stream, engine, dnnl_stream_default_flags);
    if (chosen) dnnl_primitive_desc_destroy(chosen);
    return hti_primitive_status(status);
}

ht_status hti_primitive_run(hti_primitive *p, void *const handle[4])
{
    dnnl_exec_arg_t arguments[4];
    for (int k = 0; k < 4; k++) {
        if (p->handle[k] != handle[k]) {
            dnnl_status_t status = dnnl_memory_set_data_handle(p->memory[k], handle[k]);
            if (status != dnnl_success) return hti_primitive_status(status);
            p->handle[k] = handle[k];
        }
        arguments[k].arg = argument_of[p->kind][k];
        arguments[k].memory = p->memory[k];
    }
    dnnl_status_t status = dnnl_primitive_execute(p->primitive, p->stream, 4, arguments);
    if (status == dnnl_success) status = dnnl_stream_wait(p->stream);
    return hti_primitive_status(status);
}

void hti_primitive_free(hti_primitive *p)
{
    for (int k = 0; k < 4; k++)
        if (p->memory[k]) dnnl_memory_destroy(p->memory[k]);
    if (p->primitive) dnnl_primitive_destroy(p->primitive);
    if (p->stream) dnnl_stream_destroy(p->stream);
}

#else

/* ISO C wants a translation unit to declare something. */
typedef int hti_no_primitive;

#endif
