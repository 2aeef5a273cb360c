"""`hf:MODEL_OR_FOLDER`: semantic and universal segmentation models of transformers.

Images are prepared by the model's own processor with its Pillow backend, on every machine, so that
torchvision is not needed and changes nothing. Semantic models (SegFormer, UperNet, BEiT, DPT, …)
give scores, which are interpolated to the image's size; universal ones (Mask2Former, OneFormer,
EoMT, …) give masks, which the processor turns into a semantic map.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Integer, UInt8

from unseen.core.errors import CheckpointError, SegmenterError
from unseen.core.registry import Spec, takes
from unseen.segmenters.checks import class_names, distinct_names
from unseen.segmenters.label_maps import interpolated_argmax, mean_confidence, refuse_infinite
from unseen.segmenters.protocol import LabelsAndConfidence, Precision
from unseen.segmenters.transformers_folder import (
    LOCAL,
    TOKENIZER,
    hashes,
    model_files,
    model_folder,
    quiet_and_offline,
    reading,
)

_BATCH = 4  # images in the model at a time: bounds its memory
_BY_WORDS = {  # type of model → its kind under open:
    "clipseg": "clipseg",
    "sam3": "sam3",
    "sam3_lite_text": "sam3-lite-text",
    "owlv2": "owlv2",
    "grounding-dino": "grounding-dino",
}
_IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
# What processors do that transformers has for torchvision alone: resize and normalise.
_TORCHVISION_ALONE: Mapping[str, Mapping[str, Any]] = {
    "sapiens2": {"size": {"height": 1024, "width": 768}, **_IMAGENET},
    "tipsv2_dpt": {"size": {"height": 448, "width": 448}, "do_normalize": False},
}
_RESOLUTION = 512  # where the processor does not resize


class TransformersSegmenter:
    """Labels by a transformers model, at the images' own size. One channel, "object"."""

    def __init__(
        self, folder: Path, spec: str, *, device: str = "cpu", precision: Precision = "fp32"
    ) -> None:
        """Load the model, its processor and, where the model reads a task, its tokenizer."""
        self._spec, self._device, self._precision = spec, torch.device(device), precision
        with reading(folder), quiet_and_offline():
            files = model_files(folder)
            config, self.network, self.universal = _load_model(folder, spec)
            self.network = self.network.to(self._device).eval().requires_grad_(False)
            alone = _TORCHVISION_ALONE.get(config.model_type)
            self.processor = (
                _load_processor(folder) if alone is None else _plain_processor(folder, alone)
            )
            self._task = _task_tokens(folder, config)
            if self._task is not None:
                files |= hashes(folder, TOKENIZER)
            names = {int(label): str(name) for label, name in config.id2label.items()}
            self.resolution = _side(self.processor)
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
        inputs = self.processor(
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
            outputs = self.network(**given)
        confidence = None  # masks are weighed by their classes: no probability of a pixel's class
        if self.universal:
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
        maps = self.processor.post_process_semantic_segmentation(outputs, target_sizes=sizes)
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
    folder = model_folder(spec, spec.require_argument("model_or_folder"))
    return TransformersSegmenter(folder, spec.place, device=device, precision=precision)


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

    config = AutoConfig.from_pretrained(folder, **LOCAL)
    universal = config.model_type in UNIVERSAL
    if config.model_type in _BY_WORDS:
        raise SegmenterError(
            f"{spec} is a {config.model_type}, which finds what words name; use "
            f"open:{_BY_WORDS[config.model_type]}:{folder}?classes=person,car"
        )
    if not universal and config.model_type not in SEMANTIC:
        raise SegmenterError(
            f"{spec} is a {config.model_type}, which transformers does not segment with; known: "
            f"{', '.join(sorted({*SEMANTIC, *UNIVERSAL}))}"
        )
    family = AutoModelForUniversalSegmentation if universal else AutoModelForSemanticSegmentation
    model, report = family.from_pretrained(
        folder, config=config, dtype=torch.float32, output_loading_info=True, **LOCAL
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
        folder, backend="pil", class_info_file=None, **LOCAL
    )
    if getattr(processor, "do_center_crop", False):
        processor.do_center_crop = False  # every pixel of the picture gets a label
    return processor


def _plain_processor(folder: Path, usual: Mapping[str, Any]) -> Any:
    """A processor with Pillow that resizes and normalises as the folder says, else as is usual."""
    from transformers import SegformerImageProcessorPil

    known = ("size", "image_mean", "image_std", "do_normalize", "resample", "rescale_factor")
    read = json.loads((folder / "preprocessor_config.json").read_bytes())
    settings = {name: read[name] for name in known if read.get(name) is not None}
    return SegformerImageProcessorPil(**{**usual, **settings})


def _task_tokens(folder: Path, config: Any) -> torch.Tensor | None:
    """Tokens of "the task is semantic" for models that are told their task (OneFormer)."""
    length = getattr(config, "task_seq_len", None)
    if length is None:
        return None
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, **LOCAL)
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
