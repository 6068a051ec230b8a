"""Models of images of other types than uint8: the graph does what training did."""

import dataclasses
import json

import numpy as np
import onnx
import onnx_encoders
import pytest
import torch

from dcsh_pg.errors import ModelError
from dcsh_pg.export import export_run
from dcsh_pg.export.parity import synthetic_images
from dcsh_pg.hasher import Hasher
from dcsh_pg.learning.data.image_store import as_tensor
from dcsh_pg.learning.data.training_set import TrainingSet, resize
from dcsh_pg.learning.model import hash_function as files
from dcsh_pg.learning.training.run import Run
from dcsh_pg.methods import choose_options
from dcsh_pg.pixel_types import NODATA, are_valid, blank, to_type
from dcsh_pg.train import train

QUICK = choose_options("dcsh", epochs=2, batch_size=8, hidden=16)
TYPED = ("int8", "uint16", "int16", "float32")


def made_images(dtype, n=24, bands=12):
    """Images of smooth noise with a hole in every second."""
    rng = np.random.default_rng(0)
    scale = {"int8": 60, "uint16": 3000, "int16": 900, "float32": 0.3}[dtype]
    values = rng.random((n, 6, 6, bands)).repeat(4, axis=1).repeat(4, axis=2) * scale
    valid = np.ones(values.shape[:3], bool)
    valid[::2, 4:9, 3:20] = False
    return to_type(values, valid, dtype)[0]


@pytest.fixture(scope="module", params=TYPED)
def model(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    names = tuple(f"B{n:02}" for n in range(1, 13))
    images = made_images(request.param)
    training_set = TrainingSet(images, scenes=1, band_names=names)
    train(training_set, Run(bits=16, folder=folder), options=QUICK)
    export_run(folder, folder / "m.onnx")
    return request.param, folder, images


def test_the_file_gives_the_bits_of_torch(model):
    dtype, folder, images = model
    hasher, (function, _) = (
        Hasher(folder / "m.onnx", device="cpu"),
        files.load(folder / "hash_function.pt"),
    )
    for batch in (images, *synthetic_images(12, 40, function.encoder.pixels)):
        with torch.no_grad():
            z = function(function.preprocess()(as_tensor(batch))).numpy()
        found = hasher.hash_real(batch)[1]
        np.testing.assert_allclose(found, z, atol=1e-4 * max(1, np.abs(z).max()))
    assert hasher.card.dtype == dtype and hasher.card.nodata == NODATA[dtype]
    assert hasher.card.band_names[0] == "B01" and len(hasher.card.low) == 12
    assert hasher._session.get_inputs()[0].type == f"tensor({dtype.replace('32', '')})"


def test_what_an_invalid_pixel_held_does_not_matter_and_is_the_mean(model):
    dtype, folder, images = model
    hasher = Hasher(folder / "m.onnx", device="cpu")
    card = hasher.card
    empty = blank((1, 24, 24, 12), dtype)
    points = card.pixels.points
    steps = np.linspace(0, 1, points.shape[1])
    mean = np.array(
        [np.interp(m, steps, of) for m, of in zip(card.mean, points, strict=True)]
    ).astype(np.float64)
    filled, _ = to_type(np.broadcast_to(mean, (1, 24, 24, 12)), np.ones((1, 24, 24), bool), dtype)
    z_empty, z_filled = hasher.hash_real(empty)[1], hasher.hash_real(filled)[1]
    np.testing.assert_allclose(z_empty, z_filled, atol=0.05 * np.abs(z_filled).max())
    if dtype == "float32":
        other = images.copy()
        other[~are_valid(images)] = np.inf
        assert np.array_equal(hasher.hash(other), hasher.hash(images))


def test_the_preprocessing_is_brute_force(model):
    _, folder, images = model
    function, _ = files.load(folder / "hash_function.pt")
    pixels, encoder = function.encoder.pixels, function.encoder
    batch = resize(images, encoder.input_size)
    scaled = pixels.scaled(np.where(are_valid(batch)[..., None], batch, 0))
    expected = (scaled - np.float32(encoder.mean)) / np.float32(encoder.std)
    expected[~are_valid(batch)] = 0
    found = function.preprocess()(as_tensor(batch)).permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(found, expected, atol=2e-4)


@pytest.mark.parametrize("other", ["uint8", "uint16", "float32", "float64"])
def test_images_of_another_type_or_bands_are_refused_in_one_line(model, other):
    dtype, folder, _ = model
    hasher = Hasher(folder / "m.onnx", device="cpu")
    with pytest.raises(ModelError, match="takes images of 12 bands, these have 3"):
        hasher.hash(np.zeros((1, 8, 8, 3), dtype))
    if other != dtype:
        with pytest.raises(ModelError, match=f"images of {other} .* cannot be hashed") as refused:
            hasher.hash(np.zeros((1, 8, 8, 12), other))
        assert refused.value.hint == f"give {dtype} (N, H, W, 12)"


@pytest.mark.parametrize("model", ["uint16"], indirect=True)
@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"dtype": "complex64"}, "'dtype' cannot be"),
        ({"dtype": ["uint16"]}, "'dtype' cannot be"),
        ({"dtype": "uint8"}, "need another 'dtype'"),
        (
            {"dtype": "uint8", "low": [], "high": [], "knots": [], "nodata": None},
            "do not match its card",
        ),
        ({"low": [0.0]}, "'low' does not have 12 bands"),
        ({"low": [], "high": []}, "'low' does not have 12 bands"),
        ({"high": [0.0] * 12}, "'low' is not below its 'high'"),
        ({"high": [1e300] * 12}, "'high' cannot be"),
        ({"low": ["a"] * 12}, "'low' cannot be"),
        ({"knots": [1.0] * 13}, "'knots' are not as many"),
        ({"knots": [1.0] * 24}, "'knots' do not rise"),
        ({"knots": "a"}, "'knots' cannot be"),
        ({"nodata": 7}, "'nodata' cannot be"),
        ({"nodata": 1e9}, "'nodata' cannot be"),
        ({"band_names": ["red"]}, "'band_names' does not have 12 bands"),
        ({"band_names": [1] * 12}, "'band_names' cannot be"),
        ({"input": "vector"}, "takes vectors"),
    ],
)
def test_a_card_that_lies_about_its_pixels_is_refused(model, fields, reason):
    _, folder, _ = model
    made = onnx.load(folder / "m.onnx")
    card = Hasher(folder / "m.onnx", device="cpu").card.to_json() | fields
    props = {"dcsh:format": "2", "dcsh:card": json.dumps(card)}
    onnx.helper.set_model_props(made, props)
    with pytest.raises(ModelError, match=reason):
        Hasher(made.SerializeToString(), device="cpu")


