"""A comparison as a line, as rows and as HTML for a notebook.

The HTML holds all that it shows: verdicts, the figure, and the pictures of what is left out where
they were kept.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from unseen.core.figure_style import LIGHT
from unseen.core.results import (
    Html,
    flat,
    html_caveats,
    html_figure,
    html_marked,
    html_more,
    html_row,
    html_rows,
    html_strip,
    html_text,
)
from unseen.core.wording import count, listed, percent, ratio_interval, times
from unseen.distribution.areas import class_name
from unseen.distribution.comparison import ClassRow, Comparison, ExampleImage, GeneratedSide
from unseen.distribution.comparison_figures import draw_histogram
from unseen.distribution.comparison_wording import (
    DEPENDS,
    corrected_with_interval,
    delta,
    fsd_sentence,
    presences,
    verdict_in_words,
)
from unseen.distribution.example_images import EXAMPLE_IMAGES
from unseen.images.record_pictures import kept_thumbnail

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
    """A row a class and generated side; of an audit, whether there was one."""
    return [
        flat(row, side=side.label, name=row.name) | {"audit": row.audit is not None}
        for side in comparison.generated
        for row in side.classes
    ]


def as_html(comparison: Comparison) -> str:
    """The comparison for a notebook."""
    parts = []
    for side in comparison.generated:
        parts.append(html_text(f"{side.label} against {comparison.real.label}", "h4"))
        parts.append(_counts(side))
        parts += _left_out(comparison, side)
        parts.append(_verdicts(comparison, side))
        parts.append(
            html_text(
                f"FSD {corrected_with_interval(side.fsd)}, "
                f"{side.images:,} generated and {comparison.real.images:,} real images. "
                f"{fsd_sentence(side.fsd)}"
            )
        )
    parts.append(html_figure(draw_histogram(comparison), "histogram"))
    parts += [html_text(warning) for warning in comparison.warnings]
    parts.append(html_caveats(comparison.caveats))
    return "".join(parts)


def _counts(side: GeneratedSide) -> Html:
    """How many classes got each verdict."""
    counted = (
        html_marked(f"{number} {verdict}", LIGHT.verdicts[verdict])
        for verdict, number in side.counts.items()
        if number
    )
    return html_row(html_text(verdict, "span") for verdict in counted)


def _verdicts(comparison: Comparison, side: GeneratedSide) -> Html:
    """The classes in a table, to be opened."""
    rows = comparison.told(side)
    cells = [
        (
            row.name,
            html_marked(verdict_in_words(row), LIGHT.verdicts[row.verdict]),
            f"{times(row.ratio)} [{ratio_interval(row.interval)}]",
            presences(row, comparison.real.images, side.images),
            delta(row),
            DEPENDS if row.depends_on_threshold else "",
        )
        for row in rows[:_MOST_CLASSES]
    ]
    headings = ("Class", "Verdict", "Generated / real", "Presence", "Change of area", "")
    return html_more(count(len(rows), "class"), html_rows("class", headings, cells, of=len(rows)))


def _left_out(comparison: Comparison, side: GeneratedSide) -> Iterator[Html]:
    """Real images that hold what is left out, beside the generated images that hold most of it."""
    missing = side.named("omitted", "under")
    for row in missing[:_MOST_PICTURED]:
        said = (
            f"{row.name}: {verdict_in_words(row)}, {times(row.ratio)} "
            f"[{ratio_interval(row.interval)}], in "
            f"{presences(row, comparison.real.images, side.images)} of the images"
        )
        yield html_text(html_marked(said, LIGHT.verdicts[row.verdict]), "div")
        strips = []
        for of, example_images in (
            (f"Real images that hold most {row.name}", comparison.real.example_images),
            (f"Images of {side.label} that hold most {row.name}", side.example_images),
        ):
            most = example_images.get(row.column, ())[:EXAMPLE_IMAGES]
            pictures = list(_pictures(comparison.folder, row, most))
            if pictures:
                strips.append(html_strip(of, pictures))
        yield html_row(strips)
    if len(missing) > _MOST_PICTURED:
        yield html_text(f"… and {count(len(missing) - _MOST_PICTURED, 'more class')} left out")


def _pictures(
    folder: Path | None, row: ClassRow, example_images: tuple[ExampleImage, ...]
) -> Iterator[Html]:
    for example_image in example_images:
        if example_image.image is None or folder is None:
            continue
        covered = percent(example_image.fraction)
        said = f"{example_image.name}: {class_name(row.column)} covers {covered}"
        yield kept_thumbnail(folder, example_image.image, said)
