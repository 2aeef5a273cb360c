"""Finding a segmenter, and refusing one whose answers are no label maps."""

import re
import sys

import numpy as np
import pytest

from unseen.core.devices import resolve_device
from unseen.core.errors import OutOfMemoryError, SegmenterError, SpecError
from unseen.segmenters import (
    check_segmenter,
    checked_label_maps,
    checked_labels,
    load_segmenter,
)

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
    ("maps", "found"),
    [
        (np.where(np.arange(32).reshape(2, 4, 4) < 8, np.nan, 0.0), "NaN in 25 %"),
        (np.zeros((2, 4, 4), np.float32), "float32"),
        (np.zeros((2, 4, 4), bool), "bool"),
        (np.zeros((2, 4, 4), object), "object"),
        (np.full((2, 4, 4), 3), "label 3"),
        (np.full((2, 4, 4), 2**32), "label 4294967296"),
        (np.full((2, 4, 4), 2**64 - 1, np.uint64), "label 18446744073709551615"),
        (np.full((2, 4, 4), -1), "label -1"),
        (np.zeros((3, 4, 4), int), "(3, 4, 4)"),
        (np.zeros((2, 1, 4, 4), int), "(2, 1, 4, 4)"),
        (np.zeros((2, 0, 4), int), "(2, 0, 4)"),
        (np.ma.masked_array(np.zeros((2, 4, 4), int), True), "MaskedArray"),
        ([[0]], "list"),
        (None, "NoneType"),
    ],
)
def test_an_answer_that_is_no_label_map_is_refused(maps, found):
    with pytest.raises(SegmenterError) as error:
        checked_label_maps(Answer(maps), IMAGES, first="a.png")
    assert "python:mine:make" in str(error.value)
    assert found in str(error.value)
    assert "a.png" in str(error.value)


@pytest.mark.parametrize("fault", [ValueError("odd\nsize"), SystemExit(0), ZeroDivisionError()])
def test_a_segmenter_that_raises_is_one_line_that_names_it_and_the_image(fault):
    class Broken(Answer):
        def label_maps(self, images, channel="object"):
            raise fault

    with pytest.raises(SegmenterError) as error:
        checked_label_maps(Broken(None), IMAGES, first="a.png")
    assert "python:mine:make" in str(error.value)
    assert "a.png" in str(error.value)
    assert "\n" not in str(error.value)


class Confident(Answer):
    """A segmenter that also says how sure it is."""

    def __init__(self, maps, confidence):
        super().__init__(maps)
        self.confidence = confidence

    def labels_and_confidence(self, images, channel="object"):
        return self.maps, self.confidence


def test_confidence_is_taken_where_the_segmenter_says_it():
    maps = np.zeros((2, 4, 4), int)
    sure = checked_labels(Confident(maps, [0.25, 1]), IMAGES)
    assert sure.confidence.tolist() == [0.25, 1]
    assert checked_labels(Answer(maps), IMAGES).confidence is None
    assert checked_labels(Confident(maps, None), IMAGES).confidence is None


def test_label_maps_that_a_subclass_overrides_are_not_passed_over():
    class Other(Confident):
        def label_maps(self, images, channel="object"):
            return self.maps + 1

    answer = checked_labels(Other(np.zeros((2, 4, 4), int), [0.5, 0.5]), IMAGES)
    assert (answer.maps == 1).all()
    assert answer.confidence is None


@pytest.mark.parametrize("confidence", [[0.5], [0.5, 1.5], [0.5, np.nan], [[0.5, 0.5]]])
def test_a_confidence_that_is_no_share_an_image_is_refused(confidence):
    with pytest.raises(SegmenterError, match="confidence"):
        checked_labels(Confident(np.zeros((2, 4, 4), int), confidence), IMAGES)


def test_a_segmenter_that_prints_leaves_stdout_alone(capsys):
    class Loud(Answer):
        def label_maps(self, images, channel="object"):
            sys.stdout.write("working\n")
            return self.maps

    checked_label_maps(Loud(np.zeros((2, 4, 4), int)), IMAGES)
    assert capsys.readouterr() == ("", "working\n")


def test_a_batch_that_does_not_fit_into_memory_says_which_option_to_lower():
    class Large(Answer):
        def label_maps(self, images, channel="object"):
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")

    with pytest.raises(OutOfMemoryError, match="--batch-size"):
        checked_label_maps(Large(None), IMAGES)


def test_an_unknown_channel_lists_the_channels():
    with pytest.raises(SegmenterError, match=r"'part'.*object"):
        checked_label_maps(Answer(np.zeros((2, 4, 4), int)), IMAGES, "part")


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("channels", {}),
        ("channels", ["object"]),
        ("channels", {1: ("a",)}),
        ("channels", {"object/x": ("a",)}),
        ("channels", {"object": ()}),
        ("channels", {"object": "abc"}),
        ("channels", {"object": ("a", "a")}),
        ("channels", {"object": ("a", 2)}),
        ("channels", {"object": ("a", "b\n")}),
        ("channels", {"object": ("a", "\ud800")}),
        ("resolution", 0),
        ("resolution", True),
        ("resolution", "4"),
        ("provenance", None),
        ("provenance", {"weights": object()}),
        ("provenance", {"threshold": float("nan")}),
        ("label_maps", None),
    ],
)
def test_an_object_that_lacks_a_member_is_no_segmenter(member, value):
    segmenter = Answer(None)
    assert load_segmenter(segmenter) is segmenter
    setattr(segmenter, member, value)
    with pytest.raises(SegmenterError, match="mine"):
        check_segmenter(segmenter, "mine")


def test_an_unknown_spec_lists_what_is_known():
    with pytest.raises(
        SpecError, match=r"'deeplab'.*churchyard, groups, hf, maps, onnx, open, python, upp"
    ):
        load_segmenter("deeplab")


def test_a_folder_without_a_segmenter_says_what_is_needed(tmp_path):
    with pytest.raises(SpecError, match=r"model\.onnx"):
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

class Frozen(Brightness):
    def __init__(self):
        pass
    provenance = property(lambda self: {"spec": "brightness"})

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
    ("rest", "error", "found"),
    [
        (":nothing", SpecError, "'nothing'"),
        (":plain?threshold=1", SpecError, "'threshold'"),
        (":Half", SegmenterError, "label_maps"),
        (":twice", SegmenterError, "'a' twice"),
        (":Frozen", SegmenterError, "provenance"),
        ("", SpecError, "python:brightness_for_test"),
    ],
)
def test_a_users_factory_that_is_none_is_refused(custom, rest, error, found):
    with pytest.raises(error, match=re.escape(found)):
        load_segmenter(custom + rest)


def test_the_provenance_of_a_users_segmenter_changes_with_its_code_and_options(custom, tmp_path):
    before = load_segmenter(f"{custom}:make?threshold=200").provenance
    assert before["options"] == {"threshold": "200"}
    assert before["module_sha256"].keys() == {"brightness_for_test.py"}
    source = tmp_path / "brightness_for_test.py"
    source.write_text(source.read_text().replace(">", ">="))
    after = load_segmenter(f"{custom}:make?threshold=200").provenance
    assert after["module_sha256"] != before["module_sha256"]


def test_a_users_module_that_is_missing_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    with pytest.raises(SpecError, match="no module 'not_there_at_all'"):
        load_segmenter("python:not_there_at_all:make")


def test_precision_is_not_dropped_silently(custom):
    with pytest.raises(SegmenterError, match="takes no precision, and bf16 was asked for"):
        load_segmenter(f"{custom}:plain", precision="bf16")
