"""`unseen segment IMAGES_OR_GENERATOR OUT.parquet`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from unseen.cli import streams
from unseen.cli.progress import progress_bar
from unseen.core.options import Argument, Device, Fields, Place
from unseen.core.wording import count
from unseen.distribution import segment as library
from unseen.distribution.areas import Areas
from unseen.distribution.areas_shards import merge_areas
from unseen.distribution.areas_work import Opening
from unseen.distribution.segment import Segmentation, default_segmenter
from unseen.engines.engine import Engine
from unseen.generators.sources import Drawing, keep_drawn
from unseen.images import ImageSource
from unseen.segmenters import load_segmenter
from unseen.segmenters.open_classes import with_classes
from unseen.segmenters.protocol import OpenClasses, SegmenterName, SegmenterPrecision

_SHOWN = 6  # classes in the line that sums up, broken images on stderr


def segment(
    images: Annotated[
        str,
        Argument(
            "A folder of images, a zip, a tar (WebDataset), an LSUN LMDB, an .npz; such a thing in "
            "a store (s3://BUCKET/PATH); or the spec of images or of a generator (see: unseen "
            "list)."
        ),
    ],
    out: Annotated[Path, Place("The areas file to write (.parquet).", short="-o")],
    options: Annotated[dict[str, Any], Fields(Segmentation)],
    drawing: Drawing,
    engine: Engine,
    segmenter: SegmenterName = None,
    open_classes: OpenClasses = None,
    device: Device = "auto",
    precision: SegmenterPrecision = "fp32",
) -> None:
    """Measure how much of every image each class covers. Run it again to go on."""
    source = opened(images, drawing, device, options)
    named = with_classes(segmenter, open_classes) or default_segmenter(source)
    network = load_segmenter(named, device=device, precision=precision)
    opening = Opening(
        images=images, segmenter=named, drawing=drawing, device=device, precision=precision
    )
    with progress_bar("segment") as progress:
        areas = library.segment(
            source, network, out=out, progress=progress, engine=engine, opening=opening, **options
        )
    note_broken(areas)
    part, parts = options["part"]
    what = f"{out}" if parts == 1 else f"part {part}/{parts} of {out}"
    streams.write(f"{what}: {_summary(areas)}")


def merge(
    out: Annotated[Path, Argument("The areas file that the parts were told to make (.parquet).")],
) -> None:
    """Join the parts that `unseen segment --part` has made. Neither images nor networks are read.

    The file has the bytes that one run of all images would have written.
    """
    areas = merge_areas(out)
    note_broken(areas)
    streams.write(f"{out}: {_summary(areas)}")


def opened(images: str, drawing: Drawing, device: str, options: Mapping[str, Any]) -> ImageSource:
    """The images that are to be segmented; a generator's are kept, where that was asked for."""
    source = drawing.open(images, device, skip_broken=options["skip_broken"])
    if drawing.keep_images is None:
        return source
    return keep_drawn(source, drawing.keep_images, overwrite=options["overwrite"])


def note_broken(areas: Areas) -> None:
    """Say which images were skipped because they are broken."""
    broken = [image for source in areas.provenance["images"] for image in source["broken"]]
    for image in broken[:_SHOWN]:
        streams.note(f"skipped: {image['reason']}")
    if broken:
        where = "the first are listed here, all" if len(broken) > _SHOWN else "they are listed"
        streams.note(f"{count(len(broken), 'broken image')} skipped; {where} in the record")


def _summary(areas: Areas) -> str:
    height, width = areas.provenance["label_map"]
    mean = areas.percent.mean(axis=0)
    largest = sorted(range(len(mean)), key=lambda k: -mean[k])[:_SHOWN]
    shares = ", ".join(
        f"{areas.columns[k].partition('/')[2]} {mean[k]:.1f} %" for k in largest if mean[k] > 0
    )
    return (
        f"{count(len(areas), 'image')}, {len(areas.columns)} classes, label maps {height}×{width}; "
        f"mean shares: {shares}"
    )
