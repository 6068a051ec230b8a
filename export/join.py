"""Joins an ONNX encoder into the graph around it."""

from __future__ import annotations

import onnx
from onnx import compose, helper

from dcsh_pg.learning.encoders.from_onnx import PLACEHOLDER

_DOMAIN, _, _OPERATOR = PLACEHOLDER.partition("::")


def join(outer: onnx.ModelProto, content: bytes) -> onnx.ModelProto:
    """The outer graph with the encoder's in place of its placeholder.

    Args:
        outer: a traced graph with one node of ``PLACEHOLDER``.
        content: the file of the encoder's adapted graph.
    """
    inner = compose.add_prefix(onnx.load_from_string(content), "onnx/")
    for opset in [o for o in outer.opset_import if o.domain == _DOMAIN]:
        outer.opset_import.remove(opset)
    nodes = list(outer.graph.node)
    (at,) = (
        n for n, node in enumerate(nodes) if (node.domain, node.op_type) == (_DOMAIN, _OPERATOR)
    )
    place = nodes[at]
    before = helper.make_node("Identity", place.input, [inner.graph.input[0].name])
    after = helper.make_node("Identity", [inner.graph.output[0].name], place.output)
    del outer.graph.node[:]
    outer.graph.node.extend([*nodes[:at], before, *inner.graph.node, after, *nodes[at + 1 :]])
    outer.graph.initializer.extend(inner.graph.initializer)
    outer.graph.sparse_initializer.extend(inner.graph.sparse_initializer)
    outer.ir_version = max(outer.ir_version, inner.ir_version)
    return outer


def opset_of(content: bytes) -> int:
    """The version of ONNX's operators in an encoder's adapted graph."""
    (opset,) = onnx.load_from_string(content).opset_import
    return opset.version
