/* The registry: every descriptor of op.def, in its order. */
#include "tape/op.h"

#define HT_OP(name) extern const hti_op hti_op_##name;
#include "tape/op.def"
#undef HT_OP

const hti_op *const hti_ops[HTI_OPS] = {
#define HT_OP(name) [HTI_OP_##name] = &hti_op_##name,
#include "tape/op.def"
#undef HT_OP
};
