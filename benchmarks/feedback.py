"""Precision gained by feedback: searches by liked and unliked chips after a first search.

    python benchmarks/feedback.py ARCHIVE --label class

Searches by a chip, takes up to three of the first 20 hits as liked and up to three as unliked, by
the labels of their scenes, searches again in each way, and reports how many of the next 20 hits have
the label of the chip.  ``dcsh.similar_to_examples`` is compared with formulas used elsewhere,
computed in NumPy: the distance to the likes minus the distance to the unlikes, and twice the former
minus the latter (GeoVibes).  Labels are used only to mark and to count.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from dcsh_pg import ExamplesQuery
from dcsh_pg import codes as packed
from dcsh_pg.archive import Archive
from dcsh_pg.database.search.chips import labelled_codes

LOOK, MARKED = 20, 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("archive")
    parser.add_argument("--label", default="class", help="property of the scenes")
    parser.add_argument("--rounds", type=int, default=500)
    parser.add_argument("--dsn")
    options = parser.parse_args()
    archive = Archive.open(options.archive, dsn=options.dsn)
    ids, codes, labels = labelled_codes(archive.connection, archive.name, options.label)
    if len(ids) != archive.record.chips:
        parser.error(f"chips without the property '{options.label}' would count as wrong")
    label_of = dict(zip(ids.tolist(), labels, strict=True))
    random = np.random.default_rng(0)
    shares: dict[str, list[float]] = {}
    seconds: dict[str, list[float]] = {}
    for chip in random.choice(ids, options.rounds).tolist():
        first = [hit.id for hit in archive.similar_to(chip, k=LOOK)]
        right = [id for id in first if label_of[id] == label_of[chip]][:MARKED]
        wrong = [id for id in first if label_of[id] != label_of[chip]][:MARKED]
        if not wrong:
            continue
        likes = [chip, *right]
        for way, ask in _ways(archive, ids, codes, likes, wrong).items():
            began = time.perf_counter()
            hits = [id for id in ask() if id not in (*likes, *wrong)][:LOOK]
            seconds.setdefault(way, []).append(time.perf_counter() - began)
            of_label = sum(label_of[id] == label_of[chip] for id in hits)
            shares.setdefault(way, []).append(of_label / LOOK)
    print(f"| {len(shares['one chip'])} rounds | precision@{LOOK} in % | ms, median |")
    print("| --- | ---: | ---: |")
    for way, found in shares.items():
        error = np.std(found) / np.sqrt(len(found))
        milliseconds = 1000 * np.median(seconds[way])
        print(f"| {way} | {100 * np.mean(found):.1f} ± {100 * error:.1f} | {milliseconds:.1f} |")


def _ways(archive, ids, codes, likes, unlikes):
    """Name -> search for at least ``LOOK`` hits that are not examples."""

    def one():
        return [hit.id for hit in archive.similar_to(likes[0], k=LOOK + 2 * MARKED)]

    def examples(rule, unlikes):
        return lambda: [
            hit.id for hit in archive.search(ExamplesQuery(likes, unlikes, rule), k=LOOK)
        ]

    def difference(combine, weight):
        def ask():
            rows = {id: row for row, id in enumerate(ids.tolist())}
            near, far = (
                combine(packed.hamming(codes, codes[[rows[id] for id in chosen]]), axis=1)
                for chosen in (likes, unlikes)
            )
            return ids[np.lexsort((ids, weight * near - far))][: LOOK + 3 * MARKED].tolist()

        return ask

    return {
        "one chip": one,
        "likes, min": examples("min", ()),
        "likes and unlikes, min": examples("min", unlikes),
        "likes, mean": examples("mean", ()),
        "likes and unlikes, mean": examples("mean", unlikes),
        "difference of the min": difference(np.min, 1),
        "difference of the mean": difference(np.mean, 1),
        "twice the mean less the mean": difference(np.mean, 2),
    }


if __name__ == "__main__":
    main()
