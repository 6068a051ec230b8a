"""The table for people: what a narrow terminal shows, cuts and leaves out."""

import io
import re
from datetime import datetime, timedelta

import pytest
from shapely import box

from dcsh_pg.database.search.hits import Hit
from dcsh_pg.results.record import Table
from dcsh_pg.results.to_table import HITS_SHOWN, print_table, shortened

URI = "s3://bucket/naip/m_3008635_se_16_060_20211108_20220301_second_delivery.tif"


class Terminal(io.StringIO):
    def isatty(self):
        return True


def hit(id: int, **fields) -> Hit:
    known = {
        "id": id,
        "distance": id % 64,
        "scene_id": 1,
        "uri": URI,
        "window": (0, 0, 64, 64),
        "footprint": box(-86.31, 30.42, -86.30, 30.43).__geo_interface__,
        "acquired": datetime(2021, 11, 8, 16, 2) + timedelta(days=id % 3),
        "valid_fraction": 1.0,
        "properties": {"class": "water"},
        "collection": "naip",
        "item_id": "fl_m_3008635_se_16_060_20211108_20220301",
    }
    return Hit(**known | fields)


def shown(hits, width: int, monkeypatch) -> list[str]:
    monkeypatch.setenv("COLUMNS", str(width))
    file = Terminal()
    print_table(Table.of_hits(hits), columns=HITS_SHOWN, file=file)
    return re.sub(r"\x1b\[\d*m", "", file.getvalue()).splitlines()


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_ids_and_distances_are_whole_and_no_line_is_too_long(width, monkeypatch):
    ids = [7, 12345678, 987654321012]
    lines = shown([hit(id) for id in ids], width, monkeypatch)
    assert max(map(len, lines)) <= width
    for id in ids:
        assert any(line.split()[1:3] == [str(id % 64), str(id)] for line in lines)


def test_at_80_columns_a_scene_keeps_its_end_and_labels_stay(monkeypatch):
    lines = shown([hit(12345678)], 80, monkeypatch)
    row = next(line for line in lines if "12345678" in line)
    assert row.rstrip().endswith("ivery.tif") and "…" in row
    assert " water " in row
    assert "not shown: item_id, collection" in " ".join(lines)


def test_a_wide_terminal_shows_all(monkeypatch):
    text = "\n".join(shown([hit(1)], 240, monkeypatch))
    assert URI.rsplit("/", 1)[1] in text and "fl_m_3008635" in text and "…" not in text
    assert "not shown" not in text


def test_numbers_of_a_column_have_as_many_decimals():
    file = Terminal()
    rows = [{"recall": 0.9917}, {"recall": 1.0}, {"recall": None}]
    print_table(Table.of(rows, {"recall": float}), file=file)
    assert "0.9917" in file.getvalue() and "1.0000" in file.getvalue()


def test_midnights_are_dates(monkeypatch):
    lines = shown([hit(1, acquired=datetime(2021, 5, 3))], 120, monkeypatch)
    assert " 2021-05-03 " in "\n".join(lines)
    assert "00:00" not in "\n".join(lines)


@pytest.mark.parametrize("text", ["a" * 40 + ".tif", "日本" * 20 + ".tif", "x.tif"])
@pytest.mark.parametrize("width", [8, 14, 15, 43])
def test_a_shortened_name_fits_and_keeps_both_ends(text, width):
    from rich.cells import cell_len

    short = shortened(text, width)
    assert cell_len(short) <= width
    assert short[0] == text[0] and short.endswith(".tif")
