"""A figure of matplotlib that is shown and saved whole: with what stands around its axes.

Text stays text in PDF (TrueType, which every venue takes) and, in a figure for a paper, in SVG.
"""

import io
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

DPI = 160  # of a PNG on a page
_PAPER_DPI = 300  # what venues ask of pictures


class ShownFigure(Figure):
    """A figure outside pyplot's state. A notebook shows it without pyplot."""

    def __init__(self, *arguments: Any, paper: bool = False, **options: Any) -> None:
        super().__init__(*arguments, layout="constrained" if paper else None, **options)
        self._paper = paper  # it has its final size, with all that stands around its axes
        FigureCanvasAgg(self)

    def savefig(self, fname: Any, **options: Any) -> None:
        """Save the figure as matplotlib does; what stands around the axes is not cut."""
        defaults: dict[str, Any] = {"dpi": DPI, "bbox_inches": "tight", "pad_inches": 0.12}
        style = {
            "pdf.fonttype": 42,
            # On a page it looks the same where the font is missing; in a paper it can be edited.
            "svg.fonttype": "none" if self._paper else "path",
            "svg.hashsalt": "unseen",
        }
        with matplotlib.rc_context(style):
            super().savefig(fname, **({"dpi": _PAPER_DPI} if self._paper else defaults) | options)

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=96)
        return buffer.getvalue()
