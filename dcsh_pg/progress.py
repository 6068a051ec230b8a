"""How a library call tells that it gets on; what is shown is the caller's business."""

from __future__ import annotations


class Progress:
    """Counts towards a total that may grow or be unknown.  This one shows nothing.

    Library calls take one as ``progress`` and call ``start`` once for each phase, ``advance`` as
    things get done and ``note`` for a line that people should see.
    """

    def start(self, text: str, total: int | None = None) -> None: ...

    def advance(self, n: int = 1, *, total: int | None = None) -> None: ...

    def note(self, text: str) -> None: ...


SILENT = Progress()
