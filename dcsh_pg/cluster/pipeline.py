"""Scenes -> tasks -> hashed scenes, in order; a worker may die at any point.

    scenes -> groups -> tasks on workers -> results as they come -> scenes in order -> rows
              (a bounded number underway)                           (database.load.Loader, here)

Only this process writes.  Ids follow the order of the scenes without gaps, so commits are sequential
in any case; the codes are a thousandth of the pixels; and the database's password stays here.
"""

from __future__ import annotations

import queue
import uuid
from collections import deque
from collections.abc import Collection, Generator, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, replace
from time import monotonic
from typing import TYPE_CHECKING

from dcsh_pg.cluster.connection import connected, lost
from dcsh_pg.cluster.worker import KnownScenes, Model, Result, Task, hash_on_worker
from dcsh_pg.database.archives.load import Loader
from dcsh_pg.errors import DcshError, InputError, ServerError
from dcsh_pg.imagery.scene import Scene
from dcsh_pg.ingest import ExpectedChips, HashedScene, IngestReport, Pipeline, store_scenes
from dcsh_pg.progress import SILENT

if TYPE_CHECKING:
    from distributed import Client, Future

GROUPS_A_THREAD = 4
"""Groups underway for each thread of the cluster, from the first not yet stored."""

BATCHES_A_GROUP = 4
"""Batches of chips in a group, estimated from the scenes before it."""

WAITING_CHIPS = 500_000
"""Hashed chips that may wait for a scene before them, about 0.1 GB; then no group is submitted."""

WORKERLESS_SECONDS = 300.0
"""How long a run waits for a worker."""

TICK_SECONDS = 2.0
"""How often the workers are counted."""

DEADLY_IN_A_ROW = 10
"""Scenes that kill their workers one after the other before the run fails."""


@dataclass(eq=False)
class _Group:
    """Consecutive scenes that are one task.

    Attributes:
        scenes: at least one.
        future: of the task.
        results: one for each scene, None until the task ends.
    """

    scenes: Sequence[Scene]
    future: Future[list[Result]]
    results: list[Result] | None = None


def ingest_on_cluster(
    scenes: Sequence[Scene],
    model: Model,
    loader: Loader,
    pipeline: Pipeline,
    *,
    device: str = "auto",
) -> IngestReport:
    """:func:`dcsh_pg.ingest.ingest` with workers that read and hash: the same rows, ids included.

    Args:
        scenes: must be readable under their URIs on every worker.
        model: of the archive.
        loader: of the archive.
        pipeline: with the address of a scheduler.
        device: where the model runs on the workers.

    Raises:
        UsageError: the pipeline has no scheduler, or its address is invalid.
        ServerError: no scheduler answers, it was lost, it has no workers, or other versions.
        DcshError: Dask is not installed.
    """
    with connected(str(pipeline.scheduler)) as client:

        def hash_them(
            some: Sequence[Scene], known: Collection[str]
        ) -> Generator[HashedScene, None, None]:
            run = _Run(client, model, KnownScenes(known), pipeline, device)
            return run.hash(some)

        return store_scenes(scenes, hash_them, loader, progress=pipeline.progress)


