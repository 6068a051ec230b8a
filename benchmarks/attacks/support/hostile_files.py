"""Damaged, hostile and odd files for ``files.py``; each maker writes one into a folder."""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import rasterio
from PIL import Image

SUFFIXES = ("tif", "jp2", "img", "ntf", "png", "jpg", "webp", "bmp", "gif", "TIFF", "JPEG")
TEXTS = ("\0", "\ud800", "\udcff", "x" * 3000, "\x1b[2J", "²", "%s{}", "../../x", "", "nan", "\n")
NUMBERS = ("NaN", "Infinity", "1e999", "-1e400", "9" * 5000, "1e308", "-0", "4294967296")
TAGS = {258: (1, 8, 16, 32, 64), 259: (1, 5, 7, 8, 50000, 34887), 262: range(9),
    277: (1, 3, 4, 1000, 65535), 284: (1, 2)}  # fmt: skip
MORE_TAGS = (330, 33550, 33922, 34264, 34735, 34736, 42112, 42113, 320, 338, 339)
"""TIFF tags: those that every file has, with likely values, and others that lead far."""

NAMES = (
    b"\xff\xfe",
    b"a\nb",
    b"1\xc2\xb22",
    b"-x",
    b"%d{}",
    b" ",
    b"\x1b[31m",
    b"x" * 240,
    b"'\";--",
)


def seeds(folder: Path, rng: np.random.Generator) -> list[bytes]:
    """Sound images of many formats and layouts, to damage."""
    data = rng.integers(1, 255, (3, 160, 200), dtype=np.uint8)
    place = {"crs": "EPSG:32632", "transform": rasterio.Affine(1, 0, 5e5, 0, -1, 5.3e6)}
    shape = {"count": 3, "height": 160, "width": 200} | place
    tiled = {"tiled": True, "blockxsize": 64, "blockysize": 64}
    kinds = [
        {"driver": "GTiff", "compress": name, **layout}
        for name in ("none", "deflate", "lzw", "jpeg", "zstd", "packbits", "webp", "lerc")
        for layout in (tiled, {})
    ]
    kinds += [{"driver": "GTiff", "BIGTIFF": "YES"}, {"driver": "GTiff", "nodata": 7}]
    kinds += [{"driver": name} for name in ("JP2OpenJPEG", "HFA", "PNG", "JPEG", "WEBP")]
    kinds += [{"driver": "NITF", "ICORDS": "N"}]
    made = []
    path = folder / "seed"
    for number, kind in enumerate(kinds):
        dtype = "float32" if number % 5 == 4 and kind.get("compress") == "lzw" else "uint8"
        with rasterio.open(path, "w", dtype=dtype, **shape, **kind) as target:
            target.write(data.astype(dtype))
            target.update_tags(TIFFTAG_DATETIME="2021:07:14 10:00:00", x="y")
        made.append(path.read_bytes())
        path.unlink()
    for name in ("PNG", "JPEG", "GIF", "BMP", "WEBP"):
        Image.fromarray(np.moveaxis(data, 0, -1)).save(path, format=name)
        made.append(path.read_bytes())
        path.unlink()
    for left in folder.glob("seed*"):
        left.unlink()
    return made


