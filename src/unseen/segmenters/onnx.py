"""`onnx:FOLDER`: a network in ONNX, described by an `about.json` beside it.

The layout of `about.json` is documented in docs/segmenters.md. Label maps come out as the network
makes them; logits are interpolated to the input's size, and the largest wins.
"""

import dataclasses
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from jaxtyping import Integer, UInt8
from PIL import Image

from unseen.core.devices import resolve_device
from unseen.core.errors import (
    CheckpointError,
    MissingExtraError,
    SegmenterError,
    first_line,
)
from unseen.core.files import sha256_of_file
from unseen.core.registry import Spec, takes
from unseen.segmenters.checks import class_names
from unseen.segmenters.onnx_files import model_files
from unseen.segmenters.protocol import Precision

_RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}
_TENSOR = {"uint8": "tensor(uint8)", "float32": "tensor(float)", "float16": "tensor(float16)"}
_THREADS = 1024  # inside an operator, at most
_LARGEST = 16_384  # pixels a side, and images a call


@dataclasses.dataclass(frozen=True, kw_only=True)
class About:
    """What `about.json` says of the network's input and output."""

    class_names: tuple[str, ...]
    height: int
    width: int
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    dtype: Literal["uint8", "float32", "float16"] = "float32"
    range: tuple[float, float] = (0.0, 255.0)  # what 0 and 255 become, before mean and std
    colour: Literal["RGB", "BGR"] = "RGB"
    mean: tuple[float, ...] | None = None  # in `range`'s unit and `colour`'s order
    std: tuple[float, ...] | None = None
    resize: Literal["nearest", "bilinear", "bicubic"] = "bilinear"
    batch: int | None = None  # images a call; None where any number goes
    output: str | None = None  # the output's name; None for the first
    kind: Literal["label_map", "logits"] = "label_map"
    output_layout: Literal["NHW", "NHWC", "NCHW"] = "NHW"


