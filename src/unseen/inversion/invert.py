"""Reconstruct photographs, and the generator's own images as controls, into a folder.

Each image is kept as soon as it is finished. A batch of which anything is missing is run again as
a whole, so a run that was killed and resumed ends in the bits of one that was not. An image is read
from its source once, and from the run's own folder for all further methods and runs. The record and
its folder are defined in `unseen.inversion.inversions`.
"""

import contextlib
import dataclasses
import functools
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict, Unpack

import numpy as np
import torch
from jaxtyping import UInt8

from unseen.core.errors import (
    ImageError,
    OutOfMemoryError,
    RecordError,
    SpecError,
    StorageError,
    memory_for,
)
from unseen.core.files import as_path, canonical_json, sha256_of_parts
from unseen.core.lock import LOCK, locked
from unseen.core.options import (
    SEED_MOST,
    Option,
    Overwrite,
    Part,
    SkipBroken,
    Workers,
    check_options,
    check_part,
)
from unseen.core.progress import Progress, shown, silent
from unseen.core.results import in_temporary_folder
from unseen.core.twins import named
from unseen.distribution.segment import default_segmenter
from unseen.engines.engine import Engine
from unseen.generators import Generator, LayeredGenerator, load_layered
from unseen.generators.drawn_images import DrawnImages
from unseen.images import Images, ImageSource, Preparation, open_images, subset
from unseen.images.pixels import to_uint8, to_unit
from unseen.images.preparation import Fit, FitName, check_one_square
from unseen.images.protocol import conditions_of, read_image, states_of
from unseen.inversion.blocks import Blocks, BlockWork, InversionOpening, writing
from unseen.inversion.inversions import (
    CURVE,
    KEPT,
    METHODS,
    POOL,
    Inversions,
    InversionsWriter,
    Method,
    Place,
    Reconstruction,
    read_inversions,
)
from unseen.inversion.inverter import Inverter
from unseen.inversion.inverter_file import inverter_provenance, load_inverter
from unseen.inversion.labelled_samples import (
    LABELLED_CHANNEL,
    DrawnSamples,
    labelled_photographs,
)
from unseen.inversion.methods import (
    Inversion,
    Inverted,
    PreparedMethod,
    inversion_preset,
    nearest_sample,
)
from unseen.inversion.nearest import SAMPLES_SEED, Mosaic, NearestSample, NearestSamples, Samples
from unseen.inversion.perceptual import Perceptual, PerceptualName, load_perceptual
from unseen.inversion.photograph_selection import Chosen, choose_images
from unseen.inversion.starts import Asking, asks_each
from unseen.segmenters import Precision, Segmenter, load_segmenter
from unseen.statistics.correlations import correlations
from unseen.statistics.noise_typicality import NoiseTypicality, noise_typicality

CONTROLS_SEED = 30_003  # of the controls' latents: other than samples', training's, validation's
_PREPARED = {
    "crop": "shorter side to the resolution, then the centre crop",
    "squash": "both sides to the resolution",
}
MOSAICS: tuple[Method, ...] = ("nearest", "reference")
_CONTROLS_FROM = 1 << 32  # method a's random starts of controls: other than the photographs'
_COMPARED_AT_ONCE = 256  # images with the samples: these are described anew for every batch


def _methods(text: str) -> tuple[Method, ...]:
    asked = [part.strip() for part in text.split(",")]
    if unknown := [name for name in asked if name not in METHODS]:
        raise SpecError(f"no method is called {unknown[0]!r}; known: {', '.join(METHODS)}")
    return tuple(method for method in METHODS if method in asked)


