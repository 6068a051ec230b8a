"""UC Merced through the whole path: train without labels, export, ingest, evaluate in PostgreSQL.

    python benchmarks/ucmd.py ucmd/ --weights densenet169.pth --work runs/ucmd

Splits a dataset of class folders by class into a database (80 %) and queries (20 %), trains DCSH
and ITQ on the database images with frozen DenseNet-169 features, exports each to ONNX, ingests the
database images and evaluates with the queries.  Prints a Markdown table: mAP@all over the codes
fetched from PostgreSQL, expected over all orders of ties; the same by a loop in this file that
shares no code with the library; and wall times.  Labels draw the split and score the codes; training
never sees them.

Features are cached in WORK/features: a second run, or another split, takes minutes.  Creates
archives 'ucmd_...' and drops them at the end.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dcsh_pg.archive import Archive
from dcsh_pg.cli import console
from dcsh_pg.database.archives import registry
from dcsh_pg.database.search.chips import labelled_codes
from dcsh_pg.database.server import schema
from dcsh_pg.database.server.connect import connect
from dcsh_pg.errors import NotFound
from dcsh_pg.evaluation import evaluate
from dcsh_pg.export import export_run
from dcsh_pg.imagery.reading import Reading
from dcsh_pg.imagery.sources.files import find_scenes
from dcsh_pg.ingest import Pipeline
from dcsh_pg.learning.data.training_set import WHOLE_SIZE, gather
from dcsh_pg.learning.model.device import choose
from dcsh_pg.learning.training.run import Run
from dcsh_pg.methods import choose_options
from dcsh_pg.progress import Progress
from dcsh_pg.train import train

QUERY_SHARE = 0.2
LABEL = "class"


@dataclass
class Outcome:
    """One row of the table; times in seconds."""

    method: str
    bits: int
    seed: int
    mean_average_precision: float = 0.0
    standard_error: float = 0.0
    by_loop: float = 0.0
    seconds: dict[str, float] = field(default_factory=dict)


def split(dataset: Path, folder: Path, seed: int) -> tuple[Path, Path]:
    """Links the pictures of each class into ``folder``/database or ``folder``/queries."""
    random = np.random.default_rng(seed)
    halves = folder / "database", folder / "queries"
    for of_class in sorted(path for path in dataset.iterdir() if path.is_dir()):
        pictures = sorted(path for path in of_class.iterdir() if path.is_file())
        queries = {*random.permutation(len(pictures))[: round(QUERY_SHARE * len(pictures))]}
        for number, picture in enumerate(pictures):
            link = halves[number in queries] / of_class.name / picture.name
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.is_symlink():
                link.symlink_to(picture.resolve())
    return halves


def mean_average_precision(
    database: np.ndarray, database_labels: list[str], queries: np.ndarray, query_labels: list[str]
) -> float:
    """mAP@all of packed codes, expected over all orders of ties, one query and rank at a time.

    In a group of n items at one distance, r of them relevant, behind c items of which R are
    relevant, the item at position k of the group adds (r / n) (R + 1 + (k - 1)(r - 1)/(n - 1)) / (c + k)
    to the sum of precisions (McSherry and Najork, ECIR 2008).
    """
    bits, labels = np.unpackbits(database, axis=1), np.asarray(database_labels)
    scores = []
    for code, label in zip(np.unpackbits(queries, axis=1), query_labels, strict=True):
        distance, relevant = (bits != code).sum(axis=1), labels == label
        items_before = relevant_before = 0
        total = 0.0
        for radius in np.unique(distance):
            group = relevant[distance == radius]
            n, r = len(group), int(group.sum())
            for k in range(1, n + 1):
                others = (k - 1) * (r - 1) / (n - 1) if n > 1 else 0.0
                total += r / n * (relevant_before + 1 + others) / (items_before + k)
            items_before, relevant_before = items_before + n, relevant_before + r
        scores.append(total / relevant.sum())
    return float(np.mean(scores))


def option(text: str) -> tuple[str, Any]:
    """'batch_norm=false' -> ('batch_norm', False); text that is not JSON stays a string."""
    name, _, value = text.partition("=")
    with suppress(json.JSONDecodeError):
        return name, json.loads(value)
    return name, value


def measure(
    outcome: Outcome, database: Path, queries: Path, arguments: argparse.Namespace, shown: Progress
) -> None:
    """Runs the whole path once and fills in the outcome."""
    name = f"ucmd_{outcome.method}_{outcome.bits}_{outcome.seed}"
    run, model = arguments.work / name, arguments.work / f"{name}.onnx"
    options = {"orientations": arguments.orientations}
    if outcome.method == "dcsh":
        options |= dict(arguments.dcsh)
    began = time.perf_counter()

    def lap(step: str) -> None:
        nonlocal began
        outcome.seconds[step] = time.perf_counter() - began
        began = time.perf_counter()

    scenes = find_scenes([str(database)], reading=Reading(), bands=3)
    train(
        gather(scenes, size=WHOLE_SIZE, progress=shown),
        Run(
            bits=outcome.bits,
            seed=outcome.seed,
            device=choose(arguments.device),
            cache=arguments.work / "features",
            folder=run,
            progress=shown,
        ),
        method=outcome.method,
        encoder=arguments.encoder,
        weights=arguments.weights,
        options=choose_options(outcome.method, weights=arguments.weights, freeze=True, **options),
        overwrite=True,
    )
    lap("train")
    export_run(run, model, name=name)
    lap("export")
    with connect(arguments.dsn) as conn, suppress(NotFound):
        registry.drop_archive(conn, name)
    archive = Archive.create(name, model, sources=[str(database)], dsn=arguments.dsn)
    archive.ingest([str(database)], pipeline=Pipeline(progress=shown)).raise_for_failures()
    lap("ingest")
    _, codes, labels = labelled_codes(archive.connection, archive.name, LABEL)
    query_codes, records = archive.hash_images([str(queries)], progress=shown)
    query_labels = [record.properties[LABEL] for record in records]
    report = evaluate(codes, labels, query_codes, query_labels)
    lap("evaluate")
    outcome.mean_average_precision = report.mean_average_precision
    outcome.standard_error = report.standard_error or 0.0
    outcome.by_loop = mean_average_precision(codes, labels, query_codes, query_labels)
    registry.drop_archive(archive.connection, name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path, help="folder of class folders")
    parser.add_argument("--weights", default="imagenet", help="imagenet, or a state dict")
    parser.add_argument("--encoder", default="densenet169")
    parser.add_argument("--methods", nargs="+", default=["dcsh", "itq"])
    parser.add_argument("--bits", type=int, nargs="+", default=[64])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="of split and training")
    parser.add_argument(
        "--orientations", type=int, help="averaged in the model; default: the method's"
    )
    parser.add_argument(
        "--dcsh",
        nargs="+",
        type=option,
        default=[],
        metavar="NAME=VALUE",
        help="fields of its Options: positives=views, quantization=sum, batch_norm=false, ...",
    )
    parser.add_argument("--work", type=Path, default=Path("runs/ucmd"))
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dsn", help="default: the embedded server")
    arguments = parser.parse_args()
    with connect(arguments.dsn) as conn:
        schema.require_current(conn)
    outcomes = []
    for seed in arguments.seeds:
        halves = split(arguments.dataset, arguments.work / f"split_{seed}", seed)
        for method in arguments.methods:
            for bits in arguments.bits:
                outcome = Outcome(method, bits, seed)
                with console.progress() as shown:
                    measure(outcome, *halves, arguments, shown)
                outcomes.append(outcome)
                print(f"{method} {bits}: {outcome.mean_average_precision:.4f}", file=sys.stderr)
    print("| method | bits | split | mAP@all % | by loop | train | export | ingest | evaluate |")
    print("|---|---|---|---|---|---|---|---|---|")
    for o in outcomes:
        times = " | ".join(
            f"{o.seconds[s]:.0f} s" for s in ("train", "export", "ingest", "evaluate")
        )
        score = f"{100 * o.mean_average_precision:.2f} ± {100 * o.standard_error:.2f}"
        print(f"| {o.method} | {o.bits} | {o.seed} | {score} | {100 * o.by_loop:.2f} | {times} |")


if __name__ == "__main__":
    main()
