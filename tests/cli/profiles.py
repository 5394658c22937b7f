#!/usr/bin/env python3
"""The forms of a profile, read by readers that know nothing of us: JSON, XML. The maker's scopes have hostile names; a
round has thousands of steps. Prints TAP. Nothing but the standard library.
Usage: profiles.py PROFILE_MAKER BENCH_ROUND GENSEG."""
import collections
import json
import os
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree

import tap
from tap import result

MAKER, ROUND, GENSEG = sys.argv[1:4]
SVG = "{http://www.w3.org/2000/svg}"


def near(a, b, parts):
    """Milliseconds that were printed with three digits, and sums of whole nanoseconds."""
    return abs(a - b) <= 0.0006 + 1e-6 * parts


def tables(text):
    """{title: {name: (ms, steps)}} of the three tables."""
    found = {}
    for block in text.split("\n\n"):
        lines = block.splitlines()
        rows = {}
        for line in lines[1:]:
            # the columns have fixed places; the name comes last
            rows[line[48:]] = (float(line[:12]), int(line[21:28]))
        found[lines[0][48:]] = rows
    return found


def read_trace(path, what):
    with open(path, encoding="utf-8") as file:
        events = [e for e in json.load(file)["traceEvents"] if e["ph"] == "X"]
    stack, inside, last, end = [], True, 0, 0
    for e in events:
        begin, stop = round(e["ts"] * 1000), round((e["ts"] + e["dur"]) * 1000)
        inside = inside and begin >= last and stop >= begin
        last = begin
        while stack and begin >= stack[-1][1] and not (e["cat"] == "scope" and begin == stop == stack[-1][1]):
            stack.pop()
        inside = inside and all(b <= begin and stop <= s for b, s in stack)
        if e["cat"] == "scope":
            stack.append((begin, stop))
        else:
            inside = inside and begin == end
            end = stop
    steps = [e for e in events if e["cat"] != "scope"]
    result(bool(steps) and inside, f"{what}: events ascend, steps meet end to end, each within its scopes")
    result(all({"op", "bytes", "flop"} <= set(e["args"]) for e in steps) and any("shapes" in e["args"] for e in steps)
           and any(e["args"].get("algorithm") for e in steps) and any(e["args"].get("GF/s", 0) > 0 for e in steps),
           f"{what}: a step says op, shapes, algorithm, bytes, flop and rates", steps[:1])
    return events, steps


def read_flame(path, steps, what):
    tree = xml.etree.ElementTree.parse(path).getroot()
    tags = {e.tag.replace(SVG, "") for e in tree.iter()}
    result(tags == {"svg", "style", "rect", "text", "tspan", "title"}
           and not any(a.startswith("on") or "href" in a for e in tree.iter() for a in e.attrib)
           and "url(" not in "".join(tree.itertext()).split("ms a run")[0],
           f"{what}: an SVG of rectangles and text, no script, nothing fetched", tags)
    frames = [(f.attrib["class"].split()[0], float(f.attrib["x"]), float(f.attrib["y"]), float(f.attrib["width"]),
               f.find(SVG + "title").text) for f in tree.findall(SVG + "svg")]
    rows = collections.defaultdict(list)
    for kind, x, y, width, title in frames:
        rows[y].append((x, x + width))
    apart = all(a[1] <= b[0] + 0.02 for row in rows.values() for a, b in zip(sorted(row), sorted(row)[1:]))
    stands = all(any(x >= a - 0.02 and x + width <= b + 1.02 for a, b in rows[y + 23])
                 for kind, x, y, width, title in frames if kind != "all")
    result(apart and stands and sum(f[0] == "all" for f in frames) == 1,
           f"{what}: frames of a row do not overlap, and each stands on one")
    said = [int(n) for n in re.findall(r"(\d+) steps", "".join(t.text for t in tree.findall(SVG + "text"))
                                       + next(f[4] for f in frames if f[0] == "all"))]
    result(said == [len(steps)] * 2, f"{what}: the heading, the lowest frame and the trace count the same steps", said)
    return frames


