"""Pages drawn from the records: no model, no torch.

`report` writes `report.html` of a comparison (`comparison_side`), of evidence (`evidence_side`), or
of both, with `overlays` of what the segmenter saw; `single_file` puts its pictures inside, and
`printing` makes a PDF of it. `figure` draws one figure for a paper.
"""

from unseen.pages.figures import figure
from unseen.pages.printing import print_pdf
from unseen.pages.report import report, report_folder

__all__ = ["figure", "print_pdf", "report", "report_folder"]
