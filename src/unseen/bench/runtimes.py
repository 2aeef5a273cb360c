"""What one would run a transformers model by instead of the package, one image a call, in fp32.

The plain way is the library's own pipeline. The others have the model's processor, then the network
as PyTorch runs it, compiled by torch, or exported to ONNX Runtime and OpenVINO; then the scores at
full resolution and their argmax. What is not installed, or cannot take the model, is skipped with
the reason.
"""

import functools
import importlib
import tempfile
import types
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import nn
from torch.nn import functional as F  # noqa: N812 - the name that everyone reads

from unseen.core.errors import first_line
from unseen.images.decode import as_picture
from unseen.segmenters.hf import TransformersSegmenter

Images = UInt8[np.ndarray, "n 3 h w"]
Labels = Int64[np.ndarray, "n h w"]
Scores = Callable[[torch.Tensor], Sequence[torch.Tensor]]
"""From prepared pixels (1, 3, h, w) to what the network gives."""

PIPELINE = "pipeline"
_SEMANTIC = ("logits",)
_UNIVERSAL = ("class_queries_logits", "masks_queries_logits")


class _Outputs(nn.Module):
    """The network with tensors in and tensors out, as exports need it."""

    def __init__(self, network: nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        self.network, self.names = network, names

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        outputs = self.network(pixel_values=pixels)
        return tuple(outputs[name] for name in self.names)


def other_ways(
    segmenter: TransformersSegmenter, images: Images
) -> tuple[dict[str, Callable[[Images], Labels]], dict[str, str]]:
    """The ways that take this model here, the pipeline first; and why others are skipped.

    Args:
        segmenter: whose network and processor they take.
        images: to compile, to trace and to try with.
    """
    names = _UNIVERSAL if segmenter.universal else _SEMANTIC
    network = _Outputs(segmenter.network, names).eval()
    example = _pixels(segmenter, images[0])
    runtimes: Mapping[str, Callable[[nn.Module, torch.Tensor], Scores] | None] = {
        PIPELINE: None,
        "eager": lambda network, _: network,
        "torch.compile": _compiled,
        "onnxruntime": _onnxruntime,
        "openvino": _openvino,
    }
    ways: dict[str, Callable[[Images], Labels]] = {}
    skipped: dict[str, str] = {}
    for way, prepare in runtimes.items():
        try:
            with warnings.catch_warnings(), torch.inference_mode():
                warnings.simplefilter("ignore")  # exports warn of what they trace
                labels = (
                    _pipeline(segmenter)
                    if prepare is None
                    else functools.partial(_labelled, segmenter, prepare(network, example))
                )
                labels(images)
        except ImportError as error:
            skipped[way] = f"{error.name or way} is not installed"
        except Exception as error:  # noqa: BLE001 exports raise nearly anything
            skipped[way] = f"it does not take this model ({first_line(error)})"
        else:
            ways[way] = labels
    return ways, skipped


@torch.inference_mode()
def _labelled(segmenter: TransformersSegmenter, scores: Scores, images: Images) -> Labels:
    labels = []
    for image in images:
        outputs = scores(_pixels(segmenter, image))
        size = (image.shape[1], image.shape[2])
        if segmenter.universal:
            answer = types.SimpleNamespace(**dict(zip(_UNIVERSAL, outputs, strict=True)))
            maps = segmenter.processor.post_process_semantic_segmentation(answer, [size])
            labels.append(maps[0].numpy())
        else:
            fine = F.interpolate(outputs[0], size, mode="bilinear", align_corners=False)
            labels.append(fine.argmax(1)[0].numpy())
    return np.stack(labels)


def _pixels(segmenter: TransformersSegmenter, image: UInt8[np.ndarray, "3 h w"]) -> torch.Tensor:
    picture = np.moveaxis(image, 0, -1)
    inputs = segmenter.processor(
        images=[picture], input_data_format="channels_last", return_tensors="pt"
    )
    pixels: torch.Tensor = inputs["pixel_values"]
    return pixels


def _pipeline(segmenter: TransformersSegmenter) -> Callable[[Images], Labels]:
    pipeline = importlib.import_module("transformers").pipeline(
        "image-segmentation",
        model=segmenter.network,
        image_processor=segmenter.processor,
        device="cpu",
    )
    number = {name: label for label, name in segmenter.network.config.id2label.items()}

    def labels(images: Images) -> Labels:
        maps = np.zeros((len(images), *images.shape[2:]), np.int64)
        for label_map, image in zip(maps, images, strict=True):
            picture = as_picture(image)
            for segment in pipeline(picture, subtask="semantic"):
                label_map[np.asarray(segment["mask"]) > 0] = number[segment["label"]]
        return maps

    return labels


def _compiled(network: nn.Module, _: torch.Tensor) -> Scores:
    compiled: Scores = torch.compile(network, dynamic=False)
    return compiled


def _onnxruntime(network: nn.Module, example: torch.Tensor) -> Scores:
    runtime = importlib.import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        torch.onnx.export(network, (example,), path, dynamo=False, input_names=["pixels"])
        session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda pixels: [
        torch.from_numpy(output) for output in session.run(None, {"pixels": pixels.numpy()})
    ]


def _openvino(network: nn.Module, example: torch.Tensor) -> Scores:
    runtime = importlib.import_module("openvino")
    model = runtime.convert_model(network, example_input=(example,))
    settings = {
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
    }
    compiled = runtime.Core().compile_model(model, "CPU", settings)

    def scores(pixels: torch.Tensor) -> Sequence[torch.Tensor]:
        answers = compiled((pixels.numpy(),))
        return [torch.from_numpy(answers[k]) for k in range(len(compiled.outputs))]

    return scores
