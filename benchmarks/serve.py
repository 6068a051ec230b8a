"""The map page's server under load: many users at once, as the page asks.

    python benchmarks/serve.py                            # embedded server, a million chips, 50 users
    python benchmarks/serve.py --think 0                  # the same users without a pause
    python benchmarks/serve.py --rows 10000000 --seconds 0    # only the first surface and the next ones

Starts ``dcsh-pg serve`` on a synthetic archive and lets each user, from an address of its own, take step
after step with a pause of --think seconds between them.  Of ten steps four search by a chip, two by seven
marks among the hits of the last search, one by a region and one within an area; one shows the surface of a
view of map zoom 8, and one moves the map, for four tiles of footprints.  As on the page, the answer of a
search is followed by its histogram and, at the same time, by its chip.  Scenes have no files, so thumbnails
and imagery are not asked for.

The peer in the same run: the same searches' SQL by psycopg, as many users, as many connections as the
server's workers have together.

Prints Markdown and writes JSON.  Creates an archive 'serve_benchmark', and drops it at the end unless
--keep is given; it is used again if it has as many chips.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import psycopg
from psycopg_pool import ConnectionPool
from search import describe_machine
from shapely.geometry import box, mapping
from synthetic_archive import clustered_codes, grid_side, load

from dcsh_pg.database.archives import registry
from dcsh_pg.database.search.hits import search_sql
from dcsh_pg.database.server import migrate
from dcsh_pg.database.server.connect import connect, is_embedded, resolve
from dcsh_pg.serve.asked import AskedSearch, filter_of, query_of
from dcsh_pg.serve.settings import Settings

NAME = "serve_benchmark"
HOME = f"/api/archives/{NAME}"
K = 20
TOKEN = "benchmark"
VIEW_ZOOM, CELL_ZOOM, TILE_ZOOM = 8, 14, 17
STEPS = ["chip"] * 4 + ["marks"] * 2 + ["region", "area", "surface", "move"]

Kind = str
Times = dict[Kind, list[float]]


class Asker:
    """What users ask, drawn at random."""

    def __init__(self, chips: list[int], side: int, seed: int):
        self._chips, self._side = chips, side
        self._rng = np.random.default_rng(seed)
        self._seen: list[int] = []

    def saw(self, chip: int, hits: list[int]) -> None:
        """Remembers a search by a chip: its hits are marked later."""
        self._seen = [chip, *hits]

    def step(self) -> tuple[Kind, dict[str, Any]]:
        kind = str(self._rng.choice(STEPS))
        if kind == "move":
            return kind, {}
        if kind == "marks" and len(self._seen) > 10:
            chip, *hits = self._seen
            order = self._rng.permutation(hits).tolist()
            return kind, {"query": {"likes": [chip, *order[:4]], "unlikes": order[4:7]}, "k": K}
        if kind == "region":
            return kind, {"query": {"region": self._square(3.5)}, "k": K}
        chip = int(self._rng.choice(self._chips))
        kind = "chip" if kind == "marks" else kind
        query: dict[str, Any] = {"query": {"chip": chip}, "k": K}
        if kind == "area":
            query["filter"] = {"area": self._square(self._side / 10)}
        elif kind == "surface":
            bounds = [-1.2, -0.7, 2.2, 1.7]
            query |= {"zoom": CELL_ZOOM, "bounds": bounds}
        return kind, query

    def tiles(self) -> list[str]:
        """Four adjacent tiles of footprints, as a view of a few hundred metres has them."""
        lon, lat = self._rng.random(2)
        tiles = 2**TILE_ZOOM
        x = int((lon / 360 + 0.5) * tiles)
        y = int((0.5 - np.arcsinh(np.tan(np.radians(lat))) / (2 * np.pi)) * tiles)
        return [f"{HOME}/tiles/{TILE_ZOOM}/{x + i}/{y + j}.mvt" for i in (0, 1) for j in (0, 1)]

    def _square(self, chips: float) -> dict[str, Any]:
        side = chips / self._side
        west, south = self._rng.random(2) * (1 - side)
        return dict(mapping(box(west, south, west + side, south + side)))


class Page:
    """A user's browser: one connection from an address of its own."""

    def __init__(self, port: int, user: int, times: Times, errors: Counter[str]):
        self._connection = http.client.HTTPConnection(
            "127.0.0.1", port, timeout=60, source_address=(f"127.0.1.{user + 1}", 0)
        )
        self._times, self._errors = times, errors

    def get(self, kind: Kind, path: str, body: dict[str, Any] | None = None) -> Any:
        headers = {"authorization": f"Bearer {TOKEN}", "content-type": "application/json"}
        content = None if body is None else json.dumps(body)
        began = time.perf_counter()
        is_again = False
        while True:
            try:
                self._connection.request("POST" if body else "GET", path, content, headers)
                answer = self._connection.getresponse()
                found = answer.read()
            except (OSError, http.client.HTTPException) as error:
                self._connection.close()
                if not is_again:  # the server closes what was idle, and browsers open it again
                    is_again = True
                    continue
                self._errors[f"{kind}: {type(error).__name__}"] += 1
                return None
            if answer.status == 503 and b"to be compared" in found:  # as the page does
                time.sleep(0.5)
                continue
            break
        if answer.status not in (200, 204):
            self._errors[f"{kind}: {answer.status}"] += 1
            return None
        self._times[kind].append(time.perf_counter() - began)
        return found

    def step(self, asker: Asker, beside: Page) -> None:
        kind, asked = asker.step()
        if kind == "surface":
            self.get("surface", f"{HOME}/surface", asked)
            return
        if kind == "move":
            for tile in asker.tiles():
                self.get("footprint tile", tile)
            return
        found = self.get(f"search, {kind}", f"{HOME}/search", asked)
        other = threading.Thread(target=beside.get, args=("histogram", f"{HOME}/histogram", asked))
        other.start()
        if chip := asked["query"].get("chip"):
            if found is not None:
                asker.saw(chip, [hit["id"] for hit in json.loads(found)["features"]])
            self.get("chip", f"{HOME}/chips/{chip}")
        other.join()


