"""A comparison for other programs.

Markdown for a pull request, JUnit XML for a dashboard, CSV of the images that hold a class.
"""

import contextlib
import dataclasses
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from unseen.core.files import write_text
from unseen.core.tables import csv_text, markdown_table
from unseen.core.twins import remove
from unseen.core.wording import listed, number, percent, printable, ratio_interval, times
from unseen.core.wording import value_interval as interval
from unseen.distribution.areas import class_name
from unseen.distribution.comparison import (
    ClassRow,
    Comparison,
    ExampleImage,
    GateResult,
    GeneratedSide,
    Side,
)
from unseen.distribution.comparison_wording import (
    corrected,
    gate_in_words,
    p_equals,
    pair_name,
    rarely_in_words,
)
from unseen.images.record_pictures import copy_picture, picture_path

IMAGES_CSV = "asked-images.csv"  # beside the record, where classes were asked about
IMAGES_FOLDER = "asked-images"
_COPY = re.compile(r"\d+-[\w-]*/(real|generated-\d+)/\d{5,}\.(png|jpg)")
_COLUMNS = ("class", "side", "image", "share_of_image", "counted", "picture", "label_map")

_LONGEST_NAME = 40  # characters of a class in the name of a folder


def as_markdown(comparison: Comparison) -> str:
    """The gate, the classes that are wrong, the distance and the caveats, in GitHub's Markdown.

    >>> print(as_markdown(comparison))
    ### fakes against photos: 1 omitted
    ...
    """
    lines = [line for side in comparison.generated for line in _side(comparison, side)]
    if comparison.gate is not None:
        lines[1:1] = _gate(comparison.gate)
    if comparison.warnings or comparison.caveats:
        lines += ["<details><summary>Before you read on</summary>", ""]
        lines += [f"- {_text(text)}" for text in (*comparison.warnings, *comparison.caveats)]
        lines += ["", "</details>", ""]
    return "\n".join(lines)


def export_images(comparison: Comparison, folder: Path) -> None:
    """Copy the images that hold the classes asked about, a folder a class and side; list them.

    Args:
        comparison: the record; without classes that were asked about nothing is written, and what
            an earlier run exported goes.
        folder: of the record, which holds its pictures.

    Raises:
        RecordError: a picture is missing.
        StorageError: the disk is full, or the folder cannot be written.
    """
    exported = folder / IMAGES_FOLDER
    remove(folder / IMAGES_CSV)
    for path in sorted(exported.rglob("*"), reverse=True):  # a folder after what is in it
        if path.is_dir():
            with contextlib.suppress(OSError):  # someone keeps something there
                path.rmdir()
        elif _COPY.fullmatch(path.relative_to(exported).as_posix()):
            remove(path)
    if not comparison.asked:
        return
    for exported_image in _exported(comparison):
        if exported_image.held.image is not None and exported_image.copy is not None:
            copy_picture(
                picture_path(folder, exported_image.held.image), folder / exported_image.copy
            )
    write_text(folder / IMAGES_CSV, images_csv(comparison))


def images_csv(comparison: Comparison) -> str:
    """The images that hold the classes asked about, most of a class first.

    >>> images_csv(comparison).startswith("class,side,image,share_of_image,counted,picture")
    True
    """
    rules = {row.column: row.presence_threshold for row in comparison.generated[0].classes}
    rows = [
        {
            "class": class_name(exported.column),
            "side": exported.side.label,
            "image": exported.held.name,
            "share_of_image": exported.held.fraction,
            "counted": "yes" if exported.held.fraction >= rules[exported.column] else "no",
            "picture": exported.copy,
            "label_map": exported.held.label_map,
        }
        for exported in _exported(comparison)
    ]
    return csv_text(rows, _COLUMNS)


@dataclasses.dataclass(frozen=True)
class _Exported:
    """An image that holds a class asked about."""

    column: str
    side: Side
    held: ExampleImage
    copy: str | None  # path below the folder of the record; None: there is no picture


def _exported(comparison: Comparison) -> Iterator[_Exported]:
    sides = {
        "real": comparison.real,
        **{f"generated-{i}": side for i, side in enumerate(comparison.generated, 1)},
    }
    for place, column in enumerate(comparison.asked, 1):
        name = re.sub(r"[^\w-]+", "-", class_name(column))[:_LONGEST_NAME]
        for key, side in sides.items():
            for rank, held in enumerate(side.example_images.get(column, ()), 1):
                copy = None
                if held.image is not None:
                    ending = PurePosixPath(held.image).suffix
                    copy = f"{IMAGES_FOLDER}/{place}-{name}/{key}/{rank:05d}{ending}"
                yield _Exported(column, side, held, copy)


