"""What an archive tells other programs about itself: STAC, a QGIS project."""
