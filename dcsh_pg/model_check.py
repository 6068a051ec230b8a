"""What a model file may contain, checked before onnxruntime opens it.

A model is untrusted: a file, or a row of someone else's database.  Its weights must be in the file
itself, because onnxruntime would read external ones from any path, or from an address in memory.
Its graph must be plain: no loops, which may never end, only ONNX's own operators, and no random
ones, which would give an image another code each time.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError, Message

from dcsh_pg.errors import InputError, ModelError

MAX_BYTES = 2**31 - 1
"""Largest model file in bytes: the limit of protobuf messages."""
MAX_NODES = 50_000
"""Largest number of nodes of a graph; the largest encoders have a few thousand."""

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

# The part of ONNX's schema (onnx.proto) that is checked: field name -> (number, type).  All fields
# are declared repeated, which reads a single one as well, and every one where a file repeats it.
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


def check_model(content: bytes, name: str, *, hint: str = _HINT) -> None:
    """Checks that an ONNX file has only what a model of dcsh-pg may contain.

    Args:
        content: the file's content.
        name: the file's name, for messages.
        hint: of its errors.

    Raises:
        InputError: it is not an ONNX file or is damaged.
        ModelError: external weights, control flow, custom or random operators, or too many nodes.
    """
    if len(content) > MAX_BYTES:
        raise ModelError(f"{name} is larger than 2 GiB", hint=hint)
    try:
        model = _model_class().FromString(content)
    except DecodeError:
        raise InputError(
            f"{name} is not an ONNX file, or is damaged",
            hint=hint,
        ) from None
    if reason := _reason(model):
        raise ModelError(f"{name} {reason}", hint=hint)


def _reason(model: Any) -> str | None:
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
            kind = field.message_type.name if field.message_type else ""
            if kind == "Tensor":
                yield found
            elif kind == "Sparse":
                yield from (*found.values, *found.indices)


def _is_external(tensor: Any) -> bool:
    return bool(tensor.external_data) or _EXTERNAL in tensor.data_location


def _last(values: Any) -> str:
    """The value of a field: protobuf takes the last where a file repeats it."""
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
