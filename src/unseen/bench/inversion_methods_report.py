"""Tables and figures of the six methods: what `unseen.bench.inversion_methods` measured.

No torch, no folder of inversions: arrays and numbers in, Markdown, CSV and figures out.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from unseen.bench.grids import Rebuilt, correlation, draw_pictures, rebuilt_row, signed
from unseen.core.figure_style import LIGHT, save_figure, styled_figure, svg_and_png
from unseen.core.records import to_json
from unseen.core.tables import csv_text, markdown_table
from unseen.statistics.agreement import Definition, Step

NAMES: Mapping[str, str] = {
    "a": "optimise z from random",
    "b": "encoder, end to end",
    "c": "optimise z from b",
    "d": "layer-wise inverter",
    "e": "optimise z from d",
    "f": "perturb layers from d",
}
ORDER = tuple(
    (low, high) for high, lows in (("d", "abc"), ("e", "abc"), ("f", "de")) for low in lows
)
"""The paper's order, a, b, c < d, e < f, as pairs."""

_DEFINED: Mapping[Definition, str] = {
    "per_dimension": "per dimension, averaged",
    "pooled": "over all values at once",
    "cosine": "cosine",
}
_BINS = 90  # of a scatter plot, a side
_RANGE = 0.0005  # quantile of the true values at which a scatter plot ends


@dataclasses.dataclass(frozen=True, kw_only=True)
class MethodCorrelation:
    """One method's correlation with the truth, of one quantity by one definition."""

    method: str
    quantity: str  # "z", the cut's name, or "x"
    definition: Definition
    value: float | None  # None: no dimension varies
    interval: tuple[float, float] | None  # 95 %, over images
    dimensions: int
    constant_dimensions: int  # left out of per_dimension


@dataclasses.dataclass(frozen=True, kw_only=True)
class MethodsResult:
    """What was measured on generated images."""

    package_version: str
    methods: tuple[str, ...]
    quantities: tuple[str, ...]  # "z", the cut's name, "x"
    cut: str
    images: int  # that all methods reconstructed
    failed: int  # left out
    scale_free: bool  # latents were scaled to one length: the generator sees their direction
    steps: Mapping[str, float]  # of the optimiser, a method, on average
    measured: tuple[MethodCorrelation, ...]
    order: Mapping[Definition, Mapping[str, tuple[Step, ...]]]  # by quantity
    provenance: Mapping[str, Any]

    def of(self, method: str, quantity: str, definition: Definition) -> MethodCorrelation:
        """One correlation."""
        return next(
            measured
            for measured in self.measured
            if (measured.method, measured.quantity, measured.definition)
            == (method, quantity, definition)
        )

    def to_json(self) -> dict[str, Any]:
        """All of it."""
        value: dict[str, Any] = to_json(self)
        return {"schema_version": 1, **value}


@dataclasses.dataclass(frozen=True, eq=False)
class Scatter:
    """True and recovered values of the same places."""

    true: Float[np.ndarray, " p"]
    recovered: Float[np.ndarray, " p"]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Example:
    """A target, and what every method made of it."""

    block: str  # of the figure: generated images, or photographs
    target: UInt8[np.ndarray, "3 h w"]
    made: Mapping[str, Rebuilt]


def methods_csv(result: MethodsResult) -> str:
    """A line for every method, quantity and definition."""

    def number(value: float | None) -> str:
        return "" if value is None else f"{value:.6f}"

    rows = []
    for measured in result.measured:
        low, high = measured.interval or (None, None)
        rows.append(
            {
                "method": measured.method,
                "quantity": measured.quantity,
                "definition": measured.definition,
                "correlation": number(measured.value),
                "low": number(low),
                "high": number(high),
                "dimensions": measured.dimensions,
                "constant_dimensions": measured.constant_dimensions,
                "images": result.images,
                "steps": f"{result.steps[measured.method]:g}",
            }
        )
    return csv_text(rows)


def methods_markdown(result: MethodsResult) -> str:
    """A table for every definition, then what holds of the paper's order."""
    images = f"{result.images} generated images"
    if result.failed:
        images += f" ({result.failed} more failed by some method and are left out)"
    lines = [
        f"Correlation of recovered with true values on {images}; in brackets 95 % intervals over "
        "images.",
        "",
    ]
    for definition, words in _DEFINED.items():
        rows = [
            [
                f"({method}) {NAMES[method]}",
                *(_cell(result.of(method, name, definition)) for name in result.quantities),
            ]
            for method in result.methods
        ]
        lines += [markdown_table([words, *result.quantities], rows), ""]
    constant = {
        name: result.of(result.methods[0], name, "per_dimension").constant_dimensions
        for name in result.quantities
    }
    if any(constant.values()):
        listed = ", ".join(f"{count:,} of {name}" for name, count in constant.items() if count)
        lines += [f"Constant dimensions, left out of the average: {listed}.", ""]
    if "f" in result.methods:
        lines += ["The z of (f) is where it begins, which is (d)'s.", ""]
    if result.scale_free:
        lines += ["Latents are scaled to one length first: this generator sees no other.", ""]
    return "\n".join([*lines, order_markdown(result)]) + "\n"


