"""Twelve bands of 16 bits at full depth against 8 bits: from scenes to hits, and how good the codes are.

    python benchmarks/typed.py                                   # a minute on two free cores
    python benchmarks/typed.py --scenes 24 --method dcsh --epochs 20 --dsn postgresql://...

Makes scenes with the bands and reflectances of Sentinel-2 (``dcsh_pg.synthetic.multispectral``): fields of one of
twelve covers, four of them water and four of them forest, which differ by some tens of units in a range that snow
stretches to 9,000.  A third of the scenes trains a model for each row, by the same method, network and seed: ITQ on
features of a network with random weights, so that what is read is compared and not what was learned.  The others
are ingested into an archive of PostgreSQL, and every chip is a query among the chips of other scenes.  A hit is
relevant if its cover is the same.  Everything runs through the same library calls as the commands.

Prints a Markdown table: mean average precision over all ranks, ties by their expectation; the same among water and
forest alone; and the share of the values of dark pixels that 8 bits tell apart.  Without ``--dsn`` it is the embedded
server.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from synthetic_archive import archive_codes

from dcsh_pg import Archive, methods
from dcsh_pg.evaluation.metrics import Comparison, average_precision, distance_histograms
from dcsh_pg.export import export_run
from dcsh_pg.imagery import Reading, SceneOptions, find_scenes
from dcsh_pg.learning.data.training_set import gather
from dcsh_pg.learning.training.run import Run
from dcsh_pg.synthetic.multispectral import COVERS, make_scene, write_scene
from dcsh_pg.train import train

SIDE, CELLS = 32, 8
"""Pixels of a chip, and chips in a row and in a column of a scene."""

DARK = [
    index
    for index, name in enumerate(COVERS)
    if "water" in name or name in ("spruce", "pine", "beech", "oak")
]

BANDS = tuple(range(1, 13))
ROWS: dict[str, dict[str, object]] = {
    "12 bands, full depth": {"dtype": "uint16", "bands": BANDS},
    "12 bands, 8 bits, `--scale 0,10000`": {"scale": (0.0, 10_000.0), "bands": BANDS},
    "12 bands, 8 bits, `--scale auto`": {"scale": "auto", "bands": BANDS},
}


def make_scenes(folder: Path, numbers: Sequence[int]) -> np.ndarray:
    """Writes scenes; returns the cover of each chip in the order of an archive's ids, int (N,)."""
    folder.mkdir(parents=True)
    covers = []
    for number in numbers:
        pixels, cover = make_scene(number, CELLS, SIDE)
        write_scene(folder / f"{number:03}.tif", pixels, number)
        covers.append(cover.ravel())
    return np.concatenate(covers)


def codes_of(
    reading: Reading, folder: Path, work: Path, arguments: argparse.Namespace
) -> np.ndarray:
    """Trains, exports and ingests; the packed codes of the archive, by chip id, uint8 (N, K/8)."""
    scenes = find_scenes(
        [str(folder / "train")],
        reading=reading,
        bands=len(reading.bands or ()),
        options=SceneOptions(),
    )
    run = Run(bits=arguments.bits, seed=arguments.seed, folder=work)
    given = {"epochs": arguments.epochs} if arguments.method == "dcsh" else {}
    options = methods.choose_options(arguments.method, **given)
    train(gather(scenes, size=SIDE), run, method=arguments.method, encoder="small", options=options)
    export_run(work, work / "model.onnx")
    fields = {name: getattr(reading, name) for name in ("bands", "scale", "chip_size")}
    name = "typed_benchmark"
    with Archive.create(name, work / "model.onnx", dsn=arguments.dsn, **fields) as archive:
        report = archive.ingest([str(folder / "search")])
        assert report.failed == 0, report.errors
        codes = archive_codes(archive.connection, name)
        hits = archive.similar_to(1, k=3)
        assert len(hits) == 3
        archive.drop()
    return codes


def precision(codes: np.ndarray, covers: np.ndarray, scene: np.ndarray, among: np.ndarray) -> float:
    """Mean average precision of the chips ``among``, bool (N,), each among those of other scenes."""
    found = []
    for number in np.unique(scene):
        ours, others = among & (scene == number), among & (scene != number)
        comparison = Comparison(codes[ours], covers[ours], codes[others], covers[others])
        found.append(average_precision(distance_histograms(comparison)))
    return float(np.nanmean(np.concatenate(found)))


def levels(reading: Reading, folder: Path) -> float:
    """Distinct values that dark covers keep, as a share of those that are stored; of one scene."""
    [scene] = find_scenes(
        [str(folder / "train" / "002.tif")], reading=reading, bands=len(reading.bands or ())
    )
    with scene:
        pixels = scene.read(scene.describe().windows).pixels
    stored, cover = make_scene(2, CELLS, SIDE)
    dark = np.isin(cover.ravel(), DARK)
    kept = sum(len(np.unique(pixels[dark][..., band])) for band in range(pixels.shape[-1]))
    bands = [band - 1 for band in reading.bands or () if isinstance(band, int)]
    image = np.moveaxis(stored, 0, -1).reshape(CELLS, SIDE, CELLS, SIDE, 12).swapaxes(1, 2)
    chips = image.reshape(-1, SIDE, SIDE, 12)[dark]
    return kept / sum(len(np.unique(chips[..., band])) for band in bands)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--scenes", type=int, default=12)
    parser.add_argument("--method", choices=("itq", "dcsh"), default="itq")
    parser.add_argument("--epochs", type=int, default=10, help="of dcsh")
    parser.add_argument("--bits", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dsn")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        numbers = range(arguments.scenes)
        # Numbers modulo 4 are the sceneries: each is in both parts.
        trained = [number for number in numbers if number // 4 % 3 == 0]
        searched = [number for number in numbers if number // 4 % 3]
        make_scenes(folder / "train", trained)
        covers = make_scenes(folder / "search", searched)
        scene = np.repeat(searched, CELLS**2)
        dark = np.isin(covers, DARK)
        print("| read as | mAP | mAP, water and forest | values of dark pixels kept |")
        print("|---|---:|---:|---:|")
        for number, (name, fields) in enumerate(ROWS.items()):
            reading = dataclasses.replace(Reading(chip_size=SIDE), **fields)  # type: ignore[arg-type]
            codes = codes_of(reading, folder, folder / f"run-{number}", arguments)
            everything = precision(codes, covers, scene, np.ones(len(covers), bool))
            of_dark = precision(codes, covers, scene, dark)
            kept = levels(reading, folder)
            print(f"| {name} | {everything:.3f} | {of_dark:.3f} | {kept:.0%} |", flush=True)


if __name__ == "__main__":
    main()
