#!/bin/sh
# The tables of docs/performance.md are those that bench/table.py makes of bench/results. Usage: figures.sh SOURCE_ROOT
root=${1:?usage: figures.sh SOURCE_ROOT}
if said=$(python3 "$root/bench/table.py" --check "$root/docs/performance.md" 2>&1); then
    echo "ok 1 - the tables of docs/performance.md are made of bench/results"
    bad=0
else
    echo "not ok 1 - the tables of docs/performance.md are made of bench/results"
    echo "$said" | sed 's/^/# /'
    bad=1
fi
echo "1..1"
exit $bad
