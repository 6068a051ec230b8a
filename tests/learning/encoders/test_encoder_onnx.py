"""Encoders that are ONNX files: what their cards say, and files that mean harm."""

import json

import numpy as np
import onnx
import onnx_encoders as made
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from dcsh_pg import inference
from dcsh_pg.errors import DcshError, InputError, ModelError, UsageError
from dcsh_pg.learning.encoders import Encoder, from_onnx, load_weights
from dcsh_pg.learning.model.preprocess import Preprocess


def find(folder, model, card=made.CARD, settings=()):
    return from_onnx.find(str(made.written(folder, model, card)), None, settings)


def features(architecture, images, name="onnx:tiny.onnx"):
    """Features of uint8 images by the encoder, as training and export compute them."""
    encoder = Encoder(name, architecture=architecture, bands=images.shape[3])
    return encoder(Preprocess.of(encoder)(torch.from_numpy(images))).numpy()


def pictures(bands=3):
    return np.random.default_rng(1).integers(0, 256, (5, 16, 16, bands), dtype=np.uint8)


def standardised(images, mean, std):
    scaled = images.astype(np.float32) / 255
    return ((scaled - np.float32(mean)) / np.float32(std)).transpose(0, 3, 1, 2)


def test_features_are_those_of_the_file(tmp_path):
    found = features(find(tmp_path, made.model(made.means_nodes())), pictures())
    wanted = made.expected(standardised(pictures(), made.CARD["mean"], made.CARD["std"]))
    assert np.allclose(found, wanted, rtol=1e-4, atol=1e-4)


def test_the_card_states_rescaling_layout_and_channels(tmp_path):
    """Mean and standard deviation of 0..255 in the order blue, green, red, channels last, float16."""
    nodes = made.means_nodes()
    nodes[2] = helper.make_node("ReduceMean", ["sums"], ["means"], axes=[1, 2], keepdims=0)
    model = made.model(
        nodes,
        image=("N", 16, 16, 3),
        kind=TensorProto.FLOAT16,
        constants={"weights": made.weights().astype(np.float16)},
    )
    mean, std = (255 * np.array(made.CARD[name]) for name in ("mean", "std"))
    card = {"mean": mean.tolist(), "std": std.tolist(), "rescale": 1}
    architecture = find(tmp_path, model, card | {"layout": "NHWC", "channels": "bgr"})
    assert (architecture.input_size, architecture.dim) == (16, made.DIM)
    prepared = standardised(pictures(), made.CARD["mean"], made.CARD["std"])
    assert np.allclose(
        features(architecture, pictures()), made.expected(prepared[:, ::-1]), rtol=2e-2, atol=2e-2
    )


@pytest.mark.parametrize("pool", ["first", "mean", "patches"])
def test_tokens_are_pooled_as_the_card_says(tmp_path, pool):
    nodes = [
        helper.make_node("Reshape", ["pixels", "rows"], ["tokens"]),
        helper.make_node("Identity", ["tokens"], ["features"]),
    ]
    model = made.model(
        nodes, feature=("N", 32, 24), constants={"rows": np.array([0, 32, 24], np.int64)}
    )
    with pytest.raises(ModelError, match="a feature for each token") as refused:
        find(tmp_path, model)
    assert '"pool"' in refused.value.hint
    found = features(find(tmp_path, model, settings=[f"pool={pool}"]), pictures())
    tokens = standardised(pictures(), made.CARD["mean"], made.CARD["std"]).reshape(5, 32, 24)
    wanted = {"first": tokens[:, 0], "mean": tokens.mean(1), "patches": tokens[:, 1:].mean(1)}
    assert np.allclose(found, wanted[pool], atol=1e-5)


def test_maps_are_pooled_and_other_inputs_are_constants(tmp_path):
    """As Clay's: wavelengths once, a time for each image."""
    inputs = [
        helper.make_tensor_value_info("waves", TensorProto.FLOAT, [3]),
        helper.make_tensor_value_info("time", TensorProto.FLOAT, ["N", 1, 1, 1]),
    ]
    nodes = [
        helper.make_node("Reshape", ["waves", "band"], ["column"]),
        helper.make_node("Mul", ["pixels", "column"], ["weighed"]),
        helper.make_node("Add", ["weighed", "time"], ["features"]),
    ]
    model = made.model(
        nodes,
        inputs=inputs,
        feature=("N", 3, 16, 16),
        constants={"band": np.array([3, 1, 1], np.int64)},
    )
    with pytest.raises(ModelError, match="has 3 inputs"):
        find(tmp_path, model)
    with pytest.raises(ModelError, match="also needs the input time") as refused:
        find(tmp_path, model, made.CARD | {"input": "pixels", "constants": {"waves": [1, 2, 3]}})
    assert "constants" in refused.value.hint
    constants = {"waves": [1, 2, 3], "time": [[[7]]]}
    found = features(find(tmp_path, model, made.CARD | {"constants": constants}), pictures())
    images = standardised(pictures(), made.CARD["mean"], made.CARD["std"])
    assert np.allclose(found, images.mean(axis=(2, 3)) * [1, 2, 3] + 7, atol=1e-4)
    with pytest.raises(ModelError, match="'waves' of 1 axes, the constant in its card has 3"):
        find(tmp_path, model, made.CARD | {"constants": constants | {"waves": [[[1]]]}})


