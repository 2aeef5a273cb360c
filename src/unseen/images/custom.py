"""Images that are objects of Python: a list, an array, a dataset, or what a user's factory returns.

What counts as a set: anything with a length and items (a list, a torch `Dataset`, a Hugging Face
dataset), a torch `DataLoader` (it stands for its dataset), an array or tensor whose first axis
counts images. What counts as an image: a Pillow image, an array or tensor as `arrays` says, the
bytes or the path of an image file; of a tuple the first image, of a dict the one called "image" or
the only one. No package of these is imported.

A factory is called again in every worker process, so it must give the same images each time; the
options of the spec are its keyword arguments, as text. Objects are read in the caller's process.
"""

import hashlib
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from unseen.core.errors import ImageError
from unseen.core.files import as_path
from unseen.core.registry import Spec, call_user_factory
from unseen.core.user_code import user_code
from unseen.core.wording import printable
from unseen.images.arrays import ValueRange, array_axes, rgb_of_array
from unseen.images.decode import check_size, decode, decode_file, rgb_array
from unseen.images.naming import fingerprint_of, in_unicode, row_names

_MOST = 1_000_000_000  # images; a length above is no length
_IMAGE_KEYS = ("image", "img")  # of an item that is a dict
_WHOLE_SAMPLERS = ("SequentialSampler", "RandomSampler")  # that draw every item of the dataset
_NEEDED = "give a list, an array, or a dataset with a length and items"


