"""KULSH, kernel-based unsupervised LSH: random hyperplanes in kernel space."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from dcsh_pg.errors import UsageError
from dcsh_pg.learning.encoders import Encoder
from dcsh_pg.learning.heads import KernelHead
from dcsh_pg.learning.model.hash_function import HashFunction
from dcsh_pg.learning.training.closed_form import fit_head
from dcsh_pg.learning.training.options import MethodOptions
from dcsh_pg.learning.training.run import Run

_SMALLEST = 1e-8
"""Eigenvalues of the kernel matrix below this count as 0."""


@dataclass(frozen=True)
class Options(MethodOptions):
    """Kernel-based unsupervised LSH (Demir and Bruzzone, IEEE TGRS 54(2), 2016).

    Kulis and Grauman's kernelized LSH (ICCV 2009) on features of remote-sensing images.
    ``anchors`` images give a kernel matrix, centred in kernel space; each bit is the side of a
    hyperplane whose normal is, in the whitened span of the anchors, the sum of a random ``drawn``
    of them, which approaches a Gaussian direction.

    The paper's kernel on our features is not known: the Gaussian kernel here is as wide as the
    mean distance of two anchors.

    Attributes:
        anchors: p; Kulis and Grauman's 300.
        drawn: anchors in the sum of each bit, t; their 30.  At most half of the anchors, because
            the sum of all anchors is 0, so that the sum of t is minus that of the others.  With
            fewer than 2 t images, half of the images are drawn.
    """

    method: ClassVar[str] = "kulsh"
    anchors: int = 300
    drawn: int = 30

    def check(self) -> None:
        super().check()
        self.require_at_least(1, "drawn")
        if self.drawn > self.anchors // 2:
            raise UsageError(
                f"drawn must be at most half of anchors {self.anchors}, not {self.drawn}",
                hint=self.default_of("drawn"),
            )


def fit(images: np.ndarray, encoder: Encoder, options: Options, run: Run) -> HashFunction:
    """``Method.fit``; needs more images than bits."""
    anchors = min(options.anchors, len(images))
    drawn = min(options.drawn, anchors // 2)

    def make(features: Tensor) -> tuple[KernelHead, dict[str, Any]]:
        random = np.random.default_rng(run.seed)
        unit = functional.normalize(features[:, 0].double(), dim=1)
        points = unit[np.sort(random.choice(len(unit), anchors, replace=False))]
        # Rounded as the head stores them: otherwise the kernel matrix is not symmetric, and similar
        # anchors get eigenvalues of rounding errors.
        points = points.float().double()
        head = KernelHead(encoder.dim, run.bits, anchors=anchors, l2_normalize=True)
        with torch.no_grad():
            head.points.copy_(points)
            head.sigma.copy_(functional.pdist(points).mean().clamp(min=1e-6))
            kernel = head.kernel(points).numpy()
            head.centre.copy_(torch.from_numpy(kernel.mean(axis=0)))
            head.linear.weight.copy_(torch.from_numpy(directions(kernel, run.bits, drawn, random)))
            head.linear.bias.zero_()
        record = {"anchors": anchors, "drawn": drawn, "sigma": round(head.sigma.item(), 4)}
        return head, record

    return fit_head(images, encoder, make, options, run)


def directions(
    kernel: np.ndarray, bits: int, drawn: int, random: np.random.Generator
) -> np.ndarray:
    """Weights of the anchors for random directions in kernel space (Kulis and Grauman, sec. 4).

    Rows sum to 0, because the constant vector is in the null space of the centred kernel; so it
    is enough to centre a new kernel row by the anchors' mean row.

    Args:
        kernel: of the anchors, float64 (p, p).

    Returns:
        float64 (bits, p): sqrt((p - 1) / t) K^(-1/2) e_S, K centred, S a random set of t anchors.
    """
    anchors = len(kernel)
    rows = kernel.mean(axis=0)
    centred = kernel - rows - rows[:, None] + rows.mean()
    values, vectors = np.linalg.eigh(centred)
    kept = values > _SMALLEST
    inverse_root = (vectors[:, kept] / np.sqrt(values[kept])) @ vectors[:, kept].T
    chosen = np.zeros((bits, anchors))
    for row in chosen:
        row[random.choice(anchors, drawn, replace=False)] = 1
    found: np.ndarray = np.sqrt((anchors - 1) / drawn) * chosen @ inverse_root
    return found
