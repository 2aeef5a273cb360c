"""The classes that an open-vocabulary segmenter is asked for: names, prompts and thresholds.

From a comma list, or from a file: a name a line, or a CSV table with the columns name and, where
they are wanted, prompt and threshold.
"""

import csv
import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

from unseen.core.errors import SpecError
from unseen.core.files import as_path
from unseen.core.registry import Spec, parse_spec

_COLUMNS = ("name", "prompt", "threshold")


@dataclasses.dataclass(frozen=True)
class OpenClass:
    """A class that is looked for by words."""

    name: str
    prompt: str  # what the network is asked for
    threshold: float | None = None  # of the network's score, 0 to 1; None: that of all classes


def read_classes(text: str) -> tuple[OpenClass, ...]:
    """The classes that a comma list names, or that a file holds.

    >>> [found.name for found in read_classes("person, hot-air balloon")]
    ['person', 'hot-air balloon']

    Raises:
        SpecError: no class, one of no name, the same twice, a table of other columns, or a
            threshold that is none.
    """
    path = as_path(text)
    if path.suffix.lower() in (".csv", ".txt") and "," not in text:
        classes = _of_file(path)
    else:
        classes = [OpenClass(name.strip(), name.strip()) for name in text.split(",")]
    names = [found.name for found in classes]
    if not names or not all(found.name and found.prompt for found in classes):
        raise SpecError(f"{text!r} holds a class without a name; write person,car or a file")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise SpecError(f"{text!r} names the class {twice!r} twice; name it once")
    return tuple(classes)


def _of_file(path: Path) -> list[OpenClass]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(
            f"{path} cannot be read as a list of classes ({error}); give a text file of UTF-8"
        ) from error
    lines = [line for line in text.splitlines() if line.strip()]
    header = [cell.strip() for cell in lines[0].split(",")] if lines else []
    if "name" not in header:
        return [OpenClass(line.strip(), line.strip()) for line in lines]
    unknown = [cell for cell in header if cell not in _COLUMNS]
    if unknown:
        raise SpecError(f"{path} has the column {unknown[0]!r}; known are {', '.join(_COLUMNS)}")
    rows = csv.DictReader(lines, fieldnames=header)
    next(rows)
    return [
        OpenClass(
            (row["name"] or "").strip(),
            (row.get("prompt") or row["name"] or "").strip(),
            score_threshold(row["threshold"], f"{path}, {row['name']}")
            if row.get("threshold")
            else None,
        )
        for row in rows
    ]


def score_threshold(text: str, where: str) -> float:
    """A threshold of scores as it is written: above 0 and at most 1 (SpecError otherwise)."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value <= 1:
        raise SpecError(f"{where}: the threshold {text!r} is no number above 0 and up to 1")
    return value


def classes_csv(classes: Sequence[OpenClass]) -> str:
    """The classes as a table that `read_classes` reads."""
    import io

    written = io.StringIO()
    rows = csv.writer(written, lineterminator="\n")
    rows.writerow(_COLUMNS)
    for found in classes:
        shown = "" if found.threshold is None else f"{found.threshold:.9g}"
        rows.writerow((found.name, found.prompt, shown))
    return written.getvalue()


def with_classes(segmenter: str | None, classes: str | None) -> str | None:
    """The spec of a segmenter with the classes that were told beside it.

    >>> with_classes("open:sam3:models/sam3", "person,balloon")
    'open:sam3:models/sam3?classes=person,balloon'

    Raises:
        SpecError: the segmenter takes no classes, or names them itself.
    """
    if classes is None:
        return segmenter
    if segmenter is None or not segmenter.startswith("open:"):
        raise SpecError(
            f"classes {classes!r:.60} were told, and {segmenter or 'the default segmenter'} knows "
            "its own; name a segmenter of open vocabulary: --segmenter open:sam3:FOLDER"
        )
    spec: Spec = parse_spec(segmenter)
    if "classes" in spec.options:
        raise SpecError(f"{segmenter!r} names its classes itself; leave out {classes!r:.60}")
    return f"{segmenter}{'&' if spec.options else '?'}classes={classes}"
