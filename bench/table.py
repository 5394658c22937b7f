#!/usr/bin/env python3
"""Tables of docs/performance.md, made from bench/results/*.json alone, so that no number of the page is typed.

    table.py FILE.json...     prints the tables of these results
    table.py --write PAGE     rewrites every block of the page between `<!-- result NAME -->` and `<!-- end -->`
    table.py --check PAGE     says which blocks differ from what --write would leave; exit status 1 if any does

The command above a table is that of bench/all.sh. Nothing but the standard library."""
import json
import os
import re
import sys

FOLDER = os.path.dirname(os.path.abspath(__file__))
BLOCK = re.compile(r"(<!-- result (\S+) -->\n)(.*?)(<!-- end -->)", re.S)


def commands():
    """{NAME: command line} of bench/all.sh."""
    with open(os.path.join(FOLDER, "all.sh"), encoding="utf-8") as file:
        found = re.findall(r"^measure (\S+) (.*)$", re.sub(r" *\\\n *", " ", file.read()), re.M)
    return {name: words.replace('"$python"', "PYTHON") for name, words in found}


def number(value, digits=3):
    """A few significant digits, without an exponent; a dash where there is none."""
    if value is None:
        return "–"
    if value == 0:
        return "0"
    whole = len(str(int(abs(value))))
    return f"{value:.{max(0, digits - whole) if abs(value) >= 1 else digits}f}"


def seconds(value):
    if value is None:
        return "–"
    for unit, size in (("s", 1), ("ms", 1e-3), ("µs", 1e-6)):
        if value >= size or unit == "µs":
            return f"{number(value / size)} {unit}"


def gib(value):
    return "–" if value is None else f"{value / 2 ** 30:.2f} GiB"


def percent(value):
    return "–" if value is None else f"{100 * value:.0f} %"


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def machine(result):
    m = result["machine"]
    torch = result.get("torch") or next((w["torch"] for w in result.get("works", {}).values() if w.get("torch")), None)
    words = [m["processor"], f"{m['threads']} threads"]
    if m.get("fma_flop_per_second"):
        words.append(f"{m['fma_flop_per_second'] * 1e-9:.0f} GF/s of fused multiply-adds")
    if m.get("triad_bytes_per_second"):
        words.append(f"{m['triad_bytes_per_second'] * 1e-9:.1f} GB/s")
    words.append(f"load before {number(m['load_before'], 2)}")
    return ", ".join(words + ([f"PyTorch {torch}"] if torch else []))


def hidden(*results):
    """What a reader of a ratio must know: a setting of the peer was faster, but computed something else."""
    found = [r["peer_faster_but_apart_seconds"] for r in results if r.get("peer_faster_but_apart_seconds")]
    if not found:
        return []
    return [f"A setting of PyTorch that did not agree was faster ({', '.join(map(seconds, found))}); it does not count."]


def setting(one):
    seen = seconds(one["seconds"]) if not one.get("problem") else one["problem"]
    return [f"`{one['setting']}`", seen, gib(one.get("peak_bytes")), "yes" if one["agrees"] else "no"]


def of_round(r):
    o = r["options"]
    about = (f"{o['size']} pixels, batch {o['batch']}, widths {o['generator_width']}, hypergradient {o['hypergradient']}, "
             f"search {o['search']}:")
    parts = [about, table(["", "ours", "PyTorch", "PyTorch / ours"], [
        ["seconds a round", seconds(r["ours_seconds"]), seconds(r["peer_seconds"]), number(r["ratio_median"])],
        ["peak of memory", gib(r["peak_bytes"]), gib(r.get("peer_peak_bytes")),
         number(1 / r["memory_ratio"] if r["memory_ratio"] else None)]])]
    rate = f"{r['flop'] * 1e-9:.0f} Gflop in convolutions and products, {percent(r['fraction_of_peak'])} of the machine's peak."
    spread = f" Spread of the ratio {percent(r['ratio_spread'])} over {len(r['ratios'])} turns." if r.get("ratios") else ""
    if r.get("alone"):
        a = r["alone"]
        spread += (f" Convolutions and products take {seconds(a['round_seconds'])} in the round, alone"
                   f" {seconds(a['alone_seconds'])} ({a['kinds']} kinds): {percent(a['fraction'])}.")
    parts.append(rate + spread)
    parts += hidden(r)
    if r["peer_settings"]:
        parts.append(table(["setting of PyTorch", "seconds", "memory", "agrees"], map(setting, r["peer_settings"])))
    whole = sum(p["seconds"] for p in r["phases"].values())
    parts.append(table(["phase of ours", "seconds", "share", "Gflop", "GF/s", "GB", "steps"], [
        [name, seconds(p["seconds"]), percent(p["seconds"] / whole), number(p["flop"] * 1e-9),
         number(p["flop"] * 1e-9 / p["seconds"]), number(p["gigabytes"]), str(p["kernels"])] for name, p in r["phases"].items()]))
    return parts


