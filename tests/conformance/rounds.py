"""Whole rounds: networks of the peer, steps and derivatives of our own, differentiated as taken."""
import torch

MOMENTS = {"sgd": (), "adam": ("adam.m", "adam.v"), "rmsprop": ("rmsprop.square", "rmsprop.buffer")}


def configurations():
    """The configurations of the cases, small enough to write down."""
    base = dict(size=16, batch=2, channels=1, downs=3, ngf=2, ndf=2, unet_base=2, unet_depth=2, d_layers=1,
                search="decoder", cells="separate", dropout=0.0, l1=100.0, dice=True, smooth=True, gamma=1.0)
    sgd = lambda rate, decay=0.0: dict(rule="sgd", rate=rate, weight_decay=decay)
    adam = lambda rate, step, decay=0.0, b1=0.5: dict(rule="adam", rate=rate, beta1=b1, beta2=0.999, eps=1e-8,
                                                      weight_decay=decay, step=step)
    rms = lambda rate, momentum=0.9, decay=0.0: dict(rule="rmsprop", rate=rate, decay=0.99, eps=1e-8, momentum=momentum,
                                                     weight_decay=decay)
    plain, own = dict(G=sgd(1e-2), S=sgd(1e-1)), dict(G=adam(1e-3, 3), S=rms(1e-3))
    changes = [plain, own,
               plain | dict(search="both"), own | dict(search="both", cells="merged"),
               plain | dict(dice=False), own | dict(dice=False, channels=3),
               plain | dict(dropout=0.5), own | dict(dropout=0.3, search="both"),
               plain | dict(l1=0.0, gamma=0.5), own | dict(l1=10.0, gamma=2.0),
               plain | dict(G=sgd(1e-2, 0.1), S=sgd(1e-1, 0.05)), own | dict(G=adam(1e-3, 1, 1e-2, 0.9), S=rms(1e-3, 0.0, 1e-3)),
               dict(G=rms(1e-3), S=adam(1e-3, 10)), dict(G=sgd(1e-2), S=rms(1e-3)), dict(G=adam(1e-3, 2), S=sgd(1e-1)),
               plain | dict(size=32, downs=4, d_layers=2, unet_depth=3, batch=1), own | dict(size=32, downs=5, batch=3),
               plain | dict(downs=2, ngf=4, ndf=3, unet_base=3), own | dict(unet_depth=1, d_layers=2, cells="merged")]
    for change in changes:
        both = dict(base, **change)
        both["unroll"] = "sgd" if both["G"]["rule"] == both["S"]["rule"] == "sgd" else "optimizer"
        yield both
    for change in changes[:8] + changes[12:13]:
        both = dict(base, **change, smooth=False)
        both["unroll"] = "sgd" if both["G"]["rule"] == both["S"]["rule"] == "sgd" else "optimizer"
        yield both


def step(p, gradients, rule, moments):
    """One step, as a function of the gradients that can be differentiated."""
    out = {}
    for (name, w), g in zip(p.items(), gradients):
        g = g + rule["weight_decay"] * w
        if rule["rule"] == "adam":
            b1, b2, t = rule["beta1"], rule["beta2"], rule["step"]
            m = b1 * moments["adam.m"][name] + (1 - b1) * g
            v = b2 * moments["adam.v"][name] + (1 - b2) * g * g
            g = m / (1 - b1 ** t) / ((v / (1 - b2 ** t)).sqrt() + rule["eps"])
        elif rule["rule"] == "rmsprop":
            q = rule["decay"] * moments["rmsprop.square"][name] + (1 - rule["decay"]) * g * g
            g = rule["momentum"] * moments["rmsprop.buffer"][name] + g / (q.sqrt() + rule["eps"])
        out[name] = w - rule["rate"] * g
    return out


def checksum(tensors):
    rows = []
    for t in tensors:
        flat = t.detach().reshape(-1)
        rows.append(torch.stack([flat.sum(), flat.norm(), flat @ torch.arange(flat.numel()).double().cos()]))
    return torch.stack(rows)


