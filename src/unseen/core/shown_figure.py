"""A figure of matplotlib that is shown and saved whole: with what stands around its axes."""

import io
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

DPI = 160  # of a PNG


class ShownFigure(Figure):
    """A figure outside pyplot's state. A notebook shows it without pyplot."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        FigureCanvasAgg(self)

    def savefig(self, fname: Any, **options: Any) -> None:
        """Save the figure as matplotlib does; what stands around the axes is not cut."""
        options = {"dpi": DPI, "bbox_inches": "tight", "pad_inches": 0.12, **options}
        super().savefig(fname, **options)

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=96)
        return buffer.getvalue()
