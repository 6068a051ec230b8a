"""Output: stdout is for data, stderr for people.

On a terminal progress is a bar with rate and time left; elsewhere a plain line every few seconds,
so that logs stay readable.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from dcsh_pg.progress import SILENT, Progress
from dcsh_pg.terminal import printable

PLAIN_SECONDS = 5.0


def say(text: str) -> None:
    """Prints text for people on stderr, with control characters escaped."""
    typer.echo(printable(text, lines=True), err=True)


def show(text: object) -> None:
    """Prints a line of the result on stdout, with control characters escaped."""
    typer.echo(printable(str(text)))


class _Plain(Progress):
    def __init__(self) -> None:
        self._reset("", None)

    def _reset(self, text: str, total: int | None) -> None:
        self.text, self.total, self.done = text, total, 0
        self.began = self.printed = time.monotonic()

    def start(self, text: str, total: int | None = None) -> None:
        self._reset(text, total)
        say(text)

    def advance(self, n: int = 1, *, total: int | None = None) -> None:
        self.done += n
        self.total = total if total is not None else self.total
        now = time.monotonic()
        if now - self.printed >= PLAIN_SECONDS:
            self.printed = now
            rate = self.done / max(now - self.began, 1e-9)
            left = f", {(self.total - self.done) / rate:.0f} s left" if self.total and rate else ""
            of = f"/{self.total}" if self.total else ""
            say(f"{self.text}: {self.done}{of}, {rate:.1f}/s{left}")

    def note(self, text: str) -> None:
        say(printable(text))


class _Rich(Progress):
    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as Bar

        self.bar = Bar(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self.began, self.done = 0.0, 0
        self.bar.start()

    def start(self, text: str, total: int | None = None) -> None:
        self.began, self.done = time.monotonic(), 0
        self.task = self.bar.add_task(printable(text), total=total, rate="")

    def advance(self, n: int = 1, *, total: int | None = None) -> None:
        self.done += n
        rate = self.done / max(time.monotonic() - self.began, 1e-9)
        self.bar.update(self.task, advance=n, total=total, rate=f"{rate:.1f}/s")

    def note(self, text: str) -> None:
        self.bar.console.print(printable(text), markup=False, highlight=False)


@contextmanager
def progress(*, quiet: bool = False) -> Iterator[Progress]:
    """Displays progress during the ``with`` block, as a bar on a terminal and as lines elsewhere."""
    if quiet:
        yield SILENT
    elif sys.stderr.isatty():
        shown = _Rich()
        try:
            yield shown
        finally:
            shown.bar.stop()
    else:
        yield _Plain()
