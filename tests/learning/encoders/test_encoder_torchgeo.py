"""Weights of torchgeo, in the layout in which they are published: files with random numbers."""

import pytest
import torch

from dcsh_pg.errors import ModelError, UsageError
from dcsh_pg.learning.encoders import Encoder, find, load_weights
from dcsh_pg.learning.model.preprocess import Preprocess

models = pytest.importorskip("torchgeo.models")

SENTINEL2 = "torchgeo:ResNet18_Weights.SENTINEL2_ALL_MOCO"


def published(name, **changed):
    """A state dict as torchgeo publishes it: timm's names, without the classifier."""
    meta = models.get_weight(name.removeprefix("torchgeo:")).meta
    torch.manual_seed(1)
    network = models.get_model(meta["model"], in_chans=meta["in_chans"])
    state = {k: v for k, v in network.state_dict().items() if not k.startswith(("fc.", "head."))}
    return {key: torch.randn_like(v) if v.is_floating_point() else v for key, v in state.items()}


@pytest.mark.parametrize(
    ("name", "dim"),
    [
        (SENTINEL2, 512),
        ("torchgeo:ResNet50_Weights.SENTINEL2_ALL_DINO", 2048),
        ("torchgeo:ViTSmall16_Weights.SENTINEL2_ALL_MOCO", 384),
    ],
)
def test_published_files_of_13_bands_fit(tmp_path, name, dim):
    state = published(name)
    if "ViT" in name:  # torchgeo's files of ViTs have no last norm
        state = {key: v for key, v in state.items() if not key.startswith("norm.")}
    torch.save(state, tmp_path / "w.pth")
    encoder = Encoder(name, bands=13)
    load_weights(encoder, str(tmp_path / "w.pth"))
    assert (encoder.dim, encoder.input_size, encoder.weights) == (dim, 224, "w.pth")
    loaded = encoder.body.state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in state.items())
    assert encoder(torch.zeros(2, 13, 224, 224)).shape == (2, dim)


@pytest.mark.parametrize(
    ("wrapper", "prefix"),
    [("state_dict", "module.encoder_q."), ("teacher", "module.backbone."), (None, "backbone.")],
)
def test_files_of_the_trainings_themselves_fit(tmp_path, wrapper, prefix):
    """MoCo keeps a second encoder and its queue beside, DINO a projection head."""
    state = published(SENTINEL2)
    named = {prefix + key: value for key, value in state.items()}
    named |= {prefix + "fc.0.weight": torch.zeros(3, 3)}
    if prefix.startswith("module."):
        named |= {"module.encoder_k.conv1.weight": torch.zeros(1), "module.queue": torch.zeros(1)}
    torch.save({wrapper: named, "epoch": 99} if wrapper else named, tmp_path / "w.pth")
    encoder = Encoder(SENTINEL2, bands=13)
    load_weights(encoder, str(tmp_path / "w.pth"))
    assert torch.equal(encoder.body.state_dict()["conv1.weight"], state["conv1.weight"])


def test_images_are_normalised_as_in_its_training():
    """Sentinel-2 by 10,000: images of 8 bits that --scale 0,10000 makes, and stored values alike."""
    architecture = find(SENTINEL2)
    assert architecture.standardisation(13) == ((0.0,) * 13, (1.0,) * 13)
    assert architecture.stored == ((0.0,) * 13, (10_000.0,) * 13)
    half = torch.full((1, 8, 8, 13), 128, dtype=torch.uint8)
    prepared = Preprocess.of(Encoder(SENTINEL2, bands=13))(half)
    assert torch.allclose(prepared, torch.tensor(128 / 255))
    landsat = find("torchgeo:ResNet18_Weights.LANDSAT_OLI_SR_MOCO")
    assert landsat.standardisation(7) == ((0.0,) * 7, (1.0,) * 7)
    assert landsat.stored == ((0.0,) * 7, (255.0,) * 7)


def test_what_does_not_fit_is_reported(tmp_path):
    with pytest.raises(UsageError, match=r"has no weights 'ResNet18_Weights\.NONE'"):
        find("torchgeo:ResNet18_Weights.NONE")
    with pytest.raises(UsageError, match="not a ResNet or ViT") as refused:
        find("torchgeo:DOFABase16_Weights.DOFA_MAE")
    assert "onnx:FILE" in refused.value.hint
    with pytest.raises(UsageError, match="13 bands, these have 3") as refused:
        Encoder(SENTINEL2)
    assert "--bands: B1, B2, B3" in refused.value.hint
    torch.save(published("torchgeo:ResNet50_Weights.SENTINEL2_ALL_DINO"), tmp_path / "50.pth")
    with pytest.raises(ModelError, match="does not fit"):
        load_weights(Encoder(SENTINEL2, bands=13), str(tmp_path / "50.pth"))


def test_a_missing_package_is_named(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "torchgeo", None)
    with pytest.raises(UsageError, match="torchgeo is not installed") as refused:
        find(SENTINEL2)
    assert "dcsh-pg[torchgeo]" in refused.value.hint
