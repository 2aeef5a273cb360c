"""Figures 7 and 8 of the paper: images of other domains through a generator, or through several.

Groups of images are taken as they come, the first of a seeded subset, and inverted by
`unseen.inversion.invert`, a folder a group. Images like the training's against ones held out show
whether the generator knows its training images by heart.
Source: Bau et al., Seeing What a GAN Cannot Generate, ICCV 2019, figures 7 and 8.
"""

import dataclasses
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated

from unseen.bench.cross_domain_report import (
    HELD_OUT,
    OWN,
    TRAINING,
    UNRELATED,
    CrossDomainResult,
    Difference,
    Group,
    GroupImage,
    ShownGroup,
    cross_domain_csv,
    cross_domain_markdown,
    draw_generators,
    draw_groups,
    draw_losses,
)
from unseen.bench.layer_bench import LayerBench, rebuilt
from unseen.core.errors import SpecError
from unseen.core.files import package_version, write_json, write_text
from unseen.core.options import SEED_MOST, Option
from unseen.core.progress import Progress, part_of, silent
from unseen.distribution.segment import default_segmenter
from unseen.generators import load_layered
from unseen.inversion.inversions import METHODS, Inversions, Method, Role
from unseen.inversion.invert import invert, preset_for
from unseen.inversion.methods import Inversion, Samples
from unseen.segmenters import load_segmenter
from unseen.statistics.differences import mean_difference

OWN_SEED = 70_007  # of the latents of the generator's own images


@dataclasses.dataclass(frozen=True, kw_only=True)
class CrossDomain(LayerBench):
    """Invert groups of images by a generator, and the unrelated ones by further generators too."""

    inverter: Annotated[
        str | None,
        Option(
            "Its layer-wise inverter: a file or a spec. Default: none; searches begin at the "
            "nearest of --samples samples."
        ),
    ] = None
    samples: Samples = 1000
    training: Annotated[
        str | None, Option("Images that the generator was trained on, or images like them.")
    ] = None
    held_out: Annotated[
        str | None, Option("Images of the same kind that it was never trained on.")
    ] = None
    other: Annotated[
        Sequence[str],
        Option(
            "Images of a neighbouring kind, as NAME=IMAGES. It may be repeated.",
            metavar="NAME=IMAGES",
            repeated=True,
        ),
    ] = ()
    unrelated: Annotated[str | None, Option("Images of another kind altogether.")] = None
    also: Annotated[
        Sequence[str],
        Option("A further generator for the unrelated images. It may be repeated.", repeated=True),
    ] = ()
    also_inverter: Annotated[
        Sequence[str],
        Option(
            "The inverter of a further generator: one for every --also, where --inverter is given.",
            repeated=True,
        ),
    ] = ()
    count: Annotated[int, Option("Images of every group.", short="-n", min=2)] = 100
    shown: Annotated[int, Option("Images of every group that the figures show.", min=1)] = 8
    seed: Annotated[int, Option("Seed of the random subsets of images.", max=SEED_MOST)] = 0
    method: Annotated[Method, Option("Method of inversion: a, d, e or f.")] = "f"
    segmenter: Annotated[
        str | None,
        Option("Segmenter whose features are compared, where the features are a segmenter's."),
    ] = None

    def __post_init__(self) -> None:
        if not self.groups:
            raise SpecError("no groups of images were given; name at least one")
        if OWN in self.groups:
            raise SpecError(f"a group cannot be called {OWN!r}; give it another name")
        wanted = 0 if self.inverter is None else len(self.also)
        if len(self.also_inverter) != wanted:
            raise SpecError(
                f"{len(self.also)} further generators and {len(self.also_inverter)} inverters of "
                f"them were given, and {'no' if self.inverter is None else 'an'} inverter of the "
                "first; give every generator its inverter, or none"
            )
        if self.also and self.unrelated is None:
            raise SpecError(
                f"further generators invert the group {UNRELATED!r}, and there is none; give it"
            )
        if self.method not in METHODS or self.method in "bc":
            raise SpecError(f"method is {self.method!r}; take a, d, e or f")
        super().__post_init__()

    @property
    def groups(self) -> dict[str, str]:
        """Images by the name of their group."""
        groups = {
            TRAINING: self.training,
            HELD_OUT: self.held_out,
            **dict(_named(text) for text in self.other),
            UNRELATED: self.unrelated,
        }
        return {name: images for name, images in groups.items() if images is not None}

    @property
    def settings(self) -> Inversion:
        """The same for all groups, so that their losses can be compared."""
        first = next(iter(self.groups.values()))
        settings = preset_for(first, self.preset, **self.changes)
        return dataclasses.replace(settings, method=self.method, samples=self.samples)


