"""Reconstruct photographs, and the generator's own images as controls, into a folder.

Each image is kept as soon as it is finished. A batch of which anything is missing is run again as
a whole, so a run that was killed and resumed ends in the bits of one that was not. The record and
its folder are defined in `unseen.records.inversions`.
"""

import dataclasses
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8

from unseen.errors import ImageError, SpecError, StorageError
from unseen.generators import Generator, load_generator
from unseen.images import ImageSource, Preparation, open_images, subset
from unseen.images.pixels import to_uint8, to_unit
from unseen.inversion.checkpoints import load_inverter
from unseen.inversion.inverter import Inverter
from unseen.inversion.methods import Inversion, Inverted, Reconstruction, inversion_preset
from unseen.inversion.perceptual import PerceptualName, load_perceptual
from unseen.pipeline.progress import Progress, silent
from unseen.pipeline.segment import default_segmenter
from unseen.records.inversions import (
    METHODS,
    Inversions,
    InversionsWriter,
    Method,
    Place,
    Role,
)
from unseen.records.inversions import Reconstruction as Result
from unseen.segmenters import Segmenter, load_segmenter
from unseen.statistics.correlations import correlations

CONTROLS_SEED = 30_003  # of the controls' latents: other than samples', training's, validation's
_CONTROLS_FROM = 1 << 32  # method a's random starts of controls: other than the photographs'


