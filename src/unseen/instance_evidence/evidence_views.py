"""Evidence as a line, as rows and as HTML for a notebook.

The HTML holds all that it shows: verdicts, the figure, and photographs beside reconstructions.
"""

from collections.abc import Iterator
from typing import Any

from unseen.core.figure_style import LIGHT
from unseen.core.results import (
    Html,
    html_caveats,
    html_figure,
    html_marked,
    html_more,
    html_row,
    html_rows,
    html_strip,
    html_text,
)
from unseen.core.verdicts import INSTANCE_VERDICTS
from unseen.core.wording import count, listed, percent
from unseen.images.record_pictures import kept_thumbnail
from unseen.instance_evidence.evidence_wording import as_much, mean_share
from unseen.instance_evidence.record import Evidence, Picture
from unseen.instance_evidence.retention_figures import draw_retention

_MOST_CLASSES = 20  # rows of a table
_MOST_PHOTOGRAPHS = 6  # shown beside what was rebuilt of them


def in_a_line(evidence: Evidence) -> str:
    """How many photographs and controls, and the verdicts."""
    photographs, controls = evidence.photographs, evidence.controls
    beside = f" and {count(controls.images, 'control')}" if controls else ""
    verdicts = []
    for verdict in (*INSTANCE_VERDICTS, None):
        rows = evidence.named(verdict)
        if rows:
            names = listed([row.name[:30] for row in rows], most=5)
            grave = f" ({names})" if verdict == "cannot draw" else ""
            verdicts.append(f"{len(rows)} {verdict or 'without a verdict'}{grave}")
    return (
        f"{count(photographs.images, 'photograph')} ({photographs.label[-60:]}){beside}, "
        f"rebuilt by {evidence.primary_method.label[:60]}: {', '.join(verdicts) or 'no class'}"
    )


def rows(evidence: Evidence) -> list[dict[str, Any]]:
    """A row a class and method; the verdict is the primary method's."""
    rows = []
    for row in evidence.classes:
        for retention in row.retention:
            low, high = retention.photographs.interval
            ratio = row.ratio("controls", retention.method)
            ratio_low, ratio_high = (None, None) if ratio is None else ratio.interval
            rows.append(
                {
                    "column": row.column,
                    "name": row.name,
                    "method": retention.method,
                    "primary": retention.method == evidence.primary,
                    "verdict": row.verdict,
                    "instances": row.instances,
                    "images": row.images,
                    "vanished": row.vanished,
                    "retained": retention.photographs.mean,
                    "retained_low": low,
                    "retained_high": high,
                    "retained_matched": retention.matched.mean,
                    "retained_controls": retention.controls.mean,
                    "ratio_to_controls": None if ratio is None else ratio.ratio,
                    "ratio_low": ratio_low,
                    "ratio_high": ratio_high,
                    "lost_share": row.lost_share,
                    "p_value": row.p_value,
                }
            )
    return rows


def as_html(evidence: Evidence) -> str:
    """The evidence for a notebook."""
    headings = ["Class", "Verdict", "Kept", "Of matched controls", "In comparison", "Vanished"]
    cells = []
    for row in evidence.classes[:_MOST_CLASSES]:
        retention = row.by(evidence.primary)
        ratio = row.ratio("controls", evidence.primary)
        verdict = html_marked(row.verdict, LIGHT.verdicts[row.verdict]) if row.verdict else None
        cells.append(
            (
                row.name,
                verdict or "no verdict",
                mean_share(retention.photographs),
                mean_share(retention.controls),
                "–" if ratio is None else as_much(ratio),
                f"{row.vanished:,} of {row.instances:,}",
            )
        )
    table = html_rows("class", headings, cells, of=len(evidence.classes))
    return "".join(
        (
            html_text(in_a_line(evidence)),
            html_row(_photographs(evidence)),
            html_more(count(len(evidence.classes), "class"), table),
            html_figure(draw_retention(evidence), "retention by class"),
            html_caveats(evidence.caveats),
        )
    )


def _photographs(evidence: Evidence) -> Iterator[Html]:
    """The photographs that lost most, each beside what the primary method rebuilt of it."""
    ranked = [picture for picture in evidence.pictures if picture.rank is not None]
    for picture in ranked[:_MOST_PHOTOGRAPHS]:
        pictures = list(_pair(evidence, picture))
        if pictures:
            lost = f"lost {percent(picture.lost)}, {count(picture.vanished, 'instance')} vanished"
            yield html_strip(f"{picture.name}: {lost}", pictures)


def _pair(evidence: Evidence, picture: Picture) -> Iterator[Html]:
    if evidence.folder is None:
        return
    shown = [(picture.image, "the photograph")]
    shown += [
        (rebuilt.image, "what was rebuilt of it")
        for rebuilt in picture.rebuilt
        if rebuilt.method == evidence.primary and rebuilt.image is not None
    ]
    for image, said in shown:
        yield kept_thumbnail(evidence.folder, image, f"{picture.name}: {said}")