def invert_domains(
    task: CrossDomain,
    *,
    progress: Progress = silent,
    say: Callable[[str], None] = lambda _: None,
) -> Iterator[Path]:
    """Invert, measure, draw; `progress` gets reconstructions done and of how many.

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
    specs = [task.generator, *task.also]
    inverters = [task.inverter, *task.also_inverter] if task.inverter else [None] * len(specs)
    total = task.count * (1 + len(task.groups) + len(task.also))
    done = 0
    for number, (spec, inverter) in enumerate(zip(specs, inverters, strict=True)):
        generator = load_layered(spec, device=task.device)
        for name in task.groups if number == 0 else [UNRELATED]:
            say(f"{name}, by {spec}")
            run = task.run(
                task.method,
                settings,
                count=task.count,
                seed=task.seed,
                controls=0 if records else task.count,  # the generator's own, with the first group
                controls_seed=OWN_SEED,
            )
            record = invert(
                task.groups[name],
                generator,
                inverter,
                out=_folder(task, number, name),
                segmenter=segmenter,
                task=run,
                progress=part_of(progress, done, total),
            )
            done += len(record.images)
            records.append((name, record))
    result = _result(task, records)
    write_json(task.out / "cross-domain.json", result.to_json())
    write_text(task.out / "cross-domain.csv", cross_domain_csv(result))
    write_text(task.out / "cross-domain.md", cross_domain_markdown(result))
    yield from (task.out / f"cross-domain.{kind}" for kind in ("json", "csv", "md"))
    own = _shown(task, OWN, records[0][1], "control")
    shown = [_shown(task, name, record, "photograph") for name, record in records]
    first = len(task.groups)
    yield from draw_groups([own, *shown[:first]], task.method, task.out / "groups")
    yield from draw_losses(result, task.out / "losses")
    if task.also:
        unrelated = [group for group in shown if group.name == UNRELATED]
        yield from draw_generators(_labels(task), unrelated, task.out / "generators")


def _folder(task: CrossDomain, number: int, name: str) -> Path:
    """Of one group by one generator."""
    plain = re.sub(r"[^\w-]+", "-", name).strip("-") or "group"
    position = list(task.groups).index(name) + 1
    return task.out / "inversions" / f"generator-{number + 1}" / f"{position}-{plain}"


def _result(task: CrossDomain, records: Sequence[tuple[str, Inversions]]) -> CrossDomainResult:
    labels = _labels(task)
    groups = [_group(OWN, labels[0], f"seed {OWN_SEED}", task.method, records[0][1], "control")]
    for number, (name, record) in enumerate(records):
        label = labels[max(0, number - len(task.groups) + 1)]
        spec = task.groups[name]
        groups.append(_group(name, label, spec, task.method, record, "photograph"))
    named = {group.name: group for group in groups}
    differences = []
    if TRAINING in named and HELD_OUT in named:
        for measure in ("loss", "pixel", "correlation"):
            held_out = named[HELD_OUT].values(measure)
            difference = mean_difference(named[TRAINING].values(measure), held_out)
            differences.append(
                Difference(
                    measure=measure,
                    value=difference.value,
                    interval=difference.interval,
                    held_out=float(held_out.mean()),
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
    results = [(image.name, image.reconstructions[method]) for image in record.of(role)]
    images = tuple(
        GroupImage(
            name=image,
            loss=result.loss or 0.0,
            pixel=result.terms["pixel"],
            correlation=result.correlation or 0.0,
        )
        for image, result in results
        if result.failed is None
    )
    failed = len(results) - len(images)
    return Group(name=name, generator=generator, spec=spec, images=images, failed=failed)


def _shown(task: CrossDomain, name: str, record: Inversions, role: Role) -> ShownGroup:
    """The first images with their reconstructions."""
    images = record.of(role)[: task.shown]
    return ShownGroup(
        name,
        [record.target(image) for image in images],
        [rebuilt(record, image, task.method) for image in images],
    )


def _labels(task: CrossDomain) -> list[str]:
    """The generators by short names, of which no two are alike."""
    specs = [task.generator, *task.also]
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


def _named(text: str) -> tuple[str, str]:
    """NAME and IMAGES of `NAME=IMAGES`."""
    parts = re.fullmatch(r"([^=?:/]+)=(.+)", text)
    if parts is None or not parts[1].strip():
        raise SpecError(f"{text!r} gives its group no name; write e.g. outdoor=photos/outdoor")
    return parts[1].strip(), parts[2]
