#!/usr/bin/env python3
"""The benchmarks as programs, at sizes that take no time and without a peer: the form of what they say, never the figures.
Usage: bench.py BENCH_HYPERGRADIENT BENCH_OPS BENCH_ROUND. Prints TAP. Nothing but the standard library."""
import json
import os
import subprocess
import sys
import tempfile

import tap
from tap import result

HYPERGRADIENT, OPS, ROUND = sys.argv[1:4]
TINY = ["--preset", "tiny", "--size", "32", "--repeat", "1", "--threads", "1"]


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


TABLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "bench", "table.py")


def tabled(seen, *words):
    """Whether bench/table.py makes tables of an answer, with these words in them."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(seen, file)
        file.flush()
        done = subprocess.run([sys.executable, TABLE, file.name], capture_output=True, text=True)
    result(done.returncode == 0 and done.stdout.count("|---|") >= 1 and all(w in done.stdout for w in words),
           f"bench/table.py has a table of it, with {', '.join(words)}", done.stdout + done.stderr)


def rounds():
    for search in ("decoder", "both"):
        for method in ("none", "finite-difference", "eq9", "total"):
            seen = answer(ROUND, "--search", search, "--hypergradient", method)
            peer = [seen.get(k, "absent") for k in ("peer_seconds", "ratio_median", "ratio_spread", "memory_ratio")]
            result(peer == [None] * 4 and seen.get("peer_settings") == [], "without a peer its members are null", seen)
            if search == "both" and method == "total":
                tabled(seen, "| G step |", "seconds a round")
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
                   and abs(whole - seen["flop"] - seen["recomputed_flop"]) <= 1e-6 * whole,
                   "seconds and bytes; the phases have the whole's flop", seen)


    alone = answer(ROUND, "--alone").get("alone", {})
    result(set(alone) == {"kinds", "round_seconds", "alone_seconds", "fraction"} and alone["kinds"] > 20
           and min(alone.values()) > 0, "--alone: the round's convolutions and products, each alone", alone)
    code, _, said = run(ROUND, *TINY, "--alone", "--vs-torch")
    result(code == 2 and "--alone" in said and said.count("\n") == 1, "--alone beside --vs-torch is refused", said)


def hypergradients():
    seen = answer(HYPERGRADIENT)
    methods = seen.get("methods", {})
    result(list(methods) == ["none", "finite-difference", "eq9", "total"]
           and all(m["seconds"] > 0 and m["ratio_to_none"] > 0 and m["vs_torch"] is None for m in methods.values()),
           "each method has seconds and a ratio to none", seen)
    tabled(seen, "| finite-difference |")
    seen = answer(HYPERGRADIENT, "--model", "unet", "--width=3")
    works = seen.get("works", {})
    result(list(works) == ["step", "gradient", "hvp, reverse over reverse", "hvp, forward over reverse"]
           and all(w["ours_seconds"] > 0 and w["flop"] > 0 and w["peer_seconds"] is None and w["peer_settings"] == []
                   for w in works.values()) and seen["options"]["width"] == 3, "the U-Net: what each costs", seen)
    reverse, forward = (works[k]["norm"] for k in list(works)[2:])
    result(abs(reverse - forward) <= 1e-3 * reverse and works["step"]["norm"] == works["gradient"]["norm"]
           and works["gradient"]["ours_to_gradient"] == 1, "both modes of the product agree, and step and gradient do", works)
    tabled(seen, "| gradient |")


def operations():
    seen = answer(OPS)
    rows = [row for case in seen.get("cases", []) for row in case["rows"]]
    result(len(rows) > 40 and all(r["seconds"] >= 0 and r["bytes"] > 0 and r["roof"] in ("flop", "bytes") for r in rows)
           and {"conv", "conv_input", "conv_weight", "matmul"} <= {r["step"] for r in rows},
           "every case has rows, among them the three faces of a convolution", seen)
    tabled(seen, "`conv_weight`")
    seen = answer(OPS, "--only", "pooling")
    result([c["case"] for c in seen.get("cases", [])] == ["max pooling", "average pooling"], "only those asked for", seen)


PEER = """
import json, os, struct, sys
{start}
def line(text):
    q = json.loads(text)
    count = 1
    for n in q["inputs"][0]["shape"]:
        count *= n
    x = [(i * 37 % 101 - 50) / 50 for i in range(count)]
    y = [max(v, 0) * {factor} for v in x]
    c = [(i * 17 % 23 - 11) / 11 for i in range(count)]
    g = [{factor} * a if v > 0 else 0.0 for a, v in zip(c, x)]
    tensors, at, header = {{"in.0": x, "cotangent": c, "out": y, "vjp.0": g}}, 0, {{}}
    for name in tensors:
        header[name] = {{"dtype": "F32", "shape": q["inputs"][0]["shape"], "data_offsets": [at, at + 4 * count]}}
        at += 4 * count
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    if q["seed"] >= 0:
        with open(q["state"], "wb") as f:
            f.write(struct.pack("<Q", len(text)) + text)
            for t in tensors.values():
                f.write(struct.pack(f"<{{count}}f", *t))
    return {{"seconds": 1.0 if q["layout"] == "contiguous" else 0.5, "apart": 0.0 if q["seed"] >= 0 else 1e-7, "torch": "none"}}
