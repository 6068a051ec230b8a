"""Precision gained by feedback: marked hits, and the next search by them.

    python benchmarks/feedback.py ARCHIVE --label class

A simulated user searches by a chip and marks the first ten hits right or wrong by the labels of their
scenes, three times, each time among the hits of a search by all marks so far.  Reported is how many of
the 50 best of what was not marked have the label of the chip, and the median time of a search.  Each way to
search by marks has a session of its own, in which an unmarked chip is never shown twice:

- ``dcsh.similar_to_examples`` by each of its rules;
- one code, the signs of rule rocchio's weights;
- logistic regression on the bits, by scikit-learn, if it is installed.

Labels are used only to mark and to count.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import get_args

import numpy as np

from dcsh_pg import ExamplesQuery
from dcsh_pg.archive import Archive
from dcsh_pg.database.search.chips import labelled_codes
from dcsh_pg.database.search.query import Rule

ROUNDS, MARKED, LOOK = 3, 10, 50
Search = Callable[[list[int], list[int], int], list[int]]
"""Likes, unlikes and a number of hits -> ids of the best chips that are neither."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("archive")
    parser.add_argument("--label", default="class", help="property of the scenes")
    parser.add_argument("--queries", type=int, default=150)
    parser.add_argument("--dsn")
    options = parser.parse_args()
    archive = Archive.open(options.archive, dsn=options.dsn)
    ids, codes, labels = labelled_codes(archive.connection, archive.name, options.label)
    if len(ids) != archive.record.chips:
        parser.error(f"chips without the property '{options.label}' would count as wrong")
    label_of = dict(zip(ids.tolist(), labels, strict=True))
    queries = np.random.default_rng(0).choice(ids, options.queries, replace=False).tolist()
    print(f"| {len(queries)} queries, {8 * codes.shape[1]} bits | precision@{LOOK} | ms |")
    print("| --- | ---: | ---: |")
    for way, search in searches(archive, ids, codes).items():
        shares, seconds = [], []
        for chip in queries:
            share, took = session(search, chip, label_of)
            shares.append(share)
            seconds += took
        error = np.std(shares) / np.sqrt(len(shares))
        milliseconds = 1000 * np.median(seconds)
        print(f"| {way} | {100 * np.mean(shares):.1f} ± {100 * error:.1f} | {milliseconds:.1f} |")


def session(search: Search, chip: int, label_of: dict[int, str]) -> tuple[float, list[float]]:
    """Share of right hits after ``ROUNDS`` rounds of marks, and the seconds of each search."""
    marks: dict[bool, list[int]] = {True: [chip], False: []}
    seconds = []
    for number in range(ROUNDS + 1):
        began = time.perf_counter()
        hits = search(marks[True], marks[False], LOOK if number == ROUNDS else MARKED)
        seconds.append(time.perf_counter() - began)
        right = [label_of[hit] == label_of[chip] for hit in hits]
        for hit, is_right in zip(hits, right, strict=True):
            marks[is_right].append(hit)
    return float(np.mean(right)), seconds


def searches(archive: Archive, ids: np.ndarray, codes: np.ndarray) -> dict[str, Search]:
    signs = 2 * np.unpackbits(codes, axis=1).astype(int) - 1
    row = {id: number for number, id in enumerate(ids.tolist())}

    def best(scores: np.ndarray, marked: list[int], k: int) -> list[int]:
        order = ids[np.lexsort((ids, -scores))].tolist()
        taken = set(marked)
        return [id for id in order if id not in taken][:k]

    def rows(marked: list[int]) -> np.ndarray:
        return signs[[row[id] for id in marked]]

    def one(likes: list[int], unlikes: list[int], k: int) -> list[int]:
        return best(signs @ signs[row[likes[0]]], likes + unlikes, k)

    def by(rule: Rule) -> Search:
        return lambda likes, unlikes, k: [
            hit.id for hit in archive.search(ExamplesQuery(likes, unlikes, rule), k=k)
        ]

    def one_code(likes: list[int], unlikes: list[int], k: int) -> list[int]:
        weights = 2 * rows(likes).mean(0) - (rows(unlikes).mean(0) if unlikes else 0)
        return best(signs @ np.where(weights < 0, -1, 1), likes + unlikes, k)

    found: dict[str, Search] = {"one example, no marks": one}
    found |= {f"`rule => '{rule}'`": by(rule) for rule in get_args(Rule)}
    found["the signs of rocchio's weights, one code"] = one_code
    try:
        from sklearn.linear_model import LogisticRegression
    except ImportError:
        return found

    def regression(likes: list[int], unlikes: list[int], k: int) -> list[int]:
        if not unlikes:
            return by("mean")(likes, unlikes, k)
        right = [1] * len(likes) + [0] * len(unlikes)
        model = LogisticRegression(max_iter=1000).fit(rows(likes + unlikes), right)
        return best(model.decision_function(signs), likes + unlikes, k)

    return found | {"logistic regression on the bits": regression}


if __name__ == "__main__":
    main()
