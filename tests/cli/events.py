#!/usr/bin/env python3
"""RUN/events.out.tfevents.*, read by a reader of its own: framing, checksums, the same numbers and pictures as log.csv and
pictures/, and after a resumption every step once. Usage: events.py GENSEG. Prints TAP. Nothing but the standard library."""
import csv
import os
import shutil
import struct
import subprocess
import sys
import tempfile

import tap
from tap import result

GENSEG = os.path.abspath(sys.argv[1])
TINY = """--seed 3 --threads 1 --quiet --rounds 12 --set data.size=32 --set model.generator_width=2 --set model.generator_levels=3
    --set model.discriminator_width=2 --set model.discriminator_layers=1 --set model.unet_width=2 --set model.unet_depth=2
    --set run.picture_every=5 --set pretrain.steps=3 --set run.validate_every=4 --set run.checkpoint_every=5""".split()


def crc32c(data):
    """By the definition: division of polynomials over GF(2), bits reflected."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


assert crc32c(b"123456789") == 0xE3069283, "the reader's own checksum"


def masked(data):
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def fields(data):
    """(field, value) of a protocol-buffer message; values as int, 8 or 4 bytes, or counted bytes."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    found = []
    while at < len(data):
        key = varint()
        if key & 7 == 0:
            found.append((key >> 3, varint()))
            continue
        size = {1: 8, 5: 4}.get(key & 7)
        if size is None:
            assert key & 7 == 2, key
            size = varint()
        assert at + size <= len(data), "a field beyond its message"
        found.append((key >> 3, data[at:at + size]))
        at += size
    return found


def events_of(path):
    data, at, events = open(path, "rb").read(), 0, []
    while at < len(data):
        size, crc = struct.unpack_from("<QI", data, at)
        assert crc == masked(data[at:at + 8]), "checksum of a length"
        body = data[at + 12:at + 12 + size]
        assert len(body) == size and struct.unpack_from("<I", data, at + 12 + size)[0] == masked(body), "checksum of data"
        at += 16 + size
        event = {"step": 0, "scalars": {}, "pictures": {}}
        for field, value in fields(body):
            if field == 1:
                event["time"] = struct.unpack("<d", value)[0]
            elif field in (2, 3, 7):
                event[{2: "step", 3: "version", 7: "session"}[field]] = value
            else:
                assert field == 5, field
                for one, summary in fields(value):
                    parts = dict(fields(summary))
                    assert one == 1 and len(parts) == 2
                    tag = parts[1].decode()
                    if 2 in parts:
                        event["scalars"][tag] = parts[2]
                    else:
                        picture = dict(fields(parts[4]))
                        event["pictures"][tag] = (picture[2], picture[1], picture[3], picture[4])
        events.append(event)
    return events


def files(run):
    return sorted(name for name in os.listdir(run) if name.startswith("events.out.tfevents."))


def all_events(run):
    return [event for name in files(run) for event in events_of(os.path.join(run, name))]


def train(run, *more):
    done = subprocess.run([GENSEG, "train", "phantom", "--out", run, *TINY, *more], capture_output=True, text=True, timeout=200)
    return done.returncode == 0, done.stdout + done.stderr


def expected(run):
    """step -> {column: the bytes of its number in single precision} out of log.csv."""
    with open(os.path.join(run, "log.csv")) as file:
        rows = list(csv.DictReader(file))
    return {int(row.pop("round")): {k: struct.pack("<f", float(v)) for k, v in row.items() if v} for row in rows}


def scalars(run):
    return [(e["step"], e["scalars"]) for e in all_events(run) if e["scalars"]]


