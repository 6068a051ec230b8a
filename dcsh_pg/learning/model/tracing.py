"""Modules as ONNX graphs."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence

import onnx
import onnxscript  # noqa: F401  (torch's exporter needs it, and would fail late)
import torch
from torch import Tensor, nn

OPSET = 18
"""The first ONNX operator set whose Resize antialiases."""


def trace(
    module: nn.Module,
    example: Tensor,
    *,
    name: str,
    sizes: Mapping[int, str],
    outputs: Sequence[str],
    opset: int = OPSET,
) -> onnx.ModelProto:
    """A module of one input as an ONNX model.

    Args:
        example: an input.
        name: of the input in the graph.
        sizes: its axes of any length, each with a name.
        outputs: their names.
    """
    with _quiet_exporter():
        program = torch.onnx.export(
            module,
            (example,),
            input_names=[name],
            output_names=outputs,
            dynamic_shapes=(dict(sizes),),
            opset_version=opset,
            dynamo=True,
            verbose=False,
        )
    assert program is not None  # None only without dynamo
    return program.model_proto


@contextlib.contextmanager
def _quiet_exporter() -> Iterator[None]:
    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    exporter.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        exporter.setLevel(level)
