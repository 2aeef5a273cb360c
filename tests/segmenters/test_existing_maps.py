"""Label maps that exist stand in for a segmenter, and whatever does not fit is an error."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import unseen
from unseen.core.errors import SegmenterError, SpecError

CLASSES = ("none", "sky", "car")
COLOURS = np.array([(0, 0, 0), (70, 130, 180), (0, 0, 142)], np.uint8)


def labels(seed: int, height: int = 24, width: int = 36) -> np.ndarray:
    """Columns and rows of classes, so that crops and sizes show."""
    blocks = np.random.default_rng(seed).integers(0, 3, (height // 4, width // 4))
    return blocks.repeat(4, 0).repeat(4, 1).astype(np.uint8)


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """Six photographs in a subfolder, their maps as values, and a list of classes."""
    for i in range(6):
        for folder in ("photos/a", "maps/a"):
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        label_map = labels(i)
        Image.fromarray(COLOURS[label_map]).save(tmp_path / f"photos/a/{i}.jpg")
        Image.fromarray(label_map).save(tmp_path / f"maps/a/{i}.png")
    (tmp_path / "maps/classes.txt").write_text("\n".join(CLASSES), encoding="utf-8")
    return tmp_path


def segmented(world: Path, spec: str = "maps?resolution=24", **options: object) -> unseen.Areas:
    name, _, query = spec.partition("?")
    maps = f"maps:{world / name}" + (f"?{query}" if query else "")
    return unseen.segment(world / "photos", maps, workers=0, **options)


def counted(label_map: np.ndarray) -> list[int]:
    return np.bincount(label_map.ravel(), minlength=3).tolist()


def test_a_crop_counts_the_pixels_of_the_centre(world: Path) -> None:
    areas = segmented(world)
    assert areas.columns == tuple(f"object/{name}" for name in CLASSES)
    for i, row in enumerate(areas.pixels.tolist()):
        assert row == counted(labels(i)[:, 6:30])  # 24 of 36 columns


def test_a_squashed_frame_counts_all_of_it(world: Path) -> None:
    # 4×4 blocks of 24×36 pixels, squashed to 12×12: every block is 2 rows, and 9 columns are 12.
    areas = segmented(world, "maps?resolution=72", fit="squash")
    for i, row in enumerate(areas.pixels.tolist()):
        assert row == [6 * pixels for pixels in counted(labels(i))]  # 72×72 is 6 times 24×36


def test_values_and_colours_of_a_palette_give_the_same(world: Path) -> None:
    expected = segmented(world).pixels
    for name in ("values", "colours", "indexed"):
        for i in range(6):
            (world / name / "a").mkdir(parents=True, exist_ok=True)
            values = np.array([255, 7, 11], np.uint8)[labels(i)]
            image = Image.fromarray(COLOURS[labels(i)] if name == "colours" else values)
            if name == "indexed":
                image.putpalette(bytes(range(256)) * 3)
            image.save(world / name / "a" / f"{i}.png")
        rows = zip(CLASSES, (255, 7, 11), COLOURS.tolist(), strict=True)
        table = "name,value\n" + "".join(f"{row[0]},{row[1]}\n" for row in rows)
        if name == "colours":
            rows = zip(CLASSES, COLOURS.tolist(), strict=True)
            table = "name,red,green,blue\n"
            table += "".join(f"{kind},{r},{g},{b}\n" for kind, (r, g, b) in rows)
        (world / name / "classes.csv").write_text(table, encoding="utf-8")
        assert np.array_equal(segmented(world, f"{name}?resolution=24").pixels, expected)


def test_maps_that_were_kept_give_the_areas_that_they_came_of(world: Path) -> None:
    scenes = unseen.open_images("churchyard?seed=3")
    folder = world / "scenes"
    folder.mkdir()
    for i in range(4):
        Image.fromarray(np.moveaxis(scenes.read(i), 0, -1)).save(folder / f"{i}.png")
    made = unseen.segment(folder, "churchyard", keep_maps=world / "kept", workers=0)
    again = unseen.segment(folder, f"maps:{world / 'kept'}", workers=0)
    assert again.columns == made.columns
    assert np.array_equal(again.pixels, made.pixels)


def test_two_sets_have_their_own_maps(world: Path) -> None:
    shutil.copytree(world / "photos", world / "fakes")
    spec = f"maps:{world / 'maps'}?resolution=24"
    sides = (world / "photos", world / "fakes")
    with pytest.raises(SegmenterError, match="belong to"):  # else both sides had the same maps
        unseen.compare(*sides, spec, workers=0)
    for side in ("photos", "fakes"):
        (world / "maps" / side / "a").mkdir(parents=True)
    for i in range(6):
        shutil.move(world / f"maps/a/{i}.png", world / f"maps/photos/a/{i}.png")
        Image.fromarray(np.minimum(labels(i), 1)).save(world / f"maps/fakes/a/{i}.png")
    comparison = unseen.compare(*sides, spec, workers=0, out=world / "run")
    (car,) = (row for row in comparison.generated[0].classes if row.name == "car")
    assert (car.real_presence, car.generated_presence) == (1, 0)
    example = comparison.real.example_images["object/car"][0]
    with Image.open(world / "run" / example.label_map) as label_map:
        held = np.mean(np.asarray(label_map) == 2)
    assert held == pytest.approx(example.fraction)


@pytest.mark.parametrize("fault", ["missing", "extra", "size", "value", "coloured", "broken"])
def test_what_does_not_fit_is_named(world: Path, fault: str) -> None:
    path = world / "maps/a/3.png"
    if fault == "missing":
        path.unlink()
    elif fault == "extra":
        shutil.copy(path, world / "maps/a/other.png")
    elif fault == "broken":
        path.write_bytes(path.read_bytes()[:60])
    else:
        wrong = {
            "size": labels(3, 36, 24),
            "value": np.full((24, 36), 9, np.uint8),
            "coloured": COLOURS[labels(3)],
        }[fault]
        Image.fromarray(wrong).save(path)
    named = {"extra": "a/other", "value": "value 9"}.get(fault, "a/3")
    with pytest.raises(SegmenterError, match=named):
        segmented(world)


def test_another_map_is_another_run(world: Path) -> None:
    out = world / "areas.parquet"
    segmented(world, out=out)
    Image.fromarray(labels(9)).save(world / "maps/a/3.png")
    with pytest.raises(unseen.errors.RecordError, match="maps"):
        segmented(world, out=out)


def test_images_without_names_are_refused(world: Path) -> None:
    spec = f"maps:{world / 'maps'}"
    with pytest.raises(SegmenterError, match="names of images"):
        unseen.load_segmenter(spec).label_maps(np.zeros((1, 3, 8, 8), np.uint8), "object")
    with pytest.raises(SegmenterError, match="draws its images"):
        unseen.segment("churchyard?seed=1", spec, count=2, workers=0)
    with pytest.raises(SegmenterError, match="names of images"):
        segmented(world, check_segmenter=True)


@pytest.mark.parametrize(
    "table", ["", "name\nsky", "name,value\nsky,1\ncar,1", "name,value\nsky,x", "name,value\n,0"]
)
def test_a_list_of_classes_that_says_nothing_is_refused(world: Path, table: str) -> None:
    (world / "maps/classes.csv").write_text(table, encoding="utf-8")
    with pytest.raises(SegmenterError):
        segmented(world)


def test_unknown_options_are_refused(world: Path) -> None:
    with pytest.raises(SpecError, match="size"):
        segmented(world, "maps?size=3")
    with pytest.raises(SegmenterError, match="'0'"):
        segmented(world, "maps?resolution=0")
