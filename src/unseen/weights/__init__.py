"""Published weights and data: names, hashes, downloads, and safe reading of checkpoints."""

from unseen.core.files import cache_folder
from unseen.weights.checkpoints import read_checkpoint
from unseen.weights.download import fetch, locate
from unseen.weights.known import KNOWN, Published, published

__all__ = [
    "KNOWN",
    "Published",
    "cache_folder",
    "fetch",
    "locate",
    "published",
    "read_checkpoint",
]