@dataclasses.dataclass(frozen=True, kw_only=True)
class InversionRun:
    """Which images are inverted by which methods, and where the results go.

    >>> InversionRun(methods=("d", "f"), controls=4).methods
    ('d', 'f')
    """

    methods: Annotated[
        Sequence[Method],
        Option(
            "Methods: a (optimise z from a random start), b (encoder), c (optimise z from b), d "
            "(the start alone: layer-wise inverter or --start), e (optimise z from d), f (perturb "
            "layers from d), nearest (a mosaic of samples). Several are d,f,nearest.",
            name="--method",
            metavar="METHOD,…",
            parse=_methods,
            shown="f",
        ),
    ] = ("f",)
    settings: Inversion | str = "default"  # of every method; or a preset's name
    count: Annotated[
        int | None, Option("Photographs to take, a seeded subset. Default: all.", short="-n", min=1)
    ] = None
    seed: Annotated[
        int, Option("Seed of the subset and of the starts of method a.", max=SEED_MOST)
    ] = 0
    by_class: Annotated[
        int | None,
        Option(
            "Photographs of each class, drawn from those that hold most of it. Controls are chosen "
            "in the same way. Default: all photographs.",
            min=1,
        ),
    ] = None
    pool: Annotated[
        int,
        Option("Photographs, and images of the generator, that --by-class chooses from.", min=1),
    ] = 500
    classes: Sequence[str] | None = None  # the only ones photographs are chosen for; None: all
    controls: Annotated[
        int | None,
        Option(
            "Images of the generator that are inverted in the same way; with --by-class, of each "
            "class. Default: none; with --by-class, as many as photographs."
        ),
    ] = None
    controls_seed: Annotated[int, Option("Seed of the controls' latents.", max=SEED_MOST)] = (
        CONTROLS_SEED
    )
    # Layers up to which method f perturbs in further runs; "auto": the first, half as deep as the
    # run's last perturbed layer, and twice as deep.
    curve: Sequence[str] | Literal["auto"] = ()
    batch_size: Annotated[
        int, Option("Images optimised at once. Fewer images need less memory.", min=1)
    ] = 16
    part: Part = (1, 1)
    workers: Workers = None
    fit: Fit = "crop"
    skip_broken: SkipBroken = False
    overwrite: Overwrite = False

    def __post_init__(self) -> None:
        check_options(self)
        check_part(self.part)
        check_one_square(self.fit)
        if self.by_class is not None and self.pool < self.by_class:
            raise SpecError(
                f"{self.by_class} photographs a class were asked for, of {self.pool}; at least 1, "
                "and a pool that is not smaller, are needed"
            )
        if self.by_class is not None and self.count is not None:
            raise SpecError(
                "a count of photographs and so many a class were asked for; say how many a class, "
                "and from how many they are chosen (pool)"
            )
        if self.by_class is None and self.classes is not None:
            raise SpecError(
                f"photographs are to be chosen for {', '.join(self.classes)}; say how many of each "
                "(by_class)"
            )
        if self.controls_seed == SAMPLES_SEED:
            raise SpecError(
                f"the seed of the controls is {SAMPLES_SEED}, which the samples of method nearest "
                "have: they would find themselves; choose another"
            )
        if not self.methods or any(method not in METHODS for method in self.methods):
            asked = ", ".join(self.methods) or "none"
            raise SpecError(f"methods are {asked}; name some of {', '.join(METHODS)}")

    def of(self, method: Method, images: str) -> Inversion:
        """The settings of one method.

        Args:
            method: one of the run's.
            images: the photographs' spec, by which `default` chooses its features.
        """
        settings = self.settings
        if isinstance(settings, str):
            settings = preset_for(images, settings)
        return dataclasses.replace(settings, method=method)


class InversionOptions(TypedDict, total=False):
    """The fields of `InversionRun`, as keywords."""

    methods: Sequence[Method]
    settings: Inversion | str
    count: int | None
    seed: int
    by_class: int | None
    pool: int
    classes: Sequence[str] | None
    controls: int | None
    controls_seed: int
    curve: Sequence[str] | Literal["auto"]
    batch_size: int
    part: tuple[int, int]
    workers: int | None
    fit: FitName
    skip_broken: bool
    overwrite: bool


