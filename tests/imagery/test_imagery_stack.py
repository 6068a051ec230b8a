"""Bands by name, files of one band stacked, and masks."""

import json
import pickle

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp
from rasterio.transform import from_origin

from dcsh_pg.errors import InputError, UsageError
from dcsh_pg.imagery.metadata.options import SceneOptions
from dcsh_pg.imagery.parts import Part, files_of, is_parts, parse_parts, parts_address
from dcsh_pg.imagery.presets import PRESETS, preset_fields
from dcsh_pg.imagery.reading import Mask, Reading
from dcsh_pg.imagery.sources.listed import listed_scenes
from dcsh_pg.imagery.sources.stac import stac_listing
from dcsh_pg.pixel_types import are_valid
from dcsh_pg.synthetic.multispectral import BANDS, METRES, make_scene, write_item

SIDE, CELLS = 36, 4


def scenes_of(source, reading, *, bands=None, **options):
    listed = stac_listing(str(source), reading=reading, **options)
    taken = bands or len(reading.bands)
    return listed_scenes(listed, reading=reading, bands=taken, options=SceneOptions())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("item")
    cloudy = np.zeros((SIDE * CELLS // 2,) * 2, bool)
    cloudy[: SIDE // 2, : SIDE // 4] = True  # half of the first chip
    write_item(made, make_scene(0, CELLS, SIDE)[0], 0, cloudy=cloudy)
    return made


def changed(folder, tmp_path, change):
    """The item after ``change`` of its JSON, beside its files."""
    item = json.loads((folder / "item.json").read_text())
    for asset in item["assets"].values():
        asset["href"] = str(folder / asset["href"][2:])
    change(item)
    path = tmp_path / "item.json"
    path.write_text(json.dumps(item))
    return path


def of_files(folder):
    """The bands of the item at 10 m, each pixel repeated: uint16 (H, W, 12)."""
    bands = []
    for name, metres in zip(BANDS, METRES, strict=True):
        with rasterio.open(folder / f"{name}.tif") as source:
            times = metres // 10
            bands.append(source.read(1).repeat(times, 0).repeat(times, 1))
    return np.stack(bands, axis=-1)


def test_thirteen_assets_become_one_scene_of_twelve_bands_without_clouds(folder):
    reading = Reading(chip_size=SIDE, dtype="uint16", **preset_fields("sentinel-2-l2a"))
    [scene] = scenes_of(folder / "item.json", reading)
    scene = pickle.loads(pickle.dumps(scene))
    assert scene.uri == f"{folder}/{{{','.join((*BANDS, 'SCL'))}}}.tif"
    record = scene.describe()
    assert (record.width, record.height) == (SIDE * CELLS,) * 2
    assert record.resolution == pytest.approx(10, rel=0.01) and record.item_id == "S2_0"
    assert record.properties["bands"] == list(BANDS) and record.properties["mask"] == "SCL"
    chips = scene.read(record.windows)
    assert chips.valid_fraction[0] == pytest.approx(0.5) and (chips.valid_fraction[1:] == 1).all()
    expected = of_files(folder)
    for pixels, (left, top, width, height) in zip(chips.pixels, chips.windows, strict=True):
        part = expected[top : top + height, left : left + width]
        valid = are_valid(pixels)
        assert np.array_equal(pixels[valid], part[valid])
    assert not are_valid(chips.pixels[0])[:, : SIDE // 2].any()
    assert are_valid(chips.pixels[0])[:, SIDE // 2 :].all()
    reopened = scenes_of(folder / "item.json", reading)[0]
    assert reopened.describe().content_hash == record.content_hash


def test_the_finest_band_that_is_read_gives_the_grid(folder):
    reading = Reading(chip_size=12, dtype="uint16", bands=("B01", "B05"))
    [scene] = scenes_of(folder / "item.json", reading)
    record = scene.describe()
    assert (record.width, round(record.resolution)) == (SIDE * CELLS // 2, 20)
    pixels = scene.read(record.windows[:1]).pixels[0]
    expected = of_files(folder)[::2, ::2][:12, :12][..., [0, 4]]
    assert np.array_equal(pixels, expected)


def test_bands_are_found_by_key_name_and_common_name_in_both_versions_of_stac(folder, tmp_path):
    plain = Reading(chip_size=SIDE, dtype="uint16", bands=("B04", "B02"))
    [scene] = scenes_of(folder / "item.json", plain)
    expected = scene.read(scene.describe().windows).pixels

    def renamed(kind):
        def change(item):
            item["assets"] = {f"asset-{key}": value for key, value in item["assets"].items()}
            for key, common in (("B04", "red"), ("B02", "blue"), ("B03", "green")):
                asset = item["assets"][f"asset-{key}"]
                del asset["eo:bands"]
                if kind == "1.0":
                    asset["eo:bands"] = [{"name": key, "common_name": common}]
                else:
                    asset["bands"] = [{"name": key, "eo:common_name": common}]

        return change

    for kind in ("1.0", "1.1"):
        path = changed(folder, tmp_path, renamed(kind))
        for names in (("B04", "B02"), ("red", "blue"), ("RED", "B02")):
            reading = Reading(chip_size=SIDE, dtype="uint16", bands=names)
            [scene] = scenes_of(path, reading)
            assert np.array_equal(scene.read(scene.describe().windows).pixels, expected)


def test_an_unknown_band_lists_those_that_exist_and_fails_its_item_only(folder, tmp_path):
    reading = Reading(chip_size=SIDE, dtype="uint16", bands=("B04", "B99"))
    [scene] = scenes_of(folder / "item.json", reading)
    with pytest.raises(InputError, match="no band 'B99'") as refused:
        scene.describe()
    assert "B01, B02" in refused.value.hint
    masked = Reading(chip_size=SIDE, dtype="uint16", bands=("B04",), mask=Mask("QA", bits=(1,)))
    with pytest.raises(InputError, match="no mask 'QA'") as refused:
        scenes_of(folder / "item.json", masked)[0].describe()
    assert "--mask none" in refused.value.hint


def test_bands_of_one_asset_are_taken_by_their_names_in_the_item(tmp_path, write_raster):
    data = np.arange(4 * 40 * 40, dtype=np.uint16).reshape(4, 40, 40) + 1
    path = write_raster("image.tif", data)
    names = ("Red", "Green", "Blue", "NIR")
    item = {
        "type": "Feature", "stac_version": "1.0.0", "id": "n", "geometry": None, "links": [],
        "properties": {"datetime": "2021-07-01T00:00:00Z"},
        "assets": {"image": {"href": str(path), "eo:bands": [
            {"name": n, "common_name": n.lower()} for n in names]}},
    }  # fmt: skip
    (tmp_path / "item.json").write_text(json.dumps(item))
    for asset in (None, "image"):
        reading = Reading(chip_size=40, dtype="uint16", bands=("nir", "red"))
        [scene] = scenes_of(tmp_path / "item.json", reading, asset=asset)
        assert scene.uri == f"{tmp_path}/{{image:4,image}}.tif"
        pixels = scene.read(scene.describe().windows).pixels[0]
        assert np.array_equal(pixels, np.moveaxis(data[[3, 0]], 0, -1))


def test_offsets_of_a_baseline_make_scenes_alike(folder, tmp_path):
    fields = preset_fields("sentinel-2-l2a") | {"bands": ("B03", "B8A"), "mask": None}
    reading = Reading(chip_size=SIDE, dtype="uint16", **fields)
    [before] = scenes_of(folder / "item.json", reading)
    later = tmp_path / "later"
    item = write_item(later, make_scene(0, CELLS, SIDE)[0] + 1000, 0,
                      cloudy=np.zeros((SIDE * CELLS // 2,) * 2, bool))  # fmt: skip
    item["properties"]["s2:processing_baseline"] = "05.09"
    (later / "item.json").write_text(json.dumps(item))
    [after] = scenes_of(later / "item.json", reading)
    assert after.uri.endswith("{B03:1-1000,B8A:1-1000}.tif")
    read = [scene.read(scene.describe().windows).pixels.astype(int) for scene in (before, after)]
    assert np.abs(read[0] - read[1]).max() <= 1
    offset = PRESETS["sentinel-2-l2a"].offset
    assert offset({"s2:processing_baseline": "04.00", "earthsearch:boa_offset_applied": True}) == 0
    assert offset({"s2:processing_baseline": "02.14"}) == offset({}) == 0
    assert offset({"s2:processing_baseline": 5}) == 0


def test_files_of_two_systems_are_refused(folder, tmp_path):
    def change(item):
        other = tmp_path / "B03.tif"
        with rasterio.open(
            other, "w", driver="GTiff", width=40, height=40, count=1, dtype="uint16",
            crs="EPSG:32633", transform=from_origin(500_000, 5_300_000, 10, 10),
        ) as target:  # fmt: skip
            target.write(np.ones((1, 40, 40), np.uint16))
        item["assets"]["B03"]["href"] = str(other)

    reading = Reading(chip_size=SIDE, dtype="uint16", bands=("B04", "B03"))
    [scene] = scenes_of(changed(folder, tmp_path, change), reading)
    with pytest.raises(InputError, match="different coordinate reference systems"):
        scene.describe()


def test_assets_that_name_other_files_are_not_opened(folder, tmp_path):
    """A VRT, which reads any file, is refused as an asset as it is elsewhere."""

    def change(item):
        vrt = tmp_path / "B03.vrt"
        vrt.write_text(f"<VRTDataset rasterXSize='9' rasterYSize='9'><VRTRasterBand dataType='UInt16' "
                       f"band='1'><SimpleSource><SourceFilename>{folder}/B03.tif</SourceFilename>"
                       "</SimpleSource></VRTRasterBand></VRTDataset>")  # fmt: skip
        item["assets"]["B03"]["href"] = str(vrt)

    reading = Reading(chip_size=SIDE, dtype="uint16", bands=("B04", "B03"))
    [scene] = scenes_of(changed(folder, tmp_path, change), reading)
    with pytest.raises(InputError, match=r"B03.vrt is not an image"):
        scene.describe()


def test_names_of_a_file_are_its_descriptions_and_then_its_colours(write_raster, one_scene):
    data = np.random.default_rng(0).integers(1, 99, (4, 40, 40)).astype(np.uint8)
    path = write_raster("a.tif", data)
    with rasterio.open(path, "r+") as target:
        target.descriptions = ("B02", "b03", "red", None)
        target.colorinterp = (ColorInterp.blue, ColorInterp.green, ColorInterp.red,
                              ColorInterp.undefined)  # fmt: skip
    for names, numbers in (
        (("B03", "B02"), (2, 1)),
        (("red", "blue"), (3, 1)),
        (("B02", 4), (1, 4)),
    ):
        record = one_scene(path, Reading(chip_size=40, bands=names), bands=2).describe()
        assert record.bands == numbers
    with pytest.raises(InputError, match="no band 'nir'") as refused:
        one_scene(path, Reading(bands=("nir",)), bands=1).describe()
    assert "B02, b03, red, blue, green" in refused.value.hint
    preset = Reading(chip_size=40, bands=("B02", "B04"), preset="sentinel-2-l2a")
    assert one_scene(path, preset, bands=2).describe().bands == (1, 3)


@pytest.mark.parametrize("rule", [{"values": (3, 9)}, {"bits": (0, 3)}])
def test_a_mask_in_the_file_makes_pixels_invalid(rule, write_raster, one_scene):
    rng = np.random.default_rng(0)
    mask = rng.integers(0, 16, (40, 40))
    data = np.stack([rng.integers(1, 99, (40, 40)), mask]).astype(np.uint16)
    path = write_raster("a.tif", data)
    reading = Reading(chip_size=40, dtype="uint16", bands=(1,), mask=Mask(2, **rule))
    chips = one_scene(path, reading, bands=1)
    chips = chips.read(chips.describe().windows)
    hidden = np.isin(mask, (3, 9)) if "values" in rule else (mask & 0b1001) > 0
    assert np.array_equal(are_valid(chips.pixels[0]), ~hidden)
    assert chips.valid_fraction[0] == pytest.approx((~hidden).mean())
    half = one_scene(path, Reading(20, dtype="uint16", bands=(1,), mask=Mask(2, **rule), resolution=2),
                     bands=1)  # fmt: skip
    clear = (~hidden).reshape(20, 2, 20, 2).mean(axis=(1, 3))
    pixels = half.read(np.array([[0, 0, 40, 40]])).pixels[0]
    assert np.array_equal(are_valid(pixels), clear >= 0.5)


@pytest.mark.parametrize(
    "parts",
    [
        [Part("/a/B02.tif"), Part("/a/B03.tif", 2), Part("/a/B03.tif", 1, -1000)],
        [Part("s3://b/x/R10m/B02.jp2"), Part("s3://b/x/R20m/B05.jp2", 3, 7)],
        [Part("/a/b.tif", 4)],
        [Part("/a/b.tif"), Part("/a/b.tif")],
    ],
)
def test_an_address_of_parts_is_read_back(parts):
    uri = parts_address(parts)
    assert is_parts(uri) and parse_parts(uri) == parts
    assert files_of(uri) == list(dict.fromkeys(part.uri for part in parts))


@pytest.mark.parametrize("name", ["/a/b{c}.tif", "/a/b,c.tif", "/a/b:c.tif", "/a/b}.tif"])
def test_a_name_that_an_address_cannot_hold_is_refused(name):
    with pytest.raises(InputError, match="in its name"):
        parts_address([Part(name), Part("/a/d.tif")])


def test_a_file_with_braces_in_its_name_is_that_file(write_raster, one_scene, noise_rgb):
    path = write_raster("{a,b}.tif", noise_rgb)
    assert not is_parts(str(path)) and one_scene(path).describe().bands == (1, 2, 3)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: Reading(bands=()), "--bands"),
        (lambda: Reading(bands=(0,)), "counted from 1"),
        (lambda: Reading(bands=(" ",)), "counted from 1"),
        (lambda: Mask("SCL"), "--mask SCL"),
        (lambda: Mask("SCL", bits=(40,)), "--mask SCL"),
        (lambda: preset_fields("sentinel-9"), "one of: sentinel-2-l2a"),
    ],
)
def test_senseless_bands_and_masks_are_refused(make, reason):
    with pytest.raises(UsageError) as refused:
        make()
    assert reason in f"{refused.value.message} {refused.value.hint}"


def test_a_reading_with_all_options_is_stored_and_read_back():
    reading = Reading(chip_size=64, dtype="uint16", resolution=20, multiscale=(1, 2),
                      **preset_fields("sentinel-2-l2a"))  # fmt: skip
    assert Reading.from_json(json.loads(json.dumps(reading.to_json()))) == reading
