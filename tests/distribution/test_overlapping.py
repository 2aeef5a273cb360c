"""Masks that overlap, from a segmenter to areas, records, pages and exports."""

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

import unseen
from unseen.core.errors import SegmenterError
from unseen.images.record_pictures import read_label_map
from unseen.integrations import export
from unseen.inversion.labelled_samples import labelled
from unseen.segmenters import check_segmenter, checked_labels
from unseen.statistics.label_layers import covers
from unseen.statistics.retention import Judging

SIDE = 20
CLASSES = ("meadow", "horse", "rider")


class Nested:
    """Green is a meadow, red a horse on a meadow, blue a rider on a horse on a meadow."""

    resolution = SIDE

    def __init__(self):
        self.channels = {"object": CLASSES}
        self.provenance = {"spec": "nested"}

    def masks_and_instances(self, images):
        green, red, blue = (images[:, c] > 127 for c in (1, 0, 2))
        masks = np.stack([green | red | blue, red | blue, blue], axis=1)
        return masks, np.stack([green.any((1, 2)), 2 * red.any((1, 2)), blue.any((1, 2))], axis=1)


def save(folder, name, *, rider=True, horse=True, size=(SIDE, SIDE)):
    folder.mkdir(exist_ok=True)
    pixels = np.zeros((SIDE, SIDE, 3), np.uint8)
    pixels[4:, :, 1] = 200
    if horse:
        pixels[8:16, 5:15] = (200, 0, 0)
    if horse and rider:
        pixels[8:12, 8:12] = (0, 0, 200)
    Image.fromarray(pixels).resize(size, Image.Resampling.NEAREST).save(folder / name)


@pytest.fixture
def world(tmp_path):
    """Forty photographs; as many generated images, of which no horse has a rider."""
    for i in range(40):
        save(tmp_path / "photos", f"{i:02d}.png", horse=i % 2 == 0)
        save(tmp_path / "fakes", f"{i:02d}.png", horse=i % 2 == 0, rider=False)
    return tmp_path


def test_areas_of_masks_need_not_sum_to_the_image(world):
    areas = unseen.segment(world / "photos", Nested(), out=world / "a.parquet", workers=0)
    assert areas.overlapping
    assert areas.pixels[0].tolist() == [16 * 20, 8 * 10, 4 * 4]
    assert areas.pixels[1].tolist() == [16 * 20, 0, 0]
    assert areas.instances[:2].tolist() == [[1, 2, 1], [1, 0, 0]]
    again = unseen.segment(world / "photos", Nested(), out=world / "a.parquet", workers=0)
    np.testing.assert_array_equal(again.instances, areas.instances)


@pytest.mark.parametrize("fit", ["squash", "tiles", "pad"])
def test_layers_of_whole_frames_have_the_shares_of_the_square(world, fit):
    save(world / "wide", "a.png", size=(40, 20))
    save(world / "wide", "b.png")
    areas = unseen.segment(world / "wide", Nested(), fit=fit, workers=0)
    np.testing.assert_allclose(areas.fraction[0], areas.fraction[1], atol=0.03)  # of resampling
    assert (areas.instances is None) == (fit == "tiles")


def test_a_comparison_of_masks_names_what_lies_upon_another_class(world):
    out = world / "out"
    comparison = unseen.compare(
        world / "photos", world / "fakes", Nested(), out=out, workers=0, check_segmenter=True
    )
    verdicts = {row.name: row.verdict for row in comparison.generated[0].classes}
    assert verdicts == {"rider": "under", "horse": "undecided", "meadow": "matched"}
    horse = next(row for row in comparison.generated[0].classes if row.name == "horse")
    assert (horse.instances.real_mean, horse.instances.ratio) == (2, 1)
    assert horse.instances.verdict == "alike"
    (shown, *_) = comparison.real.example_images["object/rider"]
    layers = read_label_map(out, shown.label_map, len(CLASSES))
    assert [int(covers(layers, k).sum()) for k in range(3)] == [320, 80, 16]
    page = unseen.report(out, comparison)
    assert page.is_file()
    # The overlay of the picture: all classes, and below them the rider, whose 16 pixels are clear.
    overlay = np.asarray(Image.open(out / "overlays" / "real-00000.png").convert("RGBA"))
    everything, *alone = overlay.reshape(-1, SIDE, SIDE, 4)
    assert len(np.unique(everything.reshape(-1, 4), axis=0)) == 4  # three classes, and nothing
    assert (everything[:4, :, 3] == 0).all()
    assert 16 in [int((tile[..., 3] == 0).sum()) for tile in alone]


