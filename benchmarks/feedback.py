"""Precision gained by feedback: marked hits, and the next search by them.

    python benchmarks/feedback.py ARCHIVE --label class
    python benchmarks/feedback.py ARCHIVE --rows 1000000     # times of the rules in a larger archive

A simulated user searches by a chip and marks the first ten hits right or wrong by the labels of their
scenes, three times, each time among the hits of a search by all marks so far.  Reported is how many of
the 50 best of what was not marked have the label of the chip, and the median and the 95th percentile of the
time of a search by marks.  Each way to search by marks has a session of its own:

- ``dcsh.similar_to_examples`` by each of its rules;
- one code, the signs of rule rocchio's weights;
- logistic regression on the bits, by scikit-learn, if it is installed.

Labels are used only to mark and to count.  With --rows the archive is 'feedback_benchmark', made of the
codes of the other, each many times with one bit in ten flipped, and dropped at the end: for times alone,
because its precision says nothing of imagery.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import get_args

import numpy as np
from synthetic_archive import load

from dcsh_pg import ExamplesQuery
from dcsh_pg.archive import Archive
from dcsh_pg.database.archives import registry
from dcsh_pg.database.search.chips import labelled_codes
from dcsh_pg.database.search.query import Rule

ROUNDS, MARKED, LOOK = 3, 10, 50
LARGE = "feedback_benchmark"
Search = Callable[[list[int], list[int], int], list[int]]
"""Likes, unlikes and a number of hits -> ids of the best chips that are neither."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("archive")
    parser.add_argument("--label", default="class", help="property of the scenes")
    parser.add_argument("--queries", type=int, default=150)
    parser.add_argument("--rows", type=int, help="time the rules in an archive of so many chips")
    parser.add_argument("--dsn", help="PostgreSQL to use (default: the embedded server)")
    options = parser.parse_args()
    archive = Archive.open(options.archive, dsn=options.dsn)
    ids, codes, labels = labelled_codes(archive.connection, archive.name, options.label)
    if len(ids) != archive.record.chips:
        parser.error(f"chips without the property '{options.label}' would count as wrong")
    if options.rows is None:
        print_table(archive, ids, codes, labels, options.queries)
        return
    rng = np.random.default_rng(0)
    chosen = rng.integers(0, len(ids), options.rows)
    many = np.empty((options.rows, codes.shape[1]), np.uint8)
    for start in range(0, options.rows, 100_000):
        part = codes[chosen[start : start + 100_000]]
        flips = np.packbits(rng.random((len(part), 8 * codes.shape[1])) < 0.1, axis=1)
        many[start : start + 100_000] = part ^ flips
    conn = archive.connection
    if any(known.name == LARGE for known in registry.list_archives(conn)):
        registry.drop_archive(conn, LARGE)
    try:
        load(conn, LARGE, many)
        if conn.execute("SELECT dcsh_private.has_hamming()").fetchone() == (True,):
            registry.create_code_index(conn, LARGE)
        (first,) = conn.execute(f"SELECT min(id) FROM dcsh.{LARGE}").fetchone()
        large = Archive.open(LARGE, dsn=options.dsn)
        numbers = np.arange(first, first + options.rows)
        print_table(large, numbers, None, [labels[row] for row in chosen], options.queries)
    finally:
        registry.drop_archive(conn, LARGE)


def print_table(
    archive: Archive, ids: np.ndarray, codes: np.ndarray | None, labels: list[str], count: int
) -> None:
    label_of = dict(zip(ids.tolist(), labels, strict=True))
    queries = np.random.default_rng(0).choice(ids, count, replace=False).tolist()
    print(f"| {count} queries, {len(ids):,} chips, {archive.record.bits} bits ", end="")
    print(f"| precision@{LOOK} | median ms | 95 % ms |")
    print("| --- | ---: | ---: | ---: |")
    for way, search in searches(archive, ids, codes).items():
        shares, seconds = [], []
        for chip in queries:
            share, took = session(search, chip, label_of)
            shares.append(share)
            seconds += took[1:]
        error = np.std(shares) / np.sqrt(len(shares))
        median, p95 = 1000 * np.quantile(seconds, [0.5, 0.95])
        precision = f"{100 * np.mean(shares):.1f} ± {100 * error:.1f}"
        print(f"| {way} | {precision} | {median:.1f} | {p95:.1f} |", flush=True)


def session(search: Search, chip: int, label_of: dict[int, str]) -> tuple[float, list[float]]:
    """Share of right hits after ``ROUNDS`` rounds of marks, and the seconds of each search; a hit that is
    missing counts as wrong."""
    marks: dict[bool, list[int]] = {True: [chip], False: []}
    seconds = []
    for number in range(ROUNDS + 1):
        began = time.perf_counter()
        hits = search(marks[True], marks[False], LOOK if number == ROUNDS else MARKED)
        seconds.append(time.perf_counter() - began)
        right = [label_of[hit] == label_of[chip] for hit in hits]
        for hit, is_right in zip(hits, right, strict=True):
            marks[is_right].append(hit)
    return sum(right) / LOOK, seconds


def searches(archive: Archive, ids: np.ndarray, codes: np.ndarray | None) -> dict[str, Search]:
    """The ways to search; without codes the rules alone."""

    def by(rule: Rule) -> Search:
        return lambda likes, unlikes, k: [
            hit.id for hit in archive.search(ExamplesQuery(likes, unlikes, rule), k=k)
        ]

    rules = {f"`rule => '{rule}'`": by(rule) for rule in get_args(Rule)}
    if codes is None:
        return rules
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

    def one_code(likes: list[int], unlikes: list[int], k: int) -> list[int]:
        weights = 2 * rows(likes).mean(0) - (rows(unlikes).mean(0) if unlikes else 0)
        return best(signs @ np.where(weights < 0, -1, 1), likes + unlikes, k)

    found: dict[str, Search] = {"one example, no marks": one}
    found |= rules
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
