#!/usr/bin/env python3
"""Counts the results of `meson test`, one by one and not by program, and shows what failed and what was skipped.

Usage: summary.py BUILD... (build directories in which `meson test` has just run). The last line is
"N passed, N failed[, N skipped]". Exit status 1 if any failed or if there was none. Meson runs on Python, so it is there.
"""
import json
import re
import sys

RESULT = re.compile(r"(ok|not ok)\b\s*(\d*)\s*-?\s*(.*)")
SKIP = re.compile(r"#\s*SKIP\b\S*\s*(.*)", re.IGNORECASE)
PLAN = re.compile(r"1\.\.(\d+)\s*(?:#\s*SKIP\b\s*(.*))?")
SUITES = ["core", "ops", "gradients", "nn", "mlo", "genseg", "cli", "faults", "cuda"]
EXCERPT = 20


class Test:
    """One program's results: texts of what passed, (text, comment lines) of what failed, reasons of what was skipped."""

    def __init__(self, name, log):
        self.name, self.passed, self.failed, self.skipped = name, 0, [], []
        lines = (log.get("stdout") or "").splitlines()
        plan = None
        comments = []
        for line in lines:
            result, ended = RESULT.match(line), PLAN.match(line)
            if ended:
                plan = int(ended[1])
                if plan == 0 and ended[2]:
                    self.skipped.append(ended[2])
                    plan = 1
            elif result:
                skip = SKIP.search(line)
                comments = []
                if result[1] == "not ok":
                    self.failed.append((result[3] or "number " + result[2], comments))
                elif skip:
                    self.skipped.append(skip[1] or "no reason was given")
                else:
                    self.passed += 1
            elif line.startswith("#"):
                comments.append(line)
        count = self.passed + len(self.failed) + len(self.skipped)
        if not plan or plan != count or (log["result"] not in ("OK", "SKIP") and not self.failed):
            words = "timed out" if log["result"] == "TIMEOUT" else f"ended early or badly (exit {log.get('returncode')})"
            tail = lines[-EXCERPT:] + (log.get("stderr") or "").splitlines()[-EXCERPT:]
            self.failed.append((f"{words}: {count} results, plan {'absent' if plan is None else plan}", tail))


def read(build):
    with open(f"{build}/meson-info/intro-tests.json", encoding="utf-8") as file:
        suites = {t["name"]: [s.rsplit(":", 1)[-1] for s in t["suite"]] for t in json.load(file)}
    with open(f"{build}/meson-logs/testlog.json", encoding="utf-8") as file:
        logs = [json.loads(line) for line in file]
    for log in logs:
        name = re.split(r"[:/ ]+", log["name"])[-1]
        yield Test(name, log), suites.get(name, [])


def show(build, tests):
    for suite in SUITES:
        mine = [test for test, suites in tests if suite in suites]
        if mine:
            passed, failed, skipped = count(mine)
            print(f"  {suite:<10} {passed:>6} passed {failed:>4} failed {skipped:>4} skipped   {build}")
    for test, _ in tests:
        for reason in test.skipped:
            print(f"skipped: {test.name} ({build}): {reason}")
    for test, _ in tests:
        for text, lines in test.failed:
            print(f"failed: {test.name} ({build}): {text}")
            for line in lines[:EXCERPT]:
                print(f"    {line}")
        if test.failed:
            print(f"    all of it: {build}/meson-logs/testlog.txt")


def count(tests):
    return (sum(t.passed for t in tests), sum(len(t.failed) for t in tests), sum(len(t.skipped) for t in tests))


def main(builds):
    every = []
    for build in builds:
        try:
            tests = list(read(build))
        except FileNotFoundError:
            print(f"no test ran in {build}")
            tests = []
        show(build, tests)
        every += [test for test, _ in tests]
    passed, failed, skipped = count(every)
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed or passed == 0 else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
