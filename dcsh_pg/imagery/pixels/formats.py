"""Which files of a folder are images, by their suffixes."""

RASTERS = (".tif", ".tiff", ".gtiff", ".jp2", ".j2k", ".img", ".ntf", ".nitf", ".kea")
PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif")
IMAGES = (*RASTERS, *PICTURES)
