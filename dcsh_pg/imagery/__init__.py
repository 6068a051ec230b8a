"""Scenes, the chips that are cut from them, query images and areas."""

from dcsh_pg.imagery.area import parse_area
from dcsh_pg.imagery.metadata.options import SceneOptions
from dcsh_pg.imagery.query import read_query
from dcsh_pg.imagery.reading import Reading
from dcsh_pg.imagery.scene import Chips, Scene, SceneRecord
from dcsh_pg.imagery.sources.files import are_plain_pictures, find_scenes

__all__ = [
    "Chips",
    "Reading",
    "Scene",
    "SceneOptions",
    "SceneRecord",
    "are_plain_pictures",
    "find_scenes",
    "parse_area",
    "read_query",
]