def invert(
    images: str | Path | ImageSource | Images,
    generator: str | Path | Generator,
    inverter: str | Path | Inverter | None = None,
    *,
    out: str | Path | None = None,
    encoder: str | Path | Inverter | None = None,
    segmenter: str | Path | Segmenter | None = None,
    samples: DrawnSamples | None = None,
    device: str = "auto",
    task: InversionRun | None = None,
    progress: Progress | None = None,
    say: Callable[[str], None] | None = None,
    engine: Engine | None = None,
    opening: InversionOpening | None = None,
    **options: Unpack[InversionOptions],
) -> Inversions:
    """Reconstruct photographs by a generator; see `unseen.inversion.methods` for the ways.

    Args:
        images: a source, its spec, the path of a folder or an archive, or images in memory.
        generator: one that can be split into layers, or its spec.
        inverter: E, of this generator, where methods d, e and f begin; a file or a spec. None:
            they begin as `--start` says, most often from the nearest sample.
        out: folder of the record, the pictures and the tensors. A run that was interrupted goes on
            from what is there. None: a temporary folder, which goes when the record does.
        encoder: an inverter that was trained end to end, for methods b and c.
        segmenter: whose features are compared, where the settings say so, and by which images are
            chosen, where they are; None: the churchyard's for the churchyard, else upp.
        samples: of this generator and segmenter, for method and start nearest; several runs may
            share them.
        device: where a generator that is given by its spec computes.
        task: which images, by which methods; None: the default.
        progress: called with reconstructions done, and of how many; None: a bar in a notebook.
        say: told in a sentence that images were resized, or that the batch size is another.
        engine: where blocks of images are inverted; None: here. One with other processes needs
            `out`.
        opening: how such a process opens images and networks; None: as they are given here, by
            their names or sent by pickle.
        options: fields of `InversionRun`, in place of those of `task`, e.g. `count=20`.

    Returns:
        The record, of a part what is finished so far; runs for the curve lie in its folder, where
        `unseen.evidence` finds them. `failures` lists images whose loss was not a number; the
        others are whole.

    Raises:
        GeneratorError: the generator cannot be split.
        CheckpointError, SpecError: an inverter of another generator, or none where it is asked for.
        ImageError: a broken image (what was finished is kept), fewer images than asked for.
        RecordError: the folder holds other inversions.
        StorageError: the disk is full, or the folder cannot be written.
        OutOfMemoryError: a batch is too large; what was finished is kept.
        ShardError: blocks that an engine's workers could not make; all others are kept.

    >>> invert("photos/", "stylegan2:network.pkl", count=20)  # doctest: +SKIP
    Inversions of 20 photographs by method f
    """
    task = dataclasses.replace(task or InversionRun(), **options)
    engine, apart = engine or Engine(), task.part != (1, 1)
    if out is None and (apart or engine.apart):
        raise SpecError("parts, and workers of an engine, need a place that they share; give out")
    opening = opening or InversionOpening(
        images=images,
        generator=generator,
        inverter=inverter,
        encoder=encoder,
        segmenter=segmenter,
        device=device,
    )
    parts = _Parts.opened(
        dataclasses.replace(
            opening, generator=generator, inverter=inverter, encoder=encoder, segmenter=segmenter
        ),
        open_images(images),
        samples,
    )
    progress = shown(progress, "invert", "reconstructions")
    make = functools.partial(
        _invert_into,
        parts=parts,
        task=task,
        progress=progress,
        say=say or (lambda _: None),
        engine=engine,
        opening=opening,
    )
    return in_temporary_folder(make) if out is None else make(as_path(out))


def _invert_into(
    folder: Path,
    parts: "_Parts",
    task: InversionRun,
    progress: Progress,
    say: Callable[[str], None],
    engine: Engine,
    opening: InversionOpening,
) -> Inversions:
    """The run into the folder, then those for the curve below it."""
    among = None if task.part == (1, 1) else "{}-{}".format(*task.part)

    def choose() -> _Images:
        with contextlib.ExitStack() as until:
            if among is not None:  # the first part chooses, and the others find what it has chosen
                until.enter_context(locked(folder.with_name(f".{folder.name}{LOCK}")))
            return _asked_for(parts, _choose(parts, task, folder))

    runs = _runs(folder, parts, task, choose, say)
    if among is None and not engine.apart:
        return _made(runs, progress)
    chosen = runs[0].images
    opened = functools.partial(
        _blocks_opened,
        folder=named(folder),
        task=dataclasses.replace(task, part=(1, 1), overwrite=False),
        chosen=chosen,
        fingerprint=parts.fingerprint,
        states=states_of(parts.source, [chosen.photographs]),
    )
    with writing(runs, among=among):
        work = BlockWork(opened=opened, opening=opening)
        Blocks(runs).make_all(task.part, engine, work, progress)
        return read_inversions(folder) if among is not None else _made(runs, silent)


def _runs(
    folder: Path,
    parts: "_Parts",
    task: InversionRun,
    choose: "Callable[[], _Images]",
    say: Callable[[str], None],
) -> "list[_Run]":
    """The run into the folder, and those for the curve below it."""
    methods = _Methods(parts, task)
    if methods.unasked:
        say(f"no inverter is given: every search begins from {methods.unasked}")
    further = {layer: _Methods(parts, methods.up_to(layer)) for layer in methods.curve()}
    chosen = choose()
    methods.refer(parts, chosen.photographs)
    runs = [_Run(folder, parts, methods, chosen, say)]
    runs += [
        _Run(folder / CURVE / layer, parts, deeper, chosen, say)
        for layer, deeper in further.items()
    ]
    targets = _Targets(parts, task, chosen, runs[0].writer, say)
    for run in runs:
        run.targets = targets
    return runs


def _made(runs: "Sequence[_Run]", progress: Progress) -> Inversions:
    """Make what is missing of all runs, and write their records; gives the first."""
    total, before = sum(run.total for run in runs), 0
    records = []
    for run in runs:

        def report(done: int, _: int, before: int = before) -> None:
            progress(before + done, total)

        records.append(run.make(report))
        before += run.total
    return records[0]


