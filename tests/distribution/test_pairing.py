"""Photographs and what was drawn for their captions, in pairs."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.support.worlds import Halves, areas

import unseen
from unseen.cli.main import run as unseen_command
from unseen.core.errors import SpecError
from unseen.distribution.compare import compare
from unseen.distribution.comparison import Comparison, Pairs, read_comparison
from unseen.distribution.designs import Known
from unseen.distribution.pairing import pair_sides

DARK, LIGHT = "a dark square in {}", "nothing but light in {}"
TOWNS = [f"town {k}" for k in range(40)]


class Painter:
    """Draws a dark half where the caption asks for it and the town's number is even."""

    provenance = {"spec": "painter", "weights_sha256": "1"}  # noqa: RUF012

    def __init__(self, captions: Sequence[str]) -> None:
        self.captions = list(captions)

    def draw(self, indices: Sequence[int], *, seed: int = 1) -> torch.Tensor:
        images = torch.ones(len(indices), 3, 64, 64)
        for image, caption in zip(images, self.conditions(indices), strict=True):
            if caption.startswith("a dark") and int(caption.rpartition(" ")[2]) % 2 == 0:
                image[:, :32] = -1
        return images

    def conditions(self, indices: Sequence[int]) -> list[str]:
        return [self.captions[index % len(self.captions)] for index in indices]


def photographs(folder: Path) -> list[str]:
    """Photographs of 40 towns, half of them with a dark half; their captions."""
    folder.mkdir()
    captions = [(DARK if k < 20 else LIGHT).format(town) for k, town in enumerate(TOWNS)]
    lines = []
    for k, caption in enumerate(captions):
        image = np.full((64, 64, 3), 255, np.uint8)
        if caption.startswith("a dark"):
            image[: 16 + k] = 0
        Image.fromarray(image).save(folder / f"{k:03}-photo.png")
        lines.append(json.dumps({"file_name": f"{k:03}-photo.png", "caption": caption}))
    (folder / "metadata.jsonl").write_text("\n".join(lines))
    return captions


def pairs_of(comparison: Comparison) -> Pairs:
    (side,) = comparison.generated
    assert side.pairs is not None
    return side.pairs


def test_each_photograph_meets_what_was_drawn_for_its_caption(tmp_path: Path) -> None:
    captions = photographs(tmp_path / "photos")
    painter = Painter(captions[::-1])  # image 0 was drawn for the last caption
    comparison = unseen.compare(
        tmp_path / "photos", painter, Halves(), paired=True, out=tmp_path / "out", workers=0
    )
    pairs = pairs_of(comparison)
    assert (pairs.pairs, pairs.paired_by, pairs.groups) == (40, "condition", None)
    dark = pairs.classes[0]
    assert (dark.column, dark.held, dark.kept) == ("object/dark", 20, 10)
    assert (dark.lacking, dark.added) == (20, 0)
    # 10 of 20 by Clopper and Pearson
    assert dark.kept_interval == pytest.approx((0.272, 0.728), abs=5e-4)
    assert dark.p_holm is not None
    assert dark.p_holm < 0.05
    shown = pairs.images["object/dark"]
    assert [pair.kept for pair in shown] == [False] * 4  # those that lost it come first
    for pair in shown:
        assert pair.real.condition == pair.generated.condition
        assert pair.generated.fraction == 0.0
        for image in (pair.real.image, pair.generated.image):
            assert image is not None
            assert (tmp_path / "out" / image).is_file()
    assert shown[0].real.fraction > shown[3].real.fraction
    assert read_comparison(tmp_path / "out").generated[0].pairs == pairs
    kept = comparison.save(tmp_path / "kept")
    assert (kept.parent / (shown[0].generated.image or "")).is_file()


def test_the_command_chooses_pairs_and_its_page_begins_with_them(tmp_path: Path) -> None:
    photographs(tmp_path / "photos")
    spec = "python:tests.distribution.test_pairing:painter"
    command = ["compare", str(tmp_path / "photos"), f"{spec}?photos={tmp_path / 'photos'}"]
    options = ["--segmenter", "python:tests.distribution.test_pairing:halves", "--paired"]
    out = tmp_path / "out"
    for _ in range(2):  # the second time from what is there
        assert unseen_command([*command, *options, "-n", "30", "-o", str(out), "-q"]) == 0
    comparison = read_comparison(out)
    pairs = pairs_of(comparison)
    assert pairs.pairs == comparison.real.images == 30
    assert pairs.classes[0].kept < pairs.classes[0].held
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.index('id="pairs"') < page.index('id="distance"')
    assert "a dark square in town 1" in page


