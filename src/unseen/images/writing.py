"""Pictures and label maps as PNG: what lies beside the records."""

from pathlib import Path

import numpy as np
from jaxtyping import Integer, UInt8
from PIL import Image

from unseen.core.files import write_aside


def write_png(path: Path, image: UInt8[np.ndarray, "3 h w"]) -> None:
    """Write a picture as PNG.

    Raises:
        StorageError: the disk is full, or the place cannot be written.
    """
    with write_aside(path) as aside:
        Image.fromarray(np.ascontiguousarray(np.moveaxis(image, 0, -1))).save(aside, format="PNG")


def write_label_map(
    path: Path, label_map: Integer[np.ndarray, "h w"], within: Path | None = None
) -> None:
    """Write a label map as 16-bit PNG, whose values are its labels.

    Args:
        path: of the file.
        label_map: labels below 2^16.
        within: folder for the file while it is being written; None: that of `path`.

    Raises:
        StorageError: the disk is full, or the place cannot be written.
    """
    with write_aside(path, within=within) as aside:
        Image.fromarray(label_map.astype(np.uint16)).save(aside, format="PNG")
