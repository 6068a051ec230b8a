"""GIST: the shape of a scene as 512 energies of oriented texture, with nothing to learn.

Oliva and Torralba, *Modeling the Shape of the Scene: A Holistic Representation of the Spatial
Envelope*, IJCV 42 (3), 2001, with the parameters of their reference program LMgist.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from dcsh_pg.learning.encoders.architecture import Architecture

SIZE = 256
"""Width and height of the image in pixels."""
SCALES, ORIENTATIONS, GRID = 4, 8, 4

_LUMA = (0.299, 0.587, 0.114)
_CONTRAST_MARGIN, _CONTRAST_CYCLES = 5, 4
_MARGIN = 32
_PADDED = SIZE + 2 * _MARGIN
_NEGLIGIBLE = 1e-3
"""A transfer function below this counts as 0, which changes a feature by some 0.01 %."""
_FLAT = 0.5 / 255
"""An image whose grey varies by less, half a step of 8 bits, has no contrast: a plain tone then has
only the rounding errors of resizing, which differ between runtimes."""


class Gist(nn.Module):
    """Images float32 (N, C, 256, 256) in 0..1 -> features float32 (N, 512).

    Feature ((scale * 8 + orientation) * 4 + column) * 4 + row is the mean magnitude of one Gabor
    filter's response in one of 4 x 4 cells.  Scale 0 has the finest texture, 0.3 cycles per pixel,
    and each further one 1.85 times coarser; orientation o follows waves that run at o * 22.5
    degrees, counter-clockwise from the x axis of the image as one sees it.

    Fourier transforms are products with fixed matrices: ONNX Runtime has no fast one, and most of
    a Gabor filter's transfer function is 0.  Complex matrices (A, B) are stored as real (A, 2, B).
    """

    mirrored: Tensor
    blur: Tensor
    analysis: Tensor
    synthesis: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.boxes = []
        for index, transfer in enumerate(transfer_functions()):
            box = _support(transfer)
            self.boxes.append(box)
            self._constant(f"transfer_{index}", transfer[box])
        padded = np.pad(np.arange(SIZE), _CONTRAST_MARGIN, mode="symmetric")
        self.register_buffer("mirrored", torch.from_numpy(padded), persistent=False)
        self._constant("blur", _blur(SIZE + 2 * _CONTRAST_MARGIN))
        frequencies = np.arange(-_PADDED // 2, _PADDED // 2) / _PADDED
        waves = np.exp(2j * np.pi * np.outer(frequencies, np.arange(_PADDED)))
        mirror = np.eye(SIZE)[np.pad(np.arange(SIZE), _MARGIN, mode="symmetric")]
        self._constant("analysis", _operator(mirror.T @ waves.conj().T))
        self._constant("synthesis", _operator(waves[:, _MARGIN:-_MARGIN] / _PADDED))

    def _constant(self, name: str, values: np.ndarray) -> None:
        self.register_buffer(name, torch.from_numpy(values.astype(np.float32)), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        spectrum = self._spectrum(self._even_contrast(_grey(images.float())))
        cells = [self._cells(spectrum, index) for index in range(SCALES * ORIENTATIONS)]
        return torch.cat(cells, dim=1)

    def _even_contrast(self, grey: Tensor) -> Tensor:
        """(N, 256, 256) in 0..255 -> local contrast: the logarithm, whitened and divided by what
        is left of it around."""
        blur = self.blur.float()
        light = torch.log1p(grey)[:, self.mirrored][:, :, self.mirrored]
        detail = light - blur @ light @ blur
        energy = (blur @ (detail * detail) @ blur).abs().sqrt()
        inner = slice(_CONTRAST_MARGIN, -_CONTRAST_MARGIN)
        return (detail / (0.2 + energy))[:, inner, inner]

    def _spectrum(self, contrast: Tensor) -> Tensor:
        """(N, 256, 256) -> spectrum of its mirrored extension, (N, 320, 2, 320), [f_x, f_y]."""
        analysis = self.analysis.float()
        along_x = (contrast @ analysis[0]).unflatten(2, (2, _PADDED))
        return _multiply(along_x.transpose(1, 3), analysis)

    def _cells(self, spectrum: Tensor, index: int) -> Tensor:
        """Mean magnitude of the response to one filter, (N, 16)."""
        rows, columns = self.boxes[index]
        transfer: Tensor = getattr(self, f"transfer_{index}").float()
        passed = spectrum[:, columns, :, rows] * transfer.T[:, None, :]
        swapped = (
            transfer.shape[1] > transfer.shape[0]
        )  # transforming the longer side first is less work
        if swapped:
            passed, rows, columns = passed.transpose(1, 3), columns, rows
        synthesis = self.synthesis.float()
        half = _multiply(passed, synthesis[:, rows])
        response = _multiply(half.transpose(1, 3), synthesis[:, columns])
        magnitude = response.square().sum(dim=2).sqrt()
        side = SIZE // GRID
        cells = magnitude.reshape(-1, GRID, side, GRID, side).mean(dim=(2, 4))
        return (cells if swapped else cells.transpose(1, 2)).flatten(1)


def _multiply(z: Tensor, operator: Tensor) -> Tensor:
    """Complex (N, A, 2, B) times the complex (B, C) of ``_operator`` -> (N, A, 2, C)."""
    product = z.flatten(2) @ operator.flatten(0, 1)
    complex_product: Tensor = product.unflatten(2, (2, operator.shape[2] // 2))
    return complex_product


def _operator(z: np.ndarray) -> np.ndarray:
    """Complex (B, C) -> the real (2, B, 2 * C) that [re, im] is multiplied with from the right."""
    return np.stack([np.hstack([z.real, z.imag]), np.hstack([-z.imag, z.real])])


def _grey(images: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, H, W), luma of three bands and else their mean, stretched to 0..255.

    All 0 where there is no contrast: heads that scale features to unit length would otherwise
    hash rounding errors.
    """
    if images.shape[1] == 3:
        red, green, blue = images.unbind(dim=1)
        grey = _LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue
    else:
        grey = images.mean(dim=1)
    dark, bright = grey.amin(dim=(1, 2), keepdim=True), grey.amax(dim=(1, 2), keepdim=True)
    contrast = bright - dark
    stretched = 255 * (grey - dark) / contrast.clamp(min=1 / 255)
    return torch.where(contrast < _FLAT, 0.0, stretched)