@pytest.mark.parametrize("opset", [11, 13, 18, 21])
def test_older_and_newer_operators(tmp_path, opset):
    nodes = made.means_nodes()
    if opset >= 18:
        nodes[2] = helper.make_node("ReduceMean", ["sums", "space"], ["means"], keepdims=0)
    architecture = find(tmp_path, made.model(nodes, opset=opset))
    wanted = made.expected(standardised(pictures(), made.CARD["mean"], made.CARD["std"]))
    assert np.allclose(features(architecture, pictures()), wanted, rtol=1e-4, atol=1e-4)


def test_a_batch_size_that_nothing_depends_on_is_not_kept(tmp_path):
    architecture = find(
        tmp_path, made.model(made.means_nodes(), image=(1, 3, 16, 16), feature=(1, 24))
    )
    assert features(architecture, pictures()).shape == (5, 24)


@pytest.mark.parametrize(
    ("card", "words"),
    [
        (None, "lacks mean"),
        ({"mean": [0.5, 0.5, 0.5]}, "lacks std"),
        ({"mean": [0.5], "std": [1, 1]}, "mean has 1 bands, std 2"),
        (made.CARD | {"std": [1, 1, 0]}, "std cannot be"),
        (made.CARD | {"mean": ["a"] * 3}, "mean cannot be"),
        (made.CARD | {"size": 10**6}, "size cannot be 1000000"),
        (made.CARD | {"size": 32}, "16 x 16 pixels, its card says 32"),
        (made.CARD | {"layout": "CHWN"}, "layout cannot be CHWN"),
        (made.CARD | {"colour": "red"}, "unknown field 'colour'"),
        (made.CARD | {"input": "image"}, "no input 'image'"),
        (made.CARD | {"output": "logits"}, "no output 'logits'"),
        (made.CARD | {"pool": "mean"}, "pool 'mean'"),
        (made.CARD | {"constants": {"x": ["a"]}}, "constants cannot be"),
        (made.CARD | {"constants": {"x": [1]}}, "no input 'x'"),
        (made.CARD | {"constants": {"x": [0.5] * 70_000}}, "constants cannot be"),
        ({"mean": [0.5] * 4, "std": [1] * 4}, "takes 3 bands, its card has the mean of 4"),
        ("[1, 2]", "not a JSON object"),
        ("{", "cannot be read"),
        ('{"mean": [NaN], "std": [1]}', "mean cannot be"),
        ("[" * 100_000, "cannot be read"),
    ],
)
def test_a_wrong_card_is_reported_in_one_line(tmp_path, card, words):
    with pytest.raises((InputError, ModelError)) as refused:
        find(tmp_path, made.model(made.means_nodes()), card)
    assert words in refused.value.message and refused.value.hint
    assert "\n" not in refused.value.message and len(refused.value.message) < 300


def _constant(model, name, value):
    model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))


def _instead(model, *nodes):
    """Makes ``features`` of what made it, now ``former``."""
    model.graph.node[-1].output[:] = ["former"]
    model.graph.node.extend(nodes)


def external(model):
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


def loop(model):
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


def of_one_runtime(model):
    model.graph.node[0].domain = "com.microsoft"


def noise(model):
    _instead(
        model,
        helper.make_node("RandomNormalLike", ["former"], ["noise"]),
        helper.make_node("Add", ["former", "noise"], ["features"]),
    )


def nothing_finite(model):
    _constant(model, "nothing", np.float32(0))
    _instead(model, helper.make_node("Div", ["former", "nothing"], ["features"]))


def of_the_batch(model):
    _constant(model, "rows", np.array([0], np.int64))
    model.opset_import[0].version = 18
    model.graph.node[2].CopyFrom(
        helper.make_node("ReduceMean", ["sums", "space"], ["means"], keepdims=0)
    )
    _constant(model, "space", np.array([2, 3], np.int64))
    _instead(
        model,
        helper.make_node("ReduceMean", ["former", "rows"], ["mean"], keepdims=1),
        helper.make_node("Sub", ["former", "mean"], ["features"]),
    )


def one_image_only(model):
    _constant(model, "row", np.array([1, 24], np.int64))
    _instead(model, helper.make_node("Reshape", ["former", "row"], ["features"]))


def gigantic(model):
    _constant(model, "many", np.array([2**40], np.int64))
    _instead(
        model,
        helper.make_node("ConstantOfShape", ["many"], ["all"]),
        helper.make_node("ReduceSum", ["all"], ["sum"], keepdims=0),
        helper.make_node("Add", ["former", "sum"], ["features"]),
    )


def sides(height, width):
    def change(model):
        for axis, side in ((2, height), (3, width)):
            dim = model.graph.input[0].type.tensor_type.shape.dim[axis]
            dim.ClearField("value")
            if side is not None:
                dim.dim_value = side

    return change


