"""From pixels to a packed code as one torch module, for tracing."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from dcsh_pg.card import MAX_WEIGHTS
from dcsh_pg.learning.encoders.from_onnx import OnnxNetwork
from dcsh_pg.learning.heads import MLPHead
from dcsh_pg.learning.model.hash_function import HashFunction


class Packed(nn.Module):
    """Packs z (N, K) into codes.

    Attributes:
        bits: K.
        input: name of what is hashed: 'image', 'vector' or 'text'.
    """

    bit_values: Tensor
    bits: int
    input: str

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("bit_values", 2 ** torch.arange(7, -1, -1, dtype=torch.int32))

    def pack(self, z: Tensor) -> Tensor:
        """z (N, K) -> uint8 (N, K/8), most significant bit first, as ``dcsh_pg.codes`` has it."""
        bits = (z >= 0).to(torch.int32).reshape(-1, self.bits // 8, 8)
        return (bits * self.bit_values).sum(dim=2, dtype=torch.int32).to(torch.uint8)


class TextGraph(Packed):
    """Token ids int64 (N, length) -> code uint8 (N, K/8), z float32 (N, K): the text tower and the head.

    Args:
        hash_function: one whose encoder has a text tower; a folded copy is taken.
        length: number of tokens of a text.
    """

    input = "text"
    onnx_encoder = None

    def __init__(self, hash_function: HashFunction, length: int):
        super().__init__()
        self.bands, self.bits = length, hash_function.bits
        self.hash_function = hash_function.fold().cpu()
        self.eval()

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        z = self.hash_function.head(self.hash_function.encoder.encode_text(tokens))
        return self.pack(z), z


class CodeGraph(Packed):
    """Images (N, H, W, C) of any H and W -> code uint8 (N, K/8), z float32 (N, K).

    Of a hash function that takes vectors the input is float32 (N, dim).

    Args:
        hash_function: any; a folded copy is taken.
        float16: runs the encoder in half precision.  Resizing and scaling before it and the
            head after it stay in float32: they cost little, and the signs of z depend on them.
    """

    def __init__(self, hash_function: HashFunction, *, float16: bool = False):
        super().__init__()
        self.bands, self.bits = hash_function.encoder.bands, hash_function.bits
        self.takes_vectors = hash_function.takes_vectors
        self.input = "vector" if self.takes_vectors else "image"
        body = hash_function.encoder.body
        self.onnx_encoder = body.content if isinstance(body, OnnxNetwork) else None
        self.preprocess = hash_function.preprocess()
        self.pixels = hash_function.encoder.pixels
        self.hash_function = hash_function.fold().cpu()
        if float16:
            self.hash_function.add_module("encoder", HalfPrecision(self.hash_function.encoder))
        self.eval()

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        # Contiguous: behind a channels-last tensor torch traces global pooling as a gather.
        inputs = image if self.takes_vectors else self.preprocess(image).contiguous()
        z = self.hash_function(inputs)
        return self.pack(z), z


def linear_head(hash_function: HashFunction) -> dict[str, Any]:
    """``ModelCard.head`` of a folded hash function; empty where z is no linear function of vectors, or
    one of too many weights."""
    head = hash_function.head
    is_linear = isinstance(head, MLPHead) and len(head.layers) == 1
    if not (hash_function.takes_vectors and is_linear and head.dim * head.bits <= MAX_WEIGHTS):
        return {}
    assert isinstance(head, MLPHead)
    weight, bias = (
        [float(str(number)) for number in values.detach().numpy().ravel()]  # shortest decimals
        for values in (head.last.weight, head.last.bias)
    )
    return {"weight": weight, "bias": bias, "unit_length": head.l2_normalize}


class HalfPrecision(nn.Module):
    """An encoder in half precision, float32 in and out."""

    def __init__(self, encoder: nn.Module):
        super().__init__()
        self.encoder = _with_affine_norms(encoder).half()

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.encoder(images.half())
        return features.float()


class Affine(nn.Module):
    """BatchNorm2d in evaluation mode: x (N, C, H, W) -> scale * x + shift, per channel.

    Scale and shift are computed in float32: running variances may not fit into half precision.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, norm: nn.BatchNorm2d):
        super().__init__()
        assert norm.running_mean is not None and norm.running_var is not None
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        shift = norm.bias - norm.running_mean * scale
        self.register_buffer("scale", scale.detach().view(-1, 1, 1))
        self.register_buffer("shift", shift.detach().view(-1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale + self.shift


def _with_affine_norms(module: nn.Module) -> nn.Module:
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, Affine(child))
        else:
            _with_affine_norms(child)
    return module
