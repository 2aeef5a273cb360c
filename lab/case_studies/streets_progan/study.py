"""What a ProGAN of streets leaves out along its training, and what its segmenter cannot see.

Records in, numbers, tables and charts out. Nothing here opens a photograph. A part that has not
been measured yet is null in the numbers, and the tables say so.
"""

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from lab.case_studies.readings import (
    CHARTS,
    NOT_YET,
    Charts,
    Written,
    between,
    class_numbers,
    part,
    write_study,
)
from lab.case_studies.streets_progan.charts import draw_charts
from lab.model_card import total_variance
from unseen.bench.cross_domain_report import Group, GroupImage
from unseen.core.options import Argument
from unseen.core.tables import markdown_table
from unseen.distribution.comparison import Comparison, GeneratedSide, PairClass, read_comparison
from unseen.instance_evidence.record import Evidence, read_evidence

_HERE = Path(__file__).parent


@dataclasses.dataclass(frozen=True, kw_only=True)
class StreetsStudy:
    """Read what commands.sh made. Parts that are not there are called not measured."""

    folder: Annotated[Path, Argument("Folder of the study's records.")]
    written: Written = _HERE
    charts: Charts = CHARTS


def study_streets(task: StreetsStudy) -> Iterator[Path]:
    """Write `numbers.json`, `tables.md` and the charts of what was measured; yields each path.

    Raises:
        RecordError: a record is unreadable.
    """
    folder = task.folder
    numbers = {
        "weakness": part(folder / "weakness" / "comparison.json", weakness_numbers),
        "matched": part(folder / "matched" / "comparison.json", weakness_numbers),
        "training": part(folder / "training" / "generator.json", training_numbers),
        "curve": part(folder / "curve" / "comparison.json", curve_numbers),
        "last": part(folder / "last" / "comparison.json", last_numbers),
        "domains": part(folder / "cross-domain" / "cross-domain.json", domain_numbers),
        "evidence": part(folder / "inversions" / "evidence.json", evidence_numbers),
    }
    yield from write_study(task.written, numbers, tables(numbers))
    yield from draw_charts(numbers, task.charts)


def weakness_numbers(path: Path) -> dict[str, Any]:
    """Photographs beside themselves at 64 pixels: what is still seen, and what appears."""
    record = read_comparison(path)
    (side,) = record.generated
    pairs = side.pairs
    assert pairs is not None, f"{path} was made without --paired"
    rows = {row.name: row for row in side.classes}
    return {
        "pairs": pairs.pairs,
        "checked": side.checked,
        "fsd": dataclasses.asdict(side.fsd),
        "measures": [dataclasses.asdict(measure) for measure in side.measures],
        "classes": [
            {
                "class": name,
                "held": pair.held,
                "kept": pair.kept,
                "kept_interval": pair.kept_interval,
                "lacking": pair.lacking,
                "added": pair.added,
                "added_interval": pair.added_interval,
                "difference": pair.difference,
                "difference_interval": pair.difference_interval,
                "p_holm": pair.p_holm,
                "area_ratio": rows[name].area_ratio,
                "ratio": rows[name].ratio,
                "interval": rows[name].interval,
                "verdict": rows[name].verdict,
                "own_verdict": rows[name].own_verdict,
                "agreement": [rows[name].real_agreement, rows[name].generated_agreement],
            }
            for name, pair in _by_class(pairs.classes)
        ],
    }


def _by_class(pairs: Sequence[PairClass]) -> list[tuple[str, PairClass]]:
    """Class and pairs, first what most photographs hold; what no image holds is left out."""
    there = [pair for pair in pairs if pair.held or pair.added]
    there.sort(key=lambda pair: -pair.held)
    return [(pair.column.partition("/")[2], pair) for pair in there]


def training_numbers(path: Path) -> dict[str, Any]:
    """Images shown, and by which settings."""
    made = json.loads(path.read_text(encoding="utf-8"))
    kept = ("images", "batch_size", "learning_rate", "augment", "mirror", "widths")
    return {name: made[name] for name in kept}


def curve_numbers(path: Path) -> dict[str, Any]:
    """A point a snapshot: distance, and every class's ratio with its interval."""
    record = read_comparison(path)
    return {
        "images": record.real.images,
        "snapshots": [
            {
                "shown": _images_shown(side),
                "images": side.images,
                "fsd": dataclasses.asdict(side.fsd),
                "variance": total_variance(side),
                "sharpness": _sharpness(side),
                "classes": class_numbers(side),
            }
            for side in record.generated
        ],
    }


def _images_shown(side: GeneratedSide) -> int:
    """Of a label such as "20000 images"."""
    return int(side.label.partition(" ")[0])


def _sharpness(side: GeneratedSide) -> float | None:
    """How much sharper the generated images are, in standard deviations of an image."""
    found = [measure.difference for measure in side.measures if measure.name == "sharpness"]
    return found[0] if found else None


def last_numbers(path: Path) -> dict[str, Any]:
    """The end of the training, with the segmenter checked."""
    record: Comparison = read_comparison(path)
    (side,) = record.generated
    return {
        "images": [record.real.images, side.images],
        "checked": side.checked,
        "fsd": dataclasses.asdict(side.fsd),
        "variance": total_variance(side),
        "measures": [dataclasses.asdict(measure) for measure in side.measures],
        "warnings": list(record.warnings),
        "classes": [
            {**numbers, "undecided_by": row.undecided_by}
            for numbers, row in zip(class_numbers(side), side.classes, strict=True)
        ],
    }


