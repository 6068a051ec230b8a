from contextlib import closing

import numpy as np
import pytest
import torch

from dcsh_pg.errors import OutputError
from dcsh_pg.learning.data.feature_cache import FeatureCache
from dcsh_pg.learning.data.features import View, encoder_digest, extract, fixed_views
from dcsh_pg.learning.encoders import Encoder


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


def test_unwritable_cache_is_reported(encoder, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot keep features"):
        extract(images(), encoder, cache=tmp_path / "file" / "cache")


# -- the cache -----------------------------------------------------------------------------------


def test_memory_serves_what_was_computed_or_read(encoder, tmp_path):
    encoder.body = Counting(encoder.body)
    with closing(FeatureCache(tmp_path)) as cache:
        wanted = extract(images(), encoder, cache=cache)
    for folder in (None, tmp_path):
        with closing(FeatureCache(folder, memory=True)) as cache:
            assert cache.keeps
            first = extract(images(), encoder, cache=cache)
            if folder is not None:
                (folder / "features.sqlite").unlink()  # from here on memory alone can know
            before = encoder.body.images
            again = extract(images()[::-1], encoder, cache=cache)[::-1]
            assert encoder.body.images == before
        assert np.allclose(first, wanted, atol=1e-5) and np.array_equal(first, again)
    assert encoder.body.images == 12  # once for the file, once for memory without a file


def test_a_cache_without_folder_and_memory_keeps_nothing(encoder):
    encoder.body = Counting(encoder.body)
    cache = FeatureCache(None)
    assert not cache.keeps
    for _ in range(2):
        extract(images(), encoder, cache=cache)
    assert encoder.body.images == 12


def test_bfloat16_differs_little_and_is_kept_apart(encoder, tmp_path):
    before = encoder_digest(encoder)
    with (
        closing(FeatureCache(tmp_path)) as exact,
        closing(FeatureCache(tmp_path, precision="bfloat16")) as rough,
    ):
        full = extract(images(), encoder, cache=exact)[:, 0]
        half = extract(images(), encoder, cache=rough)[:, 0]
        assert half.dtype == np.float32
        difference = np.linalg.norm(half - full, axis=1) / np.linalg.norm(full, axis=1)
        assert 0 < difference.max() < 0.03
        assert np.array_equal(extract(images(), encoder, cache=exact)[:, 0], full)
        assert np.array_equal(extract(images(), encoder, cache=rough)[:, 0], half)
    assert encoder_digest(encoder) == before  # the encoder itself stays as it was


@pytest.mark.parametrize("memory", [False, True])
def test_rows_of_another_view_image_or_encoder_are_not_found(tmp_path, memory):
    with closing(FeatureCache(tmp_path, memory=memory)) as cache:
        keys = [
            cache.key(encoder, view, image)
            for encoder in ("a", "b")
            for view in (View(), View(1), View(0, 0.5))
            for image in (b"i", b"j")
        ]
        assert len(set(keys)) == len(keys)
        rows = np.arange(24, dtype=np.float32).reshape(12, 2)
        cache.put(keys[:5], rows[:5])
        found = cache.get(keys)
    assert found.keys() == set(keys[:5])
    assert np.array_equal(np.stack([found[key] for key in keys[:5]]), rows[:5])
