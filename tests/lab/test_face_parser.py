"""The second face parser: its network, its faces, and how it is measured."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from lab.face_parser import (
    CLASS_NAMES,
    STORED,
    FaceParser,
    FoldedConvolution,
    altered_faces,
    class_weights,
    measured,
    read_faces,
    trained_mobilenet,
)
from PIL import Image


@pytest.mark.parametrize("size", [8, 12])
def test_a_convolution_of_stride_two_pads_as_tensorflow_does(size: int) -> None:
    # SAME of an even size, stride 2 and kernel 3 adds one row below and one column at the right.
    layer = FoldedConvolution(1, 1, 3, stride=2)
    with torch.no_grad():
        layer.weight.copy_(torch.arange(9.0).reshape(1, 1, 3, 3))
        assert layer.bias is not None
        layer.bias.zero_()
    image = torch.zeros(1, 1, size, size)
    image[0, 0, -1, -1] = 1
    output = layer(image)
    assert output.shape == (1, 1, size // 2, size // 2)
    assert output[0, 0, -1, -1] == 4  # the kernel's middle: the last pixel is under it


def test_logits_have_the_size_of_the_images() -> None:
    network = FaceParser().eval()
    with torch.no_grad():
        logits = network(torch.zeros(1, 3, 64, 64))
    assert logits.shape == (1, len(CLASS_NAMES), 64, 64)


def _archive(path: Path) -> Path:
    """Two faces of labelled.zip's form: all skin, and skin with a hat in the upper half."""
    masks = np.ones((2, 512, 512), np.uint8)
    masks[1, :256] = 14  # hat, of 19 classes
    with zipfile.ZipFile(path, "w") as files:
        for index, mask in enumerate(masks):
            for name, pixels in (
                (f"val/images/{index:04d}.jpg", np.repeat(mask[..., None] * 10, 3, axis=2)),
                (f"val/masks/{index:04d}.png", mask),
            ):
                buffer = io.BytesIO()
                Image.fromarray(pixels).save(buffer, "PNG")
                files.writestr(name, buffer.getvalue())
    return path


def test_nineteen_classes_become_fifteen(tmp_path: Path) -> None:
    pictures, label_maps = read_faces(_archive(tmp_path / "labelled.zip"), "val")
    assert pictures.shape == (2, 3, STORED, STORED)
    assert set(label_maps[0].unique().tolist()) == {CLASS_NAMES.index("skin")}
    assert set(label_maps[1, : STORED // 2].unique().tolist()) == {CLASS_NAMES.index("hat")}
    assert len(read_faces(tmp_path / "labelled.zip", "val", most=1)[0]) == 1


def test_labels_move_with_their_faces() -> None:
    label_maps = torch.zeros(8, STORED, STORED, dtype=torch.uint8)
    label_maps[:, :, STORED // 2 :] = 10
    pictures = (label_maps[:, None] * 20).repeat(1, 3, 1, 1)
    images, labels = altered_faces(pictures, label_maps, torch.Generator().manual_seed(1))
    for image, label in zip(images.mean(1), labels, strict=True):
        # Relit or recoloured, the half that is labelled stays the bright one.
        assert image[label == 10].mean() > image[label == 0].mean() + 0.5
    # At least one is mirrored, and one is not.
    left = (labels[:, :, :20] == 10).float().mean((1, 2))
    assert (left > 0.9).any()
    assert (left < 0.1).any()


def test_rare_classes_weigh_more_up_to_a_bound() -> None:
    label_maps = torch.zeros(1, 100, 100, dtype=torch.uint8)
    label_maps[0, 0, 0] = 10
    weights = class_weights(label_maps, 3.0)
    assert weights[0] == 0.5  # the lower bound: nearly all pixels
    assert weights[10] < weights[11]  # a class that is nowhere weighs most
    assert weights.max() <= 3.0


class _Constant:
    """Finds skin everywhere."""

    channels = {"object": CLASS_NAMES}  # noqa: RUF012
    resolution = STORED
    provenance: dict[str, str] = {}  # noqa: RUF012

    def label_maps(self, images: np.ndarray, channel: str = "object") -> np.ndarray:
        return np.full((len(images), STORED, STORED), CLASS_NAMES.index("skin"))


def test_quality_counts_pixels_and_presence(tmp_path: Path) -> None:
    pictures, label_maps = read_faces(_archive(tmp_path / "labelled.zip"), "val")
    quality = measured(_Constant(), pictures, label_maps)
    # Skin is right in the whole of the first face and in half of the second.
    assert quality["accuracy"] == 0.75
    assert quality["classes"]["skin"]["iou"] == 0.75
    hat = quality["classes"]["hat"]
    assert (hat["faces"], hat["sensitivity"], hat["false_alarms"]) == (1, 0.0, 0.0)


@pytest.mark.real
def test_the_backbone_sees_what_ade20k_s_network_sees(real_inputs: Path) -> None:
    onnx = pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    path = real_inputs / "ade20k-32" / "model.onnx"
    model = onnx.load(path)
    name = "MobilenetV2/expanded_conv_16/project/add_fold"
    real_valued = next(
        node.output[0]
        for node in model.graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] == name
    )
    model.graph.output.append(onnx.helper.make_tensor_value_info(real_valued, 1, None))
    session = runtime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    image = np.array(Image.fromarray(image).resize((512, 512)))
    expected = session.run([real_valued], {session.get_inputs()[0].name: image[None]})[0]
    with torch.no_grad():
        taps = trained_mobilenet(path)(torch.from_numpy(image).permute(2, 0, 1)[None] / 127.5 - 1)
    found = taps[-1].numpy()
    # The file rounds every layer to 8 bits, and these weights do not: on a photograph 0.9987.
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.99
