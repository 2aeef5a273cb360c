"""Tables and figures of images of other domains: what `unseen.bench.cross_domain` measured.

No torch, no folder of inversions: arrays and numbers in, Markdown, CSV and figures out.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.special
from jaxtyping import UInt8

from unseen.bench.grids import PictureRow, Rebuilt, draw_pictures, rebuilt_row, signed
from unseen.core.errors import SampleError
from unseen.core.figure_style import LIGHT, save_figure, styled_figure, svg_and_png
from unseen.core.records import to_json
from unseen.core.tables import csv_text, markdown_table

TRAINING, HELD_OUT, UNRELATED = "training", "held out", "unrelated"
OWN = "own images"  # the generator's: what it can draw, inverted in the same way

_COLOURS = ("#8a929c", "#2f7fb8", "#3f9b6c", "#e07b39", "#b8457c", "#7b5ea7", "#8c8c3a")
_MEASURES: Mapping[str, str] = {
    "loss": "loss",
    "pixel": "mean absolute difference of pixels, range 2",
    "correlation": "correlation of pixels",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class GroupImage:
    """How well one image was reconstructed."""

    name: str
    loss: float
    pixel: float  # mean absolute difference, of a range of 2
    correlation: float  # of pixels


@dataclasses.dataclass(frozen=True, kw_only=True)
class Group:
    """One group of images, inverted by one generator."""

    name: str
    generator: str  # short
    spec: str
    images: tuple[GroupImage, ...]
    failed: int  # left out

    def __post_init__(self) -> None:
        if len(self.images) < 2:
            raise SampleError(
                f"{len(self.images)} images of {self.spec} were reconstructed, and {self.failed} "
                "failed; an interval needs at least 2"
            )

    def values(self, measure: str) -> np.ndarray:
        """Loss, pixel or correlation of every image."""
        return np.array([getattr(image, measure) for image in self.images], np.float64)

    def mean(self, measure: str) -> tuple[float, float, float]:
        """The mean, and its 95 % interval by Student's t."""
        values = self.values(measure)
        mean = float(values.mean())
        error = float(values.std(ddof=1)) / np.sqrt(len(values))
        reach = float(scipy.special.stdtrit(len(values) - 1, 0.975)) * error
        return mean, mean - reach, mean + reach


@dataclasses.dataclass(frozen=True, kw_only=True)
class Difference:
    """Training minus held out, of one measure's means."""

    measure: str
    value: float
    interval: tuple[float, float]  # 95 %, Welch's
    held_out: float  # the held-out mean


@dataclasses.dataclass(frozen=True, kw_only=True)
class CrossDomainResult:
    """What was measured."""

    package_version: str
    method: str
    groups: tuple[Group, ...]  # own images, the first generator's groups, then the others'
    training_minus_held_out: tuple[Difference, ...]  # empty where one of them was not given
    provenance: Mapping[str, Any]

    def label(self, group: Group, separator: str = ", ") -> str:
        """How the group is called: with its generator, where several have such a group."""
        alone = [known.name for known in self.groups].count(group.name) == 1
        return group.name if alone else f"{group.name}{separator}{group.generator}"

    def to_json(self) -> dict[str, Any]:
        """All of it."""
        value: dict[str, Any] = to_json(self)
        return {"schema_version": 1, **value}


@dataclasses.dataclass(frozen=True, eq=False)
class ShownGroup:
    """Some images of a group, and what became of each."""

    name: str
    targets: Sequence[UInt8[np.ndarray, "3 h w"]]
    made: Sequence[Rebuilt]


def cross_domain_csv(result: CrossDomainResult) -> str:
    """A line an image."""
    return csv_text(
        {"group": group.name, "generator": group.generator, "image": image.name}
        | {measure: f"{getattr(image, measure):.6f}" for measure in _MEASURES}
        for group in result.groups
        for image in group.images
    )


def cross_domain_markdown(result: CrossDomainResult) -> str:
    """A table of the groups, and training minus held out in words."""
    rows = [
        [
            result.label(group),
            f"`{group.spec}`" if group.name != OWN else group.spec,
            f"{len(group.images)}" + (f" ({group.failed} failed)" if group.failed else ""),
            *(_with_interval(group.mean(measure)) for measure in _MEASURES),
        ]
        for group in result.groups
    ]
    headings = ("group", "images", "number", *_MEASURES.values())
    lines = [
        f"Method {result.method}; by {result.groups[0].generator} unless another is named; means "
        "with 95 % intervals over images.",
        "",
        markdown_table(headings, rows),
        "",
    ]
    if result.training_minus_held_out:
        lines.append("Training minus held out:")
        lines.append("")
        lines += [f"- {sentence(difference)}" for difference in result.training_minus_held_out]
    else:
        lines.append("Training and held-out images were not both given: no difference of them.")
    return "\n".join(lines) + "\n"


