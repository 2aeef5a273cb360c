"""What an image source is, which of its images are looked at, and how one of them is read.

Anything with the members of `ImageSource` is one. What others' sources raise or return becomes one
kind of error.
"""

import random
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from unseen.core.errors import ImageError, UnseenError
from unseen.core.files import sha256_of_parts
from unseen.core.user_code import user_code
from unseen.core.wording import printable
from unseen.images.decode import check_size


@runtime_checkable
class ImageSource(Protocol):
    """An ordered set of named images, picklable so that worker processes can read it.

    A source is made by an entry point of the group `unseen.images`: a function that takes the
    `Spec` and returns the source. It may also have
    `conditions(indices) -> Sequence[str] | None`, which says what each image was asked for, or what
    its caption is; and `states(indices) -> Sequence[str]`, which gives texts that change when the
    file of an image does, without reading it.
    """

    @property
    def spec(self) -> str:
        """How the user can ask for it again."""
        ...

    @property
    def names(self) -> Sequence[str]:
        """Unique names in the authors' index order: sorted directories, then sorted names."""
        ...

    @property
    def endless(self) -> bool:
        """True where any index is an image (a renderer); then subsets are the first n."""
        ...

    def read(self, index: int) -> UInt8[np.ndarray, "3 h w"]:
        """Image `index` as 8-bit RGB in its own resolution.

        Raises:
            ImageError: it cannot be decoded; the message names it.
        """
        ...

    def fingerprint(self) -> str:
        """SHA-256 that changes when any name or content changes."""
        ...


def subset(source: ImageSource, count: int | None, seed: int) -> list[int]:
    """Indices of `count` images: the index shuffled by `random.Random(seed).shuffle`, first n.

    Args:
        source: the set; of an endless one the first `count` indices are taken, whatever the seed.
        count: how many; None for all, in index order.
        seed: of the shuffle.

    Raises:
        ImageError: fewer images than asked for, a count below 1, or all of an endless source.
    """
    if count is not None and count < 1:
        raise ImageError(f"{count} images were asked for; ask for at least 1")
    if source.endless:
        if count is None:
            raise ImageError(
                f"{source.spec} never ends; say how many images to take (--count, or count= in "
                "Python)"
            )
        return list(range(count))
    available = len(source.names)
    indices = list(range(available))
    if count is None:
        return indices
    if count > available:
        raise ImageError(
            f"{source.spec} has {available:,} {'image' if available == 1 else 'images'}; "
            f"{count:,} were asked for; ask for at most {available:,} or add images"
        )
    random.Random(seed).shuffle(indices)
    return indices[:count]


def read_image(source: ImageSource, index: int) -> UInt8[np.ndarray, "3 h w"]:
    """Image `index` of a source.

    Raises:
        ImageError: it cannot be read, whatever the source raised, or it is not what a source
            gives; the message names it. This is what `skip_broken` skips.
        OutOfMemoryError: memory ran out; the image may well be whole.
    """
    with user_code(_name(source, index), ImageError):
        image: Any = source.read(index)
    kind: Any = getattr(image, "dtype", type(image).__name__)
    shape: Any = getattr(image, "shape", ())
    if kind != np.uint8 or len(shape) != 3 or shape[0] != 3:
        raise ImageError(
            f"{_name(source, index)} is {kind} of shape {tuple(shape)}; a source gives uint8 "
            "(3, h, w)"
        )
    check_size(image.shape[2], image.shape[1], _name(source, index))
    pixels: UInt8[np.ndarray, "3 h w"] = np.asarray(image)
    return pixels


def conditions_of(
    images: Any, indices: Sequence[int], error: type[UnseenError] = ImageError
) -> list[str] | None:
    """What the images with these indices were asked for; None where nobody says.

    Args:
        images: a source or a generator, whose method `conditions` says it.
        indices: of the images.
        error: raised where the method does, or where it does not give one text an image.
    """
    asked = getattr(images, "conditions", None)
    if asked is None:
        return None
    name = str(getattr(images, "spec", type(images).__name__))
    with user_code(name, error):
        given = asked(list(indices))
        conditions = None if given is None else list(given)
    if conditions is None:
        return None
    if len(conditions) != len(indices) or not all(isinstance(text, str) for text in conditions):
        raise error(
            f"{name} gave {len(conditions)} conditions for {len(indices)} images, or some that "
            "are no text; one text an image is needed"
        )
    return conditions


def names_sha256(source: ImageSource, indices: Sequence[int]) -> str:
    """SHA-256 over the names of these images, in this order."""
    return sha256_of_parts(source.names[index] for index in indices)


def states_of(source: ImageSource, parts: Sequence[Sequence[int]]) -> list[str] | None:
    """For each part of the images a SHA-256 that changes when their names, sizes or times do.

    Args:
        source: of the images.
        parts: indices of images.

    Returns:
        None where the source does not know of files.
    """
    states = getattr(source, "states", None)
    if states is None:
        return None
    return [sha256_of_parts([names_sha256(source, part), *states(part)]) for part in parts]


def _name(source: ImageSource, index: int) -> str:
    try:
        return printable(f"{source.spec}: {source.names[index]}")
    except Exception:  # noqa: BLE001 the names are the source's own, too
        return f"{source.spec}: image {index}"
