"""How well a check of the segmenter tells a class that it missed from a class that is not drawn.

Scenes of the churchyard are spoilt (blurred, greyed, reduced and enlarged) and compared with other
scenes: both sides hold the same things, so every verdict but "matched" and "undecided" is false,
and the check is to take it back. The shipped generators really leave classes out: there it is to
take nothing back.
"""

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
from jaxtyping import UInt8
from PIL import Image

import unseen
from unseen.churchyard.source import ChurchyardSource, open_churchyard
from unseen.core.files import write_text
from unseen.core.options import Argument, Option
from unseen.core.registry import parse_spec
from unseen.core.tables import csv_text
from unseen.distribution.comparison import ClassRow
from unseen.distribution.instrument import Wear

GENERATORS = ("churchyard-full", "churchyard-planted")
_CALLED = ("omitted", "under", "over")


def _reduced(image: UInt8[np.ndarray, "3 h w"]) -> UInt8[np.ndarray, "3 h w"]:
    """To 3/8 of the size and back: no Gaussian, so the check has no filter that undoes it."""
    picture = Image.fromarray(np.ascontiguousarray(np.moveaxis(image, 0, -1)))
    side = picture.width * 3 // 8
    small = picture.resize((side, side), Image.Resampling.BOX)
    back = small.resize(picture.size, Image.Resampling.BILINEAR)
    return np.ascontiguousarray(np.moveaxis(np.asarray(back), -1, 0))


def _worn(wear: Wear) -> Callable[[np.ndarray], np.ndarray]:
    return lambda image: wear.apply(image[None])[0]


SPOILT: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "nothing": lambda image: image,
    "blur σ=1": _worn(Wear(blur=1.0)),
    "blur σ=2": _worn(Wear(blur=2.0)),
    "reduced ×3/8": _reduced,
    "grey": _worn(Wear(saturation=0.3, contrast=0.4)),
}
"""What is done to every image of the generated side, which holds what the real side holds."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SegmenterCheck:
    """Compare spoilt scenes, and the shipped generators, with scenes, and check the segmenter."""

    out: Annotated[Path, Argument("Folder for the tables and the comparisons.")]
    seeds: Annotated[tuple[int, ...], Option("Of the worlds: real, then generated.")] = (301, 302)
    count: Annotated[int, Option("Images a side.", short="-n", min=2)] = 400
    spoilt: Annotated[tuple[str, ...], Option("Which spoilt sides to compare.")] = tuple(SPOILT)
    generators: Annotated[tuple[str, ...], Option("Generators to compare.")] = GENERATORS


@dataclasses.dataclass(frozen=True)
class _Spoilt:
    """A world whose pictures are spoilt."""

    world: ChurchyardSource
    how: str

    @property
    def spec(self) -> str:
        return f"{self.world.spec}, {self.how}"

    @property
    def names(self) -> Sequence[str]:
        return self.world.names

    endless = True

    def read(self, index: int) -> UInt8[np.ndarray, "3 h w"]:
        return SPOILT[self.how](self.world.read(index))

    def fingerprint(self) -> str:
        return f"{self.world.fingerprint()} {self.how}"


def check_segmenter(task: SegmenterCheck, *, say: Callable[[str], None]) -> list[Path]:
    """Run all comparisons and write `verdicts.csv`, a row a class that was called or matched.

    Returns:
        The files.
    """
    real_seed, seed = task.seeds
    world = open_churchyard(parse_spec(f"churchyard?seed={seed}"))
    names = [*task.spoilt, *task.generators]
    comparison = unseen.compare(
        f"churchyard?seed={real_seed}",
        [*(_Spoilt(world, how) for how in task.spoilt), *task.generators],
        out=task.out,
        count=task.count,
        check_segmenter=True,
        pictures=False,
    )
    rows = []
    for name, side in zip(names, comparison.generated, strict=True):
        found = [row for row in side.classes if row.own_verdict in (*_CALLED, "matched")]
        for what, verdicts in (("called", _CALLED), ("matched", ("matched",))):
            of_kind = [row for row in found if row.own_verdict in verdicts]
            lost = [row.name for row in of_kind if row.verdict != row.own_verdict]
            say(f"{name}: {len(of_kind)} {what}, {len(lost)} taken back {' '.join(lost)}")
        say(f"  made alike by {json.dumps(side.worn)}")
        rows += [_row(name, row) for row in found]
    path = task.out / "verdicts.csv"
    write_text(path, csv_text(rows))
    return [path]


def _row(name: str, row: ClassRow) -> dict[str, object]:
    return {
        "generated": name,
        "class": row.name,
        "before": row.own_verdict,
        "after": row.verdict,
        "ratio": f"{row.ratio or 0:.3g}",
        "real presence": f"{row.real_presence:.4f}",
        "generated presence": f"{row.generated_presence:.4f}",
        "real agreement": _number(row.real_agreement),
        "generated agreement": _number(row.generated_agreement),
        "worn verdict": row.worn_verdict or "",
    }


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
