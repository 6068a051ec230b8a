"""PSCH as we reconstruct it: its loss, what it learns, and that only the seed decides."""

import dataclasses

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
from torch.nn import functional

from dcsh_pg.errors import TrainingError, UsageError
from dcsh_pg.learning.encoders import Encoder
from dcsh_pg.learning.training.pseudo_labels import PseudoLabels
from dcsh_pg.learning.training.randomness import seeded
from dcsh_pg.methods import psch

QUICK = psch.Options(epochs=12, batch_size=8, hidden=32, clusters=6)


def fit(*, seed=0, **further):
    with seeded(0):
        encoder = Encoder("small")
    return fitting.fit(psch, scenes()[0], encoder, bits=16, seed=seed, options=QUICK, **further)


def case(seed=0, bits=16):
    """An objective, and z of a batch."""
    labels = PseudoLabels(
        clusters=torch.tensor([0, 1, 0, 1, 2, 1, 0]),
        confident=torch.tensor([1, 1, 1, 1, 1, 0, 1], dtype=torch.bool),
        count=3,
    )
    with seeded(seed):
        vectors = functional.normalize(torch.rand(7, 12), dim=1)
        objective = psch.Objective(labels, vectors, bits, QUICK)
        return objective, torch.randn(len(IMAGES), bits)


def directly(objective, z):
    """The formulas, pair by pair."""
    h = torch.tanh(BETA * z)
    cluster, confident, p = objective.clusters, objective.confident, objective.vectors
    inside = [
        (p[a] @ p[b]).item()
        for a in range(len(p))
        for b in range(len(p))
        if cluster[a] == cluster[b] and confident[a] and confident[b]
    ]
    least, most = min(inside), max(inside)
    alike, unlike, entropies = [], [], []
    for i, a in enumerate(IMAGES):
        if confident[a]:
            scores = objective.classifier.weight @ h[i] + objective.classifier.bias
            entropies.append(-torch.log_softmax(scores, dim=0)[cluster[a]].item())
        for j, b in enumerate(IMAGES):
            if i == j:
                continue
            likeness = (h[i] @ h[j]).item() / z.shape[1]
            if a == b:
                alike.append((likeness - 1) ** 2)
            elif confident[a] and confident[b] and cluster[a] == cluster[b]:
                target = ((p[a] @ p[b]).item() - least) / (most - least)
                alike.append((likeness - target) ** 2)
            elif confident[a] and confident[b]:
                unlike.append((likeness + 1) ** 2)
    return {
        "similarity": sum(alike) / len(alike) + sum(unlike) / len(unlike),
        "classification": objective.options.classes * sum(entropies) / len(entropies),
        "quantization": objective.options.alpha * (h.abs() - 1).square().mean().item(),
    }


@pytest.mark.parametrize("seed", range(3))
def test_loss_is_the_formula_pair_by_pair(seed):
    objective, z = case(seed)
    assert terms(objective, z, IMAGES) == pytest.approx(directly(objective, z), rel=1e-4)


def test_order_of_the_batch_does_not_matter():
    check_order_of_batch(*case())


def test_names_of_the_clusters_do_not_matter_to_the_targets():
    objective, _ = case()
    before = objective.targets(IMAGES)
    objective.clusters = (objective.clusters + 1) % 3
    after = objective.targets(IMAGES)
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_an_image_that_is_not_confident_is_only_like_itself():
    targets, alike, unlike = case()[0].targets(IMAGES)
    unsure = 1
    assert alike[unsure].nonzero()[:, 0].tolist() == [1, 5] and not unlike[unsure].any()
    assert targets[unsure, 5] == 1


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


def test_features_and_parts_come_from_the_cache(tmp_path):
    assert same(fit(cache=tmp_path), fit(cache=tmp_path))


def test_an_encoder_without_maps_will_do():
    images, options = scenes(each=1)[0], dataclasses.replace(QUICK, epochs=2)
    assert fitting.fit(psch, images, Encoder("gist"), bits=16, options=options).bits == 16


def test_one_image_is_too_few():
    with pytest.raises(TrainingError, match="too few images"):
        fitting.fit(psch, scenes()[0][:1], Encoder("small"), bits=16, options=QUICK)


def test_exported_file_gives_the_codes_of_the_network(tmp_path):
    check_export(fit, tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"batch_size": 1},
        {"clusters": 1},
        {"confidence": 0.0},
        {"parts": 0},
        {"classes": -0.1},
        {"alpha": -1.0},
        {"hidden": 0},
        {"head_lr": 0.0},
    ],
)
def test_options_out_of_range_are_refused(change):
    with pytest.raises(UsageError):
        dataclasses.replace(QUICK, **change)
