"""Acquisition times, from tags and file names.  All times are UTC.

dateutil is not used: it guesses, and would read '12' or '10.11.12' as a date.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone

from dcsh_pg.errors import UsageError

FIRST_YEAR = 1900

TAGS = (
    "ACQUISITIONDATETIME",
    "acquisition_datetime",
    "datetime",
    "acquired",
    "EXIF_DateTimeOriginal",
    "NITF_IDATIM",
    "TIFFTAG_DATETIME",
    "EXIF_DateTime",
)
"""Tags with the acquisition time, best first, in any case."""

_DAY = r"(?P<year>(?:19|20)\d\d)(?P<s>[-_.:]?)(?P<month>0[1-9]|1[0-2])(?P=s)(?P<day>0[1-9]|[12]\d|3[01])"
_TIME = r"(?P<hour>[01]\d|2[0-3])(?P<t>[:.-]?)(?P<minute>[0-5]\d)(?:(?P=t)(?P<second>[0-5]\d))?"
_SECONDS = r"(?P<hour>[01]\d|2[0-3])(?P<t>[:.-]?)(?P<minute>[0-5]\d)(?P=t)(?P<second>[0-5]\d)"
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = rf"(?P<month>{'|'.join(_MONTHS)})"
_IN_NAME = [
    re.compile(rf"(?<!\d)(?:{pattern})(?!\d)", re.IGNORECASE)
    for pattern in (
        # 20210714, 2021-07-14, 20210714T103000, 20210714_1030
        rf"{_DAY}(?:[T_ ]{_TIME}Z?)?",
        # 20210714103025, 20210714-103025: a time without a T has its seconds
        rf"{_DAY}-?{_SECONDS}Z?",
        # 21JUL14103025 of WorldView; 21JUL14 alone could also be the 21st of July
        rf"(?P<year>\d\d){_MONTH}(?P<day>\d\d){_SECONDS}",
        rf"(?<=(?:WV|GE|QB|IK)\d\d_)(?P<year>\d\d){_MONTH}(?P<day>\d\d)",
        rf"(?P<year>\d\d){_MONTH}(?P<day>\d\d)(?=(?:WV|GE|QB|IK)\d\d)",
        # A2021195.1030 of MODIS and VIIRS
        r"(?<![A-Z])A(?P<year>(?:19|20)\d\d)(?P<ordinal>\d{3})"
        r"(?:\.(?P<hour>[01]\d|2[0-3])(?P<minute>[0-5]\d))?",
        # 14.07.2021; 07/14/2021 would have other separators
        r"(?P<day>\d\d)\.(?P<month>\d\d)\.(?P<year>(?:19|20)\d\d)",
        rf"(?P<day>\d\d)(?P<s>[-_. ]?){_MONTH}(?P=s)(?P<year>(?:19|20)\d\d)",
    )
]
"""Dates and times in file names; of several at one position the longest counts."""
_IN_TAG = re.compile(rf"{_DAY}(?:[T ]?{_TIME}(?:\.\d+)?\s*(?P<offset>Z|UTC|[+-]\d\d:?\d\d)?)?\Z")
_DIRECTIVES = {
    "Y": r"\d{4}", "y": r"\d\d", "m": r"\d\d", "d": r"\d\d", "H": r"\d\d", "M": r"\d\d",
    "S": r"\d\d", "j": r"\d{3}", "b": r"[A-Za-z]{3}", "B": r"[A-Za-z]+", "f": r"\d{1,6}",
}  # fmt: skip


def parse_date(text: str) -> datetime | None:
    """A date in a tag or a table, with or without a time -> UTC, or None.

    Reads '2021-07-14', '20210714', '2021:07:14 10:56:02' and ISO 8601 with an offset; a time
    without an offset is taken as UTC.
    """
    match = _IN_TAG.match(text.strip().strip("\0"))
    return _moment(match) if match else None


def from_tags(tags: Mapping[str, str]) -> datetime | None:
    """The acquisition time of a file's tags, from the best of ``TAGS`` that can be read."""
    lower = {key.lower(): value for key, value in tags.items()}
    dates = (parse_date(lower[tag.lower()]) for tag in TAGS if tag.lower() in lower)
    return next((date for date in dates if date is not None), None)


def from_name(name: str) -> datetime | None:
    """The first valid date in a file name, with its time; docs/imagery.md lists the forms."""
    found = [
        (match.start(), -match.end(), moment)
        for pattern in _IN_NAME
        for match in pattern.finditer(name)
        if (moment := _moment(match)) is not None
    ]
    return min(found)[2] if found else None


class DatePattern:
    """Where the date is in file names.

    Args:
        text: a strptime format ('scene_%d%m%Y'), searched anywhere in the name, or a regular
            expression with the group ``date``, or with ``year``, ``month``, ``day`` and perhaps
            ``hour``, ``minute``, ``second``.

    Raises:
        UsageError: neither of the two.
    """

    def __init__(self, text: str):
        self.format = None if "(?P<" in text else text
        try:
            self.regex = re.compile(_format_regex(text) if self.format else text)
        except (re.error, KeyError) as error:
            raise UsageError(
                f"--date-pattern {text!r} cannot be read: {error}",
                hint="use a strptime format such as %Y%m%d, or a regular expression with (?P<date>...)",
            ) from None
        groups = set(self.regex.groupindex)
        if not (groups & {"date"} or {"year", "month", "day"} <= groups or "%" in text):
            raise UsageError(
                f"--date-pattern {text!r} contains no date",
                hint="use a strptime format such as %Y%m%d, or a regular expression with (?P<date>...)",
            )

    def find(self, name: str) -> datetime | None:
        """The date in a file name, UTC, or None where the pattern does not match."""
        dates = (self._moment(match) for match in self.regex.finditer(name))
        return next((date for date in dates if date is not None), None)

    def _moment(self, match: re.Match[str]) -> datetime | None:
        if self.format:
            try:
                return datetime.strptime(match[0], self.format).replace(tzinfo=timezone.utc)
            except ValueError:
                return None
        return parse_date(match["date"]) if "date" in self.regex.groupindex else _moment(match)


def _format_regex(text: str) -> str:
    parts = re.split(r"%(.)", text)
    for index, part in enumerate(parts):
        if index % 2 == 0:
            parts[index] = re.escape(part)
        else:
            parts[index] = "%" if part == "%" else _DIRECTIVES[part]
    return "".join(parts)


def _moment(match: re.Match[str]) -> datetime | None:
    found = match.groupdict()
    hour, minute, second = (int(found.get(part) or 0) for part in ("hour", "minute", "second"))
    try:
        year = int(found["year"])
        year += 2000 if year < 100 else 0
        if ordinal := found.get("ordinal"):
            day = datetime(year, 1, 1) + timedelta(days=int(ordinal) - 1)
            if day.year != year:
                return None
        else:
            day = datetime(year, _month(found["month"]), int(found["day"]))
        offset = (found.get("offset") or "").removeprefix("Z").removeprefix("UTC")
        zone = datetime.strptime(offset, "%z").tzinfo if offset else timezone.utc
        moment = day.replace(hour=hour, minute=minute, second=second, tzinfo=zone)
        moment = moment.astimezone(timezone.utc)
    except (ValueError, OverflowError):
        return None
    return moment if FIRST_YEAR <= moment.year <= datetime.now(timezone.utc).year + 1 else None


def _month(text: str) -> int:
    """'07' or 'JUL' -> 7."""
    return int(text) if text.isdigit() else _MONTHS.index(text.lower()) + 1
