"""Choosing a server, connecting to it, and the errors of an unusable one."""

import datetime

import psycopg
import pytest
from pgvector import Bit
from psycopg.conninfo import conninfo_to_dict

from dcsh_pg.database.server.connect import connect, is_embedded, resolve
from dcsh_pg.database.server.dsn import CONNECT_SECONDS, url
from dcsh_pg.database.server.versions import check_versions
from dcsh_pg.errors import ServerError, UsageError


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://ann@db:5433/maps",
        "postgres://ann@db:5433/maps",
        "postgresql+psycopg://ann@db:5433/maps",
        "host=db port=5433 user=ann dbname=maps",
    ],
)
def test_a_dsn_may_have_any_form(dsn, monkeypatch):
    monkeypatch.setenv("PGHOST", "other")
    parts = conninfo_to_dict(resolve(dsn))
    parts.pop("connect_timeout")
    assert parts == {"host": "db", "port": "5433", "user": "ann", "dbname": "maps"}


def test_the_environment_comes_before_the_embedded_server(monkeypatch):
    assert is_embedded(None)
    monkeypatch.setenv("DATABASE_URL", "postgresql+psycopg://db/maps")
    assert "host=db" in resolve()
    monkeypatch.setenv("PGSERVICE", "maps")
    assert resolve() == f"connect_timeout={CONNECT_SECONDS}"
    assert not is_embedded(None)


def test_a_service_is_taken_from_the_service_file(database, monkeypatch, tmp_path):
    lines = "\n".join(f"{key}={value}" for key, value in conninfo_to_dict(database).items())
    (tmp_path / "services").write_text(f"[maps]\n{lines}\n")
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
    with connect("service=maps") as conn:
        assert conn.info.dbname == conninfo_to_dict(database)["dbname"]


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://ann:secret@127.0.0.1:1/maps",
        "host=127.0.0.1 port=1 password=secret",
        "postgresql://ann:secret%zz@db/maps",
        "secret",
        "passwort=secret",
    ],
)
def test_no_message_shows_the_password(dsn):
    with pytest.raises((ServerError, UsageError)) as error:
        connect(dsn)
    assert "secret" not in error.value.message + error.value.hint
    assert error.value.hint


def test_dsn_and_pg_bin_exclude_each_other(tmp_path):
    with pytest.raises(UsageError, match="cannot be combined"):
        resolve("dbname=maps", pg_bin=tmp_path)


def test_the_url_of_a_libpq_string_has_the_same_parameters(database):
    assert conninfo_to_dict(url(database)) == conninfo_to_dict(database)


@pytest.mark.parametrize(
    "conninfo",
    [
        "host=db user='a b' password='p@ss:/w? r+d%' dbname='x&y z' sslmode=require",
        "host='/var/run/a b' port=5433 user=ann dbname=maps",
        "host=::1 port=5433",
        "host=a,b port=5432,5433 dbname=maps",
        "host=db options='-c work_mem=64MB -c dcsh.sum=1+1'",
        "service=maps",
    ],
)
def test_a_url_quotes_what_libpq_unquotes(conninfo):
    assert conninfo_to_dict(url(conninfo)) == conninfo_to_dict(conninfo)


def test_times_are_utc_and_bits_travel_in_binary(database):
    with connect(f"{database} options='-c TimeZone=Asia/Tokyo'") as conn:
        now = conn.execute("SELECT now()").fetchone()[0]
        assert now.utcoffset() == datetime.timedelta(0)
        assert conn.autocommit
        code = Bit(bytes(range(8)))
        same = conn.execute("SELECT %b = %t", [code, code]).fetchone()
        assert same == (True,)


def test_a_server_without_pgvector_is_refused(dsn):
    with psycopg.connect(dsn, autocommit=True) as conn:
        check_versions(conn)
        # What a server without the package looks like: the view that lists them is hidden.
        conn.execute(
            "CREATE VIEW pg_available_extensions AS SELECT '' AS name, '' AS default_version"
        )
        conn.execute("SET search_path = public, pg_catalog")
        with pytest.raises(ServerError, match="has no pgvector") as error:
            check_versions(conn)
        assert "CREATE EXTENSION vector" in error.value.hint
        conn.execute(
            "CREATE OR REPLACE VIEW pg_available_extensions AS SELECT 'vector' AS name, '0.6.2' AS default_version"
        )
        with pytest.raises(ServerError, match=r"pgvector 0\.6\.2 is too old") as error:
            check_versions(conn)
        assert "0.7" in error.value.hint
