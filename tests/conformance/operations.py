"""The operations of the cases: (name, attributes, the same in PyTorch, inputs). Points keep away from kinks and ties."""
import itertools

import torch
import torch.nn.functional as F

CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
MAX_POOL = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
AVG_POOL = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
ADAPTIVE = {1: F.adaptive_avg_pool1d, 2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}
LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}
SIZES = {1: (11,), 2: (9, 7), 3: (5, 6, 4)}

rng = torch.Generator().manual_seed(20)


def normal(*shape, scale=1.0):
    return torch.randn(shape, generator=rng, dtype=torch.float64) * scale


def distinct(*shape):
    """Numbers with no two closer than 0.01: a grid in random order, off 0."""
    count = torch.Size(shape).numel()
    return ((torch.randperm(count, generator=rng).double() - count / 2 + 0.37) * 0.02).reshape(shape)


def away_from_zero(*shape, scale=1.0):
    x = normal(*shape, scale=scale)
    return x + x.sign() * 0.05


def given(**attributes):
    """The attributes that a case writes down: None is left out."""
    return {k: v for k, v in attributes.items() if v is not None}


def convolutions():
    options = [  # kernel, stride, padding, dilation, groups, channels in and out, per axis where a tuple
        (3, 1, 1, 1, 1, 2, 3), (3, 2, 1, 1, 1, 3, 2), (4, 2, 1, 1, 1, 2, 4), (2, 1, 0, 2, 1, 2, 2), (3, 1, 2, 2, 1, 1, 2),
        (1, 1, 0, 1, 1, 3, 5), (3, 1, 1, 1, 2, 4, 6), (3, 2, 0, 1, 4, 4, 4), (2, 3, 1, 1, 1, 2, 3), (3, 3, 2, 1, 3, 3, 6)]
    for axes, (k, s, p, d, g, c, o) in itertools.product((1, 2, 3), options):
        n = 2 if axes < 3 else 1
        yield axes, SIZES[axes], (k,) * axes, [s] * axes, [p] * axes, [d] * axes, g, n, c, o
    yield 2, (9, 8), (3, 1), [2, 1], [1, 0], [1, 1], 1, 2, 2, 3
    yield 2, (8, 9), (2, 5), [1, 2], [0, 3], [2, 1], 2, 1, 4, 2
    yield 2, (8, 8), (6, 6), [2, 2], [2, 2], [1, 1], 1, 2, 2, 3
    yield 2, (8, 8), (8, 8), [2, 2], [3, 3], [1, 1], 1, 2, 2, 3
    yield 3, (4, 5, 6), (1, 3, 2), [1, 2, 1], [0, 1, 1], [1, 1, 2], 1, 2, 2, 2


