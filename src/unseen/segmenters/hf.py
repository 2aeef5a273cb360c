"""`hf:MODEL_OR_FOLDER`: semantic and universal segmentation models of transformers.

Images are prepared by the model's own processor with its Pillow backend, on every machine, so that
torchvision is not needed and changes nothing. Semantic models (SegFormer, UperNet, BEiT, DPT, …)
give scores, which are interpolated to the image's size; universal ones (Mask2Former, OneFormer,
EoMT, …) give masks, which the processor turns into a semantic map.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Integer, UInt8

from unseen.core.errors import (
    CheckpointError,
    DownloadError,
    MissingExtraError,
    SegmenterError,
    UnseenError,
)
from unseen.core.files import sha256_of_file
from unseen.core.registry import Spec, takes
from unseen.segmenters.label_maps import interpolated_argmax
from unseen.segmenters.naming import distinct_names
from unseen.segmenters.protocol import Precision

_BATCH = 4  # images in the model at a time: bounds its memory
_TEXTS = ["*.json", "*.txt"]  # what a model needs besides its weights: settings, vocabularies
_WEIGHTS = ("model*.safetensors", "pytorch_model*.bin")  # the first kind that there is
_RESOLUTION = 512  # where the processor does not resize


class TransformersSegmenter:
    """Labels by a transformers model, at the images' own size. One channel, "object"."""

    def __init__(
        self, folder: Path, spec: str, *, device: str = "cpu", precision: Precision = "fp32"
    ) -> None:
        """Load the model, its processor and, where the model reads a task, its tokenizer."""
        with _reading(folder), _without_progress_bars():
            config, self._model, self._universal = _load_model(folder, spec)
            self._processor = _load_processor(folder)
            self._task = _task_tokens(folder, config)
        names = {int(label): name for label, name in config.id2label.items()}
        if sorted(names) != list(range(len(names))):
            raise SegmenterError(
                f"{spec}: id2label in config.json has the labels {sorted(names)}; needed are 0, "
                f"1, … {len(names) - 1}"
            )
        classes = distinct_names(str(names[label]) for label in range(len(names)))
        self.channels: Mapping[str, tuple[str, ...]] = {"object": classes}
        self.resolution = _side(self._processor)
        self._device, self._precision = torch.device(device), precision
        self._model = self._model.to(self._device).eval().requires_grad_(False)
        self.provenance: Mapping[str, Any] = {
            "spec": spec,
            "family": f"hf/{config.model_type}",
            "weights": {file.name: sha256_of_file(file) for file in _deciding_files(folder)},
            "precision": precision,
        }

    def label_maps(
        self, images: UInt8[np.ndarray, "n 3 h w"], channel: str = "object"
    ) -> Integer[np.ndarray, "n h w"]:
        """Labels of every pixel, in the order of the model's id2label."""
        if channel not in self.channels:
            raise SegmenterError(
                f"{self.provenance['spec']} has no channel {channel!r}; it has: object"
            )
        answers = [
            self._labels(images[start : start + _BATCH]) for start in range(0, len(images), _BATCH)
        ]
        return np.concatenate(answers)

    @torch.inference_mode()
    def _labels(self, images: np.ndarray) -> np.ndarray:
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
        if not self._universal:
            labels = interpolated_argmax(outputs.logits, size)
        else:
            for name in ("class_queries_logits", "masks_queries_logits", "logits", "pred_masks"):
                if torch.is_tensor(outputs.get(name)):
                    outputs[name] = outputs[name].float()
                    if not bool(torch.isfinite(outputs[name].sum())):
                        raise SegmenterError(
                            f"{self.provenance['spec']} gave scores that are NaN or infinite; "
                            "check its weights, and try fp32"
                        )
            maps = self._processor.post_process_semantic_segmentation(
                outputs, target_sizes=[size] * len(images)
            )
            labels = torch.stack(list(maps))
        return np.asarray(labels.to(torch.int32).cpu().numpy())


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
    name = spec.require_argument("model_or_folder")
    try:
        import transformers
    except ImportError as error:
        raise MissingExtraError("hf: needs transformers; pip install 'unseen[hf]'") from error
    if not hasattr(transformers, "SegformerImageProcessorPil"):  # early releases of version 5
        raise MissingExtraError(
            f"hf: needs a transformers whose processors run on Pillow; {transformers.__version__} "
            "has none: pip install --upgrade transformers"
        )
    folder = Path(name)
    if not folder.is_dir():
        folder = _from_hub(spec, name)
    elif not (folder / "config.json").is_file():
        raise CheckpointError(
            f"{folder / 'config.json'} is missing; hf:FOLDER needs a model as save_pretrained "
            "writes it"
        )
    return TransformersSegmenter(folder, spec.text, device=device, precision=precision)


