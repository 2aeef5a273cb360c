"""Sets of images: where they come from, in which order, and how they become arrays."""

from unseen.images.batching import Batch, BrokenImage, batches, default_workers
from unseen.images.custom import Images
from unseen.images.inventory import left_out
from unseen.images.opening import open_images
from unseen.images.preparation import Preparation
from unseen.images.protocol import ImageSource, subset

__all__ = [
    "Batch",
    "BrokenImage",
    "ImageSource",
    "Images",
    "Preparation",
    "batches",
    "default_workers",
    "left_out",
    "open_images",
    "subset",
]
