"""Whatever happens to its workers, a cluster stores what one process stores."""

import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading

import psycopg
import pytest
from deadly import Deadly
from local_cluster import cluster_of
from PIL import Image
from psycopg.conninfo import conninfo_to_dict
from stac_items import make_item, write_items

from dcsh_pg import Archive
from dcsh_pg.cluster import connection, pipeline
from dcsh_pg.cluster.pipeline import ingest_on_cluster
from dcsh_pg.cluster.worker import Model
from dcsh_pg.database.archives.load import Loader
from dcsh_pg.database.server import migrate
from dcsh_pg.errors import ServerError
from dcsh_pg.imagery import SceneOptions, find_scenes
from dcsh_pg.imagery.metadata.origin import Origin
from dcsh_pg.ingest import Pipeline
from dcsh_pg.progress import Progress

TABLES = (
    "SELECT * FROM dcsh.a ORDER BY id",
    "SELECT to_jsonb(s) - 'ingested' FROM dcsh.scene s ORDER BY id",
    "SELECT uri, message, hint FROM dcsh.ingest_error ORDER BY uri",
    "SELECT last_chip_id FROM dcsh.archive",
)


def dump(dsn):
    """All that an ingestion stores, but for the time when it did."""
    with psycopg.connect(dsn) as conn:
        return [conn.execute(query).fetchall() for query in TABLES]


def archive_in(dsn, model_file):
    return Archive.create("a", model_file, chip_size=64, dsn=dsn)


def ingest_directly(scenes, archive, cluster, model_file):
    return ingest_on_cluster(
        scenes,
        Model(archive.record.model_sha256, model_file.read_bytes()),
        Loader(archive.connection, archive.record),
        Pipeline(scheduler=cluster.scheduler_address),
    )


class Once(Progress):
    """Does something when the first chips are hashed."""

    def __init__(self, deed):
        self.deed = deed

    def advance(self, n=1, *, total=None):
        if n and self.deed:
            deed, self.deed = self.deed, None
            deed()


def processes(cluster):
    with connection.connected(cluster.scheduler_address) as client:
        return list(client.run(os.getpid).values())


@pytest.fixture
def single(database, model_file, sources):
    """What one process makes of the sources."""
    report = archive_in(database, model_file).ingest(sources)
    assert (report.stored, report.failed) == (34, 2)
    return dump(database)


@pytest.fixture
def empty(dsn):
    migrate.upgrade(dsn)
    return dsn


@pytest.mark.parametrize("workers", ["one_worker", "three_workers"])
def test_the_rows_are_those_of_one_process_and_a_second_run_adds_none(
    request, workers, single, empty, model_file, sources
):
    address = request.getfixturevalue(workers).scheduler_address
    archive = archive_in(empty, model_file)
    report = archive.ingest(sources, pipeline=Pipeline(scheduler=address, batch=8))
    assert (report.scenes, report.stored, report.failed) == (36, 34, 2)
    assert dump(empty) == single
    again = archive.ingest(sources, pipeline=Pipeline(scheduler=address))
    assert (again.known, again.stored, again.failed) == (34, 0, 2)
    assert dump(empty) == single


def test_the_rows_are_those_of_one_process_with_postgis(
    postgis_database, database, three_workers, model_file, sources
):
    places = "SELECT id, code, geom::text FROM dcsh.a ORDER BY id"
    archive_in(postgis_database, model_file).ingest(sources)
    with psycopg.connect(postgis_database) as conn:
        single = conn.execute(places).fetchall()
        conn.execute("SELECT dcsh.drop_archive('a')")
    address = three_workers.scheduler_address
    archive_in(postgis_database, model_file).ingest(sources, pipeline=Pipeline(scheduler=address))
    with psycopg.connect(postgis_database) as conn:
        assert conn.execute(places).fetchall() == single


