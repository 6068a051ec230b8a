"""Model files that mean harm, or were made by mistake: refused with a ModelError when opened."""

import dataclasses
import json
import os

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from test_hasher import CARD, means_model

from dcsh_pg import inference
from dcsh_pg.card import ModelCard
from dcsh_pg.errors import InputError, ModelError
from dcsh_pg.hasher import Hasher


def changed(change) -> bytes:
    """The model of ``means_model`` after ``change`` of its protobuf."""
    model = onnx.load_from_string(means_model())
    change(model)
    return model.SerializeToString()


def with_card(**fields) -> bytes:
    card = dataclasses.asdict(CARD) | fields
    return with_card_text(json.dumps({key: value for key, value in card.items() if value != "-"}))


def with_card_text(text: str, version: str = "1") -> bytes:
    def change(model):
        helper.set_model_props(model, {"dcsh:format": version, "dcsh:card": text})

    return changed(change)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (with_card_text("{}"), "has no 'name'"),
        (with_card_text("[]"), "not a JSON object"),
        (with_card_text("no JSON"), "not JSON"),
        (with_card_text("[" * 100_000), "not JSON"),
        (with_card_text('{"bits": ' + "9" * 5000 + "}"), "not JSON"),
        (with_card_text("{}", version="one"), "format is 'one'"),
        (with_card_text("{}", version="9" * 5000), "format is '9"),
        (with_card_text("{}", version="3"), "newer dcsh-pg"),
        (with_card_text('{"training": {"loss": NaN}}'), "has no 'name'"),
        (with_card(name="-"), "has no 'name'"),
        (with_card(name="a\0b"), "NUL"),
        (with_card(name="\ud800"), "lone surrogate"),
        (with_card(name=7), "'name' cannot be 7"),
        (with_card(bits="16"), """'bits' cannot be "16\""""),
        (with_card(bits=20), "'bits' cannot be 20"),
        (with_card(bits=True), "'bits' cannot be true"),
        (with_card(bands=0), "'bands' cannot be 0"),
        (with_card(chip_size=10**9), "'chip_size' cannot be 1000000000"),
        (with_card(mean=[1.0]), "'mean' does not have 2 bands"),
        (with_card(mean=["a", "b"]), "'mean' cannot be"),
        (with_card(std=None), "'std' cannot be null"),
        (with_card(resolution=-1), "'resolution' cannot be -1"),
        (with_card(precision="float8"), "'precision'"),
        (with_card(orientations=0), "'orientations' cannot be 0"),
        (with_card(parity={"images": 3}), "'parity'"),
        (with_card(versions={"torch": 2}), "'versions'"),
        (with_card(training=[1]), "'training'"),
    ],
)
def test_a_damaged_card_is_refused(content, reason):
    with pytest.raises(ModelError) as refused:
        Hasher(content, device="cpu")
    assert reason in refused.value.message and refused.value.hint
    assert len(refused.value.message) < 200 and "\n" not in refused.value.message


def test_a_card_comes_back_from_json():
    assert ModelCard.from_json(dataclasses.asdict(CARD) | {"later": 1}, source="x") == CARD


def _replace_output(model, name, new_name, *nodes):
    """Renames what makes an output, and makes it of that by other nodes."""
    for node in model.graph.node:
        node.output[:] = [new_name if o == name else o for o in node.output]
        node.input[:] = [new_name if i == name else i for i in node.input]
    model.graph.node.extend(nodes)


def _constant(model, name, value):
    model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))


def too_few_rows(model):
    for name in ("start", "axis"):
        _constant(model, name, np.array([0], np.int64))
    _constant(model, "end", np.array([-1], np.int64))
    cut = helper.make_node("Slice", ["all", "start", "end", "axis"], ["code"])
    _replace_output(model, "code", "all", cut)


def other_codes(model):
    _replace_output(model, "code", "right", helper.make_node("BitwiseNot", ["right"], ["code"]))


def not_finite(model):
    _constant(model, "nothing", np.float32(0))
    _replace_output(model, "z", "right", helper.make_node("Div", ["right", "nothing"], ["z"]))


def random_codes(model):
    noise = helper.make_node("RandomNormalLike", ["right"], ["noise"])
    add = helper.make_node("Add", ["right", "noise"], ["z"])
    _replace_output(model, "z", "right", noise, add)


def endless_loop(model):
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["going"])],
        "body",
        [
            helper.make_tensor_value_info("n", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
        ],
        [helper.make_tensor_value_info("going", TensorProto.BOOL, [])],
    )
    _constant(model, "true", np.array(True))
    model.graph.node.append(helper.make_node("Loop", ["", "true"], [], body=body))


def other_operators(model):
    model.graph.node[0].domain = "com.microsoft"


def external_weights(model):
    weights = model.graph.initializer[0]
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="location", value="weights.bin")


def external_attribute(model):
    value = helper.make_tensor("v", TensorProto.FLOAT, [1], [1.0])
    value.data_location = TensorProto.EXTERNAL
    value.external_data.add(key="location", value="*/_ORT_MEM_ADDR_/*")
    model.graph.node.append(helper.make_node("Constant", [], ["v"], value=value))


