"""Small pictures in classes, as arrays, as a data set and as a folder of class folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from dcsh_pg.benchmark.datasets import Dataset

NAMES = ("beach", "field", "forest", "harbour", "river")


def labels(classes: int, each: int) -> tuple[str, ...]:
    return tuple(name for name in NAMES[:classes] for _ in range(each))


def pictures(classes: int = 4, each: int = 15, size: int = 24) -> np.ndarray:
    """Noisy stripes, of one colour and width a class: uint8 (classes * each, size, size, 3)."""
    random = np.random.default_rng(0)
    colours = random.uniform(40, 200, (classes, 3)).repeat(each, axis=0)[:, None, None]
    widths = (3.0 * 1.5 ** np.arange(classes)).repeat(each)[:, None, None]
    phases = random.uniform(0, 6, (classes * each, 1, 1))
    stripes = np.sin(2 * np.pi * np.arange(size)[:, None] / widths + phases)[..., None]
    noise = random.normal(0, 40, (classes * each, size, size, 3))
    return np.clip(colours + 30 * stripes + noise, 0, 255).astype(np.uint8)


def dataset(classes: int = 4, each: int = 15) -> Dataset:
    return Dataset("tiny", "Tiny", pictures(classes, each), labels(classes, each))


def write_folder(folder: Path, classes: int = 4, each: int = 15) -> Path:
    for number, (picture, label) in enumerate(
        zip(pictures(classes, each), labels(classes, each), strict=True)
    ):
        (folder / label).mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(folder / label / f"{number:03}.png")
    return folder
