"""`open:KIND:FOLDER?classes=…`: any class that words name, in masks that may overlap.

The words are embedded once a run, the images once a batch; `open_networks` has the networks,
`open_classes` the classes.
"""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float32, Integer, UInt8, UInt32

from unseen.core.errors import SegmenterError, SpecError
from unseen.core.registry import Spec, takes
from unseen.segmenters import open_networks
from unseen.segmenters.open_classes import OpenClass, read_classes, score_threshold
from unseen.segmenters.protocol import Precision
from unseen.segmenters.transformers_folder import model_folder, quiet_and_offline, reading

_BATCH = 4  # images in the network at a time: bounds its memory
_KINDS = {
    "clipseg": open_networks.ClipSeg,
    "sam3": open_networks.Sam3,
    "sam3-lite-text": open_networks.Sam3LiteText,
    "owlv2": open_networks.Owlv2,
    "grounding-dino": open_networks.GroundingDino,
}
_DETECTORS = [kind for kind in _KINDS if issubclass(_KINDS[kind], open_networks.Detector)]
_LOWEST = 0.01  # a score below calls nothing, whatever the threshold


class OpenVocabularySegmenter:
    """Masks of the classes that were asked for. One channel, "object".

    Attributes:
        classes: those that were asked for, each with its threshold.
        network: one of `open_networks`.
    """

    def __init__(
        self,
        network: Any,
        classes: Sequence[OpenClass],
        *,
        spec: str,
        family: str,
        precision: Precision = "fp32",
    ) -> None:
        self.network, self.classes = network, tuple(classes)
        self._half = precision == "bf16"
        self.resolution: int = network.inputs.side
        self.channels = {"object": tuple(found.name for found in classes)}
        self.provenance = {
            "spec": spec,
            "family": f"open/{family}",
            "weights": network.files,
            "classes": [dataclasses.asdict(found) for found in classes],
            "precision": precision,
        }

    def label_maps(
        self, images: UInt8[np.ndarray, "n 3 h w"], channel: str = "object"
    ) -> Integer[np.ndarray, "n h w"]:
        """Refused: a pixel may be of several classes here (SegmenterError)."""
        raise SegmenterError(
            f"{self.provenance['spec']} has classes that overlap in channel {channel!r}; ask for "
            f"the masks of these {len(images)} images"
        )

    def masks(self, images: UInt8[np.ndarray, "n 3 h w"]) -> Bool[np.ndarray, "n k h2 w2"]:
        """Where every class is, at the network's own resolution."""
        return self.masks_and_instances(images)[0]

    def masks_and_instances(
        self, images: UInt8[np.ndarray, "n 3 h w"]
    ) -> tuple[Bool[np.ndarray, "n k h2 w2"], UInt32[np.ndarray, "n k"] | None]:
        """The same masks; and how many regions each class has, of networks that find regions."""
        masks, counts = [], []
        thresholds = [float(found.threshold or 0) for found in self.classes]
        for seen in self._seen(images):
            if isinstance(self.network, open_networks.ClipSeg):
                scores = self.network.pixel_scores(seen)
                limits = torch.tensor(thresholds, device=scores.device)[:, None, None]
                masks.append((scores >= limits).cpu().numpy())
                continue
            for of_image in self.network.regions(seen, thresholds):
                masks.append(_union(of_image).cpu().numpy()[None])
                counts.append([len(regions.scores) for regions in of_image])
        return np.concatenate(masks), np.array(counts, np.uint32) if counts else None

    def call_scores(
        self, images: UInt8[np.ndarray, "n 3 h w"], presence_threshold: float
    ) -> Float32[np.ndarray, "n k"]:
        """The largest threshold with which each class still covers enough of each image.

        Args:
            images: 8-bit RGB.
            presence_threshold: share of the image from which on a class counts as present.

        Returns:
            Scores from 0 to 1; 0 where only a threshold below 0.01 would do.
        """
        rows: list[np.ndarray] = []
        for seen in self._seen(images):
            if isinstance(self.network, open_networks.ClipSeg):
                scores = self.network.pixel_scores(seen).flatten(2)  # (n, k, pixels)
                enough = max(1, math.ceil(presence_threshold * scores.shape[-1] - 1e-9))
                rows += [*scores.topk(enough, dim=-1).values[..., -1].cpu().numpy()]
                continue
            lowest = [_LOWEST] * len(self.classes)
            for of_image in self.network.regions(seen, lowest):
                rows.append(np.array([_called(found, presence_threshold) for found in of_image]))
        return np.stack(rows).astype(np.float32)

    def _seen(self, images: UInt8[np.ndarray, "n 3 h w"]) -> Any:
        """What the image encoder makes of each few images, in its precision."""
        device = self.network.device
        for start in range(0, len(images), _BATCH):
            batch = torch.from_numpy(np.ascontiguousarray(images[start : start + _BATCH]))
            half = torch.autocast(device.type, torch.bfloat16, enabled=self._half)
            with torch.inference_mode(), half:
                yield self.network.see(batch.to(device))


