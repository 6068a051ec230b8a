"""What the algorithms share: connection, archive, filter, and rows that become a layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Callable, ClassVar

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsFeature,
    QgsFeatureSink,
    QgsFields,
    QgsGeometry,
    QgsProcessing,
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingParameterDateTime,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterExtent,
    QgsProcessingParameterFeatureSink,
    QgsProcessingParameterNumber,
    QgsProcessingParameterProviderConnection,
    QgsProcessingParameterString,
    QgsProcessingUtils,
    QgsWkbTypes,
)
from qgis.PyQt.QtCore import QCoreApplication
from qgis.PyQt.QtGui import QIcon

from .. import connection, layers
from ..conditions import cql2
from ..connection import Cancelled, Connection, DatabaseError
from ..queries import Archive, Filter, InvalidInput

CONNECTION, ARCHIVE, OUTPUT = "CONNECTION", "ARCHIVE", "OUTPUT"
AREA, SINCE, UNTIL, WHERE = "AREA", "SINCE", "UNTIL", "WHERE"
MAX_DISTANCE, K = "MAX_DISTANCE", "K"


def tr(text: str) -> str:
    return QCoreApplication.translate("dcsh_pg_search", text)


class Values:
    """The values of an algorithm's parameters; those that are not set are None."""

    def __init__(
        self,
        algorithm: QgsProcessingAlgorithm,
        parameters: dict[str, Any],
        context: QgsProcessingContext,
    ):
        self.algorithm, self.parameters, self.context = algorithm, parameters, context

    def text(self, name: str) -> str | None:
        return self.algorithm.parameterAsString(self.parameters, name, self.context) or None

    def integer(self, name: str) -> int | None:
        if self.parameters.get(name) is None:
            return None
        return self.algorithm.parameterAsInt(self.parameters, name, self.context)

    def number(self, name: str) -> float | None:
        if self.parameters.get(name) is None:
            return None
        return self.algorithm.parameterAsDouble(self.parameters, name, self.context)

    def choice(self, name: str) -> int:
        return self.algorithm.parameterAsEnum(self.parameters, name, self.context)

    def time(self, name: str) -> str | None:
        time = self.algorithm.parameterAsDateTime(self.parameters, name, self.context)
        return time.toString("yyyy-MM-ddTHH:mm:ss") + "Z" if time.isValid() else None

    def area(self) -> str | None:
        crs = QgsCoordinateReferenceSystem(layers.CRS)
        if self.algorithm.parameterAsExtent(self.parameters, AREA, self.context, crs).isNull():
            return None
        extent = self.algorithm.parameterAsExtentGeometry(self.parameters, AREA, self.context, crs)
        return extent.asWkt(12)

    def filter(self) -> Filter:
        """The filter, of the parameters that the algorithm has.

        Raises:
            InvalidInput: the condition cannot be read.
        """
        return Filter(
            area=self.area(),
            since=self.time(SINCE),
            until=self.time(UNTIL),
            max_distance=self.integer(MAX_DISTANCE),
            where=cql2(self.text(WHERE) or ""),
        )