def transfer_functions() -> np.ndarray:
    """The Gabor filters in the frequency domain, float64 (32, 320, 320), [f_y, f_x].

    Frequencies rise from -1/2 to 1/2 - 1/320 cycles per pixel; y points down.
    """
    f = np.arange(-_PADDED // 2, _PADDED // 2) / _PADDED
    radius, angle = np.hypot(f[:, None], f), np.arctan2(f[:, None], f[None])
    filters = []
    for scale in range(SCALES):
        along = (radius / (0.3 / 1.85**scale) - 1) ** 2
        for orientation in range(ORIENTATIONS):
            across = angle + np.pi * orientation / ORIENTATIONS
            across = (across + np.pi) % (2 * np.pi) - np.pi
            filters.append(np.exp(-3.5 * along - 2 * np.pi * across**2))
    return np.stack(filters)


def _support(transfer: np.ndarray) -> tuple[slice, slice]:
    """The smallest rows and columns that contain every value that is not negligible."""
    kept = transfer > _NEGLIGIBLE
    rows, columns = np.flatnonzero(kept.any(axis=1)), np.flatnonzero(kept.any(axis=0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _blur(n: int) -> np.ndarray:
    """Symmetric (n, n) matrix of the circular low-pass filter that falls to 1/2 at 4 cycles."""
    cycles = np.fft.fftfreq(n) * n
    gain = np.exp(-(cycles**2) * math.log(2) / _CONTRAST_CYCLES**2)
    return np.fft.ifft(np.fft.fft(np.eye(n)) * gain).real


ENCODERS = {
    "gist": Architecture(
        lambda bands: Gist(),
        dim=SCALES * ORIENTATIONS * GRID * GRID,
        input_size=SIZE,
        learned=False,
        default_weights="none",
    )
}
