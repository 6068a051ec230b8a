"""Search by a region."""

from __future__ import annotations

from qgis.core import QgsProcessing, QgsProcessingParameterFeatureSource

from .. import statements
from ..layers import HIT
from ..places import area_wkt
from ..queries import Archive, RegionQuery
from .base import ArchiveAlgorithm, K, Values, search_parameters, tr

REGION = "REGION"


class SearchByRegion(ArchiveAlgorithm):
    NAME = "search_by_region"
    TITLE = "Search by region"
    HELP = (
        "Finds the chips most similar to those that cover a region: the polygons of a layer, or its "
        "selected ones."
    )
    COLUMNS = HIT

    def own_parameters(self):
        kinds = [QgsProcessing.SourceType.TypeVectorPolygon]
        source = QgsProcessingParameterFeatureSource(REGION, tr("Region"), kinds)
        return [source, *search_parameters()]

    def statement(self, archive: Archive, values: Values) -> str:
        source = self.parameterAsSource(values.parameters, REGION, values.context)
        region = area_wkt((row.geometry() for row in source.getFeatures()), source.sourceCrs())
        query = RegionQuery(region)
        return statements.search(archive, query, values.filter(), values.integer(K) or 50)