def _union(of_image: Sequence[open_networks.Regions]) -> torch.Tensor:
    """Where any region of each class is (k, h, w)."""
    return torch.stack([regions.masks.any(0) for regions in of_image])


def _called(regions: open_networks.Regions, presence_threshold: float) -> float:
    """The score with which the best regions together cover enough."""
    if not len(regions.scores):
        return 0.0
    together = regions.masks.flatten(1).cummax(0).values.float().mean(1)
    enough = (together >= presence_threshold).nonzero()
    return float(regions.scores[enough[0, 0]]) if len(enough) else 0.0


@takes("classes", "threshold", "masks", "revision")
def load_open(spec: Spec, *, device: str, precision: Precision) -> OpenVocabularySegmenter:
    """The plug-in's factory.

    Options: `classes`, a comma list or a file; `threshold` of scores where the file says none;
    `masks`, a folder of SAM 2 that makes masks of a detector's boxes.

    Raises:
        SpecError: an unknown kind or option, or no classes.
        MissingExtraError: transformers is not installed.
        DownloadError, CheckpointError: the folder holds no such model.
        SegmenterError: a prompt that is too long.
    """
    kind, _, place = spec.require_argument("kind:folder").partition(":")
    if kind not in _KINDS or not place:
        raise SpecError(
            f"{spec.text!r} names no network; write open:KIND:FOLDER?classes=person,car, where "
            f"KIND is one of {', '.join(_KINDS)}"
        )
    if "classes" not in spec.options:
        raise SpecError(
            f"{spec.text!r} names no classes; add ?classes=person,car, or a file, or use --classes"
        )
    if "masks" in spec.options and kind not in _DETECTORS:
        raise SpecError(f"{spec.text!r}: {kind} makes its own masks; leave out masks=")
    classes = read_classes(spec.options["classes"])
    folder, chosen = model_folder(spec, place), torch.device(device)
    with reading(folder), quiet_and_offline(), torch.inference_mode():
        network = _KINDS[kind](folder, [found.prompt for found in classes], chosen)
        if isinstance(network, open_networks.Detector):
            network.fill = open_networks.fill_boxes
            if "masks" in spec.options:
                network.fill = open_networks.Sam2Fill(Path(spec.options["masks"]), chosen)
                own = network.fill.files.items()
                network.files |= {f"masks/{name}": digest for name, digest in own}
    usual = network.threshold
    if "threshold" in spec.options:
        usual = score_threshold(spec.options["threshold"], spec.text)
    classes = tuple(
        dataclasses.replace(found, threshold=usual if found.threshold is None else found.threshold)
        for found in classes
    )
    filled = "+sam2" if "masks" in spec.options else "+boxes" if kind in _DETECTORS else ""
    return OpenVocabularySegmenter(
        network, classes, spec=spec.place, family=kind + filled, precision=precision
    )
