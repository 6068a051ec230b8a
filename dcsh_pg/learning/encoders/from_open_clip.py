"""Encoders of open_clip, with the text tower of each: CLIP, RemoteCLIP's networks, SigLIP.

``open_clip:ViT-B-32`` is one of its networks, ``open_clip:ViT-B-32/laion2b_s34b_b79k`` one with its
published weights.  open_clip is imported only when one is chosen; the extra ``open-clip`` installs it.
"""

from __future__ import annotations

import string
from types import ModuleType
from typing import Any

from torch import Tensor, nn

from dcsh_pg.errors import UsageError
from dcsh_pg.extras import requires
from dcsh_pg.learning.encoders.architecture import Architecture
from dcsh_pg.learning.encoders.bands import with_bands

PREFIX = "open_clip:"
CONTEXT = 77
"""Number of tokens where a network does not state its own."""
PUNCTUATION = "[" + "".join("\\" + mark for mark in string.punctuation) + "]"
WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
_NO_WEIGHTS = ("input_resolution", "context_length", "vocab_size")
"""Entries of OpenAI's files that are no weights."""


class TwoTowers(nn.Module):
    """A network of open_clip: images float32 (N, 3, S, S) -> embeddings (N, dim)."""

    def __init__(self, clip: nn.Module):
        super().__init__()
        self.clip: Any = clip

    def forward(self, images: Tensor) -> Tensor:
        embeddings: Tensor = self.clip.encode_image(images)
        return embeddings

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Token ids int64 (N, length) -> embeddings (N, dim)."""
        embeddings: Tensor = self.clip.encode_text(tokens)
        return embeddings


def find(name: str) -> Architecture:
    """A network of open_clip, after a slash its published weights; ``name`` is without the prefix.

    Raises:
        UsageError: open_clip is not installed, or has no such network or weights.
    """
    open_clip = _open_clip(PREFIX + name)
    model, _, tag = name.partition("/")
    config = open_clip.get_model_config(model)
    if config is None:
        raise UsageError(
            f"open_clip has no network {model!r}",
            hint="python -c 'import open_clip; print(open_clip.list_models())' lists them",
        )
    tags = open_clip.list_pretrained_tags_by_model(model)
    if tag and tag not in tags:
        raise UsageError(
            f"open_clip has no weights {tag!r} of {model}", hint=f"one of: {', '.join(tags)}"
        )
    published = open_clip.get_pretrained_cfg(model, tag) if tag else {}
    size = config["vision_cfg"]["image_size"]
    text = config.get("text_cfg", {})
    length = text.get("context_length", CONTEXT)

    def build(bands: int) -> nn.Module:
        return with_bands(TwoTowers(open_clip.create_model(model, pretrained_hf=False)), bands)

    def download() -> dict[str, Tensor]:
        loaded: dict[str, Tensor] = open_clip.create_model(model, pretrained=tag).state_dict()
        return loaded

    return Architecture(
        build,
        dim=config["embed_dim"],
        input_size=size[0] if isinstance(size, list | tuple) else size,
        default_weights="pretrained",
        tokenizer=lambda: tokenizer_json(open_clip.get_tokenizer(model), length),
        mean=tuple(published.get("mean") or open_clip.OPENAI_DATASET_MEAN),
        std=tuple(published.get("std") or open_clip.OPENAI_DATASET_STD),
        rename=_rename,
        download=download if tag else None,
    )


def tokenizer_json(tokenizer: Any, length: int) -> str:
    """A tokenizer of open_clip as JSON of the library tokenizers, for texts of ``length`` tokens.

    Args:
        tokenizer: a ``SimpleTokenizer``, CLIP's, or an ``HFTokenizer``, SigLIP's.

    Raises:
        UsageError: the extra ``text`` is not installed, or the tokenizer is of another kind.
    """
    with requires("text", "export a text tower", UsageError):
        import tokenizers
        from tokenizers import normalizers
    if hasattr(tokenizer, "bpe_ranks"):
        made, pad = _clip(tokenizer), 0
    elif hasattr(getattr(tokenizer, "tokenizer", None), "backend_tokenizer"):
        inner = tokenizer.tokenizer
        made = tokenizers.Tokenizer.from_str(inner.backend_tokenizer.to_str())
        pad = inner.pad_token_id or 0
        cleaning = _cleaning(tokenizer)
        if made.normalizer is not None:
            cleaning.append(made.normalizer)
        made.normalizer = normalizers.Sequence(cleaning)
    else:
        raise UsageError(
            f"a tokenizer of the class {type(tokenizer).__name__} cannot be exported",
            hint="choose another network of open_clip",
        )
    made.enable_truncation(length)
    made.enable_padding(length=length, pad_id=pad)
    text: str = made.to_str()
    return text


def _clip(tokenizer: Any) -> Any:
    """CLIP's byte-pair encoding between its tokens of start and end."""
    import tokenizers
    from tokenizers import Regex, models, normalizers, pre_tokenizers, processors

    start, end = ((tokenizer.decoder[id], id) for id in tokenizer.all_special_ids[:2])
    made = tokenizers.Tokenizer(
        models.BPE(
            vocab=tokenizer.encoder,
            merges=list(tokenizer.bpe_ranks),
            end_of_word_suffix="</w>",
        )
    )
    made.normalizer = normalizers.Sequence(
        [
            normalizers.NFC(),
            normalizers.Replace(Regex(r"\s+"), " "),
            normalizers.Strip(),
            normalizers.Lowercase(),
        ]
    )
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    made.post_processor = processors.TemplateProcessing(
        single=f"{start[0]} $A {end[0]}", special_tokens=[start, end]
    )
    return made


def _cleaning(tokenizer: Any) -> list[Any]:
    """What an ``HFTokenizer`` does to a text first: 'canonicalize' takes out punctuation and case."""
    from tokenizers import Regex, normalizers

    name = getattr(tokenizer.clean_fn, "__name__", "")
    steps: list[Any] = []
    if "canonicalize" in name:
        steps = [
            normalizers.Replace("_", " "),
            normalizers.Replace(Regex(PUNCTUATION), ""),
            normalizers.Lowercase(),
        ]
    elif "lower" in name:
        steps = [normalizers.Lowercase()]
    return [*steps, normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()]


def _rename(network: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dict as open_clip, RemoteCLIP or OpenAI publish it, as ``TwoTowers`` names it."""
    bare = {key.removeprefix("module."): value for key, value in state.items()}
    return {f"clip.{key}": value for key, value in bare.items() if key not in _NO_WEIGHTS}


def _open_clip(encoder: str) -> ModuleType:
    with requires("open-clip", f"use the encoder {encoder}", UsageError):
        import open_clip
    module: ModuleType = open_clip
    return module
