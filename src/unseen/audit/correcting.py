"""The comparison of a folder, corrected by labels, with pictures of the segmenter's mistakes."""

import dataclasses
import shutil
from collections.abc import Iterable
from pathlib import Path

from unseen.audit.sides import OpenedSide, open_sides
from unseen.core.errors import SpecError, UnseenError
from unseen.core.lock import LOCK, PATIENCE, locked
from unseen.distribution.audit_labels import read_answers
from unseen.distribution.auditing import with_audit
from unseen.distribution.comparison import FILE, Comparison, read_comparison, write_comparison
from unseen.distribution.example_images import PicturePaths, with_audited, write_picture

_PICTURES = "audit-pictures"  # folder beside the record


def correct(folder: Path, labels: Iterable[Path]) -> tuple[Comparison, list[str]]:
    """Correct the record of a folder by what people said; write it.

    Args:
        folder: of a comparison.
        labels: CSV files, as the page of an audit exports them.

    Returns:
        The record, and why pictures of a side are missing.

    Raises:
        SpecError: labels of another run; or the comparison has groups or weights, which it does
            not keep image by image.
        RecordError: the areas are not there any more.

    >>> comparison, _ = correct(Path("comparison"), [Path("audit.csv")])  # doctest: +SKIP
    """
    answers = read_answers(labels)
    with locked(folder / LOCK, patience=PATIENCE):
        comparison = read_comparison(folder)
        sides = open_sides(folder, comparison)
        for side in (comparison.real, *comparison.generated):
            if side.sampling is not None:
                raise SpecError(
                    f"{side.label} has groups or weights, which its areas do not keep; run "
                    "`unseen compare` again with --audit and the same options"
                )
        comparison = with_audit(comparison, [side.areas for side in sides], answers)
        comparison, missing = _with_pictures(folder, comparison, sides)
        if comparison.gate is not None:
            comparison = dataclasses.replace(comparison, gate=None)
            missing.append("the gate's result is dropped: judge again with compare --audit")
        write_comparison(folder / FILE, comparison)
    return comparison.at(folder), missing


def _with_pictures(
    folder: Path, comparison: Comparison, sides: list[OpenedSide]
) -> tuple[Comparison, list[str]]:
    """The record with the pictures that the segmenter got wrong, written anew."""
    shutil.rmtree(folder / _PICTURES, ignore_errors=True)
    missing = []
    generated = list(comparison.generated)
    for number, side in enumerate(sides):
        of_side = [
            audits[1 if number else 0]
            for k, drawn in enumerate(generated, 1)
            if number in (0, k)
            for audits in drawn.audited
        ]
        names = [kept.name for audit in of_side for kept in (*audit.missed, *audit.invented)]
        try:
            paths = _written(folder, side, list(dict.fromkeys(names)))
        except UnseenError as error:  # the numbers do not need them
            missing.append(f"pictures of {side.label} are not shown: {error}")
            continue
        for k in range(len(generated)) if number == 0 else [number - 1]:
            generated[k] = with_audited(generated[k], "generated" if number else "real", paths)
    return dataclasses.replace(comparison, generated=tuple(generated)), missing


def _written(folder: Path, side: OpenedSide, names: list[str]) -> PicturePaths:
    if not names:
        return {}
    return {
        name: (write_picture(folder, f"{_PICTURES}/{side.key}/{i:05d}", image), None)
        for i, (name, image) in enumerate(side.pictures(names))
    }
