"""What a model file may contain, checked before onnxruntime opens it.

A model comes from elsewhere: a file, or the database of others.  Its weights must lie in the file
itself, because onnxruntime would read others from any path that the file names, or from an address
in memory.  Its graph must be plain: no loops, which may never end, no operators other than ONNX's own,
and nothing random, which would give an image another code each time.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError, Message

from dcsh_pg.errors import InputError, ModelError

MAX_BYTES = 2**31 - 1
"""Bytes of a model file: protobuf has no larger messages."""
MAX_NODES = 50_000
"""Nodes of a graph; those of the largest encoders have some thousand."""

_EXTERNAL = 1
_STANDARD = ("", "ai.onnx")
_RANDOM = {
    "Bernoulli",
    "Multinomial",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
}
_HINT = "use a model that 'dcsh-pg export' wrote"

# The part of ONNX's schema (onnx.proto) that is looked at: field name -> (number, type).  A message
# type is named; every listed message field is repeated, which reads a single one as well and keeps
# each where a file repeats what should be single.
_SCHEMA: dict[str, dict[str, tuple[int, str]]] = {
    "Model": {"graph": (7, "Graph"), "training": (20, "Training"), "functions": (25, "Function")},
    "Training": {"initialization": (1, "Graph"), "algorithm": (2, "Graph")},
    "Function": {"name": (1, "bytes")},
    "Graph": {"node": (1, "Node"), "tensor": (5, "Tensor"), "sparse": (15, "Sparse")},
    "Node": {"op_type": (4, "bytes"), "attribute": (5, "Attribute"), "domain": (7, "bytes")},
    "Attribute": {
        "tensor": (5, "Tensor"),
        "graph": (6, "Graph"),
        "tensors": (10, "Tensor"),
        "graphs": (11, "Graph"),
        "sparse": (22, "Sparse"),
        "sparses": (23, "Sparse"),
    },
    "Sparse": {"values": (1, "Tensor"), "indices": (2, "Tensor")},
    "Tensor": {"external_data": (13, "Entry"), "data_location": (14, "int32")},
    "Entry": {"key": (1, "bytes")},
}


def check_model(content: bytes, name: str) -> None:
    """Refuses an ONNX file with anything that a model of dcsh-pg does not have.

    Args:
        content: of the file.
        name: of the file, for messages.

    Raises:
        InputError: it is not an ONNX file or is damaged.
        ModelError: weights outside of the file, control flow, operators that are not ONNX's own or
            random, or too many nodes.
    """
    if len(content) > MAX_BYTES:
        raise ModelError(f"{name} is larger than 2 GiB", hint=_HINT)
    try:
        model = _model_class().FromString(content)
    except DecodeError:
        raise InputError(
            f"{name} is not an ONNX file, or is damaged",
            hint="make the model file again with 'dcsh-pg export'",
        ) from None
    if reason := _reason(model):
        raise ModelError(f"{name} {reason}", hint=_HINT)


def _reason(model: Message) -> str | None:
    """Why a model is refused, or None."""
    if model.functions or model.training:
        return "contains functions or training steps"
    nodes = 0
    for graph in model.graph:
        if any(_is_external(tensor) for tensor in _weights(graph)):
            return "keeps weights outside of the file"
        for node in graph.node:
            nodes += 1
            operator = _last(node.op_type)
            domain = _last(node.domain)
            if domain not in _STANDARD:
                return f"uses the operator {operator!r} of {domain!r}, which is not one of ONNX"
            if any(part.graph or part.graphs for part in node.attribute):
                return f"contains control flow ({operator!r})"
            if operator in _RANDOM:
                return f"gives random codes ({operator!r})"
            if any(_is_external(tensor) for part in node.attribute for tensor in _weights(part)):
                return "keeps weights outside of the file"
    return f"has {nodes} nodes, more than {MAX_NODES}" if nodes > MAX_NODES else None


def _weights(part: Message) -> Iterator[Message]:
    """The tensors of a graph or of an attribute, those of sparse ones included."""
    for field, _ in part.ListFields():
        for found in getattr(part, field.name):
            if field.message_type.name == "Tensor":
                yield found
            elif field.message_type.name == "Sparse":
                yield from (*found.values, *found.indices)


def _is_external(tensor: Message) -> bool:
    return bool(tensor.external_data) or _EXTERNAL in tensor.data_location


def _last(values: Any) -> str:
    """Protobuf's value of a single field that may be repeated in a file."""
    return values[-1].decode(errors="replace") if values else ""


@cache
def _model_class() -> type[Message]:
    scalars = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="dcsh_pg/onnx.proto", package="dcsh_pg.onnx", syntax="proto2"
    )
    for message_name, fields in _SCHEMA.items():
        message = file.message_type.add(name=message_name)
        for name, (number, kind) in fields.items():
            field = message.field.add(name=name, number=number, label=scalars.LABEL_REPEATED)
            if kind in _SCHEMA:
                field.type, field.type_name = scalars.TYPE_MESSAGE, f".dcsh_pg.onnx.{kind}"
            else:
                field.type = scalars.TYPE_BYTES if kind == "bytes" else scalars.TYPE_INT32
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("dcsh_pg.onnx.Model"))
