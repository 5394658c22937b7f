#!/bin/sh
# Every public header compiles alone: as C17 under gcc and clang, and as C++17. Usage: headers.sh SOURCE_ROOT
# A header that is included twice must change nothing, so each is.
root=${1:?usage: headers.sh SOURCE_ROOT}
number=0
bad=0

# try NAME LANGUAGE STANDARD HEADER
try() {
    number=$((number + 1))
    if ! command -v "$1" >/dev/null 2>&1; then
        echo "ok $number # SKIP $1 is not installed, so $4 was not compiled by it"
        return
    fi
    if said=$(printf '#include <ht/%s>\n#include <ht/%s>\n' "$4" "$4" |
        "$1" -x "$2" -std="$3" -I "$root/include" -Wall -Wextra -Wpedantic -Werror -fsyntax-only - 2>&1); then
        echo "ok $number - $4 alone, $1 -std=$3"
    else
        bad=1
        echo "not ok $number - $4 alone, $1 -std=$3"
        echo "$said" | sed 's/^/# /'
    fi
}

for path in "$root"/include/ht/*.h; do
    [ -e "$path" ] || continue
    header=${path##*/}
    try gcc c c17 "$header"
    try clang c c17 "$header"
    try g++ c++ c++17 "$header"
done

echo "1..$number"
[ "$number" -gt 0 ] && [ "$bad" -eq 0 ]