def start(peer, config, seed):
    """Networks, weights, moments, batch and factors of dropout, all drawn."""
    c, rng = config, torch.Generator().manual_seed(900 + seed)
    searched = c["search"] == "both"
    net_g = peer.Generator(c["downs"], 1, c["channels"], c["ngf"], searched, c["cells"], c["dropout"], c["smooth"])
    net_h = peer.Discriminator(1 + c["channels"], c["ndf"], c["d_layers"], c["smooth"])
    net_s = peer.UNet(c["channels"], 1, c["unet_base"], c["unet_depth"], c["smooth"])
    losses = peer.Losses(net_g, net_h, net_s, c["l1"], c["dice"], "affine", c["smooth"])
    weights = {"G": net_g.parameters(rng, torch.float64), "H": net_h.parameters(rng, torch.float64),
               "S": net_s.parameters(rng, torch.float64), "A": net_g.architecture(rng, torch.float64, 0.5)}
    for letter in "GHS":  # larger than at the start of a training, so that nothing is almost zero
        weights[letter] = {k: 3 * v if v.dim() == 4 else v + 0.1 * torch.randn(v.shape, generator=rng)
                           for k, v in weights[letter].items()}
    draw = lambda shape: torch.randn(shape, generator=rng)
    moments = {}
    for letter in "GS":
        moments[letter] = {slot: {k: 0.01 * draw(v.shape) for k, v in weights[letter].items()}
                           for slot in MOMENTS[c[letter]["rule"]]}
        for slot in ("adam.v", "rmsprop.square"):
            if slot in moments[letter]:
                moments[letter][slot] = {k: v.abs() + 1e-4 for k, v in moments[letter][slot].items()}
    shape = (c["batch"], 1, c["size"], c["size"])
    image = lambda: torch.rand((c["batch"], c["channels"], c["size"], c["size"]), generator=rng)
    mask = lambda: (torch.rand(shape, generator=rng) < 0.4).double()
    data = {"batch.mask": mask(), "batch.image": image(), "batch.augmented": mask(), "val.mask": mask(),
            "val.image": image()}
    keep = {"gan": {}, "seg": {}}
    for use in keep if c["dropout"] else ():
        for i in range(1, c["downs"] - 1):
            form = (c["batch"], net_g.decoder_channels(i)[1], c["size"] >> i, c["size"] >> i)
            keep[use][i] = (torch.rand(form, generator=rng) >= c["dropout"]).double() / (1 - c["dropout"])
    return losses, weights, moments, data, keep


def work_out(peer, config, seed):
    """All tensors of one case, and the order of the checksums."""
    losses, weights, moments, data, keep = start(peer, config, seed)
    g, h, s = ({k: v.clone().requires_grad_() for k, v in weights[letter].items()} for letter in "GHS")
    along, held = ({k: v.clone().requires_grad_() for k, v in weights["A"].items()} for _ in range(2))
    train = {"mask": data["batch.mask"], "image": data["batch.image"]}
    loss_gan, fake = losses.gan(g, along, h, train, keep["gan"])
    g_new = step(g, torch.autograd.grad(loss_gan, list(g.values()), create_graph=True), config["G"], moments["G"])
    loss_discriminator = losses.discriminate(h, train, fake.detach())
    h_gradient = torch.autograd.grad(loss_discriminator, list(h.values()))
    generated = losses.generate(g_new, held, data["batch.augmented"], keep["seg"])
    loss_seg = losses.seg(s, generated, data["batch.augmented"]) \
        + config["gamma"] * losses.seg(s, train["image"], train["mask"])
    s_new = step(s, torch.autograd.grad(loss_seg, list(s.values()), create_graph=True), config["S"], moments["S"])
    loss_val = losses.seg(s_new, data["val.image"], data["val.mask"])
    both = torch.autograd.grad(loss_val, list(along.values()) + list(held.values()))
    tensors = {f"{letter}.{k}": v for letter, p in weights.items() for k, v in p.items()}
    tensors |= {f"{letter}.{slot}.{k}": v for letter, slots in moments.items() for slot, p in slots.items()
                for k, v in p.items()}
    tensors |= data
    tensors |= {f"dropout.{use}.{i}": v for use, masks in keep.items() for i, v in masks.items()}
    tensors |= dict(loss_gan=loss_gan, loss_discriminator=loss_discriminator, loss_seg=loss_seg, loss_val=loss_val,
                    generated=generated)
    for i, name in enumerate(along):
        eq9, direct = both[i], both[len(along) + i]
        tensors |= {f"h_eq9.{name}": eq9, f"h_direct.{name}": direct, f"h_total.{name}": eq9 + direct}
    tensors |= {"checksum.G_new": checksum(g_new.values()), "checksum.S_new": checksum(s_new.values()),
                "checksum.H_gradient": checksum(h_gradient)}
    return tensors, {letter: list(p) for letter, p in weights.items()}
