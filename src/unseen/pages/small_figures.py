"""Figures of a few marks inside the page, as SVG that takes its colours from the page.

Each says in words what it shows; the words come from the record alone.
"""

from collections.abc import Sequence

import markupsafe

from unseen.core.verdicts import InstanceVerdict
from unseen.core.wording import share
from unseen.instance_evidence.evidence_wording import mean_share
from unseen.instance_evidence.record import ClassRetention, Curve, Mean

_WIDTH = 200.0  # of the means, in pixels
_EDGE = 6.0  # room for half a mark at 0 and 100 %
_PLOT = (34.0, 8.0, 330.0, 132.0)  # left, top, right, bottom of the curve's axes


def slug(verdict: str | None) -> str:
    """The verdict as a class of the style sheet."""
    return "unjudged" if verdict is None else verdict.replace(" ", "-")


def means_figure(retention: ClassRetention, verdict: InstanceVerdict | None) -> markupsafe.Markup:
    """Mean retention from 0 to 100 %: photographs above, their matched controls below."""
    controlled = retention.controls.mean is not None
    above = retention.matched if controlled else retention.photographs
    label = f"Retained: photographs {mean_share(above)}"
    parts = [_scale(24.0 if controlled else 14.0)]
    parts += _mean(above, 7.0, f"mark photographs {slug(verdict)}")
    if controlled:
        label += f", matched controls {mean_share(retention.controls)}"
        parts += _mean(retention.controls, 18.0, "mark controls")
    return _svg(parts, _WIDTH, 25.0 if controlled else 15.0, label, "means")


def curve_figure(curve: Curve, verdict: InstanceVerdict | None) -> markupsafe.Markup:
    """Retention against the last perturbed layer, photographs and their controls."""
    left, _, right, bottom = _PLOT
    step = (right - left) / len(curve.methods)
    places = [left + step * (i + 0.5) for i in range(len(curve.methods))]
    layers = [method.last_perturbed or "z" for method in curve.methods]
    controlled = any(mean.mean is not None for mean in curve.controls)
    said = "; ".join(
        f"{layer}: photographs {mean_share(mine)}"
        + (f", controls {mean_share(theirs)}" if controlled else "")
        for layer, mine, theirs in zip(layers, curve.photographs, curve.controls, strict=True)
    )
    parts = []
    for tick in (0.0, 0.5, 1.0):
        y = _height(tick)
        parts.append(f'<line class="grid" x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(_text(left - 5, y + 3.5, share(tick), "end"))
    skip = 1 + (len(layers) - 1) // 8  # names that fit
    for i, (x, layer) in enumerate(zip(places, layers, strict=True)):
        if i % skip == 0:
            parts.append(_text(x, bottom + 15, layer[:12], "middle"))
    shift = 3.0 if controlled else 0.0
    if controlled:
        parts += _line([x + shift for x in places], curve.controls, "controls")
    parts += _line([x - shift for x in places], curve.photographs, f"photographs {slug(verdict)}")
    label = f"Retained, by the last layer that was changed. {said}"
    return _svg(parts, right + 4, bottom + 22, label, "curve")


def _scale(height: float) -> str:
    lines = (
        f'<line class="grid" x1="{_along(tick):.1f}" x2="{_along(tick):.1f}" y1="0" y2="{height}"/>'
        for tick in (0.0, 0.5, 1.0)
    )
    return "".join(lines)


def _mean(mean: Mean, y: float, kind: str) -> list[str]:
    if mean.mean is None:
        return []
    low, high = mean.interval
    parts = []
    if low is not None and high is not None:
        ends = f'x1="{_along(low):.1f}" x2="{_along(high):.1f}"'
        parts.append(f'<line class="{kind}" {ends} y1="{y}" y2="{y}"/>')
    parts.append(f'<circle class="{kind}" cx="{_along(mean.mean):.1f}" cy="{y}" r="4"/>')
    return parts


def _line(places: Sequence[float], means: Sequence[Mean], kind: str) -> list[str]:
    known = [(x, mean) for x, mean in zip(places, means, strict=True) if mean.mean is not None]
    points = " ".join(f"{x:.1f},{_height(mean.mean or 0.0):.1f}" for x, mean in known)
    parts = [f'<polyline class="mark {kind}" points="{points}"/>']
    for x, mean in known:
        low, high = mean.interval
        if low is not None and high is not None:
            ends = f'y1="{_height(low):.1f}" y2="{_height(high):.1f}"'
            parts.append(f'<line class="mark {kind}" x1="{x:.1f}" x2="{x:.1f}" {ends}/>')
        parts.append(
            f'<circle class="mark {kind}" cx="{x:.1f}" cy="{_height(mean.mean or 0.0):.1f}" r="4"/>'
        )
    return parts


def _along(share: float) -> float:
    return _EDGE + min(1.0, max(0.0, share)) * (_WIDTH - 2 * _EDGE)


def _height(share: float) -> float:
    _, top, _, bottom = _PLOT
    return bottom - min(1.0, max(0.0, share)) * (bottom - top)


def _text(x: float, y: float, text: str, anchor: str) -> str:
    said = markupsafe.escape(text)
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{said}</text>'


def _svg(
    parts: Sequence[str], width: float, height: float, label: str, kind: str
) -> markupsafe.Markup:
    size = f'viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}"'
    said = markupsafe.escape(label)
    opening = f'<svg class="small {kind}" {size} role="img" aria-label="{said}">'
    return markupsafe.Markup(f"{opening}{''.join(parts)}</svg>")
