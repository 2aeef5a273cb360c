"""The churchyard's segmenter: a small network, shipped trained, that labels every pixel.

A U-Net of three scales, which looks at every image four times. It works on 2 × 2 blocks of pixels
as channels (pixel unshuffle), so no convolution runs at full resolution and thin things are still
there to be seen. A thing is named only where it is believed in more than all else together: what
is half a car and half a gravestone is neither.
Sources: Ronneberger, Fischer and Brox, MICCAI 2015 (U-Net); Shi et al., CVPR 2016 (pixel shuffle).
"""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from jaxtyping import Float, Integer, UInt8
from torch import nn

from unseen.churchyard.classes import CLASS_NAMES, INDEX, THINGS
from unseen.core.errors import CheckpointError, SegmenterError
from unseen.core.files import as_path, sha256_of_file
from unseen.core.registry import Spec, takes
from unseen.segmenters.protocol import LabelsAndConfidence, Precision
from unseen.weights.checkpoints import open_checkpoint
from unseen.weights.strict import build_and_fill

WEIGHTS = Path(__file__).parent / "weights" / "segmenter.safetensors"
RESOLUTION = 64
MULTIPLE = 8  # sides must be: the block of 2, then two halvings
WIDTHS = (40, 64, 96)
LABEL_RULE = "four views; things by majority"  # in provenance: what decides labels beside weights


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions with batch norm beside the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, width, h, w) → the same shape."""
        y = torch.relu(self.norm1(self.conv1(x)))
        return torch.relu(x + self.norm2(self.conv2(y)))


def _step(width_in: int, width_out: int, stride: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(width_in, width_out, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(width_out),
        nn.ReLU(),
    )


class SegmenterNetwork(nn.Module):
    """Images in [−1, 1] to logits of every class at every pixel."""

    def __init__(self, classes: int = len(CLASS_NAMES), widths: tuple[int, ...] = WIDTHS) -> None:
        super().__init__()
        fine, middle, coarse = widths
        self.stem = _step(12, fine, 1, 3)
        self.fine_in = ResidualBlock(fine)
        self.down1 = _step(fine, middle, 2, 3)
        self.middle_in = ResidualBlock(middle)
        self.down2 = _step(middle, coarse, 2, 3)
        self.coarse = ResidualBlock(coarse)
        self.up2 = _step(coarse, middle, 1, 1)
        self.middle_out = ResidualBlock(middle)
        self.up1 = _step(middle, fine, 1, 1)
        self.fine_out = ResidualBlock(fine)
        self.head = nn.Conv2d(fine, classes * 4, 1)

    def forward(self, images: Float[torch.Tensor, "n 3 h w"]) -> Float[torch.Tensor, "n k h w"]:
        """Logits in fp32, also where the rest runs in bf16: near ties are decided there."""
        fine = self.features(images)
        with torch.autocast(fine.device.type, enabled=False):
            logits = self.head(fine.float())
        return nn.functional.pixel_shuffle(logits, 2)

    def features(self, images: Float[torch.Tensor, "n 3 h w"]) -> Float[torch.Tensor, "n c h2 w2"]:
        """What the classes are told by, at half the resolution."""
        blocks = nn.functional.pixel_unshuffle(images, 2)  # (n, 12, h/2, w/2)
        fine = self.fine_in(self.stem(blocks))
        middle = self.middle_in(self.down1(fine))
        coarse = self.coarse(self.down2(middle))
        middle = self.middle_out(middle + _double(self.up2(coarse)))
        features: torch.Tensor = self.fine_out(fine + _double(self.up1(middle)))
        return features


def _double(x: torch.Tensor) -> torch.Tensor:
    return nn.functional.interpolate(x, scale_factor=2, mode="nearest")


def network_input(images: UInt8[torch.Tensor, "n 3 h w"]) -> Float[torch.Tensor, "n 3 h w"]:
    """8-bit images as the network takes them, −1 to 1."""
    return images.float() / 127.5 - 1


def _belief(
    network: nn.Module, images: Float[torch.Tensor, "n 3 h w"]
) -> Float[torch.Tensor, "n k h w"]:
    """How likely the network holds each class, summed over four views of the images.

    These are the image, its mirror image, and both moved by one pixel along the diagonal, so that
    the 2 × 2 blocks fall elsewhere. The first row and column, and in the mirror the last column,
    have fewer views.
    """
    seen = torch.cat([images, images.flip(3)])
    moved = nn.functional.pad(seen, (0, 1, 0, 1), mode="replicate")[:, :, 1:, 1:]
    moved = moved.contiguous(memory_format=torch.channels_last)
    belief: torch.Tensor = network(seen).softmax(1)
    belief[:, :, 1:, 1:] += network(moved).softmax(1)[:, :, :-1, :-1]
    plain, mirrored = belief.chunk(2)
    return plain + mirrored.flip(3)


def labels_by_majority(belief: Float[torch.Tensor, "n k h w"]) -> UInt8[torch.Tensor, "n h w"]:
    """The likeliest class; but a thing needs the majority, else the likeliest of the scenery."""
    things = torch.zeros(len(CLASS_NAMES), dtype=torch.bool, device=belief.device)
    things[[INDEX[name] for name in THINGS]] = True
    most, likeliest = belief.max(dim=1)
    scenery = belief.masked_fill(things[None, :, None, None], 0).argmax(dim=1)
    doubtful = things[likeliest] & (2 * most <= belief.sum(dim=1))
    return torch.where(doubtful, scenery, likeliest).to(torch.uint8)


class ChurchyardSegmenter:
    """The trained network behind the protocol of all segmenters."""

    def __init__(
        self,
        network: SegmenterNetwork,
        *,
        device: torch.device,
        precision: Precision,
        provenance: Mapping[str, Any],
    ) -> None:
        self._network = network.to(device=device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self._device = device
        self._precision = precision
        self.channels: Mapping[str, tuple[str, ...]] = {"object": CLASS_NAMES}
        self.resolution = RESOLUTION
        self.provenance = provenance

    def features(self, images: Float[torch.Tensor, "n 3 h w"]) -> Float[torch.Tensor, "n c h2 w2"]:
        """What the network tells classes by, of images in [−1, 1]; passes gradients."""
        features: torch.Tensor = self._network.features(images)
        return features

    def label_maps(
        self, images: UInt8[np.ndarray, "n 3 h w"], channel: str = "object"
    ) -> Integer[np.ndarray, "n h w"]:
        """The likeliest class of every pixel over four views of it; a thing needs the majority.

        Raises:
            SegmenterError: another channel, or sides that are no multiples of 8.
        """
        return self.labels_and_confidence(images, channel)[0]

    def labels_and_confidence(
        self, images: UInt8[np.ndarray, "n 3 h w"], channel: str = "object"
    ) -> LabelsAndConfidence:
        """The same label maps, and the mean belief in the likeliest class over four views."""
        if channel not in self.channels:
            raise SegmenterError(
                f"the churchyard's segmenter has no channel {channel!r}; use object"
            )
        height, width = images.shape[2:]
        if height % MULTIPLE or width % MULTIPLE:
            raise SegmenterError(
                f"images of {width}×{height} do not fit the churchyard's segmenter; "
                f"give sides that are multiples of {MULTIPLE}"
            )
        autocast: contextlib.AbstractContextManager[object] = contextlib.nullcontext()
        if self._precision == "bf16":
            autocast = torch.autocast(self._device.type, torch.bfloat16)
        with torch.inference_mode(), autocast:
            batch = torch.from_numpy(np.ascontiguousarray(images)).to(self._device)
            batch = network_input(batch).contiguous(memory_format=torch.channels_last)
            belief = _belief(self._network, batch)
            labels = labels_by_majority(belief)
            confidence = (belief.amax(1) / belief.sum(1)).float().mean((1, 2))
        return labels.cpu().numpy(), confidence.clamp(max=1).cpu().numpy()


def load_network(path: Path) -> SegmenterNetwork:
    """The network of a weights file.

    Raises:
        CheckpointError: the file is missing, unreadable or of another network or label set.
    """
    checkpoint = open_checkpoint(path)
    network = build_and_fill(
        SegmenterNetwork, checkpoint.tensors, str(path), kind="churchyard segmenter"
    )
    classes = checkpoint.notes.get("classes", "")
    if classes.split(",") != list(CLASS_NAMES):
        raise CheckpointError(
            f"{path} labels other classes than the churchyard has; give a file written by "
            "`python -m lab train segmenter`"
        )
    return network


def save_network(network: nn.Module, path: Path) -> None:
    """Write weights and class names to a path that `write_aside` gave."""
    state = {name: value.detach().contiguous() for name, value in network.state_dict().items()}
    safetensors.torch.save_file(state, path, metadata={"classes": ",".join(CLASS_NAMES)})
    path.chmod(0o644)  # safetensors leaves a file that only its owner may read


@takes()
def load_churchyard(spec: Spec, *, device: str, precision: Precision) -> ChurchyardSegmenter:
    """`churchyard`, or `churchyard:FILE` for weights of one's own.

    Raises:
        CheckpointError: the weights cannot be used.
    """
    path = as_path(spec.argument) if spec.argument else WEIGHTS
    network = load_network(path).requires_grad_(False)
    provenance = {
        "segmenter": "churchyard",
        "weights_sha256": sha256_of_file(path),
        "label_rule": LABEL_RULE,
        "precision": precision,
    }
    return ChurchyardSegmenter(
        network, device=torch.device(device), precision=precision, provenance=provenance
    )
