"""Progress reporting; the caller decides what is shown."""

from __future__ import annotations


class Progress:
    """Counts towards a total that may grow or be unknown.  This one shows nothing.

    Library calls take one as ``progress``.  They call ``start`` once for each phase, ``advance`` for
    things done and ``note`` for a line to show.
    """

    def start(self, text: str, total: int | None = None) -> None: ...

    def advance(self, n: int = 1, *, total: int | None = None) -> None: ...

    def note(self, text: str) -> None: ...


class Notes(Progress):
    """Passes on the notes alone: of a step within a phase that another progress counts."""

    def __init__(self, shown: Progress):
        self.shown = shown

    def note(self, text: str) -> None:
        self.shown.note(text)


SILENT = Progress()
