"""Encoders: a standardised image -> a feature vector, one architecture a file."""

from dcsh_pg.learning.encoders.architecture import IMAGENET_MEAN, IMAGENET_STD, Architecture
from dcsh_pg.learning.encoders.encoder import Encoder
from dcsh_pg.learning.encoders.registry import find
from dcsh_pg.learning.encoders.weights import load_weights

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "Architecture",
    "Encoder",
    "find",
    "load_weights",
]
