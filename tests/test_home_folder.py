"""A `~` in a path that is given to a function of the library is the home folder."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.support.evidence_world import evidence_world
from tests.support.worlds import areas, run

import unseen

PRESENCE = {"sky": 0.7, "tree": 0.4, "person": 0.3}


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home folder with photographs and records; the working folder is another, and empty."""
    home, here = tmp_path / "home", tmp_path / "here"
    here.mkdir()
    (home / "photos").mkdir(parents=True)
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 255, (16, 16, 3), np.uint8)
        Image.fromarray(pixels).save(home / "photos" / f"{number}.png")
    sides = [areas(50, PRESENCE, seed=seed, name=f"set {seed}") for seed in (0, 1)]
    unseen.write_areas(home / "real.parquet", sides[0])
    run(home / "comparison", sides[0], [sides[1]])
    evidence_world(home / "evidence")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    monkeypatch.chdir(here)
    return home


def sampled() -> Path:
    task = unseen.Sampling(
        generator=unseen.load_generator("churchyard-full", device="cpu"),
        out=Path("~/drawn"),
        indices=[0],
    )
    return unseen.sample(task)


def kept() -> object:
    generator = unseen.load_generator("churchyard-full", device="cpu")
    return unseen.DrawnImages(generator, keep=Path("~/drawn")).read(0)


@pytest.mark.parametrize(
    ("call", "made"),
    [
        (lambda: unseen.open_images("~/photos").read(0), None),
        (lambda: unseen.read_areas("~/real.parquet"), None),
        (lambda: unseen.read_comparison("~/comparison"), None),
        (lambda: unseen.read_evidence(Path("~/evidence")), None),
        (lambda: unseen.read_areas("~/real.parquet").save("~/again"), "again/areas.parquet"),
        (lambda: unseen.read_comparison("~/comparison").save("~/saved"), "saved/comparison.json"),
        (lambda: unseen.read_evidence("~/evidence").save("~/saved"), "saved/evidence.json"),
        (
            lambda: unseen.segment(
                "~/photos", "churchyard", out="~/a.parquet", keep_maps="~/maps", workers=0
            ),
            "maps/0.png.png",
        ),
        (
            lambda: unseen.compare(
                unseen.read_areas("~/real.parquet"),
                unseen.read_areas("~/real.parquet"),
                out="~/compared",
            ),
            "compared/comparison.json",
        ),
        (
            lambda: unseen.report("~/comparison", unseen.read_comparison("~/comparison")),
            "comparison/report.html",
        ),
        (sampled, "drawn/00000000.png"),
        (kept, "drawn/00000000.png"),
    ],
)
def test_a_tilde_is_the_home_folder(home, call, made):
    call()
    assert made is None or (home / made).is_file()
    assert list(Path.cwd().iterdir()) == []


def test_a_name_that_only_begins_with_a_tilde_is_itself(home):
    (home / "photos").rename(Path("~photos"))
    assert len(unseen.open_images("~photos").names) == 3
