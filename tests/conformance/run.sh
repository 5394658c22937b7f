#!/bin/sh
# Cases by PyTorch, worked out by the installed ht-conform. Usage: run.sh PYTHON [--peer FILE]
python=${1:?usage: run.sh PYTHON [--peer FILE]}
shift
here=$(cd "$(dirname "$0")" && pwd)
conform=${HT_CONFORM:-$here/../../build/prefix/bin/ht-conform}
folder=$(mktemp -d "${TMPDIR:-/tmp}/ht-cases-XXXXXX") || exit 1
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT TERM
"$python" "$here/make_cases.py" "$folder" "$@" || exit 1
OMP_WAIT_POLICY=passive "$conform" "$folder"/*.safetensors >"$folder/lines"
status=$?
grep '^FAIL' "$folder/lines"
awk 'BEGIN { OFS = "\t"; print "case", "worst" } $1 == "ok" || $1 == "FAIL" { print $2, $3 }' "$folder/lines" >"$here/results.tsv"
awk -F '\t' 'NR > 1 {
    name = $1
    sub(/-[0-9]+$/, "", name)
    count[name]++
    if (!(name in worst) || $2 == "inf" || $2 + 0 > worst[name] + 0) worst[name] = $2
} END { for (name in count) printf "%-24s %4d cases, worst %s\n", name, count[name], worst[name] }' "$here/results.tsv" | sort
tail -n 1 "$folder/lines"
exit $status
