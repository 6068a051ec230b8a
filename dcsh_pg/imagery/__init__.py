"""Scenes, the chips that are cut from them, query images and areas."""

from dcsh_pg.imagery.area import parse_area as parse_area
from dcsh_pg.imagery.metadata.options import SceneOptions as SceneOptions
from dcsh_pg.imagery.query import read_query as read_query
from dcsh_pg.imagery.reading import Reading as Reading
from dcsh_pg.imagery.scene import Chips as Chips
from dcsh_pg.imagery.scene import Scene as Scene
from dcsh_pg.imagery.scene import SceneRecord as SceneRecord
from dcsh_pg.imagery.sources.files import are_plain_pictures as are_plain_pictures
from dcsh_pg.imagery.sources.files import find_scenes as find_scenes
