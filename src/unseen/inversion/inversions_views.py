"""Inversions as a line, as rows, as pairs of pictures and as HTML for a notebook."""

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from unseen.core.figure_style import LIGHT, figure_of_panels, plain
from unseen.core.results import html_more, html_rows, html_table, html_text
from unseen.core.wording import count, listed, number
from unseen.images.record_pictures import thumbnail
from unseen.inversion.inversions import ROLES, Inversions, InvertedImage
from unseen.statistics.noise_typicality import ATYPICAL_BELOW

_LONGEST_NAME = 24  # characters
_MOST_SHOWN = 6  # images beside their reconstructions in a notebook

_METHODS = {
    "a": "latents optimised from random ones",
    "b": "the encoder",
    "c": "latents optimised from the encoder's",
    "d": "the start alone",
    "e": "latents optimised from the start",
    "f": "features optimised from the start",
    "nearest": "mosaic of samples",
    "reference": "mosaic of photographs",
}


def in_a_line(inversions: Inversions) -> str:
    """How many photographs and controls, and the methods."""
    numbers = {role: len(inversions.of(role)) for role in ROLES}
    images = listed([count(number, role) for role, number in numbers.items() if number])
    kind = "method" if len(inversions.methods) == 1 else "methods"
    unfinished = "" if inversions.complete else ", not finished"
    methods = listed(inversions.methods)
    return f"Inversions of {images or 'no image'} by {kind} {methods}{unfinished}"


def as_lines(inversions: Inversions) -> str:
    """A line for every method and role: how many images, mean loss and correlation."""
    lines = [in_a_line(inversions)]
    for means in _means(inversions):
        failed = f", {means.failed} failed" if means.failed else ""
        said = (
            f": loss {means.loss:.4f} (pixels {means.pixel:.4f}), correlation of pixels "
            f"{means.correlation:.4f}, on average"
        )
        atypical = (
            f"; noise unlike what is drawn (p < {ATYPICAL_BELOW}) of {means.atypical} of "
            f"{means.noises}"
            if means.noises
            else ""
        )
        lines.append(
            f"  method {means.method}: {count(means.good, means.role)}{failed}"
            f"{said if means.good else ''}{atypical}"
        )
    return "\n".join(lines)


def rows(inversions: Inversions) -> list[dict[str, Any]]:
    """A row an image and method."""
    return [
        {
            "role": image.role,
            "number": image.number,
            "name": image.name,
            "method": method,
            "loss": result.loss,
            "correlation": result.correlation,
            "cosine": result.cosine,
            "steps": result.steps,
            "failed": result.failed,
            "noise_p": None if result.noise is None else result.noise.p,
        }
        for image in inversions.images
        for method, result in image.reconstructions.items()
    ]


def draw_pairs(inversions: Inversions, most: int) -> Any:
    """The first images beside what every method made of them; a row an image."""
    images = inversions.images[:most]
    columns = 1 + len(inversions.methods)
    rows = max(1, len(images))
    with figure_of_panels(
        LIGHT, width=1.7 * columns, height=1.9 * rows, rows=[1.0] * rows, columns=columns
    ) as (figure, axes):
        for axis in axes:
            axis.axis("off")
        for row, image in enumerate(images):
            panels = axes[row * columns : (row + 1) * columns]
            panels[0].imshow(np.moveaxis(inversions.target(image), 0, -1))
            panels[0].set_title(plain(image.name[-_LONGEST_NAME:]), fontsize=8)
            for panel, method in zip(panels[1:], inversions.methods, strict=True):
                panel.set_title(f"method {method}", fontsize=8)
                result = image.reconstructions.get(method)
                if result is not None and result.failed is None:
                    pixels = inversions.reconstruction(image, method)
                    panel.imshow(np.moveaxis(pixels, 0, -1))
        return figure


def as_html(inversions: Inversions) -> str:
    """The inversions for a notebook."""
    headings = ("Method", "Images", "Failed", "Mean loss", "Mean correlation")
    rows = [
        (
            _in_words(means.method),
            count(means.good, means.role),
            f"{means.failed:,}",
            number(means.loss),
            number(means.correlation),
        )
        for means in _means(inversions)
    ]
    images = inversions.images
    pictures = html_rows(
        "image",
        ("Image", *map(_in_words, inversions.methods)),
        [tuple(_row(inversions, image)) for image in images[:_MOST_SHOWN]],
        of=len(images),
    )
    means = html_more("Mean loss and correlation", [html_table(headings, rows)])
    return "".join([html_text(in_a_line(inversions)), *pictures, means])


def _in_words(method: str) -> str:
    """What a method does, behind its name."""
    return f"{method}: {_METHODS[method]}" if method in _METHODS else method


def _row(inversions: Inversions, image: InvertedImage) -> Iterator[str]:
    """An image beside what every method made of it."""
    yield thumbnail(functools.partial(inversions.target, image), image.name)
    for method in inversions.methods:
        result = image.reconstructions.get(method)
        if result is None or result.failed is not None:
            yield "–" if result is None else "failed"
        else:
            read = functools.partial(inversions.reconstruction, image, method)
            yield thumbnail(read, f"{image.name}: method {method}")


@dataclasses.dataclass(frozen=True)
class _Means:
    """What one method made of the images of one role, on average; 0 where all failed."""

    method: str
    role: str
    good: int
    failed: int
    loss: float
    pixel: float
    correlation: float
    noises: int  # whose noise is known
    atypical: int  # of these


def _means(inversions: Inversions) -> Iterator[_Means]:
    for method in inversions.methods:
        for role in ROLES:
            results = [
                image.reconstructions[method]
                for image in inversions.of(role)
                if method in image.reconstructions
            ]
            good = [result for result in results if result.failed is None]
            if results:
                yield _Means(
                    method,
                    role,
                    len(good),
                    len(results) - len(good),
                    _mean([result.loss or 0.0 for result in good]),
                    _mean([result.terms.get("pixel", 0.0) for result in good]),
                    _mean([result.correlation or 0.0 for result in good]),
                    sum(result.noise is not None for result in good),
                    sum(result.noise is not None and result.noise.atypical for result in good),
                )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / max(1, len(values))
