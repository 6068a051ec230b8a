"""Texts -> packed codes: the text tower of a model, with its tokenizer.

A tower is a model file of its own whose input is tokens; its metadata have the tokenizer in the format
of the library tokenizers.  Both are as little trusted as other models.
"""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import numpy as np

from dcsh_pg import strict_json
from dcsh_pg.errors import ModelError, UsageError
from dcsh_pg.extras import requires
from dcsh_pg.hasher import Hasher

TOKENIZER = "dcsh:tokenizer"
"""Key of the tokenizer in the metadata of a file."""
MAX_TOKENIZER = 64 << 20
"""Largest number of characters of a tokenizer."""
MAX_TEXT = 1000
"""Largest number of characters of a text."""
AGAIN = "make the model file again with 'dcsh-pg export'"

_PATTERNS = {
    r"\s+",
    r" {2,}",
    "[" + "".join("\\" + mark for mark in string.punctuation) + "]",
    r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+",
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+",
}
"""Regular expressions that a tokenizer may have; others may take exponential time."""


class TextHasher:
    """A text tower, ready to hash.

    Attributes:
        hasher: its model; ``hasher.sha256`` is its identity.
    """

    def __init__(self, source: str | Path | bytes, *, device: str = "cpu"):
        """Opens a text tower.

        Raises:
            InputError: as :class:`Hasher`.
            ModelError: as :class:`Hasher`; or the model takes no texts, or its tokenizer is refused.
            UsageError: the extra ``text`` is not installed.
        """
        self.hasher = Hasher(source, device=device)
        self._name = self.hasher.card.name
        if not self.hasher.card.takes_text:
            raise ModelError(f"the model {self._name} takes no texts", hint=AGAIN)
        self._tokenizer = _tokenizer(self.hasher.metadata.get(TOKENIZER, ""), self._name)

    def hash_real(self, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Texts -> packed codes uint8 (N, K/8), z float32 (N, K).

        Raises:
            UsageError: a text is empty or too long.
            ModelError: the tokenizer or the model fails on it.
        """
        return self.hasher.hash_real(self.tokens(texts))

    def tokens(self, texts: list[str]) -> np.ndarray:
        """Texts -> the tower's input, int64 (N, length).

        Raises:
            UsageError, ModelError: as :meth:`hash_real`.
        """
        for text in texts:
            if not text.strip():
                raise UsageError(
                    "the text is empty", hint='describe what to find: --text "a river"'
                )
            if len(text) > MAX_TEXT:
                raise UsageError(
                    f"the text is longer than {MAX_TEXT} characters", hint="shorten it"
                )
        return tokenize(self._tokenizer, texts, self.hasher.card.bands, self._name)


def tokenize(tokenizer: Any, texts: list[str], length: int, name: str) -> np.ndarray:
    """Token ids int64 (N, length) of a tokenizer that cuts and pads to that length.

    Raises:
        ModelError: it does not, or fails.
    """
    try:
        found = [encoded.ids for encoded in tokenizer.encode_batch(texts)]
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # the library's panics are no Exception
        raise ModelError(f"the tokenizer of {name} fails: {error}"[:300], hint=AGAIN) from None
    if any(len(ids) != length for ids in found):
        raise ModelError(
            f"the tokenizer of {name} gives other than {length} tokens for a text", hint=AGAIN
        )
    return np.array(found, np.int64)


def open_tokenizer(text: str) -> Any:
    """The tokenizer in JSON, opened by the library.

    Raises:
        UsageError: the extra ``text`` is not installed.
    """
    with requires("text", "search by text", UsageError):
        import tokenizers
    return tokenizers.Tokenizer.from_str(text)


def _tokenizer(text: str, name: str) -> Any:
    """The tokenizer of an untrusted model.

    Raises:
        ModelError: there is none, it is not JSON, has an unknown regular expression, or is damaged.
    """
    try:
        if len(text) > MAX_TOKENIZER:
            raise ValueError("it is too large")
        _check_patterns(strict_json.loads(text))
        return open_tokenizer(text)
    except (UsageError, KeyboardInterrupt):
        raise
    except BaseException as error:  # the library's panics are no Exception
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(
            f"the tokenizer of {name} is damaged: {reason[:200]}", hint=AGAIN
        ) from None


def _check_patterns(value: Any) -> None:
    """Raises ValueError where a tokenizer has a regular expression that is not known."""
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            pattern = part.get("Regex")
            if pattern is not None and pattern not in _PATTERNS:
                raise ValueError(f"unknown regular expression {str(pattern)[:80]!r}")
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part
