#!/usr/bin/env python3
"""The plain U-Net in PyTorch, beside `bench_hypergradient --model unet`: a training step (RMSprop), a gradient, and a
Hessian-vector product, from a file of weights, batch and direction that both programs start from.

The network, its losses and the file format are those of the module that --peer names (torch_genseg.py). Prints one JSON
object: seconds (median of the timed runs), loss and norm (of the gradient, or of the product) of the first run."""
import argparse
import importlib.util
import json
import math
import os
import statistics
import sys
import time

import torch


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--peer", required=True, metavar="FILE", help="the module with UNet, cross_entropy, dice_loss")
    p.add_argument("--what", choices=("step", "gradient", "hvp"), required=True)
    p.add_argument("--mode", choices=("reverse", "forward"), default="reverse", help="of hvp: over the reverse pass")
    for name in ("size", "batch", "channels", "width", "depth", "threads"):
        p.add_argument("--" + name, type=int, required=True)
    p.add_argument("--malloc", choices=("default", "keep"), default="default", help="keep: freed memory stays mapped")
    p.add_argument("--layout", choices=("nchw", "channels_last"), default="nchw")
    p.add_argument("--compile", choices=("none", "inductor"), default="none")
    p.add_argument("--repeat", type=int, default=1)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--save-state", metavar="FILE")
    p.add_argument("--load-state", metavar="FILE")
    return p.parse_args()


def module(path):
    spec = importlib.util.spec_from_file_location("peer", path)
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def start(peer, net, o):
    """Weights, batch and direction by name: of the file, or of the seed and then written."""
    if o.load_state:
        return peer.load_tensors(o.load_state)[0]
    rng = torch.Generator().manual_seed(o.seed)
    tensors = {"S." + k: v for k, v in net.parameters(rng, torch.float32).items()}
    tensors.update({"V." + k[2:]: torch.randn(v.shape, generator=rng) for k, v in list(tensors.items())})
    tensors.update({"batch." + k: v for k, v in peer.synthetic(o.batch, o.size, o.channels, rng, torch.float32).items()})
    if o.save_state:
        peer.save_tensors(o.save_state, tensors)
    return tensors


def traced(work, weights):
    """The whole of `work` as one graph, compiled: torch.compile by itself cannot be differentiated twice."""
    from torch.fx.experimental.proxy_tensor import make_fx
    names = list(weights)
    graph = make_fx(lambda *v: work({k: x.detach().requires_grad_() for k, x in zip(names, v)}))(
        *[v.detach() for v in weights.values()])
    graph.graph.eliminate_dead_code()
    graph.recompile()
    compiled = torch.compile(graph, fullgraph=True, dynamic=False)

    def run(w):
        with torch.no_grad():
            return compiled(*[v.detach() for v in w.values()])
    return run


def main():
    o = arguments()
    peer = module(o.peer)
    if o.malloc == "keep":
        peer.keep_freed_memory()
    torch.set_num_threads(o.threads)
    net = peer.UNet(o.channels, 1, o.width, o.depth)

    def placed(t):
        return t.contiguous(memory_format=torch.channels_last) if o.layout == "channels_last" and t.dim() == 4 else t

    tensors = {k: placed(v) for k, v in start(peer, net, o).items()}
    weights = {k[2:]: v.clone().requires_grad_() for k, v in tensors.items() if k.startswith("S.")}
    direction = {k: tensors["V." + k] for k in weights}
    image, mask = tensors["batch.image"], tensors["batch.mask"]

    def loss_of(w):
        logits = net(w, image)
        return peer.cross_entropy(logits, mask) + peer.dice_loss(logits, mask)

    def gradient(w):
        loss = loss_of(w)
        return [loss, *torch.autograd.grad(loss, list(w.values()))]

    def reverse(w):
        loss = loss_of(w)
        first = torch.autograd.grad(loss, list(w.values()), create_graph=True)
        along = sum((g * v).sum() for g, v in zip(first, direction.values()))
        return [loss, *torch.autograd.grad(along, list(w.values()))]

    def forward(w):
        point = {k: v.detach() for k, v in w.items()}
        (first, loss), (product, _) = torch.func.jvp(torch.func.grad_and_value(loss_of), (point,), (direction,))
        del first
        return [loss, *product.values()]

    work = {"reverse": reverse, "forward": forward}[o.mode] if o.what == "hvp" else gradient
    if o.compile == "inductor":
        work = traced(work, weights)
    optimiser = torch.optim.RMSprop(list(weights.values()), 1e-5, momentum=0.9, foreach=True)

    def once():
        values = work(weights)
        if o.what == "step":
            for w, g in zip(weights.values(), values[1:]):
                w.grad = g
            optimiser.step()
        return values

    values = once()
    answer = {"loss": values[0].item(), "norm": math.sqrt(sum(v.double().square().sum().item() for v in values[1:])),
              "torch": torch.__version__}
    del values
    seconds = []
    for _ in range(o.repeat):
        begin = time.perf_counter()
        once()
        seconds.append(time.perf_counter() - begin)
    print(json.dumps({"seconds": statistics.median(seconds), **answer}), flush=True)
    os._exit(0)  # no time for taking things apart


if __name__ == "__main__":
    sys.exit(main())