def _blocks_opened(
    opening: InversionOpening,
    *,
    folder: Path,
    task: InversionRun,
    chosen: "_Images",
    fingerprint: str,
    states: Sequence[str] | None,
) -> Blocks:
    """The blocks of runs that another process has begun, for a worker.

    Raises:
        RecordError: the folder is not there, or is another run's.
        ImageError: the files of the photographs are not those of the run.
        UnseenError: images or networks cannot be opened.
    """
    parts = _Parts.opened(opening, open_images(opening.images), fingerprint=fingerprint)
    if states is not None and states != states_of(parts.source, [chosen.photographs]):
        raise ImageError(
            f"{parts.source.spec}: the photographs have other names, sizes or times here than "
            "where the run began; do not change them while it runs, and copy them with their times"
        )
    runs = _runs(as_path(folder), parts, task, lambda: chosen, lambda _: None)
    for run in runs:
        run.writer.join()
    return Blocks(runs)


def default_perceptual(images: str) -> PerceptualName:
    """The features that `default` compares: the churchyard's segmenter's there, else VGG-16's."""
    return "segmenter" if default_segmenter(images) == "churchyard" else "vgg16"


def preset_for(images: str, name: str, **changes: Any) -> Inversion:
    """`inversion_preset`, where all but the paper's compare features that suit the photographs.

    Args:
        images: the photographs' spec.
        name: of the preset.
        changes: fields of `Inversion`, as `inversion_preset` takes them.
    """
    if not name.startswith("iccv2019"):
        changes.setdefault("perceptual", default_perceptual(images))
    return inversion_preset(name, **changes)


@dataclasses.dataclass(frozen=True, eq=False)
class _Parts:
    """What every run of a call shares."""

    source: ImageSource
    generator: LayeredGenerator
    inverter: Inverter | None
    encoder: Inverter | None
    named: str | Path | Segmenter | None = None  # the segmenter, or its spec
    precision: Precision = "fp32"  # of the segmenter, where it is named by a spec
    given: DrawnSamples | None = None
    known: str | None = None  # the fingerprint of the source, where another process computed it
    _nearest: dict[str, NearestSample] = dataclasses.field(default_factory=dict)

    @classmethod
    def opened(
        cls,
        opening: InversionOpening,
        source: ImageSource,
        samples: DrawnSamples | None = None,
        fingerprint: str | None = None,
    ) -> "_Parts":
        """What these names are of; a segmenter is loaded when it is asked for."""
        network = load_layered(opening.generator, device=opening.device)
        inverter, encoder = (
            load_inverter(given, network) if isinstance(given, str | Path) else given
            for given in (opening.inverter, opening.encoder)
        )
        named, precision = opening.segmenter, opening.precision
        return cls(source, network, inverter, encoder, named, precision, samples, fingerprint)

    @functools.cached_property
    def fingerprint(self) -> str:
        """The source's fingerprint."""
        return self.known or self.source.fingerprint()

    @functools.cached_property
    def device(self) -> torch.device:
        """Where the generator's latents are."""
        return self.generator.latents(range(1)).device

    @functools.cached_property
    def segmenter(self) -> Segmenter:
        """The segmenter, loaded when it is asked for."""
        if isinstance(self.named, Segmenter):
            return self.named
        spec = self.named or default_segmenter(self.source)
        return load_segmenter(spec, device=str(self.device), precision=self.precision)

    @functools.cached_property
    def samples(self) -> DrawnSamples:
        """What the generator draws."""
        return self.given or DrawnSamples(self.generator, self.segmenter)

    def nearest(self, settings: Inversion, perceptual: Perceptual | None) -> NearestSample:
        """The samples of start nearest: the same for every method, and every run that shares."""
        kept = self._nearest if self.given is None else self.given.nearest
        features = None if perceptual is None else dict(perceptual.provenance)
        key = canonical_json([settings.samples, settings.perceptual_weight, features])
        if key not in kept:
            kept[key] = nearest_sample(self.generator, settings, perceptual)
        return kept[key]

    def others(self, count: int, left_out: Collection[int]) -> list[int]:
        """Indices of as many photographs but these; fewer where there are not so many."""
        count += len(left_out)
        if not self.source.endless:
            count = min(count, len(self.source.names))
        indices = subset(self.source, count, SAMPLES_SEED)
        return [index for index in indices if index not in left_out][: count - len(left_out)]