def _from_hub(spec: Spec, name: str) -> Path:
    """The model's files in the hub's own cache, downloaded if they are not there."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    offline = os.environ.get("UNSEEN_OFFLINE", "0") not in ("", "0")
    if name.count("/") > 1 or name.startswith((".", "/", "~")):
        raise CheckpointError(f"{name} is no folder; hf: takes a folder or a hub name, OWNER/MODEL")
    revision = spec.options.get("revision")
    try:
        for weights in _WEIGHTS:
            folder = Path(
                snapshot_download(
                    name,
                    revision=revision,
                    allow_patterns=[*_TEXTS, weights],
                    local_files_only=offline,
                )
            )
            if any(folder.glob(weights)):
                break
    except HFValidationError as error:
        raise CheckpointError(
            f"{name!r} is no folder and no hub name; hf: takes a folder or OWNER/MODEL"
        ) from error
    except Exception as error:  # the hub's errors share no base class
        if offline:
            raise DownloadError(
                f"{name} is not in the hub's cache and downloads are switched off; give its "
                "folder, or unset UNSEEN_OFFLINE"
            ) from error
        raise DownloadError(
            f"{name} cannot be fetched from the hub ({type(error).__name__}: "
            f"{_first_line(error)}); check the name and the connection, or give a folder"
        ) from error
    return folder


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

    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    universal = config.model_type in UNIVERSAL
    if not universal and config.model_type not in SEMANTIC:
        raise SegmenterError(
            f"{spec} is a {config.model_type}, which transformers does not segment with; known: "
            f"{', '.join(sorted({*SEMANTIC, *UNIVERSAL}))}"
        )
    family = AutoModelForUniversalSegmentation if universal else AutoModelForSemanticSegmentation
    model, report = family.from_pretrained(
        folder, local_files_only=True, dtype=torch.float32, output_loading_info=True
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
        folder, backend="pil", local_files_only=True, class_info_file=None
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

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
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


def _deciding_files(folder: Path) -> Iterator[Path]:
    """The files that decide the labels: settings and weights."""
    weights: list[Path] = []
    for pattern in _WEIGHTS:
        weights = weights or sorted(folder.glob(pattern))
    settings = [folder / name for name in ("config.json", "preprocessor_config.json")]
    yield from (file for file in (*settings, *weights) if file.is_file())


@contextmanager
def _reading(folder: Path) -> Iterator[None]:
    """The many errors of transformers about a folder's files, as one of ours."""
    try:
        yield
    except (UnseenError, KeyboardInterrupt):
        raise
    except Exception as error:
        raise CheckpointError(
            f"{folder} cannot be read as a transformers model ({type(error).__name__}: "
            f"{_first_line(error)}); it needs config.json, preprocessor_config.json and weights"
        ) from error


@contextmanager
def _without_progress_bars() -> Iterator[None]:
    """Loading from a disk takes no bar; the setting is put back."""
    from transformers.utils import logging

    enabled = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if enabled:
            logging.enable_progress_bar()


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else "no reason given"