def domain_numbers(path: Path) -> dict[str, Any]:
    """How well images of each group were rebuilt, and training images beside held-out ones."""
    record = json.loads(path.read_text(encoding="utf-8"))
    groups = [
        Group(**{**group, "images": tuple(GroupImage(**image) for image in group["images"])})
        for group in record["groups"]
    ]
    return {
        "method": record["method"],
        "groups": [
            {
                "group": group.name,
                "images": len(group.images),
                "failed": group.failed,
                "correlations": group.values("correlation").tolist(),
                "loss": group.mean("loss"),
                "correlation": group.mean("correlation"),
            }
            for group in groups
        ],
        "training_minus_held_out": record["training_minus_held_out"],
    }


def evidence_numbers(path: Path) -> dict[str, Any]:
    """Verdicts about single photographs: what searches retain of each class."""
    record: Evidence = read_evidence(path)
    return {
        "photographs": record.photographs.images,
        "controls": None if record.controls is None else record.controls.images,
        "primary": record.primary,
        "classes": [
            {
                "class": row.column.partition("/")[2],
                "verdict": row.verdict,
                "reason": row.reason,
                "instances": row.instances,
                "photographs": row.images,
                "vanished": row.vanished,
                "retention": {
                    of.method: {
                        "photographs": dataclasses.asdict(of.photographs),
                        "controls": dataclasses.asdict(of.controls),
                    }
                    for of in row.retention
                },
                "peers": dataclasses.asdict(row.peers),
            }
            for row in record.classes
        ],
    }


# --- tables -------------------------------------------------------------------------------------


def tables(numbers: Mapping[str, Any]) -> str:
    """The tables of the docs' page; a part that is null is called not measured."""
    parts = [
        ("weakness", _weakness_table),
        ("curve", _curve_table),
        ("last", _last_table),
        ("domains", _domain_table),
        ("evidence", _evidence_table),
    ]
    told = [
        f"**{name}**\n\n{NOT_YET if numbers[name] is None else make(numbers[name]).strip()}\n"
        for name, make in parts
    ]
    return "\n".join(told)


def _weakness_table(numbers: Mapping[str, Any]) -> str:
    return markdown_table(
        ["class", "held at 100 pixels", "kept at 64", "added at 64", "area", "in other looks"],
        [
            [
                row["class"],
                f"{row['held']} of {row['held'] + row['lacking']}",
                _share(row["kept"], row["held"], row["kept_interval"]),
                _share(row["added"], row["lacking"], row["added_interval"]),
                "–" if row["area_ratio"] is None else f"{row['area_ratio']:.2f}×",
                " and ".join("–" if a is None else f"{a:.2f}" for a in row["agreement"]),
            ]
            for row in numbers["classes"]
        ],
        right=(1,),
    )


def _share(count: int, of: int, interval: Sequence[float | None]) -> str:
    return between(count / of, interval) if of else "–"


def _curve_table(numbers: Mapping[str, Any]) -> str:
    snapshots = numbers["snapshots"]
    ratios = [{row["class"]: row for row in snapshot["classes"]} for snapshot in snapshots]
    last = sorted(ratios[-1].values(), key=lambda row: -row["area"][0])
    rows = [["FSD, corrected", *(_distance(snapshot["fsd"]) for snapshot in snapshots)]]
    for row in last:
        if any(by_class[row["class"]]["verdict"] != "untested" for by_class in ratios):
            name = row["class"]
            rows.append([name, *(between(r[name]["ratio"], r[name]["interval"]) for r in ratios)])
    return markdown_table(["", *(f"{snapshot['shown']:,}" for snapshot in snapshots)], rows)


def _distance(fsd: Mapping[str, Any]) -> str:
    if fsd["corrected"] is None:
        return "–"
    value, low, high = (
        f"{number:,.0f}" if number >= 100 else f"{number:.3g}"
        for number in (fsd["corrected"], *fsd["interval"])
    )
    return f"{value} [{low} – {high}]"


def _last_table(numbers: Mapping[str, Any]) -> str:
    return markdown_table(
        ["class", "photographs", "ProGAN", "ratio", "spread", "verdict", "without the check"],
        [
            [
                row["class"],
                *(f"{100 * presence:.1f} %" for presence in row["presence"]),
                between(row["ratio"], row["interval"]),
                between(row["spread_ratio"], row["spread_interval"]),
                row["verdict"]
                + (": segmenter" if row["undecided_by"] == "segmenter" else "")
                + (", depends on the threshold" if row["depends_on_threshold"] else ""),
                row["own_verdict"],
            ]
            for row in numbers["classes"]
            if max(row["presence"]) > 0
        ],
        right=(1, 2),
    )


def _domain_table(numbers: Mapping[str, Any]) -> str:
    rows = []
    for group in numbers["groups"]:
        means = (group[measure] for measure in ("loss", "correlation"))
        told = [between(mean, (low, high)) for mean, low, high in means]
        rows.append([group["group"], str(group["images"]), *told])
    return markdown_table(["group", "images", "loss", "correlation of pixels"], rows, right=(1,))


def _evidence_table(numbers: Mapping[str, Any]) -> str:
    rows = []
    for row in numbers["classes"]:
        kept = row["retention"][numbers["primary"]]
        rows.append(
            [
                row["class"],
                f"{row['instances']} in {row['photographs']}",
                *(
                    between(kept[s]["mean"], kept[s]["interval"])
                    for s in ("photographs", "controls")
                ),
                between(row["peers"]["mean"], row["peers"]["interval"]),
                row["verdict"] or "–",
            ]
        )
    headings = [
        "class",
        "instances in photographs",
        "retained",
        "of controls",
        "of peers",
        "verdict",
    ]
    return markdown_table(headings, rows)
