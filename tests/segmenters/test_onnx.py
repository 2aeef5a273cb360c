"""ONNX folders: every layout against NumPy, and the published churches on a real network."""

import contextlib
import json

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from tests.support.worlds import CHURCH_SHARES

from unseen.core.errors import CheckpointError, SegmenterError
from unseen.segmenters import checked_label_maps, load_segmenter
from unseen.segmenters.onnx_files import model_files

NAMES = ["red", "green", "blue"]


def write_folder(folder, *, layout, colour, kind, dtype="float32", batch=None, **about):
    """A network whose score of class k is colour plane k: the label is the strongest colour."""
    shape = ["n", 3, 4, 4] if layout == "NCHW" else ["n", 4, 4, 3]
    if batch:
        shape[0] = batch
    element = {"float32": TensorProto.FLOAT, "uint8": TensorProto.UINT8}[dtype]
    axis = 1 if layout == "NCHW" else 3
    nodes = [helper.make_node("Cast", ["image"], ["scores"], to=TensorProto.FLOAT)]
    last, out_shape, out_type = "scores", shape, TensorProto.FLOAT
    if kind == "label_map":
        nodes.append(helper.make_node("ArgMax", ["scores"], ["labels"], axis=axis, keepdims=0))
        last, out_shape, out_type = "labels", [shape[0], 4, 4], TensorProto.INT64
    graph = helper.make_graph(
        nodes,
        "strongest colour",
        [helper.make_tensor_value_info("image", element, shape)],
        [helper.make_tensor_value_info(last, out_type, out_shape)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    folder.mkdir(exist_ok=True)
    onnx.save(model, folder / "model.onnx")
    text = {
        "class_names": NAMES if colour == "RGB" else NAMES[::-1],
        "input": {
            "layout": layout,
            "dtype": dtype,
            "colour": colour,
            "height": 4,
            "width": 4,
            "batch": batch,
            **about,
        },
        "output": {"kind": kind, "layout": "NHW" if kind == "label_map" else layout},
    }
    (folder / "about.json").write_text(json.dumps(text))
    return folder


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (5, 3, 4, 4), dtype=np.uint8)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("colour", ["RGB", "BGR"])
@pytest.mark.parametrize("kind", ["label_map", "logits"])
@pytest.mark.parametrize("batch", [None, 1, 2])
def test_every_layout_finds_the_strongest_colour(tmp_path, images, layout, colour, kind, batch):
    folder = write_folder(tmp_path / "net", layout=layout, colour=colour, kind=kind, batch=batch)
    segmenter = load_segmenter(f"onnx:{folder}?threads=1")
    names = np.array(segmenter.channels["object"])
    found = names[checked_label_maps(segmenter, images)]
    planes = images if colour == "RGB" else images[:, ::-1]
    assert (found == names[planes.argmax(1)]).all()


def test_range_mean_and_std_are_applied_in_the_networks_colour_order(tmp_path, images):
    folder = write_folder(
        tmp_path / "net",
        layout="NCHW",
        colour="BGR",
        kind="logits",
        range=[0, 1],
        mean=[0.1, 0.5, 0.3],
        std=[0.5, 1.0, 2.0],
    )
    segmenter = load_segmenter(folder)  # a bare folder is told by what it holds
    scores = images[:, ::-1] / 255 - np.array([0.1, 0.5, 0.3])[:, None, None]
    scores /= np.array([0.5, 1.0, 2.0])[:, None, None]
    assert (segmenter.label_maps(images) == scores.argmax(1)).all()


def test_images_of_another_size_are_resized_as_pillow_does(tmp_path):
    folder = write_folder(tmp_path / "n", layout="NHWC", colour="RGB", kind="logits", dtype="uint8")
    image = np.random.default_rng(1).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    resized = np.asarray(Image.fromarray(image).resize((4, 4), Image.Resampling.BILINEAR))
    found = load_segmenter(folder).label_maps(np.moveaxis(image, -1, 0)[None])
    assert (found[0] == resized.argmax(-1)).all()


def test_provenance_holds_what_decides_the_labels(tmp_path):
    folder = write_folder(tmp_path / "net", layout="NCHW", colour="RGB", kind="logits")
    provenance = load_segmenter(f"onnx:{folder}").provenance
    assert json.loads(json.dumps(provenance)) == provenance
    assert set(provenance["weights"]) == {"model.onnx", "about.json"}
    assert all(len(digest) == 64 for digest in provenance["weights"].values())


def external(name, location):
    """A tensor whose three numbers lie in a file."""
    tensor = numpy_helper.from_array(np.zeros(3, np.float32), name)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", "12")):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    return tensor


def graph_with(place, location):
    """A model that has an external tensor in one of the places where a tensor may be."""
    tensor = external("far", location)
    constant = helper.make_node("Constant", [], ["far"], value=tensor)
    inner = helper.make_graph([constant], "inner", [], [], [])
    body = helper.make_graph([], "body", [], [], [tensor])
    functions = []
    nodes, tensors, sparse = [], [], []
    if place == "initializer":
        tensors = [tensor]
    elif place == "constant":
        nodes = [constant]
    elif place == "subgraph":
        nodes = [helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=body)]
    elif place == "tensors of an attribute":
        nodes = [helper.make_node("Mine", ["x"], ["y"], many=[tensor, tensor])]
    elif place == "sparse":
        plain = numpy_helper.from_array(np.zeros(3, np.int64), "indices")
        sparse = [helper.make_sparse_tensor(tensor, plain, [9])]
    elif place == "function":
        opset = [helper.make_opsetid("", 17)]
        functions = [helper.make_function("own", "Mine", ["x"], ["far"], [constant], opset)]
    graph = helper.make_graph(nodes, "outer", [], [], tensors, sparse_initializer=sparse)
    return helper.make_model(graph, functions=functions)


