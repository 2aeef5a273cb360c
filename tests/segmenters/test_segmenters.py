"""Finding a segmenter, and refusing one whose answers are no label maps."""

import sys

import numpy as np
import pytest

from unseen.core.devices import resolve_device
from unseen.core.errors import SegmenterError, SpecError
from unseen.segmenters import checked_label_maps, load_segmenter

IMAGES = np.zeros((2, 3, 4, 4), np.uint8)


class Answer:
    """A segmenter that gives one stored answer."""

    resolution = 4

    def __init__(self, maps):
        self.maps = maps
        self.channels = {"object": ("none", "sky", "tree")}
        self.provenance = {"spec": "python:mine:make"}

    def label_maps(self, images, channel="object"):
        return self.maps


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64, np.uint16])
def test_integers_in_range_pass_untouched(dtype):
    maps = np.full((2, 5, 7), 2, dtype)
    assert checked_label_maps(Answer(maps), IMAGES) is maps


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        (
            np.where(np.arange(32).reshape(2, 4, 4) < 8, np.nan, 0.0),
            "python:mine:make gave NaN in 25 % of the pixels of its label maps (float64); a label "
            "map holds one integer class per pixel: return the argmax",
        ),
        (
            np.zeros((2, 4, 4), np.float32),
            "python:mine:make gave label maps of float32; a label map holds one integer class per "
            "pixel: return the argmax",
        ),
        (
            np.full((2, 4, 4), 3),
            "python:mine:make gave the label 3; channel 'object' has 3 classes, so labels are 0 "
            "to 2",
        ),
        (
            np.full((2, 4, 4), -1),
            "python:mine:make gave the label -1; channel 'object' has 3 classes, so labels are 0 "
            "to 2",
        ),
        (
            np.zeros((3, 4, 4), int),
            "python:mine:make gave label maps of shape (3, 4, 4) for 2 images; needed is "
            "(2, height, width)",
        ),
        (
            np.zeros((2, 1, 4, 4), int),
            "python:mine:make gave label maps of shape (2, 1, 4, 4) for 2 images; needed is "
            "(2, height, width)",
        ),
        (
            [[0]],
            "python:mine:make gave a list; label maps are a NumPy array of integers",
        ),
    ],
)
def test_an_answer_that_is_no_label_map_is_refused(maps, message):
    with pytest.raises(SegmenterError) as error:
        checked_label_maps(Answer(maps), IMAGES)
    assert str(error.value) == message


def test_an_unknown_channel_lists_the_channels():
    with pytest.raises(SegmenterError) as error:
        checked_label_maps(Answer(np.zeros((2, 4, 4), int)), IMAGES, "part")
    assert str(error.value) == "python:mine:make has no channel 'part'; it has: object"


def test_an_unknown_spec_lists_what_is_known():
    with pytest.raises(SpecError) as error:
        load_segmenter("deeplab")
    assert str(error.value) == (
        "'deeplab' names no segmenter; known: churchyard, hf, onnx, python, upp, or the path of a "
        "folder that holds one"
    )


def test_a_folder_without_a_segmenter_says_what_is_needed(tmp_path):
    with pytest.raises(SpecError, match=r"holds no segmenter; needed are model\.onnx"):
        load_segmenter(tmp_path)


def test_unknown_devices_and_precisions_are_refused(monkeypatch):
    import torch

    with pytest.raises(SpecError, match="device 'tpu' is not known"):
        resolve_device("tpu")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(SpecError, match="torch sees no CUDA device"):
        resolve_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == "cpu"
    with pytest.raises(SpecError, match="precision 'fp8' is not known; known: fp32, bf16"):
        load_segmenter("upp", precision="fp8")


CUSTOM = """
import numpy as np

class Brightness:
    channels = {"object": ("dark", "bright")}
    resolution = 8
    def __init__(self, threshold, precision):
        self.threshold = threshold
        self.provenance = {"spec": "brightness", "precision": precision}
    def label_maps(self, images, channel="object"):
        return (images.mean(1) > self.threshold).astype(np.uint8)

def make(threshold="127", precision="fp32"):
    return Brightness(float(threshold), precision)

def plain():
    return Brightness(127, "fp32")

class Half:
    channels = {"object": ("a",)}
    resolution = 8
    provenance = {}

twice = lambda: type("Twice", (Brightness,), {"channels": {"object": ("a", "a")}})(1, "fp32")
"""


@pytest.fixture
def custom(tmp_path, monkeypatch):
    (tmp_path / "brightness_for_test.py").write_text(CUSTOM)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield "python:brightness_for_test"
    sys.modules.pop("brightness_for_test", None)


def test_a_users_factory_gets_the_options_that_it_takes(custom):
    segmenter = load_segmenter(f"{custom}:make?threshold=200", precision="bf16")
    assert segmenter.provenance["precision"] == "bf16"
    images = np.full((1, 3, 8, 8), 199, np.uint8)
    assert checked_label_maps(segmenter, images).max() == 0
    assert checked_label_maps(load_segmenter(f"{custom}:plain"), images).min() == 1


@pytest.mark.parametrize(
    ("rest", "error", "message"),
    [
        (":nothing", SpecError, "has no function 'nothing'"),
        (":plain?threshold=1", SpecError, "option 'threshold', which plain does not take"),
        (
            ":Half",
            SegmenterError,
            "made a Half that has no method label_maps(images, channel); a segmenter has "
            "channels, resolution, provenance and label_maps (docs/segmenters.md)",
        ),
        (":twice", SegmenterError, "the class 'a' twice in channel 'object'"),
        ("", SpecError, "names no factory; write python:MODULE:FACTORY"),
    ],
)
def test_a_users_factory_that_is_none_is_refused(custom, rest, error, message):
    with pytest.raises(error) as caught:
        load_segmenter(custom + rest)
    assert message in str(caught.value)


def test_a_users_module_that_is_missing_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    with pytest.raises(SpecError, match="no module 'not_there_at_all'"):
        load_segmenter("python:not_there_at_all:make")


def test_precision_is_not_dropped_silently(custom):
    with pytest.raises(SegmenterError, match="takes no precision, and bf16 was asked for"):
        load_segmenter(f"{custom}:plain", precision="bf16")
