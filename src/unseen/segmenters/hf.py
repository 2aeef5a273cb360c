"""`hf:MODEL_OR_FOLDER`: semantic and universal segmentation models of transformers.

Images are prepared by the model's own processor with its Pillow backend, on every machine, so that
torchvision is not needed and changes nothing. Semantic models (SegFormer, UperNet, BEiT, DPT, …)
give scores, which are interpolated to the image's size; universal ones (Mask2Former, OneFormer,
EoMT, …) give masks, which the processor turns into a semantic map.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from jaxtyping import Integer, UInt8

from unseen.core.errors import (
    CheckpointError,
    DownloadError,
    OutOfMemoryError,
    SegmenterError,
    UnseenError,
    first_line,
    is_out_of_memory,
    missing_package,
)
from unseen.core.files import sha256_of_file
from unseen.core.registry import Spec, takes
from unseen.segmenters.checks import class_names, distinct_names
from unseen.segmenters.label_maps import interpolated_argmax, mean_confidence, refuse_infinite
from unseen.segmenters.protocol import LabelsAndConfidence, Precision

_BATCH = 4  # images in the model at a time: bounds its memory
_RESOLUTION = 512  # where the processor does not resize

_SETTINGS = ("config.json", "preprocessor_config.json", "processor_config.json")
_TOKENIZER = (
    "tokenizer_config.json",
    "tokenizer.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "spiece.model",
    "tokenizer.model",
)
# The first that is there is read, as transformers does; an index names the files of the weights.
_WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
_FROM_HUB = (["*.json", "*.txt", "model*.safetensors"], ["*.json", "*.txt", "pytorch_model*.bin"])
_LOCAL = {"local_files_only": True, "trust_remote_code": False}
_OFFLINE = ("UNSEEN_OFFLINE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")


class TransformersSegmenter:
    """Labels by a transformers model, at the images' own size. One channel, "object"."""

    def __init__(
        self, folder: Path, spec: str, *, device: str = "cpu", precision: Precision = "fp32"
    ) -> None:
        """Load the model, its processor and, where the model reads a task, its tokenizer."""
        self._spec, self._device, self._precision = spec, torch.device(device), precision
        with reading(folder), quiet_and_offline():
            files = model_files(folder)
            config, self._model, self._universal = _load_model(folder, spec)
            self._model = self._model.to(self._device).eval().requires_grad_(False)
            self._processor = _load_processor(folder)
            self._task = _task_tokens(folder, config)
            if self._task is not None:
                files |= _hashes(folder, _TOKENIZER)
            names = {int(label): str(name) for label, name in config.id2label.items()}
            self.resolution = _side(self._processor)
        if sorted(names) != list(range(len(names))):
            raise SegmenterError(
                f"{spec}: id2label in config.json has the labels {sorted(names)}; needed are 0, "
                f"1, … {len(names) - 1}"
            )
        classes = distinct_names(names[label] for label in range(len(names)))
        self.channels: Mapping[str, tuple[str, ...]] = {"object": classes}
        self.provenance: Mapping[str, Any] = {
            "spec": spec,
            "family": f"hf/{config.model_type}",
            "weights": files,
            "precision": precision,
        }

    def label_maps(
        self, images: UInt8[np.ndarray, "n 3 h w"], channel: str = "object"
    ) -> Integer[np.ndarray, "n h w"]:
        """Labels of every pixel, in the order of the model's id2label."""
        return self.labels_and_confidence(images, channel)[0]

    def labels_and_confidence(
        self, images: UInt8[np.ndarray, "n 3 h w"], channel: str = "object"
    ) -> LabelsAndConfidence:
        """The same label maps, and the confidence of semantic models."""
        class_names(self, channel)
        parts = [images[start : start + _BATCH] for start in range(0, len(images), _BATCH)]
        answers = [self._labels(part) for part in parts]
        confidence = [sure for _, sure in answers if sure is not None]
        return (
            np.concatenate([labels for labels, _ in answers]),
            np.concatenate(confidence) if confidence else None,
        )

    @torch.inference_mode()
    def _labels(self, images: np.ndarray) -> LabelsAndConfidence:
        size = (images.shape[2], images.shape[3])
        inputs = self._processor(
            images=list(np.moveaxis(images, 1, -1)),
            input_data_format="channels_last",
            return_tensors="pt",
        )
        given = {"pixel_values": inputs["pixel_values"].to(self._device)}
        if "pixel_mask" in inputs:
            given["pixel_mask"] = inputs["pixel_mask"].to(self._device)
        if "patch_offsets" in inputs:
            given["patch_offsets"] = [offset.to(self._device) for offset in inputs["patch_offsets"]]
        if self._task is not None:
            given["task_inputs"] = self._task.repeat(len(images), 1).to(self._device)
        half = self._precision == "bf16"
        with torch.autocast(self._device.type, torch.bfloat16, enabled=half):
            outputs = self._model(**given)
        confidence = None  # masks are weighed by their classes: no probability of a pixel's class
        if self._universal:
            labels = self._from_masks(outputs, [size] * len(images))
        else:
            scores = getattr(outputs, "logits", None)
            wanted = (len(images), len(self.channels["object"]))
            if not torch.is_tensor(scores) or scores.ndim != 4 or scores.shape[:2] != wanted:
                shape = tuple(scores.shape) if torch.is_tensor(scores) else type(scores).__name__
                raise SegmenterError(
                    f"{self._spec} gave scores of shape {shape} for {wanted[0]} images; needed is "
                    f"({wanted[0]}, {wanted[1]}, height, width)"
                )
            labels = interpolated_argmax(scores, size, self._spec)
            confidence = mean_confidence(scores).cpu().numpy()
        return labels.to(torch.int32).cpu().numpy(), confidence

    def _from_masks(self, outputs: Any, sizes: list[tuple[int, int]]) -> torch.Tensor:
        """Labels by the processor, from the masks of a universal model."""
        for name in ("class_queries_logits", "masks_queries_logits", "logits", "pred_masks"):
            if torch.is_tensor(outputs.get(name)):
                outputs[name] = outputs[name].float()
                refuse_infinite(outputs[name], self._spec)
        maps = self._processor.post_process_semantic_segmentation(outputs, target_sizes=sizes)
        return torch.stack(list(maps))