def test_an_export_shows_the_class_on_top_and_names_all(world):
    comparison = unseen.compare(
        world / "photos", world / "fakes", Nested(), out=world / "out", workers=0
    )
    export(comparison, world / "coco", "coco-panoptic")
    about = json.loads((world / "coco" / "real.json").read_text())
    areas = {part["id"]: part["area"] for part in about["annotations"][0]["segments_info"]}
    assert areas == {1: 320 - 80, 2: 80 - 16, 3: 16}
    export(comparison, world / "fiftyone", "fiftyone")
    samples = json.loads((world / "fiftyone" / "samples.json").read_text())["samples"]
    assert "under: rider" in samples[0]["tags"]
    assert "matched: meadow" in samples[0]["tags"]


def test_evidence_of_masks_tells_the_rider_from_the_horse(world):
    for i in range(0, 24, 2):
        save(world / "whole", f"{i:02d}.png")
        save(world / "rebuilt", f"{i:02d}.png", rider=False)
    record = unseen.evidence(
        world / "whole",
        world / "rebuilt",
        Nested(),
        controls=(world / "whole", world / "whole"),
        out=world / "evidence",
        device="cpu",
        judging=Judging(resamples=99),
    )
    rider, horse = (
        next(c for c in record.classes if c.name == name) for name in ("rider", "horse")
    )
    assert (rider.instances, rider.vanished) == (12, 12)
    assert (horse.instances, horse.vanished) == (12, 0)  # whole, beneath its rider
    fates = [fate for i in record.instances if i.column == "object/rider" for fate in i.fates]
    assert {tuple(fate.became) for fate in fates if fate.became} >= {
        ("object/meadow", "object/horse")
    }
    assert unseen.report(world / "evidence", evidence=record).is_file()


def test_batches_with_other_numbers_of_layers_are_one_set_of_samples():
    images = np.zeros((70, 3, SIDE, SIDE), np.uint8)
    images[0, 2] = 255  # the first batch needs three layers, the second one
    images[69, 1] = 255
    samples = labelled(images, Nested())
    assert samples.label_maps.shape == (70, 3, SIDE, SIDE)
    assert covers(samples.label_maps[69], 0).all()


@dataclasses.dataclass
class Answer:
    """A segmenter that answers with what it is given."""

    masks_of: object
    counts: object = None
    resolution: int = SIDE

    def __post_init__(self):
        self.channels, self.provenance = {"object": CLASSES}, {"spec": "answer"}

    def masks_and_instances(self, images):
        return self.masks_of, self.counts


MASKS = np.zeros((2, 3, 4, 4), bool)
IMAGES = np.zeros((2, 3, 4, 4), np.uint8)


@pytest.mark.parametrize(
    ("masks", "counts", "named"),
    [
        (MASKS.astype(float), None, "float64"),
        (MASKS[:1], None, r"\(1, 3, 4, 4\)"),
        (MASKS[:, :2], None, r"\(2, 2, 4, 4\)"),
        (MASKS[0], None, r"\(3, 4, 4\)"),
        ([1], None, "list"),
        (MASKS, np.zeros((2, 2), int), r"\(2, 2\)"),
        (MASKS, np.full((2, 3), 0.5), "float64"),
        (MASKS, np.full((2, 3), -1), "whole"),
    ],
)
def test_masks_and_counts_that_are_none_are_refused(masks, counts, named):
    with pytest.raises(SegmenterError, match=named):
        checked_labels(Answer(masks, counts), IMAGES)


def test_a_subclass_that_overrides_masks_alone_is_asked_for_these():
    class Empty(Nested):
        def masks(self, images):
            return np.zeros((len(images), 3, 4, 4), bool)

    answer = checked_labels(Empty(), np.full((2, 3, 4, 4), 255, np.uint8))
    assert answer.instances is None
    assert (answer.maps == -1).all()


def test_masks_have_one_channel():
    two = Nested()
    two.channels = {"object": CLASSES, "part": CLASSES}
    with pytest.raises(SegmenterError, match="2 channels"):
        check_segmenter(two, "nested")
