"""An ONNX encoder in the form that training and export use.

In: ``images`` float32 (N, bands, S, S), standardised.  Out: ``features`` float32 (N, dim).  What the
encoder's card says of layout, channels, constant inputs and pooling becomes nodes of the graph.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, compose, helper, numpy_helper, version_converter

from dcsh_pg.errors import ModelError
from dcsh_pg.learning.encoders.onnx_card import MAX_SIZE, OnnxCard

OPSET = 18
"""Oldest ONNX operator set of the result: that of the exported graphs."""
MAX_VALUES = 1 << 26
"""Most values of one image."""
_PREFIX = "encoder/"
_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16)


def adapted(model: onnx.ModelProto, card: OnnxCard, name: str) -> onnx.ModelProto:
    """The encoder with input ``images`` and output ``features``.

    Args:
        model: what :func:`dcsh_pg.model_check.check_model` permits.
        name: of its file, for messages.

    Raises:
        ModelError: the card names no input or output of the graph, the graph needs other inputs, or
            types or shapes are not those of an encoder of images.
    """
    model = compose.add_prefix(_of_opset(model, name), _PREFIX)
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer}
    inputs = {i.name.removeprefix(_PREFIX): i for i in graph.input if i.name not in weights}
    outputs = {o.name.removeprefix(_PREFIX): o for o in graph.output}
    image = _named(inputs.keys() - card.constants.keys(), card.input, "input", name)
    feature = _named(outputs, card.output, "output", name)
    bands, size = _image_shape(inputs[image], card, name)
    build = _Builder()
    current = build.images_for(inputs[image], card)
    build.add("Identity", [current], inputs[image].name)
    for constant, value in card.constants.items():
        if constant not in inputs:
            raise _unfit(name, f"has no input {constant!r}", f"inputs: {', '.join(inputs)}")
        build.constant_for(inputs[constant], value, name)
    before = list(build.nodes)
    build.nodes.clear()
    build.features_of(outputs[feature], card, name)
    made = helper.make_graph(
        [*before, *graph.node, *build.nodes],
        "encoder",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["N", bands, size, size])],
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["N", "D"])],
        [*graph.initializer, *build.weights],
    )
    made.sparse_initializer.extend(graph.sparse_initializer)
    opsets = [o for o in model.opset_import if o.domain in ("", "ai.onnx")]
    return helper.make_model(made, opset_imports=opsets, ir_version=model.ir_version)


def with_dim(model: onnx.ModelProto, dim: int) -> bytes:
    """The file of an adapted graph whose features have this length."""
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = dim
    return model.SerializeToString(deterministic=True)


class _Builder:
    """Nodes and weights that are put around an encoder."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def add(
        self, operator: str, inputs: list[str], output: str | None = None, **options: Any
    ) -> str:
        output = output or f"made_{len(self.nodes)}_{len(self.weights)}"
        self.nodes.append(helper.make_node(operator, inputs, [output], **options))
        return output

    def weight(self, value: np.ndarray) -> str:
        name = f"weight_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(value, name))
        return name

    def whole(self, *numbers: int) -> str:
        return self.weight(np.array(numbers, np.int64))

    def images_for(self, target: onnx.ValueInfoProto, card: OnnxCard) -> str:
        """From standardised images to the encoder's own input."""
        current = "images"
        if card.channels == "bgr":
            order = self.whole(*reversed(range(len(card.mean))))
            current = self.add("Gather", [current, order], axis=1)
        if card.layout == "NHWC":
            current = self.add("Transpose", [current], perm=[0, 2, 3, 1])
        if target.type.tensor_type.elem_type != TensorProto.FLOAT:
            current = self.add("Cast", [current], to=target.type.tensor_type.elem_type)
        return current

    def constant_for(self, target: onnx.ValueInfoProto, value: Any, name: str) -> None:
        """Another input of the encoder, the same for all images."""
        tensor, own = target.type.tensor_type, target.name.removeprefix(_PREFIX)
        try:
            dtype = helper.tensor_dtype_to_np_dtype(tensor.elem_type)
            values = np.array(value).astype(dtype)
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            raise _unfit(name, f"cannot take the constant {own!r}: {error}") from None
        rank = len(tensor.shape.dim)
        if rank not in (values.ndim, values.ndim + 1):
            raise _unfit(
                name, f"takes {own!r} of {rank} axes, the constant in its card has {values.ndim}"
            )
        constant = self.weight(values)
        if rank == values.ndim:
            self.add("Identity", [constant], target.name)
            return
        count = self.add("Shape", ["images"], start=0, end=1)
        shape = self.add("Concat", [count, self.whole(*values.shape)], axis=0)
        self.add("Expand", [constant, shape], target.name)

    def features_of(self, source: onnx.ValueInfoProto, card: OnnxCard, name: str) -> None:
        """From the encoder's output to features (N, dim)."""
        rank = len(source.type.tensor_type.shape.dim)
        current = source.name
        if source.type.tensor_type.elem_type not in _FLOATS:
            raise _unfit(name, "gives features that are not floating-point numbers")
        if rank == 3 and card.pool == "none":
            raise _unfit(
                name,
                "gives a feature for each token",
                'state in its card which to take: "pool": "first", "mean" or "patches"',
            )
        if rank == 2 and card.pool not in ("none",):
            raise _unfit(name, f"gives one feature, which pool {card.pool!r} cannot reduce")
        if rank == 3 and card.pool == "first":
            current = self.add("Gather", [current, self.weight(np.array(0, np.int64))], axis=1)
        elif rank == 3:
            if card.pool == "patches":
                end = self.whole(np.iinfo(np.int64).max)
                current = self.add("Slice", [current, self.whole(1), end, self.whole(1)])
            current = self.add("ReduceMean", [current, self.whole(1)], keepdims=0)
        elif rank == 4:
            axes = (1, 2) if card.layout == "NHWC" else (2, 3)
            current = self.add("ReduceMean", [current, self.whole(*axes)], keepdims=0)
        elif rank != 2:
            raise _unfit(name, f"gives features of {rank} axes, not 2, 3 or 4")
        self.add("Cast", [current], "features", to=TensorProto.FLOAT)


