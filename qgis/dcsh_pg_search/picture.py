"""The code of a picture, which the program dcsh-pg computes with the archive's own model."""

from __future__ import annotations

import shutil

from qgis.core import QgsFeedback
from qgis.PyQt.QtCore import QProcess, QProcessEnvironment

from .connection import Cancelled, Connection, libpq_environment
from .queries import Archive, CodeQuery, InvalidInput

PROGRAM = "dcsh-pg"
MISSING = (
    "a picture is hashed by the program dcsh-pg, which is not on QGIS's PATH: "
    "pip install dcsh-pg, or start QGIS from a terminal that finds it"
)
OF_QGIS = ("PYTHONHOME", "PYTHONPATH", "LD_LIBRARY_PATH", "PROJ_LIB", "PROJ_DATA", "GDAL_DATA")
"""Variables by which QGIS finds its own parts and another Python would find wrong ones."""


def hashed(path: str, connection: Connection, archive: Archive, feedback: QgsFeedback) -> CodeQuery:
    """The query for a picture, hashed with the archive's model over a connection.

    Raises:
        InvalidInput: dcsh-pg is not there, or cannot hash the picture.
        Cancelled: the user cancelled.
    """
    program = shutil.which(PROGRAM)
    if program is None:
        raise InvalidInput(MISSING)
    environment = QProcessEnvironment.systemEnvironment()
    for variable in OF_QGIS:
        environment.remove(variable)
    for variable, value in libpq_environment(connection).items():
        environment.insert(variable, value)
    process = QProcess()
    process.setProcessEnvironment(environment)
    process.start(program, ["archive", "hash", archive.name, path])
    if not process.waitForStarted():
        raise InvalidInput(f"{program} cannot be started")
    while not process.waitForFinished(200) and process.state() != QProcess.ProcessState.NotRunning:
        if feedback.isCanceled():
            process.kill()
            process.waitForFinished()
            raise Cancelled
    if process.exitStatus() != QProcess.ExitStatus.NormalExit or process.exitCode():
        lines = bytes(process.readAllStandardError()).decode(errors="replace").strip().splitlines()
        raise InvalidInput("; ".join(line.strip() for line in lines[-2:]) or "dcsh-pg failed")
    code = bytes(process.readAllStandardOutput()).decode().strip()
    return CodeQuery(code, caption="a picture")
