#!/bin/sh
# Each example is one small file against the installed library: compiled as a user would, and run. The first argument is the
# folder of the tables, for those that read any. What it records (--dump, the last argument) is held against
# tests/golden/NAME.dump; of a tape over 300 lines its hash and its counts of instructions. These texts are of no compiler:
# tests/sequence.py sees to it that what is recorded first stands first.
# usage: examples.sh SOURCE_ROOT PREFIX [--golden]     with --golden the texts in tests/golden are written anew
root=$1
prefix=$2
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
export PKG_CONFIG_PATH="$prefix/lib/pkgconfig${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}"
count=0
if [ ! -f "$prefix/lib/pkgconfig/hypertape.pc" ]; then
    echo "not ok 1 - the library is installed in $prefix (./quickstart --build-only does it)"
    echo "1..1"
    exit 1
fi

# What is kept of a dump: without places, for lines move whenever a file is edited.
short() {
    sed 's/  @ .*$//' "$1" >"$work/plain"
    if [ "$(wc -l <"$work/plain")" -le 300 ]; then
        cat "$work/plain"
        return
    fi
    echo "$(wc -l <"$work/plain") lines, sha256 $(sha256sum <"$work/plain" | cut -d ' ' -f 1)"
    awk '{ scope = "outside"; if (match($0, /  in .*$/)) scope = substr($0, RSTART + 5); n[scope " " $3]++ }
        END { for (k in n) print k, n[k] }' "$work/plain" | LC_ALL=C sort
}

for source in "$root"/examples/*.c; do
    name=$(basename "$source" .c)
    count=$((count + 1))
    # by eval, for pkg-config escapes the blanks of a path
    if eval 'cc -std=c17 -Wall -Wextra -Wpedantic -Werror "$source" -o "$work/$name" '"$(pkg-config --cflags --libs hypertape)" \
        >"$work/log" 2>&1 && "$work/$name" "$root/examples/data" >>"$work/log" 2>&1; then
        echo "ok $count - $name: $(tail -n 1 "$work/log")"
    else
        sed 's/^/# /' "$work/log"
        echo "not ok $count - $name compiles and runs"
        continue
    fi
    count=$((count + 1))
    "$work/$name" "$root/examples/data" --dump >"$work/dump" 2>"$work/log" || echo "it ended with a failure" >>"$work/log"
    short "$work/dump" >"$work/short"
    [ "$3" = --golden ] && cp "$work/short" "$root/tests/golden/$name.dump"
    if [ -s "$work/log" ] || ! diff "$root/tests/golden/$name.dump" "$work/short" >>"$work/log" 2>&1; then
        head -n 40 "$work/log" | sed 's/^/# /'
        echo "not ok $count - $name records what tests/golden/$name.dump says (examples.sh with --golden writes it anew)"
    else
        echo "ok $count - $name records what tests/golden/$name.dump says, $(wc -l <"$work/dump") instructions"
    fi
done
echo "1..$count"
