"""From what a user wrote to an image source: a spec, or a bare path told by what it holds."""

import zipfile
from pathlib import Path
from typing import Any

from unseen.core.errors import ImageError, SpecError
from unseen.core.registry import Spec, parse_spec, plugin, plugin_names, spec_name
from unseen.images.protocol import ImageSource


def open_images(text_or_path: str | Path) -> ImageSource:
    """Open a set of images.

    Args:
        text_or_path: a spec (`zip:photos.zip`, `churchyard?seed=1`), or the path of a folder of
            images, a zip file, an LSUN LMDB folder or an `.npz` file. A text that begins with a
            plug-in's name is a spec; write `./churchyard` for a folder of that name.

    Raises:
        SpecError: a spec that names nothing known, or is malformed.
        ImageError: a path that is missing, or that holds no images.
        MissingExtraError: the kind of set needs a package that is not installed.
    """
    if isinstance(text_or_path, str):
        if not text_or_path.strip():
            raise SpecError("images are named by an empty text; name a folder, a file or a spec")
        spec = _spec_of(text_or_path)
        if spec is not None:
            source: ImageSource = plugin("images", spec)(spec)
            return source
    path = Path(text_or_path).expanduser()
    if not path.exists():
        raise _missing(str(text_or_path))
    kind = _kind_of(path)
    return _open(kind, path)


def _spec_of(text: str) -> Spec | None:
    """The spec, where the text begins with a known plug-in's name."""
    return parse_spec(text) if spec_name(text) in plugin_names("images") else None


def _open(kind: str, path: Path) -> ImageSource:
    spec = Spec(f"{kind}:{path}", kind, str(path))
    opened: Any = plugin("images", spec)(spec)
    source: ImageSource = opened
    return source


def _kind_of(path: Path) -> str:
    if path.is_dir():
        return "lmdb" if (path / "data.mdb").is_file() else "folder"
    if path.suffix.lower() == ".npz":
        return "npz"
    if path.suffix.lower() == ".zip" or (path.is_file() and zipfile.is_zipfile(path)):
        return "zip"
    raise ImageError(
        f"{path} is no set of images; give a folder, a .zip, an LSUN LMDB folder or an .npz file"
    )


def _missing(text: str) -> ImageError | SpecError:
    if "://" in text:
        return SpecError(f"{text} is a web address; download the images and name their folder")
    name, colon, _ = text.partition(":")
    known = ", ".join(plugin_names("images"))
    if colon and "/" not in name:
        return SpecError(f"{text!r} is neither an existing path nor a known spec; known: {known}")
    return ImageError(
        f"{text} does not exist; give a folder, a .zip, an LSUN LMDB folder, an .npz file, or a "
        f"spec ({known})"
    )
