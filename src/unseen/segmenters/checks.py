"""What any segmenter, and every answer of it, must be."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

import numpy as np
from jaxtyping import Float32, Integer, UInt8, UInt32

from unseen.core.errors import SegmenterError
from unseen.core.files import canonical_json
from unseen.core.user_code import user_code
from unseen.segmenters.protocol import Labelled, Segmenter
from unseen.statistics.label_layers import layered

_NO_TEXT = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")  # control characters, lone surrogates
_LARGEST = 16_384  # pixels a side: images of that size take 800 MB each
_MASKS = ("masks_and_instances", "masks")  # the first that is there is asked
_LABELS = ("labels_and_confidence", "label_maps")
_ANSWERS = (*_MASKS, *_LABELS)


def check_segmenter(segmenter: Any, name: str) -> Segmenter:
    """The same object, if it has every member of a `Segmenter`.

    Raises:
        SegmenterError: a member is missing, has the wrong form, or raises when it is read.
    """
    with user_code(name, SegmenterError):
        if not any(callable(getattr(segmenter, answer, None)) for answer in _ANSWERS):
            _refuse(segmenter, name, "no method label_maps(images, channel)")
        channels = getattr(segmenter, "channels", None)
        if not isinstance(channels, Mapping) or not channels:
            _refuse(segmenter, name, "no channels (a dict from channel to its class names)")
        for channel, classes in channels.items():
            _check_classes(segmenter, name, channel, classes)
        if overlaps(segmenter) and len(channels) > 1:
            _refuse(segmenter, name, f"masks and {len(channels)} channels (masks have one)")
        resolution = getattr(segmenter, "resolution", None)
        if type(resolution) is not int or not 1 <= resolution <= _LARGEST:
            fault = f"resolution {resolution!r:.60} (pixels, a whole number up to {_LARGEST})"
            _refuse(segmenter, name, fault)
        provenance = getattr(segmenter, "provenance", None)
        if not isinstance(provenance, Mapping):
            _refuse(segmenter, name, "no provenance (a dict of what decides its labels)")
        try:
            json.loads(canonical_json(dict(provenance)).encode())
        except (TypeError, ValueError, RecursionError) as error:
            _refuse(segmenter, name, f"a provenance that is no JSON ({error})")
    checked: Segmenter = segmenter
    return checked


def _check_classes(segmenter: Any, name: str, channel: Any, classes: Any) -> None:
    if not isinstance(channel, str) or not channel or "/" in channel:
        _refuse(segmenter, name, f"the channel {channel!r} (a name without / is needed)")
    if not isinstance(classes, tuple | list) or not classes:
        _refuse(segmenter, name, f"no class names for channel {channel!r}")
    for class_name in (channel, *classes):
        if not isinstance(class_name, str) or not class_name or _NO_TEXT.search(class_name):
            _refuse(segmenter, name, f"{class_name!r:.60} in channel {channel!r}, which is no name")
    if len(set(classes)) != len(classes):
        twice = next(class_name for class_name in classes if list(classes).count(class_name) > 1)
        _refuse(segmenter, name, f"the class {twice!r} twice in channel {channel!r}")


def _refuse(segmenter: Any, name: str, fault: str) -> NoReturn:
    raise SegmenterError(
        f"{name} made a {type(segmenter).__name__} that has {fault}; a segmenter has channels, "
        "resolution, provenance and label_maps or masks (docs/segmenters.md)"
    )


def segmenter_name(segmenter: Any) -> str:
    """How messages call a segmenter: its spec, or its class."""
    provenance = getattr(segmenter, "provenance", None)
    spec = provenance.get("spec") if isinstance(provenance, Mapping) else None
    return str(spec or type(segmenter).__name__)


def class_names(segmenter: Segmenter, channel: str) -> tuple[str, ...]:
    """The class names of one channel, in label order.

    Raises:
        SegmenterError: the segmenter has no such channel.
    """
    if channel not in segmenter.channels:
        known = ", ".join(segmenter.channels)
        raise SegmenterError(
            f"{segmenter_name(segmenter)} has no channel {channel!r}; it has: {known}"
        )
    return tuple(segmenter.channels[channel])


def distinct_names(names: Iterable[str]) -> tuple[str, ...]:
    """The same names; " (2)", " (3)", … follow a repeated one, and "unnamed" stands for none.

    >>> distinct_names(["tree", "", "tree"])
    ('tree', 'unnamed', 'tree (2)')
    """
    answer: list[str] = []
    for name in names:
        wanted = _NO_TEXT.sub("", name).strip() or "unnamed"
        candidate, count = wanted, 1
        while candidate in answer:
            count += 1
            candidate = f"{wanted} ({count})"
        answer.append(candidate)
    return tuple(answer)


def checked_label_maps(
    segmenter: Segmenter,
    images: UInt8[np.ndarray, "n 3 h w"],
    channel: str = "object",
    *,
    first: str | None = None,
) -> Integer[np.ndarray, "n *layers h2 w2"]:
    """The label maps of `checked_labels`, whose arguments and errors these are."""
    return checked_labels(segmenter, images, channel, first=first).maps


def checked_labels(
    segmenter: Segmenter,
    images: UInt8[np.ndarray, "n 3 h w"],
    channel: str = "object",
    *,
    first: str | None = None,
) -> Labelled:
    """Segment a batch, and refuse an answer that is not one class in range per pixel, or masks.

    Args:
        segmenter: anyone's.
        images: 8-bit RGB.
        channel: one of the segmenter's.
        first: the name of the first image, for messages.

    Returns:
        The segmenter's own array, indices into `segmenter.channels[channel]`, or the layers of its
        masks; and how sure it is of each image, or how many things it holds, where it says so (see
        `Segmenter`).

    Raises:
        SegmenterError: unknown channel; no integers (NaN is named); a label out of range; masks
            that are not Boolean; another number of label maps than of images; a confidence that is
            not a number from 0 to 1, or no counts of things, for each of them; or the segmenter
            raised.
        OutOfMemoryError: the batch did not fit into memory.
    """
    classes = class_names(segmenter, channel)
    name = segmenter_name(segmenter)
    batch = f" on {len(images)} image{'' if len(images) == 1 else 's'}"
    batch += "" if first is None else f" from {first} on"
    method = _asked(segmenter)
    answer: Any
    beside: Any = None
    with user_code(name, SegmenterError, batch):
        given = (images,) if method in _MASKS else (images, channel)
        answer = getattr(segmenter, method)(*given)
        if method in ("masks_and_instances", "labels_and_confidence"):
            answer, beside = answer
    if method in _MASKS:
        masks = _checked_masks(answer, (len(images), len(classes)), name, batch)
        counts = None if beside is None else _checked_counts(beside, masks.shape[:2], name)
        return Labelled(layered(masks), instances=counts)
    maps = _checked_maps(answer, len(images), len(classes), name, batch)
    sure = None if beside is None else _checked_confidence(beside, len(maps), name)
    return Labelled(maps, confidence=sure)


def overlaps(segmenter: Segmenter) -> bool:
    """Whether its classes may overlap: it answers with masks."""
    return _asked(segmenter) in _MASKS


def _asked(segmenter: Segmenter) -> str:
    """The method that is asked of a segmenter.

    Of a subclass that overrides `label_maps` alone it is not `labels_and_confidence`: the method
    that it inherits would give other label maps. Likewise of masks.
    """
    for kind in type(segmenter).__mro__:
        for method in _ANSWERS:
            if method in vars(kind):
                return method
    return next((method for method in _ANSWERS if hasattr(segmenter, method)), "label_maps")


def _checked_maps(maps: Any, images: int, classes: int, name: str, batch: str) -> np.ndarray:
    if not isinstance(maps, np.ndarray) or isinstance(maps, np.ma.MaskedArray):
        raise SegmenterError(
            f"{name} gave a {type(maps).__name__}{batch}; label maps are a NumPy array of integers"
        )
    if not np.issubdtype(maps.dtype, np.integer):
        what = f"label maps of {maps.dtype}"
        if np.issubdtype(maps.dtype, np.inexact) and np.isnan(maps).any():
            share = np.isnan(maps).mean()
            what = f"NaN in {100 * share:.3g} % of the pixels of its label maps ({maps.dtype})"
        raise SegmenterError(
            f"{name} gave {what}{batch}; a label map holds one integer class per pixel: return "
            "the argmax"
        )
    if maps.ndim != 3 or len(maps) != images or maps.size == 0:
        raise SegmenterError(
            f"{name} gave label maps of shape {maps.shape}{batch}; needed is "
            f"({images}, height, width)"
        )
    lowest, highest = int(maps.min()), int(maps.max())
    if lowest < 0 or highest >= classes:
        raise SegmenterError(
            f"{name} gave the label {lowest if lowest < 0 else highest}{batch}; the channel has "
            f"{classes} classes, so labels are 0 to {classes - 1}"
        )
    if maps.dtype.itemsize == 8 and maps.dtype.type is not np.int64:
        maps = maps.astype(np.int64)  # bincount takes no uint64, and jaxtyping no long long
    checked: np.ndarray = maps
    return checked


def _checked_masks(masks: Any, wanted: tuple[int, int], name: str, batch: str) -> np.ndarray:
    if not isinstance(masks, np.ndarray) or masks.dtype != np.bool_:
        kind = masks.dtype if isinstance(masks, np.ndarray) else type(masks).__name__
        raise SegmenterError(
            f"{name} gave masks of {kind}{batch}; masks are a NumPy array of Booleans: compare the "
            "scores with a threshold"
        )
    if masks.ndim != 4 or masks.shape[:2] != wanted or masks.size == 0:
        raise SegmenterError(
            f"{name} gave masks of shape {masks.shape}{batch}; needed is ({wanted[0]}, {wanted[1]}"
            ", height, width): a map for every image and class"
        )
    return masks


def _checked_counts(counts: Any, wanted: tuple[int, ...], name: str) -> UInt32[np.ndarray, "n k"]:
    values = np.asarray(counts)
    whole = np.issubdtype(values.dtype, np.integer) and values.shape == wanted
    if not whole or values.min(initial=0) < 0 or values.max(initial=0) >= 2**32:
        raise SegmenterError(
            f"{name} gave counts of things of shape {values.shape} and type {values.dtype}; needed "
            f"are whole numbers of shape {wanted}: one for every image and class"
        )
    counted: np.ndarray = values.astype(np.uint32)
    return counted


def _checked_confidence(confidence: Any, images: int, name: str) -> Float32[np.ndarray, " n"]:
    values = np.asarray(confidence, np.float32)
    if values.shape != (images,) or not ((values >= 0) & (values <= 1)).all():
        raise SegmenterError(
            f"{name} gave a confidence of shape {values.shape} for {images} images, from "
            f"{values.min(initial=1):.3g} to {values.max(initial=0):.3g}; needed is a number from "
            "0 to 1 for every image"
        )
    return values
