"""Descriptions of an archive for other programs: STAC, a QGIS project."""
