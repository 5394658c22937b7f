/*
 * Convolution by its definition (kernel/conv.inl), element by element: for any strides and any type, for builds
 * without libraries, for depthwise layers, where GEMM has nothing to do, and as what the fast methods are tested by.
 */
#include "backend/cpu/conv.h"

#include "base/internal.h"

#define HT_BODY "kernel/conv.inl"
#include "kernel/reals.h"

typedef struct loop {
    const hti_conv_problem *problem;
    const void *first, *second;
    void *result;
} loop;

static void run_f32(const loop *l, int64_t begin, int64_t end)
{
    const hti_conv_frame *f = &l->problem->frame;
    const float *a = l->first, *b = l->second;
    float *c = l->result;
    hti_conv_face face = l->problem->face;
    if (face == HTI_CONV_FORWARD)
        for (int64_t e = begin; e < end; e++) hti_conv_element_f32(f, a, b, c, e);
    else if (face == HTI_CONV_TO_INPUT)
        for (int64_t e = begin; e < end; e++) hti_conv_input_element_f32(f, a, b, c, e);
    else
        for (int64_t e = begin; e < end; e++) hti_conv_weight_element_f32(f, a, b, c, e);
}

static void run_f64(const loop *l, int64_t begin, int64_t end)
{
    const hti_conv_frame *f = &l->problem->frame;
    const double *a = l->first, *b = l->second;
    double *c = l->result;
    hti_conv_face face = l->problem->face;
    if (face == HTI_CONV_FORWARD)
        for (int64_t e = begin; e < end; e++) hti_conv_element_f64(f, a, b, c, e);
    else if (face == HTI_CONV_TO_INPUT)
        for (int64_t e = begin; e < end; e++) hti_conv_input_element_f64(f, a, b, c, e);
    else
        for (int64_t e = begin; e < end; e++) hti_conv_weight_element_f64(f, a, b, c, e);
}

static void run_elements(void *context, int64_t begin, int64_t end)
{
    const loop *l = context;
    if (l->problem->dtype == HT_F32)
        run_f32(l, begin, end);
    else
        run_f64(l, begin, end);
}

static ht_status run_reference(void *own, const hti_conv_problem *problem, const hti_run *run)
{
    (void)own;
    loop l = {problem, run->in[0].data, run->in[1].data, run->out->data};
    const hti_conv_frame *f = &problem->frame;
    double each = problem->face == HTI_CONV_TO_WEIGHT
                      ? (double)f->batch * (double)f->out[0] * (double)f->out[1] * (double)f->out[2]
                      : (double)f->channels / (double)f->groups * (double)f->kernel[0] * (double)f->kernel[1] *
                            (double)f->kernel[2];
    int64_t grain = each < 1 ? 32768 : each < 32768 ? (int64_t)(32768 / each) + 1 : 1; /* an empty batch has 0 each */
    hti_parallel_for(run->threads, ht_shape_count(run->out->shape), grain, run_elements, &l);
    return HT_OK;
}

static ht_status prepare_reference(const hti_conv_problem *problem, void **own, hti_choice *choice)
{
    if (problem->dtype != HT_F32 && problem->dtype != HT_F64) return HT_EUNSUPPORTED;
    *own = NULL;
    choice->algorithm = "direct loops";
    return HT_OK;
}

const hti_conv_method hti_conv_reference = {.prepare = prepare_reference, .run = run_reference};
