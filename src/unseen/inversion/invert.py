"""Reconstruct photographs, and the generator's own images as controls, into a folder.

Each image is kept as soon as it is finished. A batch of which anything is missing is run again as
a whole, so a run that was killed and resumed ends in the bits of one that was not. The record and
its folder are defined in `unseen.inversion.inversions`.
"""

import dataclasses
import functools
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from jaxtyping import UInt8

from unseen.core.errors import ImageError, SpecError, StorageError
from unseen.core.options import SEED_MOST, Option, Overwrite, SkipBroken, Workers, check_options
from unseen.core.progress import Progress, silent
from unseen.distribution.segment import default_segmenter
from unseen.generators import Generator, load_generator
from unseen.generators.drawn_images import DrawnImages
from unseen.images import ImageSource, Preparation, batches, open_images, subset
from unseen.images.batching import default_workers
from unseen.images.pixels import to_uint8, to_unit
from unseen.inversion.inversions import (
    CURVE,
    KEPT,
    METHODS,
    POOL,
    Inversions,
    InversionsWriter,
    Method,
    Place,
)
from unseen.inversion.inversions import Reconstruction as Result
from unseen.inversion.inverter import Inverter
from unseen.inversion.inverter_file import load_inverter
from unseen.inversion.methods import Inversion, Inverted, Reconstruction, inversion_preset
from unseen.inversion.nearest import Mosaic, NearestSamples, Samples
from unseen.inversion.perceptual import Perceptual, PerceptualName, load_perceptual
from unseen.inversion.photograph_selection import Choice, Chosen, choose_images
from unseen.segmenters import Segmenter, checked_label_maps, load_segmenter
from unseen.statistics.correlations import correlations

CONTROLS_SEED = 30_003  # of the controls' latents: other than samples', training's, validation's
SAMPLES_SEED = 50_005  # of the samples that method nearest looks among, and of the photographs
MOSAICS: tuple[Method, ...] = ("nearest", "reference")
LABELLED_CHANNEL = "object"  # whose label maps it keeps
_CONTROLS_FROM = 1 << 32  # method a's random starts of controls: other than the photographs'
_COMPARED_AT_ONCE = 256  # images with the samples: these are described anew for every batch
_LABELLED_AT_ONCE = 64  # samples


def _methods(text: str) -> tuple[Method, ...]:
    asked = [part.strip() for part in text.split(",")]
    if unknown := [name for name in asked if name not in METHODS]:
        raise SpecError(f"no method is called {unknown[0]!r}; known: {', '.join(METHODS)}")
    return tuple(method for method in METHODS if method in asked)


