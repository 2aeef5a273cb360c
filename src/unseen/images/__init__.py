"""Sets of images: where they come from, in which order, and how they become arrays."""

from unseen.images.protocol import ImageSource

__all__ = ["ImageSource"]
