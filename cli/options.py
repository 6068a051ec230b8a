"""Options that several commands share, written once: name, type and help."""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from dcsh_pg.cli import complete
from dcsh_pg.cli.expand import Parsed
from dcsh_pg.errors import UsageError

if TYPE_CHECKING:
    import psycopg

    from dcsh_pg.archive import Archive
    from dcsh_pg.imagery.reading import Mask

_database_option = partial(typer.Option, rich_help_panel="Database")

Dsn = Annotated[
    str | None,
    _database_option(
        "--dsn",
        metavar="DSN",
        help="PostgreSQL to use: a URL, a libpq string or service=NAME. Default: libpq's variables (PGHOST, "
        "PGSERVICE, ...) or DATABASE_URL, else the embedded server.",
    ),
]
PgBin = Annotated[
    Path | None,
    _database_option(
        "--pg-bin",
        metavar="DIR",
        help="Run the embedded server with the programs in DIR (an installed PostgreSQL that has "
        "pgvector) instead of the bundled ones.",
    ),
]


@dataclass(frozen=True)
class ChosenDatabase:
    """The database that --dsn and --pg-bin name."""

    dsn: Dsn = None
    pg_bin: PgBin = None

    def connect(self) -> psycopg.Connection:
        """A connection to a database with the current schema."""
        from dcsh_pg.database.server import schema
        from dcsh_pg.database.server.connect import connect

        conn = connect(self.dsn, pg_bin=self.pg_bin)
        schema.require_current(conn)
        return conn

    def open(self, archive: str, *, device: str = "auto") -> Archive:
        """An archive in it."""
        from dcsh_pg.archive import Archive

        return Archive.open(archive, dsn=self.dsn, pg_bin=self.pg_bin, device=device)


Database = Annotated[ChosenDatabase, Parsed(ChosenDatabase)]
DATABASE = ChosenDatabase()
"""The default of every command."""

ArchiveName = Annotated[
    str,
    typer.Argument(
        metavar="ARCHIVE", help="Name of the archive.", autocompletion=complete.archive_names
    ),
]
Device = Annotated[
    Literal["auto", "cpu", "cuda"],
    typer.Option("--device", help="Where the model runs; auto takes CUDA where it is usable."),
]
AnyDriver = Annotated[
    bool,
    typer.Option(
        "--any-driver",
        help="Open the files of folders, STAC items and tables with every GDAL driver, including those "
        "that read other files and URLs (VRT, WMS). Only for sources that you trust.",
        rich_help_panel="Trust",
    ),
]

reading_option = partial(typer.Option, rich_help_panel="How scenes are read")
"""An option that becomes a part of a :class:`dcsh_pg.imagery.Reading`."""

Bands = Annotated[
    str | None,
    reading_option(
        "--bands",
        metavar="1,2,3|B04,B03,B02",
        help="Bands to read: counted from 1, or by the names that files, or items of --stac, give them. "
        "Default: those marked red, green and blue, else all in order.",
    ),
]
Scale = Annotated[
    str | None,
    reading_option(
        "--scale",
        metavar="LOW,HIGH|auto",
        help="Values that become 0 and 255, after the file's scale and offset. Default: 8-bit data as "
        "it is, else auto, the 2nd and 98th percentile of each scene.",
    ),
]
RawValues = Annotated[
    bool,
    reading_option(
        "--raw-values",
        help="Ignore the scale and offset that a file has for its bands; read values as stored.",
    ),
]
_stac_option = partial(typer.Option, rich_help_panel="From STAC items")
Stac = Annotated[
    str | None,
    _stac_option(
        "--stac",
        metavar="FILE|DIR|URL",
        help="STAC instead of SOURCE: an item, an item collection, newline-delimited items, a "
        "catalogue, a collection, or a folder of items.",
    ),
]
Asset = Annotated[
    str | None,
    _stac_option(
        "--asset",
        metavar="KEY",
        help="Asset to read. Default: those with the --bands that are named, else the only one with the "
        "role 'data', else 'visual', else the only image with that role.",
    ),
]
Collection = Annotated[
    str | None,
    _stac_option("--collection", metavar="ID", help="Only items of this collection."),
]
Sign = Annotated[
    str | None,
    _stac_option(
        "--sign",
        metavar="MODULE:FUNCTION",
        help="Python function that takes an asset's URL and returns a signed one, such as "
        "planetary_computer:sign_url.",
    ),
]
Preset = Annotated[
    str | None,
    reading_option(
        "--preset",
        metavar="NAME",
        help="A known product: sentinel-2-l2a, landsat-c2-l2 or naip. Sets --bands, --nodata and --mask, "
        "unless they are given.",
    ),
]
MaskBand = Annotated[
    str | None,
    reading_option(
        "--mask",
        metavar="NAME=VALUES|NAME:BITS|none",
        help="Band or STAC asset that marks pixels without a view of the ground, as the values SCL=3,8,9,10 "
        "or the bits QA_PIXEL:3,4: these are invalid.",
    ),
]
Resolution = Annotated[
    float | None,
    reading_option(
        "--resolution",
        metavar="METRES",
        help="Ground size of a pixel to which all scenes are brought. Default: their own.",
    ),
]
Nodata = Annotated[
    float | None,
    reading_option(
        "--nodata",
        metavar="VALUE",
        help="Value that all bands of an invalid pixel have, for files that do not say one.",
    ),
]


