"""Share of mined neighbours that have the image's class: the quality of DCSH's positives.

    python benchmarks/neighbours.py ucmd --data data --weights densenet169.pth

Mines neighbours of the database images of the first split, from features of eight orientations, and
prints the share of the same class.  Labels are used only to count.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from dcsh_pg.benchmark import datasets
from dcsh_pg.benchmark.splits import stratified
from dcsh_pg.cli import console
from dcsh_pg.learning.data.feature_cache import FeatureCache
from dcsh_pg.learning.data.features import extract, fixed_views
from dcsh_pg.learning.data.neighbours import centred, diffused, nearest, whitened
from dcsh_pg.learning.encoders import Encoder, load_weights

WAYS = {
    "nearest": lambda features, k: nearest(centred(features), k),
    "nearest, whitened": lambda features, k: nearest(whitened(features), k),
    "diffused": lambda features, k: diffused(centred(features), k),
    "diffused, whitened": lambda features, k: diffused(whitened(features), k),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", help="ucmd, aid or a folder of class folders")
    parser.add_argument("--data", type=Path, default=Path(), help="folder of ucmd and aid")
    parser.add_argument("--encoder", default="densenet169")
    parser.add_argument("--weights", default="imagenet", help="imagenet, or a state dict")
    parser.add_argument("--precision", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--cache", type=Path, help="folder for features; default: none are kept")
    parser.add_argument("--neighbours", type=int, nargs="+", default=[10, 20, 30])
    arguments = parser.parse_args()
    encoder = Encoder(arguments.encoder)
    load_weights(encoder, arguments.weights)
    with console.progress() as shown:
        dataset = datasets.load(arguments.dataset, arguments.data, progress=shown)
        share = datasets.database_share(dataset.name)
        rows = stratified(dataset.labels, share, seed=0).database
        features = torch.from_numpy(
            extract(
                dataset.images[rows],
                encoder,
                views=fixed_views(range(8)),
                cache=FeatureCache(arguments.cache, precision=arguments.precision),
                progress=shown,
            )
        )
    labels = np.asarray(dataset.labels)[rows]
    print("| % of the same class |", *(f"{k} neighbours |" for k in arguments.neighbours))
    print("| --- |", *("---: |" for _ in arguments.neighbours))
    for name, mine in WAYS.items():
        shares = [
            100 * (labels[mine(features, k).numpy()] == labels[:, None]).mean()
            for k in arguments.neighbours
        ]
        print(f"| {name} |", *(f"{share:.1f} |" for share in shares))


if __name__ == "__main__":
    main()