def read_about(path: Path) -> About:
    """Read and check an `about.json`.

    Raises:
        SegmenterError: it is missing or unreadable, or an entry is missing or not known.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SegmenterError(
            f"{path} is missing; it describes the input, output and classes"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise SegmenterError(f"{path} is no readable JSON ({error})") from error
    names = _entry(path, value, "class_names")
    if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
        raise SegmenterError(f"{path}: class_names is {names!r:.60}; needed is a list of names")
    side = _entry(path, value, "input")
    answer = _entry(path, value, "output")
    kind = _one_of(path, answer, "output.kind", None, "label_map", "logits")
    layouts = ("NHW", "NHWC", "NCHW") if kind == "label_map" else ("NCHW", "NHWC")
    dtype = _one_of(path, side, "input.dtype", "float32", "uint8", "float32", "float16")
    return About(
        class_names=tuple(names),
        height=_whole(path, side, "input.height"),
        width=_whole(path, side, "input.width"),
        layout=_one_of(path, side, "input.layout", "NCHW", "NCHW", "NHWC"),
        dtype=dtype,
        range=cast("tuple[float, float]", _numbers(path, side, "input.range", 2) or (0.0, 255.0)),
        colour=_one_of(path, side, "input.colour", "RGB", "RGB", "BGR"),
        mean=_numbers(path, side, "input.mean", 3),
        std=_numbers(path, side, "input.std", 3),
        resize=_one_of(path, side, "input.resize", "bilinear", *_RESAMPLING),
        batch=_whole(path, side, "input.batch") if side.get("batch") is not None else None,
        output=answer.get("name"),
        kind=kind,
        output_layout=_one_of(path, answer, "output.layout", layouts[0], *layouts),
    )


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
        self.resolution = min(self.about.height, self.about.width)
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
        class_names(self, channel)
        inputs = self._inputs(images)
        step = self.about.batch or max(1, len(inputs))
        label_maps = []
        for start in range(0, len(inputs), step):
            part = inputs[start : start + step]
            short = step - len(part)  # the last of a fixed batch is filled with its last image
            filled = np.concatenate([part, *[part[-1:]] * short]) if short else part
            answer = self._session.run([self._output], {self._input: filled})[0]
            label_maps.append(self._labels(np.asarray(answer), step)[: len(part)])
        return np.concatenate(label_maps)

    def _checked_input(self) -> str:
        """The name of the network's one input, which is as about.json says."""
        inputs = self._session.get_inputs()
        if len(inputs) != 1:
            names = ", ".join(given.name for given in inputs) or "none"
            raise SegmenterError(
                f"{self._spec}: the network has {len(inputs)} inputs ({names}); needed is one, the "
                "images"
            )
        about, given = self.about, inputs[0]
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
        wanted = self.about.output or names[0]
        if wanted not in names:
            raise SegmenterError(
                f"{self._spec}: the network has no output {wanted!r}; it has: {', '.join(names)}"
            )
        return str(wanted)

    def _inputs(self, images: UInt8[np.ndarray, "n 3 h w"]) -> np.ndarray:
        """Images as the network wants them."""
        about = self.about
        pixels = np.moveaxis(images, 1, -1)  # (n, h, w, 3)
        if pixels.shape[1:3] != (about.height, about.width):
            filter_ = _RESAMPLING[about.resize]
            pixels = np.stack(
                [
                    np.asarray(
                        Image.fromarray(np.ascontiguousarray(image)).resize(
                            (about.width, about.height), filter_
                        )
                    )
                    for image in pixels
                ]
            )
        if about.colour == "BGR":
            pixels = pixels[..., ::-1]
        if about.dtype != "uint8":
            low, high = about.range
            pixels = (low + pixels.astype(np.float32) * ((high - low) / 255.0)).astype(np.float32)
            if about.mean is not None:
                pixels = pixels - np.asarray(about.mean, np.float32)
            if about.std is not None:
                pixels = pixels / np.asarray(about.std, np.float32)
            pixels = pixels.astype(about.dtype)
        if about.layout == "NCHW":
            pixels = np.moveaxis(pixels, -1, 1)
        return np.ascontiguousarray(pixels)

    def _labels(self, answer: np.ndarray, images: int) -> np.ndarray:
        """A label map (n, h, w) from what the network gave for so many images."""
        about = self.about
        classes = 1 if about.kind == "label_map" else len(about.class_names)
        shape = answer.shape
        if answer.ndim == len(about.output_layout) == 4 and about.output_layout == "NHWC":
            answer = np.moveaxis(answer, -1, 1)
        elif answer.ndim == len(about.output_layout) == 3:
            answer = answer[:, None]
        if answer.ndim != 4 or answer.shape[:2] != (images, classes):
            raise SegmenterError(
                f"{self._spec} gave an output of shape {shape} for {images} images; "
                f"about.json says {about.kind} in {about.output_layout}, {classes} a pixel"
            )
        if about.kind == "label_map":
            if not np.issubdtype(answer.dtype, np.integer):
                raise SegmenterError(
                    f"{self._spec} gave an output of {answer.dtype}; about.json says label_map, "
                    "which is integers: say logits, or export the argmax"
                )
            labels = answer[:, 0]  # onnxruntime's long long is no int64 to NumPy
            return labels.astype(np.int64) if labels.dtype.itemsize == 8 else labels
        if answer.dtype.kind not in "fiu":
            raise SegmenterError(
                f"{self._spec} gave an output of {answer.dtype}; logits are floats"
            )
        import torch

        from unseen.segmenters.label_maps import interpolated_argmax

        logits = torch.from_numpy(np.ascontiguousarray(answer, dtype=np.float32))
        return interpolated_argmax(logits, (about.height, about.width), self._spec).numpy()


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
        raise MissingExtraError("onnx: needs onnxruntime; pip install 'unseen[onnx]'") from error
    return onnxruntime


def _entry(path: Path, value: Any, key: str) -> Any:
    if not isinstance(value, dict) or key not in value:
        raise SegmenterError(f"{path} has no {key!r}; see docs/segmenters.md for its layout")
    if key in ("input", "output") and not isinstance(value[key], dict):
        raise SegmenterError(f"{path}: {key} is {value[key]!r:.60}; needed is an object")
    return value[key]


def _one_of(
    path: Path, settings: dict[str, Any], name: str, default: str | None, *known: str
) -> Any:
    value = settings.get(name.rpartition(".")[2], default)
    if value not in known:
        raise SegmenterError(f"{path}: {name} is {value!r}; known: {', '.join(known)}")
    return value


def _whole(path: Path, settings: dict[str, Any], name: str) -> int:
    value = settings.get(name.rpartition(".")[2])
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _LARGEST:
        raise SegmenterError(
            f"{path}: {name} is {value!r:.60}; needed is a whole number from 1 to {_LARGEST}"
        )
    return value


def _numbers(
    path: Path, settings: dict[str, Any], name: str, count: int
) -> tuple[float, ...] | None:
    value = settings.get(name.rpartition(".")[2])
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != count or not all(map(_is_number, value)):
        raise SegmenterError(f"{path}: {name} is {value!r:.60}; needed are {count} numbers")
    if name.endswith("std") and 0 in value:
        raise SegmenterError(f"{path}: {name} is {value!r}; no number may be 0")
    return tuple(float(number) for number in value)


def _is_number(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and abs(value) < 1e30 and math.isfinite(value)
