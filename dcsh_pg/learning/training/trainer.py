"""The training loop, for any encoder and source of positive pairs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dcsh_pg.errors import InputError, TrainingError, UsageError
from dcsh_pg.files import replacing
from dcsh_pg.learning.data.pairs import Pairs, PairSource
from dcsh_pg.learning.heads import MLPHead
from dcsh_pg.learning.model.saving import save_whole
from dcsh_pg.learning.training.bit_balance import GRACE_EPOCHS, BitBalance
from dcsh_pg.learning.training.precision import mixed_precision, without_denormals
from dcsh_pg.progress import SILENT, Progress

CHECKPOINT, LOG = "checkpoint.pt", "log.jsonl"
BALANCE_IMAGES, CALIBRATION_IMAGES = 512, 2048
"""Images, evenly spread, that fit BatchNorm and measure the bit balance after each epoch, and after
the last."""
CHECK_STEPS = 100
"""Steps between checks that the loss is finite; a check waits for the GPU."""
CHECKPOINT_SHARE = 0.05
"""Checkpoints take at most about this fraction of the time."""

Objective = Callable[[Tensor, Tensor, Pairs, float], Mapping[str, Tensor]]
"""(z of the first views, z of the second, the pairs, beta) -> the terms of the loss.

An objective that is a module, with a classifier on the hash layer for example, is trained too, and
saved in checkpoints.
"""


@dataclass(frozen=True)
class Loop:
    """How long and in which steps to train.

    Attributes:
        epochs: passes over the images.
        batch_size: M, pairs in a step.
        seed: random seed of the order, the views and everything else that is drawn.
        beta: epoch -> sharpness of tanh(beta z).
        learning_rate: epoch -> factor of every group's learning rate.
        collapse_check: see ``BitBalance.check``.
    """

    epochs: int
    batch_size: int
    seed: int
    beta: Callable[[int], float]
    learning_rate: Callable[[int], float] = lambda epoch: 1.0
    collapse_check: bool = True


def train(
    encoder: nn.Module,
    head: MLPHead,
    source: PairSource,
    objective: Objective,
    optimizer: torch.optim.Optimizer,
    loop: Loop,
    *,
    identity: Mapping[str, Any],
    folder: Path | None = None,
    resume: bool = False,
    progress: Progress = SILENT,
) -> list[dict[str, Any]]:
    """Trains encoder and head in place and leaves them in evaluation mode.

    After every epoch ``folder`` gets a line of log.jsonl.  Checkpoints are written atomically, after
    the first epoch, the last, and as many between as take ``CHECKPOINT_SHARE`` of the time.  A run
    that was interrupted and resumed ends, on the CPU, with bit-identical weights: all random numbers
    come from one generator.  On CUDA, and on processors with AMX, the forward pass runs in
    bfloat16 where that is safe, and no step waits for the device.

    Args:
        encoder: views of ``source`` -> features; Identity where they are features.
        head: features -> z.
        identity: plain values that identify this training; a checkpoint with others is not
            resumed.

    Returns:
        The log: one record an epoch, with beta, the terms of the loss and the bit balance.

    Raises:
        TrainingError: fewer than two images, a loss that is not finite, collapsed codes.
        UsageError: the checkpoint is of another training.
        InputError: the checkpoint cannot be read.
        OutputError: ``folder`` cannot be written.
    """
    require_images(len(source))
    log: list[dict[str, Any]] = []
    model = nn.ModuleDict({"encoder": encoder, "head": head})
    if isinstance(objective, nn.Module):
        model["objective"] = objective
    generator = torch.Generator().manual_seed(loop.seed)
    state = _State(model, optimizer, generator, identity)
    if folder is not None and resume:
        log = state.restore(folder / CHECKPOINT)
    if folder is not None:
        write_log(folder / LOG, log)
    progress.start("training", loop.epochs * len(source))
    progress.advance(len(log) * len(source))
    for epoch in range(len(log), loop.epochs):
        last = epoch + 1 == loop.epochs
        for group in optimizer.param_groups:
            group["lr"] = group.setdefault("initial_lr", group["lr"]) * loop.learning_rate(epoch)
        with without_denormals():
            terms = _epoch(model, source, objective, optimizer, loop, epoch, generator, progress)
        balance = _calibrate(model, source, loop.batch_size, final=last)
        log.append({"epoch": epoch + 1, "beta": loop.beta(epoch), **terms, **vars(balance)})
        if folder is not None:
            if last or state.is_due():
                state.save(folder / CHECKPOINT, log)
            write_log(folder / LOG, log)
        if loop.collapse_check and epoch + 1 >= min(GRACE_EPOCHS, loop.epochs):
            balance.check()
    model.eval()
    return log


def require_images(count: int) -> None:
    """Raises TrainingError where there are fewer than two images."""
    if count < 2:
        raise TrainingError(
            f"too few images to train on: {count}",
            hint="give more imagery, or smaller chips with --chip-size",
        )


def _epoch(
    model: nn.ModuleDict,
    source: PairSource,
    objective: Objective,
    optimizer: torch.optim.Optimizer,
    loop: Loop,
    epoch: int,
    generator: torch.Generator,
    progress: Progress,
) -> dict[str, float]:
    """One pass over the images -> the mean of each term of the loss."""
    model.train()
    order = torch.randperm(len(source), generator=generator)
    beta = loop.beta(epoch)
    names: list[str] = []
    sums: Tensor | None = None
    batches = _batches(order, loop.batch_size)
    for step, rows in enumerate(batches, start=1):
        pairs = source.draw(rows, generator)
        views = torch.cat([pairs.first, pairs.second])
        with mixed_precision(views.device):
            z = model["head"](model["encoder"](views)).float()
        first, second = z.chunk(2)
        terms = objective(first, second, pairs, beta)
        values = torch.stack(list(terms.values()))
        optimizer.zero_grad(set_to_none=True)
        values.sum().backward()
        optimizer.step()
        names = list(terms)
        sums = values.detach().double() + (0 if sums is None else sums)
        is_checked = step % CHECK_STEPS == 0 or step == len(batches)
        if is_checked and not sums.isfinite().all():
            raise TrainingError(
                f"the loss is not finite in epoch {epoch + 1}", hint="lower the learning rates"
            )
        progress.advance(len(rows))
    means = [] if sums is None else (sums / len(batches)).tolist()
    return {name: round(mean, 6) for name, mean in zip(names, means, strict=True)}


@torch.no_grad()
def _calibrate(
    model: nn.ModuleDict, source: PairSource, batch_size: int, *, final: bool
) -> BitBalance:
    """Fits the head's BatchNorm to images that are not augmented -> the balance of their bits.

    Args:
        final: after the last epoch: in full precision and with more images.
    """
    model.eval()
    head = model["head"]
    assert isinstance(head, MLPHead)
    count = min(len(source), CALIBRATION_IMAGES if final else BALANCE_IMAGES)
    rows = torch.linspace(0, len(source) - 1, count).round().long()
    parts = []
    for batch in rows.split(batch_size):
        images = source.plain(batch)
        with mixed_precision(images.device, enabled=not final):
            parts.append(head.project(model["encoder"](images)).float())
    projected = torch.cat(parts)
    head.calibrate(projected)
    return BitBalance.of(head.norm(projected))


def _batches(order: Tensor, size: int) -> tuple[Tensor, ...]:
    """Splits the order; a last batch of one, which has no negatives, is dropped."""
    return tuple(batch for batch in order.split(size) if len(batch) > 1)


def write_log(path: Path, log: list[dict[str, Any]]) -> None:
    """Writes log.jsonl, a record a line.

    Raises:
        OutputError: the folder cannot be written to.
    """
    with replacing(path) as temporary:
        temporary.write_text("".join(json.dumps(record) + "\n" for record in log))


class _State:
    """The state that the next epoch depends on, and its checkpoint."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        generator: torch.Generator,
        identity: Mapping[str, Any],
    ):
        self.model, self.optimizer, self.generator = model, optimizer, generator
        self.identity = identity
        self._due = 0.0

    def is_due(self) -> bool:
        return time.monotonic() >= self._due

    def save(self, path: Path, log: list[dict[str, Any]]) -> None:
        began = time.monotonic()
        content = {
            "identity": dict(self.identity),
            "log": log,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
        }
        save_whole(content, path)
        ended = time.monotonic()
        self._due = ended + (ended - began) / CHECKPOINT_SHARE

    def restore(self, path: Path) -> list[dict[str, Any]]:
        """Restores the checkpoint, if there is one -> the log up to it."""
        if not path.exists():
            return []
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
            identity = content["identity"]
        except Exception as error:
            raise InputError(
                f"{path} is not a checkpoint", hint="train again without --resume"
            ) from error
        differing = sorted(
            key
            for key in {*identity, *self.identity}
            if identity.get(key) != self.identity.get(key)
        )
        if differing:
            raise UsageError(
                f"{path} is of another training: {', '.join(differing)} differ",
                hint="give the options and imagery of that run, or train without --resume",
            )
        self.model.load_state_dict(content["model"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.generator.set_state(content["generator"])
        log: list[dict[str, Any]] = content["log"]
        return log
