"""`unseen asked GENERATOR`: how often a class is drawn that the prompt names."""

from pathlib import Path
from typing import Annotated, Any

from unseen.cli import streams
from unseen.cli.progress import progress_bar
from unseen.cli.segment import note_broken, opened
from unseen.core.files import as_path, write_json
from unseen.core.options import Argument, Device, Fields, Option
from unseen.distribution import segment as library
from unseen.distribution.asked_for import FILE, RECORD_FILE, count_asked, default_words, read_words
from unseen.distribution.segment import Segmentation, default_segmenter
from unseen.generators.sources import Drawing
from unseen.segmenters import class_names, load_segmenter
from unseen.segmenters.protocol import SegmenterName, SegmenterPrecision


def asked(
    images: Annotated[
        str, Argument("A generator that draws prompts, or images with captions (metadata.jsonl).")
    ],
    options: Annotated[dict[str, Any], Fields(Segmentation)],
    drawing: Drawing,
    out: Annotated[
        Path, Option("Folder for the record, the areas and the words.", short="-o")
    ] = Path("asked"),
    words: Annotated[
        Path | None,
        Option(
            "Words that ask for each class (JSON, class: [words]). The words used are written to "
            "words.json, which can be edited.",
            metavar="FILE",
        ),
    ] = None,
    segmenter: SegmenterName = None,
    device: Device = "auto",
    precision: SegmenterPrecision = "fp32",
) -> None:
    """Count how often a class is drawn that the prompt names, and how often unasked."""
    source = opened(images, drawing, device, options)
    network = load_segmenter(
        segmenter or default_segmenter(source), device=device, precision=precision
    )
    known = list(class_names(network, options["channel"]))
    used = default_words(known) if words is None else read_words(as_path(words), known)
    with progress_bar("asked") as progress:
        areas = library.segment(
            source, network, out=out / "areas.parquet", progress=progress, **options
        )
    note_broken(areas)
    record = count_asked(areas, used)
    write_json(out / "words.json", used)
    RECORD_FILE.write(out / FILE, record)
    streams.write(record.summary())
    streams.write(f"Record: {out / FILE}; words: {out / 'words.json'}")