def test_stac_items_are_ingested_alike(database, empty, three_workers, model_file, tmp_path):
    items = write_items(tmp_path / "items.ndjson", [make_item(n) for n in range(3)])
    items.write_text(items.read_text() + "{}\n")
    for dsn, address in ((database, None), (empty, three_workers.scheduler_address)):
        archive = archive_in(dsn, model_file)
        archive.options = SceneOptions(sign=os.path.normpath)
        report = archive.ingest_stac(str(items), pipeline=Pipeline(scheduler=address))
        assert (report.stored, report.failed) == (3, 1)
    assert dump(empty) == dump(database)


@pytest.mark.parametrize("deaths", [1, 3])
def test_killed_workers_change_nothing(deaths, single, empty, three_workers, model_file, sources):
    before = processes(three_workers)

    def kill():
        for process in before[:deaths]:
            os.kill(process, signal.SIGKILL)

    address = three_workers.scheduler_address
    archive_in(empty, model_file).ingest(
        sources, pipeline=Pipeline(scheduler=address, progress=Once(kill))
    )
    assert dump(empty) == single
    assert not set(before[:deaths]) & set(processes(three_workers))


def test_a_deadly_scene_fails_and_no_other(
    single, empty, one_worker, model_file, sources, tmp_path
):
    archive = archive_in(empty, model_file)
    scenes = find_scenes(sources, reading=archive.reading, bands=3)
    picture = shutil.copy(f"{sources[1]}/0.png", tmp_path / "deadly.png")
    deadly = Deadly(picture, archive.reading, channels=3, origin=Origin("deadly.png"))
    scenes.insert(20, deadly)
    report = ingest_directly(scenes, archive, one_worker, model_file)
    assert (report.stored, report.failed) == (34, 3)
    chips, stored, errors, last = dump(empty)
    [reported] = [message for uri, message, _ in errors if uri == str(picture)]
    assert reported == f"{picture} killed every worker that read it"
    assert [chips, stored, [e for e in errors if e[0] != str(picture)], last] == single


def test_when_every_scene_is_deadly_the_run_ends(
    empty, one_worker, model_file, tmp_path, monkeypatch
):
    monkeypatch.setattr(pipeline, "DEADLY_IN_A_ROW", 2)
    archive = archive_in(empty, model_file)
    scenes = [
        Deadly(tmp_path / f"{n}.png", archive.reading, channels=3, origin=Origin(f"{n}.png"))
        for n in range(9)
    ]
    for scene in scenes:
        Image.new("RGB", (64, 64)).save(scene.uri)
    with pytest.raises(ServerError, match=r"1\.png killed every worker .*, as did the 1 before it"):
        ingest_directly(scenes, archive, one_worker, model_file)
    assert not [ts for ts in one_worker.scheduler.tasks.values() if ts.who_wants]


def test_a_killed_client_that_is_run_again_ends_with_the_rows_of_one_run(
    single, empty, three_workers, model_file, sources
):
    archive_in(empty, model_file)
    program = (
        "import os, signal, sys\n"
        "from dcsh_pg import Archive\n"
        "from dcsh_pg.database.archives.load import Loader\n"
        "from dcsh_pg.ingest import Pipeline, storing\n"
        "storing.FLUSH_CHIPS = 100\n"
        "flush = Loader.flush\n"
        "left = [int(sys.argv[3])]\n"
        "def counted(self):\n"
        "    left[0] -= self.waiting > 0\n"
        "    refused = flush(self)\n"
        "    left[0] or os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return refused\n"
        "Loader.flush = counted\n"
        "pipeline = Pipeline(scheduler=sys.argv[2])\n"
        "Archive.open('a', dsn=sys.argv[1]).ingest(sys.argv[4:], pipeline=pipeline)"
    )
    address = three_workers.scheduler_address
    for flushes in ("1", "2"):
        command = [sys.executable, "-c", program, empty, address, flushes, *sources]
        assert subprocess.run(command).returncode == -signal.SIGKILL
        assert 0 < len(dump(empty)[1]) < 34
    Archive.open("a", dsn=empty).ingest(sources, pipeline=Pipeline(scheduler=address))
    assert dump(empty) == single


