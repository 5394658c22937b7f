#!/usr/bin/env python3
"""Single operations in PyTorch, beside `bench_ops --vs-torch`. Reads questions from stdin, one JSON object a line, and
answers each with one line:

    {"op", "attributes", "inputs": [{"shape", "integer"}], "fixed", "derivatives", "layout", "state", "seed", "seconds"}
    {"seconds", "apart", "torch"}    or    {"problem"}

With a seed, 0 or more, it draws the inputs and a cotangent and writes them to `state`, a safetensors file, with what it
computed: in.N, cotangent, out, vjp.N. Else it starts from that file. `fixed` inputs, the last ones, take no derivative;
`classes` of the attributes bounds integers. `apart` is how far the results are from the file's: the largest, over the
tensors, of |a - b| / |b|. `seconds` of the answer is the least time of runs that fill `seconds` of the question; with
`derivatives` a run is the value and its gradient in every input that is not fixed."""
import argparse
import ctypes
import json
import os
import struct
import sys
import time

import numpy
import torch
import torch.nn.functional as F

OPS = {
    "matmul": lambda a, b, o: torch.matmul(a, b),
    "conv": lambda x, w, o: F.conv2d(x, w, None, o["stride"], o["padding"]),
    "conv_transpose": lambda x, w, o: F.conv_transpose2d(x, w, None, o["stride"], o["padding"]),
    "batch_norm": lambda x, gain, bias, o: F.batch_norm(x, None, None, gain, bias, training=True),
    "layer_norm": lambda x, gain, bias, o: F.layer_norm(x, gain.shape, gain, bias),
    "relu": lambda x, o: F.relu(x),
    "tanh": lambda x, o: torch.tanh(x),
    "gelu": lambda x, o: F.gelu(x),
    "softmax": lambda x, o: F.softmax(x, o["axis"]),
    "max_pool": lambda x, o: F.max_pool2d(x, o["kernel"]),
    "avg_pool": lambda x, o: F.avg_pool2d(x, o["kernel"]),
    "resize": lambda x, o: F.interpolate(x, o["size"], mode="bilinear", align_corners=False),
    "concat": lambda a, b, o: torch.cat([a, b], o["axis"]),
    "attention": lambda q, k, v, o: F.scaled_dot_product_attention(q, k, v),
    "sigmoid_cross_entropy": lambda z, t, o: F.binary_cross_entropy_with_logits(z, t),
    "softmax_cross_entropy": lambda z, t, o: F.cross_entropy(z, t),
}


def keep_freed_memory():
    """glibc keeps what was freed, instead of giving it back and asking for it again at every operation."""
    libc = ctypes.CDLL("libc.so.6")
    trim, top_pad, mmap_most, arenas = (-1, 2 ** 31 - 1), (-2, 64 << 20), (-4, 0), (-8, 1)
    for option, value in (mmap_most, trim, top_pad, arenas):
        if libc.mallopt(option, value) != 1:
            sys.exit("mallopt refused")


def write(path, tensors):
    header, blobs, at = {}, [], 0
    for name, t in tensors.items():
        blob = t.detach().contiguous().numpy().tobytes()
        kind = "I64" if t.dtype == torch.int64 else "F32"
        header[name] = {"dtype": kind, "shape": list(t.shape), "data_offsets": [at, at + len(blob)]}
        at += len(blob)
        blobs.append(blob)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for blob in blobs:
            file.write(blob)


def read(path):
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        body = bytearray(file.read())
    out = {}
    for name, entry in header.items():
        first, last = entry["data_offsets"]
        kind = numpy.int64 if entry["dtype"] == "I64" else numpy.float32
        out[name] = torch.from_numpy(numpy.frombuffer(body, kind, (last - first) // numpy.dtype(kind).itemsize, first)
                                     .reshape(entry["shape"]))
    return out


def draw(question):
    rng = torch.Generator().manual_seed(question["seed"])
    tensors = {}
    for k, given in enumerate(question["inputs"]):
        shape = given["shape"]
        tensors[f"in.{k}"] = torch.randint(question["attributes"]["classes"], shape, generator=rng) if given["integer"] \
            else torch.randn(shape, generator=rng)
    return tensors, rng


def answer(question):
    f, attributes = OPS[question["op"]], question["attributes"]
    new = question["seed"] >= 0
    tensors, rng = draw(question) if new else (read(question["state"]), None)

    def placed(t):
        return t.contiguous(memory_format=torch.channels_last) if question["layout"] == "channels_last" and t.dim() == 4 else t

    count = len(question["inputs"])
    inputs = [placed(tensors[f"in.{k}"]) for k in range(count)]
    free = [t.requires_grad_() for t in inputs[:count - question["fixed"]]]

    def value():
        with torch.no_grad():
            return [f(*inputs, attributes)]

    def value_and_gradient():
        y = f(*inputs, attributes)
        return [y, *torch.autograd.grad(y, free, cotangent)]

    if new:
        tensors["cotangent"] = torch.randn(value()[0].shape, generator=rng)
    cotangent = placed(tensors["cotangent"])
    run = value_and_gradient if question["derivatives"] else value
    names = ["out"] + [f"vjp.{k}" for k in range(len(free))]
    results = dict(zip(names, run()))
    if new:
        write(question["state"], {**tensors, **results})
    apart = 0.0 if new else max(((r.double() - tensors[n].double()).norm() / tensors[n].double().norm().clamp_min(1e-30)).item()
                                for n, r in results.items())
    del results
    least, runs, begin = float("inf"), 0, time.perf_counter()
    while runs < 3 or (runs < 10000 and time.perf_counter() - begin < question["seconds"]):
        start = time.perf_counter()
        run()
        least = min(least, time.perf_counter() - start)
        runs += 1
    return {"seconds": least, "apart": apart, "torch": torch.__version__}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--threads", type=int, required=True)
    p.add_argument("--malloc", choices=("default", "keep"), default="default")
    o = p.parse_args()
    if o.malloc == "keep":
        keep_freed_memory()
    torch.set_num_threads(o.threads)
    for line in sys.stdin:
        try:
            out = answer(json.loads(line))
        except (RuntimeError, ValueError, KeyError, OSError) as e:
            out = {"problem": f"{type(e).__name__}: {e}".splitlines()[0]}
        print(json.dumps(out), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
