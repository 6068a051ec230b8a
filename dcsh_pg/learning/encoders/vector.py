"""Embeddings that are given: the encoder that passes a vector on as it is."""

from __future__ import annotations

from torch import Tensor, nn

from dcsh_pg.learning.encoders.architecture import Architecture

NAME = "vector"
"""Of the encoder of a hash function that takes vectors float32 (N, dim) instead of images."""


class Given(nn.Module):
    """Vectors float32 (N, dim) -> the same."""

    def __init__(self, dim: int):
        super().__init__()
        self.head_hidden_size = dim

    def forward(self, vectors: Tensor) -> Tensor:
        return vectors


ENCODERS = {
    "vector": Architecture(Given, dim=None, input_size=1, learned=False, default_weights="none")
}
