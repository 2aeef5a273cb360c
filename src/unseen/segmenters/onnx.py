"""`onnx:FOLDER`: a network in ONNX, described by an `about.json` beside it.

The layout of `about.json` is documented in docs/segmenters.md. Label maps come out as the network
makes them; logits are interpolated to the input's size, and the largest wins.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from jaxtyping import Integer, UInt8
from PIL import Image

from unseen.core.devices import resolve_device
from unseen.core.errors import CheckpointError, SegmenterError, first_line, missing_package
from unseen.core.files import sha256_of_file
from unseen.core.registry import Spec, takes
from unseen.segmenters.checks import class_names
from unseen.segmenters.onnx_files import model_files
from unseen.segmenters.protocol import LabelsAndConfidence, Precision

_TENSOR = {"uint8": "tensor(uint8)", "float32": "tensor(float)", "float16": "tensor(float16)"}
Size = Annotated[int, msgspec.Meta(ge=1, le=16_384)]  # pixels a side, or images a call
Positive = Annotated[float, msgspec.Meta(gt=0)]
_THREADS = 1024  # inside an operator, at most


class Input(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `about.json` says of the network's input."""

    height: Size
    width: Size
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    dtype: Literal["uint8", "float32", "float16"] = "float32"
    range: tuple[float, float] = (0.0, 255.0)  # what 0 and 255 become, before mean and std
    colour: Literal["RGB", "BGR"] = "RGB"
    mean: tuple[float, float, float] | None = None  # in `range`'s unit and `colour`'s order
    std: tuple[Positive, Positive, Positive] | None = None
    resize: Literal["nearest", "bilinear", "bicubic"] = "bilinear"
    batch: Size | None = None  # images a call; None where any number goes