@runtime_checkable
class ImageItems(Protocol):
    """Anything with a length and items by index."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: Any, /) -> Any: ...


class ObjectSource:
    """The images of an object, as an image source.

    Args:
        images: the object.
        name: how messages and records call it.
        value_range: black and white in arrays of floats or wide integers.
        made_by: the spec whose factory makes the object again in a worker process.

    Raises:
        ImageError: the object is no set of images, or its names do not fit.
    """

    endless = False

    def __init__(
        self,
        images: Any,
        name: str,
        *,
        value_range: ValueRange | None = None,
        made_by: Spec | None = None,
    ) -> None:
        self.spec = name
        self._range, self._made_by = value_range, made_by
        self.in_memory = made_by is None  # then it is read in the caller's process
        self._fingerprint: str | None = None
        with user_code(name, ImageError):
            self._items, self._channels_first = _items(images, name)
            self._column = _image_column(images, name)
            count = len(self._items)
            names = getattr(self._items, "names", None)
            self.names: Sequence[str] = (
                row_names(count) if names is None else [in_unicode(str(name)) for name in names]
            )
        if count == 0:
            raise ImageError(f"{name} holds no images; give at least one")
        if count > _MOST:
            raise ImageError(f"{name} says that it holds {count:,} images; at most {_MOST:,}")
        if names is not None and not len(self.names) == len(set(self.names)) == count:
            raise ImageError(
                f"{name} has {count} images and {len(set(self.names))} different names; give every "
                "image its own"
            )

    def read(self, index: int) -> UInt8[np.ndarray, "3 h w"]:
        """Item `index` as RGB (ImageError: the item raises, or is no image)."""
        name = printable(f"{self.spec}: {self.names[index]}")
        with user_code(name, ImageError):
            item = self._items[int(index)]
            if self._column is not None:
                item = item[self._column]
            return _rgb(item, name, self._range, self._channels_first)

    def fingerprint(self) -> str:
        """SHA-256 over every name, shape and pixel: all images are read for it, once."""
        if self._fingerprint is None:
            digests = (self._digest(index) for index in range(len(self.names)))
            self._fingerprint = fingerprint_of(self.names, digests)
        return self._fingerprint

    def _digest(self, index: int) -> str | None:
        try:
            image = self.read(index)
        except ImageError:
            return None
        digest = hashlib.sha256(str(image.shape).encode())
        digest.update(np.ascontiguousarray(image).data)
        return digest.hexdigest()

    def __reduce__(self) -> tuple[Any, ...]:
        if self._made_by is not None:
            return (_make, (self._made_by, self._range))  # a worker makes its own
        return (ObjectSource, (self._items, self.spec), {**self.__dict__})


def open_object(images: object, value_range: ValueRange | None = None) -> ObjectSource:
    """The images of an object that a caller has in memory.

    Raises:
        ImageError: it is no set of images.
    """
    if value_range is not None:
        black, white = value_range
        if not math.isfinite(white - black) or black == white:
            raise ImageError(f"value_range is {value_range}; it is two different numbers")
    kind = type(images)
    module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    return ObjectSource(images, f"{module}{kind.__qualname__}", value_range=value_range)


def open_python(spec: Spec) -> Any:
    """The entry point `python:module:factory[?key=value]`.

    A factory that returns a whole image source (with `read` and `fingerprint`) is used as it is.
    """
    return _make(spec, None)


def _make(spec: Spec, value_range: ValueRange | None) -> Any:
    images, _ = call_user_factory(spec, {}, what="images", error=ImageError)
    if hasattr(images, "read") and hasattr(images, "fingerprint"):
        return images
    return ObjectSource(images, spec.text, value_range=value_range, made_by=spec)


def _items(images: Any, name: str) -> tuple[Any, bool]:
    """What has a length and items, and whether the first axis of an item is its channels."""
    if isinstance(images, Image.Image):
        raise ImageError(f"{name} is one image; give a list of images")
    if isinstance(images, Mapping):
        keys = ", ".join(map(str, list(images)[:5])) or "nothing"
        raise ImageError(f"{name} holds {keys}; give the one that is a set of images")
    if hasattr(images, "batch_sampler") and hasattr(images, "dataset"):
        return _items(_dataset_of(images, name), name)
    if _is_array(images):
        array = _as_array(images)
        channels = (1, 3, 4)
        if array.ndim not in (3, 4) or (
            array.ndim == 3 and (array.shape[2] in channels or array.shape[0] in channels[1:])
        ):
            raise ImageError(
                f"{name} is {array.dtype} of shape {array.shape}; needed is (n, h, w, 3), "
                "(n, 3, h, w), or (n, h, w) for grey images"
            )
        return array, _is_tensor(images)
    if not (hasattr(images, "__len__") and hasattr(images, "__getitem__")):
        raise ImageError(f"{name} has no length and no items by index; {_NEEDED}")
    return images, False


def _dataset_of(loader: Any, name: str) -> Any:
    """The dataset of a loader that goes through all of it."""
    sampler, batches = type(loader.sampler).__name__, type(loader.batch_sampler).__name__
    dataset = loader.dataset
    if (
        sampler not in _WHOLE_SAMPLERS
        or batches not in ("BatchSampler", "NoneType")
        or len(loader.sampler) != len(dataset)
    ):
        chosen_by = sampler if batches in ("BatchSampler", "NoneType") else batches
        raise ImageError(
            f"{name} chooses its images by a {chosen_by}; give the dataset itself, or "
            "torch.utils.data.Subset(dataset, indices)"
        )
    return dataset


def _image_column(images: Any, name: str) -> str | None:
    """The column of images of a Hugging Face dataset; None for anything else."""
    features = getattr(images, "features", None)
    if not isinstance(features, Mapping):
        return None
    columns = [key for key, kind in features.items() if type(kind).__name__ == "Image"]
    if len(columns) != 1:
        raise ImageError(
            f"{name} has {len(columns)} columns of images ({', '.join(columns or features)}); "
            "select one (select_columns)"
        )
    return str(columns[0])


def _rgb(
    item: Any, name: str, value_range: ValueRange | None, channels_first: bool
) -> UInt8[np.ndarray, "3 h w"]:
    """One item as 8-bit RGB, whatever it is."""
    if isinstance(item, tuple | list):
        item = next((part for part in item if _is_image(part)), item)
    elif isinstance(item, Mapping) and not _is_encoded(item):
        item = _image_of(item, name)
    if isinstance(item, Mapping):  # an image file, as Hugging Face datasets hold it
        item = item["bytes"] if item.get("bytes") is not None else Path(item["path"])
    if isinstance(item, Image.Image):
        check_size(*item.size, name)
        return rgb_array(item, name)
    if isinstance(item, bytes | bytearray):
        return decode(io.BytesIO(item), name)
    if isinstance(item, str | Path):
        if "://" in str(item):
            raise ImageError(f"{name} is the web address {item}; download the image first")
        return decode_file(as_path(item), f"{name} ({item})")
    if not _is_image(item):
        raise ImageError(
            f"{name} is {_described(item)}; needed is a Pillow image, or an array (h, w, 3), "
            "(3, h, w) or (h, w)"
        )
    return rgb_of_array(
        _as_array(item),
        name,
        value_range=value_range,
        channels_first=channels_first or _is_tensor(item),
    )


def _image_of(item: Mapping[Any, Any], name: str) -> Any:
    """The image of an item that is a dict."""
    images = [key for key, value in item.items() if _is_image(value)]
    named = [key for key in _IMAGE_KEYS if key in images]
    if not images or (len(images) > 1 and not named):
        raise ImageError(
            f"{name} is a dict of {', '.join(map(str, item)) or 'nothing'}, with {len(images)} "
            "images; give the image alone, or call it 'image'"
        )
    return item[(named or images)[0]]


def _is_image(value: Any) -> bool:
    """Whether it could be an image: of (image, label), the label could not."""
    if isinstance(value, Image.Image) or _is_encoded(value):
        return True
    if not _is_array(value):
        return False
    try:
        array_axes(tuple(value.shape))
    except ValueError:
        return False
    return True


def _is_encoded(value: Any) -> bool:
    return isinstance(value, Mapping) and set(value) == {"bytes", "path"}


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray) or _is_tensor(value)


def _is_tensor(value: Any) -> bool:
    """Whether it is torch's: torch itself may not be imported for that."""
    return hasattr(value, "detach") and hasattr(value, "shape")


def _as_array(value: Any) -> np.ndarray:
    if _is_tensor(value):
        value = value.detach().cpu()
        value = value.float() if "bfloat16" in str(value.dtype) else value
        value = value.numpy()
    array: np.ndarray = np.asarray(value)
    return array


def _described(item: Any) -> str:
    if _is_array(item):
        return f"{item.dtype} of shape {tuple(item.shape)}"
    if isinstance(item, tuple | list):
        return f"a {type(item).__name__} of {', '.join(type(part).__name__ for part in item)}"
    return f"a {type(item).__name__}"


Images = ImageItems | Iterable[object]
"""A set of images in memory: what has items, and a `DataLoader`, which can only be gone through."""
