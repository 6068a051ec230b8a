"""Runs on a worker: a few scenes in, their codes out.

A result is about 170 bytes per chip.  A worker does not use the database.
"""

from __future__ import annotations

import socket
import threading
from bisect import bisect_left
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import shapely

from dcsh_pg import __version__
from dcsh_pg.errors import DcshError, InputError, ServerError
from dcsh_pg.hasher import Hasher
from dcsh_pg.imagery.scene import Scene, SceneRecord
from dcsh_pg.ingest import HashedScene, Pipeline, hash_scenes

MODELS_KEPT = 2
"""Sessions of models that a worker process keeps, the last ones used."""


@dataclass(frozen=True)
class Model:
    """An ONNX file for the workers."""

    sha256: str
    content: bytes = field(repr=False)


class KnownScenes(Container[str]):
    """The content hashes that an archive has, 32 bytes each, for ``in``."""

    def __init__(self, content_hashes: Iterable[str]):
        self._digests = b"".join(sorted(map(bytes.fromhex, content_hashes)))

    def __len__(self) -> int:
        return len(self._digests) // 32

    def __contains__(self, content_hash: object) -> bool:
        digest = bytes.fromhex(str(content_hash))
        place = bisect_left(range(len(self)), digest, key=self._at)
        return place < len(self) and self._at(place) == digest

    def _at(self, place: int) -> bytes:
        return self._digests[32 * place : 32 * place + 32]


@dataclass(frozen=True)
class Task:
    """Scenes to hash, and how.

    Attributes:
        scenes: consecutive scenes of the run.
        pipeline: of which batch and threads are used.
        device: where the model runs, as :class:`dcsh_pg.hasher.Hasher` takes it.
        version: of the dcsh-pg that submits the task.
    """

    scenes: Sequence[Scene]
    pipeline: Pipeline
    device: str
    version: str = __version__

    def __repr__(self) -> str:
        return f"Task({len(self.scenes)} scenes from {self.scenes[0].uri!r})"


@dataclass(frozen=True, eq=False)
class Result:
    """The result of a scene: a :class:`dcsh_pg.ingest.HashedScene` that can be pickled.

    Attributes:
        codes: uint8 (N, K/8), or None for a scene without chips, a known one, or one that failed.
        windows: int32 (N, 4).
        footprints: N polygons as WKB, or None if the scene is not georeferenced.
        valid_fraction: float32 (N,).
    """

    record: SceneRecord | None = None
    is_known: bool = False
    codes: np.ndarray | None = None
    windows: np.ndarray = field(default_factory=lambda: np.empty((0, 4), np.int32))
    footprints: list[bytes] | None = None
    valid_fraction: np.ndarray = field(default_factory=lambda: np.empty(0, np.float32))
    error: DcshError | None = None

    @property
    def chips(self) -> int:
        return 0 if self.codes is None else len(self.codes)

    @classmethod
    def of(cls, done: HashedScene) -> Result:
        if done.error is not None:
            return cls(done.record, error=_portable(done.scene.uri, done.error))
        if not done.codes:
            return cls(done.record, done.is_known)
        footprints = None if done.footprints is None else shapely.to_wkb(done.footprints).tolist()
        return cls(
            done.record,
            False,
            np.concatenate(done.codes),
            np.concatenate(done.windows),
            footprints,
            np.concatenate(done.valid_fractions),
        )

    def to_hashed(self, scene: Scene) -> HashedScene:
        hashed = HashedScene(scene, self.record, self.error, self.is_known)
        if self.codes is not None:
            hashed.codes.append(self.codes)
            hashed.windows.append(self.windows)
            hashed.valid_fractions.append(self.valid_fraction)
            if self.footprints is not None:
                hashed.footprints = shapely.from_wkb(self.footprints).tolist()
        return hashed


def hash_on_worker(task: Task, model: Model, known: KnownScenes) -> list[Result]:
    """Hashes the scenes of a task; returns a result for each, in their order.

    Raises:
        ServerError: this worker has another dcsh-pg, or cannot run the model.
    """
    if task.version != __version__:
        raise ServerError(
            f"worker {name()} has dcsh-pg {__version__}, the run was started with {task.version}",
            hint="install the same version everywhere",
        )
    cores = _threads()
    hashed = hash_scenes(
        task.scenes,
        hasher(model, task.device, cores),
        known=known,
        pipeline=replace(task.pipeline, threads=max(1, task.pipeline.threads // cores)),
    )
    return [Result.of(done) for done in hashed]


def hasher(model: Model, device: str, threads: int) -> Hasher:
    """This process's session of a model, opened once.

    Raises:
        ServerError: the model does not run here.
    """
    key = (model.sha256, device, threads)
    with _opening:
        if key not in _hashers:
            while len(_hashers) >= MODELS_KEPT:
                _hashers.pop(next(iter(_hashers)))
            _hashers[key] = _open(model, device, threads)
        return _hashers[key]


def _open(model: Model, device: str, threads: int) -> Hasher:
    try:
        return Hasher(model.content, device=device, threads=threads)
    except DcshError as error:
        failure = ServerError(f"worker {name()}: {error.message}", hint=error.hint)
    raise failure  # outside the except block, so that it carries no error that cannot be pickled


_hashers: dict[tuple[str, str, int], Hasher] = {}
_opening = threading.Lock()


def name() -> str:
    """This worker's host and Dask address, for messages."""
    from distributed import get_worker

    return f"{socket.gethostname()} ({get_worker().address})"


def _threads() -> int:
    from distributed import get_worker

    return int(get_worker().state.nthreads)


def _portable(uri: str, error: Exception) -> DcshError:
    """An error that can be pickled; that of a missing file names this machine."""
    if not isinstance(error, DcshError):
        return InputError(f"{uri}: {error}")
    if error.message == f"no such file: {uri}":
        return InputError(
            f"no such file on worker {name()}: {uri}",
            hint="give the workers the same paths: a shared file system, or URLs",
        )
    return error.alone()
