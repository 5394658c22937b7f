#!/usr/bin/env python3
"""Writes conformance cases with PyTorch in float64, in the form of docs/conformance.md.

    make_cases.py OUT [--peer FILE] [--only TEXT]

OUT receives one file per case. --peer names a module with the networks of GenSeg (classes Generator,
Discriminator, UNet, Losses over dictionaries of parameters); without it no whole rounds are written.
Every expected number comes from PyTorch's own operations and reverse mode.
"""
import argparse
import importlib.util
import json
import os
import struct
import sys

import torch

import operations
import rounds

torch.set_default_dtype(torch.float64)


def write(path, tensors, metadata):
    """One safetensors file: length, header, data in the header's order."""
    names = {torch.float64: "F64", torch.int64: "I64"}
    header, blobs, at = {"__metadata__": metadata}, [], 0
    for name, t in tensors.items():
        blob = t.contiguous().numpy(force=True).tobytes()
        header[name] = {"dtype": names[t.dtype], "shape": list(t.shape), "data_offsets": [at, at + len(blob)]}
        at += len(blob)
        blobs.append(blob)
    text = json.dumps(header).encode()
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def derivatives(f, inputs, rng):
    """Tensors of one operation at its inputs: value and all that follows from it."""
    real = [i for i, t in enumerate(inputs) if t.dtype == torch.float64]
    x = [t.clone().requires_grad_() if i in real else t for i, t in enumerate(inputs)]
    draw = lambda t: torch.randn(t.shape, generator=rng)
    out = f(*x)
    y = draw(out).requires_grad_()
    tangent, u = ([draw(x[i]) for i in real] for _ in range(2))
    leaves = [x[i] for i in real]
    vjp = torch.autograd.grad((out * y).sum(), leaves, create_graph=True)
    jvp, = torch.autograd.grad(sum((a * b).sum() for a, b in zip(vjp, tangent)), y, retain_graph=True)
    along = sum((a * b).sum() for a, b in zip(vjp, u))
    hvp = torch.autograd.grad(along, leaves, allow_unused=True) if along.requires_grad else [None] * len(leaves)
    tensors = {f"in.{i}": t for i, t in enumerate(inputs)}
    tensors |= {"out": out, "cotangent": y, "jvp": jvp}
    for n, a, t, d, h in zip(real, vjp, tangent, u, hvp):
        tensors |= {f"vjp.{n}": a, f"tangent.{n}": t, f"u.{n}": d}
        tensors[f"hvp.{n}"] = torch.zeros_like(d) if h is None else h
    return tensors


def write_operations(folder, only):
    count = 0
    for number, (op, attributes, f, inputs) in enumerate(operations.cases()):
        name = f"{op}-{number:03d}"
        if only not in name:
            continue
        rng = torch.Generator().manual_seed(7000 + number)
        tensors = derivatives(f, inputs, rng)
        if not all(t.isfinite().all() for t in tensors.values()):
            sys.exit(f"{name}: not finite; choose another point")
        metadata = dict(kind="op", op=op, attributes=json.dumps(attributes), tolerance="1e-11", name=name)
        write(os.path.join(folder, name + ".safetensors"), tensors, metadata)
        count += 1
    return count


def write_rounds(folder, peer, only):
    count = 0
    for number, config in enumerate(rounds.configurations()):
        name = f"round-{number:03d}"
        if only not in name:
            continue
        tensors, order = rounds.work_out(peer, config, number)
        if not all(t.isfinite().all() for t in tensors.values()):
            sys.exit(f"{name}: not finite; choose another point")
        metadata = dict(kind="procedure", config=json.dumps(config), order=json.dumps(order), tolerance="1e-11",
                        name=name)
        write(os.path.join(folder, name + ".safetensors"), tensors, metadata)
        count += 1
    return count


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out")
    p.add_argument("--peer", help="module with the networks of GenSeg")
    p.add_argument("--only", default="", help="cases whose name contains this")
    o = p.parse_args()
    torch.set_num_threads(1)
    os.makedirs(o.out, exist_ok=True)
    written = write_operations(o.out, o.only)
    if o.peer:
        spec = importlib.util.spec_from_file_location("peer", o.peer)
        peer = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(peer)
        written += write_rounds(o.out, peer, o.only)
    print(f"{written} cases in {o.out}")


if __name__ == "__main__":
    main()
