"""Published weights and data: names, hashes, downloads; safe reading and strict loading of files.

`known` lists the published files and `download` fetches them. `checkpoints` reads any file of
weights by its content, through `restricted_pickle` where it is a pickle; `strict` loads a network.
"""

from unseen.core.files import cache_folder
from unseen.weights.checkpoints import Checkpoint, open_checkpoint, read_checkpoint
from unseen.weights.download import fetch, locate
from unseen.weights.known import KNOWN, Published, published
from unseen.weights.strict import build_and_fill

__all__ = [
    "KNOWN",
    "Checkpoint",
    "Published",
    "build_and_fill",
    "cache_folder",
    "fetch",
    "locate",
    "open_checkpoint",
    "published",
    "read_checkpoint",
]
