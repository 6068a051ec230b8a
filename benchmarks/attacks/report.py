"""Prints the table of docs/reliability.md from files that attacks wrote with ``--out``.

python benchmarks/attacks/report.py runs/*.json
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path


def main() -> None:
    print("| attack | tried | times | faults |")
    print("| --- | --- | ---: | ---: |")
    for file in sys.argv[1:]:
        outcome = json.loads(Path(file).read_text())
        faults = Counter(fault["what"] for fault in outcome["faults"])
        for what, times in outcome["tried"].items():
            print(f"| `{outcome['attack']}.py` | {what} | {times:,} | {faults.pop(what, 0)} |")
        for what, count in faults.items():
            print(f"| `{outcome['attack']}.py` | {what} | | {count} |")


if __name__ == "__main__":
    main()
