"""Run by QGIS's own Python: runs every case and prints what became of it, a line of JSON each."""

import importlib
import json
import os
import sys
import traceback
from pathlib import Path

from world import World

given = json.loads(Path(sys.argv[1]).read_text())
world = World(**given)
for file in sorted(Path(__file__).parent.glob("*_cases.py")):
    module = importlib.import_module(file.stem)
    for name in [name for name in vars(module) if name.startswith("case_")]:
        if os.environ.get("ONLY", "") not in name:
            continue
        failure = None
        try:
            vars(module)[name](world)
        except Exception:
            failure = traceback.format_exc()
        failure = failure or world.uncaught()
        print(json.dumps({"case": f"{file.stem}.{name}", "failure": failure}), flush=True)
world.end()
