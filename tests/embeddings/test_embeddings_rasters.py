"""Rasters, arrays and Zarr stores of embeddings -> vectors and footprints, compared with plain numpy and rasterio."""

import numpy as np
import pytest
import rasterio
import shapely
from pyproj import Transformer
from rasterio.windows import Window
from tiles import CRS, TRANSFORM, quantised, write_tessera, write_tif

from dcsh_pg import Archive, Hasher
from dcsh_pg.embeddings import Columns, Making, Using, find_embeddings
from dcsh_pg.errors import InputError
from dcsh_pg.imagery.metadata.options import SceneOptions
from dcsh_pg.imagery.reading import PoolingReading

POWER = Making("alphaearth", "signed-power")
SCALES = Making("tessera", "scales")
SHIFT = np.array([64, 64, 0, 0])
TO_LONLAT = Transformer.from_crs(CRS, 4326, always_xy=True)


def blocks(path, making, georeference=True, **reading):
    reading = PoolingReading(**{"chip_size": 8} | reading)
    using = Using(making, reading, Columns(), SceneOptions(georeference=georeference))
    [file] = find_embeddings([str(path)], using)
    file.describe()
    return list(file.vectors())


def together(found):
    return tuple(
        np.concatenate([np.asarray(getattr(block, name)) for block in found])
        for name in ("values", "windows", "footprints", "valid_fraction")
    )


def dequantise(q):
    v = q.astype(np.float64)
    return np.where(q == -128, np.nan, np.sign(v) * (v / 127.5) ** 2)


def brute_force(pixels, windows, statistics=("mean",)):
    """Statistics of the valid pixels of windows of pixels (D, H, W), NaN outside."""
    functions = {"mean": np.nanmean, "std": np.nanstd, "min": np.nanmin, "max": np.nanmax}
    padded = np.pad(pixels, ((0, 0), (64, 64), (64, 64)), constant_values=np.nan)
    found = []
    for left, top, width, height in windows + SHIFT:
        chip = padded[:, top : top + height, left : left + width]
        found.append(np.concatenate([functions[s](chip, axis=(1, 2)) for s in statistics]))
    return np.array(found)


def true_footprints(windows):
    """The corners of rasterio's windows, in longitude and latitude."""
    bounds = [rasterio.windows.bounds(Window(*window), TRANSFORM) for window in windows.tolist()]
    boxes = shapely.box(*np.array(bounds).T)
    return shapely.transform(boxes, lambda p: np.stack(TO_LONLAT.transform(*p.T), axis=1))


def same_places(rings, windows):
    polygons = shapely.normalize(shapely.polygons(rings))
    return shapely.equals_exact(polygons, shapely.normalize(true_footprints(windows)), 1e-9).all()


@pytest.mark.parametrize(
    "reading",
    [
        {"chip_size": 8},
        {"chip_size": 8, "edge": "pad"},
        {"chip_size": 12, "stride": 5, "edge": "drop"},
        {"chip_size": 1},
        {"chip_size": 8, "anchor": True, "edge": "pad", "min_valid": 0.2},
    ],
)
def test_chips_of_alphaearth_are_the_means_of_their_valid_pixels(reading, tmp_path):
    q = quantised(6, 45, 70)
    found = blocks(write_tif(tmp_path / "a.tif", q, nodata=-128), POWER, **reading)
    values, windows, rings, fraction = together(found)
    assert np.allclose(values, brute_force(dequantise(q), windows), atol=1e-6)
    assert same_places(rings, windows)
    inside = np.pad(q[0] != -128, 64)
    counts = [inside[t : t + h, left : left + w].sum() for left, t, w, h in windows + SHIFT]
    assert np.allclose(fraction, np.array(counts) / windows[:, 2] / windows[:, 3])
    assert fraction.min() >= reading.get("min_valid", 0.5)
    assert sum(block.skipped for block in found) > 0


def test_regions_of_a_large_raster_cover_each_chip_once(tmp_path, monkeypatch):
    monkeypatch.setattr("dcsh_pg.embeddings.pooling.REGION_BYTES", 4 * 6 * 20 * 20)
    q = quantised(6, 45, 70)
    path = write_tif(tmp_path / "a.tif", q, nodata=-128)
    found = blocks(path, POWER, min_valid=0)
    values, windows, _, _ = together(found)
    assert len(found) > 5
    chips = len(windows) + sum(block.skipped for block in found)
    assert chips == 9 * 6 and len(np.unique(windows, axis=0)) == len(windows)
    assert np.allclose(values, brute_force(dequantise(q), windows), atol=1e-6)


def test_statistics_follow_one_another(tmp_path):
    q = quantised(5, 32, 32)
    making = Making("alphaearth", "signed-power", ("min", "max", "mean", "std"))
    values, windows, _, _ = together(blocks(write_tif(tmp_path / "a.tif", q), making))
    assert np.allclose(values, brute_force(dequantise(q), windows, making.pool), atol=1e-6)


@pytest.mark.parametrize("layout", ["tif", "npy"])
def test_tessera_is_multiplied_by_the_scale_of_its_pixel(layout, tmp_path):
    q = np.where(quantised(16, 40, 40) == -128, 1, quantised(16, 40, 40)).astype(np.int8)
    scales = np.random.default_rng(1).uniform(0.01, 0.1, (40, 40)).astype(np.float32)
    scales[:20, :16] = np.nan  # water
    if layout == "tif":
        write_tif(tmp_path / "t_scales.tif", scales[None])
        path = write_tif(tmp_path / "t.tif", q)
    else:
        path = write_tessera(tmp_path / "tile", q, scales)
    values, windows, rings, _ = together(blocks(path.parent, SCALES))
    assert np.allclose(values, brute_force(q * scales.astype(np.float64), windows), atol=1e-6)
    assert same_places(rings, windows)