PLACES = ("initializer", "constant", "subgraph", "tensors of an attribute", "sparse", "function")


@pytest.mark.parametrize("place", PLACES)
def test_every_file_that_a_graph_keeps_weights_in_is_known(tmp_path, place):
    model = tmp_path / "model.onnx"
    model.write_bytes(graph_with(place, "weights/far.bin").SerializeToString())
    with pytest.raises(CheckpointError, match=r"far\.bin is missing"):
        model_files(model)
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights/far.bin").write_bytes(bytes(12))
    before = model_files(model)
    assert set(before) == {"model.onnx", "weights/far.bin"}
    (tmp_path / "weights/far.bin").write_bytes(bytes(11) + b"1")
    after = model_files(model)
    assert [name for name in before if before[name] != after[name]] == ["weights/far.bin"]


@pytest.mark.parametrize(
    "location",
    ["/etc/passwd", "../far.bin", "a/../../far.bin", "..\\far.bin", "C:far.bin", "", "."],
)
def test_weights_outside_of_the_models_folder_are_refused(tmp_path, location):
    (tmp_path / "far.bin").write_bytes(bytes(12))
    (tmp_path / "net").mkdir()
    model = tmp_path / "net" / "model.onnx"
    model.write_bytes(graph_with("initializer", location).SerializeToString())
    with pytest.raises(CheckpointError) as caught:
        model_files(model)
    assert repr(location) in str(caught.value)


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_mutated_models_are_read_or_refused(tmp_path_factory, data):
    whole = graph_with(data.draw(st.sampled_from(PLACES)), "far.bin").SerializeToString()
    cut = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    for place in data.draw(st.lists(st.integers(0, max(0, len(cut) - 1)), max_size=4)):
        cut[place : place + 1] = data.draw(st.binary(min_size=1, max_size=1))
    model = tmp_path_factory.mktemp("model") / "model.onnx"
    model.write_bytes(cut)
    (model.parent / "far.bin").write_bytes(bytes(12))
    with contextlib.suppress(CheckpointError):
        assert "model.onnx" in model_files(model)


