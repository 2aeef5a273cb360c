"""Which images of a set are looked at: a seeded subset in the authors' index order."""

import random

from unseen.core.errors import ImageError
from unseen.images.protocol import ImageSource


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