class Output(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `about.json` says of the network's output."""

    kind: Literal["label_map", "logits"]
    layout: Literal["NHW", "NHWC", "NCHW"] | None = None  # None: NHW, of logits NCHW
    name: str | None = None  # None for the first


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What `about.json` says of a network."""

    class_names: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    input: Input
    output: Output

    @property
    def output_layout(self) -> str:
        """The order of the output's axes."""
        return self.output.layout or ("NHW" if self.output.kind == "label_map" else "NCHW")

    def __post_init__(self) -> None:
        if self.output.kind == "logits" and self.output_layout == "NHW":
            raise ValueError("output.layout is NHW; logits are NCHW or NHWC")


def read_about(path: Path) -> About:
    """Read and check an `about.json`.

    Raises:
        SegmenterError: it is missing or unreadable, or an entry is missing, wrong or not known.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=About)
    except (OSError, ValueError, RecursionError) as error:
        raise SegmenterError(
            f"{path} does not describe the network ({first_line(error)}); docs/segmenters.md shows "
            "its layout"
        ) from error


class OnnxSegmenter:
    """An ONNX network run by onnxruntime. One channel, "object"."""

    def __init__(self, folder: Path, spec: str, *, device: str, threads: int) -> None:
        self.about = read_about(folder / "about.json")
        self._spec = spec
        model = folder / "model.onnx"
        if not model.is_file():
            raise CheckpointError(f"{model} is missing; the folder holds model.onnx and about.json")
        weights = {**model_files(model), "about.json": sha256_of_file(folder / "about.json")}
        self._session = _session(model, spec, device, threads)
        self._input = self._checked_input()
        self._output = self._picked_output()
        self.channels: Mapping[str, tuple[str, ...]] = {"object": self.about.class_names}
        self.resolution = min(self.about.input.height, self.about.input.width)
        self.provenance: Mapping[str, Any] = {
            "spec": spec,
            "family": "onnx",
            "weights": weights,
            "precision": "fp32",
        }

    def label_maps(
        self, images: UInt8[np.ndarray, "n 3 h w"], channel: str = "object"
    ) -> Integer[np.ndarray, "n h2 w2"]:
        """Labels at the resolution of the network's output (logits: of its input)."""
        return self.labels_and_confidence(images, channel)[0]

    def labels_and_confidence(
        self, images: UInt8[np.ndarray, "n 3 h w"], channel: str = "object"
    ) -> LabelsAndConfidence:
        """The same label maps, and the confidence where the network gives logits."""
        class_names(self, channel)
        inputs = self._inputs(images)
        step = self.about.input.batch or max(1, len(inputs))
        label_maps, confidence = [], []
        for start in range(0, len(inputs), step):
            part = inputs[start : start + step]
            short = step - len(part)  # the last of a fixed batch is filled with its last image
            filled = np.concatenate([part, *[part[-1:]] * short]) if short else part
            answer = self._session.run([self._output], {self._input: filled})[0]
            labels, sure = self._labels(np.asarray(answer), step)
            label_maps.append(labels[: len(part)])
            confidence += [] if sure is None else [sure[: len(part)]]
        return np.concatenate(label_maps), np.concatenate(confidence) if confidence else None

    def _checked_input(self) -> str:
        """The name of the network's one input, which is as about.json says."""
        inputs = self._session.get_inputs()
        if len(inputs) != 1:
            names = ", ".join(given.name for given in inputs) or "none"
            raise SegmenterError(
                f"{self._spec}: the network has {len(inputs)} inputs ({names}); needed is one, the "
                "images"
            )
        about, given = self.about.input, inputs[0]
        images = about.batch if about.batch is not None else "n"
        sides = (about.height, about.width)
        wanted = [images, 3, *sides] if about.layout == "NCHW" else [images, *sides, 3]
        fits = given.shape is None or len(given.shape) == 4  # None: the graph does not say
        for asked, side in zip(wanted, given.shape or wanted, strict=False):
            fits = fits and (not isinstance(side, int) or side in (asked, 0))
        if given.type != _TENSOR[about.dtype] or not fits:
            raise SegmenterError(
                f"{self._spec}: the network's input is a {given.type} of shape {given.shape}; "
                f"about.json says {_TENSOR[about.dtype]} of shape {wanted}"
            )
        return str(given.name)

    def _picked_output(self) -> str:
        names = [output.name for output in self._session.get_outputs()]
        wanted = self.about.output.name or names[0]
        if wanted not in names:
            raise SegmenterError(
                f"{self._spec}: the network has no output {wanted!r}; it has: {', '.join(names)}"
            )
        return str(wanted)

    def _inputs(self, images: UInt8[np.ndarray, "n 3 h w"]) -> np.ndarray:
        """Images as the network wants them."""
        about = self.about.input
        size = (about.width, about.height)
        pixels = np.moveaxis(images, 1, -1)  # (n, h, w, 3)
        if pixels.shape[1:3] != size[::-1]:
            pictures = [Image.fromarray(np.ascontiguousarray(image)) for image in pixels]
            method = Image.Resampling[about.resize.upper()]
            pixels = np.stack([np.asarray(picture.resize(size, method)) for picture in pictures])
        if about.colour == "BGR":
            pixels = pixels[..., ::-1]
        if about.dtype != "uint8":
            low, high = about.range
            pixels = (low + pixels.astype(np.float32) * ((high - low) / 255.0)).astype(np.float32)
            pixels = pixels - np.asarray(about.mean or (0, 0, 0), np.float32)
            pixels = pixels / np.asarray(about.std or (1, 1, 1), np.float32)
            pixels = pixels.astype(about.dtype)
        if about.layout == "NCHW":
            pixels = np.moveaxis(pixels, -1, 1)
        return np.ascontiguousarray(pixels)

    def _labels(self, answer: np.ndarray, images: int) -> LabelsAndConfidence:
        """Label maps, and of logits the confidence, from what the network gave for the images."""
        about = self.about
        classes = 1 if about.output.kind == "label_map" else len(about.class_names)
        shape = answer.shape
        if answer.ndim == len(about.output_layout) == 4 and about.output_layout == "NHWC":
            answer = np.moveaxis(answer, -1, 1)
        elif answer.ndim == len(about.output_layout) == 3:
            answer = answer[:, None]
        if answer.ndim != 4 or answer.shape[:2] != (images, classes):
            raise SegmenterError(
                f"{self._spec} gave an output of shape {shape} for {images} images; "
                f"about.json says {about.output.kind} in {about.output_layout}, {classes} a pixel"
            )
        if about.output.kind == "label_map":
            if not np.issubdtype(answer.dtype, np.integer):
                raise SegmenterError(
                    f"{self._spec} gave an output of {answer.dtype}; about.json says label_map, "
                    "which is integers: say logits, or export the argmax"
                )
            labels = answer[:, 0]  # onnxruntime's long long is no int64 to NumPy
            return labels.astype(np.int64) if labels.dtype.itemsize == 8 else labels, None
        if answer.dtype.kind not in "fiu":
            raise SegmenterError(
                f"{self._spec} gave an output of {answer.dtype}; logits are floats"
            )
        import torch

        from unseen.segmenters.label_maps import interpolated_argmax, mean_confidence

        logits = torch.from_numpy(np.ascontiguousarray(answer, dtype=np.float32))
        size = (about.input.height, about.input.width)
        winners = interpolated_argmax(logits, size, self._spec)
        return winners.numpy(), mean_confidence(logits).numpy()


@takes("threads")
def load_onnx(spec: Spec, *, device: str, precision: Precision) -> OnnxSegmenter:
    """The plug-in's factory. Option `threads`: threads inside an operator (default: all cores).

    Raises:
        SpecError: no folder named, or an unknown option.
        SegmenterError: `about.json` is missing or wrong, or bf16 was asked for.
        CheckpointError: `model.onnx` is missing or unreadable.
        MissingExtraError: onnxruntime is not installed.
    """
    folder = Path(spec.require_argument("folder"))
    if precision != "fp32":
        raise SegmenterError(
            f"{spec.text} runs in the precision of its file, and {precision} was asked for; "
            "leave it at fp32"
        )
    if not folder.is_dir():
        raise SegmenterError(f"{folder} is no folder; needed is one with model.onnx and about.json")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    threads = spec.integer("threads", cores, most=_THREADS)
    return OnnxSegmenter(folder, spec.place, device=device, threads=threads)


def onnx_device() -> str:
    """What "auto" means here: a GPU where there is one that this onnxruntime can use."""
    device = resolve_device("auto")
    return device if _provider(device) in _onnxruntime().get_available_providers() else "cpu"


def _provider(device: str) -> str:
    return "CUDAExecutionProvider" if device.startswith("cuda") else "CPUExecutionProvider"


def _session(model: Path, spec: str, device: str, threads: int) -> Any:
    """A session of onnxruntime on the device that was asked for, and on no other."""
    runtime = _onnxruntime()
    provider = _provider(device)
    choice = {"device_id": device.partition(":")[2] or "0"} if device != "cpu" else {}
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors only: warnings are about the file's history
    used = None
    if provider in runtime.get_available_providers():
        try:
            session = runtime.InferenceSession(model, options, providers=[(provider, choice)])
        except Exception as error:
            raise CheckpointError(
                f"{model} is no network that onnxruntime reads ({first_line(error)}); export it "
                "again"
            ) from error
        used = session.get_providers()[0]
    if used != provider:  # onnxruntime falls back to the CPU without an error
        raise SegmenterError(
            f"{spec}: this onnxruntime cannot use {device}; install onnxruntime-gpu or use cpu"
        )
    return session


def _onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise missing_package("onnx:", "onnxruntime") from error
    return onnxruntime