for text in sys.stdin:
    print(json.dumps(line(text)), flush=True)
"""


UNET_PEER = """#!{python}
import json, math, struct, sys
word = dict(zip(sys.argv[2::2], sys.argv[3::2]))
width, depth, size, batch = (int(word["--" + k]) for k in ("width", "depth", "size", "batch"))
if word["--what"] == {silent!r}:
    sys.exit("nothing to say")
shapes = {{"batch.image": (batch, 3, size, size), "batch.mask": (batch, 1, size, size)}}
def twice(at, into, out):
    for j, n in enumerate((into, out)):
        shapes.update({{f"S.{{at}}.conv{{j}}.weight": (out, n, 3, 3), f"S.{{at}}.norm{{j}}.weight": (out,),
                       f"S.{{at}}.norm{{j}}.bias": (out,)}})
for i in range(depth + 1):
    twice(f"down{{i}}", width << i - 1 if i else 3, width << i)
for i in range(depth):
    twice(f"level{{i}}", 2 * width << i, width << i)
    shapes.update({{f"S.level{{i}}.up.weight": (2 * width << i, width << i, 2, 2), f"S.level{{i}}.up.bias": (width << i,)}})
shapes.update({{"S.head.weight": (1, width, 1, 1), "S.head.bias": (1,)}})
shapes.update({{"V" + k[1:]: v for k, v in list(shapes.items()) if k[0] == "S"}})
if "--save-state" in word:
    header, at, numbers = {{}}, 0, []
    for name, shape in shapes.items():
        count = math.prod(shape)
        header[name] = {{"dtype": "F32", "shape": shape, "data_offsets": [at, at + 4 * count]}}
        at += 4 * count
        numbers += [(i * 37 % 101 - 30) / 200 for i in range(count)]
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(word["--save-state"], "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + struct.pack(f"<{{len(numbers)}}f", *numbers))
known = {known}
print(json.dumps({{"seconds": 1.0, "torch": "none", **known.get(word["--what"], {{"loss": 0, "norm": 0}})}}))
"""


def works():
    """The U-Net beside peers that are made here: what one work lacks, the others keep."""
    with tempfile.TemporaryDirectory() as folder:
        def against(known, silent=""):
            path = os.path.join(folder, "python")
            with open(path, "w") as f:
                f.write(UNET_PEER.format(python=sys.executable, known=known, silent=silent))
            os.chmod(path, 0o755)
            code, out, said = run(HYPERGRADIENT, *TINY, "--model", "unet", "--width=3", "--states", "1", "--vs-torch=" + path,
                                  "--peer", path, "--peer-limit", "20", "--json")
            return code, json.loads(out).get("works", {}) if out else {}, out + said

        code, seen, said = against({})
        result(code == 1 and len(seen) == 4 and said.count(": no ratio: no setting") == 4
               and all(w["ratio_median"] is None and w["ours_seconds"] > 0 and "no setting" in w["problem"]
                       and not any(s["agrees"] for s in w["peer_settings"]) for w in seen.values()),
               "a peer that computes something else: no ratio of any, and exit 1", said)
        names = {"step": "step", "gradient": "gradient", "hvp": "hvp, reverse over reverse"}
        known = {k: {m: seen.get(name, {}).get(m) for m in ("loss", "norm")} for k, name in names.items()}
        code, seen, said = against(known)
        result(code == 0 and len(seen) == 4 and all(w["ratio_median"] > 0 and "problem" not in w for w in seen.values()),
               "one that computes the same: ratios of all", said)
        code, seen, said = against({k: v for k, v in known.items() if k != "hvp"})
        lacks = [k for k, w in seen.items() if w["ratio_median"] is None]
        result(code == 1 and len(seen) == 4 and lacks == ["hvp, reverse over reverse", "hvp, forward over reverse"]
               and said.count("no ratio") == 2, "without products that agree: the others' ratios stay", said)
        code, seen, said = against(known, "hvp")
        lacks = {k: w.get("problem", "") for k, w in seen.items() if w["ratio_median"] is None}
        result(code == 1 and len(seen) == 4 and len(lacks) == 2 and all("nothing to say" in p for p in lacks.values())
               and all(seen[k]["ours_seconds"] > 0 and len(seen[k]["peer_settings"]) == 5 for k in lacks)
               and said.count("no ratio") == 2, "without an answer on products: ours stays, and what the peer said", said)
        if seen:
            tabled({"works": seen, "options": {"size": 32, "batch": 2, "width": 3},
                    "machine": {"processor": "one", "threads": 1, "load_before": 0}}, "No ratio of hvp, forward over reverse")


def pairs():
    """bench_ops beside peers that are made here, which know one operation."""
    with tempfile.TemporaryDirectory() as folder:
        def against(start="", factor=1):
            path = os.path.join(folder, "peer.py")
            with open(path, "w") as f:
                f.write(PEER.format(start=start, factor=factor))
            words = ["--only", "ReLU", "--vs-torch=" + sys.executable, "--peer", path, "--peer-limit", "20", "--json"]
            return run(OPS, *TINY, *words)

        code, out, said = against()
        rows = json.loads(out)["rows"] if code == 0 else []
        result(code == 0 and not said
               and [(r["op"], r["pass"]) for r in rows] == [("relu", "forward"), ("relu", "with derivatives")],
               "a peer that computes the same: rows forward and with derivatives", out + said)
        result(all(r["peer_seconds"] == 0.5 and "channels_last" in r["peer_fastest"]
                   and r["apart"] < 1e-6 and len(r["peer_settings"]) == 4
                   and abs(r["ratio_median"] * r["ours_seconds"] - 0.5) < 1e-6 for r in rows),
               "its fastest setting counts, and the ratio is peer / ours", rows)
        if rows:
            tabled(json.loads(out), "| ReLU (`relu`) |")
        code, out, said = against(factor=1.001)
        rows = json.loads(out)["rows"] if out else []
        result(code == 1 and len(rows) == 2 and all(r["ratio_median"] is None for r in rows) and said.count("no ratio") == 2,
               "a peer that computes something else: no ratio, and exit 1", out + said)
        code, out, said = against(start="sys.exit('nothing to say')")
        result(code == 1 and not out and "nothing to say" in said, "a peer that gives up is quoted", said)
        code, out, said = run(OPS, *TINY, "--only", "ReLU", "--vs-torch=/absent/python")
        result(code == 1 and "/absent/python" in said, "a Python that is not there is named", said)


def refusals():
    with tempfile.TemporaryDirectory() as folder:
        silent = os.path.join(folder, "silent.py")
        with open(silent, "w") as f:
            f.write("import sys\nsys.exit('nothing to say')\n")
        code, out, said = run(ROUND, *TINY, "--vs-torch=" + sys.executable, "--peer", silent, "--json")
        result(code == 1 and not out and "nothing to say" in said and said.count("\n") == 1, "a peer without an answer", said)
    for words in (["--what"], ["--size", "33.5"], ["--size"], ["--repeat", "0"], ["--preset", "huge"], ["--search", "all"],
                  ["--json=yes"], ["--width", "0"], ["--model", "unet"], ["--only", "x"], ["--vs-torch", "--peer", "absent.py"],
                  ["--vs-torch", "--search", "encoder", "--peer", __file__]):
        code, out, said = run(ROUND, *words)
        result(code == 2 and not out and said.startswith("bench_round: ") and said.count("\n") == 1,
               f"refused in one line: {' '.join(words)}", said)
    code, out, said = run(HYPERGRADIENT, "--model", "resnet")
    result(code == 2 and "genseg or unet" in said, "a model that is not there", said)
    code, out, said = run(HYPERGRADIENT, "--hypergradient", "eq9")
    result(code == 2 and "--hypergradient" in said, "bench_hypergradient takes them all", said)
    for program in (HYPERGRADIENT, OPS, ROUND):
        code, out, said = run(program, "--help")
        result(code == 0 and "--size" in out and not said, f"{os.path.basename(program)} --help", said)


rounds()
hypergradients()
operations()
works()
pairs()
refusals()
tap.done()
