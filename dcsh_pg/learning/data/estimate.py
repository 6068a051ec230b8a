"""How long computing features will take."""

from __future__ import annotations

import time

from dcsh_pg.learning.data.computing import Way
from dcsh_pg.progress import Progress

MEASURED = 3.0
"""Seconds of computing that an estimate is made from."""
WORTH_SAYING = 60.0
"""Seconds from which it is noted."""


class Estimate:
    """Notes how features are computed and how long it will take, once and early.

    Attributes:
        passes: images that the encoder is to run on in all.
    """

    def __init__(self, encoder: str, way: Way, passes: int, progress: Progress):
        self.encoder, self.way, self.passes = encoder, way, passes
        self.progress = progress
        self._began, self._done = time.monotonic(), 0
        self._is_made = False

    def advance(self, passes: int) -> None:
        """Counts passes that are done."""
        self._done += passes
        seconds = time.monotonic() - self._began
        if self._is_made or seconds < MEASURED:
            return
        self._is_made = True
        rate = self._done / max(seconds, 1e-9)
        left = (self.passes - self._done) / rate
        if left >= WORTH_SAYING:
            self.progress.note(
                f"features ({self.encoder}): about {duration(left)} for {self.passes:,} passes, "
                f"{rate:.3g} a second by {self.way.runtime} in {self.way.precision}"
            )


def duration(seconds: float) -> str:
    """'40 s', '6 min' or '2 h 10 min', rounded."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
