"""The card of an ONNX encoder: how its images are prepared, and which of its outputs is the feature.

It is a JSON file beside the encoder, ``clay.onnx.json`` for ``clay.onnx``; docs/encoders.md lists its
fields.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dcsh_pg import strict_json
from dcsh_pg.errors import InputError, UsageError

SUFFIX = ".json"
"""What a card's name has after that of its encoder."""
MAX_BYTES = 1 << 20
MAX_SIZE = 4096
MAX_CONSTANTS = 65_536
"""Most numbers of the constant inputs."""
POOLS = ("none", "first", "mean", "patches")
EXAMPLE = '{"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}'


@dataclass(frozen=True)
class OnnxCard:
    """How images become an encoder's input, and its output features.

    Attributes:
        mean, std: per band, after rescaling; the encoder takes (rescale x - mean) / std.
        rescale: factor of 8-bit pixel values; 1 where the mean is that of 0..255.
        size: width and height of its images in pixels; None is that of the graph.
        channels: 'rgb', or 'bgr' where red is last.
        layout: 'NCHW' or 'NHWC'.
        input, output: names in the graph; None where it has only one.
        pool: of an output (N, tokens, dim): 'first' is the class token, 'mean' the mean of all tokens,
            'patches' that of all but the first.  An output (N, dim) is taken as it is, a map
            (N, dim, h, w) by its mean.
        constants: values of the graph's other inputs by name, numbers or nested lists of them; repeated
            for each image where the input has one axis more.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    rescale: float = 1 / 255
    size: int | None = None
    channels: str = "rgb"
    layout: str = "NCHW"
    input: str | None = None
    output: str | None = None
    pool: str = "none"
    constants: dict[str, Any] = field(default_factory=dict)

    @property
    def standardisation(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of images scaled to 0..1."""
        full = 255 * self.rescale
        return tuple(m / full for m in self.mean), tuple(s / full for s in self.std)

    @classmethod
    def of(cls, encoder: Path, card: Path | None = None, settings: Sequence[str] = ()) -> OnnxCard:
        """The card of an encoder.

        Args:
            encoder: its ONNX file.
            card: the JSON file; None is the one beside it, if there is one.
            settings: 'NAME=VALUE' each, before what the file says; VALUE is JSON, a word, or numbers
                with commas between.

        Raises:
            InputError: the file cannot be read, or a field is missing, unknown or invalid.
            UsageError: a setting is not NAME=VALUE.
        """
        file = card or encoder.with_name(encoder.name + SUFFIX)
        is_there = card is not None or file.exists()
        given = _read(file) if is_there else {}
        for setting in settings:
            name, equals, value = setting.partition("=")
            if not equals:
                raise UsageError(f"--encoder-set {setting} has no value", hint="write NAME=VALUE")
            given[name.strip()] = _value(value.strip())
        return cls.from_json(given, source=str(file) if is_there else f"the card of {encoder}")

    @classmethod
    def from_json(cls, given: dict[str, Any], *, source: str) -> OnnxCard:
        """A card of parsed JSON; ``source`` is its name in messages.

        Raises:
            InputError: a field is missing, unknown or invalid.
        """
        known = [f.name for f in dataclasses.fields(cls)]
        for name, value in given.items():
            if name not in _CHECKS:
                raise InputError(
                    f"{source} has an unknown field {name[:60]!r}",
                    hint=f"one of: {', '.join(known)}",
                )
            if not _CHECKS[name](value):
                shown = str(value)
                raise InputError(
                    f"{source}: {name} cannot be {shown if len(shown) < 60 else shown[:57] + '...'}",
                    hint="docs/encoders.md lists the fields",
                )
        if not ("mean" in given and "std" in given):
            raise InputError(
                f"{source} lacks {'std' if 'mean' in given else 'mean'}",
                hint=f"write what the encoder was trained with into FILE.onnx{SUFFIX}, for example "
                f"{EXAMPLE}, or give --encoder-set mean=... --encoder-set std=...",
            )
        if len(given["mean"]) != len(given["std"]):
            raise InputError(
                f"{source}: mean has {len(given['mean'])} bands, std {len(given['std'])}",
                hint="give one number a band",
            )
        return cls(**given | {name: tuple(map(float, given[name])) for name in ("mean", "std")})


def _read(file: Path) -> dict[str, Any]:
    try:
        with open(file, "rb") as stream:
            text = stream.read(MAX_BYTES + 1)
        if len(text) > MAX_BYTES:
            raise ValueError(f"it is larger than {MAX_BYTES >> 20} MiB")
        found = strict_json.loads_checked(text.decode())
        if not isinstance(found, dict):
            raise ValueError("it is not a JSON object")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(
            f"the encoder's card {file} cannot be read: {reason}", hint=f"for example {EXAMPLE}"
        ) from None
    return found


def _value(text: str) -> Any:
    for form in (text, f"[{text}]"):
        try:
            return strict_json.loads_checked(form)
        except ValueError:
            continue
    return text


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and abs(value) < 1e9


def _are_numbers(value: Any) -> bool:
    return isinstance(value, list) and 0 < len(value) <= 10_000 and all(map(_is_number, value))


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 1000


def _one_of(*choices: str) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and value in choices


def _are_constants(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and all(map(_is_text, value))
        and 0 <= sum(map(_numbers, value.values())) <= MAX_CONSTANTS
    )


def _numbers(value: Any) -> float:
    """How many numbers nested lists have; infinite where they have something else."""
    if isinstance(value, list):
        return sum(map(_numbers, value))
    return 1 if _is_number(value) else math.inf


_CHECKS: dict[str, Callable[[Any], bool]] = {
    "mean": _are_numbers,
    "std": lambda value: _are_numbers(value) and min(value) > 0,
    "rescale": lambda value: _is_number(value) and value > 0,
    "size": lambda value: type(value) is int and 1 <= value <= MAX_SIZE,
    "channels": _one_of("rgb", "bgr"),
    "layout": _one_of("NCHW", "NHWC"),
    "input": _is_text,
    "output": _is_text,
    "pool": _one_of(*POOLS),
    "constants": _are_constants,
}
