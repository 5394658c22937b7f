#!/usr/bin/env python3
"""docs/ops.md, made from the sources: what <ht/ops.h> says of each function and <ht/nn.h> of each that gives values; what a
function is built from, and the kind and the derivative of each op of core/tape/op.def, read off the preprocessed op families.

usage: ops_reference.py SOURCE_ROOT                     writes docs/ops.md
       ops_reference.py SOURCE_ROOT --check GRADCHECK   TAP: the page is what would be written, and nothing lacks its words
"""
import json
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(sys.argv[1])
PAGE = ROOT / "docs" / "ops.md"
HEAD = """# Operations

Made by `scripts/ops_reference.py` from the headers and the op families; a test holds it to them, so change those. Each function
stands with its signature, what its header says, and what it records. Arguments of functions marked *named* can be given by
name, `.stride = ht_all(2)`, in any order; those left out are 0, which stands for the default. Every rule is recorded in ops, so
there are derivatives of any order; `ht-gradcheck` checks every op, and the composites that models stand on, at orders 1 to 3. Of
the kinds of ops

- *pointwise* means: one number in, one out; the rule is the partial derivative,
- *linear* and *multilinear*: linear in all inputs together, or in each alone; the rule is the transpose, by which both
  modes of differentiation are had,
- *constant*: it carries no derivative; *leaf*: it has no inputs,
- *composite*: recorded in other operations at once, so it has no rule of its own.

"""


# ---- headers ----

def tidy(comment):
    """The text of a doc comment without its frame."""
    lines = [re.sub(r"^ \* ?", "", line) for line in comment.strip().splitlines()]
    return "\n".join(line.rstrip() for line in lines).strip("\n").strip()


def arguments_of(text, struct):
    """The fields of an argument struct as a list of parameters; a union of two forms is "kernel or kernels"."""
    body = re.search(r"typedef struct %s \{(.*?)\n\} %s;" % (struct, struct), text, re.S).group(1)
    body = re.sub(r"/\*.*?\*/", "", body, flags=re.S)
    body = re.sub(r"union \{ (\w+) (\w+); \w+ (\w+); \};", r"\1 \2 or .\3;", body)
    fields = []
    for field in body.split(";"):
        words = " ".join(field.split())
        if not words or words == "const char *where":
            continue
        kind, names = re.match(r"((?:const )?\w+ )(.*)", words).groups()
        fields += [kind + name.strip() for name in names.split(",")]
    return ", ".join(fields)


class Function:
    """One public macro of a header: its section, words, and signature."""

    def __init__(self, text, section, doc, name):
        self.name, self.section, self.doc = name, section, doc
        unary = re.search(r"HT_DECLARE_(UNARY|BINARY)\(%s\);" % re.sub("^ht_", "", name), text)
        self.named = False
        if unary:
            self.result, self.inputs = "ht_var", "ht_var x" if unary.group(1) == "UNARY" else "ht_var a, ht_var b"
            return
        self.result, self.inputs = re.search(r"^(\w+) %s_\(([^;]*)\);" % name, text, re.M).groups()
        self.inputs = " ".join(self.inputs.split())
        struct = re.fullmatch(r"(\w+_args) args", self.inputs)
        if struct:
            self.named, self.inputs = True, arguments_of(text, struct.group(1))
        self.inputs = self.inputs.removesuffix(", const char *where")

    def signature(self):
        lines = [f"{self.result} {self.name}("]
        parts = self.inputs.split(", ")
        for i, part in enumerate(parts):
            part += ")" if i == len(parts) - 1 else ", "
            if len(lines[-1]) + len(part) > 118:
                lines[-1] = lines[-1].rstrip()
                lines.append(" " * 8)
            lines[-1] += part
        return "\n".join(lines)


