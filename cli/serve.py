"""``dcsh-pg serve``: the map page.  Library: :func:`dcsh_pg.serve.app.create_app`."""

from __future__ import annotations

import ipaddress
import os
import secrets
import signal
import sys
from typing import Annotated

import typer

from dcsh_pg.cli import app, options
from dcsh_pg.cli.console import say
from dcsh_pg.errors import UsageError
from dcsh_pg.extras import requires

TOKEN = "DCSH_PG_TOKEN"
"""Environment variable with the token; otherwise it is random."""

NETWORK = "Network"


@app.command()
def serve(
    archive: Annotated[
        str | None,
        typer.Argument(
            metavar="ARCHIVE",
            help="The only archive to serve. Default: all that the role may read.",
            show_default=False,
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Address to listen on.", rich_help_panel=NETWORK)
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=1, max=65535, help="Port to listen on.", rich_help_panel=NETWORK)
    ] = 8080,
    name: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Host name under which browsers reach the server, besides localhost and addresses. "
            "May be given several times.",
            rich_help_panel=NETWORK,
            show_default=False,
        ),
    ] = None,
    no_token: Annotated[
        bool,
        typer.Option(
            "--no-token",
            help="Answer without a token: every user of this machine can then read the archive. Only "
            f"on 127.0.0.1. Otherwise the token is random, or that of the variable {TOKEN}.",
            rich_help_panel=NETWORK,
        ),
    ] = False,
    workers: Annotated[
        int, typer.Option(min=1, max=64, help="Number of processes.", rich_help_panel=NETWORK)
    ] = 1,
    basemap: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Base map for the page to load: raster tiles, https://.../{z}/{x}/{y}.png. Default: "
            "coastlines alone, and nothing is loaded from elsewhere.",
            show_default=False,
        ),
    ] = None,
    any_driver: options.AnyDriver = False,
    device: options.Device = "auto",
    database: options.Database = options.DATABASE,
) -> None:
    """Serve a map page: point at a chip, mark hits right or wrong, search again.

    Prints the page's address. The page only reads. Needs the extra 'serve'.

    [dim]dcsh-pg serve naip[/dim]
    """
    with requires("serve", "serve a page"):
        import uvicorn

        from dcsh_pg.catalog.qgis_rasters import base_map
        from dcsh_pg.serve.app import create_app  # noqa: F401  # fails here, not in a worker
        from dcsh_pg.serve.folder import temporary_folder
        from dcsh_pg.serve.service import Service
        from dcsh_pg.serve.settings import Settings
    if no_token and not _is_loopback(host):
        raise UsageError(
            f"--no-token with --host {host}: everyone on the network could read the archive",
            hint="leave out --no-token, or listen on 127.0.0.1 behind a proxy that authenticates",
        )
    if basemap is not None:
        base_map(basemap)  # reports a wrong one
    token = None if no_token else os.environ.get(TOKEN) or secrets.token_urlsafe(24)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the folder is removed
    with temporary_folder() as folder:
        settings = Settings(
            archive=archive,
            folder=str(folder),
            dsn=database.dsn,
            pg_bin=None if database.pg_bin is None else str(database.pg_bin),
            device=device,
            token=token,
            hosts=(*(name or ()), host),
            basemap=basemap,
            any_driver=any_driver,
        )
        Service(settings).close()  # reports what is wrong before a worker starts
        settings.to_environment()
        shown = "127.0.0.1" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
        say(f"serving http://{shown}:{port}/{f'?token={token}' if token else ''}")
        say("stop with Ctrl-C")
        uvicorn.run(
            "dcsh_pg.serve.app:create_app",
            factory=True,
            host=host,
            port=port,
            workers=workers,
            log_level="warning",
            server_header=False,
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
