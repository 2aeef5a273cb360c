"""`upp[:FOLDER]`: Unified Perceptual Parsing with its authors' weights.

Three channels: object (the default), material, part. `encoder_epoch_40.pth`, `decoder_epoch_40.pth`
and `labels.json` are downloaded when no folder is named.
Source: Xiao, Liu, Zhou, Jiang, Sun, ECCV 2018 (arXiv:1807.10221); label rules of Bau et al., 2019.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
import numpy as np
import torch
from jaxtyping import Float, Integer, UInt8
from torch import nn

from unseen.core.errors import CheckpointError, first_line
from unseen.core.files import sha256_of_file
from unseen.core.registry import Spec, takes
from unseen.segmenters.checks import class_names, distinct_names, segmenter_name
from unseen.segmenters.label_maps import interpolated_argmax, mean_confidence
from unseen.segmenters.protocol import LabelsAndConfidence, Precision
from unseen.segmenters.unified_parsing import (
    HEADS,
    Decoder,
    Encoder,
    Sizes,
    UnifiedParsing,
    fast_network,
)
from unseen.weights import build_and_fill, fetch, read_checkpoint

Part = TypeVar("Part", bound=nn.Module)

ENCODER, DECODER, LABELS = "encoder_epoch_40.pth", "decoder_epoch_40.pth", "labels.json"

_MEAN_BGR = (102.9801, 115.9465, 122.7717)  # of ImageNet, as the authors' Caffe ancestors have it
# images in the network at a time: bounds its memory; on a CPU more no longer fit its caches
_BATCH = {"cpu": 4, "cuda": 16}

# In the published files, of no use here: the ImageNet classifier, a texture head of an earlier
# version, and the bookkeeping of (synchronised) batch norm in training.
_UNUSED_PREFIXES = ("fc.", "texture_head.")
_UNUSED_NAMES = ("num_batches_tracked", "_tmp_running_mean", "_tmp_running_var", "_running_iter")


@dataclasses.dataclass(frozen=True)
class OwnedParts:
    """The scores of the part head that describe one object class."""

    owner: int  # object label
    first: int  # first score
    labels: tuple[int, ...]  # score `first + i` → label in the part channel


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """What `labels.json` says: names, and which parts belong to which objects.

    Attributes:
        channels: object, material and part, each beginning with "none" (the published name is
            "-").
    """

    channels: Mapping[str, tuple[str, ...]]
    parts: tuple[OwnedParts, ...]  # in the order of the part head: ascending owner
    scores: Mapping[str, int]  # width of every head


class Labels(msgspec.Struct, frozen=True):
    """The layout of `labels.json`."""

    object: Annotated[list[str], msgspec.Meta(min_length=1)]
    part: list[str]
    material: Annotated[list[str], msgspec.Meta(min_length=1)]
    scene: list[str]
    object_part: dict[str, list[str]]


def read_vocabulary(path: Path) -> Vocabulary:
    """Read a `labels.json` of the authors' layout.

    Raises:
        CheckpointError: unreadable, a list is missing, or a name is not where it should be.
    """
    try:
        labels = msgspec.json.decode(path.read_bytes(), type=Labels)
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{path} is not the authors' labels.json ({first_line(error)}); download it again"
        ) from error
    return vocabulary_of(labels, str(path))


def vocabulary_of(given: Labels, name: str = LABELS) -> Vocabulary:
    """The vocabulary of `labels.json`; `name` is what messages call it."""
    objects, materials = given.object, given.material
    number = {label: index for index, label in enumerate(objects)}
    nothing = objects[0]
    part_names: list[str] = []
    owned: dict[int, Sequence[str]] = {}
    for owner, names in given.object_part.items():  # the file's order numbers the parts
        if owner not in number:
            raise CheckpointError(f"{name}: object_part names {owner!r}, which is no object")
        owned[number[owner]] = names
        part_names += [p for p in names if p != nothing and p not in part_names]
    part_label = {nothing: 0, **{part: 1 + index for index, part in enumerate(part_names)}}
    parts, first = [], 0
    for owner_label in sorted(owned):  # the network's order
        labels = tuple(part_label[part] for part in owned[owner_label])
        parts.append(OwnedParts(owner_label, first, labels))
        first += len(labels)
    return Vocabulary(
        channels={
            "object": ("none", *distinct_names(objects[1:])),
            "material": ("none", *distinct_names(materials[1:])),
            "part": ("none", *part_names),
        },
        parts=tuple(parts),
        scores={
            "object": len(objects),
            "part": first,
            "material": len(materials),
            "scene": len(given.scene),
        },
    )


class UnifiedParsingSegmenter:
    """Labels by Unified Perceptual Parsing at the pictures' own size."""

    resolution = 256

    def __init__(
        self,
        network: UnifiedParsing,
        vocabulary: Vocabulary,
        provenance: Mapping[str, Any],
        *,
        device: str = "cpu",
        precision: Precision = "fp32",
    ) -> None:
        """Take over a plain network in evaluation mode, which is left as it is."""
        self.vocabulary = vocabulary
        self.channels = vocabulary.channels
        self.provenance: Mapping[str, Any] = {**provenance, "precision": precision}
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        heads = [head for head in HEADS if head != "scene"]
        self._network = fast_network(network, heads, dtype).to(device)
        self._device = torch.device(device)

    def label_maps(
        self, images: UInt8[np.ndarray, "n 3 h w"], channel: str = "object"
    ) -> Integer[np.ndarray, "n h w"]:
        """Labels of one channel; part only where the owning object won, "none" elsewhere."""
        return self.labels_and_confidence(images, channel)[0]

    def labels_and_confidence(
        self, images: UInt8[np.ndarray, "n 3 h w"], channel: str = "object"
    ) -> LabelsAndConfidence:
        """The same label maps, and the confidence; of parts, that in their owning objects."""
        class_names(self, channel)
        answers = [
            self._labels(part.to(self._device), channel)
            for part in torch.split(torch.from_numpy(images), _BATCH[self._device.type])
        ]
        labels, confidence = (torch.cat(parts) for parts in zip(*answers, strict=True))
        return labels.to(torch.int32).cpu().numpy(), confidence.cpu().numpy()

    @torch.inference_mode()
    def _labels(self, images: torch.Tensor, channel: str) -> tuple[torch.Tensor, torch.Tensor]:
        size = (images.shape[-2], images.shape[-1])
        heads = {"object": ["object"], "material": ["material"], "part": ["object", "part"]}
        scores = self._network(network_input(images), heads[channel])
        name = segmenter_name(self)
        if channel != "part":
            labels = interpolated_argmax(scores[channel], size, name)
            return labels, mean_confidence(scores[channel])
        objects = interpolated_argmax(scores["object"], size, name)
        labels = torch.zeros_like(objects)
        for parts in self.vocabulary.parts:
            wins = objects == parts.owner
            if wins.any():
                own = scores["part"][:, parts.first : parts.first + len(parts.labels)]
                translate = torch.tensor(parts.labels, device=objects.device)
                labels = torch.where(wins, translate[interpolated_argmax(own, size, name)], labels)
        return labels, mean_confidence(scores["object"])

    def patch_features(
        self, images: UInt8[torch.Tensor, "n 3 h w"]
    ) -> Float[torch.Tensor, "n c h4 w4"]:
        """What the objects are told by: all levels of the pyramid in one map, at stride 4."""
        encoder = self._network.encoder
        levels = encoder(network_input(images).to(encoder.conv1.weight.dtype))
        decoder = self._network.decoder
        top = decoder.pyramid_pooling(levels[-1])
        return decoder.fuse(decoder.feature_pyramid(levels, top))


