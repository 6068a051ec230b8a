"""The card of a model: the metadata of its ONNX file.

``export`` writes it into the file's ``metadata_props``, ``hasher`` reads it back, and the table
``dcsh.model`` stores it as jsonb.  It has everything that is needed to hash an image as the archive
was hashed, and the origin of the codes.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dcsh_pg import strict_json
from dcsh_pg.errors import ModelError
from dcsh_pg.pixel_types import NODATA, TYPES, UINT8, PixelRange

FORMAT = 2
"""Version of the card; higher ones are refused.  A model that takes images of 8 bits is written as 1,
which older versions of dcsh-pg read, one that takes others or vectors as 2."""
MAX_LENGTH = 4_000_000
"""Largest number of characters of a card."""
MAX_WEIGHTS = 65_536
"""Most weights of a head in it."""
MAX_TEXT = 1000
"""Largest number of characters of a text in it."""


@dataclass(frozen=True)
class ModelCard:
    """The metadata of a model file.

    Attributes:
        name: the model's name.
        method: hashing method, such as 'dcsh' or 'itq'.
        bits: K, the length of its codes.
        bands: channels of the images it takes, in order; 3 is red, green, blue.  Of vectors, their
            dimension; of texts, their number of tokens.
        chip_size: width and height in pixels of the chips it was trained on; the default chip
            size of an archive made with it.
        resolution: ground size of a training pixel in metres, or None where unknown.
        input_size: the encoder's own input in pixels; the graph resizes any image to it.
        mean, std: per band, of images scaled to 0..1; part of the graph, repeated here for other
            tools.
        encoder: name of the encoder.
        precision: 'float32' or 'float16'.
        input: 'image', 'vector' (float32): embeddings that another model made, or 'text' (int64): tokens.
        text: SHA-256 of the model of its text tower, or ''.
        dtype: type of its images: 'uint8', 'int8', 'uint16', 'int16' or 'float32'.
        low, high: per band, the values that the graph scales to 0 and 1; empty for uint8, where they
            are 0 and 255.
        knots: values between them, as many for each band, band by band, that become equal steps between 0
            and 1.
        nodata: value that all bands of an invalid pixel have; the graph gives it the mean of each
            band.  None for uint8, where it is black, and for float32, where it is NaN.
        band_names: names of its bands, in order, if they were chosen by name.
        embedding: how these vectors are made, docs/embeddings.md: name of the embedding,
            ``dequantisation`` and ``pool``.
        head: of vectors, where z is a linear function of few weights: ``weight``, K x dim numbers bit
            by bit, ``bias``, and ``unit_length``, whether vectors are first scaled to length 1;
            ``dcsh.hash`` computes z from it.
        orientations: number of orientations of an image over which the graph averages z.
        training: facts of its training (images, digest, seed, options, bit balance).
        parity: the export's check of this file against PyTorch (images, bits, differing, tolerance).
        versions: library versions that made the file.
        created: ISO 8601, UTC.
    """

    name: str
    method: str
    bits: int
    bands: int
    chip_size: int
    input_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    encoder: str
    resolution: float | None = None
    precision: str = "float32"
    orientations: int = 1
    input: str = "image"
    text: str = ""
    dtype: str = UINT8
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    knots: tuple[float, ...] = ()
    nodata: int | None = None
    band_names: tuple[str, ...] = ()
    embedding: dict[str, Any] = field(default_factory=dict)
    head: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    parity: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    created: str = ""

    @property
    def takes_vectors(self) -> bool:
        return self.input == "vector"

    @property
    def takes_text(self) -> bool:
        return self.input == "text"

    @property
    def pixels(self) -> PixelRange:
        """The type and range of its images."""
        return PixelRange(self.dtype, self.low, self.high, self.knots)

    def to_json(self) -> dict[str, Any]:
        """The card as a dictionary that JSON can carry; what images of 8 bits need not have is left out."""
        fields = dataclasses.asdict(self)
        return {
            name: value
            for name, value in fields.items()
            if name not in _TYPED or value != _TYPED[name]
        }

    def to_metadata(self) -> dict[str, str]:
        """The card as ONNX ``metadata_props``.

        ``dcsh:card`` is the whole card as JSON; the other keys are those that QGIS's Deepness
        plugin reads (each value JSON; resolution in cm per pixel, overlap in percent; the tile size
        under the name in its manual and the one in its code).
        """
        card = {"dcsh:card": json.dumps(self.to_json(), sort_keys=True)}
        if self.takes_vectors or self.takes_text or self.pixels.is_typed:
            return card | {"dcsh:format": str(FORMAT)}
        metadata = card | {
            "dcsh:format": "1",
            "model_type": json.dumps("Recognition"),
            "tiles_size": json.dumps(self.chip_size),
            "tile_size": json.dumps(self.chip_size),
            "tiles_overlap": json.dumps(0),
            "standardization_mean": json.dumps(list(self.mean)),
            "standardization_std": json.dumps(list(self.std)),
        }
        if self.resolution is not None:
            metadata["resolution"] = json.dumps(round(100 * self.resolution, 4))
        return metadata

    @classmethod
    def from_metadata(cls, metadata: dict[str, str], *, source: str) -> ModelCard:
        """Reads the card out of an ONNX file's ``metadata_props``.

        Raises:
            ModelError: ``source`` is not a dcsh-pg model, was made by a newer dcsh-pg, or its card
                is damaged.
        """
        if "dcsh:card" not in metadata:
            raise ModelError(
                f"{source} is an ONNX file, but not a dcsh-pg model",
                hint="make one with 'dcsh-pg train' and 'dcsh-pg export'",
            )
        version = metadata.get("dcsh:format", "0")
        if not (version.isascii() and version.isdigit() and len(version) < 10):
            raise _damaged(source, f"its format is {version[:20]!r}")
        if int(version) > FORMAT:
            raise ModelError(
                f"{source} was made by a newer dcsh-pg (format {version})",
                hint="upgrade dcsh-pg: pip install --upgrade dcsh-pg",
            )
        text = metadata["dcsh:card"]
        if len(text) > MAX_LENGTH:
            raise _damaged(source, f"it has {len(text)} characters")
        try:
            fields = strict_json.loads_checked(text)
        except ValueError as error:
            raise _damaged(source, f"it is not JSON that can be stored ({error})") from None
        return cls.from_json(fields, source=source)

    @classmethod
    def from_json(cls, fields: Any, *, source: str) -> ModelCard:
        """Makes a card from parsed JSON, without unknown fields.

        Raises:
            ModelError: a field is missing, of the wrong type or out of range; names it.
        """
        if not isinstance(fields, dict):
            raise _damaged(source, "it is not a JSON object")
        if (reason := _unstorable(fields)) is not None:
            raise _damaged(source, reason)
        known = {field.name: field for field in dataclasses.fields(cls)}
        given = {name: value for name, value in fields.items() if name in known}
        for name, field_ in known.items():
            is_needed = (
                field_.default is dataclasses.MISSING
                and field_.default_factory is dataclasses.MISSING
            )
            if name not in given and is_needed:
                raise _damaged(source, f"it has no {name!r}")
            if name in given and not _CHECKS[name](given[name]):
                raise _damaged(source, f"its {name!r} cannot be {_short(given[name])}")
        for name in ("mean", "std"):
            given[name] = tuple(map(float, given[name]))
            if len(given[name]) != given["bands"]:
                raise _damaged(source, f"its {name!r} does not have {given['bands']} bands")
        if (reason := _wrong_pixels(given)) is not None:
            raise _damaged(source, reason)
        if head := given.get("head"):
            bits, bands = given["bits"], given["bands"]
            if (len(head["weight"]), len(head["bias"])) != (bits * bands, bits):
                raise _damaged(source, f"its 'head' does not have {bits} x {bands} weights")
        return cls(**given)


def _wrong_pixels(given: dict[str, Any]) -> str | None:
    """Why the fields of a card that say how its pixels are made disagree, or None.  Makes tuples of lists."""
    dtype, bands = given.get("dtype", UINT8), given["bands"]
    for name in ("low", "high", "band_names"):
        given[name] = tuple(given.get(name, ()))
        needed = (bands,) if name != "band_names" and dtype != UINT8 else (0, bands)
        if len(given[name]) not in needed:
            return f"its {name!r} does not have {bands} bands"
    if dtype == UINT8 and (given["low"] or given["high"]):
        return "its 'low' and 'high' need another 'dtype' than uint8"
    if dtype != UINT8 and given.get("input") == "vector":
        return "its 'dtype' is that of images, and it takes vectors"
    if not all(low < high for low, high in zip(given["low"], given["high"], strict=True)):
        return "its 'low' is not below its 'high'"
    given["knots"] = tuple(given.get("knots", ()))
    if given["knots"] and (dtype == UINT8 or len(given["knots"]) % bands):
        return f"its 'knots' are not as many for each of {bands} bands"
    if given["knots"] and (np.diff(PixelRange(*(given[n] for n in _RANGE)).points) <= 0).any():
        return "its 'knots' do not rise between 'low' and 'high'"
    if given.get("nodata") != NODATA[dtype]:
        return f"its 'nodata' cannot be {given.get('nodata')} for {dtype}"
    return None


def _damaged(source: str, reason: str) -> ModelError:
    return ModelError(
        f"the card of {source} is damaged: {reason}",
        hint="make the model file again with 'dcsh-pg export'",
    )


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _unstorable(fields: dict[str, Any]) -> str | None:
    """Why PostgreSQL's jsonb cannot hold a card, or None."""
    try:
        text = json.dumps(fields, ensure_ascii=False, allow_nan=False)
        text.encode()
    except (ValueError, RecursionError):
        return "it has numbers or characters that JSON does not allow"
    return "it contains a NUL character" if "\\u0000" in text else None


