"""Run by QGIS's own Python: opens a project, draws it, and reports of its layers as JSON."""

import json
import sys

from qgis.core import (
    QgsApplication,
    QgsMapLayerType,
    QgsMapRendererParallelJob,
    QgsMapSettings,
    QgsProject,
    QgsRenderContext,
)
from qgis.PyQt.QtCore import QSize

application = QgsApplication([], False)
application.initQgis()
project = QgsProject.instance()
settings = QgsMapSettings()
project.readProject.connect(
    lambda document: settings.readXml(document.elementsByTagName("mapcanvas").at(0))
)
assert project.read(sys.argv[1]), project.error()
crs = [project.crs().authid(), settings.destinationCrs().authid()]
assert crs == ["EPSG:3857"] * 2, crs
layers = project.layerTreeRoot().layerOrder()

reported = {}
for layer in layers:
    if layer.type() == QgsMapLayerType.RasterLayer:
        renderer = layer.renderer()
        bands = (
            [renderer.redBand(), renderer.greenBand(), renderer.blueBand()]
            if hasattr(renderer, "redBand")
            else None
        )
        reported[layer.name()] = {
            "valid": layer.isValid() or layer.providerType() == "wms",
            "source": layer.source(),
            "bands": bands,
            "crs": layer.crs().authid(),
        }
        continue
    renderer = layer.renderer()
    rows = [
        {name: feature[name] for name in ("id", "distance") if layer.fields().indexOf(name) >= 0}
        for feature in layer.getFeatures()
    ]
    context = QgsRenderContext()
    renderer.startRender(context, layer.fields())
    drawn = sum(renderer.symbolForFeature(f, context) is not None for f in layer.getFeatures())
    renderer.stopRender(context)
    reported[layer.name()] = {
        "valid": layer.isValid(),
        "count": layer.featureCount(),
        "renderer": renderer.type(),
        "attribute": renderer.classAttribute() if hasattr(renderer, "classAttribute") else None,
        "drawn": drawn,
        "key": [layer.fields().at(index).name() for index in layer.primaryKeyAttributes()],
        "crs": layer.crs().authid(),
        "rows": rows,
    }

settings.setLayers(layers)
settings.setOutputSize(QSize(900, 600))
job = QgsMapRendererParallelJob(settings)
job.start()
job.waitForFinished()
job.renderedImage().save(sys.argv[2])
print(json.dumps(reported))
sys.stdout.flush()
application.exitQgis()
