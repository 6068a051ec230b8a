"""Published embeddings as scenes: files of vectors that another model made, with their footprints.

One format a file: ``geoparquet``, ``raster``, ``arrays`` with ``tessera``, ``geozarr``.  Each has ``SUFFIXES`` and
``opened(uri, name, using)``; ``sources`` lists them in the order in which they are asked.
"""

from dcsh_pg.embeddings.file import EmbeddingFile as EmbeddingFile
from dcsh_pg.embeddings.file import Using as Using
from dcsh_pg.embeddings.file import Vectors as Vectors
from dcsh_pg.embeddings.making import PRODUCTS as PRODUCTS
from dcsh_pg.embeddings.making import Columns as Columns
from dcsh_pg.embeddings.making import Making as Making
from dcsh_pg.embeddings.sources import find_embeddings as find_embeddings