@dataclasses.dataclass(frozen=True)
class _Images:
    """Which images are inverted."""

    photographs: Sequence[int]  # indices in the source
    controls: Sequence[int]  # of latents, in their stream
    chosen: Chosen | None = None
    chosen_controls: Chosen | None = None
    # What every photograph and control is asked for, where the generator has several ways.
    asked: Mapping[Place, str] = dataclasses.field(default_factory=dict)

    def places(self) -> list[Place]:
        """Photographs, then controls."""
        return [
            *(Place("photograph", number) for number in range(len(self.photographs))),
            *(Place("control", number) for number in range(len(self.controls))),
        ]

    def index(self, place: Place) -> int:
        """The index of an image in its source."""
        return (self.photographs if place.role == "photograph" else self.controls)[place.number]


def _choose(parts: _Parts, task: InversionRun, folder: Path) -> _Images:
    """The first ones; or by class, the controls in the same way as the photographs."""
    source = parts.source
    if task.by_class is None:
        return _Images(subset(source, task.count, task.seed), range(task.controls or 0))
    choose = functools.partial(
        choose_images,
        segmenter=parts.segmenter,
        count=task.pool,
        seed=task.seed,
        batch_size=task.batch_size,
        workers=task.workers,
        skip_broken=task.skip_broken,
        overwrite=task.overwrite,
    )
    photographs = choose(
        source,
        out=folder / POOL / "photograph.parquet",
        a_class=task.by_class,
        classes=task.classes,
        fit=task.fit,
    )
    controls = task.by_class if task.controls is None else task.controls
    if controls == 0:
        return _Images(photographs.indices, (), photographs)
    drawn = DrawnImages(parts.generator, seed=task.controls_seed)
    own = choose(drawn, out=folder / POOL / "control.parquet", a_class=controls)
    return _Images(photographs.indices, own.indices, photographs, own)


def _asked_for(parts: _Parts, images: _Images) -> _Images:
    """The images with their prompts or classes: a photograph's caption, and a control's own.

    Raises:
        SpecError: the generator has several, and photographs have no captions, or other ones.
    """
    generator = parts.generator
    if not asks_each(generator):
        return images
    captions = conditions_of(parts.source, images.photographs)
    if captions is None:
        raise SpecError(
            f"{generator.provenance['spec']} draws several prompts or classes, and "
            f"{parts.source.spec} does not say which photograph shows what; put a metadata.jsonl "
            "beside the photographs, or name a file of one prompt, or classes=K"
        )
    asked = [*captions, *(conditions_of(generator, images.controls) or [])]
    assert isinstance(generator, Asking)
    generator.ask(generator.latents([0] * len(asked)), asked)  # refuses captions that are not known
    return dataclasses.replace(images, asked=dict(zip(images.places(), asked, strict=True)))