def _is_whole(low: int, high: int) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and low <= value <= high


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < 1e9


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= MAX_TEXT


def _are_numbers(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(map(_is_number, value))


def _are_values(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(
        type(number) in (int, float) and abs(number) < 3e38 for number in value
    )


def _are_names(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(map(_is_text, value))


def _is_parity(value: Any) -> bool:
    needed = ("images", "bits", "differing", "tolerance")
    return isinstance(value, dict) and (not value or all(_is_number(value.get(n)) for n in needed))


def _is_head(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == {"weight", "bias", "unit_length"}
        and _are_numbers(value["weight"])
        and _are_numbers(value["bias"])
        and len(value["weight"]) <= MAX_WEIGHTS
        and isinstance(value["unit_length"], bool)
    )


_RANGE = ("dtype", "low", "high", "knots")

_CHECKS: dict[str, Callable[[Any], bool]] = {
    "name": _is_text,
    "method": _is_text,
    "bits": lambda value: _is_whole(16, 1024)(value) and value % 8 == 0,
    "bands": _is_whole(1, 10_000),
    "chip_size": _is_whole(1, 16_384),
    "input_size": _is_whole(1, 16_384),
    "mean": _are_numbers,
    "std": _are_numbers,
    "encoder": _is_text,
    "resolution": lambda value: value is None or (_is_number(value) and value > 0),
    "precision": lambda value: value in ("float32", "float16"),
    "input": lambda value: value in ("image", "vector", "text"),
    "text": lambda value: isinstance(value, str) and bool(re.fullmatch("([0-9a-f]{64})?", value)),
    "dtype": lambda value: value in TYPES,
    "low": _are_values,
    "high": _are_values,
    "knots": lambda value: _are_values(value) and len(value) <= MAX_WEIGHTS,
    "nodata": lambda value: value is None or _is_whole(-32768, 65535)(value),
    "band_names": _are_names,
    "embedding": lambda value: isinstance(value, dict),
    "head": lambda value: value == {} or _is_head(value),
    "orientations": lambda value: type(value) is int and value in (1, 4, 8),
    "training": lambda value: isinstance(value, dict),
    "parity": _is_parity,
    "versions": lambda value: isinstance(value, dict) and all(map(_is_text, value.values())),
    "created": _is_text,
}

_TYPED: dict[str, Any] = {
    field.name: field.default
    for field in dataclasses.fields(ModelCard)
    if field.name in ("text", "dtype", "low", "high", "knots", "nodata", "band_names")
}
"""Defaults of the fields that images of 8 bits need not have."""
