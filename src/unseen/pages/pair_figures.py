"""Figures of photographs beside what a generator made of them, for a paper.

`draw_pairs` follows Figures 1b and 5 of Bau et al., ICCV 2019: photograph, reconstruction, and the
segmentation of each. `draw_instances` shows single objects, outlined, beside their controls.
"""

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.ndimage
from jaxtyping import Bool, Float64, Int64, UInt8

from unseen.core.errors import RecordError
from unseen.core.figure_style import (
    LIGHT,
    WIDTHS,
    Theme,
    Width,
    plain,
    save_figure,
    styled_figure,
)
from unseen.core.wording import percent, share
from unseen.distribution.areas import class_name, columns_named
from unseen.distribution.comparison import Comparison
from unseen.images.record_pictures import read_label_map, read_picture
from unseen.instance_evidence.record import Case, Evidence, Instance, cases
from unseen.instance_evidence.record import Picture as EvidencePicture
from unseen.pages.overlays import class_colour, rgb
from unseen.statistics.label_layers import covers, on_top, pixels_of_classes

_HEADS = ("photograph", "reconstruction", "segmented", "segmented")
_LINE, _GAP = 0.13, 0.04  # inches: a line of text; between panels
_IN_LEGEND = 0.01  # of an image: a class that nowhere covers so much is left out of the legend
_MOST_IN_LEGEND = 12
_MOST_NAMED = 2  # classes named below a pair: those that lost most
_NAMED_FROM = 0.005  # of the image, that a class lost
_TOLD_FROM = 0.05  # of an instance, that became another class
_FAINT = 0.75  # how much of its colour a class loses that was not asked for


@dataclasses.dataclass(frozen=True, eq=False)
class _Seen:
    """A picture and what the segmenter saw in it."""

    pixels: UInt8[np.ndarray, "h w 3"]
    labels: Int64[np.ndarray, "*layers h2 w2"]


_Pair = tuple[_Seen, _Seen]  # photograph, reconstruction


class _Reader:
    """Reads pictures and label maps of a record, each once."""

    def __init__(self, folder: Path | None, columns: Sequence[str]) -> None:
        if folder is None:
            raise RecordError("the record's pictures are not known; read it from its folder")
        self._folder, self._columns = folder, columns
        self._seen: dict[tuple[str, str], _Seen] = {}

    def __call__(self, image: str | None, label_map: str | None) -> _Seen | None:
        """The picture; None where the record has none."""
        if image is None or label_map is None:
            return None
        key = image, label_map
        if key not in self._seen:
            self._seen[key] = _Seen(
                np.moveaxis(read_picture(self._folder, image), 0, -1),
                read_label_map(self._folder, label_map, len(self._columns)),
            )
        return self._seen[key]


