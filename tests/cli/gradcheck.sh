#!/bin/sh
# ht-gradcheck as a program: the report's form, exit codes, the planted rule and the command that shows it again.
# Usage: gradcheck.sh HT_GRADCHECK
. "$(dirname "$0")/tap.sh"
program=${1:?usage: gradcheck.sh HT_GRADCHECK}
scratch=$(mktemp -d "${TMPDIR:-/tmp}/gradcheck-XXXXXX") || exit 1
trap 'rm -rf "$scratch"' EXIT

# status WANTED TEXT ARGUMENT...: the exit code; out and err keep what was said
status() {
    wanted=$1
    text=$2
    shift 2
    "$program" "$@" >"$scratch/out" 2>"$scratch/err"
    is=$?
    result "$([ $is = "$wanted" ] && echo 1)" "$text: exit $is"
}

status 0 "everything" --json --junit "$scratch/junit.xml"
if command -v python3 >/dev/null 2>&1; then
    python3 - "$scratch/out" "$scratch/junit.xml" >"$scratch/said" 2>&1 <<'TEXT'
import json, sys, xml.dom.minidom
report = json.load(open(sys.argv[1]))
assert report["failed"] == 0 and report["skipped"] == 0, report
assert report["checks"] >= 20000 and report["seconds"] < 600, report["checks"]
assert sum(op["checks"] for op in report["ops"]) == report["checks"]
pointwise = sum(op["checks"] for op in report["ops"] if op["pointwise"])
assert pointwise <= 0.4 * report["checks"], pointwise
count = {op["name"]: op["checks"] for op in report["ops"]}
assert len(count) == len(report["ops"]), "a name stands twice"
for name in ("conv", "conv_input", "conv_weight", "conv_transpose", "batch_norm", "instance_norm", "group_norm", "layer_norm",
             "attention"):
    assert count[name] >= 500, (name, count[name])
# no rule, hence no derivative to check: constants, choices, comparisons, draws; and the rows of refusals
plain = {"stop", "truncate", "leaky_gate", "sign", "round", "positive", "greater", "equal", "argmax", "max_along",
         "pool_argmax", "uniform", "normal", "bernoulli", "compositions", "bf16"}
few = {name: n for name, n in count.items() if n < 200 and name not in plain}
assert not few, few
named = """exp expm1 log log1p sqrt safe_sqrt rsqrt square reciprocal pow sin cos tanh sigmoid softplus erf erfc gelu gelu_tanh
silu log_sigmoid elu relu leaky_relu abs sign round clamp where maximum minimum less greater equal greater_equal less_equal
not_equal cast truncate sum_to broadcast_to sum_axes mean_axes mean_to variance_axes deviation_axes max_axes min_axes argmax
argmin max_along logsumexp softmax log_softmax dot norm unit reshape permute slice slice_by pad pad_reflect pad_replicate
concat flip roll tile repeat take take_along put one_hot matmul conv conv_transpose max_pool avg_pool adaptive_avg_pool resize
affine_grid grid_sample batch_norm instance_norm group_norm layer_norm attention dropout drop_path l1_loss l2_loss charbonnier
hinge_loss jaccard_loss dice_loss focal_loss weighted_cross_entropy sigmoid_cross_entropy softmax_cross_entropy critic_loss
gradient_penalty dense sgd rmsprop adam adamw uniform normal bernoulli bf16""".split()
assert not set(named) - set(count), set(named) - set(count)
assert all("worst" in op and "failed" in op for op in report["ops"])
cases = xml.dom.minidom.parse(sys.argv[2]).getElementsByTagName("testcase")
assert len(cases) == len(report["ops"])
TEXT
    result "$([ $? = 0 ] && echo 1)" \
        "the JSON is as the contract says, with enough checks of each; JUnit has every op $(tail -n 1 "$scratch/said")"
fi
status 0 "everything in f32" --dtype f32
result "$(grep -q " 0 failed, 0 skipped" "$scratch/out" && echo 1)" "f32: $(tail -n 1 "$scratch/out")"
status 0 "one order" --op softmax --order 3 --seed 12
ONEDNN_MAX_CPU_ISA=AVX2
export ONEDNN_MAX_CPU_ISA
status 0 "bf16 where the processor has none" --op bf16
unset ONEDNN_MAX_CPU_ISA
result "$(grep -q "^1 checks, 0 failed, 0 skipped" "$scratch/out" && echo 1)" \
    "its refusal is the check: $(tail -n 1 "$scratch/out")"
status 1 "a wrong rule" --op tanh --plant tanh:0:1e-4
again=$(sed -n 's/^ *again: ht-gradcheck //p' "$scratch/out")
# shellcheck disable=SC2086 # words of a command
status 1 "the command that is printed shows it again: $again" $again
result "$(grep -q 'order 1, difference' "$scratch/out" && echo 1)" "the message names order and oracle"
status 1 "a report that cannot be kept" --op exp --junit /dev/full
result "$([ "$(wc -l <"$scratch/err")" = 1 ] && echo 1)" "in one line: $(cat "$scratch/err")"

for arguments in '--op nothing' '--order 4' '--dtype f16' '--seed x' '--what' '--op' '--plant conv:7:1e-4' '--plant conv' \
    '--plant sign:0:1' '--dtype f32 --order 2' '--op bf16 --order 2' '--op exp --junit absent/file.xml'; do
    # shellcheck disable=SC2086
    status 2 "refused: $arguments" $arguments
    result "$([ "$(wc -l <"$scratch/err")" = 1 ] && [ ! -s "$scratch/out" ] && echo 1)" \
        "one line on standard error: $(cat "$scratch/err")"
done
for near in 'confv conv' 'softmx softmax' 'Batch_Norm batch_norm' 'graid_sample grid_sample'; do
    status 2 "a name nearly right: ${near% *}" --op "${near% *}"
    result "$(grep -q "the nearest is ${near#* }\$" "$scratch/err" && echo 1)" "$(cat "$scratch/err")"
done
status 2 "a name like none" --op zebra
result "$(grep -q nearest "$scratch/err" || echo 1)" "$(cat "$scratch/err")"

echo "1..$number"
exit $bad
