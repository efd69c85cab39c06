"""Runs the attacks: `run.py [--quick] [NAME...]`, one line for each, then `N passed, N failed`."""

import os, sys, time

sys.path.insert(0, os.path.dirname(__file__))

from attack import ATTACKS, MIB, judge
import handshakes, frames, floods, messages, order, readers, tokens  # noqa: F401  they add their attacks

HEAD = f"{'attack':34} {'p50':>6} {'p99':>6} {'max':>6} {'late':>5} {'gaps':>4} {'before':>7} {'peak':>7} {'after':>7}  ending   (ms, MiB)"


def line(outcome):
    seen, mib = outcome.seen, lambda it: f"{it / MIB:7.1f}"
    figures = " " * 61
    if seen:
        figures = f"{seen['p50']:6.1f} {seen['p99']:6.1f} {seen['max']:6.1f} {seen['late']:5.1f} {seen['gaps']:4} {mib(seen['before'])} {mib(seen['peak'])} {mib(outcome.after)}"
    return f"{outcome.name:34} {figures}  " + ("FAILED: " + "; ".join(outcome.problems) if outcome.problems else outcome.ending)


def main():
    names = [it for it in sys.argv[1:] if not it.startswith("-")]
    chosen = [it for it in ATTACKS if any(name in it.name for name in names)] if names else ATTACKS
    if "--quick" in sys.argv:
        chosen = [it for it in chosen if it.quick]
    if not chosen:
        sys.exit(f"no attack is called {' or '.join(names)}; there are: {', '.join(it.name for it in ATTACKS)}")
    print(HEAD, flush=True)
    begun, failed = time.monotonic(), 0
    for attack in chosen:
        outcome = judge(attack)
        failed += bool(outcome.problems)
        print(line(outcome), flush=True)
    print(f"{len(chosen) - failed} passed, {failed} failed in {time.monotonic() - begun:.0f} s")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
