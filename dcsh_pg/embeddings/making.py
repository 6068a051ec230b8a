"""How the vectors that a model takes are made from what a file stores; kept in the model's card."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from dcsh_pg.errors import ModelError, UsageError

POOLS = ("min", "max", "mean", "std")
DEQUANTISATIONS = ("none", "signed-power", "scales")
NODATA = -128
"""Of 8-bit embeddings, in every number of a pixel or in its first."""


@dataclass(frozen=True)
class Making:
    """From stored numbers to the vectors that a model takes.

    Attributes:
        name: of the embedding, for people.
        dequantisation: of stored numbers q: 'none' takes them as they are; 'signed-power' is
            sign(q) (q / 127.5)², with -128 as nodata (AlphaEarth, OlmoEarth); 'scales' is q times the
            scale of its pixel, which a second file has (TESSERA).
        pool: statistics of the valid pixels of a chip, of ``POOLS``, one after the other.

    Raises:
        UsageError: an unknown rule or statistic.
    """

    name: str = "vector"
    dequantisation: str = "none"
    pool: tuple[str, ...] = ("mean",)

    def __post_init__(self) -> None:
        if self.dequantisation not in DEQUANTISATIONS:
            raise UsageError(
                f"--dequantise {self.dequantisation!r}", hint=f"use {', '.join(DEQUANTISATIONS)}"
            )
        if not self.pool or set(self.pool) - set(POOLS) or len(set(self.pool)) < len(self.pool):
            raise UsageError(
                f"--pool {','.join(self.pool)}", hint="use mean, or some of min,max,mean,std"
            )

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self) | {"pool": list(self.pool)}

    @classmethod
    def from_json(cls, fields: dict[str, Any], *, source: str) -> Making:
        """The inverse of :meth:`to_json`.

        Raises:
            ModelError: the card of ``source`` has something else.
        """
        try:
            values = {field.name: fields[field.name] for field in dataclasses.fields(cls)}
            return cls(**values | {"pool": tuple(values["pool"])})
        except (KeyError, TypeError, UsageError):
            raise ModelError(
                f"the card of {source} does not say how its vectors are made",
                hint="make the model file again with 'dcsh-pg train --embeddings' and export",
            ) from None

    def dequantised(self, stored: np.ndarray) -> np.ndarray:
        """Numbers of any dtype and shape -> float32 of the same shape, before any scales.

        Nodata is NaN.
        """
        if self.dequantisation == "signed-power":
            found: np.ndarray = _SIGNED_POWER[stored.astype(np.int8, copy=False).view(np.uint8)]
            return found
        return stored.astype(np.float32, copy=False)


def _signed_power() -> np.ndarray:
    """Value of each byte, by its pattern as unsigned."""
    q = np.arange(256, dtype=np.uint8).view(np.int8).astype(np.float64)
    values = np.sign(q) * np.square(q / 127.5)
    values[q == NODATA] = np.nan
    return values.astype(np.float32)


_SIGNED_POWER = _signed_power()


@dataclass(frozen=True)
class Columns:
    """Which columns of a table have what; None finds them by their names and types.

    Attributes:
        embedding, geometry, acquired: names of columns.
        footprint: side in metres of the square around a point that is a row's footprint.
    """

    embedding: str | None = None
    geometry: str | None = None
    acquired: str | None = None
    footprint: float | None = None


@dataclass(frozen=True)
class Product:
    """A published product.

    Attributes:
        dequantisation: see :class:`Making`.
        footprint: see :class:`Columns`; of a product that publishes points.
    """

    dequantisation: str = "none"
    footprint: float | None = None


PRODUCTS = {
    "alphaearth": Product("signed-power"),
    "olmoearth": Product("signed-power"),
    "tessera": Product("scales"),
    "clay": Product(),
    "major-tom": Product(),
    "earth-index": Product(footprint=320.0),
}
