#!/usr/bin/env python3
"""What equal bits for any number of threads cost in convolutions: bench_ops of this tree, and of a copy whose convolutions
by oneDNN are one primitive that shares its work among the threads as it likes, in turns. A row is a face that this tree
cuts into slices or bands: the medians of both, and their ratio; above 1 is the price. Last the sum over these rows.

    bench/equal_bits.py [--turns N] [--json] [options of bench_ops]

The copy is made and built in a folder of its own and removed. Needs an idle machine, as all timing does.
"""
import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
CUTS = {  # what decides, and the same without the cuts
    "core/backend/cpu/conv_onednn.c": ("s->sliced = sums_vary(p);", "s->sliced = sums_vary(p) && p->axes == 0;"),
    "core/backend/cpu/conv_winograd.c": ("bool together = !weight &&", "bool together = true ||"),
}


def free_program(folder):
    """bench_ops of a copy of the tree without the cuts."""
    source, build = folder / "source", folder / "build"
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, names.split("\0")):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    for name, (cut, free) in CUTS.items():
        text = (source / name).read_text(encoding="utf-8")
        if text.count(cut) != 1:
            sys.exit(f"equal_bits: {name}: no \"{cut}\"; expected it once; say here what decides now")
        (source / name).write_text(text.replace(cut, free), encoding="utf-8")
    for command in (["meson", "setup", build, source], ["ninja", "-C", build, "bench/bench_ops"]):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            sys.exit("equal_bits: " + " ".join(map(str, command)) + ": " + (done.stderr or done.stdout)[-2000:])
    return build / "bench/bench_ops"


def measured(program, options):
    """{(case, step): (seconds, algorithm)} of the convolutions."""
    done = subprocess.run([program, *options, "--json"], stdout=subprocess.PIPE, text=True, check=True)
    return {(c["case"], row["step"]): (row["seconds"], row["algorithm"]) for c in json.loads(done.stdout)["cases"]
            for row in c["rows"] if row["step"].startswith("conv")}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0], epilog="All else is bench_ops's: --preset, --only, --size, --batch, --width, "
        "--convolution, --precision, --repeat, --threads.")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    given, options = parser.parse_known_args()
    ours = pathlib.Path(os.environ.get("BIN", ROOT / "build/prefix/bin")) / "bench_ops"
    with tempfile.TemporaryDirectory() as folder:
        program = free_program(pathlib.Path(folder))
        turns = [(measured(ours, options), measured(program, options)) for _ in range(given.turns)]
    rows = []
    for key, (_, algorithm) in turns[0][0].items():
        if " slices" in algorithm or " bands" in algorithm:
            equal, free = (statistics.median(turn[side][key][0] for turn in turns) for side in (0, 1))
            rows.append({"case": key[0], "step": key[1], "algorithm": algorithm, "free_algorithm": turns[0][1][key][1],
                         "seconds": equal, "free_seconds": free, "ratio": equal / free})
    whole = {"seconds": sum(r["seconds"] for r in rows), "free_seconds": sum(r["free_seconds"] for r in rows)}
    if given.json:
        print(json.dumps({"rows": rows, **whole}))
        return
    for r in rows:
        print(f"{r['case'][:36]:36} {r['step']:12} {r['seconds'] * 1e3:9.3f} ms {r['free_seconds'] * 1e3:9.3f} ms "
              f"{r['ratio']:5.2f}  {r['algorithm']}")
    if rows:
        print(f"{'all of these':49} {whole['seconds'] * 1e3:9.3f} ms {whole['free_seconds'] * 1e3:9.3f} ms "
              f"{whole['seconds'] / whole['free_seconds']:5.2f}")


main()
