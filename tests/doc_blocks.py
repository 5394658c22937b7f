#!/usr/bin/env python3
"""Every block of code in README.md and docs/*.md has a tag, and what the tag promises is held:

    c        lines in a row of a file of the tree, where "..." on a line of its own leaves some out ("c FILE": of that
             file); or a whole program, which is compiled against the installed library and run
    output   what the program before it prints
    sh       commands: those of genseg and ht-gradcheck are run on small data, of the others the options are looked up
    console  a session: the options of the commands after "$ " and "> " are looked up; what is between is not compared
    json     is read     toml  is read by genseg     text  nothing

So are commands within a line, between backquotes. usage: doc_blocks.py SOURCE_ROOT PREFIX; prints TAP
"""
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import textwrap

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "cli"))
import tap

ROOT, PREFIX = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]).resolve()
BIN = PREFIX / "bin"
PROGRAMS = sorted(path.name for path in BIN.glob("*")) if BIN.exists() else []
COMPILE = ["cc", "-std=c17", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
TINY = """--rounds 2 --seed 3 --threads 1 --quiet --set data.size=32 --set model.generator_width=2 --set model.generator_levels=3
    --set model.discriminator_width=2 --set model.discriminator_layers=1 --set model.unet_width=2 --set model.unet_depth=2
    --set pretrain.steps=1""".split()
PLACES = {"DATA": "phantom", "fuseg": "phantom", "FOLDER": "RUN/pictures"}  # what words of a reader stand for here
PLAIN = {"mkdir", "export", "cd", "set", "apt-get", "man"}


def result(problem, text):
    tap.result(not problem, text, problem)


def run(words, **more):
    return subprocess.run(words, capture_output=True, text=True, timeout=100, **more)


# ---- blocks of a page ----

def blocks_of(path):
    """(line, tag, lines) of each block; the tag of one that is set off by four blanks is None."""
    found, block, tag, before, listed = [], None, None, "", False
    for at, line in enumerate(path.read_text().splitlines(), 1):
        if block is not None and tag is not None:
            if line == "```":
                found.append((at, tag, block))
                block = None
            else:
                block.append(line)
        elif line.startswith("```"):
            block, tag = [], line[3:].strip()
        else:
            listed = (listed and (not line or line.startswith(" "))) or bool(re.match(r"([-*]|\d+\.) ", line))
            if line.startswith("    ") and not before.strip() and not listed:
                found.append((at, None, [line]))
        before = line
    if block is not None:
        found.append((at, "without an end", block))
    return found


# ---- C ----

SOURCES = {}
for folder in ("examples", "include", "core", "autograd", "nn", "mlo", "apps", "tools", "tests", "bench"):
    for source in sorted((ROOT / folder).rglob("*")):
        if source.suffix in (".c", ".h", ".inl", ".def", ".cu", ".build") or source.name == "meson.build":
            SOURCES[source.relative_to(ROOT)] = source.read_text().splitlines()


def bare(lines):
    """The lines without the indentation that they share."""
    return textwrap.dedent("\n".join(lines)).strip("\n").splitlines()


def find(part, lines, first):
    """Where a part ends in the lines of a file, behind `first`; None if it is not there."""
    for at in range(first, len(lines) - len(part) + 1):
        if lines[at].strip() == part[0].strip() and bare(lines[at:at + len(part)]) == part:
            return at + len(part)
    return None


def home(block, only):
    """The file that has the parts of the block, in order; `only` that one, if it is not empty."""
    parts = [bare(part.splitlines()) for part in re.split(r"^\s*\.\.\.\n", "\n".join(block) + "\n", flags=re.M) if part.strip()]
    for name, lines in SOURCES.items():
        if only and str(name) != only:
            continue
        at = 0
        for part in parts:
            at = find(part, lines, at)
            if at is None:
                break
        if parts and at is not None:
            return name
    return None


def pkg_config():
    environment = os.environ | {"PKG_CONFIG_PATH": str(PREFIX / "lib" / "pkgconfig")}
    done = run(["pkg-config", "--cflags", "--libs", "hypertape"], env=environment)
    return shlex.split(done.stdout), environment


def run_program(block):
    """(problem, what it prints) of a whole program."""
    pathlib.Path("program.c").write_text("\n".join(block) + "\n")
    done = run([*COMPILE, "program.c", *pkg_config()[0], "-o", "program"])
    if not done.returncode:
        done = run(["./program"])
    return (done.stdout + done.stderr if done.returncode else ""), done.stdout


# ---- commands ----

def commands_of(text):
    """The simple commands of shell text as lists of words, without redirections; $(...) is one word."""
    found = []
    for line in text.replace("\\\n", " ").splitlines():
        line = re.sub(r"\$\(([^()]*)\)", lambda m: "$(" + m.group(1).replace(" ", "\0") + ")", line)
        lexer = shlex.shlex(line, posix=True, punctuation_chars=";|&<>")
        lexer.whitespace_split = True
        words, skip = [], False
        for word in [*lexer, ";"]:
            if set(word) <= set(";|&"):
                found += [words] if words else []
                words = []
            elif set(word) <= set("<>"):
                skip = True
            elif skip:
                skip = False
            else:
                words.append(word.replace("\0", " "))
    return found


HELP = {}


def help_of(words):
    """What --help of a program says, of genseg that of its command."""
    if words not in HELP:
        HELP[words] = run([*words, "--help"]).stdout
    return HELP[words]


def unknown_options(words, said):
    for word in words:
        option = re.match(r"--[a-z][a-z-]*", word)
        if option and not re.search(re.escape(option.group()) + r"(?![a-z-])", said):
            return f"{option.group()} is not in --help"
    return None


def look_up(words):
    """Only the options of a command of our own; None if all is well."""
    name = pathlib.Path(words[0]).name
    if name == "genseg" and len(words) > 1 and not words[1].startswith("-"):
        if f"genseg {words[1]} " not in help_of((str(BIN / name),)):
            return f"genseg has no command {words[1]}"
        return unknown_options(words[2:], help_of((str(BIN / name), words[1])))
    if name in PROGRAMS:
        return unknown_options(words[1:], help_of((str(BIN / name),)) + " --help --version")
    if name in ("check", "quickstart"):
        return unknown_options(words[1:], help_of((str(ROOT / name),)))
    if name == "meson":
        options = (ROOT / "meson_options.txt").read_text() + "'NAME' 'werror' 'buildtype' 'optimization' 'prefix'"
        known = [w for w in words if w.startswith("-D") and f"'{w[2:].split('=')[0]}'" not in options]
        suites = re.search(r'suites="(.*)"', (ROOT / "check").read_text()).group(1).split()
        known += [w for before, w in zip(words, words[1:]) if before == "--suite" and w not in suites]
        if words[1:2] == ["test"]:
            tests = (ROOT / "tests" / "meson.build").read_text()
            plain = [w for before, w in zip(words[1:], words[2:]) if before not in ("-C", "--suite", "--num-processes")]
            known += [w for w in plain if not w.startswith("-") and f"'{w}'" not in tests]
        return f"{known} is none of ours" if known else None
    if name.startswith("fuzz_"):
        there = (ROOT / "tests" / "fuzz" / f"{name[5:]}.c").is_file()
        source = (ROOT / "tests" / "fuzz" / "driver.c").read_text()
        strange = [w for w in words[1:] if w.startswith("--") and f'"{w}"' not in source]
        return None if there and not strange else f"{name}: no such target, or no option {strange}"
    return f"what is {words[0]}?"


def try_genseg(words):
    words = [PLACES.get(word, word) for word in words[1:]]
    problem = look_up(["genseg", *words])
    if problem or words[0].startswith("-"):
        return problem
    if words[0] == "train":
        words = [word for word in words if word not in ("--resume", "--dry-run")]
        words[words.index("--out") + 1] = "fresh"
        words.append("--dry-run")
    elif not os.path.exists("RUN"):
        done = run([BIN / "genseg", "train", "phantom", "--out", "RUN", *TINY])
        if done.returncode:
            return done.stderr
    if "--out" in words:
        shutil.rmtree(words[words.index("--out") + 1], ignore_errors=True)
    done = run([BIN / "genseg", *words])
    return done.stderr if done.returncode else None


def try_cc(words):
    """Compiles; a file of the reader's own is one of our examples."""
    source = next(word for word in words if word.endswith(".c"))
    if (ROOT / source).exists():
        words[words.index(source)] = str(ROOT / source)
    else:
        shutil.copy(ROOT / "examples" / "linear_regression.c", source)
    flags, _ = pkg_config()
    words = [flag for word in words for flag in (flags if word.startswith("$(pkg-config") else [word])]
    done = run(words)
    return done.stderr if done.returncode else None


def try_command(words):
    name = pathlib.Path(words[0]).name
    if name == "genseg":
        return try_genseg(words)
    if name == "ht-gradcheck":
        done = run([BIN / name, *words[1:]])
        return done.stderr if done.returncode > 1 else None
    if name == "cc":
        return try_cc(words)
    if name == "apt-get":
        needed = (ROOT / "scripts" / "build.sh").read_text()
        named = re.findall(r"^(?:packages=')?([a-z0-9-]+)\|", needed, re.M)
        strange = [word for word in words[2:] if not word.startswith("-") and word not in named]
        return f"scripts/build.sh does not name {strange}" if strange else None
    if name == "ninja":
        return None if words[1:] in (["-C", "build"], ["-C", "build", "install"], ["-C", "build-fuzz"]) else "another build"
    if name == "python3" or words[0].endswith((".py", ".sh")):
        if words[1:3] == ["-m", "venv"]:
            return None
        script = ROOT / next(word for word in words if word.endswith((".py", ".sh")))
        return unknown_options(words[1:], script.read_text()) if script.exists() else f"{script} is not there"
    if name == "pip":
        return None  # of a test-only environment; nothing of it is there
    if words[0] in PLAIN or "=" in words[0]:
        return None
    if words[0].startswith("./") and os.access(words[0], os.X_OK):
        done = run(words)
        return done.stderr if done.returncode else None
    return look_up(words)


def try_all(text):
    for words in commands_of(text):
        try:
            problem = try_command(words)
        except (OSError, ValueError, StopIteration, subprocess.TimeoutExpired) as reason:
            problem = repr(reason)
        if problem:
            return f"{shlex.join(words)}\n{problem}"
    return None


# ---- pages ----

def try_toml(block):
    pathlib.Path("block.toml").write_text("\n".join(block) + "\n")
    done = run([BIN / "genseg", "train", "phantom", "--out", "fresh", "--config", "block.toml", "--dry-run"])
    return done.stderr if done.returncode else None


def try_json(block):
    try:
        json.loads("\n".join(block))
    except ValueError as reason:
        return repr(reason)
    return None


def try_page(path):
    name, printed, plain = path.relative_to(ROOT), None, 0
    for line, tag, block in blocks_of(path):
        where = f"{name}:{line}"
        if (tag or "").split(" ")[0] == "c":
            found = home(block, tag[2:])
            if found or tag != "c" or not any(re.match(r"int main\(", row) for row in block):
                result("" if found else "no file of the tree has these lines", f"{where}: code of {found}")
            else:
                problem, printed = run_program(block)
                result(problem, f"{where}: a program")
        elif tag == "output":
            same = printed is not None and printed.splitlines() == block
            result("" if same else printed or "no program before it", f"{where}: what it prints")
        elif tag == "sh":
            result(try_all("\n".join(block)), f"{where}: commands")
        elif tag == "console":
            typed = "\n".join(row[2:] for row in block if row.startswith(("$ ", "> ")))
            problems = [look_up(words) for words in commands_of(typed)]
            result("\n".join(p for p in problems if p), f"{where}: a session")
        elif tag in ("toml", "json"):
            result((try_toml if tag == "toml" else try_json)(block), f"{where}: {tag}")
        elif tag == "text":
            plain += 1
        else:
            result("expected ```c, output, sh, console, toml, json or text", f"{where}: a block tagged {tag!r}")
    ours = r"`((?:build/prefix/bin/)?(?:genseg|ht-\w+|bench_\w+|\./check|\./quickstart|meson) [^`]*)`"
    spans = re.findall(ours, path.read_text())
    problems = [f"{span}: {look_up(words)}" for span in spans for words in commands_of(span.replace("\n", " ")) if look_up(words)]
    result("\n".join(problems), f"{name}: {len(spans)} commands within lines; {plain} blocks of text")


if not (PREFIX / "lib" / "pkgconfig" / "hypertape.pc").exists():
    result(f"nothing in {PREFIX}", "the library is installed (./quickstart --build-only does it)")
else:
    with tempfile.TemporaryDirectory(prefix="doc-blocks-") as scratch:
        os.chdir(scratch)
        for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
            try_page(page)
        os.chdir("/")
tap.done()
