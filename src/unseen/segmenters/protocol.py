"""What a segmenter is. Anything with these members is one."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Integer, UInt8

from unseen.core.options import Option

Precision = Literal["fp32", "bf16"]
SegmenterPrecision = Annotated[
    Precision, Option("Number format of the segmenter's network. It is recorded.")
]
SegmenterName = Annotated[
    str | None,
    Option(
        "Spec or folder of the segmenter. Default: churchyard for images of the churchyard, else "
        "upp."
    ),
]


@runtime_checkable
class Segmenter(Protocol):
    """A network, or any function, that labels every pixel.

    It may also have a method `features(images)`: from torch tensors (n, 3, h, w) in [−1, 1] to
    features (n, …), each image by itself and with gradient. An inversion can then compare images
    by what the segmenter sees in them.

    A segmenter is made by an entry point of the group `unseen.segmenters`: a function
    `factory(spec, *, device: str, precision: Precision)` that returns it.
    """

    channels: Mapping[str, tuple[str, ...]]  # channel → class names in label order; first = default
    resolution: int  # side of the square images it wants, e.g. 256
    provenance: Mapping[str, Any]  # JSON: spec, weights' SHA-256, precision: what decides labels

    def label_maps(
        self, images: UInt8[np.ndarray, "n 3 h w"], channel: str = "object"
    ) -> Integer[np.ndarray, "n h2 w2"]:
        """The class of every pixel, as indices into `channels[channel]`.

        The label maps may have another resolution than the images, the same for every batch.
        """
        ...
