"""Bounds on what threads take while they read."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.transform import from_origin

from dcsh_pg.imagery import Reading, find_scenes
from dcsh_pg.imagery.pixels import gdal, picture
from dcsh_pg.imagery.pixels.memory import Gate, OneAtATime, Recent


def test_a_gate_limits_concurrent_bytes_and_admits_a_larger_request_alone():
    gate, lock, taken, most = Gate(10), threading.Lock(), [], []

    def work(size):
        with gate.take(size):
            with lock:
                taken.append(size)
                most.append(list(taken))
            with lock:
                taken.remove(size)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, [3, 4, 50, 1, 9, 10, 2] * 40))
    assert all(sum(each) <= 10 or len(each) == 1 for each in most)
    assert [50] in most and not taken


def test_the_most_recently_used_are_kept_within_a_bound():
    recent = Recent(10)
    for key, size in (("a", 4), ("b", 4), ("c", 4)):
        recent.put(key, key.upper(), size)
    assert [recent.get(key) for key in "abc"] == [None, "B", "C"]
    recent.get("b")
    recent.put("d", "D", 100)
    assert [recent.get(key) for key in "bcd"] == [None, None, "D"]
    recent.forget("d")
    assert recent.get("d") is None


def test_one_at_a_time_closes_the_resource_of_another_owner():
    class Thing:
        closed = False

        def close(self):
            self.closed = True

    heavy, first, second = OneAtATime(), object(), object()
    with heavy.use(first, Thing) as one, heavy.use(first, Thing) as same:
        assert one is same
    with heavy.use(second, Thing) as other:
        assert (one.closed, other.closed) == (True, False)
    heavy.close(first)
    assert not other.closed
    heavy.close(second)
    assert other.closed


@pytest.mark.parametrize("kind", ["tif", "png"])
def test_pixels_do_not_depend_on_memory_limits(tmp_path, monkeypatch, kind):
    """Rasters of one strip by one handle, pictures decoded again, many threads."""
    random = np.random.default_rng(0)
    for n in range(4):
        pixels = random.integers(0, 255, (90, 70, 3), np.uint8)
        if kind == "png":
            Image.fromarray(pixels).save(tmp_path / f"{n}.png")
            continue
        options = {"driver": "GTiff", "width": 70, "height": 90, "count": 3, "dtype": "uint8"}
        options |= {"blockysize": 90, "compress": "deflate", "interleave": "pixel"}
        with rasterio.open(
            tmp_path / f"{n}.tif", "w", crs="EPSG:32630", transform=from_origin(7e5, 4e6, 1, 1),
            **options,
        ) as out:  # fmt: skip
            out.write(np.moveaxis(pixels, -1, 0))

    def read_all():
        scenes = find_scenes([str(tmp_path)], reading=Reading(chip_size=32), bands=3)
        tasks = [(scene, window) for scene in scenes for window in scene.describe().windows]
        with ThreadPoolExecutor(4) as pool:
            chips = list(pool.map(lambda task: task[0].read(task[1]).pixels, tasks))
        for scene in scenes:
            scene.close()
        return np.concatenate(chips)

    wide = read_all()
    monkeypatch.setattr(gdal, "HEAVY_BLOCK", 1000)
    monkeypatch.setattr(gdal, "HELD_PER_THREAD", 1)
    monkeypatch.setattr(picture, "_decoding", Gate(1))
    monkeypatch.setattr(picture, "_decoded", Recent(1))
    assert np.array_equal(read_all(), wide)