def test_ctrl_c_keeps_what_is_committed_and_leaves_nothing_on_the_cluster(
    empty, one_worker, model_file, sources
):
    line = ["ingest", "a", *sources, "--model", model_file, "--chip-size", "64", "--stride", "5"]
    line += ["--dsn", empty, "--scheduler", one_worker.scheduler_address, "-v"]
    run = [sys.executable, "-c", "from dcsh_pg.cli.main import run; run()", *map(str, line)]
    # Tests that a shell runs in the background inherit that SIGINT is ignored.
    heeded = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    with subprocess.Popen(run, stderr=subprocess.PIPE, text=True, **heeded) as process:
        assert process.stderr.readline() == "hashing chips on 1 worker with 2 threads\n"
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
    assert process.returncode == 130, said
    assert said.splitlines()[-1].startswith("dcsh-pg: interrupted")
    assert "Traceback" not in said
    assert not [ts for ts in one_worker.scheduler.tasks.values() if ts.who_wants]


def test_a_bounded_number_of_tasks_is_underway_and_none_of_them_knows_the_password(
    empty, three_workers, model_file, sources
):
    password = conninfo_to_dict(empty)["password"].encode()
    tasks = three_workers.scheduler.tasks
    most = []

    class Watch(Progress):
        def advance(self, n=1, *, total=None):
            specs = [ts.run_spec for ts in list(tasks.values())]
            most.append(len(specs))
            assert password not in pickle.dumps([repr(specs), specs])

    archive_in(empty, model_file).ingest(
        sources,
        pipeline=Pipeline(scheduler=three_workers.scheduler_address, batch=1, progress=Watch()),
    )
    assert 3 < max(most) <= 3 * pipeline.GROUPS_A_THREAD + len(("model", "known scenes"))


def test_a_file_that_a_worker_does_not_find_is_reported_with_the_worker(
    empty, one_worker, model_file, sources
):
    archive = archive_in(empty, model_file)

    gone = [f"{sources[0]}/empty.tif", f"{sources[1]}/7.png"]

    class Vanishing(Progress):
        def start(self, text, total=None):
            for file in gone:
                os.unlink(file)

    report = archive.ingest(
        sources, pipeline=Pipeline(scheduler=one_worker.scheduler_address, progress=Vanishing())
    )
    reported = [error.message for error in report.failures if "no such file" in error.message]
    assert len(reported) == 2
    for message, file in zip(reported, gone, strict=True):
        assert message.startswith(f"no such file on worker {os.uname().nodename} (tcp://127.0.0.1:")
        assert message.endswith(file)
    assert (report.stored, report.failed) == (33, 3)


def test_workers_may_come_late(single, empty, model_file, sources):
    with cluster_of(0) as cluster:
        late = threading.Timer(0.5, cluster.scale, [1])
        late.start()
        report = archive_in(empty, model_file).ingest(
            sources, pipeline=Pipeline(scheduler=cluster.scheduler_address)
        )
        late.join()
    assert report.stored == 34
    assert dump(empty) == single


def test_a_cluster_without_workers_is_not_waited_for_for_ever(
    empty, model_file, sources, monkeypatch
):
    monkeypatch.setattr(pipeline, "WORKERLESS_SECONDS", 0.3)
    monkeypatch.setattr(pipeline, "TICK_SECONDS", 0.1)
    archive = archive_in(empty, model_file)
    with cluster_of(0) as cluster, pytest.raises(ServerError, match="has no worker"):
        archive.ingest(sources, pipeline=Pipeline(scheduler=cluster.scheduler_address))


def test_a_scheduler_that_goes_away_is_reported_and_what_is_stored_is_kept(
    single, empty, model_file, sources
):
    archive = archive_in(empty, model_file)
    with cluster_of(1) as cluster:
        archive.ingest(
            [f"{sources[1]}/0.png"], pipeline=Pipeline(scheduler=cluster.scheduler_address)
        )
        with pytest.raises(ServerError, match="lost the Dask scheduler"):
            archive.ingest(
                sources,
                pipeline=Pipeline(
                    scheduler=cluster.scheduler_address, progress=Once(cluster.close)
                ),
            )
    assert len(dump(empty)[1]) >= 1
