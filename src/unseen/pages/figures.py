"""One figure of a run, for a paper: the kinds by name, from the records alone."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from unseen.core.errors import RecordError
from unseen.core.figure_style import Width
from unseen.core.files import as_path
from unseen.core.options import check_labels
from unseen.distribution.comparison import FILE as COMPARISON_FILE
from unseen.distribution.comparison import Comparison, read_comparison
from unseen.instance_evidence.record import FILE as EVIDENCE_FILE
from unseen.instance_evidence.record import Evidence, read_evidence
from unseen.pages.pair_figures import draw_instances, draw_pairs

FigureKind = Literal["histogram", "intervals", "pairs", "instances", "retention", "curves"]
FIGURE_KINDS: tuple[FigureKind, ...] = get_args(FigureKind)
_OF_COMPARISONS = ("histogram", "intervals")


def figure(
    kind: FigureKind,
    run: str | Path | Comparison | Evidence,
    *paths: str | Path,
    classes: Sequence[str] = (),
    width: Width | None = None,
    labels: Sequence[str] | None = None,
    count: int = 4,
) -> Any:
    """One figure of a comparison or of evidence.

    Args:
        kind: histogram and intervals are of a comparison; instances, retention and curves of
            evidence; pairs of evidence, or of photographs and images of the same names.
        run: a record, or the folder that holds it.
        paths: files to write, as PDF, SVG or PNG by suffix.
        classes: the only ones shown, by name; none: all, or what lost most.
        width: "column" (3.28 inches) or "page" (6.875) of a paper; None: as on the page of
            `report`, where the kind is there; else "page".
        labels: what to call the sides, the real one first.
        count: of photographs or instances, in pairs and instances.

    Returns:
        The figure of matplotlib.

    Raises:
        RecordError: there is no such record, or nothing in it that this kind shows.
        SpecError: a class that the record does not know, another suffix, labels that do not fit.
        StorageError: the disk is full, or the place cannot be written.

    >>> drawn = figure(
    ...     "histogram", folder / "comparison", folder / "areas.pdf", width="column",
    ...     labels=["LSUN", "ProGAN"],
    ... )
    >>> float(drawn.get_figwidth())
    3.28
    """
    record = _record(kind, run)
    if isinstance(record, Comparison):
        record = relabelled(record, labels)
    else:
        record = evidence_relabelled(record, labels)
    files = [as_path(path) for path in paths]
    if kind == "pairs":
        return draw_pairs(record, *files, classes=classes, width=width or "page", count=count)
    if kind == "instances":
        assert isinstance(record, Evidence)
        return draw_instances(record, *files, classes=classes, width=width or "page", count=count)
    drawn = record.plot(kind, *files, width=width, classes=classes)  # type: ignore[arg-type]
    if drawn is None:
        raise RecordError(
            "the record has no curves: only one layer was perturbed; run `unseen invert --curve`"
        )
    return drawn


def _record(kind: FigureKind, run: str | Path | Comparison | Evidence) -> Comparison | Evidence:
    """The record that holds what the figure shows."""
    wanted = Comparison if kind in _OF_COMPARISONS else Evidence
    if isinstance(run, Comparison | Evidence):
        if kind != "pairs" and not isinstance(run, wanted):
            raise RecordError(f"{kind} is of {wanted.__name__.lower()}; give such a record")
        return run
    folder = as_path(run)
    if folder.name in (COMPARISON_FILE, EVIDENCE_FILE):
        folder = folder.parent
    if kind == "pairs" and not (folder / EVIDENCE_FILE).exists():
        wanted = Comparison
    return read_comparison(folder) if wanted is Comparison else read_evidence(folder)


def relabelled(record: Comparison, labels: Sequence[str] | None) -> Comparison:
    """The record with other labels of its sides (SpecError: as in `check_labels`)."""
    if labels is None:
        return record
    real, *generated = check_labels(labels, 1 + len(record.generated))
    named = dataclasses.replace(
        record,
        real=dataclasses.replace(record.real, label=real),
        generated=tuple(
            dataclasses.replace(side, label=label)
            for side, label in zip(record.generated, generated, strict=True)
        ),
    )
    return named if record.folder is None else named.at(record.folder)


def evidence_relabelled(record: Evidence, labels: Sequence[str] | None) -> Evidence:
    """The same of evidence: the photographs, then the generator."""
    if labels is None:
        return record
    photographs, generator = check_labels(labels, 2)
    return _named(record, photographs, generator)


def named_alike(evidence: Evidence, before: Comparison, after: Comparison) -> Evidence:
    """Evidence with the labels that a comparison's sides of the same names were given."""
    sides = [(record.real, *record.generated) for record in (before, after)]
    new = {old.label: side.label for old, side in zip(*sides, strict=True)}
    photographs, generator = evidence.photographs.label, evidence.generator
    return _named(evidence, new.get(photographs, photographs), new.get(generator, generator))


def _named(evidence: Evidence, photographs: str, generator: str) -> Evidence:
    named = dataclasses.replace(
        evidence,
        photographs=dataclasses.replace(evidence.photographs, label=photographs),
        generator=generator,
    )
    return named if evidence.folder is None else named.at(evidence.folder)
