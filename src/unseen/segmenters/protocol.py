"""What a segmenter is. Anything with these members is one."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, Integer, UInt8, UInt32

from unseen.core.options import Option
from unseen.images import ImageSource
from unseen.images.preparation import Preparation, Size

LabelsAndConfidence = tuple[Integer[np.ndarray, "n h2 w2"], Float32[np.ndarray, " n"] | None]
"""Label maps, and for every image how sure they are; None where the network does not say."""


class Labelled(NamedTuple):
    """What a segmenter says of a batch."""

    maps: Integer[np.ndarray, "n *layers h2 w2"]  # in layers where classes overlap: `label_layers`
    confidence: Float32[np.ndarray, " n"] | None = None  # None: the network does not say
    instances: UInt32[np.ndarray, "n k"] | None = None  # things of every class; None: not counted


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

OpenClasses = Annotated[
    str | None,
    Option(
        "Classes that a segmenter of open vocabulary looks for: person,balloon, or a file (.txt "
        "with a name a line, .csv with name, prompt, threshold).",
        name="--classes",
        metavar="LIST",
    ),
]


@runtime_checkable
class Segmenter(Protocol):
    """A network, or any function, that labels every pixel.

    Where classes overlap it has a method `masks(images)` instead, which is asked alone: Bool
    (n, k, h2, w2) from the same images, one map for each class of its only channel. It may then
    have a method `masks_and_instances(images)`, which is asked instead of `masks`: the same masks,
    and how many things of each class an image holds (n, k).

    It may also have a method `features(images)`: from torch tensors (n, 3, h, w) in [−1, 1] to
    features (n, …), each image by itself and with gradient. An inversion can then compare images
    by what the segmenter sees in them.

    It may have a method `labels_and_confidence(images, channel)`, which is then asked instead of
    `label_maps`: the same label maps, and for every image the mean over its pixels of the
    probability of the most probable class, 0 to 1. A comparison warns where it is lower on one
    side.

    A segmenter is made by an entry point of the group `unseen.segmenters`: a function
    `factory(spec, *, device: str, precision: Precision)` that returns it.
    """

    channels: Mapping[str, tuple[str, ...]]  # channel → class names in label order; first = default
    resolution: int  # side of the square images it wants, e.g. 256
    provenance: Mapping[str, Any]  # JSON: spec, weights' SHA-256, precision: what decides labels

    if TYPE_CHECKING:  # not asked of a segmenter with masks, so not looked for when one is checked

        def label_maps(
            self, images: UInt8[np.ndarray, "n 3 h w"], channel: str = "object"
        ) -> Integer[np.ndarray, "n h2 w2"]:
            """The class of every pixel, as indices into `channels[channel]`.

            The label maps may have another resolution than the images, the same for every batch.
            """
            ...


@runtime_checkable
class LabelsByName(Protocol):
    """A segmenter whose label maps exist already, and are found by the names of images."""

    def maps_fingerprint(self, source: ImageSource) -> str:
        """SHA-256 of all label maps of a set."""
        ...

    def maps_of(
        self,
        source: ImageSource,
        names: Sequence[str],
        sizes: Sequence[Size],
        preparation: Preparation,
    ) -> Integer[np.ndarray, "n h w"]:
        """The label maps of images of a set, fitted into squares as the images are."""
        ...