def order_markdown(result: MethodsResult) -> str:
    """Where a, b, c < d, e < f holds and where it does not."""
    judged = [
        (quantity, definition, steps)
        for definition, by_quantity in result.order.items()
        for quantity, steps in by_quantity.items()
    ]
    pairs = [(step.lower, step.higher) for step in judged[0][2]]
    if not pairs:
        return "The paper's order a, b, c < d, e < f cannot be judged: too few methods ran."
    missing = [method for method in NAMES if method not in result.methods]
    lines = [
        "The paper's order a, b, c < d, e < f"
        + (f" ({', '.join(missing)} not run)" if missing else "")
        + ", by differences on the same images; the intervals of a column hold together in 95 % of "
        "samples.",
        "",
    ]
    for quantity in dict.fromkeys(name for name, _, _ in judged):
        columns = {definition: steps for name, definition, steps in judged if name == quantity}
        held = [
            f"{sum(step.verdict == 'holds' for step in steps)} of {len(pairs)} hold"
            for steps in columns.values()
        ]
        rows = [
            [f"{low} < {high}", *(_judged(steps[number]) for steps in columns.values())]
            for number, (low, high) in enumerate(pairs)
        ]
        headings = (quantity, *(_DEFINED[definition] for definition in columns))
        lines += [markdown_table(headings, [*rows, ["all", *held]]), ""]
    return "\n".join(lines[:-1])


def _judged(step: Step) -> str:
    low, high = step.interval
    text = f"{step.verdict} {step.difference:+.3f} [{low:+.3f}, {high:+.3f}]"
    text = signed(text)
    return text if step.verdict == "holds" else f"**{step.verdict}**{text[len(step.verdict) :]}"


def _cell(measured: MethodCorrelation) -> str:
    if measured.value is None or measured.interval is None:
        return "no dimension varies"
    low, high = (correlation(bound, measured.value) for bound in measured.interval)
    return f"{correlation(measured.value)} [{low}, {high}]"


def draw_scatter(
    result: MethodsResult, scatters: Mapping[tuple[str, str], Scatter], stem: Path
) -> list[Path]:
    """Recovered against true values: a row a quantity, a column a method.

    Args:
        result: whose correlations are written into the panels.
        scatters: by quantity and method.
        stem: of the files, `.svg` and `.png`.

    Raises:
        StorageError: the disk is full, or the place cannot be written.
    """
    rows, columns = len(result.quantities), len(result.methods)
    with styled_figure(1.75 * columns + 0.5, 2.0 * rows + 0.5) as figure:
        axes = figure.subplots(
            rows, columns, squeeze=False, gridspec_kw={"wspace": 0.08, "hspace": 0.32}
        )
        for i, quantity in enumerate(result.quantities):
            low, high = _limits(scatters[quantity, result.methods[0]].true)
            for j, method in enumerate(result.methods):
                axis = axes[i, j]
                _draw_density(axis, scatters[quantity, method], low, high)
                values = (
                    result.of(method, quantity, name).value for name in ("per_dimension", "pooled")
                )
                axis.text(
                    0.5,
                    1.02,
                    " · ".join("–" if value is None else correlation(value) for value in values),
                    transform=axis.transAxes,
                    ha="center",
                    va="bottom",
                    fontsize=7.5,
                    color=LIGHT.quiet,
                )
                axis.tick_params(labelsize=7, length=2.5, labelleft=j == 0)
                if i == 0:
                    axis.set_title(_heading(method), fontsize=8.5, pad=15)
            label = {"z": "z", "x": "pixels x"}.get(quantity, f"{quantity} (r)")
            axes[i, 0].set_ylabel(f"{label}, recovered", fontsize=8.5)
        figure.align_ylabels(axes[:, 0])
        figure.supxlabel(
            "true value   (above each panel: correlation per dimension, averaged · of all values)",
            fontsize=8.5,
            y=0.03,
        )
        return save_figure(figure, svg_and_png(stem))


def _heading(method: str) -> str:
    first, _, rest = NAMES[method].partition(" ")
    name = {"a": "optimise z\nfrom random", "c": "optimise z\nfrom b", "e": "optimise z\nfrom d"}
    return f"({method}) {name.get(method, f'{first}{chr(10)}{rest}')}"


def _limits(true: Float[np.ndarray, " p"]) -> tuple[float, float]:
    low, high = (float(np.quantile(true, q)) for q in (_RANGE, 1 - _RANGE))
    margin = 0.06 * (high - low) or 1.0
    return low - margin, high + margin


def _draw_density(axis: Any, scatter: Scatter, low: float, high: float) -> None:
    """How many values lie where, on a log scale; those beyond lie on the edge."""
    edges = np.linspace(low, high, _BINS + 1)
    counts, _, _ = np.histogram2d(
        np.clip(scatter.recovered, low, high), np.clip(scatter.true, low, high), bins=(edges, edges)
    )
    shade = np.log1p(counts)
    axis.plot([low, high], [low, high], color=LIGHT.faint, linewidth=0.8, zorder=1)
    axis.imshow(
        np.ma.masked_equal(shade, 0),
        extent=(low, high, low, high),
        origin="lower",
        cmap=_colours(),
        vmin=0,
        vmax=max(float(shade.max()), 1e-9),
        interpolation="nearest",
        zorder=2,
    )
    axis.plot([low, high], [low, high], color=LIGHT.quiet, linewidth=0.5, alpha=0.6, zorder=3)
    axis.set(xlim=(low, high), ylim=(low, high), aspect="equal")
    axis.spines[["top", "right"]].set_visible(False)


def _colours() -> Any:
    """From a light to a dark blue: even one value can be seen."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("unseen", ["#cfe1f0", "#5b9bc9", "#174a7c", "#0a1f3c"])


def draw_examples(examples: Sequence[Example], stem: Path) -> list[Path]:
    """Targets and reconstructions side by side, generated images above photographs.

    Raises:
        StorageError: the disk is full, or the place cannot be written.
    """
    return draw_pictures(
        [
            rebuilt_row(list(example.made.values()), example.block, example.target)
            for example in examples
        ],
        stem,
        headings=["target", *map(_heading, examples[0].made)],
        caption="below each reconstruction: correlation of its pixels with the target's",
    )
