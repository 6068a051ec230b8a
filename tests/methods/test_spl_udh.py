"""SPL-UDH as we reconstruct it: its loss, what it learns, and that only the seed decides."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from dcsh_pg import codes
from dcsh_pg.errors import UsageError
from dcsh_pg.export import export
from dcsh_pg.export.graph import CodeGraph
from dcsh_pg.hasher import Hasher
from dcsh_pg.learning.balance import BitBalance
from dcsh_pg.learning.encoders import Encoder
from dcsh_pg.learning.pairs import Pairs
from dcsh_pg.learning.randomness import seeded
from dcsh_pg.methods import spl_udh
from dcsh_pg.progress import Progress

QUICK = spl_udh.Options(
    epochs=12, batch_size=8, hidden=32, soft_bits=16, autoencoder_epochs=20, orientations=4
)


def scenes(kinds=4, each=8, seed=0):
    """Tiny images of a few kinds, each a noisy texture of its own, and their kinds."""
    random = np.random.default_rng(seed)
    textures = random.integers(0, 200, (kinds, 24, 24, 3)).repeat(each, axis=0)
    noisy = textures + random.integers(0, 56, textures.shape)
    return noisy.astype(np.uint8), np.arange(kinds).repeat(each)


def fit(images=None, *, seed=0, options=QUICK, **further):
    with seeded(0):
        encoder = Encoder("small")
    images = scenes()[0] if images is None else images
    return spl_udh.fit(images, encoder, bits=16, seed=seed, options=options, **further)


def same(first, second):
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


class StopAfter(Progress):
    """Interrupts like Ctrl-C after so many images of the training itself."""

    def __init__(self, images):
        self.images, self.training = images, False

    def start(self, text, total=None):
        self.training = text == "training"

    def advance(self, n=1, *, total=None):
        self.images -= n if self.training else 0
        if self.images < 0:
            raise KeyboardInterrupt


def case(seed=0, bits=16, images=7, length=10):
    """An objective, and two views of four of its images."""
    with seeded(seed):
        labels = torch.where(torch.rand(images, length) < 0.5, -1.0, 1.0)
        labels[3] = labels[1]
        objective = spl_udh.Objective(labels, torch.randn(images, length), bits, QUICK)
        z = torch.randn(8, bits)
    return objective, z, torch.tensor([1, 5, 3, 0, 1, 5, 3, 0])


def terms(objective, z, images, beta=2.0):
    pairs = Pairs(z[:4], z[4:], images=images)
    return {name: term.item() for name, term in objective(*z.chunk(2), pairs, beta).items()}


def directly(objective, z, images, beta=2.0):
    """The formulas, pair by pair."""
    h = torch.tanh(beta * z)
    y, u = objective.labels, objective.unit
    options, bits, length = objective.options, z.shape[1], y.shape[1]
    cosines = [(a @ b).item() for a in u for b in u]
    c_min, c_max = min(cosines), max(cosines)
    probability = torch.sigmoid(h @ objective.classifier.weight.T + objective.classifier.bias)
    picked = torch.where(y[images] > 0, probability, 1 - probability)
    within, between = [], []
    for i in range(len(h)):
        for j in range(len(h)):
            if i == j:
                continue
            a, b = images[i], images[j]
            differing = int((y[a] != y[b]).sum())
            near = differing <= math.floor(options.radius * length)
            local = 2 * ((u[a] @ u[b]).item() - c_min) / (c_max - c_min) - 1
            s = (local + 1) / 2 if near else ((y[a] @ y[b]).item() / length + 1) / 2
            theta = options.sharpness / (2 * bits) * (h[i] @ h[j]).item()
            (within if near else between).append(math.log1p(math.exp(theta)) - s * theta)
    return {
        "global": -picked.log().mean().item(),
        "local": options.local * sum(within) / len(within),
        "inter": options.inter * sum(between) / len(between),
        "quantization": options.alpha * (h.abs() - 1).square().mean().item(),
    }


@pytest.mark.parametrize("seed", range(3))
def test_loss_is_the_formula_pair_by_pair(seed):
    given = case(seed)
    assert terms(*given) == pytest.approx(directly(*given), rel=1e-4)


def test_order_of_the_batch_does_not_matter():
    objective, z, images = case()
    order = torch.tensor([6, 0, 3, 5, 2, 7, 1, 4])
    moved = terms(objective, z[order], images[order])
    assert moved == pytest.approx(terms(objective, z, images), rel=1e-5)


def test_kinds_get_like_codes_and_bits_stay_balanced():
    images, kinds = scenes()
    hash_function = fit(images)
    with torch.no_grad():
        z = hash_function(hash_function.preprocess()(torch.from_numpy(images)))
    distance = codes.hamming(codes.from_real(z.numpy()), codes.from_real(z.numpy()))
    alike = kinds[:, None] == kinds[None]
    assert distance[alike].mean() < 0.5 * distance[~alike].mean()
    balance = BitBalance.of(z)
    assert balance.constant == 0 and balance.mean_abs < 0.6


def test_seed_decides_and_the_encoder_stays():
    first = fit()
    assert same(first, fit()) and not same(first, fit(seed=1))
    with seeded(0):
        assert same(first.encoder, Encoder("small"))


@pytest.mark.parametrize("stop", [8, 200])
def test_resumed_run_ends_with_the_same_weights(tmp_path, stop):
    whole = fit(run=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        fit(run=tmp_path / "parts", progress=StopAfter(stop))
    assert same(whole, fit(run=tmp_path / "parts", resume=True))
    logs = [(tmp_path / run / "log.jsonl").read_text() for run in ("whole", "parts")]
    assert logs[0] == logs[1]


def test_exported_file_gives_the_codes_of_the_network(tmp_path):
    images, _ = scenes()
    hash_function = fit(images)
    export(hash_function, tmp_path / "m.onnx", name="spl", chip_size=24, parity_images=[images])
    with torch.no_grad():
        _, z = CodeGraph(hash_function)(torch.from_numpy(images))
    hasher = Hasher(tmp_path / "m.onnx", device="cpu", threads=1)
    assert (hasher.hash(images) == codes.from_real(z.numpy())).all()


@pytest.mark.parametrize(
    "change",
    [
        {"epochs": 0},
        {"soft_bits": 1},
        {"autoencoder_epochs": 0},
        {"radius": 1.5},
        {"sharpness": 0.0},
        {"local": -1.0},
        {"orientations": 3},
        {"lr_decay": "linear"},
    ],
)
def test_senseless_options_are_refused(change):
    with pytest.raises(UsageError):
        dataclasses.replace(QUICK, **change).check()
