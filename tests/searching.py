"""Searches with their conditions as keywords, for tests that have many."""

from dcsh_pg.database.search import tiles
from dcsh_pg.database.search.filter import Filter
from dcsh_pg.database.search.hits import hits
from dcsh_pg.database.search.query import ChipQuery, CodeQuery, ExamplesQuery, RegionQuery


def similar(conn, name, code, *, k=10, **conditions):
    return hits(conn, name, CodeQuery(bytes(code)), Filter(**conditions), k)


def similar_to(conn, name, chip, *, k=10, **conditions):
    return hits(conn, name, ChipQuery(chip), Filter(**conditions), k)


def within(conn, name, code, radius, **conditions):
    return hits(conn, name, CodeQuery(bytes(code)), Filter(max_distance=radius, **conditions), None)


def similar_to_examples(conn, name, likes, unlikes=(), *, rule="min", k=10, **conditions):
    return hits(conn, name, ExamplesQuery(likes, unlikes, rule), Filter(**conditions), k)


def similar_region(conn, name, region, *, rule="min", min_share=0.6, k=10, **conditions):
    return hits(conn, name, RegionQuery(region, rule, min_share), Filter(**conditions), k)


def tile(conn, name, z, x, y, *, chip=None, code=None, k=None, **conditions):
    query = None
    if chip is not None:
        query = ChipQuery(chip)
    elif code is not None:
        query = CodeQuery(code)
    return tiles.tile(conn, name, z, x, y, query, k=k, filter=Filter(**conditions))
