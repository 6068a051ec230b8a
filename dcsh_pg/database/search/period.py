"""Periods of time."""

from __future__ import annotations

from datetime import date, datetime, timezone
from typing import Literal, TypeAlias, overload

from dcsh_pg.errors import UsageError

Period = tuple[datetime | None, datetime | None]
"""Since, included, and until, not included; None is open."""

Every = Literal["hour", "day", "week", "month", "quarter", "year"]
"""Length of a period."""

Time: TypeAlias = datetime | date | str | int
"""A time, a day, a text like '2021', '2021-05', '2021-05-03' or '2021-05-03T10:30Z', or a year."""


@overload
def to_time(value: Time, name: str) -> datetime: ...
@overload
def to_time(value: Time | None, name: str) -> datetime | None: ...
def to_time(value: Time | None, name: str) -> datetime | None:
    """A time with a zone: the beginning of a year, month or day; UTC where none is given.

    Args:
        name: what the value is for, in messages.

    Raises:
        UsageError: the value is not a time.
    """
    if value is None or isinstance(value, datetime):
        time = value
    elif isinstance(value, date):
        time = datetime(value.year, value.month, value.day)
    else:
        time = _parsed(str(value), name)
    return time.replace(tzinfo=timezone.utc) if time and time.tzinfo is None else time


def _parsed(text: str, name: str) -> datetime:
    parts = text.strip().count("-")
    full = text.strip() + ("-01" * (2 - parts) if "T" not in text and parts < 2 else "")
    try:
        return datetime.fromisoformat(full.replace("Z", "+00:00"))
    except ValueError:
        raise UsageError(
            f"{name}: not a time: '{text}'",
            hint="write 2021, 2021-05, 2021-05-03 or 2021-05-03T10:30",
        ) from None
