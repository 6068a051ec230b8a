"""Opening and reading images: rasters with GDAL, plain pictures with Pillow."""
