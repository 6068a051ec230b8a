"""Work off the main thread, which the user can cancel."""

from __future__ import annotations

from typing import Any, Callable

from qgis.core import QgsFeedback, QgsMessageLog, QgsTask
from qgis.PyQt.QtCore import pyqtSignal

from .connection import Cancelled, DatabaseError
from .queries import InvalidInput


class Work(QgsTask):
    """Runs a function in a thread of QGIS and reports how it ended in the main thread.

    The function gets a feedback that is cancelled with the task, and may emit `step` before its end. Add the task to QGIS's task manager
    and keep a reference to it until it ends.
    """

    done = pyqtSignal(object)
    failed = pyqtSignal(str)
    cancelled = pyqtSignal()
    step = pyqtSignal(object)

    def __init__(self, description: str, function: Callable[[QgsFeedback], Any]):
        super().__init__(description, QgsTask.Flag.CanCancel)
        self._function = function
        self._feedback = QgsFeedback()
        self._answer: Any = None
        self._message = ""

    def cancel(self) -> None:
        self._feedback.cancel()
        super().cancel()

    def run(self) -> bool:
        try:
            self._answer = self._function(self._feedback)
        except Cancelled:
            return False
        except (DatabaseError, InvalidInput) as error:
            self._message = str(error)
            return False
        except Exception as error:  # an exception that leaves a thread of QGIS ends QGIS
            QgsMessageLog.logMessage(repr(error), "dcsh-pg")
            self._message = f"unexpected error: {error}"
            return False
        return True

    def finished(self, is_done: bool) -> None:
        if is_done:
            self.done.emit(self._answer)
        elif self._message and not self._feedback.isCanceled():
            self.failed.emit(self._message)
        else:
            self.cancelled.emit()
