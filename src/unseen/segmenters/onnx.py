"""`onnx:FOLDER`: a network in ONNX, described by an `about.json` beside it.

The layout of `about.json` is documented in docs/segmenters.md. Label maps come out as the network
makes them; logits are interpolated to the input's size, and the largest wins.
"""

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from jaxtyping import Integer, UInt8
from PIL import Image

from unseen.core.errors import CheckpointError, MissingExtraError, SegmenterError
from unseen.core.files import sha256_of_file
from unseen.core.registry import Spec, takes
from unseen.segmenters.protocol import Precision

_RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}


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
    except (OSError, ValueError) as error:
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
        runtime = _onnxruntime()
        self.about = read_about(folder / "about.json")
        model = folder / "model.onnx"
        if not model.is_file():
            raise CheckpointError(f"{model} is missing; the folder holds model.onnx and about.json")
        provider = "CUDAExecutionProvider" if device.startswith("cuda") else "CPUExecutionProvider"
        if provider not in runtime.get_available_providers():
            raise SegmenterError(
                f"{spec}: this onnxruntime cannot use {device}; install onnxruntime-gpu or use cpu"
            )
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors only: warnings are about the file's history
        try:
            self._session = runtime.InferenceSession(model, options, providers=[provider])
        except Exception as error:
            reason = str(error).splitlines()[0]
            raise CheckpointError(
                f"{model} is no network that onnxruntime reads ({reason})"
            ) from error
        self._input = self._session.get_inputs()[0].name
        self._output = self._pick_output(spec)
        self.channels: Mapping[str, tuple[str, ...]] = {"object": self.about.class_names}
        self.resolution = min(self.about.height, self.about.width)
        self.provenance: Mapping[str, Any] = {
            "spec": spec,
            "family": "onnx",
            "weights": {
                "model.onnx": sha256_of_file(model),
                "about.json": sha256_of_file(folder / "about.json"),
            },
            "precision": "fp32",
        }

    def label_maps(
        self, images: UInt8[np.ndarray, "n 3 h w"], channel: str = "object"
    ) -> Integer[np.ndarray, "n h2 w2"]:
        """Labels at the resolution of the network's output (logits: of its input)."""
        if channel not in self.channels:
            raise SegmenterError(
                f"{self.provenance['spec']} has no channel {channel!r}; it has: object"
            )
        inputs = self._inputs(images)
        step = self.about.batch or max(1, len(inputs))
        answers = []
        for start in range(0, len(inputs), step):
            part = inputs[start : start + step]
            short = step - len(part)  # the last of a fixed batch is filled with its last image
            filled = np.concatenate([part, *[part[-1:]] * short]) if short else part
            answer = self._session.run([self._output], {self._input: filled})[0]
            answers.append(self._labels(np.asarray(answer))[: len(part)])
        return np.concatenate(answers)

    def _pick_output(self, spec: str) -> str:
        names = [output.name for output in self._session.get_outputs()]
        wanted = self.about.output or names[0]
        if wanted not in names:
            raise SegmenterError(
                f"{spec}: the network has no output {wanted!r}; it has: {', '.join(names)}"
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

    def _labels(self, answer: np.ndarray) -> np.ndarray:
        """A label map (n, h, w) from what the network gave."""
        about = self.about
        wanted = len(about.output_layout)
        if answer.ndim != wanted:
            raise SegmenterError(
                f"{self.provenance['spec']} gave an output of shape {answer.shape}; "
                f"about.json says {about.output_layout}"
            )
        if about.output_layout == "NHWC":
            answer = np.moveaxis(answer, -1, 1)
        if about.kind == "label_map":
            if not np.issubdtype(answer.dtype, np.integer):
                raise SegmenterError(
                    f"{self.provenance['spec']} gave an output of {answer.dtype}; about.json says "
                    "label_map, which is integers: say logits, or export the argmax"
                )
            answer = answer.astype(np.int32)  # onnxruntime's long long is no int64 to NumPy
            return answer if answer.ndim == 3 else answer[:, 0]
        if answer.shape[1] != len(about.class_names):
            raise SegmenterError(
                f"{self.provenance['spec']} gave {answer.shape[1]} classes; about.json names "
                f"{len(about.class_names)}"
            )
        import torch

        from unseen.segmenters.label_maps import interpolated_argmax

        logits = torch.from_numpy(np.ascontiguousarray(answer, dtype=np.float32))
        return interpolated_argmax(logits, (about.height, about.width)).numpy()


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
    threads = spec.integer(
        "threads", len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    )
    return OnnxSegmenter(folder, spec.text, device=device, threads=threads)


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


def _one_of(path: Path, value: dict[str, Any], name: str, default: str | None, *known: str) -> Any:
    found = value.get(name.rpartition(".")[2], default)
    if found not in known:
        raise SegmenterError(f"{path}: {name} is {found!r}; known: {', '.join(known)}")
    return found


def _whole(path: Path, value: dict[str, Any], name: str) -> int:
    found = value.get(name.rpartition(".")[2])
    if not isinstance(found, int) or isinstance(found, bool) or found < 1:
        raise SegmenterError(f"{path}: {name} is {found!r}; needed is a whole number of at least 1")
    return found


def _numbers(path: Path, value: dict[str, Any], name: str, count: int) -> tuple[float, ...] | None:
    found = value.get(name.rpartition(".")[2])
    if found is None:
        return None
    if not isinstance(found, list) or len(found) != count:
        raise SegmenterError(f"{path}: {name} is {found!r}; needed are {count} numbers")
    if not all(isinstance(number, int | float) for number in found):
        raise SegmenterError(f"{path}: {name} is {found!r}; needed are {count} numbers")
    return tuple(float(number) for number in found)