def of_a_whole_run():
    good, said = train("whole")
    result(good, "a run", said)
    promised = """config.toml run.json log.csv checkpoints best.safetensors metrics.json cases.csv predictions report.html"""
    missing = [name for name in promised.split() if not os.path.exists(os.path.join("whole", name))]
    result(not missing, "it leaves every file and folder that the contract names", missing)
    names = files("whole")
    result(len(names) == 1 and names[0].endswith(".genseg"), "it has one file of events", names)
    events = all_events("whole")
    result(events[0].get("version") == b"brain.Event:2", "which opens with its version", events[0])
    table = expected("whole")
    same = scalars("whole") == sorted(table.items())
    result(same and len(table) == 12, "every number of log.csv, at its step", scalars("whole"))
    some = [len(row) for row in table.values()]
    result(min(some) < max(some), "what was not computed in a round is not there", some)
    times = [e["time"] for e in events]
    result(times == sorted(times) and times[0] > 1.6e9, "times ascend", times)
    pictures = [(e["step"], *e["pictures"]["mask, generated, real"]) for e in events if e["pictures"]]
    result([p[0] for p in pictures] == [1, 5, 10, 12], "a picture at the rounds that have one", [p[0] for p in pictures])
    same = all(bytes_ == open(f"whole/pictures/round-{step:05d}.png", "rb").read() for step, _, _, _, bytes_ in pictures)
    sizes = all(struct.unpack(">II", p[4][16:24]) == (p[1], p[2]) and p[3] == 3 for p in pictures)
    result(same and sizes, "it is the file in pictures/, with its size", [p[:4] for p in pictures])


def after_a_resumption():
    """A run that is put back to its last checkpoint but one, as if it had been killed after it."""
    shutil.copytree("whole", "back")
    shutil.rmtree("back/checkpoints/round-000012")
    first = os.path.join("back", files("back")[0])
    whole = open(first, "rb").read()
    open(first, "ab").write(whole[:29])
    open("back/events.out.tfevents.1.elsewhere", "wb").write(b"not ours")
    good, said = train("back", "--resume")
    os.rename("back/events.out.tfevents.1.elsewhere", "elsewhere")
    result(good and open("elsewhere", "rb").read() == b"not ours", "resumed after round 10; files of others stay", said)
    names = files("back")
    result(len(names) == 2 and os.path.join("back", names[0]) == first, "it goes on in a later file", names)
    result(whole.startswith(open(first, "rb").read()) and max(e["step"] for e in events_of(first)) == 10,
           "the first one ends with round 10", [e["step"] for e in events_of(first)])
    opening = events_of(os.path.join("back", names[1]))[:2]
    result("version" in opening[0] and opening[1]["step"] == 11 and opening[1].get("session") == b"\x08\x01",
           "the second one begins by the start of a session at round 11", opening)
    table = expected("back")
    result([step for step, _ in scalars("back")] == list(range(1, 13)) and scalars("back") == sorted(table.items()),
           "every step is there once, with the numbers of the log", [step for step, _ in scalars("back")])
    here, there = ([(s, row | {"seconds": None}) for s, row in scalars(run)] for run in ("whole", "back"))
    result(here == there, "and of the run that was let alone")
    result([e["step"] for e in all_events("back") if e["pictures"]] == [1, 5, 10, 12], "so are the pictures")


def from_damage():
    """Bytes changed in the middle of a file: what follows is given up, the run goes on."""
    path = os.path.join("back", files("back")[0])
    data = bytearray(open(path, "rb").read())
    data[len(data) // 2] ^= 1
    open(path, "wb").write(data)
    shutil.rmtree("back/checkpoints/round-000012")
    good, said = train("back", "--resume")
    steps = [step for step, _ in scalars("back")]
    result(good and steps == sorted(set(steps)) and steps[-1] == 12 and len(files("back")) == 3,
           "a damaged file is cut where the damage is, and all can be read", f"{said}{steps}")


with tempfile.TemporaryDirectory(prefix="genseg-events-") as scratch:
    os.chdir(scratch)
    of_a_whole_run()
    after_a_resumption()
    from_damage()
    os.chdir("/")
tap.done()
