"""The tallies of the code of 2019 as areas: `tally:FILE.npy[?labels=labels.json&size=256]`.

A tally is a table of shares of the image, one row an image, one column an object class of
Unified Perceptual Parsing (336, "none" first). It names neither images nor classes. The published
ones are downloaded by name, with their labels: `tally:church`.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from unseen.core.errors import RecordError
from unseen.core.files import as_path, sha256_of_file
from unseen.core.registry import Spec, parse_spec, takes
from unseen.distribution.areas import Areas
from unseen.weights.download import fetch
from unseen.weights.known import KNOWN

# A share is a quotient of pixels; float32 keeps 24 bits, so of 2^16 pixels one in 2^8 is the
# most that rounding can move it.
_ROUNDING = 1 / 256
_PREFIX = "tally-"  # of the names of tallies among the published files
_LABELS = "upp/labels.json"


def read_tally(tally: str | Path) -> Areas:
    """Read a tally of the code of 2019: a file, or one that its authors published.

    Args:
        tally: the file; the spec `tally:FILE.npy`; or `tally:church`, `tally:bedroom`: published,
            downloaded once, with its class names. Options: `labels`, the `labels.json` of the
            segmenter, for the names of the classes (without it `object/0`, `object/1`, …);
            `size`, the side of the label maps in pixels, 256 unless said.

    Raises:
        RecordError: the file is missing or no table of shares, no such tally was published, or some
            rows are empty: the 2019 code left rows of zeros where the folder had fewer images than
            asked for.
        DownloadError: the tally cannot be fetched.

    >>> read_tally("counts.npy")  # doctest: +SKIP
    """
    if isinstance(tally, Path) or not tally.startswith("tally:"):
        return _read(Spec(str(tally), "tally", str(tally)))
    spec = parse_spec(tally)
    name = spec.require_argument("file")
    if name.endswith(".npy") or as_path(name).exists():
        return _read(spec)
    if _PREFIX + name not in KNOWN:
        known = [key.removeprefix(_PREFIX) for key in KNOWN if key.startswith(_PREFIX)]
        raise RecordError(
            f"{tally} names neither a file nor a published tally; known: {', '.join(known)}"
        )
    options = {"labels": spec.options.get("labels") or str(fetch(_LABELS)), **spec.options}
    return _read(Spec(tally, spec.name, str(fetch(_PREFIX + name)), options))


@takes("labels", "size")
def _read(spec: Spec) -> Areas:
    path = as_path(spec.require_argument("file"))
    size = spec.integer("size", 256, least=1, most=65_535)
    fraction = _read_table(path)

    empty = np.flatnonzero(~fraction.any(axis=1))
    if empty.size:
        raise RecordError(
            f"{path} has {empty.size} of {len(fraction)} rows without any class, first row "
            f"{empty[0]}: the 2019 code leaves them where a folder has fewer images than asked "
            "for; tally the images again, or cut the rows off"
        )
    exact = fraction * (size * size)
    pixels = np.rint(exact)
    sums = pixels.sum(axis=1)
    wrong = np.flatnonzero(
        (np.abs(exact - pixels) > _ROUNDING).any(axis=1)
        | (pixels < 0).any(axis=1)
        | (sums != size * size)
    )
    if wrong.size:
        raise RecordError(
            f"{path}: row {wrong[0]} sums to {fraction[wrong[0]].sum():.6g} and does not hold "
            f"shares of {size}×{size} pixels; name the side of the label maps with ?size=PIXELS"
        )
    labels = spec.options.get("labels")
    names = _class_names(as_path(labels), fraction.shape[1]) if labels else None
    columns = tuple(f"object/{name}" for name in names or map(str, range(fraction.shape[1])))
    source = {"spec": spec.text, "fingerprint": sha256_of_file(path), "count": len(fraction)}
    return Areas(
        names=[f"{i:06d}" for i in range(len(fraction))],
        columns=columns,
        pixels=pixels.astype(np.uint32),
        label_map_pixels=size * size,
        # the tally does not say which weights made it
        provenance={"images": [source], "segmenter": None},
    )


def _read_table(path: Path) -> np.ndarray[Any, np.dtype[np.float64]]:
    if not path.is_file():
        raise RecordError(f"{path} is not there; give the tally's .npy file")
    try:
        # Mapped: a header that promises more than the file holds is refused before any memory.
        table = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError, TypeError, OverflowError) as error:
        raise RecordError(f"{path} cannot be read as .npy ({error})") from error
    if not isinstance(table, np.ndarray) or table.ndim != 2 or table.dtype.kind not in "fiu":
        raise RecordError(f"{path} is no table of numbers with one row an image")
    if not np.isfinite(table).all():
        raise RecordError(f"{path} holds values that are not numbers; tally the images again")
    return table.astype(np.float64)


def _class_names(path: Path, classes: int) -> list[str]:
    """The object classes in `labels.json` of Unified Perceptual Parsing, "none" first."""
    try:
        names = [str(name) for name in json.loads(path.read_text(encoding="utf-8"))["object"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RecordError(f"{path} does not list the object classes ({error!r})") from error
    if len(names) == classes - 1:
        names = ["none", *names]
    names = ["none", *(_told_apart(names)[1:])]  # the published name of class 0 is "-"
    if len(names) != classes:
        raise RecordError(
            f"{path} names {len(names)} object classes, the tally has {classes} columns"
        )
    return names


def _told_apart(names: list[str]) -> list[str]:
    """The names as the segmenter's columns have them: " (2)" after one that comes again."""
    return [
        name if (nth := names[: i + 1].count(name)) == 1 else f"{name} ({nth})"
        for i, name in enumerate(names)
    ]