def of_type(elem_type):
    def change(model):
        model.graph.input[0].type.tensor_type.elem_type = elem_type

    return change


def whole_numbers(model):
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64


def absent_input(model):
    model.graph.node[0].input[0] = "absent"


def circle(model):
    model.graph.node[0].input[0] = "means"


def impossible_tensor(model):
    model.graph.initializer[0].dims[:] = [2**40, 2**40]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (external, "outside of the file"),
        (loop, "control flow"),
        (of_one_runtime, "com.microsoft"),
        (noise, "random"),
        (nothing_finite, "not finite"),
        (of_the_batch, "in a batch other features than alone"),
        (one_image_only, "takes one image at a time"),
        (gigantic, "memory"),
        (sides(100_000, 100_000), "more than can be held"),
        (sides(-1, -1), "more than can be held"),
        (sides(16, 32), "not square"),
        (sides(None, None), "takes images of any size"),
        (of_type(TensorProto.UINT8), "takes images of uint8"),
        (of_type(TensorProto.STRING), "takes images of string"),
        (of_type(99), ""),
        (whole_numbers, "floating-point"),
        (absent_input, "Input absent is undefined"),
        (circle, "damaged"),
        (impossible_tensor, "damaged"),
    ],
)
def test_a_hostile_encoder_is_refused_in_one_line(tmp_path, capfd, change, words):
    model = made.model(made.means_nodes())
    change(model)
    with pytest.raises(DcshError) as refused:
        find(tmp_path, model)
    assert words in refused.value.message and refused.value.hint
    assert "dcsh-pg export" not in refused.value.hint
    assert "\n" not in refused.value.message and len(refused.value.message) < 500
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("content", [b"", b"no model", b"\x08\x01\xff\xff\xff"])
def test_a_file_that_is_no_model_is_refused(tmp_path, content):
    with pytest.raises((InputError, ModelError)) as refused:
        find(tmp_path, content)
    assert refused.value.hint


def test_names_that_are_not_utf8_are_refused(tmp_path):
    content = made.model(made.means_nodes()).SerializeToString()
    with pytest.raises((InputError, ModelError), match="damaged"):
        find(tmp_path, content.replace(b"pixels", b"\xffixels"))


def test_an_encoder_that_takes_too_long_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(inference, "TRIAL_SECONDS", 0.01)
    nodes = made.means_nodes()
    nodes[-1].output[0] = "tall"
    nodes += [
        helper.make_node("Expand", ["former_row", "square"], ["wide"]),
        *(
            helper.make_node("MatMul", [f"wide{n or ''}", "wide"], [f"wide{n + 1}"])
            for n in range(20)
        ),
        helper.make_node("ReduceMax", ["wide20"], ["top"], keepdims=0),
        helper.make_node("Add", ["tall", "top"], ["features"]),
    ]
    nodes.insert(4, helper.make_node("ReduceMean", ["tall"], ["former_row"], keepdims=1))
    model = made.model(nodes, constants={"square": np.array([4000, 4000], np.int64)})
    with pytest.raises(ModelError, match=r"takes more than 0\.01 s"):
        find(tmp_path, model)


def test_bands_weights_and_absent_files_are_reported(tmp_path):
    architecture = find(tmp_path, made.model(made.means_nodes()))
    with pytest.raises(UsageError, match="takes images of 3 bands, these have 4") as refused:
        Encoder("onnx:tiny.onnx", architecture=architecture, bands=4)
    assert "--bands" in refused.value.hint
    with pytest.raises(UsageError, match="takes no weights"):
        load_weights(Encoder("onnx:tiny.onnx", architecture=architecture), "w.pth")
    with pytest.raises(InputError, match="no such encoder file"):
        from_onnx.find(str(tmp_path / "absent.onnx"))
    with pytest.raises(UsageError, match="has no value"):
        find(tmp_path, made.model(made.means_nodes()), settings=["pool"])


def test_the_settings_go_before_the_card(tmp_path):
    path = made.written(tmp_path, made.model(made.means_nodes()), made.CARD | {"pool": "first"})
    other = tmp_path / "other.json"
    other.write_text(json.dumps(made.CARD | {"pool": "mean"}))
    for card, settings in ((None, ()), (other, ()), (other, ["pool=patches"])):
        with pytest.raises(ModelError, match="pool"):
            from_onnx.find(str(path), card, settings)
    architecture = from_onnx.find(str(path), other, ["pool=none", "mean=0,0,0"])
    assert architecture.mean == (0, 0, 0) and architecture.std == pytest.approx(made.CARD["std"])


def test_onnx_is_imported_by_name(tmp_path):
    """Its files keep their names and not the folders they lie in."""
    path = made.written(tmp_path, made.model(made.means_nodes()))
    encoder = Encoder(f"onnx:{path}")
    assert encoder.name == "onnx:tiny.onnx"
    assert from_onnx.digest(encoder.body) == from_onnx.digest(Encoder(f"onnx:{path}").body)
    assert onnx.load(path).graph.name == "encoder"
