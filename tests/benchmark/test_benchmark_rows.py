import json

import pytest

from dcsh_pg.benchmark.rows import COSINE, Row, read, simple
from dcsh_pg.errors import InputError, UsageError

ROW = {"name": "ITQ", "method": "itq", "encoder": "small"}


def write(tmp_path, content):
    file = tmp_path / "rows.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


def test_rows_from_json(tmp_path):
    first = {**ROW, "options": {"iterations": 7}, "bits": [16, 64], "note": "few iterations"}
    second = {**ROW, "name": "other", "track": "ablation", "base": "ITQ", "weights": "w.pth"}
    found = read(write(tmp_path, [first, second]), {"small": "given.pth"})
    assert found == [
        Row("ITQ", "itq", "small", "given.pth", options={"iterations": 7}, bits=(16, 64),
            note="few iterations"),
        Row("other", "itq", "small", "w.pth", track="ablation", base="ITQ"),
    ]  # fmt: skip
    assert Row(**found[0].to_dict()) == found[0]


def test_weights_are_the_rows_own_else_those_given_else_the_encoders_default(tmp_path):
    rows = [
        {**ROW, "name": "a", "encoder": "densenet169", "weights": "none"},
        {**ROW, "name": "b", "encoder": "densenet169"},
        {**ROW, "name": "c", "encoder": "resnet18"},
        {**ROW, "name": "d", "encoder": "gist"},
    ]
    found = read(write(tmp_path, rows), {"densenet169": "d.pth"})
    assert [row.weights for row in found] == ["none", "d.pth", "pretrained", "none"]


def test_each_method_on_each_encoder_and_the_features_themselves():
    found = simple(["itq", "lsh"], ["small", "gist"], {})
    assert [(row.name, row.method, row.encoder) for row in found] == [
        (f"{method}, {encoder}", method, encoder)
        for encoder in ("small", "gist")
        for method in (COSINE, "itq", "lsh")
    ]
    assert [row.name for row in simple(["itq", COSINE], ["small"], {})] == [COSINE, "itq"]


def test_lengths_of_code():
    assert Row("a", "itq", "small").lengths((16, 32)) == (16, 32)
    assert Row("a", "itq", "small", bits=(32, 64)).lengths((16, 32)) == (32,)
    assert Row("a", COSINE, "small").lengths((16, 32)) == (16,)


def test_splits():
    assert [Row("A", "itq", "small", splits=n).repeats(3) for n in (0, 2, 5)] == [3, 2, 3]


def test_a_report_shows_weights_by_file_name():
    assert Row("a", "itq", "small", "/home/me/w.pth").to_dict()["weights"] == "w.pth"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("not json", "Expecting value"),
        ({"rows": []}, "not a list"),
        ([], "not a list of at least one row"),
        (["itq"], "row 1 is not an object"),
        ([ROW, {"name": "a", "method": "itq"}], "row 2 has no encoder"),
        ([{**ROW, "epochs": 3}], "row 1 has an unknown field 'epochs'"),
        ([{**ROW, "options": 3}], "options of row 1 is not an object"),
        ([{**ROW, "bits": "16"}], "bits of row 1 is not a list"),
        ([{**ROW, "bits": [True]}], "bits of row 1 is not a list"),
        ([{**ROW, "freeze": "no"}], "freeze of row 1 is not true or false"),
        ([{**ROW, "name": 3}], "name of row 1 is not text"),
    ],
)
def test_a_file_without_rows_is_refused(tmp_path, content, words):
    with pytest.raises(InputError, match=words) as reported:
        read(write(tmp_path, content), {})
    assert "rows.json" in reported.value.message and "encoder" in reported.value.hint


def test_an_absent_file_is_refused(tmp_path):
    with pytest.raises(
        InputError, match=r"absent\.json does not contain benchmark rows: No such file"
    ):
        read(tmp_path / "absent.json", {})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"method": "hash"}, "row 'ITQ': unknown method 'hash'"),
        ({"encoder": "alexnet"}, "unknown encoder 'alexnet'"),
        ({"track": "C"}, "unknown track 'C'"),
        ({"bits": [60]}, "60 bits"),
        ({"base": "DCSH"}, "base 'DCSH', which is not a row"),
        ({"track": "ablation"}, "base '', which is not a row"),
        ({"options": {"epochs": 3}}, "row 'ITQ'.*no option epochs"),
        ({"options": {"iterations": 0}}, "row 'ITQ': iterations must"),
        ({"options": {"iterations": "many"}}, "row 'ITQ'"),
    ],
)
def test_invalid_rows_are_refused_before_any_is_measured(tmp_path, changes, words):
    with pytest.raises(UsageError, match=words):
        read(write(tmp_path, [{**ROW, **changes}]), {})


def test_duplicate_names_and_weights_of_no_row_are_refused(tmp_path):
    with pytest.raises(UsageError, match="two rows are named 'ITQ'"):
        read(write(tmp_path, [ROW, ROW]), {})
    with pytest.raises(UsageError, match=r"--weights smal=.*no row has that encoder"):
        read(write(tmp_path, [ROW]), {"smal": "w.pth"})