def test_labels_of_another_external_file_are_other_labels(tmp_path, images):
    def segmenter(values):
        weight = numpy_helper.from_array(np.array(values, np.float32).reshape(1, 3, 1, 1), "weight")
        node = helper.make_node("Mul", ["image", "weight"], ["scores"])
        shape = ["n", 3, 4, 4]
        graph = helper.make_graph(
            [node],
            "weighed colours",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("scores", TensorProto.FLOAT, shape)],
            [weight],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        folder = write_folder(tmp_path / "net", layout="NCHW", colour="RGB", kind="logits")
        (folder / "model.onnx.data").unlink(missing_ok=True)
        onnx.save_model(
            model,
            folder / "model.onnx",
            save_as_external_data=True,
            location="model.onnx.data",
            size_threshold=0,
        )
        return load_segmenter(folder)

    red, blue = segmenter([1, 0, 0]), segmenter([0, 0, 1])
    assert set(red.provenance["weights"]) == {"model.onnx", "model.onnx.data", "about.json"}
    same = [
        name
        for name, digest in red.provenance["weights"].items()
        if blue.provenance["weights"][name] == digest
    ]
    assert same == ["model.onnx", "about.json"]
    assert (red.label_maps(images) != blue.label_maps(images)).any()


def test_a_missing_or_wrong_description_is_named(tmp_path):
    folder = write_folder(tmp_path / "net", layout="NCHW", colour="RGB", kind="logits")
    about = json.loads((folder / "about.json").read_text())
    for key, value in [
        ("layout", "CHWN"),
        ("colour", "grey"),
        ("height", 0),
        ("height", 10**9),
        ("width", True),
        ("batch", 10**9),
        ("mean", [1]),
        ("std", [1, 0, 1]),
        ("mean", ["0", 0, 0]),
        ("color", "RGB"),
        ("range", [0, 10**400]),
    ]:
        changed = {**about, "input": {**about["input"], key: value}}
        (folder / "about.json").write_text(json.dumps(changed))
        with pytest.raises(SegmenterError, match=rf"about\.json.*\b(input\.)?{key}"):
            load_segmenter(f"onnx:{folder}")
    for text in (
        '{"input": {}}',
        '{"input": {"mean": [NaN, 0, 0]}}',
        "{",
        "[" * 100_000,
        "[]",
        '{"class_names": [1]}',
    ):
        (folder / "about.json").write_text(text)
        with pytest.raises(SegmenterError, match=r"about\.json"):
            load_segmenter(f"onnx:{folder}")
    (folder / "about.json").unlink()
    with pytest.raises(SegmenterError, match=r"about\.json"):
        load_segmenter(f"onnx:{folder}")


@pytest.mark.parametrize(
    ("entry", "value"),
    [("dtype", "uint8"), ("layout", "NHWC"), ("height", 8), ("width", 3), ("batch", 3)],
)
def test_a_graph_whose_input_is_not_what_the_description_says_is_refused(tmp_path, entry, value):
    folder = write_folder(tmp_path / "net", layout="NCHW", colour="RGB", kind="logits", batch=2)
    about = json.loads((folder / "about.json").read_text())
    about["input"][entry] = value
    (folder / "about.json").write_text(json.dumps(about))
    with pytest.raises(SegmenterError, match="input"):
        load_segmenter(folder)


def answer_with(folder, output, about=()):
    """A network of two images whose answer is a constant."""
    write_folder(folder, layout="NCHW", colour="RGB", kind="label_map", batch=2)
    shape = [2, 3, 4, 4]
    tensor = numpy_helper.from_array(output, "value")
    graph = helper.make_graph(
        [helper.make_node("Constant", [], ["answer"], value=tensor)],
        "constant",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("answer", tensor.data_type, output.shape)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, folder / "model.onnx")
    text = json.loads((folder / "about.json").read_text())
    text["output"] |= dict(about)
    (folder / "about.json").write_text(json.dumps(text))
    return load_segmenter(folder)


