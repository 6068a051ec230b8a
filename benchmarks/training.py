"""Images per second of fine-tuning, compared with the same steps on one constant batch.

    python benchmarks/training.py --encoder resnet50 densenet169 --batch-size 64    # on a GPU
    python benchmarks/training.py --device cpu --encoder small --images 512 --threads 2

The peer trains the same network with the same loss, optimizer and precision on one constant batch
that is already on the device, so that reading, sending and augmenting images cost nothing.  The loop
is the library's, on noise of the size of the imagery.  Its steps are compared with the peer's; the
whole run, with bit balance after each epoch and checkpoints, is reported too.  Peer and loop
alternate.  Prints a Markdown table of medians with the range over the repeats, and writes JSON with
every value, the machine and the versions.  The target on a GPU is 0.85.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from dcsh_pg.learning.data.augment import Augmentation
from dcsh_pg.learning.data.image_pairs import ImagePairs
from dcsh_pg.learning.data.training_set import WHOLE_SIZE
from dcsh_pg.learning.encoders import Encoder
from dcsh_pg.learning.model import device as devices
from dcsh_pg.learning.model.hash_function import HashFunction
from dcsh_pg.learning.training.optimizer import adam
from dcsh_pg.learning.training.precision import mixed_precision
from dcsh_pg.learning.training.trainer import Loop, train
from dcsh_pg.methods import dcsh
from dcsh_pg.plugins import ENCODERS
from dcsh_pg.progress import Progress


@dataclass
class Rates:
    """Images per second, one value per repeat; an image with its two views counts once."""

    peer: list[float] = field(default_factory=list)
    steps: list[float] = field(default_factory=list)
    run: list[float] = field(default_factory=list)

    def to_peer(self, values: list[float]) -> list[float]:
        """Ratios to the peer, per repeat."""
        return [a / b for a, b in zip(values, self.peer, strict=True)]


class Steps(Progress):
    """Times the steps of each epoch after its first, without the work between epochs."""

    def __init__(self, images: int, device: torch.device):
        self.images, self.device = images, device
        self.done = self.counted = 0
        self.seconds = self.began = 0.0

    def advance(self, n: int = 1, *, total: int | None = None) -> None:
        first = self.done % self.images == 0
        self.done += n
        if n and first:
            self.began = now(self.device)
        elif n:
            self.counted += n
            if self.done % self.images == 0:
                self.seconds += now(self.device) - self.began

    @property
    def rate(self) -> float:
        return self.counted / self.seconds


class Training:
    """A fresh network, head and optimizer, as ``dcsh.fit`` sets them up for fine-tuning."""

    def __init__(self, name: str, bits: int, device: torch.device):
        self.options, self.device = dcsh.Options(), device
        self.encoder = Encoder(name)
        self.head = dcsh.hash_layer(self.encoder.dim, bits, self.options)
        function = HashFunction(self.encoder, self.head, method=self.options.method)
        function.to(device, memory_format=devices.memory_format(device))
        self.preprocess = function.preprocess()
        self.optimizer = adam(
            [
                {"params": self.head.parameters(), "lr": self.options.head_lr},
                {"params": self.encoder.parameters(), "lr": self.options.encoder_lr},
            ],
            device,
        )

    def source(self, images: np.ndarray) -> ImagePairs:
        return ImagePairs(
            images,
            self.preprocess,
            Augmentation(),
            self.device,
            memory_format=devices.memory_format(self.device),
        )

    def objective(self, *views):
        return dcsh.objective(*views, options=self.options)


def now(device: torch.device) -> float:
    """Seconds on a clock, read when the device has finished."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def constant_batch(training: Training, images: np.ndarray, batch_size: int) -> Iterator[float]:
    """Trains on one batch; each step of the iterator is an epoch -> images per second."""
    rows = torch.arange(batch_size)
    pairs = training.source(images[:batch_size]).draw(rows, torch.Generator())
    views = torch.cat([pairs.first, pairs.second])
    steps = len(images) // batch_size
    while True:
        began = now(training.device)
        for _ in range(steps):
            with mixed_precision(training.device):
                z = training.head(training.encoder(views)).float()
            terms = training.objective(*z.chunk(2), pairs, 1.0)
            training.optimizer.zero_grad(set_to_none=True)
            sum(terms.values()).backward()
            training.optimizer.step()
        yield steps * batch_size / (now(training.device) - began)


def library(name: str, images: np.ndarray, options: argparse.Namespace, epochs: int):
    """Trains with the library -> images per second of its steps, and of the whole run."""
    training = Training(name, options.bits, options.device)
    source, steps = training.source(images), Steps(len(images), options.device)
    with tempfile.TemporaryDirectory() as folder:
        began = now(options.device)
        train(
            training.encoder,
            training.head,
            source,
            training.objective,
            training.optimizer,
            Loop(epochs, options.batch_size, seed=0, beta=lambda epoch: 1.0),
            identity={},
            folder=Path(folder),
            progress=steps,
        )
        return steps.rate, epochs * len(images) / (now(options.device) - began)


def measure(name: str, options: argparse.Namespace) -> Rates:
    """The first round of each warms up."""
    torch.manual_seed(0)
    shape = (options.images, options.size, options.size, 3)
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    peer = constant_batch(Training(name, options.bits, options.device), images, options.batch_size)
    next(peer), library(name, images, options, epochs=1)
    rates = Rates()
    for _ in range(options.repeats):
        rates.peer.append(next(peer))
        steps, run = library(name, images, options, options.epochs)
        rates.steps.append(steps)
        rates.run.append(run)
    return rates


def cell(values: list[float], digits: int = 1) -> str:
    return (
        f"{statistics.median(values):.{digits}f} "
        f"({min(values):.{digits}f} to {max(values):.{digits}f})"
    )


def machine(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} CPU, {torch.get_num_threads()} threads"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoder", choices=ENCODERS.names(), nargs="+", default=["small"])
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--batch-size", type=int, default=64, help="pairs in a step")
    parser.add_argument("--images", type=int, default=2048, help="a multiple of the batch size")
    parser.add_argument("--size", type=int, default=WHOLE_SIZE, help="their width and height")
    parser.add_argument("--epochs", type=int, default=3, help="of each repeat")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--bits", type=int, default=64)
    parser.add_argument("--threads", type=int, help="of PyTorch on the CPU")
    parser.add_argument("--out", type=Path, default=Path("runs/training.json"))
    options = parser.parse_args()
    if options.images % options.batch_size or options.images < 2 * options.batch_size:
        parser.error("--images must be a multiple of --batch-size, at least twice as large")
    options.device = devices.choose(options.device)
    if options.threads:
        torch.set_num_threads(options.threads)

    print(f"{machine(options.device)}, batches of {options.batch_size} pairs\n")
    print("| encoder | constant batch, images/s | steps, images/s | ratio | whole run, ratio |")
    print("| --- | ---: | ---: | ---: | ---: |")
    measured = {}
    for name in options.encoder:
        rates = measure(name, options)
        ratios = rates.to_peer(rates.steps)
        measured[name] = {**dataclasses.asdict(rates), "ratio": statistics.median(ratios)}
        print(
            f"| {name} | {cell(rates.peer)} | {cell(rates.steps)} "
            f"| {cell(ratios, 2)} | {cell(rates.to_peer(rates.run), 2)} |",
            flush=True,
        )
    facts = {key: getattr(options, key) for key in ("batch_size", "images", "size", "epochs")}
    report = {
        "machine": machine(options.device),
        "torch": str(torch.__version__),
        **facts,
        "images_per_second": measured,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
