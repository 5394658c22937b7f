#!/usr/bin/env python3
"""ht-conform on cases whose answers are known in closed form: right ones, wrong ones, unknown ones, damaged ones.
Usage: conform.py HT_CONFORM. Prints TAP. Nothing but the standard library."""
import json
import math
import os
import struct
import subprocess
import sys
import tempfile

import tap
from tap import result

CONFORM = sys.argv[1]


def write(folder, name, tensors, metadata):
    """tensors: name -> (shape, numbers); whole numbers become I64, others F64."""
    header, data = {"__metadata__": metadata}, b""
    for key, (shape, numbers) in tensors.items():
        whole = all(isinstance(n, int) for n in numbers)
        blob = struct.pack(f"<{len(numbers)}{'q' if whole else 'd'}", *numbers)
        header[key] = {"dtype": "I64" if whole else "F64", "shape": shape, "data_offsets": [len(data), len(data) + len(blob)]}
        data += blob
    text = json.dumps(header).encode()
    path = os.path.join(folder, name + ".safetensors")
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)
    return path


def about(op, name, attributes=None, **more):
    return dict(kind="op", op=op, attributes=json.dumps(attributes or {}), tolerance="1e-12", name=name) | more


def exponential():
    """e^x: every derivative is itself."""
    x, y, t, u = [0.0, 1.0, -2.0], [1.0, 0.5, -3.0], [2.0, 1.0, 1.5], [0.25, -1.0, 4.0]
    e = [math.exp(v) for v in x]
    rows = {"in.0": x, "out": e, "cotangent": y, "vjp.0": [a * b for a, b in zip(y, e)], "tangent.0": t,
            "jvp": [a * b for a, b in zip(t, e)], "u.0": u, "hvp.0": [a * b * c for a, b, c in zip(y, e, u)]}
    return {k: ([3], v) for k, v in rows.items()}


def product():
    """[a b] times [c d]': bilinear, so the second derivative swaps the operands."""
    rows = {"in.0": [2.0, 3.0], "in.1": [5.0, 7.0], "out": [31.0], "cotangent": [2.0], "vjp.0": [10.0, 14.0],
            "vjp.1": [4.0, 6.0], "tangent.0": [1.0, 0.0], "tangent.1": [0.0, 1.0], "jvp": [8.0], "u.0": [1.0, -1.0],
            "u.1": [0.5, 0.0], "hvp.0": [1.0, 0.0], "hvp.1": [2.0, -2.0]}
    return {k: ([1, 1] if len(v) == 1 else [1, 2], v) for k, v in rows.items()}


def rectifier():
    """max(x, 0) below 0: nothing but zeros."""
    rows = {"in.0": [-1.0, -2.0], "cotangent": [1.0, 1.0], "tangent.0": [1.0, 1.0], "u.0": [1.0, 1.0]}
    rows |= {k: [0.0, 0.0] for k in ("out", "vjp.0", "jvp", "hvp.0")}
    return {k: ([2], v) for k, v in rows.items()}


def taken(index):
    """Numbers at an index: linear, repeated places add up in the gradient."""
    rows = {"in.0": [1.0, 2.0, 4.0], "in.1": index, "out": [4.0, 1.0, 4.0], "cotangent": [1.0, 10.0, 100.0],
            "vjp.0": [10.0, 0.0, 101.0], "tangent.0": [1.0, 2.0, 3.0], "jvp": [3.0, 1.0, 3.0], "u.0": [1.0, 1.0, 1.0],
            "hvp.0": [0.0, 0.0, 0.0]}
    return {k: ([3], v) for k, v in rows.items()}


def changed(tensors, key, numbers):
    return tensors | {key: (tensors[key][0], numbers)}


def without(tensors, *keys):
    return {k: v for k, v in tensors.items() if k not in keys}


def run(*arguments):
    out = subprocess.run([CONFORM, *arguments], capture_output=True, text=True, timeout=120)
    return out.returncode, out.stdout.splitlines(), out.stderr


def right_ones(folder):
    paths = [write(folder, "exp", exponential(), about("exp", "e")),
             write(folder, "matmul", product(), about("matmul", "bilinear", {"transpose_b": True})),
             write(folder, "relu", rectifier(), about("relu", "zeros")),
             write(folder, "take", taken([2, 0, 2]), about("take", "places", {"axis": 0})),
             write(folder, "value", without(exponential(), "tangent.0", "jvp", "u.0", "hvp.0"), about("exp", "two words"))]
    code, lines, err = run(*paths)
    fields = [line.split() for line in lines]
    result(code == 0 and not err and lines[-1:] == ["5 passed, 0 failed"], "right cases pass", "\n".join(lines) + err)
    result([f[:2] for f in fields[:-1]] == [["ok", n] for n in ("e", "bilinear", "zeros", "places", "two_words")],
           "one line for each, with its name, in order", lines)
    result(all(len(f) == 3 and float(f[2]) < 1e-12 for f in fields[:-1]), "and the worst error", lines)


