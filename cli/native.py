"""``dcsh-pg native``: build and install the native index.

Library: :mod:`dcsh_pg.database.server.native`.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from dcsh_pg.cli import app, options
from dcsh_pg.cli.commands import Commands
from dcsh_pg.cli.console import as_json, done, print_json, progress
from dcsh_pg.errors import UsageError

native = Commands(no_args_is_help=True, help="Build and install the native index on codes.")
app.add_typer(native, name="native")

PgConfigPath = Annotated[
    str | None,
    typer.Option(
        "--pg-config",
        metavar="PATH",
        help="The server's program pg_config, which reports its directories. Default: the "
        "embedded server.",
    ),
]


@native.command()
def install(pg_config: PgConfigPath = None, pg_bin: options.PgBin = None) -> None:
    """Build the extension dcsh_hamming with a C compiler and install it for a server.

    On the embedded server dcsh-pg does this itself if there is a compiler; run it to see why it
    failed. For another server, run it on that server's machine with write access to its
    directories (sudo). Then 'dcsh-pg db upgrade' creates the extension in a database.

    [dim]sudo dcsh-pg native install --pg-config /usr/lib/postgresql/17/bin/pg_config[/dim]
    """
    _check(pg_config, pg_bin)
    from dcsh_pg.database.server import native as library
    from dcsh_pg.database.server.embedded import EmbeddedServer
    from dcsh_pg.database.server.native_build import EXTENSION, PgConfig, version

    with progress() as shown:
        if pg_config is not None:
            folders = library.install(PgConfig.read(pg_config), progress=shown)
        else:
            folders = EmbeddedServer.of(pg_bin).install_native(progress=shown)
    where = " and ".join(sorted({str(folders.libraries), str(folders.scripts)}))
    done(
        f"{EXTENSION} {version()} is installed in {where}\n"
        "next, for each database: dcsh-pg db upgrade",
        extension=EXTENSION,
        version=version(),
        folders=sorted({str(folders.libraries), str(folders.scripts)}),
    )


@native.command()
def status(pg_config: PgConfigPath = None, pg_bin: options.PgBin = None) -> None:
    """Show whether the extension is installed for a server, and what prevents it if not.

    'dcsh-pg db status' shows whether a database uses it.
    """
    _check(pg_config, pg_bin)
    from dcsh_pg.database.server import native as library
    from dcsh_pg.database.server.embedded import EmbeddedServer
    from dcsh_pg.database.server.native_build import PgConfig

    if pg_config is not None:
        config = PgConfig.read(pg_config)
        state = library.status(config, library.InstallFolders.of_server(config))
    else:
        server = EmbeddedServer.of(pg_bin)
        config = PgConfig.read(Path(server.programs) / "pg_config")
        state = library.status(config, library.InstallFolders.embedded(server.cluster, config))
    if as_json():
        print_json(dataclasses.asdict(state))
        return
    lines = {
        "server": f"{state.server}{'' if pg_config else ', embedded'}",
        "pg_config": state.pg_config,
        "extension": f"dcsh_hamming {state.sources}",
        "compiler": state.compiler or "none",
        "installed": "yes" if state.installed else "no",
        "place": state.place,
        "obstacle": state.obstacle or "-",
    }
    for name, value in lines.items():
        typer.echo(f"{name:<11}{value}")


def _check(pg_config: str | None, pg_bin: Path | None) -> None:
    if pg_config is not None and pg_bin is not None:
        raise UsageError(
            "--pg-config and --pg-bin cannot be combined",
            hint="--pg-bin is for the embedded server, --pg-config for any other",
        )
