"""Suffixes of images."""

RASTERS = (".tif", ".tiff", ".gtiff", ".jp2", ".j2k", ".img", ".ntf", ".nitf", ".kea")
PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif")
IMAGES = (*RASTERS, *PICTURES)
