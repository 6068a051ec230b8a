"""SPL-UDH as we reconstruct it: its loss, what it learns, and that only the seed decides."""

import dataclasses
import math

import fitting
import pytest
import torch
from soft_targets import (
    BETA,
    IMAGES,
    check_codes,
    check_export,
    check_order_of_batch,
    check_resume,
    same,
    scenes,
    terms,
)

from dcsh_pg.errors import UsageError
from dcsh_pg.learning.encoders import Encoder
from dcsh_pg.learning.training.randomness import seeded
from dcsh_pg.methods import spl_udh

QUICK = spl_udh.Options(
    epochs=12, batch_size=8, hidden=32, soft_bits=16, autoencoder_epochs=20, orientations=4
)


def fit(*, seed=0, **further):
    with seeded(0):
        encoder = Encoder("small")
    return fitting.fit(spl_udh, scenes()[0], encoder, bits=16, seed=seed, options=QUICK, **further)


def case(seed=0, bits=16, images=7, length=10):
    """An objective, and z of a batch."""
    with seeded(seed):
        labels = torch.where(torch.rand(images, length) < 0.5, -1.0, 1.0)
        labels[3] = labels[1]
        objective = spl_udh.Objective(labels, torch.randn(images, length), bits, QUICK)
        return objective, torch.randn(len(IMAGES), bits)


def directly(objective, z):
    """The formulas, pair by pair."""
    h = torch.tanh(BETA * z)
    y, u = objective.labels, objective.unit
    options, bits, length = objective.options, z.shape[1], y.shape[1]
    cosines = [(a @ b).item() for a in u for b in u]
    c_min, c_max = min(cosines), max(cosines)
    probability = torch.sigmoid(h @ objective.classifier.weight.T + objective.classifier.bias)
    picked = torch.where(y[IMAGES] > 0, probability, 1 - probability)
    within, between = [], []
    for i, a in enumerate(IMAGES):
        for j, b in enumerate(IMAGES):
            if i == j:
                continue
            near = int((y[a] != y[b]).sum()) <= math.floor(options.radius * length)
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
    objective, z = case(seed)
    assert terms(objective, z, IMAGES) == pytest.approx(directly(objective, z), rel=1e-4)


def test_order_of_the_batch_does_not_matter():
    check_order_of_batch(*case())


def test_kinds_get_like_codes_and_bits_stay_balanced():
    check_codes(fit)


def test_seed_decides_and_the_encoder_stays():
    first = fit()
    assert same(first, fit()) and not same(first, fit(seed=1))
    with seeded(0):
        assert same(first.encoder, Encoder("small"))


@pytest.mark.parametrize("stop", [8, 200])
def test_resumed_run_ends_with_the_same_weights(tmp_path, stop):
    check_resume(fit, tmp_path, stop)


def test_exported_file_gives_the_codes_of_the_network(tmp_path):
    check_export(fit, tmp_path)


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
def test_options_out_of_range_are_refused(change):
    with pytest.raises(UsageError):
        dataclasses.replace(QUICK, **change)