def network_input(images: torch.Tensor) -> torch.Tensor:
    """8-bit RGB to what the network was trained on: BGR in 0…255 minus the channel means."""
    mean = torch.tensor(_MEAN_BGR, device=images.device)[:, None, None]
    return (images.flip(1).float() - mean).contiguous(memory_format=torch.channels_last)


def load_upp(spec: Spec, *, device: str, precision: Precision) -> UnifiedParsingSegmenter:
    """The plug-in's factory. Without a folder the published files are downloaded.

    Raises:
        SpecError: an unknown option.
        CheckpointError: a file is missing, unreadable or does not fit.
        DownloadError: no folder was named, and the files cannot be fetched.
    """
    network, vocabulary, provenance = published_network(spec)
    return UnifiedParsingSegmenter(
        network, vocabulary, provenance, device=device, precision=precision
    )


@takes()
def published_network(spec: Spec) -> tuple[UnifiedParsing, Vocabulary, dict[str, Any]]:
    """The plain network that a spec names, its vocabulary, and where they come from.

    Raises:
        SpecError, CheckpointError, DownloadError: as `load_upp`.
    """
    files = _files(spec)
    vocabulary = read_vocabulary(files[LABELS])
    network = read_network(files, Sizes(classes=vocabulary.scores))
    provenance = {
        "spec": spec.text,
        "family": "upp",
        "weights": {name: sha256_of_file(path) for name, path in files.items()},
    }
    return network, vocabulary, provenance


def read_network(files: Mapping[str, Path], sizes: Sizes) -> UnifiedParsing:
    """The plain network with the weights of two files, in evaluation mode.

    Raises:
        CheckpointError: a file is unreadable, or a weight is missing, unknown or of another shape.
    """
    with torch.device("meta"):
        network = UnifiedParsing(sizes)
    network.encoder = _filled(lambda: Encoder(sizes), files[ENCODER])
    network.decoder = _filled(lambda: Decoder(sizes), files[DECODER])
    return network.eval()


def _filled(build: Callable[[], Part], path: Path) -> Part:
    """Half of the network, with the weights of a file but for those that are of no use here."""
    used = {
        name: value
        for name, value in read_checkpoint(path).items()
        if not name.startswith(_UNUSED_PREFIXES) and name.rpartition(".")[2] not in _UNUSED_NAMES
    }
    counters = {f"{name.rpartition('.')[0]}.num_batches_tracked" for name in used}
    kind = f"half of upp-resnet50-upernet with the classes of {LABELS}"
    return build_and_fill(build, used, str(path), kind=kind, optional=counters)


def _files(spec: Spec) -> dict[str, Path]:
    """The three files, in the folder named or downloaded."""
    names = (ENCODER, DECODER, LABELS)
    if spec.argument is None:
        return {name: fetch(f"upp/{name}") for name in names}
    folder = Path(spec.argument)
    for name in names:
        if not (folder / name).is_file():
            raise CheckpointError(
                f"{folder / name} is missing; upp:FOLDER needs {ENCODER}, {DECODER} and {LABELS}, "
                "and plain upp downloads them"
            )
    return {name: folder / name for name in names}
