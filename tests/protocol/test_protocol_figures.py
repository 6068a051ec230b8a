import pytest
from made import folder
from matplotlib.figure import Figure
from PIL import Image

from dcsh_pg.protocol.figures import draw
from dcsh_pg.protocol.rows import COSINE, Row
from dcsh_pg.protocol.summary import read

ROWS = [
    Row(COSINE, COSINE, "gist"),
    Row("ITQ", "itq", "gist"),
    Row("ITQ (CNN)", "itq", "vgg16-fc7"),
    Row("ours", "dcsh", "vgg16-fc7", track="A", bits=(64,)),
    Row("changed", "dcsh", "vgg16-fc7", track="ablation", base="ours"),
]
SCORES = {(row.name, bits): (0.5, 0.6, 0.7) for row in ROWS for bits in row.bits or (16, 48, 64)}


@pytest.fixture
def drawn(monkeypatch):
    """The figures as they are saved."""
    figures, save = [], Figure.savefig

    def watched(figure, *arguments, **keywords):
        figures.append(figure)
        save(figure, *arguments, **keywords)

    monkeypatch.setattr(Figure, "savefig", watched)
    return figures


def test_curves_of_the_papers_lengths(tmp_path, drawn):
    summary = read(folder(tmp_path / "ucmd", ROWS, SCORES, bits=[16, 48, 64]))
    paths = draw(summary, tmp_path / "plots", "ucmd")
    assert [path.name for path in paths] == ["ucmd_precision.png", "ucmd_precision_recall.png"]
    for path in paths:
        with Image.open(path) as picture:
            assert picture.size == (1950, 900)
    titles = [[axes.get_title(loc="left") for axes in figure.axes] for figure in drawn]
    assert titles == [["64 bits"], ["48 bits"]]


def test_lines_are_the_mean_curves_of_methods_and_not_of_ablations(tmp_path, drawn):
    summary = read(folder(tmp_path / "other", ROWS, SCORES, dataset="other", bits=[16, 64]))
    draw(summary, tmp_path, "other")
    for figure, x in zip(drawn, ("n", "recall"), strict=True):
        left, right = figure.axes
        assert [line.get_label() for line in left.lines] == ["ITQ, gist", "ITQ (CNN), vgg16-fc7"]
        assert len(right.lines) == 3
        (legend,) = figure.legends
        assert [text.get_text() for text in legend.get_texts()] == [
            "ITQ, gist", "ITQ (CNN), vgg16-fc7", "ours, vgg16-fc7"
        ]  # fmt: skip
        curve = summary.curve(ROWS[1], 16)
        shown = curve[x] if x == "recall" else curve[x][curve[x] <= 1000]
        assert left.lines[0].get_xdata().tolist() == shown.tolist()
        assert left.lines[0].get_ydata().tolist() == curve["precision"][: len(shown)].tolist()


def test_a_method_has_one_colour_and_each_kind_of_features_its_dashes(tmp_path, drawn):
    draw(read(folder(tmp_path / "f", ROWS, SCORES, dataset="f", bits=[16])), tmp_path, "f")
    gist, cnn = drawn[0].axes[0].lines
    assert gist.get_color() == cnn.get_color()
    assert gist.get_linestyle() != cnn.get_linestyle()


def test_nothing_is_drawn_of_nothing(tmp_path):
    summary = read(folder(tmp_path / "none", ROWS[:1], {(COSINE, 16): (0.5,) * 3}))
    assert draw(summary, tmp_path / "plots", "none") == []
    assert not (tmp_path / "plots").exists()
