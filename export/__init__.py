"""HashFunction -> one ONNX file with its card, checked against PyTorch.

Needs torch, onnx and onnxscript, which the extra ``train`` installs; see docs/model-file.md.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from dcsh_pg import __version__
from dcsh_pg.card import ModelCard
from dcsh_pg.errors import UsageError
from dcsh_pg.export import onnx_file, parity
from dcsh_pg.export.graph import CodeGraph, TextGraph, linear_head
from dcsh_pg.files import check_writable, replacing, text_file
from dcsh_pg.hasher import Hasher
from dcsh_pg.learning.data.captions import CAPTIONS
from dcsh_pg.learning.model import hash_function as hash_functions
from dcsh_pg.learning.model.hash_function import HASH_FUNCTION, HashFunction
from dcsh_pg.pixel_types import NODATA
from dcsh_pg.progress import SILENT, Progress
from dcsh_pg.text import open_tokenizer, tokenize


def export(
    hash_function: HashFunction,
    path: Path,
    *,
    name: str,
    chip_size: int,
    resolution: float | None = None,
    training: dict[str, Any] | None = None,
    embedding: dict[str, Any] | None = None,
    band_names: Sequence[str] = (),
    created: str | None = None,
    float16: bool = False,
    parity_images: Sequence[np.ndarray] | None = None,
    progress: Progress = SILENT,
) -> ModelCard:
    """Writes a hash function as a model file and checks it against PyTorch.

    Where the encoder has a text tower, that is a second file beside it, ``naip.text.onnx`` for
    ``naip.onnx``; the card has its SHA-256.

    Args:
        name, chip_size, resolution, training, embedding, band_names: for the card, see ``ModelCard``.
        created: ISO 8601, UTC; default: now.  With the same time, the same weights give the same
            file, and so the same identity.
        float16: half-precision encoder: half the size, and on a GPU about twice the speed.
        parity_images: batches (N, H, W, C) of the encoder's type, or vectors float32 (N, dim), for the check;
            default: ``parity.synthetic_images`` or ``synthetic_vectors``.

    Raises:
        ModelError: the file's codes are not those of PyTorch.
        OutputError: ``path`` cannot be written.
        UsageError: ``float16`` of an ONNX encoder.
    """
    check_writable(path)
    progress.start(f"tracing {hash_function.encoder.name}")
    graph = CodeGraph(hash_function)
    if float16 and graph.onnx_encoder is not None:
        raise UsageError(
            "an ONNX encoder keeps its own precision",
            hint="leave out --float16, or convert the encoder before training",
        )
    traced = CodeGraph(hash_function, float16=True) if float16 else graph
    model = onnx_file.trace(traced)
    encoder = hash_function.encoder
    created = created or datetime.now(timezone.utc).isoformat(timespec="seconds")
    text = b""
    if encoder.text is not None:
        text = export_text(hash_function, name=name, created=created, progress=progress)
    card = ModelCard(
        name=name,
        method=hash_function.method,
        bits=hash_function.bits,
        bands=encoder.bands,
        chip_size=chip_size,
        input_size=encoder.input_size,
        mean=encoder.mean,
        std=encoder.std,
        encoder=encoder.name,
        resolution=resolution,
        precision="float16" if float16 else "float32",
        orientations=hash_function.orientations,
        training=training or {},
        input="vector" if hash_function.takes_vectors else "image",
        dtype=encoder.pixels.dtype,
        low=encoder.pixels.low,
        high=encoder.pixels.high,
        knots=encoder.pixels.knots,
        nodata=NODATA[encoder.pixels.dtype],
        band_names=tuple(band_names),
        embedding=embedding or {},
        head=linear_head(graph.hash_function),
        versions=_versions(),
        created=created,
        text=hashlib.sha256(text).hexdigest() if text else "",
    )
    if parity_images is None:
        parity_images = (
            parity.synthetic_vectors(encoder.dim)
            if hash_function.takes_vectors
            else parity.synthetic_images(encoder.bands, chip_size, encoder.pixels)
        )
    unchecked = Hasher(onnx_file.to_bytes(model, card), device="cpu")
    found = parity.check(unchecked, graph, parity_images, progress=progress)
    card = dataclasses.replace(card, parity=dataclasses.asdict(found))
    if text:
        with replacing(text_file(path)) as temporary:
            temporary.write_bytes(text)
    with replacing(path) as temporary:
        temporary.write_bytes(onnx_file.to_bytes(model, card))
    return card


def export_text(
    hash_function: HashFunction, *, name: str, created: str, progress: Progress = SILENT
) -> bytes:
    """The text tower of a hash function as a model file of its own, checked against PyTorch.

    Raises:
        ModelError: the file's codes are not those of PyTorch.
        UsageError: the extra ``text`` is not installed.
    """
    encoder = hash_function.encoder
    assert encoder.architecture.tokenizer is not None
    text = encoder.architecture.tokenizer()
    tokenizer = open_tokenizer(text)
    length = len(tokenizer.encode("").ids)
    tokens = tokenize(tokenizer, list(CAPTIONS[::5]), length, encoder.name)
    progress.start(f"tracing the text tower of {encoder.name}")
    graph = TextGraph(hash_function, length)
    model = onnx_file.trace(graph)
    card = ModelCard(
        name=f"{name}, text",
        method=hash_function.method,
        bits=hash_function.bits,
        bands=length,
        chip_size=1,
        input_size=1,
        mean=(0.0,) * length,
        std=(1.0,) * length,
        encoder=encoder.name,
        input="text",
        versions=_versions(),
        created=created,
    )
    unchecked = Hasher(onnx_file.to_bytes(model, card), device="cpu")
    found = parity.check(unchecked, graph, [tokens], progress=progress)
    card = dataclasses.replace(card, parity=dataclasses.asdict(found))
    return onnx_file.to_bytes(model, card, tokenizer=text)


def export_run(
    run: Path,
    out: Path,
    *,
    name: str | None = None,
    float16: bool = False,
    progress: Progress = SILENT,
) -> ModelCard:
    """Exports a training run; the same run gives the same file.

    Args:
        run: folder with ``hash_function.pt``.
        name: default: the folder's name.

    Raises:
        InputError: there is no hash function in ``run``.
        ModelError: the file is not of dcsh-pg, or the exported codes are not those of PyTorch.
        OutputError: ``out`` cannot be written.
    """
    hash_function, training = hash_functions.load(Path(run) / HASH_FUNCTION)
    return export(
        hash_function,
        out,
        name=name or Path(run).resolve().name,
        chip_size=training.get("chip_size", hash_function.encoder.input_size),
        resolution=training.get("resolution"),
        training=training,
        embedding=training.get("embedding"),
        band_names=training.get("band_names", ()),
        created=training.get("created"),
        float16=float16,
        progress=progress,
    )


def _versions() -> dict[str, str]:
    import onnxruntime

    installed = {package: version(package) for package in ("torch", "torchvision", "onnx")}
    return {"dcsh-pg": __version__, **installed, "onnxruntime": onnxruntime.__version__}
