"""Tiny encoders as ONNX files, written with onnx alone."""

import json

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CARD = {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.25, 0.3]}
DIM = 24


def weights(dim=DIM):
    return np.random.default_rng(0).standard_normal((3, dim)).astype(np.float32)


def model(
    nodes,
    *,
    image=("N", 3, 16, 16),
    feature=("N", DIM),
    kind=TensorProto.FLOAT,
    opset=17,
    constants=None,
    inputs=(),
) -> onnx.ModelProto:
    """``pixels`` in, ``features`` out."""
    constants = {"weights": weights(), "space": np.array([2, 3], np.int64)} | (constants or {})
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "encoder",
        [helper.make_tensor_value_info("pixels", kind, image), *inputs],
        [helper.make_tensor_value_info("features", kind, feature)],
        [numpy_helper.from_array(v, k) for k, v in constants.items() if k in used],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def means_nodes(squared=True):
    """Features: the products of the band means, of x + x², with ``weights``."""
    return [
        helper.make_node("Mul", ["pixels", "pixels"], ["squares"]),
        helper.make_node("Add", ["pixels", "squares"], ["sums"]),
        helper.make_node("ReduceMean", ["sums"], ["means"], axes=[2, 3], keepdims=0),
        helper.make_node("MatMul", ["means", "weights"], ["features"]),
    ]


def expected(images):
    """Features of ``means_nodes`` of standardised images (N, 3, S, S), float32 (N, 24)."""
    return (images + images**2).mean(axis=(2, 3)) @ weights()


def written(folder, made, card=CARD, name="tiny.onnx"):
    """The encoder's file, and its card beside it."""
    path = folder / name
    path.write_bytes(made if isinstance(made, bytes) else made.SerializeToString())
    if card is not None:
        path.with_name(name + ".json").write_text(
            card if isinstance(card, str) else json.dumps(card)
        )
    return path
