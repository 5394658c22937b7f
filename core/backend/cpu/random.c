/*
 * Random draws of the CPU: the bodies of kernel/random.inl, with the words of a block drawn four at a time, as the
 * generator makes them. Elements are counted row-major whatever the result's order in memory.
 */
#include "backend/cpu/cpu.h"
#include "backend/cpu/loops.h"

/* Elements per block, a multiple of 4; and two words for each of them. */
#define BLOCK 256
#define WORDS (2 * BLOCK)

#define HT_BODY "kernel/random.inl"
#include "kernel/reals.h"

typedef struct draw_context {
    uint64_t key, step;
    double probability;
    void *to; /* row-major */
} draw_context;

/* Words first .. first + WORDS of the stream; first is a multiple of 4. */
static void draw_words(uint32_t *word, uint64_t key, uint64_t step, uint64_t first)
{
    const int64_t n = WORDS / 4;
    uint32_t lane[4][WORDS / 4];
    HTI_EACH({
        const ht_philox r = ht_philox_draw(key, first / 4 + (uint64_t)i, step);
        lane[0][i] = r.word[0];
        lane[1][i] = r.word[1];
        lane[2][i] = r.word[2];
        lane[3][i] = r.word[3];
    });
    for (int64_t i = 0; i < n; i++)
        for (int64_t k = 0; k < 4; k++) word[4 * i + k] = lane[k][i];
}

/* `each` words per element; `value` computes element i of a block from `word`. */
#define DRAW_LOOP(name, S, T, each, value)                                                  \
    static void name##_##S(void *context, int64_t begin, int64_t end)                       \
    {                                                                                       \
        const draw_context *c = context;                                                    \
        uint32_t word[WORDS];                                                               \
        for (int64_t at = begin; at < end; at += WORDS / each) {                            \
            const int64_t n = end - at < WORDS / each ? end - at : WORDS / each;            \
            draw_words(word, c->key, c->step, each * (uint64_t)at);                         \
            T *to = (T *)c->to + at;                                                        \
            HTI_EACH(to[i] = value);                                                        \
        }                                                                                   \
    }
#define DRAW_LOOPS(S, T)                                                                    \
    DRAW_LOOP(uniform, S, T, 1, k_uniform_word_##S(word[i]))                                \
    DRAW_LOOP(bernoulli, S, T, 1, k_bernoulli_word_##S(word[i], c->probability))            \
    DRAW_LOOP(normal, S, T, 2, k_normal_words_##S(word[2 * i], word[2 * i + 1]))
DRAW_LOOPS(f32, float)
DRAW_LOOPS(f64, double)

static hti_tensor row_major(const hti_tensor *like, void *data)
{
    hti_tensor t = *like;
    int64_t stride = 1;
    for (int32_t k = t.shape.rank - 1; k >= 0; k--) {
        t.stride[k] = stride;
        stride *= t.shape.dim[k];
    }
    t.data = data;
    return t;
}

/* A result in another order is drawn row-major into scratch first: a tiled copy is cheaper than scattered writes. */
static ht_status prepare_draw(const void *attributes, const hti_tensor *in, int32_t inputs, const hti_tensor *out,
                              int32_t threads, hti_choice *choice, ht_error *error)
{
    (void)attributes, (void)in, (void)inputs, (void)threads;
    if (hti_is_row_major(out)) return HT_OK;
    if (!hti_bytes(ht_shape_count(out->shape), ht_dtype_bytes(out->dtype), &choice->scratch_bytes))
        return ht_fail(error, HT_ENOMEM, "random draw: the array does not fit into memory; use a smaller one");
    return HT_OK;
}

static ht_status draw(const hti_run *run, uint64_t stream, hti_body f32, hti_body f64)
{
    const hti_random_attributes *attributes = run->attributes;
    const ht_dtype dtype = run->out->dtype;
    const bool dense = hti_is_row_major(run->out);
    if (dtype != HT_F32 && dtype != HT_F64) return HT_EDTYPE;
    if (ht_shape_count(run->out->shape) == 0) return HT_OK;
    if (!dense && !run->scratch) return HT_EINTERNAL;
    draw_context c = {.key = stream ? ht_random_mix(attributes->key, stream) : attributes->key,
                      .probability = attributes->probability, .to = dense ? run->out->data : run->scratch};
    if (run->inputs > 0) {
        if (run->in[0].dtype != HT_I32) return HT_EDTYPE;
        c.step = (uint64_t)(int64_t)*(const int32_t *)run->in[0].data;
    }
    hti_parallel_for(run->threads, ht_shape_count(run->out->shape), HTI_GRAIN / WORDS * WORDS,
                     dtype == HT_F32 ? f32 : f64, &c);
    if (dense) return HT_OK;
    const hti_tensor drawn = row_major(run->out, run->scratch);
    return hti_copy(&drawn, run->out, run->threads);
}

static ht_status run_uniform(const hti_run *run) { return draw(run, 0, uniform_f32, uniform_f64); }
static ht_status run_bernoulli(const hti_run *run) { return draw(run, 0, bernoulli_f32, bernoulli_f64); }
/* Stream 1 of the key, as k_normal has it. */
static ht_status run_normal(const hti_run *run) { return draw(run, 1, normal_f32, normal_f64); }

#define KERNEL(name)                                                                   \
    const hti_kernel hti_cpu_##name = {                                                \
        .run = run_##name, .prepare = prepare_draw, .order = HTI_FOLLOW, .views = HTI_ANY_VIEW};
KERNEL(uniform)
KERNEL(normal)
KERNEL(bernoulli)
