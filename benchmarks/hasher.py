"""Images per second: a model file in onnxruntime and the same graph in PyTorch, on the CPU.

    python benchmarks/hasher.py --encoder resnet18 --threads 2

Random weights, noise at the encoder's own size.  Both run alternately with the same number of
threads.  Prints a Markdown table of medians, with the range over the repeats.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from dcsh_pg.export import export
from dcsh_pg.export.graph import CodeGraph
from dcsh_pg.hasher import Hasher
from dcsh_pg.learning.encoders import Encoder
from dcsh_pg.learning.heads import MLPHead
from dcsh_pg.learning.model.hash_function import HashFunction
from dcsh_pg.plugins import ENCODERS


def rate(run: Callable, batch: np.ndarray | torch.Tensor, seconds: float) -> float:
    """Images per second over whole runs that take at least ``seconds``."""
    began, runs = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        run(batch)
        runs += 1
    return runs * len(batch) / (time.perf_counter() - began)


def cell(values: list[float]) -> str:
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoder", choices=ENCODERS.names(), default="resnet18")
    parser.add_argument("--bits", type=int, default=64)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8, 32], metavar="N")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each repeat")
    options = parser.parse_args()

    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    encoder = Encoder(options.encoder)
    head = MLPHead(encoder.dim, options.bits, hidden=(1024,), batch_norm=True)
    function = HashFunction(encoder, head, method="dcsh").eval()
    size = encoder.input_size
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        export(function, file, name=options.encoder, chip_size=size)
        hasher = Hasher(file, device="cpu", threads=options.threads)
    graph = CodeGraph(function)

    print(f"{options.encoder}, {options.bits} bits, {size} x {size}, {options.threads} threads\n")
    print("| batch | onnxruntime, images/s | PyTorch, images/s | ratio |")
    print("|---:|---:|---:|---:|")
    rng = np.random.default_rng(0)
    for n in options.batch:
        images = rng.integers(0, 256, (n, size, size, 3), dtype=np.uint8)
        tensor = torch.from_numpy(images)
        onnxruntime, pytorch = [], []
        with torch.inference_mode():
            hasher.hash(images), graph(tensor)
            for _ in range(options.repeats):
                onnxruntime.append(rate(hasher.hash, images, options.seconds))
                pytorch.append(rate(graph, tensor, options.seconds))
        ratio = statistics.median(onnxruntime) / statistics.median(pytorch)
        print(f"| {n} | {cell(onnxruntime)} | {cell(pytorch)} | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main()