def fixed_size(model):
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1


def no_shape(model):
    model.graph.input[0].type.tensor_type.ClearField("shape")


def scalar_output(model):
    _replace_output(
        model, "z", "right", helper.make_node("ReduceMax", ["right"], ["z"], keepdims=0)
    )
    del model.graph.output[1].type.tensor_type.shape.dim[:]


def gigantic(model):
    _constant(model, "many", np.array([2**40], np.int64))
    _constant(model, "nothing", np.float32(0))
    new = [
        helper.make_node("ConstantOfShape", ["many"], ["all"]),
        helper.make_node("ReduceSum", ["all"], ["sum"], keepdims=0),
        helper.make_node("Add", ["right", "sum"], ["z"]),
    ]
    _replace_output(model, "z", "right", *new)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (too_few_rows, r"gives 'code' of uint8 \(1, 2\) for 2 images"),
        (other_codes, "are not the signs of its z"),
        (not_finite, "not finite"),
        (random_codes, "random codes"),
        (endless_loop, "control flow"),
        (other_operators, "com.microsoft"),
        (external_weights, "outside of the file"),
        (external_attribute, "outside of the file"),
        (fixed_size, "of any number and size"),
        (no_shape, "inputs or outputs"),
        (scalar_output, "inputs or outputs"),
        (gigantic, "fails on images of 2 x 16 x 24 x 2: .*memory"),
    ],
)
def test_a_graph_that_is_not_a_hash_function_is_refused(
    tmp_path, monkeypatch, capfd, change, reason
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights.bin").write_bytes(bytes(10_000))
    with pytest.raises(ModelError, match=reason) as refused:
        Hasher(changed(change), device="cpu")
    assert refused.value.hint
    assert capfd.readouterr() == ("", "")


def test_a_tensor_of_impossible_size_leaves_no_log_line(capfd):
    """The allocator that sessions share logs to the process's logger, not to the session's."""

    def change(model):
        (shape,) = (t for t in model.graph.initializer if t.name == "bytes")
        shape.dims[:] = [2**63 - 1]

    with pytest.raises(InputError, match="not an ONNX file, or is damaged"):
        Hasher(changed(change), device="cpu")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("word", [b"attached", b"image"])
def test_names_that_are_not_utf8_are_refused(word):
    model = onnx.load_from_string(means_model())
    model.metadata_props.add(key="attached", value="attached")
    with pytest.raises(InputError, match="not UTF-8") as refused:
        Hasher(model.SerializeToString().replace(word, b"\xff" + word[1:]), device="cpu")
    assert refused.value.hint


def test_rows_are_counted_for_every_batch():
    """A graph that drops an image of more than two drops no chip in silence."""

    def change(model):
        _constant(model, "two", np.array([2], np.int64))
        _constant(model, "start", np.array([0], np.int64))
        _constant(model, "axis", np.array([0], np.int64))
        cut = helper.make_node("Slice", ["all", "start", "two", "axis"], ["code"])
        _replace_output(model, "code", "all", cut)

    hasher = Hasher(changed(change), device="cpu")
    assert hasher.hash(np.zeros((2, 8, 8, 2), np.uint8)).shape == (2, 2)
    with pytest.raises(ModelError, match=r"\(2, 2\) for 3 images"):
        hasher.hash(np.zeros((3, 8, 8, 2), np.uint8))


def test_a_model_that_takes_too_long_is_stopped(monkeypatch):
    side = 3000

    def change(model):
        _constant(model, "side", np.array([side, side], np.int64))
        _constant(model, "nothing", np.float32(0))
        _constant(model, "pixel", np.array([0], np.int64))
        nodes = [
            helper.make_node("Shape", ["image"], ["count"], start=3, end=4),
            helper.make_node("Cast", ["count"], ["two"], to=TensorProto.FLOAT),
            helper.make_node("Expand", ["two", "side"], ["m0"]),
        ]
        nodes += [helper.make_node("MatMul", [f"m{n}", f"m{n}"], [f"m{n + 1}"]) for n in range(200)]
        nodes += [
            helper.make_node("ReduceMax", ["m200"], ["most"], keepdims=0),
            helper.make_node("Mul", ["most", "nothing"], ["none"]),
            helper.make_node("Add", ["right", "none"], ["z"]),
        ]
        _replace_output(model, "z", "right", *nodes)

    monkeypatch.setattr(inference, "TRIAL_SECONDS", 0.5)
    with pytest.raises(ModelError, match=r"takes more than 0\.5 s"):
        Hasher(changed(change), device="cpu", threads=1)


def test_a_model_is_a_regular_file(tmp_path):
    os.mkfifo(tmp_path / "pipe.onnx")
    for special in (tmp_path / "pipe.onnx", "/dev/zero"):
        with pytest.raises(InputError, match="not a regular file"):
            Hasher(special)
    with pytest.raises(InputError, match="cannot read the model file"):
        Hasher("a\0b.onnx")
