import numpy as np
import pytest
import torch

from dcsh_pg.errors import OutputError
from dcsh_pg.learning.encoders import Encoder
from dcsh_pg.learning.features import View, encoder_digest, extract, fixed_views


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return Encoder("small").eval()


def images(count=6, size=24):
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)


class Counting(torch.nn.Module):
    """Counts the images that reach the encoder's network."""

    def __init__(self, body):
        super().__init__()
        self.body, self.images = body, 0

    def forward(self, images):
        self.images += len(images)
        return self.body(images)


def test_cache_serves_other_selections_views_and_runs(encoder, tmp_path):
    encoder.body = Counting(encoder.body)
    wanted = extract(images(), encoder, views=fixed_views([0, 5]))
    assert encoder.body.images == 12
    extract(images()[:4], encoder, views=[View(5)], cache=tmp_path)
    assert encoder.body.images == 16
    got = extract(images(), encoder, views=fixed_views([0, 5]), cache=tmp_path)
    assert encoder.body.images == 24
    assert np.allclose(got, wanted, atol=1e-5)
    assert np.array_equal(
        got, extract(images(), encoder, views=fixed_views([0, 5]), cache=tmp_path)
    )
    assert encoder.body.images == 24


def test_other_weights_are_another_encoder(encoder):
    before = encoder_digest(encoder)
    assert before == encoder_digest(encoder)
    with torch.no_grad():
        encoder.body.stages[0][0].weight[0, 0, 0, 0] += 1
    assert encoder_digest(encoder) != before


def test_views_crop_the_centre_and_turn():
    batch = torch.from_numpy(images(1, 8))
    assert View(0, 0.5).of(batch).equal(batch[:, 2:6, 2:6])
    assert View(1).of(batch).equal(batch.rot90(1, (1, 2)))


def test_unwritable_cache_is_told(encoder, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot keep features"):
        extract(images(), encoder, cache=tmp_path / "file" / "cache")