@takes("revision")
def load_hf(spec: Spec, *, device: str, precision: Precision) -> TransformersSegmenter:
    """The plug-in's factory. Option `revision`: a branch, tag or commit on the hub.

    Raises:
        SpecError: no model named, or an unknown option.
        MissingExtraError: transformers is not installed.
        DownloadError: the model is not here, and the hub does not give it.
        CheckpointError: its files are unreadable.
        SegmenterError: it is no segmentation model.
    """
    return TransformersSegmenter(local_model(spec), spec.place, device=device, precision=precision)


def local_model(spec: Spec) -> Path:
    """The folder of the model that `hf:` names, fetched from the hub where it is not here.

    Raises:
        SpecError, MissingExtraError, DownloadError, CheckpointError: as `load_hf`.
    """
    name = spec.require_argument("model_or_folder")
    try:
        import transformers  # noqa: F401 - to say early that it is missing
    except ImportError as error:
        raise missing_package("hf:", "transformers") from error
    folder = Path(name)
    if not folder.is_dir():
        folder = _from_hub(spec, name)
    elif not (folder / "config.json").is_file():
        raise CheckpointError(
            f"{folder / 'config.json'} is missing; hf:FOLDER needs a model as save_pretrained "
            "writes it"
        )
    return folder


def _from_hub(spec: Spec, name: str) -> Path:
    """The model's files in the hub's own cache, downloaded if they are not there."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    asked = [name for name in _OFFLINE if os.environ.get(name, "0") not in ("", "0")]
    if name.count("/") > 1 or name.startswith((".", "/", "~")):
        raise CheckpointError(f"{name} is no folder; hf: takes a folder or a hub name, OWNER/MODEL")
    revision = spec.options.get("revision")
    try:
        for patterns in _FROM_HUB:
            folder = Path(
                snapshot_download(
                    name,
                    revision=revision,
                    allow_patterns=patterns,
                    local_files_only=bool(asked),
                )
            )
            if any(folder.glob(patterns[-1])):
                break
    except HFValidationError as error:
        raise CheckpointError(
            f"{name!r} is no folder and no hub name; hf: takes a folder or OWNER/MODEL"
        ) from error
    except Exception as error:  # the hub's errors share no base class
        if asked:
            raise DownloadError(
                f"{name} is not in the hub's cache and downloads are switched off; give its "
                f"folder, or unset {asked[0]}"
            ) from error
        raise DownloadError(
            f"{name} cannot be fetched from the hub ({first_line(error)}); check the name and the "
            "connection, or give a folder"
        ) from error
    return folder


def model_files(folder: Path) -> dict[str, str]:
    """The SHA-256 of the settings and weights that transformers reads in a model's folder.

    Raises:
        CheckpointError: a file is missing or unreadable, asks to run code, or is only an adapter.
    """
    if (folder / "adapter_config.json").is_file():
        raise CheckpointError(f"{folder} holds an adapter of another model; merge them and save it")
    for name in (*_SETTINGS, "tokenizer_config.json"):
        _refuse_code(folder / name)
    explicit = json.loads((folder / "config.json").read_bytes()).get("transformers_weights")
    candidates = _WEIGHTS if explicit is None else (str(explicit),)
    weights = next((name for name in candidates if (folder / name).is_file()), None)
    if weights is None:
        raise CheckpointError(f"{folder} holds no weights; needed is one of {', '.join(_WEIGHTS)}")
    names = {weights}
    if weights.endswith(".index.json"):
        names |= {*json.loads((folder / weights).read_bytes())["weight_map"].values()}
    for name in sorted(names):
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts:
            raise CheckpointError(f"{folder / weights} names {name!r}; weights lie in its folder")
        if not (folder / name).is_file():
            raise CheckpointError(f"{folder / name} is missing; {weights} names it: copy it there")
    return _hashes(folder, (*_SETTINGS, *sorted(names)))


def _hashes(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """The SHA-256 of those files that are there."""
    return {name: sha256_of_file(folder / name) for name in names if (folder / name).is_file()}


def _refuse_code(path: Path) -> None:
    """Refuse settings that name Python code of the model, or kernels that the hub would send."""
    waiting = [json.loads(path.read_bytes())] if path.is_file() else []
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            kernel = value.get("_attn_implementation", value.get("attn_implementation"))
            key = "auto_map" if value.get("auto_map") else "attn_implementation"
            if value.get("auto_map") or "/" in str(kernel):
                raise CheckpointError(
                    f"{path} asks to run code that comes with the model ({key}); only models of "
                    "transformers itself are loaded: convert it to one, or remove the entry"
                )
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value


def _load_model(folder: Path, spec: str) -> tuple[Any, Any, bool]:
    """The configuration, the model, and whether it is universal."""
    from transformers import (
        AutoConfig,
        AutoModelForSemanticSegmentation,
        AutoModelForUniversalSegmentation,
    )
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES as SEMANTIC,
    )
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_UNIVERSAL_SEGMENTATION_MAPPING_NAMES as UNIVERSAL,
    )

    config = AutoConfig.from_pretrained(folder, **_LOCAL)
    universal = config.model_type in UNIVERSAL
    if not universal and config.model_type not in SEMANTIC:
        raise SegmenterError(
            f"{spec} is a {config.model_type}, which transformers does not segment with; known: "
            f"{', '.join(sorted({*SEMANTIC, *UNIVERSAL}))}"
        )
    family = AutoModelForUniversalSegmentation if universal else AutoModelForSemanticSegmentation
    model, report = family.from_pretrained(
        folder, config=config, dtype=torch.float32, output_loading_info=True, **_LOCAL
    )
    missing = sorted(report["missing_keys"])
    if missing:
        raise CheckpointError(
            f"{folder} lacks {len(missing)} weights of a {config.model_type} for segmentation "
            f"(first: {missing[0]}); give a model that was trained to segment"
        )
    return config, model, universal


def _load_processor(folder: Path) -> Any:
    """The model's own image processor, with Pillow and without cropping."""
    from transformers import AutoImageProcessor

    # class_info_file would fetch class names, which the model has, from the hub (OneFormer)
    processor = AutoImageProcessor.from_pretrained(
        folder, backend="pil", class_info_file=None, **_LOCAL
    )
    if getattr(processor, "do_center_crop", False):
        processor.do_center_crop = False  # every pixel of the picture gets a label
    return processor


