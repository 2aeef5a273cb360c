"""`python:module:factory`: any object with a length and items, made by the user's own function.

Items are uint8 arrays (h, w), (h, w, 3) or (3, h, w), or Pillow images. An optional attribute
`names` names them. The factory is called again in every worker process, so it must give the same
images each time; the options of the spec are its keyword arguments, as text.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from unseen.core.errors import ImageError
from unseen.core.registry import Spec, call_user_factory
from unseen.images.decode import check_size, rgb_array
from unseen.images.naming import in_unicode, row_names


class PythonSource:
    """What the user's factory returned, as an image source."""

    endless = False

    def __init__(self, spec: Spec, items: Any) -> None:
        self.spec = spec.text
        self._parsed = spec
        self._items = items
        try:
            count = len(self._items)
        except TypeError as error:
            raise ImageError(
                f"{spec.text} returned {type(self._items).__name__}, which has no length; return "
                "an object with a length and items"
            ) from error
        if count == 0:
            raise ImageError(f"{spec.text} returned no images; return at least one")
        names = getattr(self._items, "names", None)
        self.names: Sequence[str] = (
            row_names(count) if names is None else [in_unicode(str(name)) for name in names]
        )
        if (names is not None and len(self.names) != count) or len(set(self.names)) != count:
            raise ImageError(
                f"{spec.text} has {count} images and {len(set(self.names))} different names; "
                "give every image its own"
            )

    def read(self, index: int) -> UInt8[np.ndarray, "3 h w"]:
        """Item `index` as RGB (ImageError: it is neither a uint8 image nor Pillow's)."""
        name = f"{self.spec}: {self.names[index]}"
        try:
            item = self._items[index]
        except ImageError:
            raise
        except Exception as error:  # the user's own code
            raise ImageError(f"{name} cannot be read ({type(error).__name__}: {error})") from error
        if isinstance(item, Image.Image):
            check_size(*item.size, name)
            return rgb_array(item, name)
        array = np.asarray(item)
        if array.dtype == np.uint8:
            if array.ndim == 2:
                return np.broadcast_to(array, (3, *array.shape))
            if array.ndim == 3 and array.shape[2] == 3:
                return np.moveaxis(array, -1, 0)
            if array.ndim == 3 and array.shape[0] == 3:
                return array
        raise ImageError(
            f"{name} is {array.dtype} of shape {array.shape}; needed is uint8 (h, w, 3), "
            "(3, h, w) or (h, w), or a Pillow image"
        )

    def fingerprint(self) -> str:
        """SHA-256 over every name, shape and pixel: the images are all read for it."""
        digest = hashlib.sha256()
        for index, name in enumerate(self.names):
            image = self.read(index)
            digest.update(f"{name}\0{image.shape}\0".encode())
            digest.update(np.ascontiguousarray(image).data)
        return digest.hexdigest()

    def __reduce__(self) -> tuple[Any, ...]:
        return (open_python, (self._parsed,))  # a worker makes its own


def open_python(spec: Spec) -> Any:
    """The entry point `python:module:factory[?key=value]`.

    A factory that returns a whole image source (with `read` and `fingerprint`) is used as it is.
    """
    items, _ = call_user_factory(spec, {}, what="images", error=ImageError)
    if hasattr(items, "read") and hasattr(items, "fingerprint"):
        return items
    return PythonSource(spec, items)
