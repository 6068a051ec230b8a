"""benchmarks/gpu.py runs on a CPU, on a machine with little more than PyTorch and onnxruntime."""

import json
import os
import subprocess
import sys
from pathlib import Path

GPU = Path(__file__).parents[2] / "benchmarks" / "gpu.py"
HIDDEN = """
from importlib.machinery import PathFinder

hidden = {"shapely", "rasterio", "pyproj", "psutil", "scipy", "sklearn", "faiss", "timm", "typer",
          "psycopg", "sqlalchemy", "pystac", "natsort", "platformdirs"}
find = PathFinder.find_spec.__func__
PathFinder.find_spec = classmethod(
    lambda cls, name, path=None, target=None:
        None if name.partition(".")[0] in hidden else find(cls, name, path, target)
)
"""


def test_every_step_runs_without_a_gpu_and_without_most_libraries(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(HIDDEN)
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "CUDA_VISIBLE_DEVICES": ""}
    out = tmp_path / "out"
    command = [sys.executable, GPU, "--device", "cpu", "--tiny", "--out", out]
    run = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    facts = [json.loads(line) for line in (out / "facts.jsonl").read_text().splitlines()]
    assert facts[0]["shapely"] == "missing"
    steps = {fact["step"] for fact in facts}
    assert steps == {"inventory", "equality", "train", "throughput", "loader", "features", "onnx"}
    assert "mining: cannot be checked here" in run.stdout  # it needs scipy


def test_an_unknown_step_is_reported():
    run = subprocess.run([sys.executable, GPU, "flight"], capture_output=True, text=True)
    assert run.returncode == 2 and "no step is called flight" in run.stderr
