import json
import re

import pytest
from made import FACTS, folder

from dcsh_pg.benchmark import page, paper
from dcsh_pg.benchmark.rows import COSINE, Row
from dcsh_pg.benchmark.summary import Mean, read

ROWS = [
    Row(COSINE, COSINE, "gist", "none"),
    Row("ITQ", "itq", "gist", "none"),
    Row("DCSH", "dcsh", "densenet169", "imagenet"),
    Row("ours | frozen", "dcsh", "densenet169", "imagenet", track="A", note="with neighbours",
        options={"orientations": 8}),
    Row("PSCH", "psch", "gist", "none"),
    Row("no rotations", "dcsh", "densenet169", "imagenet", track="ablation", base="DCSH",
        bits=(32,)),
]  # fmt: skip
SCORES = {
    (COSINE, 16): (0.31113, 0.32227, 0.33339),
    ("ITQ", 16): (0.10101, 0.11313, 0.12727),
    ("ITQ", 32): (0.13131, 0.15151, 0.16161),
    ("DCSH", 16): ("the codes have collapsed: 16 of 16 bits", 0.2, 0.3),
    ("DCSH", 32): (0.41417, 0.43431, 0.45459),
    ("ours | frozen", 16): (0.76767, 0.77777, 0.78789),
    ("ours | frozen", 32): (0.81819, 0.82823, 0.83831),
    ("PSCH", 16): (0.21211,),
    ("no rotations", 32): (0.34341, 0.37373, 0.38389),
}


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory):
    return read(folder(tmp_path_factory.mktemp("made") / "ucmd", ROWS, SCORES))


@pytest.fixture(scope="module")
def written(benchmark, tmp_path_factory):
    file = tmp_path_factory.mktemp("page") / "results.md"
    return file, page.write([benchmark], file, title="A title")


def table(file):
    """Cells of all tables by the name of their row."""
    lines = [line for line in file.read_text().splitlines() if line.startswith("|")]
    split = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines]
    return {cells[0].strip(): [cell.strip() for cell in cells[1:]] for cells in split}


def percent(row, bits):
    return Mean.of((100 * score for score in SCORES[row, bits]), FACTS["database_share"])


def test_ours_and_the_papers_number_stand_in_every_cell(written):
    found = table(written[0])
    for name, bits, reported in (
        ("ITQ", 16, "19.35"),
        ("ITQ", 32, "20.45"),
        ("DCSH", 32, "78.17"),
        (r"ours \| frozen", 16, "75.80"),
        (r"ours \| frozen", 32, "78.17"),
    ):
        mean = percent(name.replace("\\", ""), bits)
        ours = f"{mean.value:.2f} ± {mean.half_width:.2f}"
        cell = found[name][1 + FACTS["bits"].index(bits)]
        assert cell.replace("*", "") == f"{ours} ({reported})"
        assert cell.startswith("**") == (mean.value - mean.half_width > float(reported))
    assert found[COSINE][1:3] == [f"{percent(COSINE, 16).value:.2f} ± "
                                  f"{percent(COSINE, 16).half_width:.2f}", ""]  # fmt: skip


def test_collapsed_and_unfinished_cells_are_reported(written):
    found = table(written[0])
    assert found["DCSH"][1] == "collapsed"
    assert "the codes have collapsed: 16 of 16 bits" in found["DCSH"][-1]
    assert found["PSCH"][1:3] == ["", ""]


def test_differences_of_ingredients_and_notes_are_reported(written):
    notes = table(written[0])[r"ours \| frozen"][-1]
    assert notes == (
        "densenet169 in place of ResNet-50; encoder frozen; 8 orientations of each image; "
        "with neighbours"
    )
    assert table(written[0])["ITQ"][-1] == ""


def test_ablations_are_differences_paired_over_the_splits(written):
    pairs = zip(SCORES["no rotations", 32], SCORES["DCSH", 32], strict=True)
    mean = Mean.of((100 * (ours - base) for ours, base in pairs), FACTS["database_share"])
    cells = table(written[0])["no rotations"]
    assert cells[:2] == ["DCSH", f"{mean.value:+.2f} ± {mean.half_width:.2f}"]


def test_no_number_is_in_the_page_that_nobody_measured_or_printed(written, benchmark):
    """Every decimal is a mean, an interval or a time of the cells, or the paper's."""
    known = set()
    for row in ROWS:
        told = paper.reported(FACTS, row)
        known |= {f"{score:.2f}" for score in (told.scores.values() if told else ())}
        for bits in FACTS["bits"]:
            means = [benchmark.score(row, bits)]
            means += [benchmark.difference(row, base, bits) for base in ROWS if base.name == "DCSH"]
            for mean in filter(None, means):
                known |= {f"{abs(mean.value):.2f}", f"{mean.half_width or 0:.2f}"}
            seconds = benchmark.seconds(row, bits, "fit")
            known |= {f"{seconds:.1f}"} if seconds else set()
    text = written[0].read_text()
    found = set(re.findall(r"\d+\.\d+", text))
    assert len(found) > 20
    assert found <= known
    whole = set(re.findall(r"(?<![\d.])\d+(?![\d.])", "\n".join(
        line for line in text.splitlines() if line.startswith("|"))))  # fmt: skip
    assert whole <= {"16", "32", "169", "50", "8"}  # lengths, names of encoders, orientations


def test_the_same_figures_as_json(written, benchmark):
    file = written[0].with_suffix(".json")
    (content,) = json.loads(file.read_text())
    assert content["facts"]["images"] == FACTS["images"]
    rows = {row["name"]: row for row in content["rows"]}
    assert rows["ITQ"]["scores"]["16"] == vars(percent("ITQ", 16))
    assert rows["ITQ"]["paper"]["64"] == 20.78
    assert rows["PSCH"]["paper"] is None and rows["PSCH"]["scores"] == {}
    assert list(rows["DCSH"]["errors"]) == ["16"]


def test_pictures_are_written_and_linked(written):
    file, paths = written
    linked = re.findall(r"!\[[^]]*\]\(([^)]+)\)", file.read_text())
    assert linked == ["results/ucmd_precision.png", "results/ucmd_precision_recall.png"]
    assert [path for path in paths if path.suffix == ".png"] == [file.parent / n for n in linked]
    assert all(path.is_file() for path in paths)


def test_two_benchmarks_of_one_data_set_do_not_share_pictures(benchmark, tmp_path):
    paths = page.write([benchmark, benchmark], tmp_path / "both.md")
    assert len(set(paths)) == 6
    assert (tmp_path / "both.md").read_text().count("## UC Merced Land Use") == 2


def test_the_page_of_a_folder_of_ones_own_speaks_of_no_paper(tmp_path):
    rows = [Row("ITQ", "itq", "gist")]
    scores = {("ITQ", 16): (0.5, 0.6, 0.7)}
    own = folder(tmp_path / "own", rows, scores, dataset="fields", title="fields", bits=[16])
    page.write([read(own)], tmp_path / "page.md", title="fields")
    text = (tmp_path / "page.md").read_text()
    assert "## fields" in text and "60.00" in text
    assert "paper" not in text.lower()


def test_a_benchmark_with_no_cell_yet_has_a_page(tmp_path):
    empty = read(folder(tmp_path / "empty", ROWS[:2], {}))
    paths = page.write([empty], tmp_path / "page.md")
    assert [path.name for path in paths] == ["page.md", "page.json"]
    assert "Curves" not in (tmp_path / "page.md").read_text()
