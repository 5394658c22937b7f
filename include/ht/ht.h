/* hypertape: everything of the framework but nn.h and mlo.h. */
#ifndef HT_HT_H
#define HT_HT_H

#include <ht/base.h>
#include <ht/grad.h>
#include <ht/ops.h>
#include <ht/program.h>
#include <ht/random.h>
#include <ht/store.h>
#include <ht/tape.h>

#endif