class ArchiveAlgorithm(QgsProcessingAlgorithm):
    """Runs a statement on an archive and writes its rows as features.

    Attributes:
        NAME, TITLE, HELP: for the toolbox.
        COLUMNS: of the output, see `layers.memory_layer`.
        CRS: of the output.
    """

    NAME: ClassVar[str]
    TITLE: ClassVar[str]
    HELP: ClassVar[str]
    COLUMNS: ClassVar[dict[str, str]]
    CRS: ClassVar[str] = layers.CRS

    _connection: Connection | None = None

    def own_parameters(self) -> list[QgsProcessingParameterDefinition]:
        """Parameters besides the connection, the archive, area, time and condition."""
        return []

    def statement(self, archive: Archive, values: Values) -> str:
        """The statement of `statements`.

        Raises:
            InvalidInput: a value is invalid.
        """
        raise NotImplementedError

    def place(self, row: dict[str, Any], values: Values) -> QgsGeometry:
        """Where a row is."""
        return layers.geometry(row["geom"])

    def name(self) -> str:
        return self.NAME

    def displayName(self) -> str:
        return tr(self.TITLE)

    def shortHelpString(self) -> str:
        return tr(self.HELP)

    def icon(self) -> QIcon:
        return self.provider().icon() if self.provider() else super().icon()

    def createInstance(self) -> ArchiveAlgorithm:
        return type(self)()

    def initAlgorithm(self, configuration: Any = None) -> None:
        self.addParameter(
            QgsProcessingParameterProviderConnection(CONNECTION, tr("Connection"), "postgres")
        )
        self.addParameter(QgsProcessingParameterString(ARCHIVE, tr("Archive")))
        for parameter in (*self.own_parameters(), *self.filter_parameters()):
            self.addParameter(parameter)
        kind = QgsProcessing.SourceType.TypeVectorPolygon
        self.addParameter(QgsProcessingParameterFeatureSink(OUTPUT, tr(self.TITLE), kind))

    def filter_parameters(self) -> list[QgsProcessingParameterDefinition]:
        """Which chips are looked at."""
        return [
            QgsProcessingParameterExtent(AREA, tr("Area"), optional=True),
            time_parameter(SINCE, tr("Acquired since (UTC)")),
            time_parameter(UNTIL, tr("Acquired before (UTC)")),
            QgsProcessingParameterString(
                WHERE, tr('Condition on scenes, "gsd" <= 0.5 for example'), optional=True
            ),
        ]

    def prepareAlgorithm(self, parameters, context, feedback) -> bool:
        name = self.parameterAsConnectionName(parameters, CONNECTION, context)
        self._connection = answered(lambda: connection.stored(name))
        return True

    def processAlgorithm(
        self,
        parameters: dict[str, Any],
        context: QgsProcessingContext,
        feedback: QgsProcessingFeedback,
    ) -> dict[str, Any]:
        values = Values(self, parameters, context)
        rows = answered(lambda: self._rows(values, feedback))
        fields = layers.fields_of(self.COLUMNS)
        crs = QgsCoordinateReferenceSystem(self.CRS)
        kind = QgsWkbTypes.Type.Polygon
        sink, self._output = self.parameterAsSink(parameters, OUTPUT, context, fields, kind, crs)
        if sink is None:
            raise QgsProcessingException(self.invalidSinkError(parameters, OUTPUT))
        for number, row in enumerate(rows):
            if feedback.isCanceled():
                break
            sink.addFeature(self._feature(row, fields, values), QgsFeatureSink.Flag.FastInsert)
            feedback.setProgress(100 * (number + 1) / len(rows))
        feedback.pushInfo(tr("{} rows").format(len(rows)))
        return {OUTPUT: self._output}

    def postProcessAlgorithm(self, context, feedback) -> dict[str, Any]:
        """Colours the output by distance where it has one."""
        if "distance" in self.COLUMNS:
            layer = QgsProcessingUtils.mapLayerFromString(self._output, context)
            if layer is not None:
                layers.style_by_distance(layer, opaque=self.CRS != layers.CRS)
        return {OUTPUT: self._output}

    def _rows(self, values: Values, feedback: QgsProcessingFeedback) -> list[dict[str, Any]]:
        name = values.text(ARCHIVE)
        archives = {found.name: found for found in connection.archives(self._connection, feedback)}
        if name not in archives:
            raise InvalidInput(f"no archive '{name}'; there are: {', '.join(archives) or 'none'}")
        return connection.rows(self._connection, self.statement(archives[name], values), feedback)

    def _feature(self, row: dict[str, Any], fields: QgsFields, values: Values) -> QgsFeature:
        return layers.feature(row, fields, self.place(row, values))


def answered(ask: Callable[[], Any]) -> Any:
    """What a question to the database gives; its errors become those of Processing."""
    try:
        return ask()
    except Cancelled:
        raise QgsProcessingException(tr("cancelled")) from None
    except (DatabaseError, InvalidInput) as error:
        raise QgsProcessingException(str(error)) from None


def time_parameter(name: str, title: str) -> QgsProcessingParameterDateTime:
    """An optional time."""
    return QgsProcessingParameterDateTime(name, title, optional=True)


def integer_parameter(
    name: str, title: str, least: int, default: int | None = None
) -> QgsProcessingParameterNumber:
    """A whole number; optional without a default."""
    kind = QgsProcessingParameterNumber.Type.Integer
    optional = default is None
    return QgsProcessingParameterNumber(name, title, kind, default, optional, least)


def search_parameters() -> Sequence[QgsProcessingParameterDefinition]:
    """How many hits, and how near."""
    return [
        integer_parameter(K, tr("Number of hits"), 1, 50),
        integer_parameter(MAX_DISTANCE, tr("Largest distance, bits"), 0),
    ]
