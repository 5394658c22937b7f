#!/bin/sh
# Runs every benchmark of docs/performance.md, one after the other, and leaves bench/results/NAME.json of each; then
# bench/table.py --write brings the page's tables up to date. Under an hour on two idle cores: where something else
# runs, the figures mean nothing.
#     bench/all.sh PYTHON [NAME...]      PYTHON: one that can import torch; NAME: only these; BIN: where the programs are
# A benchmark without a ratio is named at the end, and its older result stays as it was.
python=${1:?usage: bench/all.sh PYTHON [NAME...]}
shift
root=$(cd "$(dirname "$0")/.." && pwd) || exit 1
bin=${BIN:-$root/build/prefix/bin}
wanted=" $* "
failed=
cd "$root" || exit 1
mkdir -p bench/results
"$python" -c 'import torch' || { echo "bench/all.sh: $python cannot import torch; expected a Python that can" >&2; exit 2; }

# measure NAME PROGRAM OPTIONS...: table.py reads these lines too, for the commands that the page shows.
measure() {
    name=$1
    program=$2
    shift 2
    case $wanted in "  " | *" $name "*) ;; *) return ;; esac
    begun=$(date +%s)
    # One of several may lack its ratio (an exit status of 1): the others count.
    if "$bin/$program" "$@" --json >"bench/results/$name.part" ||
        grep -q '"ratio_median":[0-9]' "bench/results/$name.part"; then
        mv "bench/results/$name.part" "bench/results/$name.json"
    else
        rm -f "bench/results/$name.part"
        failed="$failed $name"
    fi
    echo "$name: $(($(date +%s) - begun)) s"
}

measure round-paper bench_round --hypergradient total --search decoder --repeat 5 --states 2 \
    --peer-limit 135 --vs-torch="$python"
measure round-small-64-decoder bench_round --preset small --size 64 --hypergradient total --search decoder --repeat 5 \
    --peer-limit 40 --vs-torch="$python"
measure round-paper-both bench_round --hypergradient total --search both --repeat 2 --states 1 --peer-limit 135 \
    --vs-torch="$python"
measure round-paper-alone bench_round --hypergradient total --search decoder --repeat 3 --alone
measure hypergradient-paper bench_hypergradient --search decoder --repeat 1
measure hypergradient-small bench_hypergradient --preset small --search both
measure unet-paper bench_hypergradient --model unet --size 256 --batch 2 --width 64 --repeat 2 --states 2 \
    --peer-limit 60 --vs-torch="$python"
measure ops-128 bench_ops --size 128 --batch 2 --width 64 --repeat 2 --peer-limit 60 --vs-torch="$python"
measure ops-roofs bench_ops

python3 bench/table.py --write docs/performance.md
[ -z "$failed" ] || { echo "bench/all.sh: no result of:$failed" >&2; exit 1; }
