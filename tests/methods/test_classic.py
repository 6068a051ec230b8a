"""What every method without epochs promises: seeds, scale, bit balance, the exported file."""

import by_hand
import fitting
import numpy as np
import pytest
import torch
from pictures import PixelEncoder, ones, pictures, tiny, z_of

from dcsh_pg import codes, methods
from dcsh_pg.errors import UsageError
from dcsh_pg.export import export
from dcsh_pg.hasher import Hasher
from dcsh_pg.learning.data.features import extract, fixed_views
from dcsh_pg.learning.encoders import Encoder
from dcsh_pg.learning.training.hash_layer import EpochOptions
from dcsh_pg.plugins import METHODS

CLASSIC = [
    name for name in METHODS.names() if not issubclass(methods.get(name).Options, EpochOptions)
]

IMBALANCE = {"lsh": 0.2, "itq": 0.2, "dsh": 0.4, "kulsh": 0.2, "prh": 0.02, "plsh": 0.3}
"""Mean over the bits of |share of ones - share of zeros|, at most.  PRH puts its
thresholds at the training images' median; LSH, ITQ, KULSH and PLSH put the mean at 0; DSH weighs
groups by their sizes."""


def fit(name, images, encoder=None, **arguments):
    method = methods.get(name)
    return fitting.fit(method, images, encoder or PixelEncoder(), bits=16, **arguments)


@pytest.mark.parametrize("name", CLASSIC)
def test_the_seed_decides(name):
    images = tiny()
    first, again, other = (z_of(fit(name, images, seed=seed), images) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert np.mean((first >= 0) != (other >= 0)) > 0.05


@pytest.mark.parametrize("name", CLASSIC)
def test_bits_are_balanced_on_training_images(name):
    images = tiny(120)
    share = ones(fit(name, images), images)
    assert np.abs(2 * share - 1).mean() <= IMBALANCE[name]
    assert share.min() > 0.1 and share.max() < 0.9


@pytest.mark.parametrize("name", CLASSIC)
def test_like_pictures_get_like_codes(name):
    images = tiny(120)
    bits = z_of(fit(name, images), images) >= 0
    distance = (bits[:, None] != bits).sum(axis=2)
    kind = np.arange(120) % 6
    alike = kind[:, None] == kind
    assert distance[alike].mean() < 0.8 * distance[~alike].mean()


@pytest.mark.parametrize("name", CLASSIC)
def test_scale_of_the_features_does_not_matter(name):
    images = tiny()
    plain = fit(name, images)
    scaled = fit(name, images, PixelEncoder(8 * np.eye(48)))  # a power of 2: no rounding
    assert np.allclose(z_of(plain, images), z_of(scaled, images), atol=1e-5)


@pytest.mark.parametrize(("name", "orientations"), [("lsh", 1), *((name, 8) for name in CLASSIC)])
def test_exported_file_gives_the_codes_of_numpy(name, orientations, tmp_path):
    images = pictures(40)
    torch.manual_seed(0)
    encoder = Encoder("small")
    few = {"steps": 3} if name == "plsh" else {}  # unrolled in the graph, slow to trace
    options = methods.get(name).Options(orientations=orientations, **few)
    hash_function = fit(name, images, encoder, options=options)
    export(hash_function, tmp_path / "m.onnx", name=name, chip_size=24)
    unseen = pictures(6, seed=5)
    features = extract(unseen, encoder, views=fixed_views(range(orientations)))
    views = [by_hand.z_of(hash_function.head, features[:, v]) for v in range(orientations)]
    z = np.mean(views, axis=0)
    found = codes.unpack(Hasher(tmp_path / "m.onnx", device="cpu", threads=1).hash(unseen))
    certain = np.abs(z) > 1e-4 * np.sqrt(np.mean(z**2))
    assert certain.mean() > 0.95
    assert np.array_equal(found[certain], (z >= 0)[certain])


@pytest.mark.parametrize("name", CLASSIC)
def test_orientations_are_refused_that_no_function_averages(name):
    with pytest.raises(UsageError, match="orientations 3"):
        methods.get(name).Options(orientations=3)


@pytest.mark.parametrize("name", CLASSIC)
def test_no_more_bits_than_images(name):
    with pytest.raises(UsageError, match=r"16"):
        fit(name, tiny(16))


@pytest.mark.parametrize("name", ["itq", "prh"])
def test_no_more_bits_than_features(name):
    with pytest.raises(UsageError, match="16 bits from 8 features"):
        fit(name, tiny(), PixelEncoder(np.eye(48)[:, :8]))
