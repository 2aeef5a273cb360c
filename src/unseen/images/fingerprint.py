"""What tells one set of images from another: names and contents, in order."""

from collections.abc import Iterable, Sequence

from unseen.core.files import sha256_of_parts

_UNREADABLE = "unreadable"


def fingerprint_of(names: Sequence[str], digests: Iterable[str | None]) -> str:
    """SHA-256 over every name and the digest of every image's content.

    Args:
        names: of the images, in index order.
        digests: of their contents, in the same order; None for an image that cannot be read. Such
            an image is an error where it is read, and there `skip_broken` decides; it is part of
            the set all the same, so that the set changes when the image comes back.
    """
    return sha256_of_parts(
        part
        for name, digest in zip(names, digests, strict=True)
        for part in (name, _UNREADABLE if digest is None else digest)
    )
