"""Periods of time."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

Period = tuple[datetime | None, datetime | None]
"""Since, included, and until, not included; None is open."""

Every = Literal["hour", "day", "week", "month", "quarter", "year"]
"""Length of a period."""
