"""One finding of the examination."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "missing", "problem"]
OK: Status = "ok"
MISSING: Status = "missing"
PROBLEM: Status = "problem"


@dataclass(frozen=True)
class Finding:
    """Something that was looked for.

    Attributes:
        name: what was looked for.
        status: 'ok'; 'missing' if only some commands need it; 'problem' if it must be fixed.
        found: what is there, for people.
        fix: what to do about it, or None.
    """

    name: str
    status: Status
    found: str
    fix: str | None = None
