"""A search written down so that it can be replayed elsewhere: what was asked of what, and the answer."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypeVar, cast, get_args

from shapely.geometry import mapping

from dcsh_pg import __version__, codes, strict_json
from dcsh_pg.database.search.filter import Filter
from dcsh_pg.database.search.query import (
    ChipQuery,
    CodeQuery,
    ExamplesQuery,
    Query,
    RegionQuery,
    Rule,
)
from dcsh_pg.errors import DcshError, InputError
from dcsh_pg.files import replacing
from dcsh_pg.imagery.area import parse_area

FORMAT = 1
"""Version of the format; a higher one is refused."""

MAX_BYTES = 64 << 20
"""Of a file."""
MOST_HITS = 1_000_000
_MOST = 2**31 - 1
_MOST_ID = 2**63 - 1

T = TypeVar("T")


@dataclass(frozen=True)
class Manifest:
    """A search and its answer.

    Attributes:
        archive: name of the archive.
        chips: how many it had.
        digest: of its content: :func:`dcsh_pg.database.archives.digest.archive_digest`.
        model_sha256: of the model of its codes.
        query: what was asked; without its picture.
        filter: which chips were searched; without scenes.
        scenes: content hashes of the scenes that were searched, or None.
        k: how many were wanted; None is all within ``filter.max_distance``.
        hits: (id, distance in bits) of the answer, in its order.
        made: when.
        versions: of dcsh-pg and of the server, for people.
    """

    archive: str
    chips: int
    digest: str
    model_sha256: str
    query: Query
    filter: Filter
    scenes: tuple[str, ...] | None
    k: int | None
    hits: tuple[tuple[int, int], ...]
    made: datetime = field(default_factory=lambda: datetime.now(timezone.utc))
    versions: Mapping[str, str] = field(default_factory=lambda: {"dcsh_pg": __version__})

    def write(self, path: Path | str) -> None:
        """Writes JSON.

        Raises:
            OutputError: the file cannot be written.
        """
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(self.to_json(), indent=1) + "\n", encoding="utf-8")

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "dcsh_pg_search": FORMAT,
            "made": self.made.isoformat(),
            "versions": dict(self.versions),
            "archive": {"name": self.archive, "chips": self.chips, "sha256": self.digest},
            "model": {"sha256": self.model_sha256},
            "query": _query_to_json(self.query),
            "filter": {
                "area": None if self.filter.area is None else mapping(self.filter.area),
                "since": self.filter.since and self.filter.since.isoformat(),
                "until": self.filter.until and self.filter.until.isoformat(),
                "max_distance": self.filter.max_distance,
                "where": self.filter.where,
                "stac": self.filter.stac,
                "scenes": self.scenes,
            },
            "k": self.k,
            "hits": [list(hit) for hit in self.hits],
        }


def read_manifest(path: Path | str) -> Manifest:
    """Reads a manifest; nothing in it is trusted.

    Raises:
        InputError: it cannot be read, or is none.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ValueError(f"it is larger than {MAX_BYTES >> 20} MiB")
        return _manifest(_Object(strict_json.loads_checked(content.decode("utf-8-sig")), "it"))
    except OSError as error:
        raise InputError(
            f"{path} cannot be read: {error.strerror or error}", hint="check the path"
        ) from None
    except (ValueError, DcshError) as error:
        raise InputError(
            f"{path} is not the manifest of a search: {error}",
            hint="make one with 'dcsh-pg search ... --manifest FILE.json'",
        ) from None


def _query_to_json(query: Query) -> dict[str, Any]:
    found: dict[str, Any] = {"caption": query.caption, "exact": query.exact}
    if isinstance(query, CodeQuery | ChipQuery):
        found |= (
            {"code": query.code.hex()} if isinstance(query, CodeQuery) else {"chip": query.chip}
        )
        found["of_text"] = isinstance(query, CodeQuery) and query.of_text
        found["refine"] = list(query.z or ()) if query.refine else None
    elif isinstance(query, ExamplesQuery):
        found |= {"likes": list(query.likes), "unlikes": list(query.unlikes), "rule": query.rule}
    else:
        found |= {"region": mapping(query.region), "rule": query.rule}
        found["min_share"] = query.min_share
    return found


