"""Shards of areas: pieces become a shard, and the shards of a run its areas.

A shard is a range of a run's positions that depends on their number alone; a piece is a part of a
shard, kept so that a kill loses little. Both are areas whose provenance says what was found of
their images: broken ones, sizes, batches. The run's header says the rest, so that finished shards
are merged without images and without a segmenter.
"""

import contextlib
import dataclasses
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unseen.core.errors import ImageError, RecordError, SegmenterError
from unseen.core.files import as_path, canonical_json
from unseen.core.identity import Identity
from unseen.core.run_folder import RunFolder, manifest, part_of
from unseen.core.wording import listed
from unseen.distribution.areas import (
    FORMAT,
    Areas,
    areas_identity,
    joined,
    joined_conditions,
    joined_instances,
)
from unseen.distribution.areas_file import read_areas, write_areas
from unseen.images import ImageSource
from unseen.images.protocol import names_sha256, states_of

SHARD = 1024  # images of a shard
WHOLE, PIECE = ".parquet", ".piece"  # endings of the files of shards and of pieces
OWNED = (f"[0-9]*-[0-9]*{WHOLE}", f"[0-9]*-[0-9]*{PIECE}")
SAID = ("shard", "images", "provenance", "names", "states")  # by a run's header, of all parts
_TOLD = 4  # missing shards that a message names
_NO_IDENTITY = Identity(kind="areas", version=FORMAT, images={}, files={}, options={})


