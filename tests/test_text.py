"""Search by text: a model with a text tower, from training to hits."""

import dataclasses
import hashlib
import json

import numpy as np
import onnx
import pytest
import torch
import two_towers
from onnx import helper
from PIL import Image
from typer.testing import CliRunner

from dcsh_pg import Archive, codes
from dcsh_pg.archive.texts import store_text, tower_file
from dcsh_pg.cli.main import app
from dcsh_pg.errors import DcshError, InputError, ModelError, NotFound, UsageError
from dcsh_pg.export import export_run
from dcsh_pg.files import text_file
from dcsh_pg.hasher import Hasher
from dcsh_pg.learning.encoders.text import TextAlignment
from dcsh_pg.learning.model import hash_function as files
from dcsh_pg.learning.training.run import Run
from dcsh_pg.text import TOKENIZER, TextHasher
from dcsh_pg.train import TrainingSet, train

pytest.importorskip("tokenizers")
CAPTIONS = (*two_towers.COLOURS, "a field", "red blue", "green pink")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pictures of one colour each with noise, and a model of them with its text tower."""
    folder = tmp_path_factory.mktemp("text")
    (folder / "pictures").mkdir()
    random = np.random.default_rng(0)
    images = []
    for colour, levels in two_towers.COLOURS.items():
        for number in range(8):
            pixels = np.clip(np.array(levels) * 200 + random.normal(20, 30, (16, 16, 3)), 0, 255)
            images.append(pixels.astype(np.uint8))
            Image.fromarray(images[-1]).save(folder / "pictures" / f"{colour}{number}.png")
    train(
        TrainingSet(np.stack(images), scenes=len(images)),
        Run(bits=16, folder=folder / "run"),
        method="itq",
        encoder="two_towers:TWO_TOWERS",
        captions=CAPTIONS,
    )
    export_run(folder / "run", folder / "m.onnx")
    return folder


@pytest.fixture(scope="module")
def database(make_database, embedded_admin, embedded_template):
    with make_database(embedded_admin, embedded_template) as made:
        yield made


@pytest.fixture(scope="module")
def archive(folder, database):
    with Archive.create("by_text", folder / "m.onnx", dsn=database) as archive:
        archive.ingest([str(folder / "pictures")])
        yield archive


def test_export_writes_both_towers_which_name_each_other(folder):
    model, tower = Hasher(folder / "m.onnx", device="cpu"), Hasher(folder / "m.text.onnx")
    assert text_file(folder / "m.onnx") == folder / "m.text.onnx"
    assert model.card.text == tower.sha256 and tower.card.takes_text
    assert (tower.card.bits, tower.card.bands) == (16, two_towers.LENGTH)
    again = folder / "again.onnx"
    export_run(folder / "run", again, name="run")
    assert again.read_bytes() == (folder / "m.onnx").read_bytes()
    assert text_file(again).read_bytes() == (folder / "m.text.onnx").read_bytes()


def test_a_text_finds_what_it_says(archive):
    for colour in two_towers.COLOURS:
        hits = archive.search(text=f"a {colour} field", k=8)
        assert [hit.uri.rpartition("/")[2][:-5] for hit in hits] == [colour] * 8
        assert [h.id for h in archive.similar_to_text(colour, k=8)] == [
            h.id for h in archive.search(archive.query_text(colour), k=8)
        ]
    refined = archive.search(text="red", k=8, refine=True)
    assert {h.distance for h in refined} == {h.distance for h in archive.search(text="red", k=8)}


def test_without_taking_the_means_out_texts_find_little(folder):
    """The gap between the towers would decide the bits."""
    function, _ = files.load(folder / "run" / "hash_function.pt")
    colours = torch.tensor([*two_towers.COLOURS.values()])
    images = (colours * 200 + 20)[..., None, None].expand(-1, -1, 16, 16) / 255
    tokens = torch.arange(2, 8)[:, None].expand(-1, 2)
    with torch.no_grad():
        wanted = codes.from_real(function(images).numpy())
        aligned = function.head(function.encoder.encode_text(tokens))
        function.encoder.text = TextAlignment(function.encoder.dim)
        raw = function.head(function.encoder.encode_text(tokens))

    def right(z):
        found = codes.from_real(z.numpy())
        return (np.argmin(codes.hamming(found, wanted), axis=1) == np.arange(6)).sum()

    assert right(aligned) == 6 and right(raw) < 4


def test_the_command_line_finds_the_same(archive, folder, database, tmp_path):
    runner = CliRunner()
    found = runner.invoke(
        app,
        ["search", "by_text", "--text", "Blue", "-k", "5", "--format", "json", "--dsn", database],
    )
    assert found.exit_code == 0, found.output
    expected = [hit.id for hit in archive.search(text="blue", k=5)]
    assert [hit["id"] for hit in json.loads(found.stdout)] == expected
    both = runner.invoke(
        app, ["search", "by_text", "--text", "a", "--chip", "1", "--dsn", database]
    )
    assert both.exit_code == UsageError.exit_code
    saved = runner.invoke(
        app, ["model", "save", "by_text", str(tmp_path / "s.onnx"), "--dsn", database]
    )
    assert saved.exit_code == 0, saved.output
    assert (tmp_path / "s.text.onnx").read_bytes() == (folder / "m.text.onnx").read_bytes()
    shown = runner.invoke(app, ["model", "show", str(tmp_path / "s.text.onnx")])
    assert "input      text\ntokens     6" in shown.stdout, shown.output
    shown = runner.invoke(app, ["model", "show", str(tmp_path / "s.onnx")])
    assert f"text tower {archive.record.card.text[:12]}" in shown.stdout
    listed = runner.invoke(app, ["model", "list", "--format", "json", "--dsn", database])
    used = {m["name"]: m["archives"] for m in json.loads(listed.stdout)}
    assert used["run, text"] == used["run"] == ["by_text"]


def test_a_text_that_says_nothing_is_refused(archive):
    for text, words in (("", "empty"), ("  \n", "empty"), ("a" * 1001, "longer")):
        with pytest.raises(UsageError, match=words) as refused:
            archive.search(text=text)
        assert refused.value.hint
    with pytest.raises(UsageError, match="cannot be combined"):
        archive.search(archive.query_text("red"), text="red")
    assert len(archive.search(text="été \U0001f30a 𝔲nknown\0 words", k=3)) == 3


def test_the_tower_is_stored_when_it_lies_beside_the_model(folder, database, tmp_path):
    alone = tmp_path / "m.onnx"
    alone.write_bytes((folder / "m.onnx").read_bytes().replace(b'"name": "run"', b'"name": "two"'))
    with Archive.create("without_text", alone, dsn=database) as archive:
        connection, card = archive.connection, archive.record.card
        connection.execute("BEGIN")
        connection.execute("DELETE FROM dcsh.model WHERE card->>'input' = 'text'")
        with pytest.raises(NotFound, match="is not stored") as refused:
            tower_file(connection, card)
        assert "FILE.text.onnx" in refused.value.hint
        text_file(alone).write_bytes((folder / "m.text.onnx").read_bytes() + b"\0")
        with pytest.raises(ModelError, match="is not the text tower"):
            store_text(connection, alone, card)
        store_text(connection, folder / "m.onnx", card)
        assert tower_file(connection, card) == (folder / "m.text.onnx").read_bytes()
        connection.execute("ROLLBACK")


def test_a_model_without_texts_says_so(database, folder):
    from test_hasher import means_model

    (folder / "means.onnx").write_bytes(means_model())
    with (
        Archive.create("no_text", folder / "means.onnx", dsn=database) as archive,
        pytest.raises(ModelError, match="no text tower"),
    ):
        archive.search(text="red")


def test_a_text_tower_makes_no_archive(folder, database, archive):
    with pytest.raises(ModelError, match="is a text tower"):
        Archive.create("towers", folder / "m.text.onnx", dsn=database)
    sha256 = archive.record.card.text
    with pytest.raises(Exception, match="hashes texts, not imagery"):
        archive.connection.execute("SELECT dcsh.create_archive('towers', %s, '{}')", [sha256])
    with pytest.raises(Exception, match="hashes texts, not imagery"):
        archive.connection.execute("SELECT dcsh.begin_rehash('by_text', %s)", [sha256])


def test_an_exported_archive_takes_the_tower_along(archive, database, tmp_path):
    pytest.importorskip("pyarrow")
    archive.export(tmp_path / "a.zip")
    with Archive.import_(tmp_path / "a.zip", "copied", dsn=database) as copied:
        assert [h.distance for h in copied.search(text="red")] == [
            h.distance for h in archive.search(text="red")
        ]


def tower(folder, change=None, tokenizer=None):
    """The text tower after ``change`` of its protobuf, or with another tokenizer."""
    model = onnx.load(folder / "m.text.onnx")
    if change is not None:
        change(model)
    if tokenizer is not None:
        metadata = {entry.key: entry.value for entry in model.metadata_props}
        helper.set_model_props(model, metadata | {TOKENIZER: tokenizer})
    return model.SerializeToString()


def other_length(model):
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 4


def splitting(pattern):
    made = json.loads(two_towers.tokenizer())
    made["pre_tokenizer"] = {
        "type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False,
    }  # fmt: skip
    return json.dumps(made)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"tokenizer": ""}, "tokenizer of run, text is damaged"),
        ({"tokenizer": "{}"}, "damaged"),
        ({"tokenizer": "[" * 100_000}, "damaged"),
        ({"tokenizer": splitting("(a+)+$")}, "unknown regular expression"),
        ({"change": other_length}, "inputs or outputs"),
    ],
)
def test_a_hostile_tower_is_refused(folder, arguments, words):
    with pytest.raises(DcshError) as refused:
        TextHasher(tower(folder, **arguments))
    assert words in refused.value.message and refused.value.hint
    assert "\n" not in refused.value.message and len(refused.value.message) < 400


def test_a_tokenizer_that_does_not_fit_its_tower_is_reported(folder):
    made = json.loads(two_towers.tokenizer())
    longer = json.dumps(made | {"padding": None, "truncation": None})
    with pytest.raises(ModelError, match="other than 6 tokens"):
        TextHasher(tower(folder, tokenizer=longer)).hash_real(["red green"])
    made["model"]["vocab"]["zebra"] = 10**6
    with pytest.raises(ModelError, match="fails on texts"):
        TextHasher(tower(folder, tokenizer=json.dumps(made))).hash_real(["zebra"])


def test_other_models_take_no_texts(folder):
    with pytest.raises(ModelError, match="takes no texts"):
        TextHasher(folder / "m.onnx")
    with pytest.raises(InputError):
        TextHasher(b"no model")
    hasher = Hasher(folder / "m.text.onnx", device="cpu")
    with pytest.raises(ModelError, match="texts of 6 tokens"):
        hasher.hash(np.zeros((1, 8, 8, 3), np.uint8))


def test_a_missing_library_is_named(folder, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(UsageError, match="tokenizers is not installed") as refused:
        TextHasher(folder / "m.text.onnx")
    assert "dcsh-pg[text]" in refused.value.hint


def test_the_towers_are_not_trained_apart(tmp_path):
    images = np.zeros((20, 16, 16, 3), np.uint8)
    from dcsh_pg.methods import choose_options

    with pytest.raises(UsageError, match="away from its texts"):
        train(
            TrainingSet(images, scenes=1),
            Run(bits=16, folder=tmp_path / "run"),
            encoder="two_towers:TWO_TOWERS",
            options=choose_options("dcsh", weights="none", freeze=False),
        )


def test_the_alignment_gives_texts_the_mean_and_spread_of_images():
    random = torch.Generator().manual_seed(0)
    images = 5 + torch.randn(200, 8, generator=random)
    texts = torch.randn(100, 8, generator=random) - 3
    alignment = TextAlignment(8)
    alignment.fit(images, texts)
    unit = torch.nn.functional.normalize(images, dim=1)
    moved = alignment(texts) / alignment.length
    for statistic in (lambda x: x.mean(dim=0), lambda x: x.var(dim=0).sum().sqrt()):
        assert torch.allclose(statistic(moved), statistic(unit), rtol=0.02, atol=1e-4)


def test_cards_name_their_tower(folder):
    card = Hasher(folder / "m.onnx", device="cpu").card
    fields = dataclasses.asdict(card)
    assert fields["text"] == hashlib.sha256((folder / "m.text.onnx").read_bytes()).hexdigest()
    with pytest.raises(ModelError, match="'text' cannot be"):
        type(card).from_json(fields | {"text": "../m"}, source="x")


def test_the_map_page_finds_the_same(archive, database):
    pytest.importorskip("fastapi", reason="needs the extra 'serve'")
    from starlette.testclient import TestClient

    from dcsh_pg.serve.app import create_app
    from dcsh_pg.serve.settings import Settings

    served = create_app(Settings(dsn=database, token="secret"))
    with TestClient(served, base_url="http://127.0.0.1") as client:
        client.headers["authorization"] = "Bearer secret"
        home = "/api/archives/by_text"
        assert client.get(home).json()["text"] is True
        for _ in range(2):
            code = client.post(f"{home}/words", json={"text": "green"}).json()["code"]
        assert code == "0x" + codes.to_hex(archive.query_text("green").code)
        for text, status in (("", 400), ("a" * 1001, 422), (7, 422)):
            answer = client.post(f"{home}/words", json={"text": text})
            assert answer.status_code == status and answer.json()["error"]
        without = client.post("/api/archives/no_text/words", json={"text": "green"})
        assert without.status_code >= 400
