"""The frame of every attack: options, a clock, counts of attempts, and the faults found.

An attack is one file of benchmarks/attacks with a function that tries something once, at random, and
checks the outcome:

    def once(attack: Attack, rng: random.Random) -> None:
        ...
        attack.tried("kill -9 of an ingest")
        if rows_differ:
            attack.fault("kill -9 of an ingest", f"{missing} rows lost, killed after {delay:.2f} s")

    if __name__ == "__main__":
        run(__doc__, once)

It is called until the time is up.  Every call gets its own random generator, seeded by ``--seed`` and
the number of the call, so that a fault can be repeated alone:

    python benchmarks/attacks/places.py --minutes 60
    python benchmarks/attacks/places.py --seed 1 --only 4711

On a machine that does other work, the environment variable ATTACK_PATIENCE=10 makes every time limit
ten times as long.

Prints one line per fault on stderr and the counts as JSON on stdout; ``--out`` also writes them to a
file for ``report.py``.  Ctrl-C ends a run early, with its counts.  The exit code is 1 if a fault was
found.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

PATIENCE = float(os.environ.get("ATTACK_PATIENCE", "1"))
"""Factor of every time limit, for machines that do other work meanwhile."""


class Attack:
    """The attempts and the faults of a run.

    Attributes:
        options: the parsed command line.
        counts: number of attempts of each kind.
        faults: one dictionary per fault: ``what``, ``detail``, ``call``.
    """

    def __init__(self, options: argparse.Namespace):
        self.options = options
        self.counts: Counter[str] = Counter()
        self.faults: list[dict] = []
        self.call = 0

    def tried(self, what: str, times: int = 1) -> None:
        """Counts an attempt."""
        self.counts[what] += times

    def fault(self, what: str, detail: str) -> None:
        """Records a broken promise."""
        self.faults.append({"what": what, "detail": detail, "call": self.call})
        print(f"fault in call {self.call}: {what}: {detail}", file=sys.stderr, flush=True)

    def to_json(self, name: str, seconds: float) -> dict:
        """The outcome for ``report.py``."""
        return {
            "attack": name,
            "seed": self.options.seed,
            "minutes": round(seconds / 60, 1),
            "tried": dict(self.counts),
            "faults": self.faults,
        }


def run(
    description: str,
    once: Callable[[Attack, random.Random], None],
    *,
    add_options: Callable[[argparse.ArgumentParser], None] | None = None,
) -> None:
    """Runs an attack from the command line and exits with 0 or 1.

    An exception from ``once`` is a fault: an attack catches the errors that it expects.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=1.0, help="duration")
    parser.add_argument("--seed", type=int, default=0, help="random seed")
    parser.add_argument("--only", type=int, metavar="N", help="repeat only call N")
    parser.add_argument("--out", type=Path, help="also write the JSON to this file")
    if add_options:
        add_options(parser)
    attack = Attack(parser.parse_args())
    name = Path(sys.argv[0]).stem
    began = time.monotonic()
    only = attack.options.only
    attack.call = 0 if only is None else only
    while True:
        try:
            once(attack, random.Random(f"{attack.options.seed}/{attack.call}"))
        except KeyboardInterrupt:
            break
        except Exception as error:
            traceback.print_exc()
            attack.fault("uncaught exception", repr(error))
        if only is not None or time.monotonic() - began > attack.options.minutes * 60:
            break
        attack.call += 1
    text = json.dumps(attack.to_json(name, time.monotonic() - began), indent=1)
    print(text)
    if attack.options.out:
        attack.options.out.write_text(text + "\n")
    sys.exit(1 if attack.faults else 0)
