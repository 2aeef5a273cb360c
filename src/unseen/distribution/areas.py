"""Areas: pixels per class per image, one row an image.

In memory only; `areas_file` reads and writes them.
"""

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from jaxtyping import Float32, Float64, UInt32

from unseen.core.errors import RecordError, SpecError
from unseen.core.files import as_path
from unseen.core.identity import Identity, identify
from unseen.core.results import Result, import_pandas
from unseen.core.wording import listed

if TYPE_CHECKING:
    import pandas

# Class 0 is hidden in the paper's histogram because UPP calls it "none". Label sets without such a
# class begin with a real one ("wall" in ADE20K), which must not be hidden: the name decides.
_NOTHING = {"none", "other", "others", "background", "void", "unlabeled", "unlabelled", "unknown"}

FORMAT = 1  # of what the numbers mean: pixels of classes, counted in label maps or masks
# What of a source's description decides areas, beside its contents.
_DECIDING = (
    *("asked", "seed", "part", "paired", "resolution", "match_resolution", "fit"),
    *("half", "views", "worn", "maps"),
)

# Measured of every image beside its areas (see `instrument`); confidence is the segmenter's own.
Measured = Literal["confidence", "brightness", "contrast", "saturation", "sharpness"]
MEASURED: tuple[Measured, ...] = get_args(Measured)


def nothing(columns: Sequence[str]) -> str | None:
    """The column that is the label set's word for "no class", if it has one."""
    first = columns[0] if columns else ""
    return first if class_name(first).casefold() in _NOTHING else None


def columns_named(columns: Sequence[str], names: Sequence[str]) -> list[str]:
    """The columns of these classes, in the order asked for: by name, or as channel/class.

    Raises:
        SpecError: a name that no column has.

    >>> columns_named(("object/sky", "object/car"), ["Car"])
    ['object/car']
    """
    asked = []
    for name in names:
        wanted = name.casefold()
        found = [c for c in columns if wanted in (c.casefold(), class_name(c).casefold())]
        if not found:
            known = [class_name(column) for column in columns]
            near = [other for other in known if wanted in other.casefold()]
            near += difflib.get_close_matches(name, known, n=3)
            raise SpecError(
                f"no class is called {name!r}; "
                + (f"near are {listed(dict.fromkeys(near))}" if near else "known are ")
                + ("" if near else listed(known, most=12))
            )
        asked += found
    return list(dict.fromkeys(asked))