def of_methods(r):
    o, peers = r["options"], any(m["vs_torch"] for m in r["methods"].values())
    head = ["hypergradient", "seconds a round", "over the plain steps", "memory", "Gflop", "steps"] + ["PyTorch / ours"] * peers
    rows = []
    for name, m in r["methods"].items():
        row = [name, seconds(m["seconds"]), number(m["ratio_to_none"]), gib(m["peak_bytes"]), number(m["flop"] * 1e-9),
               str(m["kernels"])]
        rows.append(row + [number((m["vs_torch"] or {}).get("ratio_median"))] * peers)
    return [f"{o['size']} pixels, batch {o['batch']}, widths {o['generator_width']}:", table(head, rows)]


def of_unet(r):
    o = r["options"]
    rows = []
    for name, w in r["works"].items():
        rows.append([name, seconds(w["ours_seconds"]), seconds(w["peer_seconds"]), number(w["ratio_median"]),
                     number(w["ours_to_gradient"]), number(w["peer_to_gradient"]), gib(w["peak_bytes"]),
                     gib(w.get("peer_peak_bytes")), percent(w["fraction_of_peak"]),
                     f"`{w['peer_fastest']}`" if w.get("peer_fastest") else "–"])
    return [f"{o['size']} pixels, batch {o['batch']}, width {o['width']}:",
            table(["U-Net", "ours", "PyTorch", "PyTorch / ours", "ours / gradient", "PyTorch's / gradient", "memory", "PyTorch's",
                   "of the peak", "PyTorch's fastest setting"], rows),
            *[f"No ratio of {name}: {w['problem']}." for name, w in r["works"].items() if w.get("problem")],
            *hidden(*r["works"].values())]


def of_pairs(r):
    o, cases = r["options"], {}
    for row in r["rows"]:
        cases.setdefault(row["case"], {})[row["pass"]] = row
    rows = []
    for name, passes in cases.items():
        first = next(iter(passes.values()))
        shapes = " ".join("×".join(map(str, i["shape"])) for i in first["inputs"])
        cells = []
        for key in ("forward", "with derivatives"):
            p = passes.get(key, {})
            cells += [seconds(p.get("ours_seconds")), seconds(p.get("peer_seconds")), number(p.get("ratio_median"), 2),
                      percent(p.get("order_share"))]
        rows.append([f"{name} (`{first['op']}`)", shapes, *cells])
    head = ["operation", "inputs", "forward", "PyTorch", "ratio", "order", "with derivatives", "PyTorch", "ratio", "order"]
    return [f"{o['size']} pixels, batch {o['batch']}, width {o['width']}. Ratio: PyTorch / ours. Order: share of ours that goes "
            "into changes of physical order and packing:", table(head, rows),
            f"Results differ by at most {max(row['apart'] for row in r['rows'] if row['ratio_median']):.0e}.",
            *hidden(*r["rows"])]


def of_roofs(r):
    o = r["options"]
    rows = []
    for case in r["cases"]:
        for row in case["rows"]:
            if row["step"] in ("reorder", "pack"):
                continue
            rows.append([case["case"], f"`{row['step']}`", seconds(row["seconds"]), number(row["flop_per_second"] * 1e-9),
                         number(row["bytes_per_second"] * 1e-9), f"{row['fraction_of_peak']:.2f} of {row['roof']}",
                         row.get("algorithm", "")])
    return [f"{o['size']} pixels, batch {o['batch']}, width {o['width']}:",
            table(["operation", "step", "time", "GF/s", "GB/s", "of the roof", "algorithm"], rows)]


def tables(result):
    for key, form in (("phases", of_round), ("methods", of_methods), ("works", of_unet), ("rows", of_pairs), ("cases", of_roofs)):
        if key in result:
            return "\n\n".join([*form(result), machine(result) + "."])
    raise ValueError("no result of a benchmark that is known here")


def block(name):
    """What stands between the marks of a result."""
    command = commands().get(name)
    above = [f"```sh\n{command}\n```"] if command else []
    path = os.path.join(FOLDER, "results", name + ".json")
    below = "Not measured on this page yet: `bench/all.sh` makes it."
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            below = tables(json.load(file))
    return "\n" + "\n\n".join([*above, below]) + "\n\n"


def main(words):
    if len(words) == 2 and words[0] in ("--write", "--check"):
        with open(words[1], encoding="utf-8") as file:
            page = file.read()
        made = BLOCK.sub(lambda m: m[1] + block(m[2]) + m[4], page)
        if words[0] == "--write":
            with open(words[1], "w", encoding="utf-8") as file:
                file.write(made)
            return 0
        apart = [a[1] for a, b in zip(BLOCK.findall(page), BLOCK.findall(made)) if a != b]
        lacks = [name for name in commands() if name not in [b[1] for b in BLOCK.findall(page)]]
        for name in apart:
            print(f"{words[1]}: the block of {name} is not what bench/results gives; run bench/table.py --write {words[1]}")
        for name in lacks:
            print(f"{words[1]}: no block of {name}, which bench/all.sh measures")
        return 1 if apart or lacks else 0
    if not words or words[0].startswith("-"):
        print(__doc__)
        return 0 if words == ["--help"] else 2
    for path in words:
        with open(path, encoding="utf-8") as file:
            print(tables(json.load(file)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
