/*
 * The loops of pooling for one number type: included by window.c, like the bodies of kernel/, after its context. Each
 * task is one position of the result; its channels lie side by side and go through vector loops, tap by tap, in the
 * order of the bodies in kernel/window.inl.
 */

static inline void HT_NAME(better)(T *best, int32_t *place, const T *x, int64_t n, int64_t stride, int32_t here)
{
    HTI_EACH({
        const T v = x[i * stride];
        const int take = HT_NAME(k_beats)(v, best[i]);
        best[i] = take ? v : best[i];
        place[i] = take ? here : place[i];
    });
}

static inline void HT_NAME(add_row)(T *sum, const T *x, int64_t n, int64_t stride)
{
    HTI_EACH(sum[i] += x[i * stride]);
}

static inline void HT_NAME(add_where)(T *sum, const T *g, const int32_t *place, int64_t n, int64_t g_stride,
                                      int64_t place_stride, int32_t here)
{
    HTI_EACH(sum[i] += place[i * place_stride] == here ? g[i * g_stride] : (T)0);
}

/* The sum has one term; a zero without a sign stays one. */
static inline void HT_NAME(put_where)(T *to, const T *g, const int32_t *place, int64_t n, int64_t to_stride, int64_t g_stride,
                                      int64_t place_stride, int32_t here)
{
    HTI_EACH(to[i * to_stride] = (T)0 + (place[i * place_stride] == here ? g[i * g_stride] : (T)0));
}

static void HT_NAME(argmax_tasks)(void *context, int64_t begin, int64_t end)
{
    const window_context *c = context;
    const side *x = &c->in[0];
    for (int64_t task = begin; task < end; task++) {
        const task_place at = place_of(c, task, c->window.windows);
        const int64_t n = at.channels;
        const hti_range r[3] = {hti_taps(&c->window, 0, at.p[0]), hti_taps(&c->window, 1, at.p[1]),
                                hti_taps(&c->window, 2, at.p[2])};
        T best[CHANNELS];
        int32_t place[CHANNELS];
        HTI_EACH(place[i] = -1);
        int64_t taps = 0;
        for (int64_t a = r[0].begin; a < r[0].end; a++)
            for (int64_t b = r[1].begin; b < r[1].end; b++)
                for (int64_t d = r[2].begin; d < r[2].end; d++) {
                    const T *row = (const T *)x->data + row_offset(x, &at, a, b, d);
                    const int32_t here = (int32_t)hti_flat(&c->window, a, b, d);
                    if (taps++ == 0) {
                        HTI_EACH({
                            best[i] = row[i * x->channel];
                            place[i] = here;
                        });
                    } else if (x->channel == 1) {
                        HT_NAME(better)(best, place, row, n, 1, here);
                    } else {
                        HT_NAME(better)(best, place, row, n, x->channel, here);
                    }
                }
        int32_t *to = (int32_t *)c->out.data + row_offset(&c->out, &at, at.p[0], at.p[1], at.p[2]);
        const int64_t stride = c->out.channel;
        HTI_EACH(to[i * stride] = place[i]);
    }
}

static void HT_NAME(take_tasks)(void *context, int64_t begin, int64_t end)
{
    const window_context *c = context;
    const side *x = &c->in[0], *index = &c->in[1];
    const int64_t places = c->window.image[0] * c->window.image[1] * c->window.image[2];
    for (int64_t task = begin; task < end; task++) {
        const task_place at = place_of(c, task, c->window.windows);
        const int64_t n = at.channels, flat = c->flat_stride, channel = x->channel;
        const T *from = (const T *)x->data + row_offset(x, &at, 0, 0, 0);
        const int32_t *place = (const int32_t *)index->data + row_offset(index, &at, at.p[0], at.p[1], at.p[2]);
        T *to = (T *)c->out.data + row_offset(&c->out, &at, at.p[0], at.p[1], at.p[2]);
        for (int64_t i = 0; i < n; i++) {
            const int32_t here = place[i * index->channel];
            if (flat == 0)
                to[i * c->out.channel] = HT_NAME(k_pool_take)(&c->window, from + i * channel, x->spatial, here);
            else
                to[i * c->out.channel] = here >= 0 && here < places ? from[i * channel + here * flat] : (T)0;
        }
    }
}

