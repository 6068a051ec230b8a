import os

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from rasterio.transform import from_origin

from dcsh_pg.errors import InputError, TrainingError
from dcsh_pg.imagery.reading import Reading
from dcsh_pg.imagery.sources.files import find_scenes
from dcsh_pg.learning.data import training_set
from dcsh_pg.learning.data.training_set import band_statistics, digest, gather, resize
from dcsh_pg.progress import Progress


class Noting(Progress):
    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


def stripes(path, count, *, first=0, size=8, metres=1.0):
    """A GeoTIFF whose chips are filled with their own number; every third is transparent."""
    pixels = np.zeros((4, size, size * count), np.uint8)
    for number in range(count):
        pixels[:3, :, number * size : (number + 1) * size] = first + number
        pixels[3, :, number * size : (number + 1) * size] = 0 if number % 3 == 2 else 255
    place = from_origin(700_000, 4_400_000, metres, metres)
    with rasterio.open(
        path, "w", "GTiff", size * count, size, 4, "EPSG:32630", place, "uint8", alpha="YES"
    ) as file:
        file.write(pixels)
    return path


def scenes(*paths, size=8):
    return find_scenes([str(path) for path in paths], reading=Reading(chip_size=size), bands=3)


def values(training_set):
    return training_set.images[:, 0, 0, 0].tolist()


def test_chips_of_all_scenes_in_order_without_invalid_ones(tmp_path):
    first = stripes(tmp_path / "a.tif", 4, metres=0.5)
    second = stripes(tmp_path / "b.tif", 3, first=100, metres=1.5)
    got = gather(scenes(first, second), size=8)
    assert values(got) == [0, 1, 3, 100, 101]
    assert (got.scenes, got.skipped) == (2, 2)
    assert got.resolution == pytest.approx(1.0, rel=0.01)


def test_unreadable_scenes_are_reported_and_the_rest_goes_on(tmp_path):
    bad = tmp_path / "bad.tif"
    bad.write_text("hello")
    got = gather(scenes(bad, stripes(tmp_path / "good.tif", 3)), size=8)
    assert values(got) == [0, 1]
    assert len(got.failed) == 1 and "bad.tif" in got.failed[0]
    cut = stripes(tmp_path / "cut.tif", 3)
    os.truncate(cut, cut.stat().st_size // 2)
    got = gather(scenes(cut, tmp_path / "good.tif"), size=8)
    assert (values(got), got.scenes, len(got.failed)) == ([0, 1], 1, 1)
    with pytest.raises(InputError, match="bad"):
        gather(scenes(bad), size=8)


def test_limit_draws_by_seed_over_all_scenes(tmp_path):
    paths = stripes(tmp_path / "a.tif", 50), stripes(tmp_path / "b.tif", 50, first=100)
    first, again, other = (
        values(gather(scenes(*paths), size=8, limit=30, seed=seed)) for seed in (0, 0, 1)
    )
    assert first == again != other
    assert first == sorted(first) and min(first) < 50 and max(first) >= 100


@given(
    counts=st.lists(st.integers(0, 60), min_size=1, max_size=12),
    limit=st.integers(2, 200),
    seed=st.integers(0, 3),
)
def test_a_limit_is_spread_evenly_over_scenes(counts, limit, seed):
    drawn = training_set._draw_chips(counts, limit, seed)
    quotas = [len(part) for part in drawn]
    assert sum(quotas) == min(limit, sum(counts))
    cut = [quota for quota, count in zip(quotas, counts, strict=True) if quota < count]
    assert not cut or max(quotas) <= min(cut) + 1  # no scene gives more than one that has more
    for part, count in zip(drawn, counts, strict=True):
        assert part.tolist() == sorted(set(part.tolist()) & set(range(count)))


def test_a_small_scene_keeps_its_share_and_the_draw_is_reported(tmp_path):
    paths = stripes(tmp_path / "large.tif", 90), stripes(tmp_path / "small.tif", 6, first=100)
    noted = Noting()
    got = values(gather(scenes(*paths), size=8, limit=12, progress=noted))
    assert [value for value in got if value >= 100] == [100, 101, 103, 104]
    assert noted.notes[-1] == (
        "learning from 12 of 96 chips, drawn evenly over 2 of 2 scenes; take all with --limit all"
    )


def test_of_many_scenes_only_some_are_opened(tmp_path):
    paths = [stripes(tmp_path / f"{number}.tif", 1, first=number) for number in range(12)]
    found = scenes(*paths)
    opened = []
    for scene in found:
        scene.describe = lambda scene=scene, describe=scene.describe: (
            opened.append(scene) or describe()
        )
    first, again = (values(gather(found, size=8, limit=3, seed=1)) for _ in range(2))
    assert first == again and len(first) == 3
    assert len(opened) == 2 * 6


def test_chips_are_brought_to_one_size_and_may_lie_in_a_file(tmp_path, monkeypatch):
    both = [
        *scenes(stripes(tmp_path / "a.tif", 3)),
        *scenes(stripes(tmp_path / "b.tif", 3, size=20), size=20),
    ]
    in_memory = gather(both, size=16, scratch=tmp_path)
    monkeypatch.setattr(training_set, "MEMORY_LIMIT", 0)
    in_file = gather(both, size=16, scratch=tmp_path)
    assert in_memory.images.shape == (4, 16, 16, 3)
    assert isinstance(in_file.images, np.memmap)
    assert digest(in_memory.images) == digest(in_file.images)


def test_nothing_valid_is_an_error(tmp_path):
    empty = np.zeros((4, 8, 8), np.uint8)
    path = stripes(tmp_path / "a.tif", 1)
    with rasterio.open(path, "r+") as file:
        file.write(empty)
    with pytest.raises(TrainingError, match="valid pixels"):
        gather(scenes(path), size=8)


def test_band_statistics():
    pixels = np.zeros((10, 4, 4, 2), np.uint8)
    pixels[5:, ..., 1] = 255
    assert band_statistics(pixels) == ((0.0, 0.5), (round(1 / 255, 4), 0.5))


def test_resize_keeps_flat_images():
    assert (resize(np.full((1, 30, 20, 4), 77, np.uint8), 16) == 77).all()
