"""`maps:FOLDER`: label maps that exist already, in place of a segmenter.

A map is found by the name of its image: `street/0001.png` is the map of `street/0001.jpg`. The
folder's `classes.csv` names the classes: rows of `name,value` for grey or indexed PNG files, or of
`name,red,green,blue` for coloured ones; rows of one name are one class. `classes.txt` is a list
instead, a name a line, whose values are 0, 1, …; and `about.json` is what `--keep-maps` writes.
Where a folder holds the maps of several sets, those of `photos/` are in its subfolder `photos`.
"""

import collections
import csv
import dataclasses
import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

import numpy as np
from jaxtyping import Integer, UInt8
from PIL import Image

from unseen.core.errors import SegmenterError, first_line
from unseen.core.files import open_regular, sha256_of_file, sha256_of_parts
from unseen.core.registry import Spec, takes
from unseen.images import ImageSource
from unseen.images.decode import check_size
from unseen.images.preparation import Preparation, Size
from unseen.segmenters.protocol import Precision

_RESOLUTION = 256  # side of the label maps that are counted, as of the default segmenter's
_CLASS_FILES = ("classes.csv", "classes.txt", "about.json")
_GREY = ("1", "L", "P", "I", "I;16", "I;16B")
_COLOUR = ("red", "green", "blue")


@dataclasses.dataclass(frozen=True)
class _Palette:
    """Which class a pixel's value is; of colours the value is 256² red + 256 green + blue."""

    classes: tuple[str, ...]
    values: Mapping[int, int]  # value in a file → class
    colours: bool

    def labels(self, pixels: Integer[np.ndarray, "h w"], name: str) -> Integer[np.ndarray, "h w"]:
        """Pixels' values as classes (SegmenterError: a value that is no class)."""
        found, places = np.unique(pixels, return_inverse=True)
        for value in found:
            if int(value) not in self.values:
                kind = f"colour {_rgb(int(value))}" if self.colours else f"value {value}"
                raise SegmenterError(
                    f"{name} holds the {kind}, which is no class; add it to the list of classes"
                )
        known = np.array([self.values[int(value)] for value in found], np.uint16)
        labels: np.ndarray = known[places].reshape(pixels.shape)
        return labels


@takes("resolution")
def load_maps(spec: Spec, *, device: str, precision: Precision) -> "ExistingMaps":  # noqa: ARG001
    """The label maps of `maps:FOLDER[?resolution=SIDE]`.

    Raises:
        SegmenterError: no such folder, no list of classes, or one that cannot be read.
    """
    folder = Path(spec.require_argument("folder"))
    if not folder.is_dir():
        raise SegmenterError(f"{spec.text}: {folder} is no folder; give the one with the maps")
    if precision != "fp32":
        raise SegmenterError(f"{spec.text} takes no precision: the maps are there; leave it out")
    resolution = spec.options.get("resolution", str(_RESOLUTION))
    if not resolution.isdecimal() or not int(resolution):
        raise SegmenterError(f"{spec.text}: resolution is {resolution!r}; give a number of pixels")
    return ExistingMaps(folder, spec.text, int(resolution))


