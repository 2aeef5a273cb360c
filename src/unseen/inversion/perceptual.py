"""What a reconstruction is compared by beside its pixels: the features of some network.

`vgg16` is VGG-16 through relu4_2 with torchvision's published weights; `segmenter` is the
segmenter's own features, where it shows them; `inverter` is the inverter's estimate of the cut's
features, `latents` its estimate of z; `none` is nothing.
Sources: Simonyan and Zisserman, ICLR 2015; Bau et al., ICCV 2019 (supplement).
"""

import dataclasses
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unseen import weights
from unseen.core.errors import SegmenterError, SpecError
from unseen.core.files import sha256_of_file
from unseen.inversion.inverter import Inverter
from unseen.segmenters import Segmenter

PerceptualName = Literal["vgg16", "segmenter", "inverter", "latents", "none"]
PERCEPTUAL_NAMES: tuple[PerceptualName, ...] = get_args(PerceptualName)

# Blocks of 3×3 convolutions through relu4_2, with a max pooling between two blocks, as
# (inputs, outputs) by the number of the layer in torchvision's `features`.
_BLOCKS: tuple[Mapping[int, tuple[int, int]], ...] = (
    {0: (3, 64), 2: (64, 64)},
    {5: (64, 128), 7: (128, 128)},
    {10: (128, 256), 12: (256, 256), 14: (256, 256)},
    {17: (256, 512), 19: (512, 512)},
)
_IMAGENET_MEAN = (0.485, 0.456, 0.406)  # of RGB in 0 to 1: torchvision's
_IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclasses.dataclass(frozen=True, eq=False)
class Perceptual:
    """Features of images in [−1, 1] (n, 3, h, w), as one tensor of any shape (n, …)."""

    name: PerceptualName
    features: Callable[[Tensor], Tensor]  # passes gradients; every image by itself
    provenance: Mapping[str, Any]  # JSON: what decides the features


class VGG16(nn.Sequential):
    """VGG-16 through relu4_2, under torchvision's names of its `features`.

    Args:
        normalised: take images in [−1, 1] to ImageNet's mean and deviation first, as the network
            was trained; without it they are given as they are, as the code of 2019 did.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, *, normalised: bool = True) -> None:
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for block, convolutions in enumerate(_BLOCKS):
            if block:
                layers[str(next(iter(convolutions)) - 1)] = nn.MaxPool2d(2)
            for number, (inputs, outputs) in convolutions.items():
                layers[str(number)] = nn.Conv2d(inputs, outputs, 3, padding=1)
                layers[str(number + 1)] = nn.ReLU()
        super().__init__(layers)
        # On the CPU, too, where the network is built without memory for its weights.
        mean = 2 * torch.tensor(_IMAGENET_MEAN if normalised else (0.5,) * 3, device="cpu") - 1
        deviation = 2 * torch.tensor(_IMAGENET_STD if normalised else (0.5,) * 3, device="cpu")
        self.register_buffer("mean", mean[:, None, None], persistent=False)
        self.register_buffer("deviation", deviation[:, None, None], persistent=False)

    def forward(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 512 h8 w8"]:
        """Features at an eighth of the resolution."""
        features = (images - self.mean) / self.deviation
        for layer in self:
            features = layer(features)
        return features


def load_vgg16(path: Path, *, normalised: bool = True) -> VGG16:
    """The network of a file in torchvision's layout; its later layers are left aside.

    Raises:
        CheckpointError: the file is unreadable, or no VGG-16.
    """
    layers = {str(number) for block in _BLOCKS for number in block}
    used = {
        name.removeprefix("features."): tensor
        for name, tensor in weights.read_checkpoint(path).items()
        if name.startswith("features.") and name.split(".")[1] in layers
    }
    network = weights.build_and_fill(
        lambda: VGG16(normalised=normalised),
        used,
        str(path),
        kind="VGG-16 in torchvision's layout (vgg16-397923af.pth)",
        named="features.{}".format,
    )
    return network.eval().requires_grad_(False)


def load_perceptual(
    name: str,
    *,
    normalised: bool = True,
    segmenter: Segmenter | None = None,
    inverter: Inverter | None = None,
    device: torch.device | str = "cpu",
) -> Perceptual | None:
    """The features of that name; None for `none`.

    Args:
        name: of `PERCEPTUAL_NAMES`.
        normalised: of VGG-16's input.
        segmenter: for `segmenter`; it needs a method `features(images)`.
        inverter: for `inverter` and `latents`.
        device: where VGG-16 computes.

    Raises:
        SpecError: an unknown name, or what it needs was not given.
        SegmenterError: the segmenter shows no features.
        DownloadError: VGG-16's published file cannot be fetched.
        CheckpointError: it is not VGG-16.
    """
    if name == "none":
        return None
    if name == "vgg16":
        path = weights.fetch("vgg16")
        network = load_vgg16(path, normalised=normalised)
        network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        about = {"weights_sha256": sha256_of_file(path), "normalised": normalised}
        return Perceptual("vgg16", network, {"name": "vgg16", **about})
    if name == "segmenter":
        if segmenter is None:
            raise SpecError("the segmenter's features were asked for without a segmenter; name one")
        features = getattr(segmenter, "features", None)
        if not callable(features):
            spec = segmenter.provenance.get("spec") or type(segmenter).__name__
            raise SegmenterError(
                f"{spec} shows no features: it has no method features(images); choose another of "
                f"{', '.join(PERCEPTUAL_NAMES)}"
            )
        return Perceptual(
            "segmenter", features, {"name": "segmenter", **dict(segmenter.provenance)}
        )
    if name in ("inverter", "latents"):
        if inverter is None:
            raise SpecError(
                f"the perceptual features {name!r} are the inverter's, and there is none; give one"
            )
        about = {"name": name, "inverter": dict(inverter.provenance)}
        if name == "latents":
            return Perceptual("latents", inverter, about)
        cut = inverter.layer_names[-1]
        return Perceptual("inverter", lambda images: inverter.estimates(images)[cut], about)
    raise SpecError(
        f"no perceptual features are called {name!r}; known: {', '.join(PERCEPTUAL_NAMES)}"
    )
