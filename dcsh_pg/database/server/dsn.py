"""Names of a server: URLs, libpq strings, and the environment variables that libpq reads."""

from __future__ import annotations

import os
from urllib.parse import quote, urlencode

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from dcsh_pg.errors import UsageError

CONNECT_SECONDS = 10

LIBPQ_VARIABLES = ("PGHOST", "PGHOSTADDR", "PGPORT", "PGSERVICE", "PGDATABASE")


def has_libpq_variables() -> bool:
    """True when the environment names a server for libpq."""
    return any(os.environ.get(name) for name in LIBPQ_VARIABLES)


def read_dsn(dsn: str, source: str) -> str:
    """A URL, also in SQLAlchemy's form postgresql+psycopg://, or a libpq string, as a libpq string.

    Raises:
        UsageError: it is neither; ``source`` names the option or variable that it came from.
    """
    scheme, separator, rest = dsn.partition("://")
    if separator:
        dsn = f"{scheme.partition('+')[0]}://{rest}"
    try:
        return make_conninfo(f"connect_timeout={CONNECT_SECONDS}", **_parts(dsn))
    except psycopg.Error:
        # Its message may quote the password.
        raise UsageError(
            f"{source} is neither a URL nor a libpq string",
            hint="write postgresql://user@host:5432/database, 'host=... dbname=...' or service=NAME",
        ) from None


def url(conninfo: str, *, require_auth: bool = True) -> str:
    """A libpq string as a URL that libpq reads back as the same; the password is in it.

    Without ``require_auth`` that parameter, which libpq has known since PostgreSQL 16, is left out.
    """
    parts = _parts(conninfo)
    parts.pop("connect_timeout", None)
    if not require_auth:
        parts.pop("require_auth", None)
    user = ":".join(quote(parts.pop(key), "") for key in ("user", "password") if parts.get(key))
    place = ""
    if "," not in parts.get("host", ""):  # several hosts are written as parameters
        place = ":".join(quote(parts.pop(key), "") for key in ("host", "port") if parts.get(key))
    database = quote(parts.pop("dbname", ""), "")
    # libpq reads '+' as a plus sign, not as a space.
    rest = urlencode(parts, quote_via=quote)
    return f"postgresql://{user}{'@' if user else ''}{place}/{database}{'?' if rest else ''}{rest}"


def _parts(conninfo: str) -> dict[str, str]:
    return {key: str(value) for key, value in conninfo_to_dict(conninfo).items()}