class _Object:
    """A JSON object whose values are taken by name and kind."""

    def __init__(self, value: Any, name: str):
        if not isinstance(value, dict):
            raise ValueError(f"{name} is not an object")
        self._value = value

    def __contains__(self, name: str) -> bool:
        return self._value.get(name) is not None

    def object(self, name: str) -> _Object:
        return _Object(self._value.get(name), f"'{name}'")

    def integer(self, name: str, least: int, most: int) -> int:
        return _integer(self._value.get(name), f"'{name}'", least, most)

    def text(self, name: str) -> str:
        value = self._value.get(name)
        if not isinstance(value, str) or len(value) > 10_000:
            raise ValueError(f"'{name}' is not a text")
        return value

    def sha256(self, name: str) -> str:
        value = self.text(name)
        if len(value) != 64 or not set(value) <= set("0123456789abcdef"):
            raise ValueError(f"'{name}' is not a SHA-256")
        return value

    def flag(self, name: str) -> bool:
        value = self._value.get(name)
        if not isinstance(value, bool):
            raise ValueError(f"'{name}' is not true or false")
        return value

    def time(self, name: str) -> datetime:
        value = datetime.fromisoformat(self.text(name))
        if value.tzinfo is None:
            raise ValueError(f"'{name}' has no time zone")
        return value

    def number(self, name: str) -> float:
        return _number(self._value.get(name), f"'{name}'")

    def mapping(self, name: str) -> dict[str, Any]:
        self.object(name)
        return dict(self._value[name])

    def list(self, name: str, item: Callable[[Any], T]) -> tuple[T, ...]:
        value = self._value.get(name)
        if not isinstance(value, list) or len(value) > MOST_HITS:
            raise ValueError(f"'{name}' is not a list of at most {MOST_HITS}")
        return tuple(map(item, value))


def _integer(value: Any, name: str, least: int, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ValueError(f"{name} is not a whole number from {least} to {most}")
    return value


def _number(value: Any, name: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise ValueError(f"{name} is not a number")
    return float(value)


def _id(value: Any) -> int:
    return _integer(value, "an id", -_MOST_ID, _MOST_ID)


def _hit(value: Any) -> tuple[int, int]:
    if not isinstance(value, list) or len(value) != 2:
        raise ValueError("a hit is not an id and a distance")
    return _id(value[0]), _integer(value[1], "a distance", 0, 1024)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("a content hash is not a text")
    return value


def _manifest(content: _Object) -> Manifest:
    if content.integer("dcsh_pg_search", 1, _MOST) > FORMAT:
        raise ValueError("it was made by a newer dcsh-pg")
    archive, filter = content.object("archive"), content.object("filter")
    return Manifest(
        archive=archive.text("name"),
        chips=archive.integer("chips", 0, _MOST_ID),
        digest=archive.sha256("sha256"),
        model_sha256=content.object("model").sha256("sha256"),
        query=_query(content.object("query")),
        filter=_filter(filter),
        scenes=filter.list("scenes", _text) if "scenes" in filter else None,
        k=content.integer("k", 1, _MOST) if "k" in content else None,
        hits=content.list("hits", _hit),
        made=content.time("made"),
        versions={
            name: str(value)[:100]
            for name, value in content.mapping("versions").items()
            if isinstance(value, str)
        },
    )


def _filter(content: _Object) -> Filter:
    return Filter(
        area=parse_area(json.dumps(content.mapping("area")), "area") if "area" in content else None,
        since=content.time("since") if "since" in content else None,
        until=content.time("until") if "until" in content else None,
        max_distance=content.integer("max_distance", 0, 1024)
        if "max_distance" in content
        else None,
        where=content.mapping("where") if "where" in content else None,
        stac=content.mapping("stac") if "stac" in content else None,
    )


def _query(content: _Object) -> Query:
    asked: dict[str, Any] = {"exact": content.flag("exact"), "caption": content.text("caption")}
    query: Query
    if "code" in content or "chip" in content:
        if "code" in content:
            code = bytes(codes.from_text("0x" + content.text("code")))
            query = CodeQuery(code, of_text=content.flag("of_text"), **asked)
        else:
            query = ChipQuery(content.integer("chip", -_MOST_ID, _MOST_ID), **asked)
        if "refine" not in content:
            return query
        z = content.list("refine", lambda value: _number(value, "a number of 'refine'"))
        return replace(query, z=z, refine=True)
    name = content.text("rule")
    if name not in get_args(Rule):
        raise ValueError(f"unknown rule {name!r}")
    rule = cast("Rule", name)
    if "likes" in content:
        likes, unlikes = content.list("likes", _id), content.list("unlikes", _id)
        return ExamplesQuery(likes, unlikes, rule, **asked)
    region = parse_area(json.dumps(content.mapping("region")), "region")
    return RegionQuery(region, rule, content.number("min_share"), **asked)