def use(users: int, seconds: float, think: float, step: Callable[[int], None]) -> float:
    """Lets every user take steps; returns the seconds that passed."""
    began = time.perf_counter()

    def one(user: int) -> None:
        rng = np.random.default_rng(1000 + user)
        time.sleep(rng.random() * think)
        while time.perf_counter() - began < seconds:
            step(user)
            time.sleep(2 * think * rng.random())

    with ThreadPoolExecutor(users) as pool:
        for done in [pool.submit(one, user) for user in range(users)]:
            done.result()
    return time.perf_counter() - began


@contextmanager
def serving(dsn: str | None, workers: int) -> Iterator[tuple[int, psutil.Process]]:
    """A server and its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-c", "from dcsh_pg.cli.main import run; run()", "serve", NAME]
    command += ["--port", str(port), "--workers", str(workers), *(["--dsn", dsn] if dsn else [])]
    with tempfile.TemporaryFile() as log:
        started = subprocess.Popen(
            command, env=os.environ | {"DCSH_PG_TOKEN": TOKEN}, stdout=log, stderr=log
        )
        try:
            page = Page(port, 0, defaultdict(list), Counter())
            while page.get("start", HOME) is None:
                if started.poll() is not None:
                    log.seek(0)
                    raise SystemExit(log.read().decode())
                time.sleep(0.1)
            yield port, psutil.Process(started.pid)
        finally:
            started.terminate()
            started.wait()
            log.seek(0)
            sys.stderr.write(log.read().decode())


def cpu_seconds(process: psutil.Process) -> float:
    """Of a process and all that it started."""
    total = 0.0
    for each in [process, *process.children(recursive=True)]:
        try:
            used = each.cpu_times()
        except psutil.Error:
            continue
        total += used.user + used.system + used.children_user + used.children_system
    return total


def postmaster(conn: psycopg.Connection) -> psutil.Process | None:
    """The server's first process, if it runs on this machine."""
    try:
        parent = psutil.Process(conn.info.backend_pid).parent()
    except psutil.Error:
        return None
    return parent if parent is not None and "postgres" in parent.name() else None


def surfaces(port: int, asker: Asker, count: int) -> dict[str, float]:
    """Seconds until the first surface after the server's start, and of the next ones' median and p95."""
    times: Times = defaultdict(list)
    errors: Counter[str] = Counter()
    page = Page(port, 0, times, errors)
    while len(times["surface"]) <= count and not errors:
        kind, asked = asker.step()
        if kind == "surface":
            page.get(kind, f"{HOME}/surface", asked)
    if errors:
        raise SystemExit(f"surface: {dict(errors)}")
    first, *later = times["surface"]
    median, p95 = np.quantile(later, [0.5, 0.95])
    return {"first_s": first, "median_s": float(median), "p95_s": float(p95)}


def by_psycopg(conn: psycopg.Connection, options: argparse.Namespace, askers: list[Asker]) -> Times:
    """The same searches' SQL, by as many users and connections."""
    times: Times = defaultdict(list)
    bits = registry.get_archive(conn, NAME).bits

    def step(user: int) -> None:
        kind, asked = askers[user].step()
        if kind in ("surface", "move"):
            return
        search = AskedSearch(**asked)
        with lock:
            query = query_of(conn, NAME, bits, search.query)
            statement = search_sql(conn, NAME, query, filter_of(search.filter), K)
        began = time.perf_counter()
        with pool.connection() as connection:
            found = connection.execute(statement).fetchall()
        if kind == "chip":
            askers[user].saw(asked["query"]["chip"], [row[0] for row in found])
        times[f"search, {kind}"].append(time.perf_counter() - began)

    lock = threading.Lock()
    connections = Settings().connections * options.workers
    kwargs = {"autocommit": True, "prepare_threshold": None}
    with ConnectionPool(
        resolve(options.dsn), min_size=connections, timeout=60, kwargs=kwargs
    ) as pool:
        use(options.users, options.seconds / 2, options.think, step)
    return times