LOGITS = {"kind": "logits", "layout": "NCHW"}


@pytest.mark.parametrize(
    ("answer", "about", "found"),
    [
        (np.full((2, 4, 4), 2**32), {}, "4294967296"),
        (np.full((2, 4, 4), 2**63, np.uint64), {}, "label"),
        (np.full((2, 4, 4), 3, np.int32), {}, "label 3"),
        (np.zeros((2, 4, 4), np.float32), {}, "float32"),
        (np.zeros((3, 4, 4), np.int64), {}, "(3, 4, 4)"),
        (np.zeros((2, 2, 4, 4), np.int64), {"layout": "NCHW"}, "(2, 2, 4, 4)"),
        (np.zeros((2, 4, 4), np.int64), {"layout": "NCHW"}, "(2, 4, 4)"),
        (np.full((2, 3, 4, 4), np.nan, np.float32), LOGITS, "NaN"),
        (np.zeros((2, 4, 4, 4), np.float32), LOGITS, "(2, 4, 4, 4)"),
        (np.zeros((2, 3, 4, 4), bool), LOGITS, "bool"),
    ],
)
def test_an_answer_that_is_not_what_the_description_says_is_refused(
    tmp_path, images, answer, about, found
):
    segmenter = answer_with(tmp_path / "net", answer, about)
    with pytest.raises(SegmenterError) as caught:
        checked_label_maps(segmenter, images)
    assert found in str(caught.value)
    assert "onnx" in str(caught.value) or str(tmp_path) in str(caught.value)


def test_a_session_that_raises_is_one_error(tmp_path, images):
    folder = write_folder(tmp_path / "net", layout="NCHW", colour="RGB", kind="label_map")
    segmenter = load_segmenter(f"onnx:{folder}")
    segmenter._input = "no such input"
    with pytest.raises(SegmenterError, match="onnx:"):
        checked_label_maps(segmenter, images)


def test_a_file_that_is_no_network_is_an_unreadable_checkpoint(tmp_path):
    folder = write_folder(tmp_path / "net", layout="NCHW", colour="RGB", kind="logits")
    for content in (b"no network", b"", bytes([8, 8])):
        (folder / "model.onnx").write_bytes(content)
        with pytest.raises(CheckpointError, match=r"model\.onnx"):
            load_segmenter(f"onnx:{folder}")
    (folder / "model.onnx").unlink()
    with pytest.raises(CheckpointError, match=r"model\.onnx"):
        load_segmenter(f"onnx:{folder}")


def test_bf16_is_refused_because_the_file_fixes_the_precision(tmp_path):
    with pytest.raises(SegmenterError, match="bf16"):
        load_segmenter(f"onnx:{tmp_path}", precision="bf16")


@pytest.mark.real
def test_the_churches_have_the_mean_shares_that_an_independent_script_found(real_inputs):
    segmenter = load_segmenter(f"onnx:{real_inputs / 'ade20k-32'}?threads=2")
    classes = segmenter.channels["object"]
    for side, folder in enumerate(("real", "reconstructed")):
        files = sorted((real_inputs / "churches" / folder).glob("*.png"))
        assert len(files) == 26
        counts = np.zeros(len(classes))
        for file in files:
            image = np.asarray(Image.open(file).convert("RGB")).transpose(2, 0, 1)
            maps = checked_label_maps(segmenter, np.ascontiguousarray(image)[None])
            counts += np.bincount(maps.ravel(), minlength=len(classes)) / maps.size
        for name, expected in CHURCH_SHARES.items():
            share = counts[classes.index(name)] / len(files)
            assert share == pytest.approx(expected[side], abs=0.002), (folder, name)
