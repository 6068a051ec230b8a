"""The hash function: what every method, deep or classic, ends in, and its file."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from dcsh_pg.codes import check_bits
from dcsh_pg.errors import InputError, ModelError
from dcsh_pg.learning.encoders import Encoder
from dcsh_pg.learning.preprocess import Preprocess
from dcsh_pg.learning.saving import save_whole

FORMAT = 1
"""Version of the file; one with another is refused."""


class Head(nn.Module):
    """Features (N, dim) -> z (N, bits): Linear layers with ReLU between.

    Attributes:
        dim: length of the features.
        bits: K.
        hidden: widths of the layers before the last.
        l2_normalize: whether features are first scaled to unit length.
        layers: Linear, ReLU, ..., Linear.
        norm: BatchNorm1d over z, or Identity where there is none.
    """

    def __init__(
        self,
        dim: int,
        bits: int,
        *,
        hidden: Sequence[int] = (),
        batch_norm: bool = False,
        l2_normalize: bool = False,
    ):
        super().__init__()
        self.dim, self.bits, self.hidden = dim, check_bits(bits), tuple(hidden)
        self.l2_normalize = l2_normalize
        widths = [dim, *self.hidden, bits]
        layers: list[nn.Module] = []
        for before, width in itertools.pairwise(widths):
            layers += [nn.Linear(before, width), nn.ReLU()]
        self.layers = nn.Sequential(*layers[:-1])
        self.norm = nn.BatchNorm1d(bits) if batch_norm else nn.Identity()

    def forward(self, features: Tensor) -> Tensor:
        return self.norm(self.project(features))

    def project(self, features: Tensor) -> Tensor:
        """z before BatchNorm."""
        if self.l2_normalize:
            features = functional.normalize(features, dim=1)
        return self.layers(features)

    @torch.no_grad()
    def calibrate(self, projected: Tensor) -> None:
        """Sets BatchNorm's statistics to those of z before it, (N, bits).

        Running averages over augmented batches lag behind in short trainings, and then bits that
        are balanced in training are not when images get their code.
        """
        if self.batch_norm:
            self.norm.running_mean.copy_(projected.mean(dim=0))
            self.norm.running_var.copy_(projected.var(dim=0))

    @property
    def batch_norm(self) -> bool:
        """Whether BatchNorm stands after the last Linear."""
        return isinstance(self.norm, nn.BatchNorm1d)

    @property
    def config(self) -> dict[str, Any]:
        """The arguments that build this head again, without its weights."""
        return {
            "dim": self.dim,
            "bits": self.bits,
            "hidden": self.hidden,
            "batch_norm": self.batch_norm,
            "l2_normalize": self.l2_normalize,
        }


class HashFunction(nn.Module):
    """Standardised images float32 (N, C, S, S) -> z float32 (N, bits); bit k is 1 where z_k >= 0.

    Attributes:
        encoder: image -> features.
        head: features -> z.
        method: the method that made it, 'dcsh' or 'itq'.
        bits: K.
        orientations: z is the mean over this many orientations of the image: 1 (as it lies),
            4 (right-angle rotations) or 8 (and their mirror images).  Encoding costs as many
            times more.
    """

    def __init__(self, encoder: Encoder, head: Head, *, method: str, orientations: int = 1):
        super().__init__()
        if head.dim != encoder.dim:
            raise ModelError(f"a head for {head.dim} features behind an encoder of {encoder.dim}")
        self.encoder, self.head = encoder, head
        self.method, self.orientations = method, orientations

    @property
    def bits(self) -> int:
        return self.head.bits

    def forward(self, images: Tensor) -> Tensor:
        z = self.head(self.encoder(images))
        for view in range(1, self.orientations):
            z = z + self.head(self.encoder(orient(images, view)))
        return z / self.orientations

    def preprocess(self) -> Preprocess:
        """What turns uint8 images into this function's input."""
        return Preprocess(self.encoder.input_size, self.encoder.mean, self.encoder.std)

    def fold(self) -> HashFunction:
        """A copy in evaluation mode with the head's BatchNorm folded into its last Linear.

        Its z is the same up to rounding, and so is its code.
        """
        folded = copy.deepcopy(self).eval()
        if folded.head.batch_norm:
            linear, norm = folded.head.layers[-1], folded.head.norm
            scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
            with torch.no_grad():
                linear.weight.mul_(scale[:, None])
                linear.bias.copy_((linear.bias - norm.running_mean) * scale + norm.bias)
            folded.head.norm = nn.Identity()
        return folded


def orient(images: Tensor, view: int) -> Tensor:
    """One of the eight orientations of square images (N, C, S, S).

    Views 0 to 3 are rotations by that many right angles, 4 to 7 the same of the mirror image.
    """
    if view >= 4:
        images = images.flip(3)
    return images.rot90(view % 4, dims=(2, 3))


def save(path: Path, hash_function: HashFunction, training: dict[str, Any]) -> None:
    """Writes one file with the hash function and what is known of its training, atomically.

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
    encoder = Encoder(**content["encoder"])
    encoder.weights = content["encoder_weights"]
    hash_function = HashFunction(
        encoder,
        Head(**content["head"]),
        method=content["method"],
        orientations=content["orientations"],
    )
    hash_function.load_state_dict(content["state"])
    return hash_function.eval(), content["training"]