def test_pairs_go_with_a_class_groups_a_fit_and_a_second_segmenter(tmp_path: Path) -> None:
    photographs(tmp_path / "photos")
    spec = "python:tests.distribution.test_pairing:painter"
    halves = "python:tests.distribution.test_pairing:halves"
    (tmp_path / "groups.csv").write_text(
        "name,group\n" + "".join(f"{k:03}-photo.png,{k // 2}\n" for k in range(40))
    )
    command = ["compare", str(tmp_path / "photos"), f"{spec}?photos={tmp_path / 'photos'}"]
    options = ["--paired", "--segmenter", halves, "--second-segmenter", halves, "--fit", "squash"]
    told = ["--class", "dark", "--groups", f"real={tmp_path / 'groups.csv'}"]
    assert unseen_command([*command, *options, *told, "-o", str(tmp_path / "out"), "-q"]) == 0
    comparison = read_comparison(tmp_path / "out")
    pairs = pairs_of(comparison)
    assert comparison.asked == ("object/dark",)
    assert [row.column for row in pairs.classes] == ["object/dark"]
    assert set(pairs.images) == {"object/dark"}
    assert (pairs.groups, pairs.grouped_by) == (20, "groups.csv")
    dark = pairs.classes[0]
    assert (dark.held, dark.kept) == (20, 10)
    assert comparison.generated[0].second_segmenter is not None


def test_pairs_want_groups_by_name() -> None:
    sides = [_asked(areas(20, {"car": 0.5}, seed=k), [f"{i}" for i in range(20)]) for k in (0, 1)]
    with pytest.raises(SpecError, match="array"):
        compare(sides[0], [sides[1]], paired=True, groups={"generated": np.arange(20) // 2})


def painter(photos: str) -> Painter:
    lines = (Path(photos) / "metadata.jsonl").read_text().splitlines()
    return Painter([json.loads(line)["caption"] for line in lines])


def halves() -> Halves:
    return Halves()


def test_areas_are_paired_by_captions_and_captions_that_repeat_are_groups() -> None:
    real = areas(60, {"car": 0.5}, seed=0, name="photo")
    generated = areas(90, {"car": 0.2}, seed=1, name="drawn")
    captions = [f"street {k // 3}" for k in range(60)]
    real = _asked(real, captions)
    generated = _asked(generated, [f"street {k % 25}" for k in range(90)])
    comparison = compare(real, [generated], paired=True, labels=["photos", "drawn"])
    pairs = pairs_of(comparison)
    assert comparison.real.images == pairs.pairs == 60
    assert pairs.groups == 20
    assert any("30 images of drawn have no partner" in text for text in comparison.caveats)
    car = next(row for row in pairs.classes if row.column == "object/car")
    rows = [k // 3 + 25 * (k % 3) for k in range(60)]  # photograph 3 c + i with drawing c + 25 i
    held, drawn = real.pixels[:, 5] > 1, generated.pixels[rows, 5] > 1
    assert (car.held, car.kept) == (held.sum(), (held & drawn).sum())


def _asked(side: unseen.Areas, conditions: Sequence[str]) -> unseen.Areas:
    return unseen.Areas(
        names=side.names,
        columns=side.columns,
        pixels=side.pixels,
        label_map_pixels=side.label_map_pixels,
        provenance=side.provenance,
        conditions=conditions,
    )


def test_names_pair_images_without_captions() -> None:
    pairing = pair_sides(
        [Known("a", ["x/1.jpg", "2.jpg", "3.jpg"]), Known("b", ["2.png", "x/1.png"])]
    )
    assert pairing.by == "name"
    assert pairing.rows == [[0, 1], [1, 0]]
    assert pairing.alone == [1, 0]
    assert pairing.chosen(1, seed=0).rows in ([[0], [1]], [[1], [0]])
    with pytest.raises(SpecError, match="3 pairs"):
        pairing.chosen(3, seed=0)


@pytest.mark.parametrize(
    ("sides", "value"),
    [
        ([Known("photos", ["1.png"]), Known("drawn", ["2.png"], ["x"])], "photos"),
        ([Known("photos", ["1.png"], ["y"]), Known("drawn", ["2.png"], ["x"])], "'y'"),
    ],
)
def test_sides_without_pairs_are_refused(sides: list[Known], value: str) -> None:
    with pytest.raises(SpecError, match=value):
        pair_sides(sides)


def test_pairs_want_equal_weights_and_a_generated_side(tmp_path: Path) -> None:
    real = _asked(areas(20, {"car": 0.5}, seed=0), [str(k) for k in range(20)])
    with pytest.raises(SpecError, match="weights"):
        compare(real, [real], paired=True, weights="condition")
    with pytest.raises(SpecError, match="generated"):
        unseen.compare(tmp_path, paired=True)