@dataclasses.dataclass(frozen=True, kw_only=True)
class InversionRun:
    """Which images are inverted by which methods, and where the results go."""

    methods: Annotated[
        Sequence[Method],
        Option(
            "Methods: a (optimise z from a random start), b (encoder), c (optimise z from b), d "
            "(layer-wise inverter), e (optimise z from d), f (perturb layers from d), nearest (a "
            "mosaic of samples, without an inverter). Several are d,f,nearest.",
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
        int, Option("Images optimised at once. It decides memory, not results.", min=1)
    ] = 16
    workers: Workers = None
    skip_broken: SkipBroken = False
    overwrite: Overwrite = False

    def __post_init__(self) -> None:
        check_options(self)
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
            found = ", ".join(self.methods) or "none"
            raise SpecError(f"methods are {found}; name some of {', '.join(METHODS)}")

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


def invert(
    images: str | Path | ImageSource,
    generator: str | Generator,
    inverter: str | Path | Inverter | None = None,
    *,
    out: str | Path | None = None,
    encoder: str | Path | Inverter | None = None,
    segmenter: str | Path | Segmenter | None = None,
    task: InversionRun = InversionRun(),
    progress: Progress | None = None,
    say: Callable[[str], None] | None = None,
) -> Inversions:
    """Reconstruct photographs by a generator; see `unseen.inversion.methods` for the ways.

    Args:
        images: a source, its spec, or the path of a folder or an archive.
        generator: one that can be split into layers, or its spec.
        inverter: E, of this generator, for methods d, e and f; a file or a spec.
        out: folder of the record, the pictures and the tensors. A run that was interrupted goes on
            from what is there. None: a temporary folder, which goes when the record does.
        encoder: an inverter that was trained end to end, for methods b and c.
        segmenter: whose features are compared, where the settings say so, and by which images are
            chosen, where they are; None: the churchyard's for the churchyard, else upp.
        task: which images, by which methods.
        progress: called with reconstructions done, and of how many.
        say: told in a sentence that images were resized.

    Returns:
        The record; runs for the curve lie in its folder, where `unseen.evidence_of_inversions`
        finds them. `failures` lists images whose loss was not a number; the others are whole.

    Raises:
        GeneratorError: the generator cannot be split.
        CheckpointError, SpecError: an inverter of another generator, or none where one is needed.
        ImageError: a broken image (what was finished is kept), fewer images than asked for.
        RecordError: the folder holds other inversions.
        StorageError: the disk is full, or the folder cannot be written.
    """
    source = open_images(images) if isinstance(images, str | Path) else images
    network = load_generator(generator) if isinstance(generator, str) else generator
    inverter, encoder = (
        load_inverter(one, network) if isinstance(one, str | Path) else one
        for one in (inverter, encoder)
    )
    parts = _Parts(source, network, inverter, encoder, segmenter)
    if out is not None:
        return _invert_into(Path(out), parts, task, progress or silent, say)
    temporary = tempfile.TemporaryDirectory(prefix="unseen-")
    try:
        record = _invert_into(Path(temporary.name), parts, task, progress or silent, say)
    except BaseException:
        temporary.cleanup()
        raise
    return dataclasses.replace(record, holder=temporary)


def _invert_into(
    folder: Path,
    parts: "_Parts",
    task: InversionRun,
    progress: Progress,
    say: Callable[[str], None] | None,
) -> Inversions:
    """The run into the folder, then those for the curve below it."""
    ways = _Ways(parts, task)
    others = {layer: _Ways(parts, ways.up_to(layer)) for layer in ways.curve()}
    chosen = _choose(parts, task, folder)
    ways.refer(parts, chosen.indices)
    run = _Run(task, parts, ways, chosen, say)
    further = {
        folder / CURVE / layer: _Run(other.task, parts, other, chosen, None)
        for layer, other in others.items()
    }
    of = run.total + sum(one.total for one in further.values())
    run.report(progress, 0, of)
    record = run.into(folder)
    before = run.total
    for place, one in further.items():
        one.report(progress, before, of)
        one.into(place)
        before += one.total
    return record


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
class _Image:
    """One image to be inverted."""

    place: Place
    name: str
    index: int
    size: tuple[int, int]
    pixels: UInt8[np.ndarray, "3 s s"]
    latents: torch.Tensor | None = None  # a control's own


@dataclasses.dataclass(frozen=True, eq=False)
class _Parts:
    """What every run of a call shares."""

    source: ImageSource
    generator: Generator
    inverter: Inverter | None
    encoder: Inverter | None
    named: str | Path | Segmenter | None  # the segmenter, or its spec

    @functools.cached_property
    def segmenter(self) -> Segmenter:
        """The segmenter, loaded when it is asked for."""
        if isinstance(self.named, Segmenter):
            return self.named
        device = str(self.generator.latents(range(1)).device)
        return load_segmenter(self.named or default_segmenter(self.source), device=device)

    def samples(self, count: int) -> Samples:
        """What the generator draws."""
        return _samples(self.generator, self.segmenter, count)

    def others(self, count: int, left_out: Collection[int]) -> list[int]:
        """Indices of as many photographs but these; fewer where there are not so many."""
        count += len(left_out)
        if not self.source.endless:
            count = min(count, len(self.source.names))
        indices = subset(self.source, count, SAMPLES_SEED)
        return [index for index in indices if index not in left_out][: count - len(left_out)]

    def photographs(self, indices: Sequence[int], task: InversionRun) -> Samples:
        """Photographs, prepared as the generator's images are."""
        read = batches(
            self.source,
            indices,
            Preparation(self.generator.resolution),
            batch_size=_LABELLED_AT_ONCE,
            workers=default_workers() if task.workers is None else task.workers,
            skip_broken=task.skip_broken,
        )
        return _labelled(np.concatenate([batch.images for batch in read]), self.segmenter)


_drawn_last: list[tuple[Generator, Segmenter, Samples]] = []  # a bench asks for them again


def _samples(generator: Generator, segmenter: Segmenter, count: int) -> Samples:
    for known, by, samples in _drawn_last:
        if known is generator and by is segmenter and len(samples.images) >= count:
            return Samples(samples.images[:count], samples.label_maps[:count])
    drawn = DrawnImages(generator, seed=SAMPLES_SEED)
    samples = _labelled(np.stack(list(drawn.images(range(count)))), segmenter)
    _drawn_last[:] = [(generator, segmenter, samples)]
    return samples


def _labelled(images: UInt8[np.ndarray, "n 3 s s"], segmenter: Segmenter) -> Samples:
    """Images with the label maps that evidence would give them."""
    prepare = Preparation(segmenter.resolution)
    label_maps = []
    for start in range(0, len(images), _LABELLED_AT_ONCE):
        prepared = [prepare.apply(one) for one in images[start : start + _LABELLED_AT_ONCE]]
        found = checked_label_maps(segmenter, np.stack(prepared), LABELLED_CHANNEL)
        label_maps.append(found.astype(np.uint16))
    return Samples(images, np.concatenate(label_maps))


@dataclasses.dataclass(frozen=True)
class _Images:
    """Which images are inverted."""

    indices: Sequence[int]  # of photographs, in the source
    controls: Sequence[int]  # of latents, in their stream
    chosen: Chosen | None = None
    chosen_controls: Chosen | None = None


def _choose(parts: _Parts, task: InversionRun, folder: Path) -> _Images:
    """The first ones; or by class, the controls in the same way as the photographs."""
    source = parts.source
    if task.by_class is None:
        return _Images(subset(source, task.count, task.seed), range(task.controls or 0))
    choice = Choice(
        each=task.by_class,
        pool=task.pool,
        classes=task.classes,
        seed=task.seed,
        batch_size=task.batch_size,
        workers=task.workers,
        skip_broken=task.skip_broken,
        overwrite=task.overwrite,
    )
    photographs = choose_images(
        source, parts.segmenter, choice, folder / POOL / "photograph.parquet"
    )
    each = task.by_class if task.controls is None else task.controls
    if each == 0:
        return _Images(photographs.indices, (), photographs)
    own = choose_images(
        DrawnImages(parts.generator, seed=task.controls_seed),
        parts.segmenter,
        dataclasses.replace(choice, each=each, classes=None),
        folder / POOL / "control.parquet",
    )
    return _Images(photographs.indices, own.indices, photographs, own)


class _Ways:
    """The methods of a task, made ready."""

    def __init__(self, parts: _Parts, task: InversionRun) -> None:
        self.task = task
        self.names = tuple(parts.generator.layer_names)
        self.methods = [method for method in KEPT if method in task.methods]
        self.ready: dict[Method, Reconstruction | NearestSamples] = {}
        self.described: dict[str, Any] = {}
        device = parts.generator.latents(range(1)).device
        for method in self.methods:
            settings = task.of(method, parts.source.spec)
            perceptual = load_perceptual(
                settings.perceptual,
                normalised=settings.normalised,
                segmenter=parts.segmenter if settings.perceptual == "segmenter" else None,
                inverter=parts.inverter or parts.encoder,
                device=device,
            )
            described = self._compare if method in MOSAICS else self._search
            self.described[method] = {
                **settings.to_json(),
                **described(parts, settings, perceptual),
                "perceptual": None if perceptual is None else dict(perceptual.provenance),
            }

    def _search(
        self, parts: _Parts, settings: Inversion, perceptual: Perceptual | None
    ) -> dict[str, Any]:
        """Make one of the methods a to f ready; what decides its results beside the settings."""
        way = Reconstruction(
            parts.generator,
            parts.inverter,
            settings,
            encoder=parts.encoder,
            perceptual=perceptual,
        )
        self.ready[settings.method] = way
        layers = way.split.shapes.layer_names
        return {"cut": layers[-1], "layers": list(layers), "perturbed": list(way.perturbed)}

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
            device=parts.generator.latents(range(1)).device,
        )
        self.ready["nearest"] = self._mosaic(lambda: parts.samples(settings.samples))
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
        self.methods.append("reference")
        self.ready["reference"] = self._mosaic(lambda: parts.photographs(others, self.task))
        self.described["reference"] = {**described, "method": "reference"}

    def _f(self) -> Reconstruction:
        found = self.ready["f"]
        assert isinstance(found, Reconstruction)
        return found

    def curve(self) -> list[str]:
        """The last perturbed layers of the further runs, in the generator's order."""
        asked = self.task.curve
        if "f" not in self.ready:
            return []
        last = self._f().perturbed[-1]
        depth = self.names.index(last) + 1
        if asked == "auto":
            depths = sorted({1, depth // 2, 2 * depth} - {0, depth})
            return [self.names[one - 1] for one in depths if one < len(self.names)]
        if unknown := [name for name in asked if name not in self.names[:-1]]:
            raise SpecError(
                f"the curve cannot be perturbed up to {unknown[0]!r}; choose among "
                f"{', '.join(self.names[:-1])}"
            )
        return [name for name in self.names if name in asked and name != last]

    def up_to(self, layer: str) -> InversionRun:
        """The same by method f alone, with all layers up to this one perturbed."""
        settings = self._f().settings
        return dataclasses.replace(
            self.task,
            methods=("f",),
            settings=dataclasses.replace(settings, cut=layer, perturbed=None),
            curve=(),
        )


class _Run:
    """One run of a task into one folder."""

    def __init__(
        self,
        task: InversionRun,
        parts: _Parts,
        ways: _Ways,
        images: _Images,
        say: Callable[[str], None] | None,
    ) -> None:
        self.task, self.source, self.generator = task, parts.source, parts.generator
        self.say = say
        self.progress: Progress = silent
        self.preparation = Preparation(self.generator.resolution)
        self.indices, self.controls = images.indices, images.controls
        self.skipped: dict[str, str] = {}
        self.methods, self.ways = ways.methods, ways.ready
        self.total = (len(self.indices) + len(self.controls)) * len(self.methods)
        self.provenance = {
            "generator": dict(self.generator.provenance),
            "inverter": None if parts.inverter is None else dict(parts.inverter.provenance),
            "encoder": None if parts.encoder is None else dict(parts.encoder.provenance),
            "settings": ways.described,
            "images": {
                "spec": self.source.spec,
                "fingerprint": self.source.fingerprint(),
                "count": len(self.indices),
                "seed": task.seed,
                "resolution": self.generator.resolution,
                "preparation": "shorter side to the resolution, then the centre crop (Pillow, "
                "bilinear, antialiased)",
                **_selected(images.chosen),
            },
            "controls": {
                "count": len(self.controls),
                "seed": task.controls_seed,
                **_selected(images.chosen_controls),
            },
        }

    def report(self, progress: Progress, before: int, of: int) -> None:
        """Report to a callback, as a part of several runs."""
        self.progress = lambda done, _: progress(before + done, of)

    def into(self, folder: Path) -> Inversions:
        """Make what is not in the folder yet."""
        writer = InversionsWriter(
            folder,
            provenance=self.provenance,
            methods=self.methods,
            overwrite=self.task.overwrite,
        )
        try:
            self._make(writer)
            return writer.finish(self.skipped)
        except (KeyboardInterrupt, StorageError, ImageError) as error:
            told = f"{writer.count:,} of {self.total:,} reconstructions are kept in {folder}"
            interrupted = isinstance(error, KeyboardInterrupt)
            error.add_note(told + (": run the same command again to go on" if interrupted else ""))
            raise

    def _make(self, writer: InversionsWriter) -> None:
        self.progress(writer.count, self.total)
        for methods, places in self._batches():
            if not self._missing(writer, methods, places):
                continue
            images = list(self._read(places))
            for image in images:
                writer.write_target(image.place, image.pixels)
            for method in self._missing(writer, methods, [image.place for image in images]):
                for found in self._invert(method, images):
                    self._keep(writer, images[found.row], method, found)
                    self.progress(writer.count, self.total)

    def _missing(
        self, writer: InversionsWriter, methods: Sequence[Method], places: Sequence[Place]
    ) -> list[Method]:
        """Those of the methods by which one of these images has not been inverted."""
        return [
            method for method in methods if not all(writer.done(place, method) for place in places)
        ]

    def _batches(self) -> Iterator[tuple[list[Method], list[Place]]]:
        """Images that go together, photographs first, and the methods that they go through."""
        photographs = [Place("photograph", number) for number in range(len(self.indices))]
        controls = [Place("control", number) for number in range(len(self.controls))]
        searching: list[Method] = [one for one in self.methods if one not in MOSAICS]
        comparing: list[Method] = [one for one in self.methods if one in MOSAICS]
        for methods, places, size in (
            (searching, photographs, self.task.batch_size),
            (searching, controls, self.task.batch_size),
            (comparing, photographs + controls, _COMPARED_AT_ONCE),
        ):
            for start in range(0, len(places) if methods else 0, size):
                yield methods, places[start : start + size]

    def _read(self, places: Sequence[Place]) -> Iterator[_Image]:
        """Photographs one by one, then controls all at once."""
        yield from self._photographs([one for one in places if one.role == "photograph"])
        controls = [one for one in places if one.role == "control"]
        if controls:
            seed = self.task.controls_seed
            indices = [self.controls[one.number] for one in controls]
            latents = self.generator.latents(indices, seed=seed)
            drawn = to_uint8(self.generator(latents).cpu().numpy())
            for place, index, own, pixels in zip(controls, indices, latents, drawn, strict=True):
                name = f"seed {seed}, index {index}"
                height, width = pixels.shape[1:]
                yield _Image(place, name, index, (height, width), pixels, own)

    def _photographs(self, places: Sequence[Place]) -> Iterator[_Image]:
        for place in places:
            index = self.indices[place.number]
            name = self.source.names[index]
            try:
                pixels = self.source.read(index)
            except ImageError as error:
                if not self.task.skip_broken:
                    raise
                self.skipped[name] = str(error)
                continue
            height, width = pixels.shape[1:]
            side = self.generator.resolution
            if (height, width) != (side, side) and self.say is not None:
                self.say(
                    f"{name} is {width}×{height}; images of other sizes are resized to {side}×"
                    f"{side}, shorter side first, then the centre crop"
                )
                self.say = None  # once
            prepared = self.preparation.apply(pixels)
            yield _Image(place, name, index, (height, width), prepared)

    def _invert(self, method: Method, images: Sequence[_Image]) -> Iterator[Inverted | Mosaic]:
        batch = torch.from_numpy(to_unit(np.stack([image.pixels for image in images])))
        numbers = [
            image.index + (_CONTROLS_FROM if image.place.role == "control" else 0)
            for image in images
        ]
        yield from self.ways[method](batch, numbers=numbers)

    def _keep(
        self, writer: InversionsWriter, image: _Image, method: Method, found: Inverted | Mosaic
    ) -> None:
        """Write one result."""
        result = Result(
            image=None,
            tensors=None,
            loss=None,
            terms={},
            correlation=None,
            cosine=None,
            steps=found.steps,
            failed=found.failed,
        )
        about: dict[str, Any] = {"name": image.name, "index": image.index, "size": image.size}
        if found.failed is not None:
            writer.write(image.place, method, result, **about)
            return
        rebuilt = found.reconstruction.cpu().numpy()
        agreement = correlations(to_unit(image.pixels)[None], rebuilt[None])
        result = dataclasses.replace(
            result,
            loss=found.loss,
            terms=found.terms,
            correlation=agreement.pooled,
            cosine=agreement.cosine,
        )
        tensors = found.tensors
        if image.latents is not None:
            tensors["true_latents"] = image.latents
        writer.write(
            image.place,
            method,
            result,
            image=to_uint8(rebuilt),
            label_map=found.label_map,
            tensors={name: value.float().cpu().numpy() for name, value in tensors.items()},
            **about,
        )


def _selected(chosen: Chosen | None) -> dict[str, Any]:
    """How images were chosen, for the provenance."""
    if chosen is None:
        return {}
    return {"indices": list(chosen.indices), "selection": dataclasses.asdict(chosen.selection)}
