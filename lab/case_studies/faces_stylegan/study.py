"""What StyleGAN leaves out of FFHQ's faces: two parsers, an eye, and what they do not agree about.

Areas and labels in, numbers, tables and charts out. Nothing here opens a photograph.
"""

import csv
import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from lab.case_studies.faces_stylegan.charts import draw_charts
from lab.case_studies.readings import (
    CHARTS,
    Charts,
    Written,
    at_thresholds,
    between,
    class_numbers,
    finite,
    halves,
    share,
    write_study,
)
from unseen.core.options import Argument, Option
from unseen.core.tables import markdown_table
from unseen.distribution.areas import Areas
from unseen.distribution.areas_file import read_areas
from unseen.distribution.audit_labels import read_answers
from unseen.distribution.auditing import with_audit
from unseen.distribution.compare import compare
from unseen.distribution.comparison import Comparison
from unseen.distribution.segmenter_check import Check
from unseen.statistics.ratios import compare_counts

AUDITED = ("hat", "eyeglasses", "earring")  # classes of the parsers that an eye has checked
SIDES = ("real", "generated-1")
LABELS = ("FFHQ", "StyleGAN")
_HERE = Path(__file__).parent


@dataclasses.dataclass(frozen=True, kw_only=True)
class FacesStudy:
    """Read what commands.sh made, and the labels by eye."""

    folder: Annotated[Path, Argument("Folder of the study's areas and comparison.")]
    written: Written = _HERE
    charts: Charts = CHARTS
    check: Annotated[
        bool, Option("Let the looks at moved and mirrored faces take verdicts back.")
    ] = True
    second: Annotated[bool, Option("Take the second parser's areas, too.")] = True


def study_faces(task: FacesStudy) -> Iterator[Path]:
    """Write `numbers.json`, `tables.md` and three charts; yields each path.

    Raises:
        RecordError: areas are missing or unreadable, or were made without --check-segmenter.
    """
    areas = [read_areas(task.folder / "compare" / "areas" / f"{s}-checked.parquet") for s in SIDES]
    second = quality = None
    if task.second:
        second = [read_areas(task.folder / f"second-{s}.parquet") for s in ("ffhq", "stylegan")]
        quality = json.loads((task.folder / "parser" / "quality.json").read_text())
    record = compare(
        areas[0],
        areas[1:],
        labels=LABELS,
        checks=[Check()] if task.check else None,
        second=None if second is None else (second[0], second[1:]),
    )
    side = record.generated[0]
    numbers = {
        "images": [len(side) for side in areas],
        "checked": task.check,
        "fsd": dataclasses.asdict(side.fsd),
        "classes": class_numbers(side),
        "measures": [dataclasses.asdict(measure) for measure in side.measures],
        "halves": halves(areas[0]),
        "thresholds": at_thresholds(areas, AUDITED),
        "together": together(areas),
        "audit": audit_numbers({"first": areas} | ({} if second is None else {"second": second})),
        "corrected": corrected(record, areas),
        "by_eye": eye_numbers(),
        "second_parser": quality,
    }
    yield from write_study(task.written, numbers, tables(numbers))
    yield from draw_charts(numbers, task.charts)


def together(areas: Sequence[Areas], threshold: float = 0.005) -> list[dict[str, Any]]:
    """Images that hold two audited classes at once, beside what independence would give."""
    pairs = [(a, b) for i, a in enumerate(AUDITED) for b in AUDITED[i + 1 :]]
    rows = []
    for pair in pairs:
        counts, expected = [], []
        for side in areas:
            held = [
                side.fraction[:, side.columns.index(f"object/{name}")] >= threshold for name in pair
            ]
            counts.append(int((held[0] & held[1]).sum()))
            expected.append(float(held[0].mean() * held[1].mean() * len(side)))
        rows.append({"pair": list(pair), "images": counts, "if_independent": expected})
    return rows


# --- by eye -------------------------------------------------------------------------------------


def _read(name: str) -> list[dict[str, str]]:
    with (_HERE / name).open(newline="") as file:
        return list(csv.DictReader(file))


def audit_numbers(
    parsers: Mapping[str, Sequence[Areas]], threshold: float = 0.005
) -> dict[str, Any]:
    """Presence by eye with the ratio, and how often each parser agrees with the eye."""
    labels = _read("audit.csv")
    numbers: dict[str, Any] = {}
    for name in AUDITED:
        of_class = [row for row in labels if row["class"] == name]
        against = {
            parser: {
                side: _against_eye(of_class, side, seen, name, threshold)
                for side, seen in zip(SIDES, sides, strict=True)
            }
            for parser, sides in parsers.items()
        }
        numbers[name] = {**_counted(of_class, "label"), "parsers": against}
    return numbers


def corrected(record: Comparison, areas: Sequence[Areas]) -> list[dict[str, Any]]:
    """The audited classes' rows corrected by the labels; none where labelled images are missing."""
    answers = read_answers([_HERE / "audit.csv"])
    there = {(side, name) for side, of in zip(SIDES, areas, strict=True) for name in of.names}
    if not there >= {(answer.side, answer.name) for answer in answers}:
        return []  # the small form
    rows = with_audit(record, areas, answers).generated[0].classes
    return [
        {
            "class": row.name,
            "presence": [row.real_presence, row.generated_presence],
            "ratio": row.ratio,
            "interval": row.interval,
            "verdict": row.verdict,
            "segmenter": dataclasses.asdict(row.audit.segmenter),
            "labels_needed": row.audit.labels_needed,
        }
        for row in rows
        if row.audit is not None
    ]


