"""``dcsh-pg archive index``: indexes on an archive's codes, exact and approximate.

Library: :mod:`dcsh_pg.database.archives.registry`,
:mod:`dcsh_pg.database.archives.approximate_index`, :mod:`dcsh_pg.evaluation.index_recall`;
SQL: ``dcsh.create_code_index``, ``dcsh.drop_code_index``.
"""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from dcsh_pg.cli import options
from dcsh_pg.cli.archive import archive
from dcsh_pg.cli.console import as_json, done, progress, working
from dcsh_pg.cli.recall import print_recall
from dcsh_pg.errors import UsageError


@archive.command()
def index(
    name: options.ArchiveName,
    approximate: Annotated[
        Literal["hnsw", "ivfflat"] | None,
        typer.Option(
            "--approximate",
            help="Create an approximate index of pgvector instead, for a server without the exact one; "
            "only searches with --approximate use it.",
            show_default=False,
        ),
    ] = None,
    lists: Annotated[
        int | None,
        typer.Option(
            help="Number of lists of ivfflat. Default: one per 1000 chips, the square root of their "
            "number above a million, fewer where the memory does not suffice.",
            show_default=False,
        ),
    ] = None,
    m: Annotated[
        int | None,
        typer.Option("--m", help="Connections of a node of hnsw. Default: 16.", show_default=False),
    ] = None,
    ef_construction: Annotated[
        int | None,
        typer.Option(
            help="Candidates for the connections of a node of hnsw. Default: 64, at least "
            "twice --m.",
            show_default=False,
        ),
    ] = None,
    memory: Annotated[
        int, typer.Option(min=1, metavar="MB", help="Memory of the server that the build may use.")
    ] = 1024,
    drop: Annotated[
        bool,
        typer.Option("--drop", help="Remove the exact index, or the one that --approximate names."),
    ] = False,
    database: options.Database = options.DATABASE,
) -> None:
    """Create an index on an archive's codes.

    'dcsh-pg ingest' creates the exact one where the server has the access method (dcsh-pg native
    install). Use this command for older archives. An approximate index is built while ingests and
    searches continue; its recall is then measured ('dcsh-pg recall').

    [dim]dcsh-pg archive index naip --approximate ivfflat[/dim]
    """
    from dcsh_pg.database.archives import registry
    from dcsh_pg.database.archives.approximate_index import (
        BuildOptions,
        create_approximate_index,
        drop_approximate_index,
    )

    build = BuildOptions(
        lists=lists, m=m, ef_construction=ef_construction, memory_bytes=memory * 2**20
    )
    if approximate is None and (lists, m, ef_construction) != (None, None, None):
        raise UsageError(
            "--lists, --m and --ef-construction are of approximate indexes",
            hint="add --approximate hnsw or --approximate ivfflat",
        )
    with database.connect() as conn:
        if drop and approximate is not None:
            dropped = drop_approximate_index(conn, name, approximate)
            done(
                f"archive '{name}': {', '.join(dropped) or f'no {approximate} index'} dropped",
                archive=name,
                dropped=dropped,
            )
        elif drop and registry.drop_code_index(conn, name):
            done(
                f"the index of archive '{name}' is dropped; searches compare every code",
                archive=name,
                index=None,
            )
        elif drop:
            done(f"archive '{name}' had no exact index", archive=name, index=None)
        elif approximate is None:
            with working("building the index"):
                made = registry.create_code_index(conn, name)
            done(f"archive '{name}' has the index {made}", archive=name, index=made)
        else:
            from dcsh_pg.evaluation.index_recall import measure_index

            with progress() as shown:
                made = create_approximate_index(conn, name, approximate, build, progress=shown)
                measured = measure_index(conn, name, progress=shown)
            done(
                f"archive '{name}' has the index {made}",
                archive=name,
                index=made,
                recall=measured.to_dict(),
            )
            if not as_json():
                print_recall(measured)