def wrong_ones(folder):
    e = exponential()
    far = taken([2, 0, 3])
    rows = [  # case, metadata, words of its line
        ("wrong value", changed(e, "out", [1.0, 2.0, 3.0]), about("exp", "n"), "out;"),
        ("wrong derivative", changed(e, "vjp.0", [1.001, *e["vjp.0"][1][1:]]), about("exp", "n"), "vjp.0;"),
        ("wrong product with a tangent", changed(e, "jvp", [2.001, *e["jvp"][1][1:]]), about("exp", "n"), "jvp;"),
        ("wrong second derivative", changed(e, "hvp.0", [0.2501, *e["hvp.0"][1][1:]]), about("exp", "n"), "hvp.0;"),
        ("zeros expected, others found", changed(rectifier(), "in.0", [-1.0, 2.0]), about("relu", "n"), "inf"),
        ("not a number", changed(e, "out", [math.nan, 1.0, 1.0]), about("exp", "n"), "inf"),
        ("another shape", e | {"out": ([3, 1], e["out"][1])}, about("exp", "n"), '"out" is [3,1]'),
        ("unknown op", e, about("frobnicate", "n"), 'unknown op "frobnicate"'),
        ("unknown attribute", e, about("exp", "n", {"slope": 1}), 'unknown attribute "slope"'),
        ("attribute of a wrong kind", product(), about("matmul", "n", {"transpose_b": "yes"}), '"transpose_b"'),
        ("unknown word", e, about("gelu", "n", {"approximate": "erf"}), '"approximate"'),
        ("attributes that are no object", e, about("exp", "n") | {"attributes": "[1]"}, '"attributes"'),
        ("attribute twice", product(), about("matmul", "n") | {"attributes": '{"transpose_b":true,"transpose_b":true}'},
         '"attributes"'),
        ("no attributes", e, without(about("exp", "n"), "attributes"), '"attributes"'),
        ("unknown kind", e, about("exp", "n", kind="opera"), 'unknown kind "opera"'),
        ("no kind", e, without(about("exp", "n"), "kind"), '"kind"'),
        ("unknown tensor", e | {"vpj.0": e["vjp.0"]}, about("exp", "n"), '"vpj.0"'),
        ("a derivative is missing", without(e, "hvp.0"), about("exp", "n"), '"hvp.0"'),
        ("the value is missing", without(e, "out"), about("exp", "n"), '"out"'),
        ("an input is missing", without(product(), "in.1"), about("matmul", "n"), '"in.1"'),
        ("a real index", changed(taken([2, 0, 2]), "in.1", [2.0, 0.0, 2.0]), about("take", "n", {"axis": 0}), "int64"),
        ("an index outside", far, about("take", "n", {"axis": 0}), "inf"),
        ("an index beyond 32 bits", changed(far, "in.1", [2, 0, 1 << 40]), about("take", "n", {"axis": 0}), "32 bits"),
        ("shapes that do not fit", product(), about("matmul", "n"), "matmul"),
        ("a tolerance that is none", e, about("exp", "n", tolerance="small"), '"tolerance"'),
        ("an empty round", e, dict(kind="procedure", name="n", config="{}", order="{}"), "NAME"),
    ]
    for text, tensors, metadata, words in rows:
        path = write(folder, "wrong", tensors, metadata)
        code, lines, err = run(path)
        good = len(lines) == 2 and lines[0].startswith("FAIL n ") and words in lines[0]
        result(code == 1 and good and lines[1] == "0 passed, 1 failed" and not err, text, "\n".join(lines) + err)


def damaged_ones(folder):
    path = write(folder, "whole", exponential(), about("exp", "whole"))
    whole = open(path, "rb").read()
    for text, content in (("cut", whole[:-1]), ("longer", whole + b"x"), ("empty", b""), ("text", b"hello, reader\n")):
        path = os.path.join(folder, "damaged.safetensors")
        open(path, "wb").write(content)
        code, lines, _ = run(path)
        result(code == 1 and lines[0].startswith("FAIL damaged.safetensors inf ") and lines[1] == "0 passed, 1 failed",
               f"damaged file: {text}", lines)
    good = write(folder, "good", exponential(), about("exp", "good"))
    code, lines, _ = run(good, os.path.join(folder, "absent.safetensors"), good)
    result(code == 1 and lines[-1] == "2 passed, 1 failed" and lines[1].startswith("FAIL absent.safetensors inf "),
           "those beside a bad one are still worked out", lines)


def usage():
    code, lines, err = run()
    result(code == 2 and not lines and "expected FILE" in err, "no files: exit code 2", err)
    code, lines, err = run("--quick")
    result(code == 2 and not lines and "--quick: no such option" in err, "an option: exit code 2", err)
    code, lines, err = run("--help")
    result(code == 0 and lines[0].startswith("usage: ") and not err, "--help", err)


with tempfile.TemporaryDirectory(prefix="ht-conform-") as scratch:
    right_ones(scratch)
    wrong_ones(scratch)
    damaged_ones(scratch)
    usage()
tap.done()
