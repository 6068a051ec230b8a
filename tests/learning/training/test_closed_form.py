import json
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch

from dcsh_pg.errors import OutputError, UsageError
from dcsh_pg.learning.data.feature_cache import FeatureCache
from dcsh_pg.learning.data.features import extract, fixed_views
from dcsh_pg.learning.encoders import Encoder
from dcsh_pg.learning.heads import MLPHead
from dcsh_pg.learning.training.closed_form import fit_head, unit_mean
from dcsh_pg.learning.training.options import MethodOptions
from dcsh_pg.learning.training.run import Run

IMAGES = np.random.default_rng(0).integers(0, 256, (20, 24, 24, 3), np.uint8)


@dataclass(frozen=True)
class Options(MethodOptions):
    method: ClassVar[str] = "test"


def small():
    torch.manual_seed(0)
    return Encoder("small")


def fit(encoder=None, seen=None, *, orientations=1, bits=16, **run):
    """A head of random planes; ``seen`` gets the features that it was made of."""

    def make(features):
        if seen is not None:
            seen.append(features)
        weight = np.random.default_rng(0).normal(size=(16, features.shape[2]))
        mean = unit_mean(features).mean(axis=0)
        return MLPHead.linear(weight, -weight @ mean, l2_normalize=True), {"planes": "random"}

    options = Options(orientations=orientations)
    return fit_head(IMAGES, encoder or small(), make, options, Run(bits=bits, **run))


@pytest.mark.parametrize("orientations", [1, 4, 8])
def test_a_head_is_made_of_the_features_that_it_will_see(orientations):
    encoder, seen = small(), []
    hash_function = fit(encoder, seen, orientations=orientations)
    features = extract(IMAGES, encoder, views=fixed_views(range(orientations)))
    assert np.array_equal(seen[0], features)
    assert (hash_function.method, hash_function.orientations) == ("test", orientations)
    with torch.no_grad():
        z = hash_function(hash_function.preprocess()(torch.from_numpy(IMAGES)))
        known = hash_function.from_features(torch.from_numpy(features))
    assert torch.allclose(z, known, atol=1e-4)


def test_the_encoder_stays_as_it_was():
    encoder = small()
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    hash_function = fit(encoder)
    assert not hash_function.training
    after = hash_function.encoder.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_log_has_the_record_and_the_balance(tmp_path):
    hash_function = fit(folder=tmp_path)
    (line,) = (tmp_path / "log.jsonl").read_text().splitlines()
    record = json.loads(line)
    with torch.no_grad():
        bits = hash_function(hash_function.preprocess()(torch.from_numpy(IMAGES))) >= 0
    imbalance = (2 * bits.double().mean(dim=0) - 1).abs().mean().item()
    assert record["planes"] == "random" and record["bits"] == 16
    assert record["mean_abs"] == pytest.approx(imbalance, abs=1e-4)


def test_features_are_taken_from_the_cache(tmp_path):
    first, again = [], []
    fit(seen=first, cache=tmp_path)
    fit(seen=again, cache=FeatureCache(tmp_path))
    assert (tmp_path / "features.sqlite").is_file()
    assert torch.equal(first[0], again[0])


def test_unwritable_places_are_reported(tmp_path):
    (tmp_path / "file").write_text("")
    for place in ({"folder": tmp_path / "file" / "run"}, {"cache": tmp_path / "file" / "cache"}):
        with pytest.raises(OutputError, match="file"):
            fit(**place)


@pytest.mark.parametrize(
    ("bits", "reported"), [(20, "20 bits"), (24, "24 bits from 20 images"), (8, "8 bits")]
)
def test_lengths_that_cannot_be_are_refused(bits, reported):
    with pytest.raises(UsageError, match=reported):
        fit(bits=bits)


def test_as_many_bits_as_images_are_refused():
    with pytest.raises(UsageError, match="test cannot make 16 bits from 16 images"):
        fit_head(IMAGES[:16], small(), lambda features: None, Options(), Run(bits=16))


def test_only_whole_sets_of_orientations_are_averaged():
    for orientations in (1, 4, 8):
        Options(orientations=orientations)
    for orientations in (0, 2, 3, 16):
        with pytest.raises(UsageError, match=f"orientations {orientations}"):
            Options(orientations=orientations)


def test_unit_mean_weighs_views_alike():
    """Each view has length 1 before the mean, however long its features are."""
    features = torch.tensor([[[3.0, 4.0], [0.0, 0.1]]])
    assert np.allclose(unit_mean(features), [[0.3, 0.9]])
    assert unit_mean(features).dtype == np.float64
