"""Output: stdout is for data, stderr for people.

On a terminal progress is a bar with rate and time left; elsewhere nothing, or with --verbose a plain
line every few seconds, so that logs stay readable.
"""

from __future__ import annotations

import json
import re
import shlex
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import typer

from dcsh_pg.progress import SILENT, Progress
from dcsh_pg.terminal import printable

PLAIN_SECONDS = 5.0
SPEED_SECONDS = 600.0
"""Past time from which the time left is estimated; a cell of a benchmark can take minutes."""


@dataclass(frozen=True)
class Choice:
    """What the common options of the running command say."""

    quiet: bool = False
    verbose: bool = False
    as_json: bool = False
    debug: bool = False


chosen = Choice()


def choose(**options: bool) -> None:
    """Sets ``chosen``; a process runs one command at a time."""
    global chosen
    chosen = Choice(**options)


def say(text: str) -> None:
    """Prints text for people on stderr, with control characters escaped; nothing with --quiet."""
    if not chosen.quiet:
        warn(text)


def warn(text: str) -> None:
    """The same with --quiet, too: errors and their hints."""
    typer.echo(printable(text, lines=True), err=True)


def as_json() -> bool:
    """Whether the command is to print its result as JSON."""
    return chosen.as_json


def print_json(facts: Any) -> None:
    """Prints the result of a command as JSON on stdout."""
    typer.echo(json.dumps(facts, indent=2, default=str))


def answer(text: str, **facts: Any) -> None:
    """Prints the result of a command on stdout: ``text``, or with --json the facts."""
    if chosen.as_json:
        print_json(facts)
    else:
        typer.echo(text)


def done(text: str, **facts: Any) -> None:
    """Reports what a command did: ``text`` for people on stderr, or with --json the facts on stdout."""
    if chosen.as_json:
        answer(text, **facts)
    else:
        say(text)


def command(*words: object) -> str:
    """A command line that a shell reads as these words."""
    return shlex.join(str(word) for word in words)


def show(text: object) -> None:
    """Prints a line of the result on stdout, with control characters escaped."""
    typer.echo(printable(str(text)))


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Prints rows of texts on stdout as a search prints hits; columns of numbers are aligned right."""
    from dcsh_pg import results

    rows = list(rows)
    types = {
        heading: int if all(re.fullmatch(r"[\d.,]+%?", cell) for cell in cells) else str
        for heading, cells in zip(headings, zip(*rows, strict=True), strict=True)
    }
    results.show([dict(zip(headings, row, strict=True)) for row in rows], columns=types)


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


class _Notes(Progress):
    """Only the notes."""

    def note(self, text: str) -> None:
        say(printable(text))


class _Rich(Progress):
    def __init__(self, *, transient: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        self.bar = Bar(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[count]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            speed_estimate_period=SPEED_SECONDS,
            transient=transient,
        )
        self.began, self.done = 0.0, 0
        self.bar.start()

    def start(self, text: str, total: int | None = None) -> None:
        self.began, self.done = time.monotonic(), 0
        self.task = self.bar.add_task(printable(text), total=total, count="")

    def advance(self, n: int = 1, *, total: int | None = None) -> None:
        self.done += n
        rate = self.done / max(time.monotonic() - self.began, 1e-9)
        known = total if total is not None else self.bar.tasks[-1].total
        of = "" if known is None else f"/{known:,.0f}"
        self.bar.update(self.task, advance=n, total=total, count=f"{self.done:,}{of} {rate:.1f}/s")

    def note(self, text: str) -> None:
        self.bar.console.print(printable(text), markup=False, highlight=False)


@contextmanager
def progress(*, transient: bool = False) -> Iterator[Progress]:
    """Displays progress during the ``with`` block, as the options say and stderr allows.

    Args:
        transient: remove the bar when the block ends.
    """
    if chosen.quiet:
        yield SILENT
    elif sys.stderr.isatty():
        shown = _Rich(transient=transient)
        try:
            yield shown
        finally:
            shown.bar.stop()
    else:
        yield _Plain() if chosen.verbose else _Notes()


@contextmanager
def working(text: str) -> Iterator[None]:
    """Displays for how long one step without a count, such as a statement of SQL, has been running."""
    with progress(transient=True) as shown:
        shown.start(text)
        yield
