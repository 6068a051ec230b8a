"""Chips per second: the whole ingest, and the bare ONNX session on the same batches.

    python benchmarks/ingest.py --encoder resnet18

Makes scenes, writes a model with random weights and alternates (a) the session on batches in memory
and (b) ``Archive.ingest`` from files to committed rows.  Prints a Markdown table of medians, with the
range over the repeats; the ratio is computed per pair.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from dcsh_pg.archive import Archive
from dcsh_pg.database.archives import registry
from dcsh_pg.export import export
from dcsh_pg.hasher import Hasher
from dcsh_pg.imagery import Reading, find_scenes
from dcsh_pg.ingest import Pipeline
from dcsh_pg.learning.encoders import Encoder
from dcsh_pg.learning.heads import MLPHead
from dcsh_pg.learning.model.hash_function import HashFunction
from dcsh_pg.plugins import ENCODERS
from dcsh_pg.synthetic.archive import make_archive

CHIP_SIZE = 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--encoder", choices=ENCODERS.names(), nargs="+", default=["small", "resnet18"]
    )
    parser.add_argument("--locations", type=int, default=12, help="scenes are twice as many")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--threads", type=int, default=4, help="that read ahead")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--dsn", help="default: the embedded server")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        scenes = Path(folder) / "scenes"
        make_archive(scenes, locations=options.locations)
        batches = read_all(scenes, options.batch)
        print("| encoder | provider | bare session, chips/s | ingest, chips/s | ingest / session |")
        print("| --- | --- | ---: | ---: | ---: |")
        for encoder in options.encoder:
            model = Path(folder) / f"{encoder}.onnx"
            write_model(encoder, model)
            bare, whole, provider = measure(model, scenes, batches, options)
            ratios = [b / a for a, b in zip(bare, whole, strict=True)]
            print(
                f"| {encoder} | {provider} | {cell(bare, 0)} | {cell(whole, 0)} "
                f"| {cell(ratios, 2)} |",
                flush=True,
            )


def read_all(scenes: Path, size: int) -> list[np.ndarray]:
    """All chips in memory, in batches of ``size``."""
    reading = Reading(chip_size=CHIP_SIZE)
    chips = []
    for scene in find_scenes([str(scenes)], reading=reading, bands=3):
        with scene:
            chips.append(scene.read(scene.describe().windows).pixels)
    pixels = np.concatenate(chips)
    return [pixels[start : start + size] for start in range(0, len(pixels), size)]


def write_model(encoder: str, file: Path) -> None:
    torch.manual_seed(0)
    network = Encoder(encoder)
    hash_function = HashFunction(network, MLPHead(network.dim, 64), method="random").eval()
    export(hash_function, file, name=encoder, chip_size=CHIP_SIZE)


def measure(
    model: Path, scenes: Path, batches: list[np.ndarray], options: argparse.Namespace
) -> tuple[list[float], list[float], str]:
    """Chips per second of both, and the provider; the first round of each warms up."""
    hasher = Hasher(model)
    bare, whole = [], []
    for _ in range(options.repeats + 1):
        began = time.perf_counter()
        for batch in batches:
            hasher.hash(batch)
        bare.append(sum(map(len, batches)) / (time.perf_counter() - began))

        archive = Archive.create("ingest_benchmark", model, dsn=options.dsn)
        archive.hasher.hash(batches[0])
        report = archive.ingest([str(scenes)], pipeline=Pipeline(options.batch, options.threads))
        whole.append(report.chips / report.seconds)
        registry.drop_archive(archive.connection, "ingest_benchmark")
        archive.connection.close()
    return bare[1:], whole[1:], hasher.provider


def cell(values: list[float], digits: int) -> str:
    return (
        f"{statistics.median(values):.{digits}f} "
        f"({min(values):.{digits}f} to {max(values):.{digits}f})"
    )


if __name__ == "__main__":
    main()