def row(name: str, seconds: list[float]) -> str:
    p50, p95, p99 = (f"{1000 * value:.0f}" for value in np.quantile(seconds, [0.5, 0.95, 0.99]))
    return f"| {name} | {len(seconds)} | {p50} | {p95} | {p99} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--dsn", help="PostgreSQL to use (default: the embedded server)")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--bits", type=int, default=64)
    parser.add_argument("--users", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60, help="0 measures surfaces only")
    parser.add_argument("--think", type=float, default=2, help="mean pause of a user in seconds")
    parser.add_argument("--workers", type=int, default=2, help="processes of dcsh-pg serve")
    parser.add_argument("--keep", action="store_true", help="keep the archive for the next run")
    parser.add_argument("--out", type=Path, default=Path("runs/serve.json"))
    options = parser.parse_args()
    machine = describe_machine()
    if not is_embedded(options.dsn):
        migrate.upgrade(resolve(options.dsn))
    conn = connect(options.dsn)
    known = {archive.name: archive for archive in registry.list_archives(conn)}
    if NAME not in known or (known[NAME].chips, known[NAME].bits) != (options.rows, options.bits):
        if NAME in known:
            registry.drop_archive(conn, NAME)
        print("loading", file=sys.stderr)
        load(conn, NAME, clustered_codes(np.random.default_rng(0), options.rows, options.bits))
        print("building the index", file=sys.stderr)
        if conn.execute("SELECT dcsh_private.has_hamming()").fetchone() == (True,):
            registry.create_code_index(conn, NAME)
        conn.execute(f"VACUUM ANALYZE dcsh.{NAME}")
    try:
        report = measure(conn, options)
    finally:
        if not options.keep:
            registry.drop_archive(conn, NAME)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({"machine": machine, **report}, indent=2) + "\n")
    print(f"\n{machine}.")


def measure(conn: psycopg.Connection, options: argparse.Namespace) -> dict[str, Any]:
    least, most = conn.execute(f"SELECT min(id), max(id) FROM dcsh.{NAME}").fetchone()
    drawn = np.random.default_rng(1).integers(least, most + 1, 20_000).tolist()
    chips = conn.execute(f"SELECT id FROM dcsh.{NAME} WHERE id = ANY (%s)", [drawn]).fetchall()
    side = grid_side(options.rows)
    askers = [Asker([id for (id,) in chips], side, user) for user in range(options.users)]
    times: Times = defaultdict(list)
    errors: Counter[str] = Counter()
    database = postmaster(conn)
    report: dict[str, Any] = {
        name: getattr(options, name)
        for name in ("rows", "bits", "users", "seconds", "think", "workers")
    }
    print(f"{options.rows:,} chips, {options.bits} bits, {options.workers} workers.\n")
    with serving(options.dsn, options.workers) as (port, server):
        report["surfaces"] = surfaces(port, askers[0], 30)
        shown = [f"{report['surfaces'][name]:.2f} s" for name in ("first_s", "median_s", "p95_s")]
        print(
            f"Surface of a view of map zoom {VIEW_ZOOM}: the first after the server's start {shown[0]}, "
            f"then {shown[1]}, 95 % {shown[2]}, a new query each.\n"
        )
        if not options.seconds:
            return report
        pages = [
            [Page(port, user, times, errors) for _ in range(2)] for user in range(options.users)
        ]
        before = cpu_seconds(server), database and cpu_seconds(database)
        passed = use(
            options.users, options.seconds, options.think,
            lambda user: pages[user][0].step(askers[user], pages[user][1]),
        )  # fmt: skip
        cores = [(cpu_seconds(server) - before[0]) / passed]
        if database is not None:
            cores.append((cpu_seconds(database) - before[1]) / passed)
    requests = sum(map(len, times.values()))
    print(f"{options.users} users, pause {options.think:g} s, {passed:.0f} s:")
    print(f"{requests / passed:.1f} requests/s, {sum(errors.values())} errors {dict(errors) or ''}")
    print("CPU cores used: " + ", ".join(f"{n:.2f}" for n in cores) + " (server, PostgreSQL).\n")
    print("| request | number | median ms | 95 % ms | 99 % ms |\n|---|---:|---:|---:|---:|")
    peer = by_psycopg(conn, options, askers)
    for kind in sorted(times):
        print(row(kind, times[kind]))
        if kind in peer:
            print(row(f"{kind}: the same SQL by psycopg", peer[kind]))
    searches = [second for kind in times if kind.startswith("search") for second in times[kind]]
    print(row("**all searches**", searches))
    return report | {
        "requests_per_second": requests / passed,
        "errors": errors,
        "cores": cores,
        "times": times,
        "psycopg": peer,
    }


if __name__ == "__main__":
    main()
