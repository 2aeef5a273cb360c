"""How Gaussian noise is, beside noise that was drawn and noise that was not."""

import numpy as np
import pytest

from unseen.core.errors import SampleError
from unseen.statistics.noise_typicality import noise_typicality


def test_drawn_noise_is_seldom_atypical() -> None:
    rng = np.random.default_rng(11)
    found = [noise_typicality(rng.standard_normal((4, 8, 8))) for _ in range(1000)]
    # Bonferroni keeps the rate at the level or below: 10 of 1,000, and 22 with probability 0.0007.
    assert sum(one.p < 0.01 for one in found) <= 22
    assert 30 <= sum(one.p < 0.05 for one in found) <= 75  # not far below it either
    assert np.mean([one.length for one in found]) == pytest.approx(1, abs=4 * (2 / 256_000) ** 0.5)
    assert np.mean([one.neighbours for one in found]) == pytest.approx(0, abs=4 / 448_000**0.5)


def test_numbers_of_known_noise() -> None:
    checks = np.indices((6, 6)).sum(0) % 2 * 2.0 - 1  # neighbours are opposite, all of length 1
    found = noise_typicality(checks[None])
    assert found.length == 1
    assert found.neighbours == pytest.approx(-1)
    # P(|N| of 60 pairs' sum ≥ 60) = 2 Φ(−√60), thrice
    assert found.p == pytest.approx(3 * 2 * 4.74e-15, rel=0.02)
    assert found.distance == pytest.approx(0.5 - 0.158655, abs=1e-5)  # at 1: Φ(−1) below −1
    assert noise_typicality(np.zeros((1, 4, 4))).atypical


@pytest.mark.parametrize("change", ["short", "smooth", "clipped"])
def test_what_is_not_drawn_is_atypical(change: str) -> None:
    noise = np.random.default_rng(5).standard_normal((4, 16, 16))
    if change == "short":
        noise *= 0.85
    elif change == "smooth":
        noise = (noise + np.roll(noise, 1, axis=2)) / 2**0.5
    else:  # the length of N(0, 1), and no tails
        noise = np.sign(noise)
    assert noise_typicality(noise).atypical


def test_noise_without_neighbours_is_refused() -> None:
    with pytest.raises(SampleError, match=r"\(128, 1, 1\)"):
        noise_typicality(np.zeros((128, 1, 1)))
    with pytest.raises(SampleError, match="nan"):
        noise_typicality(np.full((1, 4, 4), np.nan))
