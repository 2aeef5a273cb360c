"""What a DCGAN leaves out of CelebA's faces: its distribution, single photographs, and mosaics.

Records in, numbers, tables and charts out. Nothing here opens a photograph. A run that has not
been made is null in the numbers, and the tables say so.
"""

import csv
import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from lab.case_studies.faces_dcgan.charts import AGAINST, draw_charts
from lab.case_studies.readings import (
    CHARTS,
    NOT_YET,
    Charts,
    Written,
    at_thresholds,
    between,
    class_numbers,
    halves,
    of_class,
    part,
    share,
    write_study,
)
from unseen.core.errors import RecordError
from unseen.core.options import Argument
from unseen.core.tables import markdown_table
from unseen.core.wording import listed
from unseen.distribution.areas import Areas
from unseen.distribution.areas_file import read_areas
from unseen.distribution.comparison import read_comparison
from unseen.instance_evidence.record import (
    Evidence,
    Mean,
    control_retention,
    read_evidence,
    runs_by_depth,
)
from unseen.inversion.inversions import ROLES, read_inversions

ASKED = ("eyeglasses", "hat", "earring")  # which not every face has
SEARCHES = ("inversions", "start-nearest")  # by method f, from the inverter's estimate or not
RUNS = (*SEARCHES, "mosaics")  # folders of `unseen invert`
_LEFT_OUT = ("omitted", "under", "cannot draw")
_DRAWN = ("matched", "over", "can draw")
SIDES = ("real", "generated-1")
_HERE = Path(__file__).parent


@dataclasses.dataclass(frozen=True, kw_only=True)
class DcganStudy:
    """Read what commands.sh made. The comparison is needed; other runs may be missing."""

    folder: Annotated[Path, Argument("Folder of the study's records.")]
    written: Written = _HERE
    charts: Charts = CHARTS


def study_dcgan(task: DcganStudy) -> Iterator[Path]:
    """Write `numbers.json`, `tables.md` and the charts of what was measured; yields each path.

    Raises:
        RecordError: the comparison is missing, or a record is unreadable.
    """
    comparison = read_comparison(task.folder / "compare")
    side = comparison.generated[0]
    areas = [_areas(task.folder / "compare" / "areas", name) for name in SIDES]
    figure6 = task.folder / "figure6" / "methods.json"
    numbers: dict[str, Any] = {
        "images": [comparison.real.images, side.images],
        "checked": side.checked,
        "warnings": list(comparison.warnings),
        "fsd": dataclasses.asdict(side.fsd),
        "classes": class_numbers(side),
        "measures": [dataclasses.asdict(measure) for measure in side.measures],
        "by_eye": calls_by_eye(),
        "halves": halves(areas[0]),
        "thresholds": at_thresholds(areas, ASKED),
        "runs": {run: part(task.folder / run / "evidence.json", _evidence) for run in RUNS},
        "losses": {run: part(task.folder / run / "inversions.json", losses) for run in SEARCHES},
        "networks": part(figure6, networks),
        "figure6": part(figure6, figure6_numbers),
    }
    numbers["agreement"] = agreement(numbers["classes"], numbers["runs"])
    yield from write_study(task.written, numbers, tables(numbers))
    yield from draw_charts(numbers, task.charts)


def _areas(folder: Path, side: str) -> Areas:
    """The areas of a side, whether or not the segmenter was checked on them."""
    paths = sorted(path for path in folder.glob(f"{side}*.parquet") if path.is_file())
    if len(paths) != 1:
        raise RecordError(
            f"{folder} holds {len(paths)} files of areas of {side}; one is needed: run the study's "
            "comparison again"
        )
    return read_areas(paths[0])