class _Methods:
    """The methods of a task, made ready.

    Attributes:
        names: in order.
        ready: by name.
        described: what decides their results, as JSON.
        unasked: where d, e and f begin, in words, if that was left open.
    """

    def __init__(self, parts: _Parts, task: InversionRun) -> None:
        self.task = task
        self.layers = tuple(parts.generator.layer_names)
        self.names = [method for method in KEPT if method in task.methods]
        self.unasked: str | None = None
        self.ready: dict[Method, PreparedMethod | NearestSamples] = {}
        self.described: dict[str, Any] = {}
        for method in self.names:
            settings = task.of(method, parts.source.spec)
            perceptual = load_perceptual(
                settings.perceptual,
                normalised=settings.normalised,
                segmenter=parts.segmenter if settings.perceptual == "segmenter" else None,
                inverter=parts.inverter or parts.encoder,
                device=parts.device,
            )
            prepare = self._compare if method in MOSAICS else self._search
            self.described[method] = {
                **settings.to_json(),
                **prepare(parts, settings, perceptual),
                "perceptual": None if perceptual is None else dict(perceptual.provenance),
            }

    def _search(
        self, parts: _Parts, settings: Inversion, perceptual: Perceptual | None
    ) -> dict[str, Any]:
        """Make one of the methods a to f ready; what decides its results beside the settings."""
        method = PreparedMethod(
            parts.generator,
            parts.inverter,
            settings,
            encoder=parts.encoder,
            nearest=parts.nearest(settings, perceptual),
            perceptual=perceptual,
        )
        self.ready[settings.method] = method
        layers = method.split.shapes.layer_names
        described: dict[str, Any] = {
            "start": method.start,
            "cut": layers[-1],
            "layers": list(layers),
        }
        if method.start == "nearest":
            described["samples_seed"] = SAMPLES_SEED
        if settings.start is None and method.start not in (None, "inverter"):
            self.unasked = (
                f"the nearest of {settings.samples:,} samples"
                if method.start == "nearest"
                else "what the generator makes of the image by running backwards"
            )
        return {**described, "perturbed": list(method.perturbed)}

    def _compare(
        self, parts: _Parts, settings: Inversion, perceptual: Perceptual | None
    ) -> dict[str, Any]:
        """The same of method nearest, which needs no layers."""
        if settings.samples < 2:
            raise SpecError(
                f"method nearest was to look among {settings.samples} samples; it needs 2 at least"
            )
        self._mosaic = functools.partial(
            NearestSamples,
            settings,
            resolution=parts.generator.resolution,
            perceptual=perceptual,
            device=parts.device,
        )
        self.ready["nearest"] = self._mosaic(lambda: parts.samples.first(settings.samples))
        labelled = {**parts.segmenter.provenance, "channel": LABELLED_CHANNEL}
        return {"samples_seed": SAMPLES_SEED, "labelled_by": labelled, "cut": None}

    def refer(self, parts: _Parts, inverted: Sequence[int]) -> None:
        """Method nearest's reference: as many photographs, none of which is inverted.

        Where the source holds fewer, there is none.
        """
        if "nearest" not in self.ready:
            return
        described = self.described["nearest"]
        others = parts.others(described["samples"], set(inverted))
        if len(others) < described["samples"]:
            return

        def photographs() -> Samples:
            return labelled_photographs(
                parts.source,
                others,
                parts.segmenter,
                Preparation(parts.generator.resolution, fit=self.task.fit),
                workers=self.task.workers,
                skip_broken=self.task.skip_broken,
            )

        self.names.append("reference")
        self.ready["reference"] = self._mosaic(photographs)
        self.described["reference"] = {**described, "method": "reference"}

    def curve(self) -> list[str]:
        """The last perturbed layers of the further runs, in the generator's order."""
        asked = self.task.curve
        method = self.ready.get("f")
        if not isinstance(method, PreparedMethod):
            return []
        last = method.perturbed[-1]
        depth = self.layers.index(last) + 1
        if asked == "auto":
            # Where the cut alone is perturbed, the last cut is a floor that belongs beside it.
            floor = len(self.layers) - 1 if method.cut_alone else 2 * depth
            depths = sorted({1, depth // 2, floor} - {0, depth})
            return [self.layers[i - 1] for i in depths if i < len(self.layers)]
        if unknown := [name for name in asked if name not in self.layers[:-1]]:
            raise SpecError(
                f"the curve cannot be perturbed up to {unknown[0]!r}; choose among "
                f"{', '.join(self.layers[:-1])}"
            )
        return [name for name in self.layers if name in asked and name != last]

    def up_to(self, layer: str) -> InversionRun:
        """The same by method f alone, with all layers up to this one perturbed."""
        method = self.ready["f"]
        assert isinstance(method, PreparedMethod)
        return dataclasses.replace(
            self.task,
            methods=("f",),
            settings=dataclasses.replace(method.settings, cut=layer, perturbed=None),
            curve=(),
        )


@dataclasses.dataclass(frozen=True, eq=False)
class _Image:
    """One image to be inverted."""

    place: Place
    name: str
    index: int
    size: tuple[int, int] | None
    pixels: UInt8[np.ndarray, "3 s s"]
    latents: torch.Tensor | None = None  # a control's own
    condition: str | None = None  # what the generator is asked for, where it has several ways


class _Targets:
    """The images to be inverted: read or drawn once, then taken from the first run's folder.

    Attributes:
        skipped: broken photographs, name → reason.
    """

    def __init__(
        self,
        parts: _Parts,
        task: InversionRun,
        images: _Images,
        home: InversionsWriter,
        say: Callable[[str], None],
    ) -> None:
        self.skipped: dict[str, str] = {}
        self._source, self._generator, self._home = parts.source, parts.generator, home
        self._images, self._skip_broken, self._say = images, task.skip_broken, say
        self._preparation = Preparation(parts.generator.resolution, fit=task.fit)
        self._drawn = DrawnImages(parts.generator, seed=task.controls_seed)
        self._said = False

    def read(self, places: Sequence[Place]) -> list[_Image]:
        """These images; a broken photograph that is to be skipped is left out."""
        known = {place: image for place in places if (image := self._finished(place)) is not None}
        photographs = [place for place in places if place.role == "photograph"]
        for image in self._photographs(place for place in photographs if place not in known):
            known[image.place] = image
        controls = [place for place in places if place.role == "control"]
        if any(place not in known for place in controls):
            for image in self._controls(controls):
                known.setdefault(image.place, image)
        if controls:
            indices = [self._images.index(place) for place in controls]
            latents = self._generator.latents(indices, seed=self._drawn.seed)
            for place, own in zip(controls, latents, strict=True):
                known[place] = dataclasses.replace(known[place], latents=own.detach())
        asked = self._images.asked
        return [
            dataclasses.replace(known[place], condition=asked.get(place))
            for place in places
            if place in known
        ]

    def _finished(self, place: Place) -> _Image | None:
        """An image that the first run has inverted, from its folder."""
        image = self._home.begun(place)
        if image is None:
            return None
        try:
            pixels = self._home.read_target(place)
            return _Image(place, image.name, image.index, image.size, pixels)
        except RecordError:  # someone removed or changed it: it is read anew
            return None

    def _photographs(self, places: Iterable[Place]) -> Iterator[_Image]:
        for place in places:
            index = self._images.index(place)
            name = self._source.names[index]
            try:
                pixels = read_image(self._source, index)
            except ImageError as error:
                if not self._skip_broken:
                    raise
                self.skipped[name] = str(error)
                continue
            height, width = pixels.shape[1:]
            side = self._generator.resolution
            if (height, width) != (side, side) and not self._said:
                self._say(
                    f"{name} is {width}×{height}; images of other sizes are resized to {side}×"
                    f"{side}: {_PREPARED[self._preparation.fit]}"
                )
                self._said = True
            prepared = self._preparation.apply(pixels)
            yield _Image(place, name, index, (height, width), prepared)

    def _controls(self, places: Sequence[Place]) -> Iterator[_Image]:
        indices = [self._images.index(place) for place in places]
        for place, index, pixels in zip(places, indices, self._drawn.images(indices), strict=True):
            height, width = pixels.shape[1:]
            name = f"seed {self._drawn.seed}, index {index}"
            yield _Image(place, name, index, (height, width), pixels)


class _Run:
    """One run into one folder."""

    def __init__(
        self,
        folder: Path,
        parts: _Parts,
        methods: _Methods,
        images: _Images,
        say: Callable[[str], None],
    ) -> None:
        self.methods, self.images, self.task, self.say = methods, images, methods.task, say
        self.total = len(images.places()) * len(methods.names)
        self.targets: _Targets  # shared with the other runs, of which the first keeps them
        self.noise_shape = getattr(parts.generator, "noise_shape", None)
        self.writer = InversionsWriter(
            folder,
            provenance=_provenance(parts, methods, images),
            methods=methods.names,
            batch_size=self.task.batch_size,
            overwrite=self.task.overwrite,
        )

    def make(self, progress: Progress) -> Inversions:
        """Make what is not in the folder yet."""
        writer = self.writer
        with writer.writing():
            if writer.batch_size != self.task.batch_size:
                self.say(
                    f"the run in {writer.folder} was begun with batches of {writer.batch_size}, "
                    "and is finished with them"
                )
            try:
                progress(writer.count, self.total)
                for methods, places in self.batches():
                    self.make_batch(methods, places, lambda: progress(writer.count, self.total))
                return writer.finish(self.targets.skipped)
            except (KeyboardInterrupt, StorageError, ImageError, OutOfMemoryError) as error:
                told = (
                    f"{writer.count:,} of {self.total:,} reconstructions are kept in "
                    f"{writer.folder}"
                )
                interrupted = isinstance(error, KeyboardInterrupt)
                error.add_note(
                    told + (": run the same command again to go on" if interrupted else "")
                )
                raise

    def make_batch(
        self, methods: Sequence[Method], places: Sequence[Place], report: Callable[[], None]
    ) -> None:
        """Invert what is missing of a batch.

        `report` is called when a method has all of the images: they come at once, and the first of
        them alone would tell of a slow run.
        """
        if not self.missing(methods, places):
            return
        images = self.targets.read(places)
        for image in images:
            self.writer.write_target(image.place, image.pixels)
        for method in self.missing(methods, [image.place for image in images]):
            for result in self._invert(method, images):
                self._keep(images[result.row], method, result)
            report()

    def missing(self, methods: Sequence[Method], places: Sequence[Place]) -> list[Method]:
        """Those of the methods by which one of these images has not been inverted."""
        return [
            method
            for method in methods
            if not all(self.writer.done(place, method) for place in places)
        ]

    def batches(self) -> Iterator[tuple[list[Method], list[Place]]]:
        """Images that go together, photographs first, and the methods that they go through."""
        places = self.images.places()
        photographs = [place for place in places if place.role == "photograph"]
        controls = places[len(photographs) :]
        searching = [method for method in self.methods.names if method not in MOSAICS]
        comparing = [method for method in self.methods.names if method in MOSAICS]
        at_once = self.writer.batch_size or self.task.batch_size
        for methods, together, size in (
            (searching, photographs, at_once),
            (searching, controls, at_once),
            (comparing, places, _COMPARED_AT_ONCE),
        ):
            for start in range(0, len(together) if methods else 0, size):
                yield methods, together[start : start + size]

    def _invert(self, method: Method, images: Sequence[_Image]) -> Iterator[Inverted | Mosaic]:
        pixels = np.stack([np.ascontiguousarray(image.pixels) for image in images])
        batch = torch.from_numpy(to_unit(pixels))
        if all(image.place.role == "control" for image in images):
            # In the order of memory of a generator's own images, whether they were drawn or read:
            # convolutions differ by it in the last bits.
            batch = batch.contiguous(memory_format=torch.channels_last)
        numbers = [
            image.index + (_CONTROLS_FROM if image.place.role == "control" else 0)
            for image in images
        ]
        asked = [image.condition for image in images if image.condition is not None] or None
        if method in MOSAICS:
            what, advice = f"comparing {len(images)} images with samples", "use fewer --samples"
        else:
            what, advice = f"inverting {len(images)} images at once", "use a smaller --batch-size"
        with memory_for(what, f"{advice}; the run goes on from what is kept"):
            yield from self.methods.ready[method](batch, numbers=numbers, asked=asked)

    def _typicality(self, inverted: Inverted | Mosaic) -> NoiseTypicality | None:
        """Whether the latents are what the generator draws from, where they are a map of noise."""
        if self.noise_shape is None or isinstance(inverted, Mosaic):
            return None
        noise = inverted.latents[: math.prod(self.noise_shape)]  # behind it stands the prompt
        return noise_typicality(noise.reshape(self.noise_shape).cpu().numpy())

    def _keep(self, image: _Image, method: Method, inverted: Inverted | Mosaic) -> None:
        """Write one result."""
        result = Reconstruction(
            image=None,
            tensors=None,
            loss=None,
            terms={},
            correlation=None,
            cosine=None,
            steps=inverted.steps,
            failed=inverted.failed,
        )
        about: dict[str, Any] = {
            "name": image.name,
            "index": image.index,
            "size": image.size,
            "condition": image.condition,
        }
        if inverted.failed is not None:
            self.writer.write(image.place, method, result, **about)
            return
        rebuilt = inverted.reconstruction.cpu().numpy()
        agreement = correlations(to_unit(image.pixels)[None], rebuilt[None])
        result = dataclasses.replace(
            result,
            loss=inverted.loss,
            terms=inverted.terms,
            correlation=agreement.pooled,
            cosine=agreement.cosine,
            noise=self._typicality(inverted),
        )
        tensors = inverted.tensors
        if image.latents is not None:
            tensors["true_latents"] = image.latents
        self.writer.write(
            image.place,
            method,
            result,
            image=to_uint8(rebuilt),
            label_map=inverted.label_map,
            tensors={name: value.float().cpu().numpy() for name, value in tensors.items()},
            **about,
        )


def _provenance(parts: _Parts, methods: _Methods, images: _Images) -> dict[str, Any]:
    """All that decides the results, and where the images are from."""
    task = methods.task
    return {
        "generator": dict(parts.generator.provenance),
        "inverter": inverter_provenance(parts.inverter),
        "encoder": inverter_provenance(parts.encoder),
        "settings": methods.described,
        "images": {
            "spec": parts.source.spec,
            "fingerprint": parts.fingerprint,
            "count": len(images.photographs),
            "seed": task.seed,
            "resolution": parts.generator.resolution,
            "preparation": f"{_PREPARED[task.fit]} (Pillow, bilinear, antialiased)",
            **_asked_digest(images),
            **_selected(images.chosen),
        },
        "controls": {
            "count": len(images.controls),
            "seed": task.controls_seed,
            **_selected(images.chosen_controls),
        },
    }


def _asked_digest(images: _Images) -> dict[str, Any]:
    """What photographs are asked for, for the provenance."""
    captions = [images.asked[place] for place in images.places() if place in images.asked]
    return {"asked_sha256": sha256_of_parts(captions)} if captions else {}


def _selected(chosen: Chosen | None) -> dict[str, Any]:
    """How images were chosen, for the provenance."""
    if chosen is None:
        return {}
    return {"indices": list(chosen.indices), "selection": dataclasses.asdict(chosen.selection)}