def functions_of(header):
    """The macros of a header that record something, in order."""
    text = (ROOT / "include" / "ht" / header).read_text()
    section, found = "", []
    pattern = r"/\* ---- (?P<section>.*?) ---- \*/|(?:/\*\*(?P<doc>(?:(?!\*/).)*)\*/\n)?#define (?P<name>[a-z]\w+)\(\.\.\.\)"
    for match in re.finditer(pattern, text, re.S):
        if match.group("section"):
            section = " ".join(re.sub(r"\n \*", "\n", match.group("section")).split())
        elif re.search(r"^#define %s\(\.\.\.\) *(\\\n *)?%s_\(" % ((match.group("name"),) * 2), text, re.M):
            found.append(Function(text, section, tidy(match.group("doc") or ""), match.group("name")))
    return found


# ---- sources ----

def preprocessed(path):
    """The file after the preprocessor, without what comes from headers."""
    done = subprocess.run(["cc", "-std=c17", "-D_GNU_SOURCE", "-E", "-I", ROOT / "include", "-I", ROOT / "core", path],
                          capture_output=True, text=True, check=True)
    own, kept = False, []
    for line in done.stdout.splitlines():
        marker = re.match(r'# \d+ "(.*?)"', line)
        if marker:
            own = marker.group(1) == str(path)
        elif own:
            kept.append(line)
    return "\n".join(kept)


def bodies_of(text):
    """name -> body of each function that is defined in a preprocessed file."""
    found, at = {}, 0
    while match := re.compile(r"\b(\w+)\s*\([^(){};]*\)\s*\{").search(text, at):
        depth, at = 1, match.end()
        while depth:
            depth += {"{": 1, "}": -1}.get(text[at], 0)
            at += 1
        found.setdefault(match.group(1), text[match.end():at - 1])
    return found


class Sources:
    """Functions and ops of autograd/ops and nn."""

    def __init__(self):
        self.body, self.local, self.ops = {}, {}, {}
        for path in sorted((ROOT / "autograd" / "ops").glob("*.c")) + sorted((ROOT / "nn").glob("*.c")):
            text = preprocessed(path)
            bodies = bodies_of(text)
            for name, body in bodies.items():
                self.local[path, name] = body
                self.body.setdefault(name, (path, body))
            for name, fields in re.findall(r"const hti_op hti_op_(\w+) = \{(.*?)\};", text, re.S):
                self.ops[name] = dict(re.findall(r"\.(\w+) = (\(-1\)|\w+)", fields)) | {"path": path}

    def records(self, function):
        """(ops, public functions) that a function names, also through helpers that are not public."""
        ops, calls, seen = [], [], set()

        def look(path, name):
            if (path, name) in seen or name == "hti_broadcast_pair":
                return
            seen.add((path, name))
            body = re.sub(r"hti_is\([^()]*(\[[^\]]*\])?[^()]*\)|hti_ops\[\w+\]", "", self.local[path, name])
            for op, call in re.findall(r"\bHTI_OP_(\w+)|\b(\w+)\b", body):
                public = call[:-1] if re.match(r"(ht|nn)_\w+_$", call) else None
                if op and op not in ops:
                    ops.append(op)
                elif public and public != function and public not in calls:
                    calls.append(public)
                elif call and not public and (path, call) in self.local:
                    look(path, call)
                elif call.startswith(("hti_", "nni_")) and call in self.body:
                    look(self.body[call][0], call)

        name = function + "_"
        look(self.body[name][0], name)
        return ops, calls

    def derivative(self, name):
        """What the comment at the rule of an op says; "" if there is none."""
        op = self.ops[name]
        rule = op.get("partial", "NULL") if op["kind"] == "HTI_POINTWISE" else op.get("transpose", "NULL")
        text = op["path"].read_text()
        row = re.search(r"^PARTIAL\(%s, .*\) /\* (.*) \*/$" % rule.removeprefix("d_"), text, re.M)
        before = re.search(r"/\*((?:(?!\*/).)*)\*/\nstatic ht_var %s\(" % rule, text, re.S)
        said = row.group(1) if row else before.group(1) if before else ""
        return " ".join(re.sub(r"\n \*", "\n", said).split()).rstrip(".")