/* The sum over a box of rows of x, written at `at`. */
static void HT_NAME(sum_box)(const window_context *c, const task_place *at, const hti_range *r)
{
    const side *x = &c->in[0];
    const int64_t n = at->channels;
    T sum[CHANNELS];
    HTI_EACH(sum[i] = (T)0);
    for (int64_t a = r[0].begin; a < r[0].end; a++)
        for (int64_t b = r[1].begin; b < r[1].end; b++)
            for (int64_t d = r[2].begin; d < r[2].end; d++) {
                const T *row = (const T *)x->data + row_offset(x, at, a, b, d);
                if (x->channel == 1) HT_NAME(add_row)(sum, row, n, 1);
                else HT_NAME(add_row)(sum, row, n, x->channel);
            }
    T *to = (T *)c->out.data + row_offset(&c->out, at, at->p[0], at->p[1], at->p[2]);
    HTI_EACH(to[i * c->out.channel] = sum[i]);
}

static void HT_NAME(sum_tasks)(void *context, int64_t begin, int64_t end)
{
    const window_context *c = context;
    for (int64_t task = begin; task < end; task++) {
        const task_place at = place_of(c, task, c->window.windows);
        const hti_range r[3] = {hti_taps(&c->window, 0, at.p[0]), hti_taps(&c->window, 1, at.p[1]),
                                hti_taps(&c->window, 2, at.p[2])};
        HT_NAME(sum_box)(c, &at, r);
    }
}

static void HT_NAME(spread_tasks)(void *context, int64_t begin, int64_t end)
{
    const window_context *c = context;
    for (int64_t task = begin; task < end; task++) {
        const task_place at = place_of(c, task, c->window.image);
        const hti_range r[3] = {hti_covers(&c->window, 0, at.p[0]), hti_covers(&c->window, 1, at.p[1]),
                                hti_covers(&c->window, 2, at.p[2])};
        HT_NAME(sum_box)(c, &at, r);
    }
}

/* Of windows side by side, each of which puts to its own taps. */
static void HT_NAME(put_apart_tasks)(void *context, int64_t begin, int64_t end)
{
    const window_context *c = context;
    const side *g = &c->in[0], *index = &c->in[1];
    const int64_t *kernel = c->window.kernel;
    for (int64_t task = begin; task < end; task++) {
        const task_place at = place_of(c, task, c->window.windows);
        const int64_t n = at.channels, a = at.p[0] * kernel[0], b = at.p[1] * kernel[1], d = at.p[2] * kernel[2];
        const T *row = (const T *)g->data + row_offset(g, &at, at.p[0], at.p[1], at.p[2]);
        const int32_t *place = (const int32_t *)index->data + row_offset(index, &at, at.p[0], at.p[1], at.p[2]);
        for (int64_t i = 0; i < kernel[0]; i++)
            for (int64_t j = 0; j < kernel[1]; j++)
                for (int64_t k = 0; k < kernel[2]; k++) {
                    T *to = (T *)c->out.data + row_offset(&c->out, &at, a + i, b + j, d + k);
                    const int32_t here = (int32_t)hti_flat(&c->window, a + i, b + j, d + k);
                    if (g->channel == 1 && index->channel == 1 && c->out.channel == 1)
                        HT_NAME(put_where)(to, row, place, n, 1, 1, 1, here);
                    else
                        HT_NAME(put_where)(to, row, place, n, c->out.channel, g->channel, index->channel, here);
                }
    }
}

static void HT_NAME(put_tasks)(void *context, int64_t begin, int64_t end)
{
    const window_context *c = context;
    const side *g = &c->in[0], *index = &c->in[1];
    for (int64_t task = begin; task < end; task++) {
        const task_place at = place_of(c, task, c->window.image);
        const hti_range r[3] = {hti_covers(&c->window, 0, at.p[0]), hti_covers(&c->window, 1, at.p[1]),
                                hti_covers(&c->window, 2, at.p[2])};
        const int32_t here = (int32_t)hti_flat(&c->window, at.p[0], at.p[1], at.p[2]);
        const int64_t n = at.channels;
        T sum[CHANNELS];
        HTI_EACH(sum[i] = (T)0);
        for (int64_t a = r[0].begin; a < r[0].end; a++)
            for (int64_t b = r[1].begin; b < r[1].end; b++)
                for (int64_t d = r[2].begin; d < r[2].end; d++) {
                    const T *row = (const T *)g->data + row_offset(g, &at, a, b, d);
                    const int32_t *place = (const int32_t *)index->data + row_offset(index, &at, a, b, d);
                    if (g->channel == 1 && index->channel == 1)
                        HT_NAME(add_where)(sum, row, place, n, 1, 1, here);
                    else
                        HT_NAME(add_where)(sum, row, place, n, g->channel, index->channel, here);
                }
        T *to = (T *)c->out.data + row_offset(&c->out, &at, at.p[0], at.p[1], at.p[2]);
        HTI_EACH(to[i * c->out.channel] = sum[i]);
    }
}