def class_name(column: str) -> str:
    """The class of a column: "person" of "object/person"."""
    return column.partition("/")[2]


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Areas(Result):
    """How much of each image every class covers.

    >>> real
    Areas of 200 images and 6 classes: building 91.7 %, sky 3.38 % and tree 2.09 % of the pixels

    Attributes:
        names: one per image, unique, in index order.
        columns: `channel/class`, e.g. "object/person", in label order.
        pixels: row i, column k: pixels of class k in the label map of image i.
        label_map_pixels: height × width of a label map; every row sums to it, unless classes
            overlap.
        provenance: JSON: image source, fingerprint, seed, segmenter, precision, package version.
        measured: by name, one number an image, 0 to 1, as the segmenter saw it: those of
            `MEASURED`, confidence NaN where the segmenter does not say it; or nothing, in areas of
            an earlier version and in tallies.
        views: where the segmenter was checked, by what was done to the images: `pixels` of those.
        conditions: what every image was asked for, such as its prompt; None where nobody knows.
        overlapping: whether classes may overlap, so that rows need not sum to the image.
        instances: row i, column k: things of class k in image i; None where nobody counts them.
    """

    names: Sequence[str]
    columns: tuple[str, ...]
    pixels: UInt32[np.ndarray, "n k"]
    label_map_pixels: int
    provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    measured: Mapping[str, Float32[np.ndarray, " n"]] = dataclasses.field(default_factory=dict)
    views: Mapping[str, UInt32[np.ndarray, "n k"]] = dataclasses.field(default_factory=dict)
    conditions: Sequence[str] | None = None
    overlapping: bool = False
    instances: UInt32[np.ndarray, "n k"] | None = None

    def __post_init__(self) -> None:
        if self.pixels.shape != (len(self.names), len(self.columns)):
            raise RecordError(
                f"areas of {len(self.names)} images and {len(self.columns)} classes were given a "
                f"table of shape {self.pixels.shape}"
            )
        beside: dict[str, Any] = {**self.measured, **self.views}
        if self.conditions is not None:
            beside["conditions"] = self.conditions
        if self.instances is not None:
            beside["instances"] = self.instances
        for name, values in beside.items():
            if len(values) != len(self.names):
                raise RecordError(
                    f"areas of {len(self.names)} images were given {len(values)} of {name}"
                )

    def __len__(self) -> int:
        return len(self.names)

    @property
    def fraction(self) -> Float64[np.ndarray, "n k"]:
        """Share of the image, 0 to 1."""
        return self.shares(slice(None))

    def shares(self, columns: Any) -> Float64[np.ndarray, "n ..."]:
        """The same of some columns alone; `columns` is any index of NumPy's."""
        shares: np.ndarray = self.pixels[:, columns] / np.float64(self.label_map_pixels)
        return shares

    @property
    def percent(self) -> Float64[np.ndarray, "n k"]:
        """Percent of the image, 0 to 100: the unit of the Fréchet Segmentation Distance."""
        return self.pixels * (100.0 / self.label_map_pixels)

    def part(self, rows: Any) -> "Areas":
        """These images alone, under the same provenance; `rows` is any index of NumPy's."""
        return dataclasses.replace(
            self,
            names=[self.names[i] for i in np.arange(len(self))[rows]],
            pixels=self.pixels[rows],
            measured={name: values[rows] for name, values in self.measured.items()},
            views={name: pixels[rows] for name, pixels in self.views.items()},
            conditions=None
            if self.conditions is None
            else [self.conditions[i] for i in np.arange(len(self))[rows]],
            instances=None if self.instances is None else self.instances[rows],
        )

    def summary(self) -> str:
        """The classes that cover most of the images.

        >>> print(real.summary())
        Areas of 200 images and 6 classes: ...
        """
        from unseen.distribution.areas_views import as_table

        return as_table(self)

    def to_pandas(self) -> "pandas.DataFrame":
        """Pixels as a table of pandas: a row an image, by its name, and a column a class.

        Raises:
            MissingExtraError: pandas is not installed.

        >>> real.to_pandas().shape
        (200, 6)
        """
        pandas = import_pandas()
        index = pandas.Index(self.names, name="name")
        return pandas.DataFrame(self.pixels, index=index, columns=list(self.columns))

    def plot(self) -> Any:
        """The mean areas of the classes that cover most, as a figure of matplotlib.

        >>> real.plot().savefig(folder / "areas.pdf")
        """
        from unseen.distribution.areas_views import draw_areas

        return draw_areas(self)

    def save(self, place: str | Path) -> Path:
        """Write `areas.parquet` into a folder, or a file that is named `….parquet`.

        Returns:
            The file; `read_areas` gives the same areas.

        Raises:
            StorageError: the disk is full, or the place cannot be written.

        >>> len(read_areas(real.save(folder)))
        200
        """
        from unseen.distribution.areas_file import write_areas

        path = as_path(place)
        path = path if path.suffix == ".parquet" else path / "areas.parquet"
        write_areas(path, self)
        return path

    def _views(self) -> ModuleType:
        from unseen.distribution import areas_views

        return areas_views


def joined(parts: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """What all parts have by one name, one after the other."""
    names = [name for name in parts[0] if all(name in part for part in parts)]
    return {name: np.concatenate([part[name] for part in parts]) for name in names}


def joined_instances(parts: Sequence[Areas]) -> UInt32[np.ndarray, "n k"] | None:
    """The counts of things of all parts; None where some part has none."""
    counts = [part.instances for part in parts if part.instances is not None]
    return np.concatenate(counts) if len(counts) == len(parts) else None


def joined_conditions(parts: Sequence[Areas]) -> list[str] | None:
    """The conditions of all parts; None where no part has them.

    Raises:
        RecordError: some parts have conditions and others have none.
    """
    known = [part.conditions for part in parts if part.conditions is not None]
    if not known:
        return None
    if len(known) < len(parts):
        raise RecordError(
            f"{len(known)} of {len(parts)} areas have conditions; join those that have them alone"
        )
    return [condition for conditions in known for condition in conditions]


def areas_identity(provenance: Mapping[str, Any]) -> Identity:
    """What areas of this provenance depend on."""
    sources = provenance.get("images", [])
    images: dict[str, str | None] = {}
    parts: dict[str, Any] = {"segmenter": provenance.get("segmenter")}
    options: dict[str, Any] = {}
    for i, source in enumerate(sources):
        name = "images" if len(sources) == 1 else f"images {i + 1}"
        images[name] = source.get("fingerprint")
        drawn = dict(source.get("drawn") or {})
        drawn.pop("batch_size", None)  # a run is finished with the size that it began with
        parts[f"generator of {name}"] = drawn.pop("generator", None)
        kept = {key: source[key] for key in _DECIDING if key in source}
        options.update({**kept, "drawn": drawn} if len(sources) == 1 else {name: kept | drawn})
    return identify("areas", FORMAT, images=images, parts=parts, options=options)
