/*
 * Rates over time, on the host: what a program sees is a scalar input that is set before a run.
 */
#include <math.h>

#include <ht/nn.h>

#define PI 3.14159265358979323846264338327950

double nn_plateau_step(nn_plateau *plateau, double score)
{
    if (!isnan(score) && (!plateau->started || score > plateau->best + plateau->threshold * fabs(plateau->best))) {
        plateau->best = score;
        plateau->started = 1;
        plateau->waited = 0;
        return plateau->rate;
    }
    if (plateau->waited++ < plateau->patience) return plateau->rate;
    plateau->waited = 0;
    double lower = plateau->rate * plateau->factor;
    if (lower < plateau->minimum) lower = plateau->minimum;
    if (lower < plateau->rate) plateau->rate = lower; /* a rate that began below the minimum stays */
    return plateau->rate;
}

double nn_rate_step(double rate, double factor, int64_t every, int64_t round)
{
    return every < 1 || round < 0 ? rate : rate * pow(factor, (double)(round / every));
}

/* How far a schedule has come, from 0 to 1. */
static double passed(int64_t rounds, int64_t round)
{
    if (rounds <= 0 || round >= rounds) return 1;
    return round <= 0 ? 0 : (double)round / (double)rounds;
}

double nn_rate_cosine(double rate, double last, int64_t rounds, int64_t round)
{
    return last + (rate - last) * 0.5 * (1 + cos(PI * passed(rounds, round)));
}

double nn_rate_linear(double rate, double last, int64_t rounds, int64_t round)
{
    double t = passed(rounds, round);
    return (1 - t) * rate + t * last;
}
