"""Figures 7 and 8 of the paper: images of other domains through a generator, or through several.

Groups of images are taken as they come, the first of a seeded subset, and inverted by
`unseen.inversion.invert`, a folder a group. Images like the training's against ones held out show
whether the generator knows its training images by heart.
Source: Bau et al., Seeing What a GAN Cannot Generate, ICCV 2019, figures 7 and 8.
"""

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unseen.bench.cross_domain_report import (
    HELD_OUT,
    OWN,
    TRAINING,
    UNRELATED,
    CrossDomainResult,
    Difference,
    Group,
    GroupImage,
    Pictures,
    cross_domain_csv,
    cross_domain_markdown,
    draw_generators,
    draw_groups,
    draw_losses,
)
from unseen.core.errors import SpecError
from unseen.core.files import package_version, write_json, write_text
from unseen.core.progress import Progress, silent
from unseen.distribution.segment import default_segmenter
from unseen.generators import Generator, load_generator
from unseen.inversion.inversions import Inversions, Method, Role
from unseen.inversion.invert import InversionRun, invert, preset_for
from unseen.inversion.inverter_file import load_inverter
from unseen.inversion.methods import Inversion
from unseen.segmenters import Segmenter, load_segmenter
from unseen.statistics.differences import mean_difference

OWN_SEED = 70_007  # of the latents of the generator's own images
CHURCHYARD: Mapping[str, str] = {
    TRAINING: "churchyard?seed=1000003",  # what the churchyard's generators were trained on
    HELD_OUT: "churchyard?seed=70007",
    # the held-out scenes again, each with something that the world has not
    "with a ball": "python:lab.out_of_domain:visited?seed=70007",
    UNRELATED: "python:lab.out_of_domain:unrelated?seed=70007",
}
"""Groups for a generator of the churchyard."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CrossDomain:
    """Invert groups of images by a generator, and the unrelated ones by further generators too."""

    out: Path  # folder of the inversions, figures and tables; the same command goes on there
    generator: str
    inverter: str
    groups: Mapping[str, str] = dataclasses.field(default_factory=lambda: dict(CHURCHYARD))
    also: Sequence[tuple[str, str]] = ()  # generators with their inverters, for UNRELATED
    count: int = 100  # images of every group, and of the generator's own
    seed: int = 0  # of the subsets
    method: Method = "f"
    preset: str = "default"
    changes: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # of the preset
    segmenter: str | None = None  # whose features are compared, where they are
    shown: int = 8  # images of every group in the figures: the first ones
    batch_size: int = 16
    device: str = "cpu"
    overwrite: bool = False  # inversions by other settings in the folder

    def __post_init__(self) -> None:
        if not self.groups:
            raise SpecError("no groups of images were given; name at least one")
        for name in self.groups:
            if not name.strip() or name == OWN:
                raise SpecError(f"a group cannot be called {name!r}; give it another name")
        if self.also and UNRELATED not in self.groups:
            raise SpecError(
                f"further generators invert the group {UNRELATED!r}, and there is none; give it"
            )
        if self.method in "bc":
            raise SpecError(f"method {self.method} needs an encoder; take a, d, e or f")
        if self.count < 2 or self.shown < 1:
            raise SpecError(
                f"count is {self.count} and shown is {self.shown}; at least 2 and 1 are needed"
            )

    @property
    def settings(self) -> Inversion:
        """The same for all groups, so that their losses can be compared."""
        first = next(iter(self.groups.values()))
        settings = preset_for(first, self.preset, **self.changes)
        return dataclasses.replace(settings, method=self.method)


def invert_domains(
    task: CrossDomain,
    *,
    progress: Progress = silent,
    say: Callable[[str], None] = lambda _: None,
) -> Iterator[Path]:
    """Invert, measure, draw.

    Args:
        task: on what.
        progress: called with reconstructions done, and of how many.
        say: told what is done.

    Yields:
        The paths written: `cross-domain.json`, `.csv` and `.md`; `groups`, `losses` and, with
        further generators, `generators` as SVG and PNG.

    Raises:
        UnseenError: as `unseen.inversion.invert` raises it.
        SampleError: fewer than two images of a group were reconstructed.
    """
    settings = task.settings
    segmenter = None
    if settings.perceptual == "segmenter":
        chosen = task.segmenter or default_segmenter(next(iter(task.groups.values())))
        segmenter = load_segmenter(chosen, device=task.device)
    records: list[tuple[str, Inversions]] = []
    total = task.count * (1 + len(task.groups) + len(task.also))
    done = 0
    pairs = [(task.generator, task.inverter), *task.also]
    for number, (generator, inverter) in enumerate(pairs):
        network = load_generator(generator, device=task.device)
        names = list(task.groups) if number == 0 else [UNRELATED]
        for name in names:
            say(f"{name}, by {generator}")
            first = number == 0 and name == names[0]
            made = _invert(
                task,
                network,
                inverter,
                name,
                settings=settings,
                segmenter=segmenter,
                own=first,
                out=_folder(task, number, name),
                progress=_part_of(progress, done, total),
            )
            done += len(made.images)
            records.append((name, made))
    result = _result(task, records)
    write_json(task.out / "cross-domain.json", result.to_json())
    write_text(task.out / "cross-domain.csv", cross_domain_csv(result))
    write_text(task.out / "cross-domain.md", cross_domain_markdown(result))
    yield from (task.out / f"cross-domain.{kind}" for kind in ("json", "csv", "md"))
    groups = len(task.groups)
    own = (OWN, _pictures(task, records[0][1], "control"))
    shown = [own, *((name, _pictures(task, one, "photograph")) for name, one in records[:groups])]
    yield from draw_groups(dict(shown), task.method, task.out / "groups")
    yield from draw_losses(result, task.out / "losses")
    if task.also:
        by_generator = [
            _pictures(task, one, "photograph") for name, one in records if name == UNRELATED
        ]
        yield from draw_generators(_labels(task), by_generator, task.out / "generators")


def _invert(
    task: CrossDomain,
    generator: Generator,
    inverter: str,
    name: str,
    *,
    settings: Inversion,
    segmenter: Segmenter | None,
    own: bool,
    out: Path,
    progress: Progress,
) -> Inversions:
    return invert(
        task.groups[name],
        generator,
        load_inverter(inverter, generator),
        out=out,
        segmenter=segmenter,
        task=InversionRun(
            methods=(task.method,),
            settings=settings,
            count=task.count,
            seed=task.seed,
            controls=task.count if own else 0,
            controls_seed=OWN_SEED,
            batch_size=task.batch_size,
            overwrite=task.overwrite,
        ),
        progress=progress,
    )


def _folder(task: CrossDomain, number: int, name: str) -> Path:
    """Of one group by one generator."""
    plain = re.sub(r"[^\w-]+", "-", name).strip("-") or "group"
    position = list(task.groups).index(name) + 1
    return task.out / "inversions" / f"generator-{number + 1}" / f"{position}-{plain}"


def _part_of(progress: Progress, before: int, total: int) -> Progress:
    """Progress of one of several runs, told as that of all."""
    return lambda done, _: progress(before + done, total)


def _result(task: CrossDomain, records: Sequence[tuple[str, Inversions]]) -> CrossDomainResult:
    labels = _labels(task)
    groups = [
        _group(OWN, labels[0], f"seed {OWN_SEED}", task.method, records[0][1], "control"),
    ]
    for number, (name, record) in enumerate(records):
        label = labels[max(0, number - len(task.groups) + 1)]
        spec = task.groups[name]
        groups.append(_group(name, label, spec, task.method, record, "photograph"))
    of = {group.name: group for group in groups[: len(task.groups) + 1]}
    differences = []
    if TRAINING in of and HELD_OUT in of:
        for measure in ("loss", "pixel", "correlation"):
            first, second = (
                np.array([getattr(image, measure) for image in of[name].images], np.float64)
                for name in (TRAINING, HELD_OUT)
            )
            found = mean_difference(first, second)
            differences.append(
                Difference(
                    measure=measure,
                    value=found.value,
                    interval=found.interval,
                    held_out=float(second.mean()),
                )
            )
    return CrossDomainResult(
        package_version=package_version(),
        method=task.method,
        groups=tuple(groups),
        training_minus_held_out=tuple(differences),
        provenance={
            "count": task.count,
            "seed": task.seed,
            "generators": [record.provenance["generator"] for _, record in records],
            "inversions": [dict(record.provenance) for _, record in records],
        },
    )


def _group(
    name: str, generator: str, spec: str, method: Method, record: Inversions, role: Role
) -> Group:
    images = []
    for image in record.of(role):
        result = image.reconstructions[method]
        if result.failed is None:
            images.append(
                GroupImage(
                    name=image.name,
                    loss=result.loss or 0.0,
                    pixel=result.terms["pixel"],
                    correlation=result.correlation or 0.0,
                )
            )
    failed = len(record.of(role)) - len(images)
    return Group(name=name, generator=generator, spec=spec, images=tuple(images), failed=failed)


def _pictures(task: CrossDomain, record: Inversions, role: Role) -> list[Pictures]:
    """The first images with their reconstructions."""
    found = []
    for image in record.of(role)[: task.shown]:
        result = image.reconstructions[task.method]
        rebuilt = None if result.failed else record.reconstruction(image, task.method)
        found.append(Pictures(record.target(image), rebuilt, result.correlation))
    return found


def _labels(task: CrossDomain) -> list[str]:
    """The generators by short names, of which no two are alike."""
    specs = [task.generator, *(generator for generator, _ in task.also)]
    for parts in range(1, 6):
        labels = [_short(spec, parts) for spec in specs]
        if len(set(labels)) == len(labels):
            return labels
    return [f"{_short(spec, 1)} ({number})" for number, spec in enumerate(specs, start=1)]


def _short(spec: str, parts: int) -> str:
    """A generator's spec without options, and of a path the last parts."""
    kind, colon, argument = spec.partition("?")[0].partition(":")
    kept = Path(argument).with_suffix("").parts[-parts:] if argument else ()
    return f"{kind}{colon}{'/'.join(kept)}"
