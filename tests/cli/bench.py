#!/usr/bin/env python3
"""The benchmarks as programs, at sizes that take no time and without a peer: the form of what they say, never the figures.
Usage: bench.py BENCH_HYPERGRADIENT BENCH_OPS BENCH_ROUND. Prints TAP. Nothing but the standard library."""
import json
import os
import subprocess
import sys
import tempfile

HYPERGRADIENT, OPS, ROUND = sys.argv[1:4]
TINY = ["--preset", "tiny", "--size", "32", "--repeat", "1", "--threads", "1"]
number, bad = 0, 0


def result(good, text, seen=""):
    global number, bad
    number += 1
    bad += not good
    print(f"{'ok' if good else 'not ok'} {number} - {text}")
    if not good and seen:
        print("\n".join("# " + line for line in str(seen).splitlines()))


def run(program, *words):
    done = subprocess.run([program, *words], capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def answer(program, *words):
    """The JSON object of a program that should give one, or None."""
    code, out, said = run(program, *TINY, *words, "--json")
    try:
        value = json.loads(out)
    except ValueError:
        value = None
    result(code == 0 and isinstance(value, dict) and out.count("\n") == 1 and not said,
           f"{os.path.basename(program)} {' '.join(words)}: exit 0, one JSON object on one line", out + said)
    return value if isinstance(value, dict) else {}


def rounds():
    for search in ("decoder", "both"):
        for method in ("none", "finite-difference", "eq9", "total"):
            seen = answer(ROUND, "--search", search, "--hypergradient", method)
            peer = [seen.get(k, "absent") for k in ("peer_seconds", "ratio_median", "ratio_spread", "memory_ratio")]
            result(peer == [None] * 4 and seen.get("peer_settings") == [], "without a peer its members are null", seen)
            losses, h = seen.get("losses", {}), seen.get("hypergradient")
            parts = None if method == "none" else {"alpha.dec"} | ({"alpha.enc"} if search == "both" else set())
            result(set(losses) >= {"gan", "disc", "fake", "real"} and ("val" in losses) == (method != "none")
                   and (set(h) if h else None) == parts, "the losses and the hypergradient that were asked for", seen)
            phases = seen.get("phases", {})
            result(all(set(p) == {"seconds", "gigabytes", "flop", "kernels"} for p in phases.values())
                   and {"G step", "H step", "S step"} <= set(phases)
                   and ("hypergradient, G" in phases) == (method != "none"), "phases in seconds, GB, flop, kernels", seen)
            kinds = seen.get("kinds", {})
            result({"conv", "conv_weight", "pack"} <= set(kinds) and sum(k["kernels"] for k in kinds.values()) > 100
                   and all(seen[k] > 0 for k in ("record_seconds", "plan_seconds", "primitives_seconds")),
                   "steps by kind, and the seconds of recording, planning and primitives", seen)
            whole = sum(p["flop"] for p in phases.values())
            result(seen.get("ours_seconds", 0) > 0 and seen.get("peak_bytes", 0) > 0 and seen.get("flop", 0) > 0
                   and abs(whole - seen["flop"]) <= 1e-6 * whole, "seconds and bytes; the phases have the whole's flop", seen)


def hypergradients():
    seen = answer(HYPERGRADIENT)
    methods = seen.get("methods", {})
    result(list(methods) == ["none", "finite-difference", "eq9", "total"]
           and all(m["seconds"] > 0 and m["ratio_to_none"] > 0 and m["vs_torch"] is None for m in methods.values()),
           "each method has seconds and a ratio to none", seen)


def operations():
    seen = answer(OPS)
    rows = [row for case in seen.get("cases", []) for row in case["rows"]]
    result(len(rows) > 40 and all(r["seconds"] >= 0 and r["bytes"] > 0 and r["roof"] in ("flop", "bytes") for r in rows)
           and {"conv", "conv_input", "conv_weight", "matmul"} <= {r["step"] for r in rows},
           "every case has rows, among them the three faces of a convolution", seen)


def refusals():
    with tempfile.TemporaryDirectory() as folder:
        silent = os.path.join(folder, "silent.py")
        with open(silent, "w") as f:
            f.write("import sys\nsys.exit('nothing to say')\n")
        code, out, said = run(ROUND, *TINY, "--vs-torch=" + sys.executable, "--peer", silent, "--json")
        result(code == 1 and not out and "nothing to say" in said and said.count("\n") == 1, "a peer without an answer", said)
    for words in (["--what"], ["--size", "33.5"], ["--size"], ["--repeat", "0"], ["--preset", "huge"], ["--search", "all"],
                  ["--json=yes"], ["--vs-torch", "--search", "encoder", "--peer", __file__], ["--vs-torch", "--peer", "absent.py"]):
        code, out, said = run(ROUND, *words)
        result(code == 2 and not out and said.startswith("bench_round: ") and said.count("\n") == 1,
               f"refused in one line: {' '.join(words)}", said)
    code, out, said = run(HYPERGRADIENT, "--hypergradient", "eq9")
    result(code == 2 and "--hypergradient" in said, "bench_hypergradient takes them all", said)
    for program in (HYPERGRADIENT, OPS, ROUND):
        code, out, said = run(program, "--help")
        result(code == 0 and "--size" in out and not said, f"{os.path.basename(program)} --help", said)


rounds()
hypergradients()
operations()
refusals()
print(f"1..{number}")
sys.exit(1 if bad else 0)
