"""Headers that claim more than their files hold are refused by name, and honest sparse ones are not."""

import struct
import tracemalloc

import numpy as np
import pytest
import rasterio
from rasterio.windows import Window

from dcsh_pg.errors import InputError
from dcsh_pg.imagery import SceneOptions
from dcsh_pg.imagery.reading import Reading
from dcsh_pg.imagery.sources.files import find_scenes


def header(path, width, height, more=()):
    """Writes a TIFF of one byte band that is nothing but its header."""
    tags = {
        256: (4, width), 257: (4, height), 258: (3, 8), 259: (3, 8), 262: (3, 1), 277: (3, 1),
        284: (3, 1), **dict(more),
    }  # fmt: skip
    entries = b"".join(
        struct.pack("<HHII", tag, *(tags[tag][0], 1), tags[tag][1]) for tag in sorted(tags)
    )
    path.write_bytes(b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4))
    return path


def tiles(side):
    return {322: (4, side), 323: (4, side), 324: (4, 0), 325: (4, 0)}


@pytest.mark.parametrize(
    ("size", "tags", "message"),
    [
        (10**6, tiles(512), "claims 1,000,000 x 1,000,000 pixels in 1"),
        (10**6, {278: (4, 10**6), 273: (4, 8), 279: (4, 100)}, "claims 1,000,000 x 1,000,000"),
        (10**6, tiles(10**6), r"blocks of 1,000,000 x 1,000,000 pixels, 953,675 MiB"),
        (30_000, tiles(29_952), "blocks of 29,952"),
    ],
)
def test_absurd_headers_are_refused_by_name(tmp_path, size, tags, message):
    path = header(tmp_path / "huge.tif", size, size, tags)
    reading = Reading(chip_size=128, bands=(1, 1, 1), scale="auto")
    for source in (path, tmp_path):  # named, and found
        (scene,) = find_scenes(
            [str(source)], reading=reading, bands=3, options=SceneOptions(georeference=False)
        )
        tracemalloc.start()
        with pytest.raises(InputError, match=f"huge.tif.* {message}"):
            scene.describe()
        assert tracemalloc.get_traced_memory()[1] < 5e6
        tracemalloc.stop()


def test_padding_a_file_does_not_bypass_the_limits(tmp_path):
    path = header(tmp_path / "huge.tif", 10**6, 10**6, tiles(512))
    with path.open("ab") as file:
        file.truncate(10**7 + 1)
    (scene,) = find_scenes(
        [str(path)],
        reading=Reading(chip_size=128, bands=(1, 1, 1)),
        bands=3,
        options=SceneOptions(georeference=False),
    )
    with pytest.raises(InputError, match="would give 61,042,969 chips"):
        scene.describe()


def test_sparse_and_well_compressed_rasters_are_accepted(tmp_path):
    """Ten thousand million pixels, one tile of them with data; and a constant one."""
    profile = {
        "driver": "GTiff", "count": 3, "dtype": "uint8", "crs": "EPSG:32632", "tiled": True,
        "blockxsize": 512, "blockysize": 512, "transform": rasterio.Affine(1, 0, 5e5, 0, -1, 5.3e6),
    }  # fmt: skip
    side = 100_000
    with rasterio.open(
        tmp_path / "a.tif", "w", width=side, height=side, sparse_ok=True, nodata=0,
        compress="deflate", BIGTIFF="YES", **profile,
    ) as target:  # fmt: skip
        target.write(np.full((3, 512, 512), 7, np.uint8), window=Window(512, 512, 512, 512))
    with rasterio.open(
        tmp_path / "b.tif", "w", width=12_288, height=12_288, compress="zstd", **profile
    ) as target:
        target.write(np.full((3, 12_288, 12_288), 7, np.uint8))
    assert (tmp_path / "a.tif").stat().st_size < 2e6
    first, second = find_scenes([str(tmp_path)], reading=Reading(chip_size=512), bands=3)
    record = first.describe()
    assert len(record.windows) == 196**2
    chips = first.read(record.windows[[0, 197, 198]])
    assert chips.valid_fraction.tolist() == [0, 1, 0]
    assert len(second.describe().windows) == 24**2