def _of_opset(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """The model with operators of a set that can be joined with ours."""
    version = max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=1)
    del model.graph.value_info[:]
    if version >= OPSET:
        return model
    try:
        converted = version_converter.convert_version(model, OPSET)
    except Exception as error:  # the converter's errors have no other common base
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise _unfit(
            name,
            f"uses ONNX's operator set {version}, which cannot be converted: {reason[:200]}",
            f"export it with opset_version={OPSET}",
        ) from None
    del converted.graph.value_info[:]
    return converted


def _named(names: Iterable[str], asked: str | None, kind: str, name: str) -> str:
    """The input or output that the card names, or the only one."""
    found = sorted(names)
    if asked is None and len(found) == 1:
        return found[0]
    if asked in found and (kind == "output" or len(found) == 1):
        return str(asked)
    if asked in found:
        rest = ", ".join(other for other in found if other != asked)
        raise _unfit(
            name,
            f"also needs the input {rest}",
            f'give its values in the card: "constants": {{"{rest}": [...]}}',
        )
    what = f"has no {kind} {asked!r}" if asked else f"has {len(found)} {kind}s"
    raise _unfit(
        name, what, f'name one in its card, "{kind}": {", ".join(found) or "there is none"}'
    )


def _image_shape(image: onnx.ValueInfoProto, card: OnnxCard, name: str) -> tuple[int, int]:
    """Bands and side in pixels of the encoder's images."""
    tensor = image.type.tensor_type
    sizes = [dim.dim_value if dim.HasField("dim_value") else None for dim in tensor.shape.dim]
    if tensor.elem_type not in _FLOATS:
        kind = TensorProto.DataType.Name(tensor.elem_type).lower()
        raise _unfit(
            name, f"takes images of {kind}", "export it for images of float32, standardised"
        )
    if len(sizes) != 4:
        raise _unfit(
            name, f"takes input of {len(sizes)} axes, not images (N, bands, height, width)"
        )
    height, width, bands = sizes[1:] if card.layout == "NHWC" else (*sizes[2:], sizes[1])
    if bands not in (None, len(card.mean)):
        raise _unfit(
            name,
            f"takes {bands} bands, its card has the mean of {len(card.mean)}",
            'give one mean a band, or "layout": "NHWC"',
        )
    fixed = {side for side in (height, width, card.size) if side is not None}
    if len(fixed) > 1:
        raise _unfit(
            name,
            f"takes images of {height} x {width} pixels, its card says {card.size}"
            if card.size
            else f"takes images of {height} x {width} pixels, which are not square",
        )
    if not fixed:
        raise _unfit(name, "takes images of any size", 'state one in its card: "size": 224')
    size = fixed.pop()
    if not 1 <= size <= MAX_SIZE or size * size * len(card.mean) > MAX_VALUES:
        raise _unfit(name, f"takes images of {size} x {size} pixels, more than can be held")
    return len(card.mean), size


def _unfit(name: str, reason: str, hint: str = "see docs/encoders.md") -> ModelError:
    return ModelError(f"the encoder {name} {reason}", hint=hint)
