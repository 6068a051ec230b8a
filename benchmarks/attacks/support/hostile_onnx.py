"""Hostile model files for ``models.py``: a valid one, and mutations of it."""

from __future__ import annotations

import contextlib
import json
import random
from itertools import pairwise

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from dcsh_pg.card import ModelCard

ODD_INTEGERS = (-(2**63), -1, 0, 1, 2, 7, 255, 2**16, 2**31, 2**40, 2**63 - 1)
ODD_VALUES = (None, True, -1, 0, 7, 2**70, 1e308, "", "x", "a\0b", "\x1b[2J", [], [1.0], ["a"], {},
              {"a": float("nan")}, [[]] * 3, "\ud800", "9" * 5000)  # fmt: skip
OPERATORS = [
    "Loop", "If", "Scan", "RandomNormalLike", "RandomUniformLike", "Bernoulli",
    "Multinomial", "Identity", "Neg", "Tile", "Expand", "Reshape", "Squeeze", "Unsqueeze",
    "NonZero", "Where", "Conv", "Gemm", "TopK", "Resize", "Pad", "Range",
    "ConstantOfShape", "OneHot", "GatherND", "ScatterND", "Einsum", "Softmax",
    "QuantizeLinear", "StringNormalizer", "SequenceAt", "Optional", "NonMaxSuppression",
    "DFT", "STFT", "MelWeightMatrix", "EyeLike", "CumSum", "Unique", "Compress", "ArgMax",
]  # fmt: skip


