"""ONNX folders: every layout against NumPy, and the published churches on a real network."""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image
from tests.support.worlds import CHURCH_SHARES

from unseen.core.errors import CheckpointError, SegmenterError
from unseen.segmenters import checked_label_maps, load_segmenter

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


def test_a_missing_or_wrong_description_is_named(tmp_path):
    folder = write_folder(tmp_path / "net", layout="NCHW", colour="RGB", kind="logits")
    about = json.loads((folder / "about.json").read_text())
    for key, value, message in [
        ("layout", "CHWN", "input.layout is 'CHWN'; known: NCHW, NHWC"),
        ("colour", "grey", "input.colour is 'grey'; known: RGB, BGR"),
        ("height", 0, "input.height is 0; needed is a whole number of at least 1"),
        ("mean", [1], "input.mean is [1]; needed are 3 numbers"),
    ]:
        changed = {**about, "input": {**about["input"], key: value}}
        (folder / "about.json").write_text(json.dumps(changed))
        with pytest.raises(SegmenterError) as error:
            load_segmenter(f"onnx:{folder}")
        assert str(error.value) == f"{folder}/about.json: {message}"
    (folder / "about.json").write_text(json.dumps({"input": {}}))
    with pytest.raises(SegmenterError, match="has no 'class_names'"):
        load_segmenter(f"onnx:{folder}")
    (folder / "about.json").unlink()
    with pytest.raises(SegmenterError, match=r"about\.json is missing"):
        load_segmenter(f"onnx:{folder}")


def test_a_file_that_is_no_network_is_an_unreadable_checkpoint(tmp_path):
    folder = write_folder(tmp_path / "net", layout="NCHW", colour="RGB", kind="logits")
    (folder / "model.onnx").write_bytes(b"no network")
    with pytest.raises(CheckpointError, match="is no network that onnxruntime reads"):
        load_segmenter(f"onnx:{folder}")
    (folder / "model.onnx").unlink()
    with pytest.raises(CheckpointError, match=r"model\.onnx is missing"):
        load_segmenter(f"onnx:{folder}")


def test_bf16_is_refused_because_the_file_fixes_the_precision(tmp_path):
    with pytest.raises(SegmenterError, match="runs in the precision of its file"):
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
