"""A generator's images by index, as 8-bit as a saved PNG would be: an image source without end.

Image k is drawn from row k of the seeded stream of latents. Whatever is asked for together with
it, the generator is called with the same number of latents, so that the arithmetic is the same.
"""

import contextlib
import dataclasses
import functools
import itertools
import json
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from collections.abc import Generator as Iteration
from pathlib import Path
from typing import Any, get_args

import numpy as np
from jaxtyping import UInt8

from unseen.core.errors import GeneratorError, RecordError, SampleError
from unseen.core.files import as_path, canonical_json, sha256_of_parts
from unseen.core.progress import Progress, silent
from unseen.generators import Generator
from unseen.generators.checks import check_generator, draw
from unseen.generators.sample_folder import NAME, SampleFolder, samples_identity
from unseen.images import Batch, Preparation
from unseen.images.batching import batch_slices
from unseen.images.naming import NumberedNames
from unseen.images.pixels import Rounding, to_uint8
from unseen.images.protocol import conditions_of

BATCH_SIZE = 32  # images a call of the generator


@dataclasses.dataclass(frozen=True, eq=False)
class DrawnImages:
    """What a generator draws, as an image source that never ends.

    A generator whose images depend on the others in their batch says so by `"batch_norm": "batch"`
    in its provenance. Image k is then always drawn in the company of the batch that it falls in
    when counting from 0, and the record says the batch size. A folder that keeps such images is
    filled, and areas of them are finished, with the batch size that they were begun with.

    Raises:
        GeneratorError: the object is no generator.
        SampleError: a rounding that there is not, or a batch size below 1.

    >>> DrawnImages(load_generator("churchyard-full")).read(0).shape
    (3, 64, 64)
    """

    generator: Generator
    seed: int = 1  # of the latents; 1 is the paper's
    rounding: Rounding = "nearest"  # to 8 bits; "truncate" is what the code of 2019 did
    batch_size: int = BATCH_SIZE  # images a call of the generator
    keep: Path | None = None  # folder for the images, as `unseen sample` writes it; read from, too
    overwrite: bool = False  # samples of another generator in that folder

    _seen: list[float] = dataclasses.field(default_factory=list, init=False, repr=False)
    _begun: list[int] = dataclasses.field(default_factory=list, init=False, repr=False)

    endless = True

    def __post_init__(self) -> None:
        if self.rounding not in get_args(Rounding):
            known = ", ".join(get_args(Rounding))
            raise SampleError(f"rounding {self.rounding!r} is not known; known: {known}")
        check_generator(self.generator, type(self.generator).__name__)
        if self.batch_size < 1:
            raise SampleError(f"batches of {self.batch_size} images were asked for; at least 1")

    @property
    def spec(self) -> str:
        """The generator's spec, or where it has none the name of its type."""
        return str(self.generator.provenance.get("spec") or type(self.generator).__name__)

    @property
    def names(self) -> Sequence[str]:
        """`00000042.png` for image 42: its file's name where it is kept."""
        return NumberedNames(NAME)

    def conditions(self, indices: Sequence[int]) -> list[str] | None:
        """What the generator was asked for, image by image; None where it does not say."""
        return conditions_of(self.generator, indices, GeneratorError)

    @property
    def by_batch(self) -> bool:
        """Whether an image depends on the others in its batch."""
        return self.generator.provenance.get("batch_norm") == "batch"

    @property
    def fixes_size(self) -> bool:
        """Whether the last bits of an image depend on how many are drawn at once.

        A generator of many steps says so by `"arithmetic": "batch size"` in its provenance.
        """
        return self.by_batch or self.generator.provenance.get("arithmetic") == "batch size"

    @property
    def size(self) -> int:
        """Images a call of the generator."""
        if self.fixes_size and self.keep is not None:
            return self.folder.run.identity.batch_size or self.batch_size
        return self._begun[0] if self._begun else self.batch_size

    def go_on_with(self, size: int) -> None:
        """Draw in batches of this size, as those images were drawn that are measured already.

        Raises:
            RecordError: the folder that keeps the images holds some of other batches.
        """
        self._begun[:] = [size]
        if self.keep is None:
            return
        run = self.folder.run
        if self.folder.begun and run.identity.batch_size != size:
            raise RecordError(
                f"{run.folder} holds images that were drawn in batches of "
                f"{run.identity.batch_size}, and batches of {size} are measured already; choose "
                "another folder for images"
            )
        run.identity = dataclasses.replace(run.identity, batch_size=size)

    @property
    def header(self) -> dict[str, Any]:
        """All that decides the images, as JSON."""
        return {**self._drawn, "batch_size": self.size} if self.fixes_size else self._drawn

    @property
    def _drawn(self) -> dict[str, Any]:
        plain: dict[str, Any] = json.loads(  # as it is read back
            canonical_json(
                {
                    "generator": dict(self.generator.provenance),
                    "seed": self.seed,
                    "rounding": self.rounding,
                }
            )
        )
        return plain

    def fingerprint(self) -> str:
        """SHA-256 of what decides the images.

        Where the provenance does not say which weights they are, of image 0 too.
        """
        parts = [canonical_json(samples_identity(self._drawn, None).to_json())]
        if "weights_sha256" not in self.generator.provenance:
            plain = dataclasses.replace(self, batch_size=BATCH_SIZE, keep=None)
            parts.append(plain._draw([0], fill=False).tobytes().hex())
        return sha256_of_parts(parts)

    def read(self, index: int) -> UInt8[np.ndarray, "3 h w"]:
        """Image `index`."""
        return next(self.images([index]))

    def images(self, indices: Sequence[int]) -> Iterator[UInt8[np.ndarray, "3 h w"]]:
        """The images with these indices, in this order.

        Raises:
            GeneratorError: the generator drew something that is no image.
            SampleError: a negative index, or a seed out of range.
            RecordError, StorageError: from the folder that keeps them.
        """
        for together in self._calls(indices):
            yield from self._kept(together) if self.keep is not None else self._draw(together)

    def batches(
        self,
        indices: Sequence[int],
        preparation: Preparation,
        *,
        batch_size: int,
        cuts: Collection[int] = (),
    ) -> Iteration[Batch, None, None]:
        """Draw, prepare and batch images, as `unseen.images.batches` reads them."""
        images = self.images(indices)
        for start, stop in batch_slices(len(indices), batch_size, cuts):
            drawn = list(itertools.islice(images, stop - start))
            yield Batch(
                positions=list(range(start, stop)),
                images=np.stack([preparation.apply(image) for image in drawn]),
                sizes=[(image.shape[1], image.shape[2]) for image in drawn],
                broken=[],
            )

    def keep_all(
        self,
        indices: Sequence[int],
        *,
        progress: Progress | None = None,
        captions: bool = True,
    ) -> None:
        """Draw into the folder those of the images that it lacks.

        Args:
            indices: of the images.
            progress: called with images done and images in all.
            captions: complete at the end what all images there were asked for; a worker among
                several leaves that to the process that started it.
        """
        progress, total = progress or silent, len(indices)
        missing = self.folder.missing(indices)
        done = total - len(missing)
        if done:
            progress(done, total)
        with self.watched(lambda images: progress(min(done + images, total), total)):
            for together in self._calls(missing):
                self.folder.write(together, self._draw(together), self.conditions(together))
                done += len(together)
                progress(done, total)
        if captions:
            self.complete_captions()

    def complete_captions(self) -> None:
        """Say of every image in the folder, in the order of their names, what it was asked for.

        A worker elsewhere, and a run that a kill ended, may have said it of some images alone.
        """
        captions, there = self.folder.captions(), self.folder.indices()
        lacking = [index for index in there if NAME.format(index) not in captions]
        conditions = self.conditions(lacking)
        if conditions is not None:
            self.folder.write_captions(dict(zip(lacking, conditions, strict=True)))

    @contextlib.contextmanager
    def watched(self, report: Callable[[int], None]) -> Iteration[None, None, None]:
        """Within it, hear of the images of a call while they are drawn, where it takes many steps.

        A generator of many steps has an attribute `report`, which it calls with the share of the
        steps that are done.

        Args:
            report: called with that share of the images of the call.
        """
        generator: Any = self.generator
        if not hasattr(generator, "report"):
            yield
            return
        generator.report = lambda share: report(int(share * self.size))
        try:
            yield
        finally:
            generator.report = None

    @functools.cached_property
    def folder(self) -> SampleFolder:
        """The folder that keeps the images (RecordError, StorageError: it is another's)."""
        assert self.keep is not None
        size = self.batch_size if self.fixes_size else None
        return SampleFolder(
            as_path(self.keep),
            self._drawn,
            size,
            conditions=self.conditions([0]) is not None,
            overwrite=self.overwrite,
        )

    def _calls(self, indices: Sequence[int]) -> Iterator[list[int]]:
        """The indices in order, cut into what one call of the generator draws."""
        if self.by_batch:
            for _, block in itertools.groupby(indices, lambda index: index // self.size):
                yield list(block)
        else:
            for start in range(0, len(indices), self.size):
                yield list(indices[start : start + self.size])

    def _kept(self, indices: Sequence[int]) -> Iterator[UInt8[np.ndarray, "3 h w"]]:
        missing = self.folder.missing(indices)
        drawn = {}
        if missing:
            images = self._draw(missing)
            self.folder.write(missing, images, self.conditions(missing))
            drawn = dict(zip(missing, images, strict=True))
        for index in indices:
            yield drawn[index] if index in drawn else self.folder.read(index)

    def _draw(self, indices: Sequence[int], *, fill: bool = True) -> UInt8[np.ndarray, "n 3 h w"]:
        """Images of one call: at most a batch, and of one block where they depend on it.

        A smaller batch is filled up, unless told.
        """
        if self.by_batch:
            first = indices[0] // self.size * self.size
            asked = list(range(first, first + self.size))
            rows = [index - first for index in indices]
        else:
            size = self.size if fill else len(indices)
            asked = [*indices, *[indices[-1]] * (size - len(indices))]
            rows = list(range(len(indices)))
        images = draw(self.generator, asked, seed=self.seed, name=self.spec)[rows]
        if len(indices) > 1 and not self._seen:
            self._seen.append(float(images.min()))
            self._warn_of_a_half_range()
        return to_uint8(images.cpu().numpy(), self.rounding)

    def _warn_of_a_half_range(self) -> None:
        if self._seen[0] >= 0:
            warnings.warn(
                f"{self.spec} drew no value below 0 in its first images; is its range [0, 1]? "
                "Images in [−1, 1] are needed",
                stacklevel=2,
            )