def conv_cases():
    for axes, size, k, s, p, d, g, n, c, o in convolutions():
        w = normal(o, c // g, *k, scale=0.5)
        plain = (s, p, d, g) == ([1] * axes, [0] * axes, [1] * axes, 1)
        attributes = {} if plain else dict(stride=s, padding=p, dilation=d, groups=g)
        yield "conv", attributes, \
            lambda x, w, a=axes, s=s, p=p, d=d, g=g: CONV[a](x, w, None, s, p, d, g), [normal(n, c, *size), w]
    for axes, size, k, s, p, d, g, n, c, o in convolutions():
        c, o = o, c  # the transposed one maps back
        small = tuple(max(2, x // 2) for x in size)
        extra = [min(s[i] - 1, i % 2) for i in range(axes)]
        w = normal(c, o // g, *k, scale=0.5)
        yield "conv_transpose", dict(stride=s, padding=p, dilation=d, groups=g, output_padding=extra), \
            lambda x, w, a=axes, s=s, p=p, e=extra, g=g, d=d: TRANSPOSED[a](x, w, None, s, p, e, g, d), \
            [normal(n, c, *small), w]


def matmul_cases():
    leading = [((), ()), ((3,), (3,)), ((2, 3), (3,)), ((3,), ()), ((2, 1), (1, 3)), ((), (2,))]
    for (a, b), ta, tb in itertools.product(leading, (False, True), (False, True)):
        x, y = normal(*a, *((3, 4) if ta else (4, 3))), normal(*b, *((5, 3) if tb else (3, 5)))
        yield "matmul", given(transpose_a=ta or None, transpose_b=tb or None), \
            lambda x, y, ta=ta, tb=tb: (x.mT if ta else x) @ (y.mT if tb else y), [x, y]


def normalised(x, gain, bias, eps):
    return F.batch_norm(x, None, None, gain, bias, training=True, eps=eps)


def norm_cases():
    for shape in ((6, 3), (3, 2, 5), (2, 3, 4, 3), (2, 2, 3, 2, 3), (2, 3, 1, 1)):
        for eps in (None, 1e-2):
            e, c = eps or 1e-5, shape[1]
            x, gain, bias = normal(*shape) * 1.5 + 0.3, normal(c), normal(c)
            yield "batch_norm", given(eps=eps), lambda x, g, b, e=e: normalised(x, g, b, e), [x, gain, bias]
            if len(shape) > 2 and shape[-1] > 1:
                yield "instance_norm", given(eps=eps), \
                    lambda x, g, b, e=e: F.instance_norm(x, weight=g, bias=b, eps=e), [x, gain, bias]
    for shape, groups in (((2, 4, 3, 3), 2), ((2, 6, 5), 3), ((3, 4, 2, 3), 4), ((2, 4, 2, 2, 2), 1), ((3, 6), 2),
                          ((1, 8, 3, 2), 4)):
        c = shape[1]
        yield "group_norm", dict(groups=groups), \
            lambda x, g, b, k=groups: F.group_norm(x, k, g, b), [normal(*shape), normal(c), normal(c)]
        yield "group_norm", dict(groups=groups, eps=1e-3), \
            lambda x, g, b, k=groups: F.group_norm(x, k, g, b, 1e-3), [normal(*shape, scale=3), normal(c), normal(c)]
    for shape, axes in (((4, 5), 1), ((2, 3, 4), 1), ((2, 3, 4), 2), ((2, 3, 4), 3), ((2, 2, 3, 4), 2), ((7,), 1)):
        tail = shape[len(shape) - axes:]
        for eps in (None, 1e-3):
            yield "layer_norm", given(axes=axes, eps=eps), \
                lambda x, g, b, t=tail, e=eps or 1e-5: F.layer_norm(x, t, g, b, e), \
                [normal(*shape), normal(*tail), normal(*tail)]


def softmax_cases():
    for shape, axis, scale in (((5,), 0, 1), ((3, 4), 1, 2), ((3, 4), 0, 2), ((2, 5, 3), 1, 1), ((2, 3, 4), -1, 5),
                               ((2, 4, 3, 2), 1, 1), ((3, 6), 1, 300)):
        x = normal(*shape, scale=scale)
        x[0] /= scale  # beside saturated rows, whose derivatives are all rounding, one that is not
        yield "softmax", dict(axis=axis), lambda x, a=axis: torch.softmax(x, a), [x]
        yield "log_softmax", dict(axis=axis), lambda x, a=axis: torch.log_softmax(x, a), [x]
        yield "logsumexp", dict(axis=axis), lambda x, a=axis: torch.logsumexp(x, a), [x]


def softplus(x):
    return F.softplus(x, threshold=40)


def pointwise_cases():
    anywhere = dict(tanh=torch.tanh, sigmoid=torch.sigmoid, softplus=softplus, silu=F.silu, exp=torch.exp,
                    gelu=F.gelu, sin=torch.sin, cos=torch.cos, square=torch.square, neg=torch.neg, expm1=torch.expm1,
                    erf=torch.erf, erfc=torch.erfc, log_sigmoid=F.logsigmoid)
    for name, f in anywhere.items():
        for shape, scale in (((7,), 1), ((2, 3, 4), 1), ((2, 2, 3, 3), 3)):
            yield name, {}, lambda x, f=f: f(x), [normal(*shape, scale=scale)]
    for scale in (1, 3):
        yield "gelu", dict(approximate="none"), lambda x: F.gelu(x), [normal(3, 5, scale=scale)]
        yield "gelu", dict(approximate="tanh"), lambda x: F.gelu(x, approximate="tanh"), [normal(3, 5, scale=scale)]
    far = torch.tensor([-800.0, -40.0, -20.0, 0.3, 20.5, 40.0, 800.0])
    for name, f in (("softplus", softplus), ("sigmoid", torch.sigmoid), ("tanh", torch.tanh), ("silu", F.silu)):
        yield name, {}, lambda x, f=f: f(x), [far]
    for shape in ((6,), (2, 3, 4), (2, 2, 3, 3)):
        x = away_from_zero(*shape)
        yield "relu", {}, lambda x: F.relu(x), [x]
        yield "abs", {}, lambda x: x.abs(), [x]
        yield "leaky_relu", {}, lambda x: F.leaky_relu(x), [x]
        yield "leaky_relu", dict(slope=0.2), lambda x: F.leaky_relu(x, 0.2), [x]
        yield "elu", {}, lambda x: F.elu(x), [x]
        yield "elu", dict(alpha=0.7), lambda x: F.elu(x, 0.7), [x]
        for name, f in (("log", torch.log), ("sqrt", torch.sqrt), ("reciprocal", torch.reciprocal), ("log1p", torch.log1p),
                        ("rsqrt", torch.rsqrt)):
            yield name, {}, lambda x, f=f: f(x), [normal(*shape).abs() + 0.2]
        for name, limits in (("clamp", dict(low=-0.5)), ("clamp", dict(high=0.7)), ("clamp", dict(low=-0.5, high=0.7))):
            yield name, limits, lambda x, l=limits: x.clamp(l.get("low"), l.get("high")), [x]


def pair_cases():
    for first, second in (((5,), (5,)), ((2, 3, 4), (3, 1)), ((2, 1, 4), (2, 3, 1)), ((3, 4), ())):
        for name, f in (("add", torch.add), ("sub", torch.sub), ("mul", torch.mul), ("div", torch.div),
                        ("maximum", torch.maximum), ("minimum", torch.minimum)):
            yield name, {}, lambda a, b, f=f: f(a, b), [normal(*first), normal(*second).abs() + 0.2]
    for shape in ((7,), (2, 3, 4), ()):
        yield "sum", {}, lambda x: x.sum(), [normal(*shape)]
        yield "mean", {}, lambda x: x.mean(), [normal(*shape)]


def pool_cases():
    options = [(2, None, None), (2, 2, 0), (3, 2, 1), (3, 1, 1), (2, 3, 0), (3, 3, 0)]
    for axes, (k, s, p) in itertools.product((1, 2, 3), options):
        size = SIZES[axes]
        attributes = given(kernel=[k] * axes, stride=s and [s] * axes, padding=None if p is None else [p] * axes)
        yield "max_pool", attributes, lambda x, a=axes, k=k, s=s, p=p or 0: MAX_POOL[a](x, k, s, p), [distinct(1, 2, *size)]
        yield "avg_pool", attributes, lambda x, a=axes, k=k, s=s, p=p or 0: AVG_POOL[a](x, k, s, p), [normal(1, 2, *size)]
        if p:
            yield "avg_pool", dict(attributes, count_include_pad=False), \
                lambda x, a=axes, k=k, s=s, p=p: AVG_POOL[a](x, k, s, p, count_include_pad=False), [normal(1, 2, *size)]
    yield "max_pool", dict(kernel=[3, 2], stride=[2, 1], padding=[1, 0]), \
        lambda x: F.max_pool2d(x, (3, 2), (2, 1), (1, 0)), [distinct(2, 2, 7, 6)]
    yield "avg_pool", dict(kernel=[2, 3], stride=[1, 2], padding=[0, 1], count_include_pad=False), \
        lambda x: F.avg_pool2d(x, (2, 3), (1, 2), (0, 1), count_include_pad=False), [normal(2, 2, 6, 7)]
    for size, out in (((7,), (3,)), ((7,), (9,)), ((6, 5), (2, 3)), ((5, 7), (4, 4)), ((4, 4), (1, 1)), ((5, 4), (6, 2)),
                      ((3, 4, 5), (2, 2, 3))):
        yield "adaptive_avg_pool", dict(size=list(out)), \
            lambda x, a=len(size), o=out: ADAPTIVE[a](x, o), [normal(2, 2, *size)]


def resize_cases():
    sizes = [((5,), (9,)), ((8,), (3,)), ((4, 5), (8, 10)), ((6, 5), (3, 7)), ((7, 6), (4, 3)), ((3, 4, 2), (5, 3, 4)),
             ((4, 4), (4, 4)), ((3, 3), (1, 5))]
    for size, out in sizes:
        x = normal(2, 2, *size)
        yield "resize", dict(size=list(out), mode="nearest"), \
            lambda x, o=out: F.interpolate(x, size=o, mode="nearest"), [x]
        for corners in (None, False, True):
            yield "resize", given(size=list(out), mode="linear", align_corners=corners), \
                lambda x, o=out, c=bool(corners): F.interpolate(x, size=o, mode=LINEAR[len(o)], align_corners=c), [x]


def sampled(x, grid, border, corners):
    """Bilinear sampling out of gathers: PyTorch's own has no second derivative."""
    n, c, h, w = x.shape
    position = []
    for axis, size in ((0, w), (1, h)):
        p = (grid[..., axis] + 1) * (size - 1) / 2 if corners else ((grid[..., axis] + 1) * size - 1) / 2
        position.append(p.clamp(0, size - 1) if border else p)
    (px, py), total = position, 0
    left, top = px.detach().floor(), py.detach().floor()
    for dx, dy in itertools.product((0, 1), (0, 1)):
        column, row = left + dx, top + dy
        weight = (1 - (px - column).abs()) * (1 - (py - row).abs())
        inside = (column >= 0) & (column < w) & (row >= 0) & (row < h)
        index = (row.clamp(0, h - 1) * w + column.clamp(0, w - 1)).long().reshape(n, 1, -1).expand(n, c, -1)
        value = x.reshape(n, c, -1).gather(2, index).reshape(n, c, *grid.shape[1:3])
        total = total + value * (weight * inside)[:, None]
    return total


def grid_cases():
    for border, corners, spread, shape in itertools.product((False, True), (False, True), (0.5, 0.9), ((4, 5), (6, 3))):
        h, w = shape
        while True:  # positions well inside their cells, away from the clamp's ends
            grid = (torch.rand(2, 3, 4, 2, generator=rng, dtype=torch.float64) * 2 - 1) * spread * 1.4
            at = [(grid[..., i] + 1) * (s - 1) / 2 if corners else ((grid[..., i] + 1) * s - 1) / 2
                  for i, s in ((0, w), (1, h))]
            near = torch.stack([(p - p.round()).abs() for p in at])
            if near.min() > 1e-3:
                break
        x = normal(2, 3, h, w)
        own = F.grid_sample(x, grid, padding_mode="border" if border else "zeros", align_corners=corners)
        assert (own - sampled(x, grid, border, corners)).abs().max() < 1e-12
        yield "grid_sample", dict(padding_mode="border" if border else "zeros", align_corners=corners), \
            lambda x, g, b=border, c=corners: sampled(x, g, b, c), [x, grid]


def pad_cases():
    modes = dict(zeros="constant", reflect="reflect", replicate="replicate")
    for size, before, after in (((7,), (2,), (3,)), ((5, 6), (1, 2), (3, 0)), ((4, 5), (0, 3), (2, 1)),
                                ((4, 3, 5), (1, 2, 0), (2, 0, 3)), ((3, 3), (2, 2), (2, 2))):
        flat = [n for i in reversed(range(len(size))) for n in (before[i], after[i])]
        for mode, theirs in modes.items():
            yield "pad", given(before=[0, 0, *before], after=[0, 0, *after], mode=mode), \
                lambda x, f=flat, m=theirs: F.pad(x, f, m), [normal(2, 2, *size)]
    yield "pad", dict(before=[1, 0, 2], after=[0, 1, 1], mode="zeros"), \
        lambda x: F.pad(x, [2, 1, 0, 1, 1, 0]), [normal(2, 3, 4)]


def dice(p, t, smooth):
    return 1 - (2 * (p * t).sum() + smooth) / (p.sum() + t.sum() + smooth)


def cross_entropy(z, t):
    return F.binary_cross_entropy_with_logits(z, t)


def loss_cases():
    for shape, scale in (((6,), 1), ((2, 1, 4, 4), 1), ((2, 3, 3), 5), ((2, 8), 60)):
        yield "sigmoid_cross_entropy", {}, cross_entropy, [away_from_zero(*shape, scale=scale), torch.rand(shape, generator=rng)]
    for shape, scale in (((4, 5), 1), ((3, 4, 2), 1), ((2, 3, 3, 2), 3), ((5, 4), 200)):
        target = torch.randint(shape[1], (shape[0], *shape[2:]), generator=rng)
        yield "softmax_cross_entropy", {}, lambda z, t: F.cross_entropy(z, t), [normal(*shape, scale=scale), target]
    for shape, smooth in (((8,), None), ((2, 1, 4, 4), 1e-6), ((2, 3, 4), 1.0), ((5, 3), 10.0)):
        yield "dice_loss", given(smooth=smooth), lambda p, t, s=smooth or 1.0: dice(p, t, s), \
            [torch.rand(shape, generator=rng), torch.rand(shape, generator=rng)]


def index_cases():
    for shape, axis, index in (((5,), 0, [3, 0, 3]), ((4, 3), 0, [1, 1, 2, 0, 1]), ((4, 3), 1, [2, 0]), ((2, 3, 4), 1, [0, 2, 2]),
                               ((2, 3, 4), 2, [3, 3, 3, 3, 0]), ((2, 3, 4), -1, [1]), ((2, 2, 3, 2), 0, [1, 0, 1])):
        x, i = normal(*shape), torch.tensor(index)
        source = list(shape)
        source[axis] = len(index)
        yield "take", dict(axis=axis), lambda x, i, a=axis: x.index_select(a, i), [x, i]
        yield "put", dict(axis=axis), lambda x, i, s, a=axis: x.index_add(a, i, s), [x, i, normal(*source)]


def attention(q, k, v, scale):
    return torch.softmax(q @ k.mT * scale, -1) @ v


def attention_cases():
    for leading, length, d, scale in (((), (4, 4), 3, None), ((2,), (3, 5), 4, None), ((2, 2), (4, 3), 2, None),
                                      ((3,), (5, 5), 4, 0.3), ((1, 2), (6, 2), 5, 2.0)):
        q, k, v = normal(*leading, length[0], d), normal(*leading, length[1], d), normal(*leading, length[1], d)
        yield "attention", given(scale=scale), lambda q, k, v, s=scale or d ** -0.5: attention(q, k, v, s), [q, k, v]


def cases():
    for group in (conv_cases, matmul_cases, norm_cases, softmax_cases, pointwise_cases, pool_cases, resize_cases, grid_cases,
                  pad_cases, loss_cases, index_cases, attention_cases, pair_cases):
        yield from group()
