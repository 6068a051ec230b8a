import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dcsh_pg.errors import InputError, ModelError, UsageError
from dcsh_pg.learning.encoders import Encoder, load_weights
from dcsh_pg.learning.model.preprocess import Preprocess


def test_half_precision_file_with_classifier_is_read(tmp_path):
    source = Encoder("resnet18")
    state = {key: value.half() for key, value in source.body.state_dict().items()}
    torch.save({**state, "fc.weight": torch.ones(1000, 512)}, tmp_path / "w.pth")
    encoder = Encoder("resnet18")
    load_weights(encoder, str(tmp_path / "w.pth"))
    assert encoder.weights == "w.pth"
    assert encoder.body.conv1.weight.dtype == torch.float32
    assert torch.allclose(encoder.body.conv1.weight, source.body.conv1.weight, atol=1e-3)


def test_vgg16_file_may_hold_the_layers_that_are_cut(tmp_path):
    source = Encoder("vgg16-fc6")
    state = {key: value.half() for key, value in source.body.state_dict().items()}
    cut = {f"classifier.{layer}.bias": torch.ones(2) for layer in (3, 6)}
    torch.save({**state, **cut}, tmp_path / "w.pth")
    encoder = Encoder("vgg16-fc6")
    load_weights(encoder, str(tmp_path / "w.pth"))
    assert torch.equal(encoder.body.classifier[0].bias, state["classifier.0.bias"].float())


def test_weights_are_repeated_over_more_bands(tmp_path):
    torch.save(Encoder("resnet18").body.state_dict(), tmp_path / "w.pth")
    three, six = Encoder("resnet18").eval(), Encoder("resnet18", bands=6).eval()
    for encoder in (three, six):
        load_weights(encoder, str(tmp_path / "w.pth"))
    images = torch.randn(1, 3, 64, 64)
    twice = torch.cat([images, images], dim=1)
    assert torch.allclose(three(images), six(twice), atol=1e-4)


def test_missing_weights_are_listed(tmp_path):
    state = Encoder("resnet18").body.state_dict()
    del state["layer4.1.conv2.weight"]
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(ModelError, match=r"layer4\.1\.conv2\.weight"):
        load_weights(Encoder("resnet18"), str(tmp_path / "w.pth"))


def test_weights_of_another_network_are_refused(tmp_path):
    torch.save(Encoder("resnet18").body.state_dict(), tmp_path / "w.pth")
    with pytest.raises(ModelError, match="resnet50"):
        load_weights(Encoder("resnet50"), str(tmp_path / "w.pth"))


def test_what_is_no_weights_file_is_refused(tmp_path):
    (tmp_path / "w.pth").write_text("hello")
    torch.save([1, 2], tmp_path / "list.pth")
    for name in ("absent.pth", "w.pth", "list.pth"):
        with pytest.raises(InputError, match=name):
            load_weights(Encoder("resnet18"), str(tmp_path / name))
    for word in ("imagenet", "pretrained"):
        with pytest.raises(UsageError, match="small"):
            load_weights(Encoder("small"), word)


@pytest.mark.skipif("DCSH_TEST_DATA" not in os.environ, reason="DCSH_TEST_DATA is not set")
@pytest.mark.parametrize(
    "name, file",
    [
        ("densenet169", "densenet169_imagenet_features_fp16.pth"),
        ("resnet50-v1-layer3", "resnet50_imagenet_conv1_to_layer3_stride1x1_fp16.pth"),
    ],
)
def test_real_weights_tell_kinds_of_images_apart(name, file):
    data = Path(os.environ["DCSH_TEST_DATA"])
    encoder = Encoder(name).eval()
    load_weights(encoder, str(data / "weights" / file))
    preprocess = Preprocess(encoder.input_size, encoder.mean, encoder.std)
    kinds = ("agricultural", "forest", "parkinglot")
    batch = np.stack(
        [
            np.asarray(
                Image.open(data / "ucmd" / kind / f"{kind}{number:02}.jpg").crop([0, 0, 240, 240])
            )
            for kind in kinds
            for number in (0, 5, 10)
        ]
    )
    with torch.no_grad():
        features = encoder(preprocess(torch.from_numpy(batch)))
    centred = torch.nn.functional.normalize(features - features.mean(dim=0), dim=1)
    nearest = (centred @ centred.T).fill_diagonal_(-1).argmax(dim=1)
    assert (nearest // 3 == torch.arange(9) // 3).all()
