"""Pages drawn from the records: no model, no torch.

`report` writes `report.html` of a comparison (`comparison_side`), of evidence (`evidence_side`), or
of both, with `overlays` of what the segmenter saw.
"""

from unseen.pages.report import report, report_folder

__all__ = ["report", "report_folder"]
