"""Statements on the PostgreSQL connections that the user has stored in QGIS."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from qgis.core import (
    QgsDataSourceUri,
    QgsException,
    QgsFeedback,
    QgsProviderConnectionException,
    QgsProviderRegistry,
)

from . import statements
from .queries import Archive

NO_SCHEMA = re.compile(r'schema "dcsh" does not exist|relation "dcsh\.archive" does not exist')

FAILURES = (QgsProviderConnectionException, QgsException)
"""The first is what the documentation has, the second what QGIS 3.22 raises."""


class DatabaseError(Exception):
    """The database did not answer; its text is one line for the user."""


class Cancelled(Exception):
    """The user cancelled."""


@dataclass(frozen=True)
class Connection:
    """A stored connection: its name, and its address with the user's name and password."""

    name: str
    address: str


def names() -> list[str]:
    """The stored PostgreSQL connections, by name."""
    return sorted(_metadata().connections(False), key=str.lower)


def stored(name: str) -> Connection:
    """A stored connection. Call it in the main thread.

    Raises:
        DatabaseError: there is none of this name.
    """
    found = _metadata().connections(False).get(name)
    if found is None:
        raise DatabaseError(f"no PostgreSQL connection '{name}' is stored in QGIS")
    return Connection(name, found.uri())


def rows(
    connection: Connection, sql: str, feedback: QgsFeedback | None = None
) -> list[dict[str, Any]]:
    """Runs a statement of `statements`, in any thread; cancelling feedback cancels it.

    Raises:
        DatabaseError: no access, or the statement failed.
        Cancelled: the user cancelled.
    """
    # An object of its own: QGIS deletes those of connections() when another caller lists them.
    own = _metadata().createConnection(connection.address, {})
    try:
        answer = own.executeSql(sql, feedback)
    except FAILURES as error:
        if feedback is not None and feedback.isCanceled():
            raise Cancelled from None
        raise DatabaseError(_one_line(str(error), connection.name)) from None
    if feedback is not None and feedback.isCanceled():
        raise Cancelled
    return [json.loads(row[0]) for row in answer]


def archives(connection: Connection, feedback: QgsFeedback | None = None) -> list[Archive]:
    """The archives of a database.

    Raises:
        DatabaseError, Cancelled: as `rows`.
    """
    return [Archive(**row) for row in rows(connection, statements.archives(), feedback)]


def libpq_environment(connection: Connection) -> dict[str, str]:
    """The environment in which a program of libpq uses a stored connection."""
    uri = QgsDataSourceUri(QgsDataSourceUri(connection.address).connectionInfo(True))
    found = {
        "PGSERVICE": uri.service(),
        "PGHOST": uri.host(),
        "PGPORT": uri.port(),
        "PGDATABASE": uri.database(),
        "PGUSER": uri.username(),
        "PGPASSWORD": uri.password(),
    }
    return {variable: value for variable, value in found.items() if value}


def _metadata() -> Any:
    return QgsProviderRegistry.instance().providerMetadata("postgres")


def _one_line(text: str, name: str) -> str:
    """A message of QGIS or PostgreSQL as one line, without the statement."""
    if NO_SCHEMA.search(text):
        return (
            f"the database of '{name}' has no dcsh-pg schema; create it with 'dcsh-pg db upgrade'"
        )
    if "ERROR:" not in text:
        return f"cannot connect to '{name}'; check the connection in QGIS's browser"
    parts = dict(re.findall(r"(ERROR|HINT):\s*(.+)", text))
    message = parts["ERROR"].rstrip("]").strip()
    return f"{message}; {parts['HINT'].rstrip(']').strip()}" if "HINT" in parts else message