def profile_of_maker(folder):
    files = [os.path.join(folder, name) for name in ("table", "trace.json", "flame.svg")]
    done = subprocess.run([MAKER, *files], capture_output=True, text=True)
    result(done.returncode == 0 and not done.stdout, "a profile of hostile names is written, and nothing printed", done.stderr)
    if done.returncode:
        return
    with open(files[0], encoding="utf-8") as file:
        text = file.read()
    found = tables(text)
    result(list(found) == ["op", "scope", "line"] and "commit" in found["op"] and "conv_input" in found["op"]
           and any("tests/profile_maker.c:" in name for name in found["line"]), "a table by op, by scope, by line", text)
    events, steps = read_trace(files[1], "hostile names")
    wholes = [rows["all"] for rows in found.values()]
    whole = sum(e["dur"] for e in steps) * 1e-3
    result(all(near(ms, whole, len(steps)) and count == len(steps) for ms, count in wholes),
           "all tables and the trace agree on the whole", (wholes, whole))
    for title, key in (("op", "op"), ("scope", "scope"), ("line", "where")):
        sums = collections.Counter()
        for e in steps:
            name = e["args"].get(key, f"(no {title})")
            sums[name.replace("\n", "\N{REPLACEMENT CHARACTER}")] += e["dur"] * 1e-3
        result(set(sums) == set(found[title]) - {"all"}
               and all(near(ms, found[title][name][0], len(steps)) for name, ms in sums.items()),
               f"the trace's times by {title} are the table's", (sums, found[title]))
    names = {e["name"] for e in events if e["cat"] == "scope"}
    swap = "\N{REPLACEMENT CHARACTER}"
    result({"<script>alert(1)<", "script>", "\"quotes' & \\ ]]>", f"not {swap}{swap} UTF-8 {swap}", "\N{FIRE} \u6df1", "&lt;&#0;",
            f"controls {swap * 6}", "%s %n", "deep", "a", "b", "c"} <= names | {"script>"}, "names are what they were", names)
    frames = read_flame(files[2], steps, "hostile names")
    titles = " ".join(f[4] for f in frames)
    result("<script>alert(1)<" in titles and "\"quotes' & \\ ]]>" in titles and f"UTF-8 {swap}" in titles, "and in the picture",
           titles[:1500])
    shown = next(f[4] for f in frames if f[0] == "all").split("\n")[1]
    result(near(float(shown.split(" ms")[0]), whole, len(steps)), "the picture's whole is the table's", (shown, whole))


def profile_of_round(folder):
    trace, flame = os.path.join(folder, "round.json"), os.path.join(folder, "round.svg")
    words = ["--preset", "tiny", "--size", "32", "--repeat", "2", "--threads", "1", "--json"]
    done = subprocess.run([ROUND, *words, "--trace", trace, "--flame=" + flame], capture_output=True, text=True)
    result(done.returncode == 0 and not done.stderr, "bench_round --trace --flame", done.stderr)
    if done.returncode:
        return
    events, steps = read_trace(trace, "a round")
    told = json.loads(done.stdout)
    result(1000 < len(steps) <= told["kernels"], "the commit is one event, and each kernel else", (len(steps), told["kernels"]))
    phases = sum(p["seconds"] for p in told["phases"].values())
    whole = sum(e["dur"] for e in steps if e["name"] != "commit") * 1e-6
    result(abs(phases - whole) <= 1e-5 + 1e-6 * phases, "the trace has the time of the phases", (phases, whole))
    result(sum(e["args"]["flop"] for e in steps) == told["flop"] + told["recomputed_flop"], "and their flop")
    result({"G", "H", "S", "A"} <= {e["name"] for e in events if e["cat"] == "scope"}, "levels are scopes")
    read_flame(flame, steps, "a round")
    done = subprocess.run([ROUND, *words, "--trace", os.path.join(folder, "absent", "x")], capture_output=True, text=True)
    result(done.returncode == 1 and "absent" in done.stderr and done.stderr.count("\n") == 1, "a file that cannot be made",
           done.stderr)


def profile_of_training(folder):
    run, profile = os.path.join(folder, "run"), os.path.join(folder, "run", "profile")
    words = ["train", "phantom", "--quiet", "--rounds", "2", "--threads", "1"]
    for key, value in (("data.size", 32), ("model.generator_levels", 3), ("model.generator_width", 2), ("model.unet_width", 2),
                       ("model.discriminator_width", 2), ("pretrain.steps", 1)):
        words += ["--set", f"{key}={value}"]
    done = subprocess.run([GENSEG, *words, "--out", run, "--profile", profile], capture_output=True, text=True)
    result(done.returncode == 0 and sorted(os.listdir(profile)) == ["round.json", "round.svg", "round.txt"],
           "genseg train --profile leaves three files", done.stderr)
    events, steps = read_trace(os.path.join(profile, "round.json"), "training")
    with open(os.path.join(profile, "round.txt"), encoding="utf-8") as file:
        whole, count = tables(file.read())["op"]["all"]
    result(near(whole, sum(e["dur"] for e in steps) * 1e-3, len(steps)) and count == len(steps),
           "its trace and its table agree", (whole, count))
    read_flame(os.path.join(profile, "round.svg"), steps, "training")
    done = subprocess.run([GENSEG, *words, "--out", run + "2", "--profile", MAKER], capture_output=True, text=True)
    result(done.returncode == 2 and "expected a folder" in done.stderr and not os.path.exists(run + "2")
           and done.stderr.count("\n") == 1,
           "a folder that cannot be made is said before training", done.stderr)


with tempfile.TemporaryDirectory() as place:
    profile_of_maker(place)
    profile_of_round(place)
    profile_of_training(place)
tap.done()
