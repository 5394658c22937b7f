"""What tests of programs in Python share: results in TAP, as tap.sh has them for those in shell."""
import sys

results = []


def result(good, text, seen=""):
    """One result; what was seen is shown where it is bad."""
    results.append(bool(good))
    print(f"{'ok' if good else 'not ok'} {len(results)} - {text}")
    if not good and seen:
        print("\n".join("# " + line for line in str(seen)[:4000].splitlines()))


def finish():
    """Prints the plan and ends the test."""
    print(f"1..{len(results)}")
    sys.exit(0 if results and all(results) else 1)
