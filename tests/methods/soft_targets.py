"""What the tests of methods share that train against targets looked up by image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from dcsh_pg import codes
from dcsh_pg.export import export
from dcsh_pg.export.graph import CodeGraph
from dcsh_pg.hasher import Hasher
from dcsh_pg.learning.data.pairs import Pairs
from dcsh_pg.learning.training.bit_balance import BitBalance
from dcsh_pg.progress import Progress

BETA = 2.0
IMAGES = torch.tensor([1, 5, 3, 0, 1, 5, 3, 0])
"""Of which images the views of a batch are, the first views before the second."""


def scenes(kinds: int = 4, each: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Tiny images uint8 (N, 24, 24, 3), each a noisy texture of its kind, and their kinds (N,)."""
    random = np.random.default_rng(0)
    textures = random.integers(0, 200, (kinds, 24, 24, 3)).repeat(each, axis=0)
    noisy = textures + random.integers(0, 56, textures.shape)
    return noisy.astype(np.uint8), np.arange(kinds).repeat(each)


def terms(objective: nn.Module, z: torch.Tensor, images: torch.Tensor) -> dict[str, float]:
    """The terms of the loss of a batch of views, z float (2M, K)."""
    first, second = z.chunk(2)
    given = objective(first, second, Pairs(first, second, images=images), BETA)
    return {name: term.item() for name, term in given.items()}


def check_order_of_batch(objective: nn.Module, z: torch.Tensor) -> None:
    order = torch.tensor([6, 0, 3, 5, 2, 7, 1, 4])
    wanted = terms(objective, z, IMAGES)
    assert terms(objective, z[order], IMAGES[order]) == pytest.approx(wanted, rel=1e-5)


def check_codes(fit) -> None:
    """Images of a kind get like codes, and no bit is wasted."""
    images, kinds = scenes()
    hash_function = fit()
    with torch.no_grad():
        z = hash_function(hash_function.preprocess()(torch.from_numpy(images)))
    distance = codes.hamming(codes.from_real(z.numpy()), codes.from_real(z.numpy()))
    alike = kinds[:, None] == kinds[None]
    assert distance[alike].mean() < 0.5 * distance[~alike].mean()
    balance = BitBalance.of(z)
    assert balance.constant == 0 and balance.mean_abs < 0.6


def same(first: nn.Module, second: nn.Module) -> bool:
    """Whether all weights are bit for bit alike."""
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def check_resume(fit, folder, stop: int) -> None:
    """A run stopped after so many images and resumed ends like one that was not stopped."""
    whole = fit(folder=folder / "whole")
    with pytest.raises(KeyboardInterrupt):
        fit(folder=folder / "parts", progress=_StopAfter(stop))
    assert same(whole, fit(folder=folder / "parts", resume=True))
    logs = [(folder / run / "log.jsonl").read_text() for run in ("whole", "parts")]
    assert logs[0] == logs[1]


def check_export(fit, folder) -> None:
    """The exported file gives the codes of the network."""
    images, _ = scenes()
    hash_function = fit()
    export(hash_function, folder / "m.onnx", name="m", chip_size=24, parity_images=[images])
    with torch.no_grad():
        _, z = CodeGraph(hash_function)(torch.from_numpy(images))
    hasher = Hasher(folder / "m.onnx", device="cpu", threads=1)
    assert (hasher.hash(images) == codes.from_real(z.numpy())).all()


class _StopAfter(Progress):
    """Interrupts like Ctrl-C after so many images of the training itself."""

    def __init__(self, images: int):
        self.images, self.training = images, False

    def start(self, text, total=None):
        self.training = text == "training"

    def advance(self, n=1, *, total=None):
        self.images -= n if self.training else 0
        if self.images < 0:
            raise KeyboardInterrupt
