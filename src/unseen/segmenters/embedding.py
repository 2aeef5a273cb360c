"""What a network tells regions of images apart by: a feature vector for each patch of an image.

`load_embedding` takes `hf:MODEL_OR_FOLDER` of a vision model of transformers (DINOv2, ViT, CLIP,
…), or the spec of a segmenter that shows its features.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch.nn.functional import adaptive_avg_pool2d

from unseen.core.devices import resolve_device
from unseen.core.errors import SegmenterError
from unseen.core.registry import parse_spec, spec_name
from unseen.segmenters.checks import segmenter_name
from unseen.segmenters.loading import load_segmenter

_BATCH = 16  # images in the network at a time: bounds its memory
_FINEST = 32  # patches a side; finer maps are averaged, which bounds the memory of learning

Patches = Float32[np.ndarray, "_ _ _ c"]  # images, rows and columns of patches, features


@runtime_checkable
class Embedding(Protocol):
    """A network that gives each patch of an image a feature vector."""

    resolution: int  # side of the square images it wants
    provenance: Mapping[str, Any]  # JSON: what decides the features

    def patches(self, images: UInt8[np.ndarray, "n 3 h w"]) -> Patches:
        """A feature vector for each patch, the rows of patches from top to bottom."""
        ...


class NetworkEmbedding:
    """The feature maps of a network.

    Args:
        features: from 8-bit images (n, 3, h, w) on the device to features (n, c, h2, w2).
        resolution: side of the square images it wants.
        provenance: what decides the features.
        device: where it computes.
    """

    def __init__(
        self,
        features: Callable[[torch.Tensor], torch.Tensor],
        *,
        resolution: int,
        provenance: Mapping[str, Any],
        device: str,
    ) -> None:
        self._features, self._device = features, torch.device(device)
        self.resolution, self.provenance = resolution, provenance

    @torch.inference_mode()
    def patches(self, images: UInt8[np.ndarray, "n 3 h w"]) -> Patches:
        """The features, averaged over blocks where there are more than 32 × 32 places.

        Raises:
            SegmenterError: the features have no places in the image, or are not finite.
        """
        parts = []
        for part in torch.split(torch.from_numpy(np.ascontiguousarray(images)), _BATCH):
            features = self._features(part.to(self._device)).float()
            if features.ndim != 4 or not torch.isfinite(features).all():
                raise SegmenterError(
                    f"features of shape {tuple(features.shape)}; needed are finite ones of "
                    "(images, channels, height, width)"
                )
            height, width = (min(side, _FINEST) for side in features.shape[2:])
            features = adaptive_avg_pool2d(features, (height, width))
            parts.append(features.permute(0, 2, 3, 1).cpu().numpy())
        return np.concatenate(parts)


def load_embedding(spec: str, *, device: str = "auto") -> Embedding:
    """The embedding that a spec names.

    Args:
        spec: `hf:MODEL_OR_FOLDER` of a vision model, or the spec of a segmenter.
        device: where it computes, as in `load_segmenter`.

    Raises:
        SpecError: nothing of that name.
        SegmenterError: a segmenter that shows no features.
        UnseenError: as `load_segmenter`.

    >>> load_embedding("churchyard").patches(np.zeros((2, 3, 64, 64), np.uint8)).shape
    (2, 32, 32, 40)
    """
    device = resolve_device(device)
    if spec_name(spec) == "hf":
        from unseen.segmenters.hf_vision import load_vision

        return load_vision(parse_spec(spec), device=device)
    segmenter: Any = load_segmenter(spec, device=device)
    features = getattr(segmenter, "patch_features", None)
    if features is None and callable(getattr(segmenter, "features", None)):

        def features(images: torch.Tensor) -> torch.Tensor:
            shown: torch.Tensor = segmenter.features(images.float() / 127.5 - 1.0)
            return shown

    if features is None:
        raise SegmenterError(
            f"{segmenter_name(segmenter)} shows no features of regions; name a vision model, such "
            "as hf:facebook/dinov2-small"
        )
    return NetworkEmbedding(
        features,
        resolution=segmenter.resolution,
        provenance={"spec": spec, "features_of": dict(segmenter.provenance)},
        device=device,
    )