def sentence(difference: Difference) -> str:
    """What the difference says, and how much it leaves possible."""
    low, high = difference.interval
    numbers = f"{difference.value:+.4f} [{low:+.4f}, {high:+.4f}]"
    if difference.held_out:
        share, *ends = (
            f"{value / difference.held_out:+.1%}" for value in (difference.value, low, high)
        )
        numbers += f", {share} [{', '.join(ends)}]"
    told = f"{_MEASURES[difference.measure]} {signed(numbers)}"
    if difference.held_out:
        told += " of the held-out mean"
    higher_is_better = difference.measure == "correlation"
    if low > 0 if higher_is_better else high < 0:
        return f"{told}: training images are reconstructed better"
    if high < 0 if higher_is_better else low > 0:
        return f"{told}: training images are reconstructed worse"
    return f"{told}: not told apart"


def _with_interval(mean: tuple[float, float, float]) -> str:
    value, low, high = (signed(f"{number:.4f}") for number in mean)
    return f"{value} [{low}, {high}]"


def draw_groups(groups: Sequence[ShownGroup], method: str, stem: Path) -> list[Path]:
    """Images over their reconstructions, a block a group.

    Raises:
        StorageError: the disk is full, or the place cannot be written.
    """
    rows = [
        row
        for group in groups
        for row in (
            PictureRow(pictures=group.targets, block=group.name),
            rebuilt_row(group.made, group.name),
        )
    ]
    caption = (
        f"above: the images, uncurated; below: what ({method}) makes of them, and the correlation "
        "of pixels"
    )
    return draw_pictures(rows, stem, caption=caption)


def draw_generators(labels: Sequence[str], groups: Sequence[ShownGroup], stem: Path) -> list[Path]:
    """The same images, a row a generator.

    Args:
        labels: of the generators.
        groups: the group of every generator, of the same images.
        stem: of the files, `.svg` and `.png`.

    Raises:
        StorageError: the disk is full, or the place cannot be written.
    """
    rows = [PictureRow(pictures=groups[0].targets, block="images")]
    rows += [
        rebuilt_row(group.made, _broken(label)) for label, group in zip(labels, groups, strict=True)
    ]
    caption = "below each reconstruction: correlation of its pixels with the image's"
    return draw_pictures(rows, stem, caption=caption)


def _broken(label: str, most: int = 17) -> str:
    """A long name on two lines, each of which fits beside a picture."""
    head, colon, tail = label.partition(":")
    lines = [label] if len(label) <= most or not colon else [f"{head}:", tail]
    return "\n".join(line if len(line) <= most else f"…{line[1 - most :]}" for line in lines)


def draw_losses(result: CrossDomainResult, stem: Path) -> list[Path]:
    """A point an image, with quartiles: loss at the left, correlation of pixels at the right.

    Raises:
        StorageError: the disk is full, or the place cannot be written.
    """
    groups = result.groups
    names = list(dict.fromkeys(group.name for group in groups))
    jitter = np.random.default_rng(0)
    with styled_figure(8.6, 0.7 + 0.52 * len(groups)) as figure:
        axes = figure.subplots(1, 2, sharey=True, gridspec_kw={"wspace": 0.08})
        for axis, measure in zip(axes, ("loss", "correlation"), strict=True):
            for row, group in enumerate(groups):
                values = group.values(measure)
                heights = row - 0.1 + jitter.uniform(-0.2, 0.2, len(values))
                colour = _COLOURS[names.index(group.name) % len(_COLOURS)]
                axis.scatter(values, heights, s=12, color=colour, alpha=0.55, linewidths=0)
                low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
                axis.plot([low, high], [row + 0.26] * 2, color=LIGHT.ink, linewidth=2.2, zorder=3)
                axis.plot(middle, row + 0.26, "o", color="white", markersize=4.5, zorder=4)
                axis.lines[-1].set_markeredgecolor(LIGHT.ink)
            axis.grid(axis="x", color=LIGHT.faint, linewidth=0.7)
            axis.spines["left"].set_visible(False)
            axis.tick_params(axis="y", length=0)
            axis.tick_params(labelsize=8)
            axis.set_xlabel(
                {"loss": "loss", "correlation": "correlation of pixels"}[measure], fontsize=9
            )
        axes[0].set_xlim(left=0)
        axes[0].set_yticks(range(len(groups)), [result.label(group, "\n") for group in groups])
        for label in axes[0].get_yticklabels():
            label.set(fontsize=9, color=LIGHT.ink)
        axes[0].set_ylim(len(groups) - 0.5, -0.5)
        axes[0].annotate(
            "points: images; bars: quartiles; circles: medians",
            (0, 0),
            (0, -38),
            xycoords="axes fraction",
            textcoords="offset points",
            fontsize=7,
            color=LIGHT.quiet,
        )
        return save_figure(figure, svg_and_png(stem))
