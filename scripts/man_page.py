#!/usr/bin/env python3
"""A manual page (roff, section 1) of one of our programs, made from what it says of itself by --help; of genseg by --help of
each command too. What --help has no place for (the line under NAME, files, other pages) stands here.

usage: man_page.py PROGRAM VERSION     writes the page to standard output
"""
import os
import re
import subprocess
import sys

NAMES = {
    "genseg": "medical image segmentation from few labelled images",
    "ht-gradcheck": "check the derivatives of every operation of hypertape",
    "ht-conform": "compare operations and rounds with cases that another framework wrote",
    "bench_ops": "time the operations of a GenSeg round",
    "bench_round": "time a GenSeg round, alone or beside PyTorch",
    "bench_hypergradient": "time the forms of the hypergradient",
}
FILES = {
    "genseg": [
        ("RUN/config.toml", "every setting of the run, as it was resolved"),
        ("RUN/run.json", "the build, the machine, seeds, hashes of the data, the split"),
        ("RUN/log.csv", "one row a round: losses, norms of the hypergradient, scores; what was not computed is empty"),
        ("RUN/events.out.tfevents.*", "the same numbers and the pictures, for TensorBoard"),
        ("RUN/alpha.csv, RUN/certificate.csv", "weights of the candidates of each cell; what --certify found"),
        ("RUN/checkpoints/", "the last two states, for --resume"),
        ("RUN/best.safetensors", "the weights that scored best on the validation split"),
        ("RUN/metrics.json, RUN/cases.csv", "scores of the test split: in sum, and case by case"),
        ("RUN/predictions/, RUN/pictures/", "masks and overlays of test cases; masks, generated and real images over rounds"),
        ("RUN/report.html", "all of it on one page that opens offline"),
    ],
    "ht-conform": [("docs/conformance.md", "the form of a case, in the sources of hypertape")],
}
SECTIONS = {"Exit status": "EXIT STATUS", "Exit codes": "EXIT STATUS", "Example": "EXAMPLES"}


def roff(text):
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + text if text.startswith((".", "'")) else text


def bold(text):
    return "\\fB" + roff(text) + "\\fR"


def said(*words):
    done = subprocess.run([*words, "--help"], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


class Page:
    """Help text, line by line, as sections of roff."""

    def __init__(self):
        self.sections, self.at = {}, []
        self.open("SYNOPSIS")
        self.fill = False  # whether the next line goes on with a paragraph

    def open(self, section):
        self.at = self.sections.setdefault(section, [])
        self.fill = False

    def paragraph(self, text):
        if not self.fill:
            self.at.append(".PP")
        self.at.append(roff(text if self.fill else text[:1].upper() + text[1:]))
        self.fill = True

    def item(self, term, text):
        self.at += [".TP", bold(" ".join(term.split()))]
        self.at += [roff(text)] if text else []
        self.fill = bool(text)

    def synopsis(self, text):
        before, fill = self.at, self.fill
        self.open("SYNOPSIS")
        first, _, rest = text.partition(" ")
        self.at += [".br"] if self.at else []
        self.at.append(bold(first) + (" " + roff(rest) if rest else ""))
        self.at, self.fill = before, fill

    def read(self, lines, program, section):
        """section: where paragraphs and items of this text belong."""
        self.open(section)
        for line in lines:
            usage = re.match(r"[Uu]sage: (.*)", line)
            titled = re.match(r"(%s): ?(.*)" % "|".join(SECTIONS), line)
            opening = re.match(r"(%s(?: \[options\])?): (.*)" % re.escape(program), line)
            item = (re.match(r" {2}(\S.*\S) {2,}(\S.*)$", line)
                    or re.match(r" {2}((?:-|\S+ =|%s ).*)()$" % re.escape(program), line))
            if not line.strip():
                self.fill = False
            elif usage:
                self.synopsis(usage.group(1))
            elif titled:
                self.open(SECTIONS[titled.group(1)])
                if titled.group(2):
                    self.paragraph(titled.group(2))
            elif opening:
                if "[" in opening.group(1):
                    self.synopsis(opening.group(1))
                self.paragraph(opening.group(2))
            elif self.at is self.sections.get("EXAMPLES"):
                self.at += [".PP", ".nf", roff(line.strip()), ".fi"]
            elif item:
                if program != "genseg" and item.group(1).startswith("-"):
                    self.open("OPTIONS")
                self.item(*item.groups())
            elif line.startswith("      "):
                self.at.append(roff(line.strip()))
            else:
                self.paragraph(line.strip())


def main():
    path, version = sys.argv[1:3]
    program = os.path.basename(path)
    page = Page()
    page.read(said(path), program, "DESCRIPTION")
    if program == "genseg":
        for command in dict.fromkeys(re.findall(r"^  genseg ([a-z]+) ", "\n".join(said(path)), re.M)):
            lines = [re.sub(f"^genseg {command}: ", "", line) for line in said(path, command)]
            page.read(lines, program, f"GENSEG {command.upper()}")
    order = ["SYNOPSIS", "DESCRIPTION", "OPTIONS"] + [name for name in page.sections if name.startswith("GENSEG ")]
    order += ["FILES", "EXIT STATUS", "EXAMPLES", "SEE ALSO"]
    if program in FILES:
        page.open("FILES")
        for name, text in FILES[program]:
            page.item(name, text)
    page.open("SEE ALSO")
    page.at.append(",\n".join(bold(name) + "(1)" for name in sorted(NAMES) if name != program))
    print(f'.TH {program.upper()} 1 "" "hypertape {version}" "User Commands"')
    print(f".SH NAME\n{roff(program)} \\- {roff(NAMES[program])}")
    for name in order:
        if name in page.sections:
            print("\n".join([f'.SH "{roff(name)}"', *page.sections[name]]))


main()
