"""The Fréchet distance against closed forms, an independent square root, and its symmetries."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.linalg

from unseen.statistics import frechet_distance, frechet_shares
from unseen.statistics.frechet import _triangular_factor, fidelity


def compositional(n: int, k: int, seed: int) -> np.ndarray:
    """Percent areas that sum to 100, with absent classes: covariances are always singular."""
    rng = np.random.default_rng(seed)
    areas = rng.gamma(0.3, size=(n, k)) * (rng.random((n, k)) < 0.6)
    areas[:, 0] += 1e-3
    return 100.0 * areas / areas.sum(axis=1, keepdims=True)


def with_moments(mean: np.ndarray, covariance: np.ndarray, seed: int) -> np.ndarray:
    """Forty rows whose sample mean and covariance (ddof 1) are exactly those asked for."""
    noise = np.random.default_rng(seed).standard_normal((40, len(mean)))
    noise -= noise.mean(axis=0)
    white = noise @ np.linalg.inv(np.linalg.cholesky(np.cov(noise.T).reshape(2 * mean.shape))).T
    return mean + white @ np.linalg.cholesky(covariance).T


def test_one_class_has_the_closed_form_of_two_normal_distributions() -> None:
    real = with_moments(np.array([3.0]), np.array([[4.0]]), 0)
    generated = with_moments(np.array([1.0]), np.array([[0.25]]), 1)
    distance = frechet_distance(real, generated)
    assert distance.mean_term == pytest.approx(4.0)  # (3 − 1)²
    assert distance.covariance_term == pytest.approx(2.25)  # (2 − ½)²
    assert distance.value == pytest.approx(6.25)


def test_diagonal_covariances_add_their_classes() -> None:
    real = with_moments(np.zeros(3), np.diag([1.0, 4.0, 9.0]), 0)
    generated = with_moments(np.array([0.0, 0.0, 2.0]), np.diag([4.0, 4.0, 1.0]), 1)
    # (1 − 2)² + 0 + (3 − 1)², and 2² of the mean
    assert frechet_distance(real, generated).covariance_term == pytest.approx(5.0)
    np.testing.assert_allclose(frechet_shares(real, generated), [1.0, 0.0, 8.0], atol=1e-10)


def test_commuting_covariances_compare_root_by_root() -> None:
    rotation = np.linalg.qr(np.random.default_rng(2).standard_normal((4, 4)))[0]
    first, second = np.array([1.0, 2.0, 3.0, 4.0]), np.array([4.0, 0.5, 3.0, 1.0])
    real = with_moments(np.zeros(4), rotation * first @ rotation.T, 0)
    generated = with_moments(np.zeros(4), rotation * second @ rotation.T, 1)
    expected = ((np.sqrt(first) - np.sqrt(second)) ** 2).sum()
    assert frechet_distance(real, generated).value == pytest.approx(expected)


def test_agrees_with_the_square_root_of_the_product_where_that_is_well_conditioned() -> None:
    rng = np.random.default_rng(0)
    real = rng.standard_normal((200, 6)) @ rng.standard_normal((6, 6))
    generated = rng.standard_normal((150, 6)) @ rng.standard_normal((6, 6)) + 1.0
    sigma_t, sigma_g = np.cov(real.T), np.cov(generated.T)
    root = np.trace(scipy.linalg.sqrtm(sigma_t @ sigma_g)).real
    assert fidelity(sigma_t, sigma_g) == pytest.approx(root, rel=1e-9)
    expected = ((real.mean(0) - generated.mean(0)) ** 2).sum()
    expected += np.trace(sigma_t) + np.trace(sigma_g) - 2 * root
    assert frechet_distance(real, generated).value == pytest.approx(expected, rel=1e-9)


def test_a_sample_has_no_distance_to_itself_although_its_covariance_is_singular() -> None:
    areas = compositional(50, 80, 3)  # rank at most 49 of 80
    # percent²: roots of rounding in eigenvalues of 1e4 percent⁴, some dozens of them
    assert frechet_distance(areas, areas).value == pytest.approx(0.0, abs=1e-2)
    np.testing.assert_allclose(frechet_shares(areas, areas), 0.0, atol=1e-9)


def test_constant_samples_differ_by_their_means_alone() -> None:
    real, generated = np.full((5, 3), 2.0), np.full((4, 3), 1.0)
    distance = frechet_distance(real, generated)
    assert (distance.mean_term, distance.covariance_term) == (3.0, 0.0)


def test_the_factor_gives_the_covariance_back_at_its_rank() -> None:
    sigma = np.cov(compositional(9, 20, 4).T)
    packed, order = _triangular_factor(sigma)
    factor = np.tril(packed)
    assert (factor != 0.0).any(axis=0).sum() == 8  # nine rows, one mean
    np.testing.assert_allclose(factor @ factor.T, sigma[np.ix_(order, order)], atol=1e-10)


@hypothesis.given(seed=st.integers(0, 10_000), n=st.integers(2, 40), m=st.integers(2, 40))
@hypothesis.settings(max_examples=40, deadline=None)
def test_shares_are_not_negative_and_sum_to_the_distance(seed: int, n: int, m: int) -> None:
    real, generated = compositional(n, 12, seed), compositional(m, 12, seed + 1)
    shares = frechet_shares(real, generated)
    assert (shares >= 0.0).all()
    assert shares.sum() == pytest.approx(frechet_distance(real, generated).value, rel=1e-6)


def test_a_class_never_drawn_has_the_largest_share() -> None:
    real = compositional(300, 8, 0)
    generated = np.array(compositional(300, 8, 1))
    generated[:, 5] = 0.0
    generated *= 100.0 / generated.sum(axis=1, keepdims=True)
    assert frechet_shares(real, generated).argmax() == 5


@hypothesis.given(seed=st.integers(0, 10_000))
@hypothesis.settings(max_examples=20, deadline=None)
def test_order_of_images_and_classes_and_sides_changes_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    real, generated = compositional(30, 10, seed), compositional(25, 10, seed + 1)
    expected = frechet_distance(real, generated).value
    columns = rng.permutation(10)
    shuffled = frechet_distance(
        rng.permutation(real)[:, columns], rng.permutation(generated)[:, columns]
    )
    assert shuffled.value == pytest.approx(expected, rel=1e-7)
    assert frechet_distance(generated, real).value == pytest.approx(expected, rel=1e-7)


@hypothesis.given(seed=st.integers(0, 10_000))
@hypothesis.settings(max_examples=20, deadline=None)
def test_percent_is_ten_thousand_times_fraction(seed: int) -> None:
    real, generated = compositional(30, 10, seed), compositional(25, 10, seed + 1)
    fraction = frechet_distance(real / 100.0, generated / 100.0).value
    assert frechet_distance(real, generated).value == pytest.approx(1e4 * fraction, rel=1e-7)


def test_fewer_images_than_classes_give_the_distance_of_the_whole_table() -> None:
    rng = np.random.default_rng(0)
    few, many = rng.dirichlet(np.full(40, 0.2), 9), rng.dirichlet(np.full(40, 0.3), 70)
    sigma_t, sigma_g = np.cov(few.T), np.cov(many.T)
    # tr (Σ_t Σ_g)^½ from the eigenvalues of the product; rank 8, so that 32 are roots of rounding
    eigenvalues = np.sort(np.linalg.eigvals(sigma_t @ sigma_g).real)[-8:]
    expected = np.sqrt(eigenvalues).sum()
    assert fidelity(sigma_t, sigma_g) == pytest.approx(expected, rel=1e-9)
    assert fidelity(sigma_g, sigma_t) == pytest.approx(expected, rel=1e-6)  # 1e-13 of a pivot