# ---- the page ----

def words(kind):
    return kind.removeprefix("HTI_").lower()


def built(function, sources, known):
    """The line under a function: the op that it is, or what it is built from. Calls that only fold constants stay out."""
    ops, calls = sources.records(function.name)
    plain = function.name.removeprefix("ht_")
    calls = [name for name in calls if name in known and name not in ("ht_cast", "ht_fill", "nn_open")]
    ops = [op for op in ops if op not in ("fill", "cast") or op == plain]
    own = plain if plain in ops else ops[0] if len(ops) == 1 and not calls else None
    if own:
        rule = sources.derivative(own)
        return f"*{words(sources.ops[own]['kind'])}* op `{own}`" + (f"; rule: {rule}" if rule else "")
    parts = [f"`{name}`" for name in calls] + [f"op `{op}`" for op in ops]
    return "*composite* of " + ", ".join(parts) if parts else "values of a store"


def page(sources, functions, said):
    lines, section = [HEAD.rstrip(), ""], None
    known = {function.name for function in functions}
    for function in functions:
        if function.section != section:
            section = function.section
            lines += [f"## {section[:1].upper()}{section[1:]}", ""]
        line = built(function, sources, known) + ("; arguments *named*" if function.named else "")
        lines += [f"### {function.name}", "", "```text", function.signature(), "", function.doc, "```", line, ""]
    lines += ["## Ops of the tape", "",
              "What a tape holds (`ht_dump` prints it). In rules x is the input, y the value, g the cotangent.", "",
              "| op | kind | inputs | is | rule |", "|---|---|---|---|---|"]
    for name in said:
        op = sources.ops[name]
        inputs = op.get("inputs", "0").replace("(-1)", "any")
        meaning = said[name] or f"`ht_{name}`"
        lines.append(f"| `{name}` | {words(op['kind'])} | {inputs} | {meaning} | {sources.derivative(name)} |")
    return "\n".join(lines) + "\n"


def check(sources, functions, said, text, gradcheck):
    sys.path.insert(0, str(ROOT / "tests" / "cli"))
    import tap

    def result(missing, words):
        tap.result(not missing, words, "\n".join(missing))

    stands = PAGE.read_text() if PAGE.exists() else ""
    result([] if stands == text else ["scripts/ops_reference.py . writes it anew"], "docs/ops.md is what the sources say")
    result([f.name for f in functions if not f.doc], f"each of {len(functions)} functions has a comment of its own")
    public = {f.name.removeprefix("ht_") for f in functions}
    mute = [name for name in said if not said[name] and name not in public]
    result(mute, f"each of {len(said)} ops is a function's or has its words")
    ruled = [name for name in said if sources.ops[name]["kind"] not in ("HTI_LEAF", "HTI_CONSTANT")]
    result([name for name in ruled if not sources.derivative(name)], f"each of {len(ruled)} rules has its comment")
    done = subprocess.run([gradcheck, "--json"], capture_output=True, text=True, check=True)
    checked = {op["name"] for op in json.loads(done.stdout)["ops"]}
    inner = [name for name in said if sources.ops[name]["kind"] != "HTI_LEAF"]
    result([name for name in inner if name not in checked], "ht-gradcheck knows each op but leaves")
    tap.done()


def main():
    sources = Sources()
    functions = functions_of("ops.h") + [f for f in functions_of("nn.h") if f.result in ("ht_var", "ht_vars")]
    rows = re.findall(r"^HT_OP\((\w+)\)(?: /\* (.*) \*/)?$", (ROOT / "core" / "tape" / "op.def").read_text(), re.M)
    said = dict(rows)
    text = page(sources, functions, said)
    if sys.argv[2:3] == ["--check"]:
        check(sources, functions, said, text, sys.argv[3])
    PAGE.write_text(text)


main()
