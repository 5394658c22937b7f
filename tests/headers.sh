#!/bin/sh
# Every public header compiles alone: as C17 under gcc and clang, and as C++17. Usage: headers.sh SOURCE_ROOT
# A header that is included twice must change nothing, so each is.
root=${1:?usage: headers.sh SOURCE_ROOT}
number=0
bad=0

# try NAME LANGUAGE STANDARD HEADER
try() {
    number=$((number + 1))
    if said=$(printf '#include <ht/%s>\n#include <ht/%s>\n' "$4" "$4" |
        "$1" -x "$2" -std="$3" -I "$root/include" -Wall -Wextra -Wpedantic -Werror -fsyntax-only - 2>&1); then
        echo "ok $number - $4 alone, $1 -std=$3"
    else
        bad=1
        echo "not ok $number - $4 alone, $1 -std=$3"
        echo "$said" | sed 's/^/# /'
    fi
}

# all NAME LANGUAGE STANDARD: every header by one compiler; one that is not here is said once
all() {
    if ! command -v "$1" >/dev/null 2>&1; then
        number=$((number + 1))
        echo "ok $number # SKIP $1 is not installed, so no header was compiled by it"
        return
    fi
    for path in "$root"/include/ht/*.h; do
        [ -e "$path" ] && try "$1" "$2" "$3" "${path##*/}"
    done
}

all gcc c c17
all clang c c17
all g++ c++ c++17

echo "1..$number"
[ "$number" -gt 0 ] && [ "$bad" -eq 0 ]
