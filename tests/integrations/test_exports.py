"""What is exported follows the rules of the formats, and other readers find it whole."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.support.worlds import areas, run

import unseen
from unseen.core.errors import RecordError
from unseen.integrations import export

PRESENCE = {"sky": 0.7, "tree": 0.4, "person": 0.3, "car": 0.2}


@pytest.fixture(scope="module", params=["none", "ground"])
def compared(request, tmp_path_factory) -> Path:
    """A comparison with pictures, whose first class is or is not the word for no class."""
    folder = tmp_path_factory.mktemp("compared")
    classes = (request.param, "sky", "building", "tree", "person", "car")
    real = areas(200, {**PRESENCE, request.param: 0.5}, seed=0, name="photos", classes=classes)
    presence = {**PRESENCE, request.param: 0.5, "person": 0.0}
    fakes = areas(200, presence, seed=1, name="fakes", classes=classes)
    run(folder, real, [fakes])
    return folder


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def label_maps(folder: Path, side: unseen.Comparison) -> dict[str, np.ndarray]:
    """The label map of every picture of a side, by the name of the image."""
    return {
        example.name: pixels(folder / example.label_map)
        for held in side.example_images.values()
        for example in held
    }


def test_coco_panoptic_follows_the_rules_of_the_format(compared: Path, tmp_path: Path) -> None:
    comparison = unseen.read_comparison(compared)
    files = export(comparison, tmp_path / "coco", "coco-panoptic")
    assert [file.name for file in files] == ["real.json", "generated-1.json"]
    for file, side in zip(files, [comparison.real, *comparison.generated], strict=True):
        content = json.loads(file.read_text(encoding="utf-8"))
        names = {category["id"]: category["name"] for category in content["categories"]}
        assert 0 not in names
        images = {image["id"]: image for image in content["images"]}
        expected = label_maps(compared, side)
        assert {image["source_name"] for image in images.values()} == set(expected)
        assert [entry["image_id"] for entry in content["annotations"]] == list(images)
        for entry in content["annotations"]:
            image = images[entry["image_id"]]
            shape = image["height"], image["width"]
            assert pixels(tmp_path / "coco/images" / file.stem / image["file_name"]).shape == (
                *shape,
                3,
            )
            ids = pixels(file.with_suffix("") / entry["file_name"]).astype(np.int64) @ (
                1,
                256,
                256**2,
            )
            assert ids.shape == shape
            segments = {segment["id"]: segment for segment in entry["segments_info"]}
            assert set(segments) == set(np.unique(ids)) - {0}
            for key, segment in segments.items():
                rows, columns = np.nonzero(ids == key)
                left, top, width, height = segment["bbox"]
                assert segment["area"] == len(rows)
                assert (left, top) == (columns.min(), rows.min())
                assert (left + width - 1, top + height - 1) == (columns.max(), rows.max())
            labels = expected[image["source_name"]]
            for label, column in enumerate(comparison.columns):
                name = column.partition("/")[2]
                held = [
                    k for k, segment in segments.items() if names[segment["category_id"]] == name
                ]
                there = np.isin(ids, held) if name != "none" else ids == 0
                assert np.array_equal(there, labels == label)


def test_fiftyone_gets_samples_with_masks_and_verdicts(compared: Path, tmp_path: Path) -> None:
    comparison = unseen.read_comparison(compared)
    export(compared, tmp_path, "fiftyone")
    info = json.loads((tmp_path / "metadata.json").read_text(encoding="utf-8"))["info"]
    targets = {int(value): name for value, name in info["default_mask_targets"].items()}
    samples = json.loads((tmp_path / "samples.json").read_text(encoding="utf-8"))["samples"]
    sides = {"real": comparison.real, "generated-1": comparison.generated[0]}
    for key, side in sides.items():
        expected = label_maps(compared, side)
        of_side = [sample for sample in samples if key in sample["tags"]]
        assert {sample["source_name"] for sample in of_side} == set(expected)
        for sample in of_side:
            assert (tmp_path / sample["filepath"]).is_file()
            mask = pixels(tmp_path / sample["segmentation"]["mask_path"])
            assert np.array_equal(mask, expected[sample["source_name"]] + 1)
            held = {targets[int(value)] for value in np.unique(mask)}
            assert {found["label"] for found in sample["classes"]["classifications"]} == held
            assert ("omitted: person" in sample["tags"]) == ("person" in held)


def test_a_comparison_without_pictures_and_a_used_folder_are_refused(
    compared: Path, tmp_path: Path
) -> None:
    without = unseen.compare(areas(20, PRESENCE, seed=0), areas(20, PRESENCE, seed=1))
    with pytest.raises(RecordError, match="no pictures"):
        export(without, tmp_path / "new", "coco-panoptic")
    (tmp_path / "mine.txt").write_text("kept", encoding="utf-8")
    with pytest.raises(RecordError, match="not empty"):
        export(compared, tmp_path, "fiftyone")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.integrations
def test_a_reader_of_coco_panoptic_finds_every_segment(compared: Path, tmp_path: Path) -> None:
    from hotcoco.panoptic import pq_compute

    for file in export(compared, tmp_path / "coco", "coco-panoptic"):
        quality = pq_compute(str(file), str(file))  # of the set against itself
        assert quality["All"]["pq"] == 1.0
        held = {
            segment["category_id"]
            for entry in json.loads(file.read_text(encoding="utf-8"))["annotations"]
            for segment in entry["segments_info"]
        }
        assert quality["All"]["n"] == len(held)


@pytest.mark.integrations
@pytest.mark.filterwarnings("default")  # of FiftyOne's own packages
def test_fiftyone_reads_the_samples_with_their_masks(compared: Path, tmp_path: Path) -> None:
    """By FiftyOne's own importer, which needs no MongoDB until its samples go to a data set."""
    import fiftyone.types
    from fiftyone.core.sample import Sample

    export(compared, tmp_path, "fiftyone")
    importer = fiftyone.types.LegacyFiftyOneDataset().get_dataset_importer_cls()(str(tmp_path))
    importer.setup()
    targets = importer.get_dataset_info()["default_mask_targets"]
    samples = list(importer)
    assert {tag for sample in samples for tag in sample.tags} >= {"real", "omitted: person"}
    for sample in samples:
        assert isinstance(sample, Sample)
        assert Path(sample.filepath).is_file()
        mask = sample.segmentation.get_mask()
        held = {targets[str(value)] for value in np.unique(mask)}
        assert {found.label for found in sample.classes.classifications} == held
