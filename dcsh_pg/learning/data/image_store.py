"""The training images, in batches that reach the device without waiting."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dcsh_pg.learning.model.device import send

RESIDENT_SHARE = 0.3
"""Images are kept on the GPU where they take at most this fraction of its free memory."""
_UPLOAD_IMAGES = 1024


class ImageStore:
    """Decoded images of any type, all on the device or in host memory.

    From host memory a batch is gathered into pinned memory and copied on a stream of its own.  No
    training step waits for the device, so that a batch is gathered and copied while the device
    computes on the one before.

    Attributes:
        resident: (N, H, W, C) on the device, or None.
    """

    def __init__(self, images: np.ndarray, device: torch.device, *, resident: bool | None = None):
        """Places the images.

        Args:
            images: (N, H, W, C), or a memory map.
            resident: whether to keep them on the device; None does where they fit on a GPU.
        """
        self.images, self.device = images, device
        if resident is None:
            size = images.size * _kind(images).itemsize
            resident = device.type == "cuda" and fits(size, device)
        self.resident = _upload(images, device) if resident else None
        staging = device.type == "cuda" and not resident
        self._copies = torch.cuda.Stream(device) if staging else None

    def __len__(self) -> int:
        return len(self.images)

    def take(self, rows: Tensor) -> Tensor:
        """int64 (M,) on the CPU -> these images, (M, H, W, C) on the device."""
        if self.resident is not None:
            return self.resident.index_select(0, send(rows, self.device))
        shape = (len(rows), *self.images.shape[1:])
        staged = torch.empty(shape, dtype=_kind(self.images), pin_memory=self._copies is not None)
        if self.images.dtype == np.uint16:
            staged.numpy()[:] = self.images[rows.numpy()]
        else:
            np.take(self.images, rows.numpy(), axis=0, out=staged.numpy(), mode="clip")
        if self._copies is None:
            return staged.to(self.device)
        with torch.cuda.stream(self._copies):
            batch = staged.to(self.device, non_blocking=True)
        computing = torch.cuda.current_stream(self.device)
        computing.wait_stream(self._copies)
        batch.record_stream(computing)
        return batch


def as_tensor(images: np.ndarray) -> torch.Tensor:
    """Images of any type as a tensor; those of uint16, for which torch has few operations, as int32."""
    return torch.from_numpy(images.astype(np.int32) if images.dtype == np.uint16 else images)


def _kind(images: np.ndarray) -> torch.dtype:
    """The type of the tensor of images."""
    return as_tensor(np.empty(0, images.dtype)).dtype


def fits(size: int, device: torch.device) -> bool:
    """Whether so many bytes leave enough of the GPU's free memory for training."""
    free, _ = torch.cuda.mem_get_info(device)
    return size <= RESIDENT_SHARE * free


def _upload(images: np.ndarray, device: torch.device) -> Tensor:
    """Copies in parts, because a memory map may be larger than the host's memory."""
    resident = torch.empty(images.shape, dtype=_kind(images), device=device)
    for first in range(0, len(images), _UPLOAD_IMAGES):
        part = as_tensor(np.array(images[first : first + _UPLOAD_IMAGES]))
        resident[first : first + _UPLOAD_IMAGES].copy_(part)
    return resident
