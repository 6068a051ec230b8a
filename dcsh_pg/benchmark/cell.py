"""One measurement: a row at one code length on one split."""

from __future__ import annotations

import dataclasses
import json
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from dcsh_pg import codes, methods
from dcsh_pg.benchmark.rows import COSINE, Row
from dcsh_pg.benchmark.splits import Split
from dcsh_pg.errors import DcshError, OutputError
from dcsh_pg.evaluation import evaluate
from dcsh_pg.learning.data.feature_cache import FeatureCache
from dcsh_pg.learning.data.features import extract, fixed_views
from dcsh_pg.learning.encoders import Encoder
from dcsh_pg.learning.model.hash_function import HashFunction
from dcsh_pg.learning.training.run import Run
from dcsh_pg.progress import SILENT, Progress

PRECISION_AT = (1, 5, 10, 20, 50, 100, 200, 500, 1000)
_BATCH = 64


@dataclass(frozen=True)
class Setting:
    """Data and settings that the cells of one benchmark share.

    Attributes:
        images: uint8 (N, S, S, C).
        labels: N classes; used to score codes only.
        cache: of features.
        device: 'cpu' or 'cuda'.
        progress: receives the estimates of how long features take.
    """

    images: np.ndarray
    labels: tuple[str, ...]
    cache: FeatureCache
    device: str = "cpu"
    progress: Progress = SILENT


def measure(
    setting: Setting, split: Split, row: Row, encoder: Encoder, *, bits: int, seed: int
) -> dict[str, Any]:
    """Fits, hashes and evaluates.

    Returns:
        plain values: mean average precision, curves, seconds; or ``error``, where the method
        fails or its codes collapse.

    Raises:
        OutputError: the cache cannot be written.
    """
    if not row.freeze:
        # No other cell can use the features of an encoder that is trained for this one.
        cache = FeatureCache(None, precision=setting.cache.precision)
        setting = dataclasses.replace(setting, cache=cache)
    if row.method == COSINE:
        return _features_themselves(setting, split, row, encoder)
    labels = np.asarray(setting.labels)
    began = time.monotonic()
    try:
        hash_function = fit(setting, split.database, row, encoder, bits=bits, seed=seed)
    except OutputError:
        raise
    except DcshError as error:
        return {"error": error.message}
    fitted = time.monotonic()
    database = hash_images(setting, hash_function, split.database)
    queries = hash_images(setting, hash_function, split.queries)
    hashed = time.monotonic()
    report = evaluate(
        database,
        labels[split.database].tolist(),
        queries,
        labels[split.queries].tolist(),
        precision_at=[n for n in PRECISION_AT if n <= len(split.database)],
        seed=seed,
    )
    kept = report.to_dict()
    for name in ("ones", "by_radius", "by_class"):
        del kept[name]
    return {**kept, "seconds": {"fit": fitted - began, "hash": hashed - fitted}}


def fit(
    setting: Setting, database: np.ndarray, row: Row, encoder: Encoder, *, bits: int, seed: int
) -> HashFunction:
    """A hash function fitted to the database images, without labels.

    Args:
        database: indices of the images, int64 (N,).
    """
    run = Run(
        bits=bits,
        seed=seed,
        device=torch.device(setting.device),
        cache=setting.cache,
        progress=setting.progress,
    )
    method = methods.get(row.method)
    return method.fit(setting.images[database], encoder, row.method_options(), run)


@torch.no_grad()
def hash_images(setting: Setting, hash_function: HashFunction, rows: np.ndarray) -> np.ndarray:
    """Packed codes uint8 (len(rows), K/8).

    Features of these images are taken from the cache where it has them.
    """
    hash_function = hash_function.to(setting.device).eval()
    views = fixed_views(range(hash_function.orientations))
    features = extract(
        setting.images[rows],
        hash_function.encoder,
        views=views,
        cache=setting.cache,
        device=setting.device,
        progress=setting.progress,
    )
    z = [
        hash_function.from_features(part.to(setting.device)).cpu()
        for part in torch.from_numpy(features).split(_BATCH)
    ]
    return codes.from_real(torch.cat(z).numpy())


def _features_themselves(
    setting: Setting, split: Split, row: Row, encoder: Encoder
) -> dict[str, Any]:
    """mAP@all by the cosine of features centred on the database: a bound for linear codes."""
    views = fixed_views(range(int(row.options.get("orientations", 1))))
    labels = np.asarray(setting.labels)

    def unit(rows: np.ndarray) -> torch.Tensor:
        features = extract(
            setting.images[rows],
            encoder,
            views=views,
            cache=setting.cache,
            device=setting.device,
            progress=setting.progress,
        )
        return functional.normalize(torch.from_numpy(features), dim=2).mean(dim=1)

    database, queries = unit(split.database), unit(split.queries)
    mean = database.mean(dim=0)
    database = functional.normalize(database - mean, dim=1)
    queries = functional.normalize(queries - mean, dim=1)
    scores = []
    for query, label in zip(queries, labels[split.queries], strict=True):
        order = (database @ query).argsort(descending=True, stable=True).numpy()
        relevant = labels[split.database][order] == label
        precision = relevant.cumsum() / np.arange(1, len(relevant) + 1)
        scores.append((precision * relevant).sum() / relevant.sum())
    return {"mean_average_precision": float(np.mean(scores))}


def identity(
    row: Row, encoder_digest: str, *, bits: int, seed: int, dataset: str, precision: str
) -> dict[str, Any]:
    """Everything that a cell's numbers depend on; a stored cell with another is measured again.

    Returns:
        plain values, as JSON returns them.
    """
    options = row.method_options()
    recipe = {
        "dataset": dataset,
        "method": row.method,
        "encoder": row.encoder,
        "encoder_digest": encoder_digest,
        "options": dict(row.options) if options is None else dataclasses.asdict(options),
        "bits": bits,
        "seed": seed,
        "precision": precision,
    }
    plain: dict[str, Any] = json.loads(json.dumps(recipe))
    return plain
