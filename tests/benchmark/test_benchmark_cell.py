import dataclasses
import importlib.util
import json

import labelled
import numpy as np
import pytest
import torch

from dcsh_pg import codes, methods
from dcsh_pg.benchmark.cell import Setting, fit, hash_images, identity, measure
from dcsh_pg.benchmark.rows import COSINE, Row
from dcsh_pg.benchmark.splits import stratified
from dcsh_pg.errors import InputError, ModelError, OutputError, TrainingError
from dcsh_pg.evaluation import evaluate
from dcsh_pg.learning.data.feature_cache import FeatureCache
from dcsh_pg.learning.data.features import encoder_digest, extract
from dcsh_pg.learning.encoders import Encoder
from dcsh_pg.plugins import METHODS

BITS = 16
BRIEF = {"epochs": 2, "autoencoder_epochs": 2}
"""Options that are set wherever a method has them."""


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    return Encoder("small").eval()


@pytest.fixture(scope="module")
def setting():
    images, labels = labelled.pictures(), labelled.labels(4, 15)
    return Setting(images, labels, FeatureCache(None, memory=True))


@pytest.fixture(scope="module")
def split(setting):
    return stratified(setting.labels, 0.8, seed=0)


def row(method, **fields):
    if method == COSINE:
        return Row(COSINE, COSINE, "small")
    if importlib.util.find_spec(f"dcsh_pg.methods.{method}") is None:
        pytest.skip(f"{method} is not there yet")
    known = {field.name for field in dataclasses.fields(methods.get(method).Options)}
    brief = {name: value for name, value in BRIEF.items() if name in known}
    return Row(method, method, "small", **{"options": brief, "weights": "none", **fields})


def codes_of(setting, split, one, encoder):
    hash_function = fit(setting, split.database, one, encoder, bits=BITS, seed=1)
    return [hash_images(setting, hash_function, part) for part in (split.database, split.queries)]


@pytest.mark.parametrize("method", METHODS.names())
def test_labels_score_codes_and_take_no_other_part(setting, split, encoder, method):
    """Codes are bit-identical when the labels are shuffled and the split is not."""
    shuffled = np.random.default_rng(0).permutation(setting.labels)
    other = dataclasses.replace(
        setting, labels=tuple(shuffled.tolist()), cache=FeatureCache(None, memory=True)
    )
    one = row(method)
    for with_labels, with_others in zip(
        codes_of(setting, split, one, encoder), codes_of(other, split, one, encoder), strict=True
    ):
        assert np.array_equal(with_labels, with_others)
    true = measure(setting, split, one, encoder, bits=BITS, seed=1)
    false = measure(other, split, one, encoder, bits=BITS, seed=1)
    assert true["mean_average_precision"] > false["mean_average_precision"] + 0.1
    assert (true["bit_entropy"], true["distinct_codes"]) == (
        false["bit_entropy"],
        false["distinct_codes"],
    )


@pytest.mark.parametrize("method", ["lsh", "dcsh"])
def test_fitting_does_not_even_look_at_labels_and_queries(setting, split, encoder, method):
    class Secret:
        def __getattr__(self, name):
            raise AssertionError(f"somebody asked the labels for {name}")

        __iter__ = __len__ = __getitem__ = __array__ = lambda self, *_: self.looked

    blank = setting.images.copy()
    blank[split.queries] = 0
    blind = Setting(blank, Secret(), FeatureCache(None, memory=True))
    found = fit(blind, split.database, row(method), encoder, bits=BITS, seed=1)
    expected = codes_of(setting, split, row(method), encoder)[1]
    assert np.array_equal(hash_images(setting, found, split.queries), expected)


