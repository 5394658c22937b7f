"""Makes the input of bad_input.sh: small data sets, one good and others with one fault each. Standard library only."""
import os
import shutil
import struct
import sys
import zlib


def png(width, height, channels, pixel):
    """A PNG of 8 bits, grey or RGB; pixel(x, y) gives its channels."""
    rows = b"".join(
        b"\0" + b"".join(bytes(pixel(x, y)) for x in range(width)) for y in range(height))
    return png_of(width, height, 0 if channels == 1 else 2, zlib.compress(rows))


def png_of(width, height, colour, data):
    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def write(path, data):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(data)


def inside(x, y, k):
    return (x - 14 - k) ** 2 + (y - 16) ** 2 < 49


def image(side, k):
    return png(side, side, 3, lambda x, y: (180 - 90 * inside(x, y, k), 120 + x % 7 * 3, 100 + y % 5 * 4))


def mask(side, k, levels=(0, 255)):
    return png(side, side, 1, lambda x, y: (levels[inside(x, y, k)],))


def good(folder):
    for split, count in (("train", 4), ("val", 2), ("test", 2)):
        for k in range(count):
            write(f"{folder}/{split}/images/{split}{k}.png", image(32, k))
            write(f"{folder}/{split}/masks/{split}{k}.png", mask(32, k))


def main(root):
    base = f"{root}/good"
    good(base)

    def fault(name):
        folder = f"{root}/{name}"
        shutil.copytree(base, folder)
        return folder

    os.remove(fault("no_mask") + "/train/masks/train2.png")
    os.remove(fault("no_image") + "/train/images/train1.png")
    write(fault("other_size") + "/train/masks/train1.png", mask(31, 1))
    write(fault("cut") + "/train/images/train1.png", image(32, 1)[:-40])
    folder = fault("one_byte")
    os.remove(folder + "/train/images/train1.png")
    write(folder + "/train/images/train1.jpg", b"\xff")
    write(fault("bomb") + "/train/images/train1.png", png_of(100000, 100000, 2, zlib.compress(b"\0" * 100)))
    write(fault("grey") + "/train/masks/train1.png", mask(32, 1, (0, 128)))
    write(fault("bad_crc") + "/val/images/val0.png", image(32, 0)[:-20] + b"\0" * 20)
    write(fault("not_image") + "/train/images/train1.png", b"hello, this is text\n" * 20)
    folder = fault("no_val")
    shutil.rmtree(folder + "/val")
    folder = fault("no_masks")
    shutil.rmtree(folder + "/train/masks")
    folder = fault("empty_train")
    for kind in ("images", "masks"):
        shutil.rmtree(f"{folder}/train/{kind}")
        os.makedirs(f"{folder}/train/{kind}")
    folder = fault("other_names")
    for k in range(4):
        os.rename(f"{folder}/train/masks/train{k}.png", f"{folder}/train/masks/train{k}_mask.png")
    os.makedirs(f"{root}/empty")
    os.makedirs(f"{root}/some_images")
    write(f"{root}/some_images/one.png", image(32, 0))
    write(f"{root}/mixed_images/one.png", image(32, 0))
    write(f"{root}/mixed_images/notes.txt", b"a text\n")
    write(f"{root}/file", b"a file\n")

    write(f"{root}/key.toml", b"[optimizer.segmenter]\nrat = 1e-4\n")
    write(f"{root}/table.toml", b"[optimizer.segmentor]\nrate = 1e-4\n")
    write(f"{root}/type.toml", b"rounds = \"ten\"\n")
    write(f"{root}/enum.toml", b"[model]\nsearch = \"encodre\"\n")
    write(f"{root}/range.toml", b"[model]\n\n  dropout = 1.0\n")
    write(f"{root}/twice.toml", b"rounds = 10\nseed = 1\nrounds = 20\n")
    write(f"{root}/syntax.toml", b"rounds = 10\nseed : 1\n")
    write(f"{root}/utf8.toml", b"# caf\xe9\n")
    write(f"{root}/large.toml", b"#" * (1 << 20) + b"\n")
    write(f"{root}/escape.toml", b"\"\x1b[31m\" = 1\n")
    write(f"{root}/odd\n\x1b[31mname.toml", b"rounds = -1\n")


main(sys.argv[1])
