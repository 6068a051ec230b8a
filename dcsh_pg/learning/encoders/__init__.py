"""Encoders: a standardised image -> a feature vector, one architecture a file."""

from dcsh_pg.learning.encoders.architecture import IMAGENET_MEAN as IMAGENET_MEAN
from dcsh_pg.learning.encoders.architecture import IMAGENET_STD as IMAGENET_STD
from dcsh_pg.learning.encoders.architecture import Architecture as Architecture
from dcsh_pg.learning.encoders.encoder import Encoder as Encoder
from dcsh_pg.learning.encoders.registry import find as find
from dcsh_pg.learning.encoders.weights import load_weights as load_weights
