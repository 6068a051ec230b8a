"""What the order within ties is worth: mAP of searches with and without --refine.

    python benchmarks/refine.py --data DATA --weights densenet169.pth        # UC Merced, DenseNet-169 features
    python benchmarks/refine.py --dataset FOLDER --encoder resnet50 --methods itq lsh --splits 5

Splits a dataset of class folders by class (the share of the papers), fits each method to the database without labels,
and ranks the database for each query by Hamming distance, then by (distance, -tanh(z) . b).  mAP@all is the mean
over all orders of what is still tied.  Prints a Markdown table of means over the splits.

Features are cached where dcsh-pg train caches them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import platformdirs
import torch

from dcsh_pg import codes, methods
from dcsh_pg.benchmark.datasets import database_share, load
from dcsh_pg.benchmark.splits import stratified
from dcsh_pg.evaluation.metrics import Histograms, average_precision
from dcsh_pg.learning.data.features import extract
from dcsh_pg.learning.encoders import Encoder
from dcsh_pg.learning.encoders.weights import load_weights
from dcsh_pg.learning.training.run import Run


def ranked(rank: np.ndarray, relevant: np.ndarray) -> float:
    """Average precision of items with these ranks, equal ranks tied."""
    _, group = np.unique(rank, return_inverse=True)
    items = np.bincount(group)[None]
    hits = np.bincount(group, weights=relevant)[None].astype(np.int64)
    return float(average_precision(Histograms(items, hits))[0])


def precision(
    database: np.ndarray, classes: np.ndarray, queries: np.ndarray, query_classes: np.ndarray
) -> tuple[float, float]:
    """mAP@all of z float32 (N, K) and (Q, K): by distance, and by distance and score."""
    packed = codes.from_real(database)
    signs = 2.0 * np.unpackbits(packed, axis=1) - 1
    found = []
    for z, label in zip(queries, query_classes, strict=True):
        distance = codes.hamming(packed, codes.from_real(z[None]))[:, 0].astype(np.float64)
        score = (signs @ np.tanh(z.astype(np.float64))).round(9)
        relevant = classes == label
        _, finer = np.unique(np.stack([distance, -score]), axis=1, return_inverse=True)
        found.append((ranked(distance, relevant), ranked(finer.reshape(-1), relevant)))
    plain, refined = np.mean(found, axis=0)
    return float(plain), float(refined)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="ucmd")
    parser.add_argument("--data", type=Path, default=Path())
    parser.add_argument("--encoder", default="densenet169")
    parser.add_argument("--weights", default="pretrained")
    parser.add_argument("--methods", nargs="+", default=["itq", "lsh"])
    parser.add_argument("--bits", type=int, nargs="+", default=[16, 32, 64])
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument(
        "--cache", type=Path, default=Path(platformdirs.user_cache_dir("dcsh-pg")) / "features"
    )
    given = parser.parse_args()
    dataset = load(given.dataset, given.data)
    classes = np.asarray(dataset.labels)
    encoder = Encoder(given.encoder)
    load_weights(encoder, given.weights)
    features = extract(dataset.images, encoder, cache=given.cache)[:, 0]
    print(f"| {dataset.title}, {given.encoder} | bits | mAP | with --refine | difference |")
    print("|---|---:|---:|---:|---:|")
    for method in given.methods:
        for bits in given.bits:
            found = []
            for seed in range(given.splits):
                split = stratified(dataset.labels, database_share(given.dataset), seed)
                fitted = methods.get(method).fit(
                    features[split.database],
                    Encoder("vector", bands=features.shape[1]),
                    methods.choose_options(method, freeze=True),
                    Run(bits=bits, seed=seed),
                )
                with torch.no_grad():
                    z = fitted(torch.from_numpy(features)).numpy()
                found.append(
                    precision(
                        z[split.database],
                        classes[split.database],
                        z[split.queries],
                        classes[split.queries],
                    )
                )
            plain, refined = 100 * np.mean(found, axis=0)
            change = 100 * np.diff(found, axis=1)[:, 0]
            spread = f"{change.mean():+.2f} ({change.min():+.2f} to {change.max():+.2f})"
            print(f"| {method} | {bits} | {plain:.1f} | {refined:.1f} | {spread} |", flush=True)


if __name__ == "__main__":
    main()
