#!/bin/sh
# Bad input to the real program, row by row of bad_input.tsv: the exit code, exactly one line on stderr in the promised form
# with the promised words, and no file made, changed or left over. Usage: bad_input.sh GENSEG
. "$(dirname "$0")/tap.sh"
genseg=${1:?usage: bad_input.sh GENSEG}
here=$(cd "$(dirname "$0")" && pwd)
case $genseg in /*) ;; *) genseg=$(pwd)/$genseg ;; esac

if ! command -v python3 >/dev/null 2>&1; then
    echo "1..0 # SKIP python3 is not here"
    exit 0
fi

scratch=$(mktemp -d "${TMPDIR:-/tmp}/genseg-bad-XXXXXX") || exit 1
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM
dir=$scratch/data
run=$scratch/runs/finished
damaged=$scratch/runs/damaged
tab=$(printf '\t')
# shellcheck disable=SC2034 # rows use them
escape=$(printf '\033[31m')
# shellcheck disable=SC2034
escape_line=$(printf '\n\033[31mname.toml')
# the smallest networks that there are; shared by rows through {tiny}
tiny="--rounds 2 --seed 3 --threads 1 --quiet --set data.size=32 --set model.generator_width=2 --set model.generator_levels=3
    --set model.discriminator_width=2 --set model.discriminator_layers=1 --set model.unet_width=2 --set model.unet_depth=2
    --set pretrain.steps=1 --set run.validate_every=1 --set run.checkpoint_every=1 --set run.picture_every=0"

# Every file and link below the scratch folder with its checksum.
snapshot() {
    (cd "$scratch" && find . -type f -exec cksum {} + | sort; find . ! -type f ! -type d | sort) >"$1"
}

# Whether stderr is one good line: form, length, no control characters, no word that says nothing.
one_line() {
    [ "$(wc -l <"$output/stderr")" -eq 1 ] || return 1
    [ "$(wc -c <"$output/stderr")" -le 1024 ] || return 1
    [ "$(tail -c 1 "$output/stderr" | od -An -tx1 | tr -d ' ')" = 0a ] || return 1
    head -c 8 "$output/stderr" | grep -q '^genseg: ' || return 1
    tr -d '\n' <"$output/stderr" | LC_ALL=C grep -q '[[:cntrl:]]' && return 1
    grep -qi 'error\|failed' "$output/stderr" && return 1
    # PLACE: what; what was expected or what to do
    grep -q '^genseg: .*[^ ]: .*; ' "$output/stderr"
}

# has_words "a|b": each stands in the line, as it is
has_words() {
    rest=$1
    while [ -n "$rest" ]; do
        word=${rest%%|*}
        case $rest in *"|"*) rest=${rest#*|} ;; *) rest= ;; esac
        grep -qF -e "$word" "$output/stderr" || return 1
    done
}

# row NAME CODE WORDS ARGUMENTS
row() {
    # shellcheck disable=SC2034 # through eval
    out=$scratch/new/out
    # shellcheck disable=SC2016 # the names of variables, for eval
    arguments=$(printf '%s' "$4" | sed -e 's|{dir}|$dir|g' -e 's|{out}|$out|g' -e 's|{run}|$run|g' \
        -e 's|{damaged}|$damaged|g' -e 's|{tiny}|$tiny|g')
    eval "set -- \"\$1\" \"\$2\" \"\$3\" $arguments"
    name=$1 code=$2 words=$3
    shift 3
    # a program that hangs is a finding, not a stopped test
    timeout 60 "$genseg" "$@" >"$output/stdout" 2>"$output/stderr"
    found=$?
    snapshot "$output/after"
    why=
    [ "$found" -eq "$code" ] || why="$why exit code $found instead of $code;"
    one_line || why="$why stderr is not one line of the promised form;"
    has_words "$words" || why="$why words are missing ($words);"
    cmp -s "$output/before" "$output/after" || why="$why files differ;"
    if [ -z "$why" ]; then
        result 1 "$name"
        return
    fi
    result 0 "$name:$why"
    head -c 2000 "$output/stderr" | sed 's/^/# /'
    diff "$output/before" "$output/after" | head -20 | sed 's/^/# /'
    rm -rf "$scratch/new"
    mkdir "$scratch/new"
    snapshot "$output/before"
}

# Flips one byte in the middle of a file.
flip() {
    python3 -c 'import sys
with open(sys.argv[1], "r+b") as f:
    data = f.read()
    f.seek(len(data) // 2)
    f.write(bytes([data[len(data) // 2] ^ 1]))' "$1"
}

output=$(mktemp -d "${TMPDIR:-/tmp}/genseg-bad-output-XXXXXX") || exit 1
trap 'rm -rf "$scratch" "$output"' EXIT
mkdir "$scratch/runs" "$scratch/new" "$dir"
python3 "$here/fixtures.py" "$dir" || exit 1

# what must work, or the rest proves nothing
for command in '' train evaluate predict report; do
    # shellcheck disable=SC2086 # the empty command is no argument
    "$genseg" $command --help >"$output/stdout" 2>"$output/stderr"
    found=$?
    [ $found -eq 0 ] && [ ! -s "$output/stderr" ] && grep -q '^Example:' "$output/stdout"
    result $((!$?)) "genseg $command --help has an example"
done
"$genseg" --version >"$output/stdout" 2>&1 && grep -q '^genseg [0-9]' "$output/stdout"
result $((!$?)) "genseg --version"
"$genseg" train --help >/dev/full 2>"$output/stderr"
[ $? -eq 1 ] && one_line
result $((!$?)) "a full standard output is noticed"

# shellcheck disable=SC2086 # a list of words
timeout 200 "$genseg" train phantom --out "$run" $tiny >"$output/stdout" 2>"$output/stderr"
found=$?
result $((found == 0)) "a tiny run finishes"
sed 's/^/# /' "$output/stderr"
if [ $found -eq 0 ]; then
    cp -R "$run" "$damaged"
    find "$damaged/checkpoints" "$damaged/best.safetensors" -type f | while read -r file; do flip "$file"; done
fi

snapshot "$output/before"
while IFS= read -r line; do
    case $line in '#'* | '') continue ;; esac
    name=${line%%"$tab"*} line=${line#*"$tab"}
    code=${line%%"$tab"*} line=${line#*"$tab"}
    words=${line%%"$tab"*} line=${line#*"$tab"}
    row "$name" "$code" "$words" "$line"
done <"$here/bad_input.tsv"

echo "1..$number"
exit $bad
