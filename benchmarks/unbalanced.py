"""mAP of rare classes where the training set is mostly of a few kinds, with and without ``sampling``.

    python benchmarks/unbalanced.py ucmd --data data --weights densenet169.pth --cache cache

The training set is made of the database images of a split: all of a few frequent classes, each in its
eight orientations, and a few of every other class, so that the frequent ones are about 90 %.  Trains
DCSH's hash layer on it with each ``sampling``, and on the whole database as a bound, hashes all
database images and queries, and prints mAP@all of the queries of rare and of frequent classes.
Labels make the training set and score the codes.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import numpy as np

from dcsh_pg.benchmark import cell, datasets
from dcsh_pg.benchmark.cell import Setting
from dcsh_pg.benchmark.splits import Split, stratified
from dcsh_pg.cli import console
from dcsh_pg.evaluation import evaluate
from dcsh_pg.learning.data.feature_cache import FeatureCache
from dcsh_pg.learning.data.features import ALL_ORIENTATIONS
from dcsh_pg.learning.encoders import Encoder, load_weights
from dcsh_pg.learning.training.run import Run
from dcsh_pg.methods import dcsh

FREQUENT = ("beach", "chaparral", "forest")


def turned(images: np.ndarray) -> np.ndarray:
    """Images (N, S, S, C) in all orientations, (8 N, S, S, C)."""
    seen = [images, images[:, :, ::-1]]
    return np.concatenate([np.rot90(half, k, (1, 2)) for half in seen for k in range(4)])


def unbalanced(images: np.ndarray, labels: np.ndarray, split: Split, each: int, seed: int):
    """Training images of which the frequent classes are most -> images, and their share."""
    random = np.random.default_rng(seed)
    database = np.asarray(split.database)
    rare = np.concatenate(
        [
            random.permutation(database[labels[database] == name])[:each]
            for name in sorted({*labels.tolist()} - {*FREQUENT})
        ]
    )
    many = turned(images[database[np.isin(labels[database], FREQUENT)]])
    return np.concatenate([images[rare], many]), len(many) / (len(many) + len(rare))


def scores(setting: Setting, made, split: Split, seed: int) -> tuple[float, float]:
    """mAP@all in per cent of queries of rare and of frequent classes, among all of the database."""
    labels = np.asarray(setting.labels)
    database = cell.hash_images(setting, made, split.database)
    queries = cell.hash_images(setting, made, split.queries)
    is_frequent = np.isin(labels[split.queries], FREQUENT)
    found = []
    for wanted in (~is_frequent, is_frequent):
        report = evaluate(
            database,
            labels[split.database].tolist(),
            queries[wanted],
            labels[split.queries][wanted].tolist(),
            precision_at=[1],
            seed=seed,
        )
        found.append(100 * report.mean_average_precision)
    return found[0], found[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "dataset", help="ucmd or a folder of class folders with FREQUENT among them"
    )
    parser.add_argument("--data", type=Path, default=Path(), help="folder of ucmd")
    parser.add_argument("--encoder", default="densenet169")
    parser.add_argument("--weights", default="imagenet", help="imagenet, or a state dict")
    parser.add_argument("--cache", type=Path, help="folder for features; default: none are kept")
    parser.add_argument("--bits", type=int, default=32)
    parser.add_argument("--splits", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=dcsh.Options.frozen().epochs)
    parser.add_argument("--each", type=int, default=12, help="images of each rare class")
    arguments = parser.parse_args()
    assert len(ALL_ORIENTATIONS) == 8
    encoder = Encoder(arguments.encoder)
    load_weights(encoder, arguments.weights)
    options = dataclasses.replace(dcsh.Options.frozen(), epochs=arguments.epochs)
    with console.progress() as shown:
        dataset = datasets.load(arguments.dataset, arguments.data, progress=shown)
        labels = np.asarray(dataset.labels)
        cache = FeatureCache(arguments.cache, memory=True)
        setting = Setting(dataset.images, tuple(dataset.labels), cache, progress=shown)
        print("| training set | sampling | split | mAP, rare classes | mAP, frequent classes |")
        print("| --- | --- | ---: | ---: | ---: |")
        for seed in range(arguments.splits):
            split = stratified(dataset.labels, datasets.database_share(dataset.name), seed=seed)
            few, share = unbalanced(dataset.images, labels, split, arguments.each, seed)
            sets = {
                f"{100 * share:.0f} % of {len(FREQUENT)} classes": few,
                "the whole database": dataset.images[split.database],
            }
            for name, images in sets.items():
                for sampling in ("even", "density"):
                    run = Run(bits=arguments.bits, seed=seed, cache=cache, progress=shown)
                    made = dcsh.fit(
                        images, encoder, dataclasses.replace(options, sampling=sampling), run
                    )
                    rare, frequent = scores(setting, made, split, seed)
                    print(
                        f"| {name} | {sampling} | {seed} | {rare:.1f} | {frequent:.1f} |",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
