"""Loads the imagery of hits off the main thread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from qgis.core import QgsApplication
from qgis.PyQt.QtCore import QObject, pyqtSignal

from .. import imagery
from ..task import Work
from .hits_table import THUMBNAIL

MOST_PICTURES = 200
"""Hits that get a picture."""


class ImageryLoader(QObject):
    """Pictures of hits as they are read, then their scenes below them."""

    picture = pyqtSignal(object, object)
    done = pyqtSignal(int)

    def __init__(self) -> None:
        super().__init__()
        self.work: Work | None = None

    def start(self, hits: Sequence[Mapping[str, Any]], most: int) -> None:
        """Shows hits and at most `most` of their scenes, in place of those before."""
        self.cancel()
        hits = hits[:MOST_PICTURES]
        wanted = list(dict.fromkeys(hit["uri"] for hit in hits))[:most]
        loaded = imagery.loaded()
        work = Work(self.tr("Reading imagery"), lambda feedback: look(feedback))

        def look(feedback):
            def step(*found):
                work.step.emit(found)

            return imagery.look(hits, most, loaded, THUMBNAIL, step, feedback)

        work.step.connect(lambda found: work is self.work and self.picture.emit(*found))
        work.done.connect(partial(self._show, work, wanted))
        self.work = work
        QgsApplication.taskManager().addTask(work)

    def cancel(self) -> None:
        """Ends what is loading."""
        if self.work is not None:
            self.work.cancel()
            self.work = None

    def _show(self, work: Work, wanted: Sequence[str], shown: imagery.Shown) -> None:
        if work is self.work:
            self.work = None
            imagery.show(shown.rasters, wanted)
            self.done.emit(shown.unread)