def base_model(bits: int = 16, bands: int = 3, seed: int = 0) -> onnx.ModelProto:
    """A valid model of a few nodes: weighted differences of band means."""
    card = ModelCard(
        name="attack", method="itq", bits=bits, bands=bands, chip_size=16, input_size=16,
        mean=(0.5,) * bands, std=(0.25,) * bands, encoder="none",
    )  # fmt: skip
    weights = np.random.default_rng(seed).normal(size=(bands, bits)).astype(np.float32)
    constants = {
        "weights": weights - weights.mean(axis=0),
        "zero": np.zeros((), np.float32),
        "space": np.array([1, 2], np.int64),
        "bit_values": np.array([[128, 64, 32, 16, 8, 4, 2, 1]], np.int32),
        "last": np.array([2], np.int64),
        "bytes": np.array([-1, bits // 8, 8], np.int64),
    }
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels", "space"], ["means"], keepdims=0),
        helper.make_node("MatMul", ["means", "weights"], ["z"]),
        helper.make_node("GreaterOrEqual", ["z", "zero"], ["signs"]),
        helper.make_node("Cast", ["signs"], ["ones"], to=TensorProto.INT32),
        helper.make_node("Reshape", ["ones", "bytes"], ["bits"]),
        helper.make_node("Mul", ["bits", "bit_values"], ["values"]),
        helper.make_node("ReduceSum", ["values", "last"], ["sums"], keepdims=0),
        helper.make_node("Cast", ["sums"], ["code"], to=TensorProto.UINT8),
    ]
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "attack",
        [info("image", TensorProto.UINT8, ["N", "H", "W", bands])],
        [
            info("code", TensorProto.UINT8, ["N", bits // 8]),
            info("z", TensorProto.FLOAT, ["N", bits]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    helper.set_model_props(model, card.to_metadata())
    return model


# -- mutations -----------------------------------------------------------------------------------


def mutate_bytes(model: onnx.ModelProto, rng: random.Random) -> bytes:
    content = bytearray(model.SerializeToString())
    for _ in range(rng.choice((1, 1, 2, 5, 20))):
        at, size = rng.randrange(len(content)), rng.choice((1, 1, 2, 8, 64))
        kind = rng.choice(("flip", "set", "cut", "repeat", "insert"))
        if kind == "flip":
            content[at] ^= 1 << rng.randrange(8)
        elif kind == "set":
            content[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF))
        elif kind == "cut":
            del content[at : at + size]
        elif kind == "repeat":
            content[at:at] = content[at : at + size]
        else:
            content[at:at] = rng.randbytes(size)
    return bytes(content)


def mutate_card(model: onnx.ModelProto, rng: random.Random) -> bytes:
    metadata = {prop.key: prop.value for prop in model.metadata_props}
    card = json.loads(metadata["dcsh:card"])
    for _ in range(rng.choice((1, 1, 3))):
        key = rng.choice(list(card))
        if rng.random() < 0.2:
            del card[key]
        else:
            card[key] = rng.choice((*ODD_VALUES, *ODD_INTEGERS, rng.random(), 24, 1024, 8))
        if not card:
            break
    metadata["dcsh:card"] = json.dumps(card)
    if rng.random() < 0.2:
        metadata["dcsh:card"] = rng.choice(
            ("", "[]", "1e999", "[" * 200_000, '{"bits": 1e999}', "\\", metadata["dcsh:card"][:50])
        )
    if rng.random() < 0.1:
        metadata["dcsh:format"] = rng.choice(("", "x", "-1", "1.0", "9" * 5000, "²", "0"))
    helper.set_model_props(model, metadata)
    return model.SerializeToString()


def mutate_graph(model: onnx.ModelProto, rng: random.Random) -> bytes:
    graph = model.graph
    names = [name for node in graph.node for name in (*node.input, *node.output)]
    for _ in range(rng.choice((1, 1, 2, 4))):
        node = rng.choice(list(graph.node))
        change = rng.randrange(10)
        if change == 0 and len(graph.node) > 1:
            graph.node.remove(node)
        elif change == 1 and node.input:
            node.input[rng.randrange(len(node.input))] = rng.choice((*names, "", "nothing"))
        elif change == 2:
            node.op_type = rng.choice(OPERATORS)
        elif change == 3:
            _shape_of(rng.choice((*graph.input, *graph.output)), rng)
        elif change == 4:
            _mutate_tensor(rng.choice(list(graph.initializer)), rng)
        elif change == 5:
            value = rng.choice((*ODD_INTEGERS, 1.5, "text", [1, -1], b"\xff"))
            with contextlib.suppress(ValueError, TypeError):
                name = rng.choice(("axis", "keepdims", "to", "perm", "saturate", "allowzero"))
                node.attribute.append(helper.make_attribute(name, value))
        elif change == 6 and node.attribute:
            part = rng.choice(list(node.attribute))
            part.type = rng.choice(list(AttributeProto.AttributeType.values()))
            part.i = rng.choice(ODD_INTEGERS)
        elif change == 7:
            tensor = rng.choice((*graph.input, *graph.output)).type.tensor_type
            tensor.elem_type = rng.choice(list(TensorProto.DataType.values()))
        elif change == 8:
            model.opset_import[0].version = rng.choice((1, 7, 11, 13, 17, 18, 21, 24, 10**6))
        else:
            node.output[rng.randrange(len(node.output))] = rng.choice((*names, ""))
    return model.SerializeToString()


def _shape_of(value, rng: random.Random) -> None:
    dims = value.type.tensor_type.shape.dim
    if rng.random() < 0.3 and dims:
        del dims[rng.randrange(len(dims))]
    elif dims:
        dims[rng.randrange(len(dims))].dim_value = rng.choice((0, -1, 1, 2, 3, 16, 2**40))
    else:
        value.type.Clear()


def _mutate_tensor(tensor: TensorProto, rng: random.Random) -> None:
    kind = rng.randrange(5)
    if kind == 0:
        tensor.data_type = rng.choice(list(TensorProto.DataType.values()))
    elif kind == 1:
        tensor.dims[:] = [rng.choice(ODD_INTEGERS) for _ in range(rng.randrange(4))]
    elif kind == 2:
        tensor.data_location = TensorProto.EXTERNAL
        where = rng.choice(("beside.bin", "/etc/passwd", "../x", "*/_ORT_MEM_ADDR_/*", ""))
        tensor.external_data.add(key="location", value=where)
        if rng.random() < 0.5:
            tensor.external_data.add(key="offset", value=str(rng.choice(ODD_INTEGERS)))
            tensor.external_data.add(key="length", value=str(rng.choice(ODD_INTEGERS)))
    elif kind == 3:
        size = len(tensor.raw_data)
        tensor.raw_data = rng.choice(
            (b"", rng.randbytes(size), b"\xff" * size, b"\x7f" * size, bytes(8))
        )
    elif tensor.data_type == TensorProto.INT64 and tensor.raw_data:
        values = [rng.choice(ODD_INTEGERS) for _ in range(len(tensor.raw_data) // 8)]
        tensor.raw_data = np.array(values, np.int64).tobytes()


def insert_large(model: onnx.ModelProto, rng: random.Random) -> bytes:
    """Inserts a gigantic, endless or random computation before z."""
    graph = model.graph
    for node in graph.node:
        node.output[:] = ["sound" if name == "z" else name for name in node.output]
        node.input[:] = ["sound" if name == "z" else name for name in node.input]
    side = rng.choice((2, 300, 3000, 20_000, 2**20, 2**40))
    graph.initializer.append(numpy_helper.from_array(np.array([side, side], np.int64), "side"))
    graph.initializer.append(numpy_helper.from_array(np.float32(0), "nothing"))
    names = ["sound", "most", *(f"m{n}" for n in range(rng.choice((1, 10, 1000))))]
    nodes = [
        helper.make_node("ReduceMax", ["sound"], ["most"], keepdims=0),
        helper.make_node("Expand", ["most", "side"], [names[2]]),
    ]
    operator = rng.choice(("MatMul", "Add", "Erf", "RandomNormalLike", "Einsum"))
    for before, after in pairwise(names[2:]):
        inputs = [before] * (2 if operator in ("MatMul", "Add", "Einsum") else 1)
        equation = {"equation": "ij,jk->ik"} if operator == "Einsum" else {}
        nodes.append(helper.make_node(operator, inputs, [after], **equation))
    nodes += [
        helper.make_node("ReduceMean", [names[-1]], ["end"], keepdims=0),
        helper.make_node("Mul", ["end", "nothing"], ["none"]),
        helper.make_node("Add", ["sound", "none"], ["z"]),
    ]
    graph.node.extend(nodes)
    return model.SerializeToString()


def drop_rows(model: onnx.ModelProto, rng: random.Random) -> bytes:
    """Cuts or repeats rows of an output, of every batch or of large ones only."""
    graph, name = model.graph, rng.choice(("code", "z"))
    for node in graph.node:
        node.output[:] = ["sound" if found == name else found for found in node.output]
        node.input[:] = ["sound" if found == name else found for found in node.input]
    bounds = {"start": rng.choice((0, 0, 1)), "end": rng.choice((-1, 0, 1, 2, 3, 2**40)), "axis": 0}
    for key, value in bounds.items():
        graph.initializer.append(numpy_helper.from_array(np.array([value], np.int64), key))
    graph.node.append(helper.make_node("Slice", ["sound", *bounds], [name]))
    return model.SerializeToString()


MUTATIONS = {
    "protobuf mutation": mutate_bytes,
    "card": mutate_card,
    "graph": mutate_graph,
    "gigantic, slow or random graph": insert_large,
    "rows dropped": drop_rows,
}