@dataclasses.dataclass(frozen=True, kw_only=True)
class InversionRun:
    """Which images are inverted by which methods, and where the results go."""

    methods: Sequence[Method] = ("f",)
    settings: Inversion | str = "default"  # of every method; or a preset's name
    count: int | None = None  # photographs, a seeded subset; None for all
    seed: int = 0  # of the subset
    controls: int = 0  # the generator's own images, inverted in the same way
    controls_seed: int = CONTROLS_SEED  # of their latents, of which the first are taken
    batch_size: int = 16  # images that are optimised at once; decides memory, not results
    skip_broken: bool = False  # list images that cannot be decoded instead of stopping
    overwrite: bool = False  # replace what another run left in the folder

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.controls < 0:
            raise SpecError(
                f"batch_size is {self.batch_size} and controls is {self.controls}; at least 1 and "
                "at least 0 are needed"
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
            features = default_perceptual(images) if settings == "default" else None
            settings = inversion_preset(
                settings, **({} if features is None else {"perceptual": features})
            )
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
        segmenter: whose features are compared, where the settings say so.
        task: which images, by which methods.
        progress: called with reconstructions done, and of how many.
        say: told in a sentence that images were resized.

    Returns:
        The record. `failures` lists images whose loss was not a number; the others are whole.

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
    temporary = tempfile.TemporaryDirectory(prefix="unseen-") if out is None else None
    folder = Path(temporary.name if temporary is not None else out)  # type: ignore[arg-type]
    run = _Run(task, source, network, inverter, encoder, segmenter, progress or silent, say)
    record = run.into(folder)
    return dataclasses.replace(record, holder=temporary)


def default_perceptual(images: str) -> PerceptualName:
    """The features that `default` compares: the churchyard's segmenter's there, else VGG-16's."""
    return "segmenter" if default_segmenter(images) == "churchyard" else "vgg16"


@dataclasses.dataclass(frozen=True, eq=False)
class _Image:
    """One image to be inverted."""

    place: Place
    name: str
    index: int
    size: tuple[int, int]
    pixels: UInt8[np.ndarray, "3 s s"]
    latents: torch.Tensor | None = None  # a control's own


class _Run:
    """One run of a task."""

    def __init__(
        self,
        task: InversionRun,
        source: ImageSource,
        generator: Generator,
        inverter: Inverter | None,
        encoder: Inverter | None,
        segmenter: str | Path | Segmenter | None,
        progress: Progress,
        say: Callable[[str], None] | None,
    ) -> None:
        self.task, self.source, self.generator = task, source, generator
        self.progress, self.say = progress, say
        self.preparation = Preparation(generator.resolution)
        self.indices = subset(source, task.count, task.seed)
        self.skipped: dict[str, str] = {}
        self.methods = [method for method in METHODS if method in task.methods]
        device = generator.latents(range(1)).device
        self.ways: dict[Method, Reconstruction] = {}
        described: dict[str, Any] = {}
        for method in self.methods:
            settings = task.of(method, source.spec)
            if settings.perceptual == "segmenter" and not isinstance(segmenter, Segmenter):
                segmenter = load_segmenter(
                    segmenter or default_segmenter(source), device=str(device)
                )
            perceptual = load_perceptual(
                settings.perceptual,
                normalised=settings.normalised,
                segmenter=segmenter if isinstance(segmenter, Segmenter) else None,
                inverter=inverter or encoder,
                device=device,
            )
            way = Reconstruction(
                generator, inverter, settings, encoder=encoder, perceptual=perceptual
            )
            self.ways[method] = way
            layers = way.split.shapes.layer_names
            described[method] = {
                **settings.to_json(),
                "cut": layers[-1],
                "layers": list(layers),
                "perturbed": list(way.perturbed),
                "perceptual": None if perceptual is None else dict(perceptual.provenance),
            }
        self.provenance = {
            "generator": dict(generator.provenance),
            "inverter": None if inverter is None else dict(inverter.provenance),
            "encoder": None if encoder is None else dict(encoder.provenance),
            "settings": described,
            "images": {
                "spec": source.spec,
                "fingerprint": source.fingerprint(),
                "count": len(self.indices),
                "seed": task.seed,
                "resolution": generator.resolution,
                "preparation": "shorter side to the resolution, then the centre crop (Pillow, "
                "bilinear, antialiased)",
            },
            "controls": {"count": task.controls, "seed": task.controls_seed},
        }

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
            total = (len(self.indices) + self.task.controls) * len(self.methods)
            told = f"{writer.count:,} of {total:,} reconstructions are kept in {folder}"
            interrupted = isinstance(error, KeyboardInterrupt)
            error.add_note(told + (": run the same command again to go on" if interrupted else ""))
            raise

    def _make(self, writer: InversionsWriter) -> None:
        total = (len(self.indices) + self.task.controls) * len(self.methods)
        self.progress(writer.count, total)
        for role, numbers in self._batches():
            places = [Place(role, number) for number in numbers]
            if not self._missing(writer, places):
                continue
            images = list(self._read(role, numbers))
            for image in images:
                writer.write_target(image.place, image.pixels)
            for method in self._missing(writer, [image.place for image in images]):
                for found in self._invert(method, images):
                    self._keep(writer, images[found.row], method, found)
                    self.progress(writer.count, total)

    def _missing(self, writer: InversionsWriter, places: Sequence[Place]) -> list[Method]:
        """The methods by which one of these images has not been inverted."""
        return [
            method
            for method in self.methods
            if not all(writer.done(place, method) for place in places)
        ]

    def _batches(self) -> Iterator[tuple[Role, list[int]]]:
        sizes: tuple[tuple[Role, int], ...] = (
            ("photograph", len(self.indices)),
            ("control", self.task.controls),
        )
        for role, count in sizes:
            for start in range(0, count, self.task.batch_size):
                yield role, list(range(start, min(start + self.task.batch_size, count)))

    def _read(self, role: Role, numbers: Sequence[int]) -> Iterator[_Image]:
        if role == "control":
            seed = self.task.controls_seed
            latents = self.generator.latents(numbers, seed=seed)
            drawn = to_uint8(self.generator(latents).cpu().numpy())
            for number, own, pixels in zip(numbers, latents, drawn, strict=True):
                name = f"seed {seed}, index {number}"
                height, width = pixels.shape[1:]
                yield _Image(Place(role, number), name, number, (height, width), pixels, own)
            return
        for number in numbers:
            index = self.indices[number]
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
            yield _Image(Place(role, number), name, index, (height, width), prepared)

    def _invert(self, method: Method, images: Sequence[_Image]) -> Iterator[Inverted]:
        batch = torch.from_numpy(to_unit(np.stack([image.pixels for image in images])))
        numbers = [
            image.index + (_CONTROLS_FROM if image.place.role == "control" else 0)
            for image in images
        ]
        yield from self.ways[method](batch, numbers=numbers)

    def _keep(
        self, writer: InversionsWriter, image: _Image, method: Method, found: Inverted
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
        tensors = {
            "latents": found.latents,
            "features": found.features,
            "reconstruction": found.reconstruction,
            **{f"delta.{layer}": delta for layer, delta in found.deltas.items()},
        }
        if image.latents is not None:
            tensors["true_latents"] = image.latents
        writer.write(
            image.place,
            method,
            result,
            image=to_uint8(rebuilt),
            tensors={name: value.float().cpu().numpy() for name, value in tensors.items()},
            **about,
        )
