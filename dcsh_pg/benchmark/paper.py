"""The scores that the papers report, to compare ours with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dcsh_pg.benchmark.rows import Row

SOURCE = "Remote Sensing 2022, 14(15), 3643, Tables 2 and 3"
BITS = (16, 32, 48, 64)

_GIST, _CNN, _DEEP = "GIST-512", "VGG16 fully connected layer, 4096", "ResNet-50, fine-tuned"

_TABLES: dict[tuple[str, str, str], tuple[float, float, float, float]] = {
    ("ucmd", "dsh", _GIST): (16.38, 17.09, 19.24, 19.18),
    ("ucmd", "lsh", _GIST): (17.55, 18.25, 19.78, 21.46),
    ("ucmd", "itq", _GIST): (19.35, 20.45, 20.89, 20.78),
    ("ucmd", "kulsh", _GIST): (28.37, 33.56, 34.98, 34.16),
    ("ucmd", "prh", _GIST): (31.77, 33.38, 35.76, 36.92),
    ("ucmd", "plsh", _GIST): (40.49, 44.17, 47.32, 46.37),
    ("ucmd", "dsh", _CNN): (28.35, 33.90, 34.24, 34.66),
    ("ucmd", "lsh", _CNN): (32.44, 38.58, 45.48, 51.67),
    ("ucmd", "itq", _CNN): (42.38, 45.99, 47.28, 47.49),
    ("ucmd", "kulsh", _CNN): (53.68, 55.37, 58.23, 64.58),
    ("ucmd", "prh", _CNN): (55.39, 59.45, 61.89, 67.77),
    ("ucmd", "plsh", _CNN): (62.28, 65.35, 70.44, 73.07),
    ("ucmd", "dcsh", _DEEP): (75.80, 78.17, 80.49, 80.09),
    ("aid", "dsh", _GIST): (9.42, 9.87, 10.06, 10.35),
    ("aid", "lsh", _GIST): (10.53, 10.89, 12.74, 13.77),
    ("aid", "itq", _GIST): (9.67, 10.49, 11.74, 11.91),
    ("aid", "kulsh", _GIST): (11.43, 13.46, 14.63, 15.86),
    ("aid", "prh", _GIST): (13.42, 15.37, 15.74, 17.26),
    ("aid", "plsh", _GIST): (13.26, 17.32, 18.64, 18.99),
    ("aid", "dsh", _CNN): (16.25, 18.74, 19.63, 19.57),
    ("aid", "lsh", _CNN): (25.44, 29.79, 35.58, 40.66),
    ("aid", "itq", _CNN): (23.28, 27.29, 28.74, 29.65),
    ("aid", "kulsh", _CNN): (38.47, 41.37, 46.64, 50.62),
    ("aid", "prh", _CNN): (43.89, 47.58, 50.27, 55.74),
    ("aid", "plsh", _CNN): (48.72, 52.35, 55.83, 60.14),
    ("aid", "dcsh", _DEEP): (66.17, 70.04, 71.48, 73.83),
}
"""(data set, method, features) -> mAP@all in % at 16, 32, 48 and 64 bits."""


@dataclass(frozen=True)
class _Published:
    """A data set as the paper used it; ``side`` in pixels."""

    images: int
    side: int
    database_share: float


_PUBLISHED = {"ucmd": _Published(2100, 256, 0.8), "aid": _Published(10000, 600, 0.5)}


@dataclass(frozen=True)
class Reported:
    """The paper's row that one of ours is compared with.

    Attributes:
        features: its features.
        scores: bits -> mAP@all in %.
        differences: what differs, in words; empty if nothing does.
    """

    features: str
    scores: dict[int, float]
    differences: tuple[str, ...]


def has_tables(dataset: str) -> bool:
    """Whether the paper measured a data set; a user's own folder it did not."""
    return dataset in _PUBLISHED


def reported(facts: Mapping[str, Any], row: Row, orientations: int = 1) -> Reported | None:
    """What the DCSH paper reports for the same method on the same kind of features.

    Args:
        facts: of our benchmark: 'dataset', 'images', 'side', 'database_share'.
        orientations: over how many of the image our codes are averaged.
    """
    dataset = facts["dataset"]
    shallow = _GIST if row.encoder == "gist" else _CNN
    features = _DEEP if row.method == "dcsh" else shallow
    scores = _TABLES.get((dataset, row.method, features))
    if scores is None:
        return None
    differences = []
    if features == _DEEP:
        if row.encoder != "resnet50":
            differences.append(f"{row.encoder} in place of ResNet-50")
        if row.freeze:
            differences.append("encoder frozen")
    elif features == _CNN and row.encoder not in ("vgg16-fc6", "vgg16-fc7"):
        differences.append(f"{row.encoder} in place of VGG16")
    if orientations > 1:
        differences.append(f"{orientations} orientations of each image")
    published = _PUBLISHED[dataset]
    if facts["images"] != published.images:
        differences.append(f"{facts['images']} images, not {published.images}")
    if facts["side"] != published.side:
        differences.append(f"pictures of {facts['side']} px, not {published.side}")
    if facts["database_share"] != published.database_share:
        ours, theirs = 100 * facts["database_share"], 100 * published.database_share
        differences.append(f"{ours:g} % in the database, not {theirs:g} %")
    return Reported(features, dict(zip(BITS, scores, strict=True)), tuple(differences))
