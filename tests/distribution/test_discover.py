"""A red balloon that no class names: found, shown, and measured as a class of its own."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import unseen
from unseen.churchyard.scene import World
from unseen.cli.main import run as unseen_command
from unseen.core.errors import ImageError, RecordError, SpecError
from unseen.distribution.comparison import read_comparison
from unseen.distribution.discover import DiscoveryRun, _named, _region, discover
from unseen.distribution.discovery import RECORD_FILE, Discovery

BALLOONS, PLAIN = "churchyard?seed=41&balloon=30", "churchyard?seed=42"


def task(out: Path, **options: object) -> DiscoveryRun:
    settings: dict[str, object] = {
        "real": BALLOONS, "generated": PLAIN, "out": out, "count": 160, "workers": 0
    }  # fmt: skip
    return DiscoveryRun(**(settings | options))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("discovery")
    assert unseen_command(["-q", "discover", BALLOONS, PLAIN, "-n", "160", "-o", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def found(folder: Path) -> Discovery:
    return RECORD_FILE.read(folder)


def test_the_first_group_is_of_balloons(found: Discovery) -> None:
    world = World(seed=41, balloon=0.3)
    images = [kept.name for kept in found.rare[0].real_images]
    assert len(images) == 4
    assert all(world.has_balloon(int(name.rpartition("-")[2])) for name in images)
    assert found.rare[0].ratio < 0.5
    assert found.rare[0].q_value <= 0.05


def test_groups_are_counted_in_images_they_were_not_learnt_of(
    folder: Path, found: Discovery
) -> None:
    assert found.learnt_of == found.tested_on == (80, 80)
    comparison = read_comparison(folder)
    assert (comparison.real.images, comparison.generated[0].images) == (80, 80)
    assert len(comparison.columns) == 41  # none, and 40 groups


def test_the_page_shows_the_group_and_where_it_lies(folder: Path, found: Discovery) -> None:
    page = (folder / "report.html").read_text(encoding="utf-8")
    section = page[page.index('id="discovered"') : page.index('id="found"')]
    assert found.rare[0].name in section
    assert section.count("data-number") >= len(found.rare[0].real_images)
    unseen.report(folder, read_comparison(folder))
    assert 'id="discovered"' not in (folder / "report.html").read_text(encoding="utf-8")


def test_a_group_is_measured_as_a_class(folder: Path, found: Discovery, tmp_path: Path) -> None:
    """In images of other seeds, one side with balloons, by the spec that the command prints."""
    number = found.rare[0].name.rpartition(" ")[2]
    comparison = unseen.compare(
        "churchyard?seed=43&balloon=100",
        "churchyard?seed=44",
        f"groups:{folder / found.groups}?classes={number}=red balloon",
        count=40,
        workers=0,
        presence_threshold="region",
    )
    (balloon,) = [row for row in comparison.generated[0].classes if row.name == "red balloon"]
    assert balloon.real_presence > 5 * balloon.generated_presence
    assert comparison.columns == ("object/none", "object/red balloon")


def test_groups_are_learnt_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same images: the groups of the folder. Other settings there: refused."""
    before = (folder / "groups.safetensors").read_bytes()
    monkeypatch.setattr("unseen.distribution.discover._learn", None)
    again, _ = discover(task(folder))
    assert [group.column for group in again.rare]
    assert (folder / "groups.safetensors").read_bytes() == before
    with pytest.raises(RecordError, match="other images"):
        discover(task(folder, groups=20))


def test_what_cannot_be_done_is_said_first(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("balloon\n")
    with pytest.raises(SpecError, match="text tower"):
        discover(task(tmp_path, words=tmp_path / "words.txt"))
    with pytest.raises(ImageError, match="never ends"):
        discover(task(tmp_path, count=None))


def test_sides_of_different_sizes_are_halved_each(tmp_path: Path) -> None:
    """Twenty images against thirty-three: ten of one and seventeen of the other are counted in."""
    for name, seed, images in (("real", 45, 20), ("generated", 46, 33)):
        (tmp_path / name).mkdir()
        for index in range(images):
            picture = World(seed=seed).scene(index).picture.transpose(1, 2, 0)
            Image.fromarray(picture).save(tmp_path / name / f"{index}.png")
    sides = {name: str(tmp_path / name) for name in ("real", "generated")}
    found, _ = discover(task(tmp_path / "out", embedding="churchyard", count=None, **sides))
    assert (found.learnt_of, found.tested_on) == ((10, 16), (10, 17))


def test_a_region_is_cut_out_with_a_margin() -> None:
    """A region of 2 × 2 of 8 × 8 places, with half its side around it."""
    picture = np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3)
    held = np.zeros((8, 8), bool)
    held[2:4, 6:8] = True
    np.testing.assert_array_equal(_region(picture, held), picture[2:10, 10:16])


def test_the_record_is_json(folder: Path) -> None:
    record = json.loads((folder / "discovery.json").read_text(encoding="utf-8"))
    assert record["schema_version"] == 1
    assert record["rare"][0]["column"].startswith("object/group ")


class Eye:
    """Likes the word "red" by how much redder than green a picture is."""

    def likeness(self, pictures: list[np.ndarray], words: list[str]) -> np.ndarray:
        redder = np.array([p[..., 0].mean() - float(p[..., 1].mean()) for p in pictures])
        return np.stack([redder if word == "red" else -redder for word in words], axis=1)


def test_words_are_those_nearest_to_the_regions_of_the_group(
    folder: Path, found: Discovery
) -> None:
    """The balloons are red, though most of their pictures is not."""
    named = _named(found.rare[0], read_comparison(folder), Eye(), ["green", "red"])
    assert named.suggested == ("red", "green")
    assert "red, green" in dataclasses.replace(found, rare=(named,)).summary()
