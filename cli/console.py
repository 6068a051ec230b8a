"""What people see: stdout is for data, stderr for people.

On a terminal a rich progress bar with rate and time left; elsewhere one plain line every few
seconds, so that logs stay readable.
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
    """Text for people, on stderr; control characters in it are escaped."""
    typer.echo(printable(text, lines=True), err=True)


def show(text: object) -> None:
    """A line of the answer, on stdout; control characters in it are escaped."""
    typer.echo(printable(str(text)))


class _Plain(Progress):
    def __init__(self):
        self.text, self.total, self.done = "", None, 0
        self.began = self.told = time.monotonic()

    def start(self, text, total=None):
        self.text, self.total, self.done = text, total, 0
        self.began = self.told = time.monotonic()
        say(text)

    def advance(self, n=1, *, total=None):
        self.done += n
        self.total = total if total is not None else self.total
        now = time.monotonic()
        if now - self.told >= PLAIN_SECONDS:
            self.told = now
            rate = self.done / max(now - self.began, 1e-9)
            left = f", {(self.total - self.done) / rate:.0f} s left" if self.total and rate else ""
            of = f"/{self.total}" if self.total else ""
            say(f"{self.text}: {self.done}{of}, {rate:.1f}/s{left}")

    def note(self, text):
        say(printable(text))


class _Rich(Progress):
    def __init__(self):
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
        self.task, self.began, self.done = None, 0.0, 0
        self.bar.start()

    def start(self, text, total=None):
        self.began, self.done = time.monotonic(), 0
        self.task = self.bar.add_task(printable(text), total=total, rate="")

    def advance(self, n=1, *, total=None):
        self.done += n
        rate = self.done / max(time.monotonic() - self.began, 1e-9)
        update = {"advance": n, "rate": f"{rate:.1f}/s"}
        if total is not None:
            update["total"] = total
        self.bar.update(self.task, **update)

    def note(self, text):
        self.bar.console.print(printable(text), markup=False, highlight=False)


@contextmanager
def progress(*, quiet: bool = False) -> Iterator[Progress]:
    """A progress display for the time of the ``with`` block, fit for the stream it goes to."""
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
