"""What the Python tests share: numbered TAP results. The counterpart of tap.sh."""
import sys

_given = []


def result(good, text, seen=""):
    """One result; what was seen is shown if it is not good."""
    _given.append(bool(good))
    print(f"{'ok' if good else 'not ok'} {len(_given)} - {text}", flush=True)
    if not good and seen:
        print("\n".join("# " + line for line in str(seen).splitlines()))


def skip(text):
    """One result that could not be had here, with the reason."""
    _given.append(True)
    print(f"ok {len(_given)} # SKIP {text}")


def done():
    """The plan, and the end of the program."""
    print(f"1..{len(_given)}")
    sys.exit(0 if _given and all(_given) else 1)
