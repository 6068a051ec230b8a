from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from dcsh_pg import results
from dcsh_pg.errors import InputError, UsageError
from dcsh_pg.results import sheet as sheet_module
from dcsh_pg.results.sheet import MARGIN, TILE

RED = np.full((64, 64, 3), (255, 0, 0), np.uint8)


def colours(path) -> set[tuple[int, ...]]:
    with Image.open(path) as image:
        return {colour for _, colour in image.convert("RGB").getcolors(1 << 24)}


def test_query_stands_left_of_the_hits(hits, tmp_path):
    path = tmp_path / "sheet.png"
    green = np.full((32, 32, 3), (0, 255, 0), np.uint8)
    query = SimpleNamespace(pixels=green, caption="beach.png")
    results.write(hits, path, query=query, read_chip=lambda hit: RED, title="Beaches")
    pixels = np.asarray(Image.open(path)).astype(int)
    green_at = np.nonzero((pixels == (0, 255, 0)).all(axis=2))[1]
    red_at = np.nonzero((pixels == (255, 0, 0)).all(axis=2))[1]
    assert green_at.min() == MARGIN
    assert green_at.max() < red_at.min()
    assert len(red_at) == len(hits) * TILE * TILE


@pytest.mark.parametrize("bands", [1, 2, 3, 4, 8])
def test_any_number_of_bands(make_hit, bands, tmp_path):
    chip = np.zeros((50, 70, bands), np.uint8)
    chip[..., 0] = 200
    results.write(
        [make_hit(0)],
        tmp_path / "s.png",
        query=SimpleNamespace(pixels=chip, caption=""),
        read_chip=lambda hit: chip,
    )
    expected = (200, 0, 0) if bands >= 3 else (200, 200, 200)
    assert expected in colours(tmp_path / "s.png")


@pytest.mark.parametrize("reason", [InputError("scene.tif is gone"), OSError(2, "No such file")])
def test_missing_source_gives_a_grey_tile(hits, reason, tmp_path):
    def read_chip(hit):
        if hit.id == 101:
            raise reason
        return RED

    results.write(hits, tmp_path / "s.png", read_chip=read_chip)
    pixels = np.asarray(Image.open(tmp_path / "s.png"))
    assert (pixels == (255, 0, 0)).all(axis=2).sum() == (len(hits) - 1) * TILE * TILE
    assert (0xEC, 0xEE, 0xF1) in colours(tmp_path / "s.png")


def test_chip_without_picture_and_no_hits(make_hit, tmp_path):
    results.write([make_hit(0)], tmp_path / "a.png", read_chip=lambda hit: None)
    results.write(
        [],
        tmp_path / "b.png",
        query=SimpleNamespace(pixels=RED, caption=""),
        read_chip=lambda hit: None,
    )
    assert (255, 0, 0) in colours(tmp_path / "b.png")


def test_more_hits_than_fit_are_reported(make_hit, monkeypatch, tmp_path):
    monkeypatch.setattr(sheet_module, "MAX_HITS", 3)
    read = []
    hits = [make_hit(number) for number in range(5)]
    results.write(hits, tmp_path / "s.png", read_chip=lambda hit: read.append(hit.id))
    assert read == [100, 101, 102]


@pytest.mark.parametrize(
    ("hits", "columns"), [(0, 1), (3, 3), (5, 5), (8, 4), (10, 5), (12, 4), (18, 6), (20, 5)]
)
def test_columns_leave_few_gaps(hits, columns):
    assert sheet_module._columns(hits) == columns


def test_text_is_cut_to_the_tile():
    font = sheet_module._font(14)
    cut = sheet_module._fit("a_very_long_scene_name_" * 5 + "end.tif", 14, TILE)
    assert font.getlength(cut) <= TILE
    assert cut.startswith("a_very") and "…" in cut and cut.endswith("d.tif")
    assert sheet_module._fit("Zürich 8°E …", 14, TILE) == "Zurich 8°E …"


def test_contact_sheet_needs_a_reader(hits, tmp_path):
    with pytest.raises(UsageError, match=r"sheet\.png"):
        results.write(hits, tmp_path / "sheet.png")
