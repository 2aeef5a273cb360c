"""Figures and pages drawn from the records: no model, no torch."""

from unseen.pages.figures import draw_histogram, draw_intervals
from unseen.pages.report import report

__all__ = ["draw_histogram", "draw_intervals", "report"]
