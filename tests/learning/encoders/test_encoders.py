import hashlib

import pytest
import torch
from torch.nn import functional

from dcsh_pg.errors import UsageError
from dcsh_pg.learning.encoders import Encoder, find
from dcsh_pg.plugins import ENCODERS

POOLED = ["resnet18", "resnet50", "resnet50-layer3", "resnet50-v1-layer3", "densenet169"]


@pytest.mark.parametrize("name", [name for name in ENCODERS.names() if name != "vector"])
def test_encoder_gives_features_of_its_length(name):
    if name.startswith("dinov2"):
        pytest.importorskip("timm")
    encoder = Encoder(name).eval()
    images = torch.randn(1, 3, encoder.input_size, encoder.input_size)
    with torch.no_grad():
        assert encoder(images).shape == (1, encoder.dim)


@pytest.mark.parametrize("name", ["small", "resnet18", "densenet169", "vgg16-fc6"])
@pytest.mark.parametrize("bands", [1, 4])
def test_other_band_counts(name, bands):
    encoder = Encoder(name, bands=bands).eval()
    assert len(encoder.mean) == len(encoder.std) == bands
    with torch.no_grad():
        assert encoder(torch.randn(1, bands, 64, 64)).shape == (1, encoder.dim)


def test_unknown_encoder_is_refused_with_the_names():
    with pytest.raises(UsageError, match="alexnet") as raised:
        Encoder("alexnet")
    assert all(name in raised.value.hint for name in ENCODERS.names())


def test_maps_are_refused_where_there_are_none():
    with pytest.raises(UsageError, match="gist"):
        Encoder("gist").maps(torch.zeros(1, 3, 256, 256))


@pytest.mark.parametrize("name", ENCODERS.names())
def test_what_is_known_beforehand_fits_together(name):
    architecture = find(name)
    published = architecture.imagenet or architecture.timm
    assert architecture.learned or not published
    assert architecture.default_weights == "none" or published or name == "resnet50-v1-layer3"


@pytest.mark.parametrize("name", POOLED)
def test_pooled_maps_are_the_features(name):
    encoder, images = Encoder(name).eval(), torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        maps = encoder.maps(images)
        assert maps.shape[:2] == (2, encoder.dim)
        assert torch.allclose(maps.mean(dim=(2, 3)), encoder(images), atol=1e-5)


def test_maps_of_small_are_those_of_its_last_scale():
    encoder, images = Encoder("small").eval(), torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        maps = encoder.maps(images)
        assert maps.shape == (2, 128, 8, 8)
        assert torch.allclose(maps.mean(dim=(2, 3)), encoder(images)[:, -128:], atol=1e-6)


def test_fc6_and_fc7_follow_pool5_without_dropout():
    encoder, images = Encoder("vgg16-fc7"), torch.randn(1, 3, 224, 224)
    first, second = encoder.body.classifier[0], encoder.body.classifier[3]
    fc6 = Encoder("vgg16-fc6")
    fc6.load_state_dict({k: v for k, v in encoder.state_dict().items() if "classifier.3" not in k})
    with torch.no_grad():
        maps = encoder.maps(images)
        assert maps.shape == (1, 512, 7, 7)
        hidden = functional.relu(first(maps.flatten(1)))
        assert torch.equal(fc6(images), hidden)
        assert torch.equal(encoder(images), functional.relu(second(hidden)))


LAYOUTS = {
    "small": "1712796813cd98a0",
    "resnet18": "3e6661ebc6f3a811",
    "resnet50": "216bde627cf5b68a",
    "resnet50-layer3": "f0b2539d7a8c54e8",
    "resnet50-v1-layer3": "c47336d839930930",
    "densenet169": "266ad768561e083a",
}
"""Digest of configuration and layout of the weights: files and caches made before hang on them."""


@pytest.mark.parametrize("name", LAYOUTS)
def test_layout_of_the_weights_stays(name):
    encoder = Encoder(name)
    state = [(key, tuple(value.shape)) for key, value in encoder.state_dict().items()]
    reported = repr((sorted(encoder.config.items()), state))
    assert hashlib.sha256(reported.encode()).hexdigest()[:16] == LAYOUTS[name]
