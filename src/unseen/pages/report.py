"""The page: `report.html` with its figures and overlays, drawn from the records alone.

It needs the folder that it lies in and nothing else: no network, no model, no torch.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

from unseen.core.errors import RecordError
from unseen.core.figure_style import DARK
from unseen.core.files import as_path, canonical_json, package_version, sha256_of_parts, write_text
from unseen.core.records import to_json
from unseen.core.verdicts import CLASS_VERDICTS, INSTANCE_VERDICTS
from unseen.core.wording import (
    capitalised,
    count,
    number,
    p_value,
    p_values,
    percent,
    points,
    ratio_interval,
    sentence,
    share,
    share_interval,
    times,
    value_interval,
)
from unseen.distribution.areas import class_name
from unseen.distribution.audit_wording import (
    agreement_in_words,
    corrected_in_words,
    false_alarms_in_words,
    labels_in_words,
    needed_in_words,
    rate_in_words,
    sensitivity_in_words,
)
from unseen.distribution.comparison import FILE as COMPARISON_FILE
from unseen.distribution.comparison import RECORD_FILE as COMPARISON_RECORD
from unseen.distribution.comparison import Comparison, read_comparison
from unseen.distribution.comparison_figures import draw_histogram, draw_intervals
from unseen.distribution.comparison_wording import (
    DEPENDS,
    MEASURES_IN_WORDS,
    VERDICT_MEANINGS,
    below_zero,
    changes_in_words,
    collapse,
    corrected,
    corrected_with_interval,
    delta,
    fsd_p_value,
    fsd_sentence,
    gate_in_words,
    gate_question,
    left_out_of,
    meaning,
    ordering_sentence,
    pair_name,
    presences,
    rarely_in_words,
    sampling_in_words,
    significant_but_undecided,
    size_in_words,
    things_in_words,
    threshold_in_words,
    verdict_in_words,
)
from unseen.distribution.discovery import FILE as DISCOVERY_FILE
from unseen.distribution.discovery import RECORD_FILE as DISCOVERY_RECORD
from unseen.distribution.discovery import Discovery
from unseen.distribution.pairs_wording import (
    added_in_words,
    difference_in_words,
    is_drawn_less,
    kept_in_words,
    pairs_in_words,
)
from unseen.instance_evidence.evidence_wording import (
    as_much,
    class_in_photographs,
    evidence_meanings,
    mean_share,
)
from unseen.instance_evidence.record import FILE as EVIDENCE_FILE
from unseen.instance_evidence.record import RECORD_FILE as EVIDENCE_RECORD
from unseen.instance_evidence.record import Evidence, read_evidence
from unseen.instance_evidence.retention_figures import draw_curves, draw_retention
from unseen.pages import asked_side, audit_side, comparison_side, evidence_side, pairs_side
from unseen.pages.figures import evidence_relabelled, named_alike, relabelled
from unseen.pages.page_images import Gallery, clear_overlays
from unseen.pages.single_file import inline
from unseen.pages.small_figures import slug
from unseen.pages.templating import asset, colours, data, plain_environment, policy

PAGE = "report.html"
SINGLE_FILE = "report-single.html"
# functions that the templates call by their names, as filters
_NUMBERS = (
    added_in_words,
    below_zero,
    collapse,
    corrected,
    corrected_with_interval,
    delta,
    difference_in_words,
    false_alarms_in_words,
    fsd_p_value,
    gate_in_words,
    gate_question,
    kept_in_words,
    mean_share,
    meaning,
    number,
    p_value,
    percent,
    points,
    rarely_in_words,
    ratio_interval,
    share,
    share_interval,
    sensitivity_in_words,
    significant_but_undecided,
    size_in_words,
    things_in_words,
    threshold_in_words,
    times,
    value_interval,
)
_WORDS = (
    as_much,
    capitalised,
    class_name,
    count,
    is_drawn_less,
    labels_in_words,
    left_out_of,
    pair_name,
    pairs_in_words,
    sampling_in_words,
    sentence,
    slug,
    verdict_in_words,
)

_EVIDENCE_RANKS = {verdict: i for i, verdict in enumerate((*INSTANCE_VERDICTS, None))}


# All that the page shows or is shown beside: what is drawn, and the pictures of the records.
_SHOWN_FILES = (
    *("*.png", "*.svg", "figures/*", "overlays/**/*"),
    *("pictures/**/*", "audit-pictures/**/*"),
)


def report(
    out: str | Path,
    comparison: Comparison | None = None,
    evidence: Evidence | None = None,
    *,
    discovery: Discovery | None = None,
    keep_current: bool = False,
    single_file: bool = False,
) -> Path:
    """Draw the figures, the overlays and the page of a comparison, of evidence, or of both.

    With both, a class in the comparison's table leads to its gallery of instances.

    Args:
        out: the folder of the records; the paths of their pictures are relative to it.
        comparison: the record of a comparison.
        evidence: the record of instance evidence.
        discovery: the record of groups, whose comparison is given.
        keep_current: leave a page as it is that was drawn from the same records by this version.
        single_file: write the page as one file, too, with its pictures inside: to send.

    Returns:
        The page, `report.html` in that folder; or the single file, `report-single.html`.

    Raises:
        RecordError: neither is given; a picture that a record names is missing or broken.
        StorageError: the disk is full, or the folder cannot be written.

    >>> report(folder / "comparison", comparison).name
    'report.html'
    """
    if comparison is None and evidence is None:
        raise RecordError("there is nothing to report: give a comparison, evidence, or both")
    if comparison is not None:
        COMPARISON_RECORD.check_whole(comparison)
    if evidence is not None:
        EVIDENCE_RECORD.check_whole(evidence)
    folder = as_path(out)
    pages = [folder / PAGE, *([folder / SINGLE_FILE] if single_file else [])]
    if keep_current and all(page.is_file() for page in pages):
        mark = _mark(folder, comparison, evidence, discovery)
        if all(mark in page.read_text(encoding="utf-8", errors="replace") for page in pages):
            return pages[-1]
    clear_overlays(folder)
    if comparison is not None:
        for name, draw in (("histogram", draw_histogram), ("intervals", draw_intervals)):
            draw(comparison, folder / f"{name}.png", folder / f"{name}.svg")
            draw(comparison, folder / "figures" / f"{name}-dark.svg", theme=DARK)
    if evidence is not None:
        for name, draw_of in (("retention", draw_retention), ("curves", draw_curves)):
            draw_of(evidence, folder / f"{name}.png", folder / f"{name}.svg")
            draw_of(evidence, folder / "figures" / f"{name}-dark.svg", theme=DARK)
    shown = _shown(folder, comparison, evidence, discovery)  # draws the overlays, too
    mark = _mark(folder, comparison, evidence, discovery)
    for page in pages:
        alone = page.name == SINGLE_FILE
        html = _render(comparison, evidence, shown, alone=alone).removesuffix("</html>") + mark
        write_text(page, (inline(html, folder) if alone else html) + "</html>")
    return pages[-1]


def report_folder(
    folder: str | Path, *, labels: Sequence[str] | None = None, single_file: bool = False
) -> Path:
    """Draw the page of the records that lie in a folder.

    Args:
        folder: what `unseen compare`, `unseen evidence` or `unseen invert` wrote; or one of the
            records in it.
        labels: what to call the sides on this page, the real one first; the records keep theirs.
        single_file: as in `report`.

    Raises:
        RecordError: there is none, or as in `report`.
        SpecError: labels that do not fit.
        StorageError: as in `report`.
    """
    folder = as_path(folder)
    if folder.name in (COMPARISON_FILE, EVIDENCE_FILE):
        folder = folder.parent
    has_comparison = (folder / COMPARISON_FILE).exists()
    has_evidence = (folder / EVIDENCE_FILE).exists()
    if not has_comparison and not has_evidence:
        raise RecordError(
            f"{folder} holds neither {COMPARISON_FILE} nor {EVIDENCE_FILE}; name a folder that "
            "`unseen compare --out`, `unseen evidence --out` or `unseen invert --out` wrote"
        )
    comparison = read_comparison(folder) if has_comparison else None
    evidence = read_evidence(folder) if has_evidence else None
    before = comparison
    if comparison is not None:
        comparison = relabelled(comparison, labels)
    if evidence is not None and before is None:
        evidence = evidence_relabelled(evidence, labels)
    elif evidence is not None and before is not None and comparison is not None:
        evidence = named_alike(evidence, before, comparison)
    discovery = None
    if comparison is not None and (folder / DISCOVERY_FILE).exists():
        discovery = DISCOVERY_RECORD.read(folder)
        if not {group.column for group in discovery.rare} <= set(comparison.columns):
            discovery = None  # of an earlier run: the comparison is of classes
    return report(folder, comparison, evidence, discovery=discovery, single_file=single_file)


def _mark(
    folder: Path,
    comparison: Comparison | None,
    evidence: Evidence | None,
    discovery: Discovery | None,
) -> str:
    """A comment in a page: a hash of the records and of the names and sizes of all it shows."""
    records = [to_json(record) for record in (comparison, evidence, discovery) if record]
    files = {path for pattern in _SHOWN_FILES for path in folder.glob(pattern) if path.is_file()}
    sizes = sorted((path.relative_to(folder).as_posix(), path.stat().st_size) for path in files)
    parts = [package_version(), canonical_json(records), canonical_json(sizes)]
    return f"<!-- drawn from {sha256_of_parts(parts)} -->\n"


def _shown(
    folder: Path,
    comparison: Comparison | None,
    evidence: Evidence | None,
    discovery: Discovery | None,
) -> dict[str, Any]:
    """What the templates are told beside the records; draws the overlays."""
    shown: dict[str, Any] = {}
    if evidence is not None:
        shown |= _evidence(evidence, evidence_side.view(folder, evidence))
    if comparison is not None:
        links = _links(evidence) if evidence is not None else {}
        gallery = Gallery(folder, comparison.columns)
        found = comparison_side.view(folder, comparison, links, gallery)
        shown["asked"] = asked_side.view(comparison, gallery)
        shown |= {"discovery": discovery, "discovered": []}
        if discovery is not None:
            shown["discovered"] = comparison_side.view_groups(comparison, discovery, gallery)
        shown |= _comparison(comparison, found, gallery.data())
        shown["pairs"] = list(pairs_side.view(folder, comparison))
        shown["audits"] = audit_side.view(folder, comparison)
    return shown


def _render(
    comparison: Comparison | None,
    evidence: Evidence | None,
    shown: Mapping[str, Any],
    *,
    alone: bool,
) -> str:
    """The page; `alone` without the folder."""
    environment = _environment()
    scripts = ["pictures.js", *(["evidence.js"] if evidence else []), "report.js"]
    sheets = ["report.css", *(["evidence.css"] if evidence else []), "print.css"]
    css = colours() + asset(environment, *sheets)
    script = asset(environment, *scripts)
    return environment.get_template("report.html.j2").render(
        comparison=comparison,
        evidence=evidence,
        css=css,
        script=script,
        policy=policy(css, script, alone=alone),
        alone=alone,
        **shown,
    )


def _comparison(
    comparison: Comparison, found: comparison_side.ComparisonView, pictures: list[dict[str, Any]]
) -> dict[str, Any]:
    rows = found.rows
    return {
        "found": found,
        "keys": {row.cells[0].column: row.key for row in rows},
        # how many classes got each verdict on each generated side
        "counted": {
            verdict: [side.counts[verdict] for side in comparison.generated]
            for verdict in CLASS_VERDICTS
            if any(side.counts[verdict] for side in comparison.generated)
        },
        "single": len(comparison.generated) == 1,
        "pictures": pictures,
        "has_pictures": any("image" in picture for picture in pictures),
        "evidence_ranks": _EVIDENCE_RANKS,
        "has_links": any(row.evidence for row in rows),
        "hidden": len(comparison.columns) - len(rows),
        "meanings": VERDICT_MEANINGS,
        "depends": DEPENDS,
        "presences": presences,
        "p_values": p_values,
        "measure_words": MEASURES_IN_WORDS,
        "ordering_sentence": ordering_sentence,
        "changes_in_words": changes_in_words,
        "agreement_in_words": agreement_in_words,
        "corrected_in_words": corrected_in_words,
        "needed_in_words": needed_in_words,
        "rate_in_words": rate_in_words,
        "fsd_sentence": fsd_sentence,
    }


def _evidence(evidence: Evidence, view: evidence_side.EvidenceView) -> dict[str, Any]:
    return {
        "view": view,
        "primary": next(method for method in evidence.methods if method.key == evidence.primary),
        "evidence_counted": {
            verdict: len(evidence.named(verdict)) for verdict in INSTANCE_VERDICTS
        },
        "evidence_ranks": _EVIDENCE_RANKS,
        "evidence_meanings": evidence_meanings(
            evidence.rules, mosaic=evidence.reference is not None
        ),
        "evidence_keys": {shown.row.column: shown.key for shown in view.classes},
    }


def _links(evidence: Evidence) -> dict[str, comparison_side.Link]:
    return {
        row.column: comparison_side.Link(
            key=evidence_side.key_of(evidence, row.column),
            verdict=row.verdict,
            said=class_in_photographs(row),
            gallery=f"See what became of {count(row.instances, 'instance')}",
        )
        for row in evidence.classes
    }


def _environment() -> jinja2.Environment:
    environment = plain_environment()
    environment.filters |= {write.__name__: _unbroken(write) for write in _NUMBERS}
    environment.filters |= {write.__name__: write for write in _WORDS}
    environment.filters["json"] = _pretty
    environment.filters["data"] = data
    environment.filters["sortable"] = _sortable
    return environment


def _unbroken(write: Callable[..., str]) -> Callable[..., str]:
    """The same words, with no line break between a number and its percent sign."""
    return lambda value: write(value).replace(" %", "\u00a0%")


def _pretty(value: Mapping[str, Any]) -> str:
    return json.dumps(json.loads(canonical_json(dict(value))), indent=2, ensure_ascii=False)


def _sortable(value: float | None) -> str:
    """A number for data attributes; empty sorts last."""
    return "" if value is None else repr(float(value))