class Maker:
    """Makes bad files.

    Args:
        folder: where they lie.
        canary: a file outside that must not be read.
        url: of a server that must not be asked.
        seeds: images to damage.
    """

    def __init__(self, folder: Path, canary: Path, url: str, seeds: list[bytes]):
        self.folder, self.canary, self.url, self.seeds = folder, canary, url, seeds

    def kinds(self) -> dict[str, Callable[[random.Random, Path], None]]:
        """Each kind of bad file by name; a maker gets a path without suffix."""
        return {
            "damaged image": self.damaged, "crafted TIFF header": self.header,
            "file that names others": self.reference, "hostile side file": self.side_file,
            "no ordinary file": self.special, "odd name": self.odd_name,
        }  # fmt: skip

    def damaged(self, rng: random.Random, path: Path) -> None:
        data = bytearray(rng.choice(self.seeds))
        for _ in range(rng.choice((0, 1, 3, 30, 300))):
            near = len(data) if rng.random() < 0.5 else min(len(data), 400)
            data[rng.randrange(near)] = rng.choice((0, 255, rng.randrange(256)))
        if rng.random() < 0.4:
            del data[rng.randrange(len(data)) :]
        data += rng.randbytes(8)  # other bytes, so that none is taken for a good scene
        path.with_suffix(f".{rng.choice(SUFFIXES)}").write_bytes(data)

    def header(self, rng: random.Random, path: Path) -> None:
        def number() -> int:
            return rng.choice((0, 1, 2, 3, 8, 16, 512, 4096, 65535, 10**6, 2**31 - 1, 2**32 - 1))

        tags = {tag: rng.choice(values) for tag, values in TAGS.items()}
        layout = (322, 323, 324, 325) if rng.random() < 0.6 else (278, 273, 279)
        tags |= {tag: rng.choice((number(), 8, 512)) for tag in (256, 257, *layout)}
        for _ in range(rng.randrange(4)):
            tags[rng.choice((*MORE_TAGS, rng.randrange(65536)))] = number()
        body = b"".join(
            struct.pack("<HHII", tag, rng.choice((3, 4, 4, 4, rng.randrange(20))), rng.choice((1, 1, 1, number())), value)
            for tag, value in sorted(tags.items())
        )  # fmt: skip
        tail = struct.pack("<I", rng.choice((0, 0, 8))) + rng.randbytes(
            rng.choice((0, 100, 10_000))
        )
        path.with_suffix(".tif").write_bytes(
            b"II*\0" + struct.pack("<IH", 8, len(tags)) + body + tail
        )

    def text(self, rng: random.Random) -> str:
        """A file that leads GDAL or Pillow elsewhere."""
        source = rng.choice(
            (str(self.canary), f"/vsicurl/{self.url}/a.tif", f"{self.url}/a.tif", "/vsistdin/", f"WMS:{self.url}?")
        )  # fmt: skip
        bands = "".join(
            f'<VRTRasterBand dataType="Byte" band="{band}"><SimpleSource><SourceFilename>{source}'
            "</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand>"
            for band in (1, 2, 3)
        )
        return rng.choice((
            f'<VRTDataset rasterXSize="200" rasterYSize="160"><SRS>EPSG:4326</SRS><GeoTransform>0,1,0,0,0,-1</GeoTransform>{bands}</VRTDataset>',
            f'<GDAL_WMS><Service name="TMS"><ServerUrl>{self.url}/${{z}}/${{x}}/${{y}}.png</ServerUrl></Service><DataWindow><UpperLeftX>0</UpperLeftX><UpperLeftY>1</UpperLeftY><LowerRightX>1</LowerRightX><LowerRightY>0</LowerRightY><SizeX>200</SizeX><SizeY>160</SizeY></DataWindow><BandsCount>3</BandsCount></GDAL_WMS>',
            f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\n({self.canary}) run\n",
            f'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><image href="{source}"/></svg>',
            f"<WCS_GDAL><ServiceURL>{self.url}?</ServiceURL><CoverageName>x</CoverageName></WCS_GDAL>",
            f'<PAMDataset><SRS>{self.url}/srs</SRS><Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">{source}</MDI></Metadata></PAMDataset>',
            f'{{"type": "FeatureCollection", "stac_version": "1.0.0", "features": [], "href": "{source}"}}',
        ))  # fmt: skip

    def reference(self, rng: random.Random, path: Path) -> None:
        path.with_suffix(f".{rng.choice(SUFFIXES)}").write_text(self.text(rng))

    def side_file(self, rng: random.Random, path: Path) -> None:
        image = path.with_suffix(f".{rng.choice(('tif', 'png', 'jpg', 'img'))}")
        image.write_bytes(rng.choice(self.seeds) + rng.randbytes(8))
        if rng.random() < 0.3:  # before a named pipe is beside it
            with contextlib.suppress(Exception), rasterio.open(image, "r+") as target:
                target.update_tags(ns="OVERVIEWS", OVERVIEW_FILE=f"/vsicurl/{self.url}/o.tif")
        for _ in range(rng.randrange(1, 3)):
            ending = rng.choice((".ovr", ".msk", ".aux.xml", ".aux", ".rrd", ".OVR", ".msk.ovr"))
            side = Path(f"{image}{ending}") if rng.random() < 0.7 else path.with_suffix(ending)
            if rng.random() < 0.2:
                with contextlib.suppress(FileExistsError):
                    os.mkfifo(side)
            elif not side.exists():
                side.write_text(self.text(rng))

    def special(self, rng: random.Random, path: Path) -> None:
        path = path.with_suffix(f".{rng.choice((*SUFFIXES, 'txt', 'tfw', 'aux.xml'))}")
        match rng.randrange(7):
            case 0:
                os.mkfifo(path)
            case 1:
                path.symlink_to(rng.choice((".", "..", path.name, "nowhere")))
            case 2:
                path.symlink_to(rng.choice(("/dev/zero", "/dev/stdin", "/dev/full")))
            case 3:
                path.mkdir()
                for name in ("x", "y"):
                    (path / name).symlink_to(self.folder, target_is_directory=True)
            case 4:
                with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as bound:
                    bound.bind(str(path))
            case 5:
                path.write_bytes(b"")
            case 6:
                with path.open("wb") as file:
                    file.truncate(
                        rng.choice((1, 10**6, 10**11)) if path.suffix == ".txt" else 10**6
                    )

    def odd_name(self, rng: random.Random, path: Path) -> None:
        name = rng.choice(NAMES) + path.name.encode()[-8:] + f".{rng.choice(SUFFIXES)}".encode()
        with (
            contextlib.suppress(OSError),
            open(os.fsencode(path.parent) + b"/" + name, "wb") as file,
        ):
            file.write(rng.choice(self.seeds) + rng.randbytes(8))


def mutated(rng: random.Random, value: object) -> object:
    """A JSON value with something wrong in it; marks stand for what ``json`` does not write."""
    if rng.random() < 0.15:
        return rng.choice(
            (None, True, [], {}, -1, f"@{rng.choice(NUMBERS)}@", rng.choice(TEXTS), "@deep@")
        )
    if isinstance(value, dict) and value:
        key = rng.choice(list(value))
        return {**value, key: mutated(rng, value[key])}
    if isinstance(value, list) and value:
        at = rng.randrange(len(value))
        return [*value[:at], mutated(rng, value[at]), *value[at + 1 :]]
    return rng.choice((f"@{rng.choice(NUMBERS)}@", rng.choice(TEXTS), "@deep@", 10**300))


def dumped(value: object) -> str:
    """JSON, with the marks of :func:`mutated` replaced."""
    text = json.dumps(value).replace('"@deep@"', "[" * 100_000 + "]" * 100_000)
    for number in NUMBERS:
        text = text.replace(f'"@{number}@"', number)
    return text
