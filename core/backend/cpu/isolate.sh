#!/bin/sh
# Joins an archive into one object in which SYMBOL alone is visible, so that the same sources, compiled for several
# instruction sets, can be linked side by side.
set -e
ld -r -o "$2.all" --whole-archive "$1"
objcopy --keep-global-symbol="$3" "$2.all" "$2"
rm -f "$2.all"
