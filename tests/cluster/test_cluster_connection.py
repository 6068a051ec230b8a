"""A cluster that is not there, or not fit, is reported in one line."""

import http.server
import logging
import sys
import threading

import pytest
from typer.testing import CliRunner

from dcsh_pg.cli.main import app
from dcsh_pg.cluster import connection
from dcsh_pg.cluster.worker import KnownScenes, Model, Task, hash_on_worker
from dcsh_pg.errors import DcshError, ServerError, UsageError
from dcsh_pg.hasher import Hasher
from dcsh_pg.ingest import Pipeline


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(connection, "CONNECT_SECONDS", 1)


@pytest.fixture
def website():
    """What listens at a port and is no scheduler, as Dask's own dashboard."""
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), http.server.BaseHTTPRequestHandler
    ) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"tcp://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("address", "code", "words"),
    [
        ("tcp://127.0.0.1:1", 3, "no Dask scheduler answers at tcp://127.0.0.1:1"),
        ("tcp://no-such-host.invalid:8786", 3, "no Dask scheduler answers at tcp://no-such-host"),
        ("http://127.0.0.1:8787", 2, "--scheduler http://127.0.0.1:8787"),
        ("127.0.0.1", 2, "--scheduler 127.0.0.1"),
        ("tcp://127.0.0.1:port", 2, "--scheduler tcp://127.0.0.1:port"),
        ("tls://127.0.0.1:1", 2, "--scheduler tls://127.0.0.1:1"),
        ("", 2, "--scheduler"),
    ],
)
def test_a_bad_address_is_one_line_and_a_hint(
    database, model_file, scenes, impatient, capfd, address, code, words
):
    line = ["ingest", "a", scenes, "-m", model_file, "--dsn", database, "--scheduler", address]
    result = CliRunner().invoke(app, [*map(str, line), "--quiet"])
    assert (result.exit_code, result.stdout) == (code, "")
    message, hint = result.stderr.splitlines()
    assert message.startswith("dcsh-pg: ") and words in message
    assert hint.startswith("  hint: ")
    assert capfd.readouterr() == ("", ""), "Dask spoke"


def test_what_listens_may_be_no_scheduler(impatient, website, capfd):
    with pytest.raises(ServerError, match="no Dask scheduler answers"):
        connection.connected(website).__enter__()
    assert "Traceback" not in capfd.readouterr().err


def test_a_worker_with_another_version_is_reported(one_worker, monkeypatch):
    monkeypatch.setattr(connection, "__version__", "9.9")
    with (
        pytest.raises(
            ServerError, match=r"worker tcp://\S+ has 0\.\S+ dcsh-pg, this machine has 9.9"
        ),
        connection.connected(one_worker.scheduler_address),
    ):
        pass


def test_another_python_is_reported_and_another_patch_of_it_is_not(one_worker, monkeypatch):
    import distributed

    versions = distributed.Client.get_versions

    def altered(python):
        def reported(client):
            answer = versions(client)
            [worker] = answer["workers"].values()
            worker["packages"]["python"] = python
            return answer

        return reported

    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    monkeypatch.setattr(distributed.Client, "get_versions", altered(f"{here}.99.final.0"))
    with connection.connected(one_worker.scheduler_address):
        pass
    monkeypatch.setattr(distributed.Client, "get_versions", altered("3.6.1.final.0"))
    with (
        pytest.raises(ServerError, match=r"has 3\.6 python"),
        connection.connected(one_worker.scheduler_address),
    ):
        pass


def test_a_late_worker_with_another_version_is_reported_by_its_task(one_worker):
    task = Task([], Pipeline(), "cpu", version="9.9")
    with connection.connected(one_worker.scheduler_address) as client:
        future = client.submit(hash_on_worker, task, Model("", b""), KnownScenes([]))
        with pytest.raises(ServerError, match=r"has dcsh-pg 0\..*started with 9.9"):
            future.result()


def test_a_model_that_a_worker_cannot_run_is_reported_with_the_worker(one_worker, model_file):
    model = Model("0" * 64, model_file.read_bytes()[:1000])
    task = Task([], Pipeline(), "cpu")
    with connection.connected(one_worker.scheduler_address) as client:
        future = client.submit(hash_on_worker, task, model, KnownScenes([]))
        with pytest.raises(ServerError, match=r"worker \S+ \(tcp://.*is not an ONNX file"):
            future.result()


def test_the_device_is_that_of_the_workers(database, one_worker, model_file, scenes):
    if Hasher(model_file).provider == "cuda":
        pytest.skip("asks for CUDA where there is none")
    line = ["ingest", "a", scenes, "-m", model_file, "--dsn", database, "--device", "cuda"]
    line += ["--scheduler", one_worker.scheduler_address]
    result = CliRunner().invoke(app, [*map(str, line), "--quiet"])
    assert (result.exit_code, result.stdout) == (3, "")
    assert "dcsh-pg: worker " in result.stderr and "CUDA is not usable here" in result.stderr


def test_a_missing_dask_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(DcshError, match="on a cluster: distributed is not installed") as reported:
        connection.connected("tcp://127.0.0.1:1").__enter__()
    assert reported.value.hint == "pip install 'dcsh-pg[dask]'"


def test_dasks_log_is_as_before(one_worker):
    before = {name: logging.getLogger(name).level for name in connection._LOGGERS}
    with (
        pytest.raises(UsageError, match="ours"),
        connection.connected(one_worker.scheduler_address),
    ):
        raise UsageError("ours")
    assert {name: logging.getLogger(name).level for name in before} == before
