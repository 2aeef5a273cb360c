"""Comparisons put to the test on the churchyard: which verdicts are found, seed by seed.

Every seed is another churchyard and other images of every generator. A class counts as drawn where
the images of all seeds together hold it at a tenth of its real presence or more: to call such a
class omitted is an error.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np

from unseen.core.files import write_text
from unseen.core.options import SEED_MOST, Argument, Device, Option
from unseen.core.tables import csv_text, markdown_table
from unseen.core.wording import listed, percent, times
from unseen.distribution.areas import class_name
from unseen.distribution.compare import compare
from unseen.distribution.segment import segment
from unseen.generators import load_generator
from unseen.generators.drawn_images import DrawnImages
from unseen.images import ImageSource, open_images
from unseen.segmenters import Precision, load_segmenter

DRAWN = 0.1  # of the real presence: a verdict of omission says that a class is drawn less


@dataclasses.dataclass(frozen=True, kw_only=True)
class ComparisonCounts:
    """Compare generators with other churchyards, and count what is found."""

    generators: Annotated[tuple[str, ...], Argument("Specs of the generators.")]
    out: Annotated[Path, Option("Folder for the results. A run goes on there.", short="-o")]
    count: Annotated[int, Option("Images on each side.", short="-n", min=2)] = 1000
    seeds: Annotated[int, Option("Seeds over which verdicts are counted.", min=1)] = 20
    first_seed: Annotated[int, Option("First of these seeds.", max=SEED_MOST)] = 60_006
    batch_size: Annotated[int, Option("Images drawn at once.", min=1)] = 100
    segmenter: str = "churchyard"
    device: Device = "cpu"
    precision: Precision = "fp32"  # of the segmenter


@dataclasses.dataclass(frozen=True, kw_only=True)
class CountedClass:
    """One class of one generator on one seed."""

    generator: str
    seed: int
    name: str
    verdict: str
    real_presence: float
    generated_presence: float
    fsd: float  # of the seed, corrected


def count_comparisons(
    task: ComparisonCounts, say: Callable[[str], None] = lambda _: None
) -> Iterator[Path]:
    """Segment, compare and count; areas stay in the folder.

    Yields:
        The paths written: `comparisons.csv` and `comparisons.md`.

    Raises:
        UnseenError: as `unseen.segment` and `unseen.compare` raise them.
    """
    segmenter = load_segmenter(task.segmenter, device=task.device, precision=task.precision)
    generators = {spec: load_generator(spec, device=task.device) for spec in task.generators}
    rows: list[CountedClass] = []
    for seed in range(task.first_seed, task.first_seed + task.seeds):
        sources: list[ImageSource] = [
            open_images(f"churchyard?seed={seed}"),
            *(
                DrawnImages(generator, seed=seed, batch_size=task.batch_size)
                for generator in generators.values()
            ),
        ]
        real, *generated = [
            segment(source, segmenter, count=task.count, out=task.out / f"{number}-{seed}.parquet")
            for number, source in enumerate(sources)
        ]
        for spec, side in zip(task.generators, compare(real, generated).generated, strict=True):
            corrected = np.nan if side.fsd.corrected is None else side.fsd.corrected
            rows += [
                CountedClass(
                    generator=spec,
                    seed=seed,
                    name=class_name(row.column),
                    verdict=row.verdict,
                    real_presence=row.real_presence,
                    generated_presence=row.generated_presence,
                    fsd=corrected,
                )
                for row in side.classes
            ]
            omitted = [class_name(row.column) for row in side.named("omitted")]
            say(f"{spec}, seed {seed}: FSD {corrected:.3g}; omits {listed(omitted) or 'nothing'}")
    for name, text in (
        ("comparisons.csv", csv_text([dataclasses.asdict(row) for row in rows])),
        ("comparisons.md", comparisons_markdown(rows, task.generators)),
    ):
        write_text(task.out / name, text)
        yield task.out / name


def comparisons_markdown(rows: Sequence[CountedClass], generators: Sequence[str]) -> str:
    """A table a generator, and what was called omitted although it is drawn."""
    parts = []
    for spec in generators:
        own = [row for row in rows if row.generator == spec]
        seeds = len({row.seed for row in own})
        distances = [row.fsd for row in {row.seed: row for row in own}.values()]
        table, wrong = [], []
        for name in dict.fromkeys(row.name for row in own):
            same = [row for row in own if row.name == name]
            real = float(np.mean([row.real_presence for row in same]))
            generated = float(np.mean([row.generated_presence for row in same]))
            if real == 0:
                continue
            called, under = (
                sum(row.verdict == verdict for row in same) for verdict in ("omitted", "under")
            )
            if called and generated >= DRAWN * real:
                wrong.append(f"{name} ({called})")
            table.append(
                [
                    name,
                    percent(real),
                    percent(generated),
                    times(generated / real),
                    f"{called} of {seeds}",
                    f"{under} of {seeds}",
                ]
            )
        parts += [
            f"### {spec}",
            f"Corrected FSD {np.mean(distances):.3g} on average ({min(distances):.3g} to "
            f"{max(distances):.3g}). Omitted although drawn: {listed(wrong) or 'nothing'}.",
            markdown_table(
                ["class", "real presence", "drawn", "ratio", "omitted in", "under in"],
                table,
                right=(1, 2, 3, 4, 5),
            ),
        ]
    return "\n\n".join(parts) + "\n"
