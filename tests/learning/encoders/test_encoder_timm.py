import sys

import numpy as np
import pytest
import torch

from dcsh_pg.errors import ModelError, UsageError
from dcsh_pg.learning.data.feature_cache import FeatureCache
from dcsh_pg.learning.data.features import extract
from dcsh_pg.learning.encoders import Encoder, find, load_weights

timm = pytest.importorskip("timm")


@pytest.fixture(scope="module")
def dinov2():
    return Encoder("dinov2_vits14").eval()


def test_dinov2_gives_the_class_token_behind_the_norm(dinov2):
    images = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        tokens = dinov2.body.forward_features(images)
        assert tokens.shape == (1, 1 + 16 * 16, 384)
        assert torch.equal(dinov2(images), tokens[:, 0])


def test_file_as_its_authors_publish_it(tmp_path, dinov2):
    """Position embedding for 518 px, 37 x 37 patches, and a mask token that only training needs."""
    state = dinov2.body.state_dict()
    across = torch.linspace(-1, 1, 37).expand(37, 37).reshape(1, -1, 1).expand(-1, -1, 384)
    state["pos_embed"] = torch.cat([torch.full((1, 1, 384), 7.0), across], dim=1)
    state["mask_token"] = torch.zeros(1, 384)
    torch.save(state, tmp_path / "dinov2_vits14_pretrain.pth")
    encoder = Encoder("dinov2_vits14")
    load_weights(encoder, str(tmp_path / "dinov2_vits14_pretrain.pth"))
    assert encoder.weights == "dinov2_vits14_pretrain.pth"
    position = encoder.body.pos_embed[0].detach()
    assert torch.equal(position[0], torch.full((384,), 7.0))
    grid = position[1:].reshape(16, 16, 384)
    assert torch.allclose(grid, grid[:1].expand(16, -1, -1), atol=1e-5)
    assert (grid[0].diff(dim=0) > 0).all()


def test_file_as_timm_names_it(tmp_path, dinov2):
    safetensors = pytest.importorskip("safetensors.torch")
    safetensors.save_file(dinov2.body.state_dict(), tmp_path / "model.safetensors")
    encoder, images = Encoder("dinov2_vits14").eval(), torch.randn(1, 3, 224, 224)
    load_weights(encoder, str(tmp_path / "model.safetensors"))
    with torch.no_grad():
        assert torch.equal(encoder(images), dinov2(images))


def test_other_band_counts(tmp_path, dinov2):
    torch.save(dinov2.body.state_dict(), tmp_path / "w.pth")
    three, six = (Encoder("dinov2_vits14", bands=bands).eval() for bands in (3, 6))
    images = torch.randn(1, 3, 224, 224)
    for encoder in (three, six):
        load_weights(encoder, str(tmp_path / "w.pth"))
    with torch.no_grad():
        assert torch.allclose(three(images), six(torch.cat([images, images], dim=1)), atol=1e-4)


def test_any_model_of_timm_by_name(tmp_path):
    encoder = Encoder("timm:resnet18.a1_in1k").eval()
    assert (encoder.dim, encoder.input_size) == (512, 224)
    again = Encoder(**encoder.config).eval()
    state = {**encoder.body.state_dict(), "fc.weight": torch.zeros(1000, 512)}
    torch.save(state, tmp_path / "w.pth")
    load_weights(again, str(tmp_path / "w.pth"))
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(encoder(images), again(images))
        pooled = encoder.body.forward_features(images)
        assert torch.equal(
            encoder(images), encoder.body.forward_head(pooled, pre_logits=True).flatten(1)
        )


def test_mean_and_std_are_those_of_the_model():
    assert find("timm:vit_base_patch16_clip_224.openai").mean[0] == pytest.approx(0.4815, abs=1e-4)


@pytest.mark.parametrize("name", ["nothing", "resnet18.nothing", "hf-hub:some/model", ""])
def test_models_that_timm_lacks_are_refused(name):
    with pytest.raises(UsageError, match=r"timm .* has no model"):
        Encoder(f"timm:{name}")


def test_weights_of_another_size_are_refused(tmp_path, dinov2):
    torch.save(dinov2.body.state_dict(), tmp_path / "w.pth")
    with pytest.raises(ModelError, match="dinov2_vitb14"):
        load_weights(Encoder("dinov2_vitb14"), str(tmp_path / "w.pth"))


def test_imagenet_is_the_wrong_word_for_them(dinov2):
    with pytest.raises(UsageError, match="dinov2_vits14") as raised:
        load_weights(dinov2, "imagenet")
    assert "--weights pretrained" in raised.value.hint


def test_missing_timm_is_reported_with_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    for name in ("dinov2_vits14", "timm:resnet18"):
        with pytest.raises(UsageError, match="timm is not installed") as raised:
            Encoder(name)
        assert "dcsh-pg[encoders]" in raised.value.hint


def test_features_in_bfloat16(dinov2):
    """A transformer has parameters outside of its layers: tokens and positions."""
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    exact = extract(images, dinov2)[:, 0]
    rough = extract(images, dinov2, cache=FeatureCache(None, precision="bfloat16"))[:, 0]
    difference = np.linalg.norm(rough - exact, axis=1) / np.linalg.norm(exact, axis=1)
    assert 0 < difference.max() < 0.05
