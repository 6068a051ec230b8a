"""Folders that mean harm: nothing hangs, nothing is asked of a server, and the rest is read."""

import os
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import rasterio
from PIL import Image

from dcsh_pg.errors import InputError
from dcsh_pg.imagery import SceneOptions
from dcsh_pg.imagery.reading import Reading
from dcsh_pg.imagery.sources.files import are_plain_pictures, find_scenes
from dcsh_pg.imagery.sources.listed import Listed, listed_scenes

READING = Reading(chip_size=64)
VRT = """<VRTDataset rasterXSize="130" rasterYSize="100"><SRS>EPSG:32632</SRS>
<GeoTransform>500000, 1, 0, 5300000, 0, -1</GeoTransform>{bands}</VRTDataset>"""
BAND = """<VRTRasterBand dataType="Byte" band="{band}"><SimpleSource>
<SourceFilename>{source}</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand>"""
WMS = """<GDAL_WMS><Service name="TMS"><ServerUrl>{url}/${{z}}/${{x}}/${{y}}.png</ServerUrl></Service>
<DataWindow><UpperLeftX>0</UpperLeftX><UpperLeftY>1</UpperLeftY><LowerRightX>1</LowerRightX>
<LowerRightY>0</LowerRightY><SizeX>130</SizeX><SizeY>100</SizeY></DataWindow>
<Projection>EPSG:4326</Projection><BandsCount>3</BandsCount></GDAL_WMS>"""


@pytest.fixture
def silent_server():
    """URL of a server, and the requests that it got."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_error(404)

        do_HEAD = do_GET

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


def vrt(source):
    return VRT.format(bands="".join(BAND.format(band=band, source=source) for band in (1, 2, 3)))


def outcome(scene):
    """The scene's chips, or what was wrong with it."""
    try:
        with scene:
            return len(scene.read(np.asarray(scene.describe().windows)))
    except InputError as error:
        return error.message


def outcomes(folder, **options):
    reading = options.pop("reading", READING)
    scenes = find_scenes([str(folder)], reading=reading, bands=3, options=SceneOptions(**options))
    return {scene.uri.rpartition("/")[2]: outcome(scene) for scene in scenes}


@pytest.mark.parametrize("suffix", ["tif", "jp2", "img", "ntf"])
def test_items_in_a_folder_make_no_requests(silent_server, tmp_path, suffix):
    url, asked = silent_server
    (tmp_path / f"a.{suffix}").write_text(vrt(f"/vsicurl/{url}/a.tif"))
    (tmp_path / f"b.{suffix}").write_text(WMS.format(url=url))
    found = outcomes(tmp_path)
    assert len(found) == 2 and asked == []
    assert all("not an image" in message for message in found.values())


def test_a_vrt_is_opened_only_if_named(write_raster, noise_rgb, tmp_path):
    canary = write_raster("outside/canary.tif", noise_rgb)
    inside = tmp_path / "folder" / "a.tif"
    inside.parent.mkdir()
    inside.write_text(vrt(canary))
    assert "not an image" in outcomes(inside.parent)["a.tif"]
    assert "not an image" in outcomes(tmp_path / "folder" / "*.tif")["a.tif"]
    assert outcomes(inside) == {"a.tif": 6}
    assert outcomes(inside.parent, any_driver=True) == {"a.tif": 6}
    listed = [Listed("items.json#1", str(inside), "a.tif")]
    (scene,) = listed_scenes(listed, reading=READING, bands=3)
    assert "not an image" in outcome(scene)
    (scene,) = listed_scenes(
        listed, reading=READING, bands=3, options=SceneOptions(any_driver=True)
    )
    assert outcome(scene) == 6
    assert not are_plain_pictures([str(inside.parent)])


@pytest.mark.parametrize("beside", ["ovr", "msk", "ovr.tiff", "aux.xml", "own metadata"])
def test_overviews_and_masks_that_name_other_files_are_refused(
    silent_server, write_raster, tmp_path, beside
):
    url, asked = silent_server
    data = np.random.default_rng(1).integers(1, 3000, (3, 1100, 1100), dtype=np.uint16)
    path = write_raster("folder/a.tif", data)
    elsewhere = {"OVERVIEW_FILE": f"/vsicurl/{url}/a.tif"}
    if beside == "own metadata":
        with rasterio.open(path, "r+") as target:
            target.update_tags(ns="OVERVIEWS", **elsewhere)
    elif beside == "ovr.tiff":
        side = write_raster("side.tif", data[:, ::2, ::2])
        with rasterio.open(side, "r+") as target:
            target.update_tags(ns="OVERVIEWS", **elsewhere)
        side.rename(f"{path}.ovr")
    elif beside == "aux.xml":
        (tmp_path / "folder" / "a.tif.aux.xml").write_text(
            f'<PAMDataset><Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">{elsewhere}'
            f"</MDI></Metadata><SRS>{url}/srs</SRS></PAMDataset>"
        )
    else:
        (tmp_path / "folder" / f"a.tif.{beside}").write_text(vrt(f"/vsicurl/{url}/a.tif"))
    assert "overviews" in outcomes(tmp_path / "folder", reading=Reading(chip_size=512))["a.tif"]
    assert asked == []


