"""DCSH as a method: what it learns, and how its literal reading collapses."""

import dataclasses

import numpy as np
import pytest
import torch
from fitting import fit
from pictures import ones, pictures

from dcsh_pg.errors import TrainingError, UsageError
from dcsh_pg.learning.data.feature_pairs import FeaturePairs
from dcsh_pg.learning.data.neighbours import centred, nearest
from dcsh_pg.learning.encoders import Encoder
from dcsh_pg.learning.heads import MLPHead
from dcsh_pg.learning.training.randomness import seeded
from dcsh_pg.learning.training.run import Run
from dcsh_pg.learning.training.schedule import beta
from dcsh_pg.learning.training.trainer import Loop, train
from dcsh_pg.methods import dcsh


def clustered_features(clusters=6, each=20, views=4, dim=64, seed=0):
    """Non-negative features like a ReLU network's, with a large common mean."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(clusters, dim)).repeat(each, axis=0)
    images = centres + 0.5 * random.normal(size=centres.shape)
    seen = images[:, None] + 0.2 * random.normal(size=(len(images), views, dim))
    return torch.from_numpy(np.maximum(seen + 1, 0)).float(), np.arange(clusters).repeat(each)


def train_head(features, options, bits=16, neighbours=None):
    with seeded(0):
        head = dcsh.hash_layer(features.shape[2], bits, options)
    train(
        torch.nn.Identity(),
        head,
        FeaturePairs(features, neighbours),
        lambda *views: dcsh.objective(*views, options=options),
        torch.optim.Adam(head.parameters(), lr=options.head_lr),
        Loop(options.epochs, options.batch_size, seed=0, beta=lambda e: beta(e, options.epochs)),
        identity={},
    )
    return head


def test_literal_quantization_sum_collapses_and_is_caught():
    features, _ = clustered_features()
    literal = dcsh.Options(epochs=30, quantization="sum", batch_norm=False)
    with pytest.raises(TrainingError, match="collapsed") as error:
        train_head(features, literal, bits=64)
    assert "quantization=mean" in error.value.hint


def test_collapsed_codes_are_returned_where_the_check_is_off():
    images = pictures()
    literal = dcsh.Options(
        epochs=30, quantization="sum", batch_norm=False, biases=False, rotations=False, freeze=True
    )
    with pytest.raises(TrainingError, match="collapsed"):
        fit(dcsh, images, Encoder("small"), bits=64, options=literal)
    unchecked = dataclasses.replace(literal, collapse_check=False)
    share = ones(fit(dcsh, images, Encoder("small"), bits=64, options=unchecked), images)
    assert np.mean((share < 0.01) | (share > 0.99)) > 0.05


@pytest.mark.parametrize("biases", [True, False])
def test_biases_of_the_hash_layer_are_learned_or_stay_0(biases):
    options = dcsh.Options(epochs=2, biases=biases, freeze=True, collapse_check=False)
    head = fit(dcsh, pictures(), Encoder("small"), bits=16, options=options).head
    assert bool(head.layers[0].bias.any()) == bool(head.last.bias.any()) == biases


def test_neighbours_bring_images_of_one_kind_together():
    features, kinds = clustered_features()
    options = dataclasses.replace(dcsh.Options.frozen(), epochs=20, hidden=64)
    head = train_head(features, options, neighbours=nearest(centred(features), 5)).eval()
    with torch.no_grad():
        bits = (head(features[:, 0]) >= 0).float()
    distance = torch.cdist(bits, bits, p=1).numpy()
    alike = kinds[:, None] == kinds[None]
    assert distance[alike].mean() < 0.5 * distance[~alike].mean()


def test_hash_layer_is_drawn_as_the_paper_says():
    with seeded(0):
        head = dcsh.hash_layer(2048, 64, dcsh.Options())
    first, _, second = head.layers
    assert isinstance(head, MLPHead) and first.out_features == 1024
    for layer in (first, second):
        assert layer.weight.std().item() == pytest.approx(0.01, rel=0.02)
        assert layer.bias.abs().max() == 0


def test_related_images_are_no_negatives():
    features = torch.zeros(4, 1, 2)
    pairs = FeaturePairs(features, torch.tensor([[1], [0], [3], [2]]))
    drawn = pairs.draw(torch.tensor([0, 2]), torch.Generator().manual_seed(0))
    same_half = torch.tensor([[1, 0, 1, 0], [0, 1, 0, 1]] * 2, dtype=torch.bool)
    assert torch.equal(drawn.ignored, same_half)


def test_nearest_leaves_the_image_itself_out():
    features, kinds = clustered_features(each=5)
    found = nearest(centred(features), 4).numpy()
    assert (found != np.arange(len(found))[:, None]).all()
    assert (kinds[found] == kinds[:, None]).mean() > 0.95


def test_freezing_leaves_the_encoder_alone():
    with seeded(0):
        encoder = Encoder("small")
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    images = np.random.default_rng(0).integers(0, 256, (12, 24, 24, 3), np.uint8)
    options = dataclasses.replace(dcsh.Options.frozen(), epochs=1, hidden=8)
    hash_function = fit(dcsh, images, encoder, bits=16, options=options)
    after = hash_function.encoder.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize(
    "change",
    [
        {"epochs": 0},
        {"temperature": 0.0},
        {"quantization": "median"},
        {"positives": "classes"},
        {"mining": "guessed"},
        {"feature_dropout": 1.0},
        {"graph": 0},
        {"orientations": 3},
    ],
)
def test_options_out_of_range_are_refused(change):
    with pytest.raises(UsageError):
        dataclasses.replace(dcsh.Options(), **change)


@pytest.mark.parametrize("change", [{"positives": "clusters", "clusters": 3}, {"init": "itq"}])
@pytest.mark.parametrize("freeze", [True, False])
def test_switches_work_with_the_encoder_frozen_or_not(change, freeze):
    with seeded(0):
        encoder = Encoder("small")
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    images = np.random.default_rng(0).integers(0, 256, (24, 24, 24, 3), np.uint8)
    kind = dcsh.Options.frozen() if freeze else dcsh.Options.from_scratch()
    options = dataclasses.replace(kind, epochs=2, hidden=32, **change)
    hash_function = fit(dcsh, images, encoder, bits=16, options=options)
    after = hash_function.encoder.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before) == freeze


def test_positives_are_what_the_option_says():
    features, kinds = clustered_features()

    def found(**options):
        return dcsh.positives(features, dataclasses.replace(dcsh.Options(), **options), Run())

    assert found() is None
    assert found(positives="neighbours", neighbours=7).shape == (120, 7)
    mined = [found(positives="neighbours", mining=m, whiten=False) for m in ("nearest", "diffused")]
    assert not torch.equal(*mined)
    clusters = found(positives="clusters", clusters=6).numpy()
    assert (kinds[clusters] == kinds[:, None]).mean() > 0.95


def test_starting_as_itq_gives_the_codes_of_itq():
    """Balanced bits before any training, and the rotation is that of the head's own outputs."""
    features, _ = clustered_features()
    with seeded(0):
        head = dcsh.hash_layer(64, 16, dcsh.Options(hidden=48, batch_norm=False))
        dcsh.start_as_itq(head, features, seed=0)
    with torch.no_grad():
        z = head(features.mean(dim=1))
    assert z.mean(dim=0).abs().max() < 1e-4
    assert torch.linalg.matrix_rank(z) == 16
