"""A code graph as an ONNX file with its card."""

from __future__ import annotations

import onnx
import torch

from dcsh_pg import __version__
from dcsh_pg.card import ModelCard
from dcsh_pg.export.graph import CodeGraph, TextGraph
from dcsh_pg.export.join import join, opset_of
from dcsh_pg.learning.model import tracing


def trace(graph: CodeGraph | TextGraph) -> onnx.ModelProto:
    """The graph as an ONNX model with dynamic N, H and W; of vectors and texts, dynamic N.

    The same weights give the same bytes: the exporter's notes about source files are dropped.
    """
    encoder = graph.onnx_encoder
    opset = tracing.OPSET if encoder is None else opset_of(encoder)
    if isinstance(graph, TextGraph):
        example, sizes = torch.zeros(2, graph.bands, dtype=torch.int64), {0: "N"}
    elif graph.takes_vectors:
        example, sizes = torch.zeros(2, graph.bands), {0: "N"}
    else:
        sizes = {0: "N", 1: "H", 2: "W"}
        example = torch.zeros(2, 37, 53, graph.bands, dtype=getattr(torch, graph.pixels.dtype))
    model = tracing.trace(
        graph, example, name=graph.input, sizes=sizes, outputs=["code", "z"], opset=opset
    )
    if encoder is not None:
        model = join(model, encoder)
    _drop_notes(model)
    model.producer_name, model.producer_version = "dcsh-pg", __version__
    onnx.checker.check_model(model)
    return model


def to_bytes(model: onnx.ModelProto, card: ModelCard, **metadata: str) -> bytes:
    """The model's file with the card, and other values as 'dcsh:NAME', in its ``metadata_props``."""
    others = {f"dcsh:{name}": value for name, value in metadata.items()}
    onnx.helper.set_model_props(model, card.to_metadata() | others)
    return model.SerializeToString(deterministic=True)


def _drop_notes(model: onnx.ModelProto) -> None:
    graph = model.graph
    del graph.value_info[:]
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
