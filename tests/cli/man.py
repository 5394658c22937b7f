#!/usr/bin/env python3
"""Each installed program has its manual page, which renders without a warning and has every option, key and command of
--help. Usage: man.py PREFIX. Prints TAP."""
import pathlib
import re
import shutil
import subprocess
import sys

import tap
from tap import result

PREFIX = pathlib.Path(sys.argv[1])


def said(*words):
    return subprocess.run([*words, "--help"], capture_output=True, text=True, check=True).stdout


def plain(page):
    """The words of a page without the marks of roff."""
    return re.sub(r"\\f[BRIP]|\\&", "", page).replace("\\-", "-").replace("\\e", "\\")


programs = sorted((PREFIX / "bin").glob("*")) if (PREFIX / "bin").exists() else []
result(len(programs) >= 6, "the programs are installed (./quickstart --build-only does it)", programs)
for program in programs:
    name, path = program.name, PREFIX / "share" / "man" / "man1" / (program.name + ".1")
    result(path.exists(), f"{name} has a page", path)
    if not path.exists():
        continue
    page, text = plain(path.read_text()), said(program)
    if name == "genseg":
        commands = sorted(set(re.findall(r"^  genseg ([a-z]+) ", text, re.M)))
        missing = [command for command in commands if f'.SH "GENSEG {command.upper()}"' not in page]
        result(commands and not missing, f"it has a section for each of {len(commands)} commands", missing)
        text += "".join(said(program, command) for command in commands)
        result("log.csv" in page and "report.html" in page, "and the files of a run")
    words = sorted(set(re.findall(r"(?<![\w-])--[a-z][\w-]*", text)) | set(re.findall(r"^  ([a-z_.]+) = ", text, re.M)))
    missing = [word for word in words if not re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", page)]
    result(not missing, f"{name}: each of {len(words)} options and keys is in it", missing)
    sections = re.findall(r'^\.SH "?([A-Z ]+)', page, re.M)
    result(sections[:3] == ["NAME", "SYNOPSIS", "DESCRIPTION"], f"{name}: it opens as pages do", sections)
    if not shutil.which("groff"):
        tap.skip(f"{name}: there is no groff to render it")
        continue
    done = subprocess.run(["groff", "-ww", "-man", "-Tutf8", path], capture_output=True, text=True)
    result(done.returncode == 0 and not done.stderr and len(done.stdout) > 500,
           f"{name}: it renders without a warning", done.stderr)
tap.done()