def _against_eye(
    labels: Sequence[Mapping[str, str]], side: str, seen: Areas, name: str, threshold: float
) -> dict[str, Any]:
    """Sensitivity and false alarms of a parser on the labelled images of a side."""
    column = seen.columns.index(f"object/{name}")
    found = dict(zip(seen.names, seen.fraction[:, column] >= threshold, strict=True))
    sure = [row for row in labels if row["side"] == side and row["name"] in found]
    held = [bool(found[row["name"]]) for row in sure if row["label"] == "present"]
    not_held = [bool(found[row["name"]]) for row in sure if row["label"] == "absent"]
    return {
        "sensitivity": share(sum(held), len(held)),
        "false_alarms": share(sum(not_held), len(not_held)),
    }


def eye_numbers() -> dict[str, Any]:
    """What no class names, as an eye saw it: by sample, and of both samples together."""
    rows = _read("by_eye.csv")
    names = [name for name in rows[0] if name not in ("sample", "side", "name")]
    return {
        name: {
            sample: _counted([row for row in rows if row["sample"] in sample], name)
            for sample in ("1", "2", "12")
        }
        for name in names
    }


def _counted(rows: Sequence[Mapping[str, str]], column: str) -> dict[str, Any]:
    """Counts a side, and the ratio with its exact interval; "?" counts as absent, then present."""
    sides: dict[str, Any] = {}
    for side in SIDES:
        said = [row[column] for row in rows if row["side"] == side]
        sides[side] = {
            "images": len(said),
            "unsure": said.count("?"),
            **share(said.count("present"), len(said)),
        }
    return {"sides": sides, "ratio": _ratio(sides, 0), "ratio_with_unsure": _ratio(sides, 1)}


def _ratio(sides: Mapping[str, Any], unsure: int) -> dict[str, Any]:
    a, b = (sides[s]["count"] + unsure * sides[s]["unsure"] for s in SIDES)
    n, m = (sides[s]["images"] for s in SIDES)
    p_value, low, high = compare_counts(a, b, n, m, alpha=0.05)
    return {
        "ratio": (b / m) / (a / n) if a else None,
        "interval": [finite(low[0]), finite(high[0])],
        "p_value": float(p_value[0]),
    }


# --- tables -------------------------------------------------------------------------------------


def tables(numbers: Mapping[str, Any]) -> str:
    """The tables of the docs' page."""
    classes = [
        [
            row["class"],
            *(f"{100 * p:.1f} %" for p in row["presence"]),
            between(row["ratio"], row["interval"]),
            between(row["spread_ratio"], row["spread_interval"]),
            row["verdict"] + (", depends on the threshold" if row["depends_on_threshold"] else ""),
            row["second_verdict"] or "–",
        ]
        for row in numbers["classes"]
    ]
    headings = ["class", "FFHQ", "StyleGAN", "ratio", "spread", "verdict", "second parser"]
    eyes = []
    for name, found in numbers["audit"].items():
        eyes.append([name, *_by_eye(found)])
    for name, samples in numbers["by_eye"].items():
        eyes.append([name, *_by_eye(samples["12"])])
    parsers = [
        [
            name,
            parser,
            *(
                between(found[key]["share"], found[key]["interval"])
                for found in (sides[side] for side in SIDES)
                for key in ("sensitivity", "false_alarms")
            ),
        ]
        for name, audited in numbers["audit"].items()
        for parser, sides in audited["parsers"].items()
    ]
    by_labels = [
        [
            row["class"],
            between(row["segmenter"]["ratio"], row["segmenter"]["interval"]),
            *(f"{100 * p:.1f} %" for p in row["presence"]),
            between(row["ratio"], row["interval"]),
            row["verdict"],
        ]
        for row in numbers["corrected"]
    ]
    return "\n\n".join(
        [
            markdown_table(headings, classes, right=(1, 2)),
            markdown_table(["by eye", "FFHQ", "StyleGAN", "ratio", "with unsure ones"], eyes),
            markdown_table(
                [
                    "class",
                    "parser",
                    "found, FFHQ",
                    "false, FFHQ",
                    "found, StyleGAN",
                    "false, StyleGAN",
                ],
                parsers,
            ),
            markdown_table(
                ["class", "ratio by the parser", "FFHQ", "StyleGAN", "corrected ratio", "verdict"],
                by_labels,
                right=(2, 3),
            ),
            "",
        ]
    )


def _by_eye(found: Mapping[str, Any]) -> list[str]:
    counts = [f"{found['sides'][s]['count']} of {found['sides'][s]['images']}" for s in SIDES]
    ratios = [found[key] for key in ("ratio", "ratio_with_unsure")]
    return [*counts, *(between(ratio["ratio"], ratio["interval"]) for ratio in ratios)]
