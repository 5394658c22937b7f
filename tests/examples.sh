#!/bin/sh
# Each example is one small file against the installed library: compiled as a user would, and run. The first argument is the
# folder of the tables, for those that read any.
# usage: examples.sh SOURCE_ROOT PREFIX
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
for source in "$root"/examples/*.c; do
    name=$(basename "$source" .c)
    count=$((count + 1))
    # by eval, for pkg-config escapes the blanks of a path
    if eval 'cc -std=c17 -Wall -Wextra -Wpedantic -Werror "$source" '"$(pkg-config --cflags --libs hypertape)"' -o "$work/$name"' \
        >"$work/log" 2>&1 && "$work/$name" "$root/examples/data" >>"$work/log" 2>&1; then
        echo "ok $count - $name: $(tail -n 1 "$work/log")"
    else
        sed 's/^/# /' "$work/log"
        echo "not ok $count - $name compiles and runs"
    fi
done
echo "1..$count"
