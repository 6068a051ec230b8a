import pytest
from made import folder
from matplotlib.figure import Figure
from PIL import Image

from dcsh_pg.benchmark.figures import draw, label
from dcsh_pg.benchmark.rows import COSINE, Row
from dcsh_pg.benchmark.summary import read

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
            assert picture.size == (1950, 150 * 10)
    titles = [[axes.get_title(loc="left") for axes in figure.axes] for figure in drawn]
    assert titles == [
        [f"{encoder}, {bits} bits" for encoder in ("gist", "vgg16-fc7")] for bits in (64, 48)
    ]


def test_lines_are_the_mean_curves_of_methods_and_not_of_ablations(tmp_path, drawn):
    summary = read(folder(tmp_path / "other", ROWS, SCORES, dataset="other", bits=[16, 64]))
    draw(summary, tmp_path, "other")
    for figure, x in zip(drawn, ("n", "recall"), strict=True):
        labels = [[line.get_label() for line in axes.lines] for axes in figure.axes]
        assert labels == [["ITQ"], ["ITQ"], ["ITQ"], ["ITQ", "ours"]]
        (legend,) = figure.legends
        assert [text.get_text() for text in legend.get_texts()] == ["ITQ", "ours"]
        curve = summary.curve(ROWS[1], 16)
        shown = curve[x] if x == "recall" else curve[x][curve[x] <= 1000]
        line = figure.axes[0].lines[0]
        assert line.get_xdata().tolist() == shown.tolist()
        assert line.get_ydata().tolist() == curve["precision"][: len(shown)].tolist()


def test_a_method_has_one_colour_and_each_encoder_its_panels(tmp_path, drawn):
    draw(read(folder(tmp_path / "f", ROWS, SCORES, dataset="f", bits=[16])), tmp_path, "f")
    gist, cnn = (axes.lines[0] for axes in drawn[0].axes)
    assert gist.get_color() == cnn.get_color()


@pytest.mark.parametrize(
    "name, reported",
    [
        ("ITQ", "ITQ"),
        ("ITQ (VGG16)", "ITQ"),
        ("itq, vgg16-fc7", "itq"),
        ("ITQ, 8 orientations (VGG16)", "ITQ, 8 orientations"),
    ],
)
def test_labels_leave_the_encoder_to_the_panel(name, reported):
    assert label(Row(name, "itq", "vgg16-fc7")) == reported


def test_nothing_is_drawn_of_nothing(tmp_path):
    summary = read(folder(tmp_path / "none", ROWS[:1], {(COSINE, 16): (0.5,) * 3}))
    assert draw(summary, tmp_path / "plots", "none") == []
    assert not (tmp_path / "plots").exists()