def test_valid_overviews_and_masks_are_read(write_raster, noise_rgb, tmp_path):
    data = np.random.default_rng(1).integers(1, 3000, (3, 1100, 1100), dtype=np.uint16)
    path = write_raster("a.tif", data)
    with rasterio.Env(TIFF_USE_OVR="YES"), rasterio.open(path, "r+") as target:
        target.build_overviews([2])
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(path, "r+") as target:
        target.write_mask(np.full((1100, 1100), 0, np.uint8))
    assert sorted(os.listdir(tmp_path)) == ["a.tif", "a.tif.msk", "a.tif.ovr"]
    (scene,) = find_scenes([str(tmp_path)], reading=Reading(chip_size=512), bands=3)
    assert scene.read(np.asarray(scene.describe().windows)).valid_fraction.max() == 0


def test_postscript_with_a_picture_suffix_is_not_executed(tmp_path):
    body = "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\n"
    for name in ("a.png", "b.jpg"):
        (tmp_path / name).write_text(body)
    Image.new("RGB", (64, 64)).save(tmp_path / "c.png", format="PPM")
    Image.new("RGB", (64, 64)).save(tmp_path / "good.jpg", format="PNG")
    found = outcomes(tmp_path)
    assert found.pop("good.jpg") == 1
    assert [("not a readable picture" in message) for message in found.values()] == [True] * 3


@pytest.fixture
def special(tmp_path, write_raster, noise_rgb, monkeypatch):
    """A folder with one good raster, one good picture and much that is no file."""
    folder = tmp_path / "folder"
    write_raster("folder/good.tif", noise_rgb)
    Image.fromarray(np.full((9, 9, 3), 5, np.uint8)).save(folder / "good.png")
    (folder / "dir.tif").mkdir()
    for name in ("x.tif", "x.png", "summary.txt", "good.png.aux.xml", "other.tfw"):
        os.mkfifo(folder / name)
    monkeypatch.chdir(folder)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("s.tif")
        (folder / "zero.jpg").symlink_to("/dev/zero")
        (folder / "gone.tif").symlink_to("nowhere")
        (folder / "self.tif").symlink_to("self.tif")
        yield folder


def test_special_files_are_recorded_and_never_opened(special):
    found = outcomes(special)
    assert found.pop("good.tif") == 6 and found.pop("good.png") == 1
    kinds = ["no such file", "named pipe", "named pipe", "a socket", "a device", "no such file"]
    names = ["gone.tif", "x.png", "x.tif", "s.tif", "zero.jpg", "self.tif"]
    assert found.keys() == set(names)
    for name, kind in zip(names, kinds, strict=True):
        assert kind in found[name]
    with pytest.raises(InputError, match="named pipe"):
        find_scenes([str(special / "x.tif")], reading=READING, bands=3)[0].describe()
    assert {"good.tif", "x.tif"} < outcomes(special / "*.tif").keys()


def test_a_named_pipe_as_world_file_fails_only_its_raster(special):
    os.mkfifo(special / "good.tfw")
    (special / "self.txt").symlink_to("self.txt")
    found = outcomes(special)
    assert "not a regular file" in found["good.tif"] and found["good.png"] == 1


def test_symbolic_link_loops_end(write_raster, noise_rgb, tmp_path):
    for name in ("b/real/r.tif", "outside/o.tif"):
        write_raster(name, noise_rgb)
    for name in ("l1", "l2", "real/l3", "real/l4"):
        (tmp_path / "b" / name).symlink_to(tmp_path / "b", target_is_directory=True)
    (tmp_path / "b" / "a").symlink_to("real")
    (tmp_path / "b" / "z").symlink_to("../outside")
    scenes = find_scenes([str(tmp_path / "b")], reading=READING, bands=3)
    uris = [os.path.relpath(scene.uri, tmp_path / "b") for scene in scenes]
    assert uris == ["real/r.tif", "z/o.tif"]
    assert outcomes(tmp_path / "b" / "**" / "*.tif") == {"r.tif": 6}


def test_folders_that_cannot_be_listed_are_recorded(write_raster, noise_rgb, tmp_path, monkeypatch):
    write_raster("a/good.tif", noise_rgb)
    (tmp_path / "a" / "shut").mkdir()
    real = os.scandir

    def scandir(path):  # root may list all
        if str(path).endswith("shut"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    found = outcomes(tmp_path / "a")
    assert found["good.tif"] == 6 and "cannot be listed: Permission denied" in found["shut"]


def test_names_that_are_not_utf8_are_recorded(write_raster, noise_rgb, tmp_path):
    good = write_raster("a/good.tif", noise_rgb)
    os.link(good, os.path.join(os.fsencode(tmp_path), b"a", b"b\xfcro.tif"))
    os.link(good, tmp_path / "a" / "1²2.tif")  # a digit that int() does not take
    found = outcomes(tmp_path / "a")
    assert found["good.tif"] == found["1²2.tif"] == 6
    assert "not UTF-8" in found["b\\xfcro.tif"]


def test_errors_of_a_damaged_header_name_the_file(write_raster, noise_rgb, tmp_path):
    path = write_raster("a/latin.tif", noise_rgb, tags={"TIFFTAG_ARTIST": "Mueller"})
    path.write_bytes(path.read_bytes().replace(b"Mueller", b"M\xfcller\0"))
    found = outcomes(tmp_path / "a")["latin.tif"]
    assert found == 6 or "latin.tif" in found