def draw_pairs(
    record: Evidence | Comparison,
    *paths: Path,
    theme: Theme = LIGHT,
    width: Width = "page",
    classes: Sequence[str] = (),
    count: int = 4,
) -> Any:
    """Photographs beside their reconstructions, and the segmentation of both.

    Below each pair stands what the classes asked for cover before and after; without any, what the
    two classes cover that lost most. Classes that were not asked for are pale.

    Args:
        record: evidence; or a comparison of photographs with images of the same names.
        paths: files to write.
        theme: its colours.
        width: of a column or of a page.
        classes: by name: photographs that hold them, those that lost most first.
        count: of photographs, at most.

    Raises:
        RecordError: the record has no pairs of pictures, or none with these classes.
    """
    columns = record.columns
    asked = columns_named(columns, classes)
    read = _Reader(record.folder, columns)
    if isinstance(record, Evidence):
        found = _evidence_pairs(record, asked, read)
    else:
        found = _comparison_pairs(record, asked, read)
    pairs = list(itertools.islice(found, count))
    if not pairs:
        of = f" that hold {', '.join(classes)}" if classes else ""
        raise RecordError(
            f"the record has no photographs{of} with a reconstruction and their pictures; name "
            "what `unseen invert` or `unseen evidence` wrote, or a comparison of photographs with "
            "images of the same names"
        )
    labels = [columns.index(column) for column in asked]
    legend = _legend(pairs, columns, labels)
    grid = _Grid(width, len(pairs), _heads(record, width), -(-len(legend) // _in_line(width)))
    with styled_figure(WIDTHS[width], grid.height, theme, paper=True) as figure:
        for row, pair in enumerate(pairs):
            panels = grid.panels(figure, row, _losses(pair, columns, labels))
            for panel, seen in zip(panels[:2], pair, strict=True):
                _show(panel, seen)
            for panel, seen in zip(panels[2:], pair, strict=True):
                panel.imshow(_coloured(seen.labels, columns, labels), interpolation="nearest")
        _explain(figure, legend, columns, width)
        save_figure(figure, paths)
        return figure


def draw_instances(
    evidence: Evidence,
    *paths: Path,
    theme: Theme = LIGHT,
    width: Width = "page",
    classes: Sequence[str] = (),
    count: int = 4,
) -> Any:
    """Single objects of photographs, outlined, beside what became of them and their controls.

    A row an object: the photograph, its reconstruction, an image of the generator with the nearest
    matched region, and the reconstruction of that. Without controls: the segmentations of both.

    Args:
        evidence: what is drawn.
        paths: files to write.
        theme: its colours.
        width: of a column or of a page.
        classes: by name; none: the gravest class.
        count: of objects, at most, those that lost most first.

    Raises:
        RecordError: no photograph holds an instance of these classes that was rebuilt.
    """
    columns = columns_named(evidence.columns, classes)
    columns = columns or [row.column for row in evidence.classes[:1]]
    shown = [case for column in columns for case in cases(evidence, column)]
    shown.sort(key=lambda case: (case.instance.rank is None, case.instance.rank))
    read = _Reader(evidence.folder, evidence.columns)
    rows: list[tuple[Case, _Pair, tuple[Instance, _Pair] | None]] = []
    for case in shown:
        mine = _rebuilt(evidence, case.picture, read)
        if mine is not None and len(rows) < count:
            rows.append((case, mine, _control(evidence, case, read)))
    if not rows:
        raise RecordError(
            f"no photograph holds an instance of {', '.join(map(class_name, columns)) or 'a class'}"
            " that was rebuilt; name a class of the record"
        )
    controlled = any(control is not None for *_, control in rows)
    heads = _heads(evidence, width)
    if controlled:
        heads = (*heads[:2], "matched control", "reconstruction")
    grid = _Grid(width, len(rows), heads)
    with styled_figure(WIDTHS[width], grid.height, theme, paper=True) as figure:
        for row, (case, mine, control) in enumerate(rows):
            said = [_became(evidence, case.instance)]
            if control is not None:
                said.append(_became(evidence, control[0]))
            panels = grid.panels(figure, row, *said)
            _draw_instance(panels[:2], evidence, case.instance, mine)
            if control is not None:
                _draw_instance(panels[2:], evidence, *control)
            elif not controlled:
                label = [evidence.columns.index(case.instance.column)]
                for panel, seen in zip(panels[2:], mine, strict=True):
                    coloured = _coloured(seen.labels, evidence.columns, label)
                    panel.imshow(coloured, interpolation="nearest")
        save_figure(figure, paths)
        return figure


@dataclasses.dataclass(frozen=True)
class _Grid:
    """Rows of four square panels, heads above the first and a line of text below each; inches."""

    width: Width
    rows: int
    heads: tuple[str, ...]
    legend_lines: int = 0

    @property
    def side(self) -> float:
        """Of a panel."""
        return (WIDTHS[self.width] - 3 * _GAP) / 4

    @property
    def head(self) -> float:
        """The height of the heads."""
        return _LINE * (1 + max(head.count("\n") for head in self.heads)) + _GAP

    @property
    def height(self) -> float:
        """Of the whole."""
        row = self.side + _LINE + 2 * _GAP
        return self.head + self.rows * row + self.legend_lines * _LINE + _GAP

    def panels(self, figure: Any, row: int, *said: str) -> list[Any]:
        """The panels of a row, with texts below the first of them, or of each half."""
        width, side = WIDTHS[self.width], self.side
        top = self.height - self.head - row * (side + _LINE + 2 * _GAP)
        panels = []
        for column, head in enumerate(self.heads):
            left = column * (side + _GAP)
            place = (left / width, (top - side) / self.height, side / width, side / self.height)
            panel = figure.add_axes(place, xticks=[], yticks=[], frame_on=False)
            if row == 0:
                panel.set_title(head, pad=2)
            panels.append(panel)
        figure.set_layout_engine("none")
        for panel, text in zip(panels[::2], said, strict=False):
            panel.set_xlabel(text, loc="left", labelpad=2)
        return panels


def _heads(record: Evidence | Comparison, width: Width) -> tuple[str, ...]:
    """What stands above the panels: labels that the user gave, never a path."""
    if isinstance(record, Comparison):
        names = [(record.real.label, record.real.provenance)]
        names += [(side.label, side.provenance) for side in record.generated[:1]]
    else:
        names = [
            (record.photographs.label, record.photographs.provenance),
            (record.generator, record.provenance),
        ]
    most = 15 if width == "column" else 32  # characters above a panel
    own = [
        head if not label or _is_named_in(provenance, label) else f"{plain(label, most)}\n{head}"
        for (label, provenance), head in zip(names, _HEADS[:2], strict=True)
    ]
    return *own, *_HEADS[2:]


def _is_named_in(provenance: Any, label: str) -> bool:
    """Whether the label is the end of a spec that the provenance holds: the default."""
    if isinstance(provenance, Mapping):
        return any(_is_named_in(value, label) for value in provenance.values())
    if isinstance(provenance, list | tuple):
        return any(_is_named_in(value, label) for value in provenance)
    return isinstance(provenance, str) and provenance.rstrip("/").endswith(
        label.lstrip("…").rstrip("/")
    )


def _evidence_pairs(evidence: Evidence, asked: Sequence[str], read: _Reader) -> Iterator[_Pair]:
    """Photographs with the primary method's reconstruction, those that lost most first."""
    pictures = {p.id: p for p in evidence.pictures if p.role == "photograph"}
    if asked:
        holding = [i.image for i in evidence.instances if i.column in asked and i.image in pictures]
        pictures = {key: pictures[key] for key in dict.fromkeys(holding)}
    for picture in pictures.values():
        pair = _rebuilt(evidence, picture, read)
        if pair is not None:
            yield pair


def _rebuilt(evidence: Evidence, picture: EvidencePicture, read: _Reader) -> _Pair | None:
    """A picture beside the primary method's reconstruction, where there is one."""
    mine = read(picture.image, picture.true_label_map or picture.label_map)
    for rebuilt in picture.rebuilt:
        theirs = read(rebuilt.image, rebuilt.label_map)
        if rebuilt.method == evidence.primary and mine is not None and theirs is not None:
            return mine, theirs
    return None


def _comparison_pairs(
    comparison: Comparison, asked: Sequence[str], read: _Reader
) -> Iterator[_Pair]:
    """Photographs with the images of the same names on the first side that has some."""
    side = next((side for side in comparison.generated if side.counterparts), None)
    if side is None:
        return
    columns = asked or [row.column for row in side.classes]
    shown = set()
    for column in columns:
        real = comparison.real.example_images.get(column, ())
        for mine, theirs in zip(real, side.counterparts.get(column, ()), strict=False):
            pair = (read(mine.image, mine.label_map), read(theirs.image, theirs.label_map))
            if mine.name not in shown and pair[0] is not None and pair[1] is not None:
                shown.add(mine.name)
                yield pair[0], pair[1]


def _control(evidence: Evidence, case: Case, read: _Reader) -> tuple[Instance, _Pair] | None:
    """The nearest matched control that was rebuilt."""
    for instance, picture in case.controls:
        pair = _rebuilt(evidence, picture, read)
        if pair is not None:
            return instance, pair
    return None


def _draw_instance(panels: Any, evidence: Evidence, instance: Instance, pair: _Pair) -> None:
    """A picture and its reconstruction, the instance outlined in both, and what became of it."""
    label = evidence.columns.index(instance.column)
    mask = _component(covers(pair[0].labels, label), instance)
    colour = class_colour(class_name(instance.column))
    for panel, seen in zip(panels, pair, strict=True):
        _show(panel, seen)
        height, width = mask.shape
        # A border of nothing closes outlines at the edge of the image.
        across, down = np.arange(-1, width + 1) + 0.5, np.arange(-1, height + 1) + 0.5
        padded = np.pad(mask, 1).astype(float)
        for line, ink in ((1.8, "white"), (0.9, colour)):
            panel.contour(across, down, padded, levels=[0.5], colors=[ink], linewidths=line)
        panel.set(xlim=(0, width), ylim=(height, 0))


def _became(evidence: Evidence, instance: Instance) -> str:
    """What the primary method made of an instance."""
    fate = next(fate for fate in instance.fates if fate.method == evidence.primary)
    said = f"{plain(class_name(instance.column), 20)}: {share(fate.retention)} kept"
    column, part = max(fate.became.items(), key=lambda item: item[1], default=("", 0.0))
    if part >= _TOLD_FROM:
        said += f", {share(part)} became {plain(class_name(column), 20)}"
    return said


def _component(mask: Bool[np.ndarray, "h w"], instance: Instance) -> Bool[np.ndarray, "h w"]:
    """The component of a class that is the instance: of several in its box, that of its area."""
    components, _ = scipy.ndimage.label(mask, np.ones((3, 3)))
    sizes = np.bincount(components.ravel())
    top, left, bottom, right = instance.box
    inside = np.unique(components[top:bottom, left:right])
    inside = inside[inside > 0]
    nearest = inside[np.argmin(np.abs(sizes[inside] - instance.area_pixels))]
    return np.asarray(components == nearest)


def _show(panel: Any, seen: _Seen) -> None:
    """A picture in the coordinates of its label map; small ones with their pixels."""
    height, width = seen.labels.shape[-2:]
    smooth = "nearest" if max(seen.pixels.shape) <= 64 else "antialiased"
    panel.imshow(seen.pixels, extent=(0, width, height, 0), interpolation=smooth)


def _coloured(
    label_map: Int64[np.ndarray, "*layers h w"], columns: Sequence[str], asked: Sequence[int]
) -> UInt8[np.ndarray, "h w 3"]:
    """A label map in the colours of its classes."""
    palette = np.array([rgb(class_colour(class_name(column))) for column in columns], np.float64)
    if asked:
        pale = np.ones(len(columns), bool)
        pale[list(asked)] = False
        palette[pale] += _FAINT * (255 - palette[pale])
    palette = np.append(palette, [[255, 255, 255]], axis=0)  # of NOTHING, which is the last
    return np.asarray(palette.round().astype(np.uint8)[on_top(label_map)])


def _shares(label_map: Int64[np.ndarray, "*layers h w"], classes: int) -> Float64[np.ndarray, " k"]:
    return pixels_of_classes(label_map, classes) / math.prod(label_map.shape[-2:])


def _losses(pair: _Pair, columns: Sequence[str], asked: Sequence[int]) -> str:
    """What classes cover of both pictures."""
    before, after = (_shares(seen.labels, len(columns)) for seen in pair)
    named = list(asked)
    if not asked:
        lost = before - after
        order = np.argsort(-lost, kind="stable")[:_MOST_NAMED]
        named = [int(label) for label in order if lost[label] >= _NAMED_FROM]
    said = [
        (plain(class_name(columns[label]), 24), percent(before[label]), percent(after[label]))
        for label in named
        if before[label] > 0
    ]
    return "    ".join(f"{name} {covered} → {left}" for name, covered, left in said)


def _legend(pairs: Sequence[_Pair], columns: Sequence[str], asked: Sequence[int]) -> list[int]:
    """The classes whose colours are explained: those asked for, or that cover most."""
    if asked:
        return list(asked)
    shares = np.array([_shares(seen.labels, len(columns)) for pair in pairs for seen in pair])
    order = np.argsort(-shares.sum(axis=0), kind="stable")[:_MOST_IN_LEGEND]
    return [int(label) for label in order if shares[:, label].max() >= _IN_LEGEND]


def _in_line(width: Width) -> int:
    """How many fit in a line."""
    return 4 if width == "column" else 8


def _explain(figure: Any, legend: Sequence[int], columns: Sequence[str], width: Width) -> None:
    from matplotlib.patches import Patch

    names = [class_name(columns[label]) for label in legend]
    figure.legend(
        handles=[Patch(color=class_colour(name), label=plain(name, 20)) for name in names],
        loc="lower left",
        bbox_to_anchor=(0, 0),
        ncols=_in_line(width),
        frameon=False,
        columnspacing=0.9,
        handlelength=1.2,
        handletextpad=0.5,
        borderaxespad=0,
    )
