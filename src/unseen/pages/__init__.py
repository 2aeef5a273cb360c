"""Figures and pages drawn from the records: no model, no torch."""

from unseen.pages.figures import draw_histogram, draw_intervals
from unseen.pages.report import report, report_folder
from unseen.pages.retention_figures import draw_curves, draw_retention

__all__ = [
    "draw_curves",
    "draw_histogram",
    "draw_intervals",
    "draw_retention",
    "report",
    "report_folder",
]
