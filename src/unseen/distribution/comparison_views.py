"""A comparison as a line, as rows and as HTML for a notebook.

The HTML holds all that it shows: verdicts, the figure, and the pictures of what is left out where
they were kept.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from unseen.core.errors import RecordError
from unseen.core.results import flat, html_picture, html_strip, html_table, html_text
from unseen.core.wording import count, listed, percent, ratio_interval, times
from unseen.distribution.areas import class_name
from unseen.distribution.comparison import ClassRow, Comparison, ExampleImage, GeneratedSide
from unseen.distribution.comparison_figures import draw_histogram
from unseen.distribution.comparison_wording import (
    DEPENDS,
    corrected_with_interval,
    delta,
    fsd_sentence,
    verdict_in_words,
)
from unseen.distribution.example_images import EXAMPLE_IMAGES
from unseen.images.record_pictures import thumbnail

_MOST_CLASSES = 20  # rows of a table
_MOST_PICTURED = 6  # classes that are left out and shown


def in_a_line(comparison: Comparison) -> str:
    """The comparison, its distances and its gravest verdicts."""
    real = comparison.real
    return "; ".join(
        f"{side.label[-60:]} ({side.images:,} images) against {real.label[-60:]} "
        f"({real.images:,}): FSD {corrected_with_interval(side.fsd)}, "
        f"{_counted(side)}"
        for side in comparison.generated
    )


def _counted(side: GeneratedSide) -> str:
    said = []
    for verdict, number in side.counts.items():
        if number:
            names = [row.name[:30] for row in side.named(verdict)]
            grave = verdict in ("omitted", "under")
            said.append(f"{number} {verdict}" + (f" ({listed(names, most=5)})" if grave else ""))
    return ", ".join(said) or "no class"


def rows(comparison: Comparison) -> list[dict[str, Any]]:
    """A row a class and generated side."""
    return [
        flat(row, side=side.label, name=row.name)
        for side in comparison.generated
        for row in side.classes
    ]


def as_html(comparison: Comparison) -> str:
    """The comparison for a notebook."""
    parts = [html_text(warning) for warning in comparison.warnings]
    for side in comparison.generated:
        parts.append(html_text(f"{side.label} against {comparison.real.label}", "h4"))
        parts.append(
            html_text(
                f"FSD {corrected_with_interval(side.fsd)}, "
                f"{side.images:,} generated and {comparison.real.images:,} real images. "
                f"{fsd_sentence(side.fsd)}"
            )
        )
        parts.append(_verdicts(comparison, side))
    parts.append(html_picture(draw_histogram(comparison)._repr_png_(), "histogram", small=False))
    for side in comparison.generated:
        parts += _left_out(comparison, side)
    parts += [html_text(caveat) for caveat in comparison.caveats]
    return "".join(parts)


def _verdicts(comparison: Comparison, side: GeneratedSide) -> str:
    rows = comparison.told(side)
    cells = [
        (
            row.name,
            verdict_in_words(row),
            f"{times(row.ratio)} [{ratio_interval(row.interval)}]",
            f"{percent(row.real_presence)} → {percent(row.generated_presence)}",
            DEPENDS if row.depends_on_threshold else "",
            delta(row),
        )
        for row in rows[:_MOST_CLASSES]
    ]
    headings = ("Class", "Verdict", "Generated / real", "Presence", "", "Change of area")
    more = len(rows) - len(cells)
    return html_table(headings, cells) + (
        html_text(f"… and {count(more, 'more class')}") if more else ""
    )


def _left_out(comparison: Comparison, side: GeneratedSide) -> Iterator[str]:
    """Real images that hold what is left out, and the generated images that hold most of it."""
    for row in side.named("omitted", "under")[:_MOST_PICTURED]:
        for of, example_images in (
            (f"Real images that hold most {row.name}", comparison.real.example_images),
            (
                f"Images of {side.label} that hold most {row.name} ({row.verdict})",
                side.example_images,
            ),
        ):
            most = example_images.get(row.column, ())[:EXAMPLE_IMAGES]
            pictures = list(_pictures(comparison.folder, row, most))
            if pictures:
                yield html_strip(of, pictures)


def _pictures(
    folder: Path | None, row: ClassRow, example_images: tuple[ExampleImage, ...]
) -> Iterator[str]:
    for example_image in example_images:
        if example_image.image is None or folder is None:
            continue
        covered = percent(example_image.fraction)
        said = f"{example_image.name}: {class_name(row.column)} covers {covered}"
        try:
            yield html_picture(thumbnail(folder, example_image.image), said)
        except RecordError as error:
            yield html_text(str(error), "span")
