"""Labelled data sets as the papers use them: a folder of class folders."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import median_low

import numpy as np

from dcsh_pg.errors import InputError
from dcsh_pg.imagery.metadata.options import SceneOptions
from dcsh_pg.imagery.reading import Reading
from dcsh_pg.imagery.sources.files import find_scenes
from dcsh_pg.progress import SILENT, Progress

LABEL = "class"
"""Property of a scene that the name of its folder becomes."""


@dataclass(frozen=True)
class Known:
    """A data set of the papers.

    Attributes:
        title: its name in full.
        folders: the names that its unpacked folder may have in a folder of data sets.
        link: page to download it from.
        database_share: share of each class that is the database.
    """

    title: str
    folders: tuple[str, ...]
    link: str
    database_share: float


KNOWN = {
    "ucmd": Known(
        "UC Merced Land Use",
        ("ucmd", "UCMerced_LandUse/Images", "Images"),
        "http://weegee.vision.ucmerced.edu/datasets/landuse.html",
        0.8,
    ),
    "aid": Known(
        "AID",
        ("aid", "AID", "aid150"),
        "https://captain-whu.github.io/AID/",
        0.5,
    ),
}
DATABASE_SHARE = 0.8
"""For any other folder."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images with their classes.

    Attributes:
        name: 'ucmd', 'aid' or the folder's.
        title: for people.
        images: uint8 (N, S, S, C), S the median side of the pictures.
        labels: the class of each, N of them.
    """

    name: str
    title: str
    images: np.ndarray
    labels: tuple[str, ...]

    @property
    def classes(self) -> int:
        return len(set(self.labels))


def database_share(dataset: str) -> float:
    """The share of each class that is the database: the papers' for their data sets, else 0.8."""
    known = KNOWN.get(Path(dataset).resolve().name)
    return known.database_share if known else DATABASE_SHARE


def find(dataset: str, data: Path) -> tuple[str, Path]:
    """Name and folder of a data set.

    Args:
        dataset: 'ucmd', 'aid' or a folder.
        data: folder to find the known ones in.

    Raises:
        InputError: it is missing; the hint has its download page.
    """
    if dataset not in KNOWN:
        folder = Path(dataset)
        if not folder.is_dir():
            raise InputError(
                f"no such data set: {dataset}",
                hint=f"give {', '.join(KNOWN)} or a folder of class folders to --dataset",
            )
        return folder.resolve().name, folder
    known = KNOWN[dataset]
    for name in known.folders:
        if (data / name).is_dir():
            return dataset, data / name
    raise InputError(
        f"{known.title} is not in {data}",
        hint=f"download it from {known.link}, unpack it there, or name its folder with --data",
    )


def load(dataset: str, data: Path = Path(), *, progress: Progress = SILENT) -> Dataset:
    """Reads a data set through the same readers as ``dcsh-pg ingest``.

    Pictures of another size than the median are resized to it.

    Raises:
        InputError: it is missing, or its pictures are not in class folders.
    """
    # Imports torch, which find must not wait for.
    from dcsh_pg.learning.data.training_set import gather

    name, folder = find(dataset, data)
    scenes = find_scenes(
        [str(folder)], reading=Reading(), bands=3, options=SceneOptions(georeference=False)
    )
    records = [scene.describe() for scene in scenes]
    for scene in scenes:
        scene.close()
    unlabelled = [record.uri for record in records if LABEL not in record.properties]
    if unlabelled:
        raise InputError(
            f"{unlabelled[0]} is not in a class folder",
            hint="put the pictures into one folder for each class",
        )
    sides = [max(record.windows[0][2:]) for record in records]
    training_set = gather(scenes, size=median_low(sides), progress=progress)
    if len(training_set.images) != len(scenes):
        raise InputError(
            f"{len(scenes) - len(training_set.images)} pictures of {folder} could not be read",
            hint="; ".join(training_set.failed) or "look for empty pictures",
        )
    known = KNOWN.get(name)
    return Dataset(
        name=name,
        title=known.title if known else name,
        images=training_set.images,
        labels=tuple(record.properties[LABEL] for record in records),
    )
