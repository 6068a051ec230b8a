"""Marks and rounds of searching again, with undo; needs no QGIS."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Optional

from .queries import ChipQuery, ExamplesQuery, Query


@dataclass(frozen=True)
class Round:
    """A query, and the chips marked so far."""

    query: Optional[Query] = None
    right: tuple[int, ...] = ()
    wrong: tuple[int, ...] = ()


class Rounds:
    """The rounds of one user: what is asked and marked now, and all before it."""

    def __init__(self) -> None:
        self._past: list[Round] = []
        self.now = Round()

    def ask(self, query: Query) -> None:
        """A new query, which takes its own examples as marks."""
        likes = query.likes if isinstance(query, ExamplesQuery) else ()
        unlikes = query.unlikes if isinstance(query, ExamplesQuery) else ()
        self._go(Round(query, likes, unlikes))

    def mark(self, chips: Iterable[int], is_right: bool | None) -> None:
        """Marks chips right or wrong, or removes their mark."""
        chosen = tuple(dict.fromkeys(chips))
        right = tuple(chip for chip in self.now.right if chip not in chosen)
        wrong = tuple(chip for chip in self.now.wrong if chip not in chosen)
        right += chosen if is_right is True else ()
        wrong += chosen if is_right is False else ()
        if (right, wrong) != (self.now.right, self.now.wrong):
            self._go(replace(self.now, right=right, wrong=wrong))

    def mark_of(self, chip: int) -> bool | None:
        """True: right, False: wrong, None: not marked."""
        return True if chip in self.now.right else False if chip in self.now.wrong else None

    def next_query(self) -> ExamplesQuery | None:
        """The query that the marks make, or None if they change nothing.

        The first query's chip counts as right unless it is marked wrong.
        """
        query, right, wrong = self.now.query, self.now.right, self.now.wrong
        if not right and not wrong:
            return None
        first = (query.chip,) if isinstance(query, ChipQuery) and query.chip not in wrong else ()
        likes = tuple(dict.fromkeys(first + right))
        made = ExamplesQuery(likes, wrong)
        return made if likes and made != query else None

    def undo(self) -> bool:
        """Returns to the state before; False if there is none."""
        if not self._past:
            return False
        self.now = self._past.pop()
        return True

    @property
    def can_undo(self) -> bool:
        return bool(self._past)

    def _go(self, state: Round) -> None:
        if self.now.query is not None:
            self._past.append(self.now)
        self.now = state