def _side(comparison: Comparison, side: GeneratedSide) -> Iterator[str]:
    rows = comparison.told(side)
    wrong = [row for row in rows if row.verdict in ("omitted", "under", "over")]
    verdicts = [row.verdict for row in wrong]
    counts = [f"{verdicts.count(verdict)} {verdict}" for verdict in dict.fromkeys(verdicts)]
    found = listed(counts) if counts else "no class is shown to be wrong"
    yield f"### {_text(side.label)} against {_text(comparison.real.label)}: {found}"
    yield ""
    if wrong:
        headings = ["class", "verdict", "generated / real", "real", "generated"]
        yield markdown_table(headings, map(_cells, wrong), right=(2, 3, 4))
        yield ""
    for pair in side.together.pairs:
        yield f"- rarely together: {_text(pair_name(pair))}, {rarely_in_words(pair)}"
    if side.together.pairs:
        yield ""
    fsd = side.fsd
    known = f"{corrected(fsd)} [{interval(fsd.interval)}]" if fsd.reason is None else "not known"
    yield (
        f"Fréchet Segmentation Distance {known}, p {p_equals(fsd)} of equal distributions. "
        f"Plug-in {number(fsd.value)}, floor {number(fsd.floor)}; {comparison.real.images:,} real "
        f"and {side.images:,} generated images."
    )
    yield ""


def _cells(row: ClassRow) -> tuple[str, ...]:
    values = (row.real_presence, row.generated_presence)
    if row.statistic == "area":
        values = (row.real_area, row.generated_area)
    unit = "of images" if row.statistic == "presence" else "of pixels"
    ratio = f"{times(row.ratio)} [{ratio_interval(row.interval)}]"
    return (_text(row.name), row.verdict, ratio, *(f"{percent(value)} {unit}" for value in values))


def _gate(gate: GateResult) -> list[str]:
    conditions = listed([f"`{condition}`" for condition in gate.fail_on]) or "power"
    lines = ["", f"**Gate on {conditions}: {gate_in_words(gate)}.**", ""]
    return lines + [f"- {_text(sentence)}" for sentence in gate.sentences]


def _text(text: str) -> str:
    """Text of others as Markdown shows it: no tags, no emphasis, no line breaks."""
    escaped = printable(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for mark in "\\`*_[]":
        escaped = escaped.replace(mark, f"\\{mark}")
    return escaped


def as_junit(comparison: Comparison) -> str:
    """The gate as JUnit XML: a suite for each side that was judged, a case for each class.

    A class that the gate names is a failure, of the type "failed" or "not shown". A class that was
    not tested, and is not named, is skipped.

    Raises:
        ValueError: the comparison has no gate.

    >>> from dataclasses import replace
    >>> from unseen.distribution.gate import Gate
    >>> judged = replace(comparison, gate=Gate(("omitted",)).judge(comparison))
    >>> as_junit(judged).count("<failure")
    1
    """
    gate = comparison.gate
    if gate is None:
        raise ValueError("the comparison has no gate, so there is nothing to pass or to fail")
    suites = ET.Element("testsuites", name="unseen compare")
    for side in comparison.generated:
        if side.label in gate.sides:
            suites.append(_suite(comparison, side, gate))
    ET.indent(suites)
    return ET.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def _suite(comparison: Comparison, side: GeneratedSide, gate: GateResult) -> ET.Element:
    label = printable(side.label)
    suite = ET.Element("testsuite", name=label)
    findings = [finding for finding in gate.findings if finding.side == side.label]
    rows = comparison.told(side)
    names: dict[str | None, str] = {row.column: row.name for row in rows}
    if any(finding.column not in names for finding in findings):
        names[None] = "all classes"
    for column, name in names.items():
        case = ET.SubElement(suite, "testcase", classname=label, name=printable(name))
        said = [
            f for f in findings if f.column == column or (column is None and f.column not in names)
        ]
        for finding in said:
            failure = ET.SubElement(case, "failure", type=finding.kind)
            failure.set("message", printable(finding.sentence))
        untested = any(row.column == column and not row.tested for row in rows)
        if untested and not said:
            ET.SubElement(case, "skipped", message="seen in too few images to be tested")
    failed = sum(case.find("failure") is not None for case in suite)
    suite.set("tests", str(len(suite)))
    suite.set("failures", str(failed))
    suite.set("skipped", str(len(suite.findall("testcase/skipped"))))
    return suite
