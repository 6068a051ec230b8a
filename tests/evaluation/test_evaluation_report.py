from __future__ import annotations

import io
import json
import sys

import numpy as np
import pytest

from dcsh_pg.errors import OutputError, UsageError
from dcsh_pg.evaluation import (
    check_plots,
    evaluate,
    plot,
    print_report,
)
from dcsh_pg.evaluation.lines import style


@pytest.fixture(scope="module")
def report():
    random = np.random.default_rng(0)
    labels = [["pond", "forest", "[road]"][number % 3] for number in range(60)]
    packed = random.integers(0, 256, (60, 4), np.uint8)
    return evaluate(packed[:50], labels[:50], packed[50:], [*labels[50:59], "unseen"])


def test_json_holds_the_figures(report):
    reported = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert reported["mean_average_precision"] == report.mean_average_precision
    assert reported["by_class"]["pond"]["queries"] == report.by_class["pond"].queries


def printed(report):
    text = io.StringIO()
    print_report(report, text)
    return text.getvalue()


def test_table_shows_shares_in_percent(report):
    text = printed(report)
    assert f"{100 * report.mean_average_precision:.2f} ±" in text
    assert "[road]" in text
    assert "queries left out, nothing to find" in text
    assert "leave-one-out" not in text


def test_single_query_has_no_standard_error():
    report = evaluate(np.zeros((3, 2), np.uint8), "aab", np.zeros((1, 2), np.uint8), "a")
    assert report.standard_error is None
    assert "±" not in printed(report)
    assert json.loads(json.dumps(report.to_dict(), allow_nan=False))["standard_error"] is None


def test_plots_are_pictures(report, tmp_path):
    pytest.importorskip("matplotlib")
    from PIL import Image

    paths = plot({"ucmd (model itq)": report}, tmp_path / "new")
    assert [path.name for path in paths] == ["precision_recall.png", "precision_at_n.png"]
    for path in paths:
        with Image.open(path) as image:
            assert image.size == (1200, 840)
            assert len(image.convert("RGB").getcolors(1 << 24)) > 20


def test_a_file_gets_all_archives_by_name_in_the_format_of_its_extension(
    report, tmp_path, monkeypatch
):
    matplotlib = pytest.importorskip("matplotlib")
    monkeypatch.setitem(matplotlib.rcParams, "svg.fonttype", "none")
    reports = {"ucmd (model itq)": report, "ucmd8 (model dcsh)": report}
    (svg,) = plot(reports, tmp_path / "both.svg")
    text = svg.read_text()
    assert all(text.count(name) >= 4 for name in reports)  # heading and label in both panels
    (pdf,) = plot(reports, tmp_path / "both.pdf")
    assert pdf.read_bytes().startswith(b"%PDF")
    with pytest.raises(UsageError, match=r"both\.xls"):
        plot(reports, tmp_path / "both.xls")


def test_twenty_lines_differ_without_colour():
    assert len({(style(n)["ls"], style(n)["marker"]) for n in range(20)}) == 20


def test_plots_without_matplotlib_name_the_extra(report, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(OutputError, match="matplotlib") as caught:
        plot({"ucmd": report}, tmp_path)
    assert "dcsh-pg[plot]" in caught.value.hint


def test_unwritable_folder_is_named(tmp_path):
    pytest.importorskip("matplotlib")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match=r"file/precision_recall\.png"):
        check_plots(tmp_path / "file")