def parse_integers(
    text: str | None, option: str, count: int | None = None
) -> tuple[int, ...] | None:
    """'1,2,3' -> (1, 2, 3).

    Raises:
        UsageError: not integers between commas, or not ``count`` of them; names ``option``.
    """
    if text is None:
        return None
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if not numbers or count not in (None, len(numbers)):
        wanted = f"{count} integers" if count else "integers"
        raise UsageError(
            f"{option}: not {wanted} with commas between: '{text}'",
            hint=f"write {option} {','.join(str(n + 1) for n in range(count or 3))} for example",
        )
    return numbers


def parse_bands(text: str | None) -> tuple[int | str, ...] | None:
    """'3,2,1' -> (3, 2, 1); 'B04,B03' -> ('B04', 'B03')."""
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    return tuple(int(part) if part.lstrip("-").isdecimal() else part for part in parts)


def parse_mask(text: str | None) -> Mask | None:
    """'SCL=3,8' or 'QA_PIXEL:3,4' -> the mask; 'none' and None -> None.

    Raises:
        UsageError: neither.
    """
    if text is None or text == "none":
        return None
    from dcsh_pg.imagery.reading import Mask

    match = re.fullmatch(r"(.+?)([=:])(\d+(?:,\d+)*)", text)
    if match is None:
        raise UsageError(
            f"--mask {text}: not NAME=VALUES or NAME:BITS",
            hint="--mask SCL=3,8,9,10 names classes, --mask QA_PIXEL:3,4 bits, --mask none nothing",
        )
    name, sign, numbers = match.groups()
    band: int | str = int(name) if name.isdecimal() else name
    values = tuple(int(number) for number in numbers.split(","))
    return Mask(band, bits=values) if sign == ":" else Mask(band, values=values)


def parse_function(text: str | None, option: str) -> Callable[..., Any] | None:
    """'MODULE:FUNCTION' -> the function, imported; from the current folder as well.

    Raises:
        UsageError: the module cannot be imported or has no such function; names ``option``.
    """
    if text is None:
        return None
    module, _, name = text.partition(":")
    sys.path.append(os.getcwd())
    try:
        function: object = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(
            f"{option} {text}: {error}",
            hint=f"write {option} MODULE:FUNCTION, of a module that is installed",
        ) from None
    finally:
        sys.path.remove(os.getcwd())
    if not callable(function):
        raise UsageError(f"{option} {text}: not a function")
    return function


def parse_scale(text: str | None) -> tuple[float, float] | Literal["auto"] | None:
    """'auto' or 'LOW,HIGH' as :class:`dcsh_pg.imagery.Reading` takes it.

    Raises:
        UsageError: neither.
    """
    if text is None:
        return None
    if text == "auto":
        return "auto"
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(
            f"--scale: '{text}' is not LOW,HIGH", hint="write --scale 0,3000 or --scale auto"
        ) from None
    return low, high