def _task_tokens(folder: Path, config: Any) -> torch.Tensor | None:
    """Tokens of "the task is semantic" for models that are told their task (OneFormer)."""
    length = getattr(config, "task_seq_len", None)
    if length is None:
        return None
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, **_LOCAL)
    tokens = tokenizer(
        ["the task is semantic"],
        padding="max_length",
        max_length=length,
        truncation=True,
        return_tensors="pt",
    )
    task: torch.Tensor = tokens["attention_mask"] * tokens["input_ids"]
    return task


def _side(processor: Any) -> int:
    """The side of the square images that the processor makes."""
    size = getattr(processor, "size", None) if getattr(processor, "do_resize", False) else None
    if not size:
        return _RESOLUTION
    size = dict(size)
    sides = [size.get(key) for key in ("height", "width", "shortest_edge")]
    return min([int(side) for side in sides if side], default=_RESOLUTION)


@contextmanager
def reading(folder: Path) -> Iterator[None]:
    """The many errors of transformers about a folder's files, as one of ours."""
    try:
        yield
    except UnseenError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise OutOfMemoryError(
                f"{folder} does not fit into memory; use a smaller model ({first_line(error)})"
            ) from error
        raise CheckpointError(
            f"{folder} cannot be read as a transformers model ({first_line(error)}); it needs "
            "config.json, preprocessor_config.json and weights"
        ) from error


@contextmanager
def quiet_and_offline() -> Iterator[None]:
    """While a folder is read: no progress bar, and no request to the hub for what it lacks."""
    from huggingface_hub import constants
    from transformers.utils import logging

    bars, offline = logging.is_progress_bar_enabled(), constants.HF_HUB_OFFLINE
    logging.disable_progress_bar()
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = offline
        if bars:
            logging.enable_progress_bar()
