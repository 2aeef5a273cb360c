"""How many images a stated loss needs: against simulation, and against the drop they can show."""

import numpy as np
import pytest

from unseen.core.errors import SampleError
from unseen.statistics import compare_classes, images_needed, smallest_detectable_drop
from unseen.statistics.planning import condition_power


@pytest.mark.parametrize(
    ("condition", "verdicts", "drop", "seen"),
    # of a class that is omitted the segmenter is taken to see a twentieth all the same
    [("under", ("omitted", "under"), 0.5, 0.5), ("omitted", ("omitted",), 1.0, 0.95)],
)
def test_so_many_images_show_it_four_times_in_five(
    condition: str, verdicts: tuple[str, ...], drop: float, seen: float
) -> None:
    classes = 400  # of one presence each: so many draws, which are so many tests
    images = images_needed(0.2, drop, tests=classes, condition=condition)  # type: ignore[arg-type]
    assert images is not None
    rng = np.random.default_rng(0)
    real, generated = (
        0.1 * (rng.random((images, classes)) < presence) for presence in (0.2, 0.2 * (1 - seen))
    )
    found = np.mean([row.verdict in verdicts for row in compare_classes(real, generated)])
    # 0.02 is the standard error of 400 draws; two digits of the images, and counts are whole
    assert found == pytest.approx(0.8, abs=0.07)


def test_images_and_drop_are_the_same_question_asked_both_ways() -> None:
    images = images_needed(0.05, 0.4, tests=40)
    assert images is not None
    assert (smallest_detectable_drop(0.05, images, images, tests=40) or 1.0) <= 0.4
    fewer = int(0.93 * images)  # rounded up to two digits
    assert (smallest_detectable_drop(0.05, fewer, fewer, tests=40) or 1.0) > 0.4


def test_too_few_real_images_are_said_to_be_so() -> None:
    assert images_needed(0.01, 0.5, tests=40, real=1000) is None
    enough = images_needed(0.01, 0.5, tests=40, real=100_000)
    equal = images_needed(0.01, 0.5, tests=40)
    assert enough is not None
    assert equal is not None
    assert enough < equal


def test_a_loss_of_nine_tenths_is_never_called_omitted() -> None:
    assert images_needed(0.5, 0.9, condition="omitted") is None
    assert condition_power(0.5, 0.9, 1e6, 1e6, alpha=0.01, condition="omitted")[0] == 0.0


def test_numbers_out_of_range_are_refused() -> None:
    with pytest.raises(SampleError, match="presence is 2"):
        images_needed(2.0, 0.5)
