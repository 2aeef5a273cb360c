"""Classes rarely together: in the record, in words, and on the page."""

from pathlib import Path

import numpy as np
import pytest
from tests.support.worlds import areas, run

import unseen
from unseen.distribution.areas import Areas
from unseen.distribution.compare import compare
from unseen.distribution.comparison import Comparison, read_comparison
from unseen.distribution.comparison_exports import as_markdown

PERSON, CAR, BUILDING = 4, 5, 2


def side(seed: int, *, apart: bool, n: int = 400) -> Areas:
    """Persons and cars in a half of the images each; `apart` takes the cars from the persons."""
    drawn = areas(n, {"person": 0.5, "car": 0.5, "tree": 0.5}, seed=seed, name=f"world {seed}")
    if apart:
        both = (drawn.pixels[:, PERSON] > 0) & (drawn.pixels[:, CAR] > 0)
        drawn.pixels[both, BUILDING] += drawn.pixels[both, CAR]
        drawn.pixels[both, CAR] = 0
    return drawn


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("rare-pairs")
    run(place, side(1, apart=False), [side(2, apart=True)])
    return place


@pytest.fixture(scope="module")
def comparison(folder: Path) -> Comparison:
    return read_comparison(folder)


def test_the_record_names_the_pair_with_images_that_hold_both(comparison: Comparison) -> None:
    together = comparison.generated[0].together
    (pair,) = together.pairs
    assert pair.columns == ("object/person", "object/car")
    assert together.tested == 6  # of four classes beside none, which holds nothing; sky is absent
    real = side(1, apart=False)
    rows = [list(real.names).index(kept.name) for kept in pair.real_images]
    smaller = real.pixels[:, [PERSON, CAR]].min(axis=1)
    assert smaller[rows].tolist() == np.sort(smaller)[::-1][:4].tolist()
    assert all(kept.image is not None for kept in pair.real_images)
    assert not pair.generated_images


def test_terminal_page_and_markdown_name_it(comparison: Comparison, folder: Path) -> None:
    page = unseen.report(folder, comparison).read_text(encoding="utf-8")
    section = page[page.index('id="together"') : page.index('id="classes"')]
    for text in (comparison.summary(), section, as_markdown(comparison)):
        assert "person and car" in text
    assert section.count("<img") == 4


def test_nothing_is_said_where_no_pair_is_rare(tmp_path: Path) -> None:
    found = run(tmp_path, side(1, apart=False), [side(3, apart=False)])
    assert not found.generated[0].together.pairs
    assert "Together" not in found.summary()
    assert 'id="together"' not in unseen.report(tmp_path, found).read_text(encoding="utf-8")


def test_a_pair_of_a_class_that_is_not_asked_about_is_left_out() -> None:
    sides = side(1, apart=False), [side(2, apart=True)]
    assert not compare(*sides, classes=["tree"]).generated[0].together.pairs
    assert len(compare(*sides, classes=["car"]).generated[0].together.pairs) == 1


def test_a_class_on_which_segmenters_disagree_makes_no_pair() -> None:
    """The second segmenter sees as many cars on both sides, so "car" is undecided."""
    real, generated = side(1, apart=False), side(2, apart=True)
    second = side(1, apart=False), [side(1, apart=False)]
    rows = compare(real, [generated], second=second).generated[0]
    car = next(row for row in rows.classes if row.name == "car")
    assert car.undecided_by == "second segmenter"
    assert not rows.together.pairs