class _Run:
    """One run on a cluster."""

    def __init__(
        self, client: Client, model: Model, known: KnownScenes, pipeline: Pipeline, device: str
    ):
        self._client, self._address, self._progress = (
            client,
            str(pipeline.scheduler),
            pipeline.progress,
        )
        self._pipeline, self._device = replace(pipeline, progress=SILENT), device
        self._name = f"dcsh-{uuid.uuid4().hex[:8]}"
        # Tasks, not scattered data, so that Dask recomputes them when their worker dies.
        self._model = client.submit(_itself, model, key=f"{self._name}-model")
        self._known = client.submit(_itself, known, key=f"{self._name}-known")
        self._submitted = 0
        self._ended: queue.SimpleQueue[Future[list[Result]]] = queue.SimpleQueue()
        self._threads, self._asked, self._last_worker = 0, 0.0, monotonic()
        self._deadly = 0

    def hash(self, scenes: Sequence[Scene]) -> Generator[HashedScene, None, None]:
        """Hashes scenes on the workers; yields them as :func:`dcsh_pg.ingest.hash_scenes` does.

        When a group has killed several workers, the run submits no new groups, lets those underway
        end, and retries each suspect alone on the cluster, first whole, then scene by scene.  So
        only a scene that kills workers on its own fails.
        """
        self._progress.start(f"hashing chips on {self._workers()}")
        expected = ExpectedChips(len(scenes))
        underway: deque[_Group] = deque()
        suspects: list[_Group] = []
        begun = flying = waiting = 0
        while begun < len(scenes) or underway:
            while (
                begun < len(scenes)
                and not suspects
                and len(underway) < GROUPS_A_THREAD * max(1, self._count_threads())
                and waiting < WAITING_CHIPS
            ):
                size = _group_size(expected, self._pipeline.batch)
                underway.append(self._submit(scenes[begun : begun + size]))
                begun += len(underway[-1].scenes)
                flying += 1
            if flying:
                ended = self._next_ended()
                flying -= 1
                group = next(group for group in underway if group.future is ended)
                group.results = self._results(group)
                if group.results is None:
                    suspects.append(group)
            elif suspects:
                group = min(suspects, key=underway.index)
                suspects.remove(group)
                group.results = self._try_alone(group.scenes)
            for result in group.results or ():
                waiting += result.chips
                new = len(result.record.windows) if result.record and result.chips else 0
                self._progress.advance(result.chips, total=expected.after(new))
            while underway and (results := underway[0].results) is not None:
                for scene, result in zip(underway.popleft().scenes, results, strict=True):
                    waiting -= result.chips
                    yield result.to_hashed(scene)

    def _submit(self, scenes: Sequence[Scene]) -> _Group:
        self._submitted += 1
        future = self._client.submit(
            hash_on_worker,
            Task(scenes, self._pipeline, self._device),
            self._model,
            self._known,
            key=(f"{self._name}-hash", self._submitted),
        )
        future.add_done_callback(self._ended.put)
        return _Group(scenes, future)

    def _next_ended(self) -> Future[list[Result]]:
        """Waits for a task to end, as long as the scheduler answers and has workers."""
        while True:
            try:
                return self._ended.get(timeout=TICK_SECONDS)
            except queue.Empty:
                self._count_threads()

    def _results(self, group: _Group) -> list[Result] | None:
        """The results of a group that ended; None if it killed too many workers."""
        from distributed import KilledWorker
        from distributed.comm import CommClosedError

        try:
            results: list[Result] = group.future.result(timeout=WORKERLESS_SECONDS)
        except KilledWorker:
            return None
        except CancelledError:
            raise lost(self._address) from None
        except (DcshError, CommClosedError):
            raise
        except Exception as error:
            raise ServerError(
                f"a worker failed: {type(error).__name__}: {error}",
                hint="see the workers' log",
            ) from error
        finally:
            group.future.release()
        self._deadly = 0
        return results

    def _try_alone(self, scenes: Sequence[Scene]) -> list[Result]:
        group = self._submit(scenes)
        self._next_ended()
        results = self._results(group)
        if results is not None:
            return results
        if len(scenes) > 1:
            return [result for scene in scenes for result in self._try_alone([scene])]
        message = f"{scenes[0].uri} killed every worker that read it"
        self._deadly += 1
        if self._deadly == DEADLY_IN_A_ROW:
            raise ServerError(
                f"{message}, as did the {self._deadly - 1} before it",
                hint="give the workers more memory, or use a smaller --batch-size; see the workers' log",
            )
        hint = "check it with gdalinfo -checksum, and see the workers' log"
        return [Result(error=InputError(message, hint=hint))]

    def _count_threads(self) -> int:
        """The threads of the cluster, counted every ``TICK_SECONDS``."""
        now = monotonic()
        if now - self._asked > TICK_SECONDS:
            self._threads, self._asked = sum(self._client.nthreads().values()), now
            if self._threads:
                self._last_worker = now
            elif now - self._last_worker > WORKERLESS_SECONDS:
                raise ServerError(
                    f"the Dask scheduler at {self._address} has no worker",
                    hint=f"start some: dask worker {self._address}; what was committed is kept",
                )
        return self._threads

    def _workers(self) -> str:
        workers = self._client.nthreads()
        if not workers:
            return "a cluster without workers yet"
        many = "s" if len(workers) > 1 else ""
        return f"{len(workers)} worker{many} with {sum(workers.values())} threads"


def _group_size(expected: ExpectedChips, batch: int) -> int:
    """Number of scenes in a group: one until the chips of a scene are known."""
    if not expected.described:
        return 1
    chips = max(1.0, expected.chips / expected.described)
    return max(1, min(batch, round(BATCHES_A_GROUP * batch / chips)))


def _itself(thing: object) -> object:
    return thing