def calls_by_eye() -> dict[str, dict[str, dict[str, Any]]]:
    """Of the calls and of the other images that an eye saw, how many hold the class."""
    with (_HERE / "audit.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    numbers: dict[str, dict[str, dict[str, Any]]] = {}
    for name in dict.fromkeys(row["class"] for row in rows):
        for side in SIDES:
            for called in ("yes", "no"):
                of = {"class": name, "side": side, "called": called}
                said = [row["label"] for row in rows if of.items() <= row.items()]
                found = share(said.count("present"), len(said)) | {"unsure": said.count("?")}
                numbers.setdefault(name, {}).setdefault(side, {})[called] = found
    return numbers


def _evidence(path: Path) -> dict[str, Any]:
    return evidence_numbers(read_evidence(path))


def evidence_numbers(evidence: Evidence) -> dict[str, Any]:
    """Sides, methods and classes of one run."""
    assert evidence.controls is not None
    curve = [method.key for method in runs_by_depth(evidence)]
    return {
        "photographs": evidence.photographs.images,
        "controls": evidence.controls.images,
        "primary": evidence.primary,
        "curve": curve,
        "methods": [
            {
                "key": method.key,
                "method": method.method,
                "last_perturbed": method.last_perturbed,
                "control_retention": control_retention(evidence, method.key),
            }
            for method in evidence.methods
        ],
        "classes": [
            {
                "class": row.name,
                "verdict": row.verdict,
                "reason": row.reason,
                "instances": row.instances,
                "photographs": row.images,
                "lost_share": row.lost_share,
                "own": _mean(row.own),
                "retention": {
                    kept.method: {
                        "photographs": _mean(kept.photographs),
                        "matched": _mean(kept.matched),
                        "controls": _mean(kept.controls),
                    }
                    for kept in row.retention
                },
                "ratios": {
                    ratio.against: {"ratio": ratio.ratio, "interval": ratio.interval}
                    for ratio in row.ratios
                    if ratio.method == evidence.primary
                },
            }
            for row in evidence.classes
        ],
    }


def _mean(mean: Mean) -> dict[str, Any]:
    return {"mean": mean.mean, "interval": mean.interval, "instances": mean.instances}


def losses(path: Path) -> dict[str, dict[str, float]]:
    """Mean losses of a run's sides: method d before the search, method f behind it."""
    record = read_inversions(path)
    return {
        role: {
            method: float(
                np.mean(
                    [
                        result.loss
                        for image in record.of(role)
                        if (result := image.reconstructions[method]).loss is not None
                    ]
                )
            )
            for method in ("d", "f")
        }
        for role in ROLES
    }


def networks(path: Path) -> dict[str, Any]:
    """What validation says of the inverter and of the encoder."""
    record = json.loads(path.read_text())
    runs = record["provenance"]["inversions"]
    return {
        name: {key: runs[method][name][key] for key in ("samples", "preset", "held_out")}
        for name, method in (("inverter", "d"), ("encoder", "b"))
    }


def figure6_numbers(path: Path) -> dict[str, Any]:
    """Figure 6's correlations by definition, quantity and method, and whether its order holds."""
    record = json.loads(path.read_text())
    measured: dict[str, dict[str, dict[str, Any]]] = {}
    for row in record["measured"]:
        by_method = measured.setdefault(row["definition"], {}).setdefault(row["quantity"], {})
        by_method[row["method"]] = {"value": row["value"], "interval": row["interval"]}
    return {
        "images": record["images"],
        "cut": record["cut"],
        "measured": measured,
        "order": record["order"],
    }


# --- which verdicts agree -----------------------------------------------------------------------


def agreement(
    classes: Sequence[Mapping[str, Any]], runs: Mapping[str, Mapping[str, Any] | None]
) -> list[dict[str, Any]]:
    """For every class what each instrument says, and whether those that decide say the same."""
    rows = []
    for row in classes:
        verdicts = {"distribution": row["verdict"]}
        for run in AGAINST:
            found = of_class(runs[run], row["class"])
            verdicts[run] = None if found is None else found["verdict"]
        rows.append(
            {"class": row["class"], "verdicts": verdicts, "agree": agree(list(verdicts.values()))}
        )
    return rows


def agree(verdicts: Sequence[str | None]) -> str:
    """Whether the verdicts that decide say the same.

    >>> agree(["under", "cannot draw", "undecided"]), agree(["under", "can draw"])
    ('agree', 'disagree')
    """
    said = {verdict in _LEFT_OUT for verdict in verdicts if verdict in _LEFT_OUT + _DRAWN}
    decided = sum(verdict in _LEFT_OUT + _DRAWN for verdict in verdicts)
    if len(said) == 2:
        return "disagree"
    return "agree" if decided > 1 else "one decides" if decided else "none decides"


# --- tables -------------------------------------------------------------------------------------


def tables(numbers: Mapping[str, Any]) -> str:
    """The tables of the docs' page."""
    return "\n\n".join(
        [
            _classes_table(numbers),
            _eye_table(numbers),
            *(_kept_table(numbers["runs"][run], AGAINST[run]) for run in RUNS),
            _agreement_table(numbers),
            _starts_table(numbers),
            _figure6_table(numbers),
            "",
        ]
    )


def _classes_table(numbers: Mapping[str, Any]) -> str:
    rows = [
        [
            row["class"],
            *(f"{100 * share:.1f} %" for share in row["presence"]),
            between(row["ratio"], row["interval"]),
            between(row["spread_ratio"], row["spread_interval"]),
            row["verdict"] + (", depends on the threshold" if row["depends_on_threshold"] else ""),
        ]
        for row in numbers["classes"]
    ]
    headings = ["class", "CelebA", "DCGAN", "ratio", "spread", "verdict"]
    return markdown_table(headings, rows, right=(1, 2))


def _eye_table(numbers: Mapping[str, Any]) -> str:
    """What an eye saw in images that the parser calls, and in others."""
    rows = [
        [name, *(_seen(of_side[called]) for of_side in sides.values() for called in ("yes", "no"))]
        for name, sides in numbers["by_eye"].items()
    ]
    headings = ["class", "called, CelebA", "not called, CelebA", "called, DCGAN"]
    return markdown_table([*headings, "not called, DCGAN"], rows)


def _seen(found: Mapping[str, Any]) -> str:
    return f"{found['count']} to {found['count'] + found['unsure']} of {found['of']}"


def _kept_table(run: Mapping[str, Any] | None, against: str) -> str:
    """The share of each class that each method of a run keeps, f by depth, and its verdict."""
    if run is None:
        return NOT_YET
    of_key = {method["key"]: method for method in run["methods"]}
    keys = [*(key for key in of_key if key not in run["curve"]), *run["curve"]]
    rows = [
        [
            row["class"],
            str(row["instances"]),
            *(_kept(row["retention"][key]["photographs"]["mean"]) for key in keys),
            kept_beside(run, row["class"], against),
            row["verdict"],
        ]
        for row in run["classes"]
    ]
    own = [_kept(of_key[key]["control_retention"]) for key in keys]
    rows.append(["*all of the generator's own images*", "", *own, "", ""])
    called = [_called(of_key[key]) for key in keys]
    headings = ["class", "regions", *called, f"beside {against}", "verdict"]
    return markdown_table(headings, rows, right=range(1, 2 + len(called)))


def _kept(share: float | None) -> str:
    return between(share, (None, None))


def _called(method: Mapping[str, Any]) -> str:
    name, last = method["method"], method["last_perturbed"]
    return name if last is None else f"{name} up to {last}"


def _agreement_table(numbers: Mapping[str, Any]) -> str:
    """A row a class: ratio of presence, what a mosaic and f keep, the verdicts, and whether."""
    ratios = {row["class"]: row for row in numbers["classes"]}
    runs = numbers["runs"]
    rows = []
    for row in numbers["agreement"]:
        drawn = ratios[row["class"]]
        cells = [between(drawn["ratio"], drawn["interval"])]
        cells += [kept_beside(runs[run], row["class"], of) for run, of in AGAINST.items()]
        said = [
            ": ".join(word for word in (cell.strip("–"), verdict) if word) or "–"
            for cell, verdict in zip(cells, row["verdicts"].values(), strict=True)
        ]
        rows.append([row["class"], *said, row["agree"]])
    headings = ["class", "drawn as often", "mosaic keeps", "f keeps, from the inverter"]
    headings += ["f keeps, from the nearest sample", "together"]
    missing = [run for run in AGAINST if runs[run] is None]
    note = f"\n\n*Not measured yet: {listed(missing)}.*" if missing else ""
    return markdown_table(headings, rows).strip() + note


def kept_beside(run: Mapping[str, Any] | None, name: str, against: str) -> str:
    """How much as much a run's method keeps of a class: the ratio with its interval, or "–"."""
    found = of_class(run, name)
    ratio = None if found is None else found["ratios"].get(against)
    return "–" if ratio is None else between(ratio["ratio"], ratio["interval"])


def _starts_table(numbers: Mapping[str, Any]) -> str:
    """The mean loss where a search begins and where it ends, by where it began."""
    rows = [
        [run, *(f"{of_role[role][method]:.4f}" for role in ROLES for method in ("d", "f"))]
        for run, of_role in numbers["losses"].items()
        if of_role is not None
    ]
    if not rows:
        return NOT_YET
    headings = ["run", "photographs, before", "after", "controls, before", "after"]
    return markdown_table(headings, rows, right=(1, 2, 3, 4))


def _figure6_table(numbers: Mapping[str, Any]) -> str:
    figure6 = numbers["figure6"]
    if figure6 is None:
        return NOT_YET
    by_quantity = figure6["measured"]["per_dimension"]
    methods = list(next(iter(by_quantity.values())))
    rows = [
        [method, *(between(*_measured(of[method]), digits=3) for of in by_quantity.values())]
        for method in methods
    ]
    return markdown_table(["method", *by_quantity], rows)


def _measured(row: Mapping[str, Any]) -> tuple[float | None, Sequence[float] | None]:
    return row["value"], row["interval"]
