"""The pictures of a comparison, with label maps and verdicts, for other tools.

Out: COCO panoptic (a JSON file and a folder of PNG files a side), or a dataset of FiftyOne on disk.
Neither tool is needed to write them. Sources: the panoptic format of COCO
(cocodataset.org/#format-data: the id of a segment is R + 256 G + 256² B, and 0 is no segment), and
FiftyOne's `LegacyFiftyOneDataset`, whose samples are plain JSON.
"""

import dataclasses
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Integer
from PIL import Image

from unseen.core.errors import RecordError
from unseen.core.files import as_path, check_name, package_version, write_aside, write_json
from unseen.core.verdicts import CLASS_VERDICTS
from unseen.distribution.areas import class_name, nothing
from unseen.distribution.comparison import Comparison, GeneratedSide, Side, read_comparison
from unseen.images.record_pictures import picture_path, read_label_map, write_label_map
from unseen.statistics.label_layers import NOTHING, on_top

ExportFormat = Literal["coco-panoptic", "fiftyone"]


@dataclasses.dataclass(frozen=True)
class _Exported:
    """One picture of a side."""

    name: str  # of the image, in its source
    condition: str | None
    picture: Path
    # in the size of the picture; of classes that overlap the one on top, NOTHING for none
    label_map: Integer[np.ndarray, "h w"]
    labels: list[int]  # of all its classes
    file_name: str  # in the export


