#!/bin/sh
# The library's own sources compile for 64-bit ARM, where no x86 header and no vector extension may be taken for granted.
# Without oneDNN and OpenBLAS, whose headers are the machine's own. Usage: aarch64.sh SOURCE_ROOT
root=${1:?usage: aarch64.sh SOURCE_ROOT}
compiler=aarch64-linux-gnu-gcc
if ! command -v "$compiler" >/dev/null 2>&1; then
    echo "ok 1 # SKIP $compiler is not installed (Debian: gcc-aarch64-linux-gnu libc6-dev-arm64-cross)"
    echo "1..1"
    exit 0
fi
made=$(mktemp -d) || exit 1
trap 'rm -rf "$made"' EXIT
mkdir -p "$made/backend/cpu"
echo 'HTI_TABLE(native)' >"$made/backend/cpu/tables.def"

number=0
bad=0
for folder in core autograd nn mlo; do
    number=$((number + 1))
    said=$(find "$root/$folder" -name '*.c' | sort | while read -r file; do
        "$compiler" -std=c17 -D_GNU_SOURCE -DHTI_INSTRUCTION_SET=native -ffp-contract=off -fopenmp -Wall -Wextra -Wpedantic \
            -Wno-missing-field-initializers -Werror -I "$root/include" -I "$root/core" -I "$made" \
            -c "$file" -o "$made/object.o" 2>&1
    done)
    if [ -z "$said" ]; then
        echo "ok $number - $folder compiles for aarch64"
    else
        bad=1
        echo "not ok $number - $folder compiles for aarch64"
        echo "$said" | head -n 20 | sed 's/^/# /'
    fi
done
echo "1..$number"
[ "$bad" -eq 0 ]
