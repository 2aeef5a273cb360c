"""The sides of a finished comparison, opened again: their areas, and the images behind these."""

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from unseen.core.errors import RecordError
from unseen.core.files import as_path
from unseen.distribution.areas import Areas
from unseen.distribution.areas_file import read_areas
from unseen.distribution.comparison import Comparison, Side
from unseen.distribution.designs import side_keys
from unseen.distribution.pairing import candidates
from unseen.generators.sources import Drawing
from unseen.images import ImageSource, Preparation, batches

_BATCH = 16  # images prepared at once


@dataclasses.dataclass(frozen=True, eq=False)
class OpenedSide:
    """One side of a comparison."""

    key: str  # "real", "generated-1", …
    label: str
    areas: Areas

    @property
    def _provenance(self) -> Mapping[str, Any]:
        """What is known of the images, which may be parts of one set."""
        parts: list[Mapping[str, Any]] = self.areas.provenance.get("images") or [{}]
        if "resolution" not in parts[0] or len({part["spec"] for part in parts}) > 1:
            raise RecordError(
                f"the areas of {self.label} do not say which images they are of; segment the "
                "images with this version"
            )
        return parts[0]

    @functools.cached_property
    def source(self) -> ImageSource:
        """The images.

        Raises:
            RecordError: they are not those that were compared.
            UnseenError: they cannot be opened.
        """
        said = self._provenance
        drawn = said.get("drawn")
        drawing = Drawing()
        if drawn is not None:
            drawing = Drawing(
                sample_seed=drawn["seed"],
                rounding=drawn["rounding"],
                generator_precision=drawn["generator"].get("precision", "fp32"),
                generator_batch_size=drawn.get("batch_size", drawing.generator_batch_size),
            )
        source = drawing.open(said["spec"], skip_broken=bool(said.get("broken")))
        if source.fingerprint() != said["fingerprint"]:
            raise RecordError(
                f"the images of {self.label} ({said['spec']}) are not those that were compared; "
                "compare again, or bring them back"
            )
        return source

    @property
    def _reach(self) -> int:
        """How many images of a set without end hold all that were compared."""
        asked = sum(part["asked"] for part in self.areas.provenance["images"])
        return candidates(asked) if "paired" in self._provenance else asked

    def pictures(self, names: Sequence[str]) -> Iterator[tuple[str, UInt8[np.ndarray, "3 h w"]]]:
        """The images of these names, as the segmenter saw them."""
        said, source = self._provenance, self.source
        known = len(source.names)
        if source.endless:
            known = self._reach
        wanted = set(names)
        index_of = {source.names[k]: k for k in range(known) if source.names[k] in wanted}
        lost = [name for name in names if name not in index_of]
        if lost:
            raise RecordError(f"{said['spec']} has no image {lost[0]}; compare again")
        preparation = Preparation(said["resolution"], said["match_resolution"], said["fit"])
        stream = batches(
            source, [index_of[name] for name in names], preparation, batch_size=_BATCH, workers=0
        )
        for batch in stream:
            for position, image, size in zip(
                batch.positions, batch.images, batch.sizes, strict=True
            ):
                yield names[position], preparation.picture(image, size)


def open_sides(folder: Path, comparison: Comparison) -> list[OpenedSide]:
    """The sides of a comparison with their areas, the real one first.

    Raises:
        RecordError: the areas of a side are not kept in a file, or are of other images.
    """
    sides: list[Side] = [comparison.real, *comparison.generated]
    keys = [names[0] for names in side_keys(len(sides))]
    opened = []
    for key, side in zip(keys, sides, strict=True):
        if side.areas is None:
            raise RecordError(
                f"the areas of {side.label} are in no file; compare two sides by `unseen compare` "
                "of this version, neither a set with itself nor tallies"
            )
        path = as_path(side.areas)
        path = folder / path if _is_in_run(side.areas) else path
        areas = read_areas(path)
        if areas.provenance != side.provenance or len(areas) != side.images:
            raise RecordError(
                f"{path} holds other areas than those that were compared; compare again"
            )
        opened.append(OpenedSide(key, side.label, areas))
    return opened


def _is_in_run(path: str) -> bool:
    """Whether areas lie in the folder of the run."""
    return path.startswith("areas/") and path.count("/") == 1