def test_a_cell_holds_what_evaluate_says_of_its_codes(setting, split, encoder):
    one = row("itq")
    database, queries = codes_of(setting, split, one, encoder)
    labels = np.array(setting.labels)
    report = evaluate(database, labels[split.database], queries, labels[split.queries])
    found = measure(setting, split, one, encoder, bits=BITS, seed=1)
    assert found["mean_average_precision"] == report.mean_average_precision
    assert found["by_rank"]["precision"] == report.by_rank.precision.tolist()
    assert list(found["precision_at"]) == [1, 5, 10, 20]  # of 48 in the database
    assert set(found["seconds"]) == {"fit", "hash"}
    json.dumps(found)


@pytest.mark.parametrize("orientations", [1, 4])
def test_codes_from_cached_features_are_those_of_the_hash_function(
    setting, split, encoder, orientations
):
    one = row("lsh", options={"orientations": orientations})
    hash_function = fit(setting, split.database, one, encoder, bits=BITS, seed=1)
    with torch.no_grad():
        inputs = hash_function.preprocess()(torch.from_numpy(setting.images[split.queries]))
        z = hash_function(inputs).numpy()
    certain = np.abs(z) > 1e-5
    found = codes.unpack(hash_images(setting, hash_function, split.queries))
    assert certain.mean() > 0.99
    assert np.array_equal(found[certain], (z >= 0)[certain])


def test_features_themselves_are_ranked_by_centred_cosine(setting, split, encoder):
    features = extract(setting.images, encoder)[:, 0].astype(np.float64)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    features -= features[split.database].mean(axis=0)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    labels = np.array(setting.labels)
    scores = []
    for query in split.queries:
        order = split.database[np.argsort(-(features[split.database] @ features[query]))]
        ranks = np.flatnonzero(labels[order] == labels[query]) + 1
        scores.append(np.mean(np.arange(1, len(ranks) + 1) / ranks))
    found = measure(setting, split, row(COSINE), encoder, bits=BITS, seed=1)
    assert found == {"mean_average_precision": pytest.approx(np.mean(scores))}


def test_what_a_method_refuses_is_reported_in_the_cell(setting, split, encoder):
    found = measure(setting, split, row("itq"), encoder, bits=64, seed=0)
    assert found == {"error": "itq cannot make 64 bits from 48 images"}


@pytest.mark.parametrize("error", [TrainingError, InputError, ModelError])
def test_an_error_of_a_method_is_reported_in_the_cell(setting, split, encoder, monkeypatch, error):
    def collapse(*_, **__):
        raise error("the codes have collapsed")

    monkeypatch.setattr(methods.get("dcsh"), "fit", collapse)
    assert "collapsed" in measure(setting, split, row("dcsh"), encoder, bits=16, seed=0)["error"]


def test_a_full_disk_is_not_an_error_of_the_method(setting, split, encoder, monkeypatch):
    def fail(*_, **__):
        raise OutputError("no room")

    monkeypatch.setattr(methods.get("dcsh"), "fit", fail)
    with pytest.raises(OutputError):
        measure(setting, split, row("dcsh"), encoder, bits=16, seed=0)


def test_features_of_an_encoder_trained_for_one_cell_are_not_kept(setting, split):
    class Sealed(FeatureCache):
        def put(self, keys, features):
            raise AssertionError("nobody will ask for these features again")

    torch.manual_seed(0)
    trained = Encoder("small")
    cache = Sealed(None, memory=True)
    one = row("dcsh", freeze=False, options={"epochs": 1, "batch_size": 16})
    before = encoder_digest(trained)
    found = measure(dataclasses.replace(setting, cache=cache), split, one, trained, bits=16, seed=0)
    assert "mean_average_precision" in found
    assert encoder_digest(trained) != before


def test_identity_reports_options_apart_and_survives_json(encoder):
    def of(**fields):
        digest = encoder_digest(encoder)
        return identity(row("itq", **fields), digest, bits=16, seed=0, dataset="d", precision="p")

    assert of() == of(options={"iterations": 50}) == json.loads(json.dumps(of()))
    assert of() != of(options={"iterations": 51})
