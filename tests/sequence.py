#!/usr/bin/env python3
"""No call has two arguments that record: C leaves open which of them is evaluated first, and a tape in another order has
other numbers, and adds up derivatives in another order. `ht_var b = ...; ht_add(ht_exp(a), b)` is the same under every
compiler. Looks at the library, genseg and the examples; not at samples for checks. usage: sequence.py SOURCE_ROOT; prints TAP
"""
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "cli"))
import tap

ROOT = pathlib.Path(sys.argv[1]).resolve()
CALL = re.compile(r"\b([A-Za-z_]\w*)\s*\(")
RETURNS = re.compile(r"^(?:static |inline )*(?:ht_vars?|mlo_round) (\w+)\(", re.M)  # a function that returns values of a tape
WRAPPED = re.compile(r"^#define (\w+)\([^)]*\)[^\n]*(?:\\\n[^\n]*)*HT_HERE", re.M)   # as users call it
SILENT = {"ht_list", "ht_list_", "ht_vars_new", "ht_vars_join", "nn_params"}          # they only put names of values together
NO_CALL = {"if", "for", "while", "switch", "return", "sizeof", "SAMPLE"}


def plain(text):
    """The code without comments and words, every character at its place."""
    return re.sub(r'/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'', lambda m: re.sub(r"[^\n]", " ", m.group()), text,
                  flags=re.S)


def arguments(text, opening):
    """The arguments of the call whose parenthesis opens there."""
    depth, begin, found = 0, opening + 1, []
    for at in range(opening, len(text)):
        depth += (text[at] in "([{") - (text[at] in ")]}")
        if depth == 0 or (depth == 1 and text[at] == ","):
            found.append(text[begin:at])
            begin = at + 1
        if depth == 0:
            break
    return found


def findings(path, public):
    text = plain(path.read_text(encoding="utf-8"))
    recording = (public | set(RETURNS.findall(text))) - SILENT
    for call in CALL.finditer(text):
        if call.group(1) in NO_CALL or text.rfind("SAMPLE(", text.rfind("\n", 0, call.start()), call.start()) >= 0:
            continue
        those = [a for a in arguments(text, call.end() - 1) if any(
            name in recording or re.fullmatch(r"(?:ht|nn|mlo)_\w+_", name) for name in CALL.findall(a))]
        if len(those) > 1:
            yield f"{path.relative_to(ROOT)}:{text.count(chr(10), 0, call.start()) + 1}: {call.group(1)} of " + \
                " and ".join(" ".join(a.split()) for a in those)


FOLDERS = ("core", "autograd", "nn", "mlo", "apps", "examples")
headers = [plain(path.read_text(encoding="utf-8")) for folder in ("include", *FOLDERS)
           for path in sorted((ROOT / folder).glob("**/*.h"))]
public = {"nn_at"}.union(*(RETURNS.findall(text) + WRAPPED.findall(text) for text in headers)) # nn_at: with .hold
tap.result({"ht_add", "ht_exp", "ht_grad", "nn_conv", "mlo_record"} <= public, f"{len(public)} names record", sorted(public))
for folder in FOLDERS:
    files = sorted((ROOT / folder).glob("**/*.[ch]"))
    found = [line for path in files for line in findings(path, public)]
    tap.result(files and not found, f"{folder}: no call of two recordings in {len(files)} files", "\n".join(found))
tap.done()