def test_a_card_of_eight_bits_is_written_as_before(model_file):
    card = Hasher(model_file, device="cpu").card
    written = json.loads(card.to_metadata()["dcsh:card"])
    assert not {"dtype", "low", "high", "nodata", "band_names"} & written.keys()
    assert card.to_metadata()["dcsh:format"] == "1"
    assert dataclasses.asdict(card)["dtype"] == "uint8"


def test_an_onnx_encoder_gets_typed_values_as_its_card_says(tmp_path):
    card = {"mean": [0.1, 0.11, 0.12], "std": [0.04, 0.05, 0.06], "rescale": 1e-4}
    path = onnx_encoders.written(
        tmp_path, onnx_encoders.model(onnx_encoders.means_nodes()), card=card
    )
    images = resize(made_images("uint16", n=40, bands=3), 16)
    images[:, :, :, 1] += 1
    function = train(
        TrainingSet(images, scenes=1), Run(bits=16, folder=tmp_path / "run"),
        method="itq", encoder=f"onnx:{path}",
    )  # fmt: skip
    pixels = function.encoder.pixels
    inside = (images >= pixels.low) & (images <= pixels.high) & are_valid(images)[..., None]
    expected = (images * card["rescale"] - card["mean"]) / card["std"]
    found = function.preprocess()(as_tensor(images)).permute(0, 2, 3, 1).numpy()
    assert inside.mean() > 0.5
    np.testing.assert_allclose(found[inside], expected[inside], atol=1e-3)