def areas_folder(
    out: Path,
    identity: Identity,
    *,
    said: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> RunFolder:
    """The folder that keeps the shards of a run until its areas are written.

    Args:
        out: of the areas.
        identity: of the run.
        said: what the header says for who merges: `shard`, `images`, `provenance`; and of the
            images' files `names` and `states`.
        overwrite: another run's shards may be removed.
    """
    folder = out.with_name(out.name + ".parts")
    return RunFolder(folder, identity, owned=OWNED, also=said or {}, overwrite=overwrite)


def known_fingerprint(
    out: Path, source: ImageSource, indices: Sequence[int], part: tuple[int, int]
) -> str | None:
    """The fingerprint that another part of the run has computed, where it is of the same images.

    They are the same where all names are, and of this part also the sizes and times of the files.

    Args:
        out: the areas file of the run.
        source: of the images.
        indices: the images of the whole run.
        part: the part.
    """
    folder = areas_folder(out, _NO_IDENTITY)
    with contextlib.suppress(RecordError):  # of the run's own header later, with advice
        said = folder.read_header(SAID)
        if set(said) != set(SAID) or said["states"] is None or said["images"] != len(indices):
            return None
        shards = manifest(len(indices), said["shard"])
        mine = part_of(range(len(shards)), part)
        here = states_of(source, [[indices[i] for i in shards[k]] for k in mine])
        same_files = [said["states"][k] for k in mine] == here
        if same_files and said["names"] == names_sha256(source, indices):
            return str(said["provenance"]["images"][0]["fingerprint"])
    return None


def sizes_of(sizes: Sequence[tuple[int, int]]) -> dict[str, Any]:
    """What is recorded of the sizes of images: width and height, and what a centre crop cuts.

    Args:
        sizes: height and width of each image.
    """
    by_pixels = sorted({(width, height) for height, width in sizes}, key=_pixels)
    return {
        "smallest": by_pixels[0] if by_pixels else None,
        "largest": by_pixels[-1] if by_pixels else None,
        "pixels": sum(height * width for height, width in sizes),
        "cropped_pixels": sum(height * width - min(height, width) ** 2 for height, width in sizes),
    }


def _all_sizes(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The same of all parts that hold images."""
    known = [part for part in parts if part["smallest"] is not None]
    return {
        "smallest": min((part["smallest"] for part in known), key=_pixels, default=None),
        "largest": max((part["largest"] for part in known), key=_pixels, default=None),
        "pixels": sum(part["pixels"] for part in known),
        "cropped_pixels": sum(part["cropped_pixels"] for part in known),
    }


def _pixels(size: Sequence[int]) -> tuple[int, ...]:
    """How large a size is; of as many pixels, the wider is larger."""
    return math.prod(size), *size


def joined_areas(parts: Sequence[Areas]) -> Areas:
    """Pieces of a shard, or shards, of consecutive images of one run as one.

    Raises:
        SegmenterError: their label maps differ in size.
    """
    found = [part.provenance for part in parts]
    shapes = sorted({(*part.provenance["label_map"],) for part in parts if len(part)})
    if len(shapes) > 1:
        (height, width), (other_height, other_width) = shapes[:2]
        raise SegmenterError(
            f"one run has label maps of {height}×{width} and of {other_height}×{other_width}; it "
            "needs one size: start afresh with overwrite"
        )
    height, width = shapes[0] if shapes else (0, 0)
    counted = [part for part in parts if len(part)]
    return dataclasses.replace(
        parts[0],
        names=[name for part in parts for name in part.names],
        pixels=np.concatenate([part.pixels for part in parts]),
        measured=joined([part.measured for part in parts]),
        views=joined([part.views for part in parts]),
        conditions=joined_conditions(parts),
        instances=joined_instances(counted) if counted else None,
        label_map_pixels=height * width,
        provenance={
            "label_map": [height, width],
            "broken": [image for part in found for image in part["broken"]],
            "batch_sizes": sorted({size for part in found for size in part["batch_sizes"]}),
            "drawn_batch_size": found[0]["drawn_batch_size"],
            "sizes": _all_sizes([part["sizes"] for part in found]),
        },
    )


def described_areas(
    areas: Areas, provenance: Mapping[str, Any], part: tuple[int, int] = (1, 1)
) -> Areas:
    """Joined shards as the areas of their run.

    Args:
        areas: as `joined_areas` gives them.
        provenance: of the run, but for what was found.
        part: which part of the run they are.

    Raises:
        ImageError: all images are broken.
    """
    found, source = areas.provenance, provenance["images"][0]
    if not len(areas):
        raise ImageError(
            f"{source['spec']}: all {len(found['broken'])} images are broken, first "
            f"{found['broken'][0]['reason']}"
        )
    described = {
        **source,
        "count": len(areas),
        "broken": found["broken"],
        "sizes": found["sizes"],
    }
    if part != (1, 1):
        described["part"] = list(part)
    if found["drawn_batch_size"] is not None:
        described["drawn"] = {**source["drawn"], "batch_size": found["drawn_batch_size"]}
    # The last bits of a network may depend on how many images it is given at once.
    sizes = found["batch_sizes"]
    told = {
        **provenance,
        "images": [described],
        "label_map": found["label_map"],
        **({"batch_sizes": sizes} if len(sizes) > 1 else {}),
    }
    as_it_is_read_back = json.loads(canonical_json(told))
    return dataclasses.replace(areas, provenance=as_it_is_read_back)


def check_whole(shards: Sequence[range], total: int, out: Path) -> None:
    """Refuse shards that do not cover every position once (RecordError)."""
    if list(itertools.chain(*shards)) == list(range(total)):
        return
    gaps = [f"{gap.start:,} to {gap.stop - 1:,}" for gap in RunFolder.gaps(shards, range(total))]
    raise RecordError(
        f"{out} is not complete: missing are the images {listed(gaps, _TOLD)} of {total:,}; run "
        "the parts that make them, then merge again"
    )


def merge_areas(out: str | Path) -> Areas:
    """Join the shards that parts of one run have made, on whatever machines, into its areas.

    The file has the bytes that one run of all images would have written. Its shards are removed.

    Args:
        out: the areas file that the parts were told to make; its shards lie in `OUT.parts` beside.

    Returns:
        The areas; those of a finished file where there are no shards.

    Raises:
        RecordError: shards are missing, or there is no such run.
        StorageError: a part is still being made.

    >>> for part in (1, 2):
    ...     _ = segment(
    ...         photos, "churchyard", out=folder / "a.parquet", part=(part, 2), shard=4, workers=0
    ...     )
    >>> merge_areas(folder / "a.parquet")
    Areas of 8 images and ... classes: ...
    """
    out = as_path(out)
    run = areas_folder(out, _NO_IDENTITY)
    if out.exists() and not (run.folder / run.header).exists():
        return read_areas(out)
    said = run.read_header(SAID)
    if set(said) != set(SAID):
        raise RecordError(f"{run.folder} holds no shards of areas; make them with: unseen segment")
    run = areas_folder(out, areas_identity(said["provenance"]), said=said)
    with run.writing():
        shards = run.tiles(range(said["images"]), WHOLE)
        wanted = manifest(said["images"], said["shard"])
        shards = {shard: shards[shard] for shard in wanted if shard in shards}
        check_whole(list(shards), said["images"], out)
        parts = [read_areas(path) for path in shards.values()]
        areas = described_areas(joined_areas(parts), said["provenance"])
        write_areas(out, areas, within=run.folder)
        run.discard()
    return areas
