"""The hash function, which every method ends in, and its file."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from dcsh_pg.errors import InputError, ModelError
from dcsh_pg.files import HASH_FUNCTION as HASH_FUNCTION
from dcsh_pg.learning import heads
from dcsh_pg.learning.encoders import Encoder, from_onnx, vector
from dcsh_pg.learning.heads import Head
from dcsh_pg.learning.model.preprocess import Preprocess
from dcsh_pg.learning.model.saving import save_whole

FORMAT = 1
"""Version of the file; any other is refused."""


class HashFunction(nn.Module):
    """Standardised images float32 (N, C, S, S) -> z float32 (N, bits); bit k is 1 where z_k >= 0.

    Attributes:
        encoder: image -> features.
        head: features -> z; see ``dcsh_pg.learning.heads``.
        method: name of the method that made it.
        bits: K.
        takes_vectors: whether it takes vectors float32 (N, encoder.dim) instead of images.
        orientations: z is the mean over this many orientations of the image: 1 (as it lies),
            4 (right-angle rotations) or 8 (and their mirror images).  Hashing takes as many times
            longer.
    """

    if TYPE_CHECKING:

        def __call__(self, images: Tensor) -> Tensor: ...

    def __init__(self, encoder: Encoder, head: Head, *, method: str, orientations: int = 1):
        super().__init__()
        if head.dim != encoder.dim:
            raise ModelError(f"a head for {head.dim} features behind an encoder of {encoder.dim}")
        self.encoder, self.head = encoder, head
        self.method, self.orientations = method, orientations
        self.takes_vectors = encoder.name == vector.NAME

    @property
    def bits(self) -> int:
        return self.head.bits

    def forward(self, images: Tensor) -> Tensor:
        if self.takes_vectors:
            z: Tensor = self.head(self.encoder(images))
            return z
        views = [orient(images, view) for view in range(self.orientations)]
        features = self.encoder(torch.cat(views) if len(views) > 1 else images)
        return self._mean(self.head(features))

    def from_features(self, features: Tensor) -> Tensor:
        """z of images from their features.

        Args:
            features: float32 (N, orientations, dim), of the orientations 0, 1, ... in this order.

        Returns:
            float32 (N, bits), as ``forward`` gives for those images.
        """
        return self._mean(self.head(features.transpose(0, 1).flatten(0, 1)))

    def _mean(self, z: Tensor) -> Tensor:
        """z of all views, the first of each image first -> their mean for each image."""
        if self.orientations == 1:
            return z
        return z.reshape(self.orientations, -1, self.bits).mean(dim=0)

    def preprocess(self) -> Preprocess:
        """The module that turns images into this function's input."""
        return Preprocess.of(self.encoder)

    def fold(self) -> HashFunction:
        """A copy in evaluation mode, ready for export: its head is folded."""
        folded = copy.deepcopy(self).eval()
        folded.head.fold()
        return folded


def orient(images: Tensor, view: int) -> Tensor:
    """One of the eight orientations of square images (N, C, S, S).

    Views 0 to 3 are rotations by that many right angles, 4 to 7 the same of the mirror image.
    """
    if view >= 4:
        images = images.flip(3)
    return images.rot90(view % 4, dims=(2, 3))


def _encoder(config: dict[str, Any], state: dict[str, Tensor]) -> Encoder:
    """The encoder of a file; that of an ONNX file is in the state itself."""
    graph = state.get("encoder.body.onnx")
    if graph is None:
        return Encoder(**config)
    architecture = from_onnx.of_graph(
        graph.numpy().tobytes(), config["name"], config["mean"], config["std"]
    )
    return Encoder(**config, architecture=architecture)


def save(path: Path, hash_function: HashFunction, training: dict[str, Any]) -> None:
    """Writes one file with the hash function and the facts of its training, atomically.

    Args:
        training: plain values only: numbers, strings, lists and dicts of them.

    Raises:
        OutputError: the file cannot be written.
    """
    content = {
        "dcsh_hash_function": FORMAT,
        "method": hash_function.method,
        "encoder": hash_function.encoder.config,
        "encoder_weights": hash_function.encoder.weights,
        "head_kind": hash_function.head.KIND,
        "head": hash_function.head.config,
        "orientations": hash_function.orientations,
        "state": {key: value.cpu() for key, value in hash_function.state_dict().items()},
        "training": training,
    }
    save_whole(content, path)


def load(path: Path) -> tuple[HashFunction, dict[str, Any]]:
    """Reads what ``save`` wrote: the hash function, in evaluation mode, and its training facts.

    Raises:
        InputError: there is no such file.
        ModelError: it is not one of ours, or of another version.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"no hash function at {path}", hint="make one with 'dcsh-pg train'")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        version = content["dcsh_hash_function"]
    except Exception as error:
        raise ModelError(
            f"{path} is not a hash function of dcsh-pg", hint="make one with 'dcsh-pg train'"
        ) from error
    if version != FORMAT:
        raise ModelError(
            f"{path} has format {version}, this dcsh-pg reads {FORMAT}",
            hint="train again, or use the dcsh-pg that wrote it",
        )
    encoder = _encoder(content["encoder"], content["state"])
    encoder.weights = content["encoder_weights"]
    hash_function = HashFunction(
        encoder,
        heads.build(content.get("head_kind", heads.MLPHead.KIND), content["head"]),
        method=content["method"],
        orientations=content["orientations"],
    )
    hash_function.load_state_dict(content["state"])
    return hash_function.eval(), content["training"]
