"""Size and position of an image."""

from __future__ import annotations

from dataclasses import dataclass

from dcsh_pg.imagery.georeference.affine import Georeference
from dcsh_pg.imagery.georeference.whole import WholeFootprint


@dataclass(frozen=True)
class Placed:
    """Size in pixels, and position, of an image; None where it has none."""

    width: int
    height: int
    georeference: Georeference | WholeFootprint | None

    @property
    def resolution(self) -> float | None:
        """Metres per pixel at its centre, or None."""
        return self.georeference.resolution(self.width, self.height) if self.georeference else None