@pytest.mark.parametrize("bands_last", [True, False])
def test_zarr_of_the_geoemb_convention(bands_last, tmp_path):
    zarr = pytest.importorskip("zarr")
    q = quantised(6, 33, 40)
    group = zarr.open_group(tmp_path / "e.zarr", mode="w")
    group.attrs.update(
        {
            "geoemb:type": "pixel",
            "geoemb:dimensions": 6,
            "geoemb:quantization": {"method": "signed-power", "quantized_dtype": "int8"},
            "proj:code": CRS,
            "spatial:transform": list(TRANSFORM[:6]),
        }
    )
    data = np.moveaxis(q, 0, -1) if bands_last else q
    names = ("y", "x", "band") if bands_last else ("band", "y", "x")
    array = group.create_array(
        "embeddings", shape=data.shape, dtype="int8", chunks=(16,) * 3, dimension_names=names
    )
    array[:] = data
    values, windows, rings, _ = together(blocks(tmp_path / "e.zarr", POWER))
    assert np.allclose(values, brute_force(dequantise(q), windows), atol=1e-6)
    assert same_places(rings, windows)
    with pytest.raises(InputError, match="numbers of int8, quantised by"):
        blocks(tmp_path / "e.zarr", Making())


@pytest.mark.parametrize("table", ["csv", "parquet"])
def test_an_array_with_a_table_of_places(table, tmp_path, write_parquet):
    values = np.random.default_rng(2).standard_normal((40, 12)).astype(np.float32)
    np.save(tmp_path / "v.npy", values)
    boxes = shapely.box(np.arange(40), 10, np.arange(40) + 0.5, 10.5)
    if table == "csv":
        lines = [f'{n},"{box.wkt}",2020-05-{n % 9 + 1:02}' for n, box in enumerate(boxes)]
        (tmp_path / "v.csv").write_text("\n".join(["id,wkt,date", *lines]))
    else:
        write_parquet(tmp_path / "v.parquet", values, boxes)
    [block] = blocks(tmp_path, Making())
    assert np.array_equal(block.values, values)
    assert shapely.equals(
        [shapely.Polygon(footprint) for footprint in block.footprints], boxes
    ).all()
    if table == "csv":
        assert block.acquired[3] == np.datetime64("2020-05-04")
    np.save(tmp_path / "v.npy", values[:39])
    with pytest.raises(InputError, match="has 39 rows"):
        blocks(tmp_path, Making())


def test_an_ingested_tile_has_the_codes_of_its_pooled_vectors(make_model, database, tmp_path):
    q = quantised(24, 64, 64)
    path = write_tif(tmp_path / "2021_a.tif", q, nodata=-128, compress="deflate")
    values, windows, _, _ = together(blocks(path, POWER, min_valid=0.5))
    model = make_model(values, making=POWER, pooled=8)
    with Archive.create("tile", model, dsn=database) as archive:
        report = archive.ingest_embeddings([str(path)])
        assert (report.chips, report.skipped) == (len(values), 64 - len(values))
        frame = archive.to_geopandas()
        codes = Hasher(model).hash(values)
        assert [bytes.fromhex(code) for code in frame["code"]] == [bytes(code) for code in codes]
        assert (
            frame[["col_off", "row_off", "width", "height"]].to_numpy().tolist() == windows.tolist()
        )
        ground = shapely.normalize(frame.geometry.to_numpy())
        assert shapely.equals_exact(ground, shapely.normalize(true_footprints(windows)), 1e-9).all()
        assert archive.ingest_embeddings([str(path)]).known == 1


def wrong_scales(folder):
    write_tif(folder / "t_scales.tif", np.ones((1, 20, 20), np.float32))
    write_tif(folder / "t.tif", np.ones((4, 40, 40), np.int8))
    return SCALES


def no_scales(folder):
    write_tif(folder / "t.tif", np.ones((4, 40, 40), np.int8))
    return SCALES


def floats_for_a_quantised_model(folder):
    write_tif(folder / "t.tif", np.ones((4, 40, 40), np.float32))
    return POWER


def integers_for_a_model_of_floats(folder):
    write_tif(folder / "t.tif", np.ones((4, 40, 40), np.int8))
    return Making()


def no_place(folder):
    write_tif(folder / "t.tif", np.ones((4, 40, 40), np.float32), crs=None)
    return Making()


def pickled(folder):
    np.save(folder / "t.npy", np.array([{}], object), allow_pickle=True)
    return Making()


def no_table(folder):
    np.save(folder / "t.npy", np.ones((4, 4), np.float32))
    return Making()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (wrong_scales, "have other sizes"),
        (no_scales, "no file of scales beside it"),
        (floats_for_a_quantised_model, "numbers of float32, not int8"),
        (integers_for_a_model_of_floats, "numbers of int8, not floats"),
        (no_place, "is not georeferenced"),
        (pickled, "cannot be read"),
        (no_table, "has no table beside it"),
    ],
)
def test_what_cannot_be_read_fails_with_one_line(make, message, tmp_path):
    making = make(tmp_path)
    with pytest.raises(InputError, match=message) as error:
        blocks(tmp_path, making)
    assert "\n" not in error.value.message