class ExistingMaps:
    """Label maps that exist, as a segmenter that is told which images it labels.

    Args:
        folder: of the maps and their list of classes.
        name: how messages call it.
        resolution: side of the squares that are counted; of maps that `--keep-maps` wrote, theirs.
    """

    def __init__(self, folder: Path, name: str, resolution: int = _RESOLUTION) -> None:
        self._folder, self._name = folder, name
        self._taken: dict[Path, str] = {}  # folder of maps → the set that they belong to
        self._matched: dict[str, dict[str, Path]] = {}  # set → key of an image → its map
        self._palette, kept = _read_classes(folder, name)
        # Maps that unseen kept are of prepared squares; others are of whole images.
        self._squares = kept is not None
        self.resolution = resolution if kept is None else kept
        self.channels = {"object": self._palette.classes}
        # What the maps hold is said by set (`maps_fingerprint`): both sides have the same classes.
        self.provenance = {
            "spec": "maps",
            "classes": list(self._palette.classes),
            "resolution": self.resolution,
            "of_squares": self._squares,
        }

    def label_maps(self, images: UInt8[np.ndarray, "n 3 h w"], channel: str) -> NoReturn:  # noqa: ARG002
        """Refuse: pixels alone do not say which map is theirs."""
        raise SegmenterError(
            f"{self._name} finds maps by the names of images, and here are images without names "
            "(drawn, rebuilt or changed); name a segmenter, or write the images to a folder first"
        )

    def maps_fingerprint(self, source: ImageSource) -> str:
        """SHA-256 over the values of every map of a set.

        Raises:
            SegmenterError: a map is missing or belongs to no image; the set draws its images; or
                the maps belong to another set.
        """
        files = self._files(source)
        classes = [f"{value} {label}" for value, label in sorted(self._palette.values.items())]
        hashes = (f"{key} {sha256_of_file(files[key])}" for key in sorted(files))
        return sha256_of_parts([*classes, *hashes])

    def maps_of(
        self,
        source: ImageSource,
        names: Sequence[str],
        sizes: Sequence[Size],
        preparation: Preparation,
    ) -> Integer[np.ndarray, "n h w"]:
        """The label maps of images, fitted into squares as the images are.

        Args:
            source: the set.
            names: of the images.
            sizes: of the images as they were read.
            preparation: how they became squares.

        Raises:
            SegmenterError: a map is missing, broken, of another size than its image, or holds a
                value that is no class.
        """
        files = self._files(source)
        maps = []
        for name, size in zip(names, sizes, strict=True):
            path = files[self._key(name)]
            labels = self._read(path)
            side = self.resolution
            wanted = (side, side) if self._squares else size
            if labels.shape != wanted:
                raise SegmenterError(
                    f"{path} has {labels.shape[1]}×{labels.shape[0]} pixels, "
                    f"{source.spec}/{name} needs {wanted[1]}×{wanted[0]}; give every map the size "
                    "of its image"
                )
            maps.append(labels if self._squares else preparation.labels(labels))
        return np.stack(maps)

    def _read(self, path: Path) -> Integer[np.ndarray, "h w"]:
        try:
            with open_regular(path) as file, Image.open(file, formats=("PNG",)) as image:
                check_size(*image.size, str(path))
                grey = image.mode in _GREY
                if not self._palette.colours and not grey:
                    raise SegmenterError(
                        f"{path} is coloured ({image.mode}), and its classes are values; list "
                        "their colours in classes.csv (name,red,green,blue)"
                    )
                pixels = np.asarray(image.convert("RGB") if self._palette.colours else image)
        except SegmenterError:
            raise
        except Exception as error:  # decoders raise nearly anything on broken bytes
            raise SegmenterError(
                f"{path} is no PNG that can be read ({first_line(error)}); write it again"
            ) from error
        values = pixels.astype(np.int64)
        if self._palette.colours:
            values = values @ (256**2, 256, 1)
        return self._palette.labels(values, str(path))

    def _files(self, source: ImageSource) -> dict[str, Path]:
        """Key of an image → its map, of every image of a set."""
        if source.spec in self._matched:
            return self._matched[source.spec]
        if source.endless:
            raise SegmenterError(
                f"{source.spec} draws its images; write them by `unseen sample`, then give the "
                f"folder, which {self._name} has the maps of"
            )
        place = source.spec.partition("?")[0].rpartition(":")[2]
        inside = self._folder / PurePosixPath(place).stem
        folder = inside if inside.is_dir() else self._folder
        owner = self._taken.setdefault(folder, source.spec)
        if owner != source.spec:
            raise SegmenterError(
                f"the maps of {folder} belong to {owner}, and {source.spec} needs its own; put "
                f"each set's maps into a subfolder of {self._folder} that is called like the set"
            )
        self._matched[source.spec] = _match(folder, source, [*map(self._key, source.names)])
        return self._matched[source.spec]

    def _key(self, name: str) -> str:
        """What the map of an image is called, without `.png`; `--keep-maps` keeps the ending."""
        return name if self._squares else PurePosixPath(name).with_suffix("").as_posix()


def _match(folder: Path, source: ImageSource, keys: Sequence[str]) -> dict[str, Path]:
    found = folder.rglob("*.png")
    files = {path.relative_to(folder).with_suffix("").as_posix(): path for path in found}
    ((key, times),) = collections.Counter(keys).most_common(1)
    if times > 1:
        raise SegmenterError(
            f"{source.spec} has {times} images called {key!r} but for the ending; rename them"
        )
    missing, extra = [key for key in keys if key not in files], sorted(set(files) - set(keys))
    if missing:
        raise SegmenterError(
            f"{folder} has no map for {len(missing):,} of {len(keys):,} images of {source.spec}, "
            f"first {missing[0]}.png; add them"
        )
    if extra:
        raise SegmenterError(
            f"{folder} has {len(extra):,} maps of no image of {source.spec}, first {extra[0]}.png; "
            "remove them, or give each set's maps a subfolder that is called like the set"
        )
    return files


def _rgb(value: int) -> str:
    return f"({value >> 16}, {value >> 8 & 255}, {value & 255})"


def _read_classes(folder: Path, name: str) -> tuple[_Palette, int | None]:
    """The palette; and of maps that unseen kept, the side of their squares."""
    file = next((folder / file for file in _CLASS_FILES if (folder / file).is_file()), None)
    if file is None:
        raise SegmenterError(
            f"{name}: {folder} has no classes.csv (name,value or name,red,green,blue) and no "
            "classes.txt; write one"
        )
    try:
        text = file.read_text(encoding="utf-8-sig")
        if file.suffix == ".txt":
            return _listed([line.strip() for line in text.splitlines() if line.strip()]), None
        if file.suffix == ".json":
            about = json.loads(text)
            return _listed(about["class_names"]), int(
                about["provenance"]["images"][0]["resolution"]
            )
        return _tabled(list(csv.DictReader(text.splitlines()))), None
    except (OSError, UnicodeError, ValueError, KeyError, TypeError, IndexError) as error:
        raise SegmenterError(
            f"{file} is no list of classes ({first_line(error)}); see docs/segmenters.md"
        ) from error


def _listed(names: Sequence[str]) -> _Palette:
    return _Palette(tuple(names), {i: i for i in range(len(names))}, colours=False)


def _tabled(rows: Sequence[Mapping[str, Any]]) -> _Palette:
    names = tuple(dict.fromkeys(row["name"].strip() for row in rows))
    colours = all(key in rows[0] for key in _COLOUR)
    values: dict[int, int] = {}
    for row in rows:
        parts = [int(row[key]) for key in (_COLOUR if colours else ("value",))]
        if not all(0 <= part < (256 if colours else 65_536) for part in parts):
            raise ValueError(f"{row['name']} has a value out of range")
        value = functools.reduce(lambda high, low: 256 * high + low, parts)
        label = names.index(row["name"].strip())
        if values.setdefault(value, label) != label:
            raise ValueError(f"{row['name']} has the value of another class")
    return _Palette(names, values, colours)
