"""Networks of open_clip, made small; its published weights cannot be had in a test."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from dcsh_pg.errors import InputError, ModelError, UsageError
from dcsh_pg.learning.encoders import Encoder, find, load_weights
from dcsh_pg.learning.encoders.from_open_clip import tokenizer_json
from dcsh_pg.text import _check_patterns, open_tokenizer, tokenize

open_clip = pytest.importorskip("open_clip")
tokenizers = pytest.importorskip("tokenizers")

TEXTS = [
    "",
    "tennis courts by a river",
    "An Aerial Photo of  dense  RESIDENTIAL houses!!",
    "it's 2 parking-lots, isn't it?",
    "naïve café 滑走路 \U0001f30a x" + "y" * 40,
    "a " * 200,
]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A network of CLIP with the whole vocabulary, and little else."""
    folder = tmp_path_factory.mktemp("configs")
    config = {
        "embed_dim": 32,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16},
        "text_cfg": {
            "context_length": 20, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2,
        },
    }  # fmt: skip
    (folder / "ViT-tiny.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder)
    return "open_clip:ViT-tiny"


@pytest.fixture(scope="module")
def weights(tiny, tmp_path_factory):
    torch.manual_seed(3)
    file = tmp_path_factory.mktemp("weights") / "tiny.pt"
    torch.save(open_clip.create_model("ViT-tiny").state_dict(), file)
    return file


def test_both_towers_are_those_of_the_file(tiny, weights, tmp_path):
    original = open_clip.create_model("ViT-tiny").eval()
    original.load_state_dict(torch.load(weights))
    nested = tmp_path / "trained.pt"
    state = {f"module.{key}": value for key, value in original.state_dict().items()}
    torch.save({"epoch": 1, "state_dict": state}, nested)
    for file in (weights, nested):
        encoder = Encoder(tiny).eval()
        load_weights(encoder, str(file))
        images = torch.randn(2, 3, 32, 32)
        tokens = open_clip.get_tokenizer("ViT-tiny")(["a river", "two ships"])
        with torch.no_grad():
            assert torch.equal(encoder(images), original.encode_image(images))
            assert torch.equal(encoder.body.encode_text(tokens), original.encode_text(tokens))
    assert (encoder.dim, encoder.input_size) == (32, 32)
    assert encoder.mean == open_clip.OPENAI_DATASET_MEAN


def test_the_exported_tokenizer_gives_the_tokens_of_clip(tiny):
    tokenizer = open_clip.get_tokenizer("ViT-tiny")
    text = find(tiny).tokenizer()
    _check_patterns(json.loads(text))
    found = tokenize(open_tokenizer(text), TEXTS, 20, "tiny")
    assert np.array_equal(found, tokenizer(TEXTS).numpy())


def test_the_exported_tokenizer_of_siglip_cleans_as_open_clip_does():
    """SigLIP's vocabulary cannot be had here: its tokenizer, with another vocabulary."""
    words = ["<pad>", "</s>", "<unk>", "a", "river", "its"]
    inner = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({w: n for n, w in enumerate(words)}, unk_token="<unk>")
    )
    inner.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    cleaned = SimpleNamespace(
        tokenizer=SimpleNamespace(backend_tokenizer=inner, pad_token_id=0),
        clean_fn=open_clip.tokenizer.get_clean_fn("canonicalize"),
    )
    text = tokenizer_json(cleaned, 6)
    _check_patterns(json.loads(text))
    texts = ["It's a_RIVER!", "  a -- (river)."]
    found = tokenize(open_tokenizer(text), texts, 6, "siglip")
    wanted = [inner.encode(cleaned.clean_fn(one)).ids for one in texts]
    assert found.tolist() == [ids + [0] * (6 - len(ids)) for ids in wanted]
    with pytest.raises(UsageError, match="cannot be exported"):
        tokenizer_json(object(), 6)


def test_train_export_and_search_by_text(tiny, weights, tmp_path, database):
    """The codes of the runtime, which has no torch, are those of the towers."""
    from dcsh_pg import Archive, codes
    from dcsh_pg.export import export_run
    from dcsh_pg.learning.training.run import Run
    from dcsh_pg.train import TrainingSet, train

    images = np.random.default_rng(0).integers(0, 256, (24, 32, 32, 3), dtype=np.uint8)
    function = train(
        TrainingSet(images, scenes=1),
        Run(bits=16, folder=tmp_path / "run"),
        method="itq",
        encoder=tiny,
        weights=str(weights),
    )
    export_run(tmp_path / "run", tmp_path / "m.onnx")
    (tmp_path / "in").mkdir()
    from PIL import Image

    Image.fromarray(images[0]).save(tmp_path / "in" / "a.png")
    with Archive.create("clip", tmp_path / "m.onnx", dsn=database) as archive:
        archive.ingest([str(tmp_path / "in")])
        found = archive.query_text("a river")
        assert len(archive.search(text="a river")) == 1
    tokens = open_clip.get_tokenizer("ViT-tiny")(["a river"])
    with torch.no_grad():
        z = function.head(function.encoder.encode_text(tokens)).numpy()
    assert np.allclose(found.z, z[0], atol=1e-4)
    assert found.code == bytes(codes.from_real(z)[0])


def test_what_open_clip_has_not_is_reported(tiny, weights):
    with pytest.raises(UsageError, match="no network 'ViT-none'"):
        find("open_clip:ViT-none")
    with pytest.raises(UsageError, match="no weights 'mine' of ViT-B-32") as refused:
        find("open_clip:ViT-B-32/mine")
    assert "laion2b_s34b_b79k" in refused.value.hint
    with pytest.raises(UsageError, match="no published weights"):
        load_weights(Encoder(tiny), "pretrained")
    state = torch.load(weights)
    del state["text_projection"]
    torch.save(state, weights.with_name("cut.pt"))
    with pytest.raises(ModelError, match=r"lacks clip\.text_projection"):
        load_weights(Encoder(tiny), str(weights.with_name("cut.pt")))
    with pytest.raises(InputError):
        load_weights(Encoder(tiny), __file__)


def test_missing_packages_are_named(tiny, monkeypatch):
    import sys

    tokenizer = open_clip.get_tokenizer("ViT-tiny")
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(UsageError, match="tokenizers is not installed"):
        tokenizer_json(tokenizer, 20)
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(UsageError, match="open_clip is not installed") as refused:
        find(tiny)
    assert "dcsh-pg[open-clip]" in refused.value.hint