def export(
    comparison: Comparison | str | Path,
    folder: str | Path,
    format: ExportFormat,  # noqa: A002 as on the command line
) -> list[Path]:
    """Write the pictures that a comparison shows, their label maps and its verdicts.

    Args:
        comparison: a comparison whose pictures were kept, or the folder that holds it.
        folder: a new folder, or an empty one.
        format: "coco-panoptic": for each side, `SIDE.json`, the PNG files of ids in `SIDE/`, and
            the pictures in `images/SIDE/`, where SIDE is real, generated-1, …; a class is one
            segment of an image, "none" is no segment, and of classes that overlap the one with the
            fewest pixels is written. "fiftyone": one dataset that
            `fiftyone.Dataset.from_dir(folder, dataset_type=fiftyone.types.LegacyFiftyOneDataset)`
            reads: samples with segmentations, tagged by side and by the verdicts of the classes
            that they hold ("omitted: person").

    Returns:
        The JSON files.

    Raises:
        RecordError: the comparison has no pictures, or one of its files is missing.
        StorageError: the folder is not empty, or cannot be written.

    >>> from unseen.integrations import export
    >>> [path.name for path in export(comparison, folder / "coco", "coco-panoptic")]
    ['real.json', 'generated-1.json']
    """
    write = _WRITERS.get(format)
    if write is None:
        raise RecordError(f"{format!r} is no format; known: {', '.join(get_args(ExportFormat))}")
    if not isinstance(comparison, Comparison):
        comparison = read_comparison(comparison)
    folder = as_path(folder)
    check_name(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RecordError(f"{folder} is not empty; choose a new folder for the export")
    return write(comparison, folder)


def _coco(comparison: Comparison, folder: Path) -> list[Path]:
    """COCO panoptic, a dataset a side.

    The id of a category, and of its segment in every image, is its label; or label + 1 where
    label 0 is a class, since the id 0 is no segment.
    """
    first = int(nothing(comparison.columns) is None)
    categories = [
        {
            "id": label + first,
            "name": class_name(column),
            "supercategory": column.partition("/")[0],
            "isthing": 0,  # a class is one segment; its objects are not told apart
        }
        for label, column in enumerate(comparison.columns)
        if label + first > 0
    ]
    files = []
    for key, side in _sides(comparison):
        images, annotations = [], []
        for number, exported in enumerate(_exported(comparison, key, side), 1):
            _copy(exported.picture, folder / "images" / key / exported.file_name)
            ids = np.maximum(exported.label_map + first, 0)  # NOTHING is no segment
            stem = Path(exported.file_name).stem
            with write_aside(folder / key / f"{stem}.png") as aside:
                Image.fromarray(_colours(ids)).save(aside, format="PNG")
            height, width = ids.shape
            images.append(
                {
                    "id": number,
                    "file_name": exported.file_name,
                    "width": width,
                    "height": height,
                    "source_name": exported.name,
                    "condition": exported.condition,
                }
            )
            annotations.append(
                {
                    "image_id": number,
                    "file_name": f"{stem}.png",
                    "segments_info": [_segment(ids, int(k)) for k in np.unique(ids) if k],
                }
            )
        info = {
            "description": f"{side.label}: pictures of a comparison by unseen {package_version()}",
            "unseen": _about(comparison),
        }
        files.append(folder / f"{key}.json")
        write_json(
            files[-1],
            {
                "info": info,
                "licenses": [],
                "images": images,
                "annotations": annotations,
                "categories": categories,
            },
        )
    return files


def _colours(ids: Integer[np.ndarray, "h w"]) -> np.ndarray:
    """Segment ids as RGB: R + 256 G + 256² B."""
    return np.stack([ids % 256, ids // 256 % 256, ids // 256**2], axis=-1).astype(np.uint8)


def _segment(ids: Integer[np.ndarray, "h w"], segment: int) -> dict[str, Any]:
    rows, columns = np.nonzero(ids == segment)
    left, top = int(columns.min()), int(rows.min())
    return {
        "id": segment,
        "category_id": segment,
        "area": len(rows),
        "bbox": [left, top, int(columns.max()) - left + 1, int(rows.max()) - top + 1],
        "iscrowd": 0,
    }


def _fiftyone(comparison: Comparison, folder: Path) -> list[Path]:
    """One dataset of FiftyOne; a mask holds label + 1, since 0 is its background."""
    samples: list[dict[str, Any]] = []
    for key, side in _sides(comparison):
        verdicts = _verdicts(comparison, side)
        for exported in _exported(comparison, key, side):
            _copy(exported.picture, folder / "data" / f"{key}-{exported.file_name}")
            mask = f"fields/segmentation/{key}-{Path(exported.file_name).stem}.png"
            write_label_map(folder / mask, exported.label_map + 1)
            columns = [comparison.columns[label] for label in exported.labels]
            tags = [f"{verdicts[column]}: {class_name(column)}" for column in columns]
            samples.append(
                {
                    "filepath": f"data/{key}-{exported.file_name}",
                    "tags": [key, *tags],
                    "segmentation": {"_cls": "Segmentation", "tags": [], "mask_path": mask},
                    "classes": {
                        "_cls": "Classifications",
                        "classifications": [
                            {
                                "_cls": "Classification",
                                "tags": [verdicts[column]],
                                "label": class_name(column),
                                "confidence": None,
                            }
                            for column in columns
                        ],
                    },
                    "side": side.label,
                    "source_name": exported.name,
                    "condition": exported.condition,
                }
            )
    targets = {str(i + 1): class_name(column) for i, column in enumerate(comparison.columns)}
    info = {"default_mask_targets": targets, "unseen": _about(comparison)}
    write_json(folder / "metadata.json", {"media_type": "image", "info": info})
    write_json(folder / "samples.json", {"samples": samples})
    return [folder / "metadata.json", folder / "samples.json"]


_WRITERS: Mapping[str, Callable[[Comparison, Path], list[Path]]] = {
    "coco-panoptic": _coco,
    "fiftyone": _fiftyone,
}


def _sides(comparison: Comparison) -> list[tuple[str, Side]]:
    generated = ((f"generated-{i + 1}", side) for i, side in enumerate(comparison.generated))
    return [("real", comparison.real), *generated]


def _exported(comparison: Comparison, key: str, side: Side) -> Iterator[_Exported]:
    """Every picture of a side once, in the order of the record."""
    shown = {
        example.name: example
        for held in side.example_images.values()
        for example in held
        if example.image is not None and example.label_map is not None
    }
    if not shown or comparison.folder is None:
        raise RecordError(
            f"{side.label} ({key}) has no pictures in this comparison; compare images instead of "
            "areas alone, and read the record from its folder"
        )
    for i, example in enumerate(shown.values()):
        assert example.image is not None
        assert example.label_map is not None
        picture = picture_path(comparison.folder, example.image)
        with Image.open(picture) as opened:
            width, height = opened.size
        labels = read_label_map(comparison.folder, example.label_map, len(comparison.columns))
        fitted = Image.fromarray(on_top(labels).astype(np.int32)).resize(
            (width, height), Image.Resampling.NEAREST
        )
        held = np.unique(labels)
        yield _Exported(
            example.name,
            example.condition,
            picture,
            np.array(fitted).astype(np.int64),
            held[held != NOTHING].tolist(),
            f"{i:05d}{picture.suffix}",
        )


def _copy(source: Path, target: Path) -> None:
    with write_aside(target) as aside:
        shutil.copyfile(source, aside)


def _verdicts(comparison: Comparison, side: Side) -> dict[str, str]:
    """The verdict of every column: of this generated side, of the real one the gravest of all."""
    sides: Sequence[GeneratedSide] = (
        [side] if isinstance(side, GeneratedSide) else comparison.generated
    )
    gravest = dict.fromkeys(comparison.columns, CLASS_VERDICTS[-1])
    for generated in sides:
        for row in generated.classes:
            gravest[row.column] = min(gravest[row.column], row.verdict, key=CLASS_VERDICTS.index)
    return {column: str(verdict) for column, verdict in gravest.items()}


def _about(comparison: Comparison) -> dict[str, Any]:
    """What the numbers say, beside the pictures."""
    return {
        "real": comparison.real.label,
        "generated": [
            {
                "label": side.label,
                "fsd": side.fsd.corrected,
                "fsd_interval": list(side.fsd.interval),
                "verdicts": _verdicts(comparison, side),
            }
            for side in comparison.generated
        ],
    }
