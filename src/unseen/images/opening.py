"""From what a user wrote to an image source: a spec, or a bare path told by what it holds."""

import zipfile
from pathlib import Path

from unseen.core.errors import ImageError, SpecError
from unseen.core.files import as_place
from unseen.core.registry import Spec, parse_spec, plugin, plugin_names, spec_name
from unseen.core.storage import Stored, is_url
from unseen.images.arrays import ValueRange
from unseen.images.custom import Images, open_object
from unseen.images.inventory import tell_left_out
from unseen.images.protocol import ImageSource


def open_images(
    images: str | Path | ImageSource | Images,
    *,
    value_range: ValueRange | None = None,
    skip_broken: bool = False,
) -> ImageSource:
    """Open a set of images.

    Args:
        images: a spec (`zip:photos.zip`, `churchyard?seed=1`), or the path of a folder of images, a
            zip file, a tar (WebDataset), a Parquet file, an LSUN LMDB folder or an `.npz` file. A
            text that begins with a plug-in's name is a spec; write `./churchyard` for a folder of
            that name. Or a set in memory: a list of Pillow images, a uint8 array (n, h, w, 3) or
            (n, 3, h, w), a tensor, a torch `Dataset` or `DataLoader`, a Hugging Face dataset. An
            image source is returned as it is.
        value_range: what black and white are in arrays of floats, or of integers of more than 16
            bits, in memory: (0, 1), (-1, 1), (0, 255). Without it such arrays are refused.
        skip_broken: leave out subfolders that cannot be read, and list them, instead of stopping.

    Raises:
        SpecError: a spec that names nothing known, or is malformed.
        ImageError: a path that is missing, or that holds no images; an object that is no set.
        MissingExtraError: the kind of set needs a package that is not installed.

    Example:
        >>> import numpy as np
        >>> grey = np.zeros((2, 64, 64), np.uint8)
        >>> source = open_images(grey)
        >>> list(source.names), source.read(0).shape
        (['000000', '000001'], (3, 64, 64))
    """
    if isinstance(images, str | Path):
        if value_range is not None:
            raise SpecError(
                f"value_range is of arrays in memory, and {str(images)!r} names a set; leave it out"
            )
        source = _open_named(images)
        unreadable: ImageError | None = getattr(source, "unreadable", None)
        if unreadable is None:
            return source
        if not skip_broken:
            raise unreadable
        return tell_left_out(source)
    if isinstance(images, ImageSource):
        return images
    return open_object(images, value_range)


def _open_named(text_or_path: str | Path) -> ImageSource:
    if isinstance(text_or_path, str):
        if not text_or_path.strip():
            raise SpecError("images are named by an empty text; name a folder, a file or a spec")
        if spec_name(text_or_path) in plugin_names("images"):
            return _open(parse_spec(text_or_path))
    path = as_place(text_or_path)
    if not path.exists():
        raise _missing(str(text_or_path))
    kind = _kind_of(path)
    return _open(Spec(f"{kind}:{path}", kind, str(path)))


def _open(spec: Spec) -> ImageSource:
    source: ImageSource = plugin("images", spec)(spec)
    return source


def _kind_of(path: Path | Stored) -> str:
    if path.is_dir():
        return "lmdb" if (path / "data.mdb").is_file() else "folder"
    if path.suffix.lower() == ".npz":
        return "npz"
    if path.suffix.lower() == ".tar":
        return "webdataset"
    if path.suffix.lower() == ".parquet":
        return "parquet"
    if path.suffix.lower() == ".zip" or (isinstance(path, Path) and _is_zip(path)):
        return "zip"
    raise ImageError(
        f"{path} is no set of images; give a folder, a .zip, a .tar, a .parquet, an LSUN LMDB "
        "folder or an .npz file"
    )


def _is_zip(path: Path) -> bool:
    return path.is_file() and zipfile.is_zipfile(path)


def _missing(text: str) -> ImageError | SpecError:
    if is_url(text):
        return ImageError(
            f"{text} does not exist; see the bucket and the path, and name a folder, a .zip, a "
            ".tar or a .parquet there"
        )
    if "://" in text:
        return SpecError(f"{text} is a web address; download the images and name their folder")
    name, colon, _ = text.partition(":")
    known = ", ".join(plugin_names("images"))
    if colon and "/" not in name:
        return SpecError(f"{text!r} is neither an existing path nor a known spec; known: {known}")
    return ImageError(
        f"{text} does not exist; give a folder, a .zip, a .tar, a .parquet, an LSUN LMDB folder, "
        f"an .npz file, or a spec ({known})"
    )
