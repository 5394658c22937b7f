/*
 * Random draws of the CPU: the bodies of kernel/random.inl, with the words of a block drawn four at a time, as the
 * generator makes them. Elements are counted row-major whatever the result's order in memory.
 */
#include <string.h>

#include "backend/cpu/cpu.h"
#include "backend/cpu/loops.h"

/* Elements per block, a multiple of 4; and two words for each of them. */
#define BLOCK 256
#define WORDS (2 * BLOCK)

#define T float
#define HT_NAME(name) name##_f32
#include "kernel/random.inl"
#undef T
#undef HT_NAME
#define T double
#define HT_NAME(name) name##_f64
#include "kernel/random.inl"
#undef T
#undef HT_NAME

typedef struct draw_context {
    uint64_t key, step;
    double probability;
    hti_tensor out;
    bool dense;
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

/* n numbers of 4 or 8 bytes to places `stride` bytes apart. */
static void scatter(char *to, int64_t stride, const char *from, int64_t n, size_t bytes)
{
    if (bytes == 4)
        for (int64_t i = 0; i < n; i++) memcpy(to + i * stride, from + 4 * i, 4);
    else
        for (int64_t i = 0; i < n; i++) memcpy(to + i * stride, from + 8 * i, 8);
}

/* Writes values [begin, begin + n) of the row-major count to where they lie in the result, row by row. */
static void store(const draw_context *c, const void *value, int64_t begin, int64_t n)
{
    const size_t bytes = ht_dtype_bytes(c->out.dtype);
    const char *from = value;
    char *to = c->out.data;
    if (c->dense) {
        memcpy(to + (size_t)begin * bytes, from, (size_t)n * bytes);
        return;
    }
    const int32_t last = c->out.shape.rank - 1;
    const int64_t row = c->out.shape.dim[last], stride = c->out.stride[last];
    hti_walk rows = {.rank = last};
    memcpy(rows.dim, c->out.shape.dim, sizeof rows.dim);
    memcpy(rows.stride, c->out.stride, sizeof rows.stride);
    hti_walk_to(&rows, begin / row);
    for (int64_t column = begin % row; n > 0; column = 0) {
        const int64_t count = row - column < n ? row - column : n;
        scatter(to + (rows.offset + column * stride) * (int64_t)bytes, stride * (int64_t)bytes, from, count, bytes);
        from += (size_t)count * bytes;
        n -= count;
        hti_walk_next(&rows);
    }
}

/* `each` words per element; `value` computes element i of a block from `word`. */
#define DRAW_LOOP(name, S, T, each, value)                                                  \
    static void name##_##S(void *context, int64_t begin, int64_t end)                       \
    {                                                                                       \
        const draw_context *c = context;                                                    \
        uint32_t word[WORDS];                                                               \
        T block[WORDS / each];                                                              \
        for (int64_t at = begin; at < end; at += WORDS / each) {                            \
            const int64_t n = end - at < WORDS / each ? end - at : WORDS / each;            \
            draw_words(word, c->key, c->step, each * (uint64_t)at);                         \
            HTI_EACH(block[i] = value);                                                     \
            store(c, block, at, n);                                                         \
        }                                                                                   \
    }
#define DRAW_LOOPS(S, T)                                                                    \
    DRAW_LOOP(uniform, S, T, 1, k_uniform_word_##S(word[i]))                                \
    DRAW_LOOP(bernoulli, S, T, 1, k_bernoulli_word_##S(word[i], c->probability))            \
    DRAW_LOOP(normal, S, T, 2, k_normal_words_##S(word[2 * i], word[2 * i + 1]))
DRAW_LOOPS(f32, float)
DRAW_LOOPS(f64, double)

static ht_status draw(const hti_run *run, uint64_t stream, hti_body f32, hti_body f64)
{
    const hti_random_attributes *attributes = run->attributes;
    const ht_dtype dtype = run->out->dtype;
    if (dtype != HT_F32 && dtype != HT_F64) return HT_EDTYPE;
    draw_context c = {.key = attributes->key, .probability = attributes->probability, .out = *run->out};
    if (run->inputs > 0) {
        if (run->in[0].dtype != HT_I32) return HT_EDTYPE;
        c.step = (uint64_t)(int64_t)*(const int32_t *)run->in[0].data;
    }
    if (stream != 0) c.key = ht_random_mix(c.key, stream);
    c.dense = hti_is_row_major(run->out);
    hti_parallel_for(run->threads, ht_shape_count(run->out->shape), HTI_GRAIN / WORDS * WORDS,
                     dtype == HT_F32 ? f32 : f64, &c);
    return HT_OK;
}

static ht_status run_uniform(const hti_run *run) { return draw(run, 0, uniform_f32, uniform_f64); }
static ht_status run_bernoulli(const hti_run *run) { return draw(run, 0, bernoulli_f32, bernoulli_f64); }
/* Stream 1 of the key, as k_normal has it. */
static ht_status run_normal(const hti_run *run) { return draw(run, 1, normal_f32, normal_f64); }

const hti_kernel hti_cpu_uniform = {.run = run_uniform, .order = HTI_FOLLOW, .views = HTI_ANY_VIEW};
const hti_kernel hti_cpu_normal = {.run = run_normal, .order = HTI_FOLLOW, .views = HTI_ANY_VIEW};
const hti_kernel hti_cpu_bernoulli = {.run = run_bernoulli, .order = HTI_FOLLOW, .views = HTI_ANY_VIEW};
