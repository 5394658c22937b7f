#!/usr/bin/env python3
"""Every block of C in docs/mlo.md stands, line by line, in a file of examples/, which another test compiles and runs.

usage: excerpts.py SOURCE_ROOT; prints TAP
"""
import pathlib
import sys
import textwrap

root = pathlib.Path(sys.argv[1])
examples = {path.name: path.read_text().splitlines() for path in sorted((root / "examples").glob("*.[ch]"))}


def bare(lines):
    """The lines without the indentation that they share."""
    return textwrap.dedent("\n".join(lines)).splitlines()


def home(block):
    """The example that has the block as lines in a row."""
    for name, lines in examples.items():
        for first in range(len(lines) - len(block) + 1):
            if bare(lines[first:first + len(block)]) == bare(block):
                return name
    return None


number = 0
bad = 0
block = None
for at, line in enumerate((root / "docs" / "mlo.md").read_text().splitlines(), 1):
    if block is None:
        block = [] if line == "```c" else None
    elif line == "```":
        number += 1
        found = home(block)
        bad += found is None
        print(f"{'ok' if found else 'not ok'} {number} - the block that ends at docs/mlo.md:{at} is of {found or 'no example'}")
        block = None
    else:
        block.append(line)
print(f"1..{number}")
sys.exit(bad > 0 or number == 0)
