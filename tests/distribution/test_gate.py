"""The gate: power of the very condition, both segmenters, distances by interval, several sides."""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.worlds import areas

from unseen.core.errors import SpecError
from unseen.distribution import compare as module
from unseen.distribution.compare import compare
from unseen.distribution.comparison import Comparison
from unseen.distribution.gate import Gate
from unseen.distribution.gate_history import level_of_run
from unseen.statistics import frechet_inference

REAL = {"sky": 0.7, "tree": 0.4, "person": 0.3, "car": 0.2}


@pytest.fixture(scope="module", autouse=True)
def _few_halvings() -> Iterator[None]:
    """The distance is not what is tested here, and takes most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        few = {"permutations": 19, "splits": 2}
        patch.setattr(module, "frechet_inference", functools.partial(frechet_inference, **few))
        yield


def compared(*generated: dict[str, float], n: int = 400, **options: Any) -> Comparison:
    sides = [areas(n, REAL | side, seed=i + 1, name=f"g{i}") for i, side in enumerate(generated)]
    return compare(areas(n, REAL, seed=0, name="photos"), sides, **options)


def gate(condition: str, power: str | None = None, **options: Any) -> Gate:
    return Gate.parse([condition], power, **options)


@pytest.fixture(scope="module")
def null() -> Comparison:
    return compared({})


@pytest.fixture(scope="module")
def without_person() -> Comparison:
    return compared({"person": 0.0})


def worth(comparison: Comparison, images: float, real: float | None = None) -> Comparison:
    """The comparison as though so many independent images were behind each side."""
    (side,) = comparison.generated
    rows = tuple(
        dataclasses.replace(row, real_effective=real or images, generated_effective=images)
        for row in side.classes
    )
    return dataclasses.replace(
        comparison, generated=(dataclasses.replace(side, classes=rows, images=int(images)),)
    )


def test_power_is_that_of_the_condition_asked_for(null: Comparison) -> None:
    # 400 images of 20 % show that two thirds of a class are gone, and not that less than a tenth is
    # left where the segmenter sees a twentieth; 4,000 do.
    for condition, drop, images, status in (
        ("under", 65, 400.0, 0),
        ("omitted", 65, 4000.0, 4),
        ("omitted", 90, 4000.0, 4),
        ("omitted", 91, 4000.0, 4),
        ("omitted", 100, 400.0, 4),
        ("omitted", 100, 4000.0, 0),
    ):
        found = gate(condition, f"presence>=15%,drop<={drop}%").judge(worth(null, images))
        assert found.status == status, (condition, drop, images)


def test_a_loss_that_is_never_called_omitted_is_said_to_be_so(without_person: Comparison) -> None:
    asked = gate("omitted", "presence>=4%,drop<=90%")
    assert "90.0 % is never called omitted" in asked.out_of_reach
    found = asked.judge(without_person)
    assert found.status == 3  # what is found is found
    assert [finding.kind for finding in found.findings] == ["failed", "not shown"]
    assert gate("omitted", "presence>=4%,drop<=91%").out_of_reach == ""


def test_what_may_be_ghosts_of_an_absent_class_does_not_pass() -> None:
    # One in five of the images that would have held a person: under, never omitted.
    found = gate("omitted", "presence>=15%,drop<=100%").judge(
        worth(compared({"person": 0.06}), 4000.0)
    )
    assert found.status == 4
    (finding,) = found.findings
    assert finding.column == "object/person"
    assert "false positives" in finding.sentence


def test_status_4_says_how_many_images_would_do(null: Comparison) -> None:
    found = gate("under", "presence>=15%,drop<=30%").judge(null)
    assert found.status == 4
    for finding in found.findings:
        assert finding.power is not None
        assert finding.power < 0.8
        assert f"{finding.images:,}" in finding.sentence
    assert "object/car" in {finding.column for finding in found.findings}
    # so many images do, and half of them do not
    for finding in found.findings:
        for share, enough in ((1.0, True), (0.5, False)):
            sizes = [round(share * (n or 400)) for n in (finding.real_images, finding.images)]
            again = gate("under", "presence>=15%,drop<=30%").judge(
                worth(null, float(sizes[1]), float(sizes[0]))
            )
            assert (finding.column not in {f.column for f in again.findings}) == enough


def test_both_segmenters_must_be_able_to_see_it() -> None:
    asked = gate("under", "presence>=15%,drop<=65%")
    real, side = areas(400, REAL, seed=0), areas(400, REAL, seed=1, name="g")
    # The second segmenter sees a car in one image of a hundred that have one.
    blind = [areas(400, REAL | {"car": 0.02}, seed=seed, name="s") for seed in (2, 3)]
    alone = compare(real, [side])
    both = compare(real, [side], second=(blind[0], [blind[1]]))
    assert asked.judge(alone).status == 0
    found = asked.judge(both)
    assert found.status == 4
    assert [finding.column for finding in found.findings] == ["object/car"]


def test_segmenters_that_disagree_do_not_pass() -> None:
    real = areas(400, REAL, seed=0)
    without = areas(400, REAL | {"person": 0.0}, seed=1, name="g")
    comparison = compare(real, [without], second=(real, [areas(400, REAL, seed=2, name="s")]))
    found = gate("under", "presence>=15%,drop<=65%").judge(comparison)
    assert found.status == 4
    assert [finding.column for finding in found.findings] == ["object/person"]


@pytest.mark.parametrize(
    ("interval", "status"), [((31.0, 50.0), 3), ((20.0, 50.0), 4), ((10.0, 29.0), 0)]
)
def test_the_distance_fails_by_its_interval(
    null: Comparison, interval: tuple[float, float], status: int
) -> None:
    side = null.generated[0]
    fsd = dataclasses.replace(side.fsd, corrected=sum(interval) / 2, interval=interval)
    moved = dataclasses.replace(null, generated=(dataclasses.replace(side, fsd=fsd),))
    found = gate("fsd>30").judge(moved)
    assert found.status == status
    if status == 4:
        (finding,) = found.findings
        # half of the interval is 15, the estimate 5 from the limit: nine times the images
        assert finding.images == pytest.approx(9 * 400, rel=0.05)


def test_a_regression_must_be_able_to_show() -> None:
    comparison = compared({}, {})
    (ordering,) = comparison.orderings
    least = {row.column: row.smallest_detectable_regression for row in ordering.classes}
    for drop in (5, 100):
        found = gate("regressed", f"presence>=15%,drop<={drop}%").judge(comparison)
        named = {finding.column for finding in found.findings}
        # a loss that would bring the class nearer to the real images is no regression
        asked = [
            row.column
            for row in ordering.classes
            if min(row.real, row.previous) >= 0.15 and row.previous * (1 - drop / 200) < row.real
        ]
        blind = {column for column in asked if (least[column] or 2.0) > drop / 100}
        assert named == blind, drop
        assert found.status == (4 if blind else 0)


def test_every_side_is_judged_where_that_is_asked_for() -> None:
    comparison = compared({"person": 0.0}, {})
    assert gate("omitted").judge(comparison).status == 0
    found = gate("omitted", every_side=True).judge(comparison)
    assert found.status == 3
    assert [finding.side for finding in found.findings] == ["g0"]


def test_a_stricter_level_calls_less(without_person: Comparison) -> None:
    assert gate("under").judge(without_person, level=1e-9).status == 3
    lost = compared({"person": 0.19})  # p of about 1e-4
    assert gate("under").judge(lost).status == 3
    assert gate("under").judge(lost, level=level_of_run(300)).status == 0


def test_malformed_conditions_are_refused() -> None:
    with pytest.raises(SpecError, match="'nonsense' is not known"):
        gate("nonsense")
    with pytest.raises(SpecError, match="more than all images"):
        gate("under", "presence>=1%,drop<=0%")
