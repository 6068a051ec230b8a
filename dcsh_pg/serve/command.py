"""A search of the page as a command of dcsh-pg."""

from __future__ import annotations

import shlex

from dcsh_pg import codes
from dcsh_pg.database.search.filter import Filter
from dcsh_pg.database.search.query import ChipQuery, CodeQuery, ExamplesQuery, Query
from dcsh_pg.results.record import iso
from dcsh_pg.serve.asked import AskedFilter


def command(archive_name: str, query: Query, asked: AskedFilter, filter: Filter, k: int) -> str:
    """The command whose hits are those of a search; scenes by id have no option and are left out."""
    words = ["dcsh-pg", "search", archive_name, *_query(query)]
    if filter.area is not None:
        words += ["--area", filter.area.wkt]
    if filter.since is not None:
        words += ["--since", iso(filter.since)]
    if filter.until is not None:
        words += ["--until", iso(filter.until)]
    if filter.max_distance is not None:
        words += ["--max-distance", str(filter.max_distance)]
    if asked.where:
        words += ["--where", asked.where]
    return shlex.join([*words, "-k", str(k)])


def _query(query: Query) -> list[str]:
    if isinstance(query, ChipQuery):
        return ["--chip", str(query.chip)]
    if isinstance(query, CodeQuery):
        return ["--code", f"0x{codes.to_hex(query.code)}"]
    if isinstance(query, ExamplesQuery):
        words = ["--like", ",".join(map(str, query.likes)), "--rule", query.rule]
        return words + (["--unlike", ",".join(map(str, query.unlikes))] if query.unlikes else [])
    return ["--region", query.region.wkt]
