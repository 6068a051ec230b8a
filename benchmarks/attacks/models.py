"""Opens mutated and hand-made hostile ONNX files.

    python benchmarks/attacks/models.py --minutes 60
    python benchmarks/attacks/models.py --seed 1 --only 4711 --keep hostile.onnx

Each file must hash correctly (one code an image, the signs of z, the same in every batch) or be
refused with a ModelError or an InputError of one line and a hint.  A crash, any other error, output on
stderr, more than ``MEMORY`` bytes or ``SECONDS`` seconds, or reading another file is a fault.  Files are
opened in a child process, to detect a crash.  Needs the extra ``train``.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import resource
import tempfile
from pathlib import Path

import numpy as np
from support.attack import PATIENCE, Attack, run
from support.hostile_onnx import MUTATIONS, base_model

MEMORY = 3 << 30
SECONDS = 60 * PATIENCE
TRIAL_SECONDS = 5.0 * PATIENCE
MODEL_MEMORY = 1 << 30


# -- the process that opens them -------------------------------------------------------------------


def serve(pipe, folder: str) -> None:
    """Opens each model from the pipe and sends back the outcome."""
    os.chdir(folder)
    Path("beside.bin").write_bytes(bytes(1 << 16))
    resource.setrlimit(resource.RLIMIT_AS, (16 << 30, 16 << 30))
    log = os.open("stderr", os.O_RDWR | os.O_CREAT)
    os.dup2(log, 2)
    import psutil

    from dcsh_pg import inference

    inference.TRIAL_SECONDS = TRIAL_SECONDS
    inference.MEMORY_SHARE = MODEL_MEMORY / psutil.virtual_memory().total
    while True:
        content = pipe.recv_bytes()
        os.ftruncate(log, 0)
        outcome, fault = judge(content)
        output = Path("stderr").read_text(errors="replace")[:200]
        peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        if fault is None and output:
            fault = f"{outcome}, but stderr has {output!r}"
        pipe.send((outcome, fault, peak))


def judge(content: bytes) -> tuple[str, str | None]:
    """The outcome of opening a model, and the fault in it, or None."""
    from dcsh_pg import codes
    from dcsh_pg.errors import InputError, ModelError
    from dcsh_pg.hasher import Hasher

    images = np.random.default_rng(0).integers(0, 256, (5, 20, 30, 3), dtype=np.uint8)
    try:
        hasher = Hasher(content, device="cpu", threads=2)
        images = np.resize(images, (5, 20, 30, hasher.card.bands))
        packed, z = hasher.hash_real(images)
        alone = [hasher.hash_real(images[n : n + 1])[1] for n in range(5)]
    except (ModelError, InputError) as error:
        if "\n" in error.message or len(error.message) > 700 or not error.hint:
            return "refused", f"message of {len(error.message)} characters: {error.message[:300]!r}"
        return "refused", None
    except Exception as error:
        return "bug", f"{type(error).__name__}: {str(error)[:300]}"
    if packed.shape != (5, hasher.card.bits // 8) or z.shape != (5, hasher.card.bits):
        return "hashed", f"codes {packed.shape} and z {z.shape} of 5 images"
    if not np.array_equal(packed, codes.from_real(z)):
        return "hashed", "the codes are not the signs of z"
    if not np.allclose(np.concatenate(alone), z, rtol=1e-3, atol=1e-3, equal_nan=True):
        return "hashed", "an image's z depends on the others in its batch"
    return "hashed", None


class Server:
    """The process that opens models; it is restarted when a model kills it."""

    def __init__(self):
        self.process = None

    def ask(self, content: bytes) -> tuple[str, str | None]:
        if self.process is None:
            context = multiprocessing.get_context("spawn")
            self.folder = tempfile.TemporaryDirectory()
            self.pipe, theirs = context.Pipe()
            self.process = context.Process(
                target=serve, args=(theirs, self.folder.name), daemon=True
            )
            self.process.start()
        self.pipe.send_bytes(content)
        if not self.pipe.poll(SECONDS) and self.process.is_alive():
            self.stop()
            return "hung", f"no answer after {SECONDS} s"
        try:
            outcome, fault, peak = self.pipe.recv()
        except (EOFError, ConnectionError):
            self.process.join(5)
            code = self.process.exitcode
            self.stop()
            return "crash", f"the process ended with {code}"
        if peak > MODEL_MEMORY:
            self.stop()  # the peak counts from the start of a process
        return outcome, fault or (f"peak memory {peak / 1e9:.1f} GB" if peak > MEMORY else None)

    def stop(self) -> None:
        self.process.kill()
        self.process.join()
        self.process = None
        self.folder.cleanup()


server = Server()


def once(attack: Attack, rng: random.Random) -> None:
    kind = rng.choice(list(MUTATIONS))
    content = MUTATIONS[kind](base_model(), rng)
    if attack.options.keep:
        attack.options.keep.write_bytes(content)
    outcome, fault = server.ask(content)
    attack.tried(f"{kind}: {outcome}")
    if fault:
        attack.fault(kind, fault)


def add_options(parser) -> None:
    parser.add_argument("--keep", type=Path, help="write each model to this file before opening it")


if __name__ == "__main__":
    try:
        run(__doc__, once, add_options=add_options)
    finally:
        if server.process:
            server.stop()
